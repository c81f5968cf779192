#include "edge/overload/overload.h"

#include <fmt/format.h>

#include <algorithm>
#include <bit>

#include "base/assert.h"
#include "edge/metrics/registry.h"

namespace segue::edge {
namespace {

constexpr uint8_t bits(std::initializer_list<Load> loads) {
  uint8_t all = 0;
  for (const Load load : loads) all |= static_cast<uint8_t>(1U << static_cast<uint8_t>(load));
  return all;
}

/// What is shed for the sake of each resource: what uses it.
constexpr std::array<uint8_t, kResources> kShedFor{
    // Buffers: connections hold none, and hits give theirs back before they wait.
    bits({Load::Prefetch, Load::Revalidation, Load::Miss}),
    // Memory: everything needs some.
    bits({Load::Prefetch, Load::Revalidation, Load::Connection, Load::Miss}),
    // Descriptors: an origin's connection costs one like a client's.
    bits({Load::Prefetch, Load::Revalidation, Load::Connection, Load::Miss}),
    // Fills.
    bits({Load::Prefetch, Load::Revalidation, Load::Miss}),
    // Ring: a drive that cannot keep up. Its readers leave for the origin, so misses go on.
    bits({Load::Prefetch, Load::Revalidation}),
};

constexpr uint64_t kLetGoPart = 16;

}  // namespace

std::string_view name_of(Resource resource) noexcept {
  switch (resource) {
    case Resource::Buffers:
      return "buffers";
    case Resource::Memory:
      return "memory";
    case Resource::Descriptors:
      return "descriptors";
    case Resource::Fills:
      return "fills";
    case Resource::Ring:
      return "ring";
  }
  return "?";
}

std::string_view name_of(Load load) noexcept {
  switch (load) {
    case Load::Prefetch:
      return "prefetch";
    case Load::Revalidation:
      return "revalidation";
    case Load::Connection:
      return "connection";
    case Load::Miss:
      return "miss";
  }
  return "?";
}

std::optional<uint64_t> shed_from(Resource resource, Load load, const Reading& reading) noexcept {
  const uint8_t all = kShedFor[static_cast<uint8_t>(resource)];
  const uint8_t own = bits({load});
  if (reading.hard == 0 || (all & own) == 0) return std::nullopt;
  SEGUE_ASSERT(reading.hard >= reading.soft);
  const auto before = static_cast<uint64_t>(std::popcount(static_cast<uint8_t>(all & (own - 1))));
  const auto steps = static_cast<uint64_t>(std::popcount(all)) - 1;
  return reading.soft + (reading.hard - reading.soft) * before / steps;
}

bool Overload::judge(const Readings& readings) noexcept {
  uint8_t shed = 0;
  for (uint8_t r = 0; r < kResources; ++r) {
    const Reading& reading = readings[r];
    shown_[r].used.set(reading.used);
    shown_[r].soft.set(reading.soft);
    shown_[r].hard.set(reading.hard);
    uint8_t& held = held_[r];
    for (uint8_t l = 0; l < kLoads; ++l) {
      const auto load = static_cast<Load>(l);
      const auto from = shed_from(static_cast<Resource>(r), load, reading);
      if (!from) {
        held &= static_cast<uint8_t>(~bit_of(load));
        continue;
      }
      const uint64_t until = *from - *from / kLetGoPart;
      const bool sheds = reading.used >= ((held & bit_of(load)) != 0 ? until : *from);
      held = static_cast<uint8_t>(sheds ? held | bit_of(load) : held & ~bit_of(load));
    }
    shed |= held;
  }
  for (uint8_t l = 0; l < kLoads; ++l)
    shedding_[l].set((shed & bit_of(static_cast<Load>(l))) != 0 ? 1 : 0);
  return shed_.exchange(shed, std::memory_order_relaxed) != shed;
}

std::string Overload::describe() const {
  std::string text;
  for (uint8_t l = 0; l < kLoads; ++l) {
    const auto load = static_cast<Load>(l);
    if (!sheds(load)) continue;
    text += text.empty() ? "shed=" : ",";
    text += name_of(load);
  }
  for (uint8_t r = 0; r < kResources; ++r) {
    if (held_[r] == 0) continue;
    text += fmt::format(" resource={} used={} soft={} hard={}", name_of(static_cast<Resource>(r)),
                        shown_[r].used.get(), shown_[r].soft.get(), shown_[r].hard.get());
  }
  return text;
}

void Overload::register_metrics(Registry& registry) const {
  for (uint8_t r = 0; r < kResources; ++r) {
    const Labels labels{{"resource", std::string(name_of(static_cast<Resource>(r)))}};
    registry.add_gauge("segue_overload_used", "Of each resource that may run short: in use.",
                       labels, shown_[r].used);
    registry.add_gauge("segue_overload_soft_limit",
                       "From here on what nobody waits for is shed for its sake.", labels,
                       shown_[r].soft);
    registry.add_gauge("segue_overload_hard_limit",
                       "From here on everything that uses it is shed, but hits.", labels,
                       shown_[r].hard);
  }
  for (uint8_t l = 0; l < kLoads; ++l) {
    registry.add_gauge("segue_overload_shedding", "1 while such load is shed.",
                       {{"load", std::string(name_of(static_cast<Load>(l)))}}, shedding_[l]);
  }
}

}  // namespace segue::edge
