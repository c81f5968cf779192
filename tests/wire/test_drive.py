"""The SSD tier over the wire: right bytes after eviction, after a restart and after a crash; purges that stay."""
import concurrent.futures
import random
import shutil
import threading

import pytest

from support.client import Closed, Connection, wait_until
from support.node import Node
from support.origin import Origin, track_bytes
from support.settings import config_for

MIB = 1 << 20
SLICE = 262144


def config(origin, folders, io="auto", size="512MiB", ram="192MiB"):
    drives = "".join(f'[[cache.drive]]\npath = "{folder}"\nsize = "{size}"\nsparse = true\n' for folder in folders)
    return config_for(origin.url, more=drives, node=f'io = "{io}"').replace('ram = "256MiB"', f'ram = "{ram}"')


def wait_for_writes(node):
    wait_until(
        lambda: node.metric("segue_buffers_writing") == 0 and node.metric("segue_fills_in_flight") == 0,
        seconds=20,
        every=0.05,
        what="no write",
    )


def settle(node):
    """Until two flushes of the slot table after the last write: what is live now survives a crash."""
    wait_for_writes(node)
    flushes = node.metric("segue_drive_table_flushes_total")
    drives = len([name for name in node.metrics() if name.startswith("segue_drive_online")])
    wait_until(
        lambda: node.metric("segue_drive_table_flushes_total") >= flushes + 2 * drives,
        seconds=30,
        every=0.05,
        what="two table flushes",
    )


def ready_to_keep(node, origin):
    """Until what is fetched now goes to the drive."""

    def is_kept():
        target = f"/probe/{origin.probes}"
        origin.probes += 1
        origin.add(target, 100_000)
        node.fetch(target)
        return node.metric("segue_cache_admitted_total") > 0

    origin.probes = getattr(origin, "probes", 0)
    wait_until(is_kept, every=0.05, what="a write")


def fetch_all(node, bodies):
    with concurrent.futures.ThreadPoolExecutor(8) as pool:
        for (target, body), response in zip(bodies.items(), pool.map(node.fetch, bodies)):
            assert response.status == 200
            assert response.body == body, f"wrong bytes of {target}"


