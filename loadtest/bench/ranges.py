#!/usr/bin/python3
"""loadtest/bench/ranges.py - random ranges of every form over many representations, every byte compared.

The cache holds a tenth of them. Prints what was served from where, and ends with 1 on the first wrong byte, or if one
of the two tiers never evicted anything: then it was no test.
"""
import argparse
import pathlib
import random
import re
import signal
import socket
import subprocess
import sys
import tempfile
import time

ROOT = pathlib.Path(__file__).resolve().parents[2]
RANGE_BYTES_MAX = 2 << 20
LISTENERS = 32


def free_ports(count):
    sockets = [socket.create_server(("127.0.0.1", 0)) for _ in range(count)]
    ports = [one.getsockname()[1] for one in sockets]
    for one in sockets:
        one.close()
    return ports


class Client:
    """One keep-alive connection of one listener.

    Each has an address of its own, because many ranges of one listener are one use.
    """

    def __init__(self, port, listener):
        self.socket = socket.create_connection(("127.0.0.1", port), source_address=(f"127.0.0.{2 + listener}", 0))
        self.buffer = bytearray()

    def get(self, target, range_value):
        field = f"Range: {range_value}\r\n" if range_value else ""
        self.socket.sendall(f"GET {target} HTTP/1.1\r\nHost: localhost\r\n{field}\r\n".encode())
        while (end := self.buffer.find(b"\r\n\r\n")) < 0:
            self.fill()
        head = self.buffer[:end].decode("latin-1")
        del self.buffer[: end + 4]
        length = int(re.search(r"Content-Length: (\d+)", head).group(1))
        while len(self.buffer) < length:
            self.fill()
        body = bytes(self.buffer[:length])
        del self.buffer[:length]
        return int(head[9:12]), head, body

    def fill(self):
        data = self.socket.recv(1 << 20)
        if not data:
            raise ConnectionError("closed in the middle of an answer")
        self.buffer += data


def draw_range(source, size):
    """(value of Range, first, end) of a satisfiable range, or of the whole."""
    length = min(int(2 ** source.uniform(0, 21)), RANGE_BYTES_MAX)
    first = source.randrange(size)
    form = source.randrange(6)
    if form == 0:
        return None, 0, size
    if form == 1:
        return f"bytes={first}-", first, size
    if form == 2:
        return f"bytes=-{length}", max(0, size - length), size
    return f"bytes={first}-{first + length - 1}", first, min(first + length, size)


def check(bodies, client, source):
    # Half of the requests go to a hot tenth, so that both tiers have something to keep and something to evict.
    number = source.randrange(len(bodies) // (10 if source.random() < 0.5 else 1))
    body = bodies[number]
    value, first, end = draw_range(source, len(body))
    status, head, got = client.get(f"/t/{number}", value)
    expected_status = 200 if value is None else 206
    if status != expected_status or got != body[first:end]:
        sys.exit(
            f"ranges: WRONG: /t/{number} {value}: {head.splitlines()[0]}, {len(got)} bytes for {end - first}\n{head}"
        )
    return len(got)


def metrics(port):
    with socket.create_connection(("127.0.0.1", port)) as connection:
        connection.sendall(b"GET /metrics HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n")
        text = b""
        while data := connection.recv(1 << 20):
            text += data
    return {
        line.rsplit(" ", 1)[0]: float(line.rsplit(" ", 1)[1])
        for line in text.decode().split("\r\n\r\n", 1)[1].splitlines()
        if line and not line.startswith("#")
    }


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--build", type=pathlib.Path, default=ROOT / "build/release")
    parser.add_argument("--requests", type=int, default=100_000)
    parser.add_argument("--representations", type=int, default=1000)
    parser.add_argument("--seed", type=int, default=1)
    options = parser.parse_args()
    source = random.Random(options.seed)
    with tempfile.TemporaryDirectory() as name:
        folder = pathlib.Path(name)
        (folder / "music/t").mkdir(parents=True)
        (folder / "cache").mkdir()
        bodies = []
        for number in range(options.representations):
            body = source.randbytes(int(2 ** source.uniform(10, 22)))
            (folder / "music/t" / str(number)).write_bytes(body)
            bodies.append(body)
        total = sum(map(len, bodies))
        cache = max(total // 10, 64 << 20)
        port, admin = free_ports(2)
        command = [options.build / "segue", "serve", "--listen", f"127.0.0.1:{port}", "--admin", f"127.0.0.1:{admin}"]
        command += [
            "--origin",
            f"dir:{folder}/music",
            "--cache",
            folder / "cache",
            "--cache-size",
            str(cache),
            "--ram",
            "128MiB",
        ]
        server = subprocess.Popen([str(word) for word in command], stderr=subprocess.DEVNULL)
        try:
            while socket.socket().connect_ex(("127.0.0.1", port)) != 0:
                if server.poll() is not None:
                    sys.exit("ranges: segue did not start")
                time.sleep(0.05)
            clients, sent, started = [Client(port, listener) for listener in range(LISTENERS)], 0, time.monotonic()
            for _ in range(options.requests):
                sent += check(bodies, source.choice(clients), source)
            seconds = time.monotonic() - started
            numbers = metrics(admin)
        finally:
            server.send_signal(signal.SIGTERM)
            server.wait(30)
        tiers = {tier: numbers[f'segue_body_bytes_total{{tier="{tier}"}}'] for tier in ("ram", "drive", "origin")}
        evicted = numbers["segue_ram_evictions_total"], sum(
            value for key, value in numbers.items() if key.startswith("segue_drive_evictions_total")
        )
        print(
            f"{options.requests} ranges over {options.representations} representations "
            f"({total >> 20} MiB; drive {cache >> 20} MiB): every byte right"
        )
        print(
            f"{sent >> 20} MiB in {seconds:.0f} s; by tier: "
            + ", ".join(f"{tier} {int(value) >> 20} MiB" for tier, value in tiers.items())
        )
        print(f"evicted: {int(evicted[0])} slices from RAM, {int(evicted[1])} from the drive")
        if min(evicted) == 0:
            sys.exit("ranges: a tier never evicted anything: no test")


if __name__ == "__main__":
    main()
