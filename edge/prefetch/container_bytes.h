// edge/prefetch/container_bytes.h - reads numbers out of a hostile file's beginning. Only
// container_*.cc include it.
#pragma once
#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <optional>
#include <span>
#include <string_view>

#include "edge/prefetch/container_head.h"

namespace segue::edge {

/// Bytes by their place; whoever reads asks has() first, for a part reads as 0 otherwise.
class ContainerBytes {
 public:
  explicit ContainerBytes(std::span<const std::byte> bytes) noexcept : bytes_(bytes) {}
  [[nodiscard]] size_t size() const noexcept { return bytes_.size(); }
  [[nodiscard]] bool has(uint64_t at, uint64_t count) const noexcept {
    return at <= bytes_.size() && count <= bytes_.size() - at;
  }
  [[nodiscard]] uint8_t u8(uint64_t at) const noexcept {
    return has(at, 1) ? static_cast<uint8_t>(bytes_[at]) : uint8_t{0};
  }
  /// Most significant byte first; `count` at most 8.
  [[nodiscard]] uint64_t big(uint64_t at, uint32_t count) const noexcept {
    uint64_t value = 0;
    for (uint32_t i = 0; i < count; ++i) value = value << 8 | u8(at + i);
    return value;
  }
  [[nodiscard]] uint64_t little(uint64_t at, uint32_t count) const noexcept {
    uint64_t value = 0;
    for (uint32_t i = count; i-- > 0;) value = value << 8 | u8(at + i);
    return value;
  }
  [[nodiscard]] bool is(uint64_t at, std::string_view text) const noexcept {
    return has(at, text.size()) && std::memcmp(bytes_.data() + at, text.data(), text.size()) == 0;
  }

 private:
  std::span<const std::byte> bytes_;
};

/// What lies before `start`, and of the rest as much as its share of time.
[[nodiscard]] inline std::optional<ContainerHead> linear_head(const HeadWanted& wanted,
                                                              uint64_t start,
                                                              double seconds) noexcept {
  constexpr double kSecondsMax = 48.0 * 3600;
  if (start >= wanted.complete_length || !(seconds > 0) || seconds > kSecondsMax)
    return std::nullopt;
  const double share = std::min(1.0, std::chrono::duration<double>(wanted.head).count() / seconds);
  const auto rest = static_cast<double>(wanted.complete_length - start);
  return ContainerHead{.head_bytes = std::min(wanted.complete_length,
                                              start + static_cast<uint64_t>(rest * share) + 1),
                       .tail = false};
}

}  // namespace segue::edge
