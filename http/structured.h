// http/structured.h - structured fields (RFC 8941), the part that is used: dictionaries and items,
// read strictly and bounded, and the writing of strings and tokens. Views are valid as long as the
// text they came from. No allocation.
#pragma once
#include <array>
#include <cstddef>
#include <cstdint>
#include <optional>
#include <span>
#include <string_view>

#include "base/result.h"
#include "http/header_fields.h"

namespace segue::http {

inline constexpr size_t kDictionaryMembersMax = 32;

/// A bare item. Inner lists are recognised and checked, and reported by their text only.
struct BareItem {
  enum class Type : uint8_t { Integer, Decimal, String, Token, Bytes, Boolean, InnerList };
  Type type = Type::Boolean;
  int64_t integer = 0;   // Integer; Decimal in thousandths
  bool boolean = false;  // Boolean
  std::string_view text =
      {};  // String without quotes (escapes kept), Token, Bytes (base64), InnerList
};

struct DictionaryMember {
  std::string_view key = {};
  BareItem value;
  std::string_view parameters = {};  // raw ";a=1;b", checked
};

/// A parsed dictionary. A key given twice keeps its last value (RFC 8941 §3.2).
class Dictionary {
 public:
  [[nodiscard]] std::span<const DictionaryMember> members() const noexcept {
    return {members_.data(), count_};
  }
  [[nodiscard]] const DictionaryMember* find(std::string_view key) const noexcept;
  [[nodiscard]] bool empty() const noexcept { return count_ == 0; }

 private:
  friend class StructuredParser;
  std::array<DictionaryMember, kDictionaryMembersMax> members_{};
  size_t count_ = 0;
};

/// Errors: {Origin, Malformed} where any part breaks the grammar (the whole field is then void, RFC
/// 8941 §4.2); {Origin, Full} for more than kDictionaryMembersMax members.
[[nodiscard]] Result<Dictionary> parse_dictionary(std::string_view value) noexcept;
/// The dictionary that all fields of that name form together; empty where there is none.
[[nodiscard]] Result<Dictionary> parse_dictionary(FieldsView fields,
                                                  std::string_view name) noexcept;

/// One item with parameters (RFC 8941 §3.3).
struct Item {
  BareItem value;
  std::string_view parameters = {};
};
[[nodiscard]] Result<Item> parse_item(std::string_view value) noexcept;
/// The value of a parameter in the raw text of a parsed member; Boolean true for one without '='.
[[nodiscard]] std::optional<BareItem> find_parameter(std::string_view parameters,
                                                     std::string_view key) noexcept;

/// sf-token: ALPHA or '*', then tchar, ':' or '/'.
[[nodiscard]] bool is_structured_token(std::string_view text) noexcept;
/// sf-string content: visible ASCII and space only.
[[nodiscard]] bool is_structured_string(std::string_view text) noexcept;

}  // namespace segue::http
