// edge/prefetch/predictor_keeper.h - keeps what was learned in a file, over restarts.
//
// Files can make their writer wait, so a thread of its own writes: the loop copies a few rows a
// turn into a snapshot, every ten minutes, and hands it over. The last one is written at the stop.
#pragma once
#include <condition_variable>
#include <mutex>
#include <string>
#include <thread>
#include <vector>

#include "base/counter.h"
#include "edge/prefetch/prefetcher.h"

namespace segue::edge {

class PredictorKeeper {
 public:
  /// Both outlive it; the prefetcher learns.
  PredictorKeeper(Loop& loop, Prefetcher& prefetcher, std::string path);
  /// Waits for the thread and writes the last snapshot: not while the loop runs.
  ~PredictorKeeper();
  PredictorKeeper(const PredictorKeeper&) = delete;
  PredictorKeeper& operator=(const PredictorKeeper&) = delete;

  /// Start-up: reads the file, so it may wait. One that is wrong is left alone until it is
  /// replaced by the next snapshot, and the log says what is wrong.
  void start();
  /// No snapshot begins any more. On the loop.
  void stop() noexcept;

  struct Counters {
    Counter saved, failed;  // files; written by the thread
  };
  [[nodiscard]] const Counters& counters() const noexcept { return counters_; }

 private:
  struct Tick : Timer {
    explicit Tick(PredictorKeeper& to) : Timer(&Tick::run), owner(to) {}
    static void run(Timer& timer) { static_cast<Tick&>(timer).owner.copy_some(); }
    PredictorKeeper& owner;
  };
  void read();
  void copy_some();
  void write_all(const std::stop_token& stop);
  void write(const std::vector<std::byte>& bytes);

  // constant after construction
  Loop& loop_;
  Prefetcher& prefetcher_;
  const std::string path_;
  // loop-owned
  Tick tick_;
  std::unique_ptr<SavedPredictor> copying_;  // null: between two snapshots
  uint64_t copied_ = 0;
  bool started_ = false;
  uint64_t owner_ = 0;  // of the ids; constant after start()
  // under mutex_
  std::mutex mutex_;
  std::condition_variable_any handed_over_;
  std::unique_ptr<SavedPredictor> ready_;  // null: nothing to write
  // the thread's
  Counters counters_;
  std::jthread thread_;
};

}  // namespace segue::edge
