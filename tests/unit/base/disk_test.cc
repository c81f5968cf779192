// Goal: a drive and ordinary files behave the same on io_uring and on threads.
// Method: one suite, run with either backend, on a temporary file and folder.
#include <fcntl.h>
#include <gtest/gtest.h>
#include <linux/filter.h>
#include <linux/io_uring.h>
#include <linux/seccomp.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cstddef>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <filesystem>
#include <fstream>
#include <string>
#include <thread>

#include "base/limits.h"
#include "base/loop/event_loop.h"
#include "base/loop/file_disk.h"
#include "base/loop/uring_engine.h"
#include "tests/support/random.h"
#include "tests/support/run_task.h"

namespace segue {
namespace {

using testing::Random;
using testing::run_on;

constexpr uint64_t kPage = kDiskAlignBytes;

/// Page-aligned memory, as O_DIRECT wants it.
class Pages {
 public:
  explicit Pages(uint64_t count)
      : bytes_(count * kPage),
        memory_(static_cast<std::byte*>(std::aligned_alloc(kPage, count * kPage))) {
    std::memset(memory_, 0, bytes_);
  }
  Pages(const Pages&) = delete;
  Pages& operator=(const Pages&) = delete;
  ~Pages() { std::free(memory_); }
  [[nodiscard]] std::span<std::byte> all() const { return {memory_, bytes_}; }
  [[nodiscard]] std::span<std::byte> from(uint64_t page, uint64_t count) const {
    return all().subspan(page * kPage, count * kPage);
  }

 private:
  uint64_t bytes_;
  std::byte* memory_;
};

class TemporaryFolder {
 public:
  TemporaryFolder() {
    std::string pattern = ::testing::TempDir() + "segue-disk-XXXXXX";
    path_ = mkdtemp(pattern.data());
  }
  TemporaryFolder(const TemporaryFolder&) = delete;
  TemporaryFolder& operator=(const TemporaryFolder&) = delete;
  ~TemporaryFolder() { std::filesystem::remove_all(path_); }
  [[nodiscard]] std::string operator/(const std::string& name) const {
    return (path_ / name).string();
  }
  [[nodiscard]] const std::filesystem::path& path() const { return path_; }

 private:
  std::filesystem::path path_;
};

class BackendTest : public ::testing::TestWithParam<IoBackend> {
 protected:
  static constexpr uint64_t kFilePages = 256;

  BackendTest() {
    auto made = EventLoop::create(0, clock_, {.io = GetParam(), .io_threads = 3});
    SEGUE_ASSERT(made.has_value());
    loop_ = std::move(*made);
    std::ofstream(folder_ / "drive").close();
    std::filesystem::resize_file(folder_ / "drive", kFilePages * kPage);
    auto opened = loop_->open_disk(folder_ / "drive");
    SEGUE_ASSERT(opened.has_value());
    disk_ = std::move(opened->disk);
  }
  Result<Done> read(uint64_t offset, std::span<std::byte> head, std::span<std::byte> body = {}) {
    return run_on(*loop_, [&] { return disk_->read(offset, head, body); });
  }
  Result<Done> write(uint64_t offset, std::span<const std::byte> head,
                     std::span<const std::byte> body = {}) {
    return run_on(*loop_, [&] { return disk_->write(offset, head, body); });
  }
  int open_folder() const { return open(folder_.path().c_str(), O_PATH | O_DIRECTORY | O_CLOEXEC); }

