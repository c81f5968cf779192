"""A drive that turns slow, or is pulled, beside a good one: its slices are misses, the other's are hits, and it comes
back by itself. Power cuts are in test_power_cut.py."""
import concurrent.futures
import os
import shutil

import pytest

from support.client import wait_until
from support.drive_faults import DriveFaults
from support.node import Node
from support.origin import Origin
from test_drive import config, fetch_all, ready_to_keep, store_all

pytestmark = pytest.mark.slow
TRACKS, BYTES = 64, 300_000  # two slices each


@pytest.fixture(scope="module")
def stored(tmp_path_factory):
    """(origin, folder with the drives a and b, bodies): every track is on one of them."""
    folder = tmp_path_factory.mktemp("stored")
    for name in ("a", "b"):
        (folder / name).mkdir()
    with Origin() as origin:
        bodies = {f"/t/{i}": origin.add(f"/t/{i}", BYTES).body for i in range(TRACKS)}
        with Node(config(origin, [folder / "a", folder / "b"], io="threads", size="96MiB")) as node:
            ready_to_keep(node, origin)
            store_all(node, bodies)
            live = [node.metrics()[f'segue_drive_slots_live{{drive="{i}",class="256KiB"}}'] for i in range(2)]
            assert min(live) >= 20, live
        yield origin, folder, bodies


@pytest.fixture
def pair(stored, tmp_path):
    """(origin, folder, bodies, settings, faults): copies of the two drives, for a node yet to be started."""
    origin, kept, bodies = stored
    for name in ("a", "b"):
        shutil.copytree(kept / name, tmp_path / name)
    origin.forget()
    settings = config(origin, [tmp_path / "a", tmp_path / "b"], io="threads", size="96MiB")
    return origin, tmp_path, dict(bodies), settings, DriveFaults(tmp_path)


def online(node, drive):
    return node.metrics()[f'segue_drive_online{{drive="{drive}"}}']


def of_drive(node, name, drive):
    return node.metrics()[f'{name}{{drive="{drive}"}}']


def wait_until_back(node):
    wait_until(lambda: online(node, 1) == 1, seconds=60, every=0.05, what="the drive is back")
    node.wait_for_log("drive_back ")


def fetch_until_given_up(node, bodies):
    """Fetches and checks tracks by eights until the second drive is offline; those that are left."""
    left = list(bodies)
    while online(node, 1):
        assert left, "the drive is still in use"
        now, left = left[:8], left[8:]
        fetch_all(node, {target: bodies[target] for target in now})
    return {target: bodies[target] for target in left}


def test_a_slow_drive_is_given_up_while_the_other_serves_and_comes_back(pair):
    _, _, bodies, settings, faults = pair
    with Node(settings, environment=faults.environment) as node:
        faults.slow("b", 2000)
        fetch_until_given_up(node, bodies)
        fetch_all(node, bodies)
        assert node.metric("segue_cache_drive_hangs_total") >= 16
        # Nothing that the good drive has was asked of the origin, or hung.
        live = node.metrics()['segue_drive_slots_live{drive="0",class="256KiB"}']
        assert of_drive(node, "segue_drive_reads_total", 0) >= live > 0
        assert (online(node, 0), of_drive(node, "segue_drive_io_errors_total", 0)) == (1, 0)
        assert "reason=operations that hang" in node.log
        faults.well("b")
        wait_until_back(node)
        assert of_drive(node, "segue_drive_returns_total", 1) == 1
        # What was asked for meanwhile is a newer version by now; the rest is still there.
        assert of_drive(node, "segue_drive_payload_bytes", 1) > 0
        fetch_all(node, bodies)


def is_open(node, path):
    links = f"/proc/{node.process.pid}/fd"
    for name in os.listdir(links):
        try:
            if os.readlink(f"{links}/{name}").startswith(str(path)):
                return True
        except FileNotFoundError:
            pass
    return False


@pytest.mark.parametrize("purged", [False, True], ids=["as it was", "after a purge"])
def test_a_drive_that_was_pulled_is_let_go_of_and_taken_back(pair, purged):
    origin, folder, bodies, settings, faults = pair
    with Node(settings, environment=faults.environment) as node:
        faults.dead("b")
        left = fetch_until_given_up(node, bodies)
        wait_until(lambda: not is_open(node, folder / "b"), seconds=30, every=0.05, what="the drive is let go of")
        (folder / "b").rename(folder / "away")
        if purged:
            for target in left:
                origin.tracks[target].body = bodies[target] = left[target] = os.urandom(BYTES)
                origin.tracks[target].etag = '"v2"'
            node.purge(prefix="/t/")
        fetch_all(node, {target: bodies[target] for target in list(bodies)[:8]})
        (folder / "away").rename(folder / "b")
        faults.well("b")
        wait_until_back(node)
        assert ("drive_emptied " in node.log) is purged
        if purged:
            assert of_drive(node, "segue_drive_payload_bytes", 1) == 0
        with concurrent.futures.ThreadPoolExecutor(8) as pool:
            answers = dict(zip(left, pool.map(node.fetch, left)))
        assert all(answer.body == left[target] for target, answer in answers.items())
        if not purged:
            assert of_drive(node, "segue_drive_reads_total", 1) > 0
        # Another process cannot take a drive that is in use again.
        assert is_open(node, folder / "b")
