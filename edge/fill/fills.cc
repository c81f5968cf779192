#include "edge/fill/fills.h"

#include <algorithm>
#include <array>
#include <charconv>

#include "edge/fill/fills_impl.h"
#include "edge/fill/pass_stream.h"

namespace segue::edge {

using cache::Store;
using Form = StoredResponse::Form;

struct Fills::Impl::Search {
  KeyHash key;
  std::string variant_text;  // empty: the key is asked.key_text
  Ref<cache::Generation> list;
  http::VaryNames list_names;
  WallTime began{};
  uint32_t loads = 0;
  uint32_t purged_meanwhile = 0;
  uint32_t refusals = 0;
  bool collapsed = false;
  http::ForwardReason reason = http::ForwardReason::UriMiss;

  [[nodiscard]] std::string_view key_text(const Asked& asked) const noexcept {
    return variant_text.empty() ? asked.key_text : std::string_view(variant_text);
  }
};

namespace {

constexpr uint32_t kLoadsMax = 2;
constexpr uint32_t kPurgedMeanwhileMax = 2;
constexpr uint32_t kRefusalsMax = 3;

/// Buffers for the beginning of what a prefetch asks of an unknown key; more are taken as it comes.
uint32_t prefetch_slices(const Asked& asked) noexcept {
  return static_cast<uint32_t>(std::clamp<uint64_t>(
      (asked.range.end + kSliceBytes - 1) / kSliceBytes, 1, kFillOpenEndedFirstSlices));
}

/// The client's own range, but whole where its If-Range has to be compared first: an answer in the
/// range of another version would be joined to the bytes the client has (RFC 9110 §13.1.5).
Asked::RangeForm own_range_form(const Asked& asked) noexcept {
  return asked.fields.contains("If-Range") ? Asked::RangeForm::None : asked.range_form;
}

Selection selection_of(const cache::Selected& selected) {
  Selection selection;
  selection.selected = selected;
  selection.response = &stored_of(selection.selected);
  return selection;
}

}  // namespace

Fills::Fills(Loop& loop, cache::LocalStore& local, std::vector<origin::Fetcher*> fetchers,
             Options options)
    : impl_(std::make_unique<Impl>(loop, local, std::move(fetchers), std::move(options))) {}

Fills::~Fills() = default;

const FillCounters& Fills::counters() const noexcept { return impl_->counters; }

void Fills::shed_by(const Overload* overload) noexcept { impl_->overload = overload; }

uint32_t Fills::running() const noexcept { return impl_->tasks.running(); }

bool Fills::Impl::is_servable(const cache::Selected& selected) noexcept {
  const StoredResponse::Parts& parts = stored_of(selected).parts();
  if (parts.form == Form::Negative) return true;
  // Without a strong validator nothing can be added to what one response brought.
  return parts.form == Form::Normal &&
         (parts.strong_validator || all_here(store, *selected.generation));
}

bool Fills::Impl::is_hit(const cache::Selected& selected) noexcept {
  const StoredResponse& stored = stored_of(selected);
  if (stored.parts().no_cache || selected.stale_by_purge || !stored.is_fresh(loop.wall_now()))
    return false;
  return is_servable(selected);
}

bool Fills::try_select(const Asked& asked, Selection& selection) noexcept {
  auto found = impl_->store.look_up(asked.key, asked.key_text);
  if (found.known != Store::Known::Yes || !impl_->is_hit(found.selected)) return false;
  selection.selected = std::move(found.selected);
  selection.response = &stored_of(selection.selected);
  selection.hit = true;
  return true;
}

Task<Result<Selection>> Fills::select(Scope& scope, const Asked& asked) {
  return impl_->select(scope, asked);
}

Task<Result<Selection>> Fills::Impl::select(Scope& scope, const Asked& asked) {
  Search search;
  search.key = asked.key;
  search.began = loop.wall_now();
  for (;;) {
    if (scope.cancelled) co_return fail(Side::Client, Kind::Closed, "select");
    if (draining) co_return fail_retryable(Side::Self, Kind::Overloaded, "draining");
    if (loop.now() >= scope.deadline) co_return fail(Side::Origin, Kind::Timeout, "select");
    auto looked = co_await look(scope, asked, search);
    if (!looked) co_return fail(looked.error());
    if (!*looked) continue;
    Selection selection = std::move(**looked);
    if (!selection.hit) selection.collapsed = search.collapsed;
    co_return selection;
  }
}

Task<Result<std::optional<Selection>>> Fills::Impl::look(Scope& scope, const Asked& asked,
                                                         Search& search) {
  auto found = store.look_up(search.key, search.key_text(asked));
  if (found.known == Store::Known::OnDrive && search.loads < kLoadsMax) {
    ++search.loads;
    (void)co_await local.load(search.key, scope.deadline);  // on any error the key is unknown
    co_return std::nullopt;
  }
  if (found.known != Store::Known::Yes) {
    if (search.list) search.reason = http::ForwardReason::VaryMiss;
    co_return co_await ask_or_wait(scope, asked, search, {});
  }
  const StoredResponse& stored = stored_of(found.selected);
  const WallTime now = loop.wall_now();
  // An answer that came while this request waited for it is right for it, also when it is stale the
  // moment it is stored (no-cache, max-age=0): collapsed requests are not asked for one by one.
  const bool is_answer = search.collapsed && !found.selected.stale_by_purge &&
                         is_servable(found.selected) &&
                         stored.parts().response_time >= search.began;
  if (is_answer || is_hit(found.selected)) {
    Selection selection = selection_of(found.selected);
    selection.hit = !search.collapsed;
    selection.forward_reason = search.reason;
    selection.stored = search.collapsed;
    co_return selection;
  }
  switch (stored.parts().form) {
    case Form::VaryList: {
      if (found.selected.stale_by_purge) {
        // The variants' keys hold the list's number: without it none of them is found any more.
        store.detach(found.selected.generation);
        co_return std::nullopt;
      }
      auto entered = enter_list(asked, search, found.selected);
      if (!entered) {  // no variant key for such fields: on its own
        auto passed = co_await pass(scope, asked, http::ForwardReason::VaryMiss);
        if (!passed) co_return fail(passed.error());
        co_return std::move(*passed);
      }
      co_return std::nullopt;
    }
    case Form::Pass:
      if (now < stored.parts().pass_until) {
        auto passed = co_await pass(scope, asked, http::ForwardReason::Bypass);
        if (!passed) co_return fail(passed.error());
        co_return std::move(*passed);
      }
      break;
    case Form::Negative:
      break;
    case Form::Normal:
      search.reason = stored.is_fresh(now) && !found.selected.stale_by_purge
                          ? http::ForwardReason::Partial
                          : http::ForwardReason::Stale;
      if (stored.may_serve_while_revalidating(now, found.selected.stale_by_purge)) {
        revalidate_behind(asked, search, found.selected);
        Selection selection = stale_selection(found.selected);
        selection.hit = true;
        co_return selection;
      }
      co_return co_await ask_or_wait(scope, asked, search, std::move(found.selected));
  }
  co_return co_await ask_or_wait(scope, asked, search, {});
}

Result<Done> Fills::Impl::enter_list(const Asked& asked, Search& search,
                                     const cache::Selected& list) {
  search.list_names = names_of(stored_of(list));
  auto variant = variant_of(search.list_names, asked.fields, asked.key_text, list.generation->id());
  // A variant is never itself a list: its key was made by us.
  if (!variant || search.list) return fail(Side::Self, Kind::Unsupported, "variant");
  if (!stored_of(list).admits_variant(variant->key.low)) {
    counters.variants_refused.add();
    // Those that were first may be the odd ones: now and then others get their chance.
    if (loop.wall_now() - stored_of(list).parts().response_time > kVariantsFor)
      store.detach(list.generation);
    return fail(Side::Self, Kind::Full, "variants");
  }
  search.list = list.generation;
  search.key = variant->key;
  search.variant_text = std::move(variant->text);
  return Done{};
}

std::optional<Fills::Impl::Variant> Fills::Impl::variant_of(const http::VaryNames& names,
                                                            http::FieldsView request,
                                                            std::string_view key_text,
                                                            cache::Sequence list) const {
  std::array<char, 4096> room;
  auto values = http::variant_key(names, request, room);
  if (!values) return std::nullopt;
  // The list's own number is part of the key: a purge of the list leaves all its variants behind.
  const KeyHash chosen = store.hash(*values);
  std::array<char, 52> suffix;
  suffix[0] = '\n';
  char* at = suffix.data() + 1;
  for (const uint64_t part : {list.value, chosen.high, chosen.low}) {
    at = std::to_chars(at, suffix.data() + suffix.size(), part, 16).ptr;
    *at++ = '.';
  }
  Variant variant;
  variant.text.append(key_text).append(suffix.data(), static_cast<size_t>(at - suffix.data()));
  variant.key = store.hash(variant.text);
  return variant;
}

bool Fills::Impl::sheds_miss(const Asked& asked) noexcept {
  if (overload == nullptr || asked.begun || asked.priority == cache::Priority::Prefetch ||
      !overload->sheds(Load::Miss))
    return false;
  counters.misses_shed.add();
  return true;
}

bool Fills::Impl::may_serve_on_error(const cache::Selected& basis) const noexcept {
  return basis && stored_of(basis).may_serve_on_error(loop.wall_now(), basis.stale_by_purge);
}

Selection Fills::Impl::stale_selection(const cache::Selected& basis) {
  Selection selection = selection_of(basis);
  selection.stale = true;
  selection.forward_reason = http::ForwardReason::Stale;
  counters.stale_served.add();
  return selection;
}

void Fills::Impl::revalidate_behind(const Asked& asked, Search& search,
                                    const cache::Selected& basis) {
  if (asked.only_if_cached) return;
  if (troubles.find(search.key, loop.now())) return;
  if (overload != nullptr && overload->sheds(Load::Revalidation)) {
    counters.revalidations_shed.add();
    return;
  }
  auto permit = store.try_start_contact(search.key);
  if (!permit) return;
  OwnedAsk ask = own(asked, search.key, search.key_text(asked), asked.traceparent);
  (void)start_contact(std::move(ask), std::move(*permit), basis, search.list, search.list_names,
                      nullptr);
}

Task<Result<std::optional<Selection>>> Fills::Impl::ask_or_wait(Scope& scope, const Asked& asked,
                                                                Search& search,
                                                                cache::Selected basis) {
  if (asked.only_if_cached) co_return fail(Side::Origin, Kind::Timeout, "only-if-cached");
  if (const auto trouble = troubles.find(search.key, loop.now())) {
    if (may_serve_on_error(basis)) co_return stale_selection(basis);
    if (!trouble->pass) co_return fail(trouble->error);
    auto passed = co_await pass(scope, asked, search.reason);
    if (!passed) co_return fail(passed.error());
    co_return std::move(*passed);
  }
  cache::BufferReservation reservation;
  if (asked.priority == cache::Priority::Prefetch) {
    // Everything it needs before it becomes the contact: whoever waits for a contact waits for the
    // origin, never for a prefetch that stands in a queue itself.
    auto reserved = has_room(asked.priority)
                        ? store.try_reserve(prefetch_slices(asked), asked.priority)
                        : fail(Side::Self, Kind::Overloaded, "fills");
    if (!reserved) {
      counters.prefetch_refused.add();
      co_return fail_retryable(Side::Self, Kind::Overloaded, "prefetch");
    }
    reservation = std::move(*reserved);
  }
  auto permit = store.try_start_contact(search.key);
  if (permit && sheds_miss(asked)) {
    // Whoever waits for a contact there is already goes on: that costs nothing more.
    if (may_serve_on_error(basis)) co_return stale_selection(basis);
    co_return fail_retryable(Side::Self, Kind::Overloaded, "shed");
  }
  if (permit) {
    OwnedAsk ask = own(asked, search.key, search.key_text(asked), scope.traceparent);
    auto contact = start_contact(std::move(ask), std::move(*permit), std::move(basis), search.list,
                                 search.list_names, &scope.signal, std::move(reservation));
    if (!contact) co_return fail_retryable(Side::Self, Kind::Overloaded, "fills");
    co_return co_await await_contact(scope, asked, search, std::move(contact));
  }
  reservation = {};
  if (asked.priority == cache::Priority::Demand) join_contact(search.key);
  cache::WaitTicket ticket(local.waiters(), scope.signal);
  if (store.start_wait_contact(search.key, ticket)) {
    if (!search.collapsed) counters.contacts_collapsed.add();
    search.collapsed = true;
    (void)co_await scope.signal.wait(scope.deadline);
  } else if (++search.refusals > kRefusalsMax) {
    co_return fail_retryable(Side::Self, Kind::Overloaded, "waiters");
  }
  co_return std::nullopt;
}

namespace {

/// While it lives the job raises this request's signal; afterwards it knows that nobody listens.
template <class Impl, class Job>
class Listening {
 public:
  Listening(Impl& impl, Job& job, Signal& signal) noexcept : impl_(impl), job_(job) {
    job.starter = &signal;
  }
  ~Listening() {
    job_.starter = nullptr;
    impl_.starter_left(job_);
  }
  Listening(const Listening&) = delete;
  Listening& operator=(const Listening&) = delete;