  TemporaryFolder folder_;
  SystemClock clock_;
  std::unique_ptr<EventLoop> loop_;
  std::unique_ptr<Disk> disk_;
};

TEST_P(BackendTest, TheLoopUsesTheBackendThatWasAsked) {
  EXPECT_EQ(loop_->io_backend(), GetParam());
}

TEST_P(BackendTest, TheSizeIsThatOfTheFile) { EXPECT_EQ(disk_->size_bytes(), kFilePages * kPage); }

TEST_P(BackendTest, WhatWasWrittenIsReadBack) {
  const Pages written(3);
  const Pages got(3);
  Random(1).fill(written.all());
  ASSERT_TRUE(write(5 * kPage, {}, written.all()).has_value());
  ASSERT_TRUE(run_on(*loop_, [&] { return disk_->flush(); }).has_value());
  ASSERT_TRUE(read(5 * kPage, got.all()).has_value());
  EXPECT_TRUE(std::ranges::equal(written.all(), got.all()));
  EXPECT_EQ(disk_->in_flight(), 0U);
}

TEST_P(BackendTest, HeadAndBodyLieBehindOneAnother) {
  const Pages written(5);
  const Pages got(5);
  Random(2).fill(written.all());
  ASSERT_TRUE(write(0, written.from(4, 1), written.from(0, 4)).has_value());
  ASSERT_TRUE(read(0, got.all()).has_value());
  EXPECT_TRUE(std::ranges::equal(got.from(0, 1), written.from(4, 1)));
  EXPECT_TRUE(std::ranges::equal(got.from(1, 4), written.from(0, 4)));
  const Pages head(1);
  const Pages body(4);
  ASSERT_TRUE(read(0, head.all(), body.all()).has_value());
  EXPECT_TRUE(std::ranges::equal(head.all(), written.from(4, 1)));
  EXPECT_TRUE(std::ranges::equal(body.all(), written.from(0, 4)));
}

TEST_P(BackendTest, AnEmptyTransferSucceedsWithoutTheKernel) {
  EXPECT_TRUE(read(0, {}).has_value());
  EXPECT_TRUE(write(kFilePages * kPage, {}).has_value());
}

TEST_P(BackendTest, ReadingPastTheEndIsAnIoErrorOfTheDisk) {
  const Pages got(2);
  const auto beyond = read(kFilePages * kPage, got.all());
  ASSERT_FALSE(beyond.has_value());
  EXPECT_EQ(beyond.error().side, Side::Disk);
  EXPECT_EQ(beyond.error().kind, Kind::IoError);
  const auto across = read((kFilePages - 1) * kPage, got.all());
  ASSERT_FALSE(across.has_value());
  EXPECT_EQ(across.error().kind, Kind::IoError);
}

TEST_P(BackendTest, ARefusedWriteIsAnIoErrorWithTheNumberOfTheSystem) {
  const int file = memfd_create("sealed", MFD_CLOEXEC | MFD_ALLOW_SEALING);
  ASSERT_GE(file, 0);
  ASSERT_EQ(ftruncate(file, kPage), 0);
  auto opened = loop_->open_disk("/proc/self/fd/" + std::to_string(file));
  ASSERT_TRUE(opened.has_value());
  ASSERT_EQ(fcntl(file, F_ADD_SEALS, F_SEAL_WRITE), 0);
  close(file);
  const Pages page(1);
  const auto refused = run_on(*loop_, [&] { return opened->disk->write(0, page.all(), {}); });
  ASSERT_FALSE(refused.has_value());
  EXPECT_EQ(refused.error().kind, Kind::IoError);
  EXPECT_EQ(refused.error().os_errno, EPERM);
}

TEST_P(BackendTest, AMissingFileCannotBeOpened) {
  const auto missing = loop_->open_disk(folder_ / "nothing");
  ASSERT_FALSE(missing.has_value());
  EXPECT_EQ(missing.error().os_errno, ENOENT);
  EXPECT_FALSE(loop_->open_disk("/dev/null").has_value());  // neither file nor block device
}

TEST_P(BackendTest, WhatWasClosedIsOpenedAnewUnderTheSamePath) {
  const Pages written(1);
  Random(3).fill(written.all());
  ASSERT_TRUE(write(kPage, written.all()).has_value());
  const auto reopen = [&] { return run_on(*loop_, [&] { return disk_->reopen(); }); };
  disk_->close();
  const Pages got(1);
  EXPECT_FALSE(read(kPage, got.all()).has_value());
  EXPECT_FALSE(run_on(*loop_, [&] { return disk_->flush(); }).has_value());
  std::filesystem::rename(folder_ / "drive", folder_ / "away");
  auto opened = reopen();
  ASSERT_FALSE(opened.has_value());
  EXPECT_EQ(opened.error().os_errno, ENOENT);
  std::ofstream(folder_ / "drive") << "another";
  opened = reopen();
  ASSERT_FALSE(opened.has_value());
  EXPECT_EQ(opened.error().kind, Kind::Mismatch);
  EXPECT_FALSE(read(kPage, got.all()).has_value());  // and is not read
  std::filesystem::rename(folder_ / "away", folder_ / "drive");
  ASSERT_TRUE(reopen().has_value());
  ASSERT_TRUE(read(kPage, got.all()).has_value());
  EXPECT_TRUE(std::ranges::equal(written.all(), got.all()));
  EXPECT_TRUE(reopen().has_value());  // one that is open still
}

TEST_P(BackendTest, ALockedDiskIsNobodyElsesWhileItIsOpen) {
  disk_.reset();
  constexpr auto kLocked = EventLoop::DiskLock::Exclusive;
  auto first = loop_->open_disk(folder_ / "drive", kLocked);
  ASSERT_TRUE(first.has_value());
  const auto refused = loop_->open_disk(folder_ / "drive", kLocked);
  ASSERT_FALSE(refused.has_value());
  EXPECT_EQ(refused.error().kind, Kind::Mismatch);
  EXPECT_TRUE(loop_->open_disk(folder_ / "drive").has_value());  // other loops of the same node
  first->disk->close();
  auto second = loop_->open_disk(folder_ / "drive", kLocked);
  ASSERT_TRUE(second.has_value());
  const auto too_late = run_on(*loop_, [&] { return first->disk->reopen(); });
  ASSERT_FALSE(too_late.has_value());
  EXPECT_EQ(too_late.error().kind, Kind::Mismatch);
  second->disk->close();
  EXPECT_TRUE(run_on(*loop_, [&] { return first->disk->reopen(); }).has_value());
}

Task<void> write_page(Disk& disk, uint64_t page, std::span<const std::byte> bytes, uint32_t& done,
                      uint32_t& refused) {
  const auto written = co_await disk.write(page * kPage, bytes, {});
  if (written) {
    ++done;
  } else {
    EXPECT_EQ(written.error().kind, Kind::Overloaded);
    EXPECT_TRUE(written.error().retryable);
    ++refused;
  }
}

Task<void> write_many(EventLoop& loop, Disk& disk, const Pages& pages, uint32_t count,
                      uint32_t& done, uint32_t& refused) {
  TaskGroup group(loop, count);
  for (uint32_t i = 0; i < count; ++i) {
    EXPECT_TRUE(group.try_spawn(write_page(disk, i, pages.from(i, 1), done, refused)));
  }
  EXPECT_EQ(disk.in_flight(), std::min(count, kDriveOpsInFlightMax));
  co_await group.drain();
}

TEST_P(BackendTest, AsManyOperationsAsTheLimitRunAtOnceAndNoMore) {
  const Pages written(kDriveOpsInFlightMax + 1);
  Random(3).fill(written.all());
  uint32_t done = 0;
  uint32_t refused = 0;
  run_on(*loop_, [&] {
    return write_many(*loop_, *disk_, written, kDriveOpsInFlightMax + 1, done, refused);
  });
  EXPECT_EQ(done, kDriveOpsInFlightMax);
  EXPECT_EQ(refused, 1U);
  EXPECT_EQ(disk_->in_flight(), 0U);
  const Pages got(kDriveOpsInFlightMax);
  ASSERT_TRUE(read(0, got.all()).has_value());
  EXPECT_TRUE(std::ranges::equal(got.all(), written.from(0, kDriveOpsInFlightMax)));
}

Task<void> write_many_twice(EventLoop& loop, std::array<Disk*, 6> disks, const Pages& pages,
                            uint32_t& done, uint32_t& refused) {
  TaskGroup group(loop, 6 * kDriveOpsInFlightMax);
  for (Disk* disk : disks) {
    for (uint32_t i = 0; i < kDriveOpsInFlightMax; ++i) {
      EXPECT_TRUE(group.try_spawn(write_page(*disk, i, pages.from(i, 1), done, refused)));
    }
  }
  co_await group.drain();
}

TEST_P(BackendTest, MoreDrivesThanTheRingHasEntriesLoseNothing) {
  static_assert(6 * kDriveOpsInFlightMax > kRingEntries);
  const Pages written(kDriveOpsInFlightMax);
  std::array<std::unique_ptr<Disk>, 6> owned;
  std::array<Disk*, 6> disks{};
  for (size_t i = 0; i < owned.size(); ++i) {
    owned[i] = std::move(loop_->open_disk(folder_ / "drive")->disk);
    disks[i] = owned[i].get();
  }
  uint32_t done = 0;
  uint32_t refused = 0;
  run_on(*loop_, [&] { return write_many_twice(*loop_, disks, written, done, refused); });
  EXPECT_EQ(done, 6 * kDriveOpsInFlightMax);
  EXPECT_EQ(refused, 0U);
}

TEST_P(BackendTest, AFileIsReadFromAnyOffsetUpToItsEnd) {
  std::ofstream(folder_ / "track") << "0123456789";
  const int fd = open((folder_ / "track").c_str(), O_RDONLY | O_CLOEXEC);
  std::array<char, 8> into{};
  const auto bytes = std::as_writable_bytes(std::span(into));
  EXPECT_EQ(*run_on(*loop_, [&] { return loop_->read_file(fd, 3, bytes.first(4)); }), 4U);
  EXPECT_EQ(std::string_view(into.data(), 4), "3456");
  EXPECT_EQ(*run_on(*loop_, [&] { return loop_->read_file(fd, 7, bytes); }), 3U);
  EXPECT_EQ(std::string_view(into.data(), 3), "789");
  EXPECT_EQ(*run_on(*loop_, [&] { return loop_->read_file(fd, 10, bytes); }), 0U);
  close(fd);
  const auto closed = run_on(*loop_, [&] { return loop_->read_file(-1, 0, bytes); });
  ASSERT_FALSE(closed.has_value());
  EXPECT_EQ(closed.error().side, Side::Origin);
}

Task<void> read_start(EventLoop& loop, int fd, std::span<std::byte> into, uint32_t& done,
                      uint32_t& refused) {
  const auto bytes = co_await loop.read_file(fd, 0, into);
  if (bytes) {
    ++done;
  } else {
    EXPECT_EQ(bytes.error().kind, Kind::Overloaded);
    ++refused;
  }
}

Task<void> read_many(EventLoop& loop, int fd, std::span<std::byte> into, uint32_t& done,
                     uint32_t& refused) {
  TaskGroup group(loop, kFileOpsInFlightMax + 1);
  for (uint32_t i = 0; i <= kFileOpsInFlightMax; ++i) {
    EXPECT_TRUE(
        group.try_spawn(read_start(loop, fd, into.subspan(size_t{10} * i, 10), done, refused)));
  }
  co_await group.drain();
}

TEST_P(BackendTest, AsManyFileReadsAsTheLimitRunAtOnceAndNoMore) {
  std::ofstream(folder_ / "track") << "0123456789";
  const int fd = open((folder_ / "track").c_str(), O_RDONLY | O_CLOEXEC);
  std::vector<std::byte> into(size_t{10} * (kFileOpsInFlightMax + 1));
  uint32_t done = 0;
  uint32_t refused = 0;
  run_on(*loop_, [&] { return read_many(*loop_, fd, into, done, refused); });
  EXPECT_EQ(done, kFileOpsInFlightMax);
  EXPECT_EQ(refused, 1U);
  close(fd);
}

TEST_P(BackendTest, AFileBelowTheFolderIsOpenedReadAndItsFactsKnown) {
  std::filesystem::create_directory(folder_ / "album");
  std::ofstream(folder_ / "album/track") << "music";
  const int folder = open_folder();
  const auto fd = run_on(*loop_, [&] { return loop_->open_beneath(folder, "album/track"); });
  ASSERT_TRUE(fd.has_value());
  const auto facts = run_on(*loop_, [&] { return loop_->stat_file(*fd); });
  ASSERT_TRUE(facts.has_value());
  EXPECT_EQ(facts->size_bytes, 5U);
  EXPECT_TRUE(facts->regular);
  struct stat expected{};
  ASSERT_EQ(fstat(*fd, &expected), 0);
  EXPECT_EQ(facts->mtime_ns, expected.st_mtim.tv_sec * 1'000'000'000 + expected.st_mtim.tv_nsec);
  std::array<std::byte, 5> into{};
  EXPECT_EQ(*run_on(*loop_, [&] { return loop_->read_file(*fd, 0, into); }), 5U);
  EXPECT_EQ(std::memcmp(into.data(), "music", 5), 0);
  EXPECT_EQ(::write(*fd, "x", 1), -1);  // read-only
  close(*fd);
  close(folder);
}

TEST_P(BackendTest, NoPathLeadsOutOfTheFolder) {
  std::filesystem::create_directory(folder_ / "inner");
  std::ofstream(folder_ / "secret") << "secret";
  std::filesystem::create_symlink("../secret", folder_ / "inner/link_out");
  std::filesystem::create_symlink("/etc/passwd", folder_ / "inner/link_absolute");
  std::ofstream(folder_ / "inner/track") << "music";
  std::filesystem::create_symlink("track", folder_ / "inner/link_within");
  const int inner = open((folder_ / "inner").c_str(), O_PATH | O_DIRECTORY | O_CLOEXEC);
  for (const char* path :
       {"../secret", "link_out", "link_absolute", "/etc/passwd", "./../inner/../secret"}) {
    const auto fd = run_on(*loop_, [&] { return loop_->open_beneath(inner, path); });
    ASSERT_FALSE(fd.has_value()) << path;
    EXPECT_EQ(fd.error().kind, Kind::Refused) << path;
    EXPECT_EQ(fd.error().side, Side::Origin) << path;
  }
  const auto within = run_on(*loop_, [&] { return loop_->open_beneath(inner, "link_within"); });
  ASSERT_TRUE(within.has_value());
  close(*within);
  close(inner);
}

TEST_P(BackendTest, WhatIsNotThereIsNotFound) {
  std::ofstream(folder_ / "track") << "music";
  const int folder = open_folder();
  for (const std::string& path :
       {std::string("nothing"), std::string("track/under"), std::string("track\0.ogg", 10),
        std::string(5000, 'a'), std::string()}) {
    const auto fd = run_on(*loop_, [&] { return loop_->open_beneath(folder, path); });
    ASSERT_FALSE(fd.has_value()) << path;
    EXPECT_EQ(fd.error().kind, Kind::NotFound) << path;
  }
  close(folder);
}

TEST_P(BackendTest, AFolderIsNoRegularFileAndAFifoDoesNotHang) {
  ASSERT_EQ(mkfifo((folder_ / "fifo").c_str(), 0600), 0);
  const int folder = open_folder();
  for (const char* path : {".", "fifo"}) {
    const auto fd = run_on(*loop_, [&] { return loop_->open_beneath(folder, path); });
    ASSERT_TRUE(fd.has_value()) << path;
    const auto facts = run_on(*loop_, [&] { return loop_->stat_file(*fd); });
    ASSERT_TRUE(facts.has_value());
    EXPECT_FALSE(facts->regular) << path;
    close(*fd);
  }
  close(folder);
}

INSTANTIATE_TEST_SUITE_P(Backends, BackendTest,
                         ::testing::Values(IoBackend::Uring, IoBackend::Threads),
                         [](const auto& info) {
                           return info.param == IoBackend::Uring ? "Uring" : "Threads";
                         });

TEST_P(BackendTest, ALoopMayRunOnAnotherThreadThanMadeIt) {
  const Pages written(2);
  Random(4).fill(written.all());
  std::thread runner([&] { EXPECT_TRUE(write(0, written.all()).has_value()); });
  runner.join();
  const Pages got(2);
  EXPECT_TRUE(read(0, got.all()).has_value());
  EXPECT_TRUE(std::ranges::equal(got.all(), written.all()));
}

// Runs in a child process: a filter cannot be taken off again.
[[noreturn]] void create_without_io_uring() {
  std::array<sock_filter, 4> program{
      {BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(seccomp_data, nr)),
       BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, SYS_io_uring_setup, 0, 1),
       BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ERRNO | EPERM),
       BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW)}};
  const sock_fprog filter{static_cast<unsigned short>(program.size()), program.data()};
  SEGUE_ASSERT(prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) == 0);
  SEGUE_ASSERT(prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, &filter) == 0);
  const SystemClock clock;
  {
    const auto automatic = EventLoop::create(0, clock, {.io = IoBackend::Auto});
    SEGUE_ASSERT(automatic.has_value());
    SEGUE_ASSERT((*automatic)->io_backend() == IoBackend::Threads);
  }
  const auto asked = EventLoop::create(0, clock, {.io = IoBackend::Uring});
  SEGUE_ASSERT(!asked.has_value());
  SEGUE_ASSERT(asked.error().side == Side::Self);
  SEGUE_ASSERT(asked.error().os_errno == EPERM);
  std::fputs("fell back\n", stderr);
  std::_Exit(0);
}

