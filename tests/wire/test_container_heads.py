"""Heads of tracks of which nobody said how long they are: the container tells, once its beginning is here."""
import json
import struct

import pytest

from support import client
from support.client import wait_until as wait_for
from support.node import Node
from support.settings import config_for
from test_feed import fate

SLICE = 262_144


def ogg_page(granule, packet):
    laces = b"\xff" * (len(packet) // 255) + bytes([len(packet) % 255])
    return b"OggS\0\0" + struct.pack("<QIII", granule, 7, 0, 0) + bytes([len(laces)]) + laces + packet


def ogg_file(length):
    """Vorbis of 4,000 bytes a second: ten seconds lie in the first slice."""
    first = ogg_page(0, b"\x01vorbis" + struct.pack("<IBI", 0, 2, 48_000) + bytes(14))
    sound = b"".join(ogg_page(48_000 * i, bytes(4_000)) for i in range(1, length // 4_000))
    return (first + sound).ljust(length, b"\0")


def mp3_file(length, seconds):
    """With a Xing header; at more than 256 kbit/s ten seconds are more than anybody would guess."""
    frames = round(seconds * 44_100 / 1152)
    head = b"\xff\xfb\x90\x64" + bytes(32) + b"Xing" + struct.pack(">II", 1, frames)
    return head.ljust(length, b"\x55")


@pytest.fixture
def node(origin):
    with Node(config_for(origin.url, more='[prefetch]\nmode = "on"\nrest = false\n')) as running:
        yield running


def name(node, track, **members):
    line = json.dumps({"session": track, "model": "m", "next": [{"track": track, **members}]}) + "\n"
    with client.Connection(node.admin_socket) as connection:
        connection.send(client.request_bytes("/feed", "POST", Content_Length=len(line)) + line.encode())
        assert connection.read_response().status == 200


def wait_until_fetched(node):
    wait_for(lambda: fate(node, "fetched") > 0)


def is_here(node, track, first):
    return node.fetch(track, Range=f"bytes={first}-{first + 999}", Cache_Control="only-if-cached").status == 206


def wait_until_here(node, track, slices):
    """The last slice of a head lands whole a moment after what was wanted of it."""
    wait_for(lambda: [is_here(node, track, SLICE * i) for i in range(len(slices))] == slices)


def test_an_ogg_file_is_asked_for_its_head_and_its_last_page_only(node, origin):
    origin.add("/a.ogg").body = ogg_file(6 * SLICE)
    name(node, "/a.ogg")
    wait_until_fetched(node)
    assert node.metric("segue_prefetch_heads_told_total") == 1
    wait_until_here(node, "/a.ogg", [True, False, False, False, False, True])


def test_a_dense_file_gets_all_of_its_first_ten_seconds(node, origin):
    origin.add("/b.mp3").body = mp3_file(6 * SLICE, seconds=20)
    name(node, "/b.mp3")
    wait_until_fetched(node)
    # Half of it; four slices hold 786,475 bytes.
    wait_until_here(node, "/b.mp3", [True, True, True, False, False, False])


def test_what_the_feed_says_of_a_track_is_not_looked_up_in_it(node, origin):
    origin.add("/c.ogg").body = ogg_file(6 * SLICE)
    name(node, "/c.ogg", bytes=6 * SLICE, duration_ms=20_000)
    wait_until_fetched(node)
    assert node.metric("segue_prefetch_heads_told_total") == 0
    assert not is_here(node, "/c.ogg", 5 * SLICE)


def test_a_file_that_is_no_container_is_fetched_as_far_as_is_guessed(node, origin):
    origin.add("/d.bin").body = b"x" * (6 * SLICE)
    name(node, "/d.bin")
    wait_until_fetched(node)
    assert node.metric("segue_prefetch_heads_told_total") == 0
    wait_until_here(node, "/d.bin", [True, True, False])


def bytes_fetched(node):
    return node.metrics()['segue_prefetch_bytes_total{model="m",fate="fetched"}']


def test_a_slice_counts_once_though_two_parts_of_the_head_lie_in_it(origin):
    origin.add("/b.mp3").body = mp3_file(6 * SLICE, seconds=20)
    more = '[prefetch]\nmode = "on"\nrest = false\nhead = "1s"\n'
    with Node(config_for(origin.url, more=more)) as node:
        name(node, "/b.mp3")  # 64 KiB as guessed, and more as its container tells
        wait_until_fetched(node)
        assert node.metric("segue_prefetch_heads_told_total") == 1
        wait_until_here(node, "/b.mp3", [True, False])
        assert bytes_fetched(node) == SLICE


def test_what_was_here_and_has_not_changed_was_not_fetched(node, origin):
    origin.add("/stale", 2 * SLICE, fields={"Cache-Control": "max-age=0"})
    assert node.fetch("/stale").status == 200
    name(node, "/stale", bytes=2 * SLICE, duration_ms=10_000)
    wait_for(lambda: fate(node, "already_here") == 1, what="the answer that it is the same")
    assert [request.fields.get("if-none-match") for request in origin.requests_for("/stale")][-1] == '"v1"'
    assert bytes_fetched(node) == 0
