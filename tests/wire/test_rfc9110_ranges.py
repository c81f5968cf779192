"""RFC 9110 §14 and what real players need of it, on a miss, on a hit and by HEAD alike."""
import pytest

from support.client import Connection, fetch, wait_until
from support.origin import track_bytes

LENGTH = 700_001  # three slices, the last one short
BODY = track_bytes("/t/1", LENGTH)

RANGES = [  # asked, first, end
    ("bytes=0-1", 0, 2),  # Apple's probe
    ("bytes=0-0", 0, 1),
    ("bytes=0-65535", 0, 65536),
    ("bytes=0-", 0, LENGTH),  # Chromium, ffmpeg, VLC
    ("bytes=0-9999999", 0, LENGTH),  # past the end: clipped
    ("bytes=262143-262144", 262143, 262145),  # across a slice border
    ("bytes=262144-524287", 262144, 524288),  # exactly one slice
    ("bytes=524288-", 524288, LENGTH),
    (f"bytes={LENGTH - 1}-", LENGTH - 1, LENGTH),
    ("bytes=-1", LENGTH - 1, LENGTH),
    ("bytes=-65307", LENGTH - 65307, LENGTH),  # the last Ogg page
    ("bytes=-9999999", 0, LENGTH),  # longer than the track
    ("BYTES=5-9", 5, 10),  # the unit is case-insensitive
]


@pytest.fixture(autouse=True)
def track(origin):
    return origin.add("/t/1", LENGTH)


@pytest.mark.parametrize("asked, first, end", RANGES, ids=[case[0] for case in RANGES])
def test_a_range_is_206_with_the_right_bytes_on_miss_and_hit(node, origin, asked, first, end):
    for is_hit in (False, True):
        response = node.fetch("/t/1", Range=asked)
        assert response.status == 206
        assert response.content_range == (first, end - 1, LENGTH)
        assert int(response["Content-Length"]) == end - first
        assert response.body == BODY[first:end]
        assert response["ETag"] == '"v1"'
        assert response["Accept-Ranges"] == "bytes"
        assert response["Content-Type"] == "audio/ogg"
        assert response.is_hit == is_hit, response["Cache-Status"]
    assert response.get("Content-Encoding") is None


def test_without_range_the_answer_is_200_with_a_length(node):
    for _ in range(2):
        response = node.fetch("/t/1")
        assert (response.status, response["Content-Length"], response["Accept-Ranges"]) == (200, str(LENGTH), "bytes")
        assert response.body == BODY
        assert response.get("Content-Range") is None


@pytest.mark.parametrize("asked", [f"bytes={LENGTH}-", f"bytes={LENGTH}-{LENGTH + 5}", "bytes=9999999-"])
def test_past_the_end_is_416_and_keeps_the_connection(node, asked):
    with node.connect() as connection:
        for _ in range(2):  # unknown and known length
            connection.request("/t/1", Range=asked)
            response = connection.read_response()
            assert response.status == 416
            assert response["Content-Range"] == f"bytes */{LENGTH}"
            assert response["ETag"] == '"v1"'
        connection.request("/t/1", Range="bytes=0-3")
        assert connection.read_response().body == BODY[:4]


@pytest.mark.parametrize(
    "asked", ["bytes=", "bytes=a-b", "bytes=5-3", "bytes", "seconds=0-1", "bytes=0-1-2", "bytes 0-1", "bytes=--1"]
)
def test_an_invalid_range_or_another_unit_is_ignored(node, asked):
    response = node.fetch("/t/1", Range=asked)
    assert response.status == 200
    assert response.body == BODY


def test_numbers_that_overflow_are_no_way_to_other_bytes(node):
    node.fetch("/t/1")
    assert node.fetch("/t/1", Range="bytes=0-18446744073709551615").body == BODY
    assert node.fetch("/t/1", Range="bytes=0-99999999999999999999999").body == BODY
    assert node.fetch("/t/1", Range="bytes=18446744073709551615-").status == 416
    assert node.fetch("/t/1", Range="bytes=-18446744073709551615").body == BODY


def parse_multipart(response):
    boundary = response["Content-Type"].partition("boundary=")[2]
    assert response["Content-Type"].startswith("multipart/byteranges;")
    parts = []
    body = response.body
    sections = body.split(b"--" + boundary.encode())
    assert sections[-1].strip() == b"--"
    for section in sections[1:-1]:
        head, _, data = section.partition(b"\r\n\r\n")
        fields = dict(line.split(b": ", 1) for line in head.strip().split(b"\r\n"))
        parts.append((fields[b"Content-Range"].decode(), fields[b"Content-Type"].decode(), data.removesuffix(b"\r\n")))
    return parts


def test_several_ranges_are_multipart_byteranges_with_a_known_length(node):
    for _ in range(2):
        response = node.fetch("/t/1", Range="bytes=0-9, 300000-300099, -5")
        assert response.status == 206
        assert len(response.all("Content-Type")) == 1
        assert int(response["Content-Length"]) == len(response.body)
        assert response.get("Content-Range") is None
        assert parse_multipart(response) == [
            (f"bytes 0-9/{LENGTH}", "audio/ogg", BODY[:10]),
            (f"bytes 300000-300099/{LENGTH}", "audio/ogg", BODY[300000:300100]),
            (f"bytes {LENGTH - 5}-{LENGTH - 1}/{LENGTH}", "audio/ogg", BODY[-5:]),
        ]


