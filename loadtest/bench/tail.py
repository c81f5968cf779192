#!/usr/bin/python3
"""loadtest/bench/tail.py - the last 64 KiB of a cold 58 MB podcast, as a seeking player asks first.

In turn at the origin and at each cache, each time another podcast; the figure is the first byte over the origin's own.
"""
import pathlib
import sys

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1]))
from lib import bench, http  # noqa: E402

PODCAST, TAIL = 58_000_000, 65_536
ADDED_MS = 1.0  # target


def main():
    options = bench.options(__doc__, delay_us=5000, rounds=30)
    with bench.Bench(options) as run:
        origin = run.origin(0, options.delay_us)
        caches = (run.segue(origin, "512MiB"), run.nginx(origin, "1m"), run.varnish(origin, 4 << 30))
        servers = [origin, *(server for server in caches if server)]
        for form, value in (("bounded", f"{PODCAST - TAIL}-{PODCAST - 1}"), ("suffix", f"-{TAIL}")):
            found = {server.name: [] for server in servers}
            for number in range(options.rounds):
                for server in servers:
                    if server.name == "varnish" and number > 5:
                        continue  # it fetches the whole podcast each time
                    answer = http.get(server.port, f"/p/{number + (0 if form == 'bounded' else 1000)}", value)
                    http.expect(answer, 206, TAIL, server.name)
                    found[server.name].append(answer.first_byte * 1e3)
            middle = bench.medians(found)
            print(f"{form} range, first byte p50: " + ", ".join(f"{name} {ms:.2f} ms" for name, ms in middle.items()))
            text = f"first byte of a cold tail ({form}) over the origin's"
            run.judge(text, middle["segue"] - middle["origin"], ADDED_MS, " ms")
    run.end()


if __name__ == "__main__":
    main()
