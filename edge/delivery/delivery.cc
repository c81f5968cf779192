#include "edge/delivery/delivery.h"

#include "edge/delivery/admission.h"
#include "edge/delivery/asked_note.h"
#include "edge/delivery/hint_note.h"
#include "edge/delivery/plan.h"
#include "edge/delivery/plan_pass.h"
#include "edge/delivery/playlist_note.h"
#include "edge/delivery/relay.h"
#include "edge/delivery/request_target.h"
#include "edge/delivery/respond.h"
#include "edge/delivery/send.h"
#include "http/multipart.h"

namespace segue::edge {
namespace {

/// How often a request may be selected a version that is replaced before its head is sent.
constexpr uint32_t kSelectionsMax = 3;

/// Slices of one range looked up for Cache-Status: of a longer range the first gigabyte tells.
constexpr uint32_t kSlicesCountedMax = 4096;

std::string_view reason_of(const Error& error) noexcept { return name_of(error.kind); }

}  // namespace

/// The rules of one reload on one loop, kept until the last request that began with them is over.
/// Counted here and not by a Ref in each exchange: all loops would write one cache line twice a
/// request.
struct SiteSnapshot {
  SiteSnapshot(Ref<const SiteTable> of, std::string_view node_name) : table(std::move(of)) {
    for (const Ref<const Site>& site : table->sites()) fields.emplace_back(*site, node_name);
  }
  const Ref<const SiteTable> table;
  std::vector<SiteFields> fields;  // by Site::index
  uint32_t requests = 0;
};

struct Delivery::Impl {
  Impl(Loop& on_loop, cache::LocalStore& store, Fills& from_fills, Ref<const SiteTable> table,
       AccessLog* access_log, Options settings)
      : loop(on_loop),
        local(store),
        fills(from_fills),
        log(access_log),
        options(std::move(settings)),
        ids(options.id_seed),
        tasks(on_loop, options.tasks_max) {
    set_sites(std::move(table));
  }

  void set_sites(Ref<const SiteTable> table) {
    snapshots.push_back(std::make_unique<SiteSnapshot>(std::move(table), options.node_name));
    std::erase_if(snapshots, [this](const auto& each) {
      return each != snapshots.back() && each->requests == 0;
    });
  }
  void leave_snapshot(SiteSnapshot& snapshot) noexcept {
    if (--snapshot.requests > 0 || &snapshot == snapshots.back().get()) return;
    std::erase_if(snapshots, [&](const auto& each) { return each.get() == &snapshot; });
  }

  const SiteFields* fields_of(const Exchange& exchange) const noexcept {
    return exchange.asked.site == nullptr ? nullptr
                                          : &exchange.sites->fields[exchange.asked.site->index];
  }

  void begin(Exchange& exchange) noexcept;
  void describe(Exchange& exchange) const noexcept;
  /// Resolves the target. A refusal of what Segue would not serve to anybody.
  std::optional<Refusal> why_not_served(Exchange& exchange);
  bool answer_plainly(Exchange& exchange);
  void tell_planner(Exchange& exchange, const CmcdText& cmcd, bool known);
  bool try_serve_hit(Exchange& exchange);
  void prepare_stored(Exchange& exchange, uint64_t resident_bytes) noexcept;
  SliceCounts count_slices(const Exchange& exchange, uint64_t resident_bytes) const noexcept;
  void answer_own(Exchange& exchange, int status, std::string_view reason, AccessEnd end);
  void send_short(Exchange& exchange, std::string_view body, AccessEnd end);
  /// What of it was not taken at once.
  Task<void> send_rest(Exchange& exchange, std::string_view rest, AccessEnd end);
  void finish(Exchange& exchange, AccessEnd end) noexcept;

  [[nodiscard]] Scope scope_of(Exchange& exchange) noexcept;
  Task<void> run(Exchange& exchange);
  Task<Result<Done>> serve_selected(Scope& scope, Exchange& exchange);
  /// The head of an answer passed through; true if a body is to follow it.
  Result<bool> prepare_pass(Exchange& exchange, ByteRange& body);
  Task<Result<Done>> serve_pass(Scope& scope, Exchange& exchange);
  Task<void> run_relay(Exchange& exchange);
  Task<Result<Done>> relay(Scope& scope, Exchange& exchange);
  void answer_error(Exchange& exchange, Error error);

