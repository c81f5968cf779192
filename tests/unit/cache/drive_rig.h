// tests/unit/cache/drive_rig.h - a drive on a fault-injecting disk under a virtual clock, and the
// few verbs its tests speak: put a slice, get it, crash, mount again. Every payload follows from
// its key, so that any byte that comes back can be judged.
#pragma once
#include <gtest/gtest.h>

#include <map>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "base/units.h"
#include "cache/aligned_bytes.h"
#include "cache/drive.h"
#include "tests/support/fault_disk.h"
#include "tests/support/sim_loop.h"

namespace segue::cache {

template <class T>
Task<void> keep_result(Task<T> task, std::optional<T>& into) {
  into.emplace(co_await std::move(task));
}

class DriveRig {
 public:
  static constexpr uint64_t kSeed = 77;
  static constexpr uint64_t kDevice = 0xd1;
  static constexpr std::chrono::nanoseconds kOperationMax = std::chrono::minutes{2};

  explicit DriveRig(uint64_t size_bytes = 24 * MiB, uint64_t seed = 1, uint32_t loops = 1)
      : world(seed, loops), platter(seed, {.size_bytes = size_bytes}), size_bytes_(size_bytes) {
    open();
  }
  ~DriveRig() {
    platter.release_hung();
    world.run_until_idle();
  }
  DriveRig(const DriveRig&) = delete;
  DriveRig& operator=(const DriveRig&) = delete;

  /// Runs `make()`'s task on `loop` to its end. `make` is a plain lambda (rule R4).
  template <class Make>
  auto run(Make make, uint32_t loop = 0) {
    using Made = typename decltype(make())::promise_type;
    return run_as(static_cast<Made*>(nullptr), make, loop);
  }

  [[nodiscard]] Result<Done> format(DriveShares shares = {}) {
    return run([&] {
      return Drive::format(disk(), {.size_bytes = size_bytes_,
                                    .hash_seed = kSeed,
                                    .device_id = kDevice,
                                    .membership_epoch = 3,
                                    .shares = shares});
    });
  }
  /// Mounts; what was mounted before is gone.
  [[nodiscard]] Result<Done> mount() {
    drive.reset();
    long_tracks_.clear();
    auto mounted = run([&] { return Drive::mount(disk(), options, world.clock()); });
    if (!mounted) return fail(mounted.error());
    drive = std::move(*mounted);
    return Done{};
  }
  void format_and_mount(DriveShares shares = {}) {
    ASSERT_TRUE(format(shares).has_value());
    ASSERT_TRUE(mount().has_value());
  }
  /// The machine stops and starts again; the drive is not mounted.
  void crash() {
    platter.crash();
    world.run_until_idle();
    drive.reset();
    open();
  }

  [[nodiscard]] Disk& disk(uint32_t loop = 0) { return *disks_[loop]; }

  [[nodiscard]] static std::string text_of(uint64_t number) {
    return "https://music/track-" + std::to_string(number);
  }
  [[nodiscard]] static KeyHash key_of(uint64_t number) { return hash_key(text_of(number), kSeed); }
  [[nodiscard]] static SliceKey slice_of(uint64_t number, uint64_t generation, uint32_t slice = 0) {
    return {.key = key_of(number), .generation = Sequence{generation}, .slice = SliceIndex{slice}};
  }
  static void fill(const SliceKey& key, std::span<std::byte> into) {
    testing::Random(key.key.low ^ mix(key.generation.value * 7919 + key.slice.value)).fill(into);
  }
  /// The payload of a slice, rounded up to whole pages with zeros.
  [[nodiscard]] static AlignedBytes payload_of(const SliceKey& key, uint32_t length) {
    AlignedBytes payload(round_up(length, kDiskAlignBytes));
    std::ranges::fill(payload.span(), std::byte{0});
    fill(key, payload.span().first(length));
    return payload;
  }
  [[nodiscard]] static RecordFacts facts_of(uint64_t number, uint64_t generation) {
    RecordFacts facts{.key = key_of(number),
                      .key_text = text_of(number),
                      .generation = Sequence{generation},
                      .complete_length = 10 * MiB,
                      .tag_hashes = {number, generation},
                      .facts = std::vector<std::byte>(100)};
    testing::Random(number + generation).fill(facts.facts);
    return facts;
  }

