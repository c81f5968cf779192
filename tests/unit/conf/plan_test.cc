// The memory plan: its parts add up, its needed figure is the border, drives are counted.
#include "conf/plan.h"

#include <gtest/gtest.h>

#include "base/limits.h"

namespace segue::conf {
namespace {

Settings settings_with(uint64_t ram_bytes, size_t drives = 0) {
  Settings settings;
  settings.node.ram_bytes = ram_bytes;
  settings.node.threads = 2;
  for (size_t i = 0; i < drives; ++i) {
    settings.cache.drives.emplace_back().path = "/drive" + std::to_string(i);
  }
  return settings;
}

uint64_t sum(const Plan& plan) {
  return plan.process_bytes + plan.prefetch_bytes + plan.logs_bytes + plan.loops_bytes +
         plan.streaming_bytes + plan.connections_bytes + plan.index_bytes +
         plan.representations_bytes + plan.buffers_bytes;
}

TEST(Plan, PartsAddUpToTheBudget) {
  for (const uint64_t ram_bytes : {256 * MiB, GiB, 24 * GiB, 512 * GiB}) {
    const Plan plan = make_plan(settings_with(ram_bytes, 1), {1, {10 * GiB}, ""});
    EXPECT_EQ(sum(plan), ram_bytes);
    EXPECT_GT(plan.buffers_bytes, ram_bytes / 4);
  }
}

TEST(Plan, TheNeededFigureLeavesAWorkingRamTierAndALittleLessDoesNot) {
  const Machine machine{1, {100 * GiB}, ""};
  const uint64_t needed = make_plan(settings_with(GiB, 1), machine).needed_bytes;
  const Plan enough = make_plan(settings_with(needed, 1), machine);
  EXPECT_EQ(enough.needed_bytes, needed);
  EXPECT_GE(enough.buffers_bytes, 8 * uint64_t{kFillRunBytesMax});
  const Plan less = make_plan(settings_with(needed - 4 * MiB, 1), machine);
  EXPECT_LT(less.buffers_bytes, 8 * uint64_t{kFillRunBytesMax});
}

TEST(Plan, FiveThousandStalledClientsFitBesideARamTierOf256MiBAndAlsoIn256MiBInAll) {
  Settings settings = settings_with(256 * MiB);
  settings.node.threads = 1;
  EXPECT_LT(make_plan(settings, {1, {}, ""}).connections, 2000U);  // an eighth of the memory
  settings.node.connections = 5000;
  const Plan small = make_plan(settings, {1, {}, ""});
  EXPECT_EQ(small.connections, 5000U);
  EXPECT_LE(small.needed_bytes, small.ram_bytes);
  EXPECT_EQ(sum(small), small.ram_bytes);
  EXPECT_GE(small.connections_bytes, 5000 * 21 * KiB);  // measured by bench stalled
  settings.node.ram_bytes = 480 * MiB;
  const Plan roomy = make_plan(settings, {1, {}, ""});
  EXPECT_EQ(roomy.connections, 5000U);
  EXPECT_GE(roomy.buffers_bytes, 256 * MiB);
}

TEST(Plan, ClientsThatAreAskedForRaiseTheNeededFigureAndOneByteLessOfThemDoesNotFit) {
  Settings settings = settings_with(GiB);
  const uint64_t without = make_plan(settings, {1, {}, ""}).needed_bytes;
  settings.node.connections = 20'000;
  const uint64_t needed = make_plan(settings, {1, {}, ""}).needed_bytes;
  EXPECT_GT(needed, without + 20'000 * 21 * KiB);
  settings.node.ram_bytes = needed;
  EXPECT_GE(make_plan(settings, {1, {}, ""}).buffers_bytes, 8 * uint64_t{kFillRunBytesMax});
  settings.node.ram_bytes = needed - 2 * MiB;
  EXPECT_LT(make_plan(settings, {1, {}, ""}).buffers_bytes, 8 * uint64_t{kFillRunBytesMax});
}

TEST(Plan, WhereTheNeededFigureIsThereEveryLoopHasClientsBesideARamTierThatWorks) {
  const auto plan_of = [](uint64_t ram_bytes, uint32_t threads, bool tls, uint32_t large_share) {
    Settings settings = settings_with(ram_bytes);
    settings.node.threads = threads;
    if (tls) settings.listen.emplace_back().tls = true;
    settings.cache.ram_shares = {.small = 0, .k64 = 100 - large_share, .k256 = large_share};
    return make_plan(settings, {1, {}, ""});
  };
  for (const bool tls : {false, true}) {
    for (const uint32_t large_share : {1U, 80U}) {
      const uint64_t tier = std::max(8 * uint64_t{kFillRunBytesMax}, 800 * MiB / large_share);
      for (uint32_t threads = 1; threads <= kLoopsMax; ++threads) {
        const uint64_t needed = plan_of(GiB, threads, tls, large_share).needed_bytes;
        for (const uint64_t more : {uint64_t{0}, 10 * MiB, needed}) {
          const Plan plan = plan_of(needed + more, threads, tls, large_share);
          ASSERT_GE(plan.connections, 16 * threads) << threads << " " << tls << " " << more;
          ASSERT_GE(plan.buffers_bytes, tier) << threads << " " << tls << " " << more;
          ASSERT_EQ(sum(plan), plan.ram_bytes);
        }
      }
    }
  }
}

TEST(Plan, WhatALoopSetsAsideForNobodyIsThereBeforeAnyClient) {
  Settings settings = settings_with(GiB);
  settings.node.connections = 2;
  settings.listen.emplace_back().tls = true;
  const Plan two = make_plan(settings, {1, {}, ""});
  EXPECT_EQ(two.sealed_batches_per_loop, kSealedBatchesReserved + 1);
  EXPECT_LT(two.connections_bytes, MiB);
  // Two loops: sealed batches in reserve, and frames of what is done for no client.
  EXPECT_GE(two.loops_bytes, 2 * (kSealedBatchesReserved + 1) * 70 * KiB + 2 * 2 * MiB);
  EXPECT_GE(two.frames_bytes_per_loop, 2 * MiB);
}

TEST(Plan, MoreClientsThanTheLoopsCanHoldAreCutToWhatTheyCan) {
  Settings settings = settings_with(64 * GiB);
  settings.node.connections = UINT32_MAX;
  EXPECT_EQ(make_plan(settings, {1, {}, ""}).connections, 2 * kConnectionsPerLoopMax);
}

TEST(Plan, WithTlsAClientMayHoldSealedBytesAndWithHttp2MoreAndBothAreReserved) {
  Settings settings = settings_with(GiB);
  settings.node.connections = 1000;
  const uint64_t plain = make_plan(settings, {1, {}, ""}).connections_bytes;
  settings.listen.emplace_back().tls = true;
  settings.tls.http2 = false;
  const uint64_t tls = make_plan(settings, {1, {}, ""}).connections_bytes;
  // The rest of a batch for each, and a whole one for one in eight.
  EXPECT_GE(tls, plain + (1000 * 21 + 124 * 70) * KiB);
  settings.tls.http2 = true;
  EXPECT_GE(make_plan(settings, {1, {}, ""}).connections_bytes, tls + 1000 * 29 * KiB);
}

TEST(Plan, WhatIsSwitchedOnIsPaidFor) {
  Settings settings = settings_with(GiB);
  EXPECT_EQ(make_plan(settings, {1, {}, ""}).logs_bytes, 0U);
  settings.listens.count = true;
  EXPECT_GE(make_plan(settings, {1, {}, ""}).logs_bytes, 12 * MiB);
  const uint64_t streaming = make_plan(settings, {1, {}, ""}).streaming_bytes;
  settings.sites.emplace_back().methods = {"POST"};
  EXPECT_GT(make_plan(settings, {1, {}, ""}).streaming_bytes, streaming);
}

TEST(Plan, PassesRelaysAndCollectionsFollowTheMemoryAndAreNeverNone) {
  const Plan small = make_plan(settings_with(MiB), {1, {}, ""});
  EXPECT_EQ(small.passes_per_loop, 16U);
  EXPECT_EQ(small.relays_per_loop, 16U);
  EXPECT_EQ(small.collections_per_loop, 1U);
  const Plan large = make_plan(settings_with(64 * GiB), {1, {}, ""});
  EXPECT_EQ(large.passes_per_loop, kPassesPerLoopMax);
  EXPECT_EQ(large.relays_per_loop, kRelaysPerLoopMax);
  EXPECT_EQ(large.collections_per_loop, 8U);
}

TEST(Plan, ADriveNeedsAtMost48BytesOfIndexPerSlotBesideRepresentations) {
  const Plan plan = make_plan(settings_with(GiB, 1), {1, {TiB}, ""});
  ASSERT_EQ(plan.drives.size(), 1U);
  const DrivePlan& drive = plan.drives[0];
  EXPECT_EQ(plan.index_bytes, drive.slots() * 48 + drive.records * 96);
  EXPECT_GT(drive.slots_256k, drive.slots_64k);
}

TEST(Plan, SharesDecideHowManySlotsOfEachClassADriveGets) {
  Settings settings = settings_with(GiB, 1);
  settings.cache.drives[0].shares = {.k128 = 90, .k256 = 10};
  const DrivePlan drive = make_plan(settings, {1, {10 * GiB}, ""}).drives.at(0);
  EXPECT_EQ(drive.slots_64k, 0U);
  EXPECT_GT(drive.slots_128k, 15 * drive.slots_256k);
}

TEST(Plan, ADrivesSlotsRecordsAndTableFitItsSize) {
  for (const uint64_t bytes : {64 * MiB, 10 * GiB, 4 * TiB}) {
    const DrivePlan drive = make_plan(settings_with(GiB, 1), {1, {bytes}, ""}).drives.at(0);
    const uint64_t used = drive.slots_64k * 68 * KiB + drive.slots_128k * 132 * KiB +
                          drive.slots_256k * 260 * KiB + drive.records * kRecordBytes +
                          drive.slots() * 68;
    EXPECT_LE(used, bytes);
    EXPECT_GE(used, bytes * 97 / 100);
  }
}

TEST(Plan, ThreadsAreTheCoresUnlessSetAndNeverMoreThanTheLimit) {
  Settings settings;
  EXPECT_EQ(make_plan(settings, {6, {}, ""}).threads, 6U);
  EXPECT_EQ(make_plan(settings, {kLoopsMax + 1, {}, ""}).threads, kLoopsMax);
  settings.node.threads = 3;
  EXPECT_EQ(make_plan(settings, {6, {}, ""}).threads, 3U);
}

TEST(Plan, ABudgetBelowTheFixedPartsLeavesNoRamTierRatherThanWrappingAround) {
  const Plan plan = make_plan(settings_with(MiB), {1, {}, ""});
  EXPECT_EQ(plan.buffers_bytes, 0U);
  EXPECT_EQ(plan.connections, 0U);
  EXPECT_GT(plan.needed_bytes, plan.ram_bytes);
}

TEST(Plan, ThePrintedPlanNamesEveryPartAndDrive) {
  const std::string text = print_plan(make_plan(settings_with(GiB, 2), {1, {GiB, 2 * GiB}, ""}));
  for (const char* part : {"RAM tier", "connections", "drive index", "loops", "process",
                           "streaming", "logs", "prefetch", "coroutine frames", "/drive0: 1.0 GiB",
                           "/drive1: 2.0 GiB", "memory: 1.0 GiB in all"}) {
    EXPECT_TRUE(text.contains(part)) << part << "\n" << text;
  }
  EXPECT_TRUE(print_plan(make_plan(settings_with(GiB), {1, {}, ""})).contains("drives: none"));
}

TEST(Machine, AFileDriveHasItsOwnSizeElseThatOfTheCache) {
  Settings settings = settings_with(GiB, 2);
  settings.cache.size_bytes = 3 * GiB;
  settings.cache.drives[1].size_bytes = 5 * GiB;
  const Machine machine = look_at_machine(settings);
  EXPECT_EQ(machine.drive_bytes, (std::vector<uint64_t>{3 * GiB, 5 * GiB}));
  EXPECT_GE(machine.cores, 1U);
}

}  // namespace
}  // namespace segue::conf
