"""What clients get of an origin that misbehaves: the table of origin_faults.md, and what does not fit a table."""
import concurrent.futures
import pathlib
import threading

import pytest

from support.client import Closed, Connection, wait_until, wait_until_steady
from support.faults import FAULTS, head_lines
from support.node import Node
from support.origin import Origin, track_bytes
from support.settings import config_for

SLICE = 262144
LENGTH = 700_001
ASKED = (SLICE, 399_999)  # in the second slice, from its first byte on
# Short limits keep the silent faults short; the breaker would make one test's faults another's.
LIMITS = """timeout = { connect = "1s", first_byte = "1500ms", idle = "500ms", total = "3s" }
retries = 1
breaker = { failures = 1000, open_for = "1s" }"""
TTL = 'ttl = { default = "1h", negative = "1s", stale_if_error = "1d" }'
STATES = ("cold", "partly cached", "stale")


def read_table():
    """{fault: {state: allowed outcomes}} of origin_faults.md."""
    lines = (pathlib.Path(__file__).parent / "origin_faults.md").read_text().splitlines()
    rows = [[cell.strip() for cell in line.strip("|").split("|")] for line in lines if line.startswith("|")]
    assert rows[0] == ["fault", "the origin", *STATES]
    return {row[0]: dict(zip(STATES, (cell.split() for cell in row[2:]))) for row in rows[2:]}


TABLE = read_table()
CASES = [(name, state) for name, cells in TABLE.items() for state in STATES if cells[state] != ["-"]]


def prepare(node, origin, target, state):
    track = origin.add(target, LENGTH)
    if state == "partly cached":
        assert node.fetch(target, Range="bytes=0-9").status == 206
    if state == "stale":
        track.fields = {"Cache-Control": "max-age=0"}
        assert node.fetch(target).body == track.body
    return track


def outcome_of(node, target, true_bytes, first=ASKED[0], last=ASKED[1]):
    """The word of the table for what a range request gets; asserts that no wrong byte came."""
    wanted = true_bytes[first : last + 1]
    with node.connect() as connection:
        connection.request(target, Range=f"bytes={first}-{last}")
        try:
            response = connection.read_head()
        except Closed as closed:
            return f"closed without a head ({len(closed.partial)} bytes)"
        if response.status != 206:
            try:
                response.body = (
                    b"" if response.status == 204 else connection.read_exactly(int(response["Content-Length"]))
                )
            except Closed:
                return f"{response.status}, cut"
            if (
                response.status in (502, 503, 504)
                and "stored" not in response.cache_status
                and "fwd-status" not in response.cache_status
            ):
                assert response["Retry-After"]
            return str(response.status)
        assert response.content_range == (first, last, len(true_bytes))
        assert int(response["Content-Length"]) == len(wanted)
        try:
            body = connection.read_exactly(len(wanted))
        except (Closed, ConnectionResetError):
            body = connection.buffer
            assert body == wanted[: len(body)], "wrong bytes before the cut"
            return "cut"
        assert body == wanted, "wrong bytes"
        return "stale" if response.cache_status.get("detail") == "stale" else "right"


def is_right_again(node, target, body, seen=None):
    response = node.fetch(target)
    if seen is not None:
        seen.append(f"{response.status} {response.get('Cache-Status')}")
    return response.status == 200 and response.body == body


def run_case(node, origin, name, state):
    target = f"/{name}/{state.replace(' ', '-')}"
    track = prepare(node, origin, target, state)
    origin.misbehave(target, FAULTS[name])
    before = len(origin.requests_for(target))
    outcome = outcome_of(node, target, track.body)
    asked = len(origin.requests_for(target)) - before
    origin.behave(target)
    track.fields = {"Cache-Control": "max-age=3600"}
    seen = []
    try:
        wait_until(
            lambda: is_right_again(node, target, track.body, seen),
            seconds=10,
            every=0.1,
            what="the true bytes after the fault",
        )
    except AssertionError as late:
        raise AssertionError(f"{late}: {seen}") from None
    wait_until(lambda: node.fetch(target, Range="bytes=-1").is_hit, seconds=10, every=0.1, what="a hit after the fault")
    assert node.fetch(target).body == track.body
    # What was under way because of the fault has come by then.
    before = wait_until_steady(lambda: len(origin.requests_for(target)), for_seconds=0.3)
    assert node.fetch(target).body == track.body
    assert len(origin.requests_for(target)) == before, "it was stored, but not all of it"
    return outcome, asked


