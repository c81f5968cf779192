#!/usr/bin/python3
"""loadtest/bench/idle.py - what an idle keep-alive connection costs: 15,000 of them, each after one answered request.

The figure is what the process's private memory grew by, per connection; the kernel's share is not in it.
"""
import pathlib
import resource
import sys
import time

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1]))
from lib import bench, http, processes  # noqa: E402

BYTES_MAX = 1024  # target
RAM = "1GiB"
SPARE_CLIENTS = 100


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
    options = bench.options(__doc__, connections=15_000, peers=(False, "nginx and Varnish too"))
    hard = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    if hard < options.connections + 500:
        print(f"only {hard} descriptors allowed here: fewer connections")
        options.connections = hard - 500
    with bench.Bench(options) as run:
        origin = run.origin(4 << 20)
        servers = [run.segue(origin, RAM, connections=options.connections + SPARE_CLIENTS)]
        if options.peers:
            servers += [run.nginx(origin, "1m"), run.varnish(origin, 1 << 30)]
        for server in filter(None, servers):
            count = min(options.connections, 8000) if server.name == "nginx" else options.connections
            grown = grown_bytes(server, count)
            print(f"{server.name}: {grown:.0f} bytes for each of {count} idle connections")
            if server.name == "segue":
                run.judge("memory of an idle connection", grown, BYTES_MAX, " bytes")
    run.end()


if __name__ == "__main__":
    main()
