// Goal: the parts of a drive's index keep their account under any order of calls, from two threads
// too. Method: plain models, and a storm of both threads' calls whose sums must come out.
#include <gtest/gtest.h>

#include <algorithm>
#include <map>
#include <set>
#include <thread>
#include <vector>

#include "cache/geometry.h"
#include "cache/index_shard.h"
#include "cache/record_index.h"
#include "cache/slot_map.h"
#include "cache/slot_state.h"
#include "cache/turnstile.h"
#include "cache/write_budget.h"
#include "tests/support/random.h"
#include "tests/support/sim_loop.h"

namespace segue::cache {
namespace {

TEST(SlotState, OnlyTheListedEdgesExist) {
  uint32_t edges = 0;
  for (uint8_t from = 0; from < kSlotStates; ++from) {
    for (uint8_t event = 0; event <= static_cast<uint8_t>(SlotEvent::LastReaderGone); ++event) {
      edges += next(static_cast<SlotState>(from), static_cast<SlotEvent>(event)) ? 1U : 0U;
    }
  }
  EXPECT_EQ(edges, std::size(kSlotEdges));
  EXPECT_EQ(next(SlotState::Writing, SlotEvent::Failed), SlotState::Bad);
}

TEST(SlotMap, AgreesWithAModelAlsoWhenFull) {
  constexpr uint32_t kSlots = 500;
  std::vector<uint64_t> fingerprints(kSlots);
  SlotMap map(kSlots, fingerprints.data());
  std::map<uint64_t, uint32_t> model;
  std::set<uint32_t> free;
  for (uint32_t slot = 0; slot < kSlots; ++slot) free.insert(slot);
  testing::Random random(4);
  for (uint32_t step = 0; step < 200'000; ++step) {
    // Few distinct homes: long clusters, wrapping round the end.
    const uint64_t fingerprint =
        (random.below(8) << 61) | (random.below(3000) << 20) | (random.one_in(2) ? 0xfffff000 : 0);
    const auto found = model.find(fingerprint);
    ASSERT_EQ(map.find(fingerprint), found == model.end() ? kNoEntry : found->second) << step;
    if (found != model.end()) {
      if (random.one_in(2)) continue;
      map.erase(found->second);
      free.insert(found->second);
      model.erase(found);
    } else if (!free.empty()) {
      const uint32_t slot = *free.begin();
      free.erase(free.begin());
      fingerprints[slot] = fingerprint;
      map.insert(slot);
      model[fingerprint] = slot;
    } else {
      map.erase(model.begin()->second);
      free.insert(model.begin()->second);
      model.erase(model.begin());
    }
  }
}

TEST(RecordIndex, RecordOfAnotherKeyIsNeitherNamedNorRead) {
  RecordIndex records(3);
  const KeyHash a{1, 1};
  const KeyHash b{2, 2};
  const auto record = records.claim(kNoRecord, a);
  ASSERT_TRUE(record.has_value());
  EXPECT_FALSE(records.readable(*record, a));  // being written
  records.finish(*record, true);
  EXPECT_TRUE(records.readable(*record, a));
  EXPECT_FALSE(records.readable(*record, b));
  EXPECT_FALSE(records.try_name(*record, b));
  EXPECT_TRUE(records.try_name(*record, a));
  EXPECT_EQ(records.named(), 1);
  EXPECT_EQ(records.claim(*record, a), *record);
  records.finish(*record, true);
  EXPECT_FALSE(records.try_name(RecordNumber{3}, a));
  EXPECT_FALSE(records.try_name(kNoRecord, a));
  EXPECT_FALSE(records.readable(kNoRecord, a));
}

TEST(RecordIndex, GivesOutEachRecordOnceAndRefusesWhenAllAreNamed) {
  constexpr uint32_t kRecords = 200;
  RecordIndex records(kRecords);
  std::set<uint32_t> given;
  for (uint64_t i = 0; i < kRecords; ++i) {
    const auto record = records.claim(kNoRecord, {i, i});
    ASSERT_TRUE(record.has_value());
    records.finish(*record, true);
    ASSERT_TRUE(records.try_name(*record, {i, i}));
    given.insert(record->value);
  }
  EXPECT_EQ(given.size(), kRecords);
  EXPECT_FALSE(records.claim(kNoRecord, {999, 999}).has_value());
  records.unname(RecordNumber{77});
  EXPECT_EQ(records.claim(kNoRecord, {999, 999}), RecordNumber{77});
}

TEST(RecordIndex, FailedWriteLeavesTheRecordToNobody) {
  RecordIndex records(1);
  const KeyHash key{1, 2};
  const auto record = records.claim(kNoRecord, key);
  records.finish(*record, false);
  EXPECT_FALSE(records.readable(*record, key));
  EXPECT_FALSE(records.try_name(*record, key));
  EXPECT_TRUE(records.claim(kNoRecord, {3, 4}).has_value());
}

TEST(RecordIndex, AFailedRewriteLeavesARecordWithSlotsToItsKey) {
  RecordIndex records(4);
  const KeyHash key{1, 2};
  const auto record = records.claim(kNoRecord, key);
  ASSERT_TRUE(record);
  records.finish(*record, true);
  ASSERT_TRUE(records.try_name(*record, key));
  // What the failed write left may be the old record: only a read can tell.
  ASSERT_EQ(records.claim(*record, key), record);
  EXPECT_FALSE(records.readable(*record, key));
  records.finish(*record, false);
  EXPECT_TRUE(records.readable(*record, key));
}

TEST(WriteBudget, FillsAtItsRateAndHoldsOneMinute) {
  const MonoTime start{std::chrono::seconds{5}};
  WriteBudget budget(1000, start);
  EXPECT_TRUE(budget.has_to_spare(start));
  EXPECT_TRUE(budget.try_take(60'000, start));
  EXPECT_FALSE(budget.try_take(1, start));
  EXPECT_FALSE(budget.has_to_spare(start));
  EXPECT_TRUE(budget.try_take(1000, start + std::chrono::seconds{1}));
  EXPECT_FALSE(budget.try_take(1, start + std::chrono::seconds{1}));
  EXPECT_FALSE(budget.has_to_spare(start + std::chrono::seconds{31}));
  EXPECT_TRUE(budget.has_to_spare(start + std::chrono::seconds{32}));
  EXPECT_FALSE(budget.try_take(60'001, start + std::chrono::hours{24}));
  EXPECT_TRUE(budget.try_take(60'000, start + std::chrono::hours{24}));
  budget.give_back(500);
  EXPECT_TRUE(budget.try_take(500, start + std::chrono::hours{24}));
}

TEST(WriteBudget, OfZeroIsNoLimitAndNeverASurplus) {
  WriteBudget budget(0, MonoTime{});
  EXPECT_TRUE(budget.try_take(UINT64_MAX, MonoTime{}));
  EXPECT_FALSE(budget.has_to_spare(MonoTime{}));
}

TEST(Geometry, HasOneShardPer16384SlotsUpTo64) {
  struct Case {
    uint64_t size;
    uint32_t shards;
  };
  for (const Case& one :
       {Case{1 * GiB, 1}, Case{100 * GiB, 30}, Case{1 * TiB, 64}, Case{30 * TiB, 64}}) {
    const auto geometry = Geometry::plan(one.size, {});
    ASSERT_TRUE(geometry.has_value());
    EXPECT_NEAR(geometry->shards(), one.shards, 2);
    EXPECT_TRUE(geometry->shards() == 1 || geometry->shards() == 64 ||
                geometry->slots_per_shard() >= kSlotsPerIndexShardMin - 3);
    EXPECT_LE(geometry->slot_offset(geometry->slots() - 1) + kSlotHeaderBytes + kSliceBytes,
              one.size);
  }
}

TEST(Geometry, PayloadIsSharedAsAskedAndHardlyAnySpaceIsLost) {
  const uint64_t size = 100 * GiB;
  const auto geometry = Geometry::plan(size, {.k64 = 10, .k128 = 20, .k256 = 70});
  ASSERT_TRUE(geometry.has_value());
  const auto payload = [&](SizeClass c) {
    return static_cast<double>(geometry->slots_of(c)) * bytes_of(c);
  };
  const double all = payload(SizeClass::K64) + payload(SizeClass::K128) + payload(SizeClass::K256);
  EXPECT_NEAR(payload(SizeClass::K64) / all, 0.10, 0.001);
  EXPECT_NEAR(payload(SizeClass::K128) / all, 0.20, 0.001);
  EXPECT_NEAR(payload(SizeClass::K256) / all, 0.70, 0.001);
  EXPECT_GT(all / static_cast<double>(size), 0.95);
}

TEST(Geometry, SlotsPagesAndPlacesBelongTogether) {
  const auto geometry = Geometry::plan(200 * GiB, {});
  ASSERT_TRUE(geometry.has_value());
  ASSERT_GT(geometry->shards(), 40);
  for (uint32_t slot = 0; slot < geometry->slots(); slot += 997) {
    const SlotPlace place = geometry->place_of(slot);
    ASSERT_EQ(geometry->slot_number(place), slot);
    for (const auto* area : {&geometry->table(), &geometry->access()}) {
      const auto page =
          area->page_at(area->page_of_shard(place.shard, area->page_in_shard_of(place.local)));
      ASSERT_EQ(page.shard, place.shard);
      ASSERT_LE(page.first_local, place.local);
      ASSERT_LT(place.local, page.first_local + page.count);
    }
  }
}

TEST(Geometry, ImpossibleRequestsAndFactsAreRefused) {
  EXPECT_EQ(Geometry::plan(1 * MiB, {}).error().kind, Kind::Full);
  EXPECT_EQ(Geometry::plan(0, {}).error().kind, Kind::Full);
  EXPECT_EQ(Geometry::plan(1 * GiB, {.k64 = 50, .k128 = 50, .k256 = 1}).error().kind,
            Kind::Unsupported);
  EXPECT_EQ(Geometry::plan(1ULL << 62, {}).error().kind, Kind::Unsupported);
  const Geometry::Facts right = Geometry::plan(1 * GiB, {})->facts();
  ASSERT_TRUE(Geometry::from_facts(right).has_value());
  const auto broken = [&right](auto change) {
    Geometry::Facts facts = right;
    change(facts);
    return !Geometry::from_facts(facts).has_value();
  };
  EXPECT_TRUE(broken([](auto& f) { f.shards = 0; }));
  EXPECT_TRUE(broken([](auto& f) { f.shards = 65; }));
  EXPECT_TRUE(broken([](auto& f) { f.slots_per_shard[0] = 1; }));
  EXPECT_TRUE(broken([](auto& f) { f.slots_per_shard = {}; }));
  EXPECT_TRUE(broken([](auto& f) { f.slots_per_shard[3] = UINT32_MAX; }));
  EXPECT_TRUE(broken([](auto& f) { f.records += 1; }));
  EXPECT_TRUE(broken([](auto& f) { f.journal_pages = 15; }));
  EXPECT_TRUE(broken([](auto& f) { f.journal_pages = 1025; }));
  EXPECT_TRUE(broken([](auto& f) { f.size_bytes -= 32 * MiB; }));
}

SliceKey slice(uint64_t number) {
  return {.key = {.high = number, .low = mix(number)},
          .generation = Sequence{1},
          .slice = SliceIndex{0}};
}

TEST(IndexShard, RefusesAWriteWhenTooManyChangesWaitForTheFlush) {
  const auto geometry = Geometry::plan(200 * MiB, {.k64 = 100, .k128 = 0, .k256 = 0});
  IndexShard shard(*geometry, 0, EvictionPolicy::Lru);
  shard.finish_restore();
  uint32_t taken = 0;
  Result<IndexShard::Taken> last;
  EXPECT_FALSE(shard.wants_flush());
  for (uint64_t i = 0; i < 2000; ++i) {
    last = shard.take(fingerprint_of(slice(i)), SizeClass::K64, RecordNumber{0}, 100);
    if (!last) break;
    EXPECT_TRUE(
        shard.written(last->local, {.key = slice(i), .record = RecordNumber{0}, .length = 100}, 1));
    ++taken;
  }
  EXPECT_EQ(taken, 512);
  EXPECT_TRUE(shard.wants_flush());
  ASSERT_FALSE(last.has_value());
  EXPECT_TRUE(last.error().retryable);
  const auto changes = shard.take_changes();
  EXPECT_EQ(changes.entries.size(), 512);
  EXPECT_EQ(changes.pages.size(), 9);  // of 63
  EXPECT_TRUE(
      shard.take(fingerprint_of(slice(5000)), SizeClass::K64, RecordNumber{0}, 100).has_value());
}

TEST(IndexShard, TooManyReadersOfOneSlotAreRefused) {
  const auto geometry = Geometry::plan(40 * MiB, {});
  IndexShard shard(*geometry, 0, EvictionPolicy::Lru);
  shard.finish_restore();
  const auto taken = shard.take(fingerprint_of(slice(1)), SizeClass::K256, RecordNumber{0}, 100);
  ASSERT_TRUE(
      shard.written(taken->local, {.key = slice(1), .record = RecordNumber{0}, .length = 100}, 1));
  for (uint32_t reader = 0; reader < 255; ++reader) {
    ASSERT_TRUE(shard.hold(fingerprint_of(slice(1)), UseId{1}, 1).has_value());
  }
  EXPECT_FALSE(shard.hold(fingerprint_of(slice(1)), UseId{1}, 1).has_value());
  for (uint32_t reader = 0; reader < 255; ++reader) shard.release(taken->local);
  EXPECT_TRUE(shard.hold(fingerprint_of(slice(1)), UseId{1}, 1).has_value());
}

TEST(IndexShard, TwoThreadsKeepItsAccount) {
  const auto geometry = Geometry::plan(64 * MiB, {});
  for (const EvictionPolicy policy : {EvictionPolicy::Lru, EvictionPolicy::S3Fifo}) {
    IndexShard shard(*geometry, 0, policy);
    shard.finish_restore();
    const auto storm = [&shard](uint64_t seed) {
      testing::Random random(seed);
      for (uint32_t step = 0; step < 30'000; ++step) {
        const SliceKey key = slice(random.below(400));
        const uint64_t fingerprint = fingerprint_of(key);
        if (random.one_in(500)) (void)shard.take_changes();
        if (random.one_in(30)) (void)shard.forget(fingerprint);
        if (const auto held = shard.hold(fingerprint, UseId{step}, step)) {
          if (random.one_in(10)) (void)shard.unlink_held(held->local);
          shard.release(held->local);
          continue;
        }
        (void)shard.should_admit(fingerprint, SizeClass::K256, UseId{step}, false);
        const auto taken = shard.take(fingerprint, SizeClass::K256, RecordNumber{1}, 1000);
        if (!taken) continue;
        if (random.one_in(20)) {
          shard.dropped(taken->local);
        } else {
          (void)shard.written(taken->local, {.key = key, .record = RecordNumber{1}, .length = 1000},
                              step);
        }
      }
    };
    std::thread other(storm, 1);
    storm(2);
    other.join();
    const IndexShard::Census census = shard.census();
    const IndexShard::Usage usage = shard.usage();
    EXPECT_EQ(census.readers, 0);
    EXPECT_EQ(census.states[static_cast<size_t>(SlotState::Writing)], 0);
    EXPECT_EQ(census.states[static_cast<size_t>(SlotState::Retiring)], 0);
    EXPECT_EQ(census.states[static_cast<size_t>(SlotState::Free)] +
                  census.states[static_cast<size_t>(SlotState::Live)],
              geometry->slots_per_shard());
    EXPECT_EQ(usage.payload_bytes, 1000ULL * usage.live[3]);
    // Every live slice is found, and nothing else.
    uint32_t found = 0;
    for (uint64_t i = 0; i < 400; ++i) found += shard.contains(fingerprint_of(slice(i))) ? 1U : 0U;
    EXPECT_EQ(found, usage.live[3]);
  }
}

TEST(IndexShard, NeedsLessThan40BytesASlotWithItsShareOfRecords) {
  const auto geometry = Geometry::plan(100 * GiB, {});
  for (const EvictionPolicy policy : {EvictionPolicy::Lru, EvictionPolicy::S3Fifo}) {
    const IndexShard shard(*geometry, 0, policy);
    const RecordIndex records(geometry->records());
    const double per_slot =
        static_cast<double>(shard.usage().index_bytes) / geometry->slots_per_shard() +
        static_cast<double>(records.bytes()) / geometry->slots();
    EXPECT_LT(per_slot, 40.0);
    EXPECT_GT(per_slot, 30.0);  // else something is not counted
  }
}

Task<void> pass(Turnstile& turnstile, uint32_t number, std::vector<uint32_t>& order,
                uint32_t& inside) {
  const Turnstile::Turn turn = co_await turnstile.enter();
  SEGUE_ASSERT(inside == 0);
  ++inside;
  co_await sleep_for(std::chrono::milliseconds{1});
  --inside;
  order.push_back(number);
}

TEST(Turnstile, LetsOneInAtATimeInTheOrderTheyCameFromAnyLoop) {
  testing::SimWorld world(7, 3);
  Turnstile turnstile;
  std::vector<uint32_t> order;
  uint32_t inside = 0;
  std::vector<std::unique_ptr<TaskGroup>> groups;
  groups.reserve(3);
  for (uint32_t loop = 0; loop < 3; ++loop) {
    groups.push_back(std::make_unique<TaskGroup>(world.loop(loop), 100));
  }
  for (uint32_t number = 0; number < 60; ++number) {
    const Loop::Turn turn(world.loop(number % 3));
    ASSERT_TRUE(groups[number % 3]->try_spawn(pass(turnstile, number, order, inside)));
  }
  ASSERT_TRUE(world.run_until_idle());
  ASSERT_EQ(order.size(), 60);
  EXPECT_TRUE(std::ranges::is_sorted(order));
}

}  // namespace
}  // namespace segue::cache
