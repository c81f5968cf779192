#include "cache/device_check.h"

#include <fcntl.h>
#include <fmt/format.h>
#include <linux/fs.h>
#include <sys/file.h>
#include <sys/ioctl.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <sys/sysmacros.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <filesystem>
#include <fstream>
#include <iterator>
#include <system_error>
#include <utility>
#include <vector>

#include "cache/superblock.h"

namespace segue::cache {
namespace {

namespace fs = std::filesystem;

constexpr std::string_view kDriveName = "segue.drive";
constexpr std::string_view kNewSuffix = ".new";

struct Signature {
  std::string_view name;
  size_t offset;
  std::string_view bytes;
};

using namespace std::string_view_literals;
// Offsets and magics as in util-linux' libblkid, which is not worth a dependency for these.
constexpr Signature kSignatures[] = {
    {"a LUKS volume", 0, "LUKS\xba\xbe"sv},
    {"an XFS file system", 0, "XFSB"sv},
    {"a squashfs file system", 0, "hsqs"sv},
    {"an NTFS file system", 3, "NTFS    "sv},
    {"an exFAT file system", 3, "EXFAT   "sv},
    {"a GUID partition table", 512, "EFI PART"sv},
    {"an LVM volume", 512, "LABELONE"sv},
    {"an ext file system", 0x438, "\x53\xef"sv},
    {"an f2fs file system", 1024, "\x10\x20\xf5\xf2"sv},
    {"swap space", 4086, "SWAPSPACE2"sv},
    {"a RAID member", 4096, "\xfc\x4e\x2b\xa9"sv},
    {"a bcache device", 4120, "\xc6\x85\x73\xf6\x4e\x1a\x45\xca"sv},
    {"an ISO 9660 file system", 32769, "CD001"sv},
    {"a btrfs file system", 0x10040, "_BHRfS_M"sv},
    {"a partition table or a FAT file system", 510, "\x55\xaa"sv},  // last: many others have it too
};

/// A descriptor closed at the end of its scope.
class Descriptor {
 public:
  explicit Descriptor(int fd) noexcept : fd_(fd) {}
  ~Descriptor() {
    if (fd_ >= 0) ::close(fd_);
  }
  Descriptor(const Descriptor&) = delete;
  Descriptor& operator=(const Descriptor&) = delete;
  [[nodiscard]] int get() const noexcept { return fd_; }
  [[nodiscard]] bool valid() const noexcept { return fd_ >= 0; }

