// Goal: LRU is exact to the second, and to the use where it turns over within seconds; S3-FIFO does
// what its paper says; the ghost list remembers what it promises. Method: long random runs beside
// the plainest possible model of each.
#include "cache/eviction.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <deque>
#include <list>
#include <map>
#include <numeric>
#include <set>
#include <vector>

#include "base/hash.h"
#include "cache/ghost_list.h"
#include "tests/support/random.h"

namespace segue::cache {
namespace {

/// Entries hold items; some are held.
class Holder final : public EvictionOwner {
 public:
  explicit Holder(uint32_t entries) : item(entries, 0), held(entries, false) {}
  bool may_evict(uint32_t entry) const noexcept override { return !held[entry]; }
  uint64_t fingerprint_of(uint32_t entry) const noexcept override { return mix(item[entry] + 1); }
  std::vector<uint64_t> item;
  std::vector<bool> held;
};

TEST(Lru, EvictsExactlyWhatAModelAtOneSecondsGrainEvicts) {
  constexpr uint32_t kEntries = 50;
  const auto order = make_eviction_order(EvictionPolicy::Lru, kEntries);
  Holder holder(kEntries);
  std::list<uint32_t> model;  // oldest first
  std::map<uint32_t, uint32_t> moved_at;
  std::set<uint32_t> free;
  for (uint32_t entry = 0; entry < kEntries; ++entry) free.insert(entry);
  testing::Random random(3);
  uint32_t now = 1;
  uint32_t evictions = 0;
  uint32_t moves = 0;   // beyond the first of a second
  size_t inserted = 0;  // within the second
  bool hurried = false;
  for (uint32_t step = 0; step < 100'000; ++step) {
    if (random.one_in(step < 50'000 ? 5 : 100)) {
      ++now;
      inserted = 0;
      hurried = false;
    }
    const auto entry = static_cast<uint32_t>(random.below(kEntries));
    if (random.one_in(50)) holder.held[entry] = !holder.held[entry];
    if (!free.contains(entry)) {
      if (random.one_in(20)) {
        order->remove(entry);
        model.remove(entry);
        free.insert(entry);
        continue;
      }
      order->touch(entry, UseId{random.next()}, now);
      if (moved_at[entry] != now || hurried) {
        moves += moved_at[entry] == now ? 1U : 0U;
        model.remove(entry);
        model.push_back(entry);
        moved_at[entry] = now;
      }
      EXPECT_EQ(order->last_touch()[entry], now);
      continue;
    }
    uint32_t slot = 0;
    if (model.size() == kEntries || random.one_in(3)) {
      const auto expected =
          std::ranges::find_if(model, [&](uint32_t one) { return !holder.held[one]; });
      slot = order->take_victim(holder);
      ASSERT_EQ(slot, expected == model.end() ? kNoEntry : *expected) << step;
      if (slot == kNoEntry) continue;
      model.erase(expected);
      free.insert(slot);
      ++evictions;
      continue;
    }
    slot = entry;
    free.erase(slot);
    if (++inserted >= model.size() / 8) hurried = true;
    order->insert(slot, mix(slot), now);
    model.push_back(slot);
    moved_at[slot] = now;
    ASSERT_EQ(order->size(), model.size());
  }
  EXPECT_GT(evictions, 1000);
  EXPECT_GT(moves, 1000);
}

TEST(Lru, WhatIsUsedAllTheTimeStaysHoweverFastTheOthersComeAndGo) {
  constexpr uint32_t kEntries = 100;
  const auto order = make_eviction_order(EvictionPolicy::Lru, kEntries);
  const Holder holder(kEntries);
  for (uint32_t entry = 0; entry < kEntries; ++entry) order->insert(entry, entry, 1);
  for (uint32_t miss = 0; miss < 10 * kEntries; ++miss) {  // all within one second
    for (uint32_t hot = 0; hot < 8; ++hot) order->touch(hot, UseId{miss}, 2);
    const uint32_t left = order->take_victim(holder);
    ASSERT_GE(left, 8) << "a hot one, after " << miss << " misses";
    order->insert(left, miss, 2);
  }
}

TEST(Lru, WhereFewComeTheSecondIsTheGrain) {
  const auto order = make_eviction_order(EvictionPolicy::Lru, 100);
  const Holder holder(100);
  for (uint32_t entry = 0; entry < 90; ++entry) order->insert(entry, entry, 1);
  order->touch(0, UseId{1}, 2);
  order->touch(1, UseId{1}, 2);
  order->insert(90, 90, 2);
  order->touch(0, UseId{2}, 2);  // no second move: 1 stays the newer
  for (uint32_t entry = 2; entry < 90; ++entry) EXPECT_EQ(order->take_victim(holder), entry);
  EXPECT_EQ(order->take_victim(holder), 0);
  EXPECT_EQ(order->take_victim(holder), 1);
}

TEST(Lru, HeldEntriesStayAndNothingIsEvictedWhenAllAreHeld) {
  const auto order = make_eviction_order(EvictionPolicy::Lru, 3);
  Holder holder(3);
  for (uint32_t entry = 0; entry < 3; ++entry) order->insert(entry, entry, entry + 1);
  holder.held = {true, false, true};
  EXPECT_EQ(order->take_victim(holder), 1);
  EXPECT_EQ(order->take_victim(holder), kNoEntry);
  holder.held = {false, false, false};
  EXPECT_EQ(order->take_victim(holder), 0);
  EXPECT_EQ(order->take_victim(holder), 2);
  EXPECT_EQ(order->take_victim(holder), kNoEntry);
  EXPECT_EQ(order->size(), 0);
}

/// Algorithm 1 of the paper, with plain queues; ghosts as the product's own list (tested below).
class S3FifoModel {
 public:
  explicit S3FifoModel(uint32_t entries)
      : small_target_(std::max(1U, entries / 10)), ghosts_(entries - entries / 10) {}
  void insert(uint32_t entry, uint64_t fingerprint) {
    uses_[entry] = 0;
    (ghosts_.take(fingerprint) ? main_ : small_).push_front(entry);
  }
  void touch(uint32_t entry, UseId use) {
    // Ours, not the paper's: two uses in a row whose ids share five bits count once.
    const uint64_t tag = mix(use.value) & 0xf8;
    if (uses_[entry] > 0 && tags_[entry] == tag) return;
    tags_[entry] = tag;
    uses_[entry] = std::min(uses_[entry] + 1, 3);
  }
  uint32_t evict(const Holder& holder) {
    return small_.size() >= small_target_ ? evict_small(holder) : evict_main();
  }

 private:
  uint32_t evict_small(const Holder& holder) {
    while (!small_.empty()) {
      const uint32_t entry = small_.back();
      small_.pop_back();
      if (uses_[entry] > 1) {
        uses_[entry] = 0;
        main_.push_front(entry);
      } else {
        ghosts_.add(holder.fingerprint_of(entry), UseId{});
        return entry;
      }
    }
    return evict_main();
  }
  uint32_t evict_main() {
    while (!main_.empty()) {
      const uint32_t entry = main_.back();
      main_.pop_back();
      if (uses_[entry] == 0) return entry;
      --uses_[entry];
      main_.push_front(entry);
    }
    return kNoEntry;
  }
  const size_t small_target_;
  GhostList ghosts_;
  std::deque<uint32_t> small_, main_;
  std::map<uint32_t, int> uses_;
  std::map<uint32_t, uint64_t> tags_;
};

TEST(S3Fifo, EvictsExactlyWhatThePapersAlgorithmEvicts) {
  constexpr uint32_t kEntries = 200;
  const auto order = make_eviction_order(EvictionPolicy::S3Fifo, kEntries);
  S3FifoModel model(kEntries);
  Holder holder(kEntries);
  std::map<uint64_t, uint32_t> where;  // item -> entry
  std::vector<uint32_t> free(kEntries);
  std::iota(free.begin(), free.end(), 0U);
  testing::Random random(9);
  uint32_t hits = 0;
  for (uint32_t step = 0; step < 200'000; ++step) {
    // A few popular items among many: the product of two draws is skewed to the low numbers.
    const uint64_t item = random.below(60) * random.below(60);
    if (const auto found = where.find(item); found != where.end()) {
      order->touch(found->second, UseId{step}, step);
      model.touch(found->second, UseId{step});
      ++hits;
      continue;
    }
    if (free.empty()) {
      const uint32_t victim = order->take_victim(holder);
      ASSERT_EQ(victim, model.evict(holder)) << step;
      where.erase(holder.item[victim]);
      free.push_back(victim);
    }
    const uint32_t entry = free.back();
    free.pop_back();
    holder.item[entry] = item;
    where[item] = entry;
    order->insert(entry, holder.fingerprint_of(entry), step);
    model.insert(entry, holder.fingerprint_of(entry));
  }
  EXPECT_GT(hits, 50'000);
}

TEST(S3Fifo, ScanDoesNotPushOutWhatIsUsed) {
  constexpr uint32_t kEntries = 100;
  const auto order = make_eviction_order(EvictionPolicy::S3Fifo, kEntries);
  Holder holder(kEntries);
  for (uint32_t entry = 0; entry < kEntries; ++entry) {
    holder.item[entry] = entry;
    order->insert(entry, holder.fingerprint_of(entry), 1);
    if (entry < 50) {
      order->touch(entry, UseId{1}, 1);
      order->touch(entry, UseId{2}, 2);
    }
  }
  for (uint32_t scan = 0; scan < 1000; ++scan) {
    const uint32_t victim = order->take_victim(holder);
    ASSERT_GE(victim, 50) << scan;
    holder.item[victim] = 1000 + scan;
    order->insert(victim, holder.fingerprint_of(victim), 3);
  }
}

TEST(S3Fifo, ManyRangesOfOnePlayAreOneUse) {
  constexpr uint32_t kEntries = 20;
  const auto order = make_eviction_order(EvictionPolicy::S3Fifo, kEntries);
  Holder holder(kEntries);
  for (uint32_t entry = 0; entry < kEntries; ++entry) {
    holder.item[entry] = entry;
    order->insert(entry, holder.fingerprint_of(entry), 1);
  }
  for (uint32_t range = 0; range < 100; ++range) order->touch(0, UseId{7}, range);
  EXPECT_EQ(order->take_victim(holder), 0);  // used once: not worth a place in the main queue
  order->touch(1, UseId{7}, 1);
  order->touch(1, UseId{8}, 2);
  EXPECT_EQ(order->take_victim(holder), 2);
}

TEST(S3Fifo, HeldEntriesAreNeverEvicted) {
  constexpr uint32_t kEntries = 30;
  const auto order = make_eviction_order(EvictionPolicy::S3Fifo, kEntries);
  Holder holder(kEntries);
  for (uint32_t entry = 0; entry < kEntries; ++entry) {
    order->insert(entry, entry, 1);
    holder.held[entry] = entry % 3 == 0;
  }
  std::set<uint32_t> evicted;
  for (uint32_t i = 0; i < 20; ++i) evicted.insert(order->take_victim(holder));
  EXPECT_EQ(evicted.size(), 20);
  for (const uint32_t entry : evicted) EXPECT_NE(entry % 3, 0);
  EXPECT_EQ(order->take_victim(holder), kNoEntry);
  EXPECT_EQ(order->size(), 10);
}

TEST(EvictionOrder, RestoredEntriesLeaveOldestFirst) {
  for (const EvictionPolicy policy : {EvictionPolicy::Lru, EvictionPolicy::S3Fifo}) {
    const auto order = make_eviction_order(policy, 10);
    Holder holder(10);
    for (uint32_t entry = 0; entry < 10; ++entry) order->restore(9 - entry, entry);
    for (uint32_t entry = 0; entry < 10; ++entry) {
      EXPECT_EQ(order->last_touch()[9 - entry], entry);
      EXPECT_EQ(order->take_victim(holder), 9 - entry);
    }
  }
}

TEST(EvictionOrder, CostsTheBytesItSays) {
  EXPECT_EQ(make_eviction_order(EvictionPolicy::Lru, 1000)->order_bytes(), 12'000);
  EXPECT_EQ(make_eviction_order(EvictionPolicy::S3Fifo, 1000)->order_bytes(), 13'000);
  EXPECT_GE(make_eviction_order(EvictionPolicy::S3Fifo, 1000)->ghosts(), 900);
  EXPECT_EQ(make_eviction_order(EvictionPolicy::Lru, 0)->order_bytes(), 0);
}

TEST(GhostList, TellsTheSameUseFromAnother) {
  GhostList ghosts(100);
  EXPECT_EQ(ghosts.find(5, UseId{1}), GhostList::Seen::Never);
  ghosts.add(5, UseId{1});
  EXPECT_EQ(ghosts.find(5, UseId{1}), GhostList::Seen::SameUse);
  EXPECT_EQ(ghosts.find(5, UseId{2}), GhostList::Seen::AnotherUse);
  EXPECT_EQ(ghosts.find(6, UseId{1}), GhostList::Seen::Never);
  EXPECT_TRUE(ghosts.take(5));
  EXPECT_FALSE(ghosts.take(5));
  EXPECT_EQ(ghosts.find(5, UseId{1}), GhostList::Seen::Never);
  EXPECT_EQ(ghosts.size(), 0);
}

TEST(GhostList, RemembersMostOfItsCapacityAndForgetsTheOld) {
  constexpr uint64_t kCapacity = 8000;
  GhostList ghosts(kCapacity);
  for (uint64_t i = 0; i < 10 * kCapacity; ++i) ghosts.add(mix(i + 1), UseId{i});
  uint32_t recent = 0;
  for (uint64_t i = 10 * kCapacity - kCapacity / 2; i < 10 * kCapacity; ++i) {
    recent += ghosts.find(mix(i + 1), UseId{0}) != GhostList::Seen::Never ? 1U : 0U;
  }
  EXPECT_GT(recent, kCapacity / 2 * 85 / 100);
  uint32_t old = 0;
  for (uint64_t i = 0; i < 5 * kCapacity; ++i) {
    old += ghosts.find(mix(i + 1), UseId{0}) != GhostList::Seen::Never ? 1U : 0U;
  }
  EXPECT_LT(old, kCapacity / 100);
  EXPECT_LE(ghosts.size(), ghosts.capacity());
}

TEST(GhostList, OfNoCapacityRemembersNothing) {
  GhostList ghosts(0);
  ghosts.add(1, UseId{1});
  EXPECT_EQ(ghosts.find(1, UseId{2}), GhostList::Seen::Never);
  EXPECT_FALSE(ghosts.take(1));
}

}  // namespace
}  // namespace segue::cache
