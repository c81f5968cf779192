// base/loop/uring_engine.h - an IoEngine on one io_uring, shared by the drives and file reads of
// its loop.
#pragma once
#include <memory>

#include "base/loop/io_engine.h"
#include "base/result.h"

namespace segue {

/// Errors: {Self, IoError, os_errno} when the kernel refuses a ring (too old, seccomp,
/// kernel.io_uring_disabled). `loop` outlives the engine. The ring is restricted to the operations
/// the loop uses, where the kernel can (IORING_REGISTER_RESTRICTIONS): an io_uring operation is
/// not seen by a seccomp filter, so the ring must carry its own.
[[nodiscard]] Result<std::unique_ptr<IoEngine>> make_uring_engine(Loop& loop, uint32_t entries);

}  // namespace segue
