// Slots and records: what waits for the drive on behalf of a request.
#include <utility>

#include "base/assert.h"
#include "base/units.h"
#include "cache/drive_impl.h"

namespace segue::cache {

Task<Result<uint32_t>> Drive::read_slot(Disk& disk, SlotRead slot, std::span<std::byte> payload) {
  const SlotRead held = std::move(slot);  // R3: given back when this ends, not when the frame goes
  Impl& impl = *impl_;
  const InFlight working(impl.under_way);
  if (impl.is_offline()) co_return fail(Side::Disk, Kind::Closed, "drive offline");
  const auto padded = static_cast<uint32_t>(round_up(held.length_, kDiskAlignBytes));
  SEGUE_ASSERT(payload.size() >= padded);
  const PagePool::Page header = impl.pages.take();
  const InFlight reading(impl.reads_in_flight);
  const auto read = co_await disk.read(impl.geometry.slot_offset(held.slot_), header.bytes(),
                                       payload.first(padded));
  if (!read) co_return fail(impl.read_failed(held.slot_, read.error()));
  impl.counters.reads.fetch_add(1, std::memory_order_relaxed);
  impl.counters.read_bytes.fetch_add(kSlotHeaderBytes + padded, std::memory_order_relaxed);
  const SlotExpectation expected{
      .device_id = impl.device_id, .slot = held.slot_, .key = held.key_, .length = held.length_};
  const SlotFault fault = verify_slot(expected, header.bytes(), payload.first(padded));
  if (fault != SlotFault::None) co_return fail(impl.slot_is_bad(held.slot_, fault));
  const Impl::Place place = impl.place_of(held.slot_);
  place.shard.set_verified(place.local);
  co_return held.length_;
}

Task<Result<Done>> Drive::write_slot(Disk& disk, SlotWrite slot,
                                     std::span<const std::byte> payload) {
  SlotWrite taken = std::move(slot);
  Impl& impl = *impl_;
  const InFlight working(impl.under_way);
  const auto padded = static_cast<uint32_t>(round_up(taken.length_, kDiskAlignBytes));
  SEGUE_ASSERT(payload.size() >= padded);
  if (impl.is_offline()) co_return fail(Side::Disk, Kind::Closed, "drive offline");
  const PagePool::Page header = impl.pages.take();
  encode_slot_header({.device_id = impl.device_id,
                      .slot = taken.slot_,
                      .key = taken.key_,
                      .length = taken.length_},
                     payload.first(padded), header.bytes());
  const auto written = co_await disk.write(impl.geometry.slot_offset(taken.slot_), header.bytes(),
                                           payload.first(padded));
  if (!written && written.error().side != Side::Disk) co_return fail(written.error());
  // From here on the outcome is said to the shard, not left to the destructor.
  taken.drive_ = nullptr;
  impl.writes_in_flight.fetch_sub(1, std::memory_order_relaxed);
  const Impl::Place place = impl.place_of(taken.slot_);
  if (!written) {
    place.shard.failed(place.local);
    impl.records.unname(taken.record_);
    impl.counters.io_errors.fetch_add(1, std::memory_order_relaxed);
    impl.counters.bad_slots.fetch_add(1, std::memory_order_relaxed);
    impl.count_error("write errors");
    co_return fail(written.error());
  }
  impl.counters.writes.fetch_add(1, std::memory_order_relaxed);
  impl.counters.written_bytes.fetch_add(kSlotHeaderBytes + padded, std::memory_order_relaxed);
  const SlotEntry entry{.key = taken.key_, .record = taken.record_, .length = taken.length_};
  if (!place.shard.written(place.local, entry, impl.now_seconds())) {
    impl.records.unname(taken.record_);
    co_return fail(Side::Self, Kind::Purged, "generation forgotten while it was written");
  }
  co_return Done{};
}

Task<Result<RecordFacts>> Drive::read_record(Disk& disk, RecordNumber record, KeyHash key) {
  Impl& impl = *impl_;
  const InFlight working(impl.under_way);
  if (impl.is_offline()) co_return fail(Side::Disk, Kind::Closed, "drive offline");
  if (!impl.records.readable(record, key)) {
    co_return fail(Side::Disk, Kind::NotFound, "record is another key's");
  }
  const PagePool::Page page = impl.pages.take();
  const InFlight reading(impl.reads_in_flight);
  const auto read = co_await disk.read(impl.geometry.record_offset(record), page.bytes(), {});
  if (!read) {
    if (read.error().side == Side::Disk) {
      impl.counters.io_errors.fetch_add(1, std::memory_order_relaxed);
      impl.count_error("read errors");
    }
    co_return fail(read.error());
  }
  impl.counters.records_read.fetch_add(1, std::memory_order_relaxed);
  auto facts = decode_record(page.bytes(), impl.device_id, record);
  if (!facts) {
    if (facts.error().kind != Kind::NotFound) {
      impl.counters.checksum_failures.fetch_add(1, std::memory_order_relaxed);
    }
    co_return fail(facts.error());
  }
  if (facts->key != key) co_return fail(Side::Disk, Kind::NotFound, "record of another key");
  if (hash_key(facts->key_text, impl.hash_seed) != key) {
    co_return fail(Side::Disk, Kind::Malformed, "record's text is not its key's");
  }
  co_return std::move(*facts);
}

Task<Result<RecordNumber>> Drive::write_record(Disk& disk, RecordNumber record,
                                               const RecordFacts& facts) {
  Impl& impl = *impl_;
  const InFlight working(impl.under_way);
  if (!fits_record(facts)) co_return fail(Side::Self, Kind::Unsupported, "facts beyond a record");
  if (impl.is_offline()) co_return fail(Side::Disk, Kind::Closed, "drive offline");
  const PagePool::Page page = impl.pages.take();
  // Two rewrites of one record go one after the other; those of different records seldom meet.
  std::optional<Turnstile::Turn> turn;
  if (record != kNoRecord) {
    turn.emplace(co_await impl.record_turns[record.value % impl.record_turns.size()].enter());
  }
  const auto claimed = impl.claim_record(record, facts.key);
  if (!claimed) co_return fail_retryable(Side::Disk, Kind::Full, "records");
  encode_record(facts, impl.device_id, *claimed, page.bytes());
  const auto written = co_await disk.write(impl.geometry.record_offset(*claimed), page.bytes(), {});
  impl.records.finish(*claimed, written.has_value());
  if (!written) {
    if (written.error().side == Side::Disk) {
      impl.counters.io_errors.fetch_add(1, std::memory_order_relaxed);
      impl.count_error("write errors");
    }
    co_return fail(written.error());
  }
  impl.counters.records_written.fetch_add(1, std::memory_order_relaxed);
  co_return *claimed;
}

}  // namespace segue::cache
