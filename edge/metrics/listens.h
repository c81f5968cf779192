// edge/metrics/listens.h - who listened to what, as far as an edge can tell: it sees bytes
// delivered, not ears. Per track and hour: plays, unique listeners, seconds of audio, a completion
// curve in tenths, where listeners skipped from, and podcast downloads by the rules of the IAB
// (2.x): one per address, user agent and episode in 24 hours, with at least a minute of audio;
// robots and what a client loads ahead for nobody (Sec-Purpose: prefetch) are left out, and our own
// prefetch is no response at all.
//
// A play begins once 1 KiB of a track was delivered that is not its tail: players look at the first
// bytes and at the end of a file without playing it. It is over after half an hour in which nothing
// was being delivered. Playlists, pictures and texts are no tracks.
//
// A player is a salted hash of the address and the user agent, a listener one of the address cut to
// /24 or /48 and the user agent: an address of a home changes, and what is shown must name nobody.
// The salt is new with each start and never leaves the process. Seconds are bytes by an assumed
// bitrate.
//
// Memory is bounded (base/limits.h), and no crowd of players shuts others out: the player heard
// longest ago makes room, and of it remains that it played and what it downloaded.
#pragma once
#include <cstdint>
#include <list>
#include <map>
#include <mutex>
#include <string>
#include <unordered_map>
#include <vector>

#include "base/counter.h"
#include "base/listen_limits.h"
#include "edge/metrics/access_record.h"
#include "edge/metrics/byte_coverage.h"
#include "edge/metrics/recent_table.h"

namespace segue::edge {

class Registry;

inline constexpr uint32_t kTenths = 10;

class Listens {
 public:
  struct Options {
    uint64_t salt = 0;                   // from Entropy
    uint32_t bytes_per_second = 16'000;  // of audio: 128 kbit/s
    uint32_t sessions_max = kListenSessionsMax;
    uint32_t recent_max = kListenRecentMax;
    uint32_t listeners_max = kListenersRecentMax;
    uint32_t rows_max = kListenRowsMax;
  };
  explicit Listens(Options options);

  /// One finished response. One thread (the access log's writer). Responses come when they end, so
  /// a long one may come after shorter ones that began later.
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
  struct SessionKey {
    uint64_t who = 0, track = 0;
    bool operator==(const SessionKey&) const = default;
    [[nodiscard]] uint64_t hash() const noexcept { return who ^ track; }
  };
  /// One player of one track.
  struct Session {
    SessionKey key;
    WallTime begun{};  // when its newest request came
    WallTime last{};   // when the last byte of any of its responses had gone out
    WallTime day_begun{};
    uint64_t position = 0;  // behind the last byte delivered
    uint32_t tenths = 0;    // one bit each
    bool played = false;    // this play is counted
    bool downloaded = false;
    ByteCoverage play;  // of this play
    ByteCoverage day;   // of the 24 hours since day_begun
  };
  struct KeyHash {
    size_t operator()(const SessionKey& key) const noexcept { return key.hash(); }
  };
  using Sessions = std::list<Session>;
  using RowKey = std::pair<int64_t, uint64_t>;  // hour, track

  [[nodiscard]] Session& session_of(SessionKey key, WallTime now);
  void recall(Session& session, WallTime now) const;
  void forget_oldest(WallTime now);
  [[nodiscard]] Row* row_of(RowKey key, const AccessRecord& record);
  [[nodiscard]] bool is_new_listener(SessionKey key, int64_t hour);
  void count_skip(const AccessRecord& record, const Session& session, Row& row) const;
  void count_coverage(uint64_t length, Session& session, Row& row) const;
  [[nodiscard]] std::vector<std::pair<int64_t, const Row*>> shown() const;
  [[nodiscard]] double seconds_of(uint64_t bytes) const noexcept;

  const Options options_;
  mutable std::mutex mutex_;  // held for one record, or for one answer
  Sessions sessions_;         // the one heard longest ago first
  std::unordered_map<SessionKey, Sessions::iterator, KeyHash> by_key_;
  // Of players that are no longer in sessions_: seen: when last, in seconds; mark: since when they
  // have this day's download, 0 if they have none.
  RecentTable recent_;
  RecentTable listeners_;  // by listener and track; seen: the hour it was counted in
  std::map<RowKey, Row> rows_;
  Counter taken_, robots_, preloads_, others_, dropped_, cut_short_, sessions_count_, rows_count_;
};

/// The player as a hash: address and user agent.
[[nodiscard]] uint64_t player_of(std::string_view address, std::string_view user_agent,
                                 uint64_t salt) noexcept;
/// The listener as a hash: address cut to /24 or /48, and user agent.
[[nodiscard]] uint64_t listener_of(std::string_view address, std::string_view user_agent,
                                   uint64_t salt) noexcept;
/// Whether a user agent calls itself a robot or a tool, by words that the IAB's list shares.
[[nodiscard]] bool is_robot(std::string_view user_agent) noexcept;
/// Whether a path is by its ending no audio: a playlist, a picture, a text.
[[nodiscard]] bool is_no_track(std::string_view path) noexcept;

}  // namespace segue::edge
