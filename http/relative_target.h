// http/relative_target.h - from a reference as a document or a player writes it to a request
// target, as long as it stays on its host. Pure, no allocation.
#pragma once
#include <optional>
#include <span>
#include <string_view>

namespace segue::http {

/// The target that `reference` names, seen from the origin-form target `base` (RFC 3986 §5.2), in
/// `out`; not canonical yet. Nothing for what names another host or scheme ("//h/x", "a:b"), the
/// document itself (empty, or a fragment), what climbs above the root (a browser would stay there;
/// whoever writes it means something else), and what does not fit.
[[nodiscard]] std::optional<std::string_view> resolve_on_host(std::string_view base,
                                                              std::string_view reference,
                                                              std::span<char> out) noexcept;

}  // namespace segue::http
