#include "cache/eviction.h"

#include <algorithm>
#include <vector>

#include "base/assert.h"
#include "cache/ghost_list.h"

namespace segue::cache {
namespace {

struct Links {
  uint32_t newer = kNoEntry;
  uint32_t older = kNoEntry;
};

/// A doubly linked list through an array of links: newest at the front.
class Queue {
 public:
  [[nodiscard]] uint32_t newest() const noexcept { return newest_; }
  [[nodiscard]] uint32_t oldest() const noexcept { return oldest_; }
  [[nodiscard]] uint32_t size() const noexcept { return size_; }

  void push(std::vector<Links>& links, uint32_t entry) noexcept {
    links[entry] = {.newer = kNoEntry, .older = newest_};
    (newest_ == kNoEntry ? oldest_ : links[newest_].newer) = entry;
    newest_ = entry;
    ++size_;
  }

  void remove(std::vector<Links>& links, uint32_t entry) noexcept {
    const Links at = links[entry];
    (at.newer == kNoEntry ? newest_ : links[at.newer].older) = at.older;
    (at.older == kNoEntry ? oldest_ : links[at.older].newer) = at.newer;
    --size_;
  }

 private:
  uint32_t newest_ = kNoEntry;
  uint32_t oldest_ = kNoEntry;
  uint32_t size_ = 0;
};

class Lru final : public EvictionOrder {
 public:
  explicit Lru(uint32_t entries) : links_(entries), last_touch_(entries, 0) {}

  void insert(uint32_t entry, uint64_t /*fingerprint*/, uint32_t now_seconds) noexcept override {
    if (second_ != now_seconds) inserted_ = 0;
    second_ = now_seconds;
    if (++inserted_ >= queue_.size() / kHurriedPart) hurried_second_ = now_seconds;
    restore(entry, now_seconds);
  }
  void touch(uint32_t entry, UseId /*use*/, uint32_t now_seconds) noexcept override {
    // Once a second is exact enough for an order that spans hours, and spares two cache lines on
    // all but the first hit of a popular slice. It is not where misses turn the order over within
    // seconds: what everybody asks for would leave between two of its moves.
    if (last_touch_[entry] == now_seconds && hurried_second_ != now_seconds) return;
    last_touch_[entry] = now_seconds;
    queue_.remove(links_, entry);
    queue_.push(links_, entry);
  }
  void remove(uint32_t entry) noexcept override { queue_.remove(links_, entry); }
  uint32_t take_victim(const EvictionOwner& owner) noexcept override {
    uint32_t entry = queue_.oldest();
    while (entry != kNoEntry && !owner.may_evict(entry)) entry = links_[entry].newer;
    if (entry != kNoEntry) queue_.remove(links_, entry);
    return entry;
  }
  void restore(uint32_t entry, uint32_t last_touch) noexcept override {
    last_touch_[entry] = last_touch;
    queue_.push(links_, entry);
  }

  std::span<uint32_t> last_touch() noexcept override { return last_touch_; }
  uint32_t size() const noexcept override { return queue_.size(); }
  uint64_t order_bytes() const noexcept override {
    return links_.size() * sizeof(Links) + last_touch_.size() * sizeof(uint32_t);
  }
  uint64_t ghosts() const noexcept override { return 0; }

 private:
  static constexpr uint32_t kHurriedPart = 8;

  uint32_t hurried_second_ = 0;  // beside what every touch() reads
  std::vector<Links> links_;
  std::vector<uint32_t> last_touch_;
  Queue queue_;
  uint32_t second_ = 0;
  uint32_t inserted_ = 0;  // within it
};

/// Yang et al., "FIFO queues are all you need for cache eviction" (SOSP '23), algorithm 1: a small
/// queue of a tenth of the entries filters what is used once; what left it and comes back goes to
/// the main queue.
class S3Fifo final : public EvictionOrder {
 public:
  explicit S3Fifo(uint32_t entries)
      : small_target_(std::max(1U, entries / 10)),
        links_(entries),
        last_touch_(entries, 0),
        marks_(entries, 0),
        ghosts_(entries - entries / 10) {}

