#!/usr/bin/python3
"""Runs one suite of tests, prints its seconds and counts, and leaves `PASSED FAILED SECONDS` in a file of RESULTS.

suite.py --results DIR gtest --preset P --label unit|sim [--seeds N]
suite.py --results DIR pytest --preset P [--quick] [--wire tls|h2] [--folder tests/system]
suite.py --results DIR fuzz --preset P         replays tests/fuzz/corpus/NAME through NAME_fuzz
suite.py --results DIR total                   sums what is there; its last line is `N passed, N failed`
"""
import argparse
import concurrent.futures
import json
import os
import pathlib
import signal
import subprocess
import sys
import time
import xml.etree.ElementTree

# What a suite may take on two cores, in seconds; over it the suite still counts, but says so.
BUDGET_SECONDS = {"unit": 120, "sim": 120, "wire": 360, "wire-tls": 240, "wire-h2": 240, "fuzz": 60, "system": 240}
PROGRAM_SECONDS_MAX = 900
PYTEST_SECONDS_MAX = 1800
JOBS = 2
SIM_FIRST = 1000  # the first seed, as in tests/sim/sim_test.cc
# Processes that share out the wire tests, which mostly wait; those marked alone follow one by one, with nobody beside
# them.
WIRE_WORKERS = 2
# So many failed wire tests of a suite are asked a second time, alone: a stranger's load on the machine can starve a
# test of its time, a defect fails twice. More than these are no accident, and neither are a node that died or hangs and
# a wrong byte.
SECOND_TRIES_MAX = 3
NEVER_AGAIN = (
    "segue ended with",
    "Sanitizer",
    "runtime error:",
    "TimeoutExpired",
    "is not ready after",
    ".body ==",
    "crashed while running",
)
PYTEST_NOTHING_CHOSEN = 5  # pytest's exit code


class Suite:
    """The counts of one suite; a test that failed is a line of text."""

    def __init__(self, kind, preset, results):
        self.kind, self.preset, self.results = kind, preset, results
        self.passed, self.skipped, self.failures = 0, 0, []
        self.runs = 0  # of pytest
        self.started = time.monotonic()
        self.counts = results / f"{kind}-{preset}"
        self.counts.write_text("0 1 0\n")  # until finish(): a suite that dies itself is a failure
        self.notes = self.counts.with_suffix(".notes")
        self.notes.unlink(missing_ok=True)

    def note(self, line):
        """Says something that is no failure, now and again under the totals."""
        print(line, flush=True)
        with self.notes.open("a") as notes:
            notes.write(line + "\n")

    def finish(self):
        seconds = time.monotonic() - self.started
        for failure in self.failures:
            print(f"FAILED {self.kind} ({self.preset}): {failure}")
        skipped = f", {self.skipped} skipped" if self.skipped else ""
        counts = f"{self.passed} passed, {len(self.failures)} failed{skipped}"
        print(f"== {self.kind} ({self.preset}): {counts}, {seconds:.1f} s", flush=True)
        if seconds > BUDGET_SECONDS[self.kind]:
            # No failure: on a busy machine it is no fault of the tests.
            self.note(f"WARNING: {self.kind} ({self.preset}) took {seconds:.0f} s of its {BUDGET_SECONDS[self.kind]}")
        self.counts.write_text(f"{self.passed} {len(self.failures)} {seconds:.1f}\n")
        return 1 if self.failures else 0


def environment(**more):
    env = dict(os.environ)
    env.setdefault("ASAN_OPTIONS", "detect_stack_use_after_return=1:strict_string_checks=1")
    env.setdefault("UBSAN_OPTIONS", "print_stacktrace=1:halt_on_error=1")
    suppressions = pathlib.Path("tests/support/tsan.supp").resolve()
    env.setdefault("TSAN_OPTIONS", f"halt_on_error=1:second_deadlock_stack=1:suppressions={suppressions}")
    for tool in ("ASAN", "TSAN", "UBSAN"):
        env.setdefault(f"{tool}_SYMBOLIZER_PATH", "/usr/bin/llvm-symbolizer-19")
    env.update(more)
    return env


def run_program(command, env):
    """Runs a test program. Returns (exit code or None when it took too long, its output)."""
    try:
        done = subprocess.run(
            command,
            env=env,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            timeout=PROGRAM_SECONDS_MAX,
            check=False,
        )
        return done.returncode, done.stdout.decode(errors="replace")
    except subprocess.TimeoutExpired as late:
        return None, (late.stdout or b"").decode(errors="replace")


