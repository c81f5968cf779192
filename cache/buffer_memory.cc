#include "cache/buffer_memory.h"

#include <sys/mman.h>

#include <cerrno>
#include <cstdio>
#include <cstring>
#include <memory>

#include "base/units.h"

#if defined(__has_feature)
#if __has_feature(address_sanitizer)
#include <sanitizer/asan_interface.h>
#define SEGUE_POISON 1
#endif
#endif

namespace segue::cache {

namespace {

constexpr uint64_t kHugePageBytes = 2 * MiB;
// Below this a thread costs more than the page faults it saves (tests, small machines).
constexpr uint64_t kPopulateBytesMin = 64 * MiB;

/// False where the operator has switched transparent huge pages off: madvise would still say yes.
bool transparent_huge_pages_allowed() {
  std::unique_ptr<FILE, int (*)(FILE*)> file{
      std::fopen("/sys/kernel/mm/transparent_hugepage/enabled", "re"), &std::fclose};
  char text[128] = {};
  if (file == nullptr || std::fgets(text, sizeof text, file.get()) == nullptr) return false;
  return std::strstr(text, "[never]") == nullptr;
}

}  // namespace

Result<Done> BufferMemory::map(uint64_t bytes, bool huge_pages, Payload payload) {
  bytes_ = round_up(bytes, kHugePageBytes);
  const int protection = payload == Payload::None ? PROT_NONE : PROT_READ | PROT_WRITE;
  constexpr int kFlags = MAP_PRIVATE | MAP_ANONYMOUS;
  if (huge_pages) {
    // Without MAP_NORESERVE the kernel sets the pages aside now, so that a fault cannot fail later.
    void* at = mmap(nullptr, bytes_, protection, kFlags | MAP_HUGETLB, -1, 0);
    if (at != MAP_FAILED) {
      mapping_ = at;
      mapping_bytes_ = bytes_;
      base_ = static_cast<std::byte*>(at);
      huge_ = hugetlb_ = true;
    }
  }
  if (mapping_ == nullptr) {
    const size_t wanted = bytes_ + kHugePageBytes;  // room to align
    void* at = mmap(nullptr, wanted, protection, kFlags | MAP_NORESERVE, -1, 0);
    if (at == MAP_FAILED) return fail(Side::Self, Kind::IoError, "map buffers", errno);
    mapping_ = at;
    mapping_bytes_ = wanted;
    void* aligned = at;
    size_t room = wanted;
    base_ = static_cast<std::byte*>(std::align(kHugePageBytes, bytes_, aligned, room));
    if (huge_pages && transparent_huge_pages_allowed()) {
      huge_ = madvise(base_, bytes_, MADV_HUGEPAGE) == 0;
    }
  }
  // Buffers hold what clients may fetch anyway; a core dump of gigabytes helps nobody.
  (void)madvise(base_, bytes_, MADV_DONTDUMP);
  if (bytes_ >= kPopulateBytesMin && payload == Payload::Kept) {
    populater_ = std::jthread([this](const std::stop_token& stop) { populate(stop); });
  }
  return Done{};
}

void BufferMemory::populate(const std::stop_token& stop) noexcept {
  for (uint64_t at = 0; at < bytes_; at += kHugePageBytes) {
    if (stop.stop_requested()) return;
    // Changes no byte, so buffers may be in use meanwhile. Kernels before 5.14 say EINVAL: then
    // the pages come when first written.
    if (madvise(base_ + at, kHugePageBytes, MADV_POPULATE_WRITE) != 0 && errno == EINVAL) return;
    populated_.fetch_add(kHugePageBytes, std::memory_order_relaxed);
  }
}

BufferMemory::~BufferMemory() {
  if (populater_.joinable()) {
    populater_.request_stop();
    populater_.join();
  }
  if (mapping_ == nullptr) return;
  allow(base_, bytes_);
  munmap(mapping_, mapping_bytes_);
}

void forbid(std::byte* memory, size_t bytes) noexcept {
#ifdef SEGUE_POISON
  __asan_poison_memory_region(memory, bytes);
#else
  (void)memory;
  (void)bytes;
#endif
}

void allow(std::byte* memory, size_t bytes) noexcept {
#ifdef SEGUE_POISON
  __asan_unpoison_memory_region(memory, bytes);
#else
  (void)memory;
  (void)bytes;
#endif
}

}  // namespace segue::cache
