// base/entropy.h - random numbers from the kernel, for seeds and secrets made at start. Tests and
// the simulation give seeds instead.
#pragma once
#include <cstdint>
#include <span>

namespace segue {

/// 64 bits of getrandom(2). May wait only before the kernel's pool is initialised (early boot); for
/// start-up, never on a loop.
[[nodiscard]] uint64_t kernel_random() noexcept;
/// Fills at most 256 bytes, for keys. Once the node has started it neither waits nor fails.
void fill_with_kernel_random(std::span<unsigned char> into) noexcept;

}  // namespace segue