 private:
  int fd_;
};

std::string os_words(int error) { return std::generic_category().message(error); }

std::string in_words(uint64_t bytes) {
  if (bytes >= 10 * GiB) return fmt::format("{} GiB", bytes / GiB);
  return fmt::format("{} MiB", bytes / MiB);
}

DriveCheck refuse(DriveCheck check, std::string sentence) {
  check.verdict = DriveCheck::Verdict::Refused;
  check.sentence = std::move(sentence);
  return check;
}

std::string file_text(const std::string& path) {
  std::ifstream in(path);
  return {std::istreambuf_iterator<char>(in), std::istreambuf_iterator<char>()};
}

std::vector<std::byte> read_first(int fd, size_t bytes) {
  std::vector<std::byte> into(bytes);
  size_t got = 0;
  while (got < bytes) {
    const ssize_t n = ::pread(fd, into.data() + got, bytes - got, static_cast<off_t>(got));
    if (n <= 0) break;
    got += static_cast<size_t>(n);
  }
  into.resize(got);
  return into;
}

/// Ours, ours of another version, or whatever else it is.
DriveCheck judge_content(DriveCheck check, int fd) {
  const std::vector<std::byte> first = read_first(fd, kSignatureBytes);
  if (first.size() >= kSuperblockBytes) {
    const auto facts = choose_superblock(std::span(first).first<kSuperblockBytes>());
    if (facts && facts->geometry.size_bytes > check.size_bytes) {
      return refuse(check,
                    fmt::format("{} is a Segue drive of {} cut short to {}; left alone", check.file,
                                in_words(facts->geometry.size_bytes), in_words(check.size_bytes)));
    }
    if (facts) {
      check.verdict = DriveCheck::Verdict::Ours;
      return check;
    }
    if (facts.error().kind == Kind::Unsupported) {
      return refuse(check, fmt::format("{} is a Segue drive of a format version that this Segue "
                                       "does not know; left alone",
                                       check.file));
    }
    if (facts.error().kind == Kind::Mismatch) {
      return refuse(check,
                    fmt::format("{} has superblocks of two Segue drives; left alone", check.file));
    }
  }
  const std::string_view signature = signature_of(first);
  if (signature.empty()) {
    check.verdict = DriveCheck::Verdict::Blank;
    check.sentence = fmt::format("{} is no Segue drive yet; `segue cache format {}` makes it one",
                                 check.file, check.file);
    return check;
  }
  check.verdict = DriveCheck::Verdict::NeedsSerial;
  check.sentence = fmt::format("{} is not a Segue drive: it holds {}; left alone", check.file,
                               signature == "data" ? "data of some other kind" : signature);
  return check;
}

DriveCheck check_regular_file(DriveCheck check, uint64_t size_bytes) {
  check.size_bytes = size_bytes;
  const Descriptor fd(::open(check.file.c_str(), O_RDWR | O_CLOEXEC));
  if (!fd.valid()) {
    return refuse(check, fmt::format("cannot open {} for reading and writing: {}", check.file,
                                     os_words(errno)));
  }
  check = judge_content(std::move(check), fd.get());
  // A file has no serial to be told.
  if (check.verdict == DriveCheck::Verdict::NeedsSerial) {
    check.verdict = DriveCheck::Verdict::Refused;
  }
  if (check.verdict == DriveCheck::Verdict::Blank && size_bytes > 0 &&
      size_bytes < kDriveBytesMin) {
    return refuse(check, fmt::format("{} is too small for a drive: {}, needed are at least {}",
                                     check.file, in_words(size_bytes), in_words(kDriveBytesMin)));
  }
  return check;
}

std::string sysfs_of(dev_t device) {
  return fmt::format("/sys/dev/block/{}:{}", major(device), minor(device));
}

std::string serial_of(dev_t device) {
  for (const char* name : {"/device/serial", "/serial", "/device/wwid", "/wwid"}) {
    std::string text = file_text(sysfs_of(device) + name);
    std::erase_if(text, [](char c) { return c <= ' '; });
    if (!text.empty()) return text;
  }
  return {};
}

/// Who uses the device now; empty if nobody.
std::string user_of(dev_t device) {
  if (is_mounted(file_text("/proc/self/mountinfo"), major(device), minor(device))) {
    return "it is mounted";
  }
  std::error_code error;
  for (const auto& holder : fs::directory_iterator(sysfs_of(device) + "/holders", error)) {
    return fmt::format("{} uses it", holder.path().filename().string());
  }
  return {};
}

bool has_partitions(dev_t device) {
  std::error_code error;
  for (const auto& child : fs::directory_iterator(sysfs_of(device), error)) {
    if (fs::exists(child.path() / "partition", error)) return true;
  }
  return false;
}

DriveCheck check_block_device(DriveCheck check, dev_t device) {
  check.block_device = true;
  check.serial = serial_of(device);
  const std::string user = user_of(device);
  if (!user.empty()) {
    return refuse(check, fmt::format("{} is in use: {}; left alone", check.file, user));
  }
  // O_EXCL on a block device fails while the kernel uses it (mounts elsewhere, swap, md, dm).
  const Descriptor fd(::open(check.file.c_str(), O_RDWR | O_EXCL | O_CLOEXEC));
  if (!fd.valid()) {
    return refuse(check, errno == EBUSY ? fmt::format("{} is in use; left alone", check.file)
                                        : fmt::format("cannot open {} for reading and writing: {}",
                                                      check.file, os_words(errno)));
  }
  int read_only = 0;
  if (::ioctl(fd.get(), BLKROGET, &read_only) == 0 && read_only != 0) {
    return refuse(check, fmt::format("{} is read-only", check.file));
  }
  if (::ioctl(fd.get(), BLKGETSIZE64, &check.size_bytes) != 0) {
    return refuse(check,
                  fmt::format("cannot learn the size of {}: {}", check.file, os_words(errno)));
  }
  check = judge_content(std::move(check), fd.get());
  const bool ours = check.verdict == DriveCheck::Verdict::Ours;
  if (!ours && check.size_bytes < kDriveBytesMin) {
    return refuse(check,
                  fmt::format("{} is too small for a drive: {}, needed are at least {}", check.file,
                              in_words(check.size_bytes), in_words(kDriveBytesMin)));
  }
  if (!ours && check.verdict != DriveCheck::Verdict::Refused && has_partitions(device)) {
    check.verdict = DriveCheck::Verdict::NeedsSerial;
    check.sentence =
        fmt::format("{} is not a Segue drive: it has partitions; left alone", check.file);
  }
  return check;
}

DriveCheck check_absent(DriveCheck check, uint64_t wanted_bytes, bool sparse) {
  const std::string folder = fs::path(check.file).parent_path().string();
  const std::string where = folder.empty() ? "." : folder;
  if (wanted_bytes == 0) {
    return refuse(check, fmt::format("{} does not exist", check.file));
  }
  if (wanted_bytes < kDriveBytesMin) {
    return refuse(check, fmt::format("a drive of {} is too small: needed are at least {}",
                                     in_words(wanted_bytes), in_words(kDriveBytesMin)));
  }
  struct statvfs space{};
  if (::statvfs(where.c_str(), &space) != 0) {
    return refuse(check, fmt::format("cannot look at {}: {}", where, os_words(errno)));
  }
  if ((space.f_flag & ST_RDONLY) != 0) {
    return refuse(check, fmt::format("{} is on a read-only file system", where));
  }
  if (::access(where.c_str(), W_OK | X_OK) != 0) {
    return refuse(check, fmt::format("cannot create {}: {}", check.file, os_words(errno)));
  }
  const uint64_t available = uint64_t{space.f_bavail} * space.f_frsize;
  if (!sparse && available < wanted_bytes) {
    return refuse(check, fmt::format("{} has no room for a drive of {}: {} are free", where,
                                     in_words(wanted_bytes), in_words(available)));
  }
  check.verdict = DriveCheck::Verdict::Absent;
  return check;
}

}  // namespace

std::string_view signature_of(std::span<const std::byte> first_bytes) noexcept {
  for (const Signature& signature : kSignatures) {
    if (first_bytes.size() < signature.offset + signature.bytes.size()) continue;
    if (std::memcmp(first_bytes.data() + signature.offset, signature.bytes.data(),
                    signature.bytes.size()) == 0) {
      return signature.name;
    }
  }
  const bool zeros =
      std::ranges::all_of(first_bytes, [](std::byte byte) { return byte == std::byte{0}; });
  return zeros ? ""sv : "data"sv;
}

bool is_mounted(std::string_view mountinfo, uint32_t major_number, uint32_t minor_number) noexcept {
  // proc(5): "36 35 98:0 /mnt1 /mnt2 rw,noatime ...": the third field is the device.
  const std::string wanted = fmt::format("{}:{}", major_number, minor_number);
  while (!mountinfo.empty()) {
    const size_t end = std::min(mountinfo.find('\n'), mountinfo.size());
    std::string_view line = mountinfo.substr(0, end);
    mountinfo.remove_prefix(std::min(end + 1, mountinfo.size()));
    for (int field = 0; field < 2; ++field) {
      const size_t space = line.find(' ');
      line = space == std::string_view::npos ? std::string_view() : line.substr(space + 1);
    }
    if (line.substr(0, line.find(' ')) == wanted) return true;
  }
  return false;
}

DriveCheck check_drive_path(const std::string& path, uint64_t wanted_bytes, bool sparse) {
  DriveCheck check;
  check.file = path;
  struct stat facts{};
  if (::stat(path.c_str(), &facts) != 0) {
    if (errno != ENOENT) {
      return refuse(check, fmt::format("cannot look at {}: {}", path, os_words(errno)));
    }
    // A path that is not there is a file to be made only if it says so: most often it is a folder
    // that somebody forgot to mount or make.
    if (!path.ends_with(".drive")) {
      return refuse(check, fmt::format("{} does not exist; make the folder, or name a file that "
                                       "ends in .drive",
                                       path));
    }
    return check_absent(std::move(check), wanted_bytes, sparse);
  }
  if (S_ISDIR(facts.st_mode)) {
    check.file = (fs::path(path) / kDriveName).string();
    if (::stat(check.file.c_str(), &facts) != 0) {
      if (errno == ENOENT) return check_absent(std::move(check), wanted_bytes, sparse);
      return refuse(check, fmt::format("cannot look at {}: {}", check.file, os_words(errno)));
    }
  }
  if (S_ISREG(facts.st_mode)) {
    return check_regular_file(std::move(check), static_cast<uint64_t>(facts.st_size));
  }
  if (S_ISBLK(facts.st_mode)) return check_block_device(std::move(check), facts.st_rdev);
  return refuse(check,
                fmt::format("{} is neither a folder nor a file nor a block device", check.file));
}

std::expected<std::string, std::string> create_drive_file(const DriveCheck& check,
                                                          uint64_t size_bytes, bool sparse) {
  std::string name = check.file + std::string(kNewSuffix);
  ::unlink(name.c_str());  // of an attempt that was cut; no drive ever has this name
  const Descriptor fd(::open(name.c_str(), O_RDWR | O_CREAT | O_EXCL | O_CLOEXEC, 0600));
  if (!fd.valid()) {
    return std::unexpected(fmt::format("cannot create {}: {}", name, os_words(errno)));
  }
  int error = 0;
  if (sparse) {
    if (::ftruncate(fd.get(), static_cast<off_t>(size_bytes)) != 0) error = errno;
  } else {
    error = ::posix_fallocate(fd.get(), 0, static_cast<off_t>(size_bytes));
  }
  if (error != 0) {
    ::unlink(name.c_str());
    return std::unexpected(
        fmt::format("cannot make {} {} long: {}", name, in_words(size_bytes), os_words(error)));
  }
  return name;
}

std::optional<std::string> publish_drive_file(const DriveCheck& check) {
  const std::string name = check.file + std::string(kNewSuffix);
  const std::string folder = fs::path(check.file).parent_path().string();
  const Descriptor in_folder(
      ::open(folder.empty() ? "." : folder.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC));
  // renameat2 with NOREPLACE: should somebody have put a file there meanwhile, it stays.
  if (!in_folder.valid() ||
      ::renameat2(AT_FDCWD, name.c_str(), AT_FDCWD, check.file.c_str(), RENAME_NOREPLACE) != 0 ||
      ::fsync(in_folder.get()) != 0) {
    return fmt::format("cannot give {} its name: {}", check.file, os_words(errno));
  }
  return std::nullopt;
}

std::expected<DriveLock, std::string> DriveLock::take(const std::string& file) {
  const int fd = ::open(file.c_str(), O_RDONLY | O_CLOEXEC);
  if (fd < 0) return std::unexpected(fmt::format("cannot open {}: {}", file, os_words(errno)));
  DriveLock lock(fd);
  if (::flock(fd, LOCK_EX | LOCK_NB) != 0) {
    return std::unexpected(errno == EWOULDBLOCK
                               ? fmt::format("{} is in use by another process", file)
                               : fmt::format("cannot lock {}: {}", file, os_words(errno)));
  }
  return lock;
}

DriveLock::DriveLock(DriveLock&& other) noexcept : fd_(std::exchange(other.fd_, -1)) {}
DriveLock::~DriveLock() {
  if (fd_ >= 0) ::close(fd_);
}

}  // namespace segue::cache
