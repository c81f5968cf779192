// conf/toml_reader.h - reads the keys of TOML tables by name and kind: what each may say is a rule
// (values.h) and a row of the table of settings. Start-up and reload only; for the sources that
// read TOML (conf/toml.h).
#pragma once
#include <fmt/format.h>

#include <algorithm>
#include <chrono>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <type_traits>
#include <utility>
#include <vector>

#include "base/assert.h"
#include "conf/settings_table.h"
#include "conf/toml.h"
#include "conf/values.h"

namespace segue::conf {

/// Least and most of a number, size or duration.
template <class T>
struct Range {
  T least, most;
  std::string_view text;  // "64MiB to 1TiB"
};

/// What the table of settings says of a number, size or duration; none for a key not in it.
template <class T>
std::optional<Range<T>> range_of(std::string_view path, const Rule<T>& rule) {
  constexpr std::string_view kTo = " to ";
  const SettingRow* row = find_setting(path);
  const size_t at = row == nullptr ? std::string_view::npos : row->range.find(kTo);
  if (at == std::string_view::npos) return std::nullopt;
  const auto least = rule.parse(row->range.substr(0, at));
  const auto most = rule.parse(row->range.substr(at + kTo.size()));
  if (!least || !most) return std::nullopt;
  return Range<T>{*least, *most, row->range};
}

/// One table of the file: hands out its keys by name and kind, and at the end reports the keys that
/// nobody asked for.
class TomlReader {
 public:
  TomlReader(const toml::table& table, std::string path, Mistakes& mistakes)
      : table_(table), path_(std::move(path)), mistakes_(mistakes) {}

