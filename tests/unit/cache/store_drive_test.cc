// The store over one drive: what goes there, comes back, survives a restart, and what a purge
// leaves of it. Two loops on one thread; the drive's faults are planned.
#include <gtest/gtest.h>

#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "cache/drive.h"
#include "tests/support/fault_disk.h"
#include "tests/support/sim_loop.h"
#include "tests/unit/cache/store_fixture.h"

namespace segue::cache::test {
namespace {

using segue::testing::FaultDisk;
using segue::testing::Platter;
using segue::testing::SimWorld;

constexpr uint64_t kDriveBytes = 64 * MiB;

template <class T>
Task<void> keep(Task<T> task, std::optional<T>& into) {
  into.emplace(co_await std::move(task));
}
Task<void> note(Task<void> task, bool& done) {
  co_await std::move(task);
  done = true;
}

class StoreDriveTest : public ::testing::Test {
 protected:
  template <class Make>
  auto run(Make make, uint32_t loop = 0) {
    using Value = typename decltype(make())::promise_type;
    return run_as(static_cast<Value*>(nullptr), make, loop);
  }
  template <class T, class Make>
  T run_as(detail::Promise<T>*, Make make, uint32_t loop) {
    std::optional<T> result;
    TaskGroup group(world.loop(loop), 1);
    {
      const Loop::Turn turn(world.loop(loop));
      SEGUE_ASSERT(group.try_spawn(keep(make(), result)));
    }
    SEGUE_ASSERT(world.run_until([&] { return group.running() == 0; }, std::chrono::minutes{1}));
    return std::move(*result);
  }
  template <class Make>
  void wait_for(Make make, uint32_t loop = 0) {
    bool done = false;
    TaskGroup group(world.loop(loop), 1);
    {
      const Loop::Turn turn(world.loop(loop));
      SEGUE_ASSERT(group.try_spawn(note(make(), done)));
    }
    SEGUE_ASSERT(world.run_until([&] { return group.running() == 0; }, std::chrono::minutes{1}));
    ASSERT_TRUE(done);
  }
  StoreDriveTest() {
    open_disks();
    auto formatted = run([&] {
      return Drive::format(*disks[0], {.size_bytes = kDriveBytes,
                                       .hash_seed = 42,
                                       .device_id = 7,
                                       .membership_epoch = 1,
                                       .shares = {}});
    });
    EXPECT_TRUE(formatted.has_value());
    start();
  }
  ~StoreDriveTest() override {
    if (store) stop();
  }

  void open_disks() {
    disks.clear();
    for (uint32_t i = 0; i < 2; ++i) {
      disks.push_back(std::make_unique<FaultDisk>(world.loop(i), platter));
    }
  }
  void start() {
    auto drive = run([&] { return Drive::mount(*disks[0], {}, world.clock()); });
    ASSERT_TRUE(drive.has_value());
    std::vector<std::unique_ptr<Drive>> drives;
    drives.push_back(std::move(*drive));
    Store::Options options;
    options.ram_bytes = 5 * MiB;
    options.huge_pages = false;
    options.representations_bytes_max = representations_bytes_max;
    auto made = Store::create(options, codec, world.clock(), std::move(drives));
    ASSERT_TRUE(made.has_value());
    store = std::move(*made);
    for (uint32_t i = 0; i < 2; ++i) {
      locals.push_back(
          std::make_unique<LocalStore>(*store, world.loop(i), std::vector<Disk*>{disks[i].get()}));
    }
    upkeep();
  }
  /// A clean stop.
  void stop() {
    for (uint32_t i = 0; i < 2; ++i) wait_for([&] { return locals[i]->drain(); }, i);
    store->check_invariants(true);
    for (auto& local : locals) EXPECT_EQ(local->waiters().in_use(), 0);
    locals.clear();
    store.reset();
  }
  /// kill -9 and a machine that stops: what was not flushed may be lost.
  void crash() {
    platter.crash();
    world.run_until_idle();
    locals.clear();
    store.reset();
    open_disks();
  }

  void upkeep(int passes = 1) {
    for (int i = 0; i < passes; ++i) {
      wait_for([&] { return locals[0]->upkeep(); });
      world.run_for(std::chrono::seconds{1});
    }
  }

