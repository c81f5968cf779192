// Goal: every record becomes one line of valid JSON, whatever the client sent; a loop never waits,
// and what is dropped is counted.
// Method: lines are parsed by simdjson; rings are filled to the last record and one more.
#include <fcntl.h>
#include <gtest/gtest.h>
#include <simdjson.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cstdlib>
#include <fstream>
#include <map>
#include <sstream>
#include <thread>
#include <vector>

#include "edge/metrics/access_log.h"
#include "edge/metrics/json.h"

namespace segue::edge {
namespace {

class AccessLogTest : public testing::Test {
 protected:
  AccessLogTest() { folder_ = mkdtemp(text_); }
  ~AccessLogTest() override {
    for (const char* name : {"log", "log.1"}) unlink(path(name).c_str());
    rmdir(folder_.c_str());
  }
  [[nodiscard]] std::string path(const char* name) const { return folder_ + "/" + name; }
  [[nodiscard]] std::vector<std::string> lines(const char* name = "log") const {
    std::ifstream file(path(name));
    std::vector<std::string> all;
    for (std::string line; std::getline(file, line);) all.push_back(line);
    return all;
  }
  [[nodiscard]] std::unique_ptr<AccessLog> open(AccessLog::Options options) const {
    options.path = path("log");
    auto log = AccessLog::create(std::move(options));
    EXPECT_TRUE(log.has_value());
    return std::move(*log);
  }
  static AccessRecord record(std::string_view request_path) {
    AccessRecord made;
    made.time = WallTime{std::chrono::milliseconds{1'700'000'000'007}};
    made.path.assign(request_path);
    made.status = 206;
    return made;
  }

