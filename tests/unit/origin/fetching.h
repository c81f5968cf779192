// tests/unit/origin/fetching.h - what the tests of origin/ share: a loop with a clock that can be
// pushed forward, and whole fetches as one call.
#pragma once
#include <gtest/gtest.h>

#include <atomic>
#include <memory>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "base/loop/event_loop.h"
#include "origin/counters.h"
#include "origin/make_fetcher.h"
#include "tests/support/run_task.h"
#include "tests/support/scripted_origin.h"

namespace segue::origin {

using testing::Content;
using testing::field_in;
using testing::Reply;
using testing::ScriptedOrigin;

/// The system's clock, which a test pushes forward over a timeout instead of waiting for it.
class PushedClock final : public Clock {
 public:
  [[nodiscard]] MonoTime mono() const noexcept override {
    return clock_.mono() + std::chrono::nanoseconds{pushed_.load()};
  }
  [[nodiscard]] WallTime wall() const noexcept override { return clock_.wall(); }
  void push(std::chrono::nanoseconds by) { pushed_ += by.count(); }

 private:
  SystemClock clock_;
  std::atomic<int64_t> pushed_{0};
};

inline constexpr size_t kReadBytes = 65'536;

/// How one fetch ended.
struct Fetched {
  std::optional<FetchHead> head;
  std::string body;
  std::optional<Error> error;

  [[nodiscard]] std::string where() const { return error ? error->where : ""; }
  [[nodiscard]] std::string field(std::string_view name) const {
    if (!head) return "(no head)";
    const auto value = head->fields.view().find(name);
    return value ? std::string(*value) : "(absent)";
  }
};

/// Reads `stream` to its end.
inline Task<Fetched> drain(FetchStream& stream, size_t read_bytes = kReadBytes) {
  Fetched fetched;
  auto head = co_await stream.head();
  if (!head) {
    fetched.error = head.error();
    co_return fetched;
  }
  fetched.head = **head;
  std::vector<std::byte> into(read_bytes);
  for (;;) {
    auto got = co_await stream.read(into);
    if (!got) {
      fetched.error = got.error();
      co_return fetched;
    }
    if (*got == 0) co_return fetched;
    fetched.body.append(reinterpret_cast<const char*>(into.data()), *got);
  }
}

inline Task<Fetched> fetch(Fetcher& fetcher, FetchRequest request, size_t read_bytes = kReadBytes) {
  auto stream = fetcher.start(std::move(request));
  if (!stream) {
    Fetched fetched;
    fetched.error = stream.error();
    co_return fetched;
  }
  Fetched fetched = co_await drain(**stream, read_bytes);
  co_return fetched;
}

[[nodiscard]] inline FetchRequest whole(std::string target) {
  FetchRequest request;
  request.target = std::move(target);
  return request;
}

[[nodiscard]] inline FetchRequest bounded(std::string target, uint64_t first, uint64_t end) {
  FetchRequest request = whole(std::move(target));
  request.range_form = FetchRequest::RangeForm::Bounded;
  request.range = {first, end};
  return request;
}

[[nodiscard]] inline FetchRequest suffix(std::string target, uint64_t length) {
  FetchRequest request = whole(std::move(target));
  request.range_form = FetchRequest::RangeForm::Suffix;
  request.suffix_length = length;
  return request;
}

/// `count` bytes that differ from place to place, the same in every run.
[[nodiscard]] inline std::string pattern(size_t count) {
  std::string bytes(count, '\0');
  uint64_t state = 88172645463325252ULL;  // xorshift64 (Marsaglia)
  for (char& byte : bytes) {
    state ^= state << 13;
    state ^= state >> 7;
    state ^= state << 17;
    byte = static_cast<char>(state);
  }
  return bytes;
}

/// Lets others run until `condition()`: what another thread does cannot be awaited.
template <class Condition>
Task<void> until(Condition condition) {
  while (!condition()) co_await Yield{};
}

/// A loop and one fetcher on it. Timeouts are far longer than any test runs, and a test that wants
/// one pushes the clock.
class Fetching : public ::testing::Test {
 protected:
  Fetching() {
    auto made = EventLoop::create(0, clock_, {});
    EXPECT_TRUE(made.has_value());
    loop_ = std::move(*made);
    options_.timeout = {.connect = std::chrono::minutes{1},
                        .first_byte = std::chrono::minutes{2},
                        .idle = std::chrono::minutes{3},
                        .total = std::chrono::minutes{5}};
  }
  ~Fetching() override { fetcher_.reset(); }

  Fetcher& fetcher() {
    if (fetcher_ == nullptr) {
      if (health_ == nullptr) health_ = make_health(options_);
      auto made = make_fetcher(*loop_, options_, health_);
      EXPECT_TRUE(made.has_value()) << (made ? "" : made.error().where);
      fetcher_ = std::move(*made);
    }
    return *fetcher_;
  }
  const OriginCounters& counters() { return *fetcher().counters(); }
  uint64_t faults(Fault fault) { return counters().fault_count(fault); }
  Fetched run(FetchRequest request, size_t read_bytes = kReadBytes) {
    fetcher();
    return testing::run_on(*loop_,
                           [&] { return fetch(*fetcher_, std::move(request), read_bytes); });
  }

  PushedClock clock_;
  std::unique_ptr<EventLoop> loop_;
  OriginOptions options_;
  std::shared_ptr<Health> health_;
  std::unique_ptr<Fetcher> fetcher_;
};

}  // namespace segue::origin
