// edge/delivery/delivery.h - from a parsed request to a response: site, canonical target,
// selection, preconditions, ranges, sending. Loop-owned: one Delivery per loop.
#pragma once
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "edge/delivery/delivery_counters.h"
#include "edge/delivery/exchange.h"
#include "edge/delivery/miss_notes.h"
#include "edge/delivery/site_table.h"
#include "edge/fill/fills.h"
#include "edge/metrics/access_log.h"

namespace segue::edge {

struct Inbox;

class Delivery {
 public:
  struct Options {
    std::string node_name = "segue";
    uint32_t tasks_max = kConnectionsPerLoopMax;
    uint32_t passes_max = kPassesPerLoopMax;
    uint32_t relays_max = kRelaysPerLoopMax;
    std::chrono::milliseconds first_byte_max{
        6000};             // a first byte later than this is a 504: players give up at 8 s
    uint64_t id_seed = 0;  // from Entropy, another for each loop
  };
  Delivery(Loop& loop, cache::LocalStore& local, Fills& fills, Ref<const SiteTable> sites,
           AccessLog* log, Options options);
  ~Delivery();

  /// Serves one request. Either ends it inside the call (a RAM hit the socket accepts: no
  /// allocation, no coroutine, one writev up to kWriteBatchBytes), or goes on in a task of its own;
  /// in both cases stream.finished() is called exactly once, in the end, and the exchange belongs
  /// to the stream again. Never waits itself.
  void serve(Exchange& exchange);
  /// How long a body of this request may be: 0 where its site does not relay its method.
  [[nodiscard]] uint32_t body_bytes_max(const http::Request& request) const noexcept;
  /// Answers a request that the parser refused (400, 414, 431, 505, 408): a short response that
  /// closes the connection.
  void refuse(Exchange& exchange, int status, std::string_view reason);

  /// Tells `planner` what is asked for and what players say they ask for next, from here on; null:
  /// nobody. It outlives the delivery.
  void tell(Inbox* planner) noexcept;
  /// Limits requests and misses by client from here on; null: not. It outlives the delivery.
  void limit_by(ClientLimits* limits) noexcept;
  /// From here on requests go by `sites` (a reload); those under way end on the rules they began
  /// with. On the loop; allocates.
  void set_sites(Ref<const SiteTable> sites);

  /// Waits until no task of this loop runs (their clients having been cut or finished).
  [[nodiscard]] Task<void> drain();
  [[nodiscard]] const DeliveryCounters& counters() const noexcept;
  /// Why requests of this loop were no hits.
  [[nodiscard]] const MissNotes& misses() const noexcept;

 private:
  struct Impl;
  std::unique_ptr<Impl> impl_;
};

}  // namespace segue::edge
