// What the planner orders is fetched here, through the same doors as a client's request.
#include <algorithm>

#include "edge/prefetch/container_head.h"
#include "edge/prefetch/learned.h"
#include "edge/prefetch/prefetch_job.h"

namespace segue::edge {
namespace {

using cache::SliceIndex;
using cache::Where;

constexpr milliseconds kLookWhileBusy{50};
// What is refused at once is refused within the turn: not all who wait are to be tried in one.
constexpr uint32_t kRefusalsPerLook = 8;
constexpr seconds kHeaderMax{6};
constexpr seconds kBytesMax{20};

}  // namespace

/// Plans, stops and starts what is due, and sleeps until there may be more.
void Prefetcher::step() {
  if (draining_) return;
  has_new_lines_ = false;
  const MonoTime now = loop_.now();
  const Press origins = look_at_origins();
  const bool pressed = is_pressed() || origins == Press::All;
  if (pressed) stop_jobs();
  if (origins == Press::Some) stop_jobs_at_pressed_origins();
  if (pressed || origins != Press::None) pauses_.add();
  // Before anything starts: what one session let go of and another wants would be found here, and
  // go all the same.
  planner_.expire(now);
  drop_what_is_over();
  if (now >= refused_until_) refusals_ = 0;
  planner_.pause(pressed);
  while (!is_resting()) {
    auto order = planner_.next(now);
    if (!order) break;
    start(std::move(*order));
  }
  planner_.pause(pressed || is_resting());
  for (const uint64_t order : planner_.take_stopped()) {
    if (const auto job = jobs_.find(order); job != jobs_.end()) job->second->cancel();
  }
  drop_what_is_over();
  MonoTime wake = planner_.wake_at(now);
  if (learned_) {
    learned_->plans.step(now);
    wake = std::min(wake, learned_->plans.wake_at(now));
  }
  const Planner::Gauges gauges = planner_.gauges();
  if (gauges.running > 0 || ((pressed || origins != Press::None) && gauges.candidates > 0))
    wake = std::min(wake, now + kLookWhileBusy);
  if (is_resting()) wake = std::min(wake, refused_until_);
  loop_.arm(tick_, wake);
}

bool Prefetcher::is_resting() const noexcept { return refusals_ >= kRefusalsPerLook; }

/// One that ended as `end`: who is refused again and again is not to be asked for at each turn.
void Prefetcher::end_order(uint64_t order, Planner::End end) {
  if (end == Planner::End::Refused && refusals_++ == 0)
    refused_until_ = loop_.now() + kLookWhileBusy;
  planner_.ended(order, end, loop_.now());
}

void Prefetcher::set_pressure(const Pressure& pressure) {
  demand_ = pressure.fills;
  overload_ = pressure.overload;
  origins_.clear();
  for (const auto& loops : pressure.origins) origins_.push_back({.loops = loops, .pace = {}});
}

/// Whether the node sheds prefetches, or clients wait for what they would take anywhere: buffers
/// (told at once, not at the manager's next look), or many for heads.
bool Prefetcher::is_pressed() const noexcept {
  if (overload_ != nullptr && overload_->sheds(Load::Prefetch)) return true;
  return local_.store().demand_waiting() > 0 || heads_awaited() >= options_.pause_fills;
}

uint64_t Prefetcher::heads_awaited() const noexcept {
  uint64_t waiting = 0;
  for (const FillCounters* fills : demand_) waiting += fills->demand_awaiting_head.get();
  return waiting;
}

/// At which origins clients wait for places, or for heads that come later than usual. Queues for
/// what prefetches never take (answers that are passed on, whose readers may be slow) are no
/// reason.
Prefetcher::Press Prefetcher::look_at_origins() {
  const MonoTime now = loop_.now();
  const bool awaited = heads_awaited() > 0;
  size_t pressed = 0;
  for (Source& origin : origins_) {
    uint64_t heads = 0;
    uint64_t head_ns = 0;
    uint64_t queued = 0;
    for (const OriginLoad& of_loop : origin.loops) {
      queued += of_loop.places->waiting();
      if (of_loop.counters == nullptr) continue;
      heads += of_loop.counters->first_byte_count.get();
      head_ns += of_loop.counters->first_byte_ns_sum.get();
    }
    origin.pace.see(heads, head_ns, now);
    origin.pressed = queued > 0 || (awaited && origin.pace.is_slow(now));
    if (origin.pressed) ++pressed;
  }
  if (pressed == 0) return Press::None;
  return pressed == origins_.size() ? Press::All : Press::Some;
}

/// Clients that have joined one read on by themselves.
void Prefetcher::stop_jobs() noexcept {
  for (auto& [order, job] : jobs_) job->cancel();
}

void Prefetcher::stop_jobs_at_pressed_origins() noexcept {
  for (auto& [order, job] : jobs_) {
    if (is_pressed_at(*job->asked.site)) job->cancel();
  }
}

bool Prefetcher::is_pressed_at(const Site& site) const noexcept {
  return site.origin < origins_.size() && origins_[site.origin].pressed;
}

void Prefetcher::drop_what_is_over() {
  for (const auto& dropped : planner_.take_dropped()) drop(dropped);
}

void Prefetcher::drop(const Planner::Dropped& dropped) {
  cache::Store& store = local_.store();
  const auto found = store.look_up(dropped.target->key, dropped.target->key_text);
  if (found.known != cache::Store::Known::Yes) return;
  const cache::Generation& generation = *found.selected.generation;
  const uint64_t length = generation.complete_length();
  const uint64_t tail_first = length - std::min<uint64_t>(length, dropped.tail_bytes);
  for (const ByteRange& part : {dropped.part.clipped(length), ByteRange{tail_first, length}}) {
    if (part.empty()) continue;
    const SliceIndex last = cache::slice_at(part.end - 1);
    for (SliceIndex slice = cache::slice_at(part.first); slice <= last; ++slice.value)
      store.drop_unasked(generation, slice);
  }
}

void Prefetcher::start(Planner::Order order) {
  const uint64_t id = order.id;
  auto job = make_ref<Job>();
  job->order = std::move(order);
  const PrefetchTarget* target = job->order.target.get();
  if (target == nullptr) return planner_.ended(id, Planner::End::Failed, loop_.now());
  if (is_pressed_at(*target->site)) return end_order(id, Planner::End::Refused);
  Asked& asked = job->asked;
  asked.site = target->site.get();
  asked.key = target->key;
  asked.key_text = target->key_text;
  asked.target = target->origin_target();
  asked.range_form = Asked::RangeForm::Bounded;
  asked.range = job->order.head;
  if (job->order.head_is_guess) asked.range.end = std::min<uint64_t>(asked.range.end, kSliceBytes);
  asked.priority = cache::Priority::Prefetch;
  jobs_.emplace(id, job);
  if (!tasks_.try_spawn(run(job))) {
    jobs_.erase(id);
    end_order(id, Planner::End::Refused);
  }
}

Task<void> Prefetcher::run(Ref<Job> owned) {
  const Ref<Job> job = std::move(owned);
  const Planner::End end = co_await fetch(*job);
  end_order(job->order.id, end);
  jobs_.erase(job->order.id);
  if (!draining_) loop_.arm(tick_, loop_.now());  // on a later turn: step() starts tasks
}

namespace {

/// What `error` makes of an order that nobody has stopped. From three quarters of an origin's
/// places, or half of the fills, on there is no room for a prefetch: that is load, no mistake.
Planner::End end_of(const Error& error) noexcept {
  const bool no_room = error.side == Side::Self && error.kind == Kind::Overloaded;
  return no_room ? Planner::End::Refused : Planner::End::Failed;
}

}  // namespace

Task<Planner::End> Prefetcher::fetch(Job& job) {
  Scope scope{.loop = loop_,
              .local = local_,
              .signal = job.signal,
              .cancelled = job.cancelled,
              .deadline = loop_.now() + kHeaderMax};
  note_what_is_here(job);
  Selection selection;
  if (!fills_.try_select(job.asked, selection)) {
    auto selected = co_await fills_.select(scope, job.asked);
    if (!selected) co_return job.cancelled ? Planner::End::Stopped : end_of(selected.error());
    selection = std::move(*selected);
  }
  if (selection.pass) co_return Planner::End::Failed;
  const StoredResponse::Form form = selection.response->parts().form;
  if (form == StoredResponse::Form::Negative) co_return Planner::End::NotThere;
  if (form != StoredResponse::Form::Normal) co_return Planner::End::Failed;
  const cache::Selected selected = selection.selected;
  const bool is_ours = !selection.hit && !selection.collapsed;
  if (job.seen.get() != selected.generation.get()) job.settled.clear();
  const uint64_t length = selected.generation->complete_length();
  uint64_t begun = job.order.head.first;
  if (job.order.head_is_guess) {
    const ByteRange first = job.asked.range.clipped(length);
    auto brought = co_await bring(scope, job, selected, first, is_ours);
    if (!brought) co_return job.cancelled ? Planner::End::Stopped : end_of(brought.error());
    refine(job, selected);
    begun = first.end;
  }
  const ByteRange whole_head = job.order.head.clipped(length);
  const ByteRange head{std::min(begun, whole_head.end), whole_head.end};
  const uint64_t tail_first = length - std::min<uint64_t>(length, job.order.tail_bytes);
  const ByteRange parts[] = {head, ByteRange{std::max(tail_first, head.end), length}};
  for (const ByteRange& part : parts) {
    if (part.empty() || (&part != &parts[0] && job.order.tail_bytes == 0)) continue;
    auto brought = co_await bring(scope, job, selected, part, is_ours);
    if (!brought) co_return job.cancelled ? Planner::End::Stopped : end_of(brought.error());
  }
  co_return Planner::End::Complete;
}

/// What is stale is asked about, and its slices may be here all the same: they are not fetched.
void Prefetcher::note_what_is_here(Job& job) {
  cache::Store& store = local_.store();
  const auto found = store.look_up(job.asked.key, job.asked.key_text);
  if (found.known != cache::Store::Known::Yes) return;
  const cache::Generation& generation = *found.selected.generation;
  job.seen = found.selected.generation;
  const uint64_t length = generation.complete_length();
  // Its head may become longer once its container has told.
  const ByteRange head =
      ByteRange{job.order.head.first,
                std::max(job.order.head.end, job.order.head.first + kHeadBytesMax)}
          .clipped(length);
  for (const ByteRange& part :
       {head, ByteRange{length - std::min<uint64_t>(length, kTailBytes), length}}) {
    if (part.empty()) continue;
    const uint32_t last = cache::slice_at(part.end - 1).value;
    for (uint32_t slice = cache::slice_at(part.first).value; slice <= last; ++slice) {
      if (store.where(generation, SliceIndex{slice}) != Where::Absent) job.settled.push_back(slice);
    }
  }
}

/// Nobody told how much of the track holds its first seconds; its container may, now that its
/// beginning is here.
void Prefetcher::refine(Job& job, const cache::Selected& selected) {
  constexpr uint64_t kLookedAt = 64 * KiB;
  const uint64_t length = selected.generation->complete_length();
  RangeReader reader(fills_, job.asked, selected, {0, std::min(length, kLookedAt)},
                     /*open_ended=*/false);
  std::vector<std::byte> beginning;
  while (beginning.size() < std::min(length, kLookedAt)) {
    const auto readable = reader.try_readable(beginning.size());
    if (readable.bytes.empty()) break;  // on a drive: not worth a read
    beginning.insert(beginning.end(), readable.bytes.begin(), readable.bytes.end());
  }
  const auto wanted = static_cast<double>(job.order.head.end) / kBytesPerSecondUnknown;
  const auto told = container_head(
      {.beginning = std::span(beginning).first(std::min<size_t>(beginning.size(), kLookedAt)),
       .complete_length = length,
       .head = milliseconds{static_cast<int64_t>(wanted * 1000)}});
  if (!told) return;
  heads_told_.add();
  const uint64_t head_bytes =
      std::min(length, std::clamp(told->head_bytes, kHeadBytesMin, kHeadBytesMax));
  const uint32_t tail_bytes = told->tail ? kTailBytes : job.order.tail_bytes;
  Facts& facts = facts_for(track_of(job.order.target->key));
  facts.head_bytes = head_bytes;
  facts.tail = told->tail;
  if (!planner_.refine(job.order.id, head_bytes, tail_bytes)) return;
  job.order.head.end = head_bytes;
  job.order.tail_bytes = tail_bytes;
}

/// Reads behind the fills of the range, as a client would, and lets the bytes lie. What a drive has
/// is near enough: it stays there. A slice counts once, whichever parts of the head it lies in.
Task<Result<Done>> Prefetcher::bring(Scope& scope, Job& job, const cache::Selected& selected,
                                     ByteRange range, bool is_ours) {
  const cache::Generation& generation = *selected.generation;
  cache::Store& store = local_.store();
  const uint32_t first = cache::slice_at(range.first).value;
  const uint32_t end = cache::slice_at(range.end - 1).value + 1;
  std::vector<bool> ours(end - first);
  for (uint32_t slice = first; slice < end; ++slice) {
    const Where where = store.where(generation, SliceIndex{slice});
    ours[slice - first] = where == Where::Absent || (is_ours && where != Where::OnDrive);
  }
  RangeReader reader(fills_, job.asked, selected, range, /*open_ended=*/false);
  for (uint32_t slice = first; slice < end; ++slice) {
    if (!ours[slice - first]) continue;
    const uint64_t slice_end =
        cache::first_byte_of(SliceIndex{slice}) + generation.slice_bytes(SliceIndex{slice});
    uint64_t at = std::max(cache::first_byte_of(SliceIndex{slice}), range.first);
    while (at < std::min(slice_end, range.end)) {
      if (job.cancelled) co_return fail(Side::Client, Kind::Closed, "revoked");
      scope.deadline = loop_.now() + kBytesMax;
      auto readable = co_await reader.readable(scope, at);
      if (!readable) co_return fail(readable.error());
      at += readable->bytes.size();
    }
    if (job.is_settled(slice)) continue;
    job.settled.push_back(slice);
    planner_.landed(job.order.id, generation.slice_bytes(SliceIndex{slice}));
  }
  co_return Done{};
}

Task<void> Prefetcher::drain() {
  draining_ = true;
  loop_.disarm(tick_);
  stop_jobs();
  co_await tasks_.drain();
}

}  // namespace segue::edge
