// http/validator.h - entity tags, Last-Modified, and when they are strong (RFC 9110 §8.8). Pure,
// no allocation; views are valid as long as the text they came from.
#pragma once
#include <chrono>
#include <optional>
#include <string_view>

#include "http/header_fields.h"

namespace segue::http {

/// An entity tag. `opaque` is the text between the quotes.
struct EntityTag {
  std::string_view opaque = {};
  bool weak = false;
};

/// Strict: [W/] DQUOTE *etagc DQUOTE and nothing else (RFC 9110 §8.8.3).
[[nodiscard]] std::optional<EntityTag> parse_entity_tag(std::string_view text) noexcept;
/// Both strong and equal (§8.8.3.2).
[[nodiscard]] bool strong_match(const EntityTag& a, const EntityTag& b) noexcept;
/// Equal, weak or not.
[[nodiscard]] bool weak_match(const EntityTag& a, const EntityTag& b) noexcept;

/// §8.8.2.2: the Last-Modified time is a strong validator if it lies at least 60 s before the Date
/// of the response it came with. Without a Date it is weak.
[[nodiscard]] bool last_modified_is_strong(std::chrono::sys_seconds last_modified,
                                           std::optional<std::chrono::sys_seconds> date) noexcept;

/// The validators of one representation.
class Validator {
 public:
  Validator() = default;
  /// `etag` as in the field (with quotes; empty or malformed = none).
  Validator(std::string_view etag, std::optional<std::chrono::sys_seconds> last_modified,
            std::optional<std::chrono::sys_seconds> date) noexcept
      : tag_(parse_entity_tag(etag)), last_modified_(last_modified), date_(date) {}
  /// From the fields of a response: ETag, Last-Modified, Date. A repeated or malformed one counts
  /// as absent.
  [[nodiscard]] static Validator of_response(FieldsView response) noexcept;

  [[nodiscard]] const std::optional<EntityTag>& entity_tag() const noexcept { return tag_; }
  [[nodiscard]] std::optional<std::chrono::sys_seconds> last_modified() const noexcept {
    return last_modified_;
  }
  [[nodiscard]] std::optional<std::chrono::sys_seconds> date() const noexcept { return date_; }

  /// Whether the validator can join byte ranges of several responses (§15.3.7.3): a strong entity
  /// tag, or without any entity tag a strong Last-Modified.
  [[nodiscard]] bool is_strong() const noexcept;
  [[nodiscard]] bool last_modified_is_strong() const noexcept;
  [[nodiscard]] bool empty() const noexcept { return !tag_ && !last_modified_; }

 private:
  std::optional<EntityTag> tag_ = {};
  std::optional<std::chrono::sys_seconds> last_modified_ = {};
  std::optional<std::chrono::sys_seconds> date_ = {};
};

/// Walks a list of entity tags (If-Match, If-None-Match). Commas inside the quotes belong to the
/// tag, backslash is no escape (§8.8.3). A malformed member ends the walk and sets malformed().
class EntityTagList {
 public:
  explicit EntityTagList(std::string_view value) noexcept : rest_(value) {}
  [[nodiscard]] std::optional<EntityTag> next() noexcept;
  [[nodiscard]] bool malformed() const noexcept { return malformed_; }

 private:
  std::string_view rest_;
  bool malformed_ = false;
};

}  // namespace segue::http
