// http/media_type.h - the media type by file extension, for origins that name none (dir:).
#pragma once
#include <string_view>

namespace segue::http {

/// By the extension of the last path segment, in any case: audio, playlists, and what goes with
/// them (cover pictures, JSON seek tables). "application/octet-stream" for the rest. Static
/// storage.
[[nodiscard]] std::string_view media_type_of(std::string_view path) noexcept;

}  // namespace segue::http
