"""What every benchmark does: its options, servers that all end with it, rounds in turn, medians, a verdict."""
import argparse
import contextlib
import os
import pathlib
import statistics
import sys
import tempfile

from lib import processes, report
from peers import servers as peers


def options(text, **defaults):
    """The options of a program described by `text`, with --build; a default may come with help: (default, help).

    A list takes several values, False is a switch, None a text.
    """
    parser = argparse.ArgumentParser(description=text, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--build", type=pathlib.Path, default=processes.ROOT / "build/release")
    for name, default in defaults.items():
        default, words = default if isinstance(default, tuple) else (default, None)
        how = {"default": default, "type": str if default is None else type(default)}
        if default is False:
            how = {"action": "store_true"}
        elif isinstance(default, list):
            how = {"default": default, "type": type(default[0]) if default else str, "nargs": "*"}
        parser.add_argument("--" + name.replace("_", "-"), help=words, **how)
    return parser.parse_args()


class Bench(contextlib.ExitStack):
    """One run: prints the machine, has a folder of its own, ends every server it started; `met` is its verdict.

    `on_disk` puts the folder below build/, where there is room and O_DIRECT; elsewhere /tmp may be memory.
    """

    def __init__(self, given, on_disk=False):
        super().__init__()
        self.options, self.met, self.facts = given, True, report.machine()
        print(report.machine_line(self.facts))
        where = processes.ROOT / "build" if on_disk else None
        self.folder = pathlib.Path(self.enter_context(tempfile.TemporaryDirectory(prefix="segue-bench-", dir=where)))
        self.folder.chmod(0o755)  # a peer's workers may be another user

    def subfolder(self, name):
        (self.folder / name).mkdir(parents=True)
        return self.folder / name

    def origin(self, track_bytes=0, delay_us=0):
        return self.enter_context(processes.start_origin(self.options.build, track_bytes, delay_us))

    def segue(self, origins, ram, connections=0, **more):
        """One event loop on the server's core unless told otherwise; `origins` is the origin or --origin values.
        `connections`: node.connections, for more than the share of `ram` that they get by default."""
        if connections:
            settings = self.folder / "segue.toml"
            settings.write_text(f"[node]\nconnections = {connections}\n")
            more["more"] = [*more.get("more", ()), "--config", settings]
        if isinstance(origins, processes.Server):
            origins = [f"http://127.0.0.1:{origins.port}"]
        (port,) = processes.free_ports(1)
        return self.enter_context(processes.start_segue(self.options.build, port, origins, ram, **more))

    def floor(self, tracks, head_bytes):
        return self.enter_context(
            processes.start_floor(self.options.build, tracks, self.options.track_bytes, head_bytes)
        )

    def peer(self, name, start):
        """A server that may not be installed here: None, and a line that says so."""
        try:
            return self.enter_context(start())
        except processes.Unavailable as why:
            print(f"{name} skipped: {why}", flush=True)
            return None

    def nginx(self, origin, slice_size):
        where = self.folder / f"nginx-{origin.port}"
        return self.peer("nginx", lambda: peers.nginx_slice(where, origin.port, slice_size, "nginx"))

    def varnish(self, origin, memory):
        return self.peer("varnish", lambda: peers.varnish(self.folder / "varnish", origin.port, memory))

    def judge(self, *words, **more):
        self.met &= report.verdict(*words, **more)

    def end(self):
        sys.exit(0 if self.met else 1)


def make_tracks(folder, count, track_bytes, sparse=False):
    """folder/t/0 and on. Sparse tracks differ in their first bytes (`%08d` of the number), the others are random."""
    (folder / "t").mkdir()
    for number in range(count):
        with open(folder / "t" / str(number), "wb") as track:
            track.write(b"%08d" % number if sparse else os.urandom(track_bytes))
            track.truncate(track_bytes)


def in_turn(rounds, servers, measure):
    """{server's name: [measure(server, seed) of each round]}; nobody is always first."""
    found = {server.name: [] for server in servers}
    for number in range(rounds):
        shift = number % len(servers)
        for server in servers[shift:] + servers[:shift]:
            found[server.name].append(measure(server, number + 1))
    return found


def medians(found):
    """{name: median} of {name: [figures]}"""
    return {name: statistics.median(many) for name, many in found.items()}


def ratio(mine, others):
    """The median of the rounds' ratios: a slow moment of the machine is in both figures of its round."""
    return statistics.median(one / other for one, other in zip(mine, others))
