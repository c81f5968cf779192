// With _FORTIFY_SOURCE glibc defines read() inline, and what is defined here would be a second one.
#undef _FORTIFY_SOURCE

#include "tests/unit/edge/counted_calls.h"

#include <sys/epoll.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <unistd.h>

#include <algorithm>
#include <cstddef>
#include <cstdlib>
#include <new>

namespace segue::testing {
Counts counts;
}  // namespace segue::testing

using segue::testing::counts;

// A sanitizer's runtime brings its own operator new; the system calls are counted all the same.
#if !__has_feature(address_sanitizer) && !__has_feature(thread_sanitizer)
namespace {

void* counted_allocation(size_t bytes, size_t alignment) {
  if (counts.on) ++counts.allocations;
  void* memory = nullptr;
  if (posix_memalign(&memory, std::max(alignment, sizeof(void*)), bytes) != 0) std::abort();
  return memory;
}

}  // namespace

void* operator new(size_t bytes) { return counted_allocation(bytes, alignof(std::max_align_t)); }
void* operator new(size_t bytes, std::align_val_t alignment) {
  return counted_allocation(bytes, static_cast<size_t>(alignment));
}
void operator delete(void* memory) noexcept { std::free(memory); }
void operator delete(void* memory, size_t) noexcept { std::free(memory); }
void operator delete(void* memory, std::align_val_t) noexcept { std::free(memory); }
void operator delete(void* memory, size_t, std::align_val_t) noexcept { std::free(memory); }
#endif

extern "C" {
ssize_t read(int fd, void* into, size_t bytes) {
  // Eventfds and timerfds are read eight bytes at a time; what is counted is the client's socket.
  if (counts.on && bytes > sizeof(uint64_t)) ++counts.reads;
  return syscall(SYS_read, fd, into, bytes);
}
ssize_t writev(int fd, const iovec* pieces, int count) {
  if (counts.on) ++counts.writevs;
  return syscall(SYS_writev, fd, pieces, count);
}
int epoll_ctl(int epoll_fd, int operation, int fd, epoll_event* event) {
  if (counts.on) ++counts.epoll_ctls;
  return static_cast<int>(syscall(SYS_epoll_ctl, epoll_fd, operation, fd, event));
}
}
