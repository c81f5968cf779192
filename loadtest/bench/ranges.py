#!/usr/bin/python3
"""loadtest/bench/ranges.py - random ranges of every form over many representations, every byte compared.

The cache holds a tenth of them. Prints what was served from where, and ends with 1 on the first wrong byte, or if one
of the two tiers never evicted anything: then it was no test.
"""
import pathlib
import random
import sys
import time

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1]))
from lib import bench, http  # noqa: E402

RANGE_BYTES_MAX = 2 << 20
LISTENERS = 32  # each of an address of its own, because many ranges of one listener are one use


def draw_range(source, size):
    """(value of Range behind `bytes=`, first, end) of a satisfiable range, or of the whole."""
    length = min(int(2 ** source.uniform(0, 21)), RANGE_BYTES_MAX)
    first = source.randrange(size)
    form = source.randrange(6)
    if form == 0:
        return None, 0, size
    if form == 1:
        return f"{first}-", first, size
    if form == 2:
        return f"-{length}", max(0, size - length), size
    return f"{first}-{first + length - 1}", first, min(first + length, size)


def check(bodies, client, source):
    # Half of the requests go to a hot tenth, so that both tiers have something to keep and something to evict.
    number = source.randrange(len(bodies) // (10 if source.random() < 0.5 else 1))
    body = bodies[number]
    value, first, end = draw_range(source, len(body))
    answer = client.get(f"/t/{number}", value)
    http.expect(answer, 200 if value is None else 206, end - first, f"ranges: WRONG: /t/{number} {value}")
    if answer.body != body[first:end]:
        sys.exit(f"ranges: WRONG: /t/{number} {value}: other bytes\n{answer.head.decode()}")
    return len(answer.body)


def make_tracks(folder, options, source):
    """[bytes of each]"""
    bodies = []
    for number in range(options.representations):
        bodies.append(source.randbytes(int(2 ** source.uniform(10, 22))))
        (folder / str(number)).write_bytes(bodies[-1])
    return bodies


def main():
    options = bench.options(__doc__, requests=100_000, representations=1000, seed=1)
    source = random.Random(options.seed)
    with bench.Bench(options) as run:
        bodies = make_tracks(run.subfolder("music/t"), options, source)
        total = sum(map(len, bodies))
        cache = max(total // 10, 64 << 20)
        more = ["--cache", run.subfolder("cache"), "--cache-size", str(cache)]
        server = run.segue([f"dir:{run.folder}/music"], "128MiB", more=more)
        clients = [http.Client(server.port, f"127.0.0.{2 + listener}") for listener in range(LISTENERS)]
        started = time.monotonic()
        sent = sum(check(bodies, source.choice(clients), source) for _ in range(options.requests))
        seconds = time.monotonic() - started
        numbers = http.metrics(server.admin_port)
        evicted = [http.total(server.admin_port, f"segue_{tier}_evictions_total") for tier in ("ram", "drive")]
    tiers = {tier: numbers[f'segue_body_bytes_total{{tier="{tier}"}}'] for tier in ("ram", "drive", "origin")}
    print(
        f"{options.requests} ranges over {options.representations} representations "
        f"({total >> 20} MiB; drive {cache >> 20} MiB): every byte right"
    )
    by_tier = ", ".join(f"{tier} {int(value) >> 20} MiB" for tier, value in tiers.items())
    print(f"{sent >> 20} MiB in {seconds:.0f} s; by tier: {by_tier}")
    print(f"evicted: {evicted[0]:.0f} slices from RAM, {evicted[1]:.0f} from the drive")
    if min(evicted) == 0:
        sys.exit("ranges: a tier never evicted anything: no test")


if __name__ == "__main__":
    main()
