// edge/fill/fills_impl.h - the inside of Fills: the tasks of one loop and what they share. Only the
// files of this folder include it.
#pragma once
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "edge/fill/fills.h"
#include "edge/fill/flaps.h"
#include "edge/fill/owned_ask.h"
#include "edge/fill/storing.h"
#include "edge/fill/troubles.h"

namespace segue::edge {

/// How long a contact, and a wait for a buffer, may take: players give up at 8 s.
inline constexpr std::chrono::seconds kContactMax{6};
/// How long a key that cannot be stored is passed through before a contact looks again.
inline constexpr std::chrono::seconds kPassFor{10};
/// How long a key is passed through whose origin gave an error, before a contact looks again.
inline constexpr std::chrono::seconds kErrorPassFor{1};
/// How long the first kVariantsMax variants of a key keep others from being stored.
inline constexpr std::chrono::minutes kVariantsFor{10};
/// Set-Cookie lines of one answer that reach its client.
inline constexpr uint32_t kCookiesMax = 8;
/// A 200 of unknown length that takes longer than this to its end is passed through.
inline constexpr std::chrono::seconds kCollectMax{3};
/// Further asks of one contact after an answer that calls for another form.
inline constexpr uint32_t kContactAsksMax = 4;
/// How often a reader may see a fill of one slice fail before its response is cut.
inline constexpr uint32_t kFillFailuresMax = 2;
/// Once whole, a slice stays Filling for this long while somebody reads: in a full RAM tier it
/// could be evicted by other fills before its readers, woken by a message, have had their turn, and
/// fills and readers would chase each other for ever.
inline constexpr std::chrono::milliseconds kSettleFor{1};

/// A fill under way on this loop: it lands slices [next, end) of one generation. Loop-owned.
struct FillRun : public RefCounted {
  OwnedAsk ask;
  cache::Selected selected;
  cache::BufferReservation reservation;
  origin::FetchPlace place;                // until the request goes out with it
  OriginCharge charge;                     // likewise
  std::vector<cache::FillPermit> permits;  // claimed ahead, ascending
  size_t permits_used = 0;
  // Landed whole and not committed yet: see kSettleFor.
  std::vector<cache::FillPermit> settling;
  MonoTime settling_since{};
  uint32_t next = 0;
  uint32_t end = 0;
  bool queued = false;           // waits for its turn; nothing is claimed
  bool left = false;             // by all who waited for it while it did: it asks nobody
  Signal signal;                 // of the fill's own waits (places, buffers)
  std::vector<Signal*> waiting;  // readers of this loop that wait for slices not claimed yet

  [[nodiscard]] bool covers(const cache::Generation& generation, uint32_t slice) const noexcept {
    return selected.generation.get() == &generation && slice >= next && slice < end;
  }
  void wake_waiting() noexcept;
};

/// The question about a key's header, and then the fill that goes on from its answer.
struct Contact final : public FillRun {
  cache::ContactPermit permit;
  cache::Selected basis;        // what is stored and stale; empty: nothing usable is
  bool conditional = false;     // it has a validator to ask by
  Ref<cache::Generation> list;  // ask.key is a variant of this list
  http::VaryNames list_names;
  MonoTime deadline = kNever;
  std::unique_ptr<origin::FetchStream> stream;
  const origin::FetchHead* head = nullptr;  // lives in `stream`
  ByteRange covers_bytes;                   // of the answer that is to be landed
  bool asked_original_again = false;

  // What the starter is told. It waits on its own signal; null: it left, or there is none.
  enum class Outcome : uint8_t { Undecided, Selected, Stream, OwnPass, LookAgain, Failed };
  Outcome outcome = Outcome::Undecided;
  Error error;
  Selection selection;
  Signal* starter = nullptr;