def gtest_counts(report):
    """(passed, skipped, names of failed tests) of a GoogleTest JSON report."""
    passed, skipped, failed = 0, 0, []
    for group in report.get("testsuites", []):
        for test in group["testsuite"]:
            if test.get("failures"):
                failed.append(f"{group['name']}.{test['name']}")
            elif test["result"] == "SKIPPED" or test["status"] == "NOTRUN":
                skipped += 1
            else:
                passed += 1
    return passed, skipped, failed


def executables(folder):
    if not folder.is_dir():
        return []
    return sorted(path for path in folder.iterdir() if path.is_file() and os.access(path, os.X_OK))


def shares(programs, seeds):
    """(program, its words, its settings, the name of its report); the seeds of the simulation are shared out."""
    for program in programs:
        if not seeds:
            yield program, [], {}, program.name
            continue
        for job in range(JOBS):
            first, end = seeds * job // JOBS, seeds * (job + 1) // JOBS
            words = ["--gtest_filter=*ARandomLife*"] if job else []
            yield program, words, {
                "SIM_FIRST": str(SIM_FIRST + first),
                "SIM_SEEDS": str(end - first),
            }, f"{program.name}{job}"


def run_gtest(options, suite):
    programs = executables(pathlib.Path("build") / options.preset / "tests" / options.label)

    def run(share):
        program, words, settings, name = share
        report = suite.results / f"{name}-{options.preset}.json"
        report.unlink(missing_ok=True)
        code, output = run_program([str(program), *words, f"--gtest_output=json:{report}"], environment(**settings))
        return program, report, code, output

    with concurrent.futures.ThreadPoolExecutor(JOBS) as pool:
        for program, report, code, output in pool.map(run, shares(programs, options.seeds)):
            failed = []
            if report.exists():
                passed, skipped, failed = gtest_counts(json.loads(report.read_text()))
                suite.passed += passed
                suite.skipped += skipped
            suite.failures += [f"{program.name}: {name}" for name in failed]
            if code != 0 and not failed:  # it died: a sanitizer, an assert, a signal, or too slow
                end = "took too long" if code is None else f"ended with {code}"
                suite.failures.append(f"{program.name} {end}")
            if code != 0:
                print(output[-20000:], flush=True)
    if not programs:
        suite.failures.append(f"no test program in build/{options.preset}/tests/{options.label}")


def run_fuzz(options, suite):
    programs = executables(pathlib.Path("build") / options.preset / "tests" / "fuzz")
    for program in programs:
        corpus = pathlib.Path("tests/fuzz/corpus") / program.name.removesuffix("_fuzz")
        inputs = sorted(str(path) for path in corpus.glob("*") if path.is_file())
        if not inputs:
            suite.failures.append(f"{program.name}: {corpus} is empty")
            continue
        code, output = run_program([str(program), *inputs], environment())
        if code == 0:
            suite.passed += 1
        else:
            suite.failures.append(f"{program.name} over {len(inputs)} inputs")
            print(output[-20000:], flush=True)
    if not programs:
        suite.failures.append(f"no fuzz target in build/{options.preset}/tests/fuzz")


def run_pytest(options, suite):
    command = [
        "/usr/bin/python3",
        "-m",
        "pytest",
        "-q",
        "--tb=short",
        f"--override-ini=cache_dir={suite.results.resolve() / suite.counts.name}.cache",
        options.folder,
    ]
    if options.preset == "dev" and not options.quick and suite.kind == "wire":
        command.append("tests/conformance")
    env = environment(
        SEGUE_BINARY=str(pathlib.Path("build").resolve() / options.preset / "segue"),
        SEGUE_WIRE=options.wire,
        PYTHONDONTWRITEBYTECODE="1",
    )
    failed, late = {}, []
    codes = set()
    for words in passes(suite, "not slow" if options.quick else ""):
        code, missed, _ = ask_pytest([*command, *words], env, suite)
        # There may be none that has to be alone.
        codes.add(0 if code == PYTEST_NOTHING_CHOSEN and codes else code)
        failed |= missed
    said = "".join(failed.values())
    # 1: all were run, and some failed; else it ended in the middle.
    whole = codes <= {0, 1}
    if whole and 0 < len(failed) <= SECOND_TRIES_MAX and not any(text in said for text in NEVER_AGAIN):
        _, again, passed = ask_pytest([*command, "--last-failed"], env, suite)
        late = [name for name in failed if name in passed]
        suite.note(f"SECOND TRY: {suite.kind} ({suite.preset}): {', '.join(late) or 'nothing'} passed")
        failed = again | {name: said for name, said in failed.items() if name not in passed}
    suite.failures += failed
    if not whole or (1 in codes and not failed and not late):
        suite.failures.append(f"pytest ended with {', '.join(map(str, codes))}")


