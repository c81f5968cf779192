#!/usr/bin/python3
"""loadtest/bench/next_track.py - the first 64 KiB of a track that a feed had named, behind an origin 80 ms away.

Real processes: an origin, a node that reads the feed over every source at once (POST /feed, a followed file, a FIFO,
NATS JetStream by a real nats-server), one with prefetch off, and a player for each source: it starts one track after
the other, 64 KiB and then 192 KiB more, while its source has named what it will start next. Beside them one player
whom no source knows, one on the node with prefetch off, and one who starts what was played a moment ago (a RAM hit).
All in turn; the figure is the time until the first 64 KiB are here, p50 and p99, side by side.
"""
import json
import os
import pathlib
import statistics
import sys
import time

ROOT = pathlib.Path(__file__).resolve().parents[2]
sys.path[:0] = [str(ROOT / "loadtest"), str(ROOT / "tests/wire")]
from lib import bench, http, report  # noqa: E402
from support import nats  # noqa: E402

HEAD, PLAYED = 65_536, 262_144
TRACK_BYTES = 4_000_000
SLOWER_MS = {"p50": 1.0, "p99": 2.0}  # targets: a predicted start over a RAM hit
SOURCES = ("posted", "file", "FIFO", "NATS")
UNNAMED, OFF, HIT = "not named", "prefetch off", "RAM hit"
SETTINGS = """
[prefetch]
mode = "on"
follow = ["{file}", "{fifo}"]
predictor = "off"
bytes_per_second = "64MiB"
[prefetch.nats]
servers = "{nats}"
subject = "segue.feed"
"""


def plan(source, number, track):
    """What the source says once its player begins track `number`."""
    member = {"session": source, "model": source, "revision": number + 1}
    return json.dumps(member | {"next": [{"track": track, "p": 0.9, "head_ms": 4000, "bytes": TRACK_BYTES}]}) + "\n"


class Feed:
    """Says a line over any of the sources."""

    def __init__(self, run, admin_port, files, publisher):
        self.admin = http.Client(admin_port)
        # To open a FIFO waits until the node reads it.
        self.files = {name: run.enter_context(open(path, "a")) for name, path in files.items()}
        self.publisher = publisher

    def say(self, source, line):
        if source == "posted":
            http.expect_status(self.admin.post("/feed", line), 200, source)
        elif source == "NATS":
            self.publisher.publish("segue.feed", line)
        else:
            self.files[source].write(line)
            self.files[source].flush()


def wait_for_fetched(port, number):
    """Until the `number`th track of each source is here."""
    wanted = [f'segue_prefetch_tracks_total{{model="{source}",fate="fetched"}}' for source in SOURCES]
    deadline = time.monotonic() + 30
    while any((found := http.metrics(port)).get(one, 0) < number for one in wanted):
        if time.monotonic() > deadline:
            late = [one for one in wanted if found.get(one, 0) < number]
            sys.exit(f"next_track: not fetched within 30 s: {late}")
        time.sleep(0.01)


class Player:
    """One listener: a connection of its own, a session that it tells of by CMCD."""

    def __init__(self, port, session):
        self.client, self.session = http.Client(port), session.replace(" ", "-")
        self.waits = []

    def start(self, track):
        """Milliseconds until the first 64 KiB are here; then it plays on."""
        target = f"{track}?CMCD=sid%3D%22{self.session}%22"
        first = self.client.get(target, f"0-{HEAD - 1}")
        http.expect(first, 206, HEAD, track)
        self.waits.append(first.done * 1e3)
        http.expect(self.client.get(target, f"{HEAD}-{PLAYED - 1}"), 206, PLAYED - HEAD, track)


def measure(nodes, feed, rounds):
    """{who: [ms]} of starts in turn; nobody always comes after those who wait for the origin."""
    on, off = nodes
    players = {who: Player(off.port if who == OFF else on.port, who) for who in (UNNAMED, OFF, *SOURCES, HIT)}
    played = "/t/0"
    Player(on.port, "before").start(played)
    for number in range(rounds):
        tracks = {who: f"/t/{len(players) * number + i}" for i, who in enumerate(players, start=1)}
        tracks[HIT] = played
        for source in SOURCES:
            feed.say(source, plan(source, number, tracks[source]))
        wait_for_fetched(on.admin_port, number + 1)
        turns = list(players)
        for who in turns[number % len(turns) :] + turns[: number % len(turns)]:
            players[who].start(tracks[who])
        played = tracks[SOURCES[number % len(SOURCES)]]
    return {who: player.waits for who, player in players.items()}


def judge(run, found):
    centiles = {who: statistics.quantiles(many, n=100) for who, many in found.items()}
    figures = {who: {"p50": many[49], "p99": many[98], "max": max(found[who])} for who, many in centiles.items()}
    rows = [[who, *(f"{figure:.2f}" for figure in many.values())] for who, many in figures.items()]
    print(report.markdown(["first 64 KiB, player of", "p50, ms", "p99, ms", "max, ms"], rows))
    for which, target in SLOWER_MS.items():
        for source in SOURCES:
            over = figures[source][which] - figures[HIT][which]
            run.judge(f"{source}: a predicted start over a RAM hit, {which}", over, target, " ms")


def main():
    options = bench.options(__doc__, delay_us=80_000, rounds=200)
    with bench.Bench(options) as run:
        files = {"file": run.folder / "feed.ndjson", "FIFO": run.folder / "feed.fifo"}
        files["file"].touch()
        os.mkfifo(files["FIFO"])
        server = run.enter_context(nats.NatsServer())
        publisher = run.enter_context(server.connect())
        publisher.add_stream("SEGUE", "segue.>")
        settings = run.folder / "segue.toml"
        settings.write_text(SETTINGS.format(file=files["file"], fifo=files["FIFO"], nats=server.url))
        origin = run.origin(TRACK_BYTES, options.delay_us)
        on = run.segue(origin, "512MiB", more=("--config", settings))
        off = run.segue(origin, "512MiB", name="off")
        while http.total(on.admin_port, "segue_nats_connected") < 1:
            time.sleep(0.01)
        before = http.counts(origin.port)["requests"]
        found = measure((on, off), Feed(run, on.admin_port, files, publisher), options.rounds)
        asked = (http.counts(origin.port)["requests"] - before) / options.rounds
        print(f"requests to the origin a round: {asked:.2f}, of 6 tracks")
        judge(run, found)
    run.end()


if __name__ == "__main__":
    main()
