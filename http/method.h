// http/method.h - request methods (RFC 9110 §9). Methods are case-sensitive: "get" is Other.
#pragma once
#include <cstdint>
#include <string_view>

namespace segue::http {

enum class Method : uint8_t { Get, Head, Options, Post, Put, Delete, Patch, Connect, Trace, Other };

/// The method named by `text`, or Other.
[[nodiscard]] Method parse_method(std::string_view text) noexcept;

/// The method as it stands on the wire; "OTHER" for Other (logs and metrics labels only).
[[nodiscard]] std::string_view name_of(Method method) noexcept;

}  // namespace segue::http
