// base/out_of_memory.h - what becomes of the process when the machine gives it no more memory.
//
// Memory is divided before the start (conf/plan.h), so this is a machine that others have filled,
// or a bug of ours. C++ asks by operator new, nearly everywhere, and nothing above it could do
// without the answer: the process ends there, on the spot. Libraries in C (OpenSSL, nghttp2,
// libcurl, c-ares, libjwt) and pools of our own say instead that they have got nothing: that is an
// error of the one connection, fetch or token it happened to.
#pragma once

namespace segue {

/// What the process ends with, so that the service manager starts it again.
inline constexpr int kOutOfMemoryStatus = 3;

/// One line on stderr, what it was for in it; then the end of the process with kOutOfMemoryStatus.
/// No destructor runs: drives are as after a crash, which every start expects. No core is dumped,
/// either: it would be as large as the RAM tier, on a machine that has no memory. Never allocates.
[[noreturn]] void end_out_of_memory(const char* what) noexcept;

/// From now on an operator new that gets nothing ends the process so, instead of throwing. Called
/// once, first thing in main().
void end_when_out_of_memory() noexcept;

}  // namespace segue
