// origin/fetch_places.h - how many fetches of one origin run at once on one loop, and who is next.
//
// A crowd on a cold cache asks for more than an origin should be asked for at once. Whoever finds
// all places taken waits for one in the order of coming; a player that waits 50 ms plays, one that
// is told 503 has lost its track. Loop-owned.
#pragma once
#include <cstdint>
#include <utility>

#include "base/counter.h"
#include "base/limits.h"
#include "base/loop/task.h"

namespace segue::origin {

class FetchPlaces;

/// A place while it lives; given back, it goes to the first who waits. Movable, may be empty.
class [[nodiscard]] FetchPlace {
 public:
  FetchPlace() = default;
  FetchPlace(FetchPlace&& other) noexcept : places_(std::exchange(other.places_, nullptr)) {}
  FetchPlace& operator=(FetchPlace&& other) noexcept {
    FetchPlace(std::move(other)).swap(*this);
    return *this;
  }
  ~FetchPlace();
  explicit operator bool() const noexcept { return places_ != nullptr; }
  void swap(FetchPlace& other) noexcept { std::swap(places_, other.places_); }

 private:
  friend class FetchPlaces;
  explicit FetchPlace(FetchPlaces& of) noexcept : places_(&of) {}
  FetchPlaces* places_ = nullptr;
};

/// One that waits for a place: lives where it waits, is not moved. Gone, it waits no more, and what
/// it was given goes to the next.
class FetchTicket {
 public:
  /// `signal` is raised when a place has come.
  FetchTicket(FetchPlaces& places, Signal& signal) noexcept : places_(places), signal_(signal) {}
  ~FetchTicket();
  FetchTicket(const FetchTicket&) = delete;
  FetchTicket& operator=(const FetchTicket&) = delete;

  /// Queues up, at the end. False: too many wait.
  [[nodiscard]] bool start_wait() noexcept;
  /// What has come; empty if nothing has.
  [[nodiscard]] FetchPlace take() noexcept { return std::move(place_); }

 private:
  friend class FetchPlaces;
  FetchPlaces& places_;
  Signal& signal_;
  FetchPlace place_;
  FetchTicket* before_ = nullptr;
  FetchTicket* after_ = nullptr;
  bool queued_ = false;
};

class FetchPlaces {
 public:
  explicit FetchPlaces(uint32_t places) noexcept : places_(places) {}
  ~FetchPlaces() { SEGUE_ASSERT(taken_ == 0 && waiting_ == 0); }
  FetchPlaces(const FetchPlaces&) = delete;
  FetchPlaces& operator=(const FetchPlaces&) = delete;

  /// A place at once, or none. The last quarter is demand's: a burst of prefetches never stands
  /// before a listener.
  [[nodiscard]] FetchPlace try_take(bool prefetch) noexcept;
  [[nodiscard]] uint32_t waiting() const noexcept { return waiting_; }
  [[nodiscard]] uint32_t taken() const noexcept { return taken_; }

 private:
  friend class FetchPlace;
  friend class FetchTicket;
  void give_back() noexcept;
  void unlink(FetchTicket& ticket) noexcept;

  const uint32_t places_;
  uint32_t taken_ = 0;
  uint32_t waiting_ = 0;
  FetchTicket* first_ = nullptr;
  FetchTicket* last_ = nullptr;
};

}  // namespace segue::origin