 private:
  Impl& impl_;
  Job& job_;
};

}  // namespace

Task<Result<std::optional<Selection>>> Fills::Impl::await_contact(Scope& scope, const Asked& asked,
                                                                  Search& search,
                                                                  Ref<Contact> held) {
  const Ref<Contact> owned = std::move(held);
  Contact& contact = *owned;
  const Listening listening(*this, contact, scope.signal);
  while (contact.outcome == Contact::Outcome::Undecided) {
    if (scope.cancelled) co_return fail(Side::Client, Kind::Closed, "contact");
    if (loop.now() >= scope.deadline) co_return fail(Side::Origin, Kind::Timeout, "contact");
    (void)co_await scope.signal.wait(scope.deadline);
  }
  switch (contact.outcome) {
    case Contact::Outcome::Undecided:
    case Contact::Outcome::LookAgain:
      if (++search.purged_meanwhile <= kPurgedMeanwhileMax) co_return std::nullopt;
      break;  // under a storm of purges: an answer of its own, asked for after all of them
    case Contact::Outcome::Failed:
      co_return fail(contact.error);
    case Contact::Outcome::OwnPass:
      break;
    case Contact::Outcome::Selected:
    case Contact::Outcome::Stream: {
      contact.selection.forward_reason = search.reason;
      co_return std::move(contact.selection);
    }
  }
  auto passed = co_await pass(scope, asked, search.reason);
  if (!passed) co_return fail(passed.error());
  co_return std::move(*passed);
}

Task<Result<Selection>> Fills::Impl::pass(Scope& scope, const Asked& asked,
                                          http::ForwardReason reason) {
  if (asked.only_if_cached) co_return fail(Side::Origin, Kind::Timeout, "only-if-cached");
  if (asked.priority == cache::Priority::Prefetch)
    co_return fail(Side::Self, Kind::Unsupported, "not storable");
  if (!has_room(asked.priority)) co_return fail_retryable(Side::Self, Kind::Overloaded, "fills");
  if (sheds_miss(asked)) co_return fail_retryable(Side::Self, Kind::Overloaded, "shed");
  const auto job = make_ref<PassJob>();
  job->fetcher = &fetcher_of(*asked.site);
  job->urgent = asked.urgent;
  job->request = plain_request(*asked.site, asked.target, asked.fields, scope.traceparent);
  set_own_range(job->request, own_range_form(asked), asked.range);
  if (asked.head_only) {
    // The total of one byte's range is the length that a HEAD tells.
    job->request.range_form = origin::FetchRequest::RangeForm::Bounded;
    job->request.range = {0, 1};
  }
  job->charge = {meter, loop, asked.payer, expected_bytes(job->request)};
  co_return co_await await_pass(scope, job, reason);
}

Task<Result<Selection>> Fills::relay(Scope& scope, const Asked& asked, std::string_view method,
                                     std::string_view body) {
  if (impl_->sheds_miss(asked)) co_return fail_retryable(Side::Self, Kind::Overloaded, "shed");
  const auto job = make_ref<PassJob>();
  job->fetcher = &impl_->fetcher_of(*asked.site);
  job->request = plain_request(*asked.site, asked.target, asked.fields, scope.traceparent);
  if (const auto type = asked.fields.find_only("content-type"); type && !body.empty()) {
    job->request.fields.remove("content-type");
    (void)job->request.fields.add("Content-Type", *type);
  }
  job->request.method = method;
  job->request.body = body;
  job->charge = {impl_->meter, impl_->loop, asked.payer, expected_bytes(job->request)};
  co_return co_await impl_->await_pass(scope, job, http::ForwardReason::Method);
}

Task<Result<Selection>> Fills::Impl::await_pass(Scope& scope, Ref<PassJob> held,
                                                http::ForwardReason reason) {
  const Ref<PassJob> job = std::move(held);
  job->request.first_byte_deadline = scope.deadline;
  auto pass_place = co_await take_place(job->fetcher->pass_places(), scope.signal, scope.cancelled,
                                        scope.deadline, job->urgent);
  if (!pass_place) co_return fail(pass_place.error());
  auto place = co_await take_place(job->fetcher->places(), scope.signal, scope.cancelled,
                                   scope.deadline, job->urgent);
  if (!place) co_return fail(place.error());
  job->request.place = std::move(*place);
  const Listening listening(*this, *job, scope.signal);
  if (!tasks.try_spawn(run_pass(job)))
    co_return fail_retryable(Side::Self, Kind::Overloaded, "fills");
  while (!job->done) {
    if (scope.cancelled) co_return fail(Side::Client, Kind::Closed, "pass");
    if (loop.now() >= scope.deadline) co_return fail(Side::Origin, Kind::Timeout, "pass");
    (void)co_await scope.signal.wait(scope.deadline);
  }
  if (!job->head) co_return fail(job->head.error());
  Selection selection;
  selection.pass_head = *job->head;
  selection.forward_reason = reason;
  selection.forward_status = selection.pass_head->status;
  selection.origin_latency = selection.pass_head->first_byte_latency;
  selection.pass = std::make_unique<PassStream>(std::vector<std::byte>(), std::move(job->stream),
                                                selection.pass_head, &counters.pass_bytes,
                                                std::move(*pass_place));
  co_return selection;
}

Task<void> Fills::Impl::run_pass(Ref<PassJob> owned) {
  const Ref<PassJob> job = std::move(owned);
  counters.pass_started.add();
  auto started = start_fetch(*job->fetcher, std::move(job->request), std::move(job->charge));
  if (started) {
    job->stream = std::move(*started);
    job->head = co_await job->stream->head();
  } else {
    job->head = fail(started.error());
  }
  job->done = true;
  if (job->starter != nullptr) {
    job->starter->raise();
  } else {
    job->stream.reset();
  }
}

void Fills::meter_by(OriginMeter* meter) noexcept { impl_->meter = meter; }

Task<void> Fills::drain() {
  Impl& impl = *impl_;
  impl.draining = true;
  for (origin::Fetcher* fetcher : impl.fetchers) {
    fetcher->places().close();
    fetcher->pass_places().close();
  }
  // Fetches under way end with their next bytes or at their own time limits.
  for (FillRun* run : impl.active) run->signal.raise();
  co_await impl.tasks.drain();
}

}  // namespace segue::edge
