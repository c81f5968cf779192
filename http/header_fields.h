// http/header_fields.h - header fields (RFC 9110 §5): a view of them, an owning list of them, and
// the walk over comma-separated lists. Nothing here waits; only OwnedFields allocates.
#pragma once
#include <array>
#include <cstddef>
#include <cstdint>
#include <optional>
#include <span>
#include <string_view>
#include <vector>

namespace segue::http {

/// One field line. Both views are valid until the buffer they were parsed from moves or changes.
struct Field {
  std::string_view name;
  std::string_view value;  // without leading and trailing whitespace
};

/// ASCII only: field names, schemes, hosts and codings are (RFC 9110 §5.1); no locale.
[[nodiscard]] constexpr char to_lower(char c) noexcept {
  return c >= 'A' && c <= 'Z' ? static_cast<char>(c - 'A' + 'a') : c;
}
[[nodiscard]] bool equals_ignore_case(std::string_view a, std::string_view b) noexcept;

/// tchar (RFC 9110 §5.6.2) by its byte. In the header because the parsers ask it for every byte of
/// every name: a call each was a sixth of the time of a request parse.
inline constexpr std::array<bool, 256> kTokenChars = [] {
  std::array<bool, 256> table{};
  for (char c = '0'; c <= '9'; ++c) table[static_cast<unsigned char>(c)] = true;
  for (char c = 'a'; c <= 'z'; ++c) table[static_cast<unsigned char>(c)] = true;
  for (char c = 'A'; c <= 'Z'; ++c) table[static_cast<unsigned char>(c)] = true;
  for (char c : std::string_view("!#$%&'*+-.^_`|~")) table[static_cast<unsigned char>(c)] = true;
  return table;
}();
/// tchar and token (RFC 9110 §5.6.2): what a method or a field name may consist of.
[[nodiscard]] constexpr bool is_token_char(char c) noexcept {
  return kTokenChars[static_cast<unsigned char>(c)];
}
[[nodiscard]] bool is_token(std::string_view text) noexcept;
/// field-value (RFC 9110 §5.5): HTAB, SP, visible ASCII, obs-text. No CR, LF, NUL or other control.
[[nodiscard]] bool is_field_value(std::string_view text) noexcept;
/// Without leading and trailing SP and HTAB (OWS, RFC 9110 §5.6.3).
[[nodiscard]] std::string_view trim_whitespace(std::string_view text) noexcept;
/// 1*DIGIT as a number; nothing for an empty text, a sign, a space or a value over 2^64 - 1.
[[nodiscard]] std::optional<uint64_t> parse_decimal(std::string_view text) noexcept;

/// Walks the members of one comma-separated value (RFC 9110 §5.6.1). Commas inside quoted strings
/// do not divide; empty members are skipped, members come trimmed. Views are valid until the text
/// moves.
class ListMembers {
 public:
  explicit ListMembers(std::string_view value) noexcept : rest_(value) {}
  /// The next member, or nothing at the end.
  [[nodiscard]] std::optional<std::string_view> next() noexcept;

 private:
  std::string_view rest_;
};

/// Which names may be among some fields: a bit of 64 for each, by its length and its ends. A
/// request is asked for some fifteen names, of which two or three are there; for the others this is
/// all the look there is.
class NameFilter {
 public:
  constexpr void add(std::string_view name) noexcept { bits_ |= bit_of(name); }
  /// False: it is not among them.
  [[nodiscard]] constexpr bool may_have(std::string_view name) const noexcept {
    return (bits_ & bit_of(name)) != 0;
  }
  /// Of fields nobody has looked at.
  [[nodiscard]] static constexpr NameFilter any() noexcept {
    NameFilter all;
    all.bits_ = UINT64_MAX;
    return all;
  }

 private:
  [[nodiscard]] static constexpr uint64_t bit_of(std::string_view name) noexcept {
    if (name.empty()) return 1;
    // 0x20 makes one of both cases of a letter, and of other characters no two names that are
    // equal.
    const auto first = static_cast<unsigned char>(name.front() | 0x20);
    const auto last = static_cast<unsigned char>(name.back() | 0x20);
    return uint64_t{1} << ((name.size() * 7 + first + last * 3U) & 63U);
  }
  uint64_t bits_ = 0;
};

/// A non-owning list of fields in the order received. Look-ups by name ignore case and are linear:
/// requests carry about ten fields, and a table would cost more than it saves.
/// Valid until the Field array it was made from moves or changes.
class FieldsView {
 public:
  constexpr FieldsView() = default;
  constexpr FieldsView(std::span<const Field> fields,  // NOLINT: as a span would
                       NameFilter names = NameFilter::any()) noexcept
      : fields_(fields), names_(names) {}

