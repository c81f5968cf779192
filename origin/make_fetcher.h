// origin/make_fetcher.h - the Fetcher that an origin's settings ask for.
#pragma once
#include <memory>

#include "base/loop/event_loop.h"
#include "origin/fetcher.h"
#include "origin/health.h"
#include "origin/options.h"

namespace segue::origin {

/// One for all loops, given to each make_fetcher() of the same origin.
[[nodiscard]] std::shared_ptr<Health> make_health(const OriginOptions& options);

/// Start-up only: opens the folder or sets up libcurl and c-ares. The fetcher belongs to `loop` and
/// is destroyed before it, outside of or inside a turn, when all its streams are dropped. Errors:
/// those of OriginOptions::validate() and of the fetchers' create().
[[nodiscard]] Result<std::unique_ptr<Fetcher>> make_fetcher(EventLoop& loop,
                                                            const OriginOptions& options,
                                                            std::shared_ptr<Health> health);

}  // namespace segue::origin
