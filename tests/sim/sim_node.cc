#include "tests/sim/sim_node.h"

#include <fmt/format.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <utility>

namespace segue::testing {
namespace {

using std::chrono::milliseconds;
using std::chrono::seconds;

constexpr uint64_t kHashSeed = 42;
constexpr std::chrono::minutes kSettleMax{30};
constexpr uint64_t kPrefetchMemory = 4 * MiB;
constexpr uint32_t kSessions = 4;  // that feeds plan for

}  // namespace

SimTally& SimTally::operator+=(const SimTally& other) noexcept {
  hit_ram += other.hit_ram;
  hit_drive += other.hit_drive;
  miss += other.miss;
  pass += other.pass;
  stale += other.stale;
  revalidated += other.revalidated;
  negative += other.negative;
  cut += other.cut;
  server_errors += other.server_errors;
  purges += other.purges;
  crashes += other.crashes;
  drives_lost += other.drives_lost;
  drives_back += other.drives_back;
  prefetched += other.prefetched;
  prefetch_used += other.prefetch_used;
  return *this;
}

std::string SimTally::text() const {
  return fmt::format(
      "hit_ram={} hit_drive={} miss={} pass={} stale={} revalidated={} negative={} cut={} "
      "server_errors={} purges={} crashes={} drives_lost={} drives_back={} prefetched={} "
      "prefetch_used={}",
      hit_ram, hit_drive, miss, pass, stale, revalidated, negative, cut, server_errors, purges,
      crashes, drives_lost, drives_back, prefetched, prefetch_used);
}

/// A client with what watches it.
struct SimNode::ClientEntry {
  ClientEntry(const FakeOrigin& origin, const ClientBehaviour& behaviour, uint64_t version_min)
      : check(origin, behaviour, version_min) {}
  ResponseCheck check;
  uint32_t loop = 0;
  std::unique_ptr<SimClient> client;
};

SimNode::SimNode(uint64_t seed, SimNodeOptions options)
    : options_(std::move(options)), world_(seed, options_.loops) {
  auto site = make_ref<edge::Site>();
  site->name = "sim";
  site->hosts = {"*"};
  site->ttl = options_.ttl;
  site->forward_fields = options_.forward_fields;
  sites_ = make_ref<edge::SiteTable>(std::vector<Ref<const edge::Site>>{site});
  Random random(seed ^ 0xd15c);
  for (const FaultOptions& drive : options_.drives)
    platters_.push_back(std::make_unique<Platter>(random.next(), drive));
  formatted_.resize(platters_.size());
  damaged_.resize(platters_.size());
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
  if (!opened && damaged_[drive]) {
    formatted_[drive] = false;  // the operator puts in another
    co_return co_await format_and_mount(drive, mounted);
  }
  EXPECT_TRUE(opened.has_value()) << (opened ? "" : opened.error().where);
  if (opened) mounted = std::move(*opened);
}

/// As the node does at its start (edge/node/drives.cc): who missed an epoch comes back empty.
Task<void> SimNode::agree_on_epoch(std::vector<std::unique_ptr<cache::Drive>>& drives) {
  uint64_t newest = 0;
  for (const auto& drive : drives) newest = std::max(newest, drive->membership_epoch());
  for (size_t i = 0; i < drives.size(); ++i) {
    if (drives[i]->membership_epoch() == newest) continue;
    FaultDisk& disk = *workers_.front()->disks[i];
    EXPECT_TRUE((co_await drives[i]->forget_everything(disk)).has_value());
    EXPECT_TRUE((co_await drives[i]->set_membership_epoch(disk, newest)).has_value());
  }
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
    platters_[i]->set_lost(false);
    run_task(0, [&] { return format_and_mount(i, drives[i]); });
    ASSERT_NE(drives[i], nullptr);
  }
  run_task(0, [&] { return agree_on_epoch(drives); });
  for (size_t i = 0; i < drives.size(); ++i) platters_[i]->options() = options_.drives[i];
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
    disks.reserve(worker.disks.size());
    for (auto& disk : worker.disks) disks.push_back(disk.get());
    worker.local = std::make_unique<cache::LocalStore>(*store_, loop, std::move(disks));
    worker.fetcher = std::make_unique<FakeFetcher>(origin_, loop, options_.fetches_max);
    worker.fills = std::make_unique<edge::Fills>(
        loop, *worker.local, std::vector<origin::Fetcher*>{worker.fetcher.get()},
        edge::Fills::Options{});
    worker.delivery =
        std::make_unique<edge::Delivery>(loop, *worker.local, *worker.fills, sites_, nullptr,
                                         edge::Delivery::Options{.id_seed = i + 1});
  }
  const Loop::Turn turn(world_.loop(0));
  prefetcher_ = std::make_unique<edge::Prefetcher>(
      world_.loop(0), *workers_.front()->local, *workers_.front()->fills, options_.loops,
      edge::Prefetcher::Options{.plan = options_.plan,
                                .hint_bytes_per_second = options_.hints ? 4 * MiB : 0,
                                .memory = kPrefetchMemory});
  prefetcher_->set_sites(sites_->sites(), sites_);
  edge::Prefetcher::Pressure pressure;
  for (uint32_t i = 0; i < options_.loops; ++i) {
    workers_[i]->delivery->tell(&prefetcher_->inbox(i));
    pressure.fills.push_back(&workers_[i]->fills->counters());
  }
  pressure.origins.resize(1);
  prefetcher_->set_pressure(pressure);
  ASSERT_TRUE(workers_.front()->tasks->try_spawn(upkeep_for_ever()));
}

