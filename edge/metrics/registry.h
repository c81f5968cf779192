// edge/metrics/registry.h - all numbers of the node under their public names. Modules keep their
// own counters, one set per loop; the registry only knows where they are, and sums the loops when
// it is asked. Names follow Prometheus' conventions: segue_ first, _total, _seconds or _bytes last.
#pragma once
#include <memory>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "base/counter.h"
#include "edge/metrics/latency_histogram.h"

namespace segue::edge {

/// Label names are static and few; values come from settings (site names, drives), never from
/// requests: each combination is a time series that lives forever.
using Labels = std::vector<std::pair<std::string, std::string>>;

/// Filled at start on one thread, then read by the loop that answers scrapes. What is added must
/// outlive the registry. A series added more than once (once per loop) is summed.
class Registry {
 public:
  Registry();
  ~Registry();
  Registry(const Registry&) = delete;
  Registry& operator=(const Registry&) = delete;

  /// A number that only grows. `unit` is multiplied in: 1e-9 exports nanoseconds as seconds.
  void add_counter(std::string_view name, std::string_view help, Labels labels,
                   const Counter& counter, double unit = 1);
  /// A number that goes up and down.
  void add_gauge(std::string_view name, std::string_view help, Labels labels,
                 const Counter& counter, double unit = 1);
  /// Asked at each scrape, on the scraping thread.
  using Ask = double (*)(const void* context);
  void add_gauge(std::string_view name, std::string_view help, Labels labels, Ask ask,
                 const void* context);
  void add_counter(std::string_view name, std::string_view help, Labels labels, Ask ask,
                   const void* context);
  /// Series whose labels are only known as the node runs (models of a feed): asked for at each
  /// scrape. How many there can be is bounded by whoever adds them.
  struct Found {
    std::string_view name;  // static storage
    std::string_view help;  // static storage
    bool is_counter = true;
    Labels labels;
    double value = 0;
  };
  using AskAll = void (*)(const void* context, std::vector<Found>& out);
  void add_found(AskAll ask, const void* context);
  void add_histogram(std::string_view name, std::string_view help, Labels labels,
                     const LatencyHistogram& histogram);

  /// segue_degraded{what}: 1 from here on while `degraded`, e.g. "io_threads", "plain_pages",
  /// "buffered_io". Any thread.
  void set_degraded(std::string_view what, bool degraded = true);

  /// Prometheus text format 0.0.4. Any thread; takes no lock a loop takes.
  [[nodiscard]] std::string prometheus_text() const;
  /// The same numbers as one JSON object for people and scripts: name -> number, or -> list of
  /// {labels, value}; a histogram is {count, sum_seconds, p50_seconds, p90_seconds, p99_seconds,
  /// p999_seconds}.
  [[nodiscard]] std::string json() const;

 private:
  struct Impl;
  std::unique_ptr<Impl> impl_;
};

}  // namespace segue::edge
