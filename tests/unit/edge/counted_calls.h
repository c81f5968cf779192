// Counts heap allocations and system calls of this binary while `counts.on`: what the hit path must
// not do, or do once. Linking it replaces operator new and the calls below, so its tests are a
// binary of their own.
#pragma once

namespace segue::testing {

struct Counts {
  bool on = false;
  int allocations = 0;
  int reads = 0;  // of sockets
  int writevs = 0;
  int epoll_ctls = 0;
};
extern Counts counts;

}  // namespace segue::testing
