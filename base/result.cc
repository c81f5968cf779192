#include "base/result.h"

namespace segue {

std::string_view name_of(Side side) noexcept {
  switch (side) {
    case Side::Client:
      return "client";
    case Side::Origin:
      return "origin";
    case Side::Disk:
      return "disk";
    case Side::Self:
      return "self";
  }
  return "unknown";
}

std::string_view name_of(Kind kind) noexcept {
  switch (kind) {
    case Kind::Timeout:
      return "timeout";
    case Kind::Closed:
      return "closed";
    case Kind::Refused:
      return "refused";
    case Kind::Unreachable:
      return "unreachable";
    case Kind::Malformed:
      return "malformed";
    case Kind::Mismatch:
      return "mismatch";
    case Kind::ChecksumMismatch:
      return "checksum_mismatch";
    case Kind::Overloaded:
      return "overloaded";
    case Kind::FillAbandoned:
      return "fill_abandoned";
    case Kind::Purged:
      return "purged";
    case Kind::NotFound:
      return "not_found";
    case Kind::Full:
      return "full";
    case Kind::Unsupported:
      return "unsupported";
    case Kind::IoError:
      return "io_error";
  }
  return "unknown";
}

}  // namespace segue
