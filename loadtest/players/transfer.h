// loadtest/players/transfer.h - one request of a listener and its response, every byte of which is
// compared with what the resource has there.
#pragma once
#include <cstdint>
#include <string>
#include <string_view>

#include "loadtest/origin/content.h"
#include "loadtest/players/http_connection.h"
#include "loadtest/players/play.h"
#include "loadtest/players/tally.h"

namespace loadtest {

/// What all listeners share.
struct World {
  Net& net;
  const Block& block;
  sockaddr_in server{};
  std::string host;
  uint64_t tracks = 1000;
  uint64_t fixed_track_bytes = 0;
  double acceleration = 1;
  Random random;
};

class Transfer final : public ConnectionUser {
 public:
  enum class State : uint8_t { Running, Complete, Left, Failed };

  /// Sends the request. `owner` is woken when it is over, and when its play can go on.
  Transfer(World& world, Play& play, Tally& tally, Sleeper& owner, const Persona& persona, Ask ask,
           HttpConnection& connection);
  /// Leaves if it is still running.
  ~Transfer() override;
  Transfer(const Transfer&) = delete;
  Transfer& operator=(const Transfer&) = delete;

  [[nodiscard]] State state() const noexcept { return state_; }
  [[nodiscard]] const Ask& ask() const noexcept { return ask_; }
  /// The body, of playlists only.
  [[nodiscard]] const std::string& text() const noexcept { return text_; }
  /// Bytes of body a second, once complete.
  [[nodiscard]] double bytes_per_second() const;
  /// Stops reading where enough lies ahead of the position, or goes on.
  void pace();
  /// The byte of the play at which pace() will read again; 0: it is reading.
  [[nodiscard]] uint64_t reads_again_at() const noexcept { return reads_again_at_; }

  void on_head(const ResponseHead& head) override;
  void on_body(std::string_view bytes) override;
  void on_end() override;
  void on_failure(Failure failure) override;

 private:
  void finish(State state);
  void trouble(Trouble kind);
  [[nodiscard]] bool head_is_right(const ResponseHead& head);
  [[nodiscard]] bool bytes_are_right(std::string_view bytes) const;
  [[nodiscard]] std::string request_text() const;

  World& world_;
  Play& play_;
  Tally& tally_;
  Sleeper& owner_;
  const Persona& persona_;
  const Ask ask_;
  const Resource resource_;
  HttpConnection& connection_;
  State state_ = State::Running;
  Time started_;
  Time ended_;
  uint64_t at_ = 0;   // next byte of the resource
  uint64_t end_ = 0;  // of the range
  uint64_t got_ = 0;
  uint64_t reads_again_at_ = 0;
  std::string text_;
};

}  // namespace loadtest
