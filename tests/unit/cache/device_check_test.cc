// Goal: whatever path an operator gives, it is used only if it is ours or was made by us, and every
// refusal is one sentence. Method: real files in a temporary folder; block devices by the pure
// parts (no test may need one).
#include "cache/device_check.h"

#include <fcntl.h>
#include <gtest/gtest.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cstring>
#include <filesystem>
#include <fstream>
#include <vector>

#include "cache/superblock.h"

namespace segue::cache {
namespace {

namespace fs = std::filesystem;
using Verdict = DriveCheck::Verdict;

class DeviceCheckTest : public ::testing::Test {
 protected:
  DeviceCheckTest() {
    std::string name = (fs::temp_directory_path() / "segue-check-XXXXXX").string();
    folder_ = ::mkdtemp(name.data());
  }
  ~DeviceCheckTest() override { fs::remove_all(folder_); }

  [[nodiscard]] std::string path(const std::string& name) const { return folder_ + "/" + name; }
  void write_file(const std::string& name, std::span<const std::byte> bytes, uint64_t size) const {
    std::ofstream out(path(name), std::ios::binary);
    out.write(reinterpret_cast<const char*>(bytes.data()),
              static_cast<std::streamsize>(bytes.size()));
    out.close();
    fs::resize_file(path(name), size);
  }
  void write_drive(const std::string& name, uint64_t said_size, uint64_t size) const {
    std::vector<std::byte> bytes(kSuperblockBytes);
    for (uint32_t copy = 0; copy < format::kSuperblockCopies; ++copy) {
      encode_superblock(
          {.write_number = 1,
           .device_id = 1,
           .hash_seed = 2,
           .membership_epoch = 0,
           .sequence_end = 1,
           .geometry = {.size_bytes = said_size}},
          copy,
          std::span(bytes).subspan(size_t{copy} * format::kPageBytes).first<format::kPageBytes>());
    }
    write_file(name, bytes, size);
  }
  /// A refusal is one sentence that names the path.
  static void expect_refused(const DriveCheck& check, std::string_view words) {
    EXPECT_EQ(check.verdict, Verdict::Refused);
    EXPECT_NE(check.sentence.find(words), std::string::npos) << check.sentence;
    EXPECT_EQ(check.sentence.find('\n'), std::string::npos);
  }

