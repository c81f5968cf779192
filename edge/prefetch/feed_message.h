// edge/prefetch/feed_message.h - one message of the recommendation feed: what a session plays now
// and what it will probably play next, or what the catalogue knows of a track. Schema:
// conf/feed.md.
//
// Whoever feeds is trusted to recommend, not to be right: every message is bounded in size, depth,
// entries and values before anything is kept of it, and a track is a path on a configured site,
// never a URL.
#pragma once
#include <chrono>
#include <cstdint>
#include <expected>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "base/units.h"

namespace segue::edge {

using std::chrono::milliseconds;

inline constexpr uint32_t kFeedLineBytesMax = 64 * KiB;
inline constexpr uint32_t kFeedDepthMax = 6;
inline constexpr uint32_t kFeedMembersMax = 64;     // of one object
inline constexpr uint32_t kFeedNextMax = 32;        // recommended tracks of one message
inline constexpr uint32_t kFeedNameBytesMax = 128;  // session, listener, model, context
inline constexpr uint32_t kFeedPathBytesMax = 2048;
inline constexpr uint32_t kFeedTagsMax = 16;
inline constexpr milliseconds kFeedEtaMax{std::chrono::hours{24}};
inline constexpr milliseconds kFeedTtlDefault{std::chrono::minutes{10}};
inline constexpr uint64_t kFeedBytesMax = uint64_t{1} << 40;

enum class FeedOp : uint8_t {
  Set,     // this session's plan, instead of the one before
  Cancel,  // this session has no plan any more
  Track,   // facts about a track
  Purge,   // what is to be forgotten; whoever may purge reads the rest (edge/admin/purge_request.h)
};

/// A track as the feed names it. Not canonical yet: whoever plans makes its cache key.
struct FeedTrack {
  std::string site;  // empty: the only site there is
  std::string path;  // "/albums/1/2.ogg?v=3"
};

struct FeedNow {
  FeedTrack track;
  milliseconds position{0};
  milliseconds duration{0};  // 0: not told
  bool playing = true;
};

struct FeedNext {
  FeedTrack track;
  double probability = 1;
  std::optional<milliseconds> eta;  // from the message on; none: when `now` ends
  uint64_t bytes = 0;               // of the whole track; 0: not told
  milliseconds duration{0};         // 0: not told
  milliseconds head{0};             // how much of the beginning is wanted first; 0: our default
  bool tail = false;                // its last page is read first (Ogg)
};

enum class FeedContextKind : uint8_t { None, Playlist, Album, Station, Podcast };
struct FeedContext {
  FeedContextKind kind = FeedContextKind::None;
  std::string id;
  bool collaborative = false;
  uint64_t revision = 0;
};

/// What the catalogue knows of a track; 0 and negative values: not told.
struct FeedTrackFacts {
  FeedTrack track;
  milliseconds duration{0};
  uint32_t bits_per_second = 0;
  uint64_t bytes = 0;
  uint64_t head_bytes = 0;
  std::string encoding;
  float tempo = 0;   // beats per minute
  int32_t key = -1;  // 0-11 major from C, 12-23 minor
  float energy = -1;
  std::vector<std::string> mood;
};

struct FeedMessage {
  FeedOp op = FeedOp::Set;
  std::string session;
  std::string listener;
  FeedContext context;
  std::optional<FeedNow> now;
  std::vector<FeedNext> next;
  std::string model;
  uint64_t revision = 0;
  milliseconds ttl = kFeedTtlDefault;
  std::optional<FeedTrackFacts> facts;  // FeedOp::Track
};

/// Reuses its memory from line to line. Loop-owned.
class FeedParser {
 public:
  FeedParser();
  ~FeedParser();
  FeedParser(const FeedParser&) = delete;
  FeedParser& operator=(const FeedParser&) = delete;
  /// One line without its end. The error is a sentence for whoever feeds; it quotes no more than a
  /// few bytes of the line.
  [[nodiscard]] std::expected<FeedMessage, std::string> parse(std::string_view line);

 private:
  struct Impl;
  std::unique_ptr<Impl> impl_;
};

}  // namespace segue::edge
