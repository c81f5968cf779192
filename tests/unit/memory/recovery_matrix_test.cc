// Goal: whichever allocation is refused while a drive is mounted after a crash and read, the mount
// fails or goes on, no wrong byte is read, and the next start finds everything. Method:
// memory_matrix.h over a file of this machine; what the next start finds is looked at after each
// run.
#include <gtest/gtest.h>

#include <filesystem>

#include "base/units.h"
#include "cache/aligned_bytes.h"
#include "cache/device_check.h"
#include "cache/drive.h"
#include "tests/support/random.h"
#include "tests/support/run_task.h"
#include "tests/unit/memory/memory_matrix.h"

namespace segue::cache {
namespace {

using testing::Counted;
using testing::memory_was_refused;
using testing::run_matrix;
using testing::Whose;

constexpr uint64_t kSeed = 5;
constexpr uint32_t kSlices = 3;
constexpr uint64_t kDriveBytes = 64 * MiB;

RecordFacts facts_of_track() {
  const std::string text = "music:/track";
  return {.key = hash_key(text, kSeed),
          .key_text = text,
          .generation = Sequence{7},
          .complete_length = uint64_t{kSlices} * kSliceBytes,
          .tag_hashes = {},
          .facts = std::vector<std::byte>(64, std::byte{9})};
}

/// The task's value; nothing where it could not even begin.
template <class T>
Task<void> keep(EventLoop& loop, Task<T> task, std::optional<T>& into) {
  into.emplace(co_await std::move(task));
  loop.stop();
}
template <class Make>
auto try_run(EventLoop& loop, Make make) -> typename decltype(make())::Value {
  using Value = typename decltype(make())::Value;
  TaskGroup group(loop, 1);
  std::optional<Value> result;
  {
    const Loop::Turn turn(loop);
    if (!group.try_spawn(keep(loop, make(), result)))
      return fail(Side::Self, Kind::Overloaded, "frames");
  }
  loop.run();
  return std::move(*result);
}

/// A drive with a track of three slices and a purge, flushed, and never unmounted.
struct CrashedDrive {
  std::string folder;
  std::string file;

  CrashedDrive() {
    std::string name = (std::filesystem::temp_directory_path() / "segue-memory-XXXXXX").string();
    folder = ::mkdtemp(name.data());
    const DriveCheck absent = check_drive_path(folder, kDriveBytes, true);
    const auto made = create_drive_file(absent, kDriveBytes, true);
    auto loop = std::move(*EventLoop::create(0, clock, {}));
    auto opened = loop->open_disk(*made);
    Disk& disk = *opened->disk;
    EXPECT_TRUE(try_run(*loop, [&] {
      return Drive::format(disk, {.size_bytes = disk.size_bytes(),
                                  .hash_seed = kSeed,
                                  .device_id = 3,
                                  .membership_epoch = 0,
                                  .shares = {}});
    }));
    EXPECT_EQ(publish_drive_file(absent), std::nullopt);
    file = absent.file;
    auto drive = std::move(*try_run(*loop, [&] { return Drive::mount(disk, {}, clock); }));
    const RecordFacts facts = facts_of_track();
    const auto record = try_run(*loop, [&] { return drive->write_record(disk, kNoRecord, facts); });
    EXPECT_TRUE(record.has_value());
    for (uint32_t slice = 0; slice < kSlices; ++slice) {
      auto slot = drive->try_take_slot(key_of(slice), *record, kSliceBytes);
      EXPECT_TRUE(try_run(
          *loop, [&] { return drive->write_slot(disk, std::move(*slot), payload.span()); }));
    }
    const PurgeStatement purge{.scope = PurgeScope::Key,
                               .soft = true,
                               .sequence = Sequence{8},
                               .key = facts_of_track().key,
                               .prefix = {}};
    EXPECT_TRUE(try_run(*loop, [&] { return drive->append_purge(disk, purge); }));
    EXPECT_TRUE(try_run(*loop, [&] { return drive->flush_table(disk); }));
  }
  ~CrashedDrive() { std::filesystem::remove_all(folder); }
  static SliceKey key_of(uint32_t slice) {
    return {.key = facts_of_track().key, .generation = Sequence{7}, .slice = SliceIndex{slice}};
  }

  SystemClock clock;
  const AlignedBytes payload = [] {
    AlignedBytes bytes(kSliceBytes);
    testing::Random(1).fill(bytes.span());
    return bytes;
  }();
};
CrashedDrive& crashed() {
  static CrashedDrive only;
  return only;
}

/// Slices that are right; what is wrong goes to `wrong`.
uint32_t read_all(EventLoop& loop, Disk& disk, Drive& drive, std::string& wrong) {
  uint32_t right = 0;
  for (uint32_t slice = 0; slice < kSlices; ++slice) {
    auto slot = drive.try_read(CrashedDrive::key_of(slice), UseId{1});
    if (!slot) continue;
    const AlignedBytes into(kSliceBytes);
    const auto read =
        try_run(loop, [&] { return drive.read_slot(disk, std::move(*slot), into.span()); });
    if (!read) continue;
    if (!std::ranges::equal(into.span(), crashed().payload.span())) wrong = "WRONG BYTES";
    ++right;
  }
  return right;
}

std::string recover() {
  auto loop = EventLoop::create(0, crashed().clock, {});
  if (!loop) return memory_was_refused() ? "" : "no loop";
  auto opened = (*loop)->open_disk(crashed().file);
  if (!opened) return memory_was_refused() ? "" : "no disk";
  Disk& disk = *opened->disk;
  auto drive = try_run(**loop, [&] { return Drive::mount(disk, {}, crashed().clock); });
  if (!drive) return memory_was_refused() ? "" : "not mounted";
  std::string wrong;
  const uint32_t right = read_all(**loop, disk, **drive, wrong);
  if (right < kSlices && !memory_was_refused()) wrong = "slices are missing";
  if ((*drive)->purge_statements().size() != 1) wrong = "the purge is forgotten";
  return wrong;
}

std::string recover_counted() {
  const Counted counted;
  return recover();
}

TEST(RecoveryMatrix, TheNextStartFindsEverything) {
  (void)crashed();
  const auto next = [] {
    testing::set_memory_plan({});
    return recover();
  };
  EXPECT_GT(run_matrix(&recover_counted, Whose::OperatorNew, next).ended_cleanly, 0U);
  (void)run_matrix(&recover_counted, Whose::Malloc, next);
}

}  // namespace
}  // namespace segue::cache
