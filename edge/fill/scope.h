// edge/fill/scope.h - what every coroutine of a request needs to know about where and until when it
// runs.
#pragma once
#include <cstdint>

#include "base/loop/task.h"
#include "cache/store.h"

namespace segue::edge {

/// Handed down by reference as the first argument; lives in the exchange (or the fill's own task).
/// Loop-owned.
struct Scope {
  Loop& loop;
  cache::LocalStore& local;
  /// Raised when anything this request waits for may have happened: bytes landed, the client became
  /// writable or went away.
  Signal& signal;
  /// True once the client is gone: whoever waits for its sake gives up at once with {Client,
  /// Closed}.
  const bool& cancelled;
  /// Until when the first byte must be there (origin `total`: 6 s, players give up at 8).
  MonoTime deadline = kNever;
  /// Hex of the trace id that goes to the origin as traceparent and to the log; owned by the
  /// exchange.
  const char* traceparent = "";
};

}  // namespace segue::edge
