// A planner, a time passed in, and orders that end when the test says so.
#pragma once
#include <gtest/gtest.h>

#include <memory>
#include <optional>
#include <utility>
#include <vector>

#include "edge/prefetch/planner.h"

namespace segue::edge::test {

using namespace std::chrono_literals;

class PlannerTest : public ::testing::Test {
 protected:
  PlannerTest() { make({}); }
  void make(Planner::Options options) { planner = std::make_unique<Planner>(options, scores); }
  static PlanEntry entry(TrackId track, double p = 1, std::chrono::nanoseconds in = 0s,
                         uint64_t head = 256 * KiB) {
    return {.track = track, .probability = p, .due = MonoTime{1h} + in, .head_bytes = head};
  }
  bool set(uint64_t session, uint64_t revision, std::vector<PlanEntry> next,
           std::chrono::seconds ttl = 600s, std::optional<TrackId> playing = std::nullopt,
           bool confirmed = false, uint32_t model = 0) {
    return planner->set({.session = session,
                         .model = model,
                         .revision = revision,
                         .until = now + ttl,
                         .now = playing,
                         .confirmed = confirmed,
                         .next = next},
                        now);
  }
  std::vector<TrackId> orders() {
    std::vector<TrackId> tracks;
    while (auto order = planner->next(now)) {
      tracks.push_back(order->track);
      running.push_back(*order);
    }
    return tracks;
  }
  void finish(Planner::End end = Planner::End::Complete) {
    for (const auto& order : std::exchange(running, {})) {
      if (end == Planner::End::Complete)
        planner->landed(order.id, order.head.length() + order.tail_bytes);
      planner->ended(order.id, end, now);
    }
  }
  void ask(TrackId track, ByteRange range = {0, 1 * MiB}, uint64_t session = 0, bool hit = true) {
    planner->see({.track = track, .session = session, .range = range, .hit = hit}, now);
  }
  ModelScore& score(uint32_t model = 0) { return scores.at(model); }

  ModelScores scores;
  std::unique_ptr<Planner> planner;
  std::vector<Planner::Order> running;
  MonoTime now{1h};
};

}  // namespace segue::edge::test
