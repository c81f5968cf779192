#!/usr/bin/python3
"""What the tests of build/coverage ran of the product: lines overall, and every branch of files where each must run.

coverage.py run     unit tests, some simulation seeds, the fuzz corpus and the quick wire tests, counted
coverage.py report  what was counted; ends with 1 where a goal is missed
"""
import json
import os
import pathlib
import shutil
import subprocess
import sys

ROOT = pathlib.Path(__file__).resolve().parents[1]
BUILD = ROOT / "build/coverage"
PROFILES = BUILD / "profiles"
PRODUCT = ("base", "http", "conf", "cache", "tls", "origin", "edge")
LINES_PERCENT_MIN = 90.0
# Range arithmetic, Content-Range, slot decoding, token checking: a branch nobody ran is a branch nobody knows.
EVERY_BRANCH = (
    "http/range.cc",
    "http/content_range.cc",
    "cache/slot_header.cc",
    "edge/access/token_check.cc",
    "edge/access/token_fields.cc",
    "edge/access/segue_token.cc",
    "edge/access/edge_auth_token.cc",
    "edge/access/jwt_token.cc",
)
LOWEST_SHOWN = 10


def programs():
    folders = [BUILD / "tests" / label for label in ("unit", "sim", "fuzz")]
    found = [one for folder in folders for one in sorted(folder.glob("*")) if one.is_file() and os.access(one, os.X_OK)]
    return [BUILD / "segue", *found]


def run():
    """Runs everything under profiles that programs of the same build merge into one file each."""
    shutil.rmtree(PROFILES, ignore_errors=True)
    PROFILES.mkdir(parents=True)
    environment = {**os.environ, "LLVM_PROFILE_FILE": str(PROFILES / "%m.profraw")}
    results = BUILD / "results"
    results.mkdir(exist_ok=True)
    suite = ["/usr/bin/python3", ".ci/suite.py", "--results", results]
    failed = 0
    for words in (
        ["gtest", "--label", "unit"],
        ["gtest", "--label", "sim", "--seeds", "100"],
        ["fuzz"],
        ["pytest", "--quick"],
    ):
        command = [*suite, words[0], "--preset", "coverage", *words[1:]]
        failed += subprocess.run(command, cwd=ROOT, env=environment, check=False).returncode != 0
    return failed


def export():
    """llvm-cov's facts of each file of the product."""
    merged = BUILD / "all.profdata"
    raw = sorted(PROFILES.glob("*.profraw"))
    if not raw:
        sys.exit("coverage: nothing was counted; `coverage.py run` comes first")
    subprocess.run(["llvm-profdata-19", "merge", "-sparse", *raw, "-o", merged], check=True)
    first, *others = programs()
    command = ["llvm-cov-19", "export", f"-instr-profile={merged}", first]
    command += [word for other in others for word in ("-object", other)]
    command += [ROOT / folder for folder in PRODUCT]
    done = subprocess.run([str(word) for word in command], capture_output=True, text=True, check=False)
    if done.returncode != 0:
        sys.exit(f"coverage: llvm-cov-19: {done.stderr[:2000]}")
    return json.loads(done.stdout)["data"][0]["files"]


def missing_branches(file):
    """["line 12 never true"]: of every place, whichever template or inlining it was compiled into."""
    ran = {}
    for line, column, _, _, taken, not_taken, *_ in file["branches"]:
        true, false = ran.get((line, column), (0, 0))
        ran[line, column] = (true + taken, false + not_taken)
    words = []
    for (line, _), (true, false) in sorted(ran.items()):
        words += [f"line {line} never true"] if not true else []
        words += [f"line {line} never false"] if not false else []
    return len(ran) * 2, words


def report():
    files = {str(pathlib.Path(one["filename"]).relative_to(ROOT)): one for one in export()}
    lines = [(one["summary"]["lines"]["covered"], one["summary"]["lines"]["count"]) for one in files.values()]
    covered, count = (sum(column) for column in zip(*lines))
    percent = 100 * covered / count
    print(f"lines of the product that ran: {covered} of {count}, {percent:.2f} % (goal {LINES_PERCENT_MIN:.0f} %)")
    missed = percent < LINES_PERCENT_MIN
    for folder in PRODUCT:
        own = [one["summary"]["lines"] for name, one in files.items() if name.startswith(folder + "/")]
        done, all_lines = sum(one["covered"] for one in own), max(sum(one["count"] for one in own), 1)
        print(f"  {folder:<8} {done:>6} of {all_lines:>6} {100 * done / all_lines:>7.2f} %")
    lowest = sorted(files, key=lambda name: files[name]["summary"]["lines"]["percent"])
    print("least:", ", ".join(f"{n} {files[n]['summary']['lines']['percent']:.0f} %" for n in lowest[:LOWEST_SHOWN]))
    print("files of which every branch must run:")
    for name in EVERY_BRANCH:
        if name not in files:
            print(f"  {name}: is not there")
            missed = True
            continue
        branches, words = missing_branches(files[name])
        print(f"  {name}: {branches - len(words)} of {branches}" + (f"; {', '.join(words)}" if words else ""))
        missed |= bool(words)
    return missed


def main():
    if sys.argv[1:] not in (["run"], ["report"]):
        sys.exit(__doc__)
    sys.exit(1 if {"run": run, "report": report}[sys.argv[1]]() else 0)


if __name__ == "__main__":
    main()