TEST(EventLoopBackendDeathTest, ARefusedRingMeansThreadsUnlessTheRingWasAskedFor) {
  GTEST_FLAG_SET(death_test_style, "threadsafe");  // earlier tests may have left kernel workers
  EXPECT_EXIT(create_without_io_uring(), ::testing::ExitedWithCode(0), "fell back");
}

TEST(EventLoopBackend, TheRingIsRestrictedToWhatDrivesNeed) {
  const SystemClock clock;
  const auto loop = EventLoop::create(0, clock, {.io = IoBackend::Auto});
  ASSERT_TRUE(loop.has_value());
  if ((*loop)->io_backend() != IoBackend::Uring) GTEST_SKIP() << "no io_uring on this machine";
  const auto engine = make_uring_engine(**loop, 4);
  ASSERT_TRUE(engine.has_value());
  // No registration is among what is allowed, so the kernel refuses one of a restricted ring, and
  // of no other.
  int fd = (*engine)->event_fd();
  EXPECT_EQ(syscall(SYS_io_uring_register, (*engine)->event_fd(), IORING_REGISTER_FILES, &fd, 1),
            -1);
  EXPECT_EQ(errno, EACCES);
}

TEST(EventLoopBackend, AutoTakesTheRingWhereTheKernelGivesOne) {
  const SystemClock clock;
  const auto loop = EventLoop::create(0, clock, {.io = IoBackend::Auto});
  ASSERT_TRUE(loop.has_value());
  const auto ring = EventLoop::create(0, clock, {.io = IoBackend::Uring});
  EXPECT_EQ((*loop)->io_backend(), ring ? IoBackend::Uring : IoBackend::Threads);
}

