// tests/bench/restart_bench.cc - how long a drive with millions of live slots takes to be ready
// after a restart, and what its index costs. restart.sh builds and runs it.
//
//   restart FILE [SLOTS] [lru|s3fifo]
//
// Makes FILE as a sparse drive (payload and records are holes; table and access order are real),
// fills the table as tracks of 17 slices would, drops the page cache, mounts it over io_uring and
// visits its representations as the store does.
#include <fcntl.h>
#include <fmt/format.h>
#include <malloc.h>
#include <unistd.h>

#include <charconv>
#include <chrono>
#include <cstdio>
#include <cstdlib>
#include <ctime>
#include <fstream>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "base/loop/event_loop.h"
#include "base/units.h"
#include "cache/aligned_bytes.h"
#include "cache/drive.h"
#include "cache/format.h"
#include "cache/geometry.h"
#include "cache/index_shard.h"
#include "cache/slot_table.h"
#include "tests/bench/bench_support.h"

namespace {

using namespace segue;         // NOLINT(google-build-using-namespace): a program of one file
using namespace segue::cache;  // NOLINT(google-build-using-namespace)
using namespace segue::bench;  // NOLINT(google-build-using-namespace)

constexpr uint64_t kDevice = 0x5e9;
constexpr uint32_t kSlicesPerTrack = 17;  // 17 x 256 KiB = 4 minutes at 160 kbit/s

uint64_t resident_bytes() {
  std::ifstream in("/proc/self/statm");
  uint64_t size = 0;
  uint64_t resident = 0;
  in >> size >> resident;
  return resident * 4 * KiB;
}

/// Deals the slices of one track after the other to the slots of their shards until all are full.
class TableFiller {
 public:
  explicit TableFiller(const Geometry& geometry)
      : geometry_(geometry),
        pages_(geometry.table().pages()),
        next_local_(size_t{geometry.shards()} * kSizeClasses) {
    for (uint32_t page = 0; page < geometry.table().pages(); ++page) {
      clear_table_page(pages_[page], kDevice, page);
    }
    for (uint32_t shard = 0; shard < geometry.shards(); ++shard) {
      for (uint32_t c = 0; c < kSizeClasses; ++c) {
        next_local_[size_t{shard} * kSizeClasses + c] = geometry.local_first()[c];
      }
    }
  }

