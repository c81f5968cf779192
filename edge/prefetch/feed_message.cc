#include "edge/prefetch/feed_message.h"

#include <fmt/format.h>
#include <simdjson.h>

#include <algorithm>
#include <array>
#include <cmath>

namespace segue::edge {
namespace {

namespace dom = simdjson::dom;

constexpr double kExactIntegerMax =
    9007199254740992.0;  // 2^53: beyond it JSON numbers are not exact

/// The members of one object, checked one by one. The first mistake is kept; after it nothing more
/// is read, and the whole message is refused.
class Members {
 public:
  Members(dom::object object, std::string_view where, std::string& mistake)
      : object_(object), where_(where), mistake_(mistake) {
    check_names();
  }

  void text(std::string_view name, std::string& out, size_t bytes_max) {
    dom::element value;
    if (!find(name, value)) return;
    std::string_view read;
    if (value.get(read) != simdjson::SUCCESS) return fail(fmt::format("{} is no string", name));
    if (read.size() > bytes_max) return fail(fmt::format("{} is over {} bytes", name, bytes_max));
    const auto is_control = [](char c) {
      return static_cast<unsigned char>(c) < 0x20 || c == 0x7F;
    };
    if (std::ranges::any_of(read, is_control))
      return fail(fmt::format("{} has a control character", name));
    out = read;
  }
  void boolean(std::string_view name, bool& out) {
    dom::element value;
    if (find(name, value) && value.get(out) != simdjson::SUCCESS)
      fail(fmt::format("{} is neither true nor false", name));
  }
  /// False if it is not there (or wrong).
  bool number(std::string_view name, double& out, double min, double max) {
    dom::element value;
    if (!find(name, value)) return false;
    double read = 0;
    if (value.get(read) != simdjson::SUCCESS || !std::isfinite(read)) {
      fail(fmt::format("{} is no number", name));
      return false;
    }
    if (read < min || read > max) {
      fail(fmt::format("{} is not between {} and {}", name, min, max));
      return false;
    }
    out = read;
    return true;
  }
  bool time(std::string_view name, milliseconds& out, milliseconds max, milliseconds min = {}) {
    double read = 0;
    if (!number(name, read, static_cast<double>(min.count()), static_cast<double>(max.count())))
      return false;
    out = milliseconds(static_cast<int64_t>(read));
    return true;
  }
  void whole(std::string_view name, uint64_t& out, uint64_t max) {
    double read = 0;
    if (number(name, read, 0, std::min(static_cast<double>(max), kExactIntegerMax)))
      out = static_cast<uint64_t>(read);
  }
  template <class Read>
  void object(std::string_view name, Read read) {
    dom::element value;
    if (!find(name, value)) return;
    dom::object inner;
    if (value.get(inner) != simdjson::SUCCESS) return fail(fmt::format("{} is no object", name));
    Members members(inner, name, mistake_);
    if (right()) read(members);
  }
  template <class Read>
  void each(std::string_view name, size_t max, Read read) {
    dom::element value;
    if (!find(name, value)) return;
    dom::array list;
    if (value.get(list) != simdjson::SUCCESS) return fail(fmt::format("{} is no list", name));
    size_t count = 0;
    for (const dom::element element : list) {
      if (!right()) return;
      if (++count > max) return fail(fmt::format("{} has more than {} entries", name, max));
      read(element);
    }
  }
  void fail(std::string text) {
    if (!mistake_.empty()) return;
    mistake_ = where_.empty() ? std::move(text) : fmt::format("{}: {}", where_, text);
  }
  [[nodiscard]] bool right() const { return mistake_.empty(); }
  [[nodiscard]] bool has(std::string_view name) {
    dom::element value;
    return find(name, value);
  }

