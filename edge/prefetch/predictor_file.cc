#include "edge/prefetch/predictor_file.h"

#include <fmt/format.h>

#include <algorithm>
#include <cstring>

#include "base/hash.h"

namespace segue::edge {
namespace {

constexpr char kMagic[] = {'S', 'E', 'G', 'U', 'E', 'P', 'R', 'D'};
constexpr uint32_t kVersion = 1;

struct Header {
  char magic[8];
  uint32_t version;
  uint32_t rows;
  uint64_t owner;
  uint64_t text_bytes;
};
static_assert(sizeof(Header) == 32);

}  // namespace

SavedPredictor::SavedPredictor(uint64_t bytes_max) {
  bytes_.reserve(bytes_max);
  bytes_.resize(sizeof(Header));
}

uint64_t SavedPredictor::add_rows(const Predictor& predictor, uint64_t from, uint64_t most) {
  return predictor.append_rows(from, most, bytes_);
}

void SavedPredictor::add_text(std::string_view text) {
  if (text.empty() || text.size() > kKnownTextBytesMax) return;
  const auto length = static_cast<uint16_t>(text.size());
  const size_t at = bytes_.size();
  bytes_.resize(at + sizeof length + text.size());
  std::memcpy(bytes_.data() + at, &length, sizeof length);
  std::memcpy(bytes_.data() + at + sizeof length, text.data(), text.size());
  text_bytes_ += sizeof length + text.size();
}

std::vector<std::byte> SavedPredictor::seal(uint64_t owner) && {
  const uint64_t rows = (bytes_.size() - sizeof(Header) - text_bytes_) / Predictor::kRowBytes;
  Header header{.magic = {},
                .version = kVersion,
                .rows = static_cast<uint32_t>(rows),
                .owner = owner,
                .text_bytes = text_bytes_};
  std::memcpy(header.magic, kMagic, sizeof kMagic);
  std::memcpy(bytes_.data(), &header, sizeof header);
  const uint64_t sum = checksum(bytes_);
  bytes_.resize(bytes_.size() + sizeof sum);
  std::memcpy(bytes_.data() + bytes_.size() - sizeof sum, &sum, sizeof sum);
  return std::move(bytes_);
}

std::expected<OpenedPredictor, std::string> open_saved(std::span<const std::byte> file,
                                                       uint64_t owner) {
  Header header;
  if (file.size() < sizeof header + sizeof(uint64_t)) return std::unexpected("too short");
  std::memcpy(&header, file.data(), sizeof header);
  if (std::memcmp(header.magic, kMagic, sizeof kMagic) != 0)
    return std::unexpected("not the file of a predictor");
  if (header.version != kVersion)
    return std::unexpected(fmt::format("version {}, {} is known", header.version, kVersion));
  const uint64_t rest = file.size() - sizeof header - sizeof(uint64_t);
  const uint64_t row_bytes = uint64_t{header.rows} * Predictor::kRowBytes;
  if (header.text_bytes > rest || row_bytes != rest - header.text_bytes)
    return std::unexpected("its length is not that of what it holds");
  uint64_t sum = 0;
  std::memcpy(&sum, file.data() + file.size() - sizeof sum, sizeof sum);
  if (sum != checksum(file.first(file.size() - sizeof sum)))
    return std::unexpected("its checksum is wrong");
  if (header.owner != owner) return std::unexpected("it belongs to another cache");
  OpenedPredictor opened;
  opened.rows = file.subspan(sizeof header, row_bytes);
  std::span<const std::byte> texts = file.subspan(sizeof header + row_bytes, header.text_bytes);
  while (!texts.empty()) {
    uint16_t length = 0;
    if (texts.size() < sizeof length) return std::unexpected("a text is cut");
    std::memcpy(&length, texts.data(), sizeof length);
    texts = texts.subspan(sizeof length);
    if (length == 0 || length > kKnownTextBytesMax || length > texts.size())
      return std::unexpected("a text has a length that cannot be");
    const auto text = texts.first(length);
    opened.texts.emplace_back(reinterpret_cast<const char*>(text.data()), text.size());
    texts = texts.subspan(length);
  }
  return opened;
}

// --- the rows ---

uint64_t Predictor::append_rows(uint64_t from, uint64_t most, std::vector<std::byte>& out) const {
  const uint64_t end = std::min<uint64_t>(rows_.size(), from + most);
  for (uint64_t i = from; i < end; ++i) {
    if (rows_[i].state == 0) continue;
    out.resize(out.size() + sizeof(Row));
    std::memcpy(out.data() + out.size() - sizeof(Row), &rows_[i], sizeof(Row));
  }
  return end == rows_.size() ? 0 : end;
}

/// Whether it can be one of ours. A clock that was stepped back must not make all of it worthless.
bool Predictor::is_plausible(const Row& row, uint32_t minute) noexcept {
  constexpr float kWeightMax = 1e9F;
  constexpr uint32_t kClockStepMinutes = 24 * 60;
  const auto is_weight = [](float weight) { return weight >= 0 && weight <= kWeightMax; };
  if (row.state == 0 || !is_weight(row.total)) return false;
  if (row.minute > minute + kClockStepMinutes) return false;
  return std::ranges::all_of(row.weights, [&](float weight) {
    return is_weight(weight) && weight <= row.total * 1.001F + 0.001F;
  });
}

std::expected<void, std::string> Predictor::take_rows(std::span<const std::byte> rows,
                                                      uint32_t minute) {
  const size_t count = rows.size() / sizeof(Row);
  const auto row_at = [&](size_t i) {
    Row row;
    std::memcpy(&row, rows.data() + i * sizeof row, sizeof row);
    return row;
  };
  for (size_t i = 0; i < count; ++i) {
    if (!is_plausible(row_at(i), minute))
      return std::unexpected(fmt::format("row {} cannot be", i));
  }
  for (size_t i = 0; i < count; ++i) {
    const Row row = row_at(i);
    place_for(row.state, minute) = row;
  }
  return {};
}

}  // namespace segue::edge
