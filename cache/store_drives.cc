// The store's side of its drives: which one holds a key, what it remembers at start, what RAM sends
// there.
#include <algorithm>

#include "base/log.h"
#include "cache/local_store.h"
#include "cache/store_impl.h"

namespace segue::cache {

uint8_t drive_of(const KeyHash& key, std::span<const std::unique_ptr<Drive>> drives) noexcept {
  uint8_t best = 0;
  uint64_t best_weight = 0;
  for (size_t i = 0; i < drives.size(); ++i) {
    const uint64_t weight = mix(key.low ^ mix(drives[i]->device_id()));
    if (i == 0 || weight > best_weight) {
      best = static_cast<uint8_t>(i);
      best_weight = weight;
    }
  }
  return best;
}

void Store::Impl::take_over_drives() {
  if (drives.empty()) return;
  uint64_t unleased = 1;
  for (size_t i = 0; i < drives.size(); ++i) {
    unleased = std::max(unleased, drives[i]->first_unleased().value);
    struct Visit {
      Impl& impl;
      uint8_t drive;
    } visit{*this, static_cast<uint8_t>(i)};
    drives[i]->for_each_representation(&visit, [](void* context,
                                                  const Drive::FoundRepresentation& found) {
      auto& at = *static_cast<Visit*>(context);
      Representations& table = at.impl.representations;
      const auto known = table.record_of(found.key);
      if (table.add_found(found.key, found.generation, at.drive, found.record)) {
        if (!known) return;
        at.impl.misplaced.push_back({found.key, known->generation, known->number, known->drive});
      } else {
        at.impl.misplaced.push_back({found.key, found.generation, found.record, at.drive});
      }
    });
  }
  // Nothing is leased yet: the first upkeep does it, and until then nothing is recorded.
  next_sequence.store(unleased, std::memory_order_relaxed);
  leased_end.store(unleased, std::memory_order_relaxed);
  for (const auto& drive : drives) {
    for (const PurgeStatement& statement : drive->purge_statements()) {
      if (statement.scope == PurgeScope::Key) {
        purges.note_key(statement.sequence);
        representations.purge_key(statement.key, statement, false);
      } else {
        purges.restore(statement);
      }
    }
  }
}

LocalStore* Store::Impl::local() const noexcept {
  const Loop* loop = Loop::current();
  if (loop == nullptr || loop->index() >= kLoopsMax) return nullptr;
  return locals[loop->index()].load(std::memory_order_acquire);
}

bool Store::Impl::on_drive(const Generation& generation, SliceIndex slice) const noexcept {
  const Drive* drive = drive_for(generation);
  if (drive == nullptr || !drive->contains(generation.slice_key(slice))) return false;
  const LocalStore* door = local();  // it may not have opened a drive that has just come back
  return door == nullptr || door->impl_->disk_of(generation.drive()) != nullptr;
}

bool Store::Impl::wants_to_keep(const Buffer& buffer, bool needed) noexcept {
  const Generation& generation = *buffer.generation;
  Drive* drive = drive_for(generation);
  if (drive == nullptr || drive->offline()) return false;
  if (generation.id().value >= leased_end.load(std::memory_order_acquire)) return false;
  const SizeClass size_class = generation.slice_class(buffer.key.slice);
  if (size_class == SizeClass::Small16) return false;
  return needed || drive->should_admit(buffer.key, size_class, buffer.last_use);
}

bool Store::Impl::start_keep(Buffer& buffer) noexcept {
  LocalStore* door = local();
  return door != nullptr && door->impl_->start_write(buffer);
}

}  // namespace segue::cache
