// cache/purge_statement.h - a purge is a statement about the past: "what was asked of the origin
// before `sequence` and matches is gone" (or, soft, stale).
#pragma once
#include <cstdint>
#include <string>

#include "base/hash.h"
#include "cache/types.h"

namespace segue::cache {

enum class PurgeScope : uint8_t { Key = 1, Prefix = 2, Tag = 3, Everything = 4 };

struct PurgeStatement {
  PurgeScope scope = PurgeScope::Key;
  bool soft = false;  // stale instead of gone: the next request revalidates
  Sequence sequence;
  KeyHash key;         // Key: hash of the key text; Tag: hash of the tag
  std::string prefix;  // Prefix: of the key text
};

}  // namespace segue::cache
