// Goal: names become addresses without blocking, live as long as they say, and outlive a dead name
// server. Method: a scripted DNS server in a thread; time passes by pushing the clock.
#include "origin/resolver.h"

#include "tests/unit/origin/fetching.h"
#include "tests/unit/origin/scripted_name_server.h"

namespace segue::origin {
namespace {

using Addresses = std::vector<std::string>;

struct Raised : ReadyNode {
  explicit Raised(Signal& told) : ReadyNode(&Raised::run), signal(told) {}
  static void run(ReadyNode& node) { static_cast<Raised&>(node).signal.raise(); }
  Signal& signal;
};

/// Asks until there is an answer; empty where the look-up failed.
Task<Addresses> look_up(Resolver& resolver, std::string host) {
  Signal signal;
  Raised node(signal);
  ResolveWait wait(node);
  for (;;) {
    auto found = resolver.find(host, wait);
    if (!found) co_return Addresses{};
    if (*found != nullptr) co_return **found;
    co_await signal.wait(kNever);
  }
}

/// Lets a look-up that runs behind an answer end.
Task<void> until_found(Resolver& resolver, std::string host, std::string address) {
  Addresses found;
  while (found != Addresses{address}) {
    co_await Yield{};
    found = co_await look_up(resolver, host);
  }
}

class Resolving : public Fetching {
 protected:
  Resolver& resolver() {
    if (resolver_ == nullptr) {
      auto made = Resolver::create(
          *loop_, {.ttl_max = std::chrono::seconds{300}, .name_servers = names_.address()},
          counters_);
      EXPECT_TRUE(made.has_value());
      resolver_ = std::move(*made);
    }
    return *resolver_;
  }
  Addresses find(const std::string& host) {
    resolver();
    Addresses found = testing::run_on(*loop_, [&] { return look_up(*resolver_, host); });
    std::ranges::sort(found);
    return found;
  }
  void wait_for_failures(uint64_t count) {
    const auto failed = [&] { return counters_.resolver_failures.get() >= count; };
    testing::run_on(*loop_, [&] { return until(failed); });
  }