@pytest.fixture(scope="module")
def outcomes():
    """All cases at once over one node: each waits for a second in which a failure is remembered."""
    with Origin() as origin, Node(config_for(origin.url, origin=LIMITS, site=TTL)) as node:
        with concurrent.futures.ThreadPoolExecutor(8) as pool:
            yield {case: pool.submit(run_case, node, origin, *case) for case in CASES}


def test_the_table_has_every_fault():
    assert set(TABLE) == set(FAULTS)


@pytest.mark.parametrize("name, state", CASES, ids=[f"{name}-{state}" for name, state in CASES])
def test_the_answer_is_that_of_the_table(outcomes, name, state):
    outcome, asked = outcomes[name, state].result(timeout=60)
    assert outcome in TABLE[name][state], (outcome, asked)
    assert asked <= 16, "a failing origin is hammered"


# --- one by one ---


def node_before(*origins, site=TTL, limits=LIMITS):
    return Node(config_for([origin.url for origin in origins], origin=limits, site=site))


def test_refused_connections_are_502_or_stale_until_the_origin_is_back():
    with Origin() as origin, node_before(origin) as node:
        tracks = {state: prepare(node, origin, f"/{state[0]}", state) for state in STATES}
        origin.close()
        assert {state: outcome_of(node, f"/{state[0]}", track.body) for state, track in tracks.items()} == {
            "cold": "502",
            "partly cached": "502",
            "stale": "stale",
        }
        with node.connect() as connection:
            connection.request("/c")
            assert connection.read_response()["Retry-After"]
        with Origin(port=origin.port) as back:
            back.tracks = origin.tracks
            for state, track in tracks.items():
                wait_until(
                    lambda: is_right_again(node, f"/{state[0]}", track.body), every=0.05, what=f"{state} is right again"
                )


def test_cached_slices_are_served_while_the_origin_is_gone():
    with Origin() as origin, node_before(origin) as node:
        track = prepare(node, origin, "/t", "partly cached")
        origin.close()
        for _ in range(2):
            assert outcome_of(node, "/t", track.body, 0, SLICE - 1) == "right"
        assert outcome_of(node, "/t", track.body, SLICE - 5, SLICE + 5) == "cut"


def test_a_request_is_tried_again_on_a_fresh_connection(origin):
    origin.add("/warm", 10)
    track = origin.add("/t", LENGTH)
    with node_before(origin) as node:
        node.fetch("/warm")
        for name in ("closed_before_head", "reset_before_head", "closed_in_head"):
            origin.forget()
            target = f"/t?{name}"
            origin.add(target, LENGTH).body = track.body
            origin.misbehave(target, FAULTS[name], times=1)
            assert outcome_of(node, target, track.body) == "right"
            requests = origin.requests_for(target)
            assert len(requests) == 2
            assert requests[0].connection != requests[1].connection
            assert requests[0].fields["range"] == requests[1].fields["range"]


@pytest.mark.slow
def test_another_server_takes_over_from_one_that_fails():
    with Origin() as first, Origin() as second, node_before(first, second) as node:
        for name in ("closed_before_head", "reset_before_head", "unavailable", "bad_gateway", "silent"):
            body = first.add(f"/{name}", LENGTH).body
            second.add(f"/{name}", LENGTH)
            first.misbehave(f"/{name}", FAULTS[name])
            assert outcome_of(node, f"/{name}", body) == "right"
            assert first.requests_for(f"/{name}")
            assert len(second.requests_for(f"/{name}")) == 1
        first.close()
        body = second.add("/refused", LENGTH).body
        assert outcome_of(node, "/refused", body) == "right"


def test_a_malformed_answer_is_not_asked_for_at_every_server():
    with Origin() as first, Origin() as second, node_before(first, second) as node:
        body = first.add("/t", LENGTH).body
        second.add("/t", LENGTH)
        first.misbehave("/t", FAULTS["length_and_coding"])
        assert outcome_of(node, "/t", body) == "502"
        assert not second.requests_for("/t")


