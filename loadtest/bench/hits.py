#!/usr/bin/python3
"""loadtest/bench/hits.py - server CPU per RAM-hit range request: Segue against the floor (loadtest/floor) in one run.

Interleaved rounds of wrk with the same request sequence; the figure is user+system time of the server's process over
the requests answered, the median of the rounds, and the ratio Segue/floor. Absolute times on a shared machine are
noise: judge the ratio.
Server on core 0, wrk on the last core.
"""
import json
import pathlib
import sys

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1]))
from lib import bench, http, wrk  # noqa: E402

# Targets of the project: Segue's CPU per request over the floor's.
TARGETS = {4096: 1.15, 65536: 1.15, 262144: 1.15, 1048576: 1.05}


def head_bytes_of_a_hit(server):
    answer = http.get(server.port, "/t/0", "0-65535")
    if b"hit" not in answer.head:
        sys.exit(f"hits: the second request is no hit:\n{answer.head.decode()}")
    return len(answer.head) + 4


def main():
    options = bench.options(
        __doc__,
        tracks=100,
        track_bytes=4 << 20,
        connections=32,
        seconds=3,
        rounds=5,
        sizes=[*TARGETS],
        json=(None, "a file for the figures"),
    )
    results = {}
    with bench.Bench(options) as run:
        bench.make_tracks(run.folder, options.tracks, options.track_bytes)
        ram = f"{max(options.tracks * options.track_bytes * 2 >> 20, 512)}MiB"
        segue = run.segue([f"dir:{run.folder}"], ram)
        http.warm(segue, options.tracks, options.track_bytes)
        floor = run.floor(options.tracks, head_bytes_of_a_hit(segue))
        for size in options.sizes:
            found = bench.in_turn(
                options.rounds,
                [floor, segue],
                lambda server, seed: wrk.ranges(server, size, seed, options)["cpu_us"],
            )
            middle, over = bench.medians(found), bench.ratio(found["segue"], found["floor"])
            results[size] = {**middle, "ratio": over}
            print(f"{size:>8} bytes: floor {middle['floor']:.1f} us of CPU per request, segue {middle['segue']:.1f}")
            run.judge(f"{size:>8} bytes: CPU over the floor", over, TARGETS.get(size, 1.15), "x")
    if options.json:
        pathlib.Path(options.json).write_text(json.dumps(results, indent=2))
    run.end()


if __name__ == "__main__":
    main()
