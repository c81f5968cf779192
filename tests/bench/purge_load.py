#!/usr/bin/python3
"""What purges by tag cost the hits that run meanwhile: the server's CPU per RAM hit without purges, and while 10,000
purges by tags of their own are made over kept connections (purges' own CPU included). Prints both and their ratio."""
import pathlib
import statistics
import subprocess
import sys
import tempfile
import threading
import time

ROOT = pathlib.Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT / "tests/wire"))
from support.client import Connection, request_bytes  # noqa: E402
from support.node import Node  # noqa: E402
from support.origin import Origin  # noqa: E402
from support.settings import config_for  # noqa: E402

PURGES, SECONDS, TRACKS = 10_000, 10, 64


def cpu_seconds(pid):
    tasks = pathlib.Path(f"/proc/{pid}/task").iterdir()
    return sum(int((task / "schedstat").read_text().split()[0]) for task in tasks) / 1e9


def purge_all(node, made):
    with Connection(node.admin_socket) as connection:
        for number in range(PURGES):
            connection.send(request_bytes(f"/purge?tag=t{number}", "POST", Content_Length=0))
            made.append(connection.read_response().status)


def hits(node, seconds, script):
    address = f"http://127.0.0.1:{node.address[1]}"
    before = cpu_seconds(node.process.pid)
    command = ["wrk", "-t1", "-c32", f"-d{seconds}s", "-H", "Host: localhost", "-s", script, address]
    output = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    requests = int(output.split(" requests in")[0].split()[-1])
    assert "Non-2xx" not in output, output
    return requests, cpu_seconds(node.process.pid) - before


def main():
    with Origin() as origin, tempfile.TemporaryDirectory() as folder:
        drive = f'[[cache.drive]]\npath = "{folder}"\nsize = "1GiB"\nsparse = true\n'
        script = pathlib.Path(folder) / "tracks.lua"
        script.write_text(
            f"n = 0\nfunction request() n = n + 1 return wrk.format('GET', '/' .. n % {TRACKS}, "
            "{['Host'] = 'localhost', ['Range'] = 'bytes=0-4095'}) end\n"
        )
        with Node(config_for(origin.url, more=drive)) as node:
            for track in range(TRACKS):
                origin.add(f"/{track}", 300_000, fields={"Cache-Tag": f"keep-{track} all"})
                node.fetch(f"/{track}")
            quiet, busy, made = [], [], []
            for _ in range(3):
                requests, cpu = hits(node, SECONDS, script)
                quiet.append(cpu / requests)
            purging = threading.Thread(target=purge_all, args=(node, made))
            purging.start()
            started = time.monotonic()
            while purging.is_alive():
                requests, cpu = hits(node, 3, script)
                if purging.is_alive():  # a round with purges all through
                    busy.append(cpu / requests)
            purging.join()
            took = time.monotonic() - started
            still = sum(node.fetch(f"/{track}", Range="bytes=0-9").is_hit for track in range(TRACKS))
            answers = {status: made.count(status) for status in set(made)}
            before, during = statistics.median(quiet) * 1e6, statistics.median(busy) * 1e6
            print(f"purges by tag: {answers} in {took:.1f} s; tracks still hits: {still} of {TRACKS}")
            print(f"CPU per hit: {before:.1f} us without, {during:.1f} us with, ratio {during / before:.3f}")
            return 0 if answers == {200: PURGES} and still == TRACKS and during <= 1.2 * before else 1


if __name__ == "__main__":
    sys.exit(main())