  /// The value of the first field of that name.
  [[nodiscard]] std::optional<std::string_view> find(std::string_view name) const noexcept {
    if (!names_.may_have(name)) return std::nullopt;
    return find_present(name);
  }
  /// The value if exactly one field has that name: for fields that are no lists (Host, Range,
  /// ETag).
  [[nodiscard]] std::optional<std::string_view> find_only(std::string_view name) const noexcept {
    if (!names_.may_have(name)) return std::nullopt;
    return find_only_present(name);
  }
  [[nodiscard]] size_t count(std::string_view name) const noexcept;
  [[nodiscard]] bool contains(std::string_view name) const noexcept {
    return find(name).has_value();
  }
  /// True if a member of the combined list equals `member`, ignoring case ("Connection", "close").
  [[nodiscard]] bool list_contains(std::string_view name, std::string_view member) const noexcept {
    return names_.may_have(name) && list_contains_present(name, member);
  }

  [[nodiscard]] constexpr auto begin() const noexcept { return fields_.begin(); }
  [[nodiscard]] constexpr auto end() const noexcept { return fields_.end(); }
  [[nodiscard]] constexpr size_t size() const noexcept { return fields_.size(); }
  [[nodiscard]] constexpr bool empty() const noexcept { return fields_.empty(); }
  [[nodiscard]] constexpr const Field& operator[](size_t i) const noexcept { return fields_[i]; }

 private:
  [[nodiscard]] std::optional<std::string_view> find_present(std::string_view name) const noexcept;
  [[nodiscard]] std::optional<std::string_view> find_only_present(
      std::string_view name) const noexcept;
  [[nodiscard]] bool list_contains_present(std::string_view name,
                                           std::string_view member) const noexcept;

  std::span<const Field> fields_;
  NameFilter names_ = NameFilter::any();
};

/// Walks the values of all fields of one name, in order (FieldsView::find_all in a loop).
class FieldValues {
 public:
  FieldValues(FieldsView fields, std::string_view name) noexcept : fields_(fields), name_(name) {}
  [[nodiscard]] std::optional<std::string_view> next() noexcept;

 private:
  FieldsView fields_;
  std::string_view name_;
  size_t at_ = 0;
};
[[nodiscard]] inline FieldValues find_all(FieldsView fields, std::string_view name) noexcept {
  return {fields, name};
}

/// Walks the members of the list that all fields of one name form together (RFC 9110 §5.3). A
/// quoted string left open ends with its field line: it cannot swallow the next one.
class CombinedList {
 public:
  CombinedList(FieldsView fields, std::string_view name) noexcept
      : values_(fields, name), members_(std::string_view()) {}
  [[nodiscard]] std::optional<std::string_view> next() noexcept;

 private:
  FieldValues values_;
  ListMembers members_;
};

/// Fields with their text, in two allocations. Copies are deep; a moved-from list is empty.
class OwnedFields {
 public:
  OwnedFields() = default;
  explicit OwnedFields(FieldsView fields);
  OwnedFields(const OwnedFields& other) : OwnedFields(other.view()) {}
  OwnedFields(OwnedFields&&) noexcept = default;
  OwnedFields& operator=(const OwnedFields& other);
  OwnedFields& operator=(OwnedFields&&) noexcept = default;
  ~OwnedFields() = default;

  /// Appends a copy. False, and nothing added, where `name` is no token or `value` no field value:
  /// what is stored here may be written to a client later.
  bool add(std::string_view name, std::string_view value);
  /// Replaces every field of that name by one.
  bool set(std::string_view name, std::string_view value);
  /// Removes every field of that name; the text stays in the arena until clear().
  void remove(std::string_view name) noexcept;
  void clear() noexcept;
  /// Valid until the next change of this list.
  [[nodiscard]] FieldsView view() const noexcept { return {fields_}; }
  [[nodiscard]] size_t size() const noexcept { return fields_.size(); }
  /// Bytes of text held, names and values.
  [[nodiscard]] size_t text_bytes() const noexcept { return arena_.size(); }

 private:
  void append(std::string_view name, std::string_view value);

  std::vector<char> arena_;    // a vector, not a string: moving must not move the bytes (no SSO)
  std::vector<Field> fields_;  // views into arena_
};

}  // namespace segue::http
