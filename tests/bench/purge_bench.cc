// tests/bench/purge_bench.cc - what it takes to purge a million representations by the tag they
// share. purge.sh builds and runs it.
//
//   purge_bench FILE [REPRESENTATIONS]
//
// Makes FILE as a sparse drive, installs the representations in RAM, purges, and looks every one of
// them up. What a journal entry must cost (two page writes and a flush of the same disk) is
// measured beside it.
#include <fcntl.h>
#include <fmt/format.h>
#include <unistd.h>

#include <algorithm>
#include <charconv>
#include <chrono>
#include <cstdio>
#include <cstdlib>
#include <ctime>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "base/loop/event_loop.h"
#include "base/units.h"
#include "cache/drive.h"
#include "cache/store.h"
#include "tests/bench/bench_support.h"

namespace {

using namespace segue;         // NOLINT(google-build-using-namespace): a program of one file
using namespace segue::cache;  // NOLINT(google-build-using-namespace)
using namespace segue::bench;  // NOLINT(google-build-using-namespace)
using Milliseconds = std::chrono::duration<double, std::milli>;

constexpr uint32_t kRounds = 21;

class NoFacts final : public StoredFacts {
 public:
  [[nodiscard]] uint32_t encoded_bytes() const noexcept override { return 0; }
  void encode(std::span<std::byte> /*out*/) const noexcept override {}
};

class NoCodec final : public FactsCodec {
 public:
  [[nodiscard]] Result<Ref<const StoredFacts>> decode(
      std::span<const std::byte> /*encoded*/) const override {
    return Ref<const StoredFacts>(make_ref<const NoFacts>());
  }
};

double median(std::vector<double> times) {
  std::ranges::sort(times);
  return times[times.size() / 2];
}

std::string name_of(uint64_t number) { return fmt::format("music/track/{}", number); }

/// Two pages written and flushed, as a journal does it.
double flush_ms(const std::string& file) {
  const std::string other = file + ".probe";
  const int fd = ::open(other.c_str(), O_RDWR | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
  if (fd < 0 || ::posix_fallocate(fd, 0, 1 * MiB) != 0) stop_with("cannot make the probe");
  const std::vector<char> page(4 * KiB, 'p');
  std::vector<double> times;
  for (uint32_t i = 0; i < kRounds; ++i) {
    const auto start = std::chrono::steady_clock::now();
    const bool written = ::pwrite(fd, page.data(), page.size(), 0) > 0 &&
                         ::pwrite(fd, page.data(), page.size(), 512 * KiB) > 0 &&
                         ::fdatasync(fd) == 0;
    if (!written) stop_with("cannot write the probe");
    times.push_back(Milliseconds(std::chrono::steady_clock::now() - start).count());
  }
  ::close(fd);
  ::unlink(other.c_str());
  return median(times);
}

void install(Store& store, uint64_t count, uint64_t tag) {
  const auto facts = make_ref<const NoFacts>();
  for (uint64_t i = 0; i < count; ++i) {
    const std::string name = name_of(i);
    const KeyHash key = store.hash(name);
    auto permit = store.try_start_contact(key);
    if (!permit) stop_with("no contact");
    Selected selected{.generation = make_ref<Generation>(key, name, permit->sequence(), 4 * MiB),
                      .facts = facts};
    if (!store.commit(std::move(*permit),
                      {.selected = std::move(selected), .tag_hashes = {tag}, .ram_only = false}))
      stop_with("not installed");
  }
}

uint64_t known(Store& store, uint64_t count) {
  uint64_t found = 0;
  for (uint64_t i = 0; i < count; ++i) {
    const std::string name = name_of(i);
    if (store.look_up(store.hash(name), name).known == Store::Known::Yes) ++found;
  }
  return found;
}

struct Took {
  double ms = 0;
  double cpu_ms = 0;
};

Took purge(EventLoop& loop, LocalStore& local, const std::string& tag) {
  PurgeStatement statement;
  statement.scope = PurgeScope::Tag;
  statement.key = local.store().hash(tag);
  statement.sequence = local.store().next_sequence();
  const auto start = std::chrono::steady_clock::now();
  const std::clock_t cpu = std::clock();
  run<Done>(loop, [&] { return local.purge(std::move(statement), false); }, "purge");
  return {Milliseconds(std::chrono::steady_clock::now() - start).count(),
          1000.0 * static_cast<double>(std::clock() - cpu) / CLOCKS_PER_SEC};
}

int measure(EventLoop& loop, LocalStore& local, const std::string& file, uint64_t count) {
  Store& store = local.store();
  install(store, count, store.hash("all").low);
  const uint64_t before = known(store, count);
  std::vector<double> others;
  for (uint32_t i = 0; i < kRounds; ++i)
    others.push_back(purge(loop, local, fmt::format("nobody's-{}", i)).ms);
  const uint64_t still = known(store, count);
  const Took took = purge(loop, local, "all");
  const uint64_t after = known(store, count);
  fmt::print("representations under one tag: {}; known before {}, after {} other purges {}\n",
             count, before, kRounds, still);
  fmt::print("one purge of them all: {:.2f} ms, {:.2f} ms of CPU; known after it: {}\n", took.ms,
             took.cpu_ms, after);
  fmt::print("purges of tags nobody carries: median {:.2f} ms\n", median(others));
  fmt::print("two page writes and one fdatasync: median {:.2f} ms\n", flush_ms(file));
  return before == count && still == count && after == 0 ? 0 : 1;
}

}  // namespace

int main(int argc, char** argv) {
  if (argc < 2) stop_with("usage: purge_bench FILE [REPRESENTATIONS]");
  const std::string file = argv[1];
  uint64_t count = 1'000'000;
  if (argc > 2) std::from_chars(argv[2], argv[2] + std::string_view(argv[2]).size(), count);
  const int fd = ::open(file.c_str(), O_RDWR | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
  if (fd < 0 || ::ftruncate(fd, static_cast<off_t>(8 * GiB)) != 0) stop_with("no file");
  ::close(fd);
  const SystemClock clock;
  const NoCodec codec;
  auto loop = EventLoop::create(0, clock, {});
  if (!loop) stop_with("no event loop");
  auto disk = (*loop)->open_disk(file);
  if (!disk) stop_with("cannot open the drive");
  run<Done>(
      **loop,
      [&] {
        return Drive::format(*disk->disk, {.size_bytes = 8 * GiB,
                                           .hash_seed = 1,
                                           .device_id = 7,
                                           .membership_epoch = 0,
                                           .shares = {}});
      },
      "format");
  std::vector<std::unique_ptr<Drive>> drives;
  drives.push_back(run<std::unique_ptr<Drive>>(
      **loop, [&] { return Drive::mount(*disk->disk, {}, clock); }, "mount"));
  auto store = Store::create({.ram_bytes = 64 * MiB,
                              .hash_seed = 1,
                              .representations_bytes_max = 2 * GiB,
                              .huge_pages = false},
                             codec, clock, std::move(drives));
  if (!store) stop_with(store.error().where);
  int worst = 0;
  {
    LocalStore local(**store, **loop, {disk->disk.get()});
    worst = measure(**loop, local, file, count);
  }
  store->reset();
  disk->disk.reset();
  return worst;
}
