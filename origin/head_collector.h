// origin/head_collector.h - reads a response head from the raw lines that libcurl hands over, more
// strictly than libcurl does: what two parsers could read differently is refused (RFC 9112 §11).
// Pure: no I/O, no clock.
#pragma once
#include <cstdint>
#include <string_view>

#include "http/header_fields.h"
#include "origin/fault.h"

namespace segue::origin {

inline constexpr uint32_t kInterimHeadsMax = 16;

/// One response. Interim (1xx) heads are skipped; all their bytes and fields count for the limits.
class HeadCollector {
 public:
  enum class State : uint8_t { StatusLine, Fields, Complete, Failed };

  /// Takes one line with its line end, also the empty one. After Complete (trailers) and Failed
  /// nothing is taken any more. Faults: the group "the head's form" of fault.h but for the lengths.
  Fault add(std::string_view line);

  [[nodiscard]] State state() const noexcept { return state_; }
  [[nodiscard]] bool complete() const noexcept { return state_ == State::Complete; }
  /// Whether any byte of a head came.
  [[nodiscard]] bool started() const noexcept { return bytes_ > 0; }
  /// Of the final head; meaningful once complete.
  [[nodiscard]] int status() const noexcept { return status_; }
  [[nodiscard]] uint8_t version_major() const noexcept { return version_major_; }
  [[nodiscard]] uint8_t version_minor() const noexcept { return version_minor_; }
  /// Valid until the next add().
  [[nodiscard]] http::FieldsView fields() const noexcept { return fields_.view(); }

 private:
  Fault take_line(std::string_view line);
  Fault take_status_line(std::string_view line);
  Fault end_head();

  http::OwnedFields fields_;
  State state_ = State::StatusLine;
  int status_ = 0;
  uint8_t version_major_ = 1;
  uint8_t version_minor_ = 1;
  uint32_t bytes_ = 0;
  uint32_t field_count_ = 0;
  uint32_t interim_ = 0;
};

}  // namespace segue::origin
