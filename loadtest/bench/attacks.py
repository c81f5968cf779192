#!/usr/bin/python3
"""loadtest/bench/attacks.py - what ten thousand slow connections of each kind cost those who only want to listen.

For each kind (loadtest/attacks/attackers.py), against a node of its own in a cgroup of 1.25 times node.ram (where the
machine has cgroups): the server's CPU per hot request before, while and after they stand there, their own turns
included; hot requests refused; cold misses of others, over TLS where that is what is attacked; the longest a dripped
head was suffered; buffers pinned by who does not read, each of whom has a track of its own, more than the RAM tier
holds; memory per connection outside the counted pools; the peak of resident memory over node.ram; OOM kills. What the
kernel holds of the sockets is printed, too.

The last kind, `descriptors`, lets the server run out of them: CPU while it stands there without one, hits on a
connection that is there, and the time until a new client is served when there are descriptors again."""
import contextlib
import os
import pathlib
import resource
import socket
import statistics
import sys
import time

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1]))
from bench.tls import make_certificate  # noqa: E402
from lib import bench, http, processes, siege, wrk  # noqa: E402

MIB = 1 << 20
TRACK_BYTES = 4 * MIB
HOT_TRACKS = 8
OTHERS = 50  # cold misses of others beside an attack
CPU_RATIO_MAX, HEAD_SECONDS_MAX, PEAK_MAX, CONNECTION_KIB_MAX = 1.10, 10.0, 1.10, 64
SPUN_MAX, RECOVERY_SECONDS_MAX = 0.05, 1.0
# A head is cut on the node's clock; what the attacker's core takes to see it is no fault of the node.
SEEN_SECONDS = 0.5
SPARE_CLIENTS = 100
REFUSED = ("segue_requests_refused_total", "segue_origin_failures_total", "segue_origin_breaker")
PIECES, BATCH_BYTES = "segue_connection_pieces", 72 << 10
HTTP2_BYTES = 'segue_http2_memory_bytes{listener="public"}'
SLOW = ("silence", "drip", "slow_read", "handshake", "h2_window")
OVER_TLS = ("handshake", "h2_window")
CONFIG = """[node]
ram = "{ram_mib}MiB"
threads = 1
connections = {connections}
[admin]
listen = "127.0.0.1:{admin}"
[[listen]]
addr = "127.0.0.1:{plain}"
[[listen]]
addr = "127.0.0.1:{tls}"
tls = true
[[tls.certificate]]
chain = "{chain}"
key = "{key}"
[origin.store]
servers = ["http://127.0.0.1:{origin}"]
"""


