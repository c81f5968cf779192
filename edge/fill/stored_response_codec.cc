// The facts part of a record, little-endian:
//   u8 version (1), u8 form, u8 flags, u8 0, u16 status, u16 fields, u16 vary names, u16 0, i32
//   server, i64 x 8: last_modified, date (s), response_time, pass_until (ms), initial_age,
//   lifetime,
//            stale_while_revalidate, stale_if_error (s),
//   per field: u16 name length, u32 value length, name, value; per vary name: u16 length, name.
// The entity tag is not written apart: it is one of the fields.
#include <algorithm>
#include <concepts>
#include <cstring>

#include "edge/fill/stored_response.h"

namespace segue::edge {
namespace {

constexpr uint8_t kVersion = 1;
constexpr uint8_t kMustRevalidate = 1;
constexpr uint8_t kNoCache = 2;
constexpr uint8_t kStrongValidator = 4;
constexpr uint8_t kHasLastModified = 8;
constexpr uint8_t kFlagsKnown = 15;
constexpr uint32_t kFixedBytes = 16 + 8 * 8;
constexpr uint32_t kFieldBytes = 6;
constexpr uint32_t kVaryBytes = 2;
constexpr uint32_t kCountMax =
    512;  // of fields and of vary names; far above what an origin may send
// Times and ages beyond these are not ours: arithmetic on them must not overflow.
constexpr int64_t kSecondsMax = int64_t{1} << 36;
constexpr int64_t kMillisecondsMax = kSecondsMax * 1000;

class Writer {
 public:
  explicit Writer(std::span<std::byte> out) noexcept : out_(out) {}
  template <std::integral T>
  void number(T value) noexcept {
    for (size_t i = 0; i < sizeof(T); ++i) {
      out_[at_++] = static_cast<std::byte>(static_cast<std::make_unsigned_t<T>>(value) >> (8 * i));
    }
  }
  void text(std::string_view value) noexcept {
    if (!value.empty()) std::memcpy(out_.data() + at_, value.data(), value.size());
    at_ += value.size();
  }
  [[nodiscard]] size_t written() const noexcept { return at_; }

 private:
  std::span<std::byte> out_;
  size_t at_ = 0;
};

/// Once something was missing every further read yields 0 or "" and ok() is false.
class Reader {
 public:
  explicit Reader(std::span<const std::byte> in) noexcept : in_(in) {}
  template <std::integral T>
  T number() noexcept {
    if (!take(sizeof(T))) return 0;
    std::make_unsigned_t<T> value = 0;
    for (size_t i = 0; i < sizeof(T); ++i) {
      const auto byte = static_cast<uint64_t>(in_[at_ - sizeof(T) + i]);
      value = static_cast<std::make_unsigned_t<T>>(value | (byte << (8 * i)));
    }
    return static_cast<T>(value);
  }
  int64_t bounded(int64_t max, bool negative_allowed) noexcept {
    const auto value = number<int64_t>();
    if (value > max || value < (negative_allowed ? -max : 0)) ok_ = false;
    return ok_ ? value : 0;
  }
  std::chrono::seconds duration() noexcept {
    return std::chrono::seconds{bounded(kSecondsMax, false)};
  }
  std::string_view text(size_t bytes) noexcept {
    if (!take(bytes)) return {};
    return {reinterpret_cast<const char*>(in_.data()) + at_ - bytes, bytes};
  }
  [[nodiscard]] bool ok() const noexcept { return ok_; }
  [[nodiscard]] bool at_end() const noexcept { return at_ == in_.size(); }

