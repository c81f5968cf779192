// Several threads hammer one small store, each with a loop of its own: for ThreadSanitizer, and for
// the invariants once all is at rest. Which interleaving runs is up to the machine; what is checked
// holds in all of them.
#include <gtest/gtest.h>

#include <atomic>
#include <condition_variable>
#include <memory>
#include <mutex>
#include <string>
#include <thread>
#include <vector>

#include "tests/support/random.h"
#include "tests/unit/cache/store_fixture.h"

namespace segue::cache::test {
namespace {

using segue::testing::Random;

/// A loop on a thread of its own that sleeps when it has nothing to do.
class ThreadLoop final : public Loop {
 public:
  using Loop::Loop;
  /// Runs until `finished` is true (set on this loop) and nothing is left.
  void run(const bool& finished) {
    for (;;) {
      {
        const Turn turn(*this);
        run_posts();
        run_due_timers();
        for (int i = 0; i < 64 && run_one(); ++i) {
        }
      }
      if (has_ready() || has_posts()) continue;
      if (finished) return;
      std::unique_lock lock(mutex_);
      woken_.wait(lock, [&] { return awake_; });
      awake_ = false;
    }
  }

 protected:
  void wake() noexcept override {
    const std::lock_guard lock(mutex_);
    awake_ = true;
    woken_.notify_one();
  }

