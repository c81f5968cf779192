// edge/node/feed_purges.h - purges that come with a feed, made as if they had come to the admin
// listener.
#pragma once
#include "edge/admin/admin_actions.h"
#include "edge/prefetch/feed_nats.h"

namespace segue::edge {

/// On loop 0, where the actions are.
class NodeFeedPurges final : public FeedPurges {
 public:
  /// `actions` outlives the drain of the feeds.
  explicit NodeFeedPurges(AdminActions& actions) noexcept : actions_(actions) {}
  Task<End> purge(std::string_view message, uint64_t sequence) override;

 private:
  AdminActions& actions_;
};

}  // namespace segue::edge
