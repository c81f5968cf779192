#include "edge/metrics/access_log.h"

#include <fcntl.h>
#include <fmt/chrono.h>
#include <fmt/format.h>
#include <limits.h>
#include <poll.h>
#include <sys/eventfd.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <atomic>
#include <cerrno>
#include <iterator>
#include <thread>
#include <utility>
#include <vector>

#include "base/assert.h"
#include "base/log.h"
#include "base/units.h"
#include "edge/metrics/json.h"
#include "edge/metrics/listens.h"

namespace segue::edge {

namespace {

constexpr std::chrono::milliseconds kGatherTime{20};  // lines written together while traffic flows
constexpr std::chrono::milliseconds kLastWriteMax{1000};
constexpr size_t kBatchBytesMax = 64 * KiB;

/// One loop's records on their way to the writer: one producer, one consumer, fixed size.
class RecordRing {
 public:
  explicit RecordRing(uint32_t records_max) : records_(records_max) {}

  /// Loop only. False if full.
  [[nodiscard]] bool try_push(const AccessRecord& record) noexcept {
    const uint64_t pushed = pushed_.load(std::memory_order_relaxed);
    if (pushed - popped_.load(std::memory_order_acquire) == records_.size()) return false;
    records_[pushed % records_.size()] = record;
    // seq_cst, not release: the writer must not fall asleep past it (see AccessLog::submit).
    pushed_.store(pushed + 1, std::memory_order_seq_cst);
    return true;
  }
  /// Writer only: the oldest record or null; valid until pop().
  [[nodiscard]] const AccessRecord* front() const noexcept {
    const uint64_t popped = popped_.load(std::memory_order_relaxed);
    if (popped == pushed_.load(std::memory_order_seq_cst)) return nullptr;
    return &records_[popped % records_.size()];
  }
  void pop() noexcept {
    popped_.store(popped_.load(std::memory_order_relaxed) + 1, std::memory_order_release);
  }
  /// Loop only: true once on the way up, so that the bell is rung once.
  [[nodiscard]] bool just_half_full() const noexcept {
    return pushed_.load(std::memory_order_relaxed) - popped_.load(std::memory_order_relaxed) ==
           records_.size() / 2 + 1;
  }

 private:
  std::vector<AccessRecord> records_;
  alignas(64) std::atomic<uint64_t> pushed_{0};
  alignas(64) std::atomic<uint64_t> popped_{0};
};

struct LoopLog {
  explicit LoopLog(uint32_t records_max) : ring(records_max) {}
  RecordRing ring;
  AccessLog::LoopCounters counters;
};

[[nodiscard]] int open_log(const std::string& path) noexcept {
  if (path == "-") return fcntl(STDOUT_FILENO, F_DUPFD_CLOEXEC, 3);
  return open(path.c_str(), O_WRONLY | O_APPEND | O_CREAT | O_CLOEXEC | O_NOCTTY, 0640);
}

/// What sampling may leave out: an operator looks for the others one by one.
[[nodiscard]] bool is_good(const AccessRecord& record) noexcept {
  return record.end == AccessEnd::Complete && record.status >= 200 && record.status < 400;
}

[[nodiscard]] bool is_regular(int fd) noexcept {
  struct stat facts{};
  return fstat(fd, &facts) == 0 && S_ISREG(facts.st_mode);
}

/// Milliseconds with three decimals; null where the time was never taken.
void append_milliseconds(std::string_view name, std::chrono::nanoseconds time, std::string& out) {
  if (time.count() < 0) {
    fmt::format_to(std::back_inserter(out), ",\"{}\":null", name);
    return;
  }
  const double milliseconds = static_cast<double>(time.count()) / 1e6;
  fmt::format_to(std::back_inserter(out), ",\"{}\":{:.3f}", name, milliseconds);
}

void append_text(std::string_view name, std::string_view text, std::string& out) {
  fmt::format_to(std::back_inserter(out), ",\"{}\":", name);
  append_json_string(text, out);
}

}  // namespace

void append_access_line(const AccessRecord& record, std::string& out) {
  const auto seconds = std::chrono::floor<std::chrono::seconds>(record.time);
  const auto milliseconds = (record.time - seconds).count();
  // gmtime over libstdc++ 12's std::format, which does not exist yet.
  fmt::format_to(std::back_inserter(out), "{{\"ts\":\"{:%Y-%m-%dT%H:%M:%S}.{:03}Z\"",
                 fmt::gmtime(static_cast<time_t>(seconds.time_since_epoch().count())),
                 milliseconds);
  append_text("site", record.site.view(), out);
  append_text("client", record.client.view(), out);
  append_text("method", record.method.view(), out);
  append_text("protocol", name_of(record.protocol), out);
  append_text("path", record.path.view(), out);
  append_text("range", record.range.view(), out);
  fmt::format_to(std::back_inserter(out), ",\"status\":{},\"bytes_sent\":{},\"bytes_total\":{}",
                 record.status, record.bytes_sent, record.bytes_total);
  append_milliseconds("first_byte_ms", record.first_byte, out);
  append_milliseconds("duration_ms", record.duration, out);
  append_text("cache", name_of(record.cache), out);
  append_text("reason", record.reason, out);
  fmt::format_to(std::back_inserter(out), ",\"slices_hit\":{},\"slices_needed\":{}",
                 record.slices_hit, record.slices_needed);
  append_milliseconds("origin_ms", record.origin, out);
  append_text("user_agent", record.user_agent.view(), out);
  append_text("end", name_of(record.end), out);
  append_text("request_id", record.request_id.view(), out);
  out.append("}\n");
}

struct AccessLog::Impl {
  ~Impl();
  void run();
  /// Formats and writes what is in the rings. True if there was something.
  bool drain();
  /// Whether sampling lets this line through.
  [[nodiscard]] bool is_wanted(const AccessRecord& record) noexcept;
  void write_batch();
  [[nodiscard]] bool wait_for_pipe() const noexcept;
  void reopen_if_asked() noexcept;
  void wait_for_work(std::chrono::milliseconds time_max) const noexcept;
  void wake() noexcept;
  [[nodiscard]] bool something_pending() const noexcept;

