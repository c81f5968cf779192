#include <algorithm>

#include "edge/fill/fills_impl.h"

namespace segue::edge {

using cache::Generation;
using cache::SliceIndex;
using cache::Where;

namespace {
// Only where nobody can wake the reader; never a poll for bytes.
constexpr std::chrono::milliseconds kAskAgain{10};
// A drive may be short of operations instead of buffers, and ends of operations wake nobody.
constexpr std::chrono::milliseconds kDriveOperationsWait{500};
}  // namespace

RangeReader::RangeReader(Fills& fills, const Asked& asked, cache::Selected selected,
                         ByteRange range, bool open_ended) noexcept
    : fills_(fills),
      asked_(asked),
      selected_(std::move(selected)),
      range_(range.clipped(selected_.generation->complete_length())),
      open_ended_(open_ended),
      run_slices_(open_ended ? kFillOpenEndedFirstSlices : kFillRunSlicesMax) {
  selected_.generation->reader_came();
  if (range_.empty()) return;
  asked_to_ = cache::slice_at(range_.first).value;
  seen_to_ = asked_to_;
  end_slice_ = cache::slice_at(range_.end - 1).value + 1;
}

RangeReader::~RangeReader() { selected_.generation->reader_left(); }

bool RangeReader::is_prefetch() const noexcept {
  return asked_.priority == cache::Priority::Prefetch;
}

bool RangeReader::may_extend() const noexcept {
  // Without a strong validator nothing can be added to what one response brought.
  return stored_of(selected_).parts().strong_validator && !selected_.generation->detached();
}

RangeReader::Readable RangeReader::take(cache::Found found, uint64_t offset) const noexcept {
  if (found.where != Where::Resident && found.where != Where::Filling) return {};
  const uint64_t first = cache::first_byte_of(cache::slice_at(offset));
  const auto landed = found.buffer.landed();
  const uint64_t end = std::min<uint64_t>(first + landed.size(), range_.end);
  if (end <= offset) return {};
  const auto bytes = landed.subspan(offset - first, end - offset);
  const uint32_t slice = cache::slice_at(offset).value;
  const bool from_drive = slice == drive_slice_ || slice == drive_slice_before_;
  return {std::move(found.buffer), bytes, from_drive ? Where::OnDrive : found.where};
}

RangeReader::Readable RangeReader::try_readable(uint64_t offset) noexcept {
  Fills::Impl& impl = *fills_.impl_;
  SEGUE_ASSERT(offset >= range_.first);
  SEGUE_ASSERT(offset < range_.end);
  const SliceIndex slice = cache::slice_at(offset);
  auto found = impl.store.find(*selected_.generation, slice, asked_.use);
  see(slice, found.where);
  if (found.where != Where::Absent) look_ahead(slice.value, found.where);
  return take(std::move(found), offset);
}

void RangeReader::see(SliceIndex slice, Where where) noexcept {
  const bool from_drive = where == Where::OnDrive || slice.value == read_ahead_;
  if (from_drive && slice.value != drive_slice_) {
    // A batch may look into the next slice and then be sent in part: this one is still being read.
    drive_slice_before_ = drive_slice_;
    drive_slice_ = slice.value;
  }
  if (slice.value < seen_to_) return;
  seen_to_ = slice.value + 1;
  failures_before_ = fills_.impl_->failed_fills.count(selected_.generation->key());
}

/// Asks for the next run before the last ends: as soon as less than half a run lies ahead. So the
/// fastest reader paces the fills, and a reader that does not come on asks for nothing.
void RangeReader::look_ahead(uint32_t slice, Where where) noexcept {
  Fills::Impl& impl = *fills_.impl_;
  const Generation& generation = *selected_.generation;
  // A drive takes its time, too: the next slice is read while this one is sent. One that is itself
  // still to be read goes first (wait_for).
  if (where != Where::OnDrive) read_ahead(SliceIndex{slice + 1});
  const uint32_t margin = std::max<uint32_t>(run_slices_ / 2, 1);
  asked_to_ = std::max(asked_to_, slice + 1);
  while (asked_to_ < end_slice_ && asked_to_ <= slice + margin) {
    if (impl.store.where(generation, SliceIndex{asked_to_}) != Where::Absent ||
        impl.find_run(generation, asked_to_) != nullptr) {
      ++asked_to_;
      continue;
    }
    if (!may_extend()) return;
    auto place = impl.fetcher_of(*asked_.site).places().try_take(is_prefetch());
    if (!place) return;
    auto end = impl.start_run(asked_, selected_, asked_to_,
                              std::min(run_slices_, end_slice_ - asked_to_), std::move(place));
    if (!end || *end == asked_to_) return;  // no room now: the reader comes to it anyway
    asked_to_ = *end;
    grow();
    return;
  }
}

void RangeReader::grow() noexcept {
  if (open_ended_) run_slices_ = std::min(run_slices_ * 2, kFillRunSlicesMax);
}

Task<Result<RangeReader::Readable>> RangeReader::readable(Scope& scope, uint64_t offset) {
  Fills::Impl& impl = *fills_.impl_;
  SEGUE_ASSERT(offset >= range_.first);
  SEGUE_ASSERT(offset < range_.end);
  const SliceIndex slice = cache::slice_at(offset);
  const Ref<Generation>& generation = selected_.generation;
  // Old failures do not count against a reader that stood still since.
  if (!impl.failed_fills.find(generation->key(), scope.loop.now()))
    failures_before_ = impl.failed_fills.count(generation->key());
  for (;;) {
    if (scope.cancelled) co_return fail(Side::Client, Kind::Closed, "read");
    if (generation->cut()) co_return fail(Side::Self, Kind::Purged, "cut");
    Where where = Where::Absent;
    {
      auto found = impl.store.find(*generation, slice, asked_.use);
      where = found.where;
      see(slice, where);
      auto readable = take(std::move(found), offset);
      if (where != Where::Absent) look_ahead(slice.value, where);
      if (readable.buffer) co_return std::move(readable);
    }  // no pin is kept across a wait
    if (scope.loop.now() >= scope.deadline) co_return fail(last_error(Kind::Timeout));
    // All who read here count the same failures: a crowd does not ask a dead origin once each.
    if (where == Where::Absent &&
        impl.failed_fills.count(generation->key()) > failures_before_ + kFillFailuresMax)
      co_return fail(last_error(Kind::FillAbandoned));
    auto waited = co_await wait_for(scope, slice, where, offset);
    if (!waited) co_return fail(waited.error());
  }
}

Error RangeReader::last_error(Kind kind) const noexcept {
  Fills::Impl& impl = *fills_.impl_;
  const auto trouble = impl.failed_fills.find(selected_.generation->key(), impl.loop.now());
  return trouble ? trouble->error : Error{Side::Origin, kind, false, 0, "slice"};
}

Task<Result<Done>> RangeReader::wait_for(Scope& scope, SliceIndex slice, Where where,
                                         uint64_t offset) {
  Fills::Impl& impl = *fills_.impl_;
  const Ref<Generation>& generation = selected_.generation;
  if (where == Where::Filling || where == Where::Resident) {
    cache::WaitTicket ticket(impl.local.waiters(), scope.signal);
    const auto beyond = static_cast<uint32_t>(offset - cache::first_byte_of(slice));
    if (impl.store.start_wait_slice(generation->slice_key(slice), beyond, ticket)) {
      (void)co_await scope.signal.wait(scope.deadline);
    } else if (!has_beyond(slice, beyond)) {
      co_await ask_again(scope);  // every place among those who wait is taken
    }
    co_return Done{};
  }
  if (where == Where::OnDrive) {
    auto started = impl.local.start_read(generation, slice, asked_.use);
    if (started) {
      read_ahead(SliceIndex{slice.value + 1});
      co_return Done{};
    }
    if (started.error().kind == Kind::Overloaded)
      co_return co_await wait_buffer(scope, scope.loop.now() + kDriveOperationsWait);
    // A drive that says both "mine" and "not there" is asked again at a walking pace.
    if (impl.store.where(*generation, slice) == Where::OnDrive) co_await ask_again(scope);
    co_return Done{};
  }
  if (FillRun* run = impl.find_run(*generation, slice.value); run != nullptr) {
    const Ref<FillRun> held(run);
    if (asked_.priority == cache::Priority::Demand) impl.raise_to_demand(*run);
    run->waiting.push_back(&scope.signal);
    (void)co_await scope.signal.wait(scope.deadline);
    (void)std::erase(held->waiting, &scope.signal);
    const bool leaves = scope.cancelled || scope.loop.now() >= scope.deadline;
    if (leaves && held->queued && held->waiting.empty()) {
      held->left = true;
      held->signal.raise();
    }
    co_return Done{};
  }
  if (!may_extend()) {
    // What cannot be completed is of no use to those who come now either.
    impl.store.detach(generation);
    co_return fail(Side::Self, Kind::Purged, "not to be extended");
  }
  if (impl.sheds_miss(asked_)) co_return fail_retryable(Side::Self, Kind::Overloaded, "shed");
  origin::Fetcher& fetcher = impl.fetcher_of(*asked_.site);
  // Where none is free the run waits for its turn, and whoever reads waits for the run.
  auto place = fetcher.places().try_take(is_prefetch());
  if (!place && is_prefetch()) co_return fail_retryable(Side::Self, Kind::Overloaded, "fetches");
  auto end = impl.start_run(asked_, selected_, slice.value,
                            std::min(run_slices_, end_slice_ - slice.value), std::move(place));
  if (!end) {
    if (!end.error().retryable) co_return fail(end.error());
    co_return co_await wait_buffer(scope, scope.deadline);
  }
  if (*end > slice.value) {
    asked_to_ = std::max(asked_to_, *end);
    grow();
  }
  co_return Done{};
}

Task<Result<Done>> RangeReader::wait_buffer(Scope& scope, MonoTime until) {
  Fills::Impl& impl = *fills_.impl_;
  cache::WaitTicket ticket(impl.local.waiters(), scope.signal);
  if (!impl.store.start_wait_buffer(asked_.priority, ticket)) {
    impl.counters.buffer_refusals.add();
    co_return fail_retryable(Side::Self, Kind::Overloaded, "buffers");
  }
  impl.counters.buffer_waits.add();
  (void)co_await scope.signal.wait(std::min(until, scope.deadline));
  co_return Done{};
}

Task<void> RangeReader::ask_again(Scope& scope) {
  (void)co_await scope.signal.wait(std::min(scope.deadline, scope.loop.now() + kAskAgain));
}

bool RangeReader::has_beyond(SliceIndex slice, uint32_t beyond) const noexcept {
  const auto found = fills_.impl_->store.find(*selected_.generation, slice, asked_.use);
  return found.where != Where::Filling || found.buffer.landed().size() > beyond;
}

void RangeReader::read_ahead(SliceIndex next) noexcept {
  Fills::Impl& impl = *fills_.impl_;
  const Ref<Generation>& generation = selected_.generation;
  if (next.value >= end_slice_ || impl.store.where(*generation, next) != Where::OnDrive) return;
  // When it cannot start now, its reader will start it.
  if (impl.local.start_read(generation, next, asked_.use)) read_ahead_ = next.value;
}

}  // namespace segue::edge
