#!/usr/bin/python3
"""loadtest/bench/stalled.py - what thousands of players that stopped reading cost those who go on listening.

5,000 connections ask for 5,000 cold tracks and read nothing; the process has 256 MiB, of which node.connections sets
aside what the clients need. Printed: server CPU per hit of a hot track without them and with them (wrk, interleaved is
not possible here: before, with, after), whether hits and cold misses of others go on, buffers pinned, memory per
stalled connection, and what was fetched again. Ends with 1 if a hit or a miss of others failed, or a stalled reader
kept a buffer.
"""
import pathlib
import resource
import socket
import statistics
import sys
import time

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1]))
from lib import bench, http, report, wrk  # noqa: E402

TRACK_BYTES = 4 << 20
HOT_TRACKS = 8
RATIO_MAX = 1.10
SPARE_CLIENTS = 16


def stall(port, tracks):
    """Connections that ask for a whole track each and never read.

    They come as fast as they are answered, 64 at a time: how many fetches one origin gets at once is another limit.
    """
    connections = []
    for track in tracks:
        connection = socket.socket()
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        connection.connect(("127.0.0.1", port))
        connection.sendall(f"GET /t/{track} HTTP/1.1\r\nHost: localhost\r\n\r\n".encode())
        connections.append(connection)
        if len(connections) % 64 == 0:
            for waiting in connections[-64:]:
                if waiting.recv(12, socket.MSG_PEEK) != b"HTTP/1.1 200":
                    sys.exit("stalled: a reader was refused")
    return connections


def memory_of(pid):
    for line in pathlib.Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines():
        if line.startswith("Anonymous:"):
            return int(line.split()[1]) * 1024
    return 0


def hits(server, options):
    """us of CPU per hit, of each round."""
    rounds = range(1, options.rounds + 1)
    return [wrk.ranges(server, options.range_bytes, seed, options)["cpu_us"] for seed in rounds]


def wait_while(condition, seconds=60):
    deadline = time.monotonic() + seconds
    while condition() and time.monotonic() < deadline:
        time.sleep(0.1)


def besiege(server, options, cold, others):
    """The figures while nobody of `cold` reads."""

    def total(name):
        return http.total(server.admin_port, name)

    memory, mapped = memory_of(server.pid), total("segue_ram_mapped_bytes")
    connections = stall(server.port, cold)
    wait_while(lambda: total("segue_requests_in_flight") < options.readers)
    wait_while(lambda: total("segue_fills_in_flight") > 0)
    grown = memory_of(server.pid) - memory - (total("segue_ram_mapped_bytes") - mapped)
    figures = {
        "served": total("segue_requests_in_flight"),
        "tier": mapped,
        "per_reader": grown / options.readers,
        "pinned": total("segue_buffers_pinned"),
    }
    warm(server)  # the cold tracks have driven them out of RAM
    figures["cpu"] = hits(server, options)
    figures["misses"] = sum(http.get(server.port, f"/t/{track}").body[:8] == b"%08d" % track for track in others)
    figures["refetched"] = total("segue_refetched_total")
    figures["filled"] = total("segue_fill_bytes_total")
    for connection in connections:
        connection.close()
    wait_while(lambda: total("segue_requests_in_flight") > 0)
    return figures


def warm(server):
    http.warm(server, HOT_TRACKS, TRACK_BYTES)


def main():
    options = bench.options(
        __doc__,
        readers=5000,
        connections=16,
        seconds=3,
        rounds=3,
        range_bytes=65536,
        ram=("256MiB", "of the process: 5,000 clients take 140 MiB of it; with 480MiB the RAM tier has 256 MiB"),
    )
    options.tracks, options.track_bytes = HOT_TRACKS, TRACK_BYTES
    resource.setrlimit(resource.RLIMIT_NOFILE, (resource.getrlimit(resource.RLIMIT_NOFILE)[1],) * 2)
    cold = range(HOT_TRACKS, HOT_TRACKS + options.readers)
    others = range(cold.stop, cold.stop + 200)
    with bench.Bench(options) as run:
        bench.make_tracks(run.folder, others.stop, TRACK_BYTES, sparse=True)
        clients = options.readers + options.connections + SPARE_CLIENTS
        server = run.segue([f"dir:{run.folder}"], options.ram, connections=clients)
        warm(server)
        alone = hits(server, options)
        figures = besiege(server, options, cold, others)
        warm(server)
        alone += hits(server, options)
    without, within = statistics.median(alone), statistics.median(figures["cpu"])
    print(
        f"RAM tier {figures['tier'] / (1 << 20):.0f} MiB; CPU per hit: {without:.1f} us without, {within:.1f} with them"
    )
    print(f"memory per stalled reader: {figures['per_reader'] / 1024:.1f} KiB")
    print(f"refetched slices: {figures['refetched']:.0f}; from the origin: {figures['filled'] / (1 << 20):.0f} MiB")
    report.verdict("CPU per hit, with them over without", within / without, RATIO_MAX, "x")
    run.judge("stalled readers that were answered", figures["served"], options.readers, at_least=True)
    run.judge("cold misses of others that were right", figures["misses"], len(others), at_least=True)
    run.judge("buffers pinned by stalled readers", figures["pinned"], 0)
    run.end()


if __name__ == "__main__":
    main()
