#include <utility>

#include "cache/store.h"
#include "cache/store_impl.h"

namespace segue::cache {

struct LocalStore::Impl {
  Impl(Loop& loop_in, std::vector<Disk*> disks_in)
      : loop(loop_in), disks(std::move(disks_in)), slab(loop_in) {}
  Loop& loop;
  const std::vector<Disk*> disks;
  WaitSlab slab;
  LocalStoreCounters counters;
};

LocalStore::LocalStore(Store& store, Loop& loop, std::vector<Disk*> disks)
    : store_(store), impl_(std::make_unique<Impl>(loop, std::move(disks))) {}
LocalStore::~LocalStore() = default;

WaitSlab& LocalStore::waiters() noexcept { return impl_->slab; }
const LocalStoreCounters& LocalStore::counters() const noexcept { return impl_->counters; }

Task<Result<Done>> LocalStore::load(KeyHash key, MonoTime deadline) {
  (void)key;
  (void)deadline;
  co_return fail(Side::Disk, Kind::NotFound, "load record");
}

Result<Done> LocalStore::start_read(const Ref<Generation>& generation, SliceIndex slice,
                                    UseId use) noexcept {
  (void)generation;
  (void)slice;
  (void)use;
  return fail(Side::Disk, Kind::NotFound, "start read");
}

Task<Result<Done>> LocalStore::purge(PurgeStatement statement, bool cut) {
  if (!store_.apply(statement, cut)) co_return fail(Side::Self, Kind::Full, "purge table");
  co_return Done{};
}

Task<void> LocalStore::upkeep() {
  Store::Impl& store = *store_.impl_;
  // Everything in RAM was checked when the statement was applied, so what is left to catch are the
  // contacts under way since before it.
  const Sequence now = store_.next_sequence();
  store.purges.retire(store.representations.oldest_contact(now));
  co_return;
}

Task<void> LocalStore::drain() { co_return; }

}  // namespace segue::cache
