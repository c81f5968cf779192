"""Starting, checking and preparing: every mistake is one clear line with its place, and nothing is ever destroyed."""
import os
import pathlib
import re
import shutil
import subprocess

import pytest

from support.client import wait_until
from support.node import BINARY, Node, StartFailed, run_segue
from support.settings import config_for

MIB = 1 << 20
LENGTH = 300_000
GOOD = """[node]
ram = "256MiB"
[origin.store]
servers = ["http://127.0.0.1:9"]
[[site]]
name = "music"
hosts = ["localhost"]
origin = "store"
"""

MISTAKES = [  # the text, the line it must name, words that must be in the message
    (GOOD + "x = 1\n", 9, ["x"]),
    (GOOD.replace('ram = "256MiB"', 'rma = "256MiB"'), 2, ["rma", "ram"]),
    (GOOD.replace('"256MiB"', '"256 MiBs"'), 2, ["node.ram", "256 MiBs"]),
    (GOOD.replace('"256MiB"', "256"), 2, ["node.ram"]),
    (GOOD.replace('"256MiB"', '"1MiB"'), 2, ["node.ram", "needed", "MiB"]),
    (GOOD.replace("http://127.0.0.1:9", "ftp://127.0.0.1"), 4, ["servers", "ftp://127.0.0.1"]),
    (GOOD.replace("http://127.0.0.1:9", "http://user@host"), 4, ["servers"]),
    (GOOD.replace('origin = "store"', 'origin = "stroe"'), 8, ["stroe", "store"]),
    (GOOD.replace('hosts = ["localhost"]', 'hosts = ["local host"]'), 7, ["hosts"]),
    (GOOD + '[[site]]\nname = "music"\nhosts = ["b"]\n', 10, ["music"]),
    (GOOD + '[[site]]\nname = "b"\nhosts = ["localhost"]\n', 11, ["localhost"]),
    (GOOD + '[site.ttl]\ndefault = "1w"\n', 10, ["default", "1w"]),
    (GOOD + '[site.ttl]\ndefault = "-1s"\n', 10, ["default"]),
    (GOOD + 'query = "some"\n', 9, ["query", "some"]),
    (GOOD + '[[listen]]\naddr = ["nowhere"]\n', 10, ["nowhere"]),
    (GOOD + '[[listen]]\naddr = ["127.0.0.1:99999"]\n', 10, ["99999"]),
    (GOOD + '[admin]\nlisten = "0.0.0.0:9180"\n', 10, ["admin.listen", "loopback"]),
    (GOOD + '[cache]\npolicy = "mru"\n', 10, ["policy", "mru", "lru", "s3fifo"]),
    (GOOD + '[[cache.drive]]\nsize = "1GiB"\n', 9, ["path"]),
    (GOOD + '[[cache.drive]]\npath = "/tmp/a"\nsize = "1MiB"\n', 11, ["size"]),
    (GOOD + '[[cache.drive]]\npath = "/tmp/a"\n[[cache.drive]]\npath = "/tmp/a/"\n', 12, ["/tmp/a"]),
    (
        GOOD.replace(
            'servers = ["http://127.0.0.1:9"]',
            'servers = ["http://127.0.0.1:9"]\ntimeout = { first_byte = "9s", total = "6s" }',
        ),
        5,
        ["first_byte", "total"],
    ),
    (
        GOOD.replace(
            'servers = ["http://127.0.0.1:9"]', 'servers = ["http://127.0.0.1:9"]\nbreaker = { failures = 0 }'
        ),
        5,
        ["failures"],
    ),
    (GOOD.replace("[node]", "[node"), 1, []),
    (GOOD + 'name = "twice"\n', 9, []),
    (GOOD.replace('servers = ["http://127.0.0.1:9"]', "servers = []"), 3, ["servers"]),
    (GOOD + '[log]\nlevel = "loud"\n', 10, ["level", "loud", "debug"]),
    ("", 0, ["origin"]),
]


