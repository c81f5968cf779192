#include "edge/prefetch/feed_follower.h"

#include <fcntl.h>
#include <poll.h>
#include <pthread.h>
#include <sys/eventfd.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>

#include "base/log.h"

namespace segue::edge {
namespace {
constexpr milliseconds kLookAgain{100};      // for more of a regular file
constexpr milliseconds kOpenAgain{500};      // what is not there yet
constexpr uint32_t kPiecesPerTurnMax = 256;  // lines: some 2 us each
constexpr milliseconds kTooFastAgain{100};   // the loop's turn to say "slower"
}  // namespace

FeedFollower::FeedFollower(Loop& loop, Prefetcher& prefetcher, std::string path)
    : loop_(loop),
      prefetcher_(prefetcher),
      path_(std::move(path)),
      wake_fd_(eventfd(0, EFD_NONBLOCK | EFD_CLOEXEC)),
      message_(*this),
      retry_(*this) {}

FeedFollower::~FeedFollower() {
  stop();
  if (thread_.joinable()) thread_.join();
  close_file();
  if (wake_fd_ >= 0) close(wake_fd_);
}

void FeedFollower::start() {
  // Where the feed ends now is known before anyone is told that the node is ready.
  (void)open_file();
  seen_before_ = true;  // what appears later is read from its start
  thread_ = std::thread([this] { follow(); });
  pthread_setname_np(thread_.native_handle(), "feed");
}

void FeedFollower::stop() noexcept {
  if (stopping_.exchange(true)) return;
  loop_.disarm(retry_);
  const uint64_t one = 1;
  [[maybe_unused]] const ssize_t written = write(wake_fd_, &one, sizeof one);
  taken_.release();
}

/// `for_bytes`: what can say that there are some (a FIFO) ends the pause.
void FeedFollower::pause(std::chrono::milliseconds most, bool for_bytes) const noexcept {
  pollfd waits[] = {{wake_fd_, POLLIN, 0}, {for_bytes && !is_regular_ ? fd_ : -1, POLLIN, 0}};
  poll(waits, 2, static_cast<int>(most.count()));
}

bool FeedFollower::open_file() {
  // A FIFO opened for writing as well never ends while feeders come and go.
  fd_ = open(path_.c_str(), O_RDWR | O_NONBLOCK | O_CLOEXEC | O_NOCTTY);
  struct stat facts{};
  if (fd_ >= 0 && fstat(fd_, &facts) == 0 && !S_ISFIFO(facts.st_mode)) close_file();
  if (fd_ < 0) fd_ = open(path_.c_str(), O_RDONLY | O_NONBLOCK | O_CLOEXEC | O_NOCTTY);
  if (fd_ < 0 || fstat(fd_, &facts) != 0 || S_ISDIR(facts.st_mode)) {
    close_file();
    return false;
  }
  is_regular_ = S_ISREG(facts.st_mode);
  offset_ = is_regular_ && !seen_before_ ? static_cast<uint64_t>(facts.st_size) : 0;
  seen_before_ = true;
  restarted_ = true;
  counters_.opened.add();
  counters_.open.set(1);
  return true;
}

void FeedFollower::close_file() noexcept {
  if (fd_ >= 0) close(fd_);
  fd_ = -1;
  counters_.open.set(0);
}

bool FeedFollower::was_replaced() const {
  struct stat ours{};
  struct stat named{};
  if (fstat(fd_, &ours) != 0) return true;
  if (is_regular_ && static_cast<uint64_t>(ours.st_size) < offset_) return true;  // cut
  if (stat(path_.c_str(), &named) != 0)
    return false;  // moved away: the old one until there is a new
  return named.st_ino != ours.st_ino || named.st_dev != ours.st_dev;
}

void FeedFollower::follow() {
  while (!stopping_.load(std::memory_order_acquire)) {
    if (fd_ < 0 && !open_file()) {
      pause(kOpenAgain, false);
      continue;
    }
    const bool replaced = was_replaced();  // before the read: nothing appended meanwhile is lost
    const ssize_t got = is_regular_
                            ? pread(fd_, chunk_.data(), chunk_.size(), static_cast<off_t>(offset_))
                            : read(fd_, chunk_.data(), chunk_.size());
    if (got > 0) {
      offset_ += static_cast<uint64_t>(got);
      counters_.bytes.add(static_cast<uint64_t>(got));
      hand_over(static_cast<size_t>(got));
    } else if (replaced || (got < 0 && errno != EAGAIN && errno != EINTR)) {
      close_file();
    } else {
      // A FIFO that we may only read is at its end while nobody has it open for writing, and
      // poll(2) says so (POLLHUP) at once each time.
      pause(kLookAgain, got != 0);
    }
  }
}

void FeedFollower::hand_over(size_t bytes) {
  chunk_bytes_ = bytes;
  loop_.post(message_);
  taken_.acquire();
}

void FeedFollower::consume() {
  if (stopping_.load(std::memory_order_relaxed)) return;
  if (std::exchange(restarted_, false)) lines_.restart();
  for (uint32_t pieces = 0; consumed_ < chunk_bytes_; ++pieces) {
    if (pieces == kPiecesPerTurnMax) return loop_.post(message_);
    if (!prefetcher_.has_room()) {
      loop_.arm(retry_, loop_.now() + kTooFastAgain);
      return;
    }
    const std::string_view rest(chunk_.data() + consumed_, chunk_bytes_ - consumed_);
    const std::string_view piece = rest.substr(0, rest.find('\n') + 1);
    const std::string_view taken = piece.empty() ? rest : piece;
    consumed_ += taken.size();
    lines_.take(
        taken,
        [this](std::string_view line, uint64_t number) {
          (void)prefetcher_.take_line(PrefetchSource::File, line, number);
        },
        [this](uint64_t number) { prefetcher_.refuse_line(PrefetchSource::File, number); });
  }
  consumed_ = 0;
  taken_.release();
}

}  // namespace segue::edge
