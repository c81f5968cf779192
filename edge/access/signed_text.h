// edge/access/signed_text.h - the texts that signatures are of: one function each for who checks
// and who signs, so that they cannot differ.
#pragma once
#include <string>
#include <string_view>

#include "edge/access/token.h"

namespace segue::edge {

/// Ours: `fields` is the token before "~sig="; `exact_path` the canonical path where the token
/// names none. The word in front keeps signatures of one form from passing as those of another.
[[nodiscard]] std::string segue_signed_text(std::string_view fields, std::string_view exact_path);
/// expires+signature: `key_id` may be empty.
[[nodiscard]] std::string expires_signed_text(std::string_view path, std::string_view expires,
                                              std::string_view key_id);

}  // namespace segue::edge
