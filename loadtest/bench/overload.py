#!/usr/bin/python3
"""loadtest/bench/overload.py - what is left of the goodput when far more is asked than can be served.

Hits of a hot catalogue and cold misses in one stream (wrk's mixed.lua), from a few connections up to thousands; the
origin takes 20 ms, and may be asked for few things at once, so that misses queue. Goodput is what was answered with
2xx. Printed: goodput at each number of connections, the one far above over the most there was, what was shed, and after
the flood how long it takes until a hit and a cold miss are within twice what they took before it. Times are the
machine's; the ratio is of one run.
"""
import pathlib
import re
import resource
import statistics
import sys
import time

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1]))
from lib import bench, http, report, wrk  # noqa: E402

TRACK_BYTES = 4 << 20
HOT_TRACKS = 8
GOODPUT_MIN = 0.90
RECOVERY_SECONDS_MAX = 5.0
SPARE_CLIENTS = 100


def goodput(server, connections, epoch, options):
    """2xx answers per second, and those that were none."""
    variables = wrk.environment(options, 65536, epoch, HITS=options.hits, EPOCH=epoch)
    figures = wrk.run(server.port, "mixed", options.seconds, connections, variables, errors_allowed=True)
    failed = re.search(r"Non-2xx or 3xx responses: (\d+)", figures["text"])
    failed = int(failed[1]) if failed else 0
    return (figures["requests"] - failed) / figures["requests"] * figures["rps"], failed


def probe(server, track):
    """Milliseconds of a hit and of a cold miss; None where one was refused or cut."""
    try:
        hit = http.get(server.port, "/t/0", "0-65535")
        miss = http.get(server.port, f"/t/{track}", "0-65535")
    except (ConnectionError, OSError):
        return None
    if hit.status != 206 or miss.status != 206:
        return None
    return hit.done * 1e3, miss.done * 1e3


def recovery(server, before):
    """Seconds from now, the end of a flood, until a hit and a miss are quick again."""
    ended, number = time.monotonic(), 0
    while time.monotonic() - ended < 30:
        number += 1
        now = probe(server, 500_000_000 + number)
        if now and now[0] <= 2 * before[0] + 1 and now[1] <= 2 * before[1] + 1:
            return time.monotonic() - ended
        time.sleep(0.02)
    return 30.0


def main():
    options = bench.options(
        __doc__,
        seconds=4,
        connections=[4, 16, 64, 256],
        flood=(4000, "connections far above what can be served"),
        hits=(0.95, "share of requests that are hits"),
        ram="1GiB",
    )
    options.tracks, options.track_bytes = HOT_TRACKS, TRACK_BYTES
    resource.setrlimit(resource.RLIMIT_NOFILE, (resource.getrlimit(resource.RLIMIT_NOFILE)[1],) * 2)
    with bench.Bench(options) as run:
        # The budget of connections is not what is measured here.
        clients = options.flood + SPARE_CLIENTS
        server = run.segue(run.origin(TRACK_BYTES, 20_000), options.ram, connections=clients)
        http.warm(server, HOT_TRACKS, TRACK_BYTES)
        probes = [probe(server, 400_000_000 + number) for number in range(9)]
        if None in probes:
            sys.exit("overload: a request was refused before there was any load")
        before = [statistics.median(one[i] for one in probes) for i in (0, 1)]
        print(f"alone: a hit {before[0]:.2f} ms, a cold miss {before[1]:.1f} ms")
        most = 0.0
        for epoch, connections in enumerate(options.connections):
            good, failed = goodput(server, connections, epoch, options)
            most = max(most, good)
            print(f"{connections:6} connections: {good:8.0f} good answers/s, {failed} others")
        good, failed = goodput(server, options.flood, 50, options)
        seconds = recovery(server, before)
        print(f"{options.flood:6} connections: {good:8.0f} good answers/s, {failed} others")
        shed = {
            re.search(r'load="(\w+)"', name)[1]: int(value)
            for name, value in http.metrics(server.admin_port).items()
            if name.startswith("segue_overload_shed_total")
        }
        print(f"shed: {shed}")
        run.met &= report.verdict("goodput far above over the most", good / most, GOODPUT_MIN, "x", at_least=True)
        run.judge("normal again after", seconds, RECOVERY_SECONDS_MAX, " s")
    run.end()


if __name__ == "__main__":
    main()
