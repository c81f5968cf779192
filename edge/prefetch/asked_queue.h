// edge/prefetch/asked_queue.h - from a loop that serves to the loop that plans: what was asked for.
//
// One writer (a delivery), one reader (the prefetcher). Writing never waits, never allocates: a
// full queue drops the note and counts it, since a note is a hint.
#pragma once
#include <array>
#include <atomic>
#include <cstdint>

#include "base/counter.h"
#include "base/loop/loop.h"
#include "edge/prefetch/planner.h"

namespace segue::edge {

inline constexpr uint32_t kNoteTextBytesMax = 256;

/// What delivery tells. `listener` is a hash of whoever asks (token subject, or its address).
struct AskedNote {
  DemandNote demand;
  uint64_t listener = 0;
  // Of a request for the beginning: the track's key text, if it is not too long to be learned.
  uint16_t text_bytes = 0;
  std::array<char, kNoteTextBytesMax> text;
};

class AskedQueue {
 public:
  static constexpr uint32_t kNotesMax = 1024;
  /// `take` is called on `reader`'s loop when there are notes; all outlive the writers' loops.
  using Take = void (*)(AskedQueue& queue, void* owner);
  AskedQueue(Loop& reader, Take take, void* owner) noexcept
      : reader_(reader), message_(*this), take_(take), owner_(owner) {}

  /// The writer's loop.
  void push(const AskedNote& note) noexcept {
    const uint32_t head = head_.load(std::memory_order_relaxed);
    if (head - tail_.load(std::memory_order_acquire) == kNotesMax) return dropped_.add();
    notes_[head % kNotesMax] = note;
    head_.store(head + 1, std::memory_order_release);
    // seq_cst with arrive(): either the reader sees this note, or we see that it was told before.
    if (!told_.exchange(true, std::memory_order_seq_cst)) reader_.post(message_);
  }
  /// The reader's loop: calls `see(note)` for each, oldest first.
  template <class See>
  void drain(See see) {
    uint32_t tail = tail_.load(std::memory_order_relaxed);
    while (tail != head_.load(std::memory_order_acquire)) {
      const AskedNote note = notes_[tail % kNotesMax];
      tail_.store(++tail, std::memory_order_release);
      see(note);
    }
  }
  [[nodiscard]] const Counter& dropped() const noexcept { return dropped_; }

 private:
  struct Message : PostNode {
    explicit Message(AskedQueue& owner) : PostNode(&Message::arrive), queue(owner) {}
    static void arrive(PostNode& node) {
      AskedQueue& queue = static_cast<Message&>(node).queue;
      queue.told_.store(false, std::memory_order_seq_cst);
      queue.take_(queue, queue.owner_);
    }
    AskedQueue& queue;
  };
  // constant after construction
  Loop& reader_;
  Message message_;
  const Take take_;
  void* const owner_;
  // the writer's
  Counter dropped_;
  // atomic, both
  std::atomic<uint32_t> head_{0}, tail_{0};
  std::atomic<bool> told_{false};
  std::array<AskedNote, kNotesMax> notes_;
};

}  // namespace segue::edge
