"""The package in a real systemd: one boot of Debian 12, and the tests are the days of its life, in this order.

SEGUE_PACKAGES is a folder with the package and an older one (./dev package --both): the same sources built as another
version, which is what it answers, so an upgrade is seen to change the program that runs."""
import contextlib
import ctypes
import json
import os
import pathlib
import re
import subprocess
import sys
import time

import pytest

import container as containers

HERE = pathlib.Path(__file__).resolve().parent
PACKAGES = pathlib.Path(os.environ.get("SEGUE_PACKAGES", containers.ROOT / "build/package"))
PORT = 8080
TRACK = bytes((i * 7 + (i >> 8) * 13 + (i >> 16)) & 0xFF for i in range(3_000_000))
KILLS_MAX = 5
BACK_SECONDS_MAX = 2
SETTINGS = """
[node]
name = "system-test"
ram = "384MiB"
threads = 2
[[listen]]
addr = ["0.0.0.0:8080", "[::]:8080"]
[admin]
listen = "unix:/run/segue/admin.sock"
[[cache.drive]]
path = "/var/cache/segue"
size = "256MiB"
[origin.music]
servers = "dir:/srv/music"
[[site]]
name = "music"
hosts = ["localhost"]
[log]
access = "/var/log/segue/access.ndjson"
"""


def package(which):
    """`which`: 0 the older, -1 the one of this tree."""
    found = sorted(PACKAGES.glob("segue_*.deb"))
    if len(found) < 2:
        pytest.skip(f"no two packages in {PACKAGES}: ./dev package --both makes them")
    return found[which]


@pytest.fixture(scope="module")
def machine():
    if reason := containers.why_not():
        pytest.skip(reason)
    try:
        containers.make_base(package(-1))
        booted = containers.Container()
    except OSError as error:
        pytest.skip(f"no container can be booted here: {error}")
    try:
        yield booted
    finally:
        booted.close()


def install(machine, deb):
    target = machine.root / "var/tmp/segue.deb"
    target.write_bytes(deb.read_bytes())
    machine.run("dpkg", "-i", "/var/tmp/segue.deb")
    target.unlink()


def wait_for(condition, what, machine, seconds=30):
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, f"{what} did not come true:\n{machine.journal()}"
        time.sleep(0.02)


def curl(machine, *words, check=True):
    """The host's curl in the container's network and file system for sockets."""
    return containers.run(*machine.enter("--net"), "curl", "-sS", "--max-time", "20", *words, check=check)


def admin(machine, path):
    return curl(
        machine, "--unix-socket", f"/proc/{machine.leader}/root/run/segue/admin.sock", f"http://localhost{path}"
    )


def metric(machine, name):
    values = [
        float(line.rsplit(" ", 1)[1])
        for line in admin(machine, "/metrics").stdout.splitlines()
        if line.startswith((name + " ", name + "{"))
    ]
    assert values, name
    return sum(values)


def is_ready(machine):
    done = curl(
        machine,
        "--unix-socket",
        f"/proc/{machine.leader}/root/run/segue/admin.sock",
        "http://localhost/ready",
        check=False,
    )
    return '"ready":true' in done.stdout


class Players:
    def __init__(self, machine, count=8):
        track = machine.root / "srv/music/track.ogg"
        command = [*machine.enter("--net"), sys.executable, str(HERE / "players.py"), str(PORT), str(track), str(count)]
        self.process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)

    def so_far(self):
        self.process.stdin.write("\n")
        self.process.stdin.flush()
        return json.loads(self.process.stdout.readline())

    def play_on(self, count):
        """Until so many more ranges were right."""
        begun = self.so_far()["done"]
        deadline = time.monotonic() + 60
        while True:
            now = self.so_far()
            assert not now["wrong"], now
            if now["done"] >= begun + count:
                return
            assert time.monotonic() < deadline, now
            time.sleep(0.02)

    def end(self):
        self.process.stdin.close()
        counts = json.loads(self.process.stdout.read().splitlines()[-1])
        self.process.wait(60)
        return counts


@contextlib.contextmanager
def playing(machine):
    players = Players(machine)
    try:
        players.play_on(50)
        yield players
        players.play_on(50)
        counts = players.end()
        print(counts)
        assert counts["wrong"] == []
    finally:
        if players.process.poll() is None:
            players.process.kill()


def is_warm(machine):
    """Whether this process has served bytes, and none of them from the origin."""
    cold = sum(metric(machine, f'segue_body_bytes_total{{tier="{tier}"}}') for tier in ("origin", "pass"))
    return cold == 0 and metric(machine, "segue_body_bytes_total") > 0


