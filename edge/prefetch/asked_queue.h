// edge/prefetch/asked_queue.h - from a loop that serves to the loop that plans: what was asked for,
// and what its player said it will ask for next.
//
// One writer (a delivery), one reader (the prefetcher). Writing never waits, never allocates: a
// full queue drops the note and counts it.
#pragma once
#include <array>
#include <atomic>
#include <cstdint>
#include <string_view>

#include "base/counter.h"
#include "base/loop/loop.h"
#include "edge/prefetch/planner.h"
#include "edge/prefetch/playlist_table.h"
#include "edge/prefetch/token_bucket.h"

namespace segue::edge {

inline constexpr uint32_t kNoteTextBytesMax = 256;

/// What delivery tells. `listener` is a hash of whoever asks: of whom the token names, else of the
/// address and the player.
struct AskedNote {
  DemandNote demand;
  uint64_t listener = 0;
  // Of a request for the beginning: the track's key text, if it is not too long to be learned.
  uint16_t text_bytes = 0;
  std::array<char, kNoteTextBytesMax> text;
};

/// Who says what is asked for next: the player itself (CMCD), or an HLS playlist that names it.
enum class HintSource : uint8_t { Cmcd, Playlist };
inline constexpr uint32_t kHintSources = 2;
/// Also the model that its hints are judged as.
[[nodiscard]] constexpr std::string_view name_of(HintSource source) noexcept {
  return source == HintSource::Cmcd ? "cmcd" : "playlist";
}

/// What a player will ask for next: checked by the loop that serves it.
struct HintNote {
  HintSource source = HintSource::Cmcd;
  TrackId after = 0;     // what it asks for now
  uint64_t session = 0;  // never 0
  uint64_t listener = 0;
  // One of several, which overlap with those hinted at before: each is a plan of its own. Of hints
  // that come one at a time the next takes the place of the last.
  bool apart = false;
  ByteRange range;  // empty: it did not say
  // The next object's key text, "<site><path>[?query]".
  uint16_t text_bytes = 0;
  std::array<char, kNoteTextBytesMax> text;
  [[nodiscard]] std::string_view key_text() const noexcept { return {text.data(), text_bytes}; }
};

template <class Note, uint32_t kNotes>
class NoteQueue {
 public:
  static constexpr uint32_t kNotesMax = kNotes;
  /// Some 10 us each: the loop that plans serves clients as well.
  static constexpr uint32_t kNotesPerTurnMax = 64;
  /// `take` is called on `reader`'s loop when there are notes; all outlive the writers' loops.
  using Take = void (*)(NoteQueue& queue, void* owner);
  NoteQueue(Loop& reader, Take take, void* owner) noexcept
      : reader_(reader), message_(*this), take_(take), owner_(owner) {}

  /// The writer's loop.
  void push(const Note& note) noexcept {
    const uint32_t head = head_.load(std::memory_order_relaxed);
    if (head - tail_.load(std::memory_order_acquire) == kNotesMax) return dropped_.add();
    notes_[head % kNotesMax] = note;
    head_.store(head + 1, std::memory_order_release);
    // seq_cst with arrive(): either the reader sees this note, or we see that it was told before.
    if (!told_.exchange(true, std::memory_order_seq_cst)) reader_.post(message_);
  }
  /// The reader's loop: calls `see(note)` for each, oldest first. What is more than
  /// kNotesPerTurnMax comes by `take` on a later turn.
  template <class See>
  void drain(See see) {
    uint32_t tail = tail_.load(std::memory_order_relaxed);
    const uint32_t end = tail + kNotesPerTurnMax;
    while (tail != end && tail != head_.load(std::memory_order_acquire)) {
      const Note note = notes_[tail % kNotesMax];
      tail_.store(++tail, std::memory_order_release);
      see(note);
    }
  }
  [[nodiscard]] const Counter& dropped() const noexcept { return dropped_; }

 private:
  [[nodiscard]] bool is_empty() const noexcept {
    return tail_.load(std::memory_order_relaxed) == head_.load(std::memory_order_acquire);
  }
  struct Message : PostNode {
    explicit Message(NoteQueue& owner) : PostNode(&Message::arrive), queue(owner) {}
    static void arrive(PostNode& node) {
      NoteQueue& queue = static_cast<Message&>(node).queue;
      queue.told_.store(false, std::memory_order_seq_cst);
      queue.take_(queue, queue.owner_);
      if (queue.is_empty() || queue.told_.exchange(true, std::memory_order_seq_cst)) return;
      queue.reader_.post(queue.message_);
    }
    NoteQueue& queue;
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
  std::array<Note, kNotesMax> notes_;
};

using AskedQueue = NoteQueue<AskedNote, 1024>;
using HintQueue = NoteQueue<HintNote, 256>;

/// Hints that were not even told to the planner; the writer's.
struct HintRefusals {
  Counter already_here;  // of playlists: the loop that serves looks itself
  Counter malformed;     // no reference, no range, or no target that could be asked for
  Counter foreign;       // names another host, or climbs above the root
  Counter forbidden;     // the request's own token does not let in there
  Counter too_long;
};

/// All that one delivery tells the planner.
struct Inbox {
  Inbox(Loop& reader, AskedQueue::Take take_asked, HintQueue::Take take_hints, void* owner) noexcept
      : asked(reader, take_asked, owner), hints(reader, take_hints, owner) {}
  AskedQueue asked;
  HintQueue hints;
  HintRefusals refused[kHintSources];
  PlaylistCounters playlists_read;
  TokenBucket playlist_budget{std::chrono::seconds{2}};  // of bytes; the delivery's
  // set by the planner's loop, read by the delivery's
  std::atomic<bool> wants_hints{false};
  std::atomic<uint32_t> segments_ahead{0};  // of playlists; 0: they are not read
  // constant: of all loops; null: playlists are not read
  PlaylistTable* playlists = nullptr;
};

}  // namespace segue::edge
