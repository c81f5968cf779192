#!/usr/bin/python3
"""loadtest/bench/ssd.py - hits on the drive: a working set far beyond RAM, whole slices, O_DIRECT.

Figures of one run, in turn: the bytes/s Segue reads from its drive against what fio reads on the same file system at
slot size and the same depth; and the CPU per request against RAM hit + one slot read through a ring + XXH3 of a slice.
fio reads a file as large as what the drive holds and wholly written: of Segue's own it would read slots that nothing
was written to, which a file system answers with zeros and without the device (measured: twice the bytes/s).
Needs --drive and the tracks of free disk below build/ (a virtual drive's own cache may flatter both alike).
"""
import json
import os
import pathlib
import re
import shutil
import statistics
import subprocess
import sys
import time

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1]))
from lib import bench, http, processes, wrk  # noqa: E402

SLICE, SLOT = 256 << 10, 260 << 10
DRIVE_SHARE, CPU_OVER = 0.90, 1.15  # targets
HOT_TRACKS = 24  # of the RAM hits: 96 MiB of the 160, more than a processor's cache keeps


def on_server_core(words):
    command = ["taskset", "-c", str(processes.SERVER_CORE), *map(str, words)]
    return subprocess.run(command, check=True, capture_output=True, text=True).stdout


def write_slots(path, size):
    """A file of `size` bytes, none of which is a hole."""
    block = os.urandom(64 << 20)
    with open(path, "wb") as file:
        for _ in range(size // len(block)):
            file.write(block)
        file.flush()
        os.fsync(file.fileno())
        os.posix_fadvise(file.fileno(), 0, 0, os.POSIX_FADV_DONTNEED)
    return path


def fio_bytes_per_second(slots, options):
    words = ["fio", "--name=slots", f"--filename={slots}", "--rw=randread", f"--bs={SLOT}", "--direct=1", "--readonly"]
    words += ["--ioengine=io_uring", f"--iodepth={options.connections}", "--time_based", f"--runtime={options.seconds}"]
    text = on_server_core([*words, "--output-format=json", "--norandommap"])
    return json.loads(text[text.index("{") :])["jobs"][0]["read"]["bw_bytes"]


def least_work(slots, options):
    """{read_us, hash_us, bytes_per_s} of loadtest/floor/slot_read."""
    text = on_server_core([options.build / "loadtest/slot_read", slots, options.connections, options.seconds])
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
    environment = wrk.environment(options, SLICE, seed, ALIGNED=1, ZIPF=0)
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
    environment = wrk.environment(options, SLICE, seed, TRACKS=HOT_TRACKS, ALIGNED=1)
    wrk.run(server.port, "ranges", 1, 8, environment)
    return wrk.measure(server, "ranges", options.seconds, options.connections, environment)


def measure(server, slots, options):
    rounds = []
    for number in range(options.rounds):
        one = {"segue": drive_round(server, options, number + 1), "ram": ram_round(server, options, number + 1)}
        one |= {"least": least_work(slots, options), "fio": fio_bytes_per_second(slots, options)}
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
    options = bench.options(
        __doc__,
        tracks=500,
        track_bytes=4 << 20,
        drive="4GiB",
        connections=(64, "and queue depth of fio"),
        seconds=3,
        rounds=3,
    )
    if not shutil.which("fio"):
        sys.exit("ssd: no fio (Debian package fio)")
    with bench.Bench(options, on_disk=True) as run:
        more = ["--cache", run.folder, "--cache-size", options.drive]
        server = run.segue(run.origin(options.track_bytes), "160MiB", more=more)
        fill_drive(server, options)
        slots = write_slots(run.folder / "slots", options.tracks * options.track_bytes)
        rounds = measure(server, slots, options)
    share = statistics.median(one["bytes_ratio"] for one in rounds)
    over = statistics.median(one["cpu_ratio"] for one in rounds)
    run.judge("bytes/s from the drive over fio's", share, DRIVE_SHARE, "x", True)
    run.judge("CPU over RAM hit + slot read + XXH3", over, CPU_OVER, "x")
    run.end()


if __name__ == "__main__":
    main()
