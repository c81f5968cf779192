#!/usr/bin/python3
"""loadtest/bench/catalogue.py - ten times the catalogue in ten times the cache: does a hit cost more?

Two nodes, 1,000 and 10,000 representations, all in memory; the floor with as much memory as each says how much of the
growth is the machine's (more memory, more cache and TLB misses in copying a body).
"""
import argparse
import pathlib
import statistics
import sys

ROOT = pathlib.Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT / "loadtest"))
from lib import http, processes, report, wrk  # noqa: E402

GROWTH = 1.10  # target


def start_warm(options, origin, tracks, name):
    ram = f"{(tracks * options.track_bytes * 2 >> 20) + 512}MiB"
    url, port = f"http://127.0.0.1:{origin.port}", processes.free_ports(1)[0]
    server = processes.start_segue(options.build, port, [url], ram, name=name)
    client = http.Client(server.port)
    for number in range(tracks):
        if len(client.get(f"/t/{number}").body) != options.track_bytes:
            sys.exit(f"catalogue: /t/{number} is not {options.track_bytes} bytes")
    client.close()
    return server


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--build", type=pathlib.Path, default=ROOT / "build/release")
    parser.add_argument("--tracks", type=int, default=1000)
    parser.add_argument("--track-bytes", type=int, default=256 << 10)
    parser.add_argument("--connections", type=int, default=32)
    parser.add_argument("--seconds", type=int, default=2)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--sizes", type=int, nargs="*", default=[4096, 65536])
    options = parser.parse_args()
    print(report.machine_line(report.machine()))
    running, met = [], True
    try:
        origin = processes.start_origin(options.build, options.track_bytes)
        running.append(origin)
        tracks_of = {"small": options.tracks, "large": options.tracks * 10}
        servers = {}
        for name, tracks in tracks_of.items():
            servers[name] = start_warm(options, origin, tracks, name)
            running.append(servers[name])
            servers[name + " floor"] = processes.start_floor(options.build, tracks, options.track_bytes, 400)
            running.append(servers[name + " floor"])
        for size in options.sizes:
            found = {name: [] for name in servers}
            for number in range(options.rounds):
                for name in list(servers) if number % 2 == 0 else list(servers)[::-1]:
                    environment = {"TRACKS": tracks_of[name.split()[0]], "TRACK_BYTES": options.track_bytes}
                    environment |= {"RANGE_BYTES": size, "SEED": number + 1}
                    sample = wrk.measure(servers[name], "ranges", options.seconds, options.connections, environment)
                    found[name].append(sample["cpu_us"])
            medians = ", ".join(f"{name} {statistics.median(many):.1f}" for name, many in found.items())
            print(f"{size >> 10} KiB, us of CPU per hit: {medians}")
            growth = statistics.median(b / a for a, b in zip(found["small"], found["large"]))
            machine = statistics.median(b / a for a, b in zip(found["small floor"], found["large floor"]))
            print(f"{size >> 10} KiB: the floor grows {machine:.2f}x")
            met &= report.verdict(f"{size >> 10} KiB: CPU per hit, ten times the catalogue", growth, GROWTH, "x")
    finally:
        for server in running[::-1]:
            server.stop()
    sys.exit(0 if met else 1)


if __name__ == "__main__":
    main()
