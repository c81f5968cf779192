// edge/server/h2_priority.h - whose bytes go next where one client's streams want more than its
// connection takes (RFC 9218). Pure; knows no frames.
#pragma once
#include <array>
#include <cstddef>
#include <cstdint>
#include <string_view>
#include <vector>

namespace segue::edge {

/// RFC 9218 §4. A client that says nothing gets the default urgency and shares: the default "not
/// incremental" would let the first of two long tracks hold up the second to its end, which is
/// right for parts of a page and wrong for players.
struct Http2Priority {
  uint8_t urgency = 3;  // 0 is the most urgent, 7 the least
  bool incremental = true;
  friend bool operator==(Http2Priority, Http2Priority) = default;
};
/// Reads a Priority field or the text of a PRIORITY_UPDATE. What is malformed or out of range is
/// ignored (RFC 9218 §4: as if it were not there).
[[nodiscard]] Http2Priority parse_priority(std::string_view value) noexcept;

/// One stream's claim to the connection.
struct Http2Claim {
  Http2Priority priority;
  uint32_t stream = 0;
  uint64_t served = 0;   // bytes sent, and what it did not ask for in its time (Http2Schedule)
  uint64_t batch = 0;    // its last one, in batches of the connection
  bool waiting = false;  // has bytes, or wants to fetch some, and was told to wait
  bool is_head = false;  // what it waits with is its head: small, and before all bodies
  bool sendable = true;  // its windows are open; kept by the connection
};

/// Those that share do so by bytes: who got the fewest goes next, whatever a batch of each carries.
/// Whoever asked for nothing in a while has its count raised to where the others were then, so that
/// nobody saves up (start-time fair queueing).
///
/// Loop-owned; one per connection. Does not own the claims. Linear in the connection's streams,
/// of which there are at most kHttp2StreamsMax.
class Http2Schedule {
 public:
  /// One batch in so many goes to who has waited longest, whatever its urgency: a stream that got
  /// nothing at all for a minute would be given up (kClientStallTimeout).
  static constexpr uint32_t kBatchesPerAlms = 16;

  void add(Http2Claim& claim) { claims_.push_back(&claim); }
  void remove(Http2Claim& claim) noexcept {
    std::erase(claims_, &claim);
    if (floor_ == &claim) floor_ = nullptr;
  }

  /// Among those of its new rank it begins as one that comes anew.
  void set_priority(Http2Claim& claim, Http2Priority priority) noexcept;

  /// Nobody waits who goes before it, and nobody else of its rank has the floor; or it was given
  /// alms.
  [[nodiscard]] bool may_send(const Http2Claim& claim) const noexcept;
  /// Gives the floor to who is to go next among those that wait; null where nobody can.
  [[nodiscard]] Http2Claim* give_floor() noexcept;
  /// Who was told to go on and has neither been told to wait again nor lost its turn. It keeps it
  /// for a moment between two batches; without that, whoever is next in line would slip in there.
  [[nodiscard]] Http2Claim* floor() const noexcept { return floor_; }
  void end_floor() noexcept { floor_ = nullptr; }
  /// A batch with so many bytes of `claim` went out.
  void count_batch(Http2Claim& claim, size_t bytes) noexcept;

 private:
  [[nodiscard]] bool goes_before(const Http2Claim& a, const Http2Claim& b) const noexcept;
  [[nodiscard]] uint64_t served(const Http2Claim& claim) const noexcept;

  std::vector<Http2Claim*> claims_;
  Http2Claim* floor_ = nullptr;
  std::array<uint64_t, 8> reached_{};  // by urgency: where the latest of those that share began
  uint64_t batches_ = 0;
  uint32_t since_alms_ = 0;
  bool alms_ = false;  // the floor was given against the order, for one batch
};

}  // namespace segue::edge
