#!/usr/bin/python3
"""loadtest/bench/stampede.py - 100 clients ask for the same cold range at once, the origin answers in 50 ms.

The figure is the slowest first byte over the origin's own, and the requests the origin saw.
"""
import argparse
import pathlib
import selectors
import socket
import statistics
import sys
import tempfile
import time

ROOT = pathlib.Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT / "loadtest"))
from lib import http, processes, report  # noqa: E402
from peers import servers as peers  # noqa: E402

SLICE = 256 * 1024
ADDED_MS = 5.0  # target


def crowd(port, target, clients):
    """Milliseconds from the requests to each client's first byte of body; every body is read to its end."""
    request = f"GET {target} HTTP/1.1\r\nHost: localhost\r\nRange: bytes=0-{SLICE - 1}\r\n\r\n".encode()
    sockets = [socket.create_connection(("127.0.0.1", port)) for _ in range(clients)]
    started = time.perf_counter()
    for one in sockets:
        one.sendall(request)
    waiting, first = selectors.DefaultSelector(), {}
    for one in sockets:
        one.setblocking(False)
        waiting.register(one, selectors.EVENT_READ)
    while len(first) < clients:
        for key, _ in waiting.select(20):
            head = key.fileobj.recv(4096, socket.MSG_PEEK)  # taken below: here only the time counts
            if b"\r\n\r\n" in head and not head.endswith(b"\r\n\r\n"):
                first[key.fd] = (time.perf_counter() - started) * 1e3
                waiting.unregister(key.fileobj)
                if not head.startswith(b"HTTP/1.1 206"):
                    sys.exit(f"stampede: answered {head[:40]!r}")
        if time.perf_counter() - started > 20:
            sys.exit(f"stampede: {clients - len(first)} clients got nothing in 20 s")
    for one in sockets:
        one.settimeout(10)
        got = b""
        while (end := got.find(b"\r\n\r\n")) < 0 or len(got) < end + 4 + SLICE:
            data = one.recv(1 << 20)
            if not data:
                sys.exit("stampede: a body was cut")
            got += data
        one.close()
    return sorted(first.values())


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--build", type=pathlib.Path, default=ROOT / "build/release")
    parser.add_argument("--clients", type=int, default=100)
    parser.add_argument("--delay-us", type=int, default=50_000)
    parser.add_argument("--rounds", type=int, default=7)
    options = parser.parse_args()
    print(report.machine_line(report.machine()))
    running, met = [], True
    with tempfile.TemporaryDirectory(prefix="segue-stampede-") as name:
        folder = pathlib.Path(name)
        try:
            origin = processes.start_origin(options.build, 4 << 20, options.delay_us)
            running.append(origin)
            url = f"http://127.0.0.1:{origin.port}"
            starts = {
                "segue": lambda: processes.start_segue(options.build, processes.free_ports(1)[0], [url], "512MiB"),
                "nginx": lambda: peers.nginx_slice(folder / "nginx", origin.port, "256k", "nginx"),
                "varnish": lambda: peers.varnish(folder / "varnish", origin.port, 1 << 30),
            }
            direct = [http.get(origin.port, "/t/1", f"0-{SLICE - 1}").first_byte * 1e3 for _ in range(options.rounds)]
            own = statistics.median(direct)
            print(f"origin alone: first byte after {own:.1f} ms")
            for name, start in starts.items():
                try:
                    server = start()
                except processes.Unavailable as why:
                    print(f"{name} skipped: {why}")
                    continue
                running.append(server)
                slowest, before = [], http.counts(origin.port)["requests"]
                for number in range(options.rounds):
                    slowest.append(crowd(server.port, f"/t/{1000 + number}", options.clients)[-1])
                asked = (http.counts(origin.port)["requests"] - before) / options.rounds
                middle = statistics.median(slowest)
                print(
                    f"{name}: slowest of {options.clients} first bytes {middle:.1f} ms, {asked:g} origin requests each"
                )
                if name == "segue":
                    met &= report.verdict("slowest first byte over the origin's", middle - own, ADDED_MS, " ms")
                    met &= report.verdict("origin requests for one cold range", asked, 1)
        finally:
            for server in running[::-1]:
                server.stop()
    sys.exit(0 if met else 1)


if __name__ == "__main__":
    main()
