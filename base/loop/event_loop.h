// base/loop/event_loop.h - the loop of the daemon: a Loop driven by libevent (sockets) and io_uring
// (drives), one per thread.
//
// One turn: drain completions and posts into the ready list, run what is ready (at most
// kLoopTurnMax), submit the ring once, then wait in event_base_loop(EVLOOP_ONCE) until a socket, a
// completion, a post or the next deadline.
#pragma once
#include <chrono>
#include <cstdint>
#include <memory>
#include <string>

#include "base/limits.h"
#include "base/loop/disk.h"
#include "base/loop/loop.h"
#include "base/result.h"

namespace segue {

/// What a socket is ready for, or an interest in it.
enum class Readiness : uint8_t { None = 0, Read = 1, Write = 2, Closed = 4 };
constexpr Readiness operator|(Readiness a, Readiness b) {
  return static_cast<Readiness>(static_cast<uint8_t>(a) | static_cast<uint8_t>(b));
}
constexpr bool has(Readiness set, Readiness bit) {
  return (static_cast<uint8_t>(set) & static_cast<uint8_t>(bit)) != 0;
}

class EventLoop;

/// Watches one non-blocking socket for its owner; level-triggered, loop-owned. The owner's node is
/// made ready when something it wants has happened; it then calls take(). Does not own the
/// descriptor: end the watch before closing it.
class SocketWatch {
 public:
  /// `node` outlives the watch; it may still be queued when the watch ends (Loop::cancel_ready()).
  SocketWatch(EventLoop& loop, int fd, ReadyNode& node);
  ~SocketWatch();
  SocketWatch(const SocketWatch&) = delete;
  SocketWatch& operator=(const SocketWatch&) = delete;

  /// Replaces the interest. Closed reports the peer's half-close or reset (EPOLLRDHUP) while
  /// nothing is being read, so that the resources of an aborted client are freed at once. Asked for
  /// alone it is reported once, whatever bytes lie unread; beside Read or Write it is
  /// level-triggered: drop the interest once it has been reported. A reset ends a wait for Read or
  /// Write too: the call that follows fails. All changes of one turn cost one epoll_ctl; asking for
  /// what is wanted already costs nothing.
  void want(Readiness interest) noexcept;
  [[nodiscard]] Readiness wanted() const noexcept { return wanted_; }
  /// What happened since the last take().
  [[nodiscard]] Readiness take() noexcept;

 private:
  struct Impl;  // libevent's struct event, kept out of this header
  static void on_event(int fd, short what, void* watch) noexcept;
  [[nodiscard]] Impl& impl() noexcept;
  EventLoop& loop_;
  ReadyNode& node_;
  Readiness wanted_ = Readiness::None;
  Readiness happened_ = Readiness::None;
  alignas(8) std::byte storage_[128];  // holds Impl; asserted in socket_watch.cc
};

/// How drives are read and written.
enum class IoBackend : uint8_t { Auto, Uring, Threads };

class EventLoop final : public Loop {
 public:
  struct Options {
    IoBackend io = IoBackend::Auto;
    uint32_t io_threads = 4;  // of the thread-pool backend, shared by the loop's drives
    uint64_t frame_bytes_max = kFramePoolBytesMax;
  };
  /// Errors: {Self, IoError} if libevent or the eventfd cannot be set up, or if `io` is Uring and
  /// the kernel refuses a ring. With Auto a refused ring means threads; io_backend() says which it
  /// became.
  [[nodiscard]] static Result<std::unique_ptr<EventLoop>> create(uint32_t index, const Clock& clock,
                                                                 Options options);
  ~EventLoop() override;

  /// Runs turns on the calling thread until stop(); then until nothing is ready. Call from the
  /// loop's own thread.
  void run();
  /// Makes run() return after its current turn. Any thread.
  void stop() noexcept;
  /// The backend in use: Uring or Threads.
  [[nodiscard]] IoBackend io_backend() const noexcept;
  /// Exclusive: {Disk, Mismatch} if another process has it so. It lasts as long as the Disk is
  /// open.
  enum class DiskLock : uint8_t { None, Exclusive };
  /// Opens `path` (a preallocated file or block device) as this loop's Disk, O_DIRECT where the
  /// file system takes it. `direct` says whether it did. Start-up only: opening may wait. The Disk
  /// must be destroyed before the loop, when nothing is in flight.
  struct OpenedDisk {
    std::unique_ptr<Disk> disk;
    bool direct = false;
  };
  [[nodiscard]] Result<OpenedDisk> open_disk(const std::string& path,
                                             DiskLock lock = DiskLock::None);
  /// Reads `into.size()` bytes of an ordinary file at `offset` through the same backend (dir:
  /// origins; no alignment needed). Returns the bytes read, 0 at the end of the file. `into` must
  /// stay valid until the task ends.
  [[nodiscard]] Task<Result<size_t>> read_file(int fd, uint64_t offset, std::span<std::byte> into);
  /// openat2(2) with RESOLVE_BENEATH | RESOLVE_NO_MAGICLINKS below `dir_fd`, read-only, without
  /// blocking the loop. Returns the descriptor (the caller closes it). Errors: {Origin, NotFound |
  /// Refused | IoError}, {Self, Overloaded} when kFileOpsInFlightMax are in flight or descriptors
  /// are spent. A FIFO does not block it: ask stat_file() whether the file is regular.
  [[nodiscard]] Task<Result<int>> open_beneath(int dir_fd, std::string path);
  /// fstat(2) of `fd`: size and mtime, without blocking the loop.
  struct FileFacts {
    uint64_t size_bytes = 0;
    int64_t mtime_ns = 0;
    bool regular = false;
  };
  [[nodiscard]] Task<Result<FileFacts>> stat_file(int fd);

  /// Turns so far: the watchdog sees by it that the loop is alive. Any thread.
  [[nodiscard]] uint64_t turns() const noexcept;
  /// The longest turn (without its wait) since the last call. Any thread.
  [[nodiscard]] std::chrono::microseconds take_longest_turn() noexcept;

 protected:
  void wake() noexcept override;

 private:
  friend class SocketWatch;
  struct Impl;
  EventLoop(uint32_t index, const Clock& clock, uint64_t frame_bytes_max);
  void turn();
  void run_ready() noexcept;
  void sleep(MonoTime time) noexcept;
  std::unique_ptr<Impl> impl_;
};

}  // namespace segue
