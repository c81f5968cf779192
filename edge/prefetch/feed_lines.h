// edge/prefetch/feed_lines.h - cuts a stream of bytes into lines, whatever pieces it comes in.
// Holds at most one line of kFeedLineBytesMax; a longer one is skipped to its end.
#pragma once
#include <cstdint>
#include <string>
#include <string_view>

#include "edge/prefetch/feed_message.h"

namespace segue::edge {

class FeedLines {
 public:
  /// Calls `line(text, number)` for each line that is whole by now (numbers count from 1; empty
  /// lines are counted and not handed on), and `too_long(number)` for each that was skipped. The
  /// text is valid during the call.
  template <class Line, class TooLong>
  void take(std::string_view bytes, Line line, TooLong too_long) {
    while (!bytes.empty()) {
      const size_t end = bytes.find('\n');
      const std::string_view piece = bytes.substr(0, end);
      if (!skipping_ && begun_.size() + piece.size() > kFeedLineBytesMax) {
        skipping_ = true;
        begun_.clear();
      }
      if (end == std::string_view::npos) {
        if (!skipping_) begun_ += piece;
        return;
      }
      ++number_;
      if (skipping_) {
        too_long(number_);
      } else if (begun_.empty()) {
        hand_on(piece, line);
      } else {
        begun_ += piece;
        hand_on(begun_, line);
        begun_.clear();
      }
      skipping_ = false;
      bytes.remove_prefix(end + 1);
    }
  }
  /// The stream ended: what was begun is a line too.
  template <class Line, class TooLong>
  void end(Line line, TooLong too_long) {
    if (!begun_.empty() || skipping_) take("\n", line, too_long);
  }
  /// Another file stands at the same path: its lines count from 1 again.
  void restart() {
    begun_.clear();
    skipping_ = false;
    number_ = 0;
  }
  [[nodiscard]] uint64_t number() const noexcept { return number_; }

 private:
  template <class Line>
  void hand_on(std::string_view text, Line& line) {
    if (text.ends_with('\r')) text.remove_suffix(1);
    if (!text.empty()) line(text, number_);
  }
  std::string begun_;
  uint64_t number_ = 0;
  bool skipping_ = false;
};

}  // namespace segue::edge
