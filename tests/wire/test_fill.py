"""Fills: how often an origin is asked, for how much, and when clients get what comes (ARCHITECTURE.md, fills).

Counts and bytes only; the benchmarks measure times."""
import concurrent.futures
import threading

import pytest

from support.client import Closed, Connection, request_bytes, wait_until, wait_until_steady
from support.node import Node
from support.origin import track_bytes
from support.settings import config_for

KIB = 1 << 10
MIB = 1 << 20
SLICE = 256 * KIB
LARGE = 60_000_000
RUN_BYTES_MAX = 4 * MIB
UNKNOWN_LENGTH_BYTES_MAX = 4 * MIB


def at_once(count, action):
    """Runs action(i) in `count` threads that start together; returns the results."""
    barrier = threading.Barrier(count)

    def run(i):
        barrier.wait()
        return action(i)

    with concurrent.futures.ThreadPoolExecutor(count) as pool:
        return [future.result() for future in [pool.submit(run, i) for i in range(count)]]


def asked_bytes(origin, target):
    """What ranges of `target` were asked for in all."""
    return sum(request.range[1] + 1 - request.range[0] for request in origin.requests_for(target))


def test_a_hundred_clients_on_one_cold_range_are_one_origin_request(node, origin):
    track = origin.add("/t", 10 * MIB, delay=1)
    responses = at_once(100, lambda _: node.fetch("/t", Range="bytes=1000000-1099999"))
    assert all(response.status == 206 and response.body == track.body[1_000_000:1_100_000] for response in responses)
    assert len(origin.requests_for("/t")) == 1
    assert sum("collapsed" in response.cache_status for response in responses) >= 90


def test_a_crowd_on_a_cold_cache_queues_for_an_origin_that_takes_few_fetches(origin):
    tracks = [origin.add(f"/{i}", 100_000, delay=0.02) for i in range(60)]
    with Node(config_for(origin.url, origin="fetches = 4").replace("threads = 2", "threads = 1")) as node:
        responses = at_once(60, lambda i: node.fetch(f"/{i}", Range="bytes=0-49999"))
        assert all(r.status == 206 and r.body == track.body[:50_000] for r, track in zip(responses, tracks))
        assert origin.connections <= 4
        assert node.metric("segue_fetch_waits_total") > 0
        assert node.metric("segue_fetches_waiting") == 0
        assert node.metric("segue_fetch_refusals_total") == 0


def test_a_hundred_cold_ranges_of_one_unknown_track_are_one_contact(node, origin):
    track = origin.add("/t", LARGE, delay=0.3)
    ranges = [(i * 2 * SLICE + 1000, i * 2 * SLICE + 2000) for i in range(100)]  # each in a slice of its own
    responses = at_once(100, lambda i: node.fetch("/t", Range=f"bytes={ranges[i][0]}-{ranges[i][1]}"))
    for (first, last), response in zip(ranges, responses):
        assert response.content_range == (first, last, LARGE)
        assert response.body == track.body[first : last + 1]
    requests = origin.requests_for("/t")
    contact = min(request.at for request in requests)
    assert sum(request.at < contact + 0.3 for request in requests) == 1, "others asked before the header was known"
    # Beyond the contact one fill for each slice it did not bring.
    assert len(requests) <= 100
    assert asked_bytes(origin, "/t") <= 101 * SLICE


@pytest.mark.parametrize("asked", ["bytes=-65536", f"bytes={LARGE - 65536}-{LARGE - 1}", f"bytes={LARGE - 65536}-"])
def test_the_tail_of_a_cold_track_costs_one_request_and_half_a_mebibyte(node, origin, asked):
    track = origin.add("/t", LARGE)
    response = node.fetch("/t", Range=asked)
    assert response.content_range == (LARGE - 65536, LARGE - 1, LARGE)
    assert response.body == track.body[-65536:]
    assert len(origin.requests_for("/t")) == 1
    assert wait_until_steady(lambda: origin.body_bytes) <= 512 * KIB
    assert node.fetch("/t", Range=asked).is_hit


def test_a_bounded_range_over_five_cold_slices_is_one_request_for_five_slices(node, origin):
    track = origin.add("/t", LARGE)
    first = 40 * SLICE + 100_000
    response = node.fetch("/t", Range=f"bytes={first}-{first + MIB - 1}")
    assert response.body == track.body[first : first + MIB]
    (request,) = origin.requests_for("/t")
    assert request.range == (40 * SLICE, 45 * SLICE - 1)
    assert origin.body_bytes == 5 * SLICE


