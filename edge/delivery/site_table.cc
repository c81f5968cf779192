#include "edge/delivery/site_table.h"

#include <algorithm>
#include <array>

#include "http/header_fields.h"

namespace segue::edge {
namespace {
constexpr size_t kHostBytesMax = 255;  // RFC 1035 §2.3.4; a longer one names no site
}

SiteTable::SiteTable(std::vector<Ref<const Site>> sites, std::vector<Ref<const TokenRules>> tokens)
    : sites_(std::move(sites)), tokens_(std::move(tokens)) {
  tokens_.resize(sites_.size());
  for (const Ref<const Site>& site : sites_) {
    for (const std::string& host : site->hosts) {
      if (host == "*") {
        any_ = site.get();
      } else {
        hosts_.push_back({host, site.get()});
      }
    }
  }
  std::ranges::sort(hosts_, {}, &HostEntry::host);
}

const Site* SiteTable::find(std::string_view host) const noexcept {
  std::array<char, kHostBytesMax> lower;
  // A trailing dot is the same name, fully qualified (RFC 3986 §3.2.2).
  if (host.ends_with('.')) host.remove_suffix(1);
  if (hosts_.empty() || host.empty() || host.size() > lower.size()) return any_;
  std::ranges::transform(host, lower.begin(), http::to_lower);
  const std::string_view name(lower.data(), host.size());
  auto found = std::ranges::lower_bound(hosts_, name, {}, &HostEntry::host);
  return found != hosts_.end() && found->host == name ? found->site : any_;
}

}  // namespace segue::edge
