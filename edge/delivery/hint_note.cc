#include "edge/delivery/hint_note.h"

#include <array>

#include "edge/delivery/admission.h"
#include "edge/fill/key_text.h"
#include "edge/prefetch/hint_gate.h"
#include "http/relative_target.h"

namespace segue::edge {

std::optional<KeyText> key_of_reference(const Exchange& exchange, std::string_view reference,
                                        ReferenceRoom& room, HintRefusals& refused) {
  const Asked& asked = exchange.asked;
  const auto resolved = http::resolve_on_host(asked.target, reference, room.target);
  if (!resolved) {
    refused.foreign.add();
    return std::nullopt;
  }
  const auto text = write_key_text(*asked.site, *resolved, room.scratch, room.key);
  if (!text) {
    (text.error().kind == Kind::Full ? refused.too_long : refused.malformed).add();
    return std::nullopt;
  }
  return *text;
}

bool fit_to_token(const Exchange& exchange, const SiteTable& sites, std::string_view target,
                  WallTime wall, UriMatcher& matcher, ByteRange& range, HintRefusals& refused) {
  const uint64_t readable =
      readable_elsewhere(exchange, sites, target.substr(0, target.find('?')), wall, matcher);
  if (range.first >= readable) {
    refused.forbidden.add();
    return false;
  }
  if (readable != UINT64_MAX && range.empty()) range.end = readable;
  range.end = std::min(range.end, readable);
  return true;
}

namespace {

struct HintScope {
  const Exchange& exchange;
  const SiteTable& sites;
  WallTime wall;
  HintRefusals& refused;
  UriMatcher& matcher;
};

/// Of a suffix of what is asked for now, where it is; else of any. Nothing: it is no range.
std::optional<ByteRange> range_of(const Exchange& exchange, const NextObject& object) noexcept {
  const cache::Selected& selected = exchange.selection.selected;
  const uint64_t length =
      !object.reference && selected ? selected.generation->complete_length() : 0;
  return parse_next_range(*object.range, kHintBytes, length);
}

/// Adds to `hint` what `object` says. False (counted): it is refused.
bool resolve(const HintScope& scope, const NextObject& object, HintNote& hint) {
  const auto refuse = [](Counter& reason) {
    reason.add();
    return false;
  };
  if (object.range) {
    const auto range = range_of(scope.exchange, object);
    if (!range) return refuse(scope.refused.malformed);
    hint.range = *range;
  }
  std::array<char, kReferenceBytesMax> reference_room;
  ReferenceRoom room;
  std::string_view key_text = scope.exchange.asked.key_text;
  if (object.reference) {
    const auto reference = decode_next_object(object, reference_room);
    if (!reference) return refuse(scope.refused.malformed);
    const auto text = key_of_reference(scope.exchange, *reference, room, scope.refused);
    if (!text || !fit_to_token(scope.exchange, scope.sites, text->target, scope.wall, scope.matcher,
                               hint.range, scope.refused))
      return false;
    key_text = text->key_text;
  } else {
    hint.range = hint.range.clipped(scope.exchange.preview_bytes);
    if (hint.range.empty()) return refuse(scope.refused.forbidden);
  }
  if (key_text.size() > hint.text.size()) return refuse(scope.refused.too_long);
  hint.text_bytes = static_cast<uint16_t>(key_text.copy(hint.text.data(), hint.text.size()));
  return true;
}

}  // namespace

void hint_at_next_objects(const Exchange& exchange, const CmcdText& cmcd, const AskedNote& note,
                          const SiteTable& sites, WallTime wall, Inbox& inbox) {
  HintRefusals& refused = inbox.refused[static_cast<uint8_t>(HintSource::Cmcd)];
  const auto next = cmcd.next_objects();
  if (!next) return refused.malformed.add();
  UriMatcher matcher;
  const HintScope scope{exchange, sites, wall, refused, matcher};
  const uint64_t after = part_of(note.demand.track, note.demand.range.first / kSliceBytes);
  // A session id alone is anybody's to send; without one a hint is of this very place.
  const uint64_t place = note.demand.session != 0 ? note.demand.session : mix(after);
  for (const NextObject& object : next->all()) {
    HintNote hint;
    hint.after = after;
    hint.listener = note.listener;
    hint.session = mix(note.listener ^ place) | 1;
    hint.apart = next->count > 1;
    if (resolve(scope, object, hint)) inbox.hints.push(hint);
  }
}

}  // namespace segue::edge
