#!/usr/bin/python3
"""loadtest/bench/segments.py - how much of the cache's memory is audio when a site serves whole segments of a stream.

100,000 segments of 120 KB, each a representation of its own, through RAM and a drive whose shares are set for them
(`ram_shares`, `shares`). Prints payload over the bytes of the buffers and slots in use, and ends with 1 below 80 %, on
a wrong byte, or if the drive kept less than 99 % of them. Needs 15 GB of disk.
"""
import argparse
import json
import pathlib
import signal
import subprocess
import sys
import tempfile
import time
import urllib.request

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent))
from ranges import Client, free_ports  # noqa: E402  the same keep-alive client

ROOT = pathlib.Path(__file__).resolve().parents[2]
SEGMENT_BYTES = 120_000
PAYLOAD_SHARE_MIN = 0.80
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
    with urllib.request.urlopen(f"http://127.0.0.1:{port}/metrics") as answer:
        lines = answer.read().decode().splitlines()
    return {
        line.split('class="')[1].split('"')[0]: float(line.rsplit(" ", 1)[1])
        for line in lines
        if line.startswith(name + "{")
    }


def total(port, name):
    with urllib.request.urlopen(f"http://127.0.0.1:{port}/metrics") as answer:
        lines = answer.read().decode().splitlines()
    return sum(float(line.rsplit(" ", 1)[1]) for line in lines if line.split("{")[0].split(" ")[0] == name)


def fetch_all(port, count):
    clients = [Client(port, listener) for listener in range(8)]
    for number in range(count):
        status, _, body = clients[number % 8].get(f"/{number // 1000}/{number}", None)
        if status != 200 or len(body) != SEGMENT_BYTES or body[:8] != b"%08d" % number:
            sys.exit(f"segments: WRONG: segment {number}: {status}, {len(body)} bytes, {body[:8]!r}")


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--build", type=pathlib.Path, default=ROOT / "build/release")
    parser.add_argument("--segments", type=int, default=100_000)
    parser.add_argument("--json", type=pathlib.Path)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory(dir=ROOT / "build") as name:
        folder = pathlib.Path(name)
        (folder / "music").mkdir()
        (folder / "cache").mkdir()
        make_segments(folder / "music", options.segments)
        port, admin = free_ports(2)
        drive_bytes = max(options.segments * 150_000, 1 << 30)
        (folder / "segue.toml").write_text(
            SETTINGS.format(port=port, admin=admin, folder=folder, drive_bytes=drive_bytes)
        )
        command = [str(options.build / "segue"), "serve", "--config", str(folder / "segue.toml")]
        server = subprocess.Popen(command, stderr=subprocess.DEVNULL)
        try:
            while True:
                try:
                    urllib.request.urlopen(f"http://127.0.0.1:{admin}/ready").close()
                    break
                except OSError:
                    if server.poll() is not None:
                        sys.exit("segments: segue did not start")
                    time.sleep(0.05)
            fetch_all(port, options.segments)
            while total(admin, "segue_buffers_writing"):
                time.sleep(0.1)
            buffers = gauges(admin, "segue_buffers_used")
            slots = gauges(admin, "segue_drive_slots_live")
            ram_payload = total(admin, "segue_ram_payload_bytes")
            drive_payload = total(admin, "segue_drive_payload_bytes")
        finally:
            server.send_signal(signal.SIGTERM)
            server.wait(30)
    ram_share = ram_payload / sum(CLASS_BYTES[of] * count for of, count in buffers.items())
    drive_share = drive_payload / sum((CLASS_BYTES[of] + SLOT_HEADER_BYTES) * count for of, count in slots.items())
    kept = int(sum(slots.values()))
    print(f"segments: {options.segments} of {SEGMENT_BYTES} bytes, every one right; {kept} on the drive")
    print(f"payload in the buffers in use: {ram_share:.1%} (of {ram_payload / 1e6:.0f} MB); target >= 80 %")
    print(f"payload in the slots in use:   {drive_share:.1%} (of {drive_payload / 1e6:.0f} MB); target >= 80 %")
    if options.json:
        options.json.write_text(json.dumps({"ram": ram_share, "drive": drive_share, "kept": kept}))
    return min(ram_share, drive_share) < PAYLOAD_SHARE_MIN or kept < options.segments * 0.99


if __name__ == "__main__":
    sys.exit(main())
