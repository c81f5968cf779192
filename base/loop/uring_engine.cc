#include "base/loop/uring_engine.h"

#include <liburing.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <array>
#include <cerrno>

namespace segue {
namespace {

// Debian 12's liburing 2.3 declares io_uring_register_restrictions() and io_uring_enable_rings()
// but does not export them.
[[nodiscard]] int register_with(const io_uring& ring, unsigned what, const void* argument,
                                unsigned count) noexcept {
  return static_cast<int>(
      syscall(SYS_io_uring_register, ring.ring_fd, what, argument, count) < 0 ? -errno : 0);
}

class UringEngine final : public IoEngine {
 public:
  explicit UringEngine(Loop& loop) : loop_(loop) {}
  ~UringEngine() override {
    SEGUE_ASSERT(in_flight_ == 0);  // every operation was awaited
    if (open_) io_uring_queue_exit(&ring_);
  }

  [[nodiscard]] int open(uint32_t entries) noexcept;
  void start(IoOp& op) noexcept override;
  [[nodiscard]] bool submit() noexcept override;
  void collect() noexcept override;
  [[nodiscard]] int event_fd() const noexcept override { return ring_.ring_fd; }

 private:
  void restrict_operations() noexcept;

  Loop& loop_;
  io_uring ring_{};
  bool open_ = false;
  uint32_t in_flight_ = 0;
};

int UringEngine::open(uint32_t entries) noexcept {
  // COOP_TASKRUN: completions are handled when the loop is in the kernel anyway, not by an
  // interrupt. Kernels before 5.19 do not know it.
  for (const uint32_t flags : {IORING_SETUP_COOP_TASKRUN, 0U}) {
    io_uring_params parameters{};
    parameters.flags = flags | IORING_SETUP_CLAMP | IORING_SETUP_R_DISABLED;
    const int status = io_uring_queue_init_params(entries, &ring_, &parameters);
    if (status == -EINVAL) continue;
    if (status < 0) return status;
    open_ = true;
    restrict_operations();
    return register_with(ring_, IORING_REGISTER_ENABLE_RINGS, nullptr, 0);
  }
  return -EINVAL;
}

void UringEngine::restrict_operations() noexcept {
  constexpr std::array<uint8_t, 5> kAllowed{IORING_OP_READV, IORING_OP_WRITEV, IORING_OP_FSYNC,
                                            IORING_OP_OPENAT2, IORING_OP_STATX};
  std::array<io_uring_restriction, kAllowed.size()> restrictions{};
  for (size_t i = 0; i < kAllowed.size(); ++i) {
    restrictions[i].opcode = IORING_RESTRICTION_SQE_OP;
    restrictions[i].sqe_op = kAllowed[i];
  }
  // A kernel that cannot restrict still runs the ring: this is a second fence, not the first.
  (void)register_with(ring_, IORING_REGISTER_RESTRICTIONS, restrictions.data(),
                      static_cast<unsigned>(restrictions.size()));
}

void prepare(io_uring_sqe* entry, IoOp& op) noexcept {
  const iovec* pieces = &op.pieces[op.first_piece];
  const uint32_t count = op.piece_count - op.first_piece;
  switch (op.kind) {
    case IoKind::Read:
      io_uring_prep_readv(entry, op.fd, pieces, count, op.offset);
      break;
    case IoKind::Write:
      io_uring_prep_writev(entry, op.fd, pieces, count, op.offset);
      break;
    case IoKind::Flush:
      io_uring_prep_fsync(entry, op.fd, IORING_FSYNC_DATASYNC);
      break;
    case IoKind::OpenBeneath:
      io_uring_prep_openat2(entry, op.fd, op.path, &op.how);
      break;
    case IoKind::Stat:
      io_uring_prep_statx(entry, op.fd, "", AT_EMPTY_PATH, STATX_BASIC_STATS, &op.facts);
      break;
  }
}

void UringEngine::start(IoOp& op) noexcept {
  io_uring_sqe* entry = io_uring_get_sqe(&ring_);
  if (entry == nullptr) {  // more in one turn than the ring has entries: several drives at once
    (void)io_uring_submit(&ring_);
    entry = io_uring_get_sqe(&ring_);
  }
  if (entry == nullptr) {
    op.complete(loop_, kEngineFull);
    return;
  }
  prepare(entry, op);
  io_uring_sqe_set_data(entry, &op);
  ++in_flight_;
}

bool UringEngine::submit() noexcept {
  if (io_uring_sq_ready(&ring_) == 0) return true;
  // EAGAIN, EBUSY (completions to be collected first) or EINTR leave the entries where they are.
  (void)io_uring_submit(&ring_);
  return io_uring_sq_ready(&ring_) == 0;
}

void UringEngine::collect() noexcept {
  if (in_flight_ == 0) return;
  std::array<io_uring_cqe*, 64> batch;
  for (;;) {
    const unsigned count =
        io_uring_peek_batch_cqe(&ring_, batch.data(), static_cast<unsigned>(batch.size()));
    for (unsigned i = 0; i < count; ++i) {
      auto* op = static_cast<IoOp*>(io_uring_cqe_get_data(batch[i]));
      SEGUE_ASSERT(in_flight_ > 0);
      --in_flight_;
      op->complete(loop_, batch[i]->res);
    }
    io_uring_cq_advance(&ring_, count);
    if (count < batch.size()) return;
  }
}

}  // namespace

Result<std::unique_ptr<IoEngine>> make_uring_engine(Loop& loop, uint32_t entries) {
  auto engine = std::make_unique<UringEngine>(loop);
  const int status = engine->open(entries);
  if (status < 0) return fail(Side::Self, Kind::IoError, "io_uring setup", -status);
  return std::unique_ptr<IoEngine>(std::move(engine));
}

}  // namespace segue
