"""Debian 12 with systemd as PID 1, booted in a container of its own by systemd-nspawn: no network but loopback, and
thrown away afterwards. The system below is made once by debootstrap and kept in build/system."""
import os
import pathlib
import re
import shutil
import signal
import subprocess
import tempfile
import time

ROOT = pathlib.Path(__file__).resolve().parents[2]
BASE = pathlib.Path(os.environ.get("SEGUE_SYSTEM_BASE", ROOT / "build/system/debian-12"))
MIRROR = "http://deb.debian.org/debian"
BOOT_SECONDS = 60
TOOLS = ("systemd-nspawn", "debootstrap", "nsenter", "dpkg-deb")


def why_not():
    """The reason why no container can be booted here, or ''."""
    if os.geteuid() != 0:
        return "systemd-nspawn needs root"
    missing = [tool for tool in TOOLS if not shutil.which(tool, path=os.environ["PATH"] + ":/usr/sbin:/sbin")]
    return f"not installed: {', '.join(missing)}" if missing else ""


def run(*command, check=True, timeout=120, **keywords):
    done = subprocess.run(
        command, stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=timeout, check=False, **keywords
    )
    if check and done.returncode != 0:
        raise AssertionError(f"{' '.join(command)} ended with {done.returncode}:\n{done.stdout}{done.stderr}")
    return done


def dependencies_of(package):
    """The first choice of each dependency of a .deb."""
    depends = run("dpkg-deb", "-f", str(package), "Depends").stdout
    return [re.split(r"[ (|]", part.strip())[0] for part in depends.split(",")]


def make_base(package):
    """Debian with what the package depends on. Raises OSError where the packages cannot be had."""
    stamp = BASE.parent / (BASE.name + ".packages")
    wanted = " ".join(sorted(dependencies_of(package)))
    if stamp.exists() and stamp.read_text() == wanted:
        return
    shutil.rmtree(BASE, ignore_errors=True)
    BASE.parent.mkdir(parents=True, exist_ok=True)
    install = ["apt-get", "install", "-q", "-y", "--no-install-recommends", *wanted.split()]
    commands = [
        ["debootstrap", "--variant=minbase", "--include=systemd,systemd-sysv,dbus", "bookworm", str(BASE), MIRROR],
        ["chroot", str(BASE), *install],
    ]
    for command in commands:
        env = {**os.environ, "DEBIAN_FRONTEND": "noninteractive", "PATH": os.environ["PATH"] + ":/usr/sbin:/sbin"}
        done = run(*command, check=False, timeout=400, env=env)
        if done.returncode != 0:
            raise OSError(f"{command[0]} failed: {(done.stdout + done.stderr)[-300:]}")
    stamp.write_text(wanted)


class Container:
    """One boot. `root` is its file system as seen from here."""

    def __init__(self):
        self.folder = pathlib.Path(tempfile.mkdtemp(prefix="run-", dir=BASE.parent))
        self.root = self.folder / "root"
        for name in ("root", "upper", "work"):
            (self.folder / name).mkdir()
        layers = f"lowerdir={BASE},upperdir={self.folder}/upper,workdir={self.folder}/work"
        run("mount", "-t", "overlay", "overlay", "-o", layers, str(self.root))
        self.log = open(self.folder / "console.log", "wb")
        self.nspawn = subprocess.Popen(
            [
                "systemd-nspawn",
                f"--directory={self.root}",
                "--boot",
                "--quiet",
                "--private-network",
                "--register=no",
                "--keep-unit",
                f"--machine=segue-test-{os.getpid()}",
            ],
            stdin=subprocess.DEVNULL,
            stdout=self.log,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )
        try:
            self.leader = self._wait_for_leader()
            self._wait_until_booted()
        except BaseException:
            self.close()
            raise

    def console(self):
        return (self.folder / "console.log").read_text(errors="replace")[-3000:]

    def _wait(self, condition, what):
        deadline = time.monotonic() + BOOT_SECONDS
        while True:
            found = condition()
            if found:
                return found
            if self.nspawn.poll() is not None or time.monotonic() > deadline:
                raise OSError(f"{what} did not come:\n{self.console()}")
            time.sleep(0.05)

    def _wait_for_leader(self):
        def child():
            children = pathlib.Path(f"/proc/{self.nspawn.pid}/task/{self.nspawn.pid}/children").read_text().split()
            # nspawn's helper may be the child at first; PID 1 of the container has a PID namespace of its own.
            for pid in map(int, children):
                try:
                    if os.readlink(f"/proc/{pid}/ns/pid") != os.readlink("/proc/self/ns/pid"):
                        return pid
                except OSError:
                    pass
            return None

        return self._wait(child, "PID 1")

    def _wait_until_booted(self):
        def booted():
            done = self.run("systemctl", "is-system-running", check=False)
            return done.stdout.strip() in ("running", "degraded")

        self._wait(booted, "multi-user.target")

    def enter(self, *namespaces):
        return ["nsenter", "--target", str(self.leader), *namespaces, "--"]

    def run(self, *command, check=True, timeout=120):
        """A command inside, with the file system, processes and network of the container."""
        inside = self.enter("--mount", "--uts", "--ipc", "--net", "--pid", "--root", "--wd")
        env = {"PATH": "/usr/sbin:/usr/bin:/sbin:/bin", "LC_ALL": "C", "DEBIAN_FRONTEND": "noninteractive"}
        return run(*inside, *command, check=check, timeout=timeout, env=env)

    def systemctl(self, *words, check=True):
        return self.run("systemctl", *words, check=check)

    def property_of(self, unit, name):
        return self.systemctl("show", "--value", f"--property={name}", unit).stdout.strip()

    def journal(self, unit="segue.service"):
        return self.run("journalctl", "--no-pager", "-u", unit, "-o", "cat", check=False).stdout[-6000:]

    def host_pid(self, pid):
        """The process that the container calls `pid`, as this machine calls it."""
        for status in pathlib.Path("/proc").glob("[0-9]*/status"):
            try:
                text = status.read_text()
                same = os.readlink(status.parent / "ns/pid") == os.readlink(f"/proc/{self.leader}/ns/pid")
            except OSError:
                continue
            if same and re.search(rf"^NSpid:.*\t{pid}$", text, re.M):
                return int(status.parent.name)
        raise AssertionError(f"no process {pid} in the container")

    def close(self):
        if self.nspawn.poll() is None:
            # SIGTERM powers the container off in order; what hangs is killed.
            self.nspawn.send_signal(signal.SIGTERM)
            try:
                self.nspawn.wait(20)
            except subprocess.TimeoutExpired:
                self.nspawn.kill()
                self.nspawn.wait(20)
        self.log.close()
        run("umount", "--lazy", str(self.root), check=False)
        shutil.rmtree(self.folder, ignore_errors=True)
