#!/usr/bin/python3
"""loadtest/bench/prefetch.py - what prefetch would be worth on real listening: `segue replay` on traces of plays.

`--traces FOLDER` or SEGUE_TRACES names a folder with `spotify_plays*.csv.gz` (user,end_unix,ms_played,track,...) and
`*sessions*.txt.gz` (lines `split session item item ...`, no clock); they are read there and never copied into the
project. A session without a clock becomes a listener of its own, three minutes a play, sessions interleaved by random
starts (`--seed`). Caches are RAM only, 2, 10 and 30 % of all tracks together; the targets are of 10 and 30 %.

`--quick`: no sessions file. `--record` writes figures and plots to loadtest/results/.
"""
import argparse
import datetime
import gzip
import json
import os
import pathlib
import random
import shutil
import subprocess
import sys
import tempfile

ROOT = pathlib.Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT / "loadtest"))
from lib import report  # noqa: E402

SIZES = (2, 10, 30)  # of the footprint, in parts of 100
JUDGED = (10, 30)
LEARNED = (5, 10, 20, 30, 50, 70)  # least probability of a guess, in parts of 100
FLOOR = 20  # the default
FEEDS = ["none", "oracle:100", "oracle:61", *(f"learned:{percent}" for percent in LEARNED)]
PLAY_SECONDS = 180
AT_ONCE = 300  # sessions without a clock that run at a time
SECONDS_MAX = 60  # of CPU, per million plays and run
NEVER_WORSE = 1e-9


def sessions_as_plays(path, seed, out):
    """The sessions file as CSV of plays, by their end."""
    draw = random.Random(seed)
    with gzip.open(path, "rt") as lines:
        sessions = [line.split()[2:] for line in lines if not line.startswith("#")]
    gap = sum(map(len, sessions)) / len(sessions) * PLAY_SECONDS / AT_ONCE
    start, plays = 1_500_000_000.0, []
    for number, items in enumerate(sessions):
        start += draw.expovariate(1 / gap)
        plays.extend((start + PLAY_SECONDS * (i + 1), number, item) for i, item in enumerate(items))
    plays.sort()
    with out.open("w") as file:
        file.write("user,end_unix,ms_played,track\n")
        file.writelines(f"s{user},{end:.3f},{PLAY_SECONDS * 1000},{track}\n" for end, user, track in plays)


def find_traces(folder, quick, seed, scratch):
    """{name: path of a CSV} of what is there."""
    found = {}
    for path in sorted(folder.glob("*plays*.csv.gz")):
        target = scratch / f"{path.name.split('.')[0]}.csv"
        with gzip.open(path, "rb") as packed, target.open("wb") as plain:
            shutil.copyfileobj(packed, plain)
        found[path.name.split(".")[0]] = target
    for path in [] if quick else sorted(folder.glob("*sessions*.txt.gz")):
        target = scratch / f"{path.name.split('.')[0]}.csv"
        sessions_as_plays(path, seed, target)
        found[path.name.split(".")[0]] = target
    return found


def replay(trace, percent, policies, seed):
    """{(policy, feed): run} of one trace and cache size."""
    out = trace.with_suffix(".json")
    command = ["build/release/segue", "replay", trace, "--ram", f"{percent}%", "--seed", seed, "--json", out]
    for policy in policies:
        command += ["--policy", policy]
    for feed in FEEDS:
        command += ["--feed", feed]
    done = subprocess.run(list(map(str, command)), cwd=ROOT, stdout=subprocess.DEVNULL, check=False)
    if done.returncode != 0:
        sys.exit(f"prefetch: segue replay ended with {done.returncode}")
    result = json.loads(out.read_text())
    for run in result["runs"]:
        run["plays"] = result["plays"]
    return {(run["policy"], run["feed"]): run for run in result["runs"]}


def fewer(run, without, key="following_misses"):
    """By how much first-byte misses fell, in parts of 100."""
    return 100 * (1 - run[key] / max(without[key], 1))


def misses(run):
    return run["following_misses"] + run["session_start_misses"]


def row_of(run, without):
    unused = 100 * (1 - run["precision"])
    return [
        run["policy"],
        run["feed"],
        f"{100 * run['hit_ratio']:.2f}",
        f"{100 * run['first_byte_hit_ratio']:.2f}",
        f"{fewer(run, without):.1f}",
        f"{fewer(run, without, 'session_start_misses'):.1f}",
        f"{run['coverage']:.3f}",
        f"{unused:.1f}" if run["used_bytes"] + run["wasted_bytes"] else "-",
        f"{run['fetched_bytes'] / 1e9:.1f}",
        f"{run['origin_bytes'] / 1e9:.1f}",
        f"{run['seconds']:.1f}",
    ]


