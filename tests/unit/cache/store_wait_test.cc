// Who waits in the store, and that nobody waits in vain: fills, contacts, buffers.
#include <gtest/gtest.h>

#include <vector>

#include "tests/unit/cache/store_fixture.h"

namespace segue::cache::test {
namespace {

/// What became of one reader.
struct Reader {
  uint64_t bytes = 0;
  uint32_t looks = 0;
  bool right = true;
  bool done = false;
};

/// Reads one slice as delivery does: pin what is here, unpin, wait, look again.
Task<void> read_slice(Store& store, LocalStore& local, Ref<Generation> generation, SliceIndex slice,
                      Reader& reader) {
  const uint32_t length = generation->slice_bytes(slice);
  while (reader.bytes < length) {
    ++reader.looks;
    {
      const Found found = store.find(*generation, slice, UseId{1});
      if (found.where == Where::Absent) break;
      const auto landed = found.buffer.landed();
      for (; reader.bytes < landed.size(); ++reader.bytes) {
        reader.right &= landed[reader.bytes] ==
                        byte_at(generation->id().value, first_byte_of(slice) + reader.bytes);
      }
      if (reader.bytes == length) break;
    }
    Signal signal;
    WaitTicket ticket(local.waiters(), signal);
    if (!store.start_wait_slice(generation->slice_key(slice), static_cast<uint32_t>(reader.bytes),
                                ticket)) {
      continue;
    }
    (void)co_await signal.wait(kNever);
  }
  reader.done = true;
}

Task<void> wait_for_contact(Store& store, LocalStore& local, KeyHash key, std::string key_text,
                            uint32_t& contacts, uint32_t& served) {
  for (;;) {
    if (store.look_up(key, key_text).known == Store::Known::Yes) break;
    auto permit = store.try_start_contact(key);
    if (permit) {
      ++contacts;
      co_await Yield{};
      if (contacts == 1) continue;  // the first one fails: dropped
      auto generation = make_ref<Generation>(key, key_text, permit->sequence(), 100U);
      EXPECT_TRUE(store.commit(std::move(*permit), {{generation, make_ref<TextFacts>("f")}, {}}));
      break;
    }
    Signal signal;
    WaitTicket ticket(local.waiters(), signal);
    if (!store.start_wait_contact(key, ticket)) continue;
    (void)co_await signal.wait(kNever);
  }
  ++served;
}

Task<void> wait_for_buffer(Store& store, LocalStore& local, Priority priority, int name,
                           MonoTime deadline, std::vector<int>& order,
                           std::vector<BufferReservation>& held) {
  for (;;) {
    Signal signal;
    WaitTicket ticket(local.waiters(), signal);
    if (auto reservation = store.try_reserve(1, priority)) {
      held.push_back(std::move(*reservation));
      order.push_back(name);
      co_return;
    }
    if (!store.start_wait_buffer(priority, ticket)) co_return;
    if (co_await signal.wait(deadline) == Wake::Deadline) co_return;
  }
}

class StoreWaitTest : public StoreTest {
 protected:
  ~StoreWaitTest() override { loop.run(); }
  void spawn(Task<void> task) { ASSERT_TRUE(group.try_spawn(std::move(task))); }
  /// Reserves every large buffer.
  std::vector<BufferReservation> reserve_all() {
    std::vector<BufferReservation> all;
    while (auto reservation = store->try_reserve(1, Priority::Demand)) {
      all.push_back(std::move(*reservation));
    }
    return all;
  }
  TaskGroup group{loop, 1000};
};

TEST_F(StoreWaitTest, AHundredReadersShareOneFillAndSeeBytesAsTheyLand) {
  auto generation = install("/t/1", 600'000);
  FillPermit permit = start_fill(generation, 1);
  std::vector<Reader> readers(100);
  {
    const Loop::Turn turn(loop);
    for (Reader& reader : readers) {
      EXPECT_FALSE(start_fill(generation, 1));  // nobody else may fill it
      spawn(read_slice(*store, *local, generation, SliceIndex{1}, reader));
    }
  }
  loop.run();
  while (!permit.writable().empty()) {
    land(permit, generation->id().value,
         std::min<uint32_t>(100'000, static_cast<uint32_t>(permit.writable().size())));
    loop.run();
    const auto landed = permit.length() - permit.writable().size();
    for (const Reader& reader : readers) ASSERT_EQ(reader.bytes, landed);
  }
  std::move(permit).commit(*local);
  loop.run();
  for (const Reader& reader : readers) {
    EXPECT_TRUE(reader.done);
    EXPECT_TRUE(reader.right);
    EXPECT_LE(reader.looks, 4);  // one per publish: no polling
  }
}

TEST_F(StoreWaitTest, AnAbandonedFillWakesItsReaders) {
  auto generation = install("/t/1", 600'000);
  FillPermit permit = start_fill(generation, 0);
  std::vector<Reader> readers(10);
  {
    const Loop::Turn turn(loop);
    for (Reader& reader : readers) {
      spawn(read_slice(*store, *local, generation, SliceIndex{0}, reader));
    }
  }
  loop.run();
  EXPECT_FALSE(readers[0].done);
  permit = FillPermit{};
  loop.run();
  for (const Reader& reader : readers) EXPECT_TRUE(reader.done);
}

TEST_F(StoreWaitTest, NobodyWaitsForWhatHasLandedAlready) {
  auto generation = install("/t/1", 600'000);
  const SliceKey key = generation->slice_key(SliceIndex{0});
  FillPermit permit = start_fill(generation, 0);
  Signal signal;
  WaitTicket ticket(local->waiters(), signal);
  land(permit, 1, 1000);
  EXPECT_FALSE(store->start_wait_slice(key, 999, ticket));
  EXPECT_TRUE(store->start_wait_slice(key, 1000, ticket));
  land(permit, 1, permit.length() - 1000);
  loop.run();
  EXPECT_FALSE(ticket.waiting());
  std::move(permit).commit(*local);
  EXPECT_FALSE(store->start_wait_slice(key, 1000, ticket));
  EXPECT_FALSE(store->start_wait_slice(generation->slice_key(SliceIndex{1}), 0, ticket));
}

TEST_F(StoreWaitTest, AReaderOfADetachedFillGetsItsBytes) {
  auto generation = install("/t/1", 200'000);
  generation->reader_came();
  FillPermit permit = start_fill(generation, 0);
  Reader reader;
  {
    const Loop::Turn turn(loop);
    spawn(read_slice(*store, *local, generation, SliceIndex{0}, reader));
  }
  store->apply(statement(PurgeScope::Key, "/t/1"), false);
  EXPECT_TRUE(generation->detached());
  land(permit, generation->id().value, permit.length());
  std::move(permit).commit(*local);
  loop.run();
  EXPECT_EQ(reader.bytes, 200'000);
  EXPECT_TRUE(reader.right);
  generation->reader_left();
}

TEST_F(StoreWaitTest, AHundredRequestsMakeOneContactAtATime) {
  const KeyHash key = store->hash("/t/1");
  uint32_t contacts = 0;
  uint32_t served = 0;
  {
    const Loop::Turn turn(loop);
    for (int i = 0; i < 100; ++i) {
      spawn(wait_for_contact(*store, *local, key, "/t/1", contacts, served));
    }
  }
  loop.run();
  EXPECT_EQ(contacts, 2);  // the first was abandoned, one of the others became the next
  EXPECT_EQ(served, 100);
}

TEST_F(StoreWaitTest, NobodyWaitsForAContactThatIsOver) {
  Signal signal;
  WaitTicket ticket(local->waiters(), signal);
  EXPECT_FALSE(store->start_wait_contact(store->hash("/t/1"), ticket));
  install("/t/1", 10);
  EXPECT_FALSE(store->start_wait_contact(store->hash("/t/1"), ticket));
}

TEST_F(StoreWaitTest, DemandIsServedBeforePrefetchInTheOrderItCame) {
  auto all = reserve_all();
  std::vector<int> order;
  std::vector<BufferReservation> held;
  {
    const Loop::Turn turn(loop);
    spawn(wait_for_buffer(*store, *local, Priority::Prefetch, 100, kNever, order, held));
    for (int i = 0; i < 3; ++i) {
      spawn(wait_for_buffer(*store, *local, Priority::Demand, i, kNever, order, held));
    }
  }
  loop.run();
  EXPECT_TRUE(order.empty());
  EXPECT_EQ(store->usage().buffer_waiters, 4);
  // Prefetch must not even try while demand queues.
  EXPECT_FALSE(store->try_reserve(1, Priority::Prefetch).has_value());
  for (int i = 0; i < 3; ++i) {
    all.pop_back();
    loop.run();
  }
  EXPECT_EQ(order, (std::vector<int>{0, 1, 2}));
  // Prefetch comes once three quarters are enough.
  while (all.size() + held.size() > 12) {
    EXPECT_EQ(order.size(), 3);
    all.pop_back();
    loop.run();
  }
  all.pop_back();
  loop.run();
  EXPECT_EQ(order, (std::vector<int>{0, 1, 2, 100}));
  EXPECT_EQ(store->usage().buffer_waiters, 0);
}

TEST_F(StoreWaitTest, ABufferFreedForAWaiterThatGaveUpGoesToTheNext) {
  auto all = reserve_all();
  std::vector<int> order;
  std::vector<BufferReservation> held;
  const MonoTime soon = clock.mono() + std::chrono::seconds(1);
  {
    const Loop::Turn turn(loop);
    spawn(wait_for_buffer(*store, *local, Priority::Demand, 0, soon, order, held));
    spawn(wait_for_buffer(*store, *local, Priority::Demand, 1, kNever, order, held));
  }
  loop.run();
  clock.advance(std::chrono::seconds(2));
  all.pop_back();  // calls the first, whose deadline passes before it hears it
  {
    const Loop::Turn turn(loop);
    loop.run_due_timers();
  }
  loop.run();
  EXPECT_EQ(order, (std::vector<int>{1}));
  EXPECT_EQ(store->usage().buffer_waiters, 0);
}

TEST_F(StoreWaitTest, TheLastUnpinOfAResidentBufferCallsWhoWaits) {
  auto generation = install("/t/1", uint64_t{40} * kSliceBytes);
  std::vector<Found> pinned;
  for (uint32_t i = 0; i < 16; ++i) {
    ASSERT_TRUE(fill(generation, i));
    pinned.push_back(find(generation, i));
  }
  std::vector<int> order;
  std::vector<BufferReservation> held;
  {
    const Loop::Turn turn(loop);
    spawn(wait_for_buffer(*store, *local, Priority::Demand, 7, kNever, order, held));
  }
  loop.run();
  EXPECT_TRUE(order.empty());
  pinned.pop_back();
  loop.run();
  EXPECT_EQ(order, (std::vector<int>{7}));
}

TEST_F(StoreWaitTest, AWaiterThatComesAfterTheBufferWasFreedIsCalledAtOnce) {
  auto all = reserve_all();
  all.clear();
  Signal signal;
  WaitTicket ticket(local->waiters(), signal);
  EXPECT_TRUE(store->start_wait_buffer(Priority::Demand, ticket));
  loop.run();
  EXPECT_FALSE(ticket.waiting());
}

TEST_F(StoreWaitTest, TheQueueForBuffersIsBounded) {
  auto all = reserve_all();
  std::vector<std::unique_ptr<Signal>> signals;
  std::vector<std::unique_ptr<WaitTicket>> tickets;
  for (uint32_t i = 0; i <= kBufferWaitersMax; ++i) {
    signals.push_back(std::make_unique<Signal>());
    tickets.push_back(std::make_unique<WaitTicket>(local->waiters(), *signals.back()));
    EXPECT_EQ(store->start_wait_buffer(Priority::Demand, *tickets.back()), i < kBufferWaitersMax);
  }
  EXPECT_EQ(store->usage().buffer_waiters, kBufferWaitersMax);
  tickets.clear();
  all.clear();
  loop.run();
  EXPECT_EQ(store->usage().buffer_waiters, 0);
}

}  // namespace
}  // namespace segue::cache::test
