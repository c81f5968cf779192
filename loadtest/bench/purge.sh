#!/usr/bin/env bash
# loadtest/bench/purge.sh [REPRESENTATIONS] - a million representations purged by the tag they share:
# the time of that one purge beside two page writes and a flush of the same disk. Then purge_load.py:
# what 10,000 purges by tag cost the hits that run meanwhile. Needs 1 GB of RAM.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/../.."
build=${SEGUE_BUILD:-build/release}
[[ -f $build/build.ninja ]] || cmake --preset release -B "$build" >/dev/null
cmake --build "$build" --target purge_bench segue >/dev/null
drive=$build/purge_bench.drive
trap 'rm -f "$drive"' EXIT
"$build/tests/bench/purge_bench" "$drive" "$@"
SEGUE_BINARY="$build/segue" /usr/bin/python3 tests/bench/purge_load.py
