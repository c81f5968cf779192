#include "conf/mistake.h"

#include <fmt/format.h>

#include <algorithm>
#include <numeric>

namespace segue::conf {
namespace {

/// Levenshtein distance; the words are keys, so both are short.
size_t edit_distance(std::string_view left, std::string_view right) {
  std::vector<size_t> row(right.size() + 1);
  std::iota(row.begin(), row.end(), size_t{0});
  for (size_t i = 1; i <= left.size(); ++i) {
    size_t diagonal = row[0];
    row[0] = i;
    for (size_t j = 1; j <= right.size(); ++j) {
      const size_t replaced = diagonal + (left[i - 1] == right[j - 1] ? 0 : 1);
      diagonal = row[j];
      row[j] = std::min({replaced, row[j] + 1, row[j - 1] + 1});
    }
  }
  return row.back();
}

}  // namespace

std::string Mistake::line() const {
  std::string result = place.file;
  if (place.line != 0) result += fmt::format(":{}", place.line);
  if (!key.empty() && !place.file.starts_with("--")) result += fmt::format(": {}", key);
  return fmt::format("{}: {}", result, text);
}

void Mistakes::add(std::string_view key, std::string text) {
  Place place = place_of(key);
  const uint32_t rank = place.line != 0 ? place.line : UINT32_MAX;
  found_.emplace(rank, Mistake{std::move(place), std::string(key), std::move(text)});
}

bool Mistakes::has_under(std::string_view key) const {
  return std::ranges::any_of(
      found_, [&](const auto& ranked) { return ranked.second.key.starts_with(key); });
}

std::vector<Mistake> Mistakes::take() {
  std::vector<Mistake> result;
  for (auto& [rank, mistake] : found_) result.push_back(std::move(mistake));
  found_.clear();
  return result;
}

Place Mistakes::place_of(std::string_view key) const {
  while (!key.empty()) {
    if (const auto at = places_.find(key); at != places_.end()) return at->second;
    const size_t cut = key.find_last_of(".[");
    key = cut == std::string_view::npos ? std::string_view{} : key.substr(0, cut);
  }
  return {file_, 0};
}

std::string did_you_mean(std::string_view unknown, const std::vector<std::string>& known) {
  const std::string* nearest = nullptr;
  size_t distance = std::max<size_t>(2, unknown.size() / 3) + 1;
  for (const std::string& candidate : known) {
    if (const size_t found = edit_distance(unknown, candidate); found < distance) {
      distance = found;
      nearest = &candidate;
    }
  }
  return nearest == nullptr ? "" : fmt::format(" (did you mean \"{}\"?)", *nearest);
}

}  // namespace segue::conf
