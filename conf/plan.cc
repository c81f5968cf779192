#include "conf/plan.h"

#include <fcntl.h>
#include <fmt/format.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <thread>

#include "base/limits.h"
#include "base/listen_limits.h"
#include "conf/parse_units.h"

namespace segue::conf {
namespace {

// Placeholders of the first plan until the figures of a loaded node replace them; each is generous.
constexpr uint64_t kProcessBytes = 48 * MiB;
constexpr uint64_t kLoopBytes = 12 * MiB;
// A mix: an idle client costs 0.5 KiB (bench idle), one that reads slowly 21 KiB (bench stalled).
constexpr uint64_t kConnectionBytes = 16 * KiB;
// ARCHITECTURE.md, the cache engine: at most 40 bytes a slot, 8 a ghost (one for each slot), 96 a
// representation.
constexpr uint64_t kIndexBytesPerSlot = 40 + 8;
constexpr uint64_t kIndexBytesPerRecord = 96;
constexpr uint64_t kRepresentationsBytesMin = 8 * MiB;
constexpr uint64_t kRepresentationsBytesMax = GiB;
// The least RAM tier that still lets several fills of the longest run go on beside reads.
constexpr uint64_t kBuffersBytesMin = 8 * uint64_t{kFillRunBytesMax};
constexpr uint64_t kLargeBuffersBytesMin =
    8 * MiB;  // in buffers of 256 KiB, where every fill lands
constexpr std::array<uint64_t, 3> kSlotPayloads{64 * KiB, 128 * KiB, 256 * KiB};
constexpr uint64_t kTableEntryBytes = 64 + 4;  // slot table and access order

/// Bytes on the drive for one slot of the class and its part of the record area: a record each for
/// the small classes, one for four slots of the large one.
constexpr uint64_t slot_cost(size_t size_class) {
  const uint64_t record = size_class == 2 ? kRecordBytes / 4 : kRecordBytes;
  return kSlotPayloads[size_class] + kSlotHeaderBytes + kTableEntryBytes + record;
}

/// Of the predictor: its rows, a copy of them while they are saved, and the names it knows.
uint64_t learning_bytes(const PrefetchSettings& prefetch) {
  constexpr uint64_t kKnownNamesBytes = 12 * MiB;
  const bool learns = prefetch.mode != PrefetchMode::Off && prefetch.predictor != PrefetchMode::Off;
  return learns ? 2 * prefetch.predictor_memory + kKnownNamesBytes : 0;
}

/// Of the subjects followed: messages in flight, and libnats's own buffers.
uint64_t nats_bytes(const NatsSettings& nats) {
  const uint64_t subjects = nats.servers.empty() ? 0 : nats.purge_subject.empty() ? 1 : 2;
  return subjects * (kNatsBytesInFlightMax + 1 * MiB);
}

DrivePlan plan_drive(const DriveSettings& drive, uint64_t size_bytes) {
  DrivePlan plan{.path = drive.path, .size_bytes = size_bytes};
  const std::array<uint64_t, 3> shares{drive.shares.k64, drive.shares.k128, drive.shares.k256};
  std::array<uint64_t, 3> slots{};
  for (size_t i = 0; i < slots.size(); ++i) {
    slots[i] = size_bytes / 100 * shares[i] / slot_cost(i);
  }
  plan.slots_64k = slots[0];
  plan.slots_128k = slots[1];
  plan.slots_256k = slots[2];
  plan.records = slots[0] + slots[1] + slots[2] / 4;
  return plan;
}

/// Size of a block device, 0 for anything else and where it cannot be read.
uint64_t device_bytes(const std::string& path) {
  struct stat facts{};
  if (stat(path.c_str(), &facts) != 0 || !S_ISBLK(facts.st_mode)) return 0;
  const int fd = open(path.c_str(), O_RDONLY | O_CLOEXEC);
  if (fd < 0) return 0;
  const off_t end = lseek(fd, 0, SEEK_END);
  close(fd);
  return end > 0 ? static_cast<uint64_t>(end) : 0;
}

}  // namespace

Machine look_at_machine(const Settings& settings) {
  Machine machine;
  machine.cores = std::max(1U, std::thread::hardware_concurrency());
  for (const DriveSettings& drive : settings.cache.drives) {
    uint64_t bytes = drive.size_bytes;
    if (bytes == 0) bytes = device_bytes(drive.path);
    machine.drive_bytes.push_back(bytes != 0 ? bytes : settings.cache.size_bytes);
  }
  std::array<char, 256> name{};
  if (gethostname(name.data(), name.size() - 1) == 0) machine.host_name = name.data();
  return machine;
}

Plan make_plan(const Settings& settings, const Machine& machine) {
  Plan plan;
  plan.threads = settings.node.threads != 0 ? settings.node.threads : machine.cores;
  plan.threads = std::min(plan.threads, kLoopsMax);
  plan.ram_bytes = settings.node.ram_bytes;
  plan.process_bytes = kProcessBytes + learning_bytes(settings.prefetch) +
                       nats_bytes(settings.prefetch.nats) +
                       (settings.listens.count ? kListenBytesMax : 0);
  plan.loops_bytes = kLoopBytes * plan.threads;
  for (size_t i = 0; i < settings.cache.drives.size(); ++i) {
    const uint64_t bytes = i < machine.drive_bytes.size() ? machine.drive_bytes[i] : 0;
    const DrivePlan drive = plan_drive(settings.cache.drives[i], bytes);
    plan.index_bytes += drive.slots() * kIndexBytesPerSlot + drive.records * kIndexBytesPerRecord;
    plan.drives.push_back(drive);
  }
  const uint64_t fixed = plan.process_bytes + plan.loops_bytes + plan.index_bytes;
  // An eighth for connections, a sixteenth for header fields, the rest is the RAM tier.
  const uint64_t divided = plan.ram_bytes > fixed ? plan.ram_bytes - fixed : 0;
  plan.connections_bytes = divided / 8;
  plan.representations_bytes =
      std::clamp(divided / 16, kRepresentationsBytesMin, kRepresentationsBytesMax);
  plan.connections = std::min(plan.connections_bytes / kConnectionBytes,
                              uint64_t{kConnectionsPerLoopMax} * plan.threads);
  plan.connections_bytes = plan.connections * kConnectionBytes;
  const uint64_t others = plan.connections_bytes + plan.representations_bytes;
  plan.buffers_bytes = divided > others ? divided - others : 0;
  const uint64_t large = std::max<uint64_t>(settings.cache.ram_shares.k256, 1);  // 0 is a mistake
  const uint64_t tier = std::max(kBuffersBytesMin, kLargeBuffersBytesMin * 100 / large);
  // Solved for the smallest `divided`: an eighth goes, kRepresentationsBytesMin goes, the tier
  // stays.
  plan.needed_bytes = round_up(fixed + (tier + kRepresentationsBytesMin) * 8 / 7, MiB);
  return plan;
}

std::string print_plan(const Plan& plan) {
  std::string text =
      fmt::format("memory: {} in all, {} needed, {} thread{}\n", format_size(plan.ram_bytes),
                  format_size(plan.needed_bytes), plan.threads, plan.threads == 1 ? "" : "s");
  const auto row = [&](std::string_view what, uint64_t bytes, std::string_view why) {
    text += fmt::format("  {:<16}{:>12}  {}\n", what, format_size(bytes), why);
  };
  row("RAM tier", plan.buffers_bytes, "buffers of 16, 64, 128 and 256 KiB");
  row("connections", plan.connections_bytes,
      fmt::format("{} clients with their coroutine frames", plan.connections));
  row("header fields", plan.representations_bytes, "of representations in use");
  row("drive index", plan.index_bytes, "slots, ghosts, known representations");
  row("loops", plan.loops_bytes, "stacks, rings, origin connections");
  row("process", plan.process_bytes, "program, libraries, what the predictor learns, listening");
  if (plan.drives.empty()) return text + "drives: none, the RAM tier alone\n";
  text += "drives:\n";
  for (const DrivePlan& drive : plan.drives) {
    text += fmt::format(
        "  {}: {}, about {} slots of 256 KiB, {} of 128 KiB, {} of 64 KiB, {} records\n",
        drive.path, format_size(drive.size_bytes), drive.slots_256k, drive.slots_128k,
        drive.slots_64k, drive.records);
  }
  return text;
}

}  // namespace segue::conf
