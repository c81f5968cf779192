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
#include "conf/client_memory.h"
#include "conf/parse_units.h"

namespace segue::conf {
namespace {

// Measured when idle: 14 MiB of the process resident, half of it the program itself; the rest is
// for the allocator, the metrics and TLS certificates.
constexpr uint64_t kProcessBytes = 32 * MiB;
constexpr uint64_t kLoopBytes = 12 * MiB;  // 256 fetches of an origin at once take most of it
constexpr uint64_t kAccessQueueBytes = kAccessLogRecordsPerLoopMax * 5 * KiB / 4;  // of one loop
constexpr uint64_t kLimitsBytes = 2 * MiB;  // of one loop: kClientsLimitedMax places
// What one answer holds on its way; how many at once: plan_streaming().
constexpr uint64_t kCollectionBytes = 4 * MiB;
constexpr uint64_t kRelayBytes = kRelayBodyBytesMax + kPassBufferBytes;
constexpr uint32_t kStreamedPerLoopMin = 16;  // passes, relays
constexpr uint64_t kClientsPerLoopMin = 16;   // unless their number is given
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

/// What a feed may fill, and the predictor's: its rows, a copy of them while they are saved, and
/// the names it knows.
uint64_t prefetch_bytes(const PrefetchSettings& prefetch) {
  constexpr uint64_t kKnownNamesBytes = 12 * MiB;
  if (prefetch.mode == PrefetchMode::Off) return 0;
  const bool learns = prefetch.predictor != PrefetchMode::Off;
  return prefetch.memory + (learns ? 2 * prefetch.predictor_memory + kKnownNamesBytes : 0);
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

ClientKind kind_of(const Settings& settings, uint32_t threads) {
  const bool tls = std::ranges::any_of(settings.listen, &ListenSettings::tls);
  return {.threads = threads, .tls = tls, .http2 = tls && settings.tls.http2};
}

uint64_t plan_logs(const Settings& settings, uint32_t threads) {
  uint64_t bytes = 0;
  if (settings.log.access != "off" || settings.listens.count) bytes += kAccessQueueBytes * threads;
  if (settings.listens.count) bytes += kListenBytesMax;
  const LimitSettings& limits = settings.limits;
  if (limits.connections + limits.requests_per_second + limits.miss_bytes_per_second != 0)
    bytes += kLimitsBytes * threads;
  return bytes;
}

/// What is on its way and not stored: at least a little of each, more of each by a 32nd of the
/// memory that is not needed.
void plan_streaming(const Settings& settings, uint64_t spare_bytes, Plan& plan) {
  const uint64_t share = spare_bytes / 32 / plan.threads;
  const auto at_once = [&](uint64_t each, uint32_t least, uint32_t most) {
    return static_cast<uint32_t>(std::min<uint64_t>(least + share / each, most));
  };
  const bool relays = std::ranges::any_of(
      settings.sites, [](const SiteSettings& site) { return !site.methods.empty(); });
  plan.passes_per_loop = at_once(kPassBufferBytes, kStreamedPerLoopMin, kPassesPerLoopMax);
  plan.relays_per_loop = at_once(kRelayBytes, kStreamedPerLoopMin, kRelaysPerLoopMax);
  plan.collections_per_loop = at_once(kCollectionBytes, 1, kCollectionsPerLoopMax);
  const uint64_t of_loop = plan.passes_per_loop * uint64_t{kPassBufferBytes} +
                           plan.collections_per_loop * kCollectionBytes +
                           (relays ? plan.relays_per_loop * kRelayBytes : 0);
  plan.streaming_bytes = of_loop * plan.threads;
}

/// What does not depend on how much memory there is.
uint64_t plan_fixed(const Settings& settings, const Machine& machine, ClientKind kind, Plan& plan) {
  plan.process_bytes = kProcessBytes + nats_bytes(settings.prefetch.nats);
  plan.prefetch_bytes = prefetch_bytes(settings.prefetch);
  plan.logs_bytes = plan_logs(settings, plan.threads);
  plan.loops_bytes = (kLoopBytes + loop_bytes(kind)) * plan.threads;
  for (size_t i = 0; i < settings.cache.drives.size(); ++i) {
    const uint64_t bytes = i < machine.drive_bytes.size() ? machine.drive_bytes[i] : 0;
    const DrivePlan drive = plan_drive(settings.cache.drives[i], bytes);
    plan.index_bytes += drive.slots() * kIndexBytesPerSlot + drive.records * kIndexBytesPerRecord;
    plan.drives.push_back(drive);
  }
  if (settings.node.connections != 0) {
    plan.connections = std::min<uint64_t>(settings.node.connections,
                                          uint64_t{kConnectionsPerLoopMax} * plan.threads);
    plan.connections_bytes = client_bytes(plan.connections, kind);
  }
  return plan.process_bytes + plan.prefetch_bytes + plan.logs_bytes + plan.loops_bytes +
         plan.index_bytes + plan.connections_bytes;
}

/// The least RAM tier that works.
uint64_t least_tier(const ShareSettings& shares) {
  const uint64_t large = std::max<uint64_t>(shares.k256, 1);  // 0 is a mistake
  return std::max(kBuffersBytesMin, kLargeBuffersBytesMin * 100 / large);
}

// What is left of the memory, the rest, is divided in three.

/// A sixteenth of it.
uint64_t header_fields_of(uint64_t rest) noexcept {
  return std::clamp(rest / 16, kRepresentationsBytesMin, kRepresentationsBytesMax);
}

/// An eighth of it, or a quarter where each client may hold a sealed batch: enough for some in any
/// case. Nothing where their number is given, and with it what they need.
uint64_t clients_of(uint64_t rest, const Settings& settings, ClientKind kind) noexcept {
  if (settings.node.connections != 0) return 0;
  const uint64_t some = client_bytes(kClientsPerLoopMin * kind.threads, kind);
  return std::min(rest, std::max(rest / (kind.tls ? 4 : 8), some));
}

/// The smallest rest that leaves a RAM tier that works, to the mebibyte.
uint64_t least_rest(const Settings& settings, ClientKind kind) noexcept {
  const uint64_t tier = least_tier(settings.cache.ram_shares);
  uint64_t rest = tier + kRepresentationsBytesMin;
  while (rest < tier + header_fields_of(rest) + clients_of(rest, settings, kind)) rest += MiB;
  return rest;
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
  const ClientKind kind = kind_of(settings, plan.threads);
  uint64_t fixed = plan_fixed(settings, machine, kind, plan);
  plan_streaming(settings, 0, plan);
  plan.needed_bytes = round_up(fixed + plan.streaming_bytes + least_rest(settings, kind), MiB);
  const uint64_t needed = plan.needed_bytes;
  plan_streaming(settings, plan.ram_bytes > needed ? plan.ram_bytes - needed : 0, plan);
  fixed += plan.streaming_bytes;
  const uint64_t rest = plan.ram_bytes > fixed ? plan.ram_bytes - fixed : 0;
  plan.representations_bytes = header_fields_of(rest);
  uint64_t others = plan.representations_bytes;
  if (settings.node.connections == 0) {
    plan.connections = std::min(clients_within(clients_of(rest, settings, kind), kind),
                                uint64_t{kConnectionsPerLoopMax} * plan.threads);
    plan.connections_bytes = client_bytes(plan.connections, kind);
    others += plan.connections_bytes;
  }
  plan.frames_bytes_per_loop = frame_pool_bytes(plan.connections);
  plan.sealed_batches_per_loop =
      static_cast<uint32_t>(sealed_batches_per_loop(plan.connections, plan.threads));
  plan.buffers_bytes = rest > others ? rest - others : 0;
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
      fmt::format("{} clients that stall, with frames, fills, sealed records, HTTP/2",
                  plan.connections));
  row("streaming", plan.streaming_bytes,
      fmt::format("of each loop {} passes, {} relays, {} collected", plan.passes_per_loop,
                  plan.relays_per_loop, plan.collections_per_loop));
  row("header fields", plan.representations_bytes, "of representations in use");
  row("drive index", plan.index_bytes, "slots, ghosts, known representations");
  row("loops", plan.loops_bytes, "stacks, rings, origin connections, sealed records in reserve");
  row("logs", plan.logs_bytes, "access log's queues, listens, clients with limits");
  row("prefetch", plan.prefetch_bytes, "what feeds name, what the predictor learns");
  row("process", plan.process_bytes, "program, libraries, certificates");
  text += fmt::format(
      "  coroutine frames: of one loop at most {}, of all of them usually within connections\n",
      format_size(plan.frames_bytes_per_loop));
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
