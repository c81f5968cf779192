#include "conf/replay_arguments.h"

#include <fmt/format.h>

#include <charconv>
#include <optional>

#include "conf/values.h"

namespace segue::conf {
namespace {

constexpr uint32_t kLearnedPercent = 20;

std::optional<uint32_t> parse_percent(std::string_view text) {
  uint32_t percent = 0;
  const auto parsed = std::from_chars(text.data(), text.data() + text.size(), percent);
  if (parsed.ec != std::errc{} || parsed.ptr != text.data() + text.size() || percent > 100)
    return std::nullopt;
  return percent;
}

std::optional<ReplayArguments::Size> parse_replay_size(std::string_view text) {
  if (text.ends_with('%')) {
    const auto percent = parse_percent(text.substr(0, text.size() - 1));
    if (!percent || *percent == 0) return std::nullopt;
    return ReplayArguments::Size{.bytes = 0, .percent = *percent};
  }
  const auto bytes = parse_size(text);
  if (!bytes) return std::nullopt;
  return ReplayArguments::Size{.bytes = *bytes, .percent = 0};
}

std::optional<ReplayArguments::Feed> parse_feed(std::string_view text) {
  using Feed = ReplayArguments::Feed;
  if (text == "none") return Feed{};
  if (text == "learned") return Feed{Feed::Kind::Learned, kLearnedPercent};
  const size_t colon = text.find(':');
  if (colon == std::string_view::npos) return std::nullopt;
  const std::string_view kind = text.substr(0, colon);
  const auto percent = parse_percent(text.substr(colon + 1));
  if (!percent || (kind != "learned" && kind != "oracle")) return std::nullopt;
  return Feed{kind == "learned" ? Feed::Kind::Learned : Feed::Kind::Oracle, *percent};
}

std::unexpected<std::string> not_allowed(std::string_view flag, std::string_view text,
                                         std::string_view allowed) {
  return std::unexpected(
      fmt::format("{}: \"{}\" is not allowed here; allowed: {}", flag, text, allowed));
}

}  // namespace

std::expected<void, std::string> read_replay_words(const ReplayWords& words,
                                                   ReplayArguments& arguments) {
  constexpr std::string_view kSizes = "a size such as 24GiB, or 1% to 100% of all tracks together";
  if (!words.ram.empty()) {
    const auto size = parse_replay_size(words.ram);
    if (!size) return not_allowed("--ram", words.ram, kSizes);
    arguments.ram = *size;
  }
  if (!words.ssd.empty()) {
    const auto size = parse_replay_size(words.ssd);
    if (!size) return not_allowed("--ssd", words.ssd, kSizes);
    arguments.ssd = *size;
  }
  if (!words.policies.empty()) arguments.policies.clear();
  for (const std::string& text : words.policies) {
    const auto policy = parse_policy(text);
    if (!policy) return not_allowed("--policy", text, kPolicy.allowed);
    arguments.policies.push_back(*policy);
  }
  if (!words.feeds.empty()) arguments.feeds.clear();
  for (const std::string& text : words.feeds) {
    const auto feed = parse_feed(text);
    if (!feed)
      return not_allowed("--feed", text,
                         "none, learned, or learned:N or oracle:N with N from 0 to 100");
    arguments.feeds.push_back(*feed);
  }
  return {};
}

}  // namespace segue::conf
