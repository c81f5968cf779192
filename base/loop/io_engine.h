// base/loop/io_engine.h - what a loop's drives and file reads stand on: operations that the kernel
// or a thread carries out while the loop goes on. Two engines: uring_engine.h and threads_engine.h.
// Internal to base/loop.
//
// Loop-owned. Rule R6: what the kernel reads or writes on behalf of an operation (the IoOp itself,
// its iovecs, its facts) lives in an IoSlab, never in a coroutine frame.
#pragma once
#include <fcntl.h>
#include <linux/openat2.h>
#include <sys/stat.h>
#include <sys/uio.h>

#include <array>
#include <cerrno>
#include <coroutine>
#include <cstdint>
#include <memory>
#include <utility>
#include <vector>

#include "base/counter.h"
#include "base/loop/loop.h"
#include "base/loop/task.h"

namespace segue {

/// The result of an operation that found the engine full; no kernel reports it for a file.
inline constexpr int32_t kEngineFull = -ENOBUFS;

enum class IoKind : uint8_t { Read, Write, Flush, OpenBeneath, Stat };

/// One operation: filled in by whoever asks for it, carried out by the engine.
struct IoOp : PostNode {
  IoOp() : PostNode(&IoOp::on_post) {}
  /// Makes the waiter ready; on the op's own loop.
  void complete(Loop& loop, int32_t with_result) noexcept {
    result = with_result;
    loop.make_ready(*waiter);
  }
  static void on_post(PostNode& node);

  IoKind kind = IoKind::Read;
  int fd = -1;
  uint64_t offset = 0;
  std::array<iovec, 2> pieces{};
  uint32_t first_piece = 0;  // pieces before it are done
  uint32_t piece_count = 0;
  const char* path = "";  // OpenBeneath; valid until the completion
  open_how how{};
  struct statx facts{};
  int32_t result = 0;  // bytes, a descriptor or 0; -errno on failure
  ReadyNode* waiter = nullptr;
  IoOp* next = nullptr;  // the slab's free list, then the engine's queue
};

class IoEngine {
 public:
  IoEngine() = default;
  IoEngine(const IoEngine&) = delete;
  IoEngine& operator=(const IoEngine&) = delete;
  virtual ~IoEngine() = default;
  /// Begins `op`. Its waiter is made ready on the loop when `op.result` is set; never inside this
  /// call. Cannot wait.
  virtual void start(IoOp& op) noexcept = 0;
  /// Hands over what was started; the loop calls it once per turn. True if nothing is left behind.
  [[nodiscard]] virtual bool submit() noexcept = 0;
  /// Makes the waiters of all completions ready, before any of them runs: no recursion.
  virtual void collect() noexcept = 0;
  /// Readable when collect() has something to do; -1 if completions come as posts.
  [[nodiscard]] virtual int event_fd() const noexcept = 0;

  /// co_await engine.run(op): starts it and yields its result.
  struct Run {
    IoEngine& engine;
    IoOp& op;
    [[nodiscard]] bool await_ready() noexcept { return false; }
    template <class P>
    void await_suspend(std::coroutine_handle<P> waiter) noexcept {
      op.waiter = &detail::node_of(waiter);
      engine.start(op);
    }
    [[nodiscard]] int32_t await_resume() noexcept { return op.result; }
  };
  [[nodiscard]] Run run(IoOp& op) noexcept { return Run{*this, op}; }
};

/// A fixed number of operations. In sanitizer builds each taken one is its own allocation.
class IoSlab {
 public:
  explicit IoSlab(uint32_t ops_max);
  ~IoSlab();
  IoSlab(const IoSlab&) = delete;
  IoSlab& operator=(const IoSlab&) = delete;

  /// An operation, given back when this dies; false when all are taken.
  class [[nodiscard]] Taken {
   public:
    explicit Taken(IoSlab& slab) noexcept : slab_(slab), op_(slab.take()) {}
    Taken(const Taken&) = delete;
    Taken& operator=(const Taken&) = delete;
    ~Taken() {
      if (op_ != nullptr) slab_.give_back(op_);
    }
    explicit operator bool() const noexcept { return op_ != nullptr; }
    IoOp& operator*() const noexcept { return *op_; }
    IoOp* operator->() const noexcept { return op_; }

   private:
    IoSlab& slab_;
    IoOp* op_;
  };
  /// Any thread.
  [[nodiscard]] uint32_t taken() const noexcept { return static_cast<uint32_t>(taken_.get()); }

 private:
  [[nodiscard]] IoOp* take() noexcept;
  void give_back(IoOp* op) noexcept;

  const uint32_t ops_max_;
  std::unique_ptr<IoOp[]> ops_;
  IoOp* free_ = nullptr;
  Counter taken_;  // a gauge
};

/// Carries on with a vectored read or write after `bytes` of it were done. True if nothing is left.
[[nodiscard]] bool advance(IoOp& op, uint64_t bytes) noexcept;

}  // namespace segue
