#!/usr/bin/python3
"""loadtest/bench/loops.py - two event loops against one, RAM hits.

With four cores or more the server has two of them to itself and the figure is requests/s, two loops over one. With
fewer the load generator shares the cores, so that only the CPU per request tells: it may grow by a tenth.
"""
import argparse
import os
import pathlib
import statistics
import sys

ROOT = pathlib.Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT / "loadtest"))
from lib import http, processes, report, wrk  # noqa: E402

SPEED_UP, CPU_GROWTH = 1.8, 1.10  # targets


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
    room = (os.cpu_count() or 1) >= 4
    load_cores = f"2-{(os.cpu_count() or 1) - 1}" if room else "0,1"
    running, met = [], True
    try:
        origin = processes.start_origin(options.build, options.track_bytes)
        running.append(origin)
        ram = f"{(options.tracks * options.track_bytes * 2 >> 20) + 512}MiB"
        for threads, cores in ((1, "0" if room else "0,1"), (2, "0,1")):
            port, url = processes.free_ports(1)[0], f"http://127.0.0.1:{origin.port}"
            server = processes.start_segue(options.build, port, [url], ram, cores, threads, name=f"{threads} loops")
            running.append(server)
            for number in range(options.tracks):
                http.get(server.port, f"/t/{number}")
        for size in options.sizes:
            environment = {"TRACKS": options.tracks, "TRACK_BYTES": options.track_bytes, "RANGE_BYTES": size}
            found = {"1 loops": [], "2 loops": []}
            for number in range(options.rounds):
                for server in running[1:] if number % 2 == 0 else running[:0:-1]:
                    environment["SEED"] = number + 1
                    found[server.name].append(
                        wrk.measure(
                            server,
                            "ranges",
                            options.seconds,
                            options.connections,
                            environment,
                            core=load_cores,
                            threads=2,
                        )
                    )
            for name, many in found.items():
                cpu, rps = (statistics.median(one[figure] for one in many) for figure in ("cpu_us", "rps"))
                print(f"{size >> 10} KiB: {name} {cpu:.1f} us of CPU per request, {rps:.0f} requests/s")
            figure = "rps" if room else "cpu_us"
            ratio = statistics.median(two[figure] / one[figure] for one, two in zip(found["1 loops"], found["2 loops"]))
            if room:
                met &= report.verdict(f"{size >> 10} KiB: requests/s, two loops over one", ratio, SPEED_UP, "x", True)
            else:
                met &= report.verdict(f"{size >> 10} KiB: CPU per request, two loops over one", ratio, CPU_GROWTH, "x")
    finally:
        for server in running[::-1]:
            server.stop()
    sys.exit(0 if met else 1)


if __name__ == "__main__":
    main()
