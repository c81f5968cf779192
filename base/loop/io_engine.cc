#include "base/loop/io_engine.h"

#include <new>

#include "base/sanitizer.h"

namespace segue {

void IoOp::on_post(PostNode& node) {
  Loop::current()->make_ready(*static_cast<IoOp&>(node).waiter);
}

IoSlab::IoSlab(uint32_t ops_max) : ops_max_(ops_max) {
  if constexpr (kSanitized) return;
  ops_ = std::make_unique<IoOp[]>(ops_max);
  for (uint32_t i = ops_max; i-- > 0;) {
    ops_[i].next = free_;
    free_ = &ops_[i];
  }
}

IoSlab::~IoSlab() { SEGUE_ASSERT(taken() == 0); }  // every operation was awaited

IoOp* IoSlab::take() noexcept {
  if (taken() == ops_max_) return nullptr;
  if constexpr (kSanitized) {
    auto* op = new (std::nothrow) IoOp;
    if (op != nullptr) taken_.add();
    return op;
  }
  taken_.add();
  IoOp* op = std::exchange(free_, free_->next);
  op->first_piece = 0;
  op->piece_count = 0;
  return op;
}

void IoSlab::give_back(IoOp* op) noexcept {
  SEGUE_ASSERT(taken() > 0);
  taken_.sub();
  if constexpr (kSanitized) {
    delete op;
    return;
  }
  op->next = free_;
  free_ = op;
}

bool advance(IoOp& op, uint64_t bytes) noexcept {
  op.offset += bytes;
  while (op.first_piece < op.piece_count) {
    iovec& piece = op.pieces[op.first_piece];
    if (bytes < piece.iov_len) {
      piece.iov_base = static_cast<std::byte*>(piece.iov_base) + bytes;
      piece.iov_len -= bytes;
      return false;
    }
    bytes -= piece.iov_len;
    ++op.first_piece;
  }
  SEGUE_ASSERT(bytes == 0);  // the kernel never does more than it was asked
  return true;
}

}  // namespace segue
