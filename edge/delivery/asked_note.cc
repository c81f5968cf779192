#include "edge/delivery/asked_note.h"

#include <algorithm>

namespace segue::edge {

CmcdText cmcd_of(const http::Request& request) noexcept {
  const std::string_view target = request.origin_form;
  const size_t query = std::min(target.find('?'), target.size());
  return CmcdText(target.substr(std::min(query + 1, target.size())), request.fields);
}

namespace {

/// Where a request comes from, and with which player: many people share one address. Not which
/// connection: players open several, and others for the next track.
uint64_t place_of(const Exchange& exchange, cache::LocalStore& local) noexcept {
  const std::string_view player = exchange.request.fields.find("user-agent").value_or("");
  return exchange.client.address_hash ^ local.store().hash(player).low;
}

}  // namespace

std::optional<AskedNote> note_of(const Exchange& exchange, const CmcdText& cmcd, bool known,
                                 cache::LocalStore& local) noexcept {
  const Asked& what = exchange.asked;
  if (what.head_only) return std::nullopt;
  AskedNote note;
  note.demand.track = track_of(what.key);
  const std::string_view subject = exchange.token_id;
  if (!subject.empty()) note.demand.subject = listener_of(local.store().hash(subject));
  if (const auto session = cmcd.find("sid")) {
    note.demand.session = local.store().hash(*session).low | 1;
  } else if (!subject.empty()) {
    note.demand.session = local.store().hash(subject).low | 1;
  }
  note.listener = !subject.empty() ? note.demand.subject : place_of(exchange, local);
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
  // Only the name of what there is: whoever asks for paths that do not exist must not push what is
  // played out of the names that are known.
  const bool exists =
      known && exchange.selection.response->parts().form == StoredResponse::Form::Normal;
  if (exists && note.demand.range.first == 0 && what.key_text.size() <= note.text.size()) {
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
