// Fills of known generations: reserve, claim, ask, check, land.
#include <algorithm>

#include "edge/fill/fills_impl.h"
#include "http/validator.h"

namespace segue::edge {

using cache::BufferReservation;
using cache::FillPermit;
using cache::Generation;
using cache::SliceIndex;
using cache::Where;

void FillRun::wake_waiting() noexcept {
  for (Signal* signal_of : waiting) signal_of->raise();
  waiting.clear();
}

void Fills::Impl::raise_to_demand(FillRun& run) noexcept {
  if (run.ask.priority == cache::Priority::Demand) return;
  run.ask.priority = cache::Priority::Demand;
  --prefetching;
  counters.prefetch_joined.add();
  run.signal.raise();  // out of the queue of those nobody waits for
}

bool Fills::Impl::has_room(cache::Priority priority) const noexcept {
  if (draining) return false;
  if (priority == cache::Priority::Demand) return tasks.running() - prefetching < options.fills_max;
  return tasks.running() < options.fills_max / 2 && prefetching < kPrefetchTasksPerLoopMax;
}

void Fills::Impl::join_contact(const KeyHash& key) noexcept {
  for (FillRun* run : active) {
    if (run->ask.key == key) raise_to_demand(*run);
  }
}

Task<Result<origin::FetchPlace>> Fills::Impl::take_place(origin::FetchPlaces& places,
                                                         Signal& signal, const bool& cancelled,
                                                         MonoTime deadline, bool urgent) {
  if (auto place = places.try_take(/*prefetch=*/false)) co_return place;
  counters.fetch_waits.add();
  if (urgent) counters.fetch_waits_urgent.add();
  counters.fetches_waiting.add();
  auto place = co_await origin::wait_for_place(places, signal, cancelled, deadline, urgent);
  counters.fetches_waiting.sub();
  if (!place && place.error().side == Side::Self) counters.fetch_refusals.add();
  co_return place;
}

Result<std::unique_ptr<origin::FetchStream>> Fills::Impl::start_fetch(origin::Fetcher& fetcher,
                                                                      origin::FetchRequest request,
                                                                      OriginCharge charge) {
  auto started = fetcher.start(std::move(request));
  if (!started || !charge) return started;
  return std::make_unique<MeteredStream>(std::move(*started), std::move(charge));
}

Task<Result<const origin::FetchHead*>> Fills::Impl::await_head(origin::FetchStream& stream,
                                                               const OwnedAsk& ask) {
  const bool for_client = ask.priority == cache::Priority::Demand;
  if (for_client) counters.demand_awaiting_head.add();
  auto head = co_await stream.head();
  if (for_client) counters.demand_awaiting_head.sub();
  if (head) counters.origin_latency.record((*head)->first_byte_latency);
  co_return head;
}

void Fills::Impl::enter(FillRun& run) {
  if (run.ask.priority == cache::Priority::Prefetch) {
    ++prefetching;
    counters.prefetch_started.add();
  }
  active.push_back(&run);
  counters.fills_in_flight.set(active.size());
}

void Fills::Impl::leave(FillRun& run) noexcept {
  // What is left of the claims ends here, before the readers look again.
  SEGUE_ASSERT(run.settling.empty());
  run.permits.clear();
  run.reservation = {};
  run.next = run.end = 0;
  (void)std::erase(active, &run);
  if (run.ask.priority == cache::Priority::Prefetch) --prefetching;
  counters.fills_in_flight.set(active.size());
  run.wake_waiting();
}

FillRun* Fills::Impl::find_run(const Generation& generation, uint32_t slice) noexcept {
  const auto found = std::ranges::find_if(
      active, [&](const FillRun* run) { return run->covers(generation, slice); });
  return found == active.end() ? nullptr : *found;
}

Result<BufferReservation> Fills::Impl::try_reserve(uint32_t wanted,
                                                   cache::Priority priority) noexcept {
  auto reserved = store.try_reserve(wanted, priority);
  if (reserved || priority == cache::Priority::Prefetch || prefetching == 0) return reserved;
  // What prefetches hold ahead goes to who waits for it; they go on when there is room again.
  for (FillRun* run : active) {
    if (run->ask.priority == cache::Priority::Demand) continue;
    run->reservation = {};
    run->permits.erase(run->permits.begin() + static_cast<ptrdiff_t>(run->permits_used),
                       run->permits.end());
  }
  return store.try_reserve(wanted, priority);
}

Task<Result<BufferReservation>> Fills::Impl::reserve(FillRun& run, uint32_t wanted,
                                                     MonoTime deadline) {
  for (;;) {
    const cache::Priority priority = run.ask.priority;
    auto reserved = try_reserve(wanted, priority);
    if (reserved) co_return std::move(*reserved);
    if (run.left) co_return fail(Side::Client, Kind::Closed, "buffers");
    if (draining || loop.now() >= deadline) co_return fail(reserved.error());
    cache::WaitTicket ticket(local.waiters(), run.signal);
    if (!store.start_wait_buffer(priority, ticket)) {
      counters.buffer_refusals.add();
      co_return fail(reserved.error());
    }
    counters.buffer_waits.add();
    (void)co_await run.signal.wait(deadline);
  }
}

Task<Result<Done>> Fills::Impl::make_ready(FillRun& run, uint32_t slices, MonoTime deadline) {
  origin::Fetcher& fetcher = fetcher_of(*run.ask.site);
  for (;;) {
    const bool prefetch = run.ask.priority == cache::Priority::Prefetch;
    if (!run.place) run.place = fetcher.places().try_take(prefetch);
    if (!run.place) {
      if (prefetch) co_return fail_retryable(Side::Self, Kind::Overloaded, "fetches");
      run.reservation = {};
      auto place =
          co_await take_place(fetcher.places(), run.signal, run.left, deadline, run.ask.urgent);
      if (!place) co_return fail(place.error());
      run.place = std::move(*place);
    }
    if (run.reservation.count() > 0) co_return Done{};
    if (auto reserved = try_reserve(slices, run.ask.priority)) {
      run.reservation = std::move(*reserved);
      co_return Done{};
    }
    run.place = {};
    auto reserved = co_await reserve(run, slices, deadline);
    if (!reserved) co_return fail(reserved.error());
    run.reservation = std::move(*reserved);
  }
}

void Fills::Impl::claim(FillRun& run, ByteRange covers) noexcept {
  const Ref<Generation>& generation = run.selected.generation;
  const auto first = static_cast<uint32_t>((covers.first + kSliceBytes - 1) / kSliceBytes);
  const uint32_t end = covers.end == generation->complete_length()
                           ? generation->slices()
                           : static_cast<uint32_t>(covers.end / kSliceBytes);
  run.next = first;
  run.end = std::max(first, end);
  for (uint32_t slice = first; slice < end; ++slice) {
    FillPermit permit =
        store.try_start_fill(generation, SliceIndex{slice}, run.reservation, run.ask.priority);
    if (permit) {
      run.permits.push_back(std::move(permit));
    } else if (run.reservation.count() == 0) {
      return;  // land() reserves on as it comes to the rest
    }
  }
}

Task<Result<Done>> Fills::Impl::discard(origin::FetchStream& stream, uint64_t bytes) {
  while (bytes > 0) {
    auto got = co_await stream.read(
        std::span(scratch.get(), static_cast<size_t>(std::min<uint64_t>(bytes, kScratchBytes))));
    if (!got) co_return fail(got.error());
    if (*got == 0) co_return fail(Side::Origin, Kind::Closed, "body ended early");
    bytes -= *got;
  }
  co_return Done{};
}

Task<Result<Done>> Fills::Impl::land_slice(FillPermit& permit, origin::FetchStream& stream,
                                           bool last) {
  while (!permit.writable().empty()) {
    auto got = co_await stream.read(permit.writable());
    if (!got) co_return fail(got.error());
    if (*got == 0) co_return fail(Side::Origin, Kind::Closed, "body ended early");
    permit.publish(static_cast<uint32_t>(*got));
    counters.fill_bytes.add(*got);
  }
  if (last) {
    // A body longer than announced is not what was asked: its last slice is not kept.
    auto end = co_await stream.read(std::span(scratch.get(), 1));
    if (!end) co_return fail(end.error());
    if (*end != 0) co_return fail(Side::Origin, Kind::Mismatch, "body longer than announced");
  }
  co_return Done{};
}

void Fills::Impl::hold(FillRun& run, FillPermit permit) {
  if (run.settling.empty()) run.settling_since = loop.now();
  run.settling.push_back(std::move(permit));
}

Task<void> Fills::Impl::settle(FillRun& run) {
  if (run.settling.empty()) co_return;
  const MonoTime until = run.settling_since + kSettleFor;
  if (run.selected.generation->readers() > 0 && loop.now() < until)
    co_await sleep_for(until - loop.now());
  for (FillPermit& permit : run.settling) {
    std::move(permit).commit(local);
    counters.slices_filled.add();
  }
  run.settling.clear();
}

Task<Result<FillPermit>> Fills::Impl::next_permit(FillRun& run, SliceIndex slice) {
  while (run.permits_used < run.permits.size() && run.permits[run.permits_used].slice() < slice)
    ++run.permits_used;
  if (run.permits_used < run.permits.size() && run.permits[run.permits_used].slice() == slice)
    co_return std::move(run.permits[run.permits_used++]);
  const Generation& generation = *run.selected.generation;
  if (store.where(generation, slice) != Where::Absent) co_return FillPermit{};
  if (run.reservation.count() == 0 && run.permits_used < run.permits.size()) {
    // With buffers claimed for what is still to come it must not wait for another: two such fills
    // would wait for each other. What comes by now is not what was asked for; it is let go.
    auto reserved = try_reserve(1, run.ask.priority);
    if (!reserved) co_return FillPermit{};
    run.reservation = std::move(*reserved);
  } else if (run.reservation.count() == 0) {
    co_await settle(run);  // nothing is held while it waits for a buffer
    auto reserved = co_await reserve(run, 1, loop.now() + kContactMax);
    if (!reserved) co_return fail(reserved.error());
    run.reservation = std::move(*reserved);
  }
  co_return store.try_start_fill(run.selected.generation, slice, run.reservation, run.ask.priority);
}

Task<Result<Done>> Fills::Impl::land(FillRun& run, origin::FetchStream& stream, ByteRange covers) {
  auto landed = co_await land_slices(run, stream, covers);
  co_await settle(run);
  if (!landed) co_return fail(landed.error());
  co_return Done{};
}

Task<Result<Done>> Fills::Impl::land_slices(FillRun& run, origin::FetchStream& stream,
                                            ByteRange covers) {
  const Generation& generation = *run.selected.generation;
  // What lacks a strong validator cannot be completed later; it is at most one run long.
  const bool may_end_early = stored_of(run.selected).parts().strong_validator;
  for (uint64_t at = covers.first; at < covers.end;) {
    if (draining) co_return fail(Side::Self, Kind::Closed, "draining");
    const SliceIndex slice = cache::slice_at(at);
    const uint64_t slice_end = cache::first_byte_of(slice) + generation.slice_bytes(slice);
    const uint64_t end = std::min(slice_end, covers.end);
    FillPermit permit;
    if (at == cache::first_byte_of(slice) && end == slice_end) {
      auto next = co_await next_permit(run, slice);
      if (!next) co_return fail(next.error());
      permit = std::move(*next);
    }
    run.next = slice.value + 1;
    run.wake_waiting();
    auto done = permit ? co_await land_slice(permit, stream, end == covers.end)
                       : co_await discard(stream, end - at);
    if (!done) co_return fail(done.error());
    if (permit) hold(run, std::move(permit));
    if (loop.now() >= run.settling_since + kSettleFor || generation.readers() == 0)
      co_await settle(run);
    at = end;
    // Lets the starter begin to read before the question whether anybody reads is asked.
    co_await Yield{};
    // No client owns a fill, but one that nobody reads behind ends with the slice begun, unless the
    // rest is worth less than the connection.
    if (may_end_early && generation.readers() == 0 && run.waiting.empty() &&
        covers.end - at > kFillFinishBytesMax) {
      counters.fills_ended_early.add();
      co_return Done{};
    }
  }
  counters.fills_finished.add();
  co_return Done{};
}

Result<uint32_t> Fills::Impl::start_run(const Asked& asked, const cache::Selected& selected,
                                        uint32_t first, uint32_t slices_max,
                                        origin::FetchPlace place) {
  const Ref<Generation>& generation = selected.generation;
  if (!has_room(asked.priority)) return fail(Side::Self, Kind::Overloaded, "fills");
  uint32_t wanted = 1;
  while (wanted < slices_max && first + wanted < generation->slices() &&
         store.where(*generation, SliceIndex{first + wanted}) == Where::Absent)
    ++wanted;
  auto run = make_ref<FillRun>();
  run->selected = selected;
  run->next = first;
  run->end = first + wanted;
  run->ask = own(asked, generation->key(), generation->key_text(), asked.traceparent);
  if (place) {
    auto reserved = try_reserve(wanted, asked.priority);
    if (!reserved) return fail_retryable(Side::Self, Kind::Overloaded, "buffers");
    run->reservation = std::move(*reserved);
    run->place = std::move(place);
    claim_row(*run);
    if (run->permits.empty()) return first;  // somebody else was faster: look again
  }
  const uint32_t end = run->end;
  if (!tasks.try_spawn(run_fill(run))) return fail(Side::Self, Kind::Overloaded, "fills");
  return end;
}

void Fills::Impl::claim_row(FillRun& run) noexcept {
  const uint32_t end = std::exchange(run.end, run.next);
  while (run.end < end) {
    FillPermit permit = store.try_start_fill(run.selected.generation, SliceIndex{run.end},
                                             run.reservation, run.ask.priority);
    if (!permit) return;
    run.permits.push_back(std::move(permit));
    ++run.end;
  }
}

Task<Result<Done>> Fills::Impl::take_turn(FillRun& run) {
  const Generation& generation = *run.selected.generation;
  run.charge = {meter, loop, run.ask.payer, uint64_t{run.end - run.next} * kSliceBytes};
  run.queued = true;
  auto ready = co_await make_ready(run, run.end - run.next, loop.now() + kContactMax);
  run.queued = false;
  if (run.left) co_return Done{};
  if (!ready) co_return fail(ready.error());
  if (generation.readers() > 0) claim_row(run);  // else all for whom it was to ask have left
  run.wake_waiting();
  co_return Done{};
}

Task<void> Fills::Impl::run_fill(Ref<FillRun> owned) {
  const Ref<FillRun> run = std::move(owned);
  enter(*run);
  Result<Done> done = Done{};
  if (!run->place) done = co_await take_turn(*run);
  const bool starts = done && !run->permits.empty();
  if (starts) {
    counters.fills_started.add();
    auto asks_again = co_await fill_once(*run, /*again=*/false);
    if (asks_again && *asks_again) {
      // Its place has gone to whoever waits. It waits again itself, and holds no buffer meanwhile.
      run->permits.clear();
      done = co_await take_turn(*run);
      if (done && !run->permits.empty()) asks_again = co_await fill_once(*run, /*again=*/true);
    }
    if (!asks_again) done = fail(asks_again.error());
  }
  if (!done) {
    if (starts) counters.fills_cut.add();
    // What failed for nobody is no reason to keep a listener from the origin.
    if (run->ask.priority == cache::Priority::Demand)
      failed_fills.note(run->ask.key, loop.now(), {.error = done.error()});
  }
  leave(*run);
}

namespace {

/// Only strong entity tags: a resume sends it as If-Range (RFC 9110 §13.1.5).
std::string strong_etag_of(const StoredResponse& stored) {
  const auto tag = http::parse_entity_tag(stored.parts().etag);
  return tag && !tag->weak ? stored.parts().etag : std::string();
}

}  // namespace

Task<Result<bool>> Fills::Impl::fill_once(FillRun& run, bool again) {
  const Generation& generation = *run.selected.generation;
  const StoredResponse& stored = stored_of(run.selected);
  const ByteRange wanted = ByteRange{cache::first_byte_of(SliceIndex{run.next}),
                                     cache::first_byte_of(SliceIndex{run.end})}
                               .clipped(generation.complete_length());
  origin::Fetcher& fetcher = fetcher_of(*run.ask.site);
  auto request =
      plain_request(*run.ask.site, run.ask.target, run.ask.fields.view(), run.ask.traceparent);
  request.range_form = origin::FetchRequest::RangeForm::Bounded;
  request.range = wanted;
  request.expected_etag = strong_etag_of(stored);
  request.preferred_server = stored.parts().server;
  request.first_byte_deadline = loop.now() + kContactMax;
  request.prefetch = run.ask.priority == cache::Priority::Prefetch;
  request.place = std::move(run.place);
  if (!run.charge) run.charge = {meter, loop, run.ask.payer, wanted.length()};
  auto stream = start_fetch(fetcher, std::move(request), std::move(run.charge));
  if (!stream) co_return fail(stream.error());
  auto head = co_await await_head(**stream, run.ask);
  if (!head) co_return fail(head.error());
  const origin::FetchHead& answer = **head;
  if (answer.status >= 500) co_return fail(Side::Origin, Kind::Refused, "server error");
  const bool has_bytes = answer.status == 200 || answer.status == 206;
  // A 200 without a length (chunked) of the same validator is this version; land() sees whether
  // its end is where it should be.
  const bool same_length = answer.complete_length == generation.complete_length() ||
                           (answer.status == 200 && !answer.complete_length);
  const bool is_version =
      has_bytes && same_length && same_version(fetcher.validator_rule(), stored, answer);
  const bool ignores_range = answer.status == 200;
  if (is_version && (ignores_range || answer.content_range == wanted)) {
    if (ignores_range) {
      // All of it comes by (RFC 9110 §14.2), so others need not ask for theirs.
      run.end = generation.slices();
      run.next = 0;
    }
    auto landed = co_await land(
        run, **stream, ignores_range ? ByteRange{0, generation.complete_length()} : wanted);
    if (!landed) co_return fail(landed.error());
    co_return false;
  }
  if (has_bytes) counters.validator_mismatches.add();
  // Servers of one origin often disagree: the one the version came from is asked again first.
  if (has_bytes && !again && answer.server != stored.parts().server) co_return true;
  co_return give_up_version(run, answer);
}

std::unexpected<Error> Fills::Impl::give_up_version(FillRun& run,
                                                    const origin::FetchHead& answer) noexcept {
  // This answer cannot be installed as the new version: its request went out before a sequence was
  // taken for it, so a purge in between would miss it. The next request asks anew.
  if (answer.status == 200 || answer.status == 206 || answer.status == 404 ||
      answer.status == 410 || answer.status == 416) {
    const Ref<Generation>& generation = run.selected.generation;
    if (!generation->detached()) replaced(*generation);
    store.detach(generation);
  } else {
    counters.fills_rejected.add();
  }
  return fail(Side::Origin, Kind::Mismatch, "another version");
}

}  // namespace segue::edge