  // constant after create()
  std::string path;
  int wake_fd = -1;
  Listens* listens = nullptr;
  std::vector<std::unique_ptr<LoopLog>> loops;
  // writer-owned
  int fd = -1;
  bool regular = false;
  std::string batch;
  uint64_t batch_lines = 0;
  uint32_t since_sampled = 0;  // good responses since the last one that was written
  WriterCounters counters;
  // atomic, any thread
  std::atomic<bool> asleep{false};
  std::atomic<bool> stopping{false};
  std::atomic<bool> reopen_asked{false};
  std::atomic<uint32_t> sample{1};
  std::thread writer;
};

AccessLog::Impl::~Impl() {
  if (fd >= 0) close(fd);
  if (wake_fd >= 0) close(wake_fd);
}

void AccessLog::Impl::wake() noexcept {
  const uint64_t one = 1;
  // A full eventfd (EAGAIN) is a writer that is being woken already.
  [[maybe_unused]] const ssize_t written = write(wake_fd, &one, sizeof one);
}

void AccessLog::Impl::wait_for_work(std::chrono::milliseconds time_max) const noexcept {
  pollfd woken{wake_fd, POLLIN, 0};
  poll(&woken, 1, static_cast<int>(time_max.count()));
  uint64_t count = 0;
  [[maybe_unused]] const ssize_t taken = read(wake_fd, &count, sizeof count);
}

bool AccessLog::Impl::something_pending() const noexcept {
  for (const auto& loop : loops) {
    if (loop->ring.front() != nullptr) return true;
  }
  return false;
}

void AccessLog::Impl::run() {
  while (true) {
    reopen_if_asked();
    const bool last_round = stopping.load(std::memory_order_acquire);
    const bool worked = drain();
    if (last_round) return;
    if (worked) {
      // While traffic flows nobody wakes us (a system call per request): records gather, and a
      // ring that fills faster rings the bell itself.
      wait_for_work(kGatherTime);
      continue;
    }
    asleep.store(true, std::memory_order_seq_cst);
    const bool nothing_to_do = !something_pending() && !stopping.load(std::memory_order_seq_cst) &&
                               !reopen_asked.load(std::memory_order_seq_cst);
    if (nothing_to_do) wait_for_work(std::chrono::milliseconds{-1});
    asleep.store(false, std::memory_order_seq_cst);
  }
}

bool AccessLog::Impl::is_wanted(const AccessRecord& record) noexcept {
  if (path.empty()) return false;
  const uint32_t one_of = sample.load(std::memory_order_relaxed);
  if (one_of <= 1 || !is_good(record)) return true;
  if (++since_sampled < one_of) {
    counters.sampled_out.add();
    return false;
  }
  since_sampled = 0;
  return true;
}

bool AccessLog::Impl::drain() {
  bool worked = false;
  for (const auto& loop : loops) {
    while (const AccessRecord* record = loop->ring.front()) {
      if (listens != nullptr) listens->take(*record);
      if (is_wanted(*record)) {
        append_access_line(*record, batch);
        ++batch_lines;
      }
      loop->ring.pop();
      worked = true;
      if (batch.size() >= kBatchBytesMax) write_batch();
    }
  }
  write_batch();
  return worked;
}

bool AccessLog::Impl::wait_for_pipe() const noexcept {
  // A reader that takes nothing must not keep the node from stopping, so we look up now and then.
  for (std::chrono::milliseconds waited{0};; waited += std::chrono::milliseconds{100}) {
    pollfd pipe_end{fd, POLLOUT, 0};
    if (poll(&pipe_end, 1, 100) > 0) return true;
    if (stopping.load(std::memory_order_acquire) && waited >= kLastWriteMax) return false;
  }
}

void AccessLog::Impl::write_batch() {
  if (batch.empty()) return;
  std::string_view rest = batch;
  while (!rest.empty()) {
    // POLLOUT promises a pipe PIPE_BUF bytes of room, so more at once could wait without end.
    if (!regular && !wait_for_pipe()) break;
    const size_t bytes = regular ? rest.size() : std::min<size_t>(rest.size(), PIPE_BUF);
    const ssize_t written = write(fd, rest.data(), bytes);
    if (written < 0 && (errno == EINTR || errno == EAGAIN)) continue;
    if (written < 0) break;  // disk full, reader gone: the loops must not notice
    rest.remove_prefix(static_cast<size_t>(written));
  }
  // A batch cut short counts as lost as a whole: how much of it stands is the file's secret.
  (rest.empty() ? counters.written : counters.lost).add(batch_lines);
  batch.clear();
  batch_lines = 0;
}

void AccessLog::Impl::reopen_if_asked() noexcept {
  if (!reopen_asked.exchange(false, std::memory_order_acq_rel) || path.empty()) return;
  const int opened = open_log(path);
  if (opened < 0) {
    counters.reopen_failures.add();
    log_warning("access_log_reopen_failed", "path={} errno={}", path, errno);
    return;
  }
  close(fd);
  fd = opened;
  regular = is_regular(fd);
}

AccessLog::AccessLog(std::unique_ptr<Impl> impl) : impl_(std::move(impl)) {}

Result<std::unique_ptr<AccessLog>> AccessLog::create(Options options) {
  SEGUE_ASSERT(options.loops > 0);
  SEGUE_ASSERT(options.records_per_loop > 0);
  auto impl = std::make_unique<Impl>();
  impl->path = std::move(options.path);
  impl->sample = options.sample;
  impl->listens = options.listens;
  if (!impl->path.empty()) {
    impl->fd = open_log(impl->path);
    if (impl->fd < 0) return fail(Side::Self, Kind::IoError, "opening the access log", errno);
    impl->regular = is_regular(impl->fd);
  }
  impl->wake_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
  if (impl->wake_fd < 0) return fail(Side::Self, Kind::IoError, "access log eventfd", errno);
  for (uint32_t i = 0; i < options.loops; ++i) {
    impl->loops.push_back(std::make_unique<LoopLog>(options.records_per_loop));
  }
  if (!options.without_writer) {
    impl->writer = std::thread([log = impl.get()] { log->run(); });
  }
  return std::unique_ptr<AccessLog>(new AccessLog(std::move(impl)));
}

AccessLog::~AccessLog() {
  impl_->stopping.store(true, std::memory_order_seq_cst);
  if (!impl_->writer.joinable()) {
    impl_->drain();
    return;
  }
  impl_->wake();
  impl_->writer.join();
}

void AccessLog::submit(uint32_t loop_index, const AccessRecord& record) noexcept {
  SEGUE_DEBUG_ASSERT(loop_index < impl_->loops.size());
  LoopLog& loop = *impl_->loops[loop_index];
  if (!loop.ring.try_push(record)) {
    loop.counters.dropped.add();
    return;
  }
  loop.counters.submitted.add();
  // The writer says it sleeps, then looks at the rings once more; we push, then look whether it
  // sleeps. Both are sequentially consistent, so one of the two sees the other.
  const bool was_asleep = impl_->asleep.load(std::memory_order_seq_cst) &&
                          impl_->asleep.exchange(false, std::memory_order_seq_cst);
  if (was_asleep || loop.ring.just_half_full()) impl_->wake();
}

void AccessLog::set_sample(uint32_t one_of) noexcept {
  impl_->sample.store(one_of, std::memory_order_relaxed);
}

void AccessLog::reopen() noexcept {
  impl_->reopen_asked.store(true, std::memory_order_seq_cst);
  impl_->wake();
}

void AccessLog::write_pending() {
  SEGUE_ASSERT(!impl_->writer.joinable());
  impl_->reopen_if_asked();
  impl_->drain();
}

const AccessLog::LoopCounters& AccessLog::counters(uint32_t loop_index) const noexcept {
  return impl_->loops[loop_index]->counters;
}
const AccessLog::WriterCounters& AccessLog::writer_counters() const noexcept {
  return impl_->counters;
}
uint32_t AccessLog::loops() const noexcept { return static_cast<uint32_t>(impl_->loops.size()); }

}  // namespace segue::edge
