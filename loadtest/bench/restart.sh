#!/usr/bin/env bash
# loadtest/bench/restart.sh [SLOTS] [lru|s3fifo] - how long a drive with 4 million live slots takes
# to be ready, and the bytes of index per slot. Needs 300 MB of disk below build/ (the drive is
# sparse) and 1.5 GB of RAM.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/../.."
build=${SEGUE_BUILD:-build/release}
[[ -f $build/build.ninja ]] || cmake --preset release -B "$build" >/dev/null
cmake --build "$build" --target restart_bench >/dev/null
drive=$build/restart_bench.drive
trap 'rm -f "$drive"' EXIT
"$build/tests/bench/restart_bench" "$drive" "${@:-4600000}"
