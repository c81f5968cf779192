// edge/delivery/site_table.h - which site a request is for.
#pragma once
#include <string_view>
#include <vector>

#include "base/ref.h"
#include "edge/access/token.h"
#include "edge/fill/site.h"

namespace segue::edge {

/// The sites of one settings snapshot. Immutable, shared by all loops.
class SiteTable : public RefCounted {
 public:
  /// `sites` have lower-case hosts, each host at most once (checked by conf).
  /// `tokens`: by Site::index; null or not there: the site lets everybody in.
  explicit SiteTable(std::vector<Ref<const Site>> sites,
                     std::vector<Ref<const TokenRules>> tokens = {});
  /// By host name without port, in any case (RFC 9110 §4.2.3); else the site with the host "*";
  /// null: unknown (421).
  [[nodiscard]] const Site* find(std::string_view host) const noexcept;
  /// Null: no token is needed.
  [[nodiscard]] const Ref<const TokenRules>& tokens_of(const Site& site) const noexcept {
    return tokens_[site.index];
  }
  [[nodiscard]] const std::vector<Ref<const Site>>& sites() const noexcept { return sites_; }

 private:
  struct HostEntry {
    std::string_view host;  // view into a Site
    const Site* site;
  };
  std::vector<Ref<const Site>> sites_;
  std::vector<Ref<const TokenRules>> tokens_;  // as long as sites_
  std::vector<HostEntry> hosts_;               // sorted by host
  const Site* any_ = nullptr;
};

}  // namespace segue::edge
