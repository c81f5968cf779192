"""./dev test in a tree where nothing can be built: whatever could not run is counted as failed, never left out."""
import pathlib
import shutil
import subprocess

import pytest

ROOT = pathlib.Path(__file__).resolve().parents[2]


@pytest.fixture
def tree(tmp_path):
    shutil.copy(ROOT / "dev", tmp_path)
    shutil.copytree(ROOT / ".ci", tmp_path / ".ci")
    return tmp_path


def dev(tree, *words):
    return subprocess.run(["./dev", *words], cwd=tree, capture_output=True, text=True, timeout=60)


def total(tree):
    results = tree / "build/test-results"
    command = ["/usr/bin/python3", ".ci/suite.py", "--results", str(results), "total"]
    return subprocess.run(command, cwd=tree, capture_output=True, text=True, timeout=60).stdout.splitlines()[-1]


def test_a_preset_that_cannot_be_configured_is_a_failed_test(tree):
    result = dev(tree, "test", "quick")
    assert result.returncode != 0
    assert result.stdout.splitlines()[-1] == "0 passed, 1 failed"
    assert total(tree) == "0 passed, 1 failed"


def test_a_run_that_ends_in_the_middle_is_a_failed_test(tree):
    assert dev(tree, "test", "nothing-of-that-name").returncode != 0
    assert total(tree) == "0 passed, 1 failed"