 private:
  void check_names() {
    std::array<std::string_view, kFeedMembersMax> names;
    size_t count = 0;
    for (const auto& [name, value] : object_) {
      if (count == names.size()) return fail(fmt::format("more than {} members", kFeedMembersMax));
      // The first of two, or the last? Readers of JSON disagree, so neither.
      if (std::ranges::find(names.begin(), names.begin() + count, name) != names.begin() + count)
        return fail(fmt::format("{} is given twice", name.substr(0, 32)));
      names[count++] = name;
    }
  }
  bool find(std::string_view name, dom::element& out) {
    if (!right() || object_.at_key(name).get(out) != simdjson::SUCCESS) return false;
    return !out.is_null();  // null says the same as leaving it out
  }
  dom::object object_;
  std::string_view where_;
  std::string& mistake_;
};

void read_track(Members& members, FeedTrack& track) {
  members.text("site", track.site, kFeedNameBytesMax);
  members.text("track", track.path, kFeedPathBytesMax);
  if (!members.right()) return;
  // "//host/path" and "https://..." would name another origin; a fragment never reaches one.
  if (!track.path.starts_with('/') || track.path.starts_with("//"))
    return members.fail("track is no path on a site, such as \"/albums/1/2.ogg\"");
  if (track.path.find('#') != std::string::npos) members.fail("track has a fragment");
}

void read_context(Members& members, FeedContext& context) {
  std::string type;
  members.text("type", type, kFeedNameBytesMax);
  members.text("id", context.id, kFeedNameBytesMax);
  members.boolean("collaborative", context.collaborative);
  members.whole("revision", context.revision, UINT64_MAX);
  constexpr std::pair<std::string_view, FeedContextKind> kKinds[] = {
      {"playlist", FeedContextKind::Playlist},
      {"album", FeedContextKind::Album},
      {"station", FeedContextKind::Station},
      {"podcast", FeedContextKind::Podcast}};
  for (const auto& [name, kind] : kKinds) {
    if (type == name) context.kind = kind;
  }
  if (context.kind == FeedContextKind::None)
    members.fail("type is none of playlist, album, station, podcast");
}

void read_now(Members& members, FeedNow& now) {
  read_track(members, now.track);
  members.time("position_ms", now.position, kFeedEtaMax * 2);
  members.time("duration_ms", now.duration, kFeedEtaMax * 2);
  members.boolean("playing", now.playing);
}

void read_next(Members& members, FeedNext& next) {
  read_track(members, next.track);
  members.number("p", next.probability, 0, 1);
  milliseconds eta{};
  if (members.time("eta_ms", eta, kFeedEtaMax)) next.eta = eta;
  members.whole("bytes", next.bytes, kFeedBytesMax);
  members.time("duration_ms", next.duration, kFeedEtaMax * 2);
  members.time("head_ms", next.head, std::chrono::minutes{10});
  members.boolean("tail", next.tail);
}

void read_facts(Members& members, FeedTrackFacts& facts) {
  read_track(members, facts.track);
  members.time("duration_ms", facts.duration, kFeedEtaMax * 2);
  uint64_t bits = 0;
  members.whole("bitrate", bits, 100'000'000);
  facts.bits_per_second = static_cast<uint32_t>(bits);
  members.whole("bytes", facts.bytes, kFeedBytesMax);
  members.whole("head_bytes", facts.head_bytes, 64 * MiB);
  members.text("encoding", facts.encoding, kFeedNameBytesMax);
  double read = 0;
  if (members.number("tempo", read, 0, 1000)) facts.tempo = static_cast<float>(read);
  if (members.number("key", read, 0, 23)) facts.key = static_cast<int32_t>(read);
  if (members.number("energy", read, 0, 1)) facts.energy = static_cast<float>(read);
  members.each("mood", kFeedTagsMax, [&](const dom::element& element) {
    std::string_view tag;
    if (element.get(tag) != simdjson::SUCCESS || tag.size() > kFeedNameBytesMax)
      return members.fail("mood is no list of short strings");
    facts.mood.emplace_back(tag);
  });
}

void read_plan(Members& members, FeedMessage& message) {
  members.object("context", [&](Members& context) { read_context(context, message.context); });
  members.object("now", [&](Members& now) { read_now(now, message.now.emplace()); });
  members.each("next", kFeedNextMax, [&](const dom::element& element) {
    dom::object object;
    if (element.get(object) != simdjson::SUCCESS) return members.fail("next holds no objects");
    std::string mistake;
    Members next(object, "next", mistake);
    read_next(next, message.next.emplace_back());
    if (!mistake.empty()) members.fail(mistake);
  });
  members.time("ttl_ms", message.ttl, kFeedEtaMax, milliseconds{1});
}

void read_message(Members& members, FeedMessage& message) {
  double version = 1;
  if (members.number("v", version, 0, 1e9) && version != 1)
    return members.fail("v is not 1, the only version this node reads");
  std::string op = "set";
  members.text("op", op, kFeedNameBytesMax);
  if (op == "track") {
    message.op = FeedOp::Track;
    return read_facts(members, message.facts.emplace());
  }
  if (op == "purge") {
    message.op = FeedOp::Purge;
    return;
  }
  if (op != "set" && op != "cancel") return members.fail("op is none of set, cancel, track, purge");
  message.op = op == "set" ? FeedOp::Set : FeedOp::Cancel;
  members.text("session", message.session, kFeedNameBytesMax);
  if (members.right() && message.session.empty()) return members.fail("session is missing");
  members.text("listener", message.listener, kFeedNameBytesMax);
  members.text("model", message.model, kFeedNameBytesMax);
  members.whole("revision", message.revision, UINT64_MAX);
  if (message.op == FeedOp::Set) read_plan(members, message);
}

}  // namespace

struct FeedParser::Impl {
  dom::parser parser{kFeedLineBytesMax};
  std::string padded;
};

FeedParser::FeedParser() : impl_(std::make_unique<Impl>()) {
  impl_->padded.reserve(kFeedLineBytesMax + simdjson::SIMDJSON_PADDING);
  // Fails only without memory; the first parse would then say so.
  (void)impl_->parser.allocate(kFeedLineBytesMax, kFeedDepthMax);
}
FeedParser::~FeedParser() = default;

std::expected<FeedMessage, std::string> FeedParser::parse(std::string_view line) {
  if (line.size() > kFeedLineBytesMax)
    return std::unexpected(fmt::format("the line is over {} bytes", kFeedLineBytesMax));
  std::string& padded = impl_->padded;
  padded.assign(line);
  padded.resize(line.size() + simdjson::SIMDJSON_PADDING, '\0');
  dom::element document;
  const auto error = impl_->parser.parse(padded.data(), line.size(), false).get(document);
  if (error == simdjson::DEPTH_ERROR)
    return std::unexpected(fmt::format("nested deeper than {}", kFeedDepthMax));
  if (error != simdjson::SUCCESS) return std::unexpected("the line is no JSON");
  dom::object object;
  if (document.get(object) != simdjson::SUCCESS)
    return std::unexpected("the line is no JSON object");
  std::string mistake;
  FeedMessage message;
  Members members(object, "", mistake);
  if (mistake.empty()) read_message(members, message);
  if (!mistake.empty()) return std::unexpected(std::move(mistake));
  return message;
}

}  // namespace segue::edge
