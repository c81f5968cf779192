#include "edge/node/signal_thread.h"

#include <pthread.h>

#include "base/log.h"
#include "edge/node/node.h"

namespace segue::edge {
namespace {

/// How often the loops are asked where no manager keeps watch: for the metric.
constexpr std::chrono::microseconds kCheckEvery{1'000'000};
/// A manager's limit holds several checks, so that one late answer on a busy machine ends nothing.
constexpr int kChecksPerWatchdog = 4;

timespec timespec_of(std::chrono::microseconds time) {
  const auto whole = std::chrono::duration_cast<std::chrono::seconds>(time);
  return {.tv_sec = whole.count(), .tv_nsec = (time - whole).count() * 1000};
}

}  // namespace

SignalThread::SignalThread() {
  sigemptyset(&signals_);
  for (const int signal : {SIGTERM, SIGINT, SIGHUP}) sigaddset(&signals_, signal);
  pthread_sigmask(SIG_BLOCK, &signals_, nullptr);
}

void SignalThread::start(Node& node, Reloader& reloader, const ServiceManager& manager) {
  node_ = &node;
  reloader_ = &reloader;
  manager_ = &manager;
  thread_ = std::thread([this] { run(); });
}

void SignalThread::stop() {
  if (!thread_.joinable()) return;
  ended_ = true;
  pthread_kill(thread_.native_handle(), SIGHUP);  // ends the wait
  thread_.join();
}

void SignalThread::run() {
  const std::chrono::microseconds every =
      manager_->watchdog().count() > 0 ? manager_->watchdog() / kChecksPerWatchdog : kCheckEvery;
  const timespec wait = timespec_of(every);
  for (;;) {
    const int signal = sigtimedwait(&signals_, nullptr, &wait);
    if (ended_) return;
    if (signal > 0) take(signal);
    // Also after a signal: a stream of them must not keep the watchdog waiting.
    keep_watch();
  }
}

void SignalThread::take(int signal) {
  if (signal == SIGHUP) {
    log_info("reload", "signal=SIGHUP");
    manager_->notify_reloading(SystemClock().mono());
    node_->reopen_logs();
    reloader_->reload(*node_);
    manager_->notify("READY=1");
    return;
  }
  log_info("stopping", "signal={}", signal == SIGTERM ? "SIGTERM" : "SIGINT");
  manager_->notify("STOPPING=1\nSTATUS=ending the responses under way");
  node_->request_stop();
}

void SignalThread::keep_watch() {
  const bool healthy = node_->check_loops();
  if (healthy) {
    manager_->notify("WATCHDOG=1");
  } else if (was_healthy_) {
    log_error("loop_stuck", "loops={}: no answer to the health check", node_->stuck_loops());
  }
  was_healthy_ = healthy;
}

}  // namespace segue::edge
