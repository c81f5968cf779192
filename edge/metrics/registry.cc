#include "edge/metrics/registry.h"

#include <fmt/format.h>
#include <prometheus/collectable.h>
#include <prometheus/metric_family.h>
#include <prometheus/text_serializer.h>

#include <algorithm>
#include <cmath>
#include <iterator>
#include <map>
#include <mutex>

#include "base/assert.h"
#include "base/version.h"
#include "edge/metrics/json.h"

namespace segue::edge {

namespace {

struct CounterSource {
  const Counter* counter;
  double unit;
};
struct AskSource {
  Registry::Ask ask;
  const void* context;
};

/// One time series: the sum of what the loops added under the same name and labels.
struct Series {
  Labels labels;
  std::vector<CounterSource> counters;
  std::vector<AskSource> asks;
  std::vector<const LatencyHistogram*> histograms;
  double found = 0;

  [[nodiscard]] double value() const {
    double sum = found;
    for (const CounterSource& source : counters) {
      sum += static_cast<double>(source.counter->get()) * source.unit;
    }
    for (const AskSource& source : asks) sum += source.ask(source.context);
    return sum;
  }
  [[nodiscard]] LatencySnapshot latency() const {
    LatencySnapshot merged;
    for (const LatencyHistogram* histogram : histograms) merged.merge(*histogram);
    return merged;
  }
};

struct Family {
  std::string name;
  std::string help;
  prometheus::MetricType type;
  std::vector<Series> series;
};

[[nodiscard]] double seconds_of(std::chrono::nanoseconds time) noexcept {
  return static_cast<double>(time.count()) / 1e9;
}

[[nodiscard]] prometheus::ClientMetric to_metric(const Family& family, const Series& series) {
  prometheus::ClientMetric metric;
  for (const auto& [name, value] : series.labels) metric.label.push_back({name, value});
  if (family.type == prometheus::MetricType::Counter) {
    metric.counter.value = series.value();
  } else if (family.type == prometheus::MetricType::Gauge) {
    metric.gauge.value = series.value();
  } else {
    const LatencySnapshot latency = series.latency();
    metric.histogram.sample_count = latency.count();
    metric.histogram.sample_sum = seconds_of(latency.sum());
    for (const std::chrono::nanoseconds bound : exported_latency_bounds()) {
      metric.histogram.bucket.push_back({latency.count_below(bound), seconds_of(bound)});
    }
    metric.histogram.bucket.push_back({metric.histogram.sample_count, HUGE_VAL});
  }
  return metric;
}

void append_json_value(const Family& family, const Series& series, std::string& out) {
  auto into = std::back_inserter(out);
  if (family.type != prometheus::MetricType::Histogram) {
    const double value = series.value();
    fmt::format_to(into, "{}", std::isfinite(value) ? value : 0.0);
    return;
  }
  const LatencySnapshot latency = series.latency();
  fmt::format_to(into, "{{\"count\":{},\"sum_seconds\":{}", latency.count(),
                 seconds_of(latency.sum()));
  constexpr std::pair<const char*, double> kQuantiles[] = {
      {"p50", 0.5}, {"p90", 0.9}, {"p99", 0.99}, {"p999", 0.999}};
  for (const auto& [name, quantile] : kQuantiles) {
    fmt::format_to(into, ",\"{}_seconds\":{}", name, seconds_of(latency.quantile(quantile)));
  }
  out.push_back('}');
}

void append_json_series(const Family& family, const Series& series, std::string& out) {
  out.append("{\"labels\":{");
  for (const auto& [name, value] : series.labels) {
    if (out.back() != '{') out.push_back(',');
    append_json_string(name, out);
    out.push_back(':');
    append_json_string(value, out);
  }
  out.append("},\"value\":");
  append_json_value(family, series, out);
  out.push_back('}');
}

}  // namespace

struct Registry::Impl final : prometheus::Collectable {
  [[nodiscard]] std::vector<prometheus::MetricFamily> Collect() const override;
  Series& series_of(std::string_view name, std::string_view help, prometheus::MetricType type,
                    Labels labels);
  /// The families, with segue_degraded as it is now.
  [[nodiscard]] Family degraded_family() const;
  [[nodiscard]] std::vector<Family> found_families() const;

