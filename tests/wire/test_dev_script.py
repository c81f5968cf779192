"""./dev test in a tree where nothing can be built: whatever could not run is counted as failed, never left out. And
./dev package says so where its older package, which upgrades are tested from, cannot be made."""
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


def pack_older(tree, called):
    """Runs pack_older of ./dev as `called`, on a package whose program is a shell script."""
    content = tree / "content"
    for name in ("DEBIAN", "usr/bin"):
        (content / name).mkdir(parents=True)
    control = "Package: segue\nVersion: 1.2.3\nArchitecture: amd64\nMaintainer: a <a@a.example>\nDescription: a\n"
    (content / "DEBIAN/control").write_text(control)
    (content / "DEBIAN/md5sums").write_text("0  usr/bin/segue\n")
    shutil.copy("/bin/true", content / "usr/bin/segue")
    package = "build/package/segue_1.2.3_amd64.deb"
    (tree / package).parent.mkdir(parents=True)
    command = ["dpkg-deb", "--root-owner-group", "-b", content, tree / package]
    subprocess.run(command, check=True, capture_output=True, timeout=60)
    script = tree / "dev"
    script.write_text(script.read_text().removesuffix('main "$@"\n') + called.format(package))
    return dev(tree)


OLDER = "build/package/segue_0.0.1_amd64.deb"
CALLS = ["pack_older {}", "if (pack_older {}); then exit 0; else exit 1; fi", "pack_older {} && say fine || exit 1"]


@pytest.mark.parametrize("called", CALLS)
def test_an_older_package_without_its_program_is_a_failure_however_it_is_asked_for(tree, called):
    done = pack_older(tree, called)
    assert done.returncode == 1 and "dev: cannot pack the older one" in done.stderr
    assert not (tree / OLDER).exists()


def test_an_older_package_has_the_older_program(tree):
    (tree / "build/release/edge").mkdir(parents=True)
    shutil.copy("/bin/false", tree / "build/release/edge/segue_older")
    done = pack_older(tree, CALLS[0])
    assert done.returncode == 0, done.stderr
    shown = subprocess.run(["dpkg-deb", "-f", tree / OLDER, "Version"], capture_output=True, text=True, timeout=60)
    assert shown.stdout == "0.0.1\n"
    subprocess.run(["dpkg-deb", "-x", tree / OLDER, tree / "out"], check=True, timeout=60)
    assert subprocess.run([tree / "out/usr/bin/segue"], check=False).returncode == 1
