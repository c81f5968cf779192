#include "tests/unit/memory/memory_matrix.h"

#include <gtest/gtest.h>
#include <openssl/err.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <cstdio>
#include <cstdlib>
#include <vector>

#include "base/out_of_memory.h"

namespace segue::testing {
namespace {

// A run takes milliseconds; a child that hangs is told from one on a busy machine.
constexpr unsigned kChildSecondsMax = 60;
constexpr uint64_t kFirstTried = 12;
constexpr uint64_t kSampled = 12;
constexpr int kWrong = 11;
constexpr int kLeak = 12;

struct ChildEnd {
  int status = 0;
  std::string said;
};

void say(const std::string& text) { (void)!::write(STDERR_FILENO, text.data(), text.size()); }

/// Failures that EXPECT has found so far: a run may use fixtures that look themselves.
int failures() {
  return ::testing::UnitTest::GetInstance()->current_test_info()->result()->total_part_count();
}

/// Runs, and again while allocations stay behind: caches fill once, a leak grows each time.
[[noreturn]] void be_child(ScriptedRun run, const MemoryPlan& plan) {
  alarm(kChildSecondsMax);
  end_when_out_of_memory();
  const int failures_before = failures();
  for (int times = 0; times < 3; ++times) {
    set_memory_plan(plan);
    const int64_t before = live_allocations();
    {
      const std::string wrong = run();
      set_memory_plan({});
      ERR_clear_error();  // what is in the queue holds memory
      if (!wrong.empty()) say("WRONG: " + wrong + "\n"), _exit(kWrong);
    }
    if (failures() != failures_before) say("WRONG: as its fixture says\n"), _exit(kWrong);
    if (live_allocations() <= before) _exit(0);
  }
  say("LEAK: allocations stay behind, each time\n");
  _exit(kLeak);
}

ChildEnd run_child(ScriptedRun run, const MemoryPlan& plan) {
  int ends[2] = {};
  if (pipe(ends) != 0) return {.status = -1, .said = "pipe"};
  const pid_t child = fork();
  if (child == 0) {
    dup2(ends[1], STDERR_FILENO);
    close(ends[0]);
    close(ends[1]);
    be_child(run, plan);
  }
  close(ends[1]);
  ChildEnd end;
  char piece[4096];
  for (ssize_t got = 0; (got = read(ends[0], piece, sizeof piece)) > 0;)
    end.said.append(piece, static_cast<size_t>(got));
  close(ends[0]);
  waitpid(child, &end.status, 0);
  return end;
}

/// One line, and nothing else, that says why.
bool is_clean_end(const ChildEnd& end, Whose whose) {
  const bool ended = WIFEXITED(end.status) && WEXITSTATUS(end.status) == kOutOfMemoryStatus;
  const bool meant = whose == Whose::OperatorNew
                         ? end.said.contains("(operator new)")
                         : end.said.contains("(event loop)") || end.said.contains("(nghttp2)");
  return ended && meant && end.said.starts_with("segue: out of memory: ") &&
         end.said.find('\n') + 1 == end.said.size();
}

std::string words_of(const ChildEnd& end) {
  std::string words = WIFSIGNALED(end.status)
                          ? "ended by signal " + std::to_string(WTERMSIG(end.status))
                          : "ended with " + std::to_string(WEXITSTATUS(end.status));
  return words + ", saying: " + end.said.substr(0, 4000);
}

/// The first ones, then evenly spread; or all.
std::vector<uint64_t> tried_of(uint64_t allocations) {
  const char* asked = std::getenv("SEGUE_MATRIX");
  const bool all = asked != nullptr && std::string_view(asked) == "all";
  std::vector<uint64_t> tried;
  const uint64_t step = all ? 1 : std::max<uint64_t>(allocations / kSampled, 1);
  for (uint64_t nth = 1; nth <= allocations; nth += nth < kFirstTried ? 1 : step)
    tried.push_back(nth);
  return tried;
}

/// OpenSSL keeps the text of each of a thread's last errors: all are there before any is counted.
void fill_error_queue() {
  for (int i = 0; i < 64; ++i) ERR_raise_data(ERR_LIB_USER, 1, "%d", i);
  ERR_clear_error();
}

}  // namespace

MatrixCounts run_matrix(ScriptedRun run, Whose whose, ScriptedRun after) {
  MatrixCounts counts;
  fill_error_queue();
  // Twice undisturbed, here: what is made once, and kept, is made before a child is.
  for (int times = 0; times < 2; ++times) {
    set_memory_plan({});
    const int64_t before = live_allocations();
    EXPECT_EQ(run(), "") << "undisturbed";
    ERR_clear_error();
    if (times > 0) EXPECT_LE(live_allocations(), before) << "undisturbed";
  }
  if (::testing::Test::HasFailure()) return counts;
  counts.allocations = allocations_counted(whose);
  for (const bool for_ever : {false, true}) {
    for (const uint64_t nth : tried_of(counts.allocations)) {
      const MemoryPlan plan{.whose = whose, .nth = nth, .for_ever = for_ever};
      const ChildEnd end = run_child(run, plan);
      ++counts.runs;
      const bool went_on = WIFEXITED(end.status) && WEXITSTATUS(end.status) == 0;
      const bool clean = is_clean_end(end, whose);
      counts.went_on += went_on ? 1U : 0U;
      counts.ended_cleanly += clean ? 1U : 0U;
      EXPECT_TRUE(went_on || clean)
          << "allocation " << nth << " of " << counts.allocations
          << (for_ever ? " and all after it" : "") << ": " << words_of(end);
      if (after != nullptr) EXPECT_EQ(after(), "") << "after allocation " << nth;
    }
  }
  std::printf("%llu allocations; %llu runs with one refused: %llu went on, %llu ended cleanly\n",
              static_cast<unsigned long long>(counts.allocations),
              static_cast<unsigned long long>(counts.runs),
              static_cast<unsigned long long>(counts.went_on),
              static_cast<unsigned long long>(counts.ended_cleanly));
  return counts;
}

}  // namespace segue::testing