@pytest.mark.parametrize("text, line, words", MISTAKES, ids=range(len(MISTAKES)))
def test_a_mistake_is_named_with_file_line_and_what_is_allowed(tmp_path, text, line, words):
    path = tmp_path / "segue.toml"
    path.write_text(text)
    for command in (["check", path], ["serve", "--config", path]):
        done = run_segue(*map(str, command))
        assert done.returncode == (1 if command[0] == "check" else 2)
        output = done.stderr + (done.stdout if command[0] == "check" else "")
        place = f"segue.toml:{line}:" if line else "segue.toml"
        found = [each for each in output.splitlines() if place in each]
        assert found, output
        assert any(all(word in each for word in words) for each in found), output


def test_all_mistakes_of_a_file_are_told_at_once(tmp_path):
    path = tmp_path / "segue.toml"
    path.write_text(GOOD.replace('"256MiB"', '"x"').replace('"store"\n[[', '"x"\n[[') + 'query = "some"\nwrong = 1\n')
    output = run_segue("check", str(path)).stderr
    assert {match[1] for match in re.finditer(r"segue\.toml:(\d+):", output)} >= {"2", "9", "10"}


def test_a_right_file_prints_the_plan(tmp_path):
    path = tmp_path / "segue.toml"
    path.write_text(GOOD + f'[[cache.drive]]\npath = "{tmp_path}/cache"\nsize = "1GiB"\n')
    done = run_segue("check", str(path))
    assert done.returncode == 0, done.stderr
    for words in ("256.0 MiB", "RAM tier", "connections", "slots", "1.0 GiB"):
        assert words in done.stdout
    assert not (tmp_path / "cache").exists(), "check writes nothing"


def test_a_missing_settings_file_is_one_line(tmp_path):
    for command in (["check", f"{tmp_path}/none.toml"], ["serve", "--config", f"{tmp_path}/none.toml"]):
        done = run_segue(*command)
        assert done.returncode in (1, 2)
        assert "none.toml" in done.stderr and done.stderr.count("\n") <= 2


@pytest.mark.parametrize(
    "flags, words",
    [
        (["--ram", "x"], ["--ram"]),
        (["--ram", "1MiB"], ["--ram", "needed"]),
        (["--io", "magic"], ["--io", "uring"]),
        (["--threads", "1000"], ["--threads"]),
        (["--listen", "nowhere"], ["--listen"]),
        (["--origin", "ftp://x"], ["--origin"]),
        (["--cache", "/nowhere/x", "--cache-size", "1"], ["--cache-size", "at least"]),
        (["--nonsense"], ["--nonsense"]),
        (["--admin", "0.0.0.0:1"], ["--admin"]),
    ],
)
def test_a_wrong_flag_is_named(flags, words):
    done = run_segue("serve", *([] if "--origin" in flags else ["--origin", "http://127.0.0.1:9"]), *flags)
    assert done.returncode == 2
    for word in words:
        assert word in done.stderr


def test_ram_that_is_too_little_is_refused_with_the_figure_that_is_enough(origin, tmp_path):
    path = tmp_path / "segue.toml"
    path.write_text(config_for(origin.url).replace("256MiB", "8MiB"))
    needed = re.search(r"\((\d+)MiB\)", run_segue("check", str(path)).stderr)
    assert needed
    origin.add("/t", LENGTH)
    with Node(config_for(origin.url).replace("256MiB", f"{int(needed[1]) + 1}MiB"), tls=False) as node:
        assert node.fetch("/t").status == 200


def test_flags_alone_are_enough(tmp_path):
    (tmp_path / "music").mkdir()
    (tmp_path / "music/a.ogg").write_bytes(b"x" * 1000)
    process = subprocess.Popen(
        [
            BINARY,
            "serve",
            "--listen",
            f"unix:{tmp_path}/s",
            "--origin",
            f"dir:{tmp_path}/music",
            "--cache",
            f"{tmp_path}/cache",
            "--cache-size",
            "256MiB",
            "--sparse",
            "--ram",
            "512MiB",
            "--admin",
            f"unix:{tmp_path}/admin",
            "--threads",
            "1",
            "--io",
            "threads",
        ],
        stderr=subprocess.PIPE,
    )
    try:
        wait_until(lambda: (tmp_path / "s").exists(), what="the socket")
        done = subprocess.run(
            ["curl", "-sS", "--unix-socket", f"{tmp_path}/s", "http://any.example/a.ogg"],
            capture_output=True,
            check=True,
        )
        assert done.stdout == b"x" * 1000
    finally:
        process.terminate()
        assert process.wait(15) == 0
        process.stderr.close()


