// cache/local_store.h - what a LocalStore is made of: the operations of one loop on the drives.
// Included by the files that implement it.
#pragma once
#include <atomic>
#include <chrono>
#include <optional>
#include <vector>

#include "base/loop/loop.h"
#include "base/loop/task.h"
#include "base/ref.h"
#include "cache/store_impl.h"

namespace segue::cache {

/// For what nobody reads from: a journal page, a superblock, a table, a slot. Longer than a busy
/// drive takes (a flush behind gigabytes of others' writes takes seconds), shorter than whoever
/// purges waits.
inline constexpr std::chrono::seconds kDriveWriteHangTimeout{10};

/// When a drive that went offline is first looked at again; then after twice as long each time, up
/// to the other. A drive that stays in use for so long has been forgiven.
inline constexpr std::chrono::seconds kDriveReturnAfter{5};
inline constexpr std::chrono::minutes kDriveReturnAfterMax{10};

/// Calls back once if it still stands after `timeout`. A local of the task that waits for the
/// drive.
class HangWatch {
 public:
  using Hung = void (*)(void* context);
  HangWatch(Loop& loop, void* context, Hung hung,
            std::chrono::nanoseconds timeout = kDriveHangTimeout)
      : loop_(loop), timer_(&HangWatch::expired) {
    timer_.context = context;
    timer_.hung = hung;
    loop_.arm(timer_, loop_.now() + timeout);
  }
  ~HangWatch() { loop_.disarm(timer_); }
  HangWatch(const HangWatch&) = delete;
  HangWatch& operator=(const HangWatch&) = delete;

 private:
  struct OwnedTimer : Timer {
    using Timer::Timer;
    void* context = nullptr;
    Hung hung = nullptr;
  };
  static void expired(Timer& timer) {
    auto& owned = static_cast<OwnedTimer&>(timer);
    owned.hung(owned.context);
  }
  Loop& loop_;
  OwnedTimer timer_;
};

/// What an operation of a drive came to. Its own task has it too, which may outlast whoever waits.
struct DriveWork final : RefCounted {
  std::optional<Result<Done>> result;
  Signal done;
};

struct LocalStore::Impl {
  Impl(LocalStore& owner_in, Store& store_in, Loop& loop_in, std::vector<Disk*> disks_in);

  /// Null: this loop has not opened the drive (any more).
  [[nodiscard]] Disk* disk_of(uint8_t drive) const noexcept {
    if (drive >= disks.size() || doors[drive].opened != shared.drives[drive]->times_back())
      return nullptr;
    return disks[drive];
  }
  /// Starts the write of a buffer that is Writing; it ends by RamTier::end_write(). False: too much
  /// is under way, or this loop has not opened the drive.
  [[nodiscard]] bool start_write(Buffer& buffer) noexcept;
  /// Rewrites the record of `generation`, if it has one, in the background (304).
  void start_rewrite_record(const Ref<Generation>& generation) noexcept;

