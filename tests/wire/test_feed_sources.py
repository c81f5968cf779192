"""One listener from track to track, with the feed over each source in turn, by counts: what was named is a hit, the
origin was asked for it once and before, and what nobody named is a miss that its player waits for."""
import contextlib
import os

import pytest

from support import nats
from support.client import wait_until
from support.node import Node
from support.settings import config_for
from test_feed import fate, plan, post

TRACK = 700_000
HEAD = "bytes=0-65535"
SECONDS = 60


def prefetching(origin, more):
    return Node(config_for(origin.url, more=f'[prefetch]\nmode = "on"\npredictor = "off"\nhead = "1s"\n{more}'))


@contextlib.contextmanager
def posted(origin, tmp_path):
    with prefetching(origin, "") as node:
        yield node, lambda line: post(node, line)


@contextlib.contextmanager
def followed(origin, path):
    """The node follows what is there; a FIFO is opened once it does."""
    with prefetching(origin, f'follow = "{path}"') as node:
        wait_until(lambda: node.metric("segue_feed_files_open") == 1, what="the open file")
        with path.open("a") as feed:

            def say(line):
                feed.write(line + "\n")
                feed.flush()

            yield node, say


@contextlib.contextmanager
def file(origin, tmp_path):
    path = tmp_path / "feed.ndjson"
    path.touch()
    with followed(origin, path) as both:
        yield both


@contextlib.contextmanager
def fifo(origin, tmp_path):
    path = tmp_path / "feed.fifo"
    os.mkfifo(path)
    with followed(origin, path) as both:
        yield both


@contextlib.contextmanager
def jetstream(origin, tmp_path):
    with nats.NatsServer() as server, server.connect() as publisher:
        publisher.add_stream("SEGUE", "segue.>")
        more = f'[prefetch.nats]\nservers = "{server.url}"\nsubject = "segue.feed"\n'
        with prefetching(origin, more) as node:
            wait_until(lambda: node.metric("segue_nats_connected") == 1, seconds=SECONDS, what="the connection")
            yield node, lambda line: publisher.publish("segue.feed", line)


@pytest.mark.parametrize("source", [posted, file, fifo, jetstream])
def test_a_listener_whose_next_tracks_are_named_never_waits_for_the_origin(origin, tmp_path, source):
    tracks = [f"/{number}" for number in range(4)]
    for path in (*tracks, "/unnamed"):
        origin.add(path, TRACK)
    with source(origin, tmp_path) as (node, say):

        def start(track):
            return node.fetch(f"{track}?CMCD=sid%3D%22s%22", Range=HEAD)

        for revision, track in enumerate(tracks, start=1):
            say(plan("s", revision, [track]))
            wait_until(lambda: fate(node, "fetched") == revision, seconds=SECONDS, what=f"{track} to be fetched")
            assert len(origin.requests_for(track)) == 1  # and nobody has asked for it yet
            answer = start(track)
            assert answer.status == 206
            assert answer.is_hit
            assert answer.body == origin.tracks[track].body[:65_536]
            assert len(origin.requests_for(track)) == 1
        assert not start("/unnamed").is_hit
        assert len(origin.requests_for("/unnamed")) == 1
        assert len(origin.requests) == len(tracks) + 1
        wait_until(lambda: fate(node, "used") == len(tracks), what="the judgement")
        assert node.metric("segue_prefetch_first_byte_misses_avoided_total") == len(tracks)
        assert fate(node, "revoked") == fate(node, "failed") == 0
