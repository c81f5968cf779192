#include "edge/metrics/access_record.h"

namespace segue::edge {

std::string_view name_of(CacheResult result) noexcept {
  switch (result) {
    case CacheResult::None:
      return "none";
    case CacheResult::HitRam:
      return "hit_ram";
    case CacheResult::HitDrive:
      return "hit_drive";
    case CacheResult::Miss:
      return "miss";
    case CacheResult::Pass:
      return "pass";
    case CacheResult::Stale:
      return "stale";
    case CacheResult::Revalidated:
      return "revalidated";
    case CacheResult::Negative:
      return "negative";
  }
  return "";
}

std::string_view name_of(Protocol protocol) noexcept {
  return protocol == Protocol::Http2 ? "HTTP/2" : "HTTP/1.1";
}

std::string_view name_of(AccessEnd end) noexcept {
  switch (end) {
    case AccessEnd::Complete:
      return "complete";
    case AccessEnd::Cut:
      return "cut";
    case AccessEnd::Gone:
      return "gone";
    case AccessEnd::Refused:
      return "refused";
  }
  return "";
}

}  // namespace segue::edge
