#define TOML_IMPLEMENTATION  // before conf/toml.h: everything of toml++ that is no template
#include "conf/toml.h"

#include <fmt/format.h>

#include <algorithm>
#include <vector>

namespace segue::conf {
namespace {

std::string_view name_of(toml::node_type type) {
  switch (type) {
    case toml::node_type::table:
      return "a table";
    case toml::node_type::array:
      return "a list";
    case toml::node_type::string:
      return "a string";
    case toml::node_type::integer:
      return "a number";
    case toml::node_type::floating_point:
      return "a number with a point";
    case toml::node_type::boolean:
      return "true or false";
    default:
      return "a date or time";
  }
}

/// Whether toml++ gives up (conf/toml.h) within `text`.
bool gives_up(std::string_view text) {
  try {
    static_cast<void>(toml::parse(text));
  } catch (const TomlGaveUp&) {
    return true;
  } catch (const toml::parse_error&) {
    return false;  // of a prefix: the text is cut
  }
  return false;
}

/// The line at which toml++ gives up. It reads from the front, so every text up to that line or
/// further gives up and no shorter one does: a binary search over the lines.
uint32_t line_of_giving_up(std::string_view text) {
  std::vector<size_t> ends;  // of line i + 1
  for (size_t i = 0; i < text.size(); ++i) {
    if (text[i] == '\n') ends.push_back(i + 1);
  }
  const auto first = std::ranges::partition_point(
      ends, [&](size_t end) { return !gives_up(text.substr(0, end)); });
  return static_cast<uint32_t>(first - ends.begin()) + 1;
}

}  // namespace

std::optional<toml::table> parse_document(std::string_view text, Mistakes& mistakes) {
  try {
    return toml::parse(text);
  } catch (const toml::parse_error& error) {
    mistakes.written("toml", {mistakes.file(), error.source().begin.line});
    mistakes.add("toml", std::string(error.description()));
  } catch (const TomlGaveUp&) {
    mistakes.written("toml", {mistakes.file(), line_of_giving_up(text)});
    mistakes.add("toml", "this is not TOML; allowed: [table], key = value, # comment");
  }
  return std::nullopt;
}

std::string shown(const toml::node& node) {
  if (const auto* text = node.as_string()) {
    return fmt::format("\"{}\"", text->get().substr(0, 80));
  }
  if (const auto* number = node.as_integer()) return fmt::format("{}", number->get());
  return std::string(name_of(node.type()));
}

}  // namespace segue::conf