  // --- local_store.cc ---
  [[nodiscard]] Task<void> load_record(ContactPermit handed, Representations::Record record);
  [[nodiscard]] Task<Result<Done>> try_load_record(ContactPermit& permit,
                                                   Representations::Record record);
  [[nodiscard]] Task<void> read_slice(Buffer& buffer, Drive& drive, Disk& disk,
                                      Drive::SlotRead handed);
  // --- local_write.cc ---
  [[nodiscard]] Task<void> write_slice(Buffer& buffer);
  [[nodiscard]] Task<Result<Done>> try_write_slice(Buffer& buffer, Drive& drive, Disk& disk);
  [[nodiscard]] Task<Result<RecordNumber>> ensure_record(Ref<Generation> generation, Drive& drive,
                                                         Disk& disk);
  [[nodiscard]] Task<Result<RecordNumber>> write_record(Ref<Generation> generation, Drive& drive,
                                                        Disk& disk);
  [[nodiscard]] Task<void> rewrite_record(Ref<Generation> generation);
  // --- local_bounded.cc ---
  /// Carries out `work` on `drive`. Where it hangs the drive goes offline, and the answer is
  /// {Disk, Timeout}; the operation goes on until its completion, with all that it holds. `what` is
  /// static. Errors: those of `work`; {Self, Overloaded}: too much is under way.
  [[nodiscard]] Task<Result<Done>> bounded(Drive& drive, const char* what, Task<Result<Done>> work);
  [[nodiscard]] static Task<void> carry_out(Task<Result<Done>> handed, Ref<DriveWork> held);
  // --- local_return.cc ---
  /// How this loop stands to a drive.
  struct Door {
    uint32_t opened = 0;  // times_back() of the drive when its disk was opened
    bool closed = false;
    bool opening = false;
    const char* reason = "";  // why it could not be opened, when that was logged last
  };
  /// Of a drive that is or was offline; loop 0.
  struct Retry {
    MonoTime next{};   // nothing is tried before
    MonoTime since{};  // in use again
    std::chrono::nanoseconds after{0};
    bool away = false;
    const char* reason = "";  // of the last try, as it was logged
  };
  /// Another loop is to look after its doors.
  struct CareMessage : PostNode {
    CareMessage() : PostNode(&CareMessage::arrive) {}
    static void arrive(PostNode& node);
    Impl* impl = nullptr;
    std::atomic<bool> posted{false};
  };
  /// Closes the disks of drives that are offline, opens those of drives that are back. Any loop.
  void look_after_doors();
  [[nodiscard]] Task<void> open_door(uint8_t drive);
  /// Loop 0: looks at drives that are offline, and takes back those that work again.
  [[nodiscard]] Task<void> bring_back_drives();
  [[nodiscard]] Task<Result<Done>> try_bring_back(uint8_t drive);
  [[nodiscard]] uint64_t newest_epoch() const noexcept;
  /// It has missed a membership epoch, so it is empty when it comes back.
  [[nodiscard]] bool is_left_behind(const Drive& drive) const noexcept {
    return drive.offline() && drive.membership_epoch() < newest_epoch();
  }

  // --- local_upkeep.cc ---
  [[nodiscard]] Task<void> lease_sequences();
  [[nodiscard]] Task<void> sweep_records();
  [[nodiscard]] Task<Result<Done>> check_record(KeyHash key);
  [[nodiscard]] Task<Result<Done>> forget_record(KeyHash key, uint8_t drive, RecordNumber record);
  [[nodiscard]] Task<void> forget_misplaced();
  [[nodiscard]] Task<bool> flush_tables();
  [[nodiscard]] Task<void> retire();
  [[nodiscard]] Task<void> sweep_ram(bool cut);
  /// Makes a statement durable on every drive in use; one that fails is out of use.
  [[nodiscard]] Task<Result<Done>> journal(PurgeStatement statement);
  [[nodiscard]] Task<Result<Done>> leave_behind(const std::vector<bool>& away);

  // constant after construction
  LocalStore& owner;
  Store& store;
  Store::Impl& shared;
  Loop& loop;
  const std::vector<Disk*> disks;
  // loop-owned
  WaitSlab slab;
  TaskGroup operations;
  TaskGroup durable;  // bounded() operations
  LocalStoreCounters counters;
  std::vector<Door> doors;
  std::vector<Retry> retries;
  bool draining = false;
  CareMessage care;  // posted by loop 0
  // upkeep (one loop only): a pass over all records, some at a time
  Representations::Sweep sweep_at;
  Representations::Sweep ram_at;  // of the same pass, over RAM
  Sequence sweep_began;           // statements below it are checked once the pass ends
  uint64_t sweep_added = 0;       // statements made before the pass
  uint64_t retired_added = 0;  // statements made before the last pass that retired all it checked
  bool sweeping = false;
  bool sweep_failed = false;  // a record could not be read: nothing is retired this time
  MonoTime tables_flushed_at{};
};

}  // namespace segue::cache
