#include "edge/node/overload.h"

#include <malloc.h>

#include <algorithm>

#include "base/log.h"
#include "base/sanitizer.h"
#include "edge/node/node.h"
#include "edge/node/process_metrics.h"
#include "edge/node/shared_parts.h"
#include "edge/node/worker.h"
#include "origin/counters.h"

namespace segue::edge {
namespace {

constexpr std::chrono::seconds kTrimEvery{10};

constexpr uint64_t percent_of(uint64_t whole, uint32_t percent) { return whole / 100 * percent; }

}  // namespace

NodeOverload::NodeOverload(const NodeOptions& options, SharedParts& shared,
                           const std::vector<std::unique_ptr<Worker>>& workers)
    : shared_(shared),
      workers_(workers),
      // What a sanitizer needs for itself is many times what is measured.
      ram_bytes_(kSanitized ? 0 : options.ram_bytes),
      look_(*this),
      trimmer_([] { (void)malloc_trim(0); }) {
  const cache::Store::Usage usage = shared.store->usage();
  if (usage.hugetlb) hugetlb_bytes_ = usage.ram_bytes_mapped;
  own_descriptors_ = open_descriptors() - std::min(open_descriptors(), connections());
  shared.overload.register_metrics(shared.registry);
  constexpr const char* kShed = "segue_overload_shed_total";
  constexpr const char* kShedHelp =
      "What was given up because the node ran short, by load but prefetch, which is paused.";
  for (const auto& worker : workers) {
    const FillCounters& fills = worker->fills().counters();
    const auto add = [&](Load load, const Counter& counter) {
      shared.registry.add_counter(kShed, kShedHelp, {{"load", std::string(name_of(load))}},
                                  counter);
    };
    add(Load::Revalidation, fills.revalidations_shed);
    add(Load::Connection, worker->server().counters().refused_overload);
    add(Load::Miss, fills.misses_shed);
  }
}

NodeOverload::~NodeOverload() {
  const Loop::Turn turn(workers_.front()->loop());
  stop();
}

void NodeOverload::start() {
  const Loop::Turn turn(workers_.front()->loop());
  look();
}

void NodeOverload::stop() {
  if (look_.armed()) workers_.front()->loop().disarm(look_);
}

void NodeOverload::look() {
  Loop& loop = workers_.front()->loop();
  if (shared_.overload.judge({buffers(), memory(), descriptors(), fills(), ring()})) {
    const std::string what = shared_.overload.describe();
    if (what.empty()) {
      log_info("overload_over", "nothing is shed any more");
    } else {
      log_warning("overload", "{}", what);
    }
  }
  if (shared_.overload.sheds(Load::Prefetch, Resource::Memory)) trim_memory();
  loop.arm(look_, loop.now() + kOverloadLookEvery);
}

/// What was freed goes back to the kernel: else the node would stay short after the flood is over.
void NodeOverload::trim_memory() {
  const MonoTime now = workers_.front()->loop().now();
  if (now < trim_again_) return;
  trim_again_ = now + kTrimEvery;
  trimmer_.ask();
}

Reading NodeOverload::buffers() const {
  const cache::Store::BufferPressure pressure = shared_.store->buffer_pressure();
  return {.used = uint64_t{pressure.busy} + pressure.waiting,
          .soft = uint64_t{pressure.total} * kBuffersSoftPercent / 100 + 1,
          .hard = uint64_t{pressure.total} + kBufferWaitersHard};
}

Reading NodeOverload::memory() const {
  if (ram_bytes_ == 0) return {};
  return {.used = resident_memory_bytes() + hugetlb_bytes_,
          .soft = percent_of(ram_bytes_, kMemorySoftPercent),
          .hard = percent_of(ram_bytes_, kMemoryHardPercent)};
}

uint64_t NodeOverload::connections() const {
  uint64_t open = 0;
  for (const auto& worker : workers_) {
    open += worker->server().counters().active.get();
    for (const auto& fetcher : worker->fetchers()) {
      if (const origin::OriginCounters* counters = fetcher->counters())
        open += std::max(counters->connections_open.get(), counters->fetches_in_flight.get());
    }
  }
  return open;
}

Reading NodeOverload::descriptors() const {
  const uint64_t limit = std::min<uint64_t>(descriptors_max(), UINT32_MAX);
  return {.used = own_descriptors_ + connections(),
          .soft = limit * kDescriptorsSoftPercent / 100,
          .hard = limit * kDescriptorsHardPercent / 100};
}

Reading NodeOverload::fills() const {
  uint64_t most = 0;
  for (const auto& worker : workers_)
    most = std::max(most, worker->fills().counters().fills_in_flight.get());
  return {.used = most, .soft = kFillsSoft, .hard = kFillsHard};
}

Reading NodeOverload::ring() const {
  uint64_t most = 0;
  for (const auto& worker : workers_) {
    for (const auto& disk : worker->disks()) {
      if (disk) most = std::max<uint64_t>(most, disk->in_flight());
    }
  }
  return {.used = most, .soft = kRingSoft, .hard = kRingHard};
}

}  // namespace segue::edge
