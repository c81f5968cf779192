#include "origin/make_fetcher.h"

#include <utility>

#include "origin/directory_fetcher.h"
#include "origin/http_fetcher.h"

namespace segue::origin {

std::shared_ptr<Health> make_health(const OriginOptions& options) {
  return std::make_shared<Health>(static_cast<uint32_t>(options.servers.size()),
                                  options.breaker_failures, options.breaker_open_for);
}

Result<std::unique_ptr<Fetcher>> make_fetcher(EventLoop& loop, const OriginOptions& options,
                                              std::shared_ptr<Health> health) {
  if (auto valid = options.validate(); !valid) return fail(valid.error());
  if (options.is_directory()) {
    auto made = DirectoryFetcher::create(loop, options);
    if (!made) return fail(made.error());
    return std::unique_ptr<Fetcher>(std::move(*made));
  }
  auto made = HttpFetcher::create(loop, options, std::move(health));
  if (!made) return fail(made.error());
  return std::unique_ptr<Fetcher>(std::move(*made));
}

}  // namespace segue::origin
