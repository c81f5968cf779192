#include "http/vary.h"

#include <algorithm>

namespace segue::http {
namespace {

/// Appends to a fixed buffer and remembers whether all fitted.
class KeyWriter {
 public:
  explicit KeyWriter(std::span<char> out) : out_(out) {}
  void put(std::string_view text) {
    if (text.size() > out_.size() - used_) {
      full_ = true;
      return;
    }
    std::ranges::copy(text, out_.begin() + static_cast<ptrdiff_t>(used_));
    used_ += text.size();
  }
  void put_lower(std::string_view text) {
    const size_t before = used_;
    put(text);
    std::ranges::transform(out_.subspan(before, used_ - before),
                           out_.begin() + static_cast<ptrdiff_t>(before), to_lower);
  }
  [[nodiscard]] bool is_full() const { return full_; }
  [[nodiscard]] std::string_view text() const { return {out_.data(), used_}; }

 private:
  std::span<char> out_;
  size_t used_ = 0;
  bool full_ = false;
};

bool is_owned(std::string_view name, std::span<const std::string_view> owned) {
  return std::ranges::any_of(
      owned, [name](std::string_view other) { return equals_ignore_case(name, other); });
}

bool is_less_ignore_case(std::string_view a, std::string_view b) {
  return std::ranges::lexicographical_compare(a, b, {}, to_lower, to_lower);
}

}  // namespace

std::string_view VaryNames::operator[](size_t index) const noexcept {
  ListMembers names(text());
  std::optional<std::string_view> name = names.next();
  for (; index > 0; --index) name = names.next();
  return name.value_or(std::string_view());
}

void VaryNames::set_any() noexcept {
  any_ = true;
  count_ = 0;
  text_[0] = '*';
  text_bytes_ = 1;
}

void VaryNames::add(std::string_view name) noexcept {
  if (any_) return;
  if (!is_token(name) || name == "*") return set_any();
  // Where it belongs in the sorted text, unless it is there.
  size_t place = 0;
  for (size_t i = 0; i < count_; ++i) {
    const std::string_view other = (*this)[i];
    if (equals_ignore_case(other, name)) return;
    if (!is_less_ignore_case(other, name)) break;
    place += other.size() + 1;
  }
  const size_t added = name.size() + (count_ > 0 ? 1 : 0);
  if (count_ == kVaryNamesMax || added > text_.size() - text_bytes_) return set_any();
  place = std::min<size_t>(place, text_bytes_);
  const bool is_last = place == text_bytes_;
  auto at = text_.begin() + static_cast<ptrdiff_t>(place);
  std::copy_backward(at, text_.begin() + text_bytes_,
                     text_.begin() + static_cast<ptrdiff_t>(text_bytes_ + added));
  if (is_last && count_ > 0) *at++ = ',';
  at = std::ranges::transform(name, at, to_lower).out;
  if (!is_last) *at = ',';
  text_bytes_ += static_cast<uint32_t>(added);
  ++count_;
}

VaryNames parse_vary(FieldsView response, std::span<const std::string_view> owned) noexcept {
  VaryNames names;
  CombinedList members(response, "Vary");
  while (auto name = members.next()) {
    if (!is_owned(*name, owned)) names.add(*name);
  }
  return names;
}

VaryNames parse_vary_text(std::string_view text) noexcept {
  VaryNames names;
  ListMembers members(text);
  while (auto name = members.next()) names.add(*name);
  if (names.text() != text) names.set_any();  // not what text() gave
  return names;
}

Result<std::string_view> variant_key(const VaryNames& names, FieldsView request,
                                     std::span<char> out) noexcept {
  if (names.is_any()) return fail(Side::Self, Kind::Unsupported, "Vary: *");
  KeyWriter key(out);
  ListMembers all_names(names.text());
  while (auto name = all_names.next()) {
    key.put(*name);
    if (!request.contains(*name)) {
      key.put("\n");  // absent: not even the colon an empty field has
      continue;
    }
    key.put(":");
    CombinedList members(request, *name);
    std::string_view separator;
    // Language tags are the same in any case (RFC 9110 §8.5.1); of other fields we do not know.
    const bool any_case = *name == "accept-language";
    while (auto member = members.next()) {
      key.put(separator);
      any_case ? key.put_lower(*member) : key.put(*member);
      separator = ",";
    }
    key.put("\n");
  }
  if (key.is_full()) return fail(Side::Client, Kind::Full, "variant key");
  return key.text();
}

}  // namespace segue::http