 private:
  char text_[32] = "/tmp/segue_access_log_XXXXXX";
  std::string folder_;
};

std::string text_of(std::string_view line, const char* name) {
  simdjson::dom::parser parser;
  std::string_view value;
  const simdjson::padded_string padded(line);
  EXPECT_EQ(parser.parse(padded)[name].get(value), simdjson::SUCCESS) << name << " in " << line;
  return std::string(value);
}

TEST(AccessLineTest, SaysEverythingOfARequest) {
  AccessRecord record;
  record.time = WallTime{std::chrono::milliseconds{1'700'000'000'007}};
  record.site.assign("music");
  record.client.assign("203.0.113.7");
  record.method.assign("GET");
  record.path.assign("/audio/1");
  record.range.assign("bytes=0-65535");
  record.status = 206;
  record.bytes_sent = 65000;
  record.bytes_total = 65536;
  record.first_byte = std::chrono::microseconds{1500};
  record.duration = std::chrono::milliseconds{20};
  record.origin = std::chrono::nanoseconds{1'234'567};
  record.cache = CacheResult::Miss;
  record.reason = "uri-miss";
  record.slices_hit = 1;
  record.slices_needed = 2;
  record.user_agent.assign("librespot");
  record.end = AccessEnd::Gone;
  record.request_id.assign("0af7651916cd43dd8448eb211c80319c");
  std::string line;
  append_access_line(record, line);
  EXPECT_EQ(line,
            R"({"ts":"2023-11-14T22:13:20.007Z","site":"music","client":"203.0.113.7",)"
            R"("method":"GET","protocol":"HTTP/1.1","path":"/audio/1","range":"bytes=0-65535",)"
            R"("status":206,"bytes_sent":65000,"bytes_total":65536,"first_byte_ms":1.500,)"
            R"("duration_ms":20.000,"cache":"miss","reason":"uri-miss","slices_hit":1,)"
            R"("slices_needed":2,"origin_ms":1.235,"user_agent":"librespot","end":"gone",)"
            R"("request_id":"0af7651916cd43dd8448eb211c80319c"})"
            "\n");
}

TEST(AccessLineTest, TimesThatWereNeverTakenAreNull) {
  std::string line;
  append_access_line(AccessRecord{}, line);
  EXPECT_NE(line.find("\"first_byte_ms\":null"), std::string::npos);
  EXPECT_NE(line.find("\"origin_ms\":null"), std::string::npos);
}

TEST(AccessLineTest, LongTextsAreCutAndShowIt) {
  AccessRecord record;
  record.path.assign(std::string(512, 'p'));
  record.user_agent.assign(std::string(129, 'u'));
  std::string line;
  append_access_line(record, line);
  EXPECT_EQ(text_of(line, "path"), std::string(512, 'p'));
  EXPECT_EQ(text_of(line, "user_agent"), std::string(125, 'u') + "...");
}

TEST(AccessLineTest, HostileBytesStayInsideTheirString) {
  const std::pair<std::string, std::string> cases[] = {
      {"a\"},\"x\":\"b", "a\"},\"x\":\"b"},
      {"back\\slash", "back\\slash"},
      {std::string("nul\0nul", 7), std::string("nul\0nul", 7)},
      {"new\r\nline", "new\r\nline"},
      {"esc\x1b[31m\x7f", "esc\x1b[31m\x7f"},
      {"caf\xc3\xa9", "caf\xc3\xa9"},
      {"latin\xe9!", "latin\xef\xbf\xbd!"},
      {"cut\xc3", "cut\xef\xbf\xbd"},
      {"overlong\xc0\xaf", "overlong\xef\xbf\xbd\xef\xbf\xbd"},
      {"surrogate\xed\xa0\x80", "surrogate\xef\xbf\xbd\xef\xbf\xbd\xef\xbf\xbd"},
      {"beyond\xf4\x90\x80\x80", "beyond\xef\xbf\xbd\xef\xbf\xbd\xef\xbf\xbd\xef\xbf\xbd"},
      {"\xf0\x9f\x8e\xb5", "\xf0\x9f\x8e\xb5"}};
  for (const auto& [sent, read] : cases) {
    AccessRecord record;
    record.user_agent.assign(sent);
    std::string line;
    append_access_line(record, line);
    EXPECT_EQ(std::ranges::count(line, '\n'), 1);
    EXPECT_EQ(text_of(line, "user_agent"), read);
  }
  for (int byte = 0; byte < 256; ++byte) {
    const char c = static_cast<char>(byte);
    std::string line = "{\"k\":";
    append_json_string({&c, 1}, line);
    line += "}";
    EXPECT_FALSE(text_of(line, "k").empty()) << byte;
  }
}

TEST_F(AccessLogTest, RecordsAreWrittenInOrder) {
  auto log = open({.without_writer = true});
  for (int i = 0; i < 10; ++i) log->submit(0, record("/t/" + std::to_string(i)));
  EXPECT_TRUE(lines().empty());
  log->write_pending();
  const auto written = lines();
  ASSERT_EQ(written.size(), 10U);
  for (size_t i = 0; i < 10; ++i) EXPECT_EQ(text_of(written[i], "path"), "/t/" + std::to_string(i));
  EXPECT_EQ(log->writer_counters().written.get(), 10U);
}

TEST_F(AccessLogTest, AFullRingDropsAndCountsAndLosesNothingElse) {
  auto log = open({.loops = 2, .records_per_loop = 8, .without_writer = true});
  for (int i = 0; i < 8; ++i) log->submit(0, record("/kept"));
  EXPECT_EQ(log->counters(0).dropped.get(), 0U);
  log->submit(0, record("/dropped"));
  EXPECT_EQ(log->counters(0).dropped.get(), 1U);
  log->submit(1, record("/other"));
  EXPECT_EQ(log->counters(1).dropped.get(), 0U);
  log->write_pending();
  EXPECT_EQ(lines().size(), 9U);
  log->submit(0, record("/again"));
  log->write_pending();
  EXPECT_EQ(text_of(lines().back(), "path"), "/again");
  EXPECT_EQ(log->counters(0).submitted.get(), 9U);
}

TEST_F(AccessLogTest, WhatWasSubmittedIsWrittenBeforeTheEnd) {
  auto log = open({.without_writer = true});
  log->submit(0, record("/last"));
  log.reset();
  EXPECT_EQ(lines().size(), 1U);
}

TEST_F(AccessLogTest, SeveralLoopsAndAWriterLoseNoLine) {
  constexpr uint32_t kLoops = 3;
  constexpr uint32_t kRecords = 20000;
  uint64_t dropped = 0;
  uint64_t submitted = 0;
  {
    auto log = open({.loops = kLoops, .records_per_loop = 512});
    std::vector<std::thread> loops;
    loops.reserve(kLoops);
    for (uint32_t loop = 0; loop < kLoops; ++loop) {
      loops.emplace_back([&log, loop] {
        for (uint32_t i = 0; i < kRecords; ++i) {
          log->submit(loop, record("/" + std::to_string(loop) + "/" + std::to_string(i)));
        }
      });
    }
    for (std::thread& loop : loops) loop.join();
    for (uint32_t loop = 0; loop < kLoops; ++loop) {
      dropped += log->counters(loop).dropped.get();
      submitted += log->counters(loop).submitted.get();
    }
  }
  EXPECT_EQ(dropped + submitted, kLoops * kRecords);
  const auto written = lines();
  EXPECT_EQ(written.size(), submitted);
  std::map<char, int> last;
  for (const std::string& line : written) {
    const std::string at = text_of(line, "path");
    const int number = std::stoi(at.substr(3));
    const auto [it, is_new] = last.try_emplace(at[1], number);
    if (!is_new) {
      ASSERT_GT(number, it->second);
      it->second = number;
    }
  }
}

TEST_F(AccessLogTest, ASleepingWriterIsWokenByARecord) {
  auto log = open({});
  for (uint64_t i = 1; i <= 20; ++i) {
    log->submit(0, record("/one"));
    // Waits for the writer, not for time: without the wake-up this never ends.
    while (log->writer_counters().written.get() < i) std::this_thread::yield();
  }
}

TEST_F(AccessLogTest, AReopenFollowsARotation) {
  auto log = open({.without_writer = true});
  log->submit(0, record("/before"));
  log->write_pending();
  ASSERT_EQ(rename(path("log").c_str(), path("log.1").c_str()), 0);
  log->submit(0, record("/still"));
  log->write_pending();
  log->reopen();
  log->submit(0, record("/after"));
  log->write_pending();
  EXPECT_EQ(lines("log.1").size(), 2U);
  ASSERT_EQ(lines().size(), 1U);
  EXPECT_EQ(text_of(lines()[0], "path"), "/after");
}

TEST_F(AccessLogTest, AFailedReopenKeepsTheOldFile) {
  auto log = open({.without_writer = true});
  ASSERT_EQ(rename(path("log").c_str(), path("log.1").c_str()), 0);
  ASSERT_EQ(mkdir(path("log").c_str(), 0700), 0);
  log->reopen();
  log->submit(0, record("/kept"));
  log->write_pending();
  rmdir(path("log").c_str());
  EXPECT_EQ(log->writer_counters().reopen_failures.get(), 1U);
  EXPECT_EQ(lines("log.1").size(), 1U);
}

TEST_F(AccessLogTest, AFileThatCannotBeOpenedIsAnError) {
  const auto log = AccessLog::create({.path = path("missing/log")});
  ASSERT_FALSE(log.has_value());
  EXPECT_EQ(log.error().os_errno, ENOENT);
}

TEST_F(AccessLogTest, ADiskThatIsFullLosesLinesAndCountsThem) {
  auto log = AccessLog::create({.path = "/dev/full", .without_writer = true});
  ASSERT_TRUE(log.has_value());
  (*log)->submit(0, record("/lost"));
  (*log)->write_pending();
  EXPECT_EQ((*log)->writer_counters().lost.get(), 1U);
  EXPECT_EQ((*log)->writer_counters().written.get(), 0U);
}

}  // namespace
}  // namespace segue::edge
