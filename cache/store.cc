#include "cache/store.h"

#include <fmt/format.h>

#include <chrono>
#include <utility>

#include "base/entropy.h"
#include "base/loop/loop.h"
#include "cache/local_store.h"
#include "cache/store_impl.h"

namespace segue::cache {

namespace {
// One run of a fill must fit, with a quarter of the pool left for demand.
constexpr uint32_t kLargeBuffersMin = 8;
constexpr uint8_t kRamShareMax = 75;  // in parts of 100

uint64_t records_of(std::span<const std::unique_ptr<Drive>> drives) {
  uint64_t records = 0;
  for (const auto& drive : drives) records += drive->usage().records;
  return records;
}
}  // namespace

std::optional<std::string> Store::Options::invalid() const {
  uint32_t sum = 0;
  for (const uint8_t share : shares) sum += share;
  if (sum != 100) return fmt::format("the shares of the buffer classes add up to {}, not 100", sum);
  if (probation_share > kRamShareMax)
    return std::string("more than 75 % of RAM for what nobody asked for");
  if (heads_share > kRamShareMax) return std::string("more than 75 % of RAM for heads");
  const uint8_t large = shares[static_cast<uint8_t>(SizeClass::K256)];
  if (large == 0) return std::string("the share of the 256 KiB buffers is 0; it must not be");
  if (ram_bytes * large / 100 / kSliceBytes < kLargeBuffersMin) {
    const uint64_t needed = (uint64_t{kLargeBuffersMin} * kSliceBytes * 100 + large - 1) / large;
    return fmt::format("{} bytes of RAM for buffers are too few; at least {} are needed", ram_bytes,
                       needed);
  }
  return std::nullopt;
}

Store::Impl::Impl(const Options& options_in, const FactsCodec& codec_in, const Clock& clock_in,
                  std::vector<std::unique_ptr<Drive>> drives_in)
    : options(options_in),
      codec(codec_in),
      clock(clock_in),
      drives(std::move(drives_in)),
      hash_seed(options_in.hash_seed),
      representations(options_in.representations_bytes_max, records_of(drives), purges),
      ram(clock_in) {
  if (!drives.empty()) hash_seed = drives.front()->hash_seed();
  if (hash_seed == 0) hash_seed = kernel_random();
}

uint32_t Store::Impl::now_seconds() const noexcept {
  const Loop* loop = Loop::current();
  const MonoTime now = loop != nullptr ? loop->now() : clock.mono();
  return static_cast<uint32_t>(
      std::chrono::duration_cast<std::chrono::seconds>(now.time_since_epoch()).count());
}

Store::Store(std::unique_ptr<Impl> impl) : impl_(std::move(impl)) {}
Store::~Store() = default;

Result<std::unique_ptr<Store>> Store::create(Options options, const FactsCodec& codec,
                                             const Clock& clock,
                                             std::vector<std::unique_ptr<Drive>> drives) {
  if (options.invalid()) return fail(Side::Self, Kind::Unsupported, "store options");
  if (drives.size() > UINT8_MAX) return fail(Side::Self, Kind::Unsupported, "more than 255 drives");
  for (const auto& drive : drives) {
    if (drive->hash_seed() != drives.front()->hash_seed()) {
      return fail(Side::Disk, Kind::Mismatch, "drives of two nodes");
    }
  }
  auto impl = std::make_unique<Impl>(options, codec, clock, std::move(drives));
  auto ram = impl->ram.create(options.ram_bytes, options.shares, options.policy, options.huge_pages,
                              impl->drives.empty() ? nullptr : impl.get(), options.probation_share,
                              options.heads_share);
  if (!ram) return fail(ram.error());
  impl->take_over_drives();
  return std::unique_ptr<Store>(new Store(std::move(impl)));
}

KeyHash Store::hash(std::string_view key_text) const noexcept {
  return hash_key(key_text, impl_->hash_seed);
}

Sequence Store::next_sequence() noexcept {
  return Sequence{impl_->next_sequence.fetch_add(1, std::memory_order_relaxed)};
}

std::span<const std::unique_ptr<Drive>> Store::drives() const noexcept { return impl_->drives; }

// --- representations ---

Store::LookUp Store::look_up(const KeyHash& key, std::string_view key_text) noexcept {
  auto found = impl_->representations.look_up(key, key_text, impl_->now_seconds());
  switch (found.known) {
    case Representations::Known::Yes:
      return {Known::Yes, std::move(found.selected)};
    case Representations::Known::OnDrive:
      return {Known::OnDrive, {}};
    case Representations::Known::No:
      break;
  }
  return {};
}

std::optional<ContactPermit> Store::try_start_contact(const KeyHash& key) noexcept {
  ContactPermit permit;
  const bool started = impl_->representations.try_start_contact(
      key, [this] { return next_sequence(); }, permit.sequence_);
  if (!started) return std::nullopt;
  permit.store_ = this;
  permit.key_ = key;
  return permit;
}

bool Store::start_wait_contact(const KeyHash& key, WaitTicket& ticket) noexcept {
  return impl_->representations.start_wait_contact(key, ticket);
}

bool Store::is_awaited(const KeyHash& key) noexcept {
  return impl_->representations.is_awaited(key);
}

bool Store::commit(ContactPermit permit, Install install) noexcept {
  SEGUE_ASSERT(permit.store_ == this);
  permit.store_ = nullptr;
  return impl_->representations.commit(permit.key_, permit.sequence_, std::move(install.selected),
                                       std::move(install.tag_hashes), install.ram_only,
                                       drive_of(permit.key_, impl_->drives), impl_->now_seconds());
}

bool Store::freshen(ContactPermit permit, const Ref<Generation>& generation,
                    Ref<const StoredFacts> facts) noexcept {
  SEGUE_ASSERT(permit.store_ == this);
  permit.store_ = nullptr;
  const bool fresh =
      impl_->representations.freshen(permit.key_, permit.sequence_, generation, std::move(facts));
  if (LocalStore* door = impl_->local(); fresh && door != nullptr) {
    door->impl_->start_rewrite_record(generation);
  }
  return fresh;
}

void Store::detach(const Ref<Generation>& generation) noexcept {
  impl_->representations.detach(generation);
}

// --- slices ---

Found Store::find(const Generation& generation, SliceIndex slice, UseId use) noexcept {
  const auto found = impl_->ram.find(generation.slice_key(slice), use);
  if (found.buffer != nullptr) {
    if (LocalStore* door = impl_->local(); found.resident && door != nullptr) {
      door->impl_->counters.ram_hits.add();
    }
    return {found.resident ? Where::Resident : Where::Filling, PinnedBuffer(found.buffer)};
  }
  const bool readable = !found.hung && impl_->on_drive(generation, slice);
  return {readable ? Where::OnDrive : Where::Absent, {}};
}

Where Store::where(const Generation& generation, SliceIndex slice) const noexcept {
  switch (impl_->ram.peek(generation.slice_key(slice))) {
    case RamTier::Peek::Filling:
      return Where::Filling;
    case RamTier::Peek::Resident:
      return Where::Resident;
    case RamTier::Peek::Hung:
      return Where::Absent;
    case RamTier::Peek::Absent:
      break;
  }
  return impl_->on_drive(generation, slice) ? Where::OnDrive : Where::Absent;
}

Result<BufferReservation> Store::try_reserve(uint32_t wanted, Priority priority) noexcept {
  BufferReservation reservation;
  reservation.count_ = impl_->ram.try_reserve(wanted, priority, reservation.first_);
  if (reservation.count_ == 0) {
    return fail_retryable(Side::Self, Kind::Overloaded, "no free buffer");
  }
  reservation.store_ = this;
  return reservation;
}

bool Store::start_wait_buffer(Priority priority, WaitTicket& ticket) noexcept {
  return impl_->ram.start_wait_buffer(priority, ticket);
}

FillPermit Store::try_start_fill(const Ref<Generation>& generation, SliceIndex slice,
                                 BufferReservation& reservation, Priority priority) noexcept {
  FillPermit permit;
  if (reservation.count_ == 0) return permit;
  SEGUE_ASSERT(reservation.store_ == this);
  if (where(*generation, slice) != Where::Absent) return permit;
  Buffer* reserved = reservation.first_;
  Buffer* rest = reserved->next;
  Buffer* claimed =
      impl_->ram.try_claim(generation, slice, reserved, RamTier::Source::Origin, {}, priority);
  if (claimed == nullptr) return permit;
  reservation.first_ = rest;
  --reservation.count_;
  permit.store_ = this;
  permit.buffer_ = claimed;
  return permit;
}

void Store::set_probation_share(uint8_t share) noexcept {
  SEGUE_ASSERT(share <= kRamShareMax);
  impl_->ram.set_probation_share(share);
}

bool Store::drop_unasked(const Generation& generation, SliceIndex slice) noexcept {
  return impl_->ram.drop_unasked(generation.slice_key(slice));
}

bool Store::start_wait_slice(const SliceKey& key, uint32_t beyond, WaitTicket& ticket) noexcept {
  return impl_->ram.start_wait_slice(key, beyond, ticket);
}

// --- purge ---

bool Store::apply(const PurgeStatement& statement, bool cut) noexcept {
  if (statement.scope == PurgeScope::Key) {
    impl_->purges.note_key(statement.sequence);
    impl_->representations.purge_key(statement.key, statement, cut);
    return true;
  }
  impl_->sweeps_running.fetch_add(1, std::memory_order_acq_rel);
  const bool added = impl_->purges.try_add(statement);
  Representations::Sweep at;
  while (added && impl_->representations.sweep(at, cut)) {
  }
  impl_->sweeps_running.fetch_sub(1, std::memory_order_acq_rel);
  return added;
}

// --- state ---

uint32_t Store::demand_waiting() const noexcept { return impl_->ram.demand_waiting(); }

Store::BufferPressure Store::buffer_pressure() const noexcept {
  const BufferPool& pool = impl_->ram.pool();
  return {.busy = pool.busy(),
          .waiting = impl_->ram.demand_waiting(),
          .total = pool.total(SizeClass::K256)};
}

Store::Usage Store::usage() const {
  const BufferPool& pool = impl_->ram.pool();
  Usage usage;
  for (uint32_t i = 0; i < kSizeClasses; ++i) {
    usage.buffers[i] = pool.total(static_cast<SizeClass>(i));
    usage.free[i] = pool.free_count(static_cast<SizeClass>(i));
  }
  usage.reserved = pool.in_state(BufferState::Reserved);
  usage.filling = pool.in_state(BufferState::Filling);
  usage.resident = pool.in_state(BufferState::Resident);
  usage.writing = pool.in_state(BufferState::Writing);
  usage.draining = pool.in_state(BufferState::Draining) + pool.in_state(BufferState::Quarantined);
  usage.pinned = pool.pinned();
  const RamTier::Counts counts = impl_->ram.counts();
  usage.payload_bytes = counts.payload_bytes;
  usage.buffer_waiters = counts.buffer_waiters;
  usage.evictions = counts.evictions;
  usage.refetched = counts.refetched;
  usage.probation_bytes = counts.probation_bytes;
  usage.probation_evictions = counts.probation_evictions;
  usage.kept_heads = counts.kept_heads;
  usage.kept_head_bytes = counts.kept_head_bytes;
  usage.kept_head_hits = counts.kept_head_hits;
  usage.representations = impl_->representations.count();
  usage.representation_bytes = impl_->representations.bytes();
  usage.contacts = impl_->representations.contacts();
  usage.ram_bytes_mapped = pool.ram_bytes();
  usage.huge_pages = pool.memory().huge();
  usage.hugetlb = pool.memory().hugetlb();
  return usage;
}

void Store::check_invariants(bool idle) const {
  impl_->ram.check_invariants(idle);
  impl_->representations.check_invariants(idle);
}

}  // namespace segue::cache
