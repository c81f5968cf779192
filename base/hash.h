// base/hash.h - XXH3 behind our own names: key hashes and payload checksums.
#pragma once
#include <compare>
#include <cstddef>
#include <cstdint>
#include <functional>
#include <span>
#include <string_view>

namespace segue {

/// 128 bits of a cache key under the node's secret seed. Two keys with one hash are told apart by
/// the key text in the record, so a collision costs a miss, never wrong bytes.
struct KeyHash {
  uint64_t high = 0;
  uint64_t low = 0;
  constexpr auto operator<=>(const KeyHash&) const = default;
};

/// XXH3-128 of `text` under `seed` (secret per cache: strangers must not be able to choose their
/// shard).
[[nodiscard]] KeyHash hash_key(std::string_view text, uint64_t seed) noexcept;

/// XXH3-64 of `bytes`; the checksum of slot payloads, headers and records (cache/FORMAT.md).
[[nodiscard]] uint64_t checksum(std::span<const std::byte> bytes) noexcept;

/// A cheap full-avalanche mix for shard and bucket choice (splitmix64's finaliser, Steele et al.
/// 2014).
[[nodiscard]] constexpr uint64_t mix(uint64_t x) noexcept {
  x ^= x >> 30;
  x *= 0xbf58476d1ce4e5b9ULL;
  x ^= x >> 27;
  x *= 0x94d049bb133111ebULL;
  return x ^ (x >> 31);
}

}  // namespace segue

template <>
struct std::hash<segue::KeyHash> {
  size_t operator()(const segue::KeyHash& key) const noexcept {
    return static_cast<size_t>(key.low);
  }
};
