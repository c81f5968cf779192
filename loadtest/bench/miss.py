#!/usr/bin/python3
"""loadtest/bench/miss.py - cold misses: first byte and CPU against the origin itself and against nginx.

First bytes: one request at a time for slices nobody has asked for, in turn at the origin, Segue and nginx (slice 256k);
the difference of the medians is what a cache adds. CPU: wrk asks for one whole slice of an unknown track per request;
both store what they fetch on a drive.
"""
import argparse
import pathlib
import statistics
import sys
import tempfile

ROOT = pathlib.Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT / "loadtest"))
from lib import http, processes, report, wrk  # noqa: E402
from peers import servers as peers  # noqa: E402

SLICE = 256 * 1024
ADDED_MS = 0.5  # target: first byte over the origin's
CPU_SHARE = 0.5  # target: of nginx's CPU per miss


def first_bytes(servers, options):
    """{server: [ms]}; each request is the first for its track."""
    clients = {server.name: http.Client(server.port) for server in servers}
    found = {server.name: [] for server in servers}
    for number in range(options.first_bytes):
        for name, client in clients.items():
            answer = client.get(f"/t/{10_000_000 + number}", f"0-{SLICE - 1}")
            if answer.status != 206 or len(answer.body) != SLICE:
                sys.exit(f"miss: {name} answered {answer.status} with {len(answer.body)} bytes")
            found[name].append(answer.first_byte * 1e3)
    for client in clients.values():
        client.close()
    return found


def misses(servers, options):
    """{server: [figures of a round]}"""
    found = {server.name: [] for server in servers}
    for number in range(options.rounds):
        for server in servers if number % 2 == 0 else servers[::-1]:
            environment = {"TRACKS": 100, "TRACK_BYTES": options.track_bytes, "RANGE_BYTES": SLICE, "HITS": 0}
            environment |= {"ALIGNED": 1, "EPOCH": number + 1, "SEED": number + 1}
            found[server.name].append(wrk.measure(server, "mixed", options.seconds, options.connections, environment))
    return found


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--build", type=pathlib.Path, default=ROOT / "build/release")
    parser.add_argument("--track-bytes", type=int, default=4 << 20)
    parser.add_argument("--delay-us", type=int, default=2000, help="of the origin, for the first bytes")
    parser.add_argument("--first-bytes", type=int, default=200)
    parser.add_argument("--connections", type=int, default=16)
    parser.add_argument("--seconds", type=int, default=2)
    parser.add_argument("--rounds", type=int, default=3)
    options = parser.parse_args()
    print(report.machine_line(report.machine()))
    met, running = True, []
    with tempfile.TemporaryDirectory(prefix="segue-miss-", dir=ROOT / "build") as name:
        folder = pathlib.Path(name)
        folder.chmod(0o755)
        (folder / "cache").mkdir()
        try:
            slow = processes.start_origin(options.build, options.track_bytes, options.delay_us)
            running.append(slow)
            quick = processes.start_origin(options.build, options.track_bytes)
            running.append(quick)
            servers = {}
            for label, origin in (("first byte", slow), ("cpu", quick)):
                cache = folder / "cache" / label.replace(" ", "-")
                cache.mkdir()
                more = ["--cache", cache, "--cache-size", "16GiB", "--sparse"]
                port = processes.free_ports(1)[0]
                segue = processes.start_segue(
                    options.build, port, [f"http://127.0.0.1:{origin.port}"], "1GiB", more=more
                )
                running.append(segue)
                servers[label] = [segue]
                try:
                    nginx = peers.nginx_slice(folder / f"nginx-{label[0]}", origin.port, "256k", "nginx")
                    running.append(nginx)
                    servers[label].append(nginx)
                except processes.Unavailable as why:
                    print(f"nginx skipped: {why}")
            found = {
                name: statistics.median(ms) for name, ms in first_bytes([slow, *servers["first byte"]], options).items()
            }
            print("first byte, p50: " + ", ".join(f"{name} {ms:.2f} ms" for name, ms in found.items()))
            met &= report.verdict(
                "first byte of a miss over the origin's", found["segue"] - found["origin"], ADDED_MS, " ms"
            )
            rounds = misses([quick, *servers["cpu"]], options)
            cpu = {name: statistics.median(one["cpu_us"] for one in many) for name, many in rounds.items()}
            rps = {name: statistics.median(one["rps"] for one in many) for name, many in rounds.items()}
            for name in rounds:
                print(f"256 KiB misses: {name} {cpu[name]:.0f} us of CPU each, {rps[name]:.0f}/s")
            if "nginx" in cpu:
                ratio = statistics.median(
                    mine["cpu_us"] / other["cpu_us"] for mine, other in zip(rounds["segue"], rounds["nginx"])
                )
                met &= report.verdict("CPU of a 256 KiB miss over nginx's", ratio, CPU_SHARE, "x")
            numbers = http.metrics(servers["cpu"][0].admin_port)
            print(f"slices admitted to the drive: {int(numbers['segue_cache_admitted_total'])}")
        finally:
            for server in running[::-1]:
                server.stop()
    sys.exit(0 if met else 1)


if __name__ == "__main__":
    main()
