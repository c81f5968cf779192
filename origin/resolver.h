// origin/resolver.h - names to addresses without blocking the loop: c-ares, its sockets watched by
// the loop. Loop-owned.
#pragma once
#include <chrono>
#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "base/loop/event_loop.h"
#include "base/result.h"
#include "origin/counters.h"

namespace segue::origin {

class Resolver;

/// Somebody who waits for a name. Its node is made ready when the look-up ended, either way.
/// Dropping it ends the wait, not the look-up.
class ResolveWait {
 public:
  explicit ResolveWait(ReadyNode& node) noexcept : node_(node) {}
  ~ResolveWait() { stop(); }
  ResolveWait(const ResolveWait&) = delete;
  ResolveWait& operator=(const ResolveWait&) = delete;
  void stop() noexcept;

 private:
  friend class Resolver;
  ReadyNode& node_;
  std::vector<ResolveWait*>* list_ = nullptr;  // of the name it waits for
};

class Resolver {
 public:
  struct Options {
    std::chrono::seconds ttl_min{1};
    std::chrono::seconds ttl_max{300};
    std::chrono::seconds failure_ttl{1};  // how long a failed look-up stands before the next
    std::string name_servers;             // "ip[:port],..."; empty: /etc/resolv.conf
    std::chrono::milliseconds query_timeout{1000};  // doubled by the second try
    uint32_t tries = 2;
  };
  /// Errors: {Self, IoError} if c-ares cannot be set up, {Self, Malformed} for name_servers.
  [[nodiscard]] static Result<std::unique_ptr<Resolver>> create(EventLoop& loop, Options options,
                                                                OriginCounters& counters);
  ~Resolver();
  Resolver(const Resolver&) = delete;
  Resolver& operator=(const Resolver&) = delete;

  /// The addresses of `host`, all families, as text, IPv6 without brackets; not empty; valid until
  /// the next call. Null: a look-up runs, and `wait` is told when it ended: ask again then.
  /// Where a look-up fails the last good addresses go on being served. /etc/hosts is honoured.
  /// Errors: {Origin, Unreachable} if the last look-up failed and nothing is known.
  [[nodiscard]] Result<const std::vector<std::string>*> find(const std::string& host,
                                                             ResolveWait& wait);

 private:
  struct Impl;
  Resolver();
  std::unique_ptr<Impl> impl_;
};

}  // namespace segue::origin
