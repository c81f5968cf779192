"""Attackers beside a server, and a cgroup that says what the kernel thinks of its memory."""
import contextlib
import json
import os
import pathlib
import subprocess
import sys
import threading
import time

from lib.processes import ROOT


class Attackers:
    """loadtest/attacks/attackers.py as a process of its own, and what it said last."""

    def __init__(self, kind, port, count, first_track=1000, core=None):
        pinned = ["taskset", "-c", core] if core is not None else []
        command = [*pinned, sys.executable, ROOT / "loadtest/attacks/attackers.py", kind, port, count]
        command = [str(word) for word in [*command, "--track", first_track]]
        self.process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        self.said = {"standing": 0, "opened": 0, "cut": 0, "failed": 0, "longest_head": 0.0}
        self.reader = threading.Thread(target=self._read, daemon=True)
        self.reader.start()

    def _read(self):
        for line in self.process.stdout:
            self.said = json.loads(line)

    def wait_until(self, condition, seconds):
        """Whether condition(said) became true before so many seconds were over."""
        deadline = time.monotonic() + seconds
        while not condition(self.said) and time.monotonic() < deadline and self.process.poll() is None:
            time.sleep(0.2)
        return condition(self.said)

    def stop(self):
        """All their connections are closed then."""
        if not self.process.stdin.closed:
            self.process.stdin.close()
        self.process.wait(30)
        self.reader.join(5)

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.stop()


class Cgroup:
    """A memory cgroup (version 2, else 1) with a limit and without swap; `why_not` says why there is none here.

    The parent is the root: elsewhere version 2 gives no controllers to a folder beside processes."""

    KINDS = (
        # root, limit, words with oom_kill
        ("/sys/fs/cgroup", "memory.max", "memory.events"),
        ("/sys/fs/cgroup/memory", "memory.limit_in_bytes", "memory.oom_control"),
    )

    def __init__(self, limit_bytes):
        self.folder, self.why_not = None, "no memory controller"
        for root, limit_file, oom_file in self.KINDS:
            if (pathlib.Path(root) / "cgroup.procs").exists() and not self.folder:
                self._try(pathlib.Path(root) / f"segue-siege-{os.getpid()}", limit_file, oom_file, limit_bytes)

    def _try(self, folder, limit_file, oom_file, limit_bytes):
        try:
            folder.mkdir()
            (folder / limit_file).write_text(str(limit_bytes))
        except OSError as why:
            self.why_not = f"{folder}: {why.strerror}"
            with contextlib.suppress(OSError):
                folder.rmdir()
            return
        self.folder, self.oom_file = folder, folder / oom_file
        # Version 1 counts sockets only where they have a limit; version 2 has them in memory.stat.
        for name, value in (("memory.swap.max", "0"), ("memory.kmem.tcp.limit_in_bytes", str(1 << 40))):
            with contextlib.suppress(OSError):
                if (folder / name).exists():
                    (folder / name).write_text(value)

    def enter(self):
        """In the child, before it becomes the server."""
        if self.folder:
            (self.folder / "cgroup.procs").write_text(str(os.getpid()))

    def oom_kills(self):
        words = self.oom_file.read_text().split()
        return int(words[words.index("oom_kill") + 1])

    def socket_bytes(self):
        """What the kernel holds of the server's TCP connections."""
        of_version_1 = self.folder / "memory.kmem.tcp.usage_in_bytes"
        if of_version_1.exists():
            return int(of_version_1.read_text())
        words = (self.folder / "memory.stat").read_text().split()
        return int(words[words.index("sock") + 1])

    def __enter__(self):
        return self

    def __exit__(self, *_):
        if self.folder:
            with contextlib.suppress(OSError):
                self.folder.rmdir()


def forget_peak(pid):
    """The process's peak of resident memory begins anew (proc(5), clear_refs)."""
    pathlib.Path(f"/proc/{pid}/clear_refs").write_text("5")


def peak_bytes(pid):
    """The most that was resident, huge pages included."""
    lines = pathlib.Path(f"/proc/{pid}/status").read_text().splitlines()
    return sum(int(line.split()[1]) * 1024 for line in lines if line.startswith(("VmHWM:", "HugetlbPages:")))
