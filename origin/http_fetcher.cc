#include "origin/http_fetcher.h"

#include <utility>

namespace segue::origin {
namespace {

class HttpStream final : public FetchStream {
 public:
  HttpStream(std::shared_ptr<HttpExchange> exchange, FetchPlace place, Counter& in_flight) noexcept
      : place_(std::move(place)), exchange_(std::move(exchange)), in_flight_(in_flight) {
    in_flight_.add();
  }
  ~HttpStream() override {
    exchange_->drop();
    in_flight_.sub();
  }
  HttpStream(const HttpStream&) = delete;
  HttpStream& operator=(const HttpStream&) = delete;

  Task<Result<const FetchHead*>> head() override { return HttpExchange::head(exchange_); }
  Task<Result<size_t>> read(std::span<std::byte> into) override {
    return HttpExchange::read(exchange_, into);
  }

 private:
  const FetchPlace place_;
  std::shared_ptr<HttpExchange> exchange_;
  Counter& in_flight_;
};

}  // namespace

HttpFetcher::HttpFetcher(EventLoop& loop, OriginOptions options, std::shared_ptr<Health> health)
    : Fetcher(options.fetches_max),
      loop_(loop),
      options_(std::move(options)),
      health_(std::move(health)) {}

HttpFetcher::~HttpFetcher() { SEGUE_ASSERT(counters_.fetches_in_flight.get() == 0); }

Result<std::unique_ptr<HttpFetcher>> HttpFetcher::create(EventLoop& loop, OriginOptions options,
                                                         std::shared_ptr<Health> health) {
  std::unique_ptr<HttpFetcher> fetcher(
      new HttpFetcher(loop, std::move(options), std::move(health)));
  if (auto ready = fetcher->set_up(); !ready) return fail(ready.error());
  return fetcher;
}

Result<Done> HttpFetcher::set_up() {
  for (const std::string& text : options_.servers) {
    auto server = parse_server(text);
    if (!server) return fail(server.error());
    servers_.push_back(std::move(*server));
  }
  SEGUE_ASSERT(health_->servers() == servers_.size());
  auto resolver = Resolver::create(
      loop_, {.ttl_max = options_.name_ttl_max, .name_servers = options_.name_servers}, counters_);
  if (!resolver) return fail(resolver.error());
  resolver_ = std::move(*resolver);
  auto driver = CurlDriver::create(loop_,
                                   {.connections_max = options_.fetches_max,
                                    .idle_connections_max = options_.idle_connections_max},
                                   counters_);
  if (!driver) return fail(driver.error());
  driver_ = std::move(*driver);
  parts_ = std::make_unique<HttpParts>(
      HttpParts{loop_, options_, servers_, *driver_, *resolver_, *health_, counters_});
  return Done{};
}

/// The edge hands over canonical targets and checked fields; what stands here once more is what
/// would let a client write into our requests (RFC 9112 §11.1).
Result<Done> HttpFetcher::check(const FetchRequest& request) const {
  if (!is_sendable_target(request.target)) return fail(Side::Client, Kind::Malformed, "target");
  if (!http::is_field_value(request.if_none_match) ||
      !http::is_field_value(request.if_modified_since)) {
    return fail(Side::Client, Kind::Malformed, "condition");
  }
  const bool bounded = request.range_form == FetchRequest::RangeForm::Bounded;
  const bool suffix = request.range_form == FetchRequest::RangeForm::Suffix;
  if ((bounded && request.range.empty()) || (suffix && request.suffix_length == 0)) {
    return fail(Side::Client, Kind::Malformed, "range");
  }
  return Done{};
}

Result<std::unique_ptr<FetchStream>> HttpFetcher::start(FetchRequest request) {
  if (auto good = check(request); !good) return fail(good.error());
  FetchPlace place = std::move(request.place);
  if (!place) place = places().try_take(request.prefetch);
  if (!place) {
    counters_.fetches_refused.add();
    return fail_retryable(Side::Self, Kind::Overloaded, "fetches");
  }
  auto exchange = std::make_shared<HttpExchange>(*parts_, std::move(request));
  if (auto started = exchange->start(); !started) {
    exchange->drop();
    counters_.fetches_refused.add();
    return fail(started.error());
  }
  counters_.fetches.add();
  return std::make_unique<HttpStream>(std::move(exchange), std::move(place),
                                      counters_.fetches_in_flight);
}

}  // namespace segue::origin
