"""Drives that turn slow or die under a running node, without root: a small library between the node and the kernel."""
import pathlib
import subprocess


class DriveFaults:
    """Of the drives in folders of these names, under a node with `io = "threads"` and this `environment`."""

    def __init__(self, folder):
        self.marks = pathlib.Path(folder) / "faults"
        self.marks.mkdir()
        library = self.marks / ".drive_faults.so"
        source = pathlib.Path(__file__).with_name("drive_faults.c")
        subprocess.run(["clang-19", "-O1", "-shared", "-fPIC", "-o", library, source, "-ldl"], check=True)
        self.environment = {"LD_PRELOAD": str(library), "SEGUE_DRIVE_FAULTS": str(self.marks)}

    def _set(self, name, text):
        fresh = self.marks / ".new"
        fresh.write_text(text)
        fresh.rename(self.marks / name)

    def slow(self, name, milliseconds):
        self._set(name, f"slow {milliseconds}")

    def dead(self, name):
        self._set(name, "eio")

    def well(self, name):
        (self.marks / name).unlink()
