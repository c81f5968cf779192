#include "tests/support/fake_origin.h"

#include <algorithm>
#include <array>

#include "base/hash.h"
#include "http/date.h"
#include "http/validator.h"

namespace segue::testing {
namespace {

constexpr std::chrono::seconds kIdleTimeout{5};
constexpr std::chrono::seconds kSilence{6};

uint64_t salt_of(const std::string& target, uint64_t version, std::string_view variant) {
  const uint64_t salt = hash_key(target, 1).low + version * 1'000'003;
  return variant.empty() ? salt : salt ^ hash_key(variant, 2).low;
}

constexpr std::chrono::sys_days kFirstModified{std::chrono::year{2020} / 1 / 1};

std::string modified_at(uint64_t version) {
  std::array<char, http::kDateBytes> text;
  return std::string(
      http::write_date(kFirstModified + std::chrono::days{static_cast<int>(version)}, text));
}

void write_bytes(uint64_t salt, uint64_t offset, std::span<std::byte> into) {
  size_t at = 0;
  while (at < into.size()) {
    const uint64_t word = mix(salt + (offset + at) / 8);  // eight bytes of it
    const uint64_t skip = (offset + at) % 8;
    const size_t count = std::min<size_t>(8 - skip, into.size() - at);
    for (size_t i = 0; i < count; ++i)
      into[at + i] = static_cast<std::byte>(word >> ((skip + i) * 8));
    at += count;
  }
}

}  // namespace

FakeTrack& FakeOrigin::add(const std::string& target, uint64_t length) {
  FakeTrack& track = tracks_[target];
  track.length = length;
  track.etag = "\"v1\"";
  track.fields = {{"Content-Type", "audio/mpeg"}};
  lengths_[target] = {length};
  return track;
}

void FakeOrigin::change(const std::string& target, uint64_t length) {
  FakeTrack& track = tracks_.at(target);
  ++track.version;
  track.length = length;
  lengths_[target].push_back(length);
  const std::string_view weak = track.etag.starts_with("W/") ? "W/" : "";
  if (!track.etag.empty())
    track.etag = std::string(weak) + "\"v" + std::to_string(track.version) + "\"";
  if (!track.last_modified.empty()) track.last_modified = modified_at(track.version);
}

std::optional<uint64_t> FakeOrigin::length_of(const std::string& target, uint64_t version) const {
  const auto found = lengths_.find(target);
  if (found == lengths_.end() || version == 0 || version > found->second.size())
    return std::nullopt;
  return found->second[version - 1];
}

std::string FakeOrigin::bytes(const std::string& target, uint64_t version, ByteRange range,
                              std::string_view variant) {
  std::string text(range.length(), '\0');
  write_bytes(salt_of(target, version, variant), range.first,
              std::as_writable_bytes(std::span(text)));
  return text;
}

uint32_t FakeOrigin::fetches(const std::string& target) const {
  return static_cast<uint32_t>(
      std::ranges::count_if(requests_, [&](const auto& one) { return one.target == target; }));
}

uint64_t FakeOrigin::bytes_sent(const std::string& target) const {
  const auto found = bytes_sent_.find(target);
  return found == bytes_sent_.end() ? 0 : found->second;
}

class FakeStream final : public origin::FetchStream {
 public:
  FakeStream(FakeOrigin& origin, Loop& loop, origin::FetchRequest request)
      : origin_(origin), loop_(loop), request_(std::move(request)) {
    ++origin_.in_flight_;
    origin_.streams_.push_back(this);
  }
  ~FakeStream() override {
    --origin_.in_flight_;
    std::erase(origin_.streams_, this);
  }

  /// What this fetch still brings of the version it completes; empty if it is no such fetch.
  [[nodiscard]] ByteRange to_come() const noexcept {
    return head_.status == 206 && !request_.expected_etag.empty() ? body_ : ByteRange{};
  }
  [[nodiscard]] bool completes_same(const FakeStream& other) const noexcept {
    return request_.target == other.request_.target &&
           request_.expected_etag == other.request_.expected_etag;
  }

  Task<Result<const origin::FetchHead*>> head() override {
    const auto found = origin_.tracks_.find(request_.target);
    head_.request_time = loop_.wall_now();
    const MonoTime asked = loop_.now();
    if (found == origin_.tracks_.end()) {
      answer_status(404, 9);
    } else {
      FakeTrack& track = found->second;
      if (!track.faults.empty()) {
        fault_ = track.faults.front();
        track.faults.pop_front();
      }
      // It answers with what it has when the request is there, and the head travels back.
      const std::chrono::nanoseconds way_back = track.latency / 2;
      if (track.latency.count() > 0) co_await sleep_for(track.latency - way_back);
      if (fault_.refuse) co_return fail_retryable(Side::Origin, Kind::Refused, "fake origin");
      if (fault_.wrong_range) co_return fail(Side::Origin, Kind::Mismatch, "fake origin");
      if (fault_.silent) {
        const auto until = std::min(request_.first_byte_deadline, asked + kSilence);
        if (until > loop_.now()) co_await sleep_for(until - loop_.now());
        co_return fail(Side::Origin, Kind::Timeout, "fake origin");
      }
      answer(track);
      if (way_back.count() > 0) co_await sleep_for(way_back);
    }
    head_.response_time = loop_.wall_now();
    head_.first_byte_latency = loop_.now() - asked;
    std::array<char, http::kDateBytes> date;
    head_.fields.set(
        "Date", http::write_date(std::chrono::floor<std::chrono::seconds>(loop_.wall_now()), date));
    co_return &head_;
  }