Task<void> SimNode::upkeep_for_ever() {
  while (!stopping_) {
    co_await workers_.front()->local->upkeep();
    co_await sleep_for(seconds{1});
  }
}

Task<void> SimNode::drain(Worker& worker, bool& done) {
  if (&worker == workers_.front().get()) co_await prefetcher_->drain();
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
  count_shared();
  {
    const Loop::Turn turn(world_.loop(0));
    prefetcher_.reset();
  }
  for (uint32_t i = 0; i < workers_.size(); ++i) {
    const Loop::Turn turn(world_.loop(i));
    count_worker(*workers_[i]);
    workers_[i].reset();
  }
  for (uint32_t i = 0; i < world_.loop_count(); ++i)
    EXPECT_EQ(world_.loop(i).frames().frames_in_use(), 0U) << "loop " << i;
  workers_.clear();
  store_.reset();
}

void SimNode::tell(const std::string& what) {
  if (!tells_) return;
  fmt::print("{:>9.3f} {}\n",
             static_cast<double>(world_.clock().mono().time_since_epoch().count()) / 1e9, what);
}

void SimNode::restart(bool crash) {
  tell(crash ? "crash" : "restart");
  for (auto& entry : clients_) {
    const Loop::Turn turn(world_.loop(entry->loop));
    entry->client->leave();
  }
  if (crash) {
    ++tally_.crashes;
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
  auto entry = std::make_unique<ClientEntry>(origin_, behaviour, version_min_[behaviour.target]);
  entry->loop = loop;
  tell(fmt::format("{} {} {}", behaviour.method, behaviour.target, behaviour.range));
  const Loop::Turn turn(world_.loop(loop));
  entry->client = std::make_unique<SimClient>(
      world_, world_.loop(loop), *workers_.at(loop)->delivery, std::move(behaviour), entry->check);
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

FakeTrack& SimNode::add_track(const std::string& target, uint64_t length) {
  FakeTrack& track = origin_.add(target, length);
  track.shows_version = true;
  return track;
}

void SimNode::purge(Purge what, uint32_t loop) {
  const Loop::Turn turn(world_.loop(loop));
  // A full group means 64 purges under way: this one is then simply not made.
  (void)workers_.at(loop)->tasks->try_spawn(run_purge(std::move(what), loop));
}

Task<void> SimNode::run_purge(Purge what, uint32_t loop) {
  std::map<std::string, uint64_t> versions;  // that the origin has now
  for (const auto& [target, track] : origin_.tracks()) {
    const bool covers =
        what.scope == cache::PurgeScope::Everything ||
        (what.scope == cache::PurgeScope::Prefix && target.starts_with(what.target)) ||
        target == what.target;
    if (covers && !what.soft) versions[target] = track.version;
  }
  cache::PurgeStatement statement;
  statement.scope = what.scope;
  statement.soft = what.soft;
  statement.key = store_->hash("sim" + what.target);
  if (what.scope == cache::PurgeScope::Prefix) statement.prefix = "sim" + what.target;
  statement.sequence = store_->next_sequence();
  auto purged = co_await workers_.at(loop)->local->purge(std::move(statement), what.cut);
  tell(fmt::format("purge of {} (scope {}) {}", what.target, static_cast<int>(what.scope),
                   purged ? "acknowledged" : "refused"));
  if (!purged) co_return;  // not acknowledged: nothing is promised
  ++purges_acknowledged_;
  ++tally_.purges;
  for (const auto& [target, version] : versions) {
    uint64_t& version_min = version_min_[target];
    version_min = std::max(version_min, version);
  }
}

void SimNode::count_worker(const Worker& worker) {
  const edge::DeliveryCounters& c = worker.delivery->counters();
  tally_.hit_ram += c.hit_ram.get();
  tally_.hit_drive += c.hit_drive.get();
  tally_.miss += c.miss.get();
  tally_.pass += c.pass.get();
  tally_.stale += c.stale.get();
  tally_.revalidated += c.revalidated.get();
  tally_.negative += c.negative.get();
  tally_.cut += c.cut.get();
  tally_.server_errors += c.status_5xx.get();
}

/// What all loops share.
void SimNode::count_shared() {
  for (const auto& drive : store_->drives())
    tally_.drives_back += drive->counters().returns.load(std::memory_order_relaxed);
  const edge::ModelScores& scores = prefetcher_->scores();
  for (uint32_t model = 0; model < scores.count(); ++model) {
    tally_.prefetched += scores.at(model).fetched.get();
    tally_.prefetch_used += scores.at(model).used.get();
  }
}

SimTally SimNode::tally() {
  const SimTally before = tally_;
  count_shared();
  for (const auto& worker : workers_) count_worker(*worker);
  return std::exchange(tally_, before);
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

void SimNode::tell_state() {
  const cache::Store::Usage usage = store_->usage();
  uint32_t fills = 0;
  for (const auto& worker : workers_) fills += worker->fills->running();
  tell(fmt::format(
      "reserved {} filling {} resident {} writing {} draining {} pinned {} waiters {} contacts {} "
      "fills {} fetches {} clients {}",
      usage.reserved, usage.filling, usage.resident, usage.writing, usage.draining, usage.pinned,
      usage.buffer_waiters, usage.contacts, fills, origin_.in_flight(),
      std::ranges::count_if(clients_, [](const auto& one) { return !one->client->finished(); })));
}

void SimNode::after_step() {
  if (tells_ && world_.clock().mono() >= told_at_ + seconds{1}) {
    told_at_ = world_.clock().mono();
    tell_state();
  }
  // Every step would take every lock: a sample of them sees the same states, and each run's seed
  // samples others.
  if (store_ && prefetcher_ && world_.steps() % 64 == 0) {
    store_->check_invariants();
    expect_budgets();
  }
  if (!no_double_fills_ || world_.steps() % 16 != 0 || !origin_.has_overlapping_fills()) return;
  no_double_fills_ = false;  // said once
  ADD_FAILURE() << "two fetches bring the same bytes of one version";
}

void SimNode::expect_budgets() {
  if (over_budget_) return;  // said once
  const edge::Planner::Gauges plans = prefetcher_->planner().gauges();
  const cache::Store::Usage usage = store_->usage();
  over_budget_ =
      plans.running > options_.plan.orders_max || plans.held_bytes > options_.plan.held_bytes_max ||
      plans.bytes_today > options_.plan.bytes_per_day || plans.memory_bytes > kPrefetchMemory ||
      usage.ram_bytes_mapped > options_.ram_bytes;
  for (const auto& worker : workers_) over_budget_ |= worker->fills->running() > kFillsPerLoopMax;
  over_budget_ |= origin_.in_flight() > options_.fetches_max * options_.loops;
  if (over_budget_) {
    ADD_FAILURE() << "over a budget: running " << plans.running << ", held " << plans.held_bytes
                  << ", today " << plans.bytes_today << ", memory " << plans.memory_bytes
                  << ", mapped " << usage.ram_bytes_mapped << ", fetches " << origin_.in_flight();
  }
}

void SimNode::feed(const std::string& line) {
  tell("feed: " + line);
  const Loop::Turn turn(world_.loop(0));
  const auto taken = prefetcher_->take_line(edge::PrefetchSource::Post, line, ++lines_);
  EXPECT_EQ(taken, edge::Prefetcher::Line::Taken) << line;
}

void SimNode::stop_prefetching() {
  for (uint32_t i = 0; i < kSessions; ++i)
    feed(R"({"op":"cancel","session":"s)" + std::to_string(i) + R"("})");
}

bool SimNode::run_until_answered() {
  const auto answered = [&] {
    return std::ranges::all_of(clients_, [](const auto& entry) {
      return entry->client->finished() ||
             entry->client->behaviour().stops_after_bytes != UINT64_MAX;
    });
  };
  if (world_.run_until(answered, seconds{60})) return true;
  for (const auto& entry : clients_) {
    const SimClient& client = *entry->client;
    if (client.finished()) continue;
    tell(fmt::format("waits on loop {} since {}: {} {}, status {}, {} bytes of {}", entry->loop,
                     client.started().time_since_epoch().count(), client.behaviour().target,
                     client.behaviour().range, client.result().status, client.result().body_bytes,
                     client.result().content_length.value_or(0)));
  }
  return false;
}

void SimNode::lose_drive(size_t drive) {
  ++tally_.drives_lost;
  tell(fmt::format("drive {} is lost", drive));
  platters_.at(drive)->set_lost(true);
}

void SimNode::put_back_drive(size_t drive) {
  tell(fmt::format("drive {} is put back", drive));
  platters_.at(drive)->set_lost(false);
}

void SimNode::expect_all_complete() {
  for (const auto& entry : clients_) {
    const ClientResult& result = entry->client->result();
    if (!result.finished || result.end == edge::Stream::End::Gone) continue;
    EXPECT_EQ(result.end, edge::Stream::End::Complete)
        << describe(entry->client->behaviour().target);
    EXPECT_LT(result.status, 500) << result.cache_status;
    EXPECT_NE(result.status, 404);
  }
}

void SimNode::expect_nothing_held() {
  for (const auto& platter : platters_) EXPECT_EQ(platter->collisions(), 0U);
  store_->check_invariants(/*idle=*/true);
  const cache::Store::Usage usage = store_->usage();
  EXPECT_EQ(usage.contacts, 0U);
  EXPECT_EQ(usage.reserved, 0U);
  EXPECT_EQ(usage.filling, 0U);
  EXPECT_EQ(usage.draining, 0U);
  EXPECT_EQ(usage.pinned, 0U);
  EXPECT_EQ(usage.buffer_waiters, 0U);
  EXPECT_EQ(origin_.in_flight(), 0U);
  for (const auto& drive : store_->drives()) {
    const cache::Drive::Census census = drive->census();
    EXPECT_EQ(census.readers, 0U);
    EXPECT_EQ(census.in_state[static_cast<size_t>(cache::SlotState::Writing)], 0U);
    EXPECT_EQ(census.in_state[static_cast<size_t>(cache::SlotState::Retiring)], 0U);
  }
}

void SimNode::settle() {
  for (auto& entry : clients_) {
    const Loop::Turn turn(world_.loop(entry->loop));
    entry->client->leave();
  }
  end_hangs();
  stop_prefetching();
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
  expect_nothing_held();
}

}  // namespace segue::testing
