#include "edge/delivery/relay.h"

#include <algorithm>
#include <array>

#include "base/log.h"
#include "edge/delivery/request_target.h"
#include "http/request_parser.h"

namespace segue::edge {
namespace {

Task<void> forget(Scope& scope, KeyHash key) {
  cache::PurgeStatement statement;
  statement.scope = cache::PurgeScope::Key;
  statement.key = key;
  statement.sequence = scope.local.store().next_sequence();
  auto purged = co_await scope.local.purge(std::move(statement), /*cut=*/false);
  if (!purged) log_warning("invalidation_not_durable", "where={}", purged.error().where);
}

}  // namespace

std::string_view same_host_target(std::string_view location, std::string_view host,
                                  std::string_view target, std::span<char> room) noexcept {
  location = location.substr(0, location.find('#'));
  const std::string_view scheme = location.substr(0, std::min(location.find(':'), location.size()));
  if (location.starts_with("//") || http::equals_ignore_case(scheme, "http") ||
      http::equals_ignore_case(scheme, "https")) {
    if (location.find("//") == std::string_view::npos) return {};
    location.remove_prefix(location.find("//") + 2);
    const size_t path = std::min(location.find_first_of("/?"), location.size());
    const auto authority = http::parse_host_port(location.substr(0, path));
    if (!authority || !http::equals_ignore_case(authority->host, host)) return {};
    location.remove_prefix(path);
    return location.empty() ? std::string_view("/") : location;
  }
  if (location.starts_with('/')) return location;
  // Another scheme, or a reference relative to the target's folder (RFC 3986 §5.2.3).
  if (location.empty() || location.find(':') < location.find('/')) return {};
  const std::string_view path = target.substr(0, target.find('?'));
  const std::string_view folder = path.substr(0, path.rfind('/') + 1);
  if (folder.size() + location.size() > room.size()) return {};
  std::ranges::copy(folder, room.begin());
  std::ranges::copy(location, room.begin() + static_cast<ptrdiff_t>(folder.size()));
  return {room.data(), folder.size() + location.size()};
}

Task<void> invalidate(Scope& scope, Exchange& exchange) {
  const int status = exchange.selection.pass_head->status;
  if (status < 200 || status >= 400) co_return;
  co_await forget(scope, exchange.asked.key);
  for (const std::string_view name : {"Location", "Content-Location"}) {
    const auto value = exchange.selection.pass_head->fields.view().find_only(name);
    if (!value) continue;
    KeyHash key;
    {
      std::array<char, kKeyBytesMax> room;
      std::array<char, kKeyBytesMax> scratch;
      std::array<char, kKeyBytesMax> out;
      const std::string_view target =
          same_host_target(*value, exchange.request.host, exchange.asked.target, room);
      if (target.empty()) continue;
      const auto text = write_key_text(*exchange.asked.site, target, scratch, out);
      if (!text) continue;
      key = scope.local.store().hash(text->key_text);
    }
    if (key != exchange.asked.key) co_await forget(scope, key);
  }
}

bool is_looping(http::FieldsView fields, std::string_view node_name) noexcept {
  size_t bytes = 0;
  http::CombinedList nodes(fields, "CDN-Loop");
  while (const auto node = nodes.next()) {
    bytes += node->size();
    const std::string_view id = http::trim_whitespace(node->substr(0, node->find(';')));
    if (http::equals_ignore_case(id, node_name) || bytes > kWayBytesMax) return true;
  }
  return false;
}

}  // namespace segue::edge