  void insert(uint32_t entry, uint64_t fingerprint, uint32_t now_seconds) noexcept override {
    last_touch_[entry] = now_seconds;
    enter(entry, ghosts_.take(fingerprint) ? kInMain : 0);
  }
  void touch(uint32_t entry, UseId use, uint32_t now_seconds) noexcept override {
    const auto tag = static_cast<uint8_t>(mix(use.value) & kUseMask);
    const uint8_t mark = marks_[entry];
    const uint8_t uses = mark & kUsesMask;
    if (uses > 0 && (mark & kUseMask) == tag) return;
    last_touch_[entry] = now_seconds;
    marks_[entry] =
        static_cast<uint8_t>((mark & kInMain) | tag | std::min<int>(uses + 1, kUsesMax));
  }
  void remove(uint32_t entry) noexcept override {
    ((marks_[entry] & kInMain) != 0 ? main_ : small_).remove(links_, entry);
  }
  uint32_t take_victim(const EvictionOwner& owner) noexcept override {
    const bool small_first = small_.size() >= small_target_;
    const uint32_t victim = small_first ? from_small(owner) : from_main(owner);
    if (victim != kNoEntry) return victim;
    return small_first ? from_main(owner) : from_small(owner);
  }
  void restore(uint32_t entry, uint32_t last_touch) noexcept override {
    last_touch_[entry] = last_touch;
    enter(entry, kInMain);
  }

  std::span<uint32_t> last_touch() noexcept override { return last_touch_; }
  uint32_t size() const noexcept override { return small_.size() + main_.size(); }
  uint64_t order_bytes() const noexcept override {
    return links_.size() * sizeof(Links) + last_touch_.size() * sizeof(uint32_t) + marks_.size();
  }
  uint64_t ghosts() const noexcept override { return ghosts_.capacity(); }

 private:
  // A mark: 2 bits of uses, 1 bit which queue, 5 bits of the last use's id. Two plays that share
  // those 5 bits count once: one use lost in 32 costs nothing worth a second byte.
  static constexpr uint8_t kUsesMask = 0x03;
  static constexpr uint8_t kUsesMax = 3;
  static constexpr uint8_t kInMain = 0x04;
  static constexpr uint8_t kUseMask = 0xf8;

  void enter(uint32_t entry, uint8_t mark) noexcept {
    marks_[entry] = mark;
    ((mark & kInMain) != 0 ? main_ : small_).push(links_, entry);
  }

  /// The oldest of the small queue that was used at most once; the others move to the main queue.
  uint32_t from_small(const EvictionOwner& owner) noexcept {
    for (uint32_t left = small_.size(); left > 0; --left) {
      const uint32_t entry = small_.oldest();
      small_.remove(links_, entry);
      if ((marks_[entry] & kUsesMask) > 1) {
        enter(entry, kInMain);
      } else if (!owner.may_evict(entry)) {
        small_.push(links_, entry);
      } else {
        ghosts_.add(owner.fingerprint_of(entry), UseId{});
        return entry;
      }
    }
    return kNoEntry;
  }

  /// The oldest of the main queue that was not used since it last came by.
  uint32_t from_main(const EvictionOwner& owner) noexcept {
    // Each round takes one use off each entry, so after kUsesMax rounds only held ones are left.
    for (uint64_t left = uint64_t{main_.size()} * (kUsesMax + 1); left > 0; --left) {
      const uint32_t entry = main_.oldest();
      const uint8_t uses = marks_[entry] & kUsesMask;
      main_.remove(links_, entry);
      if (uses == 0 && owner.may_evict(entry)) return entry;
      if (uses > 0) --marks_[entry];
      main_.push(links_, entry);
    }
    return kNoEntry;
  }

  const uint32_t small_target_;
  std::vector<Links> links_;
  std::vector<uint32_t> last_touch_;
  std::vector<uint8_t> marks_;
  Queue small_;
  Queue main_;
  GhostList ghosts_;
};

}  // namespace

std::unique_ptr<EvictionOrder> make_eviction_order(EvictionPolicy policy, uint32_t entries) {
  if (policy == EvictionPolicy::S3Fifo) return std::make_unique<S3Fifo>(entries);
  return std::make_unique<Lru>(entries);
}

}  // namespace segue::cache