class Target(contextlib.ExitStack):
    """A node with a plain and a TLS listener, in a cgroup where there are any, and what is asked of it."""

    def __init__(self, run, options, name):
        super().__init__()
        self.options, self.ram = options, options.ram_mib * MIB
        folder = run.subfolder(name)
        self.cgroup = self.enter_context(siege.Cgroup(self.ram * 5 // 4))
        if not self.cgroup.folder:
            print(f"no cgroup here ({self.cgroup.why_not}): only resident memory is looked at")
        chain, key = make_certificate(folder)
        origin = self.enter_context(processes.start_origin(options.build, TRACK_BYTES, 2000))
        self.plain, self.tls, admin = processes.free_ports(3)
        (folder / "segue.toml").write_text(
            CONFIG.format(
                ram_mib=options.ram_mib,
                connections=options.attackers + SPARE_CLIENTS,
                admin=admin,
                plain=self.plain,
                tls=self.tls,
                chain=chain,
                key=key,
                origin=origin.port,
            )
        )
        command = [options.build / "segue", "serve", "--config", folder / "segue.toml"]
        started = processes.start("segue", self.plain, command, log=folder / "segue.log", preexec_fn=self.cgroup.enter)
        self.server = self.enter_context(started)
        self.server.admin_port = admin
        self.refused = 0

    def total(self, name):
        return http.total(self.server.admin_port, name)

    def cpu_of_hits(self):
        """us of CPU per hot request, of each round; what was refused or cut is added up."""
        try:
            http.warm(self.server, HOT_TRACKS, TRACK_BYTES)
        except (OSError, SystemExit) as why:
            print(f"a track was not served whole: {why}")
            self.refused += 1
        costs = []
        for seed in range(1, self.options.rounds + 1):
            figures = wrk.ranges(self.server, 65536, seed, self.options, errors_allowed=True)
            costs.append(figures["cpu_us"])
            self.refused += figures["refused"] + figures["socket_errors"]
        return costs

    def misses_right(self, first, over_tls):
        """Of OTHERS cold ranges of tracks nobody has, each on a connection of its own: how many came whole."""
        right = 0
        for number in range(OTHERS):
            with contextlib.suppress(OSError):
                client = http.Client(
                    self.tls if over_tls else self.plain, context=http.unverified() if over_tls else None
                )
                answer = client.get(f"/t/{first + number}", "0-65535")
                right += answer.status == 206 and len(answer.body) == 65536
                client.close()
        return right

    def wait_until_steady(self):
        """The RAM tier grows in the background after a start: that is no memory of connections."""
        last = -MIB
        while (now := processes.private_bytes(self.server.pid)) > last + MIB:
            last = now
            time.sleep(1)
        return self.memory_of_clients()

    def memory_of_clients(self):
        """The process's own memory outside the counted pools: RAM tier, sealed batches, what nghttp2 holds."""
        metrics = http.metrics(self.server.admin_port)
        batches = sum(value for name, value in metrics.items() if name.startswith(PIECES) and "tls_batch" in name)
        counted = metrics["segue_ram_mapped_bytes"] + metrics[HTTP2_BYTES] + batches * BATCH_BYTES
        return processes.private_bytes(self.server.pid) - counted


def wait_for(kind, attackers, options):
    """Whether they stand there as they can; of half-open handshakes the oldest are cut, so that fewer stand."""
    if kind == "handshake":
        return attackers.wait_until(lambda said: said["opened"] >= options.attackers, options.patience)
    return attackers.wait_until(lambda said: said["standing"] >= options.attackers * 9 // 10, options.patience)


def besiege(run, target, options, kind):
    first_track = 100_000
    alone = target.cpu_of_hits()
    private = target.wait_until_steady()
    siege.forget_peak(target.server.pid)
    port = target.tls if kind in OVER_TLS else target.plain
    with siege.Attackers(kind, port, options.attackers, first_track, core=processes.LOAD_CORE) as attackers:
        met = wait_for(kind, attackers, options)
        within = target.cpu_of_hits()
        standing = attackers.said["standing"]
        grown = target.memory_of_clients() - private
        right = target.misses_right(first_track + options.attackers, kind in OVER_TLS)
        pinned = target.total("segue_buffers_pinned")
        sockets = target.cgroup.socket_bytes() if target.cgroup.folder else 0
        if kind == "drip":
            attackers.wait_until(lambda said: said["cut"] >= options.attackers, options.patience)
    said = attackers.said
    alone += target.cpu_of_hits()
    without, beside = statistics.median(alone), statistics.median(within)
    print(
        f"{kind}: {standing} stood, {said['opened']} were opened, {said['cut']} cut, {said['failed']} failed; RAM tier "
        f"{target.total('segue_ram_mapped_bytes') / MIB:.0f} MiB; kernel memory of sockets {sockets / MIB:.0f} MiB; "
        f"CPU per hot request {without:.1f} us without, {beside:.1f} us beside them"
    )
    refusals = {name: int(value) for name, value in http.metrics(target.server.admin_port).items() if value}
    refusals = {name: value for name, value in refusals.items() if name.startswith(REFUSED)}
    if refusals:
        print(f"{kind}: refused, attackers among them: {refusals}")
    if not met:
        print(f"{kind}: they could not be brought to stand in {options.patience} s   MISSED")
        run.met = False
    run.judge(f"{kind}: CPU per hot request, beside them over without", beside / without, CPU_RATIO_MAX, "x")
    run.judge(f"{kind}: hot requests refused", target.refused, 0)
    run.judge(f"{kind}: cold misses of others that were right", right, OTHERS, at_least=True)
    if kind == "drip":
        run.judge("drip: longest that a head was suffered", said["longest_head"], HEAD_SECONDS_MAX + SEEN_SECONDS, " s")
    run.judge(f"{kind}: buffers pinned by who does not read", pinned, 0)
    run.judge(f"{kind}: memory of a connection", grown / max(standing, 1) / 1024, CONNECTION_KIB_MAX, " KiB")


def judge_memory(run, target, kind):
    run.judge(f"{kind}: peak of memory over node.ram", siege.peak_bytes(target.server.pid) / target.ram, PEAK_MAX, "x")
    if target.cgroup.folder:
        run.judge(f"{kind}: OOM kills in the cgroup", target.cgroup.oom_kills(), 0)


def crowd(port, count):
    """So many clients that ask to be let in, and wait."""
    clients = []
    for number in range(count):
        client = socket.socket()
        client.setblocking(False)
        client.bind((f"127.0.0.{2 + number % 4}", 0))
        client.connect_ex(("127.0.0.1", port))
        clients.append(client)
    return clients


def without_descriptors(target, limit, regular):
    """(share of a core used while a crowd waits, hits of a client that was there before, seconds until a new one is
    served once the limit is what it was)"""
    pid, hits = target.server.pid, 0
    limits = resource.prlimit(pid, resource.RLIMIT_NOFILE)
    resource.prlimit(pid, resource.RLIMIT_NOFILE, (limit, limits[1]))
    clients = crowd(target.plain, 1000)
    time.sleep(1)
    before = target.server.cpu_seconds()
    time.sleep(2)
    spun = (target.server.cpu_seconds() - before) / 2
    for _ in range(OTHERS):
        hits += regular.get("/t/0", "0-99").status == 206
    resource.prlimit(pid, resource.RLIMIT_NOFILE, limits)
    for client in clients:
        client.close()
    ended, served = time.monotonic(), False
    while not served and time.monotonic() < ended + 30:
        try:
            served = http.get(target.plain, "/t/0", "0-99").status == 206
        except OSError:
            time.sleep(0.005)
    return spun, hits, time.monotonic() - ended


def run_out_of_descriptors(run, target):
    siege.forget_peak(target.server.pid)
    regular = http.Client(target.plain)
    regular.get("/t/0", "0-99")
    open_now = len(os.listdir(f"/proc/{target.server.pid}/fd"))
    for words, limit in (("one left", open_now), ("none left", 16)):
        spun, hits, seconds = without_descriptors(target, limit, regular)
        run.judge(f"descriptors, {words}: share of a core while a crowd waits", spun, SPUN_MAX)
        run.judge(f"descriptors, {words}: hits of who was there before", hits, OTHERS, at_least=True)
        run.judge(f"descriptors, {words}: a new client is served after", seconds, RECOVERY_SECONDS_MAX, " s")


def main():
    options = bench.options(
        __doc__,
        kinds=([*SLOW, "descriptors"], "some of them"),
        attackers=10_000,
        connections=16,
        seconds=1,
        rounds=5,
        ram_mib=(1536, "node.ram; most of it is what ten thousand clients over TLS may take"),
        patience=(180, "seconds for them to come"),
    )
    options.tracks, options.track_bytes = HOT_TRACKS, TRACK_BYTES
    hard = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    if options.attackers + 500 > hard:
        options.attackers = hard - 500
        print(f"only {hard} descriptors allowed here: {options.attackers} attackers")
    with bench.Bench(options) as run:
        for kind in options.kinds:
            with Target(run, options, kind) as target:
                http.warm(target.server, HOT_TRACKS, TRACK_BYTES)
                if kind == "descriptors":
                    run_out_of_descriptors(run, target)
                else:
                    besiege(run, target, options, kind)
                judge_memory(run, target, kind)
    run.end()


if __name__ == "__main__":
    main()
