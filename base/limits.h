// base/limits.h - every bound in one page; nothing grows without a name here. `segue limits` prints
// it with the memory it costs.
#pragma once
#include <chrono>
#include <cstdint>

#include "base/units.h"

namespace segue {

// --- slices, buffers, slots (ARCHITECTURE.md: the cache engine) ---
inline constexpr uint32_t kSliceBytes = 256 * KiB;
inline constexpr uint32_t kDiskAlignBytes = 4 * KiB;
inline constexpr uint32_t kSlotHeaderBytes = 4 * KiB;
inline constexpr uint32_t kRecordBytes = 4 * KiB;
inline constexpr uint32_t kSmallAnswerBytesMax =
    16 * KiB;  // RAM-only class: playlists, seek tables, negative answers

// --- one HTTP/1.1 connection (../http) ---
inline constexpr uint32_t kRequestLineBytesMax = 8 * KiB;  // over it: 414
inline constexpr uint32_t kHeaderLineBytesMax = 8 * KiB;   // over it: 431
inline constexpr uint32_t kHeaderBytesMax = 32 * KiB;      // over it: 431 (HAProxy 16, Varnish 32)
inline constexpr uint32_t kHeaderFieldsMax = 100;          // over it: 431 (Varnish 64, HAProxy 101)
inline constexpr uint32_t kRequestBodyDrainBytesMax = 64 * KiB;
inline constexpr uint32_t kRelayBodyBytesMax = 64 * KiB;  // where a site relays methods; more: 413
inline constexpr uint32_t kRelaysPerLoopMax = 256;        // relayed at once; more wait
inline constexpr uint32_t kWayBytesMax = 1 * KiB;  // CDN-Loop as received; more: 508, it is a loop
inline constexpr uint32_t kTokenBytesMax = 4 * KiB;        // of an access token; longer: 403
inline constexpr uint32_t kTokenKeysMax = 16;              // live keys of one site
inline constexpr uint32_t kClientsLimitedMax = 64 * 1024;  // clients counted at once per loop
inline constexpr uint32_t kRangesMax =
    16;  // more ranges in one request: Range is ignored (RFC 9110 §14.2)
inline constexpr uint32_t kResponseHeadBytesMax = 16 * KiB;
inline constexpr uint32_t kWriteBatchBytes =
    256 * KiB;  // one writev and turn of a connection; of few more (base/socket_limits.h)
inline constexpr uint32_t kNotSentLowatBytes =
    256 * KiB;  // cap on unsent bytes in a client's socket: less would cut each writev in two
inline constexpr uint32_t kSealedNotSentLowatBytes =
    128 * KiB;  // the same of a TLS client, which is sent a sealed batch of 64 KiB at a time
inline constexpr std::chrono::seconds kHeaderReadTimeout{10};
inline constexpr std::chrono::seconds kKeepAliveTimeout{75};
inline constexpr std::chrono::seconds kClientStallTimeout{
    60};  // a client that takes no byte for this long is cut
inline constexpr std::chrono::milliseconds kHalfCloseGrace{
    500};  // a client that closed its side and is owed nothing yet is given up after this
inline constexpr std::chrono::seconds kLingerTimeout{
    2};  // after the last response: for the client to read it before the socket goes
inline constexpr uint32_t kLingerBytesMax = 256 * KiB;  // discarded meanwhile; more: closed at once
inline constexpr uint32_t kRequestsPerTurnMax = 16;     // pipelined requests of one connection
inline constexpr uint32_t kConnectionsPerLoopMax = 32 * 1024;
inline constexpr uint32_t kTurnedAwayMax =
    32;  // told 503 and not gone yet, of one loop; more are closed without a word
inline constexpr uint32_t kAcceptsPerTurnMax = 64;
inline constexpr std::chrono::milliseconds kAcceptPause{
    100};  // where even the spare descriptor does not help

// --- TLS ---
inline constexpr std::chrono::seconds kTlsHandshakeTimeout{10};  // from accept to the last flight
inline constexpr uint32_t kTlsHandshakesPerLoopMax =
    512;  // one more: the oldest is cut, half-open ones being the oldest
// 64 KiB each, held only while a socket takes no more.
inline constexpr uint32_t kSealedBatchesPerLoopMax = 2048;
// Of them, for what is written out at once: with the rest held, whose socket has taken nothing for
// longest is cut, so that clients that stop reading do not keep the others from being served.
inline constexpr uint32_t kSealedBatchesReserved = 64;

// Responses streamed through unstored: each holds a fetch for as long as its client reads, and
// stalled clients must leave fetches to the fills.
inline constexpr uint32_t kPassesPerLoopMax = 128;
inline constexpr uint32_t kPassBufferBytes = 32 * KiB;
// Answers of unknown length collected at once, of one loop: each may take 4 MiB of heap.
inline constexpr uint32_t kCollectionsPerLoopMax = 8;

// --- fills ---
inline constexpr uint32_t kFillsPerLoopMax = 4096;  // running, or waiting for a place to fetch
inline constexpr uint32_t kFillRunBytesMax = 4 * MiB;
inline constexpr uint32_t kFillRunSlicesMax = kFillRunBytesMax / kSliceBytes;
inline constexpr uint32_t kFillOpenEndedFirstSlices = 4;
inline constexpr uint32_t kFillFinishBytesMax =
    512 * KiB;  // with no reader left, a run with at most this left is finished
inline constexpr uint32_t kWaitersPerLoopMax = 64 * 1024;
inline constexpr uint32_t kBufferWaitersMax = 4096;  // requests queued for a free buffer; more: 503
inline constexpr std::chrono::milliseconds kDriveHangTimeout{250};

// --- origin ---
inline constexpr uint32_t kOriginConnectionsPerLoopMax = 256;
inline constexpr uint32_t kFetchWaitersMax = 8192;  // queued for one of them; more: 503
inline constexpr uint32_t kOriginHeaderBytesMax = 64 * KiB;
inline constexpr uint32_t kOriginHeaderFieldsMax = 128;

// --- the cache ---
inline constexpr uint32_t kKeyBytesMax = 2048;  // a longer canonical target is 414
inline constexpr uint32_t kQueryNamesMax = 32;  // names of a site's query that stay in the key
inline constexpr uint32_t kVariantsMax = 8;  // stored variants of one key; more are passed through
inline constexpr uint32_t kTagsPerRecordMax = 32;
inline constexpr uint32_t kPrefixPurgesMax = 4096;
inline constexpr uint32_t kTagPurgesMax = 16384;
inline constexpr uint32_t kSlotsPerIndexShardMin = 16384;
inline constexpr uint32_t kIndexShardsPerDriveMax = 64;
inline constexpr uint32_t kDriveOpsInFlightMax = 128;  // per loop and drive
inline constexpr uint32_t kFileOpsInFlightMax =
    128;  // per loop: reads, opens, stats of dir: origins
// Reads before writes: a write is not begun while so many reads of the drive run (32 of 256 KiB
// keep an NVMe drive busy); the slice is written later or not at all.
inline constexpr uint32_t kDriveReadsBeforeWrites = 32;
inline constexpr uint32_t kDriveWritesInFlightMax = 64;  // per drive, all loops
inline constexpr uint32_t kRingEntries = 512;

// --- the feed over NATS (per subject followed) ---
inline constexpr uint32_t kNatsServersMax = 16;
inline constexpr uint32_t kNatsMessagesInFlightMax = 64;  // fetched and not yet acknowledged
// Fewer messages are fetched at once where the server lets each be so large that they would be
// more.
inline constexpr uint64_t kNatsBytesInFlightMax = 8 * MiB;

// --- the access log ---
inline constexpr uint32_t kAccessLogRecordsPerLoopMax =
    4096;  // waiting for the writer; more are dropped and counted

// --- overload: from which use on loads are shed, in order (edge/overload/overload.h) ---
inline constexpr std::chrono::milliseconds kOverloadLookEvery{100};
inline constexpr uint32_t kBuffersSoftPercent = 90;  // busy ones, of those of kSliceBytes
inline constexpr uint32_t kBufferWaitersHard = kBufferWaitersMax / 16 * 15;  // all busy besides
inline constexpr uint32_t kMemorySoftPercent = 100;                          // of node.ram
inline constexpr uint32_t kMemoryHardPercent = 105;
inline constexpr uint32_t kDescriptorsSoftPercent = 90;  // of the limit of open files
inline constexpr uint32_t kDescriptorsHardPercent = 98;
inline constexpr uint32_t kFillsSoft = kFillsPerLoopMax / 2;  // of the busiest loop
inline constexpr uint32_t kFillsHard = kFillsPerLoopMax / 16 * 15;
inline constexpr uint32_t kRingSoft = kDriveOpsInFlightMax / 4 * 3;  // of the busiest loop's drive
inline constexpr uint32_t kRingHard = kDriveOpsInFlightMax / 16 * 15;

// --- loops ---
inline constexpr uint32_t kLoopsMax = 64;
inline constexpr std::chrono::milliseconds kLoopTurnMax{1};
inline constexpr uint64_t kFramePoolBytesMax = 256 * MiB;  // coroutine frames of one loop

static_assert(kSliceBytes % kDiskAlignBytes == 0);
static_assert(kFillRunBytesMax % kSliceBytes == 0);
static_assert(kDriveOpsInFlightMax <=
              kRingEntries);  // an operation never waits for a free ring entry

}  // namespace segue