def test_overlapping_ranges_are_coalesced_and_never_more_than_the_representation(node):
    response = node.fetch("/t/1", Range="bytes=" + ",".join(f"{i}-" for i in range(10)))
    assert response.status == 206
    assert len(response.body) <= LENGTH + 200
    assert (
        node.fetch("/t/1", Range="bytes=" + ",".join("0-" for _ in range(200))).status == 200
    )  # over the limit: ignored


def test_head_has_the_fields_of_get_and_no_body(node):
    for _ in range(2):
        response = node.fetch("/t/1", method="HEAD")
        assert (response.status, response["Content-Length"], response["ETag"]) == (200, str(LENGTH), '"v1"')
        assert response["Accept-Ranges"] == "bytes"
    with Connection(node.address) as connection:  # a body after HEAD would be read as the next answer
        connection.request("/t/1", method="HEAD", Range="bytes=0-1")
        assert connection.read_response(head_request=True).status == 200
        connection.request("/t/1", Range="bytes=0-1")
        assert connection.read_response().body == BODY[:2]


CONDITIONS = [  # request fields, status without Range, status with bytes=0-3
    ({"If_None_Match": '"v1"'}, 304, 304),
    ({"If_None_Match": '"other", W/"v1"'}, 304, 304),
    ({"If_None_Match": "*"}, 304, 304),
    ({"If_None_Match": '"other"'}, 200, 206),
    ({"If_Match": '"v1"'}, 200, 206),
    ({"If_Match": '"other"'}, 412, 412),
    ({"If_Match": "*"}, 200, 206),
    ({"If_Modified_Since": "Mon, 01 Jan 2024 00:00:00 GMT"}, 304, 304),
    ({"If_Modified_Since": "Sun, 31 Dec 2023 00:00:00 GMT"}, 200, 206),
    ({"If_Unmodified_Since": "Sun, 31 Dec 2023 00:00:00 GMT"}, 412, 412),
    ({"If_Unmodified_Since": "Mon, 01 Jan 2024 00:00:00 GMT"}, 200, 206),
    ({"If_Range": '"v1"'}, 200, 206),
    ({"If_Range": '"other"'}, 200, 200),
    ({"If_Range": 'W/"v1"'}, 200, 200),
    ({"If_Range": "Mon, 01 Jan 2024 00:00:00 GMT"}, 200, 206),
]


@pytest.mark.parametrize("fields, plain, ranged", CONDITIONS, ids=[str(case[0]) for case in CONDITIONS])
def test_preconditions_are_evaluated_here_on_miss_and_hit(node, fields, plain, ranged):
    for _ in range(2):
        response = node.fetch("/t/1", **fields)
        assert response.status == plain
        assert response["ETag"] == '"v1"'
        response = node.fetch("/t/1", Range="bytes=0-3", **fields)
        assert response.status == ranged
        assert response.body == {206: BODY[:4], 200: BODY}.get(ranged, b"")


def test_the_key_ignores_cmcd_and_the_origin_never_sees_it(node, origin):
    node.fetch("/t/1?CMCD=bl%3D100", Range="bytes=0-3", CMCD_Request="bl=100")
    assert node.fetch("/t/1?CMCD=bl%3D200", Range="bytes=0-3").is_hit
    for request in origin.requests:
        assert "CMCD" not in request.target
        assert not [name for name in request.fields if "cmcd" in name]


def test_cors_is_there_on_answers_errors_and_preflight(node):
    for response in (
        node.fetch("/t/1", Range="bytes=0-1", Origin="https://player.example"),
        node.fetch("/none", Origin="https://player.example"),
        node.fetch("/t/1", Range="bytes=9999999-", Origin="https://player.example"),
    ):
        assert response["Access-Control-Allow-Origin"] == "*"
        exposed = response["Access-Control-Expose-Headers"]
        for name in ("Content-Range", "Accept-Ranges", "Content-Length", "ETag", "Age", "Cache-Status"):
            assert name in exposed
    preflight = node.fetch(
        "/t/1",
        method="OPTIONS",
        Origin="https://player.example",
        Access_Control_Request_Method="GET",
        Access_Control_Request_Headers="range",
    )
    assert preflight.status == 204
    assert "Range" in preflight["Access-Control-Allow-Headers"]
    assert "GET" in preflight["Access-Control-Allow-Methods"]


def test_methods_we_do_not_serve_are_405_with_allow(node):
    for method in ("POST", "PUT", "DELETE", "PATCH", "TRACE", "BREW"):
        response = node.fetch("/t/1", method=method)
        assert response.status == 405
        assert response["Allow"] == "GET, HEAD, OPTIONS"


def test_an_aborted_client_frees_everything_within_a_second(node, origin):
    origin.add("/slow", 8 << 20, rate=2 << 20)
    connection = Connection(node.address)
    connection.request("/slow")
    connection.read_head()
    connection.reset()
    wait_until(lambda: node.metric("segue_requests_in_flight") == 0, seconds=1, what="no request in flight")


def test_unknown_host_is_421(node):
    assert fetch(node.address, "/t/1", host="other.example").status == 421