  void decide(Outcome what) noexcept;
};

/// The head of a pass-through fetch, awaited in a task of its own: a client that leaves does not
/// wait for the origin.
struct PassJob final : public RefCounted {
  origin::Fetcher* fetcher = nullptr;
  OriginCharge charge;
  origin::FetchRequest request;
  std::unique_ptr<origin::FetchStream> stream;
  Result<const origin::FetchHead*> head = nullptr;
  bool urgent = false;
  bool done = false;
  Signal* starter = nullptr;  // null once it has left
};

[[nodiscard]] inline const StoredResponse& stored_of(const cache::Selected& selected) noexcept {
  return static_cast<const StoredResponse&>(*selected.facts);  // nothing else is ever installed
}
/// Whether no slice of a generation of at most one run is missing.
[[nodiscard]] bool all_here(cache::Store& store, const cache::Generation& generation) noexcept;
/// Whether the client's range has a byte in a representation of `length` bytes.
[[nodiscard]] bool is_satisfiable(const OwnedAsk& ask, uint64_t length) noexcept;

struct Fills::Impl {
  Impl(Loop& on, cache::LocalStore& door, std::vector<origin::Fetcher*> origins, Options chosen)
      : loop(on),
        local(door),
        store(door.store()),
        fetchers(std::move(origins)),
        options(std::move(chosen)),
        tasks(on, options.fills_max + kPrefetchTasksPerLoopMax),
        scratch(std::make_unique_for_overwrite<std::byte[]>(kScratchBytes)) {}

  [[nodiscard]] origin::Fetcher& fetcher_of(const Site& site) const noexcept {
    SEGUE_ASSERT(site.origin < fetchers.size());
    return *fetchers[site.origin];
  }

  // --- select (fills.cc) ---
  struct Variant {
    KeyHash key;
    std::string text;
  };
  /// The key of the variant that `request` selects; nothing if its fields are too long.
  [[nodiscard]] std::optional<Variant> variant_of(const http::VaryNames& names,
                                                  http::FieldsView request,
                                                  std::string_view key_text,
                                                  cache::Sequence list) const;
  /// A response can be made of it, were it fresh.
  [[nodiscard]] bool is_servable(const cache::Selected& selected) noexcept;
  /// Fresh enough to be served without a word to the origin.
  [[nodiscard]] bool is_hit(const cache::Selected& selected) noexcept;
  [[nodiscard]] Task<Result<Selection>> select(Scope& scope, const Asked& asked);
  /// Where select() stands: which key it looks for, and what happened on the way.
  struct Search;
  /// One look at the key. No selection: look again.
  [[nodiscard]] Task<Result<std::optional<Selection>>> look(Scope& scope, const Asked& asked,
                                                            Search& search);
  [[nodiscard]] Result<Done> enter_list(const Asked& asked, Search& search,
                                        const cache::Selected& list);
  /// Becomes the contact of the key, or waits for the one there is.
  [[nodiscard]] Task<Result<std::optional<Selection>>> ask_or_wait(Scope& scope, const Asked& asked,
                                                                   Search& search,
                                                                   cache::Selected basis);
  [[nodiscard]] Task<Result<std::optional<Selection>>> await_contact(Scope& scope,
                                                                     const Asked& asked,
                                                                     Search& search,
                                                                     Ref<Contact> held);
  void revalidate_behind(const Asked& asked, Search& search, const cache::Selected& basis);
  /// A fetch of this request's own.
  [[nodiscard]] Task<Result<Selection>> pass(Scope& scope, const Asked& asked,
                                             http::ForwardReason reason);
  [[nodiscard]] Task<Result<Selection>> await_pass(Scope& scope, Ref<PassJob> held,
                                                   http::ForwardReason reason);
  [[nodiscard]] Task<void> run_pass(Ref<PassJob> owned);

