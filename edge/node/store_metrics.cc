#include "edge/node/store_metrics.h"

#include "cache/drive.h"

namespace segue::edge {
namespace {

using Founds = std::vector<Registry::Found>;

constexpr const char* kClassNames[cache::kSizeClasses] = {"16KiB", "64KiB", "128KiB", "256KiB"};

void add(Founds& out, std::string_view name, std::string_view help, uint64_t value,
         Labels labels = {}) {
  out.push_back(
      {name, help, name.ends_with("_total"), std::move(labels), static_cast<double>(value)});
}

void ask_store(const void* context, Founds& out) {
  const cache::Store::Usage usage = static_cast<const cache::Store*>(context)->usage();
  for (uint32_t i = 0; i < cache::kSizeClasses; ++i) {
    const Labels labels{{"class", kClassNames[i]}};
    add(out, "segue_buffers", "Buffers of the RAM tier, by size.", usage.buffers[i], labels);
    add(out, "segue_buffers_used", "Buffers that are not free, by size.",
        usage.buffers[i] - usage.free[i], labels);
  }
  add(out, "segue_buffers_filling", "Buffers being filled.", usage.filling);
  add(out, "segue_buffers_resident", "Buffers that hold a slice.", usage.resident);
  add(out, "segue_buffers_writing", "Buffers being written to a drive.", usage.writing);
  add(out, "segue_buffers_pinned", "Buffers pinned now.", usage.pinned);
  add(out, "segue_ram_payload_bytes", "Payload held in RAM.", usage.payload_bytes);
  add(out, "segue_ram_mapped_bytes", "RAM tier mapped so far.", usage.ram_bytes_mapped);
  add(out, "segue_representations", "Representations known.", usage.representations);
  add(out, "segue_representation_bytes", "Memory of stored header fields.",
      usage.representation_bytes);
  add(out, "segue_buffer_waiters", "Requests queued for a buffer.", usage.buffer_waiters);
  add(out, "segue_ram_evictions_total", "Slices evicted from RAM.", usage.evictions);
  add(out, "segue_prefetch_heads_kept",
      "Beginnings of popular tracks that stay in RAM though they would have had to leave.",
      usage.kept_heads);
  add(out, "segue_prefetch_heads_kept_bytes", "Payload of the beginnings that stay.",
      usage.kept_head_bytes);
  add(out, "segue_prefetch_heads_kept_hits_total",
      "Plays that found a beginning in RAM because it stayed.", usage.kept_head_hits);
  add(out, "segue_refetched_total", "Slices fetched again because neither tier could keep them.",
      usage.refetched);
}

void ask_drive(const cache::Drive& drive, const Labels& labels, Founds& out) {
  const cache::Drive::Usage usage = drive.usage();
  const cache::DriveCounters& counters = drive.counters();
  const auto count = [&](std::string_view name, std::string_view help, const auto& counter) {
    add(out, name, help, counter.load(std::memory_order_relaxed), labels);
  };
  add(out, "segue_drive_online", "1 while the drive is in use.", drive.offline() ? 0 : 1, labels);
  count("segue_drive_returns_total", "Times the drive was taken back after it had been offline.",
        counters.returns);
  for (uint32_t i = static_cast<uint8_t>(cache::SizeClass::K64); i < cache::kSizeClasses; ++i) {
    Labels with_class = labels;
    with_class.emplace_back("class", kClassNames[i]);
    add(out, "segue_drive_slots", "Slots of the drive, by size.", usage.slots[i], with_class);
    add(out, "segue_drive_slots_live", "Slots that hold a slice, by size.", usage.live[i],
        with_class);
  }
  add(out, "segue_drive_payload_bytes", "Payload on the drive.", usage.payload_bytes, labels);
  add(out, "segue_drive_index_bytes", "Memory of the drive's index.", usage.index_bytes, labels);
  add(out, "segue_drive_records_live", "Records in use.", usage.records_live, labels);
  count("segue_drive_reads_total", "Slot reads.", counters.reads);
  count("segue_drive_read_bytes_total", "Bytes read.", counters.read_bytes);
  count("segue_drive_writes_total", "Slot writes.", counters.writes);
  count("segue_drive_written_bytes_total", "Bytes written.", counters.written_bytes);
  count("segue_drive_checksum_failures_total", "Stored bytes that were not the bytes written.",
        counters.checksum_failures);
  count("segue_drive_io_errors_total", "Operations the drive refused.", counters.io_errors);
  count("segue_drive_evictions_total", "Slices evicted from the drive.", counters.evictions);
  count("segue_drive_table_flushes_total", "Flushes of the slot table.", counters.table_flushes);
  count("segue_drive_journal_flushes_total", "Flushes of the purge journal.",
        counters.journal_flushes);
}

void ask_drives(const void* context, Founds& out) {
  const auto drives = static_cast<const cache::Store*>(context)->drives();
  for (size_t i = 0; i < drives.size(); ++i)
    ask_drive(*drives[i], {{"drive", std::to_string(i)}}, out);
}

}  // namespace

void register_store_metrics(Registry& registry, const cache::Store& store) {
  registry.add_found(&ask_store, &store);
  registry.add_found(&ask_drives, &store);
}

}  // namespace segue::edge
