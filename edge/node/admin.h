// edge/node/admin.h - the admin listener of a node: what operators may ask of it, on loop 0.
#pragma once
#include <expected>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "base/loop/task.h"
#include "edge/admin/admin_actions.h"
#include "edge/admin/admin_handler.h"
#include "edge/server/server.h"

namespace segue::edge {

struct NodeOptions;
struct SharedParts;
class Prefetcher;
class Worker;

/// What the admin listener asks, answered from the node's parts. Loop 0.
class NodeActions final : public AdminActions {
 public:
  NodeActions(SharedParts& shared, Worker& worker, const std::string& name,
              const std::vector<std::string>& addresses)
      : shared_(shared), worker_(worker), name_(name), addresses_(addresses) {}

  [[nodiscard]] NodeReadiness ready() const override;
  [[nodiscard]] std::string node_json() const override;
  [[nodiscard]] std::optional<std::string> listens(bool csv) const override;
  void drain() override { draining_ = true; }
  [[nodiscard]] Task<Result<PurgeOutcome>> purge(PurgeRequest request) override;
  [[nodiscard]] Task<Result<std::string>> explain(std::string url) override;
  [[nodiscard]] FeedOutcome feed(std::string_view lines) override;
  /// Where feed lines go; null: prefetch is off.
  void set_prefetcher(Prefetcher* prefetcher) noexcept { prefetcher_ = prefetcher; }

  [[nodiscard]] bool draining() const noexcept { return draining_; }
  void stop() noexcept { stopping_ = true; }

 private:
  SharedParts& shared_;
  Worker& worker_;
  const std::string& name_;
  const std::vector<std::string>& addresses_;  // complete once the node listens
  Prefetcher* prefetcher_ = nullptr;
  bool draining_ = false;
  bool stopping_ = false;
};

/// Nothing at all where no admin address is set.
class AdminListener {
 public:
  /// `addresses`: where the node listens; filled while it is built.
  AdminListener(const NodeOptions& options, SharedParts& shared, Worker& worker,
                const std::vector<std::string>& addresses);
  ~AdminListener();
  /// `handed_over`: sockets of a service manager; one that is ours is taken out. The error is a
  /// sentence for the operator.
  [[nodiscard]] std::expected<void, std::string> listen(std::vector<int>& handed_over);
  /// Asked to retire: /ready says no, and the node ends once nobody is connected.
  [[nodiscard]] bool draining() const noexcept { return actions_.draining(); }
  [[nodiscard]] AdminActions& actions() noexcept { return actions_; }
  void set_prefetcher(Prefetcher* prefetcher) noexcept { actions_.set_prefetcher(prefetcher); }
  /// /ready says no from here on; the listener goes on until drain(). On loop 0.
  void start_stopping() noexcept { actions_.stop(); }
  [[nodiscard]] Task<void> drain();

 private:
  const NodeOptions& options_;
  Worker& worker_;
  bool own_socket_ = false;
  NodeActions actions_;
  std::unique_ptr<AdminHandler> handler_;
  std::unique_ptr<Server> server_;
};

}  // namespace segue::edge
