// edge/fill/fills.h - brings what the cache lacks: contacts (a key's header), fills (slices),
// revalidation. Knows neither delivery nor prefetch; both call it. Loop-owned: one Fills per loop;
// what loops share is the Store.
#pragma once
#include <cstdint>
#include <memory>
#include <span>
#include <string_view>
#include <vector>

#include "base/counter.h"
#include "base/limits.h"
#include "cache/store.h"
#include "edge/fill/origin_meter.h"
#include "edge/fill/scope.h"
#include "edge/fill/site.h"
#include "edge/fill/stored_response.h"
#include "edge/metrics/latency_histogram.h"
#include "edge/overload/overload.h"
#include "http/cache_status.h"
#include "http/header_fields.h"
#include "origin/fetcher.h"

namespace segue::edge {

/// What a request asks of the cache, as far as fill is concerned. Views are owned by the exchange
/// and outlive the call.
struct Asked {
  const Site* site = nullptr;
  KeyHash key;                // of key_text
  std::string_view key_text;  // "<site><canonical path>[?query]"
  std::string_view target;    // what goes to the origin
  http::FieldsView fields;    // of the request: Vary, forwarded fields
  bool head_only = false;     // HEAD or a conditional that will need no body
  enum class RangeForm : uint8_t { None, Bounded, OpenEnded, Suffix } range_form = RangeForm::None;
  ByteRange range;  // the first wanted range: Bounded [first,end); OpenEnded: first only; Suffix:
                    // end = suffix length
  bool authorized = false;      // the request carried Authorization (RFC 9111 §3.5)
  bool only_if_cached = false;  // nothing may be asked of the origin for it (RFC 9111 §5.2.1.7)
  /// Its player has next to nothing left to play: where fetches queue, what it starts goes before
  /// what those start who have not said so (origin/fetch_places.h).
  bool urgent = false;
  cache::UseId use;
  /// Prefetch: for nobody yet. It takes no buffer, fetch or task that demand may need, waits for
  /// none of them in front of demand, and what it brings is in probation; `use` stays UseId{}.
  /// Whoever asks for the same meanwhile joins it and raises it to Demand.
  cache::Priority priority = cache::Priority::Demand;
  const char* traceparent = "";  // for fills this request starts; owned by the exchange
  OriginMeter::Payer payer = 0;  // for what the origin is asked because of it
  /// Its response has begun: what that still lacks is no new miss, which could be shed.
  bool begun = false;
};

/// What a request gets. Exactly one of `selected` and `pass` is set.
struct Selection {
  cache::Selected selected;                  // serve from the cache, by a RangeReader
  const StoredResponse* response = nullptr;  // == selected.facts, typed; valid while selected lives
  std::unique_ptr<origin::FetchStream>
      pass;  // not storable: this request's own answer, to be streamed through
  const origin::FetchHead* pass_head = nullptr;  // valid while pass lives
  /// Set-Cookie of the answer that this request itself brought: for its client alone, never stored.
  http::OwnedFields cookies;
  // For Cache-Status, metrics and the log: what happened at head time.
  bool hit = false;                      // no forwarding was needed for the header
  http::ForwardReason forward_reason{};  // if !hit
  int forward_status = 0;                // the origin's status, 0 if none came
  bool collapsed = false;                // waited for another request's contact
  bool stored = false;
  bool stale = false;  // served stale (while-revalidate, if-error)
  std::chrono::nanoseconds origin_latency{0};
};

/// Tasks of a loop that demand cannot use up, so that none of its own is ever taken by a prefetch.
inline constexpr uint32_t kPrefetchTasksPerLoopMax = 64;

struct FillCounters {
  Counter contacts, contacts_collapsed, revalidations, revalidated, fills_started, fills_finished,
      fills_cut, fills_ended_early, fills_rejected, fill_bytes, slices_filled, pass_started,
      pass_bytes, generations_replaced, validator_mismatches, flapping, stale_served,
      negative_stored, buffer_waits, buffer_refusals, fetch_waits, fetch_waits_urgent,
      fetch_refusals, fetches_waiting, variants_refused, tags_refused;
  Counter prefetch_started, prefetch_refused, prefetch_joined;  // contacts and runs
  Counter demand_awaiting_head;  // gauge: requests to origins for clients, not answered yet
  Counter fills_in_flight;
  Counter revalidations_shed, misses_shed;  // by the overload manager
  LatencyHistogram origin_latency;          // from a request to an origin to its head
};

class Fills {
 public:
  struct Options {
    uint32_t fills_max = kFillsPerLoopMax;
    uint32_t collections_max = kCollectionsPerLoopMax;
    uint64_t unknown_length_bytes_max =
        4 * MiB;                      // a 200 of unknown length beyond this is passed through
    std::string node_name = "segue";  // Via, CDN-Loop, Cache-Status
  };
  /// `fetchers[i]` is this loop's Fetcher of origin i; all outlive the Fills.
  Fills(Loop& loop, cache::LocalStore& local, std::vector<origin::Fetcher*> fetchers,
        Options options);
  ~Fills();

