// origin/redirect.h - where a redirect leads, and whether we go there. Pure.
#pragma once
#include <expected>
#include <span>
#include <string>
#include <string_view>

#include "origin/fault.h"
#include "origin/options.h"

namespace segue::origin {

/// 301, 302, 303, 307, 308. Others of the 3xx class are answers like any other.
[[nodiscard]] bool is_redirect(int status) noexcept;

struct RedirectTarget {
  ServerAddress server;
  std::string target;  // path and query, ready to be sent
};

/// Resolves `location` (RFC 9110 §10.2.2) against the request that was answered by it. It is
/// followed to the origin's own servers and to hosts listed in redirect_hosts, never from https to
/// http. Faults: RedirectMalformed, RedirectRefused.
[[nodiscard]] std::expected<RedirectTarget, Fault> redirect_target(
    const ServerAddress& from, std::string_view from_target, const std::string& location,
    std::span<const ServerAddress> servers, const OriginOptions& options);

}  // namespace segue::origin
