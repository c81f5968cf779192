#include "loadtest/players/personas.h"

#include <algorithm>
#include <array>
#include <cmath>

#include "loadtest/origin/content.h"

namespace loadtest {

namespace {

constexpr uint64_t kKiB = 1024;
constexpr uint64_t kMiB = 1024 * kKiB;

// Sources of the habits: the clients' own code, as read for the project. Shares are a guess.
constexpr std::array<Persona, 10> kPersonas = {{
    {.name = "chunk512",
     .share = 30,
     .piece_bytes = 512 * kKiB,
     .in_flight = 3,
     .ahead_seconds = 30,
     .preloads = true},
    {.name = "librespot", .form = Form::Adaptive, .share = 15, .preloads = true},
    {.name = "java128",
     .share = 8,
     .piece_bytes = 128 * kKiB,
     .ahead_seconds = 20,
     .clips_end = false},
    {.name = "chromium", .form = Form::OpenEnded, .share = 15, .buffer_bytes = 3 * kMiB},
    {.name = "apple", .form = Form::Probing, .share = 10, .buffer_bytes = 3 * kMiB},
    {.name = "ffmpeg", .form = Form::OpenEnded, .share = 5, .new_connection = true},
    {.name = "media3",
     .form = Form::OpenEnded,
     .share = 5,
     .buffer_bytes = 3 * kMiB,
     .if_range = true},
    {.name = "podcast", .form = Form::Whole, .share = 2},
    {.name = "hls", .form = Form::Hls, .share = 6, .ahead_seconds = 30},
    {.name = "dash", .form = Form::Dash, .share = 4, .ahead_seconds = 30},
}};

// The measured throughput of loopback would ask for whole tracks; a listener at home has 20 Mbit/s.
constexpr double kHomeBytesPerSecond = 2.5e6;

bool is_due(const Persona& persona, const Plan& plan, uint64_t position) {
  const auto ahead = static_cast<uint64_t>(persona.ahead_seconds * plan.byte_rate);
  // A first piece is always due, and one piece is always in hand.
  return ahead == 0 || plan.next < position + std::max(ahead, persona.piece_bytes);
}

Ask bounded(const Plan& plan, uint64_t first, uint64_t bytes, bool clip) {
  Ask ask{.path = plan.path, .first = first};
  ask.last = clip ? std::min(first + bytes, plan.bytes) - 1 : first + bytes - 1;
  return ask;
}

std::optional<Ask> next_piece(const Persona& persona, Plan& plan, uint64_t bytes) {
  const uint64_t first = plan.next;
  plan.next = std::min(first + bytes, plan.bytes);
  return bounded(plan, first, bytes, persona.clips_end);
}

std::optional<Ask> next_adaptive(const Persona& persona, Plan& plan, double bytes_per_second) {
  const uint64_t least = 64 * kKiB;
  const uint32_t step = plan.step++;
  // The tail tells the duration of an Ogg file.
  if (step == 1 && plan.bytes > 3 * least) return bounded(plan, plan.bytes - least, least, true);
  const auto measured = static_cast<uint64_t>(std::min(bytes_per_second, kHomeBytesPerSecond));
  return next_piece(persona, plan, step < 3 ? least : std::max(least, measured));
}

std::optional<Ask> next_open_ended(const Persona& persona, Plan& plan) {
  Ask ask{.path = plan.path, .first = plan.next};
  ask.ranged = !(persona.if_range && plan.next == 0);
  plan.next = plan.bytes;
  return ask;
}

std::optional<Ask> next_probe(Plan& plan, Random& random) {
  const uint32_t step = plan.step++;
  if (step == 0) return bounded(plan, 0, 2, true);
  if (step == 1) {
    Ask ask = bounded(plan, 0, plan.bytes, true);
    ask.leave_after = std::min((64 + random() % 449) * kKiB, plan.bytes);
    plan.next = ask.leave_after;
    return ask;
  }
  Ask ask = bounded(plan, plan.next, plan.bytes - plan.next, true);
  plan.next = plan.bytes;
  return ask;
}

std::optional<Ask> next_download(Plan& plan, Random& random) {
  Ask ask{.path = plan.path, .first = plan.next};
  ask.ranged = plan.step++ > 0;
  if (!ask.ranged && random() % 5 == 0) ask.leave_after = 1 + random() % (plan.bytes - 1);
  plan.next = ask.leave_after != 0 ? ask.leave_after : plan.bytes;
  return ask;
}

std::optional<Ask> next_segment(const Persona& persona, Plan& plan) {
  Ask ask{.ranged = false};
  if (plan.step == 0) {
    ++plan.step;
    ask.path = plan.path + (persona.form == Form::Hls ? "/index.m3u8" : "/manifest.mpd");
    ask.is_playlist = true;
    return ask;
  }
  const uint64_t span = uint64_t{kSegmentSeconds} * plan.byte_rate;
  const uint64_t number = plan.next / span;
  if (number >= plan.segments.size()) return {};  // the playlist is not here yet
  ask.path = plan.path + "/" + plan.segments[number];
  ask.base = number * span;
  ask.span = span;
  plan.next = ask.base + span;
  return ask;
}

}  // namespace

std::span<const Persona> all_personas() noexcept { return kPersonas; }

std::optional<Ask> next_ask(const Persona& persona, Plan& plan, uint64_t position,
                            double bytes_per_second, Random& random) {
  const bool probing = persona.form == Form::Probing && plan.step < 2;
  if (plan.next >= plan.bytes && !probing) return {};
  if (!is_due(persona, plan, position)) return {};
  switch (persona.form) {
    case Form::Grid:
      return next_piece(persona, plan, persona.piece_bytes);
    case Form::Adaptive:
      return next_adaptive(persona, plan, bytes_per_second);
    case Form::OpenEnded:
      return next_open_ended(persona, plan);
    case Form::Probing:
      return next_probe(plan, random);
    case Form::Whole:
      return next_download(plan, random);
    case Form::Hls:
    case Form::Dash:
      return next_segment(persona, plan);
  }
  return {};
}

void seek(const Persona& persona, Plan& plan, uint64_t& position) {
  switch (persona.form) {
    case Form::Grid:
      position -= position % persona.piece_bytes;
      break;
    case Form::Adaptive:  // 64 KiB first
    case Form::Probing:
      plan.step = std::max<uint32_t>(plan.step, 2);
      break;
    case Form::Hls:
    case Form::Dash:
      position -= position % (uint64_t{kSegmentSeconds} * plan.byte_rate);
      break;
    case Form::OpenEnded:
    case Form::Whole:
      break;
  }
  plan.next = position;
}

std::optional<uint64_t> asks_again_at(const Persona& persona, const Plan& plan) {
  if (persona.ahead_seconds == 0 || plan.next >= plan.bytes) return {};
  const auto ahead = static_cast<uint64_t>(persona.ahead_seconds * plan.byte_rate);
  const uint64_t distance = std::max(ahead, persona.piece_bytes);
  return plan.next < distance ? 0 : plan.next - distance + 1;
}

std::vector<std::string> parse_segments(Form form, std::string_view text) {
  std::vector<std::string> names;
  if (form == Form::Hls) {
    while (!text.empty()) {
      const size_t end = std::min(text.find('\n'), text.size());
      const std::string_view line = text.substr(0, end);
      if (!line.empty() && !line.starts_with('#')) names.emplace_back(line);
      text.remove_prefix(std::min(end + 1, text.size()));
    }
    return names;
  }
  constexpr std::string_view kDuration = "mediaPresentationDuration=\"PT";
  const size_t at = text.find(kDuration);
  const size_t media = text.find("media=\"$Number$");
  if (at == std::string_view::npos || media == std::string_view::npos) return names;
  std::string_view seconds = text.substr(at + kDuration.size());
  const uint64_t count = take_number(seconds).value_or(0) / kSegmentSeconds;
  std::string_view tail = text.substr(media + 15);
  tail = tail.substr(0, tail.find('"'));
  for (uint64_t number = 0; number < std::min<uint64_t>(count, 10'000); ++number) {
    names.push_back(std::to_string(number) + std::string(tail));
  }
  return names;
}

}  // namespace loadtest
