// The store without drives, method by method: what each promises, and what it refuses.
#include "cache/store.h"

#include "cache/buffer_state.h"
#include "tests/unit/cache/store_fixture.h"

namespace segue::cache::test {
namespace {

TEST(BufferStateTable, HasExactlyTheListedEdges) {
  uint32_t edges = 0;
  for (uint32_t from = 0; from < kBufferStates; ++from) {
    for (uint32_t event = 0; event <= static_cast<uint8_t>(BufferEvent::LastPinGone); ++event) {
      if (next(static_cast<BufferState>(from), static_cast<BufferEvent>(event))) ++edges;
    }
  }
  EXPECT_EQ(edges, std::size(kBufferEdges));
  EXPECT_EQ(next(BufferState::Filling, BufferEvent::Commit), BufferState::Resident);
  EXPECT_FALSE(next(BufferState::Free, BufferEvent::Claim));
  EXPECT_FALSE(next(BufferState::Resident, BufferEvent::Commit));
  EXPECT_FALSE(next(BufferState::Quarantined, BufferEvent::LastPinGone));
}

TEST_F(StoreTest, AnUnknownKeyIsNotKnown) { EXPECT_EQ(look_up("/t/1").known, Store::Known::No); }

TEST_F(StoreTest, ACommittedContactPutsItsGenerationInForce) {
  auto generation = install("/t/1", 1'000'000, "facts");
  auto found = look_up("/t/1");
  ASSERT_EQ(found.known, Store::Known::Yes);
  EXPECT_EQ(found.selected.generation, generation);
  EXPECT_EQ(text_of(found.selected), "facts");
  EXPECT_FALSE(found.selected.stale_by_purge);
  EXPECT_EQ(store->usage().representations, 1);
}

TEST_F(StoreTest, ANewGenerationDetachesTheOneBefore) {
  auto first = install("/t/1", 1'000'000);
  auto second = install("/t/1", 2'000'000);
  EXPECT_TRUE(first->detached());
  EXPECT_FALSE(first->cut());
  EXPECT_FALSE(second->detached());
  EXPECT_EQ(look_up("/t/1").selected.generation, second);
  EXPECT_EQ(store->usage().representations, 1);
}

TEST_F(StoreTest, ATextOfTheSameHashIsNotTakenForTheKey) {
  install("/t/1", 100);
  EXPECT_EQ(store->look_up(store->hash("/t/1"), "/t/other").known, Store::Known::No);
}

TEST_F(StoreTest, OneContactPerKeyAtATime) {
  const KeyHash key = store->hash("/t/1");
  auto first = store->try_start_contact(key);
  ASSERT_TRUE(first.has_value());
  EXPECT_FALSE(store->try_start_contact(key).has_value());
  EXPECT_TRUE(store->try_start_contact(store->hash("/t/2")).has_value());
  EXPECT_EQ(store->usage().contacts, 1);
  first.reset();
  EXPECT_TRUE(store->try_start_contact(key).has_value());
}

TEST_F(StoreTest, ADetachedGenerationIsNotFoundAndItsReadersKeepItsSlices) {
  auto generation = install("/t/1", 100'000);
  ASSERT_TRUE(fill(generation, 0));
  store->detach(generation);
  EXPECT_TRUE(generation->detached());
  EXPECT_EQ(look_up("/t/1").known, Store::Known::No);
  EXPECT_EQ(find(generation, 0).where, Where::Resident);
}

TEST_F(StoreTest, A304PutsNewFactsInForceForTheSameGeneration) {
  auto generation = install("/t/1", 100, "old");
  auto permit = store->try_start_contact(store->hash("/t/1"));
  EXPECT_TRUE(store->freshen(std::move(*permit), generation, make_ref<TextFacts>("new")));
  auto found = look_up("/t/1");
  EXPECT_EQ(found.selected.generation, generation);
  EXPECT_EQ(text_of(found.selected), "new");
  EXPECT_EQ(store->usage().contacts, 0);
}

TEST_F(StoreTest, A304ForAReplacedGenerationIsRefused) {
  auto old = install("/t/1", 100, "old");
  auto now = install("/t/1", 100, "now");
  auto permit = store->try_start_contact(store->hash("/t/1"));
  EXPECT_FALSE(store->freshen(std::move(*permit), old, make_ref<TextFacts>("new")));
  EXPECT_EQ(text_of(look_up("/t/1").selected), "now");
}

TEST_F(StoreTest, AFillLandsBytesThatReadersSeeAsTheyCome) {
  auto generation = install("/t/1", 300'000);
  EXPECT_EQ(where(generation, 0), Where::Absent);
  FillPermit permit = start_fill(generation, 0);
  ASSERT_TRUE(permit);
  EXPECT_EQ(permit.length(), kSliceBytes);
  EXPECT_EQ(where(generation, 0), Where::Filling);
  auto reader = find(generation, 0);
  EXPECT_EQ(reader.where, Where::Filling);
  EXPECT_TRUE(reader.buffer.landed().empty());
  land(permit, 7, 1000);
  ASSERT_EQ(reader.buffer.landed().size(), 1000);
  EXPECT_EQ(reader.buffer.landed()[999], byte_at(7, 999));
  land(permit, 7, kSliceBytes - 1000);
  EXPECT_TRUE(permit.writable().empty());
  std::move(permit).commit(*local);
  EXPECT_EQ(find(generation, 0).where, Where::Resident);
  EXPECT_EQ(reader.buffer.landed().size(), kSliceBytes);
  EXPECT_EQ(store->usage().payload_bytes, kSliceBytes);
}

TEST_F(StoreTest, TheLastSliceIsShorterAndNothingLiesBehindIt) {
  auto generation = install("/t/1", kSliceBytes + 10);
  FillPermit permit = start_fill(generation, 1);
  ASSERT_TRUE(permit);
  EXPECT_EQ(permit.length(), 10);
  EXPECT_FALSE(start_fill(generation, 2));
}

TEST_F(StoreTest, OneFillPerSlice) {
  auto generation = install("/t/1", 300'000);
  FillPermit permit = start_fill(generation, 0);
  ASSERT_TRUE(permit);
  EXPECT_FALSE(start_fill(generation, 0));
  EXPECT_TRUE(start_fill(generation, 1));
}

TEST_F(StoreTest, AnAbandonedFillLeavesNothingButWhatReadersHavePinned) {
  auto generation = install("/t/1", 300'000);
  {
    FillPermit permit = start_fill(generation, 0);
    land(permit, 3, 5000);
    auto reader = find(generation, 0);
    permit = FillPermit{};
    EXPECT_EQ(where(generation, 0), Where::Absent);
    EXPECT_EQ(store->usage().draining, 1);
    ASSERT_EQ(reader.buffer.landed().size(), 5000);
    EXPECT_EQ(reader.buffer.landed()[4999], byte_at(3, 4999));
  }
  EXPECT_EQ(store->usage().draining, 0);
  EXPECT_EQ(store->usage().free[3], store->usage().buffers[3]);
}

TEST_F(StoreTest, ADetachedGenerationsFillIsForgottenUnlessSomebodyReadsIt) {
  auto generation = install("/t/1", 600'000);
  FillPermit unread = start_fill(generation, 0);
  FillPermit read = start_fill(generation, 1);
  store->detach(generation);
  land(unread, 1, unread.length());
  std::move(unread).commit(*local);
  EXPECT_EQ(where(generation, 0), Where::Absent);
  generation->reader_came();
  land(read, 1, read.length());
  std::move(read).commit(*local);
  EXPECT_EQ(where(generation, 1), Where::Resident);
  generation->reader_left();
}

TEST_F(StoreTest, SlicesTakeTheSmallestBufferThatHoldsThem) {
  auto small = install("/small", 16 * KiB);
  auto medium = install("/medium", 120'000);
  auto tail = install("/tail", kSliceBytes + 10 * KiB);
  ASSERT_TRUE(fill(small, 0));
  ASSERT_TRUE(fill(medium, 0));
  ASSERT_TRUE(fill(tail, 1));  // a tail is not a small answer
  const auto usage = store->usage();
  EXPECT_EQ(usage.buffers[0] - usage.free[0], 1);
  EXPECT_EQ(usage.buffers[1] - usage.free[1], 1);
  EXPECT_EQ(usage.buffers[2] - usage.free[2], 1);
  EXPECT_EQ(usage.buffers[3], usage.free[3]);
}

TEST_F(StoreTest, ASmallSliceTakesALargerBufferWhenItsClassIsBusy) {
  auto generation = install("/t/1", 60'000);
  std::vector<FillPermit> held;
  const uint64_t count = store->usage().buffers[1] + store->usage().buffers[2] + 1;
  for (uint64_t i = 0; i < count; ++i) {
    auto other = install("/busy/" + std::to_string(i), 60'000);
    held.push_back(start_fill(other, 0));
    ASSERT_TRUE(held.back());
  }
  const auto usage = store->usage();
  EXPECT_EQ(usage.free[1], 0);
  EXPECT_EQ(usage.free[2], 0);
  EXPECT_EQ(usage.buffers[3] - usage.free[3], 1);
}

TEST_F(StoreTest, WhatWasFoundLongestAgoLeavesFirst) {
  auto generation = install("/t/1", uint64_t{40} * kSliceBytes);
  const uint32_t large = static_cast<uint32_t>(store->usage().buffers[3]);
  for (uint32_t i = 0; i < large; ++i) ASSERT_TRUE(fill(generation, i));
  clock.advance(std::chrono::seconds(2));
  (void)find(generation, 0);  // 0 is newer than 1 now
  ASSERT_TRUE(fill(generation, large));
  EXPECT_EQ(where(generation, 0), Where::Resident);
  EXPECT_EQ(where(generation, 1), Where::Absent);
  EXPECT_EQ(store->usage().evictions, 1);
}

TEST_F(StoreTest, APinnedBufferIsNeverEvicted) {
  auto generation = install("/t/1", uint64_t{40} * kSliceBytes);
  const uint32_t large = static_cast<uint32_t>(store->usage().buffers[3]);
  ASSERT_TRUE(fill(generation, 0));
  auto pinned = find(generation, 0);
  for (uint32_t i = 1; i < 2 * large; ++i) ASSERT_TRUE(fill(generation, i));
  EXPECT_EQ(where(generation, 0), Where::Resident);
  for (uint32_t i = 0; i < kSliceBytes; ++i) {
    ASSERT_EQ(pinned.buffer.landed()[i], byte_at(generation->id().value, i));
  }
}

TEST_F(StoreTest, NothingIsGivenWhenAllIsPinned) {
  auto generation = install("/t/1", uint64_t{40} * kSliceBytes);
  const uint32_t large = static_cast<uint32_t>(store->usage().buffers[3]);
  std::vector<Found> pinned;
  for (uint32_t i = 0; i < large; ++i) {
    ASSERT_TRUE(fill(generation, i));
    pinned.push_back(find(generation, i));
  }
  EXPECT_EQ(store->usage().pinned, large);
  auto refused = store->try_reserve(1, Priority::Demand);
  ASSERT_FALSE(refused.has_value());
  EXPECT_EQ(refused.error().side, Side::Self);
  EXPECT_EQ(refused.error().kind, Kind::Overloaded);
  EXPECT_TRUE(refused.error().retryable);
  pinned.pop_back();
  EXPECT_TRUE(store->try_reserve(1, Priority::Demand).has_value());
}

TEST_F(StoreTest, AReservationGivesBackWhatIsLeft) {
  const uint64_t large = store->usage().buffers[3];
  {
    auto reservation = store->try_reserve(5, Priority::Demand);
    ASSERT_TRUE(reservation.has_value());
    EXPECT_EQ(reservation->count(), 5);
    EXPECT_EQ(store->usage().reserved, 5);
    EXPECT_EQ(store->usage().free[3], large - 5);
    store->check_invariants();
  }
  EXPECT_EQ(store->usage().free[3], large);
}

TEST_F(StoreTest, AReservationOfMoreThanThereIsGivesWhatThereIs) {
  const uint64_t large = store->usage().buffers[3];
  auto reservation = store->try_reserve(1000, Priority::Demand);
  ASSERT_TRUE(reservation.has_value());
  EXPECT_EQ(reservation->count(), large);
  EXPECT_FALSE(store->try_reserve(1, Priority::Demand).has_value());
}

TEST_F(StoreTest, AQuarterOfThePoolIsKeptFromPrefetch) {
  const uint64_t large = store->usage().buffers[3];
  auto prefetch = store->try_reserve(1000, Priority::Prefetch);
  ASSERT_TRUE(prefetch.has_value());
  EXPECT_EQ(large, 16);
  EXPECT_EQ(prefetch->count(), 12);
  EXPECT_FALSE(store->try_reserve(1, Priority::Prefetch).has_value());
  auto demand = store->try_reserve(1000, Priority::Demand);
  ASSERT_TRUE(demand.has_value());
  EXPECT_EQ(demand->count(), 4);
}

TEST_F(StoreTest, AUsedUpReservationStartsNoFill) {
  auto generation = install("/t/1", 600'000);
  auto reservation = store->try_reserve(1, Priority::Demand);
  auto permit = store->try_start_fill(generation, SliceIndex{0}, *reservation);
  EXPECT_TRUE(permit);
  EXPECT_EQ(reservation->count(), 0);
  EXPECT_FALSE(store->try_start_fill(generation, SliceIndex{1}, *reservation));
}

TEST_F(StoreTest, ASlicePresentAlreadyLeavesTheReservationWhole) {
  auto generation = install("/t/1", 600'000);
  ASSERT_TRUE(fill(generation, 0));
  auto reservation = store->try_reserve(2, Priority::Demand);
  EXPECT_FALSE(store->try_start_fill(generation, SliceIndex{0}, *reservation));
  EXPECT_EQ(reservation->count(), 2);
}

TEST_F(StoreTest, GenerationsOfOneKeyShareNoSlice) {
  auto first = install("/t/1", 300'000);
  ASSERT_TRUE(fill(first, 0));
  auto second = install("/t/1", 300'000);
  EXPECT_EQ(where(second, 0), Where::Absent);
  EXPECT_EQ(where(first, 0), Where::Resident);
  ASSERT_TRUE(fill(second, 0));
  EXPECT_EQ(find(second, 0).buffer.landed()[0], byte_at(second->id().value, 0));
  EXPECT_EQ(find(first, 0).buffer.landed()[0], byte_at(first->id().value, 0));
}

TEST_F(StoreTest, DroppingWhatARunningResponseHasNotPassedIsCountedWhenItComesBack) {
  auto generation = install("/t/1", uint64_t{40} * kSliceBytes);
  generation->reader_came();
  const uint32_t large = static_cast<uint32_t>(store->usage().buffers[3]);
  ASSERT_TRUE(fill(generation, 0));
  for (uint32_t i = 1; i <= large; ++i) ASSERT_TRUE(fill(generation, i));
  EXPECT_EQ(where(generation, 0), Where::Absent);
  EXPECT_EQ(store->usage().refetched, 0);
  ASSERT_TRUE(fill(generation, 0));
  EXPECT_EQ(store->usage().refetched, 1);
  generation->reader_left();
}

TEST_F(StoreTest, RamHitsAreCountedByTheLoopThatHasThem) {
  auto generation = install("/t/1", 300'000);
  ASSERT_TRUE(fill(generation, 0));
  const Loop::Turn turn(loop);
  (void)find(generation, 0);
  (void)find(generation, 1);
  EXPECT_EQ(local->counters().ram_hits.get(), 1);
}

class BoundedStoreTest : public StoreTest {
 protected:
  static Store::Options bounded() {
    Store::Options options = small_options();
    options.representations_bytes_max = 64 * KiB;
    return options;
  }
  BoundedStoreTest() : StoreTest(bounded()) {}
};

TEST_F(BoundedStoreTest, WhatWasLookedUpLongestAgoIsForgottenFirst) {
  auto first = install("/first", 300'000);
  auto second = install("/second", 300'000);
  ASSERT_TRUE(fill(first, 0));
  for (int i = 0; i < 300; ++i) {
    clock.advance(std::chrono::seconds{1});
    install("/other/" + std::to_string(i), 100, std::string(500, 'f'));
    ASSERT_EQ(look_up("/second").known, Store::Known::Yes);
    ASSERT_LE(store->usage().representation_bytes, 64 * KiB);
  }
  EXPECT_EQ(look_up("/first").known, Store::Known::No);
  EXPECT_TRUE(first->detached());
  EXPECT_EQ(look_up("/other/0").known, Store::Known::No);
  EXPECT_EQ(look_up("/other/299").known, Store::Known::Yes);
  EXPECT_FALSE(second->detached());
}

TEST_F(BoundedStoreTest, WhatARunningResponseReadsIsNotForgotten) {
  auto read = install("/read", 300'000);
  read->reader_came();
  for (int i = 0; i < 300; ++i) {
    clock.advance(std::chrono::seconds{1});
    install("/other/" + std::to_string(i), 100, std::string(500, 'f'));
  }
  EXPECT_EQ(look_up("/read").known, Store::Known::Yes);
  EXPECT_FALSE(read->detached());
  read->reader_left();
}

TEST_F(BoundedStoreTest, ATableFullOfRepresentationsInUsePutsNoMoreInForce) {
  std::vector<Ref<Generation>> read;
  std::optional<Ref<Generation>> refused;
  for (int i = 0; i < 10'000 && !refused; ++i) {
    const std::string text = "/read/" + std::to_string(i);
    auto permit = store->try_start_contact(store->hash(text));
    auto generation = make_ref<Generation>(permit->key(), text, permit->sequence(), 100U);
    generation->reader_came();
    read.push_back(generation);
    if (!store->commit(std::move(*permit), {{generation, make_ref<TextFacts>("f")}, {}})) {
      refused = generation;
    }
  }
  ASSERT_TRUE(refused.has_value());
  EXPECT_TRUE((*refused)->detached());
  EXPECT_EQ(look_up("/read/0").known, Store::Known::Yes);
  for (const auto& generation : read) generation->reader_left();
}

TEST(StoreOptions, SayWhatIsWrongWithThem) {
  Store::Options options;
  EXPECT_FALSE(options.invalid().has_value());
  options.shares[3] = 81;
  EXPECT_EQ(options.invalid(), "the shares of the buffer classes add up to 101, not 100");
  options = {};
  options.ram_bytes = 2'621'440;
  EXPECT_FALSE(options.invalid().has_value());
  options.ram_bytes = 2'621'439;
  ASSERT_TRUE(options.invalid().has_value());
  EXPECT_NE(options.invalid()->find("2621440"), std::string::npos) << *options.invalid();
  options = {};
  options.shares[3] = 0;
  options.shares[0] = 84;
  EXPECT_TRUE(options.invalid().has_value());
}

}  // namespace
}  // namespace segue::cache::test
