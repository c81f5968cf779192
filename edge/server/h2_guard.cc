#include "edge/server/h2_guard.h"

#include <nghttp2/nghttp2.h>

#include <algorithm>

#include "base/limits_http2.h"
#include "base/units.h"

namespace segue::edge {
namespace {

constexpr size_t kBytesPerUpdate = 512;  // half a KiB: there are two windows
constexpr size_t kUnansweredBytesMax = 16 * MiB;

[[nodiscard]] std::chrono::nanoseconds interval_of(Flood flood) noexcept {
  return std::chrono::nanoseconds{std::chrono::seconds{1}} /
         kFloodLimits[static_cast<size_t>(flood)].per_second;
}

}  // namespace

std::string_view name_of(Flood flood) noexcept {
  switch (flood) {
    case Flood::Reset:
      return "reset";
    case Flood::Settings:
      return "settings";
    case Flood::Ping:
      return "ping";
    case Flood::Priority:
      return "priority";
    case Flood::WindowUpdate:
      return "window_update";
    case Flood::EmptyFrame:
      return "empty_frame";
    case Flood::Unknown:
      return "unknown_frame";
    case Flood::Continuation:
      return "continuation";
    case Flood::FieldBytes:
      return "field_bytes";
  }
  return "";
}

bool Http2Guard::allow(Flood flood, MonoTime now) noexcept {
  MonoTime& until = earned_until_[static_cast<size_t>(flood)];
  const auto interval = interval_of(flood);
  until = std::max(until, now) + interval;
  return until - now <= interval * kFloodLimits[static_cast<size_t>(flood)].burst;
}

std::optional<Flood> Http2Guard::on_frame(uint8_t type, MonoTime now) noexcept {
  if (type == NGHTTP2_CONTINUATION) {
    if (++continuations_ > kHttp2ContinuationsMax) return Flood::Continuation;
    return std::nullopt;
  }
  continuations_ = 0;
  const auto judge = [&](Flood flood) {
    return allow(flood, now) ? std::nullopt : std::optional(flood);
  };
  switch (type) {
    case NGHTTP2_DATA:
    case NGHTTP2_HEADERS:
    case NGHTTP2_PUSH_PROMISE:  // from a client: an error, not a flood
      return std::nullopt;
    case NGHTTP2_RST_STREAM:
      return judge(Flood::Reset);
    case NGHTTP2_SETTINGS:
    case NGHTTP2_GOAWAY:  // one is enough
      return judge(Flood::Settings);
    case NGHTTP2_PING:
      return judge(Flood::Ping);
    case NGHTTP2_PRIORITY:
    case NGHTTP2_PRIORITY_UPDATE:
      return judge(Flood::Priority);
    case NGHTTP2_WINDOW_UPDATE:
      if (unanswered_bytes_ >= kBytesPerUpdate) {
        unanswered_bytes_ -= kBytesPerUpdate;
        return std::nullopt;
      }
      return judge(Flood::WindowUpdate);
    default:
      return judge(Flood::Unknown);
  }
}

void Http2Guard::on_data_sent(size_t bytes) noexcept {
  unanswered_bytes_ = std::min(unanswered_bytes_ + bytes, kUnansweredBytesMax);
}

}  // namespace segue::edge
