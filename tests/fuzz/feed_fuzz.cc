// Any bytes are lines of messages that keep their bounds, or mistakes with a text; the same however
// the bytes are cut into pieces.
#include <cmath>
#include <cstddef>
#include <cstdint>
#include <string_view>

#include "base/assert.h"
#include "edge/prefetch/feed_lines.h"

namespace {

using namespace segue::edge;

void check_track(const FeedTrack& track) {
  SEGUE_ASSERT(track.path.starts_with('/'));
  SEGUE_ASSERT(!track.path.starts_with("//"));
  SEGUE_ASSERT(track.path.size() <= kFeedPathBytesMax);
}

struct Seen {
  uint64_t messages = 0, mistakes = 0, too_long = 0, next = 0;
  bool operator==(const Seen&) const = default;
};

Seen read_all(std::string_view bytes, size_t piece) {
  Seen seen;
  FeedParser parser;
  FeedLines lines;
  const auto line = [&](std::string_view text, uint64_t number) {
    SEGUE_ASSERT(number > 0);
    const auto message = parser.parse(text);
    if (!message) {
      SEGUE_ASSERT(!message.error().empty());
      ++seen.mistakes;
      return;
    }
    ++seen.messages;
    seen.next += message->next.size();
    SEGUE_ASSERT(message->next.size() <= kFeedNextMax);
    for (const FeedNext& next : message->next) {
      check_track(next.track);
      SEGUE_ASSERT(next.probability >= 0);
      SEGUE_ASSERT(next.probability <= 1);
      SEGUE_ASSERT(next.bytes <= kFeedBytesMax);
    }
    if (message->now) check_track(message->now->track);
    if (message->op == FeedOp::Track) SEGUE_ASSERT(message->facts.has_value());
    if (message->op != FeedOp::Track) SEGUE_ASSERT(!message->session.empty());
    SEGUE_ASSERT(message->ttl <= kFeedEtaMax);
  };
  const auto too_long = [&](uint64_t) { ++seen.too_long; };
  while (!bytes.empty()) {
    lines.take(bytes.substr(0, piece), line, too_long);
    bytes.remove_prefix(std::min(piece, bytes.size()));
  }
  lines.end(line, too_long);
  return seen;
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  const std::string_view bytes(reinterpret_cast<const char*>(data), size);
  const Seen whole = read_all(bytes, SIZE_MAX);
  SEGUE_ASSERT(whole == read_all(bytes, 7));
  return 0;
}
