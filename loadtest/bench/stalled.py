#!/usr/bin/python3
"""loadtest/bench/stalled.py - what thousands of players that stopped reading cost those who go on listening.

5,000 connections ask for 5,000 cold tracks and read nothing; the RAM tier has 256 MiB. Printed: server CPU per hit of a
hot track without them and with them (wrk, interleaved is not possible here: before, with, after), whether hits and cold
misses of others go on, buffers pinned, memory per stalled connection, and what was fetched again. Ends with 1 if a hit
or a miss of others failed, or a stalled reader kept a buffer.
"""
import argparse
import pathlib
import resource
import signal
import socket
import subprocess
import sys
import tempfile
import time

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent))
from hits import cpu_seconds, free_port, read_response, run_wrk, wait_for  # noqa: E402
from segments import total  # noqa: E402

ROOT = pathlib.Path(__file__).resolve().parents[2]
TRACK_BYTES = 4 << 20
HOT_TRACKS = 8
RATIO_MAX = 1.10


def make_tracks(folder, count):
    (folder / "t").mkdir()
    for number in range(count):
        with open(folder / "t" / str(number), "wb") as track:
            track.write(b"%08d" % number)
            track.truncate(TRACK_BYTES)


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


def cpu_per_hit(server, options, seed):
    before = cpu_seconds(server.pid)
    requests = run_wrk(server.port, options.range_bytes, options, seed)
    return (cpu_seconds(server.pid) - before) / requests * 1e6


def arguments():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--build", type=pathlib.Path, default=ROOT / "build/release")
    parser.add_argument("--readers", type=int, default=5000)
    parser.add_argument("--connections", type=int, default=16)
    parser.add_argument("--seconds", type=int, default=3)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--range-bytes", type=int, default=65536)
    parser.add_argument("--ram", default="1200MiB", help="of the process: 5,000 clients need a part of it")
    options = parser.parse_args()
    options.tracks, options.track_bytes = HOT_TRACKS, TRACK_BYTES
    return options


def wait_while(condition, seconds=60):
    deadline = time.monotonic() + seconds
    while condition() and time.monotonic() < deadline:
        time.sleep(0.1)


def start(options, folder, port, admin):
    command = ["taskset", "-c", "0", str(options.build / "segue"), "serve", "--listen", f"127.0.0.1:{port}"]
    command += ["--admin", f"127.0.0.1:{admin}", "--origin", f"dir:{folder}", "--threads", "1", "--ram", options.ram]
    server = subprocess.Popen(command, stderr=subprocess.DEVNULL)
    server.port = port
    wait_for(port)
    wait_for(admin)
    return server


def warm(port):
    for track in range(HOT_TRACKS):
        read_response(port, f"/t/{track}")


def besiege(server, admin, options, cold, others):
    """The figures while nobody of `cold` reads."""
    memory, mapped = memory_of(server.pid), total(admin, "segue_ram_mapped_bytes")
    connections = stall(server.port, cold)
    wait_while(lambda: total(admin, "segue_requests_in_flight") < options.readers)
    wait_while(lambda: total(admin, "segue_fills_in_flight") > 0)
    grown = memory_of(server.pid) - memory - (total(admin, "segue_ram_mapped_bytes") - mapped)
    figures = {
        "served": total(admin, "segue_requests_in_flight"),
        "tier": mapped,
        "per_reader": grown / options.readers,
        "pinned": total(admin, "segue_buffers_pinned"),
    }
    warm(server.port)  # the cold tracks have driven them out of RAM
    figures["cpu"] = [cpu_per_hit(server, options, seed) for seed in range(options.rounds)]
    figures["misses"] = sum(read_response(server.port, f"/t/{track}")[1][:8] == b"%08d" % track for track in others)
    figures["refetched"] = total(admin, "segue_refetched_total")
    figures["filled"] = total(admin, "segue_fill_bytes_total")
    for connection in connections:
        connection.close()
    wait_while(lambda: total(admin, "segue_requests_in_flight") > 0)
    return figures


def main():
    options = arguments()
    resource.setrlimit(resource.RLIMIT_NOFILE, (resource.getrlimit(resource.RLIMIT_NOFILE)[1],) * 2)
    cold = range(HOT_TRACKS, HOT_TRACKS + options.readers)
    others = range(cold.stop, cold.stop + 200)
    with tempfile.TemporaryDirectory() as name:
        folder = pathlib.Path(name)
        make_tracks(folder, others.stop)
        port, admin = free_port(), free_port()
        server = start(options, folder, port, admin)
        try:
            warm(port)
            alone = [cpu_per_hit(server, options, seed) for seed in range(options.rounds)]
            figures = besiege(server, admin, options, cold, others)
            warm(port)
            alone += [cpu_per_hit(server, options, seed) for seed in range(options.rounds)]
        finally:
            server.send_signal(signal.SIGTERM)
            server.wait(30)
    without, within = sorted(alone)[options.rounds], sorted(figures["cpu"])[options.rounds // 2]
    print(
        f"stalled readers: {figures['served']:.0f} of {options.readers}, RAM tier {figures['tier'] / (1 << 20):.0f} MiB"
    )
    print(
        f"CPU per hit: {without:.1f} us without, {within:.1f} us with them: {within / without:.2f} (target {RATIO_MAX})"
    )
    print(f"cold misses of others: {figures['misses']} of {len(others)} right; buffers pinned: {figures['pinned']:.0f}")
    print(f"memory per stalled reader: {figures['per_reader'] / 1024:.1f} KiB")
    print(f"refetched slices: {figures['refetched']:.0f}; from the origin: {figures['filled'] / (1 << 20):.0f} MiB")
    return figures["misses"] != len(others) or figures["pinned"] > 0 or figures["served"] < options.readers


if __name__ == "__main__":
    sys.exit(main())
