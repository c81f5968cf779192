// edge/cli/readings.h - the numbers of a node as its /metrics say them, and what they grew by
// between two looks. For command lines; what a node sends is not trusted to be well-formed.
#pragma once
#include <initializer_list>
#include <map>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

namespace segue::edge {

using Wanted = std::initializer_list<std::pair<std::string_view, std::string_view>>;

/// One look at /metrics.
class Readings {
 public:
  /// Lines that are no samples are skipped.
  [[nodiscard]] static Readings parse(std::string_view text);

  /// The sum of all series of `name` that have the wanted labels; 0 where there is none.
  [[nodiscard]] double sum(std::string_view name, Wanted wanted = {}) const;
  /// The values of a label, each once, in order of appearance.
  [[nodiscard]] std::vector<std::string> values_of(std::string_view name,
                                                   std::string_view label) const;

 private:
  friend class Interval;
  struct Sample {
    std::vector<std::pair<std::string, std::string>> labels;
    double value = 0;
    [[nodiscard]] std::string_view label(std::string_view name) const;
  };
  [[nodiscard]] const std::vector<Sample>& samples(std::string_view name) const;

  std::map<std::string, std::vector<Sample>, std::less<>> families_;
};

/// Two looks, `seconds` apart. An empty first one: all since the node's start.
class Interval {
 public:
  Interval(const Readings& before, const Readings& now, double seconds)
      : before_(before), now_(now), seconds_(seconds > 0.001 ? seconds : 0.001) {}

  [[nodiscard]] const Readings& now() const noexcept { return now_; }
  [[nodiscard]] double seconds() const noexcept { return seconds_; }
  /// Of a counter; a node that was restarted meanwhile counts from zero.
  [[nodiscard]] double growth(std::string_view name, Wanted wanted = {}) const;
  [[nodiscard]] double rate(std::string_view name, Wanted wanted = {}) const {
    return growth(name, wanted) / seconds_;
  }
  /// Of a histogram, over the interval alone; nothing without an observation.
  [[nodiscard]] std::optional<double> quantile(std::string_view name, double q) const;

 private:
  const Readings& before_;
  const Readings& now_;
  const double seconds_;
};

}  // namespace segue::edge
