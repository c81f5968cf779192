#include "edge/fill/tags.h"

#include <algorithm>

namespace segue::edge {
namespace {

constexpr size_t kTagBytesMax = 1024;
constexpr std::string_view kSeparators = " ,\t";

}  // namespace

bool is_tag(std::string_view text) noexcept {
  return !text.empty() && text.size() <= kTagBytesMax &&
         std::ranges::all_of(text, [](char c) { return c > ' ' && c < 0x7f && c != ','; });
}

KeyHash hash_tag(const cache::Store& store, std::string_view tag) noexcept {
  return store.hash(tag);
}

std::optional<std::vector<uint64_t>> tags_of(http::FieldsView response, const Site& site,
                                             const cache::Store& store) {
  std::vector<uint64_t> hashes;
  for (const std::string& name : site.tag_fields) {
    http::FieldValues values(response, name);
    while (const auto value = values.next()) {
      std::string_view rest = *value;
      while (true) {
        rest.remove_prefix(std::min(rest.find_first_not_of(kSeparators), rest.size()));
        if (rest.empty()) break;
        const std::string_view tag = rest.substr(0, rest.find_first_of(kSeparators));
        rest.remove_prefix(tag.size());
        // Counted with repetitions, so that a field of thousands costs no more than a few.
        if (!is_tag(tag) || hashes.size() == 2 * kTagsPerRecordMax) return std::nullopt;
        hashes.push_back(hash_tag(store, tag).low);
      }
    }
  }
  std::ranges::sort(hashes);
  hashes.erase(std::unique(hashes.begin(), hashes.end()), hashes.end());
  if (hashes.size() > kTagsPerRecordMax) return std::nullopt;
  return hashes;
}

}  // namespace segue::edge
