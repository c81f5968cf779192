// edge/node/signal_thread.h - the thread that signals and the watchdog's clock belong to. Signals
// are blocked everywhere and waited for here, so that no handler runs in the middle of anything.
#pragma once
#include <signal.h>

#include <atomic>
#include <thread>

#include "edge/node/service_manager.h"

namespace segue::edge {

class Node;

class SignalThread {
 public:
  /// Reads the settings again and gives them to the node. Called on this thread; may wait.
  class Reloader {
   public:
    virtual ~Reloader() = default;
    virtual void reload(Node& node) = 0;
  };

  /// Before any other thread, which inherit the blocked signals.
  SignalThread();
  ~SignalThread() { stop(); }
  SignalThread(const SignalThread&) = delete;
  SignalThread& operator=(const SignalThread&) = delete;

  /// SIGTERM and SIGINT stop the node, SIGHUP reopens its logs and reloads. All outlive stop().
  void start(Node& node, Reloader& reloader, const ServiceManager& manager);
  /// Before the node goes: a signal that came last may still be telling it to stop.
  void stop();

 private:
  void run();
  void take(int signal);
  void keep_watch();

  sigset_t signals_{};
  Node* node_ = nullptr;
  Reloader* reloader_ = nullptr;
  const ServiceManager* manager_ = nullptr;
  bool was_healthy_ = true;
  std::atomic<bool> ended_{false};
  std::thread thread_;
};

}  // namespace segue::edge