def test_the_breaker_leaves_a_failing_server_alone_and_probes_it_later():
    limits = """timeout = { connect = "1s", first_byte = "1s", idle = "1s", total = "3s" }
retries = 0
breaker = { failures = 3, open_for = "500ms" }"""
    with Origin() as first, Origin() as second, node_before(first, second, limits=limits) as node:
        bodies = {}
        for i in range(200):
            bodies[i] = first.add(f"/{i}", 1000).body
            second.add(f"/{i}", 1000)
            first.misbehave(f"/{i}", FAULTS["closed_before_head"])
        for i in range(20):
            assert node.fetch(f"/{i}").body == bodies[i]
        asked = len(first.requests)
        assert 3 <= asked <= 4, "the breaker did not open after three failures"
        for i in range(20, 200):
            first.behave(f"/{i}")
        left = iter(range(20, 200))

        def asks_the_first_again():
            i = next(left)
            assert node.fetch(f"/{i}").body == bodies[i]
            return len(first.requests) > asked + 1

        wait_until(asks_the_first_again, every=0.05, what="the first server is asked again")


def cut_once(track, after):
    track.cut_after, track.cut_times = after, 1


@pytest.mark.parametrize("after", [0, 1, 100_000, SLICE - 1, SLICE, SLICE + 1, 500_000, LENGTH - 1])
def test_a_body_that_breaks_off_is_resumed_from_the_very_byte(origin, after):
    track = origin.add("/t", LENGTH)
    cut_once(track, after)
    with node_before(origin) as node:
        response = node.fetch("/t")
        assert response.status == 200
        assert response.body == track.body
        first, second = origin.requests_for("/t")
        assert second.fields["range"] == f"bytes={after}-{LENGTH - 1}"
        assert second.fields["if-range"] == '"v1"'
        assert first.connection != second.connection
        assert node.fetch("/t").body == track.body
        assert len(origin.requests_for("/t")) == 2


def test_a_body_is_resumed_at_the_next_server():
    with Origin() as first, Origin() as second, node_before(first, second) as node:
        track = first.add("/t", LENGTH)
        second.add("/t", LENGTH)
        track.cut_after = 300_000
        assert node.fetch("/t").body == track.body
        (request,) = second.requests_for("/t")
        assert request.range == (300_000, LENGTH - 1)
        assert request.fields["if-range"] == '"v1"'


def test_the_rest_of_another_version_is_never_joined_to_a_body():
    with Origin() as first, Origin() as second, node_before(first, second) as node:
        track = first.add("/t", LENGTH)
        other = second.add("/t", LENGTH, etag='"v2"')
        other.body = bytes(255 - byte for byte in track.body)
        track.cut_after = 10_000
        with node.connect() as connection:
            connection.request("/t")
            response = connection.read_head()
            assert response["ETag"] == '"v1"'
            with pytest.raises((Closed, ConnectionResetError)):
                connection.read_exactly(LENGTH)
            assert track.body.startswith(connection.buffer)
            assert len(connection.buffer) <= 10_000


@pytest.mark.parametrize("etag", ['W/"v1"', None])
def test_a_body_without_a_strong_validator_is_cut_rather_than_resumed(origin, etag):
    track = origin.add("/t", LENGTH, etag=etag, last_modified=None)
    track.cut_after = 300_000
    with node_before(origin) as node:
        with node.connect() as connection:
            connection.request("/t")
            try:
                assert connection.read_head().status in (200, 502)
                connection.read_exactly(LENGTH)
            except (Closed, ConnectionResetError):
                pass
            assert track.body.startswith(connection.buffer) or connection.buffer.startswith(b"502 ")
        assert all("if-range" not in request.fields for request in origin.requests)
        track.cut_after = -1
        wait_until(lambda: is_right_again(node, "/t", track.body), every=0.05, what="the true bytes")


