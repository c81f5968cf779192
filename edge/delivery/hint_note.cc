#include "edge/delivery/hint_note.h"

#include <array>

#include "edge/delivery/admission.h"
#include "edge/fill/key_text.h"
#include "http/relative_target.h"

namespace segue::edge {
namespace {

// Longer ones are not told to the planner, which keeps kNoteTextBytesMax.
constexpr size_t kReferenceBytesMax = 1024;
// Of a range without an end: what players ask for at once (facts of real players).
constexpr uint64_t kOpenRangeBytes = 512 * KiB;

}  // namespace

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
  std::array<char, kReferenceBytesMax> target_room;
  std::array<char, kReferenceBytesMax> scratch;
  std::string_view key_text = asked.key_text;
  if (next) {
    const auto reference = decode_next_object(*next, reference_room);
    if (!reference) return refuse(refused.malformed);
    const auto resolved = http::resolve_on_host(asked.target, *reference, target_room);
    if (!resolved) return refuse(refused.foreign);
    const auto text = write_key_text(*asked.site, *resolved, scratch, reference_room);
    if (!text)
      return refuse(text.error().kind == Kind::Full ? refused.too_long : refused.malformed);
    const std::string_view path = text->target.substr(0, text->target.find('?'));
    const uint64_t readable = readable_elsewhere(exchange, sites, path, wall);
    if (hint.range.first >= readable) return refuse(refused.forbidden);
    if (readable != UINT64_MAX && hint.range.empty()) hint.range.end = readable;
    hint.range.end = std::min(hint.range.end, readable);
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