  // --- contact.cc, contact_answers.cc ---
  /// In which form a contact asks.
  enum class Ask : uint8_t { Planned, Conditional, WithoutRange, FirstByte };
  /// Null if the group is full; the permit is dropped then.
  [[nodiscard]] Ref<Contact> start_contact(OwnedAsk ask, cache::ContactPermit permit,
                                           cache::Selected basis, Ref<cache::Generation> list,
                                           const http::VaryNames& list_names, Signal* starter,
                                           cache::BufferReservation reservation = {});
  [[nodiscard]] Task<void> run_contact(Ref<Contact> owned);
  /// The place of a contact's first request. Errors: as take_place(); {Client, Closed}: all for
  /// whom it was to ask have left, and the place is for others.
  [[nodiscard]] Task<Result<origin::FetchPlace>> take_contact_place(Contact& contact);
  void starter_left(Contact& contact) noexcept;
  void starter_left(PassJob&) noexcept {}
  /// Asks once and acts on the answer; undecided afterwards, the contact asks again in the form
  /// returned.
  [[nodiscard]] Task<Ask> ask_origin(Contact& contact, Ask form);
  [[nodiscard]] origin::FetchRequest contact_request(const Contact& contact, Ask form);
  [[nodiscard]] Task<Ask> take_answer(Contact& contact, Ask form);
  [[nodiscard]] Ask answer_not_modified(Contact& contact);
  [[nodiscard]] Task<Ask> answer_content(Contact& contact, Ask form);
  [[nodiscard]] Ask answer_unsatisfied(Contact& contact, Ask form);
  [[nodiscard]] Task<void> answer_negative(Contact& contact);
  [[nodiscard]] Task<void> answer_server_error(Contact& contact);
  /// No usable answer: stale where allowed, else the error; remembered for a moment.
  void answer_failed(Contact& contact, Error error);
  /// Not to be stored: the starter alone gets it, the key is passed through for a while.
  void pass_through(Contact& contact, std::vector<std::byte> collected);
  [[nodiscard]] Ask settle(Contact& contact, Ask form, Verdict verdict, uint64_t length,
                           ByteRange covers);
  void freshen(Contact& contact, const Ref<const StoredResponse>& facts);
  /// Counts that the origin names another version than this one.
  void replaced(const cache::Generation& generation) noexcept;
  void install(Contact& contact, Verdict verdict, uint64_t length, ByteRange covers);
  [[nodiscard]] bool has_other_tags(const Contact& contact) const;
  void install_negative(Contact& contact, Verdict verdict, std::span<const std::byte> body);
  [[nodiscard]] bool enter_variant(Contact& contact, const http::VaryNames& vary);
  /// A purge was faster: the starter looks again.
  void abandon(Contact& contact);
  void decide_selected(Contact& contact);

  /// Whether what `asked` needs of an origin is a new miss, and shed; it is counted then.
  [[nodiscard]] bool sheds_miss(const Asked& asked) noexcept;
  [[nodiscard]] bool may_serve_on_error(const cache::Selected& basis) const noexcept;
  [[nodiscard]] Selection stale_selection(const cache::Selected& basis);