def version_of(deb):
    return containers.run("dpkg-deb", "-f", str(deb), "Version").stdout.strip()


def running_version(machine):
    """What the process that answers says of itself."""
    return re.search(r'segue_build_info\{version="([^"]*)"\} 1', admin(machine, "/metrics").stdout)[1]


# --- the days of its life ---


def test_the_older_package_installs_and_starts_nothing_by_itself(machine):
    (machine.root / "srv/music").mkdir(parents=True, exist_ok=True)
    (machine.root / "srv/music/track.ogg").write_bytes(TRACK)
    assert version_of(package(0)) != version_of(package(-1))
    install(machine, package(0))
    assert machine.run("segue", "version").stdout == f"segue {version_of(package(0))}\n"
    assert machine.systemctl("is-active", "segue.service", check=False).stdout.strip() == "inactive"
    assert machine.run("segue", "check", "/etc/segue/segue.toml", check=False).stdout.startswith(
        "/etc/segue/segue.toml"
    )


def test_its_units_are_right_and_shut_in(machine):
    for unit in ("segue.service", "segue.socket", "segue@a.service"):
        said = machine.run("systemd-analyze", "--man=no", "verify", f"/lib/systemd/system/{re.sub('@a', '@', unit)}")
        assert said.stdout + said.stderr == "", unit
    for unit in ("segue.service", "segue@a.service"):
        said = machine.run("systemd-analyze", "security", "--no-pager", unit).stdout
        exposure = float(re.search(r"Overall exposure level for .*: ([0-9.]+)", said)[1])
        print(unit, exposure)
        assert exposure <= 1.5, said


def test_it_starts_is_ready_and_serves_from_a_ring_inside_its_sandbox(machine):
    (machine.root / "etc/segue/segue.toml").write_text(SETTINGS)
    machine.systemctl("enable", "--now", "segue.socket", "segue.service")
    assert machine.property_of("segue.service", "SubState") == "running"
    assert is_ready(machine)
    for attempt in ("miss", "hit"):
        got = curl(machine, "-r", "100000-199999", "-D", "-", "-o", "/dev/null", f"http://localhost:{PORT}/track.ogg")
        assert "206" in got.stdout.splitlines()[0], got.stdout
        assert attempt == "miss" or "hit" in got.stdout
    assert metric(machine, "segue_drive_online") == 1
    if os.environ.get("SEGUE_NO_URING") != "1":
        assert 'segue_degraded{what="io_threads"} 0' in admin(machine, "/metrics").stdout
    assert machine.property_of("segue.service", "WatchdogUSec") == "10s"
    status = machine.run("cat", f'/proc/{machine.property_of("segue.service", "MainPID")}/status').stdout
    for capabilities in ("CapInh", "CapPrm", "CapEff", "CapBnd", "CapAmb"):
        assert re.search(rf"^{capabilities}:\s+0+$", status, re.M), status
    assert re.search(r"^NoNewPrivs:\s+1$", status, re.M)
    assert re.search(r"^Seccomp:\s+2$", status, re.M)


def test_a_reload_under_load_fails_no_request(machine):
    settings = machine.root / "etc/segue/segue.toml"
    with playing(machine) as players:
        for count in range(1, 4):
            settings.write_text(SETTINGS.replace('"localhost"', f'"localhost", "reload-{count}.example"'))
            machine.systemctl("reload", "segue")
            wait_for(lambda: metric(machine, "segue_reloads_total") == count, "the reload", machine)
            players.play_on(20)
    got = curl(
        machine,
        "-o",
        "/dev/null",
        "-w",
        "%{http_code}",
        "-H",
        "Host: reload-3.example",
        f"http://localhost:{PORT}/track.ogg",
    )
    assert got.stdout == "200"


def test_a_reload_of_a_bad_file_fails_and_changes_nothing(machine):
    settings = machine.root / "etc/segue/segue.toml"
    settings.write_text(SETTINGS.replace('ram = "384MiB"', 'rma = "384MiB"'))
    failed = machine.systemctl("reload", "segue", check=False)
    assert failed.returncode != 0
    assert 'did you mean "ram"' in machine.journal()
    assert is_ready(machine)
    settings.write_text(SETTINGS)
    machine.systemctl("reload", "segue")


