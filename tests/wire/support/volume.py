"""An ext4 file system of its own in a loop-mounted file, whose power can be cut. Needs root and loop devices."""
import contextlib
import fcntl
import os
import pathlib
import shutil
import struct
import subprocess
import tempfile

EXT4_IOC_SHUTDOWN = 0x8004587D
FLAGS = (0, 1, 2)  # whole journal flushed and data too; journal flushed; nothing flushed: like a real power cut


def run(*words):
    subprocess.run([str(word) for word in words], check=True, capture_output=True)


class Volume:
    """`mount` is the folder; everything on it goes on after cut() only once back() was called."""

    def __init__(self, folder, mib):
        self.image, self.mount = pathlib.Path(folder) / "volume.img", pathlib.Path(folder) / "volume"
        self.mount.mkdir()
        with open(self.image, "wb") as file:
            file.truncate(mib << 20)
        run("mkfs.ext4", "-q", "-E", "lazy_itable_init=1,nodiscard", self.image)
        self.back()

    def back(self):
        run("mount", "-o", "loop", self.image, self.mount)

    def cut(self, flag):
        """From here on every operation fails; what the journal had not written is lost."""
        fd = os.open(self.mount, os.O_RDONLY)
        try:
            fcntl.ioctl(fd, EXT4_IOC_SHUTDOWN, struct.pack("I", flag))
        finally:
            os.close(fd)

    def leave(self):
        run("umount", self.mount)

    def close(self):
        if os.path.ismount(self.mount):
            with contextlib.suppress(subprocess.CalledProcessError):
                run("umount", self.mount)
        if os.path.ismount(self.mount):
            run("umount", "-l", self.mount)
        self.image.unlink(missing_ok=True)

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.close()


def why_not():
    """Why there can be no volume on this machine; empty where there can."""
    missing = [tool for tool in ("mkfs.ext4", "mount", "umount") if shutil.which(tool) is None]
    if missing:
        return f"no {missing[0]} on this machine"
    if os.geteuid() != 0:
        return "mounting a file needs root"
    with tempfile.TemporaryDirectory() as folder:
        try:
            with Volume(folder, 8) as volume:
                volume.cut(2)
        except (OSError, subprocess.CalledProcessError) as problem:
            words = getattr(problem, "stderr", b"") or str(problem).encode()
            return f"no file can be mounted as ext4 here: {words.decode().strip()[:200]}"
    return ""