  // constant after construction
  Loop& loop;
  cache::LocalStore& local;
  Fills& fills;
  AccessLog* const log;
  const Options options;
  // loop-owned
  std::vector<std::unique_ptr<SiteSnapshot>> snapshots;  // the last one is in force
  ClientLimits* limits = nullptr;                        // null: nobody is limited
  Inbox* listening = nullptr;                            // null: nobody wants to know
  IdSource ids;
  TaskGroup tasks;
  DeliveryCounters counters;
  MissNotes misses;  // any thread may look
  // Places of what holds memory while it goes through: waited for in the order of coming.
  origin::FetchPlaces passes{options.passes_max};
  origin::FetchPlaces relays{options.relays_max};
};

Delivery::Delivery(Loop& loop, cache::LocalStore& local, Fills& fills, Ref<const SiteTable> sites,
                   AccessLog* log, Options options)
    : impl_(std::make_unique<Impl>(loop, local, fills, std::move(sites), log, std::move(options))) {
}
Delivery::~Delivery() = default;
const DeliveryCounters& Delivery::counters() const noexcept { return impl_->counters; }
const MissNotes& Delivery::misses() const noexcept { return impl_->misses; }
void Delivery::tell(Inbox* planner) noexcept { impl_->listening = planner; }
void Delivery::limit_by(ClientLimits* limits) noexcept { impl_->limits = limits; }
void Delivery::set_sites(Ref<const SiteTable> sites) { impl_->set_sites(std::move(sites)); }
Task<void> Delivery::drain() { co_await impl_->tasks.drain(); }

void Delivery::Impl::begin(Exchange& exchange) noexcept {
  exchange.started = loop.now();
  exchange.sites = snapshots.back().get();
  ++exchange.sites->requests;
  exchange.first_byte_deadline = exchange.started + options.first_byte_max;
  const http::Request& request = exchange.request;
  write_traceparent(request.fields.find_only("traceparent").value_or(std::string_view()), ids,
                    exchange.traceparent);
  exchange.asked.traceparent = exchange.traceparent.data();
  if (log != nullptr) describe(exchange);
  counters.in_flight.add();
}

/// What only the log's readers want to know of a request.
void Delivery::Impl::describe(Exchange& exchange) const noexcept {
  const http::Request& request = exchange.request;
  AccessRecord& record = exchange.record;
  record.time = loop.wall_now();
  record.client.assign(exchange.client.address);
  record.protocol = exchange.client.http2 ? Protocol::Http2 : Protocol::Http1;
  record.method.assign(request.method_text);
  record.user_agent.assign(request.fields.find("User-Agent").value_or(std::string_view()));
  record.range.assign(request.fields.find("Range").value_or(std::string_view()));
  // "prefetch" or "prefetch;prerender" (WHATWG Fetch, 3.5): loaded ahead, and no listening.
  record.is_preload =
      request.fields.find("Sec-Purpose").value_or(std::string_view()).starts_with("prefetch");
  record.request_id.assign(std::string_view(exchange.traceparent.data() + 3, 32));
}

void Delivery::serve(Exchange& exchange) {
  Impl& self = *impl_;
  self.begin(exchange);
  if (self.answer_plainly(exchange)) return;
  const http::Method method = exchange.request.method;
  const bool relayed = method != http::Method::Get && method != http::Method::Head;
  // Before anything looks ahead of what is here: that may be a miss already.
  const bool allowed = may_miss(exchange, self.limits, self.loop.now());
  if (!relayed) {
    const bool known = self.fills.try_select(exchange.asked, exchange.selection);
    // What a player says of itself is read once, and not at all for a hit that nobody listens to.
    const bool listened = self.listening != nullptr;
    if (!listened && known && self.try_serve_hit(exchange)) return;
    const CmcdText cmcd = cmcd_of(exchange.request);
    if (listened) self.tell_planner(exchange, cmcd, known);
    if (listened && known && self.try_serve_hit(exchange)) return;
    exchange.asked.urgent = cmcd.is_urgent();
  }
  if (!allowed && relayed)
    return self.answer_own(exchange, 429, exchange.refusal.reason, AccessEnd::Complete);
  if (!self.tasks.try_spawn(relayed ? self.run_relay(exchange) : self.run(exchange))) {
    if (exchange.head_sent) return self.finish(exchange, AccessEnd::Cut);
    exchange.reader.reset();
    exchange.selection = {};
    self.answer_own(exchange, 503, "overloaded", AccessEnd::Complete);
  }
}

/// Before it is answered: a prefetch of the same may be running.
void Delivery::Impl::tell_planner(Exchange& exchange, const CmcdText& cmcd, bool known) {
  const auto note = note_of(exchange, cmcd, known, local);
  if (!note) return;
  listening->asked.push(*note);
  exchange.listener = note->listener;
  exchange.session = note->demand.session;
  if (!listening->wants_hints.load(std::memory_order_relaxed)) return;
  const SiteTable& sites = *exchange.sites->table;
  // What may cost the origin nothing itself does not cost it by its hints.
  if (!cmcd.empty() && !exchange.asked.only_if_cached)
    hint_at_next_objects(exchange, cmcd, *note, sites, loop.wall_now(), *listening);
  hint_at_next_segments(exchange, note->demand,
                        {sites, local.store(), loop.wall_now(), *listening});
}

uint32_t Delivery::body_bytes_max(const http::Request& request) const noexcept {
  const Site* site = impl_->snapshots.back()->table->find(request.host);
  return site != nullptr && site->relays(request.method_text) ? kRelayBodyBytesMax : 0;
}

void Delivery::refuse(Exchange& exchange, int status, std::string_view reason) {
  impl_->begin(exchange);
  exchange.head.close = true;
  impl_->answer_own(exchange, status, reason, AccessEnd::Refused);
}

std::optional<Refusal> Delivery::Impl::why_not_served(Exchange& exchange) {
  const http::Request& request = exchange.request;
  auto refusal = resolve_target(exchange, *exchange.sites->table, local.store(), loop.wall_now());
  if (refusal) return refusal;
  const Asked& asked = exchange.asked;
  if (log != nullptr) {
    exchange.record.site.assign(asked.site->name);
    exchange.record.path.assign(asked.target.substr(0, asked.target.find('?')));
  }
  if (request.method == http::Method::Options) return std::nullopt;
  if (request.method != http::Method::Get && request.method != http::Method::Head &&
      !asked.site->relays(request.method_text))
    return Refusal{405, "method"};
  if (is_looping(request.fields, options.node_name)) return Refusal{508, "loop"};
  if (asked.key_text.empty()) return Refusal{400, "bad_target"};
  return std::nullopt;
}

/// What is answered without the cache: unknown hosts, bad targets, OPTIONS, methods not served, who
/// is not let in. True if it was.
bool Delivery::Impl::answer_plainly(Exchange& exchange) {
  const bool preflight = exchange.request.method == http::Method::Options;
  auto refusal = why_not_served(exchange);
  // No token is looked at of what is refused here, so it counts for who sent it.
  if (auto over = admit_client(exchange, limits, refusal.has_value(), loop.now())) refusal = over;
  if (!refusal && preflight) {
    write_options_head(exchange, *fields_of(exchange));
    send_short(exchange, {}, AccessEnd::Complete);
    return true;
  }
  if (!refusal)
    refusal = admit(exchange, *exchange.sites->table, limits, loop.now(), loop.wall_now());
  if (refusal) {
    answer_own(exchange, refusal->status, refusal->reason, AccessEnd::Complete);
    return true;
  }
  review_pace(exchange, loop.now());
  return false;
}

/// Sends a short answer of ours. It always fits an idle socket; on a full one, or where it is
/// another stream's turn, a task waits for room. Where the connection ends with it, it is cut.
void Delivery::Impl::answer_own(Exchange& exchange, int status, std::string_view reason,
                                AccessEnd end) {
  exchange.record.reason = reason;
  exchange.record.bytes_total = 0;  // of what it takes the place of
  counters.count_refused(reason);
  const bool close = exchange.head.close;
  exchange.head = {};
  exchange.head.close = close;
  const std::string_view body =
      write_own_head(exchange, fields_of(exchange), options.node_name, status, reason);
  send_short(exchange, body, end);
}

void Delivery::Impl::send_short(Exchange& exchange, std::string_view body, AccessEnd end) {
  iovec part{const_cast<char*>(body.data()),
             body.size()};  // NOLINT(cppcoreguidelines-pro-type-const-cast): writev reads only
  auto sent = send_now(exchange, {&part, body.empty() ? size_t{0} : size_t{1}}, loop.now());
  if (sent && *sent == body.size() && exchange.stream.flushed()) return finish(exchange, end);
  const bool may_wait = sent && end != AccessEnd::Refused && !exchange.stream.gone();
  if (may_wait && tasks.try_spawn(send_rest(exchange, body.substr(*sent), end))) return;
  finish(exchange, exchange.stream.gone() ? AccessEnd::Gone : AccessEnd::Cut);
}

Task<void> Delivery::Impl::send_rest(Exchange& exchange, std::string_view rest, AccessEnd end) {
  auto sent = co_await send_text(exchange, rest);
  if (sent) sent = co_await flush(exchange);
  if (!sent) end = exchange.stream.gone() ? AccessEnd::Gone : AccessEnd::Cut;
  finish(exchange, end);
}

SliceCounts Delivery::Impl::count_slices(const Exchange& exchange,
                                         uint64_t resident_bytes) const noexcept {
  const cache::Generation& generation = *exchange.selection.selected.generation;
  SliceCounts counts;
  const auto count_range = [&](ByteRange range) {
    const cache::SliceIndex first = cache::slice_at(range.first);
    const cache::SliceIndex last = cache::slice_at(range.end - 1);
    counts.needed += last.value - first.value + 1;
    for (cache::SliceIndex slice = first; slice <= last; ++slice.value) {
      if (slice.value - first.value == kSlicesCountedMax) {
        counts.hit += last.value - slice.value + 1;
        break;
      }
      const cache::Where where = local.store().where(generation, slice);
      if (where == cache::Where::Resident || where == cache::Where::OnDrive) ++counts.hit;
    }
  };
  if (exchange.plan.body == Plan::Body::Single) {
    const ByteRange range = exchange.plan.range;
    if (resident_bytes == range.length()) {
      // All of it is pinned in front of us: no need to ask again.
      counts.needed = cache::slice_at(range.end - 1).value - cache::slice_at(range.first).value + 1;
      counts.hit = counts.needed;
    } else {
      count_range(range);
    }
  } else if (exchange.plan.body == Plan::Body::Multipart) {
    for (const ByteRange& part : exchange.plan.parts.ranges()) count_range(part);
  }
  return counts;
}

/// Head of a stored response whose plan is made: `resident_bytes` of its range are pinned by the
/// caller.
void Delivery::Impl::prepare_stored(Exchange& exchange, uint64_t resident_bytes) noexcept {
  if (exchange.plan.body == Plan::Body::Single) {
    // Here, because plan.range shrinks as it is sent.
    exchange.record.first_position = exchange.plan.range.first;
    exchange.record.complete_length = exchange.selection.selected.generation->complete_length();
  }
  SliceCounts slices = count_slices(exchange, resident_bytes);
  // What is here of a key nothing was stored of came for this request, faster than it was counted.
  const Selection& selection = exchange.selection;
  const bool was_unknown =
      !selection.hit && (selection.forward_reason == http::ForwardReason::UriMiss ||
                         selection.forward_reason == http::ForwardReason::VaryMiss);
  if (was_unknown) slices.hit = 0;
  write_stored_head(exchange, exchange.plan, *fields_of(exchange), options.node_name, slices,
                    loop.wall_now());
  exchange.record.slices_hit = slices.hit;
  exchange.record.slices_needed = slices.needed;
  exchange.record.bytes_total =
      exchange.head.bodyless ? 0 : exchange.head.content_length.value_or(0);
  if (!exchange.selection.hit)
    exchange.record.reason = http::name_of(exchange.selection.forward_reason);
}

/// A fresh header and, at least for its first batch, bytes in RAM: head and body go out by one
/// writev, without a coroutine and without an allocation. True if the response is finished;
/// otherwise run() goes on from what exchange says.
bool Delivery::Impl::try_serve_hit(Exchange& exchange) {
  if (exchange.asked.only_if_cached) return false;  // run() looks whether all of it is here
  const Selection& selection = exchange.selection;
  const uint64_t complete_length = selection.selected.generation->complete_length();
  exchange.plan =
      plan_response(exchange.request, exchange.ranges, *selection.response, complete_length);
  if (exchange.plan.body == Plan::Body::Multipart) return false;
  if (exchange.preview_bytes < complete_length) return false;  // run() cuts the plan
  if (exchange.plan.body == Plan::Body::None) {
    prepare_stored(exchange, 0);
    auto sent = send_now(exchange, {}, loop.now());
    if (!sent) return answer_error(exchange, sent.error()), true;
    if (!exchange.stream.flushed()) return false;
    finish(exchange, AccessEnd::Complete);
    return true;
  }
  exchange.reader.emplace(fills, exchange.asked, selection.selected, exchange.plan.range,
                          exchange.plan.open_ended);
  Result<size_t> sent = size_t{0};
  {
    const ByteRange range = exchange.plan.range;
    const ResidentBatch batch(*exchange.reader, range, exchange.stream.batch_bytes(range.length()));
    if (batch.bytes() == 0) return false;
    prepare_stored(exchange, batch.bytes());
    sent = send_now(exchange, batch.parts(), loop.now());
    if (sent) batch.count_sent(*sent, exchange.bytes_by_tier);
  }
  if (!sent) return answer_error(exchange, sent.error()), true;
  exchange.plan.range = exchange.plan.range.advanced(*sent);
  if (!exchange.plan.range.empty() || !exchange.stream.flushed()) return false;
  finish(exchange, AccessEnd::Complete);
  return true;
}

Scope Delivery::Impl::scope_of(Exchange& exchange) noexcept {
  return {.loop = loop,
          .local = local,
          .signal = exchange.signal,
          .cancelled = exchange.stream.gone(),
          .deadline = exchange.first_byte_deadline,
          .traceparent = exchange.traceparent.data()};
}

Task<void> Delivery::Impl::run(Exchange& exchange) {
  Scope scope = scope_of(exchange);
  Result<Done> served = Done{};
  for (uint32_t selections = 1;; ++selections) {
    if (!exchange.selection.selected) {
      auto selection = co_await fills.select(scope, exchange.asked);
      if (!selection) {
        answer_error(exchange, selection.error());
        co_return;
      }
      exchange.selection = std::move(*selection);
    }
    if (exchange.selection.origin_latency.count() > 0)
      exchange.record.origin = exchange.selection.origin_latency;
    served = exchange.selection.pass ? co_await serve_pass(scope, exchange)
                                     : co_await serve_selected(scope, exchange);
    // A version that has gone before its first byte was sent is no reason for an error: whoever
    // asked gets the one that took its place.
    const bool replaced = !served && !exchange.head_sent && exchange.selection.selected &&
                          exchange.selection.selected.generation->detached();
    if (!replaced || selections == kSelectionsMax || exchange.stream.gone()) break;
    exchange.reader.reset();
    exchange.head = {};  // it has views of what the selection holds
    exchange.selection = {};
  }
  if (served) served = co_await flush(exchange);
  if (!served) {
    answer_error(exchange, served.error());
    co_return;
  }
  finish(exchange, AccessEnd::Complete);
}

Task<void> Delivery::Impl::run_relay(Exchange& exchange) {
  Scope scope = scope_of(exchange);
  Result<Done> served = Done{};
  {
    auto turn = co_await origin::wait_for_place(relays, scope.signal, scope.cancelled,
                                                scope.deadline, /*urgent=*/false);
    served = turn ? co_await relay(scope, exchange) : fail(turn.error());
  }
  if (served) served = co_await flush(exchange);
  if (!served) {
    answer_error(exchange, served.error());
    co_return;
  }
  finish(exchange, AccessEnd::Complete);
}

Task<Result<Done>> Delivery::Impl::relay(Scope& scope, Exchange& exchange) {
  auto selection =
      co_await fills.relay(scope, exchange.asked, exchange.request.method_text, exchange.body);
  if (!selection) co_return fail(selection.error());
  exchange.selection = std::move(*selection);
  exchange.record.origin = exchange.selection.origin_latency;
  co_await invalidate(scope, exchange);
  ByteRange body;
  const auto has_body = prepare_pass(exchange, body);
  if (!has_body) co_return fail(has_body.error());
  if (!*has_body) co_return co_await send_text(exchange, {});
  // Its turn among the relays pays for the buffer as well: what the origin has carried out is never
  // answered by a 503, on which the client would send it once more.
  co_return co_await send_pass(scope, exchange, body);
}

Task<Result<Done>> Delivery::Impl::serve_selected(Scope& scope, Exchange& exchange) {
  const Selection& selection = exchange.selection;
  if (!exchange.head_sent) {
    const uint64_t complete_length = selection.selected.generation->complete_length();
    exchange.plan =
        plan_response(exchange.request, exchange.ranges, *selection.response, complete_length);
    if (!fit_to_preview(exchange.plan, exchange.preview_bytes)) {
      exchange.refusal = {403, "preview_over"};
      co_return fail(Side::Self, Kind::Refused, "preview");
    }
    exchange.head = {};
    prepare_stored(exchange, 0);
    if (exchange.asked.only_if_cached && exchange.record.slices_hit < exchange.record.slices_needed)
      co_return fail(Side::Origin, Kind::Timeout, "only-if-cached");
  }
  switch (exchange.plan.body) {
    case Plan::Body::None:
      if (exchange.head_sent) co_return Done{};
      co_return co_await send_text(exchange, {});
    case Plan::Body::Single:
      if (!exchange.reader) {
        exchange.reader.emplace(fills, exchange.asked, selection.selected, exchange.plan.range,
                                exchange.plan.open_ended);
      }
      co_return co_await send_range(scope, exchange, exchange.plan.range);
    case Plan::Body::Multipart:
      break;
  }
  const http::Boundary boundary(ids.next(), ids.next());
  std::array<char, http::kMultipartTypeBytes> content_type;
  const http::MultipartLayout layout(
      boundary,
      selection.response->parts().fields.view().find("Content-Type").value_or(std::string_view()),
      exchange.plan.parts.ranges(), selection.selected.generation->complete_length());
  exchange.head.without_stored_content_type = true;
  exchange.head.content_length = layout.total_bytes();
  exchange.record.bytes_total = layout.total_bytes();
  exchange.head.add("Content-Type", boundary.write_content_type(content_type));
  co_return co_await send_multipart(scope, fills, exchange, layout);
}

Result<bool> Delivery::Impl::prepare_pass(Exchange& exchange, ByteRange& body) {
  PassPlan plan = plan_pass(exchange);
  if (!fit_to_preview(plan, exchange.asked.head_only, exchange.preview_bytes)) {
    exchange.refusal = {403, "preview_over"};
    return fail(Side::Self, Kind::Refused, "preview");
  }
  exchange.head = {};
  exchange.record.reason = http::name_of(exchange.selection.forward_reason);
  write_pass_head(exchange, *fields_of(exchange), options.node_name, plan.status, plan.length,
                  plan.content_range, plan.complete_length);
  exchange.record.bytes_total = exchange.head.bodyless ? 0 : plan.length.value_or(0);
  body = plan.body;
  return !exchange.head.bodyless && !plan.body.empty() && plan.length != uint64_t{0};
}

Task<Result<Done>> Delivery::Impl::serve_pass(Scope& scope, Exchange& exchange) {
  ByteRange body;
  const auto has_body = prepare_pass(exchange, body);
  if (!has_body) co_return fail(has_body.error());
  if (!*has_body) co_return co_await send_text(exchange, {});
  // Only a body needs a buffer, and only now: the head waits for its turn with it.
  const auto turn = co_await origin::wait_for_place(passes, scope.signal, scope.cancelled,
                                                    scope.deadline, /*urgent=*/false);
  if (!turn) co_return fail(turn.error());
  co_return co_await send_pass(scope, exchange, body);
}

/// Before the head an error has a status; after it the connection is cut, so that no client takes a
/// part for the whole.
void Delivery::Impl::answer_error(Exchange& exchange, Error error) {
  exchange.record.reason = reason_of(error);
  if (error.side == Side::Client || exchange.stream.gone())
    return finish(exchange, AccessEnd::Gone);
  if (exchange.head_sent) return finish(exchange, AccessEnd::Cut);
  exchange.reader.reset();
  const Refusal& refusal = exchange.refusal;
  if (refusal.status != 0)
    return answer_own(exchange, refusal.status, refusal.reason, AccessEnd::Complete);
  answer_own(exchange, status_of(error), reason_of(error), AccessEnd::Complete);
}

void Delivery::Impl::finish(Exchange& exchange, AccessEnd end) noexcept {
  if (listening != nullptr && end == AccessEnd::Complete) {
    hint_at_first_segments(exchange,
                           {*exchange.sites->table, local.store(), loop.wall_now(), *listening});
  }
  AccessRecord& record = exchange.record;
  record.end = end;
  record.status = exchange.head_sent ? exchange.head.status : 0;
  record.duration = loop.now() - exchange.started;
  record.cache = cache_result_of(exchange);
  counters.count(exchange);
  counters.in_flight.sub();
  if (const auto note = miss_note_of(exchange, loop.wall_now()))
    misses.add(exchange.asked.key, *note);
  if (log != nullptr) log->submit(loop.index(), record);
  exchange.reader.reset();
  exchange.selection = {};
  leave_snapshot(*exchange.sites);
  switch (end) {
    case AccessEnd::Complete:
    case AccessEnd::Refused:
      return exchange.stream.finished(Stream::End::Complete);
    case AccessEnd::Cut:
      return exchange.stream.finished(Stream::End::Cut);
    case AccessEnd::Gone:
      return exchange.stream.finished(Stream::End::Gone);
  }
}

}  // namespace segue::edge
