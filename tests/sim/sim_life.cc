#include "tests/sim/sim_life.h"

#include <gtest/gtest.h>

#include <algorithm>

namespace segue::testing {
namespace {

using std::chrono::milliseconds;
using std::chrono::seconds;

std::string range_of(uint64_t first, uint64_t end) {
  return std::to_string(first) + "-" + std::to_string(end - 1);
}

}  // namespace

Life::Life(uint64_t seed)
    : random_(seed),
      calm_(is_calm(seed)),
      node_(seed, options_for(random_, calm_)),
      ram_bytes_(node_.ram_bytes()) {
  const uint64_t tracks = random_.between(2, 8);
  for (uint64_t i = 0; i < tracks; ++i) add_track("/t/" + std::to_string(i));
  if (calm_) node_.forbid_double_fills();
}

SimNodeOptions Life::options_for(Random& random, bool calm) {
  SimNodeOptions options;
  options.loops = static_cast<uint32_t>(random.between(1, 3));
  // Eight large buffers, the least there may be, or enough for most. With the least a crowd that
  // reads from slow drives runs into its time limits, so calm lives have more.
  options.ram_bytes = !calm && random.one_in(2) ? 8 * kSliceBytes * 100 / 80
                                                : random.between(calm ? 6 : 3, 16) * MiB;
  options.policy = random.one_in(2) ? cache::EvictionPolicy::Lru : cache::EvictionPolicy::S3Fifo;
  options.forward_fields = {"accept-language"};
  options.ttl.default_lifetime = seconds{random.one_in(4) ? 3600 : random.between(1, 100)};
  options.ttl.negative = seconds{random.below(12)};
  options.ttl.stale_while_revalidate = seconds{random.one_in(2) ? 0 : random.below(30)};
  if (random.one_in(2)) options.ttl.stale_if_error = seconds{0};
  if (random.one_in(8)) options.ttl.override_lifetime = seconds{random.below(20)};
  if (!calm && random.one_in(3)) options.fetches_max = static_cast<uint32_t>(random.between(1, 4));
  options.hints = !calm;
  options.plan.orders_max = static_cast<uint32_t>(random.between(1, 8));
  options.plan.held_bytes_max = random.between(1, 8) * MiB;
  if (!calm && random.one_in(3)) options.plan.bytes_per_day = random.between(1, 20) * MiB;
  options.plan.bytes_per_second = random.between(1, 8) * MiB;
  const uint64_t drives = random.below(3);
  for (uint64_t i = 0; i < drives; ++i) {
    FaultOptions drive{.size_bytes = random.between(8, 32) * MiB};
    if (random.one_in(4)) drive.latency_max = milliseconds{random.between(1, 50)};
    if (!calm) {
      if (random.one_in(3)) drive.error_one_in = random.between(20, 400);
      if (random.one_in(4)) drive.misdirect_one_in = random.between(20, 200);
      if (random.one_in(5)) drive.hang_one_in = random.between(20, 400);
    }
    options.drives.push_back(drive);
  }
  return options;
}

void Life::add_track(const std::string& target) {
  targets_.push_back(target);
  FakeTrack& track = node_.add_track(target, random_length());
  track.latency = milliseconds{random_.below(80)};
  track.chunk_delay = std::chrono::microseconds{random_.below(3000)};
  track.chunk_bytes = static_cast<uint32_t>(random_.between(4000, 200'000));
  if (!calm_) shape_track(track);
}

/// Every kind of origin there is.
void Life::shape_track(FakeTrack& track) {
  switch (random_.below(8)) {
    case 0:
      track.etag.clear();
      break;
    case 1:
      track.etag = "W/" + track.etag;
      break;
    case 2:
      track.etag.clear();
      track.last_modified = "Wed, 01 Jan 2020 00:00:00 GMT";
      break;
    case 3:
      track.last_modified = "Wed, 01 Jan 2020 00:00:00 GMT";
      break;
    default:
      break;
  }
  track.ignores_range = random_.one_in(8);
  track.unknown_length = random_.one_in(10);
  track.close_delimited = track.unknown_length && random_.one_in(4);
  track.no_total = random_.one_in(12);
  track.refuses_suffix = random_.one_in(8);
  track.refuses_ranges = random_.one_in(16);
  track.no_length_in_416 = random_.one_in(4);
  track.ignores_conditions = random_.one_in(6);
  if (random_.one_in(6)) track.varies_by = "accept-language";
  static constexpr const char* kCacheControl[] = {"max-age=2",
                                                  "max-age=0",
                                                  "no-cache",
                                                  "no-store",
                                                  "max-age=30",
                                                  "private",
                                                  "max-age=1, stale-while-revalidate=5",
                                                  "max-age=1, must-revalidate"};
  if (random_.one_in(3))
    track.fields.emplace_back("Cache-Control", kCacheControl[random_.below(8)]);
}

void Life::run() {
  const uint64_t actions = random_.between(30, 120);
  for (uint64_t i = 0; i < actions && !::testing::Test::HasFailure(); ++i) {
    act();
    if (random_.one_in(3)) node_.world().run_for(milliseconds{random_.below(200)});
  }
  if (!::testing::Test::HasFailure()) finish();
}

void Life::act() {
  const uint64_t what = random_.below(100);
  if (what < 60) return start_client();
  if (what < 65) return recommend();
  if (what < 70) return node_.world().run_for(milliseconds{random_.below(10'000)});
  if (calm_) return;
  if (what < 78) return harm_origin();
  if (what < 83) return change();
  if (what < 91) return purge();
  if (what < 95) return harm_drive();
  if (what < 97) return jump_clock();
  node_.restart(random_.one_in(2));
}

// --- what clients ask ---

uint64_t Life::random_length() {
  switch (random_.below(6)) {
    case 0:
      return random_.between(1, 16 * KiB);
    case 1:
      return random_.between(1, 3) * kSliceBytes;
    case 2:
      return random_.between(50 * KiB, 200 * KiB);
    case 3:
      return calm_ || !random_.one_in(6) ? random_.between(1, 300 * KiB) : 0;
    default:
      return random_.between(300 * KiB, 3 * MiB);
  }
}

std::string Life::random_range(uint64_t length) {
  const uint64_t first = random_.below(length + length / 8 + 1);
  switch (random_.below(8)) {
    case 0:
    case 1:
      return "";
    case 2:
      return "bytes=" + std::to_string(first) + "-";
    case 3:
      return "bytes=-" + std::to_string(random_.below(length + 1) + 1);
    case 4: {
      std::string ranges = "bytes=" + range_of(first, first + random_.between(1, 1000));
      const uint64_t more = random_.between(1, 4);
      for (uint64_t i = 0; i < more; ++i) {
        const uint64_t next = random_.below(length + 1);
        ranges += "," + range_of(next, next + random_.between(1, 40'000));
      }
      return ranges;
    }
    default:
      return "bytes=" + range_of(first, first + random_.between(1, 600 * KiB));
  }
}

void Life::add_condition(ClientBehaviour& behaviour) {
  const FakeTrack& track = node_.origin().track(behaviour.target);
  if (track.etag.empty()) return;
  std::string etag = random_.one_in(3) ? std::string("\"v1\"") : track.etag;
  switch (random_.below(3)) {
    case 0:
      behaviour.fields.emplace_back("If-None-Match", etag);
      break;
    case 1:
      behaviour.fields.emplace_back("If-Match", etag);
      break;
    default:
      behaviour.fields.emplace_back("If-Range", etag);
      break;
  }
}

void Life::start_client_of(const std::string& target) {
  ClientBehaviour behaviour;
  behaviour.target = target;
  const uint64_t length = node_.origin().track(behaviour.target).length;
  behaviour.range = random_range(length);
  // Not slower than a few seconds for any body: whoever reads is to be answered within 60 s.
  behaviour.window_bytes = static_cast<uint32_t>(random_.between(16 * KiB, 400 * KiB));
  behaviour.refill_every = std::chrono::microseconds{random_.between(10, 20'000)};
  if (random_.one_in(4)) behaviour.leaves_after_bytes = random_.below(MiB);
  if (random_.one_in(8)) behaviour.stops_after_bytes = random_.below(MiB);
  if (random_.one_in(3)) behaviour.others_steps = static_cast<uint32_t>(random_.between(1, 200));
  if (random_.one_in(12)) behaviour.method = "HEAD";
  if (random_.one_in(12)) {
    const std::string& next = random_target();
    behaviour.fields.emplace_back("CMCD-Request",
                                  "nor=\"" + next.substr(next.rfind('/') + 1) + "\",sid=\"p\"");
  }
  if (random_.one_in(8)) add_condition(behaviour);
  if (random_.one_in(2))
    behaviour.fields.emplace_back("Accept-Language", random_.one_in(2) ? "en" : "de");
  asked_bytes_[behaviour.target] += round_up(length, kSliceBytes) + kSliceBytes;
  node_.request(random_loop(), behaviour);
}

/// What a recommender says: a plan of a few tracks, soon or later, or that there is none any more.
void Life::recommend() {
  std::string line = R"({"session":"s)" + std::to_string(random_.below(4)) + '"';
  if (random_.one_in(8)) return node_.feed(line + R"(,"op":"cancel"})");
  line += R"(,"model":"m)" + std::to_string(random_.below(2)) + R"(","next":[)";
  const uint64_t tracks = random_.between(1, 4);
  for (uint64_t i = 0; i < tracks; ++i) {
    const std::string& target = random_target();
    const uint64_t length = node_.origin().track(target).length;
    line += i == 0 ? "" : ",";
    line += R"({"track":")" + target + R"(","p":0.)" + std::to_string(random_.between(1, 9)) +
            R"(,"eta_ms":)" + std::to_string(random_.below(5000)) +
            (random_.one_in(2) ? R"(,"tail":true)" : "") + "}";
    // A head, its tail and the rest are asked for apart, each once.
    asked_bytes_[target] += 3 * (round_up(length, kSliceBytes) + kSliceBytes);
  }
  node_.feed(line + "]}");
}

// --- what goes wrong ---

void Life::harm_origin() {
  OriginFault fault;
  switch (random_.below(7)) {
    case 0:
      fault.refuse = true;
      break;
    case 1:
      fault.status = random_.one_in(2) ? 503 : 404;
      break;
    case 2:
      fault.wrong_range = true;
      break;
    case 3:
      fault.stall_after_bytes = random_.below(300'000);
      break;
    case 4:
      fault.silent = true;
      break;
    default:
      fault.cut_after_bytes = random_.below(400'000);
      break;
  }
  const uint64_t times = random_.one_in(4) ? random_.between(1, 6) : 1;
  FakeTrack& track = node_.origin().track(random_target());
  for (uint64_t i = 0; i < times; ++i) track.faults.push_back(fault);
}

void Life::harm_drive() {
  if (node_.drives() == 0) return;
  const size_t drive = random_.below(node_.drives());
  Platter& platter = node_.platter(drive);
  switch (random_.below(4)) {
    case 0:
      node_.lose_drive(drive);
      break;
    case 1:
      node_.put_back_drive(drive);
      break;
    case 2:
      platter.release_hung();
      break;
    default:
      node_.note_damage(drive);
      for (uint32_t i = 0; i < 64; ++i)
        platter.flip_bit(random_.below(platter.options().size_bytes),
                         static_cast<uint32_t>(random_.below(8)));
      break;
  }
}

void Life::change() {
  const std::string& target = random_target();
  node_.origin().change(target, random_length());
}

void Life::purge() {
  SimNode::Purge what;
  static constexpr cache::PurgeScope kScopes[] = {cache::PurgeScope::Key, cache::PurgeScope::Prefix,
                                                  cache::PurgeScope::Everything};
  what.scope = kScopes[random_.below(3)];
  what.target = random_target();
  what.soft = random_.one_in(4);
  what.cut = random_.one_in(4);
  if (random_.one_in(2)) {
    // In the middle of a contact, if the key is not known.
    start_client_of(what.target);
    node_.world().run_for(milliseconds{random_.below(100)});
  }
  if (random_.one_in(2)) node_.origin().change(what.target, random_length());
  node_.purge(what, random_loop());
}

void Life::jump_clock() {
  const auto far = static_cast<int64_t>(random_.below(random_.one_in(2) ? 90'000'000 : 5'000));
  const milliseconds by{random_.one_in(2) ? far : -far};
  node_.world().clock().jump_wall(by);
  wall_is_off_ += by;
  wall_was_off_max_ = std::max(wall_was_off_max_, wall_is_off_);
}

// --- the end ---

void Life::make_well() {
  for (const std::string& target : targets_) node_.origin().track(target).faults.clear();
}

/// With a healthy origin every client that reads is answered, whatever the drives do.
void Life::finish() {
  make_well();
  EXPECT_TRUE(node_.run_until_answered()) << "somebody waits for ever";
  if (calm_) node_.expect_all_complete();
  node_.settle();
  // Error answers that are kept for a while (max-age=30 at most) are over, once the clock is no
  // longer before the time at which they came.
  node_.world().clock().jump_wall(wall_was_off_max_ - wall_is_off_);
  node_.world().run_for(seconds{40});
  if (!calm_ && random_.one_in(2)) {
    node_.purge({.scope = cache::PurgeScope::Everything, .target = {}}, random_loop());
    node_.world().run_for(seconds{1});
  }
  expect_answers();
  node_.settle();
  if (calm_) expect_origin_bound();
}

void Life::expect_answers() {
  for (const std::string& target : targets_) {
    // A response begun on a version that has since changed at the origin is cut where a slice is
    // missing; that heals the key.
    ClientResult answer = node_.get(target, "", random_loop());
    if (answer.end == edge::Stream::End::Cut) answer = node_.get(target, "", random_loop());
    // Without a strong validator a slice that had to leave cannot be added again: what is large for
    // this RAM may be cut (its slices come from one response only, RFC 9110 §15.3.7.3).
    const FakeTrack& track = node_.origin().track(target);
    const bool is_strong = track.etag.starts_with('"') || !track.last_modified.empty();
    if (!is_strong && track.length > ram_bytes_ / 2 && answer.end == edge::Stream::End::Cut)
      continue;
    asked_bytes_[target] += uint64_t{2} * kSliceBytes + node_.origin().track(target).length;
    EXPECT_EQ(answer.end, edge::Stream::End::Complete)
        << node_.describe(target) << answer.cache_status;
    EXPECT_EQ(answer.status, 200) << node_.describe(target) << answer.cache_status;
  }
}

/// Origin bytes <= bytes asked of us rounded out to slices + one slice, per request; what had to
/// leave RAM before a running response had passed it is counted apart.
void Life::expect_origin_bound() {
  uint64_t sent = 0;
  uint64_t asked = 0;
  for (const std::string& target : targets_) {
    sent += node_.origin().bytes_sent(target);
    asked += asked_bytes_[target];
  }
  EXPECT_LE(sent, asked + node_.store().usage().refetched * kSliceBytes);
}

}  // namespace segue::testing
