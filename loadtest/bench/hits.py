#!/usr/bin/python3
"""loadtest/bench/hits.py - server CPU per RAM-hit range request: Segue against the floor (loadtest/floor) in one run.

Interleaved rounds of wrk with the same request sequence; the figure is user+system time of the server's process over
the requests answered, the median of the rounds, and the ratio Segue/floor. Absolute times on a shared machine are
noise: judge the ratio.
Server on core 0, wrk on core 1.
"""
import argparse
import json
import os
import pathlib
import re
import signal
import socket
import statistics
import subprocess
import sys
import tempfile
import time

ROOT = pathlib.Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT / "loadtest"))
from lib.processes import cpu_seconds  # noqa: E402

# Targets of the project: Segue's CPU per request over the floor's.
TARGETS = {4096: 1.15, 65536: 1.15, 262144: 1.15, 1048576: 1.05}


def free_port():
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


def wait_for(port, seconds=20):
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        with socket.socket() as probe:
            if probe.connect_ex(("127.0.0.1", port)) == 0:
                return
        time.sleep(0.05)
    sys.exit(f"hits: nothing listens on port {port}")


def read_response(port, target, headers=""):
    with socket.create_connection(("127.0.0.1", port)) as connection:
        connection.sendall(f"GET {target} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n{headers}\r\n".encode())
        data = b""
        while chunk := connection.recv(1 << 20):
            data += chunk
    head, _, body = data.partition(b"\r\n\r\n")
    return head + b"\r\n\r\n", body


def run_wrk(port, range_bytes, options, seed):
    environment = dict(
        os.environ,
        TRACKS=str(options.tracks),
        TRACK_BYTES=str(options.track_bytes),
        RANGE_BYTES=str(range_bytes),
        SEED=str(seed),
    )
    done = subprocess.run(
        [
            "taskset",
            "-c",
            "1",
            "wrk",
            "-t1",
            f"-c{options.connections}",
            f"-d{options.seconds}s",
            "-s",
            str(ROOT / "loadtest/wrk/ranges.lua"),
            f"http://127.0.0.1:{port}",
        ],
        env=environment,
        capture_output=True,
        text=True,
        check=False,
    )
    out = done.stdout
    if done.returncode != 0:
        sys.exit(f"hits: wrk ended with {done.returncode}: {out}{done.stderr}")
    requests = int(re.search(r"(\d+) requests in", out).group(1))
    if re.search(r"Non-2xx|Socket errors", out):
        sys.exit(f"hits: errors in the run, figures would be wrong:\n{out}")
    return requests


def measure(server, range_bytes, options, seed):
    before = cpu_seconds(server["pid"])
    requests = run_wrk(server["port"], range_bytes, options, seed)
    return (cpu_seconds(server["pid"]) - before) / requests * 1e6


def start_segue(build, tracks_folder, ram, cache_folder):
    port = free_port()
    command = [
        "taskset",
        "-c",
        "0",
        str(build / "segue"),
        "serve",
        "--listen",
        f"127.0.0.1:{port}",
        "--origin",
        f"dir:{tracks_folder}",
        "--threads",
        "1",
        "--ram",
        ram,
    ]
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    wait_for(port)
    return {"name": "segue", "pid": process.pid, "port": port, "process": process}


def start_floor(build, options, head_bytes):
    port = free_port()
    process = subprocess.Popen(
        [
            "taskset",
            "-c",
            "0",
            str(build / "loadtest/floor"),
            str(port),
            str(options.tracks),
            str(options.track_bytes),
            str(head_bytes),
        ],
        stdin=subprocess.PIPE,
        stdout=subprocess.DEVNULL,
    )
    wait_for(port)
    return {"name": "floor", "pid": process.pid, "port": port, "process": process}


def make_tracks(folder, options):
    (folder / "t").mkdir()
    block = os.urandom(1 << 20)
    for number in range(options.tracks):
        with open(folder / "t" / str(number), "wb") as track:
            for at in range(0, options.track_bytes, len(block)):
                track.write(block[: min(len(block), options.track_bytes - at)])


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--build", type=pathlib.Path, default=ROOT / "build/release")
    parser.add_argument("--tracks", type=int, default=100)
    parser.add_argument("--track-bytes", type=int, default=4 << 20)
    parser.add_argument("--connections", type=int, default=32)
    parser.add_argument("--seconds", type=int, default=3)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--sizes", type=int, nargs="*", default=[4096, 65536, 262144, 1048576])
    parser.add_argument("--json", type=pathlib.Path)
    options = parser.parse_args()

    servers = []
    with tempfile.TemporaryDirectory() as folder:
        try:
            make_tracks(pathlib.Path(folder), options)
            segue = start_segue(
                options.build, folder, f"{options.tracks * options.track_bytes * 2 // (1 << 20)}MiB", folder
            )
            servers.append(segue)
            for number in range(options.tracks):  # everything into RAM; a hit below is a hit
                read_response(segue["port"], f"/t/{number}")
            head, _ = read_response(segue["port"], "/t/0", "Range: bytes=0-65535\r\n")
            if b"hit" not in head:
                sys.exit(f"hits: the second request is no hit:\n{head.decode()}")
            floor = start_floor(options.build, options, len(head) - len("Connection: close\r\n"))
            servers.append(floor)
            results = {}
            print(
                f"{'range':>8} {'floor us':>9} {'segue us':>9} {'ratio':>6} {'target':>6}"
                f"   (server CPU per request, median of {options.rounds})",
                flush=True,
            )
            for size in options.sizes:
                figures = {"floor": [], "segue": []}
                for round_number in range(options.rounds):
                    for server in (floor, segue) if round_number % 2 == 0 else (segue, floor):
                        figures[server["name"]].append(measure(server, size, options, round_number + 1))
                middle = {name: statistics.median(values) for name, values in figures.items()}
                ratio = statistics.median(s / f for s, f in zip(figures["segue"], figures["floor"]))
                results[size] = {**middle, "ratio": ratio}
                print(
                    f"{size:>8} {middle['floor']:>9.1f} {middle['segue']:>9.1f} {ratio:>6.2f}"
                    f" {TARGETS.get(size, 0):>6.2f}",
                    flush=True,
                )
            if options.json:
                options.json.write_text(json.dumps(results, indent=2))
        finally:
            for server in servers:
                server["process"].send_signal(signal.SIGTERM)
                server["process"].wait(10)


if __name__ == "__main__":
    main()
