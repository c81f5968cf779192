// tests/sim/sim_node.h - a whole node in the simulation: real store, drives, fills and delivery on
// several loops of one thread; fake disks, origin, clients and clock. Checks the invariants of
// ARCHITECTURE.md after every step.
#pragma once
#include <cstdlib>
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
#include "edge/prefetch/prefetcher.h"
#include "tests/sim/sim_check.h"
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
  std::vector<std::string> forward_fields;
  uint32_t fetches_max = kOriginConnectionsPerLoopMax;  // at once, per loop; others queue
  bool hints = true;                                    // of players are listened to
  edge::Planner::Options plan;
};

/// What a node has answered, by how it came by it.
struct SimTally {
  uint64_t hit_ram = 0, hit_drive = 0, miss = 0, pass = 0, stale = 0, revalidated = 0, negative = 0;
  uint64_t cut = 0, server_errors = 0, purges = 0, crashes = 0, drives_lost = 0, drives_back = 0;
  uint64_t prefetched = 0, prefetch_used = 0;

  SimTally& operator+=(const SimTally& other) noexcept;
  [[nodiscard]] std::string text() const;
};

class SimNode final : public StepHook {
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

  /// A track whose versions the checks can tell apart. The reference is valid for good.
  FakeTrack& add_track(const std::string& target, uint64_t length);
  /// Purges; once it is acknowledged, what is begun must be of the version the origin has now, or
  /// newer. Returns at once; the acknowledgement comes while the world runs.
  struct Purge {
    cache::PurgeScope scope = cache::PurgeScope::Key;
    std::string target;  // Key, Prefix
    bool soft = false;   // promises nothing about versions while stale answers are allowed
    bool cut = false;
  };
  void purge(Purge what, uint32_t loop);
  /// A line of a recommendation feed (conf/feed.md).
  void feed(const std::string& line);
  [[nodiscard]] uint32_t purges_acknowledged() const noexcept { return purges_acknowledged_; }

  /// What the origin was asked last and what the fills counted: for the message of a failure.
  [[nodiscard]] std::string describe(const std::string& target);

  /// Takes the node down and brings it up on the same platters. `crash`: as the platters are left
  /// by a power cut; every client leaves first.
  void restart(bool crash);
  /// Runs until every client that reads has been answered; false if one has not within 60 s of
  /// virtual time. With a healthy origin that is a lost wake-up, whatever the drives do.
  [[nodiscard]] bool run_until_answered();
  /// Every client leaves; runs until all is at rest; checks that nothing is held.
  void settle();
  /// What was answered since the beginning, over all restarts.
  [[nodiscard]] SimTally tally();
  /// Bit rot or worse: a drive that cannot be mounted any more after this is formatted anew.
  void note_damage(size_t drive) { damaged_.at(drive) = true; }
  /// Pulls the drive: it fails from now on. put_back_drive(), or a restart, ends it.
  void lose_drive(size_t drive);
  void put_back_drive(size_t drive);
  [[nodiscard]] uint64_t ram_bytes() const noexcept { return options_.ram_bytes; }
  [[nodiscard]] size_t drives() const noexcept { return platters_.size(); }
  /// Asserts that all who read got all they asked for (and what they asked for can be had).
  void expect_all_complete();
  /// From now on no two fetches may complete the same bytes at once.
  void forbid_double_fills() noexcept { no_double_fills_ = true; }

  // StepHook
  void after_step() override;

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
  Task<void> agree_on_epoch(std::vector<std::unique_ptr<cache::Drive>>& drives);
  Task<void> run_purge(Purge what, uint32_t loop);
  void count_worker(const Worker& worker);
  void count_shared();
  void stop_prefetching();
  void expect_budgets();
  void expect_nothing_held();
  /// Prints what happens, if SIM_LOG is in the environment.
  void tell(const std::string& what);
  void tell_state();
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
  std::unique_ptr<edge::Prefetcher> prefetcher_;  // of loop 0
  uint64_t lines_ = 0;
  std::vector<std::unique_ptr<ClientEntry>> clients_;
  std::map<std::string, uint64_t> version_min_;  // by target: what acknowledged purges allow
  std::vector<bool> damaged_;
  SimTally tally_;
  bool no_double_fills_ = false;
  bool over_budget_ = false;
  uint32_t purges_acknowledged_ = 0;
  bool stopping_ = false;
  MonoTime told_at_{};
  const bool tells_ = std::getenv("SIM_LOG") != nullptr;  // NOLINT(concurrency-mt-unsafe)
};

}  // namespace segue::testing
