// edge/prefetch/feed_follower.h - a feed out of a file that grows, or out of a FIFO. Survives that
// the file is not there yet, is cut, or is moved away and made anew (rotation).
//
// Files can make their reader wait, so a thread of its own reads; the loop takes one chunk at a
// time, and the thread reads on only when the loop has taken it. A regular file is read from its
// end on when it is first seen (what was recommended yesterday is of no use), a new one from its
// start.
#pragma once
#include <array>
#include <atomic>
#include <memory>
#include <semaphore>
#include <string>
#include <thread>

#include "base/counter.h"
#include "edge/prefetch/prefetcher.h"

namespace segue::edge {

class FeedFollower {
 public:
  /// Both outlive it.
  FeedFollower(Loop& loop, Prefetcher& prefetcher, std::string path);
  /// Waits for the thread: not on the loop.
  ~FeedFollower();
  FeedFollower(const FeedFollower&) = delete;
  FeedFollower& operator=(const FeedFollower&) = delete;

  /// Start-up: opens the file, so it may wait.
  void start();
  /// Takes no more; does not wait. On the loop.
  void stop() noexcept;

  struct Counters {
    Counter bytes, opened;  // opened: also after each rotation. Written by the thread
    Counter open;           // gauge
  };
  [[nodiscard]] const Counters& counters() const noexcept { return counters_; }
  [[nodiscard]] const std::string& path() const noexcept { return path_; }

 private:
  static constexpr size_t kChunkBytes = 64 * KiB;
  struct Message : PostNode {
    explicit Message(FeedFollower& to) : PostNode(&Message::arrive), owner(to) {}
    static void arrive(PostNode& node) { static_cast<Message&>(node).owner.consume(); }
    FeedFollower& owner;
  };
  struct Retry : Timer {
    explicit Retry(FeedFollower& to) : Timer(&Retry::run), owner(to) {}
    static void run(Timer& timer) { static_cast<Retry&>(timer).owner.consume(); }
    FeedFollower& owner;
  };

  // the thread
  void follow();
  [[nodiscard]] bool open_file();
  void close_file() noexcept;
  [[nodiscard]] bool was_replaced() const;
  void hand_over(size_t bytes);
  void pause(std::chrono::milliseconds most, bool for_bytes) const noexcept;
  // the loop
  void consume();

  // constant after construction
  Loop& loop_;
  Prefetcher& prefetcher_;
  const std::string path_;
  int wake_fd_ = -1;
  Counters counters_;
  // the thread's
  int fd_ = -1;
  bool is_regular_ = false;
  bool seen_before_ = false;
  uint64_t offset_ = 0;
  std::thread thread_;
  // whoever has the chunk: the thread until it posts, the loop until it releases `taken_`
  std::array<char, kChunkBytes> chunk_;
  size_t chunk_bytes_ = 0;
  bool restarted_ = false;  // the chunk begins another file
  Message message_;
  std::binary_semaphore taken_{0};
  std::atomic<bool> stopping_{false};
  // loop-owned
  FeedLines lines_;
  size_t consumed_ = 0;
  Retry retry_;
};

}  // namespace segue::edge
