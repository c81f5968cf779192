#include "edge/cli/readings.h"

#include <fmt/format.h>

#include <algorithm>
#include <charconv>
#include <limits>

namespace segue::edge {
namespace {

constexpr double kInfinity = std::numeric_limits<double>::infinity();

std::optional<double> number_of(std::string_view text) {
  if (text == "+Inf") return kInfinity;
  double value = 0;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), value);
  if (error != std::errc() || end != text.data() + text.size()) return std::nullopt;
  return value;
}

/// Takes `name="value"` and the comma behind it from the front; false: it is malformed.
bool take_label(std::string_view& text, std::pair<std::string, std::string>& label) {
  const size_t equals = text.find("=\"");
  if (equals == std::string_view::npos) return false;
  label.first = text.substr(0, equals);
  size_t at = equals + 2;
  while (at < text.size() && text[at] != '"') {
    if (text[at] == '\\' && at + 1 < text.size()) ++at;
    label.second += text[at] == 'n' && text[at - 1] == '\\' ? '\n' : text[at];
    ++at;
  }
  if (at == text.size()) return false;
  ++at;
  if (at < text.size() && text[at] == ',') ++at;
  text.remove_prefix(at);
  return true;
}

}  // namespace

std::string_view Readings::Sample::label(std::string_view name) const {
  for (const auto& [key, text] : labels) {
    if (key == name) return text;
  }
  return {};
}

const std::vector<Readings::Sample>& Readings::samples(std::string_view name) const {
  static const std::vector<Sample> k_none;
  const auto found = families_.find(name);
  return found == families_.end() ? k_none : found->second;
}

Readings Readings::parse(std::string_view text) {
  Readings readings;
  while (!text.empty()) {
    const size_t end = std::min(text.find('\n'), text.size());
    const std::string_view line = text.substr(0, end);
    text.remove_prefix(std::min(end + 1, text.size()));
    const size_t space = line.rfind(' ');
    if (line.starts_with('#') || space == std::string_view::npos) continue;
    const auto value = number_of(line.substr(space + 1));
    const std::string_view series = line.substr(0, space);
    const size_t brace = std::min(series.find('{'), series.size());
    Sample sample;
    std::string_view labels = series.substr(brace);
    bool right = value.has_value();
    if (right && !labels.empty()) {
      right = labels.ends_with('}');
      labels = labels.substr(1, labels.size() - 1 - (right ? 1 : 0));
      while (right && !labels.empty()) right = take_label(labels, sample.labels.emplace_back());
    }
    if (!right) continue;
    sample.value = *value;
    readings.families_[std::string(series.substr(0, brace))].push_back(std::move(sample));
  }
  return readings;
}

double Readings::sum(std::string_view name, Wanted wanted) const {
  double total = 0;
  for (const Sample& sample : samples(name)) {
    const bool is_wanted = std::ranges::all_of(
        wanted, [&](const auto& label) { return sample.label(label.first) == label.second; });
    if (is_wanted) total += sample.value;
  }
  return total;
}

std::vector<std::string> Readings::values_of(std::string_view name, std::string_view label) const {
  std::vector<std::string> values;
  for (const Sample& sample : samples(name)) {
    const std::string_view value = sample.label(label);
    if (std::ranges::find(values, value) == values.end()) values.emplace_back(value);
  }
  return values;
}

double Interval::growth(std::string_view name, Wanted wanted) const {
  const double now = now_.sum(name, wanted);
  const double grown = now - before_.sum(name, wanted);
  return grown >= 0 ? grown : now;
}

std::optional<double> Interval::quantile(std::string_view name, double q) const {
  const std::string buckets = fmt::format("{}_bucket", name);
  std::vector<std::pair<double, double>> counts;  // upper bound, observations up to it
  for (const std::string& text : now_.values_of(buckets, "le")) {
    if (const auto bound = number_of(text))
      counts.emplace_back(*bound, growth(buckets, {{"le", text}}));
  }
  std::ranges::sort(counts);
  if (counts.empty() || counts.back().second <= 0) return std::nullopt;
  const double wanted = q * counts.back().second;
  std::pair<double, double> below{0, 0};
  for (const auto& [bound, count] : counts) {
    if (count < wanted) {
      below = {bound, count};
      continue;
    }
    if (bound == kInfinity || count <= below.second) return below.first;
    return below.first + (bound - below.first) * (wanted - below.second) / (count - below.second);
  }
  return below.first;
}

}  // namespace segue::edge
