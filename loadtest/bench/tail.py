#!/usr/bin/python3
"""loadtest/bench/tail.py - the last 64 KiB of a cold 58 MB podcast, as a seeking player asks first.

In turn at the origin and at each cache, each time another podcast; the figure is the first byte over the origin's own.
"""
import argparse
import pathlib
import statistics
import sys
import tempfile

ROOT = pathlib.Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT / "loadtest"))
from lib import http, processes, report  # noqa: E402
from peers import servers as peers  # noqa: E402

PODCAST, TAIL = 58_000_000, 65_536
ADDED_MS = 1.0  # target


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--build", type=pathlib.Path, default=ROOT / "build/release")
    parser.add_argument("--delay-us", type=int, default=5000)
    parser.add_argument("--rounds", type=int, default=30)
    options = parser.parse_args()
    print(report.machine_line(report.machine()))
    running, met = [], True
    with tempfile.TemporaryDirectory(prefix="segue-tail-") as name:
        folder = pathlib.Path(name)
        try:
            origin = processes.start_origin(options.build, 0, options.delay_us)
            running.append(origin)
            url, servers = f"http://127.0.0.1:{origin.port}", [origin]
            starts = {
                "segue": lambda: processes.start_segue(options.build, processes.free_ports(1)[0], [url], "512MiB"),
                "nginx": lambda: peers.nginx_slice(folder / "nginx", origin.port, "1m", "nginx"),
                "varnish": lambda: peers.varnish(folder / "varnish", origin.port, 4 << 30),
            }
            for name, start in starts.items():
                try:
                    servers.append(start())
                    running.append(servers[-1])
                except processes.Unavailable as why:
                    print(f"{name} skipped: {why}")
            for form, value in (("bounded", f"{PODCAST - TAIL}-{PODCAST - 1}"), ("suffix", f"-{TAIL}")):
                found = {server.name: [] for server in servers}
                for number in range(options.rounds):
                    for server in servers:
                        if server.name == "varnish" and number > 5:
                            continue  # it fetches the whole podcast each time
                        answer = http.get(server.port, f"/p/{number + (0 if form == 'bounded' else 1000)}", value)
                        if answer.status != 206 or len(answer.body) != TAIL:
                            sys.exit(f"tail: {server.name} answered {answer.status}, {len(answer.body)} bytes")
                        found[server.name].append(answer.first_byte * 1e3)
                middle = {name: statistics.median(many) for name, many in found.items()}
                print(
                    f"{form} range, first byte p50: " + ", ".join(f"{name} {ms:.2f} ms" for name, ms in middle.items())
                )
                text = f"first byte of a cold tail ({form}) over the origin's"
                met &= report.verdict(text, middle["segue"] - middle["origin"], ADDED_MS, " ms")
        finally:
            for server in running[::-1]:
                server.stop()
    sys.exit(0 if met else 1)


if __name__ == "__main__":
    main()
