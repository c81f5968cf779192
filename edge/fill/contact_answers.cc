// What becomes of a contact by the origin's answer (ARCHITECTURE.md, first contact; the table of
// faults is in tests/wire/origin_faults.md).
#include <algorithm>
#include <cstring>

#include "edge/fill/fills_impl.h"
#include "edge/fill/pass_stream.h"

namespace segue::edge {

using cache::Generation;
using cache::SliceIndex;

namespace {

struct Collected {
  std::vector<std::byte> bytes;
  bool complete = false;
};

/// Reads to the end of the body, or until more than `bytes_max` came, or past `until`.
Task<Result<Collected>> collect(Loop& loop, origin::FetchStream& stream, size_t bytes_max,
                                MonoTime until) {
  constexpr size_t kStep = 64 * KiB;
  Collected collected;
  size_t used = 0;
  while (used <= bytes_max && loop.now() < until) {
    const size_t room = std::min(kStep, bytes_max + 1 - used);
    collected.bytes.resize(used + room);
    auto got = co_await stream.read(std::span(collected.bytes).subspan(used, room));
    if (!got) co_return fail(got.error());
    if (*got == 0) {
      collected.complete = true;
      break;
    }
    used += *got;
    if (used > bytes_max) break;
  }
  collected.bytes.resize(used);
  co_return collected;
}

}  // namespace

void Fills::Impl::answer_failed(Contact& contact, Error error) {
  // What failed for nobody is no reason to keep a listener from the origin.
  if (error.side == Side::Origin && contact.ask.priority == cache::Priority::Demand)
    troubles.note(contact.ask.key, loop.now(), {.error = error, .pass = false});
  contact.stream.reset();
  contact.head = nullptr;
  contact.permit = {};
  if (may_serve_on_error(contact.basis)) {
    const int status = contact.selection.forward_status;
    contact.selection = stale_selection(contact.basis);
    contact.selection.forward_status = status;
    contact.decide(Contact::Outcome::Selected);
    return;
  }
  contact.error = error;
  contact.decide(Contact::Outcome::Failed);
}

void Fills::Impl::pass_through(Contact& contact, std::vector<std::byte> collected) {
  const int status = contact.head->status;
  // A 206 answers the slices we asked for, not the client's range.
  bool own_fetch = status == 206 || status == 416 || status == 304;
  origin::FetchPlace pass_place;
  if (!own_fetch) {
    pass_place = fetcher_of(*contact.ask.site).pass_places().try_take(/*prefetch=*/false);
    own_fetch = !pass_place;  // it waits for its place without holding this one
  }
  const bool replaces = status == 200 || status == 206 || status == 404 || status == 410;
  if (replaces || !contact.basis) {
    const std::chrono::seconds pass_for = status == 200 || status == 206
                                              ? std::chrono::seconds(kPassFor)
                                              : std::chrono::seconds(kErrorPassFor);
    cache::Selected marker{
        .generation = make_ref<Generation>(contact.ask.key, contact.ask.key_text,
                                           contact.permit.sequence(), uint64_t{0}),
        .facts = pass_marker(loop.wall_now() + pass_for)};
    // A purge in between only means that the next request is a contact again.
    (void)store.commit(std::move(contact.permit),
                       {.selected = std::move(marker), .tag_hashes = {}, .ram_only = true});
  } else {
    // What is stored may still be revalidated when the origin is well again.
    troubles.note(contact.ask.key, loop.now(), {.error = {}, .pass = true});
  }
  contact.permit = {};
  if (own_fetch) {
    contact.stream.reset();
    contact.decide(Contact::Outcome::OwnPass);
    return;
  }
  counters.pass_started.add();
  contact.selection.pass_head = contact.head;
  contact.selection.pass =
      std::make_unique<PassStream>(std::move(collected), std::move(contact.stream), contact.head,
                                   &counters.pass_bytes, std::move(pass_place));
  contact.decide(Contact::Outcome::Stream);
}

/// A version keeps its tags as long as it is stored. An origin that gives it others is asked for it
/// anew, so that a purge by any of them finds it.
bool Fills::Impl::has_other_tags(const Contact& contact) const {
  const http::FieldsView fields = contact.head->fields.view();
  const Site& site = *contact.ask.site;
  const bool silent = std::ranges::none_of(
      site.tag_fields, [&](const std::string& name) { return fields.contains(name); });
  if (silent) return false;  // a 304 need not repeat them
  const auto tags = tags_of(fields, site, store);
  return !tags || !std::ranges::equal(*tags, contact.basis.generation->tag_hashes());
}

Fills::Impl::Ask Fills::Impl::answer_not_modified(Contact& contact) {
  const StoredResponse& stored = stored_of(contact.basis);
  if (!is_about(stored, *contact.head) || has_other_tags(contact)) {
    contact.basis = {};
    return Ask::Planned;
  }
  const auto facts = freshened(stored, *contact.head, *contact.ask.site);
  contact.stream.reset();
  freshen(contact, facts);
  return Ask::Conditional;
}

/// Puts new facts in force for the version we have.
void Fills::Impl::freshen(Contact& contact, const Ref<const StoredResponse>& facts) {
  contact.selected = {.generation = contact.basis.generation, .facts = facts};
  if (!store.freshen(std::move(contact.permit), contact.basis.generation, facts)) {
    abandon(contact);
    return;
  }
  counters.revalidated.add();
  decide_selected(contact);
}

void Fills::Impl::abandon(Contact& contact) {
  contact.permits.clear();
  contact.next = contact.end = 0;
  contact.covers_bytes = {};
  contact.stream.reset();
  contact.permit = {};
  contact.decide(Contact::Outcome::LookAgain);
}

void Fills::Impl::decide_selected(Contact& contact) {
  troubles.forget(contact.ask.key);
  contact.selection.selected = contact.selected;
  contact.selection.response = &stored_of(contact.selected);
  contact.selection.stored = true;
  contact.decide(Contact::Outcome::Selected);
}

Task<Fills::Impl::Ask> Fills::Impl::answer_content(Contact& contact, Ask form) {
  const origin::FetchHead& head = *contact.head;
  Verdict verdict =
      judge(head, 200, contact.ask, fetcher_of(*contact.ask.site).validator_rule(), store);
  if (verdict.too_many_tags) counters.tags_refused.add();
  if (!verdict.storable) {
    pass_through(contact, {});
    co_return form;
  }
  if (head.complete_length) {
    const ByteRange covers = head.content_range.value_or(ByteRange{0, *head.complete_length});
    co_return settle(contact, form, std::move(verdict), *head.complete_length, covers);
  }
  if (head.status == 206) {
    // No number as total: a 200 tells the length, or shows its end.
    if (form == Ask::WithoutRange) answer_failed(contact, {Side::Origin, Kind::Mismatch});
    co_return Ask::WithoutRange;
  }
  if (collections >= options.collections_max) {
    pass_through(contact, {});
    co_return form;
  }
  // No 206 is possible before the length is known, so the end is awaited (RFC 9110 §14.4).
  ++collections;
  auto collected = co_await collect(loop, *contact.stream, options.unknown_length_bytes_max,
                                    loop.now() + kCollectMax);
  --collections;
  if (!collected) {
    answer_failed(contact, collected.error());
    co_return form;
  }
  if (!collected->complete) {
    pass_through(contact, std::move(collected->bytes));
    co_return form;
  }
  const uint64_t length = collected->bytes.size();
  // From here on the head lives with the bytes: where they are passed through after all they
  // outlive the contact.
  auto whole = std::make_unique<PassStream>(std::move(collected->bytes), head);
  contact.head = whole->known_head();
  contact.stream = std::move(whole);
  co_return settle(contact, form, std::move(verdict), length, {0, length});
}

/// A storable answer of known length: the version we have, a new one, or not fit to be kept.
Fills::Impl::Ask Fills::Impl::settle(Contact& contact, Ask form, Verdict verdict, uint64_t length,
                                     ByteRange covers) {
  const origin::FetchHead& head = *contact.head;
  const bool whole = covers == ByteRange{0, length};
  if (length > cache::kCompleteLengthMax) {
    pass_through(contact, {});
    return form;
  }
  const bool same = contact.basis && same_version(fetcher_of(*contact.ask.site).validator_rule(),
                                                  stored_of(contact.basis), head);
  if (same && contact.basis.generation->complete_length() != length) {
    // Another length under the same validator: one of the two answers is wrong, and nobody can say
    // which. Neither is served on; the next request starts anew.
    counters.validator_mismatches.add();
    store.detach(contact.basis.generation);
    contact.basis = {};  // not even served stale
    answer_failed(contact,
                  {Side::Origin, Kind::Mismatch, false, 0, "other length, same validator"});
    return form;
  }
  if (same && !std::ranges::equal(verdict.tags, contact.basis.generation->tag_hashes())) {
    contact.basis = {};
    return Ask::Planned;
  }
  if (same) {
    contact.selected = contact.basis;
    claim(contact, covers);
    contact.covers_bytes = covers;
    freshen(contact, make_ref<const StoredResponse>(std::move(verdict.parts)));
    return form;
  }
  if (contact.basis && contact.conditional && !contact.asked_original_again &&
      head.server != stored_of(contact.basis).parts().server) {
    // Servers of one origin often disagree: the one the version came from is asked again first.
    contact.asked_original_again = true;
    counters.validator_mismatches.add();
    return form;
  }
  if (!verdict.parts.strong_validator && length > kFillRunBytesMax) {
    // Its slices must come from one response (RFC 9110 §15.3.7.3), and that is too long to be held
    // at once: every request gets its own answer.
    pass_through(contact, {});
    return form;
  }
  if (!verdict.parts.strong_validator && !whole) return Ask::WithoutRange;
  if (flaps.flaps(contact.ask.key, loop.now())) {
    counters.flapping.add();
    pass_through(contact, {});
    return form;
  }
  install(contact, std::move(verdict), length, covers);
  return form;
}

void Fills::Impl::replaced(const Generation& generation) noexcept {
  counters.generations_replaced.add();
  // A new version of one slice came whole with the answer that told of it: nothing is lost by it,
  // however often. So it is with every playlist of a live stream.
  if (generation.slices() > 1) flaps.note(generation.key(), loop.now());
}

void Fills::Impl::install(Contact& contact, Verdict verdict, uint64_t length, ByteRange covers) {
  if (!enter_variant(contact, verdict.vary)) return;
  const auto slices = static_cast<uint32_t>(
      std::min<uint64_t>((covers.length() + kSliceBytes - 1) / kSliceBytes, kFillRunSlicesMax));
  if (contact.reservation.count() < slices) {
    // Claimed ahead, slices of a whole answer are seen as coming by every loop.
    if (auto more = store.try_reserve(slices, contact.ask.priority);
        more && more->count() > contact.reservation.count())
      contact.reservation = std::move(*more);
  }
  contact.selected = {
      .generation = make_ref<Generation>(contact.ask.key, contact.ask.key_text,
                                         contact.permit.sequence(), length, contact.list),
      .facts = make_ref<const StoredResponse>(std::move(verdict.parts))};
  claim(contact, covers);
  contact.covers_bytes = covers;
  if (contact.basis) replaced(*contact.basis.generation);
  if (!store.commit(std::move(contact.permit), {.selected = contact.selected,
                                                .tag_hashes = std::move(verdict.tags),
                                                .ram_only = false})) {
    abandon(contact);  // purged meanwhile: whoever asks now must not get it
    return;
  }
  decide_selected(contact);
}

/// Makes contact.ask.key the key of this request's variant. False: it was decided otherwise.
bool Fills::Impl::enter_variant(Contact& contact, const http::VaryNames& vary) {
  if (contact.list) {
    if (vary == contact.list_names) return true;
    store.detach(contact.list);  // the next request learns the new names
    pass_through(contact, {});
    return false;
  }
  if (vary.empty()) return true;
  const cache::Sequence sequence = contact.permit.sequence();
  auto variant = variant_of(vary, contact.ask.fields.view(), contact.ask.key_text, sequence);
  if (!variant) {
    pass_through(contact, {});
    return false;
  }
  // Its sequence is later than the request, but its key holds the list's: a purge that covers the
  // list makes the variant unreachable.
  auto permit = store.try_start_contact(variant->key);
  cache::Selected list{.generation = make_ref<Generation>(contact.ask.key, contact.ask.key_text,
                                                          sequence, uint64_t{0}),
                       .facts = vary_list(vary, loop.wall_now())};
  (void)stored_of(list).admits_variant(variant->key.low);  // the first finds room
  contact.list = list.generation;
  contact.list_names = vary;
  const bool in_force = store.commit(
      std::move(contact.permit), {.selected = std::move(list), .tag_hashes = {}, .ram_only = true});
  if (!in_force || !permit) {
    abandon(contact);
    return false;
  }
  contact.permit = std::move(*permit);
  contact.ask.key = variant->key;
  contact.ask.key_text = std::move(variant->text);
  contact.basis = {};
  return true;
}

Fills::Impl::Ask Fills::Impl::answer_unsatisfied(Contact& contact, Ask form) {
  const origin::FetchHead& head = *contact.head;
  if (form == Ask::Conditional) {  // it has shrunk
    contact.basis = {};
    return Ask::Planned;
  }
  if (form == Ask::WithoutRange) {
    answer_failed(contact, {Side::Origin, Kind::Mismatch, false, 0, "416 without a range"});
    return form;
  }
  if (head.complete_length == uint64_t{0}) {
    Verdict verdict =
        judge(head, 200, contact.ask, fetcher_of(*contact.ask.site).validator_rule(), store);
    if (verdict.storable) {
      contact.stream.reset();
      install(contact, std::move(verdict), 0, {});
    } else {
      pass_through(contact, {});
    }
    return form;
  }
  if (form == Ask::FirstByte || !head.complete_length) return Ask::WithoutRange;
  // The length alone is not enough: a 416 carries no validators to store. One byte brings them.
  if (contact.ask.range_form == Asked::RangeForm::Suffix ||
      !is_satisfiable(contact.ask, *head.complete_length))
    return Ask::FirstByte;
  return Ask::WithoutRange;  // it refuses what it has
}

/// A status that is no content of ours to cut into slices: stored as it came, if at all, in RAM.
Task<void> Fills::Impl::answer_negative(Contact& contact) {
  const origin::FetchHead& head = *contact.head;
  Verdict verdict =
      judge(head, head.status, contact.ask, fetcher_of(*contact.ask.site).validator_rule(), store);
  if (verdict.too_many_tags) counters.tags_refused.add();
  // A server's error without a lifetime is for those alone who wait for it now.
  const bool only_now = head.status >= 500 && !verdict.storable;
  if ((only_now ? !verdict.repeatable : !verdict.storable) || !verdict.vary.empty() ||
      head.content_length.value_or(0) > kSmallAnswerBytesMax) {
    pass_through(contact, {});
    co_return;
  }
  auto collected = co_await collect(loop, *contact.stream, kSmallAnswerBytesMax, contact.deadline);
  if (!collected) {
    answer_failed(contact, collected.error());
    co_return;
  }
  if (!collected->complete) {
    pass_through(contact, std::move(collected->bytes));
    co_return;
  }
  contact.stream.reset();
  if (only_now) verdict.parts.lifetime = std::chrono::seconds{0};
  install_negative(contact, std::move(verdict), collected->bytes);
}

void Fills::Impl::install_negative(Contact& contact, Verdict verdict,
                                   std::span<const std::byte> body) {
  contact.selected = {.generation = make_ref<Generation>(contact.ask.key, contact.ask.key_text,
                                                         contact.permit.sequence(), body.size()),
                      .facts = make_ref<const StoredResponse>(std::move(verdict.parts))};
  if (!body.empty()) {
    auto permit =
        store.try_start_fill(contact.selected.generation, SliceIndex{0}, contact.reservation);
    SEGUE_ASSERT(static_cast<bool>(permit));  // a new generation, and a buffer was reserved
    std::memcpy(permit.writable().data(), body.data(), body.size());
    permit.publish(static_cast<uint32_t>(body.size()));
    std::move(permit).commit(local);
  }
  if (!store.commit(std::move(contact.permit), {.selected = contact.selected,
                                                .tag_hashes = std::move(verdict.tags),
                                                .ram_only = true})) {
    abandon(contact);
    return;
  }
  counters.negative_stored.add();
  decide_selected(contact);
}

Task<void> Fills::Impl::answer_server_error(Contact& contact) {
  const Error error{Side::Origin, Kind::Refused, true, 0, "server error"};
  if (may_serve_on_error(contact.basis)) {
    answer_failed(contact, error);
  } else if (!contact.basis) {
    co_await answer_negative(contact);
  } else {
    pass_through(contact, {});
    troubles.note(contact.ask.key, loop.now(), {.error = error, .pass = false});
  }
}

}  // namespace segue::edge
