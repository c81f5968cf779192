// edge/overload/overload.h - what a node that runs short gives up, and in which order: first what
// nobody waits for (prefetch), then what can be done later (revalidation behind a stale answer),
// then who is not here yet (new connections), then what costs most (new misses). Hits are never
// given up. One for all loops.
//
// Each resource has a soft limit, from which on the first load that uses it is shed, and a hard
// one, from which on the last is; those between them lie evenly between. What cannot be had at all
// (no buffer, no descriptor, no place in a queue) is still refused on the spot by whoever asks for
// it: base/limits.h. Those are the walls, this is the brake before them.
#pragma once
#include <array>
#include <atomic>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

#include "base/counter.h"

namespace segue::edge {

class Registry;

enum class Resource : uint8_t { Buffers, Memory, Descriptors, Fills, Ring };
inline constexpr uint32_t kResources = 5;
[[nodiscard]] std::string_view name_of(Resource resource) noexcept;

/// In the order in which they are shed.
enum class Load : uint8_t { Prefetch, Revalidation, Connection, Miss };
inline constexpr uint32_t kLoads = 4;
[[nodiscard]] std::string_view name_of(Load load) noexcept;

/// How much of a resource is in use. `hard` 0: there is no limit, it never runs short.
struct Reading {
  uint64_t used = 0;
  uint64_t soft = 0;
  uint64_t hard = 0;  // >= soft
};
using Readings = std::array<Reading, kResources>;

/// From how much use of `resource` on `load` is shed for its sake; nothing: never, because shedding
/// it would not help (a connection holds no buffer, and where drives are slow misses are the way
/// out).
[[nodiscard]] std::optional<uint64_t> shed_from(Resource resource, Load load,
                                                const Reading& reading) noexcept;

class Overload {
 public:
  /// Whether `load` is shed now. Any thread; one relaxed load.
  [[nodiscard]] bool sheds(Load load) const noexcept {
    return (shed_.load(std::memory_order_relaxed) & bit_of(load)) != 0;
  }
  /// Whether `load` is shed for the sake of `resource`. The judging loop.
  [[nodiscard]] bool sheds(Load load, Resource resource) const noexcept {
    return (held_[static_cast<uint8_t>(resource)] & bit_of(load)) != 0;
  }
  /// Takes new readings. What is shed goes on to be until its resource is a sixteenth below where
  /// shedding began, so that it does not come and go with every request. True if what is shed has
  /// changed. One loop.
  bool judge(const Readings& readings) noexcept;
  /// What is shed, and for the sake of what, for the log: "prefetch,revalidation resource=fills
  /// used=2800 soft=2048 hard=3840"; empty: nothing. The judging loop.
  [[nodiscard]] std::string describe() const;

  /// segue_overload_used, _soft and _hard by resource, segue_overload_shedding by load. Start-up.
  void register_metrics(Registry& registry) const;

 private:
  static constexpr uint8_t bit_of(Load load) noexcept {
    return static_cast<uint8_t>(1U << static_cast<uint8_t>(load));
  }
  struct Shown {
    Counter used, soft, hard;  // gauges
  };

  // atomic, any thread
  std::atomic<uint8_t> shed_{0};  // by bit_of(Load)
  // of the judging loop
  std::array<uint8_t, kResources> held_{};  // the same for the sake of each resource
  // written by the judging loop, read by scrapes
  std::array<Shown, kResources> shown_;
  std::array<Counter, kLoads> shedding_;
};

}  // namespace segue::edge
