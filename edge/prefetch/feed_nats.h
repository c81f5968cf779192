// edge/prefetch/feed_nats.h - a feed, and purges, out of a subject of a NATS JetStream
// (conf/feed.md).
//
// libnats waits, so a thread of its own fetches; the loop takes one batch at a time, says what is
// to become of each message, and the thread answers the server with that. A message is acknowledged
// only once it was taken, a purge only once it is durable: what a node was sent and did not answer
// comes again, which does no harm (old revisions are ignored, a purge twice is a purge). What can
// never be taken is refused, so that it does not come for ever.
#pragma once
#include <condition_variable>
#include <mutex>
#include <string>
#include <thread>
#include <vector>

#include "base/counter.h"
#include "base/loop/task.h"
#include "edge/prefetch/nats_link.h"
#include "edge/prefetch/prefetcher.h"

namespace segue::edge {

/// Puts purges in force. On the loop of the feed; outlives it.
class FeedPurges {
 public:
  virtual ~FeedPurges() = default;
  enum class End : uint8_t { Durable, Refused, Later };
  /// Ends when the purge that `message` asks for is durable, or was not made: Refused is for ever,
  /// Later may be tried again. Logs what it refuses; `sequence` is the message's in its stream.
  [[nodiscard]] virtual Task<End> purge(std::string_view message, uint64_t sequence) = 0;
};

class NatsFeed {
 public:
  struct Options {
    NatsOptions nats;
    bool feeds = true;   // takes lines of a feed
    bool purges = true;  // takes purges
  };
  /// All outlive it.
  NatsFeed(Loop& loop, Prefetcher& prefetcher, Options options);
  /// Waits for the thread, up to a few seconds: not on the loop.
  ~NatsFeed();
  NatsFeed(const NatsFeed&) = delete;
  NatsFeed& operator=(const NatsFeed&) = delete;

  void start(FeedPurges& purges);
  /// Takes no more; does not wait. On the loop.
  void stop() noexcept;
  /// Waits for the purge that is being made. On the loop, after stop().
  [[nodiscard]] TaskGroup::Drain drain() noexcept { return tasks_.drain(); }

  /// All written by the thread but the last three.
  struct Counters {
    Counter connects, connect_failures, lost;
    Counter connected, behind;         // gauges
    Counter taken, refused, put_back;  // messages by what the server was answered
    Counter again;                     // that it delivered before
    Counter purged, purges_refused, purges_later;
  };
  [[nodiscard]] const Counters& counters() const noexcept { return counters_; }
  [[nodiscard]] const Options& options() const noexcept { return options_; }

 private:
  enum class Verdict : uint8_t { None, Taken, Purged, Refused, Later };
  struct Arrival : PostNode {
    explicit Arrival(NatsFeed& to) : PostNode(&Arrival::arrive), owner(to) {}
    static void arrive(PostNode& node) { static_cast<Arrival&>(node).owner.begin_batch(); }
    NatsFeed& owner;
  };

  // the thread
  void run();
  void read_from(NatsLink& link);
  [[nodiscard]] bool hand_over(std::span<const NatsMessage> messages);
  void answer(NatsLink& link);
  void pause(milliseconds most);
  [[nodiscard]] bool stopping();
  void hold(NatsLink* link);
  // the loop
  void begin_batch();
  Task<void> take_batch();
  Task<Verdict> take(NatsMessage message);
  Task<Verdict> purge(NatsMessage message);
  void finish_batch();

  // constant after construction
  Loop& loop_;
  Prefetcher& prefetcher_;
  const Options options_;
  FeedPurges* purges_ = nullptr;  // from start() on
  Counters counters_;
  // whoever has the batch: the thread until it posts, the loop until finish_batch()
  std::span<const NatsMessage> batch_;
  std::vector<Verdict> verdicts_;
  Arrival arrival_;
  // under mutex_
  std::mutex mutex_;
  std::condition_variable changed_;
  bool stopping_ = false;
  bool batch_done_ = false;
  bool loop_gone_ = false;    // no batch is done any more
  NatsLink* link_ = nullptr;  // to be interrupted
  // loop-owned
  TaskGroup tasks_;
  Signal wake_;
  bool ending_ = false;
  std::thread thread_;
};

}  // namespace segue::edge
