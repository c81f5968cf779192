#include "edge/delivery/asked_note.h"

#include <algorithm>

namespace segue::edge {

CmcdText cmcd_of(const http::Request& request) noexcept {
  const std::string_view target = request.origin_form;
  const size_t query = std::min(target.find('?'), target.size());
  return CmcdText(target.substr(std::min(query + 1, target.size())), request.fields);
}

std::optional<AskedNote> note_of(const Exchange& exchange, const CmcdText& cmcd, bool known,
                                 cache::LocalStore& local) noexcept {
  const Asked& what = exchange.asked;
  if (what.head_only) return std::nullopt;
  AskedNote note;
  note.demand.track = track_of(what.key);
  note.listener = exchange.client.address_hash;
  if (const auto session = cmcd.find("sid"))
    note.demand.session = local.store().hash(*session).low | 1;
  const uint64_t length = known ? exchange.selection.selected.generation->complete_length() : 0;
  switch (what.range_form) {
    case Asked::RangeForm::None:
      note.demand.range = {0, UINT64_MAX};
      break;
    case Asked::RangeForm::Bounded:
    case Asked::RangeForm::OpenEnded:
      note.demand.range = what.range;
      break;
    case Asked::RangeForm::Suffix:
      if (!known) return std::nullopt;
      note.demand.range = {length - std::min(length, what.range.end), length};
      break;
  }
  if (note.demand.range.first == 0 && what.key_text.size() <= note.text.size()) {
    note.text_bytes = static_cast<uint16_t>(what.key_text.copy(note.text.data(), note.text.size()));
  }
  if (known && note.demand.range.first < length) {
    const cache::Where where = local.store().where(*exchange.selection.selected.generation,
                                                   cache::slice_at(note.demand.range.first));
    note.demand.hit = where == cache::Where::Resident || where == cache::Where::OnDrive;
  }
  return note;
}

}  // namespace segue::edge
