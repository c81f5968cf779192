// tests/unit/cache/drives_fixture.h - a store over two drives that fault as they are told, with a
// door for each of two loops of one thread.
#pragma once
#include <gtest/gtest.h>

#include <array>
#include <memory>
#include <optional>
#include <string>
#include <type_traits>
#include <utility>
#include <vector>

#include "cache/drive.h"
#include "cache/local_store.h"
#include "tests/support/fault_disk.h"
#include "tests/support/sim_loop.h"
#include "tests/unit/cache/store_fixture.h"

namespace segue::cache::test {

template <class T>
Task<void> keep(Task<T> task, std::optional<T>& into) {
  into.emplace(co_await std::move(task));
}

class DrivesTest : public ::testing::Test {
 protected:
  static constexpr uint64_t kDriveBytes = 64 * MiB;
  static constexpr size_t kDrives = 2;
  static constexpr uint32_t kLoops = 2;
  using FaultDisk = segue::testing::FaultDisk;
  using Platter = segue::testing::Platter;

  DrivesTest() {
    std::vector<std::unique_ptr<Drive>> drives;
    for (size_t i = 0; i < kDrives; ++i) {
      for (uint32_t loop = 0; loop < kLoops; ++loop)
        disks[loop][i] = std::make_unique<FaultDisk>(world.loop(loop), *platters[i]);
      EXPECT_TRUE(run([&] { return format(i); }).has_value());
      auto drive = run([&] { return Drive::mount(*disks[0][i], {}, world.clock()); });
      EXPECT_TRUE(drive.has_value());
      drives.push_back(std::move(*drive));
    }
    Store::Options options;
    options.ram_bytes = 5 * MiB;
    options.huge_pages = false;
    store = std::move(*Store::create(options, codec, world.clock(), std::move(drives)));
    for (uint32_t loop = 0; loop < kLoops; ++loop) {
      locals[loop] = std::make_unique<LocalStore>(
          *store, world.loop(loop), std::vector<Disk*>{disks[loop][0].get(), disks[loop][1].get()});
    }
    EXPECT_TRUE(run([&] { return upkeep(); }).has_value());
  }
  ~DrivesTest() override {
    for (auto& platter : platters) {
      platter->options().hang_one_in = 0;
      platter->release_hung();
    }
    for (uint32_t loop = 0; loop < kLoops; ++loop)
      EXPECT_TRUE(run([&] { return drain(loop); }, loop).has_value());
    world.run_for(std::chrono::milliseconds{1});  // messages on their way
    store->check_invariants(true);
  }

  Task<Result<Done>> format(size_t i, uint64_t device_id = 0) {
    return Drive::format(*disks[0][i], {.size_bytes = kDriveBytes,
                                        .hash_seed = 42,
                                        .device_id = device_id != 0 ? device_id : 7 + i,
                                        .membership_epoch = 1,
                                        .shares = {}});
  }
  Task<Result<Done>> upkeep() {
    co_await locals[0]->upkeep();
    co_return Done{};
  }
  Task<Result<Done>> drain(uint32_t loop) {
    co_await locals[loop]->drain();
    co_return Done{};
  }
  template <class Make>
  std::invoke_result_t<Make>::Value run(Make make, uint32_t loop = 0) {
    std::optional<typename std::invoke_result_t<Make>::Value> result;
    TaskGroup group(world.loop(loop), 1);
    {
      const Loop::Turn turn(world.loop(loop));
      SEGUE_ASSERT(group.try_spawn(keep(make(), result)));
    }
    SEGUE_ASSERT(world.run_until([&] { return group.running() == 0; }, std::chrono::minutes{1}));
    return std::move(*result);
  }
  /// As the node does it: once a second.
  void keep_up(int seconds) {
    for (int i = 0; i < seconds; ++i) {
      EXPECT_TRUE(run([&] { return upkeep(); }).has_value());
      world.run_for(std::chrono::seconds{1});
    }
  }
  Result<Done> purge_everything(uint32_t loop = 0) {
    PurgeStatement statement;
    statement.scope = PurgeScope::Everything;
    statement.sequence = store->next_sequence();
    return run([&] { return locals[loop]->purge(statement, false); }, loop);
  }
  /// No operation of the drive completes from here on.
  void hang(size_t i) { platters[i]->options().hang_one_in = 1; }
  const Drive& drive(size_t i) const { return *store->drives()[i]; }

  segue::testing::SimWorld world{1, kLoops};
  std::array<std::unique_ptr<Platter>, kDrives> platters{
      std::make_unique<Platter>(1, segue::testing::FaultOptions{.size_bytes = kDriveBytes}),
      std::make_unique<Platter>(2, segue::testing::FaultOptions{.size_bytes = kDriveBytes})};
  std::array<std::array<std::unique_ptr<FaultDisk>, kDrives>, kLoops> disks;  // by loop
  TextCodec codec;
  std::unique_ptr<Store> store;
  std::array<std::unique_ptr<LocalStore>, kLoops> locals;
};

}  // namespace segue::cache::test
