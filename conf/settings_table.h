// conf/settings_table.h - every setting in one table: what it means, what it takes, its default,
// and whether a reload changes it. conf/settings.md and segue.toml(5) are printed from it, and a
// reload asks it; a test holds it against the keys that the parser knows.
#pragma once
#include <cstdint>
#include <span>
#include <string>
#include <string_view>

namespace segue::conf {

enum class Takes : uint8_t {
  Reload,   // SIGHUP puts it in force
  Restart,  // it is fixed while the node runs
};

struct SettingRow {
  std::string_view key;     // "origin.NAME.retries", "site[].ttl.default"
  std::string_view values;  // its kind: unit, or the words it takes
  std::string_view
      fallback;  // the default as it would be written; empty: none, or it must be given
  Takes takes;
  std::string_view meaning;
  /// "LEAST to MOST" as they would be written, of a number, size or duration: the parser refuses
  /// what lies outside. Empty for any other kind.
  std::string_view range = {};
};

[[nodiscard]] std::span<const SettingRow> settings_table() noexcept;

/// The row of a key as it stands in a file ("origin.store.retries", "site[3].ttl.default"); null:
/// no such setting.
[[nodiscard]] const SettingRow* find_setting(std::string_view key) noexcept;

/// conf/settings.md.
[[nodiscard]] std::string settings_markdown();

/// segue.toml(5), in troff.
[[nodiscard]] std::string settings_man();

}  // namespace segue::conf
