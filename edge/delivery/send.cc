#include "edge/delivery/send.h"

#include <algorithm>
#include <memory>

#include "edge/delivery/admission.h"

namespace segue::edge {
namespace {

constexpr uint64_t kFirstBytesMeasured =
    64 * KiB;  // "time to first 64 KiB": what a player needs to start
constexpr uint32_t kCrowdReaders = 8;
constexpr uint64_t kCrowdFirstBytes = 16 * KiB;

iovec part_of(std::span<const std::byte> bytes) noexcept {
  // writev(2) takes what it only reads as non-const.
  return {const_cast<std::byte*>(bytes.data()),
          bytes.size()};  // NOLINT(cppcoreguidelines-pro-type-const-cast)
}

/// Waits until the client takes more. The one point of back-pressure of a response; nothing is
/// pinned here.
Task<Result<Done>> client_writable(Exchange& exchange) {
  if (exchange.stream.gone()) co_return fail(Side::Client, Kind::Closed, "client gone");
  exchange.stream.want_writable();
  const Wake wake = co_await exchange.signal.wait(Loop::current()->now() + kClientStallTimeout);
  if (exchange.stream.gone()) co_return fail(Side::Client, Kind::Closed, "client gone");
  if (wake == Wake::Deadline) co_return fail(Side::Client, Kind::Timeout, "client stalled");
  co_return Done{};
}

/// What is sent of `range` at once. Where many wait for one answer, first bytes go round before
/// anybody gets more: behind 256 KiB for each of a hundred others the last would wait for 25 MB of
/// copying.
ByteRange next_piece(const Exchange& exchange, const cache::Generation& generation,
                     ByteRange range) noexcept {
  const bool crowd = exchange.selection.collapsed || generation.readers() >= kCrowdReaders;
  if (exchange.head_sent || !crowd) return range;
  return {range.first, std::min(range.end, range.first + kCrowdFirstBytes)};
}

/// Until when the next bytes must come: before the head players allow about 8 s; after it a fill's
/// own idle limits apply, and this bounds them.
MonoTime progress_deadline(const Exchange& exchange) noexcept {
  return exchange.head_offered ? Loop::current()->now() + kClientStallTimeout
                               : exchange.first_byte_deadline;
}

}  // namespace

Tier tier_of(cache::Where where) noexcept {
  switch (where) {
    case cache::Where::Resident:
      return Tier::Ram;
    case cache::Where::OnDrive:
      return Tier::Drive;
    case cache::Where::Filling:
    case cache::Where::Absent:
      return Tier::Origin;
  }
  return Tier::Origin;
}

ResidentBatch::ResidentBatch(RangeReader& reader, ByteRange range, uint64_t bytes_max) noexcept {
  while (!range.empty() && count_ < kPartsMax && bytes_ < bytes_max) {
    auto& pinned = pinned_[count_];
    pinned.emplace(reader.try_readable(range.first));
    if (pinned->bytes.empty()) break;
    uint64_t length = std::min<uint64_t>(pinned->bytes.size(), range.length());
    length = std::min<uint64_t>(length, bytes_max - bytes_);
    parts_[count_++] = part_of(pinned->bytes.first(length));
    bytes_ += length;
    range = range.advanced(length);
    // Bytes still landing end the batch: what follows is not here yet.
    if (pinned->where == cache::Where::Filling) break;
  }
}

void ResidentBatch::count_sent(uint64_t sent, uint64_t (&bytes_by_tier)[kTiers]) const noexcept {
  for (uint32_t i = 0; i < count_ && sent > 0; ++i) {
    const uint64_t of_part = std::min<uint64_t>(sent, parts_[i].iov_len);
    bytes_by_tier[static_cast<uint8_t>(tier_of(pinned_[i]->where))] += of_part;
    sent -= of_part;
  }
}

Result<size_t> send_now(Exchange& exchange, std::span<const iovec> body, MonoTime now) noexcept {
  auto sent = exchange.stream.try_send(exchange.head_sent ? nullptr : &exchange.head, body);
  AccessRecord& record = exchange.record;
  // Also of a client that took the head and was gone before the body: the log tells its status.
  if (!exchange.head_sent && exchange.stream.has_head()) {
    exchange.head_sent = true;
    exchange.asked.begun = true;
    record.first_byte = now - exchange.started;
  }
  if (!sent) return sent;
  exchange.head_offered = true;
  if (exchange.asked.site != nullptr && exchange.asked.site->pace.bytes_per_second != 0)
    pace(exchange, *sent, now);
  const uint64_t before = record.bytes_sent;
  record.bytes_sent += *sent;
  if (before < kFirstBytesMeasured && record.bytes_sent >= kFirstBytesMeasured)
    exchange.first_64k = now - exchange.started;
  return sent;
}

Task<Result<Done>> send_range(Scope& scope, Exchange& exchange, ByteRange range) {
  RangeReader& reader = *exchange.reader;
  const cache::Generation& generation = *exchange.selection.selected.generation;
  while (!range.empty()) {
    // A purge with cut ends what runs on it, also what has all its bytes here.
    if (generation.cut()) co_return fail(Side::Self, Kind::Purged, "purged with cut");
    bool blocked = false;
    bool nothing_resident = false;
    ByteRange piece = next_piece(exchange, generation, range);
    {
      const ResidentBatch batch(reader, piece, exchange.stream.batch_bytes(piece.length()));
      if (batch.bytes() == 0) {
        nothing_resident = true;
      } else {
        auto sent = send_now(exchange, batch.parts(), scope.loop.now());
        if (!sent) co_return fail(sent.error());
        batch.count_sent(*sent, exchange.bytes_by_tier);
        range = range.advanced(*sent);
        blocked = *sent < batch.bytes();
      }
    }  // unpinned here, on every path
    if (nothing_resident) {
      scope.deadline = progress_deadline(exchange);
      auto readable = co_await reader.readable(scope, range.first);
      if (!readable) co_return fail(readable.error());
      piece = next_piece(exchange, generation, range);  // others have come meanwhile
      auto part = part_of(
          readable->bytes.first(std::min<uint64_t>(readable->bytes.size(), piece.length())));
      auto sent = send_now(exchange, {&part, 1}, scope.loop.now());
      if (!sent) co_return fail(sent.error());
      exchange.bytes_by_tier[static_cast<uint8_t>(tier_of(readable->where))] += *sent;
      range = range.advanced(*sent);
      blocked = *sent < part.iov_len;
    }
    if (exchange.stream.gone()) co_return fail(Side::Client, Kind::Closed, "client gone");
    if (blocked) {
      auto writable = co_await client_writable(exchange);
      if (!writable) co_return fail(writable.error());
    } else if (!range.empty() && (!nothing_resident || piece.end < range.end)) {
      co_await Yield{};  // at most one batch per connection and turn: others on this loop wait for
                         // theirs
    }
  }
  co_return Done{};
}

Task<Result<Done>> send_text(Exchange& exchange, std::string_view text) {
  auto rest = std::as_bytes(std::span(text));
  do {
    iovec part = part_of(rest);
    auto sent =
        send_now(exchange, {&part, rest.empty() ? size_t{0} : size_t{1}}, Loop::current()->now());
    if (!sent) co_return fail(sent.error());
    rest = rest.subspan(*sent);
    if (!rest.empty()) {
      auto writable = co_await client_writable(exchange);
      if (!writable) co_return fail(writable.error());
    }
  } while (!rest.empty());
  co_return Done{};
}

Task<Result<Done>> send_multipart(Scope& scope, Fills& fills, Exchange& exchange,
                                  const http::MultipartLayout& layout) {
  std::array<char, http::kPartHeadBytesMax> text;
  for (uint32_t i = 0; i < exchange.plan.parts.count; ++i) {
    auto head = co_await send_text(exchange, layout.part_head(i, text));
    if (!head) co_return fail(head.error());
    // One reader per part: each keeps its own window of fills.
    const ByteRange part = exchange.plan.parts.parts[i];
    exchange.reader.emplace(fills, exchange.asked, exchange.selection.selected, part,
                            /*open_ended=*/false);
    auto sent = co_await send_range(scope, exchange, part);
    if (!sent) co_return fail(sent.error());
  }
  co_return co_await send_text(exchange, layout.closing(text));
}

Task<Result<Done>> send_pass(Scope& scope, Exchange& exchange, ByteRange range) {
  origin::FetchStream& body = *exchange.selection.pass;
  // At most Delivery::Options::passes_max and relays_max of them.
  auto buffer = std::make_unique_for_overwrite<std::byte[]>(kPassBufferBytes);
  const std::span room(buffer.get(), kPassBufferBytes);
  uint64_t offset = 0;
  if (range.empty()) co_return co_await send_text(exchange, {});
  while (offset < range.end) {
    auto got = co_await body.read(room);
    if (!got) co_return fail(got.error());
    if (*got == 0) break;
    std::span<const std::byte> bytes = room.first(*got);
    const uint64_t skipped =
        offset < range.first ? std::min<uint64_t>(range.first - offset, bytes.size()) : 0;
    offset += bytes.size();
    bytes = bytes.subspan(skipped);
    if (offset > range.end)
      bytes = bytes.first(bytes.size() - std::min<uint64_t>(offset - range.end, bytes.size()));
    while (!bytes.empty()) {
      iovec part = part_of(bytes);
      auto sent = send_now(exchange, {&part, 1}, scope.loop.now());
      if (!sent) co_return fail(sent.error());
      exchange.bytes_by_tier[static_cast<uint8_t>(Tier::Pass)] += *sent;
      bytes = bytes.subspan(*sent);
      if (bytes.empty()) break;
      auto writable = co_await client_writable(exchange);
      if (!writable) co_return fail(writable.error());
    }
    if (exchange.stream.gone()) co_return fail(Side::Client, Kind::Closed, "client gone");
  }
  if (range.end != UINT64_MAX && offset < range.end)
    co_return fail(Side::Origin, Kind::Closed, "passed body too short");
  if (!exchange.head_sent) co_return co_await send_text(exchange, {});
  co_return Done{};
}

Task<Result<Done>> flush(Exchange& exchange) {
  while (!exchange.stream.flushed()) {
    auto writable = co_await client_writable(exchange);
    if (!writable) co_return fail(writable.error());
    auto sent = send_now(exchange, {}, Loop::current()->now());
    if (!sent) co_return fail(sent.error());
  }
  co_return Done{};
}

}  // namespace segue::edge