  ScriptedNameServer names_;
  OriginCounters counters_;
  std::unique_ptr<Resolver> resolver_;
};

TEST_F(Resolving, AllAddressesOfBothFamiliesComeBack) {
  names_.on("origin.test", {.ipv4 = {"192.0.2.1", "192.0.2.2"}, .ipv6 = {"2001:db8::1"}});
  EXPECT_EQ(find("origin.test"), (Addresses{"192.0.2.1", "192.0.2.2", "2001:db8::1"}));
}

TEST_F(Resolving, OneFamilyIsEnough) {
  names_.on("four.test", {.ipv4 = {"192.0.2.1"}});
  names_.on("six.test", {.ipv6 = {"2001:db8::1"}});
  EXPECT_EQ(find("four.test"), Addresses{"192.0.2.1"});
  EXPECT_EQ(find("six.test"), Addresses{"2001:db8::1"});
}

TEST_F(Resolving, AnAnswerIsKeptForItsTimeToLiveAndNoLonger) {
  names_.on("origin.test", {.ipv4 = {"192.0.2.1"}, .ttl_seconds = 30});
  EXPECT_EQ(find("origin.test"), Addresses{"192.0.2.1"});
  names_.on("origin.test", {.ipv4 = {"192.0.2.9"}, .ttl_seconds = 30});
  clock_.push(std::chrono::seconds{25});
  EXPECT_EQ(find("origin.test"), Addresses{"192.0.2.1"});
  EXPECT_EQ(counters_.resolver_lookups.get(), 1U);
  clock_.push(std::chrono::seconds{6});
  EXPECT_EQ(find("origin.test"), Addresses{"192.0.2.1"});  // serves on while it is asked anew
  EXPECT_EQ(counters_.resolver_lookups.get(), 2U);
  testing::run_on(*loop_, [&] { return until_found(resolver(), "origin.test", "192.0.2.9"); });
  EXPECT_EQ(counters_.resolver_lookups.get(), 2U);
}

TEST_F(Resolving, TimesToLiveAreClamped) {
  names_.on("short.test", {.ipv4 = {"192.0.2.1"}, .ttl_seconds = 0});
  names_.on("long.test", {.ipv4 = {"192.0.2.1"}, .ttl_seconds = 1'000'000});
  find("short.test");
  find("short.test");
  EXPECT_EQ(counters_.resolver_lookups.get(), 1U);  // at least a second
  find("long.test");
  clock_.push(std::chrono::seconds{301});
  find("long.test");
  EXPECT_EQ(counters_.resolver_lookups.get(), 3U);  // at most ttl_max
}

TEST_F(Resolving, LastGoodAddressesOutliveAFailure) {
  names_.on("origin.test", {.ipv4 = {"192.0.2.1"}, .ttl_seconds = 10});
  EXPECT_EQ(find("origin.test"), Addresses{"192.0.2.1"});
  names_.on("origin.test", {.response_code = 2});
  clock_.push(std::chrono::seconds{11});
  EXPECT_EQ(find("origin.test"), Addresses{"192.0.2.1"});
  wait_for_failures(1);
  EXPECT_EQ(find("origin.test"), Addresses{"192.0.2.1"});
  EXPECT_EQ(counters_.resolver_stale_used.get(), 1U);
}

TEST_F(Resolving, AnUnknownNameFailsAndIsAskedAgainLater) {
  EXPECT_EQ(find("absent.test"), Addresses{});
  EXPECT_EQ(find("absent.test"), Addresses{});
  EXPECT_EQ(counters_.resolver_lookups.get(), 1U);
  EXPECT_EQ(counters_.resolver_failures.get(), 1U);
  names_.on("absent.test", {.ipv4 = {"192.0.2.1"}});
  clock_.push(std::chrono::seconds{2});
  EXPECT_EQ(find("absent.test"), Addresses{"192.0.2.1"});
}

TEST_F(Resolving, TheHostsFileIsHonoured) {
  const Addresses found = find("localhost");
  EXPECT_TRUE(std::ranges::find(found, "127.0.0.1") != found.end());
  EXPECT_EQ(names_.queries(), 0U);
}

Task<void> give_up_waiting(Resolver& resolver) {
  Signal signal;
  Raised node(signal);
  ResolveWait wait(node);
  auto found = resolver.find("silent.test", wait);
  EXPECT_TRUE(found.has_value() && *found == nullptr);
  co_return;
}

TEST_F(Resolving, AWaitMayBeDroppedAndTheResolverWhileItAsks) {
  names_.on("silent.test", {.silent = true});
  resolver();
  testing::run_on(*loop_, [&] { return give_up_waiting(*resolver_); });
  resolver_.reset();
}

TEST_F(Resolving, NameServersThatAreNoneAreRefused) {
  auto made = Resolver::create(*loop_, {.name_servers = "not an address"}, counters_);
  ASSERT_FALSE(made);
  EXPECT_EQ(made.error().kind, Kind::Malformed);
}

// --- fetching by name ---

class FetchingByName : public Resolving {
 protected:
  FetchingByName() {
    options_.servers = {"http://origin.test:" + std::to_string(origin_.port())};
    options_.name_servers = names_.address();
    origin_.on("/t", Reply::whole("200 OK", "", "found"));
  }
  ScriptedOrigin origin_;
};

TEST_F(FetchingByName, TheHostFieldIsTheNameAndTheAddressTheServers) {
  names_.on("origin.test", {.ipv4 = {"127.0.0.1"}});
  const Fetched got = run(whole("/t"));
  ASSERT_FALSE(got.error) << got.where();
  EXPECT_EQ(got.body, "found");
  EXPECT_EQ(field_in(origin_.heads().at(0), "host"),
            "origin.test:" + std::to_string(origin_.port()));
  EXPECT_EQ(run(whole("/t")).body, "found");
  EXPECT_EQ(origin_.connections(), 1U);
  EXPECT_EQ(counters().resolver_lookups.get(), 1U);
}

TEST_F(FetchingByName, AnotherAddressIsTriedWhereOneIsDead) {
  names_.on("origin.test", {.ipv4 = {"127.0.0.2", "127.0.0.1"}});  // nobody listens on the first
  const Fetched got = run(whole("/t"));
  ASSERT_FALSE(got.error) << got.where();
  EXPECT_EQ(got.body, "found");
}

TEST_F(FetchingByName, AnUnknownNameIsUnreachable) {
  const Fetched got = run(whole("/t"));
  ASSERT_TRUE(got.error);
  EXPECT_EQ(got.where(), "name_unknown");
  EXPECT_EQ(got.error->kind, Kind::Unreachable);
  EXPECT_EQ(faults(Fault::NameUnknown), 1U);
}

Task<Fetched> fetch_past_query(Fetcher& fetcher, ScriptedNameServer& names, PushedClock& clock,
                               std::chrono::nanoseconds by) {
  auto stream = fetcher.start(whole("/t"));
  while (names.queries() == 0) co_await Yield{};
  clock.push(by);
  Fetched fetched = co_await drain(**stream);
  co_return fetched;
}

TEST_F(FetchingByName, ASilentNameServerCostsTheFirstByteTimeoutAtMost) {
  names_.on("origin.test", {.silent = true});
  fetcher();
  const Fetched got = testing::run_on(*loop_, [&] {
    return fetch_past_query(*fetcher_, names_, clock_, options_.timeout.first_byte);
  });
  ASSERT_TRUE(got.error);
  EXPECT_EQ(got.error->side, Side::Origin);
  EXPECT_TRUE(got.where() == "name_timeout" || got.where() == "name_unknown") << got.where();
}

Task<void> drop_while_naming(Fetcher& fetcher, ScriptedNameServer& names) {
  auto stream = fetcher.start(whole("/t"));
  while (names.queries() == 0) co_await Yield{};
}

TEST_F(FetchingByName, AStreamMayBeDroppedWhileItsNameIsLookedUp) {
  names_.on("origin.test", {.silent = true});
  fetcher();
  testing::run_on(*loop_, [&] { return drop_while_naming(*fetcher_, names_); });
  EXPECT_EQ(counters().fetches_in_flight.get(), 0U);
}

}  // namespace
}  // namespace segue::origin
