// edge/node/reload.h - brings new settings to every loop of a running node: all or nothing.
// Whatever can fail is prepared first, by the calling thread; what the loops are then told cannot
// fail.
#pragma once
#include <atomic>
#include <cstdint>
#include <expected>
#include <memory>
#include <mutex>
#include <optional>
#include <string>
#include <vector>

#include "base/counter.h"
#include "base/loop/loop.h"
#include "base/ref.h"
#include "edge/access/client_limits.h"
#include "edge/delivery/site_table.h"
#include "edge/node/node_tls.h"
#include "edge/prefetch/prefetcher.h"

namespace segue::edge {

class NodePrefetch;
class Registry;
class Worker;
struct NodeOptions;
struct SharedParts;

class Reload {
 public:
  /// All outlive it; `prefetch` may be null.
  Reload(SharedParts& shared, const std::vector<std::unique_ptr<Worker>>& workers,
         NodePrefetch* prefetch);
  ~Reload();
  Reload(const Reload&) = delete;
  Reload& operator=(const Reload&) = delete;

  /// Takes of `fresh` what a running node can change: the sites, the limits of a stop. The error is
  /// a sentence for the operator, and then nothing has changed. One thread only; may read files,
  /// never waits for a loop. A loop goes by the new rules from its next turn on.
  [[nodiscard]] std::expected<void, std::string> apply(const NodeOptions& fresh);
  /// A reload that got no further than its settings file. The same thread.
  void note_refused() noexcept {
    refused_.add();
    last_success_.set(0);
  }

  /// segue_reloads_total{outcome}, segue_reload_last_success.
  void register_metrics(Registry& registry) const;

 private:
  /// What is ready to be put in force; a part that reads files belongs here.
  struct Prepared {
    Ref<const SiteTable> sites;
    std::optional<Prefetcher::Options> prefetch;
    LimitOptions limits;
    NodeTls::Prepared tls;
  };
  struct Message : PostNode {
    Message() : PostNode(&Message::arrive) {}
    static void arrive(PostNode& node);
    Reload* owner = nullptr;
    Worker* worker = nullptr;
    std::atomic<bool> under_way{false};
    std::atomic<uint64_t> in_force{0};  // the number of the reload that this loop goes by
  };
  /// How many reloads every loop has put in force.
  [[nodiscard]] static double done(const void* reload) noexcept;
  [[nodiscard]] std::expected<Prepared, std::string> prepare(const NodeOptions& fresh) const;

  SharedParts& shared_;
  NodePrefetch* const prefetch_;
  std::vector<std::unique_ptr<Message>> messages_;  // by loop
  std::mutex mutex_;                                // of the next two; held for a copy
  Prepared newest_;
  uint64_t newest_number_ = 0;
  Counter refused_;
  Counter last_success_;  // 1: the last reload was done, or there was none
};

}  // namespace segue::edge
