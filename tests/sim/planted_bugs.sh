#!/usr/bin/env bash
# planted_bugs.sh [NAME...] - builds the simulation with one known bug at a time and expects that it
# finds each (ARCHITECTURE.md, invariants). Prints the seed that did; ends with `N passed, N failed`.
# SIM_SEEDS (default 1000, as in CI) bounds the search.
set -uo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/../.."

BUILD=build/dev
LOGS=build/planted
JOBS=2
SECONDS_MAX=300
ulimit -c 0
export SIM_SEEDS=${SIM_SEEDS:-1000}

planted() {   # the names in the product's code
  grep -rhoE 'SEGUE_PLANTED_BUG_[a-z_]+' cache edge --include='*.cc' --include='*.h' |
    sed 's/SEGUE_PLANTED_BUG_//' | LC_ALL=C sort -u
}

find_bug() {   # find_bug NAME: says how the simulation fails with it, or that it does not
  local name=$1 log=$LOGS/$1.log seed how
  if [[ ! -x $BUILD/tests/planted/sim_test_$name ]]; then
    echo "$name: does not build (see $LOGS/build.log)"
    return
  fi
  # It ends with the first finding: what goes on with a bug known to be there may go on for ever.
  if GTEST_BREAK_ON_FAILURE=1 timeout "$SECONDS_MAX" \
    "$BUILD/tests/planted/sim_test_$name" --gtest_filter='*ARandomLife*' >"$log" 2>&1; then
    echo "$name: NOT FOUND in $SIM_SEEDS seeds"
    return
  fi
  seed=$(grep -m1 -oE 'SIM_SEED=[0-9]+' "$log")
  how=$(grep -m1 -E 'assertion failed|wrong bytes|purged bytes|waits for ever|collisions' "$log" ||
        grep -m1 -A5 'Failure$' "$log" | tr -s ' \n' ' ')
  echo "$name: found by ${seed:-a seed that ended the process}: $(echo "$how" | sed "s,$PWD/,," | cut -c1-120)"
}

[[ $# -gt 0 ]] || mapfile -t names < <(planted)
[[ $# -eq 0 ]] || names=("$@")
mkdir -p "$LOGS" && : >"$LOGS/build.log"
rm -rf "$BUILD/tests/planted"   # what does not build must not be one of yesterday
[[ -f $BUILD/build.ninja ]] || cmake --preset dev >>"$LOGS/build.log" 2>&1
cmake --build "$BUILD" --target "${names[@]/#/sim_test_}" -- -k 0 >>"$LOGS/build.log" 2>&1
for name in "${names[@]}"; do
  find_bug "$name" &
  [[ $(jobs -rp | wc -l) -lt $JOBS ]] || wait -n
done >"$LOGS/found"
wait
LC_ALL=C sort "$LOGS/found"
passed=$(grep -c ': found by ' "$LOGS/found")
failed=$((${#names[@]} - passed))
echo "$passed passed, $failed failed"
[[ $failed -eq 0 && $passed -gt 0 ]]
