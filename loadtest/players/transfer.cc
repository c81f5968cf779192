#include "loadtest/players/transfer.h"

#include <algorithm>
#include <cstring>
#include <utility>

namespace loadtest {

namespace {

constexpr uint64_t kResumeBytes = 1024 * 1024;  // consumed before a stalled reader reads again

uint64_t us(Time from, Time to) {
  const auto count = std::chrono::duration_cast<std::chrono::microseconds>(to - from).count();
  return static_cast<uint64_t>(std::max<int64_t>(count, 0));
}

}  // namespace

Transfer::Transfer(World& world, Play& play, Tally& tally, Sleeper& owner, const Persona& persona,
                   Ask ask, HttpConnection& connection)
    : world_(world),
      play_(play),
      tally_(tally),
      owner_(owner),
      persona_(persona),
      ask_(std::move(ask)),
      resource_(find_resource(ask_.path, world.fixed_track_bytes).value_or(Resource{})),
      connection_(connection),
      started_(std::chrono::steady_clock::now()),
      at_(ask_.first) {
  end_ = ask_.last ? std::min(*ask_.last + 1, resource_.bytes) : resource_.bytes;
  ++tally_.requests;
  play_.asked(started_);
  connection_.ask(request_text(), *this);
}

Transfer::~Transfer() {
  if (state_ != State::Running) return;
  ++tally_.left;
  connection_.abandon();
}

std::string Transfer::request_text() const {
  std::string text = "GET " + ask_.path + " HTTP/1.1\r\nHost: " + world_.host + "\r\n";
  if (ask_.ranged) {
    text += "Range: bytes=" + std::to_string(ask_.first) + "-";
    if (ask_.last) text += std::to_string(*ask_.last);
    text += "\r\n";
    if (persona_.if_range && !play_.etag.empty()) text += "If-Range: " + play_.etag + "\r\n";
  }
  if (persona_.new_connection) text += "Connection: close\r\n";
  return text + "Accept-Encoding: identity\r\nUser-Agent: segue-players/" +
         std::string(persona_.name) + "\r\n\r\n";
}

double Transfer::bytes_per_second() const {
  return static_cast<double>(got_) / (static_cast<double>(us(started_, ended_) + 1) / 1e6);
}

bool Transfer::head_is_right(const ResponseHead& head) {
  if (head.status != (ask_.ranged ? 206 : 200)) {
    trouble(Trouble::Status);
    return false;
  }
  const bool range_right =
      !ask_.ranged ||
      (head.range_first == at_ && head.range_last == end_ - 1 && head.total == resource_.bytes);
  if (!range_right || head.length != end_ - at_) {
    trouble(Trouble::Range);
    return false;
  }
  return true;
}

void Transfer::on_head(const ResponseHead& head) {
  if (!head_is_right(head)) return;
  if (!head.etag.starts_with("W/")) play_.etag = head.etag;
}

bool Transfer::bytes_are_right(std::string_view bytes) const {
  uint64_t at = at_;
  while (!bytes.empty()) {
    const std::string_view expected = world_.block.at(resource_, at, bytes.size());
    if (expected.empty() || std::memcmp(expected.data(), bytes.data(), expected.size()) != 0) {
      return false;
    }
    at += expected.size();
    bytes.remove_prefix(expected.size());
  }
  return true;
}

void Transfer::on_body(std::string_view bytes) {
  const Time now = std::chrono::steady_clock::now();
  if (got_ == 0) tally_.first_byte_us.record(us(started_, now));
  if (!bytes_are_right(bytes)) return trouble(Trouble::Bytes);
  const uint64_t first = at_;
  at_ += bytes.size();
  got_ += bytes.size();
  tally_.bytes += bytes.size();
  if (ask_.is_playlist) {
    text_ += bytes;
    return;
  }
  const uint64_t span = ask_.span == 0 ? resource_.bytes : ask_.span;
  const uint64_t until = at_ == resource_.bytes ? span : std::min(at_, span);
  const bool goes_on = play_.on_bytes(ask_.base + std::min(first, span), ask_.base + until, now);
  if (goes_on) world_.net.wake_at(owner_, now);
  if (ask_.leave_after != 0 && got_ >= ask_.leave_after && at_ < end_) {
    ++tally_.left;
    connection_.abandon();
    return finish(State::Left);
  }
  pace();
}

void Transfer::pace() {
  if (state_ != State::Running || persona_.buffer_bytes == 0) return;
  const uint64_t ahead = at_ > play_.position() ? at_ - play_.position() : 0;
  if (reads_again_at_ == 0 && ahead >= persona_.buffer_bytes) {
    reads_again_at_ = play_.position() + kResumeBytes;
    connection_.set_reading(false);
    world_.net.wake_at(owner_, world_.net.now());  // to set its timer
  } else if (reads_again_at_ != 0 && play_.position() >= reads_again_at_) {
    reads_again_at_ = 0;
    connection_.set_reading(true);
  }
}

void Transfer::on_end() {
  ++tally_.responses;
  finish(State::Complete);
}

void Transfer::on_failure(Failure failure) {
  const Trouble kind = failure == Failure::Connect  ? Trouble::Connect
                       : failure == Failure::Closed ? Trouble::Closed
                                                    : Trouble::Malformed;
  ++tally_.troubles[static_cast<size_t>(kind)];
  finish(State::Failed);
}

void Transfer::trouble(Trouble kind) {
  ++tally_.troubles[static_cast<size_t>(kind)];
  connection_.abandon();
  finish(State::Failed);
}

void Transfer::finish(State state) {
  state_ = state;
  ended_ = std::chrono::steady_clock::now();
  world_.net.wake_at(owner_, ended_);
}

}  // namespace loadtest
