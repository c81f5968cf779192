"""Segue as a shared cache, judged by npm's http-cache-tests (RFC 9111, RFC 9213, RFC 5861 and kin).

The package is fetched by its name when the test runs and is no part of this repository; without node, npm or the
registry the test is skipped and says so. What fails must be listed, with its reason, in README.md beside this file.
"""
import json
import os
import pathlib
import re
import shutil
import subprocess
import sys

import pytest

HERE = pathlib.Path(__file__).resolve().parent
ROOT = HERE.parents[1]
sys.path.insert(0, str(ROOT / "tests/wire"))
from support.node import Node  # noqa: E402

PACKAGE = "http-cache-tests@0.4.5"
FETCH_SECONDS_MAX = 120
RUN_SECONDS_MAX = 300
REQUIRED_MIN, OPTIMAL_MIN = 150, 76


def package_folder():
    """Where the package lies; fetched once per work tree."""
    given = os.environ.get("SEGUE_HTTP_CACHE_TESTS")
    if given:
        return pathlib.Path(given)
    for program in ("node", "npm"):
        if not shutil.which(program):
            pytest.skip(f"http-cache-tests: no {program}")
    prefix = ROOT / "build/conformance"
    folder = prefix / "node_modules/http-cache-tests"
    if folder.is_dir():
        return folder
    prefix.mkdir(parents=True, exist_ok=True)
    command = [
        "npm",
        "install",
        "--no-save",
        "--ignore-scripts",
        "--no-audit",
        "--no-fund",
        "--prefix",
        prefix,
        PACKAGE,
    ]
    try:
        fetched = subprocess.run(command, stdin=subprocess.DEVNULL, capture_output=True, timeout=FETCH_SECONDS_MAX)
    except subprocess.TimeoutExpired:
        pytest.skip(f"http-cache-tests: npm did not answer within {FETCH_SECONDS_MAX} s")
    if fetched.returncode != 0 or not folder.is_dir():
        pytest.skip("http-cache-tests: npm cannot fetch it here")
    return folder


def run_suite():
    folder = package_folder()
    drive = subprocess.Popen(
        ["node", "--no-warnings", str(HERE / "drive.mjs"), str(folder)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    try:
        port = json.loads(drive.stdout.readline())["port"]
        settings = (HERE / "segue.toml").read_text().replace("ORIGIN", f"http://127.0.0.1:{port}")
        settings = re.sub(r"\[\[listen\]\]\naddr = .*\n", "", settings)  # Node adds its own
        with Node(settings) as node:
            output, _ = drive.communicate(f"http://{node.address[0]}:{node.address[1]}\n", timeout=RUN_SECONDS_MAX)
    finally:
        drive.kill()
        drive.wait()
    return json.loads(output.strip().splitlines()[-1])


def listed_failures():
    """The ids in the table of README.md."""
    return set(re.findall(r"^\| `([a-z0-9A-Z_=-]+)`", (HERE / "README.md").read_text(), re.M))


@pytest.fixture(scope="module")
def outcome():
    return run_suite()


def test_required_and_optimal_tests_pass_and_each_failure_has_a_reason(outcome):
    results, kinds, corrected = outcome["results"], outcome["kinds"], outcome["corrected"]
    judged = {test: kind for test, kind in kinds.items() if kind != "check"}
    failed = {test for test in judged if results.get(test) is not True}
    for test in sorted(failed):
        print(judged[test], test, results.get(test))
    assert failed == listed_failures()
    for kind, needed in (("required", REQUIRED_MIN), ("optimal", OPTIMAL_MIN)):
        tests = [test for test in judged if judged[test] == kind]
        itself = [test for test in tests if test not in failed]
        put_right = [test for test in tests if test in failed and corrected.get(f"corrected-{test}") is True]
        print(f"{kind}: {len(itself)} and {len(put_right)} put right, of {len(tests)}")
        assert len(itself) + len(put_right) >= needed


def test_what_contradicts_itself_passes_once_put_right(outcome):
    assert outcome["corrected"]
    assert [test for test, result in outcome["corrected"].items() if result is not True] == []
