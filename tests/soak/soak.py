#!/usr/bin/python3
"""The release gate, in pieces that can be stopped and gone on with: `./dev soak --for 60m`.

A ledger (build/soak/ledger.json) says what has run on this commit, what is left, and what was found; another commit
begins another one. Kinds, in turn, each in pieces of about a minute or less:

  sim    lives of the whole node in the simulation, by seed
  nth    the nth operation of a drive fails, once, for ever, or for want of space, for every n; passes, by seed
  kill   kill -9 under mixed load, on one drive: no wrong byte, and it comes back by itself
  cut    the power of an ext4 is cut under mixed load (needs root): no wrong byte, no purge undone
  flip   single bits of a drive turned over while the node is down: none of them is served
  fuzz   executions of each libFuzzer target
  memory   each allocation of the scripted runs of tests/unit/memory refused
  attacks  ten thousand slow connections of each kind (./dev bench attacks, whose figures it prints)

A new kind is a goal in GOALS and a function in PIECES that takes what is done and gives (done now, what was found).

Ends with 1 where anything was found. --report prints the ledger alone."""
import argparse
import hashlib
import json
import os
import pathlib
import random
import re
import shutil
import subprocess
import sys
import tempfile
import time

ROOT = pathlib.Path(__file__).resolve().parents[2]
os.environ.setdefault("SEGUE_BINARY", str(ROOT / "build/dev/segue"))
sys.path.insert(0, str(ROOT / "tests/wire"))
sys.dont_write_bytecode = True

from support.node import Node  # noqa: E402
from support.origin import Origin  # noqa: E402
from support import volume  # noqa: E402
from test_drive import Load, config, ready_to_keep, settle, store_all  # noqa: E402
from test_power_cut import make_cuts  # noqa: E402

ATTACKS = ("silence", "drip", "slow_read", "handshake", "h2_window", "descriptors")
# nth: 20 passes of every n; fuzz: of each target
GOALS = {"sim": 10_000, "nth": 20, "kill": 1_000, "cut": 500, "flip": 10_000, "fuzz": 100_000_000}
GOALS["attacks"] = len(ATTACKS)
MEMORY_RUNS = ("ParseMatrix.*", "RecoveryMatrix.*", "TlsMatrix.*", "Http2Matrix.*", "FillMatrix.*")
GOALS["memory"] = len(MEMORY_RUNS)
MIB = 1 << 20
FIRST_SEED = 1000
SEEDS, KILLS, CUTS, FLIPS, FUZZ_SECONDS = 200, 10, 10, 100, 20  # of one piece
FLIPS_PER_START = 20


class CannotRun(Exception):
    """This machine cannot do it: no finding, but the goals are not met here."""


def version():
    """The commit, and a hash of what differs from it."""
    ask = ["git", "-C", ROOT]
    commit = subprocess.run([*ask, "rev-parse", "HEAD"], capture_output=True, text=True, check=True).stdout.strip()
    changes = subprocess.run([*ask, "diff", "HEAD"], capture_output=True, check=True).stdout
    return commit[:12] + ("+" + hashlib.sha256(changes).hexdigest()[:12] if changes else "")


class Ledger:
    """{what: {"done": n, "seconds": s, "found": [...]}}, written whole after every piece."""

    def __init__(self, folder):
        self.path, self.version = folder / "ledger.json", version()
        folder.mkdir(parents=True, exist_ok=True)
        before = json.loads(self.path.read_text()) if self.path.exists() else None
        if before and before["version"] != self.version:
            self.path.rename(folder / f"ledger-{before['version']}-{int(time.time())}.json")
            print(f"another tree than the last time ({before['version']}): a new ledger")
            before = None
        self.work = before["work"] if before else {}

    def entry(self, name):
        return self.work.setdefault(name, {"done": 0, "seconds": 0.0, "found": []})

    def done(self, name):
        return self.entry(name)["done"]

    def add(self, name, done, seconds, found):
        entry = self.entry(name)
        entry["done"] += done
        entry["seconds"] = round(entry["seconds"] + seconds, 1)
        entry["found"] += found
        fresh = self.path.with_suffix(".new")
        fresh.write_text(json.dumps({"version": self.version, "work": self.work}, indent=1) + "\n")
        fresh.replace(self.path)

    def report(self, names):
        """Prints where things stand; the number of findings."""
        print(f"\nsoak of {self.version}")
        found = 0
        for name in names:
            entry, goal = self.entry(name), GOALS[name.split(":")[0]]
            share = min(entry["done"] / goal, 1)
            print(f"{name:<24} {entry['done']:>12} of {goal:>12} {share:>7.1%} {entry['seconds']:>9.0f} s", end="")
            print(f"  {len(entry['found'])} found" if entry["found"] else "")
            for what in entry["found"]:
                print(f"    FOUND {what}")
            found += len(entry["found"])
        whole = all(self.done(name) >= GOALS[name.split(":")[0]] for name in names)
        print(
            "the gate is open" if whole and not found else f"{found} found; the goals are {'' if whole else 'not '}met"
        )
        return found


