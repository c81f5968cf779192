// Goal: a folder answers as a good HTTP origin would, and shows nothing but its regular, visible
// files. Method: a real loop (ring or thread pool, both run) on a throw-away folder.
#include "origin/directory_fetcher.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <filesystem>
#include <fstream>

#include "http/date.h"
#include "origin/file_gate.h"
#include "tests/unit/origin/fetching.h"

namespace segue::origin {
namespace {

namespace fs = std::filesystem;

TEST(FileNameOf, DecodesAndDropsTheQuery) {
  EXPECT_EQ(file_name_of("/a/b.ogg"), "a/b.ogg");
  EXPECT_EQ(file_name_of("/a%20b/c%C3%A9.mp3?x=/../y"), "a b/c\xC3\xA9.mp3");
  EXPECT_EQ(file_name_of("/a%25b"), "a%b");
  EXPECT_EQ(file_name_of("/a..b/c."), "a..b/c.");
}

TEST(FileNameOf, NamesNothingThatIsHiddenEmptyOrOutside) {
  for (const char* target : {"",
                             "a",
                             "/",
                             "//",
                             "/a//b",
                             "/a/",
                             "/.hidden",
                             "/a/.hidden/b",
                             "/%2Ehidden",
                             "/..",
                             "/../a",
                             "/a/../b",
                             "/a/%2e%2e/b",
                             "/a/%2E%2E",
                             "/.",
                             "/a/./b",
                             "/a%2Fb",
                             "/a%2fb",
                             "/a%00b",
                             "/a%",
                             "/a%4",
                             "/a%zz",
                             "/?x"}) {
    EXPECT_EQ(file_name_of(target), std::nullopt) << target;
  }
}

class DirectoryFetching : public Fetching, public ::testing::WithParamInterface<IoBackend> {
 protected:
  DirectoryFetching() {
    std::string name = fs::temp_directory_path() / "segue_dir_XXXXXX";
    EXPECT_NE(mkdtemp(name.data()), nullptr);
    root_ = name;
    folder_ = root_ / "music";
    fs::create_directory(folder_);
    options_.servers = {"dir:" + folder_.string()};
    auto made = EventLoop::create(0, clock_, {.io = GetParam()});
    EXPECT_TRUE(made.has_value());
    loop_ = std::move(*made);
  }
  ~DirectoryFetching() override {
    fetcher_.reset();
    fs::remove_all(root_);
  }
  void write(const fs::path& path, const std::string& bytes) {
    std::ofstream(path, std::ios::binary) << bytes;
  }

