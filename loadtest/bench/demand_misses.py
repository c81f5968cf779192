#!/usr/bin/python3
"""loadtest/bench/demand_misses.py - what prefetch costs those who ask: p99 of cold misses with it on against off.

Three nodes in front of one origin: prefetch off, on, and off once more, whose difference from the first is the noise
of the machine. Ten rounds, in turn: wrk asks each for 64 KiB of tracks nobody has asked for. In the rounds of the
second a feed names more tracks than its budget allows, none of which anybody will play: the most that prefetch can
cost. Twice: with places at the origin to spare, and with more clients than places (`fetches`), where demand queues by
itself. Printed: p50 and p99 of each with their spread over the rounds, the rounds' ratios, what was fetched ahead
meanwhile.
"""
import json
import pathlib
import statistics
import sys
import threading

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1]))
from lib import bench, http, report, wrk  # noqa: E402

RANGE = 65_536
TRACK_BYTES = 4 << 20
SLOWER = 1.05  # target: p99 with prefetch over p99 without, median of the rounds
BUSY_SHARE = 0.25  # of its budget: with less fetched ahead (and places to spare) the figure says nothing
BUDGET = 8 << 20  # the default, bytes a second
NEVER_PLAYED = 5_000_000_000  # number of the first track that only the feed names
SETTINGS = """
[origin.store]
servers = "http://127.0.0.1:{port}"
fetches = {fetches}
[[site]]
name = "music"
hosts = ["*"]
[prefetch]
mode = "{mode}"
bytes_per_second = "{budget}"
floor_percent = 0
predictor = "off"
"""


class Feeder(threading.Thread):
    """While it runs there is always more to fetch ahead than may be: 16 new tracks every 100 ms, for 5 s each."""

    named = NEVER_PLAYED

    def __init__(self, port):
        super().__init__(daemon=True)
        self.client, self.over, self.refused = http.Client(port), threading.Event(), None

    def run(self):
        while not self.over.wait(0.1):
            tracks = range(Feeder.named, Feeder.named + 16)
            Feeder.named = tracks.stop
            entries = [{"track": f"/t/{number}", "p": 0.9, "head_ms": 4000} for number in tracks]
            plan = {"session": f"s{tracks.start}", "model": "bench", "ttl_ms": 5000, "next": entries}
            answer = self.client.post("/feed", json.dumps(plan) + "\n")
            if answer.status not in (200, 429):  # 429: come again in a second, which we do
                self.refused = answer.status

    def __exit__(self, *_):
        self.over.set()
        self.join()
        self.client.close()
        if self.refused:
            sys.exit(f"demand_misses: the feed was answered {self.refused}")

    def __enter__(self):
        self.start()
        return self


def node(run, origin, name, fetches):
    """A node whose feed is posted; named after what it is here."""
    path = run.folder / f"{name.replace(' ', '-')}-{fetches}.toml"
    mode = "on" if name == "on" else "off"
    path.write_text(SETTINGS.format(port=origin.port, fetches=fetches, mode=mode, budget=BUDGET))
    server = run.segue([], "512MiB", more=("--config", path))
    server.name = name
    return server


def ahead(server):
    """Bytes fetched for nobody so far."""
    return http.metrics(server.admin_port).get('segue_prefetch_bytes_total{model="bench",fate="fetched"}', 0)


def measure(server, seed, connections, options):
    variables = wrk.environment(options, RANGE, seed, TRACKS=100, HITS=0, ALIGNED=1, EPOCH=seed)

    def misses():
        return wrk.run(server.port, "mixed", options.seconds, connections, variables)

    if server.name != "on":
        return misses()
    before = ahead(server)
    with Feeder(server.admin_port):
        figures = misses()
    return figures | {"ahead": ahead(server) - before}


def spread(figures, unit=""):
    return f"{statistics.median(figures):.3g} ({min(figures):.3g}-{max(figures):.3g}){unit}"


def compare(run, origin, name, connections, fetches):
    """One table, and the verdict of one load."""
    options = run.options
    servers = [node(run, origin, which, fetches) for which in ("off", "on", "off again")]
    found = bench.in_turn(options.rounds, servers, lambda server, seed: measure(server, seed, connections, options))
    print(f"\n{name}: {connections} clients, {fetches} places, {options.rounds} rounds of {options.seconds} s")
    rows = []
    for which, rounds in found.items():
        p50, p99 = ([one[key] / 1e3 for one in rounds] for key in ("p50_us", "p99_us"))
        fetched = spread([one["ahead"] / 1e6 / options.seconds for one in rounds]) if which == "on" else "-"
        rows.append([which, sum(one["requests"] for one in rounds), spread(p50), spread(p99), fetched])
    print(report.markdown(["prefetch", "misses", "p50, ms (spread)", "p99, ms (spread)", "ahead, MB/s"], rows))
    ratios = {
        which: [one["p99_us"] / base["p99_us"] for one, base in zip(found[which], found["off"])]
        for which in ("on", "off again")
    }
    print(
        f"p99 over that of off, by round: on {spread(ratios['on'], 'x')}, off again {spread(ratios['off again'], 'x')}"
    )
    for counter in ("segue_prefetch_pauses_total", "segue_fetch_waits_total"):
        print(f"{counter} of on: {http.total(servers[1].admin_port, counter):.0f}")
    fetched = statistics.median(one["ahead"] for one in found["on"]) / options.seconds
    if connections < fetches:
        run.judge(f"{name}: fetched ahead meanwhile, of the budget", fetched / BUDGET, BUSY_SHARE, "x", at_least=True)
    run.judge(f"{name}: p99 of misses, on over off", statistics.median(ratios["on"]), SLOWER, "x")
    for server in servers:
        server.stop()


def main():
    options = bench.options(
        __doc__,
        rounds=10,
        seconds=5,
        delay_us=(40_000, "of the origin"),
        spare=(16, "clients where there are places to spare"),
        crowd=(48, "clients where there are not enough"),
        fetches=(32, "places for the crowd"),
    )
    options.track_bytes = TRACK_BYTES
    with bench.Bench(options) as run:
        origin = run.origin(TRACK_BYTES, options.delay_us)
        compare(run, origin, "places to spare", options.spare, 256)
        compare(run, origin, "origin saturated", options.crowd, options.fetches)
    run.end()


if __name__ == "__main__":
    main()
