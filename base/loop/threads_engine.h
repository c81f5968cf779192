// base/loop/threads_engine.h - an IoEngine on a pool of threads, for where io_uring is refused. The
// threads belong to one loop.
#pragma once
#include <memory>

#include "base/loop/io_engine.h"

namespace segue {

/// Starts `threads` threads (at least one). `loop` outlives the engine; the engine is destroyed
/// when nothing is in flight. Throws std::system_error if a thread cannot be started.
[[nodiscard]] std::unique_ptr<IoEngine> make_threads_engine(Loop& loop, uint32_t threads);

}  // namespace segue
