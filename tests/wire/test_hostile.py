"""What a hostile client, page or origin tried once and must never succeed with again: found by reviews."""
import concurrent.futures
import time

import pytest

from support.client import Connection, wait_until
from support.node import Node, run_segue
from support.settings import config_for
from test_drive import config, fetch_all, ready_to_keep, wait_for_writes

MIB = 1 << 20
SLICE = 262144


@pytest.fixture
def node(origin):
    with Node(config_for(origin.url)) as running:
        yield running


# --- heads at their limits ---


def longest_head():
    """A request whose line and fields are exactly as long as they may be, without the empty line that ends it."""
    line = b"GET /" + b"a" * (8192 - len("GET /") - len(" HTTP/1.1")) + b" HTTP/1.1\r\n"
    host = b"Host: localhost\r\n"
    fields = host + b"A: " + b"x" * (8192 - len(host) - 5) + b"\r\n"
    for name in (b"B", b"C", b"D"):
        fields += name + b": " + b"x" * 8187 + b"\r\n"
    assert len(fields) == 32768
    return line + fields


@pytest.mark.parametrize("before", [b"", b"\r\n"], ids=["plain", "empty_line_before"])
@pytest.mark.parametrize("missing", [0, 1, 2])
def test_the_longest_head_cut_before_its_end_stops_nobody(node, origin, before, missing):
    origin.add("/t", 1000)
    with node.connect() as slow:
        whole = before + longest_head() + b"\r\n"
        slow.send(whole[: len(whole) - missing])
        assert node.fetch("/t").status == 200  # it is read by then, or will be
        if missing:
            slow.send(whole[len(whole) - missing :])
        assert slow.read_response().status in (400, 404, 414, 431)
    assert node.fetch("/t").status == 200


def test_a_post_with_a_long_head_and_its_body_at_once_does_not_stop_the_admin_listener(node):
    head = b"POST /" + b"a" * 5000 + b" HTTP/1.1\r\nHost: evil.example\r\nContent-Length: 60000\r\n\r\n"
    for _ in range(3):
        with Connection(node.admin_socket) as connection:
            connection.send(head + b"x" * 60000)
            assert connection.read_head()
    assert node.admin("/live").status == 200


# --- a version that is replaced by one that is not stored ---


def test_a_new_version_that_is_not_stored_has_only_its_own_fields(node, origin):
    track = origin.add("/t", 8 * MIB, etag='"AAAA"', fields={"X-Version": "old"})
    node.fetch("/t", Range="bytes=0-99")
    track.etag, track.fields = '"BBBB"', {"X-Version": "new", "Cache-Control": "no-store"}
    track.accept_ranges = False
    response = node.fetch("/t", Range="bytes=6000000-6000099")
    assert response.status == 206
    assert response.body == track.body[6000000:6000100]
    assert response.all("X-Version") == ["new"]
    assert response.all("ETag") == ['"BBBB"']
    for name in ("Content-Range", "Cache-Status", "Date"):
        assert len(response.all(name)) == 1, name


# --- collapsed requests ---


@pytest.mark.parametrize(
    "attributes",
    [
        {"etag": 'W/"weak"', "last_modified": "", "fields": {"Cache-Control": "no-cache"}},
        {"status": 404, "fields": {"Cache-Control": "no-cache"}},
    ],
    ids=["weak_no_cache", "missing_no_cache"],
)
def test_who_waited_for_an_answer_takes_it_though_it_is_stale_at_once(node, origin, attributes):
    origin.add("/t", 1000, delay=0.3, **attributes)
    with concurrent.futures.ThreadPoolExecutor(20) as pool:
        answers = list(pool.map(lambda _: node.fetch("/t").status, range(20)))
    assert set(answers) == {attributes.get("status", 200)}
    # One for those who came together, one or two for who came when it was over.
    assert len(origin.requests_for("/t")) <= 3


# --- passed through ---

NO_STORE = {"Cache-Control": "no-store"}


def test_if_range_is_honoured_on_what_is_passed_through(node, origin):
    track = origin.add("/t", 1000, etag='"v2"', fields=NO_STORE)
    for _ in range(2):  # a contact, then a pass
        other = node.fetch("/t", Range="bytes=50-99", If_Range='"v1"')
        assert (other.status, other.body) == (200, track.body)
        same = node.fetch("/t", Range="bytes=50-99", If_Range='"v2"')
        assert (same.status, same.body) == (206, track.body[50:100])


@pytest.mark.parametrize("wanted", ["bytes=-0", "bytes=18446744073709551615-", "bytes=5000-"])
def test_a_range_of_nothing_is_416_also_on_what_is_passed_through(node, origin, wanted):
    origin.add("/t", 1000, fields=NO_STORE)
    for _ in range(2):
        refused = node.fetch("/t", Range=wanted)
        assert (refused.status, refused["Content-Range"], refused.body) == (416, "bytes */1000", b"")