def passes(suite, which):
    """What each run of pytest that makes up the suite is told; `which`: what is run of it, all where empty."""
    if not suite.kind.startswith("wire"):
        return [["-m", which]]
    both = [f"{which} and {mark}" if which else mark for mark in ("not alone", "alone")]
    shared = ["-n", str(WIRE_WORKERS), "--dist", "loadfile", "--max-worker-restart", "2"]
    return [[*shared, "-m", both[0]], ["-m", both[1]]]


def run_within(command, env, seconds):
    """Returns the exit code, or None when it took longer. Nothing of it is left then, nor when we are interrupted: not
    the workers of pytest, and not their nodes."""
    process = subprocess.Popen(command, env=env, stdin=subprocess.DEVNULL, start_new_session=True)
    try:
        return process.wait(seconds)
    except subprocess.TimeoutExpired:
        return None
    finally:
        if process.poll() is None:
            os.killpg(process.pid, signal.SIGKILL)
            process.wait()


def ask_pytest(command, env, suite):
    """Runs pytest and counts. Returns its exit code, what failed with its report, and the names of what passed."""
    suite.runs += 1
    report = suite.results / f"{suite.counts.name}-{suite.runs}.xml"
    report.unlink(missing_ok=True)
    code = run_within([*command, f"--junit-xml={report}"], env, PYTEST_SECONDS_MAX)
    if code is None:
        return None, {f"pytest took more than {PYTEST_SECONDS_MAX} s": ""}, []
    failed, passed = {}, []
    if report.exists():
        for case in xml.etree.ElementTree.parse(report).iter("testcase"):
            name = f"{case.get('classname')}.{case.get('name')}"
            if ends := [*case.iter("failure"), *case.iter("error")]:
                failed[name] = failed.get(name, "") + "\n".join(end.text or "" for end in ends)
            elif case.find("skipped") is not None:
                suite.skipped += 1
            else:
                passed.append(name)
    suite.passed += len(passed)
    return code, failed, passed


def print_total(results):
    passed = failed = 0
    for counts in sorted(path for path in results.glob("*") if not path.suffix):
        suite_passed, suite_failed, seconds = counts.read_text().split()
        passed += int(suite_passed)
        failed += int(suite_failed)
        print(f"{counts.name:16} {suite_passed:>6} passed {suite_failed:>4} failed {float(seconds):>8.1f} s")
    for notes in sorted(results.glob("*.notes")):
        print(notes.read_text(), end="")
    print(f"{passed} passed, {failed} failed")
    return 1 if failed or not passed else 0


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--results", type=pathlib.Path, required=True)
    parser.add_argument("what", choices=["gtest", "pytest", "fuzz", "total"])
    parser.add_argument("--preset", default="dev")
    parser.add_argument("--label", default="unit", choices=["unit", "sim"])
    parser.add_argument("--seeds", type=int, default=0)
    parser.add_argument("--quick", action="store_true")
    parser.add_argument("--folder", default="tests/wire")
    parser.add_argument(
        "--wire", default="h1", choices=["h1", "tls", "h2"], help="what the requests of the suite go over"
    )
    options = parser.parse_args()
    options.results.mkdir(parents=True, exist_ok=True)
    if options.what == "total":
        return print_total(options.results)
    folder = pathlib.Path(options.folder).name
    kind = {"gtest": options.label, "pytest": folder, "fuzz": "fuzz"}[options.what]
    if options.wire != "h1":
        kind += f"-{options.wire}"
    suite = Suite(kind, options.preset, options.results)
    {"gtest": run_gtest, "pytest": run_pytest, "fuzz": run_fuzz}[options.what](options, suite)
    return suite.finish()


if __name__ == "__main__":
    sys.exit(main())