  template <class T>
  void value(std::string_view key, T& out, const Rule<T>& rule) {
    const toml::node* node = take(key);
    if (node != nullptr) read(*node, key_path(key), out, rule);
  }
  template <class T>
  void value(std::string_view key, std::optional<T>& out, const Rule<T>& rule) {
    T read_value{};
    const toml::node* node = take(key);
    if (node != nullptr && read(*node, key_path(key), read_value, rule)) out = read_value;
  }
  /// One string, or a list of strings.
  template <class T>
  void values(std::string_view key, std::vector<T>& out, const Rule<T>& rule) {
    const toml::node* node = take(key);
    if (node == nullptr) return;
    out.clear();  // of its default
    read_list(*node, key_path(key), out, rule);
  }
  /// Of the range that the table of settings has for it.
  void number(std::string_view key, uint32_t& out) {
    const auto range = range_of(key_path(key), kSize);  // which reads a bare number as it is
    SEGUE_ASSERT(range.has_value());
    number(key, out, *range);
  }
  /// Of what is part of one setting there.
  void number(std::string_view key, uint32_t& out, const Range<uint64_t>& range) {
    const toml::node* node = take(key);
    if (node == nullptr) return;
    const auto* integer = node->as_integer();
    const auto value = static_cast<uint64_t>(integer != nullptr ? integer->get() : -1);
    if (value < range.least || value > range.most)
      return complain(key_path(key), *node, fmt::format("a whole number from {}", range.text));
    out = static_cast<uint32_t>(value);
  }
  void boolean(std::string_view key, bool& out) {
    const toml::node* node = take(key);
    if (node == nullptr) return;
    if (const auto* value = node->as_boolean()) {
      out = value->get();
    } else {
      complain(key_path(key), *node, "true or false");
    }
  }
  /// Calls `read` with a reader of the table under `key`, if there is one.
  template <class Read>
  void table(std::string_view key, Read read) {
    if (const toml::node* node = take(key)) read_table(*node, key_path(key), read);
  }
  /// Calls `read` for each [[key]].
  template <class Read>
  void tables(std::string_view key, Read read) {
    const toml::node* node = take(key);
    if (node == nullptr) return;
    const auto* array = node->as_array();
    if (array == nullptr) {
      complain(key_path(key), *node, fmt::format("one or more tables, each begun by [[{}]]", key));
      return;
    }
    size_t index = 0;
    for (const toml::node& element : *array) {
      read_table(element, fmt::format("{}[{}]", key_path(key), index++), read);
    }
  }
  /// Calls `read` with name and reader of each table in this one: [origin.NAME].
  template <class Read>
  void named_tables(Read read) {
    for (const auto& [key, node] : table_) {
      const std::string name(key.str());
      const toml::node* taken = take(name);
      read_table(*taken, key_path(name), [&](TomlReader& reader) { read(name, reader); });
    }
  }
  /// Calls `read` with name and text of each path in this table: keys = { k1 = "/etc/..." }.
  template <class Read>
  void named_values(Read read_one) {
    for (const auto& [key, node] : table_) {
      const std::string name(key.str());
      std::string text;
      if (read(*take(name), key_path(name), text, kPath)) read_one(name, text);
    }
  }
  /// The node under `key` if it is there, marked as known; for keys of several kinds.
  const toml::node* take(std::string_view key) {
    known_.emplace_back(key);
    const toml::node* node = table_.get(key);
    if (node != nullptr) remember(*node, key_path(key));
    return node;
  }
  template <class T>
  bool read(const toml::node& node, const std::string& path, T& out, const Rule<T>& rule) {
    std::optional<T> value;
    if (const auto* text = node.as_string()) {
      value = rule.parse(text->get());
    } else if (const auto* number = node.as_integer(); number != nullptr && number->get() >= 0) {
      // A bare number is a size in bytes; for any other rule it does not parse.
      if constexpr (std::is_same_v<T, uint64_t>) value = static_cast<uint64_t>(number->get());
    }
    if (!value) {
      complain(path, node, rule.allowed);
      return false;
    }
    if constexpr (std::is_same_v<T, uint64_t> || std::is_same_v<T, std::chrono::milliseconds>) {
      if (const auto range = range_of<T>(path, rule);
          range && (*value < range->least || *value > range->most)) {
        complain(path, node, range->text);
        return false;
      }
    }
    out = std::move(*value);
    return true;
  }
  template <class T>
  void read_list(const toml::node& node, const std::string& path, std::vector<T>& out,
                 const Rule<T>& rule) {
    out.clear();
    T element_value{};
    const auto* array = node.as_array();
    if (array == nullptr) {
      if (read(node, path, element_value, rule)) out.push_back(element_value);
      return;
    }
    size_t index = 0;
    for (const toml::node& element : *array) {
      const std::string element_path = fmt::format("{}[{}]", path, index++);
      remember(element, element_path);
      if (read(element, element_path, element_value, rule)) out.push_back(element_value);
    }
  }
  void complain(const std::string& path, const toml::node& node, std::string_view allowed) {
    mistakes_.add(path, fmt::format("{} is not allowed here; allowed: {}", shown(node), allowed));
  }
  [[nodiscard]] std::string key_path(std::string_view key) const {
    return path_.empty() ? std::string(key) : fmt::format("{}.{}", path_, key);
  }
  [[nodiscard]] const std::string& path() const { return path_; }
  void report_unknown() {
    for (const auto& [key, node] : table_) {
      if (std::ranges::find(known_, key.str()) != known_.end()) continue;
      const std::string path = key_path(key.str());
      mistakes_.written(path, {mistakes_.file(), key.source().begin.line});
      mistakes_.add(path, fmt::format("unknown key{}; allowed: {}", did_you_mean(key.str(), known_),
                                      fmt::join(known_, ", ")));
    }
  }

 private:
  template <class Read>
  void read_table(const toml::node& node, const std::string& path, Read read) {
    remember(node, path);
    const auto* inner = node.as_table();
    if (inner == nullptr) {
      complain(path, node, "a table");
      return;
    }
    TomlReader reader(*inner, path, mistakes_);
    read(reader);
    reader.report_unknown();
  }
  void remember(const toml::node& node, const std::string& path) {
    mistakes_.written(path, {mistakes_.file(), node.source().begin.line});
  }

  const toml::table& table_;
  std::string path_;
  Mistakes& mistakes_;
  std::vector<std::string> known_;
};

}  // namespace segue::conf
