#!/usr/bin/python3
"""loadtest/bench/overload.py - what is left of the goodput when far more is asked than can be served.

Hits of a hot catalogue and cold misses in one stream (wrk's mixed.lua), from a few connections up to thousands; the
origin takes 20 ms, and may be asked for few things at once, so that misses queue. Goodput is what the server answered
with 2xx a second, counted by itself while all connections stand: coming and going are no part of it. Printed for each
number of connections: goodput, other answers, CPU for each good one, hits among them, evictions from RAM; the goodput
far above over the most there was, what was shed, and after the flood how long it takes until a hit and a cold miss are
within twice what they took before it. Times are the machine's; the ratio is of one run.
"""
import concurrent.futures
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
COMING_SECONDS = 4  # at most, for all connections to be there
CLIENTS = 'segue_connections_active{listener="public"}'


def counts(server):
    """(2xx answers, others, hits, slices evicted from RAM, us of CPU, when)"""
    metrics = http.metrics(server.admin_port)
    answers = {name: value for name, value in metrics.items() if name.startswith("segue_responses_total")}
    good = answers['segue_responses_total{class="2xx"}']
    hits = metrics['segue_requests_total{outcome="hit_ram"}']
    rest = (sum(answers.values()) - good, hits, metrics["segue_ram_evictions_total"], server.cpu_seconds() * 1e6)
    return (good, *rest, time.monotonic())


def goodput(server, connections, epoch, options):
    """2xx answers a second while all connections stand; prints what they cost."""
    variables = wrk.environment(options, 65536, epoch, HITS=options.hits, EPOCH=epoch)
    with concurrent.futures.ThreadPoolExecutor(1) as pool:
        seconds = options.seconds + COMING_SECONDS + 1
        load = pool.submit(wrk.run, server.port, "mixed", seconds, connections, variables, errors_allowed=True)
        deadline = time.monotonic() + COMING_SECONDS
        while http.metrics(server.admin_port)[CLIENTS] < connections and time.monotonic() < deadline:
            time.sleep(0.05)
        before = counts(server)
        time.sleep(options.seconds)
        after = counts(server)
        load.result()
    good, others, hits, evicted, cpu_us, elapsed = (now - then for now, then in zip(after, before))
    print(
        f"{connections:6} connections: {good / elapsed:8.0f} good answers/s, {others / elapsed:.0f} others, "
        f"{cpu_us / max(good, 1):.1f} us of CPU for each good one, {hits / max(good, 1):.1%} hits, "
        f"{evicted / elapsed:.0f} evictions/s",
        flush=True,
    )
    return good / elapsed


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
            most = max(most, goodput(server, connections, epoch, options))
        good = goodput(server, options.flood, 50, options)
        seconds = recovery(server, before)
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
