// edge/server/h2_guard.h - counts the frames that cost a server more than its client: whoever sends
// more of a kind than any player has a use for is told to calm down (RFC 9113 §10.5).
//
// libnghttp2 1.52 bounds resets and CONTINUATION frames only, with a limit and an error of its own,
// so all kinds are counted here.
#pragma once
#include <array>
#include <chrono>
#include <cstddef>
#include <cstdint>
#include <optional>
#include <string_view>

#include "base/loop/clock.h"

namespace segue::edge {

/// What a client sent too much of; the label of the metric.
enum class Flood : uint8_t {
  // Streams it opened and reset, made us reset (CVE-2023-44487, CVE-2025-8671), or opened beyond
  // its limit.
  Reset,
  Settings,      // each is answered (CVE-2019-9515); and GOAWAY
  Ping,          // each is answered (CVE-2019-9512)
  Priority,      // PRIORITY and PRIORITY_UPDATE (CVE-2019-9513)
  WindowUpdate,  // more than what was sent could need
  EmptyFrame,    // DATA that carries nothing and ends nothing (CVE-2019-9518)
  Unknown,       // frames of unknown types
  Continuation,  // of one field block (CVE-2024-27316)
  FieldBytes,    // a field block that unpacks to far more than may be sent (CVE-2016-6581)
};
inline constexpr size_t kFloods = 9;
[[nodiscard]] std::string_view name_of(Flood flood) noexcept;

/// How many at once, and how many a second in the long run.
struct FloodLimit {
  uint32_t burst;
  uint32_t per_second;
};
/// By Flood, up to Unknown. A player that is scrubbed through a track resets a few streams a
/// second, a page that is closed all its hundred at once.
inline constexpr std::array<FloodLimit, 7> kFloodLimits{
    {{300, 20}, {20, 1}, {50, 10}, {400, 50}, {1000, 100}, {100, 10}, {100, 10}}};

/// Loop-owned; one per connection.
class Http2Guard {
 public:
  /// One more of `flood`, up to Unknown; false: that is too many.
  [[nodiscard]] bool allow(Flood flood, MonoTime now) noexcept;
  /// One frame by its header; what is too much, or nothing.
  [[nodiscard]] std::optional<Flood> on_frame(uint8_t type, MonoTime now) noexcept;
  /// So many bytes of DATA were sent: each KiB earns the client an update of both windows (Go's
  /// client sends them for each 4 KiB that is read), a byte at a time next to none (CVE-2019-9511).
  void on_data_sent(size_t bytes) noexcept;

 private:
  /// When all that came would have been earned by the rate; ahead of the clock by at most a burst.
  std::array<MonoTime, kFloodLimits.size()> earned_until_{};
  /// Bytes sent that no update has come for yet, as far as windows and sockets may hold.
  size_t unanswered_bytes_ = 0;
  uint32_t continuations_ = 0;  // of the present field block
};

}  // namespace segue::edge
