#include "loadtest/players/listener.h"

#include <algorithm>
#include <cmath>
#include <optional>
#include <utility>

namespace loadtest {

namespace {

constexpr std::chrono::seconds kPatience{5};  // looks again at least so often
constexpr std::chrono::milliseconds kAfterTrouble{200};
constexpr double kSecondsBetweenDownloads = 600;  // of media time

double uniform(Random& random) { return std::uniform_real_distribution<double>(0, 1)(random); }

/// The byte at which this play is left.
uint64_t draw_leave_at(const Habits& habits, const Plan& plan, Random& random) {
  const auto between = [&](double from, double to) {
    const double seconds = from + (to - from) * uniform(random);
    return std::clamp<uint64_t>(static_cast<uint64_t>(seconds * plan.byte_rate), 1, plan.bytes);
  };
  const double length = static_cast<double>(plan.bytes) / plan.byte_rate;
  const double what = uniform(random);
  if (what < habits.skip_in_5_s) return between(0, 5);
  if (what < habits.skip_in_30_s) return between(5, 30);
  if (what < habits.skip_before_end) return between(30, std::max(30.0, length));
  return plan.bytes;
}

Plan plan_for(const Persona& persona, uint64_t number, uint64_t fixed_track_bytes) {
  Plan plan;
  const std::string name = std::to_string(number);
  switch (persona.form) {
    case Form::Whole:
      plan.path = "/p/" + name;
      plan.bytes = kPodcastBytes;
      plan.byte_rate = kSegmentByteRate;
      break;
    case Form::Hls:
    case Form::Dash:
      plan.path = (persona.form == Form::Hls ? "/h/" : "/d/") + name;
      plan.bytes = uint64_t{segments_of(number)} * kSegmentSeconds * kSegmentByteRate;
      plan.byte_rate = kSegmentByteRate;
      break;
    default:
      plan.path = "/t/" + name;
      plan.bytes = track_bytes(number, fixed_track_bytes);
      plan.byte_rate = track_byte_rate(number);
  }
  return plan;
}

}  // namespace

Popularity::Popularity(uint64_t tracks, double exponent) {
  double sum = 0;
  for (uint64_t rank = 1; rank <= tracks; ++rank) {
    sum += std::pow(static_cast<double>(rank), -exponent);
    cumulative_.push_back(sum);
  }
}

uint64_t Popularity::draw(Random& random) const {
  const double x = uniform(random) * cumulative_.back();
  const auto found = std::lower_bound(cumulative_.begin(), cumulative_.end(), x);
  return static_cast<uint64_t>(std::min(found, cumulative_.end() - 1) - cumulative_.begin());
}

Listener::Listener(World& world, const Persona& persona, const Habits& habits,
                   const Popularity& popularity, Tally& tally, uint32_t source, uint64_t plays,
                   Time start, uint64_t& running)
    : world_(world),
      persona_(persona),
      habits_(habits),
      popularity_(popularity),
      tally_(tally),
      source_(source),
      plays_left_(plays),
      running_(running) {
  ++tally_.listeners;
  ++running_;
  world_.net.wake_at(*this, start);
}

Listener::~Listener() {
  now_playing_.transfers.clear();
  next_.transfers.clear();
}

void Listener::on_time() {
  const Time now = std::chrono::steady_clock::now();
  if (!began_ || resting_) {
    began_ = true;
    resting_ = false;
    next_play();
  }
  if (now_playing_.play == nullptr) return;  // has had enough
  now_playing_.play->advance(now);
  if (!reap(now_playing_)) {
    // As clients do after an error: on to the next track, but not at once.
    now_playing_.transfers.clear();
    next_play();
    world_.net.wake_at(*this, now + kAfterTrouble);
    return;
  }
  if (next_.play && !reap(next_)) {
    next_.transfers.clear();
    next_.play.reset();
  }
  const bool downloaded =
      persona_.form == Form::Whole && now_playing_.play->has(0, now_playing_.play->plan.bytes);
  if (now_playing_.play->over() || downloaded) {
    tally_.finished += now_playing_.play->leave_at == now_playing_.play->plan.bytes ? 1 : 0;
    if (downloaded && plays_left_ > 0) return rest(now);
    next_play();
    if (now_playing_.play == nullptr) return;
  }
  act(now_playing_, now);
}

void Listener::rest(Time now) {
  now_playing_.transfers.clear();
  now_playing_.play.reset();
  resting_ = true;
  const std::chrono::duration<double> time(kSecondsBetweenDownloads / world_.acceleration);
  world_.net.wake_at(*this, now + std::chrono::ceil<std::chrono::nanoseconds>(time));
}

void Listener::act(Open& open, Time now) {
  seek_if_due(now);
  preload_if_due();
  for (const auto& transfer : open.transfers) transfer->pace();
  ask_more(open, persona_.in_flight);
  std::erase_if(connections_, [this](std::unique_ptr<HttpConnection>& one) {
    if (one->open()) return false;
    world_.net.bury(std::move(one));
    return true;
  });
  set_timer(now);
}

Listener::Open Listener::open_play() {
  const bool random_start = !track_ || uniform(world_.random) < habits_.random_start;
  const uint64_t track =
      random_start ? popularity_.draw(world_.random) : (*track_ + 1) % world_.tracks;
  track_ = track;
  Plan plan = plan_for(persona_, track, world_.fixed_track_bytes);
  const bool download = persona_.form == Form::Whole;
  const uint64_t leave_at = download ? plan.bytes : draw_leave_at(habits_, plan, world_.random);
  const uint64_t bytes = plan.bytes;
  Open open;
  open.play = std::make_unique<Play>(std::move(plan), leave_at, world_.acceleration, tally_);
  if (!download && uniform(world_.random) < habits_.seek) {
    open.play->seeks = world_.random() % leave_at;
    open.play->seek_to = world_.random() % bytes;
  }
  return open;
}

void Listener::next_play() {
  const Time now = std::chrono::steady_clock::now();
  now_playing_.transfers.clear();
  now_playing_.play.reset();
  if (plays_left_ == 0) {
    next_.transfers.clear();
    next_.play.reset();
    if (--running_ == 0) world_.net.stop();
    return;
  }
  --plays_left_;
  if (next_.play) {
    now_playing_ = std::move(next_);
    next_ = {};
    tally_.preloaded += now_playing_.play->here_until() > 0 ? 1 : 0;
  } else {
    now_playing_ = open_play();
  }
  ++tally_.plays;
  now_playing_.play->start(now);
  world_.net.wake_at(*this, now);
}

bool Listener::reap(Open& open) {
  bool well = true;
  std::erase_if(open.transfers, [&](const std::unique_ptr<Transfer>& transfer) {
    if (transfer->state() == Transfer::State::Running) return false;
    well &= transfer->state() != Transfer::State::Failed;
    if (transfer->state() == Transfer::State::Complete) {
      bytes_per_second_ = transfer->bytes_per_second();
      if (transfer->ask().is_playlist) {
        open.play->plan.segments = parse_segments(persona_.form, transfer->text());
        well &= !open.play->plan.segments.empty();
      }
    }
    return true;
  });
  return well;
}

void Listener::seek_if_due(Time now) {
  Play& play = *now_playing_.play;
  if (!play.seeks || play.position() < *play.seeks || !play.started()) return;
  if (!play.plan.segments.empty() || (persona_.form != Form::Hls && persona_.form != Form::Dash)) {
    ++tally_.seeks;
    now_playing_.transfers.clear();  // leaves what is under way
    uint64_t to = *play.seek_to;
    seek(persona_, play.plan, to);
    play.move_to(to, now);
    play.leave_at = std::max(play.leave_at, std::min(to + 1, play.plan.bytes));
    play.seeks.reset();
  }
}

void Listener::preload_if_due() {
  const Play& play = *now_playing_.play;
  if (!persona_.preloads || next_.play || plays_left_ == 0) return;
  if (play.position() < play.preload_at || play.here_until() < play.plan.bytes) return;
  next_ = open_play();
  ask_more(next_, 1);
}

void Listener::ask_more(Open& open, uint64_t pieces) {
  while (open.transfers.size() < pieces) {
    auto ask = next_ask(persona_, open.play->plan, open.play->position(), bytes_per_second_,
                        world_.random);
    if (!ask) return;
    open.transfers.push_back(std::make_unique<Transfer>(world_, *open.play, tally_, *this, persona_,
                                                        std::move(*ask), connection()));
  }
}

HttpConnection& Listener::connection() {
  if (!persona_.new_connection) {
    for (const auto& one : connections_) {
      if (one->idle()) return *one;
    }
  }
  connections_.push_back(std::make_unique<HttpConnection>(world_.net, world_.server, source_));
  return *connections_.back();
}

void Listener::set_timer(Time now) {
  const Play& play = *now_playing_.play;
  Time wake = now + kPatience;
  const auto at_byte = [&](std::optional<uint64_t> byte) {
    if (!byte || *byte <= play.position()) return;
    if (const auto when = play.time_of(*byte)) wake = std::min(wake, *when);
  };
  at_byte(std::min(play.leave_at, play.plan.bytes));
  at_byte(play.here_until());
  at_byte(play.seeks);
  if (persona_.preloads && !next_.play) at_byte(play.preload_at);
  if (now_playing_.transfers.size() < persona_.in_flight) {
    at_byte(asks_again_at(persona_, play.plan));
  }
  for (const auto& transfer : now_playing_.transfers) {
    if (transfer->reads_again_at() != 0) at_byte(transfer->reads_again_at());
    if (transfer->state() != Transfer::State::Running) wake = now;  // ended while it was asked
  }
  // A position is a whole byte: never less than a moment, or a rounding would spin.
  world_.net.wake_at(*this, std::max(wake, now + std::chrono::microseconds(50)));
}

}  // namespace loadtest
