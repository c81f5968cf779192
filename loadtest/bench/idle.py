#!/usr/bin/python3
"""loadtest/bench/idle.py - what an idle keep-alive connection costs: 15,000 of them, each after one answered request.

The figure is what the process's private memory grew by, per connection; the kernel's share is not in it.
"""
import argparse
import pathlib
import resource
import sys
import tempfile
import time

ROOT = pathlib.Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT / "loadtest"))
from lib import http, processes, report  # noqa: E402
from peers import servers as peers  # noqa: E402

BYTES_MAX = 1024  # target
RAM = "2304MiB"  # of which the plan sets aside enough for the connections


def wait_until_steady(server):
    """The RAM tier grows in the background after a start: that is no memory of connections."""
    last = -1
    while (now := processes.private_bytes(server.pid)) > last + (1 << 20):
        last = now
        time.sleep(2)


def grown_bytes(server, connections):
    """Private memory per connection; every connection has made one request and stays open."""
    wait_until_steady(server)
    first = http.Client(server.port)
    for _ in range(100):
        first.get("/t/0", "0-1023")
    before, clients = processes.private_bytes(server.pid), []
    for number in range(connections):
        client = http.Client(server.port, f"127.0.0.{2 + number // 5000}")
        clients.append(client)
        if client.get("/t/0", "0-1023").status != 206:
            sys.exit(f"idle: {server.name} refused connection {number}")
    time.sleep(1)  # what is freed a moment later is not held
    after = processes.private_bytes(server.pid)
    if clients[0].get("/t/0", "0-0").status != 206 or clients[-1].get("/t/0", "0-0").status != 206:
        sys.exit(f"idle: {server.name} has closed idle connections")
    for client in clients:
        client.close()
    return (after - before) / connections


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--build", type=pathlib.Path, default=ROOT / "build/release")
    parser.add_argument("--connections", type=int, default=15_000)
    parser.add_argument("--peers", action="store_true", help="nginx and Varnish too")
    options = parser.parse_args()
    hard = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    if hard < options.connections + 500:
        print(f"only {hard} descriptors allowed here: fewer connections")
        options.connections = hard - 500
    print(report.machine_line(report.machine()))
    running, met = [], True
    with tempfile.TemporaryDirectory(prefix="segue-idle-") as name:
        folder = pathlib.Path(name)
        try:
            origin = processes.start_origin(options.build, 4 << 20)
            running.append(origin)
            url = f"http://127.0.0.1:{origin.port}"
            starts = {"segue": lambda: processes.start_segue(options.build, processes.free_ports(1)[0], [url], RAM)}
            if options.peers:
                starts["nginx"] = lambda: peers.nginx_slice(folder / "nginx", origin.port, "1m", "nginx")
                starts["varnish"] = lambda: peers.varnish(folder / "varnish", origin.port, 1 << 30)
            for name, start in starts.items():
                try:
                    server = start()
                except processes.Unavailable as why:
                    print(f"{name} skipped: {why}")
                    continue
                running.append(server)
                count = min(options.connections, 8000) if name == "nginx" else options.connections
                grown = grown_bytes(server, count)
                print(f"{name}: {grown:.0f} bytes for each of {count} idle connections")
                if name == "segue":
                    met &= report.verdict("memory of an idle connection", grown, BYTES_MAX, " bytes")
        finally:
            for server in running[::-1]:
                server.stop()
    sys.exit(0 if met else 1)


if __name__ == "__main__":
    main()