  Ref<Generation> install(const std::string& key_text, uint64_t length, std::string facts = "f",
                          std::vector<uint64_t> tags = {}, bool ram_only = false) {
    const KeyHash key = store->hash(key_text);
    auto permit = store->try_start_contact(key);
    EXPECT_TRUE(permit.has_value());
    auto generation = make_ref<Generation>(key, key_text, permit->sequence(), length);
    EXPECT_TRUE(store->commit(
        std::move(*permit),
        {{generation, make_ref<TextFacts>(std::move(facts))}, std::move(tags), ram_only}));
    return generation;
  }
  Store::LookUp look_up(const std::string& key_text) {
    return store->look_up(store->hash(key_text), key_text);
  }
  /// As delivery does: look up, load if it is on the drive, look up again.
  Selected select(const std::string& key_text, uint32_t loop = 0) {
    auto found = look_up(key_text);
    if (found.known == Store::Known::OnDrive) {
      const MonoTime deadline = world.clock().mono() + std::chrono::seconds{5};
      [[maybe_unused]] const auto loaded =
          run([&] { return locals[loop]->load(store->hash(key_text), deadline); }, loop);
      found = look_up(key_text);
    }
    return found.known == Store::Known::Yes ? std::move(found.selected) : Selected{};
  }
  /// Fills a slice on `loop`; what the drive makes of it happens as the world runs.
  bool fill(const Ref<Generation>& generation, uint32_t slice, uint32_t loop = 0,
            Priority priority = Priority::Demand) {
    const Loop::Turn turn(world.loop(loop));
    auto reservation = store->try_reserve(1, priority);
    if (!reservation) return false;
    FillPermit permit =
        store->try_start_fill(generation, SliceIndex{slice}, *reservation, priority);
    if (!permit) return false;
    const uint64_t first = first_byte_of(SliceIndex{slice});
    for (uint32_t i = 0; i < permit.length(); ++i) {
      permit.writable()[i] = byte_at(salt(generation->key_text()), first + i);
    }
    permit.publish(permit.length());
    std::move(permit).commit(*locals[loop]);
    return true;
  }
  static uint64_t salt(std::string_view key_text) { return hash_key(key_text, 5).low; }
  [[nodiscard]] Where where(const Ref<Generation>& generation, uint32_t slice) const {
    return store->where(*generation, SliceIndex{slice});
  }
  /// Whether the whole slice is here, from RAM or drive, with the right bytes.
  bool reads_right(const Ref<Generation>& generation, uint32_t slice, uint32_t loop = 0) {
    if (where(generation, slice) == Where::OnDrive) {
      const Loop::Turn turn(world.loop(loop));
      [[maybe_unused]] const auto started =
          locals[loop]->start_read(generation, SliceIndex{slice}, UseId{9});
    }
    world.run_for(std::chrono::milliseconds{100});
    const Found found = store->find(*generation, SliceIndex{slice}, UseId{9});
    if (found.where != Where::Resident) return false;
    const auto bytes = found.buffer.landed();
    if (bytes.size() != generation->slice_bytes(SliceIndex{slice})) return false;
    const uint64_t first = first_byte_of(SliceIndex{slice});
    for (size_t i = 0; i < bytes.size(); ++i) {
      if (bytes[i] != byte_at(salt(generation->key_text()), first + i)) return false;
    }
    return true;
  }
  /// Pushes everything else out of RAM.
  void flood(uint32_t slices = 40) {
    auto other = install("/flood/" + std::to_string(floods++), slices * uint64_t{kSliceBytes}, "f",
                         {}, true);
    for (uint32_t i = 0; i < slices; ++i) {
      ASSERT_TRUE(fill(other, i));
      world.run_for(std::chrono::milliseconds{5});
    }
  }
  Result<Done> purge(PurgeScope scope, const std::string& text, bool soft = false) {
    PurgeStatement made;
    made.scope = scope;
    made.soft = soft;
    made.sequence = store->next_sequence();
    made.key = store->hash(text);
    made.prefix = text;
    return run([&] { return locals[1]->purge(made, false); }, 1);
  }
  Drive& drive() { return *store->drives()[0]; }