  Task<Result<size_t>> read(std::span<std::byte> into) override {
    if (chunk_delay_.count() > 0) co_await sleep_for(chunk_delay_);
    if (sent_ >= fault_.stall_after_bytes) {
      co_await sleep_for(kIdleTimeout);
      co_return fail(Side::Origin, Kind::Timeout, "fake origin: stall");
    }
    if (sent_ >= fault_.cut_after_bytes)
      co_return fail(Side::Origin, Kind::Closed, "fake origin: cut");
    uint64_t count = std::min<uint64_t>({into.size(), chunk_bytes_, body_.length()});
    count = std::min({count, fault_.cut_after_bytes - sent_, fault_.stall_after_bytes - sent_});
    write_bytes(salt_, body_.first, into.first(count));
    body_ = body_.advanced(count);
    sent_ += count;
    origin_.bytes_sent_[request_.target] += count;
    co_return static_cast<size_t>(count);
  }

 private:
  using RangeForm = origin::FetchRequest::RangeForm;

  void answer_status(int status, uint64_t length) {
    head_.status = status;
    head_.content_length = length;
    body_ = {0, length};
  }

  [[nodiscard]] bool is_unchanged(const FakeTrack& track) const {
    if (track.ignores_conditions) return false;
    if (!request_.if_none_match.empty()) {
      const auto asked = http::parse_entity_tag(request_.if_none_match);
      const auto ours = http::parse_entity_tag(etag_);
      return asked && ours && http::weak_match(*asked, *ours);
    }
    return !request_.if_modified_since.empty() && request_.if_modified_since == track.last_modified;
  }

  void answer(const FakeTrack& track) {
    std::string variant;
    if (!track.varies_by.empty()) {
      variant = request_.fields.view().find(track.varies_by).value_or(std::string_view());
      head_.fields.add("Vary", track.varies_by);
    }
    salt_ = salt_of(request_.target, track.version, variant);
    chunk_delay_ = track.chunk_delay;
    chunk_bytes_ = track.chunk_bytes;
    head_.server = track.server;
    for (const auto& [name, value] : track.fields) head_.fields.add(name, value);
    etag_ = track.etag;
    if (!etag_.empty() && !variant.empty()) etag_.insert(etag_.size() - 1, "-" + variant);
    if (!etag_.empty()) head_.fields.add("ETag", etag_);
    if (track.shows_version) head_.fields.add("X-Version", std::to_string(track.version));
    if (!track.last_modified.empty()) head_.fields.add("Last-Modified", track.last_modified);
    if (fault_.status != 0) return answer_status(fault_.status, 12);
    if (track.status != 200) return answer_status(track.status, track.length);
    if (is_unchanged(track)) {
      head_.status = 304;
      return;
    }
    if (track.unknown_length || track.ignores_range || request_.range_form == RangeForm::None) {
      head_.status = 200;
      body_ = {0, track.length};
      head_.close_delimited = track.close_delimited;
      if (!track.unknown_length) head_.content_length = head_.complete_length = track.length;
      return;
    }
    answer_range(track);
  }

  void answer_range(const FakeTrack& track) {
    const bool is_suffix = request_.range_form == RangeForm::Suffix;
    ByteRange range = request_.range.clipped(track.length);
    if (is_suffix)
      range = {track.length - std::min(track.length, request_.suffix_length), track.length};
    if (range.empty() || track.refuses_ranges || (is_suffix && track.refuses_suffix)) {
      head_.status = 416;
      head_.fields.remove("ETag");
      if (!track.no_length_in_416) head_.complete_length = track.length;
      head_.content_length = 0;
      return;
    }
    head_.status = 206;
    head_.content_range = range;
    head_.content_length = range.length();
    if (!track.no_total) head_.complete_length = track.length;
    body_ = range;
  }

  FakeOrigin& origin_;
  Loop& loop_;
  const origin::FetchRequest request_;
  OriginFault fault_;
  origin::FetchHead head_;
  std::string etag_;
  uint64_t salt_ = 0;
  std::chrono::nanoseconds chunk_delay_{0};
  uint32_t chunk_bytes_ = 64 * 1024;
  ByteRange body_;  // still to come
  uint64_t sent_ = 0;
};

bool FakeOrigin::has_overlapping_fills() const {
  for (size_t i = 0; i < streams_.size(); ++i) {
    const ByteRange one = streams_[i]->to_come();
    for (size_t j = i + 1; j < streams_.size() && !one.empty(); ++j) {
      const ByteRange other = streams_[j]->to_come();
      if (other.empty() || !streams_[i]->completes_same(*streams_[j])) continue;
      if (std::max(one.first, other.first) < std::min(one.end, other.end)) return true;
    }
  }
  return false;
}

Result<std::unique_ptr<origin::FetchStream>> FakeFetcher::start(origin::FetchRequest request) {
  if (!request.place) request.place = places().try_take(request.prefetch);
  if (refuses || !request.place) return fail_retryable(Side::Self, Kind::Overloaded, "fake origin");
  FakeRequest record{.target = request.target,
                     .range_form = request.range_form,
                     .range = request.range,
                     .suffix_length = request.suffix_length,
                     .if_none_match = request.if_none_match,
                     .expected_etag = request.expected_etag,
                     .fields = {}};
  for (const http::Field& field : request.fields.view())
    record.fields.emplace_back(field.name, field.value);
  origin_.requests_.push_back(std::move(record));
  return std::make_unique<FakeStream>(origin_, loop_, std::move(request));
}

}  // namespace segue::testing
