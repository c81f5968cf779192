#include "http/structured.h"

#include <algorithm>

namespace segue::http {
namespace {

bool is_digit(char c) { return c >= '0' && c <= '9'; }
bool is_lower(char c) { return c >= 'a' && c <= 'z'; }
bool is_alpha(char c) { return is_lower(to_lower(c)); }
bool is_base64(char c) { return is_alpha(c) || is_digit(c) || c == '+' || c == '/' || c == '='; }
bool is_key_start(char c) { return is_lower(c) || c == '*'; }
bool is_key_char(char c) {
  return is_lower(c) || is_digit(c) || c == '_' || c == '-' || c == '.' || c == '*';
}
bool is_token_tail(char c) { return is_token_char(c) || c == ':' || c == '/'; }

}  // namespace

/// The parsing algorithms of RFC 8941 §4.2, over one text. Every take_ function returns false at
/// the first character that breaks the grammar; the text is void then.
class StructuredParser {
 public:
  explicit StructuredParser(std::string_view text) : text_(text) {}

  [[nodiscard]] bool at_end() const { return at_ == text_.size(); }
  [[nodiscard]] size_t position() const { return at_; }
  [[nodiscard]] std::string_view since(size_t start) const {
    return text_.substr(start, at_ - start);
  }

  bool take(char c) {
    if (peek() != c || at_end()) return false;
    ++at_;
    return true;
  }
  void skip_spaces() {
    while (take(' ')) {
    }
  }
  void skip_whitespace() {
    while (take(' ') || take('\t')) {
    }
  }

  bool take_key(std::string_view& key) {
    const size_t start = at_;
    if (at_end() || !is_key_start(peek())) return false;
    while (!at_end() && is_key_char(peek())) ++at_;
    key = since(start);
    return true;
  }

  bool take_bare_item(BareItem& item) {
    if (at_end()) return false;
    const char c = peek();
    if (c == '-' || is_digit(c)) return take_number(item);
    if (c == '"') return take_string(item);
    if (c == ':') return take_bytes(item);
    if (c == '?') return take_boolean(item);
    if (c == '*' || is_alpha(c)) return take_token(item);
    return false;
  }

  bool take_parameters(std::string_view& parameters) {
    const size_t start = at_;
    while (take(';')) {
      std::string_view key;
      BareItem value;
      if (!take_parameter(key, value)) return false;
    }
    parameters = since(start);
    return true;
  }

  /// After the ';'.
  bool take_parameter(std::string_view& key, BareItem& value) {
    skip_spaces();
    if (!take_key(key)) return false;
    value = {.type = BareItem::Type::Boolean, .integer = 0, .boolean = true, .text = {}};
    return !take('=') || take_bare_item(value);
  }

  bool take_member(DictionaryMember& member) {
    if (!take_key(member.key)) return false;
    member.value = {.type = BareItem::Type::Boolean, .integer = 0, .boolean = true, .text = {}};
    if (take('=')) {
      const bool taken =
          !at_end() && peek() == '(' ? take_inner_list(member.value) : take_bare_item(member.value);
      if (!taken) return false;
    }
    return take_parameters(member.parameters);
  }

  /// Adds the members of this text to `dictionary`. An empty text adds none.
  Result<Done> take_dictionary(Dictionary& dictionary) {
    skip_spaces();
    while (!at_end()) {
      DictionaryMember member;
      if (!take_member(member)) return fail_here();
      if (!put(dictionary, member)) return fail(Side::Origin, Kind::Full, "dictionary");
      skip_whitespace();
      if (at_end()) break;
      if (!take(',')) return fail_here();
      skip_whitespace();
      if (at_end()) return fail_here();  // a trailing comma
    }
    return Done{};
  }

  static std::unexpected<Error> fail_here() {
    return fail(Side::Origin, Kind::Malformed, "structured field");
  }

 private:
  [[nodiscard]] char peek() const { return at_ < text_.size() ? text_[at_] : '\0'; }

  /// Up to 15 digits, or 12 and a fraction of up to 3 (§3.3.1, §3.3.2).
  bool take_number(BareItem& item) {
    const bool negative = take('-');
    int64_t value = 0;
    int digits = 0;
    for (; is_digit(peek()); ++at_) {
      if (++digits > 15) return false;
      value = value * 10 + (peek() - '0');
    }
    if (digits == 0) return false;
    item.type = BareItem::Type::Integer;
    if (take('.')) {
      if (digits > 12) return false;
      int fraction_digits = 0;
      for (; is_digit(peek()); ++at_) {
        if (++fraction_digits > 3) return false;
        value = value * 10 + (peek() - '0');
      }
      if (fraction_digits == 0) return false;
      for (; fraction_digits < 3; ++fraction_digits) value *= 10;
      item.type = BareItem::Type::Decimal;
    }
    item.integer = negative ? -value : value;
    return true;
  }

