// edge/metrics/access_log.h - one NDJSON line per request, written by a thread of its own. A loop
// never waits for it: each has a bounded ring, and a record that finds it full is dropped and
// counted.
#pragma once
#include <cstdint>
#include <memory>
#include <string>

#include "base/counter.h"
#include "base/limits.h"
#include "base/result.h"
#include "edge/metrics/access_record.h"

namespace segue::edge {

class Listens;

/// Appends the record as one line of JSON with a newline. Hostile bytes are escaped: control
/// characters as \u00XX, bytes that are no UTF-8 as U+FFFD, so every line is valid JSON.
void append_access_line(const AccessRecord& record, std::string& out);

/// Shared by all loops; each submits under its own index only.
class AccessLog {
 public:
  struct Options {
    std::string path = "-";  // a file, appended to; "-" is stdout; empty: no lines
    uint32_t sample = 1;     // see set_sample()
    uint32_t loops = 1;
    Listens* listens = nullptr;  // is given every record, sampled or not; outlives the log
    uint32_t records_per_loop = kAccessLogRecordsPerLoopMax;  // about 1 KiB each, reserved
    /// Tests only: no writer thread; write_pending() does its work.
    bool without_writer = false;
  };
  /// Opens the file and starts the writer. Start-up only: it may wait. Errors: {Self, IoError,
  /// os_errno}.
  [[nodiscard]] static Result<std::unique_ptr<AccessLog>> create(Options options);
  /// Writes what is left (for at most a second where a pipe's reader does not take it) and closes.
  /// No loop submits any more.
  ~AccessLog();

  /// One of so many good responses is written; those that failed, were refused, cut or left always
  /// are. Any thread.
  void set_sample(uint32_t one_of) noexcept;
  /// Called on loop `loop_index` only. Copies the record; never waits, never allocates.
  void submit(uint32_t loop_index, const AccessRecord& record) noexcept;
  /// Opens the path anew before the next line (after a rotation). Any thread; does not wait. Where
  /// that fails the old file is kept and the failure counted.
  void reopen() noexcept;
  /// Without a writer thread: writes what was submitted so far. Tests only.
  void write_pending();

  struct LoopCounters {
    Counter submitted, dropped;
  };
  [[nodiscard]] const LoopCounters& counters(uint32_t loop_index) const noexcept;
  /// Of the writer: lines written, lines lost because the file did not take them, failed reopens.
  struct WriterCounters {
    Counter written, lost, reopen_failures;
    Counter sampled_out;  // good responses that sampling left out
  };
  [[nodiscard]] const WriterCounters& writer_counters() const noexcept;
  [[nodiscard]] uint32_t loops() const noexcept;

 private:
  struct Impl;
  explicit AccessLog(std::unique_ptr<Impl> impl);
  std::unique_ptr<Impl> impl_;
};

}  // namespace segue::edge