def test_the_access_log_is_rotated_without_a_lost_line(machine):
    folder = machine.root / "var/log/segue"
    curl(machine, "-o", "/dev/null", f"http://localhost:{PORT}/track.ogg")
    os.rename(folder / "access.ndjson", folder / "access.ndjson.1")
    machine.systemctl("kill", "--signal=HUP", "--kill-who=main", "segue.service")
    wait_for(lambda: (folder / "access.ndjson").exists(), "the new file", machine)
    before = metric(machine, "segue_access_log_records_total")
    curl(machine, "-o", "/dev/null", f"http://localhost:{PORT}/track.ogg?after")
    wait_for(lambda: (folder / "access.ndjson").read_text().count("\n") == 1, "the line after", machine)
    assert metric(machine, "segue_access_log_records_total") == before + 1


def test_a_thousand_connections_are_spread_evenly_over_the_loops(machine):
    script = f"""
import socket, sys
held = [socket.create_connection(("127.0.0.1", {PORT})) for _ in range(1000)]
print("open", flush=True)
sys.stdin.read()
"""
    before = metric(machine, "segue_connections_handed_over_total")
    clients = subprocess.Popen(
        [*machine.enter("--net"), sys.executable, "-c", script],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    try:
        assert clients.stdout.readline() == "open\n"
        active = 'segue_connections_active{listener="public"}'
        wait_for(lambda: metric(machine, active) >= 1000, "a thousand connections", machine)
        to_the_other = metric(machine, "segue_connections_handed_over_total") - before
        assert 450 <= to_the_other <= 550
    finally:
        clients.stdin.close()
        clients.wait(30)


def test_a_restart_under_load_fails_no_request(machine):
    with playing(machine) as players:
        for _ in range(2):
            machine.systemctl("restart", "segue")
            players.play_on(50)


def test_after_a_kill_it_is_back_and_warm_within_two_seconds(machine):
    """Counted after every kill: one restart, and the whole track by hits, not a byte from the origin. Timed from the
    kill to the answer of a client that waited in the socket. Other work on this machine can only make that longer, so
    the best of some kills is held against the bound; each is printed, with systemd's own time from end to readiness."""
    curl(machine, "-o", "/dev/null", f"http://localhost:{PORT}/track.ogg")
    wait_for(lambda: metric(machine, "segue_drive_slots_live") >= 12, "the track on the drive", machine)
    flushes = metric(machine, "segue_drive_table_flushes_total")
    wait_for(
        lambda: metric(machine, "segue_drive_table_flushes_total") >= flushes + 2, "its table", machine, seconds=60
    )
    answered = []
    while len(answered) < KILLS_MAX and not (answered and min(answered) < BACK_SECONDS_MAX):
        restarts = int(machine.property_of("segue.service", "NRestarts"))
        pid = machine.host_pid(machine.property_of("segue.service", "MainPID"))
        killed = time.monotonic()
        os.kill(pid, 9)
        got = curl(machine, "-r", "0-99999", "-D", "-", "-o", "/dev/null", f"http://localhost:{PORT}/track.ogg")
        answered.append(time.monotonic() - killed)
        assert "hit" in got.stdout, got.stdout
        wait_for(lambda: is_ready(machine), "readiness", machine)
        ended, ready = (
            int(machine.property_of("segue.service", f"Active{name}TimestampMonotonic")) for name in ("Exit", "Enter")
        )
        print(f"kill -9: first answer after {answered[-1]:.2f} s; systemd: ready after {(ready - ended) / 1e6:.2f} s")
        assert ready > ended
        assert int(machine.property_of("segue.service", "NRestarts")) == restarts + 1
        body = machine.root / "var/tmp/body"
        curl(machine, "-o", str(body), f"http://localhost:{PORT}/track.ogg")
        assert body.read_bytes() == TRACK
        body.unlink()
        assert is_warm(machine)
    assert min(answered) < BACK_SECONDS_MAX, answered


def test_a_stuck_loop_is_restarted_by_the_watchdog(machine):
    assert machine.property_of("segue.service", "WatchdogUSec") == "10s"
    drop_in = machine.root / "run/systemd/system/segue.service.d"
    drop_in.mkdir(parents=True)
    (drop_in / "sooner.conf").write_text("[Service]\nWatchdogSec=1s\n")
    machine.systemctl("daemon-reload")
    machine.systemctl("restart", "segue.service")
    restarts = int(machine.property_of("segue.service", "NRestarts"))
    pid = machine.host_pid(machine.property_of("segue.service", "MainPID"))
    tasks = pathlib.Path(f"/proc/{pid}/task")
    (loop,) = [int(task.name) for task in tasks.iterdir() if (task / "comm").read_text() == "loop-1\n"]
    hold = Hold(loop)
    wait_for(
        lambda: hold.let_go_if_dead() and int(machine.property_of("segue.service", "NRestarts")) == restarts + 1,
        "the restart",
        machine,
    )
    assert "loop_stuck loops=1" in machine.journal()
    assert "Watchdog timeout" in machine.journal()
    wait_for(lambda: is_ready(machine), "readiness", machine)
    (drop_in / "sooner.conf").unlink()
    drop_in.rmdir()
    machine.systemctl("daemon-reload")


class Hold:
    """One thread held by ptrace(2), as a call that never returns would hold it."""

    def __init__(self, thread):
        self.thread = thread
        ptrace = ctypes.CDLL(None, use_errno=True).ptrace
        ptrace.argtypes = [ctypes.c_long, ctypes.c_long, ctypes.c_void_p, ctypes.c_void_p]
        for request in (0x4206, 0x4207):  # PTRACE_SEIZE, PTRACE_INTERRUPT
            if ptrace(request, thread, None, None) != 0:
                pytest.skip(f"ptrace is not allowed here: {os.strerror(ctypes.get_errno())}")

    def let_go_if_dead(self):
        """A dead thread stays until who traces it has looked (wait(2)), and with it its process."""
        with contextlib.suppress(ChildProcessError):
            os.waitpid(self.thread, os.WNOHANG | 0x40000000)  # __WALL
        return True


def test_an_upgrade_under_load_fails_no_request(machine):
    assert running_version(machine) == version_of(package(0))
    before = machine.property_of("segue.service", "MainPID")
    with playing(machine) as players:
        install(machine, package(-1))
        players.play_on(50)
    assert running_version(machine) == version_of(package(-1))
    assert is_warm(machine)  # the new program reads the old one's drive
    assert machine.property_of("segue.service", "MainPID") != before
    assert machine.property_of("segue.service", "SubState") == "running"
    # The operator's settings are kept.
    assert (machine.root / "etc/segue/segue.toml").read_text() == SETTINGS


def test_another_instance_serves_beside_it(machine):
    other = SETTINGS.replace("8080", "8090").replace("/run/segue/", "/run/segue-b/")
    other = other.replace("/var/cache/segue", "/var/cache/segue/b").replace("/var/log/segue", "/var/log/segue/b")
    (machine.root / "etc/segue/b.toml").write_text(other)
    machine.systemctl("enable", "--now", "segue@b.service")
    for port in (PORT, 8090):
        got = curl(machine, "-o", "/dev/null", "-w", "%{http_code}", f"http://localhost:{port}/track.ogg")
        assert got.stdout == "200"
    machine.systemctl("reload", "segue@b.service")
    machine.systemctl("restart", "segue.service")  # what goes with it is nothing of the other's
    told = machine.run("segue", "stats", "--admin", "unix:/run/segue-b/admin.sock").stdout
    assert "serving" in told
    machine.systemctl("stop", "segue@b.service")
    assert machine.property_of("segue@b.service", "Result") == "success"
    assert is_ready(machine)
    machine.systemctl("start", "segue@b.service")  # enabled and running: the purge has to end that


def test_a_stop_leaves_a_clean_end_in_the_journal(machine):
    machine.systemctl("stop", "segue.service")
    assert machine.property_of("segue.service", "Result") == "success"
    assert "stopped version=" in machine.journal()


def test_a_purge_of_the_package_leaves_nothing(machine):
    wants = machine.root / "etc/systemd/system/multi-user.target.wants"
    assert (wants / "segue@b.service").is_symlink()
    assert machine.property_of("segue@b.service", "ActiveState") == "active"
    (machine.root / "etc/segue/b.toml").unlink()  # the operator's own file, no part of the package
    machine.run("dpkg", "--purge", "segue")
    places = ["/etc", "/usr", "/lib", "/run", "/var/cache", "/var/log/segue", "/var/lib/dpkg/info"]
    left = machine.run("find", *places, "-name", "*segue*", check=False).stdout
    assert left == ""
    assert machine.run("getent", "passwd", "segue", check=False).returncode != 0
    assert machine.run("getent", "group", "segue", check=False).returncode != 0
    assert "segue" not in machine.systemctl("list-unit-files").stdout
    assert "segue" not in machine.systemctl("list-units", "--all", "segue*").stdout
    assert "segue" not in machine.run("sh", "-c", "cat /proc/[0-9]*/comm").stdout.split()