def test_a_head_of_what_is_passed_through_costs_the_origin_a_byte(node, origin):
    origin.add("/t", 4 * MIB, fields=NO_STORE)
    node.fetch("/t", Range="bytes=0-0")
    origin.forget()
    with node.connect() as connection:
        connection.request("/t", "HEAD")
        response = connection.read_response(head_request=True)
    assert (response.status, response["Content-Length"]) == (200, str(4 * MIB))
    assert [request.range for request in origin.requests_for("/t")] == [(0, 0)]


# --- purges ---


def test_a_soft_purge_by_url_reaches_variants(origin):
    with Node(config_for(origin.url, site='forward = ["x-kind"]')) as node:
        origin.add("/v", 1000, fields={"Vary": "X-Kind"})
        node.fetch("/v", X_Kind="a")
        assert node.fetch("/v", X_Kind="a").is_hit
        assert node.admin("/purge?url=http://localhost/v&soft=1", "POST").status == 200
        origin.forget()
        assert not node.fetch("/v", X_Kind="a").is_hit
        assert len(origin.requests_for("/v")) == 1


def test_a_prefix_is_never_widened_by_its_query(node, origin):
    origin.add("/abc", 1000)
    node.fetch("/abc")
    assert node.admin("/purge?prefix=http://localhost/a%3F", "POST").status == 400
    assert node.fetch("/abc").is_hit


def test_a_page_of_another_port_of_this_host_purges_nothing(node):
    def purge(origin_field):
        with Connection(node.admin_socket) as connection:
            connection.send(
                "POST /purge?everything=1 HTTP/1.1\r\nHost: localhost:9180\r\n"
                f"Origin: {origin_field}\r\nContent-Length: 0\r\n\r\n"
            )
            return connection.read_response().status

    assert purge("http://localhost:3000") == 403
    assert purge("http://localhost:9180") == 200


# --- hostile origins ---


def test_a_claimed_length_of_a_quarter_of_an_exabyte_costs_no_time(node, origin):
    def claims(handler, request):
        first = request.range[0] if request.range and request.range[0] != "suffix" else 0
        extra = [f"Content-Range: bytes {first}-{first + SLICE - 1}/{1 << 48}", 'ETag: "huge"']
        handler.head(206, SLICE, extra=extra)
        handler.send(b"x" * SLICE)
        return True

    origin.add("/huge", 1000, script=claims)
    origin.add("/t", 1000)
    node.fetch("/t")
    for _ in range(3):
        with node.connect() as connection:
            connection.request("/huge", Range="bytes=0-")
            connection.read_head()
            began = time.monotonic()
            assert node.fetch("/t").is_hit
            assert time.monotonic() - began < 5  # it stood still for more than 20 s


def test_answers_of_503_close_no_origin(node, origin):
    for i in range(8):
        origin.add(f"/busy/{i}", 100, status=503)
        node.fetch(f"/busy/{i}")
    origin.add("/t", 1000)
    assert node.fetch("/t").status == 200


def test_a_header_too_long_to_be_sent_is_502_every_time(node, origin):
    origin.add("/fat", 1000, fields={f"X-{i}": "y" * 4000 for i in range(5)})
    for _ in range(3):
        assert node.fetch("/fat").status == 502


# --- drives ---


def test_drives_formatted_each_for_itself_serve_together(origin, tmp_path):
    paths = [tmp_path / "a.drive", tmp_path / "b.drive"]
    for path in paths:
        run_segue("cache", "format", str(path), "--size", "128MiB", "--sparse", check=True)
    bodies = {f"/t/{i}": origin.add(f"/t/{i}", MIB).body for i in range(20)}
    with Node(config(origin, paths, size="128MiB")) as node:
        assert "drive_unusable" not in node.log
        ready_to_keep(node, origin)
        fetch_all(node, bodies)
        wait_for_writes(node)
        assert node.metric("segue_drive_online") == 2
    # A wiped drive follows the warm one, wherever it stands in the list.
    run_segue("cache", "wipe", str(paths[1]), check=True)
    with Node(config(origin, paths, size="128MiB")) as node:
        assert node.metric("segue_drive_online") == 2
        assert node.metric("segue_drive_slots_live") > 0


def test_what_a_drive_gave_is_counted_as_the_drives(origin, tmp_path):
    body = origin.add("/t", 5 * MIB).body
    with Node(config(origin, [tmp_path])) as node:
        ready_to_keep(node, origin)
        fetch_all(node, {"/t": body})
        wait_for_writes(node)
    origin.forget()
    with Node(config(origin, [tmp_path])) as node:
        assert node.fetch("/t").body == body
        # Counted when the response has ended, which its client may know a moment earlier.
        wait_until(
            lambda: node.metrics()['segue_body_bytes_total{tier="drive"}'] == len(body), what="the drive's bytes"
        )
    assert origin.body_bytes == 0