  std::vector<Family> families;
  std::vector<std::pair<Registry::AskAll, const void*>> asks_for_all;
  mutable std::mutex degraded_mutex;
  std::map<std::string, Counter, std::less<>> degraded;
};

Series& Registry::Impl::series_of(std::string_view name, std::string_view help,
                                  prometheus::MetricType type, Labels labels) {
  // The serializer does not escape help texts; ours are written here.
  SEGUE_ASSERT(help.find_first_of("\\\n") == std::string_view::npos);
  auto family = std::ranges::find(families, name, &Family::name);
  if (family == families.end()) {
    families.push_back({std::string(name), std::string(help), type, {}});
    family = families.end() - 1;
  }
  SEGUE_ASSERT(family->type == type);  // one name, one type: two callers of ours disagree
  auto series = std::ranges::find(family->series, labels, &Series::labels);
  if (series == family->series.end()) {
    family->series.push_back({std::move(labels), {}, {}, {}, 0});
    series = family->series.end() - 1;
  }
  return *series;
}

Family Registry::Impl::degraded_family() const {
  Family family{"segue_degraded",
                "1 while the node runs in a degraded mode.",
                prometheus::MetricType::Gauge,
                {}};
  const std::scoped_lock lock(degraded_mutex);
  for (const auto& [what, on] : degraded) {
    family.series.push_back({{{"what", what}}, {{&on, 1}}, {}, {}, 0});
  }
  return family;
}

std::vector<Family> Registry::Impl::found_families() const {
  std::vector<Registry::Found> found;
  for (const auto& [ask, context] : asks_for_all) ask(context, found);
  std::vector<Family> made;
  for (Registry::Found& one : found) {
    auto family = std::ranges::find(made, one.name, &Family::name);
    if (family == made.end()) {
      made.push_back(
          {std::string(one.name),
           std::string(one.help),
           one.is_counter ? prometheus::MetricType::Counter : prometheus::MetricType::Gauge,
           {}});
      family = made.end() - 1;
    }
    family->series.push_back({std::move(one.labels), {}, {}, {}, one.value});
  }
  return made;
}

std::vector<prometheus::MetricFamily> Registry::Impl::Collect() const {
  std::vector<prometheus::MetricFamily> collected;
  const auto collect = [&collected](const Family& family) {
    prometheus::MetricFamily made;
    made.name = family.name;
    made.help = family.help;
    made.type = family.type;
    for (const Series& series : family.series) made.metric.push_back(to_metric(family, series));
    collected.push_back(std::move(made));
  };
  for (const Family& family : families) collect(family);
  for (const Family& family : found_families()) collect(family);
  if (const Family family = degraded_family(); !family.series.empty()) collect(family);
  return collected;
}

Registry::Registry() : impl_(std::make_unique<Impl>()) {
  add_gauge(
      "segue_build_info", "Always 1; the labels say what runs.",
      {{"version", std::string(version())}}, [](const void*) { return 1.0; }, nullptr);
}
Registry::~Registry() = default;

void Registry::add_counter(std::string_view name, std::string_view help, Labels labels,
                           const Counter& counter, double unit) {
  impl_->series_of(name, help, prometheus::MetricType::Counter, std::move(labels))
      .counters.push_back({&counter, unit});
}

void Registry::add_gauge(std::string_view name, std::string_view help, Labels labels,
                         const Counter& counter, double unit) {
  impl_->series_of(name, help, prometheus::MetricType::Gauge, std::move(labels))
      .counters.push_back({&counter, unit});
}

void Registry::add_gauge(std::string_view name, std::string_view help, Labels labels, Ask ask,
                         const void* context) {
  impl_->series_of(name, help, prometheus::MetricType::Gauge, std::move(labels))
      .asks.push_back({ask, context});
}

void Registry::add_counter(std::string_view name, std::string_view help, Labels labels, Ask ask,
                           const void* context) {
  impl_->series_of(name, help, prometheus::MetricType::Counter, std::move(labels))
      .asks.push_back({ask, context});
}

void Registry::add_histogram(std::string_view name, std::string_view help, Labels labels,
                             const LatencyHistogram& histogram) {
  impl_->series_of(name, help, prometheus::MetricType::Histogram, std::move(labels))
      .histograms.push_back(&histogram);
}

void Registry::add_found(AskAll ask, const void* context) {
  impl_->asks_for_all.emplace_back(ask, context);
}

void Registry::set_degraded(std::string_view what, bool degraded) {
  const std::scoped_lock lock(impl_->degraded_mutex);
  impl_->degraded[std::string(what)].set(degraded ? 1 : 0);
}

std::string Registry::prometheus_text() const {
  return prometheus::TextSerializer().prometheus::Serializer::Serialize(impl_->Collect());
}

std::string Registry::json() const {
  std::string out = "{";
  const auto append = [&out](const Family& family) {
    if (out.size() > 1) out.push_back(',');
    out.push_back('\n');
    append_json_string(family.name, out);
    out.push_back(':');
    if (family.series.size() == 1 && family.series.front().labels.empty()) {
      append_json_value(family, family.series.front(), out);
      return;
    }
    out.push_back('[');
    for (const Series& series : family.series) {
      if (out.back() != '[') out.push_back(',');
      append_json_series(family, series, out);
    }
    out.push_back(']');
  };
  for (const Family& family : impl_->families) append(family);
  for (const Family& family : impl_->found_families()) append(family);
  if (const Family family = impl_->degraded_family(); !family.series.empty()) append(family);
  out.append("\n}\n");
  return out;
}

}  // namespace segue::edge
