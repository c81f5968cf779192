// tests/sim/sim_life.h - the random life of one node: its seed chooses the machine, the tracks,
// what clients ask and what goes wrong; at its end the origin is well and everybody is answered.
#pragma once
#include <chrono>
#include <cstdint>
#include <map>
#include <string>
#include <vector>

#include "tests/sim/sim_node.h"
#include "tests/support/random.h"

namespace segue::testing {

class Life {
 public:
  explicit Life(uint64_t seed);
  void run();

  [[nodiscard]] SimTally tally() { return node_.tally(); }
  /// Steps of the simulation so far: equal for equal seeds.
  [[nodiscard]] uint64_t steps() { return node_.world().steps(); }

 private:
  /// Nothing goes wrong and nothing changes: then each client is answered in full, and the origin
  /// sends no more than was asked.
  static bool is_calm(uint64_t seed) { return seed % 5 == 0; }
  static SimNodeOptions options_for(Random& random, bool calm);

  void add_track(const std::string& target);
  void shape_track(FakeTrack& track);
  void act();
  void start_client() { start_client_of(random_target()); }
  void start_client_of(const std::string& target);
  void add_condition(ClientBehaviour& behaviour);
  void harm_origin();
  void harm_drive();
  void purge();
  void recommend();
  void change();
  void jump_clock();
  void make_well();
  void finish();
  void expect_answers();
  void expect_origin_bound();

  [[nodiscard]] uint64_t random_length();
  [[nodiscard]] std::string random_range(uint64_t length);
  [[nodiscard]] const std::string& random_target() {
    return targets_[random_.below(targets_.size())];
  }
  [[nodiscard]] uint32_t random_loop() {
    return static_cast<uint32_t>(random_.below(node_.world().loop_count()));
  }

  Random random_;
  const bool calm_;
  SimNode node_;
  const uint64_t ram_bytes_;
  std::vector<std::string> targets_;
  std::chrono::milliseconds wall_is_off_{0};
  std::chrono::milliseconds wall_was_off_max_{0};
  std::map<std::string, uint64_t> asked_bytes_;  // by target, rounded out to slices, and one each
};

}  // namespace segue::testing
