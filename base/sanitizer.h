// base/sanitizer.h - whether this build watches memory. Pools and slabs then give every object its
// own malloc, or a use after free would go unseen.
#pragma once

namespace segue {
#if defined(__has_feature)
#if __has_feature(address_sanitizer) || __has_feature(thread_sanitizer) || \
    __has_feature(memory_sanitizer)
inline constexpr bool kSanitized = true;
#else
inline constexpr bool kSanitized = false;
#endif
#else
inline constexpr bool kSanitized = false;
#endif
}  // namespace segue
