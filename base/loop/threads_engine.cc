#include "base/loop/threads_engine.h"

#include <sys/syscall.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <condition_variable>
#include <mutex>
#include <thread>
#include <vector>

namespace segue {
namespace {

[[nodiscard]] int64_t perform(IoOp& op) noexcept {
  const iovec* pieces = &op.pieces[op.first_piece];
  const int count = static_cast<int>(op.piece_count - op.first_piece);
  const auto offset = static_cast<off_t>(op.offset);
  switch (op.kind) {
    case IoKind::Read:
      return preadv(op.fd, pieces, count, offset);
    case IoKind::Write:
      return pwritev(op.fd, pieces, count, offset);
    case IoKind::Flush:
      return fdatasync(op.fd);
    case IoKind::OpenBeneath:
      return syscall(SYS_openat2, op.fd, op.path, &op.how, sizeof(op.how));
    case IoKind::Stat:
      return statx(op.fd, "", AT_EMPTY_PATH, STATX_BASIC_STATS, &op.facts);
  }
  errno = ENOSYS;
  return -1;
}

class ThreadsEngine final : public IoEngine {
 public:
  ThreadsEngine(Loop& loop, uint32_t threads)
      : loop_(loop), per_file_max_(std::max(2U, threads) - std::max(1U, threads / 4)) {
    for (uint32_t i = 0; i < std::max(threads, 1U); ++i) {
      threads_.emplace_back([this] { work(); });
    }
  }
  ~ThreadsEngine() override {
    {
      const std::lock_guard lock(mutex_);
      SEGUE_ASSERT(head_ == nullptr);  // every operation was awaited
      stopping_ = true;
    }
    wanted_.notify_all();
    for (std::thread& thread : threads_) thread.join();
  }

  void start(IoOp& op) noexcept override {
    op.next = nullptr;
    {
      const std::lock_guard lock(mutex_);
      (head_ == nullptr ? head_ : tail_->next) = &op;
      tail_ = &op;
    }
    wanted_.notify_one();
  }
  [[nodiscard]] bool submit() noexcept override { return true; }
  void collect() noexcept override {}  // completions are posts; the loop runs them
  [[nodiscard]] int event_fd() const noexcept override { return -1; }

 private:
  void work() {
    std::unique_lock lock(mutex_);
    for (;;) {
      IoOp* op = nullptr;
      wanted_.wait(lock, [&] { return (op = take()) != nullptr || stopping_; });
      if (op == nullptr) return;
      const int fd = op->fd;
      lock.unlock();
      const int64_t status = perform(*op);
      op->result = static_cast<int32_t>(status < 0 ? -errno : status);
      loop_.post(*op);  // the op is the loop's from here on
      lock.lock();
      --running_on(fd);
    }
  }

  /// The operation to carry out next; null: none. A drive that takes seconds for each read must not
  /// have all threads, or the others would be as slow.
  [[nodiscard]] IoOp* take() {
    IoOp* before = nullptr;
    for (IoOp* op = head_; op != nullptr; before = op, op = op->next) {
      uint32_t& running = running_on(op->fd);
      if (running == per_file_max_) continue;
      ++running;
      (before == nullptr ? head_ : before->next) = op->next;
      if (tail_ == op) tail_ = before;
      return op;
    }
    return nullptr;
  }
  [[nodiscard]] uint32_t& running_on(int fd) {
    std::erase_if(running_, [fd](const Running& one) { return one.fd != fd && one.count == 0; });
    const auto found = std::ranges::find(running_, fd, &Running::fd);
    return found != running_.end() ? found->count : running_.emplace_back(fd, 0U).count;
  }

  // constant after construction
  struct Running {
    int fd;
    uint32_t count;
  };
  Loop& loop_;
  const uint32_t per_file_max_;
  std::vector<std::thread> threads_;
  // under mutex_
  std::mutex mutex_;
  std::condition_variable wanted_;
  IoOp* head_ = nullptr;
  IoOp* tail_ = nullptr;
  std::vector<Running> running_;
  bool stopping_ = false;
};

}  // namespace

std::unique_ptr<IoEngine> make_threads_engine(Loop& loop, uint32_t threads) {
  return std::make_unique<ThreadsEngine>(loop, threads);
}

}  // namespace segue