  fs::path root_;
  fs::path folder_;
};

TEST_P(DirectoryFetching, AWholeFileComesWithItsFacts) {
  const std::string bytes = pattern(300'001);
  fs::create_directory(folder_ / "an album");
  write(folder_ / "an album" / "t.ogg", bytes);
  const timespec times[2] = {{1'700'000'000, 5}, {1'700'000'000, 123'456'789}};
  ASSERT_EQ(utimensat(AT_FDCWD, (folder_ / "an album" / "t.ogg").c_str(), times, 0), 0);
  const Fetched got = run(whole("/an%20album/t.ogg?play=1"));
  ASSERT_FALSE(got.error) << got.where();
  EXPECT_EQ(got.head->status, 200);
  EXPECT_EQ(got.head->content_length, 300'001U);
  EXPECT_EQ(got.head->complete_length, 300'001U);
  EXPECT_EQ(got.field("content-length"), "300001");
  EXPECT_EQ(got.field("last-modified"), "Tue, 14 Nov 2023 22:13:20 GMT");
  EXPECT_EQ(got.field("etag"), "\"493e1-17979cfe3d85cd15\"");
  EXPECT_EQ(got.field("content-type"), "audio/ogg");
  EXPECT_EQ(got.field("accept-ranges"), "bytes");
  EXPECT_TRUE(http::parse_date(got.field("date")).has_value());
  EXPECT_TRUE(got.body == bytes);
  EXPECT_EQ(counters().bodies_complete.get(), 1U);
}

TEST_P(DirectoryFetching, RangesAreServedAndClipped) {
  const std::string bytes = pattern(10'000);
  write(folder_ / "t", bytes);
  struct Case {
    FetchRequest request;
    ByteRange expected;
    std::string text;
  };
  Case cases[] = {
      {bounded("/t", 0, 2), {0, 2}, "bytes 0-1/10000"},
      {bounded("/t", 100, 4196), {100, 4196}, "bytes 100-4195/10000"},
      {bounded("/t", 9'999, UINT64_MAX), {9'999, 10'000}, "bytes 9999-9999/10000"},
      {suffix("/t", 1), {9'999, 10'000}, "bytes 9999-9999/10000"},
      {suffix("/t", 10'000), {0, 10'000}, "bytes 0-9999/10000"},
      {suffix("/t", UINT64_MAX), {0, 10'000}, "bytes 0-9999/10000"},
  };
  for (Case& expected : cases) {
    const Fetched got = run(std::move(expected.request), 1000);
    ASSERT_FALSE(got.error) << got.where();
    EXPECT_EQ(got.head->status, 206);
    EXPECT_EQ(got.head->content_range, expected.expected);
    EXPECT_EQ(got.head->complete_length, 10'000U);
    EXPECT_EQ(got.head->content_length, expected.expected.length());
    EXPECT_EQ(got.field("content-range"), expected.text);
    EXPECT_TRUE(got.body == bytes.substr(expected.expected.first, expected.expected.length()));
  }
}

TEST_P(DirectoryFetching, ARangeBehindTheEndIsUnsatisfied) {
  write(folder_ / "t", "0123456789");
  write(folder_ / "empty", "");
  FetchRequest requests[] = {bounded("/t", 10, 11), bounded("/t", 500, UINT64_MAX),
                             suffix("/t", 0)};
  for (FetchRequest& request : requests) {
    const Fetched got = run(std::move(request));
    ASSERT_FALSE(got.error);
    EXPECT_EQ(got.head->status, 416);
    EXPECT_EQ(got.head->complete_length, 10U);
    EXPECT_EQ(got.field("content-range"), "bytes */10");
    EXPECT_EQ(got.body, "");
  }
  const Fetched empty = run(bounded("/empty", 0, 262'144));
  EXPECT_EQ(empty.head->status, 416);
  EXPECT_EQ(empty.head->complete_length, 0U);
  const Fetched none = run(whole("/empty"));
  EXPECT_EQ(none.head->status, 200);
  EXPECT_EQ(none.head->content_length, 0U);
}

TEST_P(DirectoryFetching, WhatIsNoVisibleRegularFileIsNotFound) {
  write(root_ / "secret", "outside");
  write(folder_ / ".hidden", "hidden");
  write(folder_ / "t", "inside");
  fs::create_directory(folder_ / "d");
  fs::create_symlink("../secret", folder_ / "out");
  fs::create_symlink(root_ / "secret", folder_ / "absolute");
  fs::create_symlink("..", folder_ / "up");
  fs::create_symlink("loop", folder_ / "loop");
  ASSERT_EQ(mkfifo((folder_ / "fifo").c_str(), 0600), 0);
  for (const char* target :
       {"/absent", "/d", "/d/", "/.hidden", "/%2ehidden", "/out", "/absolute", "/up/secret",
        "/../secret", "/%2e%2e/secret", "/t/x", "/loop", "/fifo", "/t%00", "/"}) {
    const Fetched got = run(whole(target));
    ASSERT_FALSE(got.error) << target << " " << got.where();
    EXPECT_EQ(got.head->status, 404) << target;
    EXPECT_EQ(got.head->content_length, 0U);
    EXPECT_EQ(got.body, "");
  }
  const Fetched too_long = run(whole("/" + std::string(5000, 'x')));
  ASSERT_FALSE(too_long.error);
  EXPECT_EQ(too_long.head->status, 404);
}

TEST_P(DirectoryFetching, ALinkThatStaysInsideIsFollowed) {
  fs::create_directory(folder_ / "d");
  write(folder_ / "t", "inside");
  fs::create_symlink("../t", folder_ / "d" / "link");
  EXPECT_EQ(run(whole("/d/link")).body, "inside");
}

TEST_P(DirectoryFetching, ConditionsAreEvaluated) {
  write(folder_ / "t", "0123456789");
  const Fetched first = run(whole("/t"));
  const std::string etag = first.field("etag");
  const auto conditional = [](const std::string& if_none_match, const std::string& since) {
    FetchRequest request = bounded("/t", 0, 4);
    request.if_none_match = if_none_match;
    request.if_modified_since = since;
    return request;
  };
  const Fetched same = run(conditional("\"other\", " + etag, ""));
  ASSERT_FALSE(same.error);
  EXPECT_EQ(same.head->status, 304);
  EXPECT_EQ(same.field("etag"), etag);
  EXPECT_EQ(same.body, "");
  EXPECT_EQ(run(conditional("W/" + etag, "")).head->status, 304);
  EXPECT_EQ(run(conditional("*", "")).head->status, 304);
  const Fetched changed = run(conditional("\"other\"", first.field("last-modified")));
  EXPECT_EQ(changed.head->status, 206);  // If-None-Match decides alone
  EXPECT_EQ(changed.body, "0123");
  EXPECT_EQ(run(conditional("", first.field("last-modified"))).head->status, 304);
  EXPECT_EQ(run(conditional("", "Sun, 06 Nov 1994 08:49:37 GMT")).head->status, 206);
  EXPECT_EQ(run(conditional("", "rubbish")).head->status, 206);
}

Task<Fetched> read_around(Fetcher& fetcher, FetchRequest request, void (*change)(const fs::path&),
                          const fs::path& path) {
  auto stream = fetcher.start(std::move(request));
  Fetched fetched;
  auto head = co_await (*stream)->head();
  fetched.head = **head;
  std::vector<std::byte> into(4096);
  auto got = co_await (*stream)->read(into);
  EXPECT_TRUE(got.has_value());
  change(path);
  got = co_await (*stream)->read(into);
  if (!got) fetched.error = got.error();
  co_return fetched;
}

TEST_P(DirectoryFetching, AFileThatChangesWhileItIsReadIsAMismatch) {
  fetcher();
  const auto shrink = [](const fs::path& path) { fs::resize_file(path, 5000); };
  const auto grow = [](const fs::path& path) { fs::resize_file(path, 50'000); };
  const auto rewrite = [](const fs::path& path) {
    const int fd = open(path.c_str(), O_WRONLY | O_CLOEXEC);
    EXPECT_EQ(pwrite(fd, "other", 5, 4096), 5);
    const timespec times[2] = {{1, 0}, {1, 0}};  // whatever the granularity of the file system
    EXPECT_EQ(futimens(fd, times), 0);
    close(fd);
  };
  for (void (*change)(const fs::path&) : {+shrink, +grow, +rewrite}) {
    const fs::path path = folder_ / "t";
    write(path, pattern(10'000));
    const Fetched got =
        testing::run_on(*loop_, [&] { return read_around(*fetcher_, whole("/t"), change, path); });
    ASSERT_TRUE(got.error);
    EXPECT_EQ(got.error->side, Side::Origin);
    EXPECT_EQ(got.error->kind, Kind::Mismatch);
  }
}

TEST_P(DirectoryFetching, AFileReplacedWhileItIsReadEndsAsTheOldOne) {
  fetcher();
  const fs::path path = folder_ / "t";
  write(path, std::string(8192, 'a'));
  const auto replace = [](const fs::path& old) {
    std::ofstream(old.string() + ".new") << std::string(8192, 'b');
    fs::rename(old.string() + ".new", old);
  };
  const Fetched got =
      testing::run_on(*loop_, [&] { return read_around(*fetcher_, whole("/t"), replace, path); });
  EXPECT_FALSE(got.error);
}

Task<std::vector<Fetched>> fetch_at_once(Fetcher& fetcher, uint32_t count, uint32_t& refused) {
  std::vector<std::unique_ptr<FetchStream>> streams;
  streams.reserve(count);
  for (uint32_t i = 0; i < count; ++i) {
    auto stream = fetcher.start(whole("/t"));
    if (stream) {
      streams.push_back(std::move(*stream));
    } else {
      EXPECT_EQ(stream.error().kind, Kind::Overloaded);
      ++refused;
    }
  }
  std::vector<Fetched> fetched;
  fetched.reserve(streams.size());
  for (const auto& stream : streams) fetched.push_back(co_await drain(*stream));
  co_return fetched;
}

TEST_P(DirectoryFetching, OneMoreThanTheLimitIsRefused) {
  options_.fetches_max = 3;
  write(folder_ / "t", "0123456789");
  fetcher();
  uint32_t refused = 0;
  const auto fetched =
      testing::run_on(*loop_, [&] { return fetch_at_once(*fetcher_, 4, refused); });
  EXPECT_EQ(fetched.size(), 3U);
  EXPECT_EQ(refused, 1U);
  EXPECT_EQ(counters().fetches_refused.get(), 1U);
  for (const Fetched& one : fetched) EXPECT_EQ(one.body, "0123456789");
  EXPECT_EQ(counters().fetches_in_flight.get(), 0U);
}

Task<void> keep(Fetcher& fetcher, std::vector<Fetched>& into) {
  into.push_back(co_await fetch(fetcher, whole("/t"), 1000));
}

Task<void> fetch_side_by_side(EventLoop& loop, Fetcher& fetcher, uint32_t count,
                              std::vector<Fetched>& into) {
  TaskGroup group(loop, count);
  for (uint32_t i = 0; i < count; ++i) EXPECT_TRUE(group.try_spawn(keep(fetcher, into)));
  co_await group.drain();
}

TEST_P(DirectoryFetching, MoreFetchesThanFileOperationsWaitForTheirTurn) {
  static_assert(kOriginConnectionsPerLoopMax > kFileOpsInFlightMax);
  const std::string bytes = pattern(10'000);
  write(folder_ / "t", bytes);
  fetcher();
  std::vector<Fetched> fetched;
  testing::run_on(*loop_, [&] {
    return fetch_side_by_side(*loop_, *fetcher_, kOriginConnectionsPerLoopMax, fetched);
  });
  ASSERT_EQ(fetched.size(), kOriginConnectionsPerLoopMax);
  for (const Fetched& one : fetched) {
    EXPECT_FALSE(one.error) << one.where();
    EXPECT_TRUE(one.body == bytes);
  }
}

Task<void> keep_error(FetchStream& stream, std::optional<Error>& error) {
  auto head = co_await stream.head();
  if (!head) error = head.error();
}

Task<void> start_and_drop(EventLoop& loop, Fetcher& fetcher, uint32_t count, uint32_t& closed) {
  std::vector<std::unique_ptr<FetchStream>> streams;
  streams.reserve(count);
  std::vector<std::optional<Error>> errors(count);
  TaskGroup group(loop, count);
  for (uint32_t i = 0; i < count; ++i) {
    auto stream = fetcher.start(whole("/t"));
    streams.push_back(std::move(*stream));
    EXPECT_TRUE(group.try_spawn(keep_error(*streams.back(), errors[i])));
  }
  streams.clear();
  co_await group.drain();
  for (const auto& error : errors) closed += error && error->kind == Kind::Closed ? 1 : 0;
}

TEST_P(DirectoryFetching, FetchesDroppedWhileTheyWaitGiveEverythingBack) {
  write(folder_ / "t", "0123456789");
  fetcher();
  uint32_t closed = 0;
  testing::run_on(*loop_, [&] { return start_and_drop(*loop_, *fetcher_, 200, closed); });
  EXPECT_EQ(closed, 200U);
  EXPECT_EQ(counters().fetches_in_flight.get(), 0U);
  EXPECT_EQ(run(whole("/t")).body, "0123456789");
}

TEST(FileGate, GivesTurnsInTheOrderOfArrivalAndForgetsWhoIsGone) {
  FileGate gate(2);
  FileGate::Waiter waiters[5];
  EXPECT_TRUE(gate.try_enter(waiters[0]));
  EXPECT_TRUE(gate.try_enter(waiters[1]));
  for (int i = 2; i < 5; ++i) EXPECT_FALSE(gate.try_enter(waiters[i]));
  EXPECT_FALSE(gate.try_enter(waiters[2]));  // asked again while it waits: still once in the queue
  gate.forget(waiters[3]);
  gate.leave();
  EXPECT_FALSE(gate.try_enter(waiters[4]));
  EXPECT_TRUE(gate.try_enter(waiters[2]));
  gate.leave();
  gate.forget(waiters[4]);  // its turn had come: it is passed on
  EXPECT_EQ(gate.free(), 1U);
  gate.leave();
  EXPECT_EQ(gate.free(), 2U);
}

TEST_P(DirectoryFetching, AFolderThatIsNotThereIsToldAtStart) {
  options_.servers = {"dir:" + (root_ / "absent").string()};
  auto made = make_fetcher(*loop_, options_, make_health(options_));
  ASSERT_FALSE(made);
  EXPECT_EQ(made.error().kind, Kind::NotFound);
}

std::string backend_name(const ::testing::TestParamInfo<IoBackend>& info) {
  return info.param == IoBackend::Uring ? "Uring" : "Threads";
}
INSTANTIATE_TEST_SUITE_P(Backends, DirectoryFetching,
                         ::testing::Values(IoBackend::Uring, IoBackend::Threads), backend_name);

}  // namespace
}  // namespace segue::origin
