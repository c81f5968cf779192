// edge/admin/admin_actions.h - what the admin listener can ask of the node. The node implements it;
// the admin handler only turns HTTP into these calls and back.
#pragma once
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

#include "base/loop/task.h"
#include "base/result.h"

namespace segue::edge {

enum class PurgeTarget : uint8_t {
  Url,         // one representation with its variants: "https://audio.example.com/t/1"
  Prefix,      // every URL that begins with it
  Tag,         // every answer that carried it, of all sites
  Everything,  // all sites
};

struct PurgeRequest {
  PurgeTarget target = PurgeTarget::Url;
  std::string text;   // the URL, prefix or tag as sent; empty for Everything
  bool soft = false;  // stale instead of gone
  bool cut = false;   // also ends the responses that are running on it
};

/// Which statement was made, for the operator's records.
struct PurgeOutcome {
  uint64_t sequence = 0;
};

/// May the load balancer send requests here? Never depends on an origin.
struct NodeReadiness {
  bool ready = false;
  std::string_view reason;  // "serving", "draining", "starting"; static storage
};

/// What became of lines of a recommendation feed.
struct FeedOutcome {
  uint64_t read = 0;  // lines, empty ones too: whoever comes again begins behind them
  uint64_t taken = 0;
  uint64_t malformed = 0;
  bool too_fast = false;  // the lines after these were not read: come again
  bool off = false;       // this node takes no feed
};

/// Called on the loop of the admin listener.
class AdminActions {
 public:
  virtual ~AdminActions() = default;

  [[nodiscard]] virtual NodeReadiness ready() const = 0;
  /// Name, version, addresses and sites as JSON, for the page.
  [[nodiscard]] virtual std::string node_json() const = 0;
  /// Listening per track and hour, as CSV or lines of JSON; nothing where it is not counted.
  [[nodiscard]] virtual std::optional<std::string> listens(bool csv) const = 0;
  /// Retire: /ready says no from here on, the node serves on until it is idle. May be asked again.
  virtual void drain() = 0;
  /// Ends when the purge is in force and durable. Waits. Errors: {Client, Malformed | NotFound}
  /// with `where` as the reason for the operator (400); {Self, Full | Overloaded}: try later (503);
  /// else 500.
  [[nodiscard]] virtual Task<Result<PurgeOutcome>> purge(PurgeRequest request) = 0;
  /// Lines of a recommendation feed (NDJSON); never waits.
  [[nodiscard]] virtual FeedOutcome feed(std::string_view /*lines*/) { return {.off = true}; }
  /// What the node knows of `url`, as text for people. Waits. Errors as purge().
  [[nodiscard]] virtual Task<Result<std::string>> explain(std::string url) = 0;
};

}  // namespace segue::edge
