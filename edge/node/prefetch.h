// edge/node/prefetch.h - prefetch of a running node: one planner on loop 0, told by the deliveries
// of all loops, fed by followed files, the admin listener and NATS.
#pragma once
#include <memory>
#include <vector>

#include "base/loop/task.h"
#include "edge/node/feed_purges.h"
#include "edge/prefetch/feed_follower.h"
#include "edge/prefetch/predictor_keeper.h"
#include "edge/prefetch/prefetcher.h"

namespace segue::edge {

class Registry;
class SiteTable;
class Worker;
struct NodeOptions;
struct SharedParts;

/// Built after the workers are wired, destroyed before them.
class NodePrefetch {
 public:
  NodePrefetch(const NodeOptions& options, SharedParts& shared,
               const std::vector<std::unique_ptr<Worker>>& workers);
  ~NodePrefetch();
  NodePrefetch(const NodePrefetch&) = delete;
  NodePrefetch& operator=(const NodePrefetch&) = delete;

  [[nodiscard]] Prefetcher& prefetcher() noexcept { return *prefetcher_; }
  /// `actions` outlives drain().
  void start(AdminActions& actions);
  /// On loop 0: rules of a reload.
  void set_sites(const SiteTable& sites);
  /// On loop 0, before its worker is drained.
  [[nodiscard]] Task<void> drain();

 private:
  void register_metrics(Registry& registry) const;
  void register_learning(Registry& registry) const;
  void register_hints(Registry& registry) const;

  Loop& loop_;
  std::unique_ptr<Prefetcher> prefetcher_;
  std::vector<std::unique_ptr<FeedFollower>> followers_;
  std::unique_ptr<NodeFeedPurges> purges_;       // from start() on
  std::vector<std::unique_ptr<NatsFeed>> nats_;  // by subject
  std::unique_ptr<PredictorKeeper> keeper_;      // null: what is learned is not kept
};

}  // namespace segue::edge