  SimWorld world{1, 2};
  Platter platter{1, {.size_bytes = kDriveBytes}};
  std::vector<std::unique_ptr<FaultDisk>> disks;
  TextCodec codec;
  uint64_t representations_bytes_max = 4 * MiB;
  std::unique_ptr<Store> store;
  std::vector<std::unique_ptr<LocalStore>> locals;
  int floods = 0;
};

TEST_F(StoreDriveTest, ASliceGoesToTheDriveAndComesBackAfterItLeftRam) {
  auto generation = install("/t/1", 1'000'000);
  ASSERT_TRUE(fill(generation, 2));
  world.run_for(std::chrono::seconds{1});
  EXPECT_EQ(locals[0]->counters().admitted.get(), 1);
  flood();
  ASSERT_EQ(where(generation, 2), Where::OnDrive);
  EXPECT_TRUE(reads_right(generation, 2, 1));
  EXPECT_EQ(locals[1]->counters().drive_reads.get(), 1);
  EXPECT_EQ(store->usage().writing, 0);
}

TEST_F(StoreDriveTest, WhatWasPrefetchedGoesToTheDriveOnlyOnceAClientAsked) {
  auto asked = install("/t/1", 300'000);
  auto unasked = install("/t/2", 300'000);
  ASSERT_TRUE(fill(asked, 0, 0, Priority::Prefetch));
  ASSERT_TRUE(fill(unasked, 0, 0, Priority::Prefetch));
  world.run_for(std::chrono::seconds{1});
  EXPECT_EQ(locals[0]->counters().admitted.get(), 0);
  EXPECT_TRUE(store->find(*asked, SliceIndex{0}, UseId{7}).buffer);
  for (uint32_t i = 0; i < 8; ++i)  // over their share: the unasked one leaves
    ASSERT_TRUE(fill(install("/p/" + std::to_string(i), 250'000), 0, 0, Priority::Prefetch));
  flood();
  EXPECT_EQ(where(unasked, 0), Where::Absent);
  EXPECT_EQ(where(asked, 0), Where::OnDrive);
}

TEST_F(StoreDriveTest, OneReadServesAllWhoAsk) {
  auto generation = install("/t/1", 300'000);
  ASSERT_TRUE(fill(generation, 0));
  world.run_for(std::chrono::seconds{1});
  flood();
  for (uint32_t loop = 0; loop < 2; ++loop) {
    const Loop::Turn turn(world.loop(loop));
    EXPECT_TRUE(locals[loop]->start_read(generation, SliceIndex{0}, UseId{1}).has_value());
    EXPECT_EQ(where(generation, 0), Where::Filling);
  }
  EXPECT_TRUE(reads_right(generation, 0));
  EXPECT_EQ(locals[0]->counters().drive_reads.get() + locals[1]->counters().drive_reads.get(), 1);
}

TEST_F(StoreDriveTest, ARestartFindsRepresentationAndSlices) {
  auto generation = install("/t/1", 1'000'000, "some facts", {1, 2});
  for (uint32_t i = 0; i < 4; ++i) ASSERT_TRUE(fill(generation, i, i % 2));
  world.run_for(std::chrono::seconds{1});
  const Sequence id = generation->id();
  generation = {};
  stop();
  start();
  EXPECT_EQ(look_up("/t/1").known, Store::Known::OnDrive);
  EXPECT_EQ(look_up("/t/2").known, Store::Known::No);
  const Selected selected = select("/t/1");
  ASSERT_TRUE(selected);
  EXPECT_EQ(selected.generation->id(), id);
  EXPECT_EQ(selected.generation->complete_length(), 1'000'000);
  EXPECT_EQ(selected.generation->tag_hashes().size(), 2);
  EXPECT_EQ(text_of(selected), "some facts");
  for (uint32_t i = 0; i < 4; ++i) EXPECT_TRUE(reads_right(selected.generation, i));
  EXPECT_GT(store->next_sequence(), id);
}

TEST_F(StoreDriveTest, ACrashAfterTheTableWasFlushedFindsThemToo) {
  auto generation = install("/t/1", 300'000);
  ASSERT_TRUE(fill(generation, 0));
  world.run_for(std::chrono::seconds{6});
  upkeep();
  generation = {};
  crash();
  start();
  const Selected selected = select("/t/1");
  ASSERT_TRUE(selected);
  EXPECT_TRUE(reads_right(selected.generation, 0));
}

TEST_F(StoreDriveTest, SequencesNeverStepBackOverACrash) {
  Sequence last{};
  for (int i = 0; i < 1000; ++i) last = store->next_sequence();
  crash();
  start();
  EXPECT_GT(store->next_sequence(), last);
}

TEST_F(StoreDriveTest, NewFactsOfA304SurviveARestart) {
  auto generation = install("/t/1", 300'000, "old");
  ASSERT_TRUE(fill(generation, 0));
  world.run_for(std::chrono::seconds{1});
  {
    const Loop::Turn turn(world.loop(0));
    auto permit = store->try_start_contact(store->hash("/t/1"));
    EXPECT_TRUE(store->freshen(std::move(*permit), generation, make_ref<TextFacts>("new")));
  }
  world.run_for(std::chrono::seconds{1});
  generation = {};
  stop();
  start();
  EXPECT_EQ(text_of(select("/t/1")), "new");
}

TEST_F(StoreDriveTest, RamOnlyNeverReachesTheDrive) {
  auto generation = install("/t/1", 300'000, "f", {}, true);
  ASSERT_TRUE(fill(generation, 0));
  world.run_for(std::chrono::seconds{1});
  EXPECT_EQ(drive().usage().records_live, 0);
  EXPECT_EQ(locals[0]->counters().admitted.get(), 0);
}

TEST_F(StoreDriveTest, FactsBeyondARecordStayInRam) {
  auto generation = install("/t/1", 300'000, std::string(5000, 'x'));
  ASSERT_TRUE(fill(generation, 0));
  world.run_for(std::chrono::seconds{1});
  EXPECT_EQ(locals[0]->counters().admitted.get(), 0);
  EXPECT_EQ(drive().usage().records_live, 0);
  EXPECT_TRUE(reads_right(generation, 0));
}

TEST_F(StoreDriveTest, AnAcknowledgedPurgeSurvivesACrash) {
  for (const PurgeScope scope : {PurgeScope::Key, PurgeScope::Prefix, PurgeScope::Everything}) {
    auto generation = install("/t/1", 300'000);
    ASSERT_TRUE(fill(generation, 0));
    world.run_for(std::chrono::seconds{6});
    upkeep();
    generation = {};
    crash();
    start();
    ASSERT_EQ(look_up("/t/1").known, Store::Known::OnDrive);  // the purge has something to do
    ASSERT_TRUE(purge(scope, "/t/1").has_value());
    EXPECT_EQ(look_up("/t/1").known, Store::Known::No);
    crash();
    start();
    EXPECT_EQ(look_up("/t/1").known, Store::Known::No) << static_cast<int>(scope);
  }
}

TEST_F(StoreDriveTest, APurgeByTagCoversWhatIsOnTheDriveOnly) {
  auto generation = install("/t/1", 300'000, "f", {store->hash("album").low});
  auto other = install("/t/2", 300'000, "f", {store->hash("artist").low});
  ASSERT_TRUE(fill(generation, 0));
  ASSERT_TRUE(fill(other, 0));
  world.run_for(std::chrono::seconds{1});
  generation = {};
  other = {};
  stop();
  start();
  ASSERT_TRUE(purge(PurgeScope::Tag, "album").has_value());
  EXPECT_FALSE(select("/t/1"));
  EXPECT_TRUE(select("/t/2"));
}

TEST_F(StoreDriveTest, ASweepForgetsWhatWasPurgedAndRetiresTheStatements) {
  auto generation = install("/t/1", 900'000);
  auto kept = install("/u/1", 300'000);
  for (uint32_t i = 0; i < 3; ++i) ASSERT_TRUE(fill(generation, i));
  ASSERT_TRUE(fill(kept, 0));
  world.run_for(std::chrono::seconds{1});
  generation = {};
  kept = {};
  stop();
  start();
  ASSERT_TRUE(purge(PurgeScope::Prefix, "/t").has_value());
  EXPECT_EQ(drive().purge_statements().size(), 1);
  upkeep(4);
  EXPECT_TRUE(drive().purge_statements().empty());
  EXPECT_EQ(drive().usage().records_live, 1);
  crash();
  start();
  EXPECT_EQ(look_up("/t/1").known, Store::Known::No);
  const Selected selected = select("/u/1");
  ASSERT_TRUE(selected);
  EXPECT_TRUE(reads_right(selected.generation, 0));
}

TEST_F(StoreDriveTest, AReplacedGenerationDoesNotComeBackAfterARestart) {
  auto first = install("/t/1", 300'000, "first");
  ASSERT_TRUE(fill(first, 0));
  world.run_for(std::chrono::seconds{1});
  auto second = install("/t/1", 200'000, "second");
  ASSERT_TRUE(fill(second, 0));
  world.run_for(std::chrono::seconds{1});
  first = {};
  second = {};
  stop();
  start();
  const Selected selected = select("/t/1");
  ASSERT_TRUE(selected);
  EXPECT_EQ(text_of(selected), "second");
  EXPECT_TRUE(reads_right(selected.generation, 0));
}

TEST_F(StoreDriveTest, ADetachedGenerationIsForgottenByUpkeep) {
  auto generation = install("/t/1", 300'000);
  ASSERT_TRUE(fill(generation, 0));
  world.run_for(std::chrono::seconds{1});
  store->detach(generation);
  upkeep(7);
  EXPECT_EQ(drive().usage().records_live, 0);
  generation = {};
  crash();
  start();
  EXPECT_EQ(look_up("/t/1").known, Store::Known::No);
}

TEST_F(StoreDriveTest, ASliceThatReadsBadIsAMissAndOfferedAgainNever) {
  auto generation = install("/t/1", 300'000);
  ASSERT_TRUE(fill(generation, 0));
  world.run_for(std::chrono::seconds{1});
  flood();
  ASSERT_EQ(where(generation, 0), Where::OnDrive);
  platter.fail_operation(1);
  EXPECT_FALSE(reads_right(generation, 0));
  EXPECT_EQ(where(generation, 0), Where::Absent);
  EXPECT_EQ(locals[0]->counters().drive_read_failures.get(), 1);
  ASSERT_TRUE(fill(generation, 0));
  EXPECT_TRUE(reads_right(generation, 0));
}

TEST_F(StoreDriveTest, AReadThatHangsIsLeftForTheOriginAndItsBufferQuarantined) {
  auto generation = install("/t/1", 300'000);
  ASSERT_TRUE(fill(generation, 0));
  world.run_for(std::chrono::seconds{1});
  flood();
  platter.hang_operation(1);
  Signal signal;
  {
    const Loop::Turn turn(world.loop(0));
    ASSERT_TRUE(locals[0]->start_read(generation, SliceIndex{0}, UseId{1}).has_value());
    WaitTicket ticket(locals[0]->waiters(), signal);
    ASSERT_TRUE(store->start_wait_slice(generation->slice_key(SliceIndex{0}), 0, ticket));
    world.run_for(kDriveHangTimeout - std::chrono::milliseconds{10});
    EXPECT_TRUE(ticket.waiting());
    world.run_for(std::chrono::milliseconds{20});
    EXPECT_FALSE(ticket.waiting());
    // Nobody tries the drive for it again meanwhile.
    EXPECT_EQ(where(generation, 0), Where::Absent);
    EXPECT_EQ(store->find(*generation, SliceIndex{0}, UseId{1}).where, Where::Absent);
    EXPECT_FALSE(locals[0]->start_read(generation, SliceIndex{0}, UseId{1}).has_value());
  }
  EXPECT_EQ(store->usage().draining, 1);
  EXPECT_EQ(locals[0]->counters().drive_hangs.get(), 1);
  ASSERT_TRUE(fill(generation, 0));
  EXPECT_TRUE(reads_right(generation, 0));
  platter.release_hung();
  world.run_for(std::chrono::seconds{1});
  EXPECT_EQ(store->usage().draining, 0);
  EXPECT_TRUE(reads_right(generation, 0));
}

TEST_F(StoreDriveTest, ARecordThatHangsLeavesTheKeyToTheOrigin) {
  auto generation = install("/t/1", 300'000);
  ASSERT_TRUE(fill(generation, 0));
  world.run_for(std::chrono::seconds{1});
  generation = {};
  stop();
  start();
  platter.hang_operation(1);
  const MonoTime began = world.clock().mono();
  const KeyHash key = store->hash("/t/1");
  const auto loaded = run([&] { return locals[0]->load(key, began + std::chrono::seconds{5}); });
  EXPECT_FALSE(loaded.has_value());
  EXPECT_LT(world.clock().mono() - began, kDriveHangTimeout + std::chrono::milliseconds{50});
  EXPECT_TRUE(store->try_start_contact(key).has_value());
  platter.release_hung();
}

TEST_F(StoreDriveTest, ALoadGivesUpAtItsDeadline) {
  auto generation = install("/t/1", 300'000);
  ASSERT_TRUE(fill(generation, 0));
  world.run_for(std::chrono::seconds{1});
  generation = {};
  stop();
  start();
  platter.hang_operation(1);
  const MonoTime deadline = world.clock().mono() + std::chrono::milliseconds{20};
  const auto loaded = run([&] { return locals[0]->load(store->hash("/t/1"), deadline); });
  ASSERT_FALSE(loaded.has_value());
  EXPECT_EQ(loaded.error().kind, Kind::Timeout);
  platter.release_hung();
  world.run_for(std::chrono::seconds{1});
}

TEST_F(StoreDriveTest, ARecordThatCannotBeReadNowIsTriedAgainLater) {
  auto generation = install("/t/1", 300'000);
  ASSERT_TRUE(fill(generation, 0));
  world.run_for(std::chrono::seconds{1});
  generation = {};
  stop();
  start();
  ASSERT_EQ(look_up("/t/1").known, Store::Known::OnDrive);
  platter.fail_from_operation(1);
  EXPECT_FALSE(select("/t/1"));
  platter.heal();
  EXPECT_TRUE(select("/t/1"));  // an error is not a verdict on the record
}

TEST_F(StoreDriveTest, FactsThatDoNotDecodeMakeTheirKeyUnknownForGood) {
  auto generation = install("/t/1", 300'000, "!malformed");
  ASSERT_TRUE(fill(generation, 0));
  world.run_for(std::chrono::seconds{1});
  generation = {};
  stop();
  start();
  ASSERT_EQ(look_up("/t/1").known, Store::Known::OnDrive);
  EXPECT_FALSE(select("/t/1"));
  EXPECT_EQ(look_up("/t/1").known, Store::Known::No);
  EXPECT_EQ(locals[0]->counters().record_failures.get(), 1);
  upkeep(8);  // frees its slots
  EXPECT_EQ(drive().usage().records_live, 0);
}

TEST_F(StoreDriveTest, FactsThatLeaveRamAreLoadedAgainWithTheirSlices) {
  stop();
  representations_bytes_max = 64 * KiB;
  start();
  auto generation = install("/t/1", 300'000, "facts");
  const Sequence id = generation->id();
  ASSERT_TRUE(fill(generation, 0));
  world.run_for(std::chrono::seconds{1});
  for (int i = 0; i < 300; ++i) {
    install("/other/" + std::to_string(i), 100, std::string(1000, 'f'));
    world.run_for(std::chrono::milliseconds{1});
  }
  EXPECT_LE(store->usage().representation_bytes, 64 * KiB);
  ASSERT_EQ(look_up("/t/1").known, Store::Known::OnDrive);
  EXPECT_TRUE(generation->detached());  // another object speaks for it from now on
  const Selected selected = select("/t/1");
  ASSERT_TRUE(selected);
  EXPECT_EQ(selected.generation->id(), id);
  EXPECT_EQ(where(selected.generation, 0), Where::Resident);
  EXPECT_TRUE(reads_right(selected.generation, 0));
}

TEST_F(StoreDriveTest, ASliceARunningResponseNeedsGoesToTheDriveWhenItLeavesRam) {
  // Fill the drive's large slots first, so that admission is up to the ghost list.
  for (uint32_t i = 0; drive().usage().live[3] < drive().usage().slots[3]; ++i) {
    ASSERT_LT(i, 100);
    auto filler = install("/filler/" + std::to_string(i), 8 * uint64_t{kSliceBytes});
    for (uint32_t slice = 0; slice < 8; ++slice) {
      ASSERT_TRUE(fill(filler, slice));
      world.run_for(std::chrono::milliseconds{10});
    }
  }
  auto unread = install("/unread", kSliceBytes);
  auto read = install("/read", kSliceBytes);
  read->reader_came();
  ASSERT_TRUE(fill(unread, 0));
  ASSERT_TRUE(fill(read, 0));
  world.run_for(std::chrono::seconds{1});
  flood();
  EXPECT_EQ(where(unread, 0), Where::Absent);
  EXPECT_EQ(where(read, 0), Where::OnDrive);
  EXPECT_TRUE(reads_right(read, 0));
  read->reader_left();
}

TEST_F(StoreDriveTest, SlicesWrittenWhileTheirGenerationIsPurgedDoNotStay) {
  auto generation = install("/t/1", 900'000);
  for (uint32_t i = 0; i < 3; ++i) ASSERT_TRUE(fill(generation, i));
  // The writes are under way.
  EXPECT_GT(store->usage().writing, 0);
  ASSERT_TRUE(purge(PurgeScope::Key, "/t/1").has_value());
  world.run_for(std::chrono::seconds{1});
  upkeep(8);
  EXPECT_EQ(drive().usage().records_live, 0);
  crash();
  start();
  EXPECT_EQ(look_up("/t/1").known, Store::Known::No);
}

}  // namespace
}  // namespace segue::cache::test