def test_an_address_in_use_is_one_line(origin):
    with Node(config_for(origin.url)) as node:
        with pytest.raises(StartFailed) as failed:
            Node(config_for(origin.url), listen=(f"127.0.0.1:{node.address[1]}",))
    assert failed.value.code == 1
    assert str(node.address[1]) in failed.value.log


def test_commands_that_only_print(tmp_path):
    assert re.fullmatch(r"segue \d+\.\d+\.\d+\n", run_segue("version").stdout)
    limits = run_segue("limits").stdout
    for name in ("kSliceBytes", "kHeaderBytesMax", "kFillRunBytesMax", "kConnectionsPerLoopMax"):
        assert name in limits
    usage = run_segue("--help").stdout
    for verb in ("serve", "check", "explain", "purge", "drain", "cache", "version", "limits", "stats"):
        assert verb in usage
    assert run_segue("help").returncode == 0 or "--help" in run_segue("help").stderr
    assert run_segue("nonsense").returncode == 2
    assert tmp_path


# --- the cache folder ---


def config_with_drive(origin, path, size="256MiB", more=""):
    return config_for(origin.url, more=f'[[cache.drive]]\npath = "{path}"\nsize = "{size}"\nsparse = true\n{more}')


def serves_without_the_drive(origin, path, words, **keywords):
    """It serves, says in one line why it does so without the drive, and shows it in the metrics."""
    origin.add("/t", LENGTH)
    with Node(config_with_drive(origin, path, **keywords)) as node:
        lines = [line for line in node.log_lines if "drive_unusable" in line]
        assert len(lines) == 1, node.log
        for word in [str(path), *words]:
            assert word in lines[0]
        assert node.fetch("/t").status == 200
        assert node.fetch("/t").is_hit
        assert node.metrics()['segue_degraded{what="drive_unusable"}'] == 1
        assert node.admin("/ready").status == 200


def test_a_cache_folder_that_is_not_there_is_made_or_named(origin, tmp_path):
    origin.add("/t", LENGTH)
    with Node(config_with_drive(origin, tmp_path / "new")) as node:
        assert node.fetch("/t").status == 200
        if not (tmp_path / "new").exists():
            assert any("drive_unusable" in line and "new" in line for line in node.log_lines)


def test_a_drive_is_made_in_an_empty_folder_and_used_again(origin, tmp_path):
    with Node(config_with_drive(origin, tmp_path)) as node:
        node.wait_for_log("drive_created")
    assert (tmp_path / "segue.drive").stat().st_size == 256 * MIB
    with Node(config_with_drive(origin, tmp_path)) as node:
        assert "drive_created" not in node.log
        assert "drive_unusable" not in node.log


@pytest.mark.parametrize(
    "content",
    [b"my thesis" * 1000, b"SEGUE" + b"\0" * 5000, os.urandom(1 << 16), b"x"],
    ids=["text", "near_magic", "random", "one_byte"],
)
def test_a_foreign_file_is_left_as_it_is(origin, tmp_path, content):
    path = tmp_path / "segue.drive"
    path.write_bytes(content)
    serves_without_the_drive(origin, tmp_path, [])
    assert path.read_bytes() == content


def formatted(tmp_path, size="256MiB"):
    path = tmp_path / "segue.drive"
    done = run_segue("cache", "format", str(path), "--size", size, "--sparse")
    assert done.returncode == 0, done.stderr
    return path


@pytest.mark.slow
def test_a_drive_of_another_version_is_offline_and_unchanged(origin, tmp_path):
    path = formatted(tmp_path)
    data = bytearray(path.read_bytes()[: 16 * MIB])
    # Every superblock says another version: the number stands behind the magic (cache/FORMAT.md).
    magic = bytes(data[:8])
    assert magic.strip(b"\0"), "the first superblock begins the file"
    with path.open("r+b") as file:
        at, found = 0, 0
        whole = path.read_bytes()
        while (at := whole.find(magic, at)) >= 0:
            file.seek(at + len(magic))
            file.write(b"\x7f\0\0\0")
            at, found = at + 1, found + 1
        assert found >= 2
    changed = path.read_bytes()
    serves_without_the_drive(origin, path, [])
    assert path.read_bytes() == changed


