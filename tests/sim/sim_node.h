// tests/sim/sim_node.h - a whole node in the simulation: real store, drives, fills and delivery on
// several loops of one thread; fake disks, origin, clients and clock. Checks the invariants of
// ARCHITECTURE.md after every step.
#pragma once
#include <deque>
#include <map>
#include <memory>
#include <string>
#include <vector>

#include "cache/drive.h"
#include "cache/store.h"
#include "edge/delivery/delivery.h"
#include "edge/fill/fills.h"
#include "edge/fill/stored_response.h"
#include "tests/sim/sim_client.h"
#include "tests/support/fake_origin.h"
#include "tests/support/fault_disk.h"
#include "tests/support/sim_loop.h"

namespace segue::testing {

struct SimNodeOptions {
  uint32_t loops = 2;
  uint64_t ram_bytes = 8 * MiB;
  std::vector<FaultOptions> drives;  // size_bytes is the drive's
  cache::EvictionPolicy policy = cache::EvictionPolicy::Lru;
  edge::TtlRules ttl;
};

class SimNode final : public StepHook, public BodyCheck {
 public:
  SimNode(uint64_t seed, SimNodeOptions options);
  ~SimNode() override;

  [[nodiscard]] SimWorld& world() noexcept { return world_; }
  [[nodiscard]] FakeOrigin& origin() noexcept { return origin_; }
  [[nodiscard]] cache::Store& store() noexcept { return *store_; }
  [[nodiscard]] Platter& platter(size_t index) { return *platters_.at(index); }
  [[nodiscard]] const edge::FillCounters& fill_counters(uint32_t loop) const {
    return workers_.at(loop)->fills->counters();
  }

  /// Sends a request on `loop`; the client lives as long as the node.
  SimClient& request(uint32_t loop, ClientBehaviour behaviour);
  /// Sends it and runs until it is answered; the whole node goes on meanwhile.
  const ClientResult& get(const std::string& target, const std::string& range = "",
                          uint32_t loop = 0);

  /// Changes the origin's track and purges it: what is begun after the acknowledgement must be the
  /// new version or newer. Returns at once; the acknowledgement comes while the world runs.
  enum class PurgeKind : uint8_t { Key, Prefix, Everything };
  void change_and_purge(const std::string& target, uint64_t new_length, PurgeKind kind,
                        uint32_t loop);
  [[nodiscard]] uint32_t purges_acknowledged() const noexcept { return purges_acknowledged_; }

  /// What the origin was asked last and what the fills counted: for the message of a failure.
  [[nodiscard]] std::string describe(const std::string& target);

  /// Takes the node down and brings it up on the same platters. `crash`: as the platters are left
  /// by a power cut; every client leaves first.
  void restart(bool crash);
  /// Every client leaves; runs until all is at rest; checks that nothing is held.
  void settle();

  // StepHook, BodyCheck
  void after_step() override;
  void check(const ClientResult& so_far, uint64_t offset,
             std::span<const std::byte> bytes) override;

 private:
  struct Worker {
    std::vector<std::unique_ptr<FaultDisk>> disks;
    std::unique_ptr<cache::LocalStore> local;
    std::unique_ptr<FakeFetcher> fetcher;
    std::unique_ptr<edge::Fills> fills;
    std::unique_ptr<edge::Delivery> delivery;
    std::unique_ptr<TaskGroup> tasks;
  };
  struct ClientEntry;

  void build();
  void take_down();
  void end_hangs();
  template <class Make>
  void run_task(uint32_t loop, Make make);
  Task<void> format_and_mount(size_t drive, std::unique_ptr<cache::Drive>& mounted);
  Task<void> purge(std::string target, cache::PurgeScope scope, uint64_t version, uint32_t loop);
  Task<void> upkeep_for_ever();
  Task<void> drain(Worker& worker, bool& done);
  void forget_finished_clients();

  const SimNodeOptions options_;
  SimWorld world_;
  FakeOrigin origin_;
  edge::StoredResponseCodec codec_;
  Ref<const edge::SiteTable> sites_;
  std::vector<std::unique_ptr<Platter>> platters_;
  std::vector<bool> formatted_;
  std::unique_ptr<cache::Store> store_;
  std::vector<std::unique_ptr<Worker>> workers_;
  std::vector<std::unique_ptr<ClientEntry>> clients_;
  ClientEntry* sending_ = nullptr;               // whose bytes check() sees
  std::map<std::string, uint64_t> version_min_;  // by target: what an acknowledged purge allows
  uint32_t purges_acknowledged_ = 0;
  bool stopping_ = false;
};

}  // namespace segue::testing
