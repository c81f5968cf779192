// Nothing on the way of a hit, a fill's landing or a purge's look-up allocates: operator new is
// counted. (Sanitizers replace operator new themselves; the counting then sees theirs through
// ours.)
#include <gtest/gtest.h>

#include <atomic>
#include <cstdlib>
#include <new>

#include "base/sanitizer.h"
#include "tests/unit/cache/store_fixture.h"

namespace {
std::atomic<uint64_t> g_allocations{0};
}

#if !__has_feature(address_sanitizer) && !__has_feature(thread_sanitizer)
void* operator new(size_t bytes) {
  g_allocations.fetch_add(1, std::memory_order_relaxed);
  if (void* memory = std::malloc(bytes == 0 ? 1 : bytes)) return memory;
  throw std::bad_alloc();
}
void* operator new[](size_t bytes) { return operator new(bytes); }
void operator delete(void* memory) noexcept { std::free(memory); }
void operator delete[](void* memory) noexcept { std::free(memory); }
void operator delete(void* memory, size_t /*bytes*/) noexcept { std::free(memory); }
void operator delete[](void* memory, size_t /*bytes*/) noexcept { std::free(memory); }
#endif

namespace segue::cache::test {
namespace {

class HitPathTest : public StoreTest {
 protected:
  void SetUp() override {
    if (kSanitized) GTEST_SKIP() << "a sanitizer owns operator new";
  }
};

TEST_F(HitPathTest, TheCounterCounts) {
  const uint64_t before = g_allocations.load();
  ::operator delete(::operator new(1));
  EXPECT_GT(g_allocations.load(), before);
}

TEST_F(HitPathTest, AHitAllocatesNothing) {
  const std::string text = "/t/1";
  auto generation = install(text, 600'000);
  ASSERT_TRUE(fill(generation, 0));
  ASSERT_TRUE(fill(generation, 1));
  const uint64_t before = g_allocations.load();
  uint64_t sum = 0;
  for (uint64_t i = 0; i < 1000; ++i) {
    clock.advance(std::chrono::milliseconds{100});  // also the second's move in the order
    const auto found = store->look_up(store->hash(text), text);
    for (uint32_t slice = 0; slice < 2; ++slice) {
      const Found here = store->find(*found.selected.generation, SliceIndex{slice}, UseId{i});
      sum += here.buffer.landed().size();
    }
    (void)store->where(*generation, SliceIndex{2});
  }
  EXPECT_EQ(g_allocations.load(), before);
  EXPECT_EQ(sum, uint64_t{2000} * kSliceBytes);
}

TEST_F(HitPathTest, AFillAllocatesNothing) {
  auto generation = install("/t/1", 60 * uint64_t{kSliceBytes});
  for (uint32_t i = 0; i < 20; ++i) ASSERT_TRUE(fill(generation, i));
  const uint64_t before = g_allocations.load();
  for (uint32_t i = 20; i < 50; ++i) {  // each evicts
    auto reservation = store->try_reserve(1, Priority::Demand);
    FillPermit permit = store->try_start_fill(generation, SliceIndex{i}, *reservation);
    if (!permit) break;
    permit.publish(1000);
    if (i % 2 == 0) continue;  // abandoned
    permit.publish(static_cast<uint32_t>(permit.writable().size()));
    std::move(permit).commit(*local);
  }
  EXPECT_EQ(g_allocations.load(), before);
  EXPECT_GT(store->usage().evictions, 0);
}

TEST_F(HitPathTest, AContactAllocatesNothingOnceWarm) {
  install("/t/1", 10);
  const KeyHash key = store->hash("/t/1");
  {
    auto warm = store->try_start_contact(key);
  }
  const uint64_t before = g_allocations.load();
  for (int i = 0; i < 100; ++i) {
    auto permit = store->try_start_contact(key);
    EXPECT_FALSE(store->try_start_contact(key).has_value());
  }
  EXPECT_EQ(g_allocations.load(), before);
}

TEST_F(HitPathTest, ALookUpThatAPurgeCoversAllocatesNothing) {
  auto generation = install("/t/1", 10);
  PurgeStatement made = statement(PurgeScope::Prefix, "/t");
  const uint64_t before = g_allocations.load();
  (void)store->look_up(generation->key(), "/t/1");
  EXPECT_EQ(g_allocations.load(), before);
  ASSERT_TRUE(store->apply(made, false));
  const uint64_t after = g_allocations.load();
  EXPECT_EQ(store->look_up(generation->key(), "/t/1").known, Store::Known::No);
  EXPECT_EQ(g_allocations.load(), after);
}

}  // namespace
}  // namespace segue::cache::test