@pytest.mark.slow
def test_a_client_that_stops_reading_stops_the_fill(node, origin):
    track = origin.add("/t", LARGE)
    with node.connect(receive_buffer=256 * KIB) as connection:
        connection.request("/t", Range="bytes=0-")
        connection.read_head()
        assert connection.read_exactly(3 * MIB) == track.body[: 3 * MIB]
        assert wait_until_steady(lambda: origin.body_bytes, for_seconds=1) <= 12 * MIB
        # And it goes on where it stopped.
        assert connection.read_exactly(10 * MIB) == track.body[3 * MIB : 13 * MIB]
        assert wait_until_steady(lambda: origin.body_bytes, for_seconds=1) <= 22 * MIB


@pytest.mark.slow
def test_an_open_ended_read_asks_for_growing_runs(node, origin):
    track = origin.add("/t", LARGE)
    assert node.fetch("/t", Range="bytes=0-").body == track.body
    requests = origin.requests_for("/t")
    sizes = sorted(request.range[1] + 1 - request.range[0] for request in requests)
    assert sizes[0] <= MIB
    assert sizes[-1] == RUN_BYTES_MAX
    assert len(requests) <= 2 + -(-(LARGE - 3 * MIB) // RUN_BYTES_MAX) + 1
    assert asked_bytes(origin, "/t") < LARGE + SLICE, "something was asked for twice"
    assert node.fetch("/t", Range="bytes=0-").body == track.body
    assert len(origin.requests_for("/t")) == len(requests)


def test_clients_that_leave_free_the_fill_and_do_not_pull_the_whole_track(node, origin):
    origin.add("/t", LARGE, rate=4 * MIB)
    connections = [Connection(node.address) for _ in range(20)]
    for connection in connections:
        connection.request("/t")
    for connection in connections:
        connection.read_head()
        connection.reset()
    wait_until(lambda: node.metric("segue_requests_in_flight") == 0, seconds=2, what="no request in flight")
    wait_until(lambda: node.metric("segue_fills_in_flight") == 0, seconds=5, what="no fill in flight")
    assert wait_until_steady(lambda: origin.body_bytes) <= 3 * MIB
    assert node.metric("segue_buffers_pinned") == 0


def test_the_fill_goes_on_when_the_client_that_began_it_leaves(node, origin):
    track = origin.add("/t", MIB, rate=4 * MIB)
    starter = Connection(node.address)
    starter.request("/t")
    starter.read_head()
    with node.connect() as other:
        other.request("/t")
        assert other.read_head().status == 200
        starter.reset()
        assert other.read_exactly(MIB) == track.body
    assert len(origin.requests_for("/t")) == 1


class Gate:
    """A script that sends `before` bytes of a body, then waits for open() with the rest."""

    def __init__(self, track, before):
        self.track, self.before, self.opened = track, before, threading.Event()

    def __call__(self, handler, request):
        first, last = request.range
        end = min(last + 1, len(self.track.body))
        handler.head(206, end - first, self.track, [f"Content-Range: bytes {first}-{end - 1}/{len(self.track.body)}"])
        body = self.track.body[first:end]
        handler.send(body[: self.before])
        assert self.opened.wait(20)
        handler.send(body[self.before :])
        return True


def test_bytes_reach_the_clients_while_the_slice_is_still_coming(node, origin):
    track = origin.add("/t", 600_000)
    track.script = gate = Gate(track, 1000)
    with node.connect() as first, node.connect() as second:
        for connection in (first, second):
            connection.request("/t", Range="bytes=0-299999")
            assert connection.read_head().content_range == (0, 299_999, 600_000)
            assert connection.read_exactly(1000) == track.body[:1000]
        gate.opened.set()
        for connection in (first, second):
            assert connection.read_exactly(299_000) == track.body[1000:300_000]
    assert len(origin.requests_for("/t")) == 1


def test_a_stalled_reader_does_not_slow_another_one_of_the_same_track(node, origin):
    track = origin.add("/t", 20 * MIB)
    with node.connect(receive_buffer=64 * KIB) as stalled:
        stalled.request("/t")
        stalled.read_head()
        assert node.fetch("/t").body == track.body
        assert stalled.read_exactly(len(track.body)) == track.body
    assert asked_bytes(origin, "/t") < 20 * MIB + SLICE


@pytest.mark.parametrize("tracks", [120, pytest.param(1000, marks=pytest.mark.slow)])
def test_many_tracks_over_kept_connections_never_mix_or_lose_a_byte(node, origin, tracks):
    bodies = [origin.add(f"/t/{i}", 700_001).body for i in range(tracks)]
    with concurrent.futures.ThreadPoolExecutor(16) as pool:
        for body, response in zip(bodies, pool.map(lambda i: node.fetch(f"/t/{i}"), range(tracks))):
            assert response.status == 200
            assert response.body == body
    # On a machine that stands still for seconds a fetch or two may be asked again.
    resumed = sum(len(origin.requests_for(f"/t/{i}")) - 1 for i in range(tracks))
    assert resumed <= tracks // 100, f"{resumed} bodies had to be resumed"
    assert origin.connections <= 2 * 16 + 8


# --- lengths ---


def test_a_chunked_answer_to_a_range_is_as_good_as_any(node, origin):
    track = origin.add("/t", 700_001, chunked=True)
    response = node.fetch("/t", Range="bytes=300000-300099")
    assert (response.content_range, response.body) == ((300_000, 300_099, 700_001), track.body[300_000:300_100])
    assert node.fetch("/t", Range="bytes=300000-300099").is_hit
    assert node.fetch("/t").body == track.body


@pytest.mark.parametrize(
    "asked, first, end", [("bytes=10-19", 10, 20), ("bytes=-10", 699_991, 700_001), ("bytes=300000-", 300_000, 700_001)]
)
def test_a_length_learned_at_the_end_still_makes_a_206(node, origin, asked, first, end):
    track = origin.add("/t", 700_001, chunked=True, accept_ranges=False)
    response = node.fetch("/t", Range=asked)
    assert response.content_range == (first, end - 1, 700_001)
    assert response.body == track.body[first:end]
    assert node.fetch("/t").body == track.body
    assert len(origin.requests_for("/t")) == 1


def test_a_body_of_unknown_length_that_is_too_long_is_passed_through(node, origin):
    track = origin.add("/t", UNKNOWN_LENGTH_BYTES_MAX + 1, chunked=True, accept_ranges=False)
    for asked in range(2):
        response = node.fetch("/t", Range="bytes=10-19")
        assert response.status == 200  # a 206 needs a length
        assert response["Transfer-Encoding"] == "chunked"
        assert response.body == track.body
        assert "stored" not in response.cache_status
        assert len(origin.requests_for("/t")) == asked + 1


def test_a_passed_through_body_of_unknown_length_that_breaks_off_has_no_clean_end(node, origin):
    track = origin.add(
        "/t",
        UNKNOWN_LENGTH_BYTES_MAX + MIB,
        chunked=True,
        accept_ranges=False,
        cut_after=UNKNOWN_LENGTH_BYTES_MAX + 500_000,
    )
    with node.connect() as connection:
        connection.request("/t")
        assert connection.read_head()["Transfer-Encoding"] == "chunked"
        with pytest.raises((Closed, ConnectionResetError)):
            connection.read_chunked()
    assert track.body


def close_delimited(track):
    def script(handler, _):
        handler.send(f"HTTP/1.1 200 OK\r\nETag: {track.etag}\r\nContent-Type: audio/ogg\r\nConnection: close\r\n\r\n")
        handler.send(track.body)
        return False

    return script


def test_a_body_that_ends_with_the_connection_is_never_stored(node, origin):
    track = origin.add("/t", 100_000)
    track.script = close_delimited(track)
    for asked in range(3):
        response = node.fetch("/t")
        assert (response.status, response.body) == (200, track.body)
        assert "stored" not in response.cache_status
        assert len(origin.requests_for("/t")) == asked + 1


def test_an_origin_that_ignores_ranges_is_sliced_as_it_passes(node, origin):
    track = origin.add("/t", 700_001, accept_ranges=False)
    response = node.fetch("/t", Range="bytes=600000-600009")
    assert (response.content_range, response.body) == ((600_000, 600_009, 700_001), track.body[600_000:600_010])
    assert node.fetch("/t").body == track.body
    assert len(origin.requests_for("/t")) == 1


@pytest.mark.parametrize("range_field", [None, "bytes=0-0", "bytes=0-", "bytes=-5", "bytes=7-9"])
def test_an_empty_representation_is_an_empty_200_and_has_no_ranges(node, origin, range_field):
    origin.add("/t", 0)
    fields = {"Range": range_field} if range_field else {}
    for _ in range(2):
        response = node.fetch("/t", **fields)
        assert response.body == b""
        if range_field in (
            None,
            "bytes=-5",
        ):  # a suffix of nothing is all of it, which no 206 can say (RFC 9110 §14.1.2)
            assert (response.status, response["Content-Length"]) == (200, "0")
        else:
            assert (response.status, response.get("Content-Range")) == (416, "bytes */0")
    assert node.fetch("/t").status == 200


@pytest.mark.parametrize(
    "length",
    [1, 2, 4095, 4096, 65536, 65537, 131072, 131073, SLICE - 1, SLICE, SLICE + 1, 2 * SLICE, 3 * SLICE + 65536],
)
def test_every_length_of_a_last_slice_is_right(node, origin, length):
    track = origin.add("/t", length)
    for _ in range(2):
        assert node.fetch("/t", Range=f"bytes=-{min(length, 5000)}").body == track.body[-5000:]
        assert node.fetch("/t").body == track.body
        assert node.fetch("/t", Range=f"bytes={length - 1}-").body == track.body[-1:]
        assert node.fetch("/t", Range=f"bytes={length}-").status == 416


def without_suffix_ranges(track, status):
    def script(handler, request):
        if request.range is not None and request.range[0] == "suffix":
            handler.head(status, 0, extra=[] if status == 416 else ["X: y"])
            return True
        return handler.serve_track(track, request)

    return script


def test_an_origin_without_suffix_ranges_is_asked_for_the_length_first(node, origin):
    track = origin.add("/t", LARGE)
    track.script = without_suffix_ranges(track, 416)
    response = node.fetch("/t", Range="bytes=-65536")
    assert (response.content_range, response.body) == ((LARGE - 65536, LARGE - 1, LARGE), track.body[-65536:])


def test_a_suffix_longer_than_a_run_is_filled_in_runs(node, origin):
    track = origin.add("/t", LARGE)
    assert node.fetch("/t", Range="bytes=-9000000").body == track.body[-9_000_000:]
    assert asked_bytes(origin, "/t") <= 9_000_000 + 3 * SLICE


def test_head_of_an_unknown_track_costs_one_slice(node, origin):
    origin.add("/t", LARGE)
    response = node.fetch("/t", method="HEAD")
    assert (response.status, response["Content-Length"]) == (200, str(LARGE))
    assert len(origin.requests_for("/t")) == 1
    assert wait_until_steady(lambda: origin.body_bytes) <= SLICE


def test_ranges_past_the_end_of_an_unknown_track_learn_its_length_once(node, origin):
    origin.add("/t", 1000)
    for asked in ("bytes=5000-", "bytes=1000-1001", "bytes=999999-"):
        assert node.fetch("/t", Range=asked)["Content-Range"] == "bytes */1000"
    assert len(origin.requests_for("/t")) <= 2
    assert node.fetch("/t").body == track_bytes("/t", 1000)


def test_pipelined_cold_requests_are_answered_in_order(node, origin):
    for i in range(20):
        origin.add(f"/t/{i}", 300_000, delay=0.02 * (20 - i) / 20)
    with node.connect() as connection:
        connection.send(b"".join(request_bytes(f"/t/{i}") for i in range(20)))
        for i in range(20):
            assert connection.read_response().body == track_bytes(f"/t/{i}", 300_000)


def test_an_origin_whose_etag_changes_on_every_contact_is_passed_through_for_a_while(origin):
    track = origin.add("/t", 700_001)
    track.fields = {"Cache-Control": "no-cache"}
    one_loop = config_for(origin.url).replace("threads = 2", "threads = 1")
    with Node(one_loop) as node:
        for version in range(10):
            track.etag = f'"flap-{version}"'
            whole = node.fetch("/t")
            assert whole.status == 200 and whole.body == track.body
            part = node.fetch("/t", Range="bytes=300000-399999")
            assert part.status == 206 and part.body == track.body[300000:400000]
        assert node.metric("segue_validators_flapping_total") >= 1
        replaced = node.metric("segue_generations_replaced_total")
        assert replaced == 3, "after so many within a minute the key is not stored"
        assert node.metric("segue_passes_total") > 0


@pytest.mark.slow
def test_more_tracks_than_ram_holds_are_right_again_after_eviction(origin):
    with Node(config_for(origin.url, node="").replace("256MiB", "144MiB")) as node:
        bodies = [origin.add(f"/t/{i}", 2 * MIB).body for i in range(100)]
        for _ in range(2):
            with concurrent.futures.ThreadPoolExecutor(8) as pool:
                for body, response in zip(bodies, pool.map(lambda i: node.fetch(f"/t/{i}"), range(100))):
                    assert response.body == body