/// An engine that does what its script says: how many bytes, or which error, for each start.
class ScriptedEngine final : public IoEngine {
 public:
  ScriptedEngine(Loop& loop, std::vector<int32_t> results)
      : loop_(loop), results_(std::move(results)) {}
  void start(IoOp& op) noexcept override {
    offsets.push_back(op.offset);
    SEGUE_ASSERT(!results_.empty());
    op.complete(loop_, results_.front());
    results_.erase(results_.begin());
  }
  [[nodiscard]] bool submit() noexcept override { return true; }
  void collect() noexcept override {}
  [[nodiscard]] int event_fd() const noexcept override { return -1; }
  std::vector<uint64_t> offsets;

 private:
  Loop& loop_;
  std::vector<int32_t> results_;
};

class PartialTransferTest : public ::testing::Test {
 protected:
  Result<Done> read_pages(ScriptedEngine& engine, bool direct, uint64_t head, uint64_t body) {
    FileDisk disk(engine, open("/dev/null", O_RDONLY | O_CLOEXEC), 64 * kPage, {.direct = direct},
                  "/dev/null");
    const Pages pages(head + body);
    return run_on(*loop, [&] { return disk.read(0, pages.from(0, head), pages.from(head, body)); });
  }
  SystemClock clock;
  std::unique_ptr<EventLoop> loop = std::move(*EventLoop::create(0, clock, {}));
};

