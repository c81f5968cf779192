// Lines and notes in, plans out. What is fetched: prefetch_jobs.cc.
#include "edge/prefetch/prefetcher.h"

#include <fmt/format.h>

#include <algorithm>
#include <array>

#include "base/log.h"
#include "edge/fill/key_text.h"
#include "edge/prefetch/learned.h"
#include "edge/prefetch/prefetch_job.h"

namespace segue::edge {
namespace {

constexpr seconds kLogEvery{1};
constexpr milliseconds kConfirmedAfter{10'000};

double bytes_per_second_of(uint64_t bytes, milliseconds duration) noexcept {
  if (bytes == 0 || duration <= milliseconds{0}) return 0;
  return static_cast<double>(bytes) / std::chrono::duration<double>(duration).count();
}

}  // namespace

Prefetcher::Prefetcher(Loop& loop, cache::LocalStore& local, Fills& fills, uint32_t loops,
                       Options options)
    : loop_(loop),
      local_(local),
      fills_(fills),
      options_(options),
      planner_(plan_of(options), scores_, &targets_),
      playlists_(options.memory / 8),
      tasks_(loop, kPrefetchTasksPerLoopMax),
      tick_(*this) {
  if (options.learn != Learn::Off) learned_ = std::make_unique<Learned>(*this, options);
  for (uint32_t i = 0; i < loops; ++i) {
    inboxes_.push_back(
        std::make_unique<Inbox>(loop, &Prefetcher::take_notes, &Prefetcher::take_hints, this));
    inboxes_.back()->playlists = &playlists_;
  }
  set_budgets();
}

Prefetcher::~Prefetcher() { loop_.disarm(tick_); }

void Prefetcher::set_sites(std::vector<Ref<const Site>> sites, Ref<const RefCounted> rules) {
  const auto is_same = [](const Ref<const Site>& one, const Ref<const Site>& other) {
    return one->rules() == other->rules();
  };
  // Most reloads change something else. What was made of these sites' rules stays then: to make it
  // again takes tens of milliseconds, and a player does not ask again for the playlist it plays.
  if (!sites_.empty() && std::ranges::equal(sites_, sites, is_same))
    return playlists_.keep(std::move(rules));
  sites_ = std::move(sites);
  playlists_.renew(std::move(rules));
  if (learned_) learned_->renew();
}

/// Of `memory`: half for plans that are carried out, an eighth for those that are only observed,
/// an eighth for playlists, the rest for facts.
Planner::Options Prefetcher::plan_of(const Options& options) {
  Planner::Options plan = options.plan;
  plan.memory_max = options.memory / 2;
  return plan;
}

void Prefetcher::configure(const Options& options) {
  const uint64_t memory = options_.memory;
  options_ = options;
  options_.memory = memory;
  planner_.configure(plan_of(options_));
  set_budgets();
  if (learned_) learned_->plans.configure(Learned::plans_of(options_));
  step();
}

uint64_t Prefetcher::notes_dropped() const noexcept {
  uint64_t sum = 0;
  for (const auto& inbox : inboxes_) sum += inbox->asked.dropped().get();
  return sum;
}

uint64_t Prefetcher::session_of(std::string_view name) const {
  return local_.store().hash(name).low | 1;  // never 0, which means unknown
}

// --- lines ---

void Prefetcher::refuse_line(PrefetchSource source, uint64_t number) {
  feeds_[static_cast<uint8_t>(source)].lines.add();
  note_malformed(source, number, fmt::format("over {} bytes", kFeedLineBytesMax));
}

bool Prefetcher::has_room() noexcept {
  line_budget_.refill(options_.lines_per_second, loop_.now());
  return line_budget_.affords(1);
}

/// One line a second is logged: a feed gone mad must not fill the log as well.
void Prefetcher::note_malformed(PrefetchSource source, uint64_t number, std::string_view mistake) {
  feeds_[static_cast<uint8_t>(source)].malformed.add();
  if (loop_.now() - logged_at_ < kLogEvery) return;
  logged_at_ = loop_.now();
  log_warning("feed_line", "source={} line={} mistake=\"{}\"", name_of(source), number, mistake);
}

Prefetcher::Line Prefetcher::take_line(PrefetchSource source, std::string_view line,
                                       uint64_t number, LineFacts facts) {
  FeedCounters& counters = feeds_[static_cast<uint8_t>(source)];
  if (!has_room()) {
    counters.too_fast.add();
    return Line::TooFast;
  }
  line_budget_.spend(1);
  counters.lines.add();
  const auto message = parser_.parse(line);
  if (!message) {
    note_malformed(source, number, message.error());
    return Line::Malformed;
  }
  switch (message->op) {
    case FeedOp::Purge:
      if (facts.may_purge) return Line::Purge;
      note_malformed(source, number, "purges do not come this way");
      return Line::Malformed;
    case FeedOp::Set:
      counters.plans.add();
      take_plan(*message, facts.age);
      break;
    case FeedOp::Cancel:
      counters.cancels.add();
      planner_.cancel(session_of(message->session), message->revision, loop_.now());
      break;
    case FeedOp::Track:
      if (take_facts(*message->facts)) counters.facts.add();
      break;
  }
  has_new_lines_ = true;
  if (!draining_) loop_.arm(tick_, loop_.now());  // once for all lines of this turn
  return Line::Taken;
}

Ref<const PrefetchTarget> Prefetcher::target_of(const FeedTrack& track) {
  return make_target(track, &targets_);
}

Ref<const PrefetchTarget> Prefetcher::make_target(const FeedTrack& track, TargetBytes* counted) {
  const Site* site = nullptr;
  if (track.site.empty() && sites_.size() == 1) site = sites_.front().get();
  for (const Ref<const Site>& one : sites_) {
    if (one->name == track.site) site = one.get();
  }
  if (site == nullptr) return {};
  std::array<char, kKeyBytesMax> scratch;
  std::array<char, kKeyBytesMax> out;
  const auto text = write_key_text(*site, track.path, scratch, out);
  if (!text) return {};
  return make_ref<PrefetchTarget>(Ref<const Site>(site), local_.store().hash(text->key_text),
                                  text->key_text, counted);
}

PlanEntry Prefetcher::entry_of(const FeedNext& next, MonoTime due,
                               Ref<const PrefetchTarget> target) const {
  PlanEntry entry;
  entry.track = track_of(target->key);
  entry.probability = next.probability;
  entry.due = due;
  entry.whole_bytes = next.bytes;
  double rate = bytes_per_second_of(next.bytes, next.duration);
  if (const auto facts = facts_.find(entry.track); facts != facts_.end()) {
    if (entry.whole_bytes == 0) entry.whole_bytes = facts->second.whole_bytes;
    if (rate == 0) rate = facts->second.bytes_per_second;
    if (next.head == milliseconds{0}) entry.head_bytes = facts->second.head_bytes;
    if (facts->second.tail) entry.tail_bytes = kTailBytes;
  }
  entry.head_is_guess = rate == 0 && entry.head_bytes == 0;
  if (rate == 0) rate = kBytesPerSecondUnknown;
  if (entry.head_bytes == 0) {
    const milliseconds head = next.head > milliseconds{0} ? next.head : options_.head;
    entry.head_bytes = static_cast<uint64_t>(std::min(
        rate * std::chrono::duration<double>(head).count(), static_cast<double>(kHeadBytesMax)));
  }
  entry.head_bytes = std::clamp<uint64_t>(entry.head_bytes, kHeadBytesMin, kHeadBytesMax);
  if (next.tail) entry.tail_bytes = kTailBytes;
  entry.target = std::move(target);
  return entry;
}

void Prefetcher::take_plan(const FeedMessage& message, milliseconds age) {
  const MonoTime now = loop_.now();
  const MonoTime said = now - age;
  if (age >= message.ttl) {  // its time was over before it came
    scores_.at(scores_.find_or_add(message.model)).ignored.add();
    return;
  }
  PlanUpdate update{.session = session_of(message.session),
                    .model = scores_.find_or_add(message.model),
                    .revision = message.revision,
                    .until = said + message.ttl};
  if (!message.listener.empty())
    update.listener = listener_of(local_.store().hash(message.listener));
  if (learned_ && !message.context.id.empty()) {
    learned_->predictor.tell_context(update.session,
                                     local_.store().hash(message.context.id).low | 1, minute());
  }
  milliseconds left{0};
  if (message.now) {
    if (const auto playing = target_of(message.now->track)) {
      update.now = track_of(playing->key);
      update.confirmed = message.now->playing && message.now->position >= kConfirmedAfter;
    }
    left = std::max(milliseconds{0}, message.now->duration - message.now->position);
  }
  std::vector<PlanEntry> entries;
  for (const FeedNext& next : message.next) {
    auto target = target_of(next.track);
    if (!target) {
      scores_.at(update.model).failed.add();
      continue;
    }
    entries.push_back(entry_of(next, said + next.eta.value_or(left), std::move(target)));
  }
  update.next = entries;
  (void)planner_.set(update, now);  // what it ignores it counts
}

/// Of a track nothing was known of, they are empty; the oldest known ones make room.
Prefetcher::Facts& Prefetcher::facts_for(TrackId track) {
  if (!facts_.contains(track)) {
    const uint64_t facts_max =
        std::min<uint64_t>(kCatalogueFactsMax, options_.memory / 4 / kFactBytes);
    if (facts_order_.size() < facts_max) {
      facts_order_.push_back(track);
    } else {
      facts_.erase(std::exchange(facts_order_[facts_oldest_], track));
      facts_oldest_ = (facts_oldest_ + 1) % facts_max;
    }
  }
  return facts_[track];
}

/// False: of a track on no site that is here. A feed may be a fleet's, and other nodes have it.
bool Prefetcher::take_facts(const FeedTrackFacts& facts) {
  const auto target = target_of(facts.track);
  if (!target) return false;
  const TrackId track = track_of(target->key);
  double rate = facts.bits_per_second / 8.0;
  if (rate == 0) rate = bytes_per_second_of(facts.bytes, facts.duration);
  uint64_t whole = facts.bytes;
  if (whole == 0 && rate > 0)
    whole = static_cast<uint64_t>(rate * std::chrono::duration<double>(facts.duration).count());
  facts_for(track) = {.whole_bytes = whole,
                      .head_bytes = facts.head_bytes,
                      .bytes_per_second = rate,
                      .kin = kin_of(facts)};
  return true;
}

// --- notes ---

void Prefetcher::take_notes(AskedQueue& queue, void* owner) {
  auto& self = *static_cast<Prefetcher*>(owner);
  // In the order they came: a plan that was taken before these requests is in force for them.
  if (self.has_new_lines_) self.step();
  queue.drain([&](const AskedNote& note) { self.see(note); });
  self.step();
}

void Prefetcher::see(const AskedNote& note) {
  // Fetched, and gone again before it was asked for: the cache had to make room.
  if (options_.plan.fetches && !note.demand.hit)
    (void)planner_.evicted(part_of(note.demand.track, note.demand.range.first / kSliceBytes));
  DemandNote demand = note.demand;
  // Players that send no session id: whoever asks from one place with one player.
  if (learned_ && demand.session == 0) demand.session = mix(note.listener) | 1;
  planner_.see(demand, loop_.now());
  if (learned_) learned_->see(note, demand.session);
}

}  // namespace segue::edge