 private:
  bool take(size_t bytes) noexcept {
    if (!ok_ || in_.size() - at_ < bytes) return ok_ = false;
    at_ += bytes;
    return true;
  }
  std::span<const std::byte> in_;
  size_t at_ = 0;
  bool ok_ = true;
};

uint32_t bytes_of(const StoredResponse::Parts& parts) noexcept {
  size_t bytes = kFixedBytes;
  for (const http::Field& field : parts.fields.view())
    bytes += kFieldBytes + field.name.size() + field.value.size();
  for (const std::string& name : parts.vary_names) bytes += kVaryBytes + name.size();
  return static_cast<uint32_t>(bytes);
}

void read_texts(Reader& reader, StoredResponse::Parts& parts, uint16_t fields, uint16_t names,
                bool& valid) {
  for (uint16_t i = 0; i < fields && reader.ok(); ++i) {
    const auto name_bytes = reader.number<uint16_t>();
    const auto value_bytes = reader.number<uint32_t>();
    const std::string_view name = reader.text(name_bytes);
    const std::string_view value = reader.text(value_bytes);
    // add() refuses what is no field: a record cannot smuggle a line into a response.
    if (reader.ok() && !parts.fields.add(name, value)) valid = false;
    if (http::trim_whitespace(value) != value) valid = false;  // never written so
  }
  for (uint16_t i = 0; i < names && reader.ok(); ++i) {
    const auto bytes = reader.number<uint16_t>();
    const std::string_view name = reader.text(bytes);
    if (!http::is_token(name)) valid = false;
    parts.vary_names.emplace_back(name);
  }
}

std::string render_http1(http::FieldsView fields) {
  size_t bytes = 0;
  for (const http::Field& field : fields) bytes += field.name.size() + field.value.size() + 4;
  std::string block;
  block.reserve(bytes);
  for (const http::Field& field : fields)
    block.append(field.name).append(": ").append(field.value).append("\r\n");
  return block;
}

}  // namespace

StoredResponse::StoredResponse(Parts parts)
    : parts_(std::move(parts)),
      validator_(parts_.etag, parts_.last_modified, parts_.date),
      http1_block_(render_http1(parts_.fields.view())),
      variants_(parts_.form == Form::VaryList ? std::make_unique<VariantSet>() : nullptr),
      encoded_bytes_(bytes_of(parts_)) {
  http::write_date(parts_.date, date_text_);
}

uint32_t StoredResponse::encoded_bytes() const noexcept { return encoded_bytes_; }

void StoredResponse::encode(std::span<std::byte> out) const noexcept {
  SEGUE_ASSERT(out.size() >= encoded_bytes_);
  Writer writer(out);
  writer.number(kVersion);
  writer.number(static_cast<uint8_t>(parts_.form));
  writer.number(static_cast<uint8_t>((parts_.must_revalidate ? kMustRevalidate : 0) |
                                     (parts_.no_cache ? kNoCache : 0) |
                                     (parts_.strong_validator ? kStrongValidator : 0) |
                                     (parts_.last_modified ? kHasLastModified : 0)));
  writer.number(uint8_t{0});
  writer.number(static_cast<uint16_t>(parts_.status));
  writer.number(static_cast<uint16_t>(parts_.fields.size()));
  writer.number(static_cast<uint16_t>(parts_.vary_names.size()));
  writer.number(uint16_t{0});
  writer.number(parts_.server);
  writer.number(
      parts_.last_modified.value_or(std::chrono::sys_seconds{}).time_since_epoch().count());
  writer.number(parts_.date.time_since_epoch().count());
  writer.number(parts_.response_time.time_since_epoch().count());
  writer.number(parts_.pass_until.time_since_epoch().count());
  writer.number(parts_.initial_age.count());
  writer.number(parts_.lifetime.count());
  writer.number(parts_.stale_while_revalidate.count());
  writer.number(parts_.stale_if_error.count());
  for (const http::Field& field : parts_.fields.view()) {
    writer.number(static_cast<uint16_t>(field.name.size()));
    writer.number(static_cast<uint32_t>(field.value.size()));
    writer.text(field.name);
    writer.text(field.value);
  }
  for (const std::string& name : parts_.vary_names) {
    writer.number(static_cast<uint16_t>(name.size()));
    writer.text(name);
  }
  SEGUE_ASSERT(writer.written() == encoded_bytes_);
}

Result<Ref<const cache::StoredFacts>> StoredResponseCodec::decode(
    std::span<const std::byte> encoded) const {
  Reader reader(encoded);
  StoredResponse::Parts parts;
  bool valid = reader.number<uint8_t>() == kVersion;
  const auto form = reader.number<uint8_t>();
  const auto flags = reader.number<uint8_t>();
  valid &= form <= static_cast<uint8_t>(StoredResponse::Form::Pass);
  valid &= (flags & ~kFlagsKnown) == 0;
  valid &= reader.number<uint8_t>() == 0;
  parts.status = reader.number<uint16_t>();
  valid &= parts.status >= 100 && parts.status <= 599;
  const auto fields = reader.number<uint16_t>();
  const auto names = reader.number<uint16_t>();
  valid &= fields <= kCountMax && names <= kCountMax;
  valid &= reader.number<uint16_t>() == 0;
  parts.server = reader.number<int32_t>();
  using Seconds = std::chrono::seconds;
  const std::chrono::sys_seconds last_modified{Seconds{reader.bounded(kSecondsMax, true)}};
  if ((flags & kHasLastModified) != 0) parts.last_modified = last_modified;
  valid &= parts.last_modified || last_modified == std::chrono::sys_seconds{};
  parts.date = std::chrono::sys_seconds{Seconds{reader.bounded(kSecondsMax, true)}};
  parts.response_time = WallTime{std::chrono::milliseconds{reader.bounded(kMillisecondsMax, true)}};
  parts.pass_until = WallTime{std::chrono::milliseconds{reader.bounded(kMillisecondsMax, true)}};
  parts.initial_age = reader.duration();
  parts.lifetime = reader.duration();
  parts.stale_while_revalidate = reader.duration();
  parts.stale_if_error = reader.duration();
  if (!valid || !reader.ok()) return fail(Side::Disk, Kind::Malformed, "stored response");
  read_texts(reader, parts, fields, names, valid);
  if (!valid || !reader.ok() || !reader.at_end())
    return fail(Side::Disk, Kind::Malformed, "stored response");
  parts.form = static_cast<StoredResponse::Form>(form);
  parts.etag = parts.fields.view().find_only("etag").value_or(std::string_view());
  parts.must_revalidate = (flags & kMustRevalidate) != 0;
  parts.no_cache = (flags & kNoCache) != 0;
  parts.strong_validator = (flags & kStrongValidator) != 0;
  return Ref<const cache::StoredFacts>(make_ref<const StoredResponse>(std::move(parts)));
}

}  // namespace segue::edge
