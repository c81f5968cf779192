#!/usr/bin/python3
"""loadtest/bench/miss.py - cold misses: first byte and CPU against the origin itself and against nginx.

First bytes: one request at a time for slices nobody has asked for, in turn at the origin, Segue and nginx (slice 256k);
the difference of the medians is what a cache adds. CPU: wrk asks for one whole slice of an unknown track per request;
both store what they fetch on a drive.
"""
import pathlib
import sys

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1]))
from lib import bench, http, wrk  # noqa: E402

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
            http.expect(answer, 206, SLICE, name)
            found[name].append(answer.first_byte * 1e3)
    for client in clients.values():
        client.close()
    return found


def misses(servers, options):
    """{figure: {server: [of each round]}}"""

    def measure(server, seed):
        environment = wrk.environment(options, SLICE, seed, TRACKS=100, HITS=0, ALIGNED=1, EPOCH=seed)
        return wrk.measure(server, "mixed", options.seconds, options.connections, environment)

    found = bench.in_turn(options.rounds, servers, measure)
    return {
        figure: {name: [one[figure] for one in many] for name, many in found.items()} for figure in ("cpu_us", "rps")
    }


def with_caches(run, origin):
    """[origin, Segue, nginx where there is one], each with a drive of its own."""
    more = ["--cache", run.subfolder(f"cache-{origin.port}"), "--cache-size", "16GiB", "--sparse"]
    return [origin, *filter(None, (run.segue(origin, "1GiB", more=more), run.nginx(origin, "256k")))]


def main():
    options = bench.options(
        __doc__,
        track_bytes=4 << 20,
        delay_us=(2000, "of the origin, for the first bytes"),
        first_bytes=200,
        connections=16,
        seconds=2,
        rounds=3,
    )
    with bench.Bench(options, on_disk=True) as run:
        slow = with_caches(run, run.origin(options.track_bytes, options.delay_us))
        quick = with_caches(run, run.origin(options.track_bytes))
        found = bench.medians(first_bytes(slow, options))
        print("first byte, p50: " + ", ".join(f"{name} {ms:.2f} ms" for name, ms in found.items()))
        run.judge("first byte of a miss over the origin's", found["segue"] - found["origin"], ADDED_MS, " ms")
        figures = misses(quick, options)
        cpu, rps = bench.medians(figures["cpu_us"]), bench.medians(figures["rps"])
        for name in cpu:
            print(f"256 KiB misses: {name} {cpu[name]:.0f} us of CPU each, {rps[name]:.0f}/s")
        if "nginx" in cpu:
            over = bench.ratio(figures["cpu_us"]["segue"], figures["cpu_us"]["nginx"])
            run.judge("CPU of a 256 KiB miss over nginx's", over, CPU_SHARE, "x")
        admitted = http.metrics(quick[1].admin_port)["segue_cache_admitted_total"]
        print(f"slices admitted to the drive: {admitted:.0f}")
    run.end()


if __name__ == "__main__":
    main()