def test_a_version_that_changes_under_a_response_cuts_it_at_the_last_true_byte(origin):
    track = origin.add("/t", LENGTH)
    with node_before(origin) as node:
        assert node.fetch("/t", Range="bytes=0-9").status == 206
        old = track.body
        track.body, track.etag = bytes(255 - byte for byte in old)[:500_000], '"v2"'
        with node.connect() as connection:
            connection.request("/t", Range="bytes=0-")
            response = connection.read_head()
            assert response.content_range == (0, LENGTH - 1, LENGTH)
            with pytest.raises((Closed, ConnectionResetError)):
                connection.read_exactly(LENGTH)
            assert connection.buffer == old[:SLICE]
        wait_until(lambda: is_right_again(node, "/t", track.body), every=0.05, what="the new version")
        response = node.fetch("/t", Range="bytes=0-", If_Range='"v1"')
        assert (response.status, response["ETag"], response.body) == (200, '"v2"', track.body)


@pytest.mark.parametrize("status", [404, 410])
def test_an_inner_slice_that_is_gone_cuts_the_response_and_the_next_request_is_told(origin, status):
    track = origin.add("/t", LENGTH)
    with node_before(origin) as node:
        assert node.fetch("/t", Range="bytes=0-9").status == 206
        track.status = status
        assert outcome_of(node, "/t", track.body, 0, LENGTH - 1) == "cut"
        wait_until(lambda: node.fetch("/t").status == status, every=0.05, what=f"{status}")


def test_206_to_a_request_without_range_is_502(origin):
    track = origin.add("/t", LENGTH, fields={"Cache-Control": "no-store"})

    def partial(handler, request, _):
        if request.range is not None:
            return handler.serve_track(track, request)
        handler.send(head_lines(request, track, status=206, content_range=f"bytes 0-99/{LENGTH}", length=100))
        handler.send(track.body[:100])
        return True

    with node_before(origin) as node:
        node.fetch("/t")
        origin.misbehave("/t", partial)
        assert node.fetch("/t").status == 502


@pytest.mark.parametrize(
    "site, fields",
    [
        (TTL, {"Cache-Control": "max-age=0, must-revalidate"}),
        (TTL, {"Cache-Control": "no-cache"}),
        (TTL, {"Cache-Control": "max-age=0, stale-if-error=0"}),
        (TTL.replace('"1d"', '"0s"'), {"Cache-Control": "max-age=0"}),
    ],
)
def test_nothing_stale_is_served_where_it_is_not_allowed(origin, site, fields):
    origin.add("/t", 1000, fields=fields)
    with node_before(origin, site=site) as node:
        assert node.fetch("/t").status == 200
        origin.misbehave("/t", FAULTS["closed_before_head"])
        assert node.fetch("/t").status == 502
        wait_until(lambda: node.fetch("/t").status == 502, what="502")
        origin.behave("/t")
        wait_until(lambda: node.fetch("/t").status == 200, every=0.05, what="200")


def test_a_connection_with_bytes_nobody_asked_for_is_not_used_again(origin):
    origin.add("/next", 1000)
    origin.add("/t", 1000)
    with node_before(origin, limits=LIMITS) as node:
        for i in range(5):
            origin.misbehave("/t", FAULTS["extra_bytes_after_body"])
            target = f"/next?{i}"
            origin.add(target, 1000)
            assert node.fetch("/t", If_None_Match='"no"').status == 200
            assert node.fetch(target).body == track_bytes(target, 1000)
    poisoned = {request.connection for request in origin.requests_for("/t")}
    assert all(request.connection not in poisoned for request in origin.requests if request.target.startswith("/next"))


def test_a_hundred_clients_behind_a_failing_contact_ask_it_a_few_times_only(origin):
    origin.add("/t", LENGTH)
    origin.misbehave("/t", FAULTS["server_error"])
    with node_before(origin) as node:
        barrier = threading.Barrier(100)

        def one():
            with Connection(node.address) as connection:
                barrier.wait()
                connection.request("/t", Range="bytes=0-9")
                return connection.read_response().status

        with concurrent.futures.ThreadPoolExecutor(100) as pool:
            statuses = {future.result() for future in [pool.submit(one) for _ in range(100)]}
        assert statuses == {500}
        assert len(origin.requests_for("/t")) <= 10
