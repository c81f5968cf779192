// tests/support/fake_origin.h - an origin without a network: tracks of bytes that follow from their
// name and version, answers as a Fetcher gives them, faults by options, latency by loop timers,
// counts of what was asked. One object serves the loops of one thread.
#pragma once
#include <chrono>
#include <cstdint>
#include <deque>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "origin/fetcher.h"

namespace segue::testing {

/// What goes wrong with one fetch.
struct OriginFault {
  bool refuse = false;       // no connection: {Origin, Refused}
  bool silent = false;       // no head until the deadline: {Origin, Timeout}
  bool wrong_range = false;  // the Fetcher found another range than asked: {Origin, Mismatch}
  int status = 0;            // this status and a short body instead; 0: none of it
  uint64_t cut_after_bytes = UINT64_MAX;    // of the body: then {Origin, Closed}
  uint64_t stall_after_bytes = UINT64_MAX;  // of the body: then {Origin, Timeout} after 5 s
};

struct FakeTrack {
  uint64_t length = 0;
  uint64_t version = 1;       // other bytes, other etag
  std::string etag;           // empty: none is sent
  std::string last_modified;  // moves on by a day with each version, if there is one
  std::vector<std::pair<std::string, std::string>> fields;
  int status = 200;  // else `length` bytes of that answer, whatever is asked
  int32_t server = 0;
  std::chrono::nanoseconds latency{0};      // until the head
  std::chrono::nanoseconds chunk_delay{0};  // before each read
  uint32_t chunk_bytes = 64 * 1024;         // at most so many per read
  bool ignores_range = false;
  bool ignores_conditions = false;
  bool no_total = false;         // "bytes a-b/*"
  bool unknown_length = false;   // a 200 without Content-Length; Range is ignored
  bool close_delimited = false;  // that, and its end is the end of the connection
  bool refuses_suffix = false;   // 416 to bytes=-N
  bool refuses_ranges = false;   // 416 to any range
  bool no_length_in_416 = false;
  bool shows_version = false;      // "X-Version: 3", also where there is no validator
  std::string varies_by;           // a request field: other bytes and another etag for each value
  std::deque<OriginFault> faults;  // one per fetch, in order; then none
};

/// One fetch as it was asked.
struct FakeRequest {
  std::string target;
  origin::FetchRequest::RangeForm range_form = origin::FetchRequest::RangeForm::None;
  ByteRange range;
  uint64_t suffix_length = 0;
  std::string if_none_match;
  std::string expected_etag;
  std::vector<std::pair<std::string, std::string>> fields;
};

class FakeStream;

class FakeOrigin {
 public:
  /// A track with a strong etag; change what it does through the reference (valid for good).
  FakeTrack& add(const std::string& target, uint64_t length);
  [[nodiscard]] FakeTrack& track(const std::string& target) { return tracks_.at(target); }
  [[nodiscard]] const std::map<std::string, FakeTrack>& tracks() const noexcept { return tracks_; }
  [[nodiscard]] bool has(const std::string& target) const { return tracks_.contains(target); }
  [[nodiscard]] bool varies(const std::string& target) const {
    return !tracks_.at(target).varies_by.empty();
  }
  /// A new version: other bytes, another etag (weak if it was), another Last-Modified if it had
  /// one.
  void change(const std::string& target, uint64_t length);
  /// The true bytes of a version.
  [[nodiscard]] static std::string bytes(const std::string& target, uint64_t version,
                                         ByteRange range, std::string_view variant = {});
  [[nodiscard]] std::string bytes(const std::string& target, ByteRange range) const {
    return bytes(target, tracks_.at(target).version, range);
  }

  /// How long a version is or was; nothing if there is no such version.
  [[nodiscard]] std::optional<uint64_t> length_of(const std::string& target,
                                                  uint64_t version) const;
  /// Whether two fetches that complete the same version (they name its etag) have the same bytes
  /// still to bring.
  [[nodiscard]] bool has_overlapping_fills() const;

  [[nodiscard]] const std::vector<FakeRequest>& requests() const noexcept { return requests_; }
  [[nodiscard]] uint32_t fetches(const std::string& target) const;
  /// Body bytes handed out.
  [[nodiscard]] uint64_t bytes_sent(const std::string& target) const;
  [[nodiscard]] uint32_t in_flight() const noexcept { return in_flight_; }

 private:
  friend class FakeFetcher;
  friend class FakeStream;
  std::map<std::string, FakeTrack> tracks_;
  std::map<std::string, uint64_t> bytes_sent_;
  std::map<std::string, std::vector<uint64_t>> lengths_;  // of the versions, from 1 on
  std::vector<FakeRequest> requests_;
  std::vector<const FakeStream*> streams_;  // in flight
  uint32_t in_flight_ = 0;
};

/// One loop's door to the origin.
class FakeFetcher final : public origin::Fetcher {
 public:
  FakeFetcher(FakeOrigin& origin, Loop& loop,
              uint32_t fetches_max = kOriginConnectionsPerLoopMax) noexcept
      : Fetcher(fetches_max), origin_(origin), loop_(loop) {}
  [[nodiscard]] Result<std::unique_ptr<origin::FetchStream>> start(
      origin::FetchRequest request) override;
  [[nodiscard]] ValidatorRule validator_rule() const noexcept override { return rule; }

  ValidatorRule rule = ValidatorRule::Etag;
  bool refuses = false;  // {Self, Overloaded}

 private:
  FakeOrigin& origin_;
  Loop& loop_;
};

}  // namespace segue::testing
