// edge/node/overload.h - reads how much of each resource a running node has in use, every
// kOverloadLookEvery on loop 0, and has the overload manager judge it.
#pragma once
#include <cstdint>
#include <memory>
#include <vector>

#include "base/loop/loop.h"
#include "edge/node/memory_trimmer.h"
#include "edge/overload/overload.h"

namespace segue::edge {

class Worker;
struct NodeOptions;
struct SharedParts;

/// Built after the node listens, so that the descriptors it has of its own are open; destroyed
/// before the workers. Loop 0's.
class NodeOverload {
 public:
  NodeOverload(const NodeOptions& options, SharedParts& shared,
               const std::vector<std::unique_ptr<Worker>>& workers);
  ~NodeOverload();
  NodeOverload(const NodeOverload&) = delete;
  NodeOverload& operator=(const NodeOverload&) = delete;

  /// On loop 0, before it runs.
  void start();
  /// On loop 0, before its worker is drained.
  void stop();

 private:
  struct Look : Timer {
    explicit Look(NodeOverload& to) : Timer(&Look::run), owner(to) {}
    static void run(Timer& timer) { static_cast<Look&>(timer).owner.look(); }
    NodeOverload& owner;
  };

  void look();
  [[nodiscard]] Reading buffers() const;
  [[nodiscard]] Reading memory() const;
  [[nodiscard]] Reading descriptors() const;
  [[nodiscard]] Reading fills() const;
  [[nodiscard]] Reading ring() const;
  /// Descriptors of connections to clients and origins.
  [[nodiscard]] uint64_t connections() const;
  void trim_memory();

  // constant after construction
  SharedParts& shared_;
  const std::vector<std::unique_ptr<Worker>>& workers_;
  const uint64_t ram_bytes_;  // 0: not judged
  uint64_t hugetlb_bytes_ = 0;
  uint64_t own_descriptors_ = 0;  // what is neither a client's nor an origin's
  // loop-owned
  Look look_;
  MonoTime trim_again_{};
  MemoryTrimmer trimmer_;
};

}  // namespace segue::edge