  /// From here on what origins are asked is charged. Null: not. On the loop, or before it runs.
  void meter_by(OriginMeter* meter) noexcept;
  /// Gives up revalidations behind stale answers and new misses of clients while `overload` says
  /// so; null: never. It outlives the Fills.
  void shed_by(const Overload* overload) noexcept;

  /// The plain look-up: a fresh, non-vary generation in force, or nothing. Cannot wait, cannot
  /// allocate. The hit path.
  [[nodiscard]] bool try_select(const Asked& asked, Selection& selection) noexcept;

  /// Makes the header of `asked.key` known and fresh enough: look-up, record load, variant,
  /// contact, revalidation, stale rules. Waits until scope.deadline. Errors: {Origin, ...}
  /// (502/504), {Self, Overloaded} (503), {Client, Closed}.
  [[nodiscard]] Task<Result<Selection>> select(Scope& scope, const Asked& asked);

  /// Sends a request of a method that the site relays, with its body, and gives the answer to be
  /// passed on. Nothing is stored. Waits until scope.deadline. Errors as select().
  [[nodiscard]] Task<Result<Selection>> relay(Scope& scope, const Asked& asked,
                                              std::string_view method, std::string_view body);

  /// Ends every task of this loop: fetches are dropped, readers woken. Waits.
  [[nodiscard]] Task<void> drain();
  [[nodiscard]] const FillCounters& counters() const noexcept;
  [[nodiscard]] uint32_t running() const noexcept;

 private:
  friend class RangeReader;
  struct Impl;
  std::unique_ptr<Impl> impl_;
};

/// Reads one range of one generation for one response, and keeps the fills ahead of it: decides
/// runs, doubles the window of an open-ended read while the reader keeps up, reads ahead from the
/// SSD. While it lives the generation counts a reader. Loop-owned; lives in the exchange, so that a
/// stalled response holds no frame and no buffer.
class RangeReader {
 public:
  RangeReader(Fills& fills, const Asked& asked, cache::Selected selected, ByteRange range,
              bool open_ended) noexcept;
  ~RangeReader();
  RangeReader(const RangeReader&) = delete;
  RangeReader& operator=(const RangeReader&) = delete;

  /// What is readable now from `offset` on, within one slice: pinned while `buffer` lives, which
  /// must not be kept across a wait.
  struct Readable {
    cache::PinnedBuffer buffer;
    std::span<const std::byte> bytes;  // from `offset`; not empty; clipped to the range
    /// Where this reader found them: OnDrive also once they were read from there for it.
    cache::Where where = cache::Where::Absent;
  };
  /// RAM only; cannot wait, cannot allocate. An empty buffer: use readable(). Also tells fills how
  /// far this reader has come.
  [[nodiscard]] Readable try_readable(uint64_t offset) noexcept;
  /// Brings the bytes: SSD read, running fill, new fill. Waits until `deadline` for progress (each
  /// wait anew). Errors: {Origin, ...}, {Disk, ...} never (the origin is asked instead), {Self,
  /// Overloaded}, {Client, Closed}, {Self, Purged}: the generation is detached and the slice is
  /// gone, so the response must be cut.
  [[nodiscard]] Task<Result<Readable>> readable(Scope& scope, uint64_t offset);

 private:
  [[nodiscard]] Readable take(cache::Found found, uint64_t offset) const noexcept;
  void see(cache::SliceIndex slice, cache::Where where) noexcept;
  void look_ahead(uint32_t slice, cache::Where where) noexcept;
  void grow() noexcept;
  [[nodiscard]] bool is_prefetch() const noexcept;
  [[nodiscard]] bool may_extend() const noexcept;
  [[nodiscard]] Error last_error(Kind kind) const noexcept;
  [[nodiscard]] Task<Result<Done>> wait_for(Scope& scope, cache::SliceIndex slice,
                                            cache::Where where, uint64_t offset);
  [[nodiscard]] Task<Result<Done>> wait_buffer(Scope& scope, MonoTime until);
  [[nodiscard]] Task<void> ask_again(Scope& scope);
  [[nodiscard]] bool has_beyond(cache::SliceIndex slice, uint32_t beyond) const noexcept;
  void read_ahead(cache::SliceIndex next) noexcept;

  // constant after construction
  Fills& fills_;
  const Asked& asked_;
  cache::Selected selected_;
  ByteRange range_;
  bool open_ended_;
  uint32_t end_slice_ = 0;  // of the range
  // loop-owned
  uint32_t run_slices_;                // how many slices the next run may ask for
  uint32_t asked_to_ = 0;              // slices of the range below this were looked at or asked for
  uint32_t seen_to_ = 0;               // slices below this were come to
  uint32_t failures_before_ = 0;       // of fills of this key, when the slice was come to
  uint32_t drive_slice_ = UINT32_MAX;  // the slice that a drive had when this reader came to it
  uint32_t drive_slice_before_ = UINT32_MAX;
  uint32_t read_ahead_ = UINT32_MAX;  // the slice whose drive read was started before it was needed
};

}  // namespace segue::edge
