#include "conf/limits_table.h"

#include <fmt/format.h>

#include <chrono>
#include <span>
#include <string_view>

#include "base/hint_limits.h"
#include "base/limits.h"
#include "base/limits_http2.h"
#include "base/listen_limits.h"
#include "base/socket_limits.h"
#include "conf/client_memory.h"
#include "conf/parse_units.h"

namespace segue::conf {
namespace {

/// One bound: its name in base/limits.h, its value for people, what it bounds or costs at most.
struct Row {
  std::string_view name;
  std::string value;
  std::string meaning;
};

std::string size(uint64_t bytes) { return format_size(bytes); }
std::string count(uint64_t number) { return fmt::format("{}", number); }
std::string time(std::chrono::milliseconds duration) {
  return duration.count() % 1000 == 0 ? fmt::format("{} s", duration.count() / 1000)
                                      : fmt::format("{} ms", duration.count());
}

std::string section(std::string_view title, std::span<const Row> rows) {
  std::string text = fmt::format("{}\n", title);
  for (const Row& row : rows) {
    text += fmt::format("  {:<30}{:>10}  {}\n", row.name, row.value, row.meaning);
  }
  return text;
}

// Estimates of one entry, for the cost column alone.
constexpr uint64_t kWaiterBytes = 64;
constexpr uint64_t kOperationBytes = 128;

std::string tls_rows() {
  const Row rows[] = {
      {"kTlsHandshakeTimeout", time(kTlsHandshakeTimeout), "from accept to the last flight"},
      {"kTlsHandshakesPerLoopMax", count(kTlsHandshakesPerLoopMax), "more: the oldest is cut"},
      {"kSealedBatchesPerLoopMax", count(kSealedBatchesPerLoopMax),
       "of 70 KiB, only while a socket is full"},
      {"kSealedBatchesReserved", count(kSealedBatchesReserved),
       "of them; with the rest held: the longest stalled is cut"},
  };
  return section("TLS", rows);
}

std::string http2_rows() {
  const Row rows[] = {
      {"kHttp2StreamsMax", count(kHttp2StreamsMax), "of one connection; more: REFUSED_STREAM"},
      {"kHttp2StreamsPerLoopMax", count(kHttp2StreamsPerLoopMax),
       "or a loop's part of node.connections; more: REFUSED_STREAM"},
      {"kHttp2MemoryBytesMax", size(kHttp2MemoryBytesMax), "of nghttp2, for one connection"},
      {"kHttp2ContinuationsMax", count(kHttp2ContinuationsMax), "of one field block; more: GOAWAY"},
      {"kHttp2DrainNotice", time(kHttp2DrainNotice), "from the notice of a drain to its GOAWAY"},
  };
  return section("HTTP/2", rows);
}

std::string connection_rows() {
  const Row rows[] = {
      {"kRequestLineBytesMax", size(kRequestLineBytesMax), "longer: 414"},
      {"kHeaderLineBytesMax", size(kHeaderLineBytesMax), "longer: 431"},
      {"kHeaderBytesMax", size(kHeaderBytesMax), "more: 431"},
      {"kHeaderFieldsMax", count(kHeaderFieldsMax), "more: 431"},
      {"kRequestBodyDrainBytesMax", size(kRequestBodyDrainBytesMax), "longer: the connection ends"},
      {"kRelayBodyBytesMax", size(kRelayBodyBytesMax), "of a relayed request; more: 413"},
      {"kRelaysPerLoopMax", count(kRelaysPerLoopMax), "relayed requests at once; more wait"},
      {"kWayBytesMax", size(kWayBytesMax), "of CDN-Loop; more: 508"},
      {"kTokenBytesMax", size(kTokenBytesMax), "of an access token; longer: 403"},
      {"kTokenKeysMax", count(kTokenKeysMax), "live keys of one site"},
      {"kClientsLimitedMax", count(kClientsLimitedMax), "clients counted at once on a loop"},
      {"kRangesMax", count(kRangesMax), "more: Range is ignored"},
      {"kResponseHeadBytesMax", size(kResponseHeadBytesMax), "of one response"},
      {"kWriteBatchBytes", size(kWriteBatchBytes), "one writev, one connection and turn"},
      {"kNotSentLowatBytes", size(kNotSentLowatBytes), "unsent bytes in a client's socket"},
      {"kSealedNotSentLowatBytes", size(kSealedNotSentLowatBytes), "the same over TLS"},
      {"kWideBatchBytes", size(kWideBatchBytes), "both of a client that has taken all before"},
      {"kWideSocketsPerLoopMax", count(kWideSocketsPerLoopMax), "such clients at once"},
      {"kHeaderReadTimeout", time(kHeaderReadTimeout), "for a whole request head"},
      {"kKeepAliveTimeout", time(kKeepAliveTimeout), "between two requests"},
      {"kClientStallTimeout", time(kClientStallTimeout), "without a byte taken: cut"},
      {"kHalfCloseGrace", time(kHalfCloseGrace), "after a client closed its side"},
      {"kLingerTimeout", time(kLingerTimeout), "after the last response"},
      {"kLingerBytesMax", size(kLingerBytesMax), "discarded meanwhile"},
      {"kRequestsPerTurnMax", count(kRequestsPerTurnMax), "pipelined, of one connection"},
      {"kAcceptsPerTurnMax", count(kAcceptsPerTurnMax), "of one listener"},
      {"kAcceptPause", time(kAcceptPause), "where no descriptor is left"},
      {"kConnectionsPerLoopMax", count(kConnectionsPerLoopMax),
       fmt::format("at most {} a loop", size(kConnectionsPerLoopMax * kClientBytes))},
      {"kTurnedAwayMax", count(kTurnedAwayMax), "told 503 at once, of a loop; more: closed"},
      {"kPassesPerLoopMax", count(kPassesPerLoopMax), "responses streamed through unstored"},
      {"kPassBufferBytes", size(kPassBufferBytes),
       fmt::format("at most {} a loop", size(uint64_t{kPassesPerLoopMax} * kPassBufferBytes))},
      {"kCollectionsPerLoopMax", count(kCollectionsPerLoopMax),
       "answers of unknown length, 4 MiB each; more are passed through"},
  };
  return section("one client connection", rows);
}

std::string fill_rows() {
  const Row rows[] = {
      {"kFillsPerLoopMax", count(kFillsPerLoopMax),
       fmt::format("at most {} a loop, without buffers", size(kFillsPerLoopMax * kFillBytes))},
      {"kFillRunBytesMax", size(kFillRunBytesMax), "asked of the origin at once; in buffers"},
      {"kFillRunSlicesMax", count(kFillRunSlicesMax), "the same in slices"},
      {"kFillOpenEndedFirstSlices", count(kFillOpenEndedFirstSlices), "first run of bytes=N-"},
      {"kFillFinishBytesMax", size(kFillFinishBytesMax), "left without reader: still finished"},
      {"kWaitersPerLoopMax", count(kWaitersPerLoopMax),
       fmt::format("at most {} a loop", size(kWaitersPerLoopMax * kWaiterBytes))},
      {"kBufferWaitersMax", count(kBufferWaitersMax), "waiting for a buffer; more: 503"},
      {"kDriveHangTimeout", time(kDriveHangTimeout), "then a waiting reader leaves for the origin"},
      {"kOriginConnectionsPerLoopMax", count(kOriginConnectionsPerLoopMax), "kept or in use"},
      {"kFetchWaitersMax", count(kFetchWaitersMax), "waiting for one of them; more: 503"},
      {"kOriginHeaderBytesMax", size(kOriginHeaderBytesMax), "of one answer; more: 502"},
      {"kOriginHeaderFieldsMax", count(kOriginHeaderFieldsMax), "of one answer; more: 502"},
  };
  return section("fills and origins", rows);
}

std::string cache_rows() {
  const Row rows[] = {
      {"kSliceBytes", size(kSliceBytes), "the largest buffer and slot"},
      {"kDiskAlignBytes", size(kDiskAlignBytes), "unit of drive reads and writes"},
      {"kSlotHeaderBytes", size(kSlotHeaderBytes), "in front of each slot"},
      {"kRecordBytes", size(kRecordBytes), "of one representation on a drive"},
      {"kSmallAnswerBytesMax", size(kSmallAnswerBytesMax), "RAM only: playlists, negative answers"},
      {"kKeyBytesMax", size(kKeyBytesMax), "longer target: 414"},
      {"kQueryNamesMax", count(kQueryNamesMax), "of a site's query that stay in the key"},
      {"kVariantsMax", count(kVariantsMax), "of one key; more are passed through"},
      {"kTagsPerRecordMax", count(kTagsPerRecordMax), "of one representation"},
      {"kPrefixPurgesMax", count(kPrefixPurgesMax), "at once; more are refused"},
      {"kTagPurgesMax", count(kTagPurgesMax), "at once; more are refused"},
      {"kSlotsPerIndexShardMin", count(kSlotsPerIndexShardMin), "of one index shard"},
      {"kIndexShardsPerDriveMax", count(kIndexShardsPerDriveMax), "of one drive"},
      {"kDriveOpsInFlightMax", count(kDriveOpsInFlightMax),
       fmt::format("per loop and drive, {}", size(kDriveOpsInFlightMax * kOperationBytes))},
      {"kDriveWritesInFlightMax", count(kDriveWritesInFlightMax), "per drive, over all loops"},
      {"kDriveReadsBeforeWrites", count(kDriveReadsBeforeWrites), "in flight: writes then wait"},
      {"kFileOpsInFlightMax", count(kFileOpsInFlightMax), "per loop, of dir: origins"},
      {"kRingEntries", count(kRingEntries), "of one loop's io_uring"},
  };
  return section("the cache", rows);
}

std::string nats_rows() {
  const Row rows[] = {
      {"kNatsServersMax", count(kNatsServersMax), "of one cluster"},
      {"kNatsMessagesInFlightMax", count(kNatsMessagesInFlightMax),
       "of a subject, not acknowledged"},
      {"kNatsBytesInFlightMax", size(kNatsBytesInFlightMax), "likewise; larger ones come singly"},
  };
  return section("the feed over NATS", rows);
}

std::string listen_rows() {
  const Row rows[] = {
      {"kListenSessionsMax", count(kListenSessionsMax), "players of a track with their coverage"},
      {"kListenRecentMax", count(kListenRecentMax), "plays and downloads beyond those"},
      {"kListenersRecentMax", count(kListenersRecentMax), "listeners of a track and hour"},
      {"kListenRowsMax", count(kListenRowsMax), "tracks by hour; more: the oldest hour goes"},
      {"kListenRowsShownMax", count(kListenRowsShownMax), "in one answer"},
      {"kListenBytesMax", size(kListenBytesMax), "all of it, where listens.count is on"},
  };
  return section("listening", rows);
}

std::string playlist_rows() {
  const Row rows[] = {
      {"kPlaylistBytesMax", size(kPlaylistBytesMax), "longer: not read"},
      {"kPlaylistReadBytesPerSecond", size(kPlaylistReadBytesPerSecond),
       "read by one loop; more: a later response is looked at"},
      {"kPlaylistLinesMax", count(kPlaylistLinesMax), "more: not read"},
      {"kPlaylistSegmentsMax", count(kPlaylistSegmentsMax),
       "of one: the first, of a live one the last"},
      {"kPlaylistMapsMax", count(kPlaylistMapsMax), "initialization sections; more: not read"},
      {"kPlaylistsMax", count(kPlaylistsMax), "in an eighth of prefetch.memory"},
      {"kPlaylistSegmentsAheadMax", count(kPlaylistSegmentsAheadMax), "hinted at at once"},
      {"kNextObjectsMax", count(kNextObjectsMax),
       "of a player's own list (CMCD nor); more: not read"},
  };
  return section("what is asked for next: playlists, CMCD", rows);
}

std::string percent(uint32_t number) { return fmt::format("{} %", number); }

std::string overload_rows() {
  const Row rows[] = {
      {"kOverloadLookEvery", time(kOverloadLookEvery), "what is shed is decided anew"},
      {"kBuffersSoftPercent", percent(kBuffersSoftPercent), "of the large buffers busy"},
      {"kBufferWaitersHard", count(kBufferWaitersHard), "waiting, all of them being busy"},
      {"kMemorySoftPercent", percent(kMemorySoftPercent), "of node.ram resident"},
      {"kMemoryHardPercent", percent(kMemoryHardPercent), "of node.ram resident"},
      {"kDescriptorsSoftPercent", percent(kDescriptorsSoftPercent), "of the limit of open files"},
      {"kDescriptorsHardPercent", percent(kDescriptorsHardPercent), "of the limit of open files"},
      {"kFillsSoft", count(kFillsSoft), "fills of the busiest loop"},
      {"kFillsHard", count(kFillsHard), "fills of the busiest loop"},
      {"kRingSoft", count(kRingSoft), "operations of a loop on one drive"},
      {"kRingHard", count(kRingHard), "operations of a loop on one drive"},
  };
  return section("overload: soft, the first load is shed; hard, the last that helps", rows);
}

std::string loop_rows() {
  const Row rows[] = {
      {"kLoopsMax", count(kLoopsMax), "threads"},
      {"kLoopTurnMax", time(kLoopTurnMax), "of one turn of a loop"},
      {"kAccessLogRecordsPerLoopMax", count(kAccessLogRecordsPerLoopMax),
       "waiting for the log's writer; more: dropped"},
      {"kFramePoolBytesMax", size(kFramePoolBytesMax), "coroutine frames of one loop; more: 503"},
  };
  return section("loops", rows);
}

}  // namespace

std::string print_limits() {
  return connection_rows() + tls_rows() + http2_rows() + fill_rows() + cache_rows() +
         overload_rows() + nats_rows() + playlist_rows() + listen_rows() + loop_rows();
}

}  // namespace segue::conf
