// Goal: notes come in order, a full queue drops and counts, and one message tells of many notes;
// also with the writer on another thread.
#include "edge/prefetch/asked_queue.h"

#include <gtest/gtest.h>

#include <thread>
#include <vector>

#include "base/loop/clock.h"
#include "tests/unit/cache/store_fixture.h"

namespace segue::edge {
namespace {

struct Reader {
  std::vector<TrackId> seen;
  uint32_t told = 0;
  size_t most = 0;  // at once
  static void take(AskedQueue& queue, void* owner) {
    auto& self = *static_cast<Reader*>(owner);
    ++self.told;
    const size_t before = self.seen.size();
    queue.drain([&](const AskedNote& note) { self.seen.push_back(note.demand.track); });
    self.most = std::max(self.most, self.seen.size() - before);
  }
};

AskedNote note_of(TrackId track) {
  AskedNote note;
  note.demand.track = track;
  return note;
}

class AskedQueueTest : public ::testing::Test {
 protected:
  VirtualClock clock;
  cache::test::TestLoop loop{0, clock};
  Reader reader;
  AskedQueue queue{loop, &Reader::take, &reader};
};

TEST_F(AskedQueueTest, ManyNotesAreToldOfByOneMessage) {
  for (TrackId track = 1; track <= 3; ++track) queue.push(note_of(track));
  loop.run();
  EXPECT_EQ(reader.seen, (std::vector<TrackId>{1, 2, 3}));
  EXPECT_EQ(reader.told, 1u);
  queue.push(note_of(4));
  loop.run();
  EXPECT_EQ(reader.seen.size(), 4u);
}

TEST_F(AskedQueueTest, AFullQueueDropsTheNewestAndCountsThem) {
  for (TrackId track = 1; track <= AskedQueue::kNotesMax + 5; ++track) queue.push(note_of(track));
  EXPECT_EQ(queue.dropped().get(), 5u);
  loop.run();
  EXPECT_EQ(reader.seen.size(), AskedQueue::kNotesMax);
  EXPECT_EQ(reader.seen.back(), AskedQueue::kNotesMax);
}

TEST_F(AskedQueueTest, AFullQueueIsReadOverSeveralTurns) {
  for (TrackId track = 1; track <= AskedQueue::kNotesMax; ++track) queue.push(note_of(track));
  loop.run();
  EXPECT_EQ(reader.told, AskedQueue::kNotesMax / AskedQueue::kNotesPerTurnMax);
  EXPECT_EQ(reader.most, AskedQueue::kNotesPerTurnMax);
}

TEST_F(AskedQueueTest, NothingIsLostBetweenTwoThreads) {
  constexpr TrackId kNotes = 200'000;
  std::thread writer([&] {
    for (TrackId track = 1; track <= kNotes; ++track) queue.push(note_of(track));
  });
  while (reader.seen.size() + queue.dropped().get() < kNotes) loop.run();
  writer.join();
  loop.run();
  EXPECT_EQ(reader.seen.size() + queue.dropped().get(), kNotes);
  EXPECT_TRUE(std::ranges::is_sorted(reader.seen));
}

}  // namespace
}  // namespace segue::edge
