"""Server processes under measurement: starting them on a core, ending them, what they cost."""
import contextlib
import os
import pathlib
import signal
import socket
import subprocess
import time

ROOT = pathlib.Path(__file__).resolve().parents[2]
SERVER_CORE, LOAD_CORE = 0, (os.cpu_count() or 1) - 1


class Unavailable(Exception):
    """A server that cannot be run here; its words go into the one line that says so."""


def free_ports(count):
    sockets = [socket.create_server(("127.0.0.1", 0)) for _ in range(count)]
    ports = [one.getsockname()[1] for one in sockets]
    for one in sockets:
        one.close()
    return ports


def descendants(pid):
    """pid and every process below it."""
    children = {}
    for status in pathlib.Path("/proc").glob("[0-9]*/stat"):
        with contextlib.suppress(OSError):
            after_name = status.read_text().rpartition(")")[2].split()
            children.setdefault(int(after_name[1]), []).append(int(status.parent.name))
    found, todo = [], [pid]
    while todo:
        found.append(todo.pop())
        todo += children.get(found[-1], [])
    return found


def cpu_seconds(pid):
    """user + system of a process and of those below it, in nanoseconds and with the threads that have ended.

    It is the kernel's CPU clock of each process: the sum of what /proc/PID/task/*/schedstat shows, which forgets a
    thread when it ends (a node's memory grows in such a thread after the start).
    """
    total = 0
    for process in descendants(pid):
        with contextlib.suppress(OSError):
            total += time.clock_gettime((~process << 3) | 2)  # CPUCLOCK_SCHED of that process
    return total


def private_bytes(pid):
    """Memory of the process tree that is its own: what it has written and nobody shares."""
    total = 0
    for process in descendants(pid):
        for line in pathlib.Path(f"/proc/{process}/smaps_rollup").read_text().splitlines():
            if line.startswith(("Private_Clean:", "Private_Dirty:", "Private_Hugetlb:")):
                total += int(line.split()[1]) * 1024
    return total


class Server:
    """One server process (and its children). Use as a context manager, or leave it to a Fleet."""

    def __init__(self, name, port, process, admin_port=None):
        self.name, self.port, self.process, self.admin_port = name, port, process, admin_port

    @property
    def pid(self):
        return self.process.pid

    def cpu_seconds(self):
        return cpu_seconds(self.pid)

    def wait_until_listening(self, seconds=30):
        deadline = time.monotonic() + seconds
        while time.monotonic() < deadline:
            if self.process.poll() is not None:
                raise Unavailable(f"{self.name} ended with {self.process.returncode} before it listened")
            with socket.socket() as probe:
                if probe.connect_ex(("127.0.0.1", self.port)) == 0:
                    return self
            time.sleep(0.05)
        raise Unavailable(f"{self.name} did not listen within {seconds} s")

    def stop(self):
        if self.process.poll() is None:
            self.process.send_signal(signal.SIGTERM)
            try:
                self.process.wait(10)
            except subprocess.TimeoutExpired:
                self.process.kill()
                self.process.wait(10)
        if self.process.stdin:
            self.process.stdin.close()

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.stop()


def start(name, port, command, core=SERVER_CORE, log=None, **more):
    """Starts `command` on one core (`core` may be a list as taskset takes it, such as "0,1")."""
    output = open(log, "wb") if log else subprocess.DEVNULL
    process = subprocess.Popen(
        ["taskset", "-c", str(core), *map(str, command)],
        stdin=subprocess.PIPE,
        stdout=output,
        stderr=subprocess.STDOUT,
        **more,
    )
    server = Server(name, port, process)
    try:
        return server.wait_until_listening()
    except Unavailable:
        server.stop()
        raise


def start_segue(build, port, origin, ram, core=SERVER_CORE, threads=1, more=(), name="segue"):
    """`origin` is a list of --origin values."""
    (admin,) = free_ports(1)
    command = [build / "segue", "serve", "--listen", f"127.0.0.1:{port}", "--admin", f"127.0.0.1:{admin}"]
    for one in origin:
        command += ["--origin", one]
    command += ["--threads", threads, "--ram", ram, *more]
    server = start(name, port, command, core)
    server.admin_port = admin
    return server


def start_origin(build, track_bytes=0, delay_us=0, core=LOAD_CORE):
    (port,) = free_ports(1)
    command = [build / "loadtest/origin", port, "--track-bytes", track_bytes, "--delay-us", delay_us]
    return start("origin", port, command, core)


def write_tracks(build, folder, tracks, track_bytes):
    """The same tracks as files, for servers that have no origin."""
    command = [build / "loadtest/origin", "--write", folder, tracks, track_bytes]
    subprocess.run([str(word) for word in command], check=True)


def start_floor(build, tracks, track_bytes, head_bytes):
    (port,) = free_ports(1)
    command = [build / "loadtest/floor", port, tracks, track_bytes, head_bytes]
    return start("floor", port, command)
