// loadtest/floor/slot_read.cc - the least work that can bring a slot from a drive: one O_DIRECT
// read through io_uring, and the XXH3 of its payload, each with its CPU time. Links nothing of
// Segue's.
//
//   slot_read FILE DEPTH SECONDS
// reads slots of 4 KiB + 256 KiB at random places of FILE. Prints "read_us X hash_us Y bytes_per_s
// Z" per slot.
#include <fcntl.h>
#include <liburing.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <unistd.h>
#include <xxhash.h>

#include <charconv>
#include <chrono>
#include <cstdint>
#include <cstdio>
#include <random>
#include <string_view>

namespace {

constexpr uint64_t kSlotBytes = 260 * 1024;
constexpr uint64_t kPayloadBytes = 256 * 1024;

double cpu_seconds() {
  rusage usage{};
  getrusage(RUSAGE_SELF, &usage);
  const auto seconds = [](const timeval& time) {
    return static_cast<double>(time.tv_sec) + static_cast<double>(time.tv_usec) / 1e6;
  };
  return seconds(usage.ru_utime) + seconds(usage.ru_stime);
}

uint32_t number_of(std::string_view text) {
  uint32_t number = 0;
  std::from_chars(text.data(), text.data() + text.size(), number);
  return number;
}

struct Reader {
  io_uring ring{};
  int fd = -1;
  char* memory = nullptr;
  uint64_t slots = 0;
  std::mt19937_64 random{1};

  void start(uint32_t place) {
    io_uring_sqe* sqe = io_uring_get_sqe(&ring);
    io_uring_prep_read(sqe, fd, memory + place * kSlotBytes, kSlotBytes,
                       random() % slots * kSlotBytes);
    io_uring_sqe_set_data64(sqe, place);
  }
};

// Slots read in `seconds`, or 0 after a failed read.
uint64_t read_for(Reader& reader, uint32_t depth, double seconds) {
  const auto end = std::chrono::steady_clock::now() + std::chrono::duration<double>(seconds);
  uint64_t done = 0;
  uint32_t in_flight = depth;
  for (uint32_t place = 0; place < depth; ++place) reader.start(place);
  while (in_flight > 0) {
    io_uring_submit_and_wait(&reader.ring, 1);
    io_uring_cqe* cqe = nullptr;
    while (io_uring_peek_cqe(&reader.ring, &cqe) == 0) {
      const auto place = static_cast<uint32_t>(io_uring_cqe_get_data64(cqe));
      if (cqe->res != static_cast<int>(kSlotBytes)) return 0;
      io_uring_cqe_seen(&reader.ring, cqe);
      ++done;
      --in_flight;
      if (std::chrono::steady_clock::now() < end) {
        reader.start(place);
        ++in_flight;
      }
    }
  }
  return done;
}

// Seconds of CPU for the checksum of one payload that lies in memory, not in a cache.
double hash_seconds(const char* memory, uint32_t depth) {
  constexpr uint32_t kRounds = 40;
  uint64_t sum = 0;
  const double before = cpu_seconds();
  for (uint32_t round = 0; round < kRounds; ++round) {
    for (uint32_t place = 0; place < depth; ++place) {
      sum += XXH3_64bits(memory + place * kSlotBytes + 4096, kPayloadBytes);
    }
  }
  const double used = cpu_seconds() - before;
  return sum == 0 ? 0 : used / (kRounds * depth);
}

}  // namespace

int main(int argc, char** argv) {
  if (argc != 4) {
    std::fprintf(stderr, "usage: slot_read FILE DEPTH SECONDS\n");
    return 2;
  }
  const uint32_t depth = number_of(argv[2]);
  Reader reader;
  struct stat facts{};
  reader.fd = open(argv[1], O_RDONLY | O_DIRECT | O_CLOEXEC);
  if (reader.fd < 0 || fstat(reader.fd, &facts) != 0 || depth == 0 ||
      io_uring_queue_init(depth * 2, &reader.ring, 0) != 0) {
    std::perror("slot_read");
    return 1;
  }
  reader.slots = static_cast<uint64_t>(facts.st_size) / kSlotBytes;
  void* memory = mmap(nullptr, depth * kSlotBytes, PROT_READ | PROT_WRITE,
                      MAP_PRIVATE | MAP_ANONYMOUS | MAP_POPULATE, -1, 0);
  if (memory == MAP_FAILED || reader.slots == 0) return 1;
  reader.memory = static_cast<char*>(memory);
  const auto start = std::chrono::steady_clock::now();
  const double before = cpu_seconds();
  const uint64_t done = read_for(reader, depth, number_of(argv[3]));
  const double used = cpu_seconds() - before;
  const double elapsed =
      std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count();
  if (done == 0) {
    std::fprintf(stderr, "slot_read: a read failed\n");
    return 1;
  }
  const auto count = static_cast<double>(done);
  std::printf("read_us %.2f hash_us %.2f bytes_per_s %.0f\n", used / count * 1e6,
              hash_seconds(reader.memory, depth) * 1e6, count * kSlotBytes / elapsed);
}
