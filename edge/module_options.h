// edge/module_options.h - what an operator writes, turned into what each module takes: the one
// place that knows both conf and the modules. Pure; part of the program, not of a library.
#pragma once
#include <cstdint>
#include <expected>
#include <string>
#include <vector>

#include "conf/plan.h"
#include "conf/settings.h"
#include "edge/node/node.h"

namespace segue {

inline constexpr uint64_t kSecondsPerDay = 24 * 3600;

/// Everything of a node. Errors: a line for the operator.
[[nodiscard]] std::expected<edge::NodeOptions, std::string> node_options(
    const conf::Settings& settings, const conf::Plan& plan);
[[nodiscard]] edge::NodeTlsOptions tls_of(const conf::Settings& settings);
[[nodiscard]] origin::OriginOptions origin_of(const conf::OriginSettings& settings,
                                              const std::string& node_name);
/// By site, in their order.
[[nodiscard]] std::vector<edge::TokenOptions> all_tokens_of(const conf::Settings& settings);
/// Of the feed; `node_name` is what the server sees.
[[nodiscard]] edge::NatsOptions nats_of(const conf::NatsSettings& settings,
                                        const std::string& node_name);
/// Shares are of a RAM tier of `buffers_bytes`.
[[nodiscard]] edge::Prefetcher::Options prefetch_of(const conf::PrefetchSettings& settings,
                                                    uint64_t buffers_bytes);
[[nodiscard]] cache::EvictionPolicy policy_of(conf::CachePolicy policy);
[[nodiscard]] cache::DriveShares drive_shares_of(const conf::ShareSettings& shares);
[[nodiscard]] edge::TokenForm form_of(conf::TokenForm form);

}  // namespace segue
