// loadtest/players/listener.h - one listener: plays one track after the other as its client does,
// skips, seeks, and opens the next track before the present one ends.
#pragma once
#include <cstdint>
#include <memory>
#include <optional>
#include <vector>

#include "loadtest/players/transfer.h"

namespace loadtest {

/// What people do (Kreitz and Niemelä 2010; Lamere 2014): 39 % of plays start somewhere else in the
/// catalogue, the others follow in a list; 24 % are left within 5 s, a third within 30 s, about
/// half before the end.
struct Habits {
  double random_start = 0.39;
  double skip_in_5_s = 0.24;
  double skip_in_30_s = 0.35;  // these include the ones above
  double skip_before_end = 0.49;
  double seek = 0.10;  // of plays: one seek to a random place
};

/// Track numbers with Zipf popularity.
class Popularity {
 public:
  Popularity(uint64_t tracks, double exponent);
  [[nodiscard]] uint64_t draw(Random& random) const;

 private:
  std::vector<double> cumulative_;
};

class Listener final : public Sleeper {
 public:
  /// Begins at `start` with its first play, and ends after `plays` of them.
  Listener(World& world, const Persona& persona, const Habits& habits, const Popularity& popularity,
           Tally& tally, uint32_t source, uint64_t plays, Time start, uint64_t& running);
  ~Listener() override;
  Listener(const Listener&) = delete;
  Listener& operator=(const Listener&) = delete;

  void on_time() override;

 private:
  /// A play and its requests; the requests end first.
  struct Open {
    std::unique_ptr<Play> play;
    std::vector<std::unique_ptr<Transfer>> transfers;
  };

  [[nodiscard]] Open open_play();
  void next_play();
  /// False: the play cannot go on.
  bool reap(Open& open);
  void rest(Time now);
  void act(Open& open, Time now);
  void seek_if_due(Time now);
  void ask_more(Open& open, uint64_t pieces);
  void preload_if_due();
  void set_timer(Time now);
  HttpConnection& connection();

  World& world_;
  const Persona& persona_;
  const Habits& habits_;
  const Popularity& popularity_;
  Tally& tally_;
  const uint32_t source_;
  uint64_t plays_left_;
  uint64_t& running_;
  std::optional<uint64_t> track_;  // the last one opened
  bool began_ = false;
  bool resting_ = false;  // between two downloads
  double bytes_per_second_ = 0;
  std::vector<std::unique_ptr<HttpConnection>> connections_;
  Open now_playing_;
  Open next_;  // preloaded
};

}  // namespace loadtest
