#include "edge/prefetch/predictor_keeper.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>

#include "base/log.h"
#include "edge/prefetch/predictor_file.h"

namespace segue::edge {
namespace {

constexpr std::chrono::minutes kSaveEvery{10};
constexpr milliseconds kCopyEvery{10};
constexpr uint64_t kRowsPerTurn = 4096;  // 360 KB: some 50 us

class File {
 public:
  explicit File(int fd) noexcept : fd_(fd) {}
  ~File() {
    if (fd_ >= 0) close(fd_);
  }
  File(const File&) = delete;
  File& operator=(const File&) = delete;
  [[nodiscard]] int fd() const noexcept { return fd_; }
  explicit operator bool() const noexcept { return fd_ >= 0; }

 private:
  const int fd_;
};

bool write_whole(int fd, const std::vector<std::byte>& bytes) {
  for (size_t at = 0; at < bytes.size();) {
    const ssize_t count = ::write(fd, bytes.data() + at, bytes.size() - at);
    if (count < 0 && errno == EINTR) continue;
    if (count <= 0) return false;
    at += static_cast<size_t>(count);
  }
  return fsync(fd) == 0;
}

}  // namespace

PredictorKeeper::PredictorKeeper(Loop& loop, Prefetcher& prefetcher, std::string path)
    : loop_(loop), prefetcher_(prefetcher), path_(std::move(path)), tick_(*this) {}

PredictorKeeper::~PredictorKeeper() {
  stop();
  if (!started_) return;
  thread_.request_stop();
  thread_.join();
  SavedPredictor saved;
  for (uint64_t from = 0; (from = prefetcher_.copy_learned(saved, from, UINT32_MAX)) != 0;) {
  }
  write(std::move(saved).seal(prefetcher_.owner_of_ids()));
}

void PredictorKeeper::start() {
  read();
  owner_ = prefetcher_.owner_of_ids();
  started_ = true;
  thread_ = std::jthread([this](const std::stop_token& stop) { write_all(stop); });
  loop_.arm(tick_, loop_.now() + kSaveEvery);
}

void PredictorKeeper::stop() noexcept { loop_.disarm(tick_); }

void PredictorKeeper::read() {
  const File file(open(path_.c_str(), O_RDONLY | O_CLOEXEC | O_NOCTTY));
  if (!file && errno == ENOENT) return;  // nothing was learned yet
  struct stat facts{};
  if (!file || fstat(file.fd(), &facts) != 0 || !S_ISREG(facts.st_mode) ||
      static_cast<uint64_t>(facts.st_size) > kPredictorFileBytesMax) {
    log_warning("predictor_file", "path={} mistake=\"not a file to be read\"", path_);
    return;
  }
  std::vector<std::byte> bytes(static_cast<size_t>(facts.st_size));
  size_t at = 0;
  while (at < bytes.size()) {
    const ssize_t count = ::read(file.fd(), bytes.data() + at, bytes.size() - at);
    if (count < 0 && errno == EINTR) continue;
    if (count <= 0) break;
    at += static_cast<size_t>(count);
  }
  bytes.resize(at);
  const auto taken = prefetcher_.take_learned(bytes);
  if (!taken) {
    log_warning("predictor_file", "path={} mistake=\"{}\"; learning begins anew", path_,
                taken.error());
    return;
  }
  log_info("predictor_read", "path={} rows={} tracks={}", path_, prefetcher_.learned_rows(),
           prefetcher_.known_tracks());
}

void PredictorKeeper::copy_some() {
  if (copying_ == nullptr) {
    copying_ = std::make_unique<SavedPredictor>(prefetcher_.learned_bytes_max());
    copied_ = 0;
  }
  copied_ = prefetcher_.copy_learned(*copying_, copied_, kRowsPerTurn);
  if (copied_ != 0) return loop_.arm(tick_, loop_.now() + kCopyEvery);
  {
    const std::lock_guard lock(mutex_);  // the thread holds it for as long as this
    ready_ = std::move(copying_);
  }
  handed_over_.notify_one();
  loop_.arm(tick_, loop_.now() + kSaveEvery);
}

void PredictorKeeper::write_all(const std::stop_token& stop) {
  std::unique_lock lock(mutex_);
  while (handed_over_.wait(lock, stop, [&] { return ready_ != nullptr; })) {
    std::unique_ptr<SavedPredictor> saved = std::move(ready_);
    lock.unlock();
    write(std::move(*saved).seal(owner_));
    saved.reset();
    lock.lock();
  }
}

/// Beside it first, then in its place: a crash leaves the former one.
void PredictorKeeper::write(const std::vector<std::byte>& bytes) {
  const std::string beside = path_ + ".new";
  bool written = false;
  {
    const File file(
        open(beside.c_str(), O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC | O_NOFOLLOW, 0600));
    written = file && write_whole(file.fd(), bytes);
  }
  if (written && rename(beside.c_str(), path_.c_str()) == 0) return counters_.saved.add();
  counters_.failed.add();
  log_warning("predictor_file", "path={} mistake=\"{}\"; it could not be written", path_,
              std::strerror(errno));
}

}  // namespace segue::edge
