// edge/access/client_limits.h - how much one client may take: connections, requests, and bytes that
// its misses cost the origin. A client is an IPv4 address, an IPv6 /64 (a household gets one), or
// whom a token names. Counted per loop, without a lock: node-wide a client with connections on all
// loops may take as many times as much as there are loops.
#pragma once
#include <chrono>
#include <cstdint>
#include <string_view>
#include <vector>

#include "base/counter.h"
#include "base/limits.h"
#include "base/loop/clock.h"
#include "edge/fill/origin_meter.h"

namespace segue::edge {

class Registry;

/// 0: no limit. Off by default: thousands of listeners may share one address of a carrier.
struct LimitOptions {
  uint32_t connections = 0;
  uint32_t requests_per_second = 0;
  uint64_t miss_bytes_per_second = 0;
  bool by_token = false;  // requests and misses of who has a token that names somebody
};

/// Loop-owned. The table is as large as it gets from the first limit on (kClientsLimitedMax
/// entries of 32 bytes) and is never grown: where a place is needed, the client that owes least
/// goes.
class ClientLimits final : public OriginMeter {
 public:
  /// Who counts; 0: nobody (a unix socket).
  using Key = Payer;
  /// What a client may save up, in time at its rate: a player opens with a burst.
  static constexpr std::chrono::seconds kRequestBurst{4};
  static constexpr std::chrono::seconds kMissBurst{8};

  explicit ClientLimits(uint64_t seed) : seed_(seed) {}
  /// At start and at a reload; what clients owe stays. Allocates with the first limit.
  void configure(const LimitOptions& options);
  [[nodiscard]] const LimitOptions& options() const noexcept { return options_; }
  [[nodiscard]] bool counts_requests() const noexcept { return requests_or_misses_; }

  [[nodiscard]] Key key_of_token(std::string_view id) const noexcept;

  /// One connection more. close() is for those that were counted.
  enum class Opened : uint8_t { Counted, Uncounted, Refused };
  [[nodiscard]] Opened open(Key key, MonoTime now) noexcept;
  void close(Key key) noexcept;
  /// One request more; else the seconds after which one is allowed again.
  [[nodiscard]] uint32_t request(Key key, MonoTime now) noexcept;
  /// 0 if this client's misses may cost the origin something; else the seconds until then.
  [[nodiscard]] uint32_t miss(Key key, MonoTime now) const noexcept;
  /// OriginMeter: what misses cost, put down in nanoseconds of the rate.
  uint64_t charge(Payer payer, uint64_t bytes, MonoTime now) noexcept override;
  void give_back(Payer payer, uint64_t put_down, uint64_t came) noexcept override;

  void register_metrics(Registry& registry) const;

 private:
  /// Each of the two is the time at which the client owes nothing any more: it moves on with what
  /// is taken, and may be ahead of now by the burst.
  struct Entry {
    Key key = 0;
    int64_t requests_until = 0;
    int64_t misses_until = 0;
    uint32_t connections = 0;
  };
  static constexpr uint32_t kWays = 8;  // places a key can have
  static constexpr uint32_t kSets = kClientsLimitedMax / kWays;
  static_assert(sizeof(Entry) == 32);

  [[nodiscard]] const Entry* find(Key key) const noexcept;
  [[nodiscard]] Entry* find(Key key) noexcept;
  /// Null where all places are of clients with connections: then it is not limited, and counted.
  [[nodiscard]] Entry* find_or_add(Key key, int64_t now) noexcept;
  /// How long the rate takes to pay for it, in nanoseconds; kDebtMax at most.
  [[nodiscard]] int64_t cost_of(uint64_t bytes) const noexcept;

  const uint64_t seed_;
  LimitOptions options_;
  bool requests_or_misses_ = false;
  std::vector<Entry> entries_;
  Counter clients_;    // gauge: entries with connections
  Counter untracked_;  // no place was free
  Counter forgotten_;  // an entry that owed something gave way to another
};

}  // namespace segue::edge
