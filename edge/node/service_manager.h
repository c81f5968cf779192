// edge/node/service_manager.h - what the service manager that started us (systemd) handed over and
// wants to hear: listening sockets, readiness, signs of life. The plain protocol of sd_notify(3)
// and sd_listen_fds(3), which other managers speak too; without one nothing is sent.
#pragma once
#include <chrono>
#include <cstdint>
#include <expected>
#include <string>
#include <string_view>
#include <vector>

#include "base/loop/clock.h"

namespace segue::edge {

class ServiceManager {
 public:
  /// Reads the environment and takes its variables away, so that no child inherits what is meant
  /// for us. Start-up only, before other threads. The error is a sentence for the operator.
  [[nodiscard]] static std::expected<ServiceManager, std::string> from_environment();

  /// Sends one datagram such as "READY=1\nSTATUS=serving". Any thread; never waits: a manager that
  /// does not read must not hold up the node.
  void notify(std::string_view state) const noexcept;
  /// RELOADING=1 with the time that systemd matches READY=1 against.
  void notify_reloading(MonoTime now) const noexcept;

  /// How often the manager wants to hear WATCHDOG=1 at the latest; 0: not at all.
  [[nodiscard]] std::chrono::microseconds watchdog() const noexcept { return watchdog_; }
  /// Listening sockets that were handed over; they are never closed by us, so that connections wait
  /// in them while we restart. Non-blocking and closed on exec.
  [[nodiscard]] const std::vector<int>& listeners() const noexcept { return listeners_; }

 private:
  std::string notify_path_;  // '@' first: an abstract address; empty: nobody listens
  std::chrono::microseconds watchdog_{0};
  std::vector<int> listeners_;
};

}  // namespace segue::edge