def run_sim(done):
    """(seeds run, what was found)"""
    first = FIRST_SEED + done
    environment = {**os.environ, "SIM_FIRST": str(first), "SIM_SEEDS": str(SEEDS)}
    command = [ROOT / "build/dev/tests/sim/sim_test", "--gtest_filter=NodeSim.ARandomLifeKeepsTheInvariants"]
    ended = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    if ended.returncode == 0:
        return SEEDS, []
    seeds = re.findall(r"SIM_SEED=(\d+)", ended.stdout + ended.stderr)
    seed = int(seeds[-1]) if seeds else first
    # The next piece begins behind the seed that failed.
    return seed - first + 1, [f"SIM_SEED={seed} build/dev/tests/sim/sim_test ended with {ended.returncode}"]


def run_nth(done):
    """One pass: every operation of a drive's life, and of its return, fails once and for ever."""
    for program, tests in (("cache_drive_test", "DriveMatrix.*"), ("cache_store_test", "DriveReturnTest.Whichever*")):
        command = [ROOT / "build/dev/tests/unit" / program, f"--gtest_filter={tests}"]
        environment = {**os.environ, "DRIVE_SEED": str(done)}
        ended = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
        if ended.returncode != 0 or "[  PASSED  ] 0 tests" in ended.stdout:
            return 1, [f"DRIVE_SEED={done} {program} --gtest_filter={tests} ended with {ended.returncode}"]
    return 1, []


def run_cut(done):
    if reason := volume.why_not():
        raise CannotRun(reason)
    with Origin() as origin, tempfile.TemporaryDirectory(dir=ROOT / "build/soak") as name:
        wrong, _ = make_cuts(origin, pathlib.Path(name), CUTS, seed=done)
    return CUTS, [f"cuts {done} to {done + CUTS - 1}: {', '.join(wrong[:5])}"] if wrong else []


def run_kill(done):
    found, chance = [], random.Random(done)
    with Origin() as origin, tempfile.TemporaryDirectory(dir=ROOT / "build/soak") as name:
        folder = pathlib.Path(name)
        bodies = {f"/t/{i}": origin.add(f"/t/{i}", 2 * MIB).body for i in range(60)}
        node = Node(config(origin, [folder], size="256MiB"), folder=folder)
        load = Load(bodies, seed=done)
        for number in range(KILLS):
            load.run_until_killed(node, chance.uniform(0.05, 0.8))
            node = Node(config(origin, [folder], size="256MiB"), folder=folder)  # by itself, or it is found
            if load.wrong:
                return number + 1, [f"kill {done + number}: wrong bytes: {load.wrong[:3]}"]
        if node.fetch("/t/0").body != bodies["/t/0"]:
            found.append(f"kill {done}: wrong bytes after the last start")
        node.stop()
    return KILLS, found


def pieces_with_data(path):
    """[(first, end)] of a sparse file where something is written."""
    pieces, at = [], 0
    with open(path, "rb") as file:
        size = os.fstat(file.fileno()).st_size
        while at < size:
            try:
                first = os.lseek(file.fileno(), at, os.SEEK_DATA)
            except OSError:
                break
            at = os.lseek(file.fileno(), first, os.SEEK_HOLE)
            pieces.append((first, at))
    return pieces


def flip_bits(path, chance, count):
    """Half of them where a drive keeps its own words (the first pieces), half anywhere; their places."""
    pieces, places = pieces_with_data(path), []
    with open(path, "r+b") as file:
        for number in range(count):
            first, end = chance.choice(pieces[:4]) if number % 2 else chance.choice(pieces)
            at, bit = chance.randrange(first, end), chance.randrange(8)
            file.seek(at)
            old = file.read(1)[0]
            file.seek(at)
            file.write(bytes([old ^ (1 << bit)]))
            places.append((at, bit))
    return places


def run_flip(done):
    chance = random.Random(done)
    with Origin() as origin, tempfile.TemporaryDirectory(dir=ROOT / "build/soak") as name:
        folder = pathlib.Path(name)
        settings = config(origin, [folder], size="256MiB")
        bodies = {f"/t/{i}": origin.add(f"/t/{i}", MIB + 1000 * i).body for i in range(12)}
        with Node(settings, folder=folder) as node:
            ready_to_keep(node, origin)
            store_all(node, bodies)
            settle(node)
        clean = folder / "clean"
        shutil.copyfile(folder / "segue.drive", clean)
        for number in range(0, FLIPS, FLIPS_PER_START):
            subprocess.run(["cp", "--sparse=always", clean, folder / "segue.drive"], check=True)
            places = flip_bits(folder / "segue.drive", chance, FLIPS_PER_START)
            with Node(settings, folder=folder) as node:
                wrong = [target for target in bodies for _ in range(2) if node.fetch(target).body != bodies[target]]
            if wrong:
                return number + FLIPS_PER_START, [f"flips {places}: wrong bytes of {sorted(set(wrong))}"]
    return FLIPS, []