def test_a_drive_cut_short_is_offline_and_unchanged(origin, tmp_path):
    path = formatted(tmp_path)
    os.truncate(path, 100 * MIB)
    serves_without_the_drive(origin, path, [])
    assert path.stat().st_size == 100 * MIB


def test_one_damaged_superblock_does_not_cost_the_drive(origin, tmp_path):
    path = formatted(tmp_path)
    with path.open("r+b") as file:
        file.write(b"\xff" * 4096)
    with Node(config_with_drive(origin, path)) as node:
        assert "drive_unusable" not in node.log


@pytest.mark.slow
def test_a_format_that_broke_off_is_not_taken_for_a_drive(origin, tmp_path):
    # serve writes a new drive under another name first; what is left of one that was killed is no obstacle.
    path = formatted(tmp_path)
    left = tmp_path / "left"
    left.mkdir()
    shutil.copy(path, left / "segue.drive.new")
    origin.add("/t", LENGTH)
    with Node(config_with_drive(origin, left)) as node:
        assert node.fetch("/t").status == 200
    assert (left / "segue.drive").exists() or "drive_unusable" in node.log


@pytest.mark.skipif(os.geteuid() == 0 and not shutil.which("setpriv"), reason="needs another user than root")
def test_a_folder_without_the_right_to_write_is_named(origin, tmp_path):
    folder = pathlib.Path("/proc/self")  # nobody, root included, makes files there
    serves_without_the_drive(origin, folder, [])
    assert tmp_path


@pytest.fixture
def small_file_system(tmp_path):
    folder = tmp_path / "small"
    folder.mkdir()
    done = subprocess.run(["mount", "-t", "tmpfs", "-o", "size=100m", "none", folder], check=False, capture_output=True)
    if done.returncode:
        pytest.skip(f"SKIPPED, not tested here: no right to mount a small file system ({done.stderr.decode().strip()})")
    yield folder
    subprocess.run(["umount", "-l", folder], check=True)


def test_a_file_system_that_is_too_small_is_named_and_left_clean(origin, small_file_system):
    origin.add("/t", LENGTH)
    config = config_with_drive(origin, small_file_system).replace("sparse = true", "sparse = false")
    with Node(config) as node:
        (line,) = [line for line in node.log_lines if "drive_unusable" in line]
        assert str(small_file_system) in line
        assert node.fetch("/t").status == 200
    assert not (small_file_system / "segue.drive").exists()


def test_a_read_only_file_system_is_named(origin, small_file_system):
    subprocess.run(["mount", "-o", "remount,ro", small_file_system], check=True)
    serves_without_the_drive(origin, small_file_system, [])


def test_a_drive_in_use_is_not_opened_twice(origin, tmp_path):
    with Node(config_with_drive(origin, tmp_path)):
        serves_without_the_drive(origin, tmp_path, [])
        done = run_segue("cache", "wipe", str(tmp_path))
        assert done.returncode != 0
        assert done.stderr.count("\n") == 1


# --- cache format, cache wipe ---


def test_format_refuses_what_carries_something(tmp_path):
    path = tmp_path / "thesis"
    path.write_bytes(b"my thesis" * 1000)
    done = run_segue("cache", "format", str(path), "--size", "256MiB")
    assert done.returncode != 0
    assert str(path) in done.stderr
    assert path.read_bytes() == b"my thesis" * 1000


def test_wipe_forgets_what_was_stored_and_keeps_the_drive(origin, tmp_path):
    origin.add("/t", LENGTH)
    with Node(config_with_drive(origin, tmp_path)) as node:
        node.fetch("/t")
        wait_until(lambda: node.metric("segue_drive_slots_live") > 0, seconds=15, what="a slice on the drive")
    done = run_segue("cache", "wipe", str(tmp_path))
    assert done.returncode == 0, done.stderr
    with Node(config_with_drive(origin, tmp_path)) as node:
        assert "drive_unusable" not in node.log
        assert not node.fetch("/t").is_hit


def test_wipe_touches_nothing_that_is_not_ours(tmp_path):
    path = tmp_path / "thesis"
    path.write_bytes(b"my thesis" * 1000)
    for target in (path, tmp_path / "none"):
        done = run_segue("cache", "wipe", str(target))
        assert done.returncode != 0
        assert done.stderr.count("\n") == 1
    assert path.read_bytes() == b"my thesis" * 1000
