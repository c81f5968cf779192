#include "conf/changes.h"

#include <fmt/format.h>

#include <algorithm>

#include "conf/settings_table.h"

namespace segue::conf {
namespace {

std::string_view value_of(const Written& written, std::string_view key) {
  const auto found = written.find(key);
  if (found != written.end()) return found->second;
  const SettingRow* row = find_setting(key);
  return row == nullptr ? std::string_view() : row->fallback;
}

/// The keys whose values differ; one that is written with its default equals one that is not.
std::vector<std::string> differing(const Written& running, const Written& fresh) {
  std::vector<std::string> keys;
  const auto look = [&](const Written& in) {
    for (const auto& [key, value] : in) {
      if (value_of(running, key) == value_of(fresh, key)) continue;
      if (std::ranges::find(keys, key) == keys.end()) keys.push_back(key);
    }
  };
  look(running);
  look(fresh);
  std::ranges::sort(keys);
  return keys;
}

/// What a running node can change of it: the budget and what is worth fetching. Who says so, and
/// what is remembered of it, stay.
void take_budget(PrefetchSettings& running, const PrefetchSettings& fresh) {
  running.bytes_per_second = fresh.bytes_per_second;
  running.bytes_per_day = fresh.bytes_per_day;
  running.fills = fresh.fills;
  running.ram_percent = fresh.ram_percent;
  running.head = fresh.head;
  running.lead = fresh.lead;
  running.rest = fresh.rest;
  running.probability_percent = fresh.probability_percent;
  running.floor_percent = fresh.floor_percent;
  running.hints_percent = fresh.hints_percent;
  running.playlist_segments = fresh.playlist_segments;
}

}  // namespace

std::expected<Changes, std::string> changes_between(const Loaded& running, const Loaded& fresh) {
  for (const SiteSettings& site : fresh.settings.sites) {
    const bool known = std::ranges::any_of(
        running.settings.origins, [&](const auto& origin) { return origin.name == site.origin; });
    if (!known) {
      return std::unexpected(fmt::format("site \"{}\" goes to origin \"{}\", which needs a restart",
                                         site.name, site.origin));
    }
  }
  Changes changes;
  changes.settings = running.settings;
  changes.settings.sites = fresh.settings.sites;
  changes.settings.tls = fresh.settings.tls;
  changes.settings.limits = fresh.settings.limits;
  take_budget(changes.settings.prefetch, fresh.settings.prefetch);
  changes.settings.log.level = fresh.settings.log.level;
  changes.settings.log.sample = fresh.settings.log.sample;
  changes.settings.node.drain = fresh.settings.node.drain;
  changes.settings.node.retire = fresh.settings.node.retire;
  for (std::string& key : differing(running.written, fresh.written)) {
    const SettingRow* row = find_setting(key);
    const bool applies = row != nullptr && row->takes == Takes::Reload;
    (applies ? changes.applied : changes.needs_restart).push_back(std::move(key));
  }
  return changes;
}

std::string join(const std::vector<std::string>& keys) {
  return fmt::format("{}", fmt::join(keys, ", "));
}

}  // namespace segue::conf
