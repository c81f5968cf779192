#include "tests/sim/sim_node.h"

#include <fmt/format.h>
#include <gtest/gtest.h>

#include <charconv>

namespace segue::testing {
namespace {

using std::chrono::milliseconds;
using std::chrono::seconds;

constexpr uint64_t kHashSeed = 42;
constexpr std::chrono::minutes kSettleMax{30};

/// The version that an ETag of the fake origin names ("v3" in quotes).
uint64_t version_of(std::string_view etag) {
  uint64_t version = 0;
  if (etag.size() > 3) std::from_chars(etag.data() + 2, etag.data() + etag.size() - 1, version);
  return version;
}

/// First byte of the body within the representation.
uint64_t first_of(const ClientResult& result) {
  uint64_t first = 0;
  const std::string_view text = result.content_range;
  if (text.starts_with("bytes "))
    std::from_chars(text.data() + 6, text.data() + text.size(), first);
  return first;
}

}  // namespace

/// A client with what the test must remember of its start.
struct SimNode::ClientEntry final : BodyCheck {
  void check(const ClientResult& so_far, uint64_t offset,
             std::span<const std::byte> bytes) override {
    node->sending_ = this;
    node->check(so_far, offset, bytes);
    node->sending_ = nullptr;
  }
  SimNode* node = nullptr;
  uint64_t version_min = 0;  // acknowledged purges before it was started
  uint32_t loop = 0;
  std::unique_ptr<SimClient> client;
};

SimNode::SimNode(uint64_t seed, SimNodeOptions options)
    : options_(std::move(options)), world_(seed, options_.loops) {
  auto site = make_ref<edge::Site>();
  site->name = "sim";
  site->hosts = {"*"};
  site->ttl = options_.ttl;
  sites_ = make_ref<edge::SiteTable>(std::vector<Ref<const edge::Site>>{site});
  Random random(seed ^ 0xd15c);
  for (const FaultOptions& drive : options_.drives)
    platters_.push_back(std::make_unique<Platter>(random.next(), drive));
  formatted_.resize(platters_.size());
  build();
  world_.set_hook(this);
}

SimNode::~SimNode() {
  settle();
  take_down();
}

template <class Make>
void SimNode::run_task(uint32_t loop, Make make) {
  TaskGroup group(world_.loop(loop), 1);
  {
    const Loop::Turn turn(world_.loop(loop));
    ASSERT_TRUE(group.try_spawn(make()));
  }
  ASSERT_TRUE(world_.run_until([&] { return group.running() == 0; }, kSettleMax));
}

Task<void> SimNode::format_and_mount(size_t drive, std::unique_ptr<cache::Drive>& mounted) {
  FaultDisk& disk = *workers_.front()->disks[drive];
  if (!formatted_[drive]) {
    auto formatted = co_await cache::Drive::format(disk, {.size_bytes = disk.size_bytes(),
                                                          .hash_seed = kHashSeed,
                                                          .device_id = drive + 1,
                                                          .membership_epoch = 1,
                                                          .shares = {}});
    EXPECT_TRUE(formatted.has_value());
    formatted_[drive] = true;
  }
  auto opened = co_await cache::Drive::mount(disk, {.policy = options_.policy}, world_.clock());
  EXPECT_TRUE(opened.has_value()) << (opened ? "" : opened.error().where);
  if (opened) mounted = std::move(*opened);
}

void SimNode::build() {
  stopping_ = false;
  for (uint32_t i = 0; i < options_.loops; ++i) {
    auto worker = std::make_unique<Worker>();
    const Loop::Turn turn(world_.loop(i));
    for (auto& platter : platters_)
      worker->disks.push_back(std::make_unique<FaultDisk>(world_.loop(i), *platter));
    worker->tasks = std::make_unique<TaskGroup>(world_.loop(i), 64);
    workers_.push_back(std::move(worker));
  }
  std::vector<std::unique_ptr<cache::Drive>> drives(platters_.size());
  for (size_t i = 0; i < drives.size(); ++i) {
    // A drive that fails while it is mounted is left out of the node, which is a test of its own;
    // here it comes up.
    FaultOptions& faults = platters_[i]->options();
    faults = {.size_bytes = faults.size_bytes};
    run_task(0, [&] { return format_and_mount(i, drives[i]); });
    ASSERT_NE(drives[i], nullptr);
    faults = options_.drives[i];
  }
  auto store = cache::Store::create({.ram_bytes = options_.ram_bytes,
                                     .policy = options_.policy,
                                     .hash_seed = kHashSeed,
                                     .huge_pages = false},
                                    codec_, world_.clock(), std::move(drives));
  ASSERT_TRUE(store.has_value()) << store.error().where;
  store_ = std::move(*store);
  for (uint32_t i = 0; i < options_.loops; ++i) {
    Worker& worker = *workers_[i];
    SimLoop& loop = world_.loop(i);
    const Loop::Turn turn(loop);
    std::vector<Disk*> disks;
    for (auto& disk : worker.disks) disks.push_back(disk.get());
    worker.local = std::make_unique<cache::LocalStore>(*store_, loop, std::move(disks));
    worker.fetcher = std::make_unique<FakeFetcher>(origin_, loop);
    worker.fills = std::make_unique<edge::Fills>(
        loop, *worker.local, std::vector<origin::Fetcher*>{worker.fetcher.get()},
        edge::Fills::Options{});
    worker.delivery =
        std::make_unique<edge::Delivery>(loop, *worker.local, *worker.fills, sites_, nullptr,
                                         edge::Delivery::Options{.id_seed = i + 1});
  }
  const Loop::Turn turn(world_.loop(0));
  ASSERT_TRUE(workers_.front()->tasks->try_spawn(upkeep_for_ever()));
}

Task<void> SimNode::upkeep_for_ever() {
  while (!stopping_) {
    co_await workers_.front()->local->upkeep();
    co_await sleep_for(seconds{1});
  }
}

Task<void> SimNode::drain(Worker& worker, bool& done) {
  co_await worker.delivery->drain();
  co_await worker.fills->drain();
  co_await worker.local->drain();
  done = true;
}

void SimNode::end_hangs() {
  for (auto& platter : platters_) {
    platter->options().hang_one_in = 0;
    platter->release_hung();
  }
}

void SimNode::take_down() {
  stopping_ = true;
  end_hangs();  // memory that a drive may still write to is never given up: a stop waits for it
  std::deque<bool> done(workers_.size(), false);
  for (uint32_t i = 0; i < workers_.size(); ++i) {
    const Loop::Turn turn(world_.loop(i));
    ASSERT_TRUE(workers_[i]->tasks->try_spawn(drain(*workers_[i], done[i])));
  }
  const auto all_ended = [&] {
    return std::ranges::all_of(workers_,
                               [](const auto& worker) { return worker->tasks->running() == 0; });
  };
  ASSERT_TRUE(world_.run_until(all_ended, kSettleMax)) << "a loop did not drain";
  // Messages to loops that drained first are still under way.
  world_.run_for(milliseconds{1});
  store_->check_invariants(/*idle=*/true);
  world_.set_hook(nullptr);
  for (uint32_t i = 0; i < workers_.size(); ++i) {
    const Loop::Turn turn(world_.loop(i));
    workers_[i].reset();
  }
  workers_.clear();
  store_.reset();
}

void SimNode::restart(bool crash) {
  for (auto& entry : clients_) {
    const Loop::Turn turn(world_.loop(entry->loop));
    entry->client->leave();
  }
  if (crash) {
    for (auto& platter : platters_) platter->crash();
  }
  take_down();
  forget_finished_clients();
  build();
  world_.set_hook(this);
}

void SimNode::forget_finished_clients() {
  std::erase_if(clients_, [](const auto& entry) { return entry->client->finished(); });
}

SimClient& SimNode::request(uint32_t loop, ClientBehaviour behaviour) {
  auto entry = std::make_unique<ClientEntry>();
  entry->node = this;
  entry->loop = loop;
  entry->version_min = version_min_[behaviour.target];
  const Loop::Turn turn(world_.loop(loop));
  entry->client = std::make_unique<SimClient>(world_.loop(loop), *workers_.at(loop)->delivery,
                                              std::move(behaviour), *entry);
  clients_.push_back(std::move(entry));
  SimClient& client = *clients_.back()->client;
  client.start();
  return client;
}

const ClientResult& SimNode::get(const std::string& target, const std::string& range,
                                 uint32_t loop) {
  SimClient& client = request(loop, {.target = target, .range = range});
  EXPECT_TRUE(world_.run_until([&] { return client.finished(); }, seconds{120}))
      << "no answer in bounded time";
  return client.result();
}

void SimNode::change_and_purge(const std::string& target, uint64_t new_length, PurgeKind kind,
                               uint32_t loop) {
  origin_.change(target, new_length);
  const cache::PurgeScope scope = kind == PurgeKind::Key      ? cache::PurgeScope::Key
                                  : kind == PurgeKind::Prefix ? cache::PurgeScope::Prefix
                                                              : cache::PurgeScope::Everything;
  const Loop::Turn turn(world_.loop(loop));
  // A full group means 64 purges under way: this one is then simply not made.
  (void)workers_.at(loop)->tasks->try_spawn(
      purge(target, scope, origin_.track(target).version, loop));
}

Task<void> SimNode::purge(std::string target, cache::PurgeScope scope, uint64_t version,
                          uint32_t loop) {
  cache::PurgeStatement statement;
  statement.scope = scope;
  statement.key = store_->hash("sim" + target);
  statement.prefix = "sim" + target;
  statement.sequence = store_->next_sequence();
  auto purged = co_await workers_.at(loop)->local->purge(std::move(statement), /*cut=*/false);
  if (!purged) co_return;  // not acknowledged: nothing is promised
  ++purges_acknowledged_;
  uint64_t& version_min = version_min_[target];
  version_min = std::max(version_min, version);
}

std::string SimNode::describe(const std::string& target) {
  const FakeTrack& track = origin_.track(target);
  std::string text =
      fmt::format("{} length={} version={} ignores_range={} unknown_length={}\n", target,
                  track.length, track.version, track.ignores_range, track.unknown_length);
  std::vector<const FakeRequest*> asked;
  for (const FakeRequest& request : origin_.requests()) {
    if (request.target == target) asked.push_back(&request);
  }
  constexpr size_t kShown = 8;
  for (size_t i = asked.size() - std::min(asked.size(), kShown); i < asked.size(); ++i) {
    text += fmt::format("  asked form={} {}-{} expected={} if-none-match={}\n",
                        static_cast<int>(asked[i]->range_form), asked[i]->range.first,
                        asked[i]->range.end, asked[i]->expected_etag, asked[i]->if_none_match);
  }
  for (auto& worker : workers_) {
    const edge::FillCounters& c = worker->fills->counters();
    text += fmt::format(
        "  contacts={} revalidations={} started={} finished={} cut={} rejected={} early={} "
        "mismatches={} replaced={} buffer_waits={}\n",
        c.contacts.get(), c.revalidations.get(), c.fills_started.get(), c.fills_finished.get(),
        c.fills_cut.get(), c.fills_rejected.get(), c.fills_ended_early.get(),
        c.validator_mismatches.get(), c.generations_replaced.get(), c.buffer_waits.get());
  }
  return text;
}

void SimNode::after_step() {
  // Every step would take every lock: a sample of them sees the same states, and each run's seed
  // samples others.
  if (store_ && world_.steps() % 64 == 0) store_->check_invariants();
}

void SimNode::check(const ClientResult& so_far, uint64_t offset, std::span<const std::byte> bytes) {
  if (so_far.status != 200 && so_far.status != 206) return;
  const uint64_t version = version_of(so_far.etag);
  const std::string& target = sending_->client->behaviour().target;
  ASSERT_GE(version, sending_->version_min)
      << target << ": purged bytes in a response begun after the acknowledgement";
  const uint64_t first = first_of(so_far) + offset;
  const std::string expected = FakeOrigin::bytes(target, version, {first, first + bytes.size()});
  ASSERT_TRUE(std::memcmp(expected.data(), bytes.data(), bytes.size()) == 0)
      << target << " " << so_far.content_range << ": wrong bytes at " << first << " of version "
      << version;
}

void SimNode::settle() {
  for (auto& entry : clients_) {
    const Loop::Turn turn(world_.loop(entry->loop));
    entry->client->leave();
  }
  end_hangs();
  const auto at_rest = [&] {
    for (auto& entry : clients_) {
      if (!entry->client->finished()) return false;
    }
    for (auto& worker : workers_) {
      if (worker->fills->running() != 0) return false;
    }
    return true;
  };
  ASSERT_TRUE(world_.run_until(at_rest, kSettleMax)) << "something never ended";
  // Drive operations end within their latency; orphaned waiters with the messages above.
  world_.run_for(seconds{2});
  forget_finished_clients();
}

}  // namespace segue::testing
