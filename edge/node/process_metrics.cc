#include "edge/node/process_metrics.h"

#include <dirent.h>
#include <fcntl.h>
#include <sys/resource.h>
#include <unistd.h>

#include <array>
#include <charconv>
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

template <uint64_t (*Read)()>
double asked(const void* /*unused*/) {
  return static_cast<double>(Read());
}

double start_time(const void* /*unused*/) {
  static const double started =
      static_cast<double>(SystemClock().wall().time_since_epoch().count()) / 1000;
  return started;
}

}  // namespace

/// The second number of /proc/self/statm is what is resident, in pages.
uint64_t resident_memory_bytes() {
  // Open from the first call on: also asked when there is no descriptor left.
  static const int file = open("/proc/self/statm", O_RDONLY | O_CLOEXEC);
  std::array<char, 128> text{};
  if (file < 0 || pread(file, text.data(), text.size() - 1, 0) <= 0) return 0;
  const std::string_view line(text.data());
  const size_t second = line.find(' ');
  if (second == std::string_view::npos) return 0;
  uint64_t pages = 0;
  std::from_chars(line.data() + second + 1, line.data() + line.size(), pages);
  return pages * static_cast<uint64_t>(sysconf(_SC_PAGESIZE));
}

uint64_t open_descriptors() {
  const std::unique_ptr<DIR, int (*)(DIR*)> folder(opendir("/proc/self/fd"), &closedir);
  if (folder == nullptr) return 0;
  uint64_t count = 0;
  while (readdir(folder.get()) != nullptr) ++count;  // NOLINT(concurrency-mt-unsafe): own stream
  return count - 3;                                  // ".", ".." and the folder itself
}

uint64_t descriptors_max() {
  rlimit limit{};
  getrlimit(RLIMIT_NOFILE, &limit);
  return limit.rlim_cur;
}

void register_process_metrics(Registry& registry) {
  (void)start_time(nullptr);  // the clock is read now
  registry.add_counter("process_cpu_seconds_total", "CPU time of the process, user and system.", {},
                       &cpu_seconds, nullptr);
  registry.add_gauge("process_resident_memory_bytes", "Memory of the process that is resident.", {},
                     &asked<&resident_memory_bytes>, nullptr);
  registry.add_gauge("process_open_fds", "Open descriptors.", {}, &asked<&open_descriptors>,
                     nullptr);
  registry.add_gauge("process_max_fds", "Descriptors that may be open.", {},
                     &asked<&descriptors_max>, nullptr);
  registry.add_gauge("process_start_time_seconds", "When the process began to serve, since 1970.",
                     {}, &start_time, nullptr);
}

}  // namespace segue::edge