  std::string folder_;
};

TEST_F(DeviceCheckTest, EmptyFolderGetsADriveOfItsOwn) {
  const DriveCheck check = check_drive_path(folder_, 64 * MiB, false);
  EXPECT_EQ(check.verdict, Verdict::Absent);
  EXPECT_EQ(check.file, path("segue.drive"));
  const auto name = create_drive_file(check, 64 * MiB, false);
  ASSERT_TRUE(name.has_value());
  EXPECT_FALSE(fs::exists(check.file));  // not before it is formatted
  EXPECT_EQ(fs::file_size(*name), 64 * MiB);
  struct stat facts{};
  ASSERT_EQ(::stat(name->c_str(), &facts), 0);
  EXPECT_GE(static_cast<uint64_t>(facts.st_blocks) * 512, 64 * MiB);  // preallocated
  EXPECT_EQ(facts.st_mode & 0777, 0600);
  EXPECT_EQ(publish_drive_file(check), std::nullopt);
  EXPECT_TRUE(fs::exists(check.file));
  EXPECT_FALSE(fs::exists(*name));
}

TEST_F(DeviceCheckTest, SparseDriveTakesNoSpaceAndIsNotAskedForAny) {
  const DriveCheck check = check_drive_path(folder_, 64 * TiB, true);
  EXPECT_EQ(check.verdict, Verdict::Absent);
  const auto name = create_drive_file(check, 1 * GiB, true);
  ASSERT_TRUE(name.has_value());
  struct stat facts{};
  ASSERT_EQ(::stat(name->c_str(), &facts), 0);
  EXPECT_LT(static_cast<uint64_t>(facts.st_blocks) * 512, 1 * MiB);
  EXPECT_EQ(facts.st_size, static_cast<off_t>(1 * GiB));
}

TEST_F(DeviceCheckTest, LeftoverOfACutFormatIsReplaced) {
  const DriveCheck check = check_drive_path(folder_, 32 * MiB, false);
  write_file("segue.drive.new", {}, 12345);
  ASSERT_TRUE(create_drive_file(check, 32 * MiB, true).has_value());
  EXPECT_EQ(fs::file_size(path("segue.drive.new")), 32 * MiB);
}

TEST_F(DeviceCheckTest, PublishingNeverReplacesAFile) {
  const DriveCheck check = check_drive_path(folder_, 32 * MiB, false);
  ASSERT_TRUE(create_drive_file(check, 32 * MiB, true).has_value());
  write_file("segue.drive", {}, 3);
  EXPECT_NE(publish_drive_file(check), std::nullopt);
  EXPECT_EQ(fs::file_size(path("segue.drive")), 3);
}

TEST_F(DeviceCheckTest, OurDriveIsRecognisedInItsFolderAndByName) {
  write_drive("segue.drive", 32 * MiB, 32 * MiB);
  EXPECT_EQ(check_drive_path(folder_, 64 * MiB, false).verdict, Verdict::Ours);
  EXPECT_EQ(check_drive_path(path("segue.drive"), 64 * MiB, false).verdict, Verdict::Ours);
  EXPECT_EQ(check_drive_path(path("segue.drive"), 0, false).size_bytes, 32 * MiB);
}

TEST_F(DeviceCheckTest, DriveCutShortIsLeftAlone) {
  write_drive("segue.drive", 64 * MiB, 40 * MiB);
  expect_refused(check_drive_path(folder_, 64 * MiB, false), "cut short");
}

TEST_F(DeviceCheckTest, DriveOfAnotherVersionIsLeftAlone) {
  write_drive("segue.drive", 32 * MiB, 32 * MiB);
  std::fstream file(path("segue.drive"), std::ios::in | std::ios::out | std::ios::binary);
  for (uint64_t copy = 0; copy < format::kSuperblockCopies; ++copy) {
    file.seekp(static_cast<std::streamoff>(copy * format::kPageBytes +
                                           offsetof(format::Superblock, version)));
    const uint32_t version = format::kVersion + 1;
    file.write(reinterpret_cast<const char*>(&version), sizeof(version));
  }
  file.close();
  expect_refused(check_drive_path(folder_, 64 * MiB, false), "format version");
}

TEST_F(DeviceCheckTest, ForeignFilesAreLeftAloneAndNamed) {
  const std::vector<std::byte> text(5000, std::byte{'a'});
  write_file("notes.txt", text, text.size());
  expect_refused(check_drive_path(path("notes.txt"), 64 * MiB, false), "not a Segue drive");
  std::vector<std::byte> ext(kSignatureBytes);
  ext[0x438] = std::byte{0x53};
  ext[0x439] = std::byte{0xef};
  write_file("disk.img", ext, 64 * MiB);
  expect_refused(check_drive_path(path("disk.img"), 64 * MiB, false), "an ext file system");
}

TEST_F(DeviceCheckTest, EmptyFileIsForTheFormatCommandOnly) {
  write_file("empty", {}, 0);
  const DriveCheck empty = check_drive_path(path("empty"), 64 * MiB, false);
  EXPECT_EQ(empty.verdict, Verdict::Blank);
  EXPECT_NE(empty.sentence.find("cache format"), std::string::npos);
  write_file("zeros", {}, 64 * MiB);
  EXPECT_EQ(check_drive_path(path("zeros"), 64 * MiB, false).verdict, Verdict::Blank);
}

TEST_F(DeviceCheckTest, TooSmallIsRefusedWithTheNeededFigure) {
  write_file("zeros", {}, kDriveBytesMin - 1);
  expect_refused(check_drive_path(path("zeros"), 64 * MiB, false), "at least 32 MiB");
  expect_refused(check_drive_path(folder_, kDriveBytesMin - 1, false), "at least 32 MiB");
  EXPECT_EQ(check_drive_path(folder_, kDriveBytesMin, false).verdict, Verdict::Absent);
  EXPECT_TRUE(Geometry::plan(kDriveBytesMin, {}).has_value());
}

TEST_F(DeviceCheckTest, MissingFolderIsNotMade) {
  expect_refused(check_drive_path(path("missing"), 64 * MiB, false), "does not exist");
  EXPECT_FALSE(fs::exists(path("missing")));
  EXPECT_EQ(check_drive_path(path("a.drive"), 64 * MiB, false).verdict, Verdict::Absent);
  expect_refused(check_drive_path(path("a.drive"), 0, false), "does not exist");
  expect_refused(check_drive_path(path("missing/a.drive"), 64 * MiB, false), "cannot look at");
}

TEST_F(DeviceCheckTest, NoSpaceIsSaidBeforeAnythingIsMade) {
  expect_refused(check_drive_path(folder_, 1024 * TiB, false), "has no room");
  EXPECT_TRUE(fs::is_empty(folder_));
  DriveCheck check;
  check.verdict = Verdict::Absent;
  check.file = path("segue.drive");
  const auto failed = create_drive_file(check, 1024 * TiB, false);
  ASSERT_FALSE(failed.has_value());
  EXPECT_TRUE(fs::is_empty(folder_));
}

TEST_F(DeviceCheckTest, WhatIsNeitherFileNorFolderNorDeviceIsRefused) {
  ASSERT_EQ(::mkfifo(path("fifo").c_str(), 0600), 0);
  expect_refused(check_drive_path(path("fifo"), 64 * MiB, false), "neither a folder");
  expect_refused(check_drive_path("/dev/null", 64 * MiB, false), "neither a folder");
  fs::create_directory(path("segue.drive"));
  expect_refused(check_drive_path(folder_, 64 * MiB, false), "neither a folder");
}

TEST_F(DeviceCheckTest, FolderThatMayNotBeWrittenIsRefused) {
  if (::geteuid() == 0) GTEST_SKIP() << "root may write everywhere";
  fs::permissions(folder_, fs::perms::owner_read | fs::perms::owner_exec);
  expect_refused(check_drive_path(folder_, 64 * MiB, false), "cannot create");
  fs::permissions(folder_, fs::perms::owner_all);
}

TEST_F(DeviceCheckTest, FolderThatTakesNoFilesIsRefused) {
  // Whoever runs this, /proc has no room for a drive.
  const DriveCheck check = check_drive_path("/proc", 64 * MiB, false);
  expect_refused(check, "/proc");
}

TEST_F(DeviceCheckTest, DriveIsLockedForOneProcess) {
  write_file("segue.drive", {}, 64 * MiB);
  {
    const auto first = DriveLock::take(path("segue.drive"));
    ASSERT_TRUE(first.has_value());
    const auto second = DriveLock::take(path("segue.drive"));
    ASSERT_FALSE(second.has_value());
    EXPECT_NE(second.error().find("another process"), std::string::npos);
  }
  EXPECT_TRUE(DriveLock::take(path("segue.drive")).has_value());
  EXPECT_FALSE(DriveLock::take(path("missing")).has_value());
}

TEST(DeviceSignature, EveryKnownMagicIsFoundAndZerosAreBlank) {
  struct Case {
    size_t offset;
    std::string bytes;
    std::string_view says;
  };
  const Case cases[] = {{0, "LUKS\xba\xbe", "LUKS"},
                        {0, "XFSB", "XFS"},
                        {0x10040, "_BHRfS_M", "btrfs"},
                        {512, "EFI PART", "GUID"},
                        {512, "LABELONE", "LVM"},
                        {4086, "SWAPSPACE2", "swap"},
                        {510, "\x55\xaa", "partition"},
                        {4096, "\xfc\x4e\x2b\xa9", "RAID"},
                        {32769, "CD001", "ISO"},
                        {3, "NTFS    ", "NTFS"},
                        {7777, "x", "data"}};
  for (const Case& one : cases) {
    std::vector<std::byte> bytes(kSignatureBytes);
    std::memcpy(bytes.data() + one.offset, one.bytes.data(), one.bytes.size());
    EXPECT_NE(signature_of(bytes).find(one.says), std::string_view::npos) << one.says;
  }
  EXPECT_EQ(signature_of(std::vector<std::byte>(kSignatureBytes)), "");
  EXPECT_EQ(signature_of({}), "");
}

TEST(DeviceSignature, MountinfoIsReadByItsThirdField) {
  const std::string_view text =
      "36 35 98:0 /mnt1 /mnt2 rw,noatime master:1 - ext3 /dev/root rw\n"
      "37 36 8:17 / /data rw - xfs /dev/sdb1 rw\n\nbroken\n";
  EXPECT_TRUE(is_mounted(text, 98, 0));
  EXPECT_TRUE(is_mounted(text, 8, 17));
  EXPECT_FALSE(is_mounted(text, 8, 1));
  EXPECT_FALSE(is_mounted(text, 36, 35));
  EXPECT_FALSE(is_mounted("", 8, 1));
}

}  // namespace
}  // namespace segue::cache
