// The real server, delivery, fills and store on a real loop whose time is virtual, before a fake
// origin. Every test ends with nothing held.
#pragma once
#include <memory>
#include <vector>

#include "edge/delivery/delivery.h"
#include "edge/fill/fills.h"
#include "tests/support/fake_origin.h"
#include "tests/unit/edge/server_fixture.h"

namespace segue::edge {

class DeliveryHandler final : public RequestHandler {
 public:
  explicit DeliveryHandler(Delivery& to) : delivery(to) {}
  void serve(Exchange& exchange, std::string_view /*body*/) override { delivery.serve(exchange); }
  void refuse(Exchange& exchange, int status, std::string_view reason) override {
    delivery.refuse(exchange, status, reason);
  }
  Delivery& delivery;
};

class DeliveryTest : public ServerTest {
 protected:
  explicit DeliveryTest(const Delivery::Options& options = {}) {
    const Loop::Turn turn(*loop);
    site->name = "test";
    site->hosts = {"*"};
    auto made = cache::Store::create({.ram_bytes = 16 * MiB, .hash_seed = 1, .huge_pages = false},
                                     codec, clock, {});
    store = std::move(*made);
    local = std::make_unique<cache::LocalStore>(*store, *loop, std::vector<Disk*>{});
    fetcher = std::make_unique<testing::FakeFetcher>(origin, *loop);
    fills = std::make_unique<Fills>(*loop, *local, std::vector<origin::Fetcher*>{fetcher.get()},
                                    Fills::Options{});
    sites = make_ref<SiteTable>(std::vector<Ref<const Site>>{site});
    delivery = std::make_unique<Delivery>(*loop, *local, *fills, sites, nullptr, options);
    delivering = std::make_unique<DeliveryHandler>(*delivery);
    answering = delivering.get();
  }
  ~DeliveryTest() override {
    const Loop::Turn turn(*loop);
    if (server != nullptr)
      EXPECT_TRUE(ending->try_spawn(server->drain(std::chrono::nanoseconds{0})));
    while (ending->running() > 0) advance(std::chrono::milliseconds{10});
    server.reset();
    EXPECT_TRUE(ending->try_spawn(drain_all()));
    while (ending->running() > 0) advance(std::chrono::milliseconds{10});
    delivery.reset();
    fills.reset();
    local.reset();
  }
  Task<void> drain_all() {
    co_await delivery->drain();
    co_await fills->drain();
    co_await local->drain();
  }

  Ref<Site> site = make_ref<Site>();  // changed before the first request only
  Ref<const SiteTable> sites;
  StoredResponseCodec codec;
  testing::FakeOrigin origin;
  std::unique_ptr<cache::Store> store;
  std::unique_ptr<cache::LocalStore> local;
  std::unique_ptr<testing::FakeFetcher> fetcher;
  std::unique_ptr<Fills> fills;
  std::unique_ptr<Delivery> delivery;
  std::unique_ptr<DeliveryHandler> delivering;
};

}  // namespace segue::edge
