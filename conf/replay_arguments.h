// conf/replay_arguments.h - what `segue replay` is told: texts of its flags, and what they mean.
#pragma once
#include <cstdint>
#include <expected>
#include <string>
#include <vector>

#include "conf/settings.h"

namespace segue::conf {

struct ReplayArguments {
  /// A size, or parts of 100 of all the trace's tracks together.
  struct Size {
    uint64_t bytes = 0;
    uint32_t percent = 0;
  };
  struct Feed {
    enum class Kind : uint8_t { None, Learned, Oracle } kind = Kind::None;
    // Oracle: of what follows it knows; Learned: guesses below this probability are no plan.
    uint32_t percent = 0;
  };
  std::string trace;   // "-": standard input
  std::string config;  // settings whose [prefetch] and write budget are meant; empty: the defaults
  std::string json;    // file to write, "-": instead of the table; empty: none
  Size ram{.bytes = 0, .percent = 10};
  Size ssd;
  std::vector<CachePolicy> policies{CachePolicy::Lru, CachePolicy::S3Fifo};
  std::vector<Feed> feeds{
      {}, {Feed::Kind::Learned, 20}, {Feed::Kind::Oracle, 100}, {Feed::Kind::Oracle, 61}};
  uint32_t bitrate_kbits = 160;
  uint64_t seed = 1;
};

/// What the flags said; empty: the default.
struct ReplayWords {
  std::string ram, ssd;
  std::vector<std::string> policies, feeds;
};

/// Fills in `arguments`; the error is a sentence that names the flag.
[[nodiscard]] std::expected<void, std::string> read_replay_words(const ReplayWords& words,
                                                                 ReplayArguments& arguments);

}  // namespace segue::conf
