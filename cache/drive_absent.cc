// Until drive.cc is there: lets a store without drives link. Weak, so that drive.cc simply wins.
#include "cache/drive.h"

namespace segue::cache {
struct Drive::Impl {};
__attribute__((weak)) Drive::~Drive() = default;
}  // namespace segue::cache
