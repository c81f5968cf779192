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
import time

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1]))
from lib import bench, http  # noqa: E402

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
    options = bench.options(__doc__, clients=100, delay_us=50_000, rounds=7)
    with bench.Bench(options) as run:
        origin = run.origin(4 << 20, options.delay_us)
        direct = [http.get(origin.port, "/t/1", f"0-{SLICE - 1}").first_byte * 1e3 for _ in range(options.rounds)]
        own = statistics.median(direct)
        print(f"origin alone: first byte after {own:.1f} ms")
        for server in (run.segue(origin, "512MiB"), run.nginx(origin, "256k"), run.varnish(origin, 1 << 30)):
            if server is None:
                continue
            before = http.counts(origin.port)["requests"]
            targets = [f"/t/{1000 + number}" for number in range(options.rounds)]
            middle = statistics.median(crowd(server.port, target, options.clients)[-1] for target in targets)
            asked = (http.counts(origin.port)["requests"] - before) / options.rounds
            first = f"slowest of {options.clients} first bytes {middle:.1f} ms"
            print(f"{server.name}: {first}, {asked:g} origin requests each")
            if server.name == "segue":
                run.judge("slowest first byte over the origin's", middle - own, ADDED_MS, " ms")
                run.judge("origin requests for one cold range", asked, 1)
    run.end()


if __name__ == "__main__":
    main()
