#include "origin/fetch_places.h"

namespace segue::origin {

namespace {
constexpr uint32_t kOvertakingsMax = 3;  // then the first of those who are not urgent
}

FetchPlace::~FetchPlace() {
  if (places_ != nullptr) places_->give_back();
}

FetchTicket::~FetchTicket() {
  if (queued_) places_.unlink(*this);
}

bool FetchTicket::start_wait() noexcept {
  if (places_.waiting() == kFetchWaitersMax) return false;
  SEGUE_ASSERT(!queued_ && !place_);
  queued_ = true;
  FetchPlaces::Line& line = places_.line_of(*this);
  before_ = line.last;
  (before_ != nullptr ? before_->after_ : line.first) = this;
  line.last = this;
  places_.waiting_.add();
  return true;
}

FetchPlace FetchPlaces::try_take(bool prefetch) noexcept {
  if (closed_) return {};
  const uint32_t most = prefetch ? places_ - (places_ + 3) / 4 : places_;
  if (taken_ >= most) return {};
  ++taken_;
  return FetchPlace(*this);
}

FetchTicket* FetchPlaces::next_in_turn() noexcept {
  if (urgent_.first == nullptr || usual_.first == nullptr) {
    overtakings_ = 0;
    return urgent_.first != nullptr ? urgent_.first : usual_.first;
  }
  if (overtakings_ == kOvertakingsMax) {
    overtakings_ = 0;
    return usual_.first;
  }
  ++overtakings_;
  return urgent_.first;
}

void FetchPlaces::give_back() noexcept {
  FetchTicket* next = next_in_turn();
  if (next == nullptr) {
    --taken_;
    return;
  }
  unlink(*next);
  next->place_ = FetchPlace(*this);
  next->signal_.raise();
}

void FetchPlaces::close() noexcept {
  closed_ = true;
  for (const Line* line : {&urgent_, &usual_}) {
    for (FetchTicket* each = line->first; each != nullptr; each = each->after_)
      each->signal_.raise();
  }
}

void FetchPlaces::unlink(FetchTicket& ticket) noexcept {
  Line& line = line_of(ticket);
  (ticket.before_ != nullptr ? ticket.before_->after_ : line.first) = ticket.after_;
  (ticket.after_ != nullptr ? ticket.after_->before_ : line.last) = ticket.before_;
  ticket.before_ = ticket.after_ = nullptr;
  ticket.queued_ = false;
  waiting_.sub();
}

Task<Result<FetchPlace>> wait_for_place(FetchPlaces& places, Signal& signal, const bool& cancelled,
                                        MonoTime deadline, bool urgent) {
  if (cancelled) co_return fail(Side::Client, Kind::Closed, "place");
  if (auto place = places.try_take(/*prefetch=*/false)) co_return place;
  FetchTicket ticket(places, signal, urgent);
  const bool waits = !places.closed() && ticket.start_wait();
  // Woken for another reason it waits on where it stands.
  while (waits && !cancelled && !places.closed() && Loop::current()->now() < deadline) {
    (void)co_await signal.wait(deadline);
    auto place = ticket.take();
    if (place && !places.closed()) co_return place;
  }
  if (cancelled && Loop::current()->now() < deadline)
    co_return fail(Side::Client, Kind::Closed, "place");
  co_return fail_retryable(Side::Self, Kind::Overloaded, "places");
}

}  // namespace segue::origin
