#include "edge/fill/key_text.h"

#include <algorithm>
#include <array>
#include <cstring>

#include "http/target.h"

namespace segue::edge {
namespace {
constexpr size_t kQueryNamesMax = 32;  // conf refuses more
}  // namespace

Result<KeyText> write_key_text(const Site& site, std::string_view origin_form,
                               std::span<char> scratch, std::span<char> out) noexcept {
  if (!site.token_names.empty()) {
    // `out` holds what is left until the canonical form stands in `scratch`.
    auto without_token = http::cut_parameters(origin_form, site.token_names, out);
    if (!without_token) return fail(without_token.error());
    origin_form = *without_token;
  }
  auto canonical = http::canonicalize(origin_form, scratch);
  if (!canonical) return fail(canonical.error());
  if (site.name.size() + canonical->path.size() > out.size()) {
    return fail(Side::Client, Kind::Full, "key text");
  }
  size_t used = 0;
  auto put = [&](std::string_view text) {
    std::memcpy(out.data() + used, text.data(), text.size());
    used += text.size();
  };
  put(site.name);
  put(canonical->path);
  if (canonical->query && site.query != QueryMode::Drop) {
    std::array<std::string_view, kQueryNamesMax> names;
    const size_t count = std::min(site.query_names.size(), names.size());
    for (size_t i = 0; i < count; ++i) names[i] = site.query_names[i];
    const http::QueryRule rule{
        .mode = site.query == QueryMode::List ? http::QueryMode::List : http::QueryMode::Keep,
        .names = std::span(names).first(count)};
    if (used == out.size()) return fail(Side::Client, Kind::Full, "key text");
    auto query = http::filter_query(*canonical->query, rule, out.subspan(used + 1));
    if (!query) return fail(query.error());
    if (!query->empty()) {
      out[used] = '?';
      used += 1 + query->size();
    }
  }
  const std::string_view key_text(out.data(), used);
  return KeyText{.key_text = key_text, .target = key_text.substr(site.name.size())};
}

}  // namespace segue::edge
