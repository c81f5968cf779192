// origin/counters.h - what one loop's fetcher did. Written by its loop, read by any thread (the
// scrape) at any time: plain counters, no callbacks.
#pragma once
#include <array>
#include <cstdint>

#include "base/counter.h"
#include "origin/fault.h"

namespace segue::origin {

struct OriginCounters {
  Counter fetches;            // accepted by start()
  Counter fetches_in_flight;  // gauge
  Counter fetches_refused;    // start() said no: limit reached, or every breaker open
  Counter requests;  // sent to a server: fetches + retries + failovers + resumes + redirects
  Counter heads;     // final heads handed on
  Counter heads_by_class[6];  // by status / 100; [0] is unused
  Counter bodies_complete;
  Counter bodies_dropped;  // the consumer let go before the end
  Counter body_bytes;
  Counter retries;    // same server, fresh connection
  Counter failovers;  // another server
  Counter resumes;    // asked for the rest of a body
  Counter resumed;    // and got it
  Counter redirects;  // followed
  Counter connections_opened;
  Counter connections_open;         // gauge
  Counter connections_reused;       // requests on a kept connection
  Counter connections_unsolicited;  // closed because bytes came that nobody had asked for
  Counter pauses;                   // times a slow consumer stopped a transfer
  Counter first_byte_count;         // latency from request to head: mean = sum / count
  Counter first_byte_ns_sum;
  Counter resolver_lookups;
  Counter resolver_failures;
  Counter resolver_stale_used;              // look-ups answered by addresses whose time had run out
  std::array<Counter, kFaultCount> faults;  // each attempt's end by reason; [None] stays 0

  [[nodiscard]] uint64_t fault_count(Fault fault) const noexcept {
    return faults[static_cast<size_t>(fault)].get();
  }
};

}  // namespace segue::origin