  /// Live entries made.
  uint64_t fill() {
    uint64_t live = 0;
    uint32_t refused = 0;
    for (uint32_t record = 0; record < geometry_.records(); ++record) {
      const KeyHash key = hash_key(fmt::format("track-{}", record), 1);
      for (uint32_t slice = 0; slice < kSlicesPerTrack; ++slice) {
        // The last slice is shorter, and goes to the class it fits.
        const bool last = slice + 1 == kSlicesPerTrack;
        const auto length = last ? static_cast<uint32_t>(1 + key.low % kSliceBytes) : kSliceBytes;
        const bool placed = place(
            {.key = {.key = key, .generation = Sequence{record + 1}, .slice = SliceIndex{slice}},
             .record = RecordNumber{record},
             .length = length});
        live += placed ? 1 : 0;
        refused = placed ? 0 : refused + 1;
      }
      if (refused > 100'000) break;
    }
    return live;
  }

  std::vector<format::TablePage>& pages() { return pages_; }

 private:
  bool place(const SlotEntry& entry) {
    const auto area = geometry_.class_for(entry.length);
    const uint32_t shard = shard_of(fingerprint_of(entry.key), geometry_.shards());
    const auto c = static_cast<uint8_t>(*area);
    uint32_t& local = next_local_[size_t{shard} * kSizeClasses + c];
    if (local == geometry_.local_first()[c + 1U]) return false;
    const uint32_t page =
        geometry_.table().page_of_shard(shard, geometry_.table().page_in_shard_of(local));
    const uint32_t first = geometry_.table().page_at(page).first_local;
    pages_[page].entries[local - first] = encode_entry(entry);
    ++local;
    return true;
  }

  const Geometry& geometry_;
  std::vector<format::TablePage> pages_;
  std::vector<uint32_t> next_local_;  // by shard and class
};

void write_at(int fd, const void* bytes, size_t count, uint64_t offset) {
  const char* from = static_cast<const char*>(bytes);
  while (count > 0) {
    const ssize_t n = ::pwrite(fd, from, count, static_cast<off_t>(offset));
    if (n <= 0) stop_with("cannot write the table");
    from += n;
    count -= static_cast<size_t>(n);
    offset += static_cast<uint64_t>(n);
  }
}

uint64_t fill_drive(const std::string& file, const Geometry& geometry) {
  TableFiller filler(geometry);
  const uint64_t live = filler.fill();
  const int fd = ::open(file.c_str(), O_WRONLY | O_CLOEXEC);
  if (fd < 0) stop_with("cannot open " + file);
  for (format::TablePage& page : filler.pages()) {
    AlignedBytes bytes(format::kPageBytes);
    format::store(bytes.span(), page);
    format::seal_page(bytes.page(0));
    page = format::load<format::TablePage>(bytes.span());
  }
  write_at(fd, filler.pages().data(), filler.pages().size() * format::kPageBytes,
           geometry.table().offset_of(0));
  const AlignedBytes page(format::kPageBytes);
  std::vector<uint32_t> seconds;
  for (uint32_t number = 0; number < geometry.access().pages(); ++number) {
    seconds.resize(geometry.access().page_at(number).count);
    for (uint32_t i = 0; i < seconds.size(); ++i) {
      seconds[i] = static_cast<uint32_t>(mix(number * 4096ULL + i) % 2'000'000);
    }
    encode_access_page(seconds, number, kDevice, page.page(0));
    write_at(fd, page.span().data(), format::kPageBytes, geometry.access().offset_of(number));
  }
  if (::fsync(fd) != 0) stop_with("cannot sync the drive");
  if (::posix_fadvise(fd, 0, 0, POSIX_FADV_DONTNEED) != 0) stop_with("cannot drop the page cache");
  ::close(fd);
  return live;
}

/// The size of a drive with about so many slots, at the usual shares.
uint64_t size_for(uint64_t slots) {
  uint64_t size = slots * 200 * KiB;
  while (true) {
    const auto geometry = Geometry::plan(size, {});
    if (geometry && geometry->slots() >= slots) return size;
    size += size / 100;
  }
}

struct Arguments {
  std::string file;
  uint64_t slots = 4'600'000;
  bool s3fifo = false;
};

Arguments arguments_of(int argc, char** argv) {
  if (argc < 2) stop_with("usage: restart FILE [SLOTS] [lru|s3fifo]");
  Arguments arguments;
  arguments.file = argv[1];
  if (argc > 2) {
    const std::string_view text = argv[2];
    const auto parsed = std::from_chars(text.data(), text.data() + text.size(), arguments.slots);
    if (parsed.ec != std::errc{}) stop_with("SLOTS is a number");
  }
  arguments.s3fifo = argc > 3 && std::string_view(argv[3]) == "s3fifo";
  return arguments;
}

/// A formatted, sparse drive with a full table; the live entries in it.
uint64_t make_drive(EventLoop& loop, Disk& disk, const std::string& file, uint64_t size) {
  run<Done>(
      loop,
      [&] {
        return Drive::format(disk, {.size_bytes = size,
                                    .hash_seed = 1,
                                    .device_id = kDevice,
                                    .membership_epoch = 0,
                                    .shares = {}});
      },
      "format");
  return fill_drive(file, *Geometry::plan(size, {}));
}

double cpu_ms() { return 1000.0 * static_cast<double>(std::clock()) / CLOCKS_PER_SEC; }

/// Mounts and prints; the live entries found.
uint64_t measure(EventLoop& loop, Disk& disk, const SystemClock& clock, bool s3fifo) {
  ::malloc_trim(0);
  const uint64_t before = resident_bytes();
  const double cpu_before = cpu_ms();
  const auto start = std::chrono::steady_clock::now();
  Drive::Options options;
  options.policy = s3fifo ? EvictionPolicy::S3Fifo : EvictionPolicy::Lru;
  const auto drive = run<std::unique_ptr<Drive>>(
      loop, [&] { return Drive::mount(disk, options, clock); }, "mount");
  uint64_t representations = 0;
  drive->for_each_representation(
      &representations,
      [](void* count, const Drive::FoundRepresentation&) { ++*static_cast<uint64_t*>(count); });
  const auto ready = std::chrono::steady_clock::now();
  const double cpu_after = cpu_ms();
  ::malloc_trim(0);
  const uint64_t after = resident_bytes();

  const Drive::Usage usage = drive->usage();
  const uint64_t all = usage.slots[1] + usage.slots[2] + usage.slots[3];
  const uint64_t found = usage.live[1] + usage.live[2] + usage.live[3];
  const auto per_slot = [all](uint64_t bytes) {
    return static_cast<double>(bytes) / static_cast<double>(all);
  };
  fmt::print("slots: {}, records: {}, policy: {}\n", all, usage.records, s3fifo ? "s3fifo" : "lru");
  fmt::print("live entries found: {}, representations: {}\n", found, representations);
  fmt::print("ready after: {:.0f} ms ({:.0f} ms of CPU)\n",
             std::chrono::duration<double, std::milli>(ready - start).count(),
             cpu_after - cpu_before);
  fmt::print("index: {:.2f} bytes per slot, and 8 for each of {} ghosts\n",
             per_slot(usage.index_bytes), usage.ghost_entries);
  fmt::print("process grew by {:.2f} bytes per slot, ghosts included\n", per_slot(after - before));
  return found;
}

}  // namespace

int main(int argc, char** argv) {
  const Arguments arguments = arguments_of(argc, argv);
  const uint64_t size = size_for(arguments.slots);
  const int fd = ::open(arguments.file.c_str(), O_RDWR | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
  if (fd < 0 || ::ftruncate(fd, static_cast<off_t>(size)) != 0) {
    stop_with("cannot make " + arguments.file);
  }
  ::close(fd);
  const SystemClock clock;
  auto loop = EventLoop::create(0, clock, {});
  if (!loop) stop_with("no event loop");
  auto disk = (*loop)->open_disk(arguments.file);
  if (!disk) stop_with("cannot open the drive");
  const uint64_t live = make_drive(**loop, *disk->disk, arguments.file, size);
  fmt::print("drive: {} GiB sparse, {} live entries, {}, direct I/O {}\n", size / GiB, live,
             (*loop)->io_backend() == IoBackend::Uring ? "io_uring" : "threads",
             disk->direct ? "yes" : "no");
  const uint64_t found = measure(**loop, *disk->disk, clock, arguments.s3fifo);
  disk->disk.reset();
  return found == live ? 0 : 1;
}
