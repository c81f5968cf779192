// origin/http_fetcher.h - fetches over http and https: one per origin and loop. Owns the loop's
// connections to the origin; health is shared. Loop-owned.
#pragma once
#include <memory>
#include <vector>

#include "base/loop/event_loop.h"
#include "origin/counters.h"
#include "origin/curl_driver.h"
#include "origin/fetcher.h"
#include "origin/health.h"
#include "origin/http_exchange.h"
#include "origin/options.h"
#include "origin/resolver.h"

namespace segue::origin {

class HttpFetcher final : public Fetcher {
 public:
  /// Options were validated. Errors: {Self, IoError | Malformed} if libcurl or c-ares cannot be set
  /// up.
  [[nodiscard]] static Result<std::unique_ptr<HttpFetcher>> create(EventLoop& loop,
                                                                   OriginOptions options,
                                                                   std::shared_ptr<Health> health);
  /// Every stream is dropped before.
  ~HttpFetcher() override;
  HttpFetcher(const HttpFetcher&) = delete;
  HttpFetcher& operator=(const HttpFetcher&) = delete;

  [[nodiscard]] Result<std::unique_ptr<FetchStream>> start(FetchRequest request) override;
  [[nodiscard]] ValidatorRule validator_rule() const noexcept override {
    return options_.validator;
  }
  [[nodiscard]] const OriginCounters* counters() const noexcept override { return &counters_; }

 private:
  HttpFetcher(EventLoop& loop, OriginOptions options, std::shared_ptr<Health> health);
  [[nodiscard]] Result<Done> set_up();
  [[nodiscard]] Result<Done> check(const FetchRequest& request) const;

  // constant after construction
  EventLoop& loop_;
  const OriginOptions options_;
  const std::shared_ptr<Health> health_;
  std::vector<ServerAddress> servers_;
  // loop-owned; counters are read by any thread
  OriginCounters counters_;
  std::unique_ptr<Resolver> resolver_;
  std::unique_ptr<CurlDriver> driver_;
  std::unique_ptr<HttpParts> parts_;
};

}  // namespace segue::origin