def store_all(node, bodies):
    """Puts all of `bodies` on the drives: one at a time, because a burst may leave some of its writes out."""
    for target, body in bodies.items():
        assert node.fetch(target).body == body
        wait_for_writes(node)
    slices = sum(-(-len(body) // SLICE) for body in bodies.values() if len(body) > 16384)
    assert node.metric("segue_drive_slots_live") >= slices


def test_the_first_request_after_a_start_is_written_too(origin, tmp_path):
    origin.add("/t", 300_000)
    with Node(config(origin, [tmp_path])) as node:
        node.fetch("/t")
        wait_until(lambda: node.metric("segue_drive_slots_live") == 2, seconds=5, what="two slots")


@pytest.mark.parametrize("io", ["uring", "threads"])
def test_what_ram_evicts_comes_right_from_the_drive_and_is_there_after_a_restart(origin, tmp_path, io):
    lengths = [4 * MIB] * 13 + [100_000] * 8 + [1, 4096, 65536, SLICE, SLICE + 1] * 2  # 54 MiB: more than RAM holds
    bodies = {f"/t/{i}": origin.add(f"/t/{i}", length).body for i, length in enumerate(lengths)}
    with Node(config(origin, [tmp_path], io, ram="136MiB")) as node:
        ready_to_keep(node, origin)
        store_all(node, bodies)
        origin.forget()
        for _ in range(2):
            fetch_all(node, bodies)
        assert node.metric("segue_ram_evictions_total") > 0
        assert node.metrics()['segue_requests_total{outcome="hit_drive"}'] > 20
        assert origin.body_bytes <= 0.02 * sum(lengths), "the drive did not hold what was written"
        assert node.metric("segue_drive_checksum_failures_total") == 0
        assert node.metric("segue_drive_io_errors_total") == 0
        wait_for_writes(node)
    origin.forget()
    with Node(config(origin, [tmp_path], io, ram="136MiB")) as node:
        fetch_all(node, {target: body for target, body in bodies.items() if len(body) > 16384})
        assert origin.body_bytes <= 0.02 * sum(lengths), "a clean restart forgot"
        assert node.fetch("/t/0", Range="bytes=-5").is_hit
        assert node.fetch("/t/0", If_None_Match='"v1"').status == 304


def test_stored_headers_come_back_with_the_bytes_after_a_restart(origin, tmp_path):
    origin.add("/t", 300_000, fields={"X-Track": "one", "Cache-Control": "max-age=9999"}, content_type="audio/flac")
    with Node(config(origin, [tmp_path])) as node:
        ready_to_keep(node, origin)
        before = node.fetch("/t")
        wait_for_writes(node)
    origin.forget()
    with Node(config(origin, [tmp_path])) as node:
        after = node.fetch("/t")
        for name in (
            "ETag",
            "Last-Modified",
            "Content-Type",
            "X-Track",
            "Cache-Control",
            "Date",
            "Content-Length",
            "Accept-Ranges",
        ):
            assert after[name] == before[name]
        assert (after.body, after.is_hit) == (before.body, True)
        assert int(after["Age"]) >= int(before["Age"])
        assert not origin.requests


def damage(path, seed):
    """Flips a bit in every page of the second half of the file, where the slots are."""
    data = bytearray(path.read_bytes())
    chance = random.Random(seed)
    for page in range(len(data) // 2, len(data), 4096):
        if any(data[page : page + 64]):
            data[page + chance.randrange(4096)] ^= 1 << chance.randrange(8)
    path.write_bytes(data)


def test_damaged_slots_are_misses_never_wrong_bytes(origin, tmp_path):
    bodies = {f"/t/{i}": origin.add(f"/t/{i}", 3 * MIB).body for i in range(30)}
    with Node(config(origin, [tmp_path], size="160MiB")) as node:
        ready_to_keep(node, origin)
        fetch_all(node, bodies)
        wait_for_writes(node)
    damage(tmp_path / "segue.drive", seed=1)
    with Node(config(origin, [tmp_path], size="160MiB")) as node:
        for _ in range(2):
            fetch_all(node, bodies)
        assert node.metric("segue_drive_checksum_failures_total") > 0


def test_two_drives_share_the_tracks_and_one_may_be_lost(origin, tmp_path):
    folders = [tmp_path / "a", tmp_path / "b"]
    for folder in folders:
        folder.mkdir()
    bodies = {f"/t/{i}": origin.add(f"/t/{i}", MIB).body for i in range(40)}
    with Node(config(origin, folders)) as node:
        ready_to_keep(node, origin)
        fetch_all(node, bodies)
        wait_for_writes(node)
        live = [node.metrics()[f'segue_drive_slots_live{{drive="{i}",class="256KiB"}}'] for i in range(2)]
        assert min(live) > 20, live
    origin.forget()
    with Node(config(origin, folders)) as node:
        fetch_all(node, bodies)
        assert origin.body_bytes == 0
    shutil.move(folders[0] / "segue.drive", tmp_path / "away")
    (folders[0] / "segue.drive").write_bytes(b"not a drive")
    with Node(config(origin, folders)) as node:
        fetch_all(node, bodies)
        assert 0 < origin.body_bytes < 40 * MIB
        assert node.admin("/purge", "POST", {"url": "/t/1"}).status == 200
    # The drive that comes back missed a purge: it comes back empty.
    (folders[0] / "segue.drive").unlink()
    shutil.move(tmp_path / "away", folders[0] / "segue.drive")
    origin.tracks["/t/1"].body, origin.tracks["/t/1"].etag = track_bytes("/new", MIB), '"v2"'
    bodies["/t/1"] = origin.tracks["/t/1"].body
    with Node(config(origin, folders)) as node:
        fetch_all(node, bodies)


@pytest.mark.slow
def test_an_acknowledged_purge_survives_a_crash(origin, tmp_path):
    olds = {target: origin.add(target, 600_000).body for target in ("/url/1", "/prefix/1", "/prefix/2", "/kept/1")}
    node = Node(config(origin, [tmp_path]), folder=tmp_path)
    ready_to_keep(node, origin)
    fetch_all(node, olds)
    settle(node)
    for target, track in ((target, origin.tracks[target]) for target in olds):
        track.body, track.etag = track_bytes(f"/new{target}", 600_000), '"v2"'
    assert node.admin("/purge", "POST", {"url": "/url/1"}).status == 200
    assert node.admin("/purge", "POST", {"prefix": "/prefix/"}).status == 200
    node.kill()
    for _ in range(2):  # and a second crash, that of a node that did little
        node = Node(config(origin, [tmp_path]), folder=tmp_path)
        for target, old in olds.items():
            body = node.fetch(target).body
            assert body == (old if target == "/kept/1" else origin.tracks[target].body), target
        node.kill()


class Load:
    """Clients that read random ranges until told to stop, and check every byte."""

    def __init__(self, bodies, seed, clients=6):
        self.bodies, self.seed, self.clients = list(bodies.items()), seed, clients
        self.wrong, self.checked, self.stopping = [], 0, threading.Event()

    def run(self, address):
        self.stopping.clear()
        self.threads = [
            threading.Thread(target=self._client, args=(address, self.seed + i)) for i in range(self.clients)
        ]
        self.seed += self.clients
        for thread in self.threads:
            thread.start()

    def join(self):
        self.stopping.set()
        for thread in self.threads:
            thread.join()

    def run_until_killed(self, node, seconds):
        """Runs against `node` until it is killed in the middle of it."""
        self.run(node.address)
        killer = threading.Timer(seconds, node.process.kill)
        killer.start()
        node.process.wait(60)
        killer.join()
        self.join()

    def _client(self, address, seed):
        chance = random.Random(seed)
        try:
            with Connection(address) as connection:
                while not self.stopping.is_set():
                    target, body = chance.choice(self.bodies)
                    first = chance.randrange(len(body))
                    last = min(first + chance.randrange(1, MIB), len(body) - 1)
                    connection.request(target, Range=f"bytes={first}-{last}")
                    response = connection.read_head()
                    try:
                        received = connection.read_exactly(int(response["Content-Length"]))
                    except (Closed, OSError):
                        received = connection.buffer
                        if response.status == 206 and not body[first : last + 1].startswith(received):
                            self.wrong.append((target, first, last))
                        raise
                    if response.status == 206:
                        self.checked += 1
                        if received != body[first : last + 1]:
                            self.wrong.append((target, first, last))
        except (Closed, OSError):
            pass  # the node was killed


@pytest.mark.slow
def test_twenty_five_kills_under_load_cost_no_wrong_byte_and_not_the_flushed_set(tmp_path):
    with Origin() as origin:
        kept = {f"/kept/{i}": origin.add(f"/kept/{i}", MIB).body for i in range(60)}
        churn = {f"/churn/{i}": origin.add(f"/churn/{i}", 2 * MIB).body for i in range(60)}
        node = Node(config(origin, [tmp_path], size="1GiB"), folder=tmp_path)
        ready_to_keep(node, origin)
        store_all(node, kept)
        settle(node)
        load = Load(kept | churn, seed=20260101)
        chance = random.Random(7)
        for _ in range(25):
            load.run_until_killed(node, chance.uniform(0.05, 0.6))
            node = Node(config(origin, [tmp_path], size="1GiB"), folder=tmp_path)
        assert not load.wrong
        assert load.checked > 200
        hits = total = 0
        for target, body in kept.items():
            for first in range(0, MIB, SLICE):
                response = node.fetch(target, Range=f"bytes={first}-{first + 99}")
                assert response.body == body[first : first + 100]
                hits, total = hits + response.is_hit, total + 1
        assert hits >= 0.95 * total, f"{hits} of {total} slices of the flushed set are hits"
        fetch_all(node, kept | churn)
        node.stop()
