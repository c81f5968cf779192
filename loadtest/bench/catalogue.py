#!/usr/bin/python3
"""loadtest/bench/catalogue.py - ten times the catalogue in ten times the cache: does a hit cost more?

Two nodes, 1,000 and 10,000 representations, all in memory; the floor with as much memory as each says how much of the
growth is the machine's (more memory, more cache and TLB misses in copying a body).
"""
import pathlib
import sys

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1]))
from lib import bench, http, wrk  # noqa: E402

GROWTH = 1.10  # target


def main():
    options = bench.options(
        __doc__, tracks=1000, track_bytes=256 << 10, connections=32, seconds=2, rounds=5, sizes=[4096, 65536]
    )
    with bench.Bench(options) as run:
        origin = run.origin(options.track_bytes)
        tracks_of, servers = {}, []
        for name, tracks in {"small": options.tracks, "large": options.tracks * 10}.items():
            server = run.segue(origin, f"{(tracks * options.track_bytes * 2 >> 20) + 512}MiB", name=name)
            http.warm(server, tracks, options.track_bytes)
            floor = run.floor(tracks, 400)
            floor.name = name + " floor"
            tracks_of |= {server.name: tracks, floor.name: tracks}
            servers += [server, floor]

        for size in options.sizes:

            def measure(server, seed, size=size):
                return wrk.ranges(server, size, seed, options, TRACKS=tracks_of[server.name])["cpu_us"]

            found = bench.in_turn(options.rounds, servers, measure)
            middle = ", ".join(f"{name} {one:.1f}" for name, one in bench.medians(found).items())
            print(f"{size >> 10} KiB, us of CPU per hit: {middle}")
            print(f"{size >> 10} KiB: the floor grows {bench.ratio(found['large floor'], found['small floor']):.2f}x")
            growth = bench.ratio(found["large"], found["small"])
            run.judge(f"{size >> 10} KiB: CPU per hit, ten times the catalogue", growth, GROWTH, "x")
    run.end()


if __name__ == "__main__":
    main()
