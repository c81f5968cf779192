// Repeats a scripted run with its nth allocation refused, for every n, once and from then on, each
// time in a child of its own.
//
// Of what C++ asked for (operator new) the child must end cleanly: one line on stderr and
// kOutOfMemoryStatus, or the run as if nothing had been. Of what C asked for (malloc of the
// libraries and of our pools) the run must go on to its end: an error of one thing, everything
// given back, never a wrong byte; only an event loop that cannot watch a socket, and what a start
// cannot do without, may end cleanly there, too. A child that ends by another signal, hangs, leaks,
// says more, or finds something wrong is a failed test.
//
// By default about 24 of the n of each way; all with SEGUE_MATRIX=all (`./dev soak`).
#pragma once
#include <string>

#include "tests/unit/memory/failing_memory.h"

namespace segue::testing {

/// The run: from nothing to nothing held. What was wrong in it, or nothing. Allocations that are to
/// be refused happen while a Counted lives.
using ScriptedRun = std::string (*)();

struct MatrixCounts {
  uint64_t allocations = 0;  // of the run undisturbed
  uint64_t runs = 0;         // with one refused
  uint64_t went_on = 0;
  uint64_t ended_cleanly = 0;
};

/// Reports what is wrong as failures of the test it is called from. `after`, where it is given, is
/// called here when a child has ended, however it did: what the next start finds.
MatrixCounts run_matrix(ScriptedRun run, Whose whose, ScriptedRun after = nullptr);

}  // namespace segue::testing
