#!/usr/bin/python3
"""loadtest/bench/segments.py - how much of the cache's memory is audio when a site serves whole segments of a stream.

100,000 segments of 120 KB, each a representation of its own, through RAM and a drive whose shares are set for them
(`ram_shares`, `shares`). Prints payload over the bytes of the buffers and slots in use, and ends with 1 below 80 %, on
a wrong byte, or if the drive kept less than 99 % of them. Needs 15 GB of disk.
"""
import json
import pathlib
import sys
import time

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1]))
from lib import bench, http, processes  # noqa: E402

SEGMENT_BYTES = 120_000
PAYLOAD_PERCENT = 80  # target
SLOT_HEADER_BYTES = 4096
CLASS_BYTES = {"16KiB": 16 << 10, "64KiB": 64 << 10, "128KiB": 128 << 10, "256KiB": 256 << 10}

SETTINGS = """
[node]
ram = "1GiB"
[[listen]]
addr = "127.0.0.1:{port}"
[admin]
listen = "127.0.0.1:{admin}"
[cache]
ram_shares = {{ 16KiB = 2, 64KiB = 4, 128KiB = 86, 256KiB = 8 }}
[[cache.drive]]
path = "{folder}/cache"
size = "{drive_bytes}"
sparse = true
shares = {{ 64KiB = 2, 128KiB = 95, 256KiB = 3 }}
[origin.music]
servers = "dir:{folder}/music"
"""


def make_segments(folder, count):
    """Sparse files that differ in their first bytes: what is compared below."""
    for number in range(count):
        if number % 1000 == 0:
            (folder / str(number // 1000)).mkdir()
        with open(folder / str(number // 1000) / str(number), "wb") as segment:
            segment.write(b"%08d" % number)
            segment.truncate(SEGMENT_BYTES)


def gauges(port, name):
    """{class: value} of one metric."""
    return {
        series.split('class="')[1].split('"')[0]: value
        for series, value in http.metrics(port).items()
        if series.startswith(name + "{")
    }


def fetch_all(port, count):
    clients = [http.Client(port, f"127.0.0.{2 + listener}") for listener in range(8)]
    for number in range(count):
        answer = clients[number % 8].get(f"/{number // 1000}/{number}")
        http.expect(answer, 200, SEGMENT_BYTES, f"segments: WRONG: segment {number}")
        if answer.body[:8] != b"%08d" % number:
            sys.exit(f"segments: WRONG: segment {number}: {answer.body[:8]!r}")


def start(run):
    drive_bytes = max(run.options.segments * 150_000, 1 << 30)
    (port, admin), config = processes.free_ports(2), run.folder / "segue.toml"
    run.subfolder("cache")
    config.write_text(SETTINGS.format(port=port, admin=admin, folder=run.folder, drive_bytes=drive_bytes))
    command = [run.options.build / "segue", "serve", "--config", config]
    server = run.enter_context(processes.start("segue", port, command))
    server.admin_port = admin
    return server


def main():
    options = bench.options(__doc__, segments=100_000, json=(None, "a file for the figures"))
    with bench.Bench(options, on_disk=True) as run:
        make_segments(run.subfolder("music"), options.segments)
        server = start(run)
        admin = server.admin_port
        fetch_all(server.port, options.segments)
        while http.total(admin, "segue_buffers_writing"):
            time.sleep(0.1)
        buffers, slots = gauges(admin, "segue_buffers_used"), gauges(admin, "segue_drive_slots_live")
        ram_payload, drive_payload = (http.total(admin, f"segue_{tier}_payload_bytes") for tier in ("ram", "drive"))
    ram_share = ram_payload / sum(CLASS_BYTES[of] * count for of, count in buffers.items())
    drive_share = drive_payload / sum((CLASS_BYTES[of] + SLOT_HEADER_BYTES) * count for of, count in slots.items())
    kept = int(sum(slots.values()))
    print(f"{options.segments} segments of {SEGMENT_BYTES} bytes, every one right")
    run.judge("payload in the buffers in use", 100 * ram_share, PAYLOAD_PERCENT, " %", True)
    run.judge("payload in the slots in use", 100 * drive_share, PAYLOAD_PERCENT, " %", True)
    run.judge("segments on the drive", kept, options.segments * 0.99, at_least=True)
    if options.json:
        pathlib.Path(options.json).write_text(json.dumps({"ram": ram_share, "drive": drive_share, "kept": kept}))
    run.end()


if __name__ == "__main__":
    main()
