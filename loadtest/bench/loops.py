#!/usr/bin/python3
"""loadtest/bench/loops.py - two event loops against one, RAM hits.

With four cores or more the server has two of them to itself, and the figure is requests/s. With fewer, each loop shares
its core with one of two load generators, so only CPU per request tells: whatever the loops share (locks, the index,
counters) shows there. One loop runs under the same two generators.
"""
import argparse
import concurrent.futures
import os
import pathlib
import statistics
import sys

ROOT = pathlib.Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT / "loadtest"))
from lib import http, processes, report, wrk  # noqa: E402

SPEED_UP, CPU_GROWTH = 1.8, 1.10  # targets
CORES = os.cpu_count() or 1


def start_all(options, running):
    """{"one loop": its server, "two loops": its server}"""
    origin = processes.start_origin(options.build, options.track_bytes)
    running.append(origin)
    ram, url = f"{(options.tracks * options.track_bytes * 2 >> 20) + 512}MiB", f"http://127.0.0.1:{origin.port}"
    found = {}
    for name, threads, cores in (("one loop", 1, "0"), ("two loops", 2, "0,1")):
        port = processes.free_ports(1)[0]
        found[name] = processes.start_segue(options.build, port, [url], ram, cores, threads, name=name)
        running.append(found[name])
        for number in range(options.tracks):
            http.get(port, f"/t/{number}")
    return found


def measure(server, size, seed, options):
    """{cpu_us, rps} under two load generators at once."""
    before = server.cpu_seconds()
    with concurrent.futures.ThreadPoolExecutor(2) as pool:
        runs = []
        for number in range(2):
            environment = {"TRACKS": options.tracks, "TRACK_BYTES": options.track_bytes, "RANGE_BYTES": size}
            environment["SEED"] = 2 * seed + number
            core = 2 + number if CORES >= 4 else number
            words = (server.port, "ranges", options.seconds, options.connections // 2, environment, core)
            runs.append(pool.submit(wrk.run, *words))
        figures = [run.result() for run in runs]
    requests = sum(one["requests"] for one in figures)
    used = server.cpu_seconds() - before
    return {"cpu_us": used / max(requests, 1) * 1e6, "rps": sum(one["rps"] for one in figures)}


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--build", type=pathlib.Path, default=ROOT / "build/release")
    parser.add_argument("--tracks", type=int, default=100)
    parser.add_argument("--track-bytes", type=int, default=4 << 20)
    parser.add_argument("--connections", type=int, default=64)
    parser.add_argument("--seconds", type=int, default=2)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--sizes", type=int, nargs="*", default=[4096, 65536])
    options = parser.parse_args()
    print(report.machine_line(report.machine()))
    running, met = [], True
    try:
        arrangements = start_all(options, running)
        for size in options.sizes:
            found = {name: [] for name in arrangements}
            for number in range(options.rounds):
                for name in list(arrangements) if number % 2 == 0 else list(arrangements)[::-1]:
                    found[name].append(measure(arrangements[name], size, number + 1, options))
            for name, many in found.items():
                cpu, rps = (statistics.median(one[figure] for one in many) for figure in ("cpu_us", "rps"))
                print(f"{size >> 10} KiB: {name}: {cpu:.1f} us of CPU per request, {rps:.0f} requests/s")
            figure = "rps" if CORES >= 4 else "cpu_us"
            pairs = zip(found["one loop"], found["two loops"])
            ratio = statistics.median(two[figure] / one[figure] for one, two in pairs)
            if CORES >= 4:
                met &= report.verdict(f"{size >> 10} KiB: requests/s, two loops over one", ratio, SPEED_UP, "x", True)
            else:
                met &= report.verdict(f"{size >> 10} KiB: CPU per request, two loops over one", ratio, CPU_GROWTH, "x")
    finally:
        for server in running[::-1]:
            server.stop()
    sys.exit(0 if met else 1)


if __name__ == "__main__":
    main()
