#include "origin/fetch_places.h"

namespace segue::origin {

FetchPlace::~FetchPlace() {
  if (places_ != nullptr) places_->give_back();
}

FetchTicket::~FetchTicket() {
  if (queued_) places_.unlink(*this);
}

bool FetchTicket::start_wait() noexcept {
  if (places_.waiting_ == kFetchWaitersMax) return false;
  SEGUE_ASSERT(!queued_ && !place_);
  queued_ = true;
  before_ = places_.last_;
  (before_ != nullptr ? before_->after_ : places_.first_) = this;
  places_.last_ = this;
  ++places_.waiting_;
  return true;
}

FetchPlace FetchPlaces::try_take(bool prefetch) noexcept {
  const uint32_t most = prefetch ? places_ - places_ / 4 : places_;
  if (taken_ >= most) return {};
  ++taken_;
  return FetchPlace(*this);
}

void FetchPlaces::give_back() noexcept {
  FetchTicket* next = first_;
  if (next == nullptr) {
    --taken_;
    return;
  }
  unlink(*next);
  next->place_ = FetchPlace(*this);
  next->signal_.raise();
}

void FetchPlaces::unlink(FetchTicket& ticket) noexcept {
  (ticket.before_ != nullptr ? ticket.before_->after_ : first_) = ticket.after_;
  (ticket.after_ != nullptr ? ticket.after_->before_ : last_) = ticket.before_;
  ticket.before_ = ticket.after_ = nullptr;
  ticket.queued_ = false;
  --waiting_;
}

}  // namespace segue::origin
