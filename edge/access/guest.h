// edge/access/guest.h - what access control remembers of one connection.
#pragma once
#include <memory>

#include "edge/access/token_check.h"

namespace segue::edge {

/// Loop-owned; part of its connection. Small where neither tokens nor limits are in use.
struct Guest {
  std::unique_ptr<TokenMemo> token;
};

}  // namespace segue::edge
