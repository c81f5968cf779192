#!/usr/bin/env bash
# planted_bugs.sh [NAME...] - builds the simulation with one known bug at a time and expects that it
# finds each (ARCHITECTURE.md, invariants). Prints the seed that did; ends with `N passed, N failed`.
# SIM_SEEDS (default 1000, as in CI) bounds the search.
set -uo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/../.."

SEEDS=${SIM_SEEDS:-1000}
export CCACHE_NOHASHDIR=1   # what does not see the macro is compiled once for all of them

planted() {   # the names in the product's code
  grep -rhoE 'SEGUE_PLANTED_BUG_[a-z_]+' cache edge --include='*.cc' --include='*.h' |
    sed 's/SEGUE_PLANTED_BUG_//' | LC_ALL=C sort -u
}

find_bug() {   # find_bug NAME: 0 if the simulation fails with it
  local name=$1 build=build/planted-$1 seed how
  local log=$build/sim.log
  mkdir -p "$build"
  if ! { cmake --preset dev -B "$build" -DSEGUE_PLANTED_BUG="$name" &&
         cmake --build "$build" --target sim_test; } >"$build/build.log" 2>&1; then
    echo "$name: does not build (see $build/build.log)"
    return 1
  fi
  if SIM_SEEDS=$SEEDS "$build/tests/sim/sim_test" --gtest_filter='*ARandomLife*' >"$log" 2>&1; then
    echo "$name: NOT FOUND in $SEEDS seeds"
    return 1
  fi
  seed=$(grep -m1 -oE 'SIM_SEED=[0-9]+' "$log")
  how=$(grep -m1 -E 'assertion failed|wrong bytes|purged bytes|waits for ever|collisions' "$log" ||
        grep -m1 -A5 'Failure$' "$log" | tr -s ' \n' ' ')
  echo "$name: found by ${seed:-a seed that ended the process}: $(echo "$how" | sed "s,$PWD/,," | cut -c1-120)"
}

passed=0
failed=0
names=("$@")
[[ ${#names[@]} -gt 0 ]] || mapfile -t names < <(planted)
for name in "${names[@]}"; do
  if find_bug "$name"; then passed=$((passed + 1)); else failed=$((failed + 1)); fi
done
echo "$passed passed, $failed failed"
[[ $failed -eq 0 && $passed -gt 0 ]]
