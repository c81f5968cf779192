// edge/prefetch/model_score.h - how good each model's recommendations were: counted by the loop
// that plans, read by any thread.
#pragma once
#include <array>
#include <atomic>
#include <chrono>
#include <cstdint>
#include <string_view>

#include "base/counter.h"

namespace segue::edge {

inline constexpr uint32_t kPrefetchModelsMax = 32;  // the last is "other": all that came later
/// Where lines of a feed come from.
enum class PrefetchSource : uint8_t { File, Post, Nats };
inline constexpr uint32_t kPrefetchSources = 3;
[[nodiscard]] std::string_view name_of(PrefetchSource source) noexcept;

struct ModelScore {
  Counter messages;      // plans taken
  Counter ignored;       // old revisions, and what found no room
  Counter candidates;    // tracks recommended anew
  Counter planned;       // of them, begun to be fetched (in `observe`: would have been)
  Counter fetched;       // whole
  Counter failed;        // the origin, or nothing storable
  Counter refused;       // no room for it then; it comes again
  Counter already_here;  // nothing to be done
  Counter late;          // asked for while they were being fetched
  Counter used;          // asked for after that
  Counter unused_expired, unused_revoked, unused_evicted;
  Counter bytes_fetched, bytes_used, bytes_wasted;
  Counter avoided;    // first bytes that were a hit because of it
  Counter throttled;  // gauge: 1 while under its precision floor
  Counter dropped;    // candidates not taken because of that
  // From fetched to asked for; lead[i] counts what took less than kLeadBounds[i], the last the
  // rest.
  static constexpr std::array<int, 7> kLeadBounds = {1, 5, 15, 30, 60, 120, 300};  // seconds
  std::array<Counter, kLeadBounds.size() + 1> lead;
  Counter lead_ms_sum;
  void record_lead(std::chrono::nanoseconds took) noexcept;

  /// Bytes used of the bytes judged; 1 while nothing is.
  [[nodiscard]] double precision() const noexcept {
    const double judged = static_cast<double>(bytes_used.get() + bytes_wasted.get());
    return judged > 0 ? static_cast<double>(bytes_used.get()) / judged : 1.0;
  }
};

/// Names come from the feed, so there are at most kPrefetchModelsMax.
class ModelScores {
 public:
  static constexpr uint32_t kNameBytesMax = 64;
  ModelScores() { (void)find_or_add("unnamed"); }
  /// By the planning loop. A name with anything but letters, digits and "-_.:/" is written with '_'
  /// there: it becomes a label.
  [[nodiscard]] uint32_t find_or_add(std::string_view name) noexcept;
  [[nodiscard]] ModelScore& at(uint32_t model) noexcept { return entries_[model].score; }
  [[nodiscard]] const ModelScore& at(uint32_t model) const noexcept {
    return entries_[model].score;
  }
  /// Any thread.
  [[nodiscard]] uint32_t count() const noexcept { return count_.load(std::memory_order_acquire); }
  [[nodiscard]] std::string_view name(uint32_t model) const noexcept {
    return {entries_[model].name.data(), entries_[model].name_bytes};
  }

 private:
  struct Entry {
    std::array<char, kNameBytesMax> name{};  // constant once counted
    uint32_t name_bytes = 0;
    ModelScore score;
  };
  std::array<Entry, kPrefetchModelsMax> entries_;
  std::atomic<uint32_t> count_{0};
};

}  // namespace segue::edge
