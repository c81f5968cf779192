#include "edge/server/h2_memory.h"

#include <algorithm>
#include <cstdint>
#include <cstdlib>
#include <cstring>

#include "base/assert.h"

namespace segue::edge {
namespace {

/// In front of every piece, so that it can be counted when it is given back.
struct alignas(std::max_align_t) PieceHead {
  size_t bytes;
};

}  // namespace

Http2Memory::Http2Memory(Http2MemoryBounds bounds, Counter& total) noexcept
    : bounds_(bounds), total_(total) {
  functions_.mem_user_data = this;
  functions_.malloc = [](size_t bytes, void* self) {
    return static_cast<Http2Memory*>(self)->resize(nullptr, bytes);
  };
  functions_.free = [](void* memory, void* self) {
    (void)static_cast<Http2Memory*>(self)->resize(memory, 0);
  };
  functions_.calloc = [](size_t count, size_t bytes, void* self) -> void* {
    if (bytes != 0 && count > SIZE_MAX / bytes) return nullptr;
    void* memory = static_cast<Http2Memory*>(self)->resize(nullptr, count * bytes);
    if (memory != nullptr) std::memset(memory, 0, count * bytes);
    return memory;
  };
  functions_.realloc = [](void* memory, size_t bytes, void* self) {
    return static_cast<Http2Memory*>(self)->resize(memory, bytes);
  };
}

Http2Memory::~Http2Memory() { SEGUE_ASSERT(bytes_ == 0); }

bool Http2Memory::allows(size_t bytes, size_t instead_of) const noexcept {
  const size_t kept = bytes_ - instead_of;
  if (bytes > bounds_.of_one_max || kept > bounds_.of_one_max - bytes) return false;
  if (kept + bytes <= bounds_.fair_share) return true;
  // Of the sum only what is beyond fair shares is refused: a hundred streams here must not end a
  // connection with one.
  const size_t of_all = total_.get() - instead_of;
  return bytes <= bounds_.total_max && of_all <= bounds_.total_max - bytes;
}

void* Http2Memory::resize(void* memory, size_t bytes) noexcept {
  PieceHead* old = memory == nullptr ? nullptr : static_cast<PieceHead*>(memory) - 1;
  const size_t old_bytes = old == nullptr ? 0 : old->bytes;
  if (bytes == 0) {
    bytes_ -= old_bytes;
    total_.sub(old_bytes);
    std::free(old);
    return nullptr;
  }
  if (bytes > old_bytes && !allows(bytes, old_bytes)) {
    spent_ = true;
    return nullptr;
  }
  auto* made = static_cast<PieceHead*>(std::realloc(old, sizeof(PieceHead) + bytes));
  if (made == nullptr) {
    spent_ = true;
    return nullptr;
  }
  made->bytes = bytes;
  bytes_ += bytes - old_bytes;
  bytes_peak_ = std::max(bytes_peak_, bytes_);
  total_.sub(old_bytes);
  total_.add(bytes);
  return made + 1;
}

}  // namespace segue::edge
