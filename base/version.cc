#include "base/version.h"

namespace segue {

std::string_view version() noexcept {
  // So that another version, for the test of the upgrade, is one file and a link.
#ifdef SEGUE_OTHER_VERSION
  return SEGUE_OTHER_VERSION;
#else
  return SEGUE_VERSION;
#endif
}

}  // namespace segue