TEST_F(PartialTransferTest, IsCarriedOnAcrossTheBorderOfHeadAndBody) {
  ScriptedEngine engine(*loop, {100, 4096, -EINTR, 8092});
  ASSERT_TRUE(read_pages(engine, false, 1, 2).has_value());
  EXPECT_EQ(engine.offsets, (std::vector<uint64_t>{0, 100, 4196, 4196}));
}

TEST_F(PartialTransferTest, StaysAlignedForDirectIo) {
  ScriptedEngine engine(*loop, {4096 + 512, 8192});
  ASSERT_TRUE(read_pages(engine, true, 1, 2).has_value());
  EXPECT_EQ(engine.offsets, (std::vector<uint64_t>{0, 4096}));
}

TEST_F(PartialTransferTest, ThatDoesNotGoOnIsAnIoError) {
  ScriptedEngine engine(*loop, {4096, 0});
  const auto got = read_pages(engine, false, 1, 2);
  ASSERT_FALSE(got.has_value());
  EXPECT_EQ(got.error().kind, Kind::IoError);
  ScriptedEngine less_than_a_block(*loop, {4096, 512});
  EXPECT_FALSE(read_pages(less_than_a_block, true, 1, 2).has_value());
}

TEST_F(PartialTransferTest, ThatFailsHalfWayReportsTheErrorOfTheSystem) {
  ScriptedEngine engine(*loop, {4096, -EIO});
  const auto got = read_pages(engine, false, 1, 2);
  ASSERT_FALSE(got.has_value());
  EXPECT_EQ(got.error().os_errno, EIO);
}

TEST_F(PartialTransferTest, AFullEngineIsOverloadedNotAnErrorOfTheDisk) {
  ScriptedEngine engine(*loop, {kEngineFull});
  const auto got = read_pages(engine, false, 1, 2);
  ASSERT_FALSE(got.has_value());
  EXPECT_EQ(got.error().side, Side::Self);
  EXPECT_EQ(got.error().kind, Kind::Overloaded);
}

}  // namespace
}  // namespace segue