def run_fuzz(target):
    program = ROOT / f"build/fuzz/tests/fuzz/{target}_fuzz"
    corpus = ROOT / "build/soak/corpus" / target
    corpus.mkdir(parents=True, exist_ok=True)
    before = set(corpus.parent.glob("*-*"))
    command = [program, f"-max_total_time={FUZZ_SECONDS}", "-timeout=10", "-rss_limit_mb=4096", "-print_final_stats=1"]
    command += [f"-artifact_prefix={corpus.parent}/{target}-", corpus, ROOT / "tests/fuzz/corpus" / target]
    ended = subprocess.run([str(word) for word in command], capture_output=True, text=True, check=False)
    executed = re.search(r"stat::number_of_executed_units: (\d+)", ended.stderr)
    found = []
    if ended.returncode != 0:
        made = sorted(str(path.relative_to(ROOT)) for path in set(corpus.parent.glob("*-*")) - before)
        found = [f"{target}_fuzz ended with {ended.returncode}: {', '.join(made) or ended.stderr[-300:]}"]
    return int(executed[1]) if executed else 0, found


def run_memory(done):
    program = ROOT / "build/dev/tests/unit/memory_matrix_test"
    command = [program, f"--gtest_filter={MEMORY_RUNS[done % len(MEMORY_RUNS)]}"]
    environment = {**os.environ, "SEGUE_MATRIX": "all"}
    ended = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    print("\n".join(line for line in ended.stdout.splitlines() if " allocations; " in line))
    ran = re.search(r"\[  PASSED  \] [1-9]", ended.stdout)
    return 1, [] if ran and ended.returncode == 0 else [f"SEGUE_MATRIX=all {' '.join(map(str, command))}"]


def run_attacks(done):
    command = [sys.executable, ROOT / "loadtest/bench/attacks.py", "--kinds", ATTACKS[done]]
    ended = subprocess.run(command, capture_output=True, text=True, check=False)
    print(ended.stdout, end="")
    missed = [f"{ATTACKS[done]}: {line}" for line in ended.stdout.splitlines() if line.endswith("MISSED")]
    if ended.returncode and not missed:
        missed = [f"{ATTACKS[done]}: attacks.py ended with {ended.returncode}: {ended.stderr[-300:]}"]
    return 1, missed


PIECES = {
    "sim": run_sim,
    "nth": run_nth,
    "kill": run_kill,
    "cut": run_cut,
    "flip": run_flip,
    "memory": run_memory,
    "attacks": run_attacks,
}


def run_piece(name, done):
    kind, _, target = name.partition(":")
    if kind == "fuzz":
        return run_fuzz(target)
    return PIECES[kind](done)


def names_of(kinds):
    programs = sorted((ROOT / "build/fuzz/tests/fuzz").glob("*_fuzz")) if "fuzz" in kinds else []
    return [kind for kind in kinds if kind != "fuzz"] + ["fuzz:" + one.name.removesuffix("_fuzz") for one in programs]


def seconds_of(text):
    found = re.fullmatch(r"(\d+)([smh])", text)
    if not found:
        raise argparse.ArgumentTypeError(f"{text!r}: a whole number and s, m or h")
    return int(found[1]) * {"s": 1, "m": 60, "h": 3600}[found[2]]


def kinds_of(text):
    kinds = text.split(",")
    if not set(kinds) <= set(GOALS):
        raise argparse.ArgumentTypeError(f"{text!r}: some of {', '.join(GOALS)}")
    return kinds


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument(
        "--for", dest="seconds", type=seconds_of, default=3600, help="how long (60m); the ledger goes on"
    )
    parser.add_argument("--only", type=kinds_of, default=list(GOALS), help=f"some of {','.join(GOALS)}")
    parser.add_argument("--report", action="store_true", help="what the ledger says, and nothing else")
    options = parser.parse_args()
    ledger, names = Ledger(ROOT / "build/soak"), names_of(options.only)
    deadline = time.monotonic() + options.seconds
    while not options.report and time.monotonic() < deadline:
        # Each kind gets about the same time: who has had the least is next.
        left = [name for name in names if ledger.done(name) < GOALS[name.split(":")[0]]]
        if not left:
            break
        name, started = min(left, key=lambda one: ledger.entry(one)["seconds"]), time.monotonic()
        try:
            done, found = run_piece(name, ledger.done(name))
        except CannotRun as reason:
            print(f"{name}: NOT RUN here: {reason}", flush=True)
            names.remove(name)
            continue
        except Exception as problem:  # a node that does not come back is a finding, not the end of the soak
            done, found = 0, [f"{name} at {ledger.done(name)}: {type(problem).__name__}: {str(problem)[:500]}"]
        ledger.add(name, done, time.monotonic() - started, found)
        print(f"{name}: {ledger.done(name)}{'; FOUND ' + found[0] if found else ''}", flush=True)
        if found and not done:
            names.remove(name)  # it would only find the same again
    sys.exit(1 if ledger.report(names_of(options.only)) else 0)


if __name__ == "__main__":
    main()