HEADER = ["policy", "feed", "hit %", "first byte hit %", "fewer misses that follow %", "fewer at session starts %"]
HEADER += ["coverage", "unused bytes %", "ahead GB", "origin GB", "CPU s"]


def judge(name, runs, policies):
    """The verdicts of one trace and cache size."""
    met = []
    for policy in policies:
        without = runs[policy, "none"]
        of = f"{name}, {policy}"
        all_known, some_known = runs[policy, "oracle:100"], runs[policy, "oracle:61"]
        learned = runs[policy, f"learned:{FLOOR}"]
        met += [
            report.verdict(f"{of}: oracle, fewer misses that follow", fewer(all_known, without), 50, " %", True),
            report.verdict(f"{of}: 61 % known, fewer misses that follow", fewer(some_known, without), 30, " %", True),
            report.verdict(f"{of}: 61 % known, unused bytes", 100 * (1 - some_known["precision"]), 45, " %"),
            report.verdict(f"{of}: predictor, first-byte misses", misses(learned), misses(without)),
        ]
        worst = min(runs[policy, feed]["hit_ratio"] for feed in ("oracle:100", "oracle:61", f"learned:{FLOOR}"))
        met.append(report.verdict(f"{of}: worst demand hit ratio", worst, without["hit_ratio"] - NEVER_WORSE, "", True))
    slowest = max(run["seconds"] / run["plays"] * 1e6 for run in runs.values())
    if all(run["plays"] >= 1_000_000 for run in runs.values()):
        met.append(report.verdict(f"{name}: slowest run of a million plays", slowest, SECONDS_MAX, " s of CPU"))
    return met


def draw(name, by_size, path):
    """The predictor's precision against the misses it avoids, a line per cache size."""
    blocks, titles = [], []
    for percent, runs in by_size.items():
        without = runs["lru", "none"]
        points = [runs["lru", f"learned:{least}"] for least in LEARNED]
        lines = [
            f"{100 * run['precision']:.3f} {100 * (misses(without) - misses(run)) / run['plays']:.4f} {least}"
            for run, least in zip(points, LEARNED)
            if run["used_bytes"] + run["wasted_bytes"]
        ]
        if lines:
            blocks.append(f"$d{percent} << EOD\n" + "\n".join(lines) + "\nEOD\n")
            titles.append(f"$d{percent} using 1:2:3 with linespoints title 'cache {percent} % of all tracks'")
            titles.append(f"$d{percent} using 1:2:3 with labels offset 0,0.7 notitle")
    if not blocks:
        return
    script = "".join(blocks) + f"set title 'predictor, {name}: labels are the least probability, %' noenhanced\n"
    script += "set xlabel 'bytes used of bytes prefetched, %'\nset ylabel 'first-byte misses avoided per 100 plays'\n"
    script += "set grid\nset key outside\nplot " + ", ".join(titles) + "\n"
    report.plot(script, path)


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--traces", default=os.environ.get("SEGUE_TRACES"), help="folder with the traces")
    parser.add_argument("--quick", action="store_true", help="plays with a clock only")
    parser.add_argument("--all-policies", action="store_true", help="S3-FIFO also on the large trace")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--record", action="store_true", help="write figures and plots to loadtest/results/")
    options = parser.parse_args()
    if not options.traces or not pathlib.Path(options.traces).is_dir():
        sys.exit("prefetch: no traces; name their folder with --traces or SEGUE_TRACES")
    facts = report.machine()
    print(report.machine_line(facts), flush=True)
    day = datetime.date.today().isoformat()
    met, figures = [], {}
    with tempfile.TemporaryDirectory(prefix="segue-traces-") as folder:
        scratch = pathlib.Path(folder)
        traces = find_traces(pathlib.Path(options.traces), options.quick, options.seed, scratch)
        if not traces:
            sys.exit(f"prefetch: no traces in {options.traces}")
        for name, trace in traces.items():
            large = "sessions" in name and not options.all_policies
            policies = ["lru"] if large else ["lru", "s3fifo"]
            by_size = {percent: replay(trace, percent, policies, options.seed) for percent in SIZES}
            for percent, runs in by_size.items():
                print(f"\n{name}, cache {percent} % of all tracks")
                rows = [row_of(run, runs[run["policy"], "none"]) for run in runs.values()]
                print(report.markdown(HEADER, rows), flush=True)
                if percent in JUDGED:
                    met += judge(f"{name}, {percent} %", runs, policies)
                figures[f"{name}, {percent} %"] = list(runs.values())
            target = report.RESULTS if options.record else scratch
            draw(name, by_size, target / f"prefetch-{name.split('_')[0]}-{day}.svg")
    if options.record:
        report.write_json(report.RESULTS / f"prefetch-{day}.json", facts, {"replays": figures})
    sys.exit(0 if all(met) else 1)


if __name__ == "__main__":
    main()
