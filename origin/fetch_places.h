// origin/fetch_places.h - how many fetches of one origin run at once on one loop, and who is next;
// or of anything else that is bounded and waited for in turn.
//
// A crowd on a cold cache asks for more than an origin should be asked for at once. Whoever finds
// all places taken waits for one in the order of coming; a player that waits 50 ms plays, one that
// is told 503 has lost its track. A player that says it is about to fall silent goes before those
// that have not said so, but never takes more than three of four places from them: what players say
// of themselves is not checked, and nobody is starved by it. Loop-owned.
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
  FetchTicket(FetchPlaces& places, Signal& signal, bool urgent = false) noexcept
      : places_(places), signal_(signal), urgent_(urgent) {}
  ~FetchTicket();
  FetchTicket(const FetchTicket&) = delete;
  FetchTicket& operator=(const FetchTicket&) = delete;

  /// Queues up, at the end of its line. False: too many wait.
  [[nodiscard]] bool start_wait() noexcept;
  /// What has come; empty if nothing has.
  [[nodiscard]] FetchPlace take() noexcept { return std::move(place_); }

 private:
  friend class FetchPlaces;
  FetchPlaces& places_;
  Signal& signal_;
  const bool urgent_;
  FetchPlace place_;
  FetchTicket* before_ = nullptr;
  FetchTicket* after_ = nullptr;
  bool queued_ = false;
};

class FetchPlaces {
 public:
  explicit FetchPlaces(uint32_t places) noexcept : places_(places) {}
  ~FetchPlaces() { SEGUE_ASSERT(taken_ == 0 && waiting() == 0); }
  FetchPlaces(const FetchPlaces&) = delete;
  FetchPlaces& operator=(const FetchPlaces&) = delete;

  /// A place at once, or none. The last quarter is demand's: a burst of prefetches never stands
  /// before a listener.
  [[nodiscard]] FetchPlace try_take(bool prefetch) noexcept;
  /// From here on there are no places: whoever waits is told, and whoever comes.
  void close() noexcept;
  [[nodiscard]] bool closed() const noexcept { return closed_; }
  /// Any thread.
  [[nodiscard]] uint32_t waiting() const noexcept { return static_cast<uint32_t>(waiting_.get()); }
  [[nodiscard]] uint32_t taken() const noexcept { return taken_; }

 private:
  friend class FetchPlace;
  friend class FetchTicket;
  struct Line {
    FetchTicket* first = nullptr;
    FetchTicket* last = nullptr;
  };
  void give_back() noexcept;
  void unlink(FetchTicket& ticket) noexcept;
  [[nodiscard]] Line& line_of(const FetchTicket& ticket) noexcept {
    return ticket.urgent_ ? urgent_ : usual_;
  }
  [[nodiscard]] FetchTicket* next_in_turn() noexcept;

  const uint32_t places_;
  uint32_t taken_ = 0;
  Counter waiting_;           // gauge
  uint32_t overtakings_ = 0;  // places given to urgent ones in a row, while others waited
  bool closed_ = false;
  Line usual_, urgent_;
};

/// A place, for demand, at once or in turn. Waits for one, on `signal`, until `deadline` or until
/// `cancelled` is true; whoever makes it true raises the signal. Errors: {Self, Overloaded}: too
/// many wait, none came in time, or there are none any more; {Client, Closed}: cancelled.
[[nodiscard]] Task<Result<FetchPlace>> wait_for_place(FetchPlaces& places, Signal& signal,
                                                      const bool& cancelled, MonoTime deadline,
                                                      bool urgent);

}  // namespace segue::origin
