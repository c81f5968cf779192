#include "edge/admin/purge_request.h"

#include <fmt/format.h>
#include <simdjson.h>

#include <algorithm>
#include <optional>
#include <utility>

#include "base/hex.h"
#include "base/limits.h"
#include "edge/fill/tags.h"

namespace segue::edge {

namespace {

/// The members as they come, in whichever notation; finish() judges the whole.
class PurgeReader {
 public:
  /// The error, or nothing.
  [[nodiscard]] std::optional<std::string> take_text(std::string_view name, std::string_view text) {
    if (has_target_) return std::string("give one of url, prefix, tag and everything");
    if (text.empty()) return fmt::format("{} is empty", name);
    if (text.size() > kKeyBytesMax) return fmt::format("{} is over {} bytes", name, kKeyBytesMax);
    has_target_ = true;
    if (name == "tag" && !is_tag(text))
      return std::string("tag is not 1 to 1024 visible characters without comma");
    request_.target = name == "url"   ? PurgeTarget::Url
                      : name == "tag" ? PurgeTarget::Tag
                                      : PurgeTarget::Prefix;
    request_.text = text;
    return std::nullopt;
  }
  [[nodiscard]] std::optional<std::string> take_flag(std::string_view name, bool value) {
    if (name == "everything") {
      if (has_target_) return std::string("give one of url, prefix, tag and everything");
      if (!value) return std::string("everything can only be true");
      has_target_ = true;
      request_.target = PurgeTarget::Everything;
      return std::nullopt;
    }
    std::optional<bool>& flag = name == "soft" ? soft_ : cut_;
    if (flag.has_value()) return fmt::format("{} is given twice", name);
    flag = value;
    return std::nullopt;
  }
  [[nodiscard]] std::expected<PurgeRequest, std::string> finish() {
    if (!has_target_) return std::unexpected("give one of url, prefix, tag and everything");
    request_.soft = soft_.value_or(false);
    request_.cut = cut_.value_or(false);
    return std::move(request_);
  }

  [[nodiscard]] static bool is_text(std::string_view name) noexcept {
    return name == "url" || name == "prefix" || name == "tag";
  }
  [[nodiscard]] static bool is_flag(std::string_view name) noexcept {
    return name == "everything" || name == "soft" || name == "cut";
  }
  [[nodiscard]] static std::string unknown(std::string_view name) {
    return fmt::format("unknown member \"{}\"; known are url, prefix, tag, everything, soft, cut",
                       name.substr(0, 64));
  }

 private:
  PurgeRequest request_;
  bool has_target_ = false;
  std::optional<bool> soft_;
  std::optional<bool> cut_;
};

}  // namespace

namespace {

/// Members that make a purge of a message; the error, or whether `name` is one.
std::expected<bool, std::string> take_envelope(std::string_view name,
                                               const simdjson::dom::element& value,
                                               bool& is_purge) {
  std::string_view op;
  int64_t version = 0;
  if (name == "op") {
    if (value.get(op) != simdjson::SUCCESS || op != "purge")
      return std::unexpected("op is no purge");
    is_purge = true;
    return true;
  }
  if (name != "v") return false;
  if (value.get(version) != simdjson::SUCCESS || version != 1)
    return std::unexpected("v is not 1, the only version this node reads");
  return true;
}

std::expected<PurgeRequest, std::string> parse_purge(std::string_view json, bool is_message) {
  simdjson::dom::parser parser;
  const simdjson::padded_string padded(json);
  simdjson::dom::element document;
  if (parser.parse(padded).get(document) != simdjson::SUCCESS) {
    return std::unexpected("it is no JSON");
  }
  simdjson::dom::object object;
  if (document.get(object) != simdjson::SUCCESS) {
    return std::unexpected("it is no JSON object");
  }
  PurgeReader reader;
  bool is_purge = !is_message;
  for (const auto& [name, value] : object) {
    std::optional<std::string> error;
    std::string_view text;
    bool flag = false;
    if (is_message) {
      const auto taken = take_envelope(name, value, is_purge);
      if (!taken) return std::unexpected(taken.error());
      if (*taken) continue;
    }
    if (PurgeReader::is_text(name)) {
      error = value.get(text) == simdjson::SUCCESS ? reader.take_text(name, text)
                                                   : fmt::format("{} is no string", name);
    } else if (PurgeReader::is_flag(name)) {
      error = value.get(flag) == simdjson::SUCCESS
                  ? reader.take_flag(name, flag)
                  : fmt::format("{} is neither true nor false", name);
    } else {
      error = PurgeReader::unknown(name);
    }
    if (error) return std::unexpected(*std::move(error));
  }
  if (!is_purge) return std::unexpected("op is missing; allowed: \"purge\"");
  return reader.finish();
}

}  // namespace

std::expected<PurgeRequest, std::string> parse_purge_body(std::string_view json) {
  return parse_purge(json, false);
}

std::expected<PurgeRequest, std::string> parse_purge_message(std::string_view json) {
  return parse_purge(json, true);
}

std::expected<std::string, std::string> decode_query_value(std::string_view value) {
  std::string decoded;
  for (size_t i = 0; i < value.size(); ++i) {
    char c = value[i];
    if (c == '%') {
      const int high = i + 2 < value.size() ? hex_value(value[i + 1]) : -1;
      const int low = i + 2 < value.size() ? hex_value(value[i + 2]) : -1;
      if (high < 0 || low < 0) return std::unexpected("bad percent-encoding");
      c = static_cast<char>(high * 16 + low);
      i += 2;
    }
    if (static_cast<unsigned char>(c) < 0x20 || c == 0x7F) {
      return std::unexpected("a control character");
    }
    decoded.push_back(c);
  }
  return decoded;
}

std::expected<PurgeRequest, std::string> parse_purge_query(std::string_view query) {
  PurgeReader reader;
  while (!query.empty()) {
    const std::string_view parameter = query.substr(0, query.find('&'));
    query.remove_prefix(std::min(parameter.size() + 1, query.size()));
    const size_t equals = parameter.find('=');
    if (equals == std::string_view::npos) {
      return std::unexpected(fmt::format("\"{}\" has no value", parameter.substr(0, 64)));
    }
    const std::string_view name = parameter.substr(0, equals);
    const auto value = decode_query_value(parameter.substr(equals + 1));
    if (!value) return std::unexpected(fmt::format("{}: {}", name.substr(0, 64), value.error()));
    std::optional<std::string> error;
    if (PurgeReader::is_text(name)) {
      error = reader.take_text(name, *value);
    } else if (PurgeReader::is_flag(name)) {
      error = *value == "1" || *value == "0" ? reader.take_flag(name, *value == "1")
                                             : fmt::format("{} is neither 1 nor 0", name);
    } else {
      error = PurgeReader::unknown(name);
    }
    if (error) return std::unexpected(*std::move(error));
  }
  return reader.finish();
}

}  // namespace segue::edge
