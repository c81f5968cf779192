// origin/fetcher.h - the seam behind which an origin stands: one request, one checked head, then
// bytes.
//
// Real ones: HttpFetcher (libcurl's multi interface on our loop, several servers, health, retries,
// resume) and DirectoryFetcher
// (`dir:PATH`). Loop-owned: one Fetcher per origin and loop; health is shared between the loops by
// origin/health.h.
#pragma once
#include <chrono>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <optional>
#include <span>
#include <string>

#include "base/byte_range.h"
#include "base/loop/task.h"
#include "base/result.h"
#include "http/header_fields.h"
#include "origin/fetch_places.h"

namespace segue::origin {

struct OriginCounters;

/// What is asked of the origin. GET, but for what a site relays: HEAD and conditionals of clients
/// are evaluated here from a GET of the slice in question.
struct FetchRequest {
  std::string target;  // canonical path and query, as they go to the origin
  enum class RangeForm : uint8_t { None, Bounded, Suffix } range_form = RangeForm::None;
  ByteRange range;  // Bounded: bytes=first-(end-1). An end past the complete length is legal
                    // (clipped by the origin).
  uint64_t suffix_length = 0;  // Suffix: bytes=-N
  std::string if_none_match;   // revalidation; empty: not sent
  std::string if_modified_since;
  std::string expected_etag;  // strong ETag of the generation this fetch is for: resumes send it as
                              // If-Range
  http::OwnedFields fields;   // listed request fields, varying fields, traceparent
  int32_t preferred_server = -1;  // the server the generation came from; -1: any
  bool prefetch = false;          // never before demand
  FetchPlace place;               // one of fetcher.places(); empty: start() takes one
  /// Empty: GET. Any other is sent once and its answer taken as it comes: no retry, no other
  /// server, no redirect followed (RFC 9110 §9.2.2). `body` goes with it.
  std::string method;
  std::string body;
  [[nodiscard]] bool is_relayed() const noexcept { return !method.empty(); }
  MonoTime first_byte_deadline =
      kNever;  // in all, over retries and failover; the origin's own `total` applies besides
};

/// The head of the origin's final response (1xx skipped), as it came but for hop-by-hop fields.
/// Checked against the request: a 206 is exactly the (clipped) range asked, single part, with a
/// number as total or '*'; a 304 was asked for; no 101, no 1xx.
struct FetchHead {
  int status = 0;
  http::OwnedFields fields;
  std::optional<uint64_t> content_length;  // of the body that follows
  std::optional<ByteRange> content_range;  // of a 206; also of nothing else
  std::optional<uint64_t>
      complete_length;           // from Content-Range (206 and 416), or Content-Length of a 200
  bool close_delimited = false;  // the end of the body is the end of the connection: never stored
  int32_t server = 0;
  WallTime request_time{};  // when the request was sent and its head came: RFC 9111 §4.2.3
  WallTime response_time{};
  std::chrono::nanoseconds first_byte_latency{0};
};

/// One fetch in flight. Dropping it stops the transfer and returns its place in the limits; safe at
/// any point on its loop, also from a coroutine that one of its own tasks resumed. At most one task
/// of it is awaited at a time.
class FetchStream {
 public:
  virtual ~FetchStream() = default;
  /// Waits for the final head; the pointer is valid while the stream lives. Errors: {Origin,
  /// Refused | Unreachable | Timeout | Closed | Malformed | Mismatch | Unsupported}, {Self,
  /// Overloaded}. Retries and failover happen in here.
  [[nodiscard]] virtual Task<Result<const FetchHead*>> head() = 0;
  /// Waits until at least one byte of the body is in `into` (which stays valid until the task ends
  /// and is not empty), and returns how many; 0: the body ended, complete and with exactly the
  /// length it announced. Resumes at another server after a cut where a strong validator allows it.
  /// Errors: {Origin, Closed | Timeout | Mismatch | Malformed}.
  [[nodiscard]] virtual Task<Result<size_t>> read(std::span<std::byte> into) = 0;
};

class Fetcher {
 public:
  explicit Fetcher(uint32_t fetches_max = kOriginConnectionsPerLoopMax) noexcept
      : places_(fetches_max), pass_places_((fetches_max + 1) / 2) {}
  virtual ~Fetcher() = default;
  Fetcher(const Fetcher&) = delete;
  Fetcher& operator=(const Fetcher&) = delete;
  /// How many fetches may run; whoever does not want to be refused waits here for a place first. A
  /// place is taken until its stream is dropped.
  [[nodiscard]] FetchPlaces& places() noexcept { return places_; }
  /// Half as many, for fetches that last as long as a client takes to read them: each takes one of
  /// these as well, so that slow readers leave room for what is stored.
  [[nodiscard]] FetchPlaces& pass_places() noexcept { return pass_places_; }
  /// Starts a fetch; never waits. Errors: {Self, Overloaded} when it has no place and none is free;
  /// {Origin, Refused} when the breaker of every server is open (retryable, at once: no
  /// listener waits for a dead origin).
  [[nodiscard]] virtual Result<std::unique_ptr<FetchStream>> start(FetchRequest request) = 0;
  /// How validators of this origin's servers compare (setting `validator`): see Generation.
  enum class ValidatorRule : uint8_t { Etag, LastModified, Length };
  [[nodiscard]] virtual ValidatorRule validator_rule() const noexcept = 0;
  /// What this fetcher did (origin/counters.h), for metrics; lives as long as it. Null: not
  /// counted.
  [[nodiscard]] virtual const OriginCounters* counters() const noexcept { return nullptr; }

 private:
  FetchPlaces places_;
  FetchPlaces pass_places_;
};

}  // namespace segue::origin
