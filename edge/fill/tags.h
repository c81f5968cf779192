// edge/fill/tags.h - cache tags: the names an origin gives its answers (Surrogate-Key, Cache-Tag),
// by which many of them can be purged in one statement. Kept as hashes; the fields never reach
// clients.
#pragma once
#include <cstdint>
#include <optional>
#include <string_view>
#include <vector>

#include "cache/store.h"
#include "edge/fill/site.h"
#include "http/header_fields.h"

namespace segue::edge {

/// The one form of a tag that is hashed, for answers and for purges alike. Tags are told apart by
/// case, belong to the whole node, and hold no space and no comma.
[[nodiscard]] KeyHash hash_tag(const cache::Store& store, std::string_view tag) noexcept;
[[nodiscard]] bool is_tag(std::string_view text) noexcept;

/// Hashes of all tags in the site's tag fields, sorted, each once. Members are separated by spaces
/// or commas. Nothing if there are more than kTagsPerRecordMax, or one is no tag: such an answer
/// must not be stored, because a purge by the tag that was left out would miss it.
[[nodiscard]] std::optional<std::vector<uint64_t>> tags_of(http::FieldsView response,
                                                           const Site& site,
                                                           const cache::Store& store);

}  // namespace segue::edge
