#!/usr/bin/python3
"""loadtest/bench/micro.py - instructions of the small pieces every request passes, against the committed figures.

callgrind counts instructions, which are the same on a busy machine: more than 10 % over
tests/bench/micro_instructions.json is a failure. `--record` writes that file anew (say why in the commit); `--times`
also runs them under Google Benchmark.
"""
import argparse
import json
import pathlib
import re
import subprocess
import sys
import tempfile

ROOT = pathlib.Path(__file__).resolve().parents[2]
FIGURES = ROOT / "tests/bench/micro_instructions.json"
GROWTH = 1.10
ITERATIONS = {"slice_verify": 10}  # the others are small
PLENTY = 2000


def instructions(program, name):
    """Per iteration. Two runs of different lengths: their difference has no start in it."""
    times = ITERATIONS.get(name, PLENTY)

    def count(iterations):
        with tempfile.NamedTemporaryFile(prefix="callgrind-") as out:
            done = subprocess.run(
                ["valgrind", "--tool=callgrind", "--toggle-collect=counted", f"--callgrind-out-file={out.name}"]
                + [str(program), "--count", name, str(iterations)],
                capture_output=True,
                text=True,
                check=False,
            )
        found = re.search(r"Collected : (\d+)", done.stderr)
        if done.returncode != 0 or not found:
            sys.exit(f"micro: {name} could not be counted:\n{done.stdout}{done.stderr}")
        return int(found.group(1))

    return (count(2 * times) - count(times)) / times


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--build", type=pathlib.Path, default=ROOT / "build/release")
    parser.add_argument("--record", action="store_true", help="write the counts as the new committed figures")
    parser.add_argument("--times", action="store_true", help="times as well (noise on a shared machine)")
    options = parser.parse_args()
    subprocess.run(
        ["cmake", "--build", options.build, "--target", "micro_bench"], check=True, stdout=subprocess.DEVNULL
    )
    program = options.build / "tests/bench/micro_bench"
    names = subprocess.run([program, "--list"], capture_output=True, text=True, check=True).stdout.split()
    committed = json.loads(FIGURES.read_text()) if FIGURES.exists() else {}
    counts, failed = {}, []
    print(f"{'piece':<16} {'instructions':>12} {'committed':>10} {'ratio':>6}")
    for name in names:
        counts[name] = round(instructions(program, name), 1)
        before = committed.get(name)
        ratio = counts[name] / before if before else float("nan")
        if not options.record and (before is None or ratio > GROWTH):
            failed.append(name)
        print(f"{name:<16} {counts[name]:>12.1f} {before or 0:>10.1f} {ratio:>6.3f}", flush=True)
    if options.record:
        FIGURES.write_text(json.dumps(counts, indent=1) + "\n")
    if options.times:
        subprocess.run([program, "--benchmark_min_time=0.2"], check=True)
    for name in failed:
        print(f"FAILED {name}: more than {GROWTH:.0%} of the committed instructions, or no committed figure")
    sys.exit(1 if failed else 0)


if __name__ == "__main__":
    main()