 private:
  std::mutex mutex_;
  std::condition_variable woken_;
  bool awake_ = false;
};

constexpr uint32_t kThreads = 3;
constexpr uint32_t kPlayers = 8;  // per thread
constexpr uint32_t kPlays = 60;   // per player
constexpr uint32_t kKeys = 6;
constexpr uint64_t kLength = 3 * uint64_t{kSliceBytes} + 100'000;

struct Shared {
  Store& store;
  std::atomic<uint64_t> wrong_bytes{0};
  std::atomic<uint64_t> slices_read{0};
  std::atomic<uint64_t> fills{0};
};

/// What one player needs for as long as it plays.
struct Player {
  Shared& shared;
  LocalStore& local;
  Random random;
  uint32_t id;
};

Task<Ref<Generation>> contact(Player& player, std::string text) {
  Store& store = player.shared.store;
  const KeyHash key = store.hash(text);
  for (;;) {
    auto found = store.look_up(key, text);
    if (found.known == Store::Known::Yes) co_return found.selected.generation;
    if (auto permit = store.try_start_contact(key)) {
      if (player.random.one_in(4)) co_await Yield{};
      if (player.random.one_in(8)) continue;  // abandoned
      auto generation = make_ref<Generation>(key, text, permit->sequence(), kLength);
      (void)store.commit(std::move(*permit), {{generation, make_ref<TextFacts>("f")}, {}});
      co_return generation;
    }
    Signal signal;
    WaitTicket ticket(player.local.waiters(), signal);
    if (!store.start_wait_contact(key, ticket)) continue;
    (void)co_await signal.wait(kNever);
  }
}

Task<void> fill(Player& player, Ref<Generation> generation, SliceIndex slice) {
  Store& store = player.shared.store;
  for (;;) {
    Signal signal;
    WaitTicket ticket(player.local.waiters(), signal);
    auto reservation =
        store.try_reserve(1 + static_cast<uint32_t>(player.random.below(3)), Priority::Demand);
    if (reservation) {
      FillPermit permit = store.try_start_fill(generation, slice, *reservation);
      *reservation = BufferReservation{};
      if (!permit) co_return;
      player.shared.fills.fetch_add(1, std::memory_order_relaxed);
      while (!permit.writable().empty()) {
        const auto room = static_cast<uint32_t>(permit.writable().size());
        land_bytes(permit, generation->id().value, std::min(room, 100'000U));
        if (player.random.one_in(2)) co_await Yield{};
        if (player.random.one_in(20)) co_return;  // abandoned
      }
      std::move(permit).commit(player.local);
      co_return;
    }
    if (!store.start_wait_buffer(Priority::Demand, ticket)) co_return;
    (void)co_await signal.wait(kNever);
  }
}

void check(Player& player, const Generation& generation, SliceIndex slice,
           std::span<const std::byte> bytes, size_t from) {
  const uint64_t first = first_byte_of(slice);
  for (size_t i = from; i < bytes.size(); i += 977) {
    if (bytes[i] != byte_at(generation.id().value, first + i)) {
      player.shared.wrong_bytes.fetch_add(1, std::memory_order_relaxed);
    }
  }
}

Task<void> read(Player& player, Ref<Generation> generation, SliceIndex slice) {
  Store& store = player.shared.store;
  const uint32_t length = generation->slice_bytes(slice);
  size_t seen = 0;
  while (seen < length) {
    {
      const Found found = store.find(*generation, slice, UseId{player.id});
      if (found.where == Where::Resident || found.where == Where::Filling) {
        check(player, *generation, slice, found.buffer.landed(), seen);
        seen = std::max(seen, found.buffer.landed().size());
      }
      if (found.where == Where::Absent) {
        if (generation->detached()) co_return;
        co_await fill(player, generation, slice);
        continue;
      }
    }
    if (seen == length) break;
    Signal signal;
    WaitTicket ticket(player.local.waiters(), signal);
    if (!store.start_wait_slice(generation->slice_key(slice), static_cast<uint32_t>(seen),
                                ticket)) {
      continue;
    }
    // Some give up: their ticket goes while its node may be on its way.
    if (player.random.one_in(16)) {
      co_await Yield{};
      co_return;
    }
    (void)co_await signal.wait(kNever);
  }
  player.shared.slices_read.fetch_add(1, std::memory_order_relaxed);
}

Task<void> play(Player& player, uint32_t& playing, bool& finished) {
  for (uint32_t i = 0; i < kPlays; ++i) {
    const std::string text = "/" + std::to_string(player.random.below(kKeys));
    Ref<Generation> generation = co_await contact(player, text);
    generation->reader_came();
    co_await read(player, generation, SliceIndex{static_cast<uint32_t>(player.random.below(4))});
    generation->reader_left();
    if (player.random.one_in(20)) {
      PurgeStatement made;
      made.scope = player.random.one_in(4) ? PurgeScope::Everything : PurgeScope::Key;
      made.key = player.shared.store.hash(text);
      (void)co_await player.local.purge(made, player.random.one_in(2));
    }
    if (player.random.one_in(50)) player.shared.store.detach(generation);
    if (player.random.one_in(10)) co_await Yield{};
  }
  if (--playing == 0) finished = true;
}

TEST(StoreThreads, HammeredByThreeLoopsItStaysConsistent) {
  SystemClock clock;
  TextCodec codec;
  Store::Options options;
  options.ram_bytes = 4 * MiB;  // 12 large buffers: most reads wait, fill or evict
  options.huge_pages = false;
  auto made = Store::create(options, codec, clock, {});
  ASSERT_TRUE(made.has_value());
  Store& store = **made;
  Shared shared{store};
  std::vector<std::unique_ptr<ThreadLoop>> loops;
  std::vector<std::unique_ptr<LocalStore>> locals;
  for (uint32_t i = 0; i < kThreads; ++i) {
    loops.push_back(std::make_unique<ThreadLoop>(i, clock));
    locals.push_back(std::make_unique<LocalStore>(store, *loops[i], std::vector<Disk*>{}));
  }
  std::vector<std::thread> threads;
  threads.reserve(kThreads);
  for (uint32_t i = 0; i < kThreads; ++i) {
    threads.emplace_back([&, i] {
      bool finished = false;
      uint32_t playing = kPlayers;
      std::vector<std::unique_ptr<Player>> players;
      TaskGroup group(*loops[i], kPlayers);
      for (uint32_t p = 0; p < kPlayers; ++p) {
        players.push_back(std::make_unique<Player>(
            Player{shared, *locals[i], Random(i * 100 + p + 1), i * 100 + p + 1}));
        const Loop::Turn turn(*loops[i]);
        ASSERT_TRUE(group.try_spawn(play(*players.back(), playing, finished)));
      }
      loops[i]->run(finished);
      EXPECT_EQ(group.running(), 0);
    });
  }
  for (std::thread& thread : threads) thread.join();
  // Nodes of waiters who gave up may still be on their way to loops that have ended.
  const bool finished = true;
  for (auto& loop : loops) loop->run(finished);
  EXPECT_EQ(shared.wrong_bytes.load(), 0);
  EXPECT_GT(shared.slices_read.load(), kThreads * kPlayers * kPlays / 2);
  EXPECT_GT(shared.fills.load(), 50);
  store.check_invariants(true);
  for (auto& local : locals) EXPECT_EQ(local->waiters().in_use(), 0);
}

}  // namespace
}  // namespace segue::cache::test
