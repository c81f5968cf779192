// edge/metrics/listens.h - who listened to what, as far as an edge can tell: it sees bytes
// delivered, not ears. Per track and hour: plays, unique listeners, seconds of audio, a completion
// curve in tenths, where listeners skipped from, and podcast downloads by the rules of the IAB
// (2.x): one per address, user agent and episode in 24 hours, with at least a minute of audio;
// robots and what a client loads ahead for nobody (Sec-Purpose: prefetch) are left out, and our own
// prefetch is no response at all.
//
// A player is a salted hash of the address and the user agent, a listener one of the address cut to
// /24 or /48 and the user agent: an address of a home changes, and what is shown must name nobody.
// The salt is new with each start and never leaves the process. Seconds are bytes by an assumed
// bitrate.
#pragma once
#include <cstdint>
#include <map>
#include <mutex>
#include <string>
#include <unordered_map>
#include <vector>

#include "base/counter.h"
#include "edge/metrics/access_record.h"
#include "edge/metrics/byte_coverage.h"

namespace segue::edge {

class Registry;

inline constexpr uint32_t kListenSessionsMax = 20'000;  // about 450 bytes each
inline constexpr uint32_t kListenRowsMax = 10'000;      // about 400 bytes each
inline constexpr uint32_t kListenRowsShownMax = 2'000;  // in one answer
inline constexpr uint32_t kTenths = 10;

class Listens {
 public:
  struct Options {
    uint64_t salt = 0;                   // from Entropy
    uint32_t bytes_per_second = 16'000;  // of audio: 128 kbit/s
    uint32_t sessions_max = kListenSessionsMax;
    uint32_t rows_max = kListenRowsMax;
  };
  explicit Listens(Options options) : options_(options) {}

  /// One finished response. One thread (the access log's writer).
  void take(const AccessRecord& record);

  /// The rows, newest hour first and most plays first, at most kListenRowsShownMax. Any thread.
  [[nodiscard]] std::string json_lines() const;
  [[nodiscard]] std::string csv() const;

  /// segue_listens_*. Start-up only.
  void register_metrics(Registry& registry) const;

 private:
  struct Row {
    std::string site, path;
    uint64_t plays = 0, listeners = 0, downloads = 0, bytes = 0;
    uint64_t tenths[kTenths] = {};  // plays that were delivered so much of this tenth: over half
    uint64_t skips[kTenths] = {};   // jumps forward out of this tenth
  };
  struct Session {
    WallTime last{};
    WallTime day_begun{};
    uint64_t position = 0;  // behind the last byte delivered
    uint32_t tenths = 0;    // one bit each
    bool downloaded = false;
    ByteCoverage play;  // of this play
    ByteCoverage day;   // of the 24 hours since day_begun
  };
  struct SessionKey {
    uint64_t who, track;
    bool operator==(const SessionKey&) const = default;
  };
  struct KeyHash {
    size_t operator()(const SessionKey& key) const noexcept { return key.who ^ key.track; }
  };
  using RowKey = std::pair<int64_t, uint64_t>;  // hour, track

  [[nodiscard]] Session* session_of(SessionKey key, WallTime now);
  [[nodiscard]] Row* row_of(RowKey key, const AccessRecord& record);
  void count(const AccessRecord& record, Session& session, Row& row);
  [[nodiscard]] bool is_new_listener(SessionKey key, int64_t hour);
  void count_coverage(const AccessRecord& record, Session& session, Row& row);
  [[nodiscard]] std::vector<std::pair<int64_t, const Row*>> shown() const;
  [[nodiscard]] double seconds_of(uint64_t bytes) const noexcept;

  const Options options_;
  mutable std::mutex mutex_;  // held for one record, or for one answer
  std::unordered_map<SessionKey, Session, KeyHash> sessions_;    // by player and track
  std::unordered_map<SessionKey, int64_t, KeyHash> last_hours_;  // by listener and track
  std::map<RowKey, Row> rows_;
  WallTime swept_{};
  Counter taken_, robots_, preloads_, dropped_, sessions_count_, rows_count_;
};

/// The player as a hash: address and user agent.
[[nodiscard]] uint64_t player_of(std::string_view address, std::string_view user_agent,
                                 uint64_t salt) noexcept;
/// The listener as a hash: address cut to /24 or /48, and user agent.
[[nodiscard]] uint64_t listener_of(std::string_view address, std::string_view user_agent,
                                   uint64_t salt) noexcept;
/// Whether a user agent calls itself a robot or a tool, by words that the IAB's list shares.
[[nodiscard]] bool is_robot(std::string_view user_agent) noexcept;

}  // namespace segue::edge
