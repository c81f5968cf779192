#include "edge/access/client_limits.h"

#include <algorithm>
#include <span>

#include "base/assert.h"
#include "base/hash.h"
#include "edge/metrics/registry.h"

namespace segue::edge {
namespace {

constexpr int64_t kNanoseconds = 1'000'000'000;
// A debt beyond this is forgiven: nobody waits for minutes because of one mistake.
constexpr int64_t kDebtMax = 60 * kNanoseconds;

int64_t count_of(MonoTime time) noexcept {
  return std::chrono::duration_cast<std::chrono::nanoseconds>(time.time_since_epoch()).count();
}

int64_t nanoseconds_of(std::chrono::seconds duration) noexcept {
  return duration.count() * kNanoseconds;
}

/// Whole seconds until `over` ahead of now is within the burst again; 0: it is.
uint32_t seconds_until(int64_t until, int64_t now, int64_t burst) noexcept {
  const int64_t over = until - now - burst;
  if (over <= 0) return 0;
  return static_cast<uint32_t>((over + kNanoseconds - 1) / kNanoseconds);
}

}  // namespace

void ClientLimits::configure(const LimitOptions& options) {
  options_ = options;
  requests_or_misses_ = options.requests_per_second != 0 || options.miss_bytes_per_second != 0;
  const bool any = requests_or_misses_ || options.connections != 0;
  if (any && entries_.empty()) entries_.resize(kClientsLimitedMax);
}

ClientLimits::Key ClientLimits::key_of_token(std::string_view id) const noexcept {
  return hash_key(id, seed_).low | 1;
}

const ClientLimits::Entry* ClientLimits::find(Key key) const noexcept {
  if (key == 0 || entries_.empty()) return nullptr;
  const auto ways = std::span(entries_).subspan(mix(key) % kSets * kWays, kWays);
  const auto found = std::ranges::find(ways, key, &Entry::key);
  return found == ways.end() ? nullptr : &*found;
}

ClientLimits::Entry* ClientLimits::find(Key key) noexcept {
  return const_cast<Entry*>(std::as_const(*this).find(key));  // NOLINT: the table is ours
}

ClientLimits::Entry* ClientLimits::find_or_add(Key key, int64_t now) noexcept {
  if (key == 0 || entries_.empty()) return nullptr;
  if (Entry* known = find(key)) return known;
  const auto owed = [](const Entry& of) { return std::max(of.requests_until, of.misses_until); };
  Entry* least = nullptr;
  for (Entry& each : std::span(entries_).subspan(mix(key) % kSets * kWays, kWays)) {
    if (each.connections > 0) continue;
    if (least == nullptr || owed(each) < owed(*least)) least = &each;
  }
  if (least == nullptr) {
    untracked_.add();
    return nullptr;
  }
  if (owed(*least) > now) forgotten_.add();
  *least = {.key = key};
  return least;
}

ClientLimits::Opened ClientLimits::open(Key key, MonoTime now) noexcept {
  Entry* entry = find_or_add(key, count_of(now));
  if (entry == nullptr) return Opened::Uncounted;
  if (options_.connections != 0 && entry->connections >= options_.connections)
    return Opened::Refused;
  if (entry->connections++ == 0) clients_.add();
  return Opened::Counted;
}

void ClientLimits::close(Key key) noexcept {
  Entry* entry = find(key);
  SEGUE_ASSERT(entry != nullptr);  // nobody with connections is forgotten
  SEGUE_ASSERT(entry->connections > 0);
  if (--entry->connections == 0) clients_.sub();
}

uint32_t ClientLimits::request(Key key, MonoTime at) noexcept {
  if (options_.requests_per_second == 0) return 0;
  const int64_t now = count_of(at);
  Entry* entry = find_or_add(key, now);
  if (entry == nullptr) return 0;
  const int64_t cost = kNanoseconds / options_.requests_per_second;
  const int64_t until = std::max(entry->requests_until, now) + cost;
  const uint32_t wait = seconds_until(until, now, nanoseconds_of(kRequestBurst));
  // Who is refused owes no more for it: asking again is no crime.
  if (wait == 0) entry->requests_until = until;
  return wait;
}

uint32_t ClientLimits::miss(Key key, MonoTime at) const noexcept {
  if (options_.miss_bytes_per_second == 0) return 0;
  const Entry* entry = find(key);
  if (entry == nullptr) return 0;
  return seconds_until(entry->misses_until, count_of(at), nanoseconds_of(kMissBurst));
}

int64_t ClientLimits::cost_of(uint64_t bytes) const noexcept {
  const double cost = static_cast<double>(bytes) * static_cast<double>(kNanoseconds) /
                      static_cast<double>(options_.miss_bytes_per_second);
  return static_cast<int64_t>(std::min(cost, static_cast<double>(kDebtMax)));
}

uint64_t ClientLimits::charge(Payer payer, uint64_t bytes, MonoTime at) noexcept {
  if (options_.miss_bytes_per_second == 0) return 0;
  const int64_t now = count_of(at);
  Entry* entry = find_or_add(payer, now);
  if (entry == nullptr) return 0;
  const int64_t owed = std::max(entry->misses_until, now);
  entry->misses_until = std::min(owed + cost_of(bytes), now + kDebtMax);
  return static_cast<uint64_t>(std::max<int64_t>(entry->misses_until - owed, 0));
}

void ClientLimits::give_back(Payer payer, uint64_t put_down, uint64_t came) noexcept {
  if (options_.miss_bytes_per_second == 0) return;
  Entry* entry = find(payer);
  if (entry == nullptr) return;
  entry->misses_until -= std::max<int64_t>(static_cast<int64_t>(put_down) - cost_of(came), 0);
}

void ClientLimits::register_metrics(Registry& registry) const {
  registry.add_gauge("segue_limits_clients", "Clients with connections, where limits are counted.",
                     {}, clients_);
  registry.add_counter("segue_limits_untracked_total",
                       "Times a client was not limited because the table had no place for it.", {},
                       untracked_);
  registry.add_counter("segue_limits_forgotten_total",
                       "Clients that owed something and whose place another one took.", {},
                       forgotten_);
}

}  // namespace segue::edge
