#!/usr/bin/python3
"""loadtest/bench/ssd.py - hits on the drive: a working set far beyond RAM, whole slices, O_DIRECT.

Figures of one run, in turn: the bytes/s Segue reads from its drive against what fio reads from the same file at slot
size and the same depth; and the CPU per request against RAM hit + one slot read through a ring + XXH3 of a slice.
Needs --drive of free disk below build/ (where the drive is a virtual one, its own cache may flatter both alike).
"""
import argparse
import json
import pathlib
import re
import shutil
import statistics
import subprocess
import sys
import tempfile
import time

ROOT = pathlib.Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT / "loadtest"))
from lib import http, processes, report, wrk  # noqa: E402

SLICE, SLOT = 256 << 10, 260 << 10
DRIVE_SHARE, CPU_OVER = 0.90, 1.15  # targets
HOT_TRACKS = 2  # of the RAM hits


def on_server_core(words):
    command = ["taskset", "-c", str(processes.SERVER_CORE), *map(str, words)]
    return subprocess.run(command, check=True, capture_output=True, text=True).stdout


def fio_bytes_per_second(drive, options):
    words = ["fio", "--name=slots", f"--filename={drive}", "--rw=randread", f"--bs={SLOT}", "--direct=1", "--readonly"]
    words += ["--ioengine=io_uring", f"--iodepth={options.connections}", "--time_based", f"--runtime={options.seconds}"]
    text = on_server_core([*words, "--output-format=json", "--norandommap"])
    return json.loads(text[text.index("{") :])["jobs"][0]["read"]["bw_bytes"]


def least_work(drive, options):
    """{read_us, hash_us, bytes_per_s} of loadtest/floor/slot_read."""
    text = on_server_core([options.build / "loadtest/slot_read", drive, options.connections, options.seconds])
    return {name: float(value) for name, value in re.findall(r"(\w+) ([\d.]+)", text)}


def fill_drive(server, options):
    """Asks for everything until the drive has all of it; ends the program if it never has."""
    slices = options.tracks * options.track_bytes // SLICE
    for attempt in range(4):
        client = http.Client(server.port, f"127.0.0.{2 + attempt}")
        for number in range(options.tracks):
            client.get(f"/t/{number}")
        client.close()
        time.sleep(1)
        numbers = http.metrics(server.admin_port)
        if numbers["segue_cache_admitted_total"] >= 0.98 * slices:
            return
    sys.exit(f"ssd: only {numbers['segue_cache_admitted_total']:.0f} of {slices} slices reached the drive")


def drive_round(server, options, seed):
    """Random whole slices of all tracks: {cpu_us, drive bytes/s, share of requests that were hits on the drive}."""
    environment = {"TRACKS": options.tracks, "TRACK_BYTES": options.track_bytes, "RANGE_BYTES": SLICE, "ALIGNED": 1}
    environment |= {"ZIPF": 0, "SEED": seed}
    before, started = http.metrics(server.admin_port), time.monotonic()
    sample = wrk.measure(server, "ranges", options.seconds, options.connections, environment)
    elapsed, after = time.monotonic() - started, http.metrics(server.admin_port)
    reads = after["segue_cache_drive_reads_total"] - before["segue_cache_drive_reads_total"]
    origin = after['segue_requests_total{outcome="miss"}'] - before['segue_requests_total{outcome="miss"}']
    return sample | {
        "drive_bytes_per_s": reads * SLOT / elapsed,
        "drive_share": reads / sample["requests"],
        "miss_share": origin / sample["requests"],
    }


def ram_round(server, options, seed):
    environment = {"TRACKS": HOT_TRACKS, "TRACK_BYTES": options.track_bytes, "RANGE_BYTES": SLICE, "ALIGNED": 1}
    wrk.run(server.port, "ranges", 1, 8, environment | {"SEED": seed})
    return wrk.measure(server, "ranges", options.seconds, options.connections, environment | {"SEED": seed})


def measure(server, drive, options):
    rounds = []
    for number in range(options.rounds):
        one = {"segue": drive_round(server, options, number + 1), "ram": ram_round(server, options, number + 1)}
        one |= {"least": least_work(drive, options), "fio": fio_bytes_per_second(drive, options)}
        one["bytes_ratio"] = one["segue"]["drive_bytes_per_s"] / one["fio"]
        # What came from RAM all the same cost no read.
        reads = one["segue"]["drive_share"]
        floor = one["ram"]["cpu_us"] + reads * (one["least"]["read_us"] + one["least"]["hash_us"])
        one["cpu_ratio"] = one["segue"]["cpu_us"] / floor
        print(
            f"round {number + 1}: drive {one['segue']['drive_bytes_per_s'] / 1e6:.0f} MB/s, "
            f"fio {one['fio'] / 1e6:.0f} MB/s; "
            f"{reads:.0%} of requests read the drive, {one['segue']['miss_share']:.1%} missed; CPU "
            f"{one['segue']['cpu_us']:.0f} us against {one['ram']['cpu_us']:.0f} RAM hit "
            f"+ {one['least']['read_us']:.0f} read "
            f"+ {one['least']['hash_us']:.0f} XXH3",
            flush=True,
        )
        rounds.append(one)
    return rounds


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--build", type=pathlib.Path, default=ROOT / "build/release")
    parser.add_argument("--tracks", type=int, default=500)
    parser.add_argument("--track-bytes", type=int, default=4 << 20)
    parser.add_argument("--drive", default="4GiB")
    parser.add_argument("--connections", type=int, default=64, help="and queue depth of fio")
    parser.add_argument("--seconds", type=int, default=3)
    parser.add_argument("--rounds", type=int, default=3)
    options = parser.parse_args()
    if not shutil.which("fio"):
        sys.exit("ssd: no fio (Debian package fio)")
    print(report.machine_line(report.machine()))
    running = []
    with tempfile.TemporaryDirectory(prefix="ssd-", dir=ROOT / "build") as name:
        try:
            origin = processes.start_origin(options.build, options.track_bytes)
            running.append(origin)
            more = ["--cache", name, "--cache-size", options.drive]
            url, port = f"http://127.0.0.1:{origin.port}", processes.free_ports(1)[0]
            server = processes.start_segue(options.build, port, [url], "160MiB", more=more)
            running.append(server)
            fill_drive(server, options)
            rounds = measure(server, pathlib.Path(name) / "segue.drive", options)
        finally:
            for one in running[::-1]:
                one.stop()
    share = statistics.median(one["bytes_ratio"] for one in rounds)
    over = statistics.median(one["cpu_ratio"] for one in rounds)
    met = report.verdict("bytes/s from the drive over fio's", share, DRIVE_SHARE, "x", True)
    met &= report.verdict("CPU over RAM hit + slot read + XXH3", over, CPU_OVER, "x")
    sys.exit(0 if met else 1)


if __name__ == "__main__":
    main()
