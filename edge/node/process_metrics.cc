#include "edge/node/process_metrics.h"

#include <dirent.h>
#include <sys/resource.h>
#include <unistd.h>

#include <array>
#include <charconv>
#include <cstdio>
#include <memory>
#include <string>
#include <string_view>

#include "base/loop/clock.h"
#include "edge/metrics/registry.h"

namespace segue::edge {
namespace {

double cpu_seconds(const void* /*unused*/) {
  rusage usage{};
  getrusage(RUSAGE_SELF, &usage);
  const auto seconds = [](const timeval& time) {
    return static_cast<double>(time.tv_sec) + static_cast<double>(time.tv_usec) / 1e6;
  };
  return seconds(usage.ru_utime) + seconds(usage.ru_stime);
}

/// The second number of /proc/self/statm is what is resident, in pages.
double resident_bytes(const void* /*unused*/) {
  const std::unique_ptr<std::FILE, int (*)(std::FILE*)> file(std::fopen("/proc/self/statm", "re"),
                                                             &std::fclose);
  std::array<char, 128> text{};
  if (file == nullptr || std::fgets(text.data(), text.size(), file.get()) == nullptr) return 0;
  const std::string_view line(text.data());
  const size_t second = line.find(' ');
  if (second == std::string_view::npos) return 0;
  uint64_t pages = 0;
  std::from_chars(line.data() + second + 1, line.data() + line.size(), pages);
  return static_cast<double>(pages) * static_cast<double>(sysconf(_SC_PAGESIZE));
}

double open_descriptors(const void* /*unused*/) {
  const std::unique_ptr<DIR, int (*)(DIR*)> folder(opendir("/proc/self/fd"), &closedir);
  if (folder == nullptr) return 0;
  double count = 0;
  while (readdir(folder.get()) != nullptr) ++count;  // NOLINT(concurrency-mt-unsafe): own stream
  return count - 3;                                  // ".", ".." and the folder itself
}

double descriptors_max(const void* /*unused*/) {
  rlimit limit{};
  getrlimit(RLIMIT_NOFILE, &limit);
  return static_cast<double>(limit.rlim_cur);
}

double start_time(const void* /*unused*/) {
  static const double started =
      static_cast<double>(SystemClock().wall().time_since_epoch().count()) / 1000;
  return started;
}

}  // namespace

void register_process_metrics(Registry& registry) {
  (void)start_time(nullptr);  // the clock is read now
  registry.add_counter("process_cpu_seconds_total", "CPU time of the process, user and system.", {},
                       &cpu_seconds, nullptr);
  registry.add_gauge("process_resident_memory_bytes", "Memory of the process that is resident.", {},
                     &resident_bytes, nullptr);
  registry.add_gauge("process_open_fds", "Open descriptors.", {}, &open_descriptors, nullptr);
  registry.add_gauge("process_max_fds", "Descriptors that may be open.", {}, &descriptors_max,
                     nullptr);
  registry.add_gauge("process_start_time_seconds", "When the process began to serve, since 1970.",
                     {}, &start_time, nullptr);
}

}  // namespace segue::edge
