// Goal: what the simulated disk promised holds on a real file, over io_uring and over threads.
// Method: a preallocated file in a temporary folder, made as `segue serve` makes it.
#include <gtest/gtest.h>

#include <algorithm>
#include <cstdlib>
#include <filesystem>
#include <vector>

#include "base/units.h"
#include "cache/aligned_bytes.h"
#include "cache/device_check.h"
#include "cache/drive.h"
#include "tests/support/random.h"
#include "tests/support/run_task.h"

namespace segue::cache {
namespace {

class DriveOnRealDisk : public ::testing::TestWithParam<IoBackend> {
 protected:
  DriveOnRealDisk() {
    std::string name = (std::filesystem::temp_directory_path() / "segue-drive-XXXXXX").string();
    folder_ = ::mkdtemp(name.data());
  }
  ~DriveOnRealDisk() override { std::filesystem::remove_all(folder_); }
  std::string folder_;
  SystemClock clock_;
};

TEST_P(DriveOnRealDisk, SlicesRecordsAndPurgesSurviveARestart) {
  auto loop = EventLoop::create(0, clock_, {.io = GetParam()});
  if (!loop && GetParam() == IoBackend::Uring) GTEST_SKIP() << "no io_uring here";
  ASSERT_TRUE(loop.has_value());
  const DriveCheck absent = check_drive_path(folder_, 64 * MiB, false);
  ASSERT_EQ(absent.verdict, DriveCheck::Verdict::Absent);
  const auto made = create_drive_file(absent, 64 * MiB, false);
  ASSERT_TRUE(made.has_value());
  constexpr uint64_t kSeed = 5;
  const std::string text = "music:/track";
  const RecordFacts facts{.key = hash_key(text, kSeed),
                          .key_text = text,
                          .generation = Sequence{7},
                          .complete_length = uint64_t{3} * kSliceBytes,
                          .tag_hashes = {},
                          .facts = std::vector<std::byte>(64, std::byte{9})};
  const AlignedBytes payload(kSliceBytes);
  testing::Random(1).fill(payload.span());
  {
    auto opened = (*loop)->open_disk(*made);
    ASSERT_TRUE(opened.has_value());
    Disk& disk = *opened->disk;
    ASSERT_TRUE(testing::run_on(**loop, [&] {
                  return Drive::format(disk, {.size_bytes = disk.size_bytes(),
                                              .hash_seed = kSeed,
                                              .device_id = 3,
                                              .membership_epoch = 0,
                                              .shares = {}});
                }).has_value());
    ASSERT_EQ(publish_drive_file(absent), std::nullopt);
    auto drive = testing::run_on(**loop, [&] { return Drive::mount(disk, {}, clock_); });
    ASSERT_TRUE(drive.has_value());
    const auto record =
        testing::run_on(**loop, [&] { return (*drive)->write_record(disk, kNoRecord, facts); });
    ASSERT_TRUE(record.has_value());
    for (uint32_t slice = 0; slice < 3; ++slice) {
      auto slot = (*drive)->try_take_slot(
          {.key = facts.key, .generation = Sequence{7}, .slice = SliceIndex{slice}}, *record,
          kSliceBytes);
      ASSERT_TRUE(slot.has_value());
      ASSERT_TRUE(testing::run_on(**loop, [&] {
                    return (*drive)->write_slot(disk, std::move(*slot), payload.span());
                  }).has_value());
    }
    const PurgeStatement purge{.scope = PurgeScope::Key,
                               .soft = true,
                               .sequence = Sequence{8},
                               .key = facts.key,
                               .prefix = {}};
    ASSERT_TRUE(
        testing::run_on(**loop, [&] { return (*drive)->append_purge(disk, purge); }).has_value());
    ASSERT_TRUE(testing::run_on(**loop, [&] { return (*drive)->flush_table(disk); }).has_value());
  }
  ASSERT_EQ(check_drive_path(folder_, 0, false).verdict, DriveCheck::Verdict::Ours);
  auto opened = (*loop)->open_disk(absent.file);
  ASSERT_TRUE(opened.has_value());
  Disk& disk = *opened->disk;
  auto drive = testing::run_on(**loop, [&] { return Drive::mount(disk, {}, clock_); });
  ASSERT_TRUE(drive.has_value());
  EXPECT_EQ((*drive)->usage().live[3], 3);
  EXPECT_EQ((*drive)->purge_statements().size(), 1);
  for (uint32_t slice = 0; slice < 3; ++slice) {
    auto slot = (*drive)->try_read(
        {.key = facts.key, .generation = Sequence{7}, .slice = SliceIndex{slice}}, UseId{1});
    ASSERT_TRUE(slot.has_value());
    const AlignedBytes into(kSliceBytes);
    const auto read = testing::run_on(
        **loop, [&] { return (*drive)->read_slot(disk, std::move(*slot), into.span()); });
    ASSERT_TRUE(read.has_value());
    EXPECT_TRUE(std::ranges::equal(into.span(), payload.span()));
  }
}

INSTANTIATE_TEST_SUITE_P(Backends, DriveOnRealDisk,
                         ::testing::Values(IoBackend::Uring, IoBackend::Threads),
                         [](const auto& info) {
                           return info.param == IoBackend::Uring ? "Uring" : "Threads";
                         });

}  // namespace
}  // namespace segue::cache
