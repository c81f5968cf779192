#!/usr/bin/python3
"""loadtest/bench/next_track.py - the first 64 KiB of a track that a feed had named, behind an origin 80 ms away.

One player after another starts a track: one that a posted feed named, one from a followed file, one that was played a
moment ago (a RAM hit), and one that nobody named (what every start costs without prefetch). Interleaved; the figure is
the time until 64 KiB are here, p50 and p99, side by side.
"""
import json
import pathlib
import statistics
import sys
import time

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1]))
from lib import bench, http, report  # noqa: E402

HEAD = 65_536
SLOWER_MS = 1.0  # target: a predicted start over a RAM hit, at the median


def post(port, lines):
    """One batch of feed lines to the admin listener."""
    data = "".join(line + "\n" for line in lines)
    client = http.Client(port)
    try:
        text = f"POST /feed HTTP/1.1\r\nHost: localhost\r\nContent-Length: {len(data)}\r\n\r\n{data}"
        client.socket.sendall(text.encode())
        if not client.socket.recv(4096).startswith(b"HTTP/1.1 200"):
            sys.exit("next_track: the feed was refused")
    finally:
        client.close()


def plan(session, track):
    return json.dumps({"session": session, "model": "bench", "next": [{"track": track, "p": 0.9, "head_ms": 4000}]})


def wait_for_fetched(port, count):
    deadline = time.monotonic() + 30
    while http.metrics(port).get('segue_prefetch_tracks_total{model="bench",fate="fetched"}', 0) < count:
        if time.monotonic() > deadline:
            sys.exit("next_track: what the feed named was not fetched within 30 s")
        time.sleep(0.01)


def start_of(client, track):
    """Milliseconds until the first 64 KiB of a track are here."""
    answer = client.get(track, f"0-{HEAD - 1}")
    http.expect(answer, 206, HEAD, track)
    return answer.done * 1e3


def measure(node, feed, rounds):
    """{what: [ms]} of interleaved starts."""
    found = {"posted feed": [], "followed file": [], "RAM hit": [], "not named": []}
    client = http.Client(node.port)
    for number in range(rounds):
        posted, followed, unnamed = (f"/t/{4 * number + i}" for i in range(3))
        post(node.admin_port, [plan(f"p{number}", posted)])
        with feed.open("a") as lines:
            lines.write(plan(f"f{number}", followed) + "\n")
        wait_for_fetched(node.admin_port, 2 * number + 2)
        found["not named"].append(start_of(client, unnamed))
        found["posted feed"].append(start_of(client, posted))
        found["followed file"].append(start_of(client, followed))
        found["RAM hit"].append(start_of(client, posted))
    client.close()
    return found


def main():
    options = bench.options(__doc__, delay_us=80_000, rounds=100)
    with bench.Bench(options) as run:
        feed, settings = run.folder / "feed.ndjson", run.folder / "segue.toml"
        feed.touch()
        settings.write_text(f'[prefetch]\nmode = "on"\nfollow = "{feed}"\n')
        node = run.segue(run.origin(4_000_000, options.delay_us), "512MiB", more=("--config", settings))
        found = measure(node, feed, options.rounds)
    rows = []
    for what, many in found.items():
        centiles = statistics.quantiles(many, n=100)
        rows.append([what, f"{centiles[49]:.2f}", f"{centiles[98]:.2f}", f"{max(many):.2f}"])
    print(report.markdown(["first 64 KiB of", "p50, ms", "p99, ms", "max, ms"], rows))
    hit = statistics.median(found["RAM hit"])
    worst = max(statistics.median(found[what]) for what in ("posted feed", "followed file"))
    run.judge("a predicted start over a RAM hit", worst - hit, SLOWER_MS, " ms")
    run.end()


if __name__ == "__main__":
    main()
