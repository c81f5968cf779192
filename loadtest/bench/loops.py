#!/usr/bin/python3
"""loadtest/bench/loops.py - two event loops against one, RAM hits.

With four cores or more the server has two of them to itself, and the figure is requests/s. With fewer, each loop shares
its core with one of two load generators, so only CPU per request tells: whatever the loops share (locks, the index,
counters) shows there. One loop runs under the same two generators.
"""
import concurrent.futures
import os
import pathlib
import sys

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1]))
from lib import bench, http, wrk  # noqa: E402

SPEED_UP, CPU_GROWTH = 1.8, 1.10  # targets
CORES = os.cpu_count() or 1


def measure(server, size, seed, options):
    """{cpu_us, rps} under two load generators at once."""
    before = server.cpu_seconds()
    with concurrent.futures.ThreadPoolExecutor(2) as pool:
        runs = []
        for number in range(2):
            environment = wrk.environment(options, size, 2 * seed + number)
            core = 2 + number if CORES >= 4 else number
            words = (server.port, "ranges", options.seconds, options.connections // 2, environment, core)
            runs.append(pool.submit(wrk.run, *words))
        figures = [run.result() for run in runs]
    requests = sum(one["requests"] for one in figures)
    used = server.cpu_seconds() - before
    return {"cpu_us": used / max(requests, 1) * 1e6, "rps": sum(one["rps"] for one in figures)}


def main():
    options = bench.options(
        __doc__, tracks=100, track_bytes=4 << 20, connections=64, seconds=2, rounds=5, sizes=[4096, 65536]
    )
    with bench.Bench(options) as run:
        origin, servers = run.origin(options.track_bytes), []
        ram = f"{(options.tracks * options.track_bytes * 2 >> 20) + 512}MiB"
        for name, threads, cores in (("one loop", 1, "0"), ("two loops", 2, "0,1")):
            servers.append(run.segue(origin, ram, core=cores, threads=threads, name=name))
            http.warm(servers[-1], options.tracks, options.track_bytes)
        for size in options.sizes:
            found = bench.in_turn(options.rounds, servers, lambda server, seed: measure(server, size, seed, options))
            by_figure = {
                figure: {name: [one[figure] for one in many] for name, many in found.items()}
                for figure in ("cpu_us", "rps")
            }
            middle = {figure: bench.medians(samples) for figure, samples in by_figure.items()}
            for name in found:
                cpu, rps = middle["cpu_us"][name], middle["rps"][name]
                print(f"{size >> 10} KiB: {name}: {cpu:.1f} us of CPU per request, {rps:.0f} requests/s")
            samples = by_figure["rps" if CORES >= 4 else "cpu_us"]
            over = bench.ratio(samples["two loops"], samples["one loop"])
            if CORES >= 4:
                run.judge(f"{size >> 10} KiB: requests/s, two loops over one", over, SPEED_UP, "x", True)
            else:
                run.judge(f"{size >> 10} KiB: CPU per request, two loops over one", over, CPU_GROWTH, "x")
    run.end()


if __name__ == "__main__":
    main()
