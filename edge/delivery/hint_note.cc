#include "edge/delivery/hint_note.h"

#include <array>

#include "edge/delivery/admission.h"
#include "edge/fill/key_text.h"
#include "http/relative_target.h"

namespace segue::edge {
namespace {

// Of a range without an end: what players ask for at once (facts of real players).
constexpr uint64_t kOpenRangeBytes = 512 * KiB;

}  // namespace

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
                  WallTime wall, ByteRange& range, HintRefusals& refused) {
  const uint64_t readable =
      readable_elsewhere(exchange, sites, target.substr(0, target.find('?')), wall);
  if (range.first >= readable) {
    refused.forbidden.add();
    return false;
  }
  if (readable != UINT64_MAX && range.empty()) range.end = readable;
  range.end = std::min(range.end, readable);
  return true;
}

std::optional<HintNote> hint_of(const Exchange& exchange, const CmcdText& cmcd,
                                const AskedNote& note, const SiteTable& sites, WallTime wall,
                                HintRefusals& refused) {
  const auto next = cmcd.find("nor");
  const auto range_text = cmcd.find("nrr");
  if (!next && !range_text) return std::nullopt;
  const auto refuse = [](Counter& reason) {
    reason.add();
    return std::nullopt;
  };
  const Asked& asked = exchange.asked;
  const cache::Selected& selected = exchange.selection.selected;
  HintNote hint;
  hint.after = part_of(note.demand.track, note.demand.range.first / kSliceBytes);
  // A session id alone is anybody's to send; without one a hint is of this very place.
  const uint64_t place = note.demand.session != 0 ? note.demand.session : mix(hint.after);
  hint.session = mix(note.listener ^ place) | 1;
  if (range_text) {
    // A suffix tells where it begins only if it is of what is asked for now, and that is known.
    const uint64_t length = !next && selected ? selected.generation->complete_length() : 0;
    const auto range = parse_next_range(*range_text, kOpenRangeBytes, length);
    if (!range) return refuse(refused.malformed);
    hint.range = *range;
  }
  std::array<char, kReferenceBytesMax> reference_room;
  ReferenceRoom room;
  std::string_view key_text = asked.key_text;
  if (next) {
    const auto reference = decode_next_object(*next, reference_room);
    if (!reference) return refuse(refused.malformed);
    const auto text = key_of_reference(exchange, *reference, room, refused);
    if (!text || !fit_to_token(exchange, sites, text->target, wall, hint.range, refused))
      return std::nullopt;
    key_text = text->key_text;
  } else {
    hint.range = hint.range.clipped(exchange.preview_bytes);
    if (hint.range.empty()) return refuse(refused.forbidden);
  }
  if (key_text.size() > hint.text.size()) return refuse(refused.too_long);
  hint.text_bytes = static_cast<uint16_t>(key_text.copy(hint.text.data(), hint.text.size()));
  return hint;
}

}  // namespace segue::edge
