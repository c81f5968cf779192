#include "edge/prefetch/cmcd.h"

#include "http/target.h"

namespace segue::edge {
namespace {

int value_of_hex(char c) noexcept {
  if (c >= '0' && c <= '9') return c - '0';
  if (c >= 'a' && c <= 'f') return c - 'a' + 10;
  if (c >= 'A' && c <= 'F') return c - 'A' + 10;
  return -1;
}

}  // namespace

CmcdText::CmcdText(std::string_view query, http::FieldsView fields) noexcept {
  const auto parameter = http::find_query_parameter(query, "CMCD");
  if (!parameter) {
    text_ = fields.find("CMCD-Session").value_or(std::string_view());
    return;
  }
  size_t used = 0;
  for (size_t i = 0; i < parameter->size(); ++i) {
    if (used == decoded_.size()) return;  // longer than any we act on: nothing of it is read
    char c = (*parameter)[i];
    if (c == '%') {
      const int high = i + 2 < parameter->size() ? value_of_hex((*parameter)[i + 1]) : -1;
      const int low = i + 2 < parameter->size() ? value_of_hex((*parameter)[i + 2]) : -1;
      if (high < 0 || low < 0) return;
      c = static_cast<char>(high * 16 + low);
      i += 2;
    }
    decoded_[used++] = c;
  }
  text_ = {decoded_.data(), used};
}

std::optional<std::string_view> CmcdText::find(std::string_view key) const noexcept {
  std::string_view rest = text_;
  while (!rest.empty()) {
    // key, key=token or key="text", separated by commas; a quoted text may hold commas.
    const size_t name_end = rest.find_first_of("=,");
    std::string_view name = rest.substr(0, name_end);
    while (name.starts_with(' ')) name.remove_prefix(1);
    std::string_view value;
    rest.remove_prefix(std::min(name_end, rest.size()));
    if (rest.starts_with('=')) {
      rest.remove_prefix(1);
      if (rest.starts_with('"')) {
        const size_t end = rest.find('"', 1);
        if (end == std::string_view::npos) return std::nullopt;
        value = rest.substr(1, end - 1);
        rest.remove_prefix(end + 1);
      } else {
        value = rest.substr(0, rest.find(','));
        rest.remove_prefix(value.size());
      }
    }
    if (name == key) return value;
    rest.remove_prefix(std::min(rest.find(','), rest.size()));
    if (!rest.empty()) rest.remove_prefix(1);
  }
  return std::nullopt;
}

}  // namespace segue::edge
