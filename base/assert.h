// base/assert.h - assertions that stay on in release builds. A failed one is a bug of ours and ends
// the process; bytes from a client, an origin, a disk or an operator are never asserted on, they
// are Errors (base/result.h).
#pragma once

namespace segue {
/// Prints what failed and where, then aborts. Never returns, never allocates.
[[noreturn]] void assert_failed(const char* expression, const char* file, int line) noexcept;
}  // namespace segue

#define SEGUE_ASSERT(expression)                               \
  do {                                                         \
    if (!(expression)) [[unlikely]]                            \
      ::segue::assert_failed(#expression, __FILE__, __LINE__); \
  } while (false)

// For checks too dear for the hot path: on in every build with assertions (dev, asan, tsan, fuzz),
// off in release.
#ifdef NDEBUG
#define SEGUE_DEBUG_ASSERT(expression) ((void)0)
#else
#define SEGUE_DEBUG_ASSERT(expression) SEGUE_ASSERT(expression)
#endif
