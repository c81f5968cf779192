"""A drive that turns slow, or is pulled, beside a good one: its slices are misses, the other's are hits, and it comes
back by itself. Power cuts are in test_power_cut.py."""
import os
import subprocess

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
    subprocess.run(["cp", "-r", "--sparse=always", kept / "a", kept / "b", tmp_path], check=True)  # mostly holes
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


def is_open(node, path):
    links = f"/proc/{node.process.pid}/fd"
    for name in os.listdir(links):
        try:
            if os.readlink(f"{links}/{name}").startswith(str(path)):
                return True
        except FileNotFoundError:
            pass
    return False


def wait_until_let_go_of(node, path):
    wait_until(lambda: not is_open(node, path), seconds=30, every=0.05, what="the drive is let go of")


def test_a_slow_drive_is_given_up_while_the_other_serves_and_can_be_taken_out_and_put_back(pair):
    _, folder, bodies, settings, faults = pair
    with Node(settings, environment=faults.environment) as node:
        faults.slow("b", 1000)
        left = fetch_until_given_up(node, bodies)
        unasked = dict(list(left.items())[len(left) // 2 :])  # until it is back
        fetch_all(node, {target: body for target, body in bodies.items() if target not in unasked})
        assert node.metric("segue_cache_drive_hangs_total") >= 16
        live = node.metrics()['segue_drive_slots_live{drive="0",class="256KiB"}']
        assert (online(node, 0), of_drive(node, "segue_drive_io_errors_total", 0)) == (1, 0)
        assert "reason=operations that hang" in node.log
        wait_until_let_go_of(node, folder / "b")
        (folder / "b").rename(folder / "away")
        fetch_all(node, {target: bodies[target] for target in list(bodies)[:8]})
        (folder / "away").rename(folder / "b")
        faults.well("b")
        wait_until_back(node)
        assert of_drive(node, "segue_drive_returns_total", 1) == 1
        # What was asked for meanwhile is a newer version by now; the rest is still there.
        assert of_drive(node, "segue_drive_payload_bytes", 1) > 0
        before = of_drive(node, "segue_drive_reads_total", 1)
        fetch_all(node, unasked)
        assert of_drive(node, "segue_drive_reads_total", 1) > before
        # Nothing that the good drive has was asked of the origin.
        assert of_drive(node, "segue_drive_reads_total", 0) >= live > 0
        assert "drive_emptied " not in node.log
        # Another process cannot take a drive that is in use again.
        assert is_open(node, folder / "b")


def test_a_drive_that_was_away_during_a_purge_comes_back_empty(pair):
    origin, folder, bodies, settings, faults = pair
    with Node(settings, environment=faults.environment) as node:
        faults.dead("b")
        left = fetch_until_given_up(node, bodies)
        wait_until_let_go_of(node, folder / "b")
        (folder / "b").rename(folder / "away")
        for target in left:
            origin.tracks[target].body = bodies[target] = left[target] = os.urandom(BYTES)
            origin.tracks[target].etag = '"v2"'
        node.purge(prefix="/t/")
        (folder / "away").rename(folder / "b")
        faults.well("b")
        wait_until_back(node)
        assert "drive_emptied " in node.log
        assert of_drive(node, "segue_drive_payload_bytes", 1) == 0
        fetch_all(node, left)
