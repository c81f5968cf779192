// Contacts: one question about a key's header, whatever ranges are asked, and what is asked in it.
// The answers are in contact_answers.cc.
#include <algorithm>

#include "edge/fill/fills_impl.h"
#include "http/date.h"

namespace segue::edge {

using cache::SliceIndex;
using RangeForm = origin::FetchRequest::RangeForm;

void Contact::decide(Outcome what) noexcept {
  SEGUE_ASSERT(outcome == Outcome::Undecided);
  outcome = what;
  left = false;  // who comes from here on reads what it brings
  if (starter != nullptr) starter->raise();
}

bool all_here(cache::Store& store, const cache::Generation& generation) noexcept {
  if (generation.slices() > kFillRunSlicesMax) return false;
  for (uint32_t slice = 0; slice < generation.slices(); ++slice) {
    if (store.where(generation, SliceIndex{slice}) == cache::Where::Absent) return false;
  }
  return true;
}

namespace {

/// Bytes of the representation that the request needs, of a known length.
ByteRange wanted_of(const OwnedAsk& ask, uint64_t length) noexcept {
  switch (ask.range_form) {
    case Asked::RangeForm::None:
      return {0, length};
    case Asked::RangeForm::Bounded:
      return ask.range.clipped(length);
    case Asked::RangeForm::OpenEnded:
      return {std::min(ask.range.first, length), length};
    case Asked::RangeForm::Suffix:
      return {length - std::min(length, ask.range.end), length};
  }
  return {};
}

/// The slice that a conditional request asks along: the first one missing of what is wanted, so
/// that a changed representation costs one slice.
SliceIndex slice_in_question(cache::Store& store, const OwnedAsk& ask,
                             const cache::Generation& generation) noexcept {
  const ByteRange wanted = wanted_of(ask, generation.complete_length());
  if (wanted.empty()) return SliceIndex{0};
  const SliceIndex first = cache::slice_at(wanted.first);
  const SliceIndex last = cache::slice_at(wanted.end - 1);
  for (SliceIndex slice = first; slice <= last && slice.value < first.value + kFillRunSlicesMax;
       ++slice.value) {
    if (store.where(generation, slice) == cache::Where::Absent) return slice;
  }
  return first;
}

/// What is asked of a key nothing is known of: whole slices around the range, so that what comes
/// can be kept.
void plan_first(const OwnedAsk& ask, origin::FetchRequest& request) noexcept {
  request.range_form = RangeForm::Bounded;
  if (ask.range_form == Asked::RangeForm::Suffix && !ask.head_only) {
    // Aligned to slices it cannot be without the length: one slice more covers the first whole one.
    // A longer suffix than a run learns the length first and is then filled in runs.
    if (ask.range.end <= kFillRunBytesMax - kSliceBytes) {
      request.range_form = RangeForm::Suffix;
      request.suffix_length = ask.range.end + kSliceBytes;
    } else {
      request.range = {0, 1};
    }
    return;
  }
  const bool has_first =
      ask.range_form == Asked::RangeForm::Bounded || ask.range_form == Asked::RangeForm::OpenEnded;
  const uint64_t first =
      has_first ? std::min(round_down(ask.range.first, kSliceBytes), kOpenEnd) : 0;
  uint64_t end = first + uint64_t{kFillOpenEndedFirstSlices} * kSliceBytes;
  if (ask.range_form == Asked::RangeForm::Bounded)
    end = round_up(std::clamp(ask.range.end, first + 1, first + kFillRunBytesMax), kSliceBytes);
  if (ask.head_only) end = first + kSliceBytes;
  request.range = {first, end};
}

/// What the origin sets by this answer is for the client that asked for it.
void take_cookies(Contact& contact) {
  http::OwnedFields& cookies = contact.selection.cookies;
  cookies = {};
  http::FieldValues values(contact.head->fields.view(), "Set-Cookie");
  while (const auto value = values.next()) {
    if (cookies.size() < kCookiesMax) (void)cookies.add("Set-Cookie", *value);
  }
}

uint32_t slices_of(const origin::FetchRequest& request) noexcept {
  uint64_t bytes = kSliceBytes;  // without a range: one, and on as it comes
  if (request.range_form == RangeForm::Bounded) bytes = request.range.length();
  if (request.range_form == RangeForm::Suffix) bytes = request.suffix_length;
  return static_cast<uint32_t>(
      std::clamp<uint64_t>((bytes + kSliceBytes - 1) / kSliceBytes, 1, kFillRunSlicesMax));
}

}  // namespace

Ref<Contact> Fills::Impl::start_contact(OwnedAsk ask, cache::ContactPermit permit,
                                        cache::Selected basis, Ref<cache::Generation> list,
                                        const http::VaryNames& list_names, Signal* starter,
                                        cache::BufferReservation reservation) {
  if (!has_room(ask.priority)) return {};
  auto contact = make_ref<Contact>();
  const bool prefetch = ask.priority == cache::Priority::Prefetch;
  contact->place = fetcher_of(*ask.site).places().try_take(prefetch);
  if (prefetch && !contact->place) return {};  // it does not wait, since demand may wait for it
  contact->reservation = std::move(reservation);
  contact->ask = std::move(ask);
  contact->permit = std::move(permit);
  contact->deadline = loop.now() + kContactMax;
  contact->starter = starter;
  contact->list = std::move(list);
  contact->list_names = list_names;
  if (basis) {
    const auto& stored = static_cast<const StoredResponse&>(*basis.facts);
    const StoredResponse::Parts& parts = stored.parts();
    // Without a strong validator slices cannot be added: what misses some is asked for whole.
    contact->conditional = (!parts.etag.empty() || parts.last_modified) &&
                           (parts.strong_validator || all_here(store, *basis.generation));
    contact->basis = std::move(basis);
  }
  if (!tasks.try_spawn(run_contact(contact))) return {};
  return contact;
}

Task<void> Fills::Impl::run_contact(Ref<Contact> owned) {
  const Ref<Contact> held = std::move(owned);
  Contact& contact = *held;
  Ask form = Ask::Planned;
  if (contact.conditional) {
    form = Ask::Conditional;
  } else if (contact.basis && !stored_of(contact.basis).parts().strong_validator) {
    form = Ask::WithoutRange;
  }
  enter(contact);
  if (!contact.place) {
    // It is paid for before it is waited for: a thousand misses at once are a thousand.
    const uint64_t expected = expected_bytes(contact_request(contact, form));
    contact.charge = {meter, loop, contact.ask.payer, expected};
    auto place = co_await take_contact_place(contact);
    if (!place) {
      answer_failed(contact, place.error());
      leave(contact);
      co_return;
    }
    contact.place = std::move(*place);
  }
  counters.contacts.add();
  if (contact.conditional) counters.revalidations.add();
  for (uint32_t asks = 0; asks < kContactAsksMax && contact.outcome == Contact::Outcome::Undecided;
       ++asks)
    form = co_await ask_origin(contact, form);
  if (contact.outcome == Contact::Outcome::Undecided)
    answer_failed(contact, {Side::Origin, Kind::Mismatch, false, 0, "contact"});
  SEGUE_ASSERT(!contact.permit);
  if (contact.stream && !contact.covers_bytes.empty()) {
    auto landed = co_await land(contact, *contact.stream, contact.covers_bytes);
    if (!landed) {
      counters.fills_cut.add();
      if (contact.ask.priority == cache::Priority::Demand)
        failed_fills.note(contact.ask.key, loop.now(), {.error = landed.error()});
    }
  }
  contact.stream.reset();
  leave(contact);
}

void Fills::Impl::starter_left(Contact& contact) noexcept {
  contact.left =
      contact.outcome == Contact::Outcome::Undecided && !store.is_awaited(contact.ask.key);
  if (contact.left) contact.signal.raise();
}

Task<Result<origin::FetchPlace>> Fills::Impl::take_contact_place(Contact& contact) {
  const bool for_clients = contact.starter != nullptr;
  auto place = co_await take_place(fetcher_of(*contact.ask.site).places(), contact.signal,
                                   contact.left, contact.deadline, contact.ask.urgent);
  // Others who wait on other loops leave without a word.
  const bool all_left =
      for_clients && contact.starter == nullptr && !store.is_awaited(contact.ask.key);
  if (place && all_left) co_return fail(Side::Client, Kind::Closed, "contact");
  co_return place;
}

origin::FetchRequest Fills::Impl::contact_request(const Contact& contact, Ask form) {
  auto request = plain_request(*contact.ask.site, contact.ask.target, contact.ask.fields.view(),
                               contact.ask.traceparent);
  request.first_byte_deadline = contact.deadline;
  if (contact.basis) request.preferred_server = stored_of(contact.basis).parts().server;
  switch (form) {
    case Ask::Planned:
      plan_first(contact.ask, request);
      break;
    case Ask::WithoutRange:
      break;
    case Ask::FirstByte:
      request.range_form = RangeForm::Bounded;
      request.range = {0, 1};
      break;
    case Ask::Conditional: {
      const StoredResponse::Parts& parts = stored_of(contact.basis).parts();
      const cache::Generation& generation = *contact.basis.generation;
      request.if_none_match = parts.etag;
      if (parts.last_modified) {
        std::array<char, http::kDateBytes> text;
        request.if_modified_since = http::write_date(*parts.last_modified, text);
      }
      if (parts.strong_validator && generation.slices() > 0) {
        const SliceIndex slice = slice_in_question(store, contact.ask, generation);
        request.range_form = RangeForm::Bounded;
        request.range = {cache::first_byte_of(slice), cache::first_byte_of(slice) + kSliceBytes};
      }
      break;
    }
  }
  return request;
}

Task<Fills::Impl::Ask> Fills::Impl::ask_origin(Contact& contact, Ask form) {
  auto request = contact_request(contact, form);
  contact.head = nullptr;
  contact.stream.reset();
  contact.left = contact.left && !store.is_awaited(contact.ask.key);  // others may have come since
  if (!contact.charge) contact.charge = {meter, loop, contact.ask.payer, expected_bytes(request)};
  // Before the request: bytes that come must have a place.
  if (auto ready = co_await make_ready(contact, slices_of(request), contact.deadline); !ready) {
    answer_failed(contact, ready.error());
    co_return form;
  }
  request.prefetch = contact.ask.priority == cache::Priority::Prefetch;
  request.place = std::move(contact.place);
  auto started =
      start_fetch(fetcher_of(*contact.ask.site), std::move(request), std::move(contact.charge));
  if (!started) {
    answer_failed(contact, started.error());
    co_return form;
  }
  contact.stream = std::move(*started);
  auto head = co_await await_head(*contact.stream, contact.ask);
  if (!head) {
    answer_failed(contact, head.error());
    co_return form;
  }
  contact.head = *head;
  contact.selection.forward_status = contact.head->status;
  contact.selection.origin_latency = contact.head->first_byte_latency;
  take_cookies(contact);
  co_return co_await take_answer(contact, form);
}

Task<Fills::Impl::Ask> Fills::Impl::take_answer(Contact& contact, Ask form) {
  const int status = contact.head->status;
  if (status == 304 && form == Ask::Conditional) co_return answer_not_modified(contact);
  if (status == 200 || status == 206) co_return co_await answer_content(contact, form);
  if (status == 416) co_return answer_unsatisfied(contact, form);
  if (status >= 500) {
    co_await answer_server_error(contact);
  } else {
    co_await answer_negative(contact);
  }
  co_return form;
}

/// Whether the client's range has a byte in a representation of `length` bytes.
bool is_satisfiable(const OwnedAsk& ask, uint64_t length) noexcept {
  return !wanted_of(ask, length).empty();
}

}  // namespace segue::edge