  // --- run.cc ---
  /// Buffers for a fill; waits in the bounded queue when none is free.
  /// At once or not at all. Demand also gets what running prefetches have set aside.
  [[nodiscard]] Result<cache::BufferReservation> try_reserve(uint32_t wanted,
                                                             cache::Priority priority) noexcept;
  /// Queues as run.ask.priority says, also when that is raised meanwhile.
  [[nodiscard]] Task<Result<cache::BufferReservation>> reserve(FillRun& run, uint32_t wanted,
                                                               MonoTime deadline);
  /// Place and buffers for the run's next request, holding neither while it waits for the
  /// other: two that each hold what the other wants would wait for ever.
  [[nodiscard]] Task<Result<Done>> make_ready(FillRun& run, uint32_t slices, MonoTime deadline);
  /// Asks an origin. What comes is counted on `charge`.
  [[nodiscard]] static Result<std::unique_ptr<origin::FetchStream>> start_fetch(
      origin::Fetcher& fetcher, origin::FetchRequest request, OriginCharge charge);
  /// A place to fetch, as origin::wait_for_place() gives it, counted.
  [[nodiscard]] Task<Result<origin::FetchPlace>> take_place(origin::FetchPlaces& places,
                                                            Signal& signal, const bool& cancelled,
                                                            MonoTime deadline, bool urgent);
  /// The head of an origin's answer for `ask`, counted while it is awaited.
  [[nodiscard]] Task<Result<const origin::FetchHead*>> await_head(origin::FetchStream& stream,
                                                                  const OwnedAsk& ask);
  /// Whether a fill of this priority may begin. A prefetch needs half of the tasks idle.
  [[nodiscard]] bool has_room(cache::Priority priority) const noexcept;
  /// A client waits for what was begun for nobody: from here on it queues like demand.
  void raise_to_demand(FillRun& run) noexcept;
  void join_contact(const KeyHash& key) noexcept;
  /// Claims what `covers` brings whole, as far as the reservation goes.
  void claim(FillRun& run, ByteRange covers) noexcept;
  /// Lands `covers` of run.selected.generation out of `stream`, slice by slice.
  [[nodiscard]] Task<Result<Done>> land(FillRun& run, origin::FetchStream& stream,
                                        ByteRange covers);
  /// The claim for `slice`: taken ahead, or now. Empty: the slice is here already.
  [[nodiscard]] Task<Result<cache::FillPermit>> next_permit(FillRun& run, cache::SliceIndex slice);
  [[nodiscard]] Task<Result<Done>> land_slices(FillRun& run, origin::FetchStream& stream,
                                               ByteRange covers);
  void hold(FillRun& run, cache::FillPermit permit);
  /// Commits what has landed, once its readers have had their turn.
  [[nodiscard]] Task<void> settle(FillRun& run);
  [[nodiscard]] Task<Result<Done>> land_slice(cache::FillPermit& permit,
                                              origin::FetchStream& stream, bool last);
  [[nodiscard]] Task<Result<Done>> discard(origin::FetchStream& stream, uint64_t bytes);
  /// Starts a fill of at most `slices_max` missing slices from `first` on, at `place`; without one
  /// (demand only) it waits for its turn, and others for it, while nothing is claimed. Errors:
  /// {Self, Overloaded}: no buffer (retryable) or too many fills.
  [[nodiscard]] Result<uint32_t> start_run(const Asked& asked, const cache::Selected& selected,
                                           uint32_t first, uint32_t slices_max,
                                           origin::FetchPlace place);
  /// Claims run's slices, as far as they can be had in a row, and shortens it to them.
  void claim_row(FillRun& run) noexcept;
  /// Waits until the run has what it needs. Nothing is claimed where nobody reads any more.
  [[nodiscard]] Task<Result<Done>> take_turn(FillRun& run);
  [[nodiscard]] Task<void> run_fill(Ref<FillRun> owned);
  /// Asks for the run's slices and lands them. True: another server's version came, and the one
  /// that ours is of is to be asked for them once more.
  [[nodiscard]] Task<Result<bool>> fill_once(FillRun& run, bool again);
  [[nodiscard]] std::unexpected<Error> give_up_version(FillRun& run,
                                                       const origin::FetchHead& answer) noexcept;
  [[nodiscard]] FillRun* find_run(const cache::Generation& generation, uint32_t slice) noexcept;
  void enter(FillRun& run);
  void leave(FillRun& run) noexcept;

  // constant after construction
  Loop& loop;
  cache::LocalStore& local;
  cache::Store& store;
  const std::vector<origin::Fetcher*> fetchers;
  const Options options;
  // loop-owned
  OriginMeter* meter = nullptr;
  const Overload* overload = nullptr;  // null: nothing is shed
  TaskGroup tasks;
  FillCounters counters;
  Troubles troubles;  // contacts that failed
  Flaps flaps;
  Troubles failed_fills;         // why a slice does not come: told to the readers that give up
  std::vector<FillRun*> active;  // at most options.fills_max
  uint32_t prefetching = 0;      // of `active`, those that nobody waits for
  uint32_t collections = 0;
  bool draining = false;
  // Where bytes go that nobody wants (before the first whole slice of a suffix answer, slices that
  // are here already). Shared by all tasks: its content is never read.
  static constexpr size_t kScratchBytes = 64 * KiB;
  const std::unique_ptr<std::byte[]> scratch;
};

}  // namespace segue::edge