  bool take_string(BareItem& item) {
    const size_t start = ++at_;
    for (; !at_end(); ++at_) {
      const char c = peek();
      if (c == '"') {
        item.type = BareItem::Type::String;
        item.text = since(start);
        ++at_;
        return true;
      }
      if (c < 0x20 || c > 0x7e) return false;
      if (c == '\\') {
        ++at_;
        if (peek() != '"' && peek() != '\\') return false;
      }
    }
    return false;
  }

  bool take_bytes(BareItem& item) {
    const size_t start = ++at_;
    while (is_base64(peek())) ++at_;
    item.type = BareItem::Type::Bytes;
    item.text = since(start);
    return take(':');
  }

  bool take_boolean(BareItem& item) {
    ++at_;
    item.type = BareItem::Type::Boolean;
    item.boolean = peek() == '1';
    return take('0') || take('1');
  }

  bool take_token(BareItem& item) {
    const size_t start = at_++;
    while (!at_end() && is_token_tail(peek())) ++at_;
    item.type = BareItem::Type::Token;
    item.text = since(start);
    return true;
  }

  bool take_inner_list(BareItem& item) {
    const size_t start = at_++;
    while (true) {
      skip_spaces();
      if (take(')')) break;
      BareItem inner;
      std::string_view parameters;
      if (!take_bare_item(inner) || !take_parameters(parameters)) return false;
      if (at_end() || (peek() != ' ' && peek() != ')')) return false;
    }
    item.type = BareItem::Type::InnerList;
    item.text = since(start);
    return true;
  }

  static bool put(Dictionary& dictionary, const DictionaryMember& member) {
    auto begin = dictionary.members_.begin();
    auto end = begin + static_cast<ptrdiff_t>(dictionary.count_);
    auto same = std::find_if(
        begin, end, [&](const DictionaryMember& other) { return other.key == member.key; });
    if (same == end) {
      if (dictionary.count_ == kDictionaryMembersMax) return false;
      ++dictionary.count_;
    }
    *same = member;
    return true;
  }

  std::string_view text_;
  size_t at_ = 0;
};

const DictionaryMember* Dictionary::find(std::string_view key) const noexcept {
  for (const DictionaryMember& member : members()) {
    if (member.key == key) return &member;
  }
  return nullptr;
}

Result<Dictionary> parse_dictionary(std::string_view value) noexcept {
  Dictionary dictionary;
  StructuredParser parser(trim_whitespace(value));
  if (auto done = parser.take_dictionary(dictionary); !done) return fail(done.error());
  return dictionary;
}

Result<Dictionary> parse_dictionary(FieldsView fields, std::string_view name) noexcept {
  // Line by line instead of joined: a member cannot be cut by a line's end in either reading, and
  // nothing needs to be copied.
  Dictionary dictionary;
  FieldValues values(fields, name);
  while (auto value = values.next()) {
    StructuredParser parser(*value);
    if (auto done = parser.take_dictionary(dictionary); !done) return fail(done.error());
  }
  return dictionary;
}

Result<Item> parse_item(std::string_view value) noexcept {
  Item item;
  StructuredParser parser(trim_whitespace(value));
  const bool taken = parser.take_bare_item(item.value) && parser.take_parameters(item.parameters);
  if (!taken || !parser.at_end()) return StructuredParser::fail_here();
  return item;
}

std::optional<BareItem> find_parameter(std::string_view parameters, std::string_view key) noexcept {
  std::optional<BareItem> found;
  StructuredParser parser(parameters);
  while (parser.take(';')) {
    std::string_view name;
    BareItem value;
    if (!parser.take_parameter(name, value)) return std::nullopt;
    if (name == key) found = value;  // the last one counts (RFC 8941 §3.1.2)
  }
  return found;
}

bool is_structured_token(std::string_view text) noexcept {
  return !text.empty() && (is_alpha(text.front()) || text.front() == '*') &&
         std::ranges::all_of(text, is_token_tail);
}

bool is_structured_string(std::string_view text) noexcept {
  return std::ranges::all_of(text, [](char c) { return c >= 0x20 && c <= 0x7e; });
}

}  // namespace segue::http
