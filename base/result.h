// base/result.h - expected failures are values: whose fault, and whether another try can help.
#pragma once
#include <cstdint>
#include <expected>
#include <string_view>
#include <utility>

namespace segue {

enum class Side : uint8_t { Client, Origin, Disk, Self };

enum class Kind : uint8_t {
  Timeout,           // a deadline passed
  Closed,            // the other side ended the exchange
  Refused,           // connection refused, or an operation not permitted
  Unreachable,       // no route, no address, name not found
  Malformed,         // bytes that are not what their format says
  Mismatch,          // well formed, but not what was asked (range, validator, length)
  ChecksumMismatch,  // stored bytes are not the bytes that were written
  Overloaded,        // a limit of ours is reached; later may work
  FillAbandoned,     // the task that was to land the bytes gave up
  Purged,            // the generation was purged or replaced meanwhile
  NotFound,          // no such thing (file, record, header)
  Full,              // no space left on a drive or in a table
  Unsupported,       // recognised, and not done here
  IoError,           // the operating system said no; see os_errno
};

/// Small and trivially copyable; `where` points to static storage and names the step that failed.
struct Error {
  Side side = Side::Self;
  Kind kind = Kind::IoError;
  bool retryable = false;
  int32_t os_errno = 0;
  const char* where = "";
};

/// libstdc++ 12's std::expected is not [[nodiscard]]; every function that returns a Result is.
template <class T>
using Result = std::expected<T, Error>;

struct Done {};

[[nodiscard]] constexpr std::unexpected<Error> fail(Error error) {
  return std::unexpected<Error>(error);
}
[[nodiscard]] constexpr std::unexpected<Error> fail(Side side, Kind kind, const char* where,
                                                    int32_t os_errno = 0) {
  return std::unexpected<Error>(Error{side, kind, false, os_errno, where});
}
[[nodiscard]] constexpr std::unexpected<Error> fail_retryable(Side side, Kind kind,
                                                              const char* where,
                                                              int32_t os_errno = 0) {
  return std::unexpected<Error>(Error{side, kind, true, os_errno, where});
}

/// The word for logs, metrics labels and Cache-Status details; stable, lower case, no spaces.
[[nodiscard]] std::string_view name_of(Side side) noexcept;
[[nodiscard]] std::string_view name_of(Kind kind) noexcept;

}  // namespace segue