  [[nodiscard]] Result<RecordNumber> put_record(uint64_t number, uint64_t generation,
                                                RecordNumber record = kNoRecord) {
    const RecordFacts facts = facts_of(number, generation);
    return run([&] { return drive->write_record(disk(), record, facts); });
  }
  /// Writes a slice under a record that exists.
  [[nodiscard]] Result<Done> put_slice(const SliceKey& key, RecordNumber record,
                                       uint32_t length = 256 * KiB) {
    auto slot = drive->try_take_slot(key, record, length);
    if (!slot) return fail(slot.error());
    const AlignedBytes payload = payload_of(key, length);
    return run([&] { return drive->write_slot(disk(), std::move(*slot), payload.span()); });
  }
  /// A record and one slice of it.
  [[nodiscard]] Result<Done> put(uint64_t number, uint64_t generation, uint32_t slice = 0,
                                 uint32_t length = 256 * KiB) {
    const auto record = put_record(number, generation);
    if (!record) return fail(record.error());
    return put_slice(slice_of(number, generation, slice), *record, length);
  }
  /// The nth slice of a long track that has one record, whatever its generation's number.
  [[nodiscard]] static SliceKey nth(uint32_t n, uint64_t generation) {
    return slice_of(generation, generation, n);
  }
  [[nodiscard]] Result<Done> put_nth(uint32_t n, uint64_t generation, uint32_t length = 256 * KiB) {
    if (!long_tracks_.contains(generation)) {
      const auto record = put_record(generation, generation);
      if (!record) return fail(record.error());
      long_tracks_.emplace(generation, *record);
    }
    return put_slice(nth(n, generation), long_tracks_.at(generation), length);
  }
  /// What the drive has of a slice: NotFound if the index has nothing.
  [[nodiscard]] Result<std::vector<std::byte>> get(const SliceKey& key, uint64_t use = 1) {
    auto slot = drive->try_read(key, UseId{use});
    if (!slot) return fail(Side::Disk, Kind::NotFound, "index");
    const AlignedBytes into(kSliceBytes);
    const auto length =
        run([&] { return drive->read_slot(disk(), std::move(*slot), into.span()); });
    if (!length) return fail(length.error());
    const auto bytes = into.span().first(*length);
    return std::vector<std::byte>(bytes.begin(), bytes.end());
  }
  /// True if the slice is here and right, false if it is a miss. Wrong bytes fail the test.
  bool get_is_right(const SliceKey& key) {
    const auto got = get(key);
    if (!got) return false;
    const AlignedBytes expected = payload_of(key, static_cast<uint32_t>(got->size()));
    EXPECT_TRUE(std::equal(got->begin(), got->end(), expected.span().begin()))
        << "WRONG BYTES of slice " << key.slice.value << " generation " << key.generation.value;
    return true;
  }
  [[nodiscard]] Result<Done> flush() {
    return run([&] { return drive->flush_table(disk()); });
  }
  [[nodiscard]] Result<Done> purge(const PurgeStatement& statement) {
    return run([&] { return drive->append_purge(disk(), statement); });
  }
  [[nodiscard]] std::vector<Drive::FoundRepresentation> found() {
    std::vector<Drive::FoundRepresentation> all;
    drive->for_each_representation(&all, [](void* into, const Drive::FoundRepresentation& one) {
      static_cast<std::vector<Drive::FoundRepresentation>*>(into)->push_back(one);
    });
    return all;
  }

  testing::SimWorld world;
  testing::Platter platter;
  Drive::Options options;
  std::unique_ptr<Drive> drive;

 private:
  void open() {
    disks_.clear();
    for (uint32_t loop = 0; loop < world.loop_count(); ++loop) {
      disks_.push_back(std::make_unique<testing::FaultDisk>(world.loop(loop), platter));
    }
  }
  template <class T, class Make>
  T run_as(detail::Promise<T>* /*type*/, Make& make, uint32_t loop) {
    std::optional<T> result;
    TaskGroup group(world.loop(loop), 1);
    {
      const Loop::Turn turn(world.loop(loop));
      SEGUE_ASSERT(group.try_spawn(keep_result(make(), result)));
    }
    SEGUE_ASSERT(
        world.run_until([&] { return result.has_value() && group.running() == 0; }, kOperationMax));
    return std::move(*result);
  }

  const uint64_t size_bytes_;
  std::map<uint64_t, RecordNumber> long_tracks_;
  std::vector<std::unique_ptr<testing::FaultDisk>> disks_;
};

}  // namespace segue::cache
