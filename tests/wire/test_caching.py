"""RFC 9111 as far as an edge for audio needs it: how long an answer is fresh, what happens then, what is never stored,
and which fields pass from one side to the other."""
import concurrent.futures
import email.utils
import re
import threading
import time

import pytest

from support.client import wait_until
from support.faults import FAULTS, with_status
from support.node import Node
from support.origin import track_bytes
from support.settings import config_for

LENGTH = 1000
SLICE = 262144


def node_for(origin, site=""):
    return Node(config_for(origin.url, site=site))


def ttl_of(response):
    return int(response.cache_status["ttl"])


# --- how long ---

ONE_HOUR = 'ttl = { default = "1h", negative = "10s", stale_if_error = "0s" }'
LIFETIMES = [  # site, fields of the origin, seconds
    (ONE_HOUR, {}, 3600),
    (ONE_HOUR, {"Cache-Control": "max-age=100"}, 100),
    (ONE_HOUR, {"Cache-Control": "public, MAX-AGE=100"}, 100),
    (ONE_HOUR, {"Cache-Control": 'max-age="100"'}, 100),
    (ONE_HOUR, {"Cache-Control": "max-age=100, s-maxage=200"}, 200),
    (ONE_HOUR, {"Cache-Control": "max-age=100, max-age=50"}, 50),
    (ONE_HOUR, {"Cache-Control": "max-age=100", "CDN-Cache-Control": "max-age=300"}, 300),
    (ONE_HOUR, {"Cache-Control": "max-age=100", "Age": "40"}, 60),
    (ONE_HOUR, {"Cache-Control": "max-age=9999999999999"}, 2147483648),
    (ONE_HOUR, {"Expires": lambda now: now + 500}, 500),
    (ONE_HOUR, {"Expires": lambda now: now + 500, "Cache-Control": "max-age=100"}, 100),
    (ONE_HOUR.replace("}", ', override = "10m" }'), {"Cache-Control": "max-age=5"}, 600),
    (ONE_HOUR.replace("}", ', override = "10m" }'), {}, 600),
]


@pytest.mark.parametrize(
    "site, fields, seconds",
    LIFETIMES,
    ids=[re.sub(" at 0x[0-9a-f]+", "", f"{fields}-{seconds}") for _, fields, seconds in LIFETIMES],
)
def test_the_lifetime_is_what_the_origin_or_else_the_site_says(origin, site, fields, seconds):
    now = int(time.time())
    origin.add(
        "/t",
        LENGTH,
        fields={
            name: value if isinstance(value, str) else email.utils.formatdate(value(now), usegmt=True)
            for name, value in fields.items()
        },
    )
    with node_for(origin, site) as node:
        for is_hit in (False, True):
            response = node.fetch("/t")
            assert response.is_hit == is_hit
            assert seconds - 4 <= ttl_of(response) <= seconds
        assert len(origin.requests) == 1


@pytest.mark.parametrize(
    "fields",
    [
        {"Cache-Control": "max-age=0"},
        {"Cache-Control": "no-cache"},
        {"Cache-Control": "max-age=abc"},
        {"Expires": "0"},
        {"Expires": "Thu, 01 Jan 1970 00:00:00 GMT"},
        {"Cache-Control": "max-age=60", "Age": "60"},
        {"Cache-Control": "s-maxage=0, max-age=100"},
    ],
    ids=str,
)
def test_what_is_stale_at_once_is_asked_for_each_time_by_its_validator(node, origin, fields):
    origin.add("/t", LENGTH, fields=fields)
    for asked in range(3):
        response = node.fetch("/t")
        assert (response.status, response.body) == (200, track_bytes("/t", LENGTH))
        assert len(origin.requests_for("/t")) == asked + 1
    for request in origin.requests_for("/t")[1:]:
        assert request.fields["if-none-match"] == '"v1"'


def test_age_and_date_tell_how_old_the_answer_is(node, origin):
    origin.add("/t", LENGTH, fields={"Cache-Control": "max-age=3600", "Age": "1000"})
    first = node.fetch("/t")
    assert 1000 <= int(first["Age"]) <= 1003
    wait_until(lambda: int(node.fetch("/t")["Age"]) > int(first["Age"]), seconds=5, every=0.05, what="a grown Age")
    again = node.fetch("/t")
    assert again["Date"] == first["Date"], "Date is that of the stored answer"
    assert abs(ttl_of(again) + int(again["Age"]) - 3600) <= 1


@pytest.mark.slow
def test_an_answer_expires_when_its_time_is_over(node, origin):
    origin.add("/t", LENGTH, fields={"Cache-Control": "max-age=2"})
    node.fetch("/t")
    assert node.fetch("/t").is_hit
    wait_until(lambda: not node.fetch("/t").is_hit, seconds=6, every=0.05, what="a revalidation")
    assert origin.requests_for("/t")[-1].fields["if-none-match"] == '"v1"'


# --- revalidation ---


def test_fifty_waiters_are_one_conditional_request(node, origin):
    track = origin.add("/t", LENGTH, fields={"Cache-Control": "max-age=0"}, delay=0.1)
    node.fetch("/t")
    origin.forget()
    barrier = threading.Barrier(50)

    def one(_):
        barrier.wait()
        return node.fetch("/t", Range="bytes=10-19")

    with concurrent.futures.ThreadPoolExecutor(50) as pool:
        for response in pool.map(one, range(50)):
            assert response.status == 206
            assert response.body == track.body[10:20]
    requests = origin.requests_for("/t")
    assert len(requests) <= 2, "a thread that starts late may need its own"
    assert all(request.fields["if-none-match"] == '"v1"' for request in requests)


def test_a_304_freshens_the_stored_fields_and_the_lifetime(node, origin):
    track = origin.add("/t", LENGTH, fields={"Cache-Control": "max-age=0", "X-Mark": "old", "X-Kept": "kept"})
    assert node.fetch("/t")["X-Mark"] == "old"
    track.fields = {"Cache-Control": "max-age=3600", "X-Mark": "new"}
    for is_hit in (False, True):
        response = node.fetch("/t")
        assert (response["X-Mark"], response["X-Kept"], response["ETag"], response.body) == (
            "new",
            "kept",
            '"v1"',
            track.body,
        )
        assert response.is_hit == is_hit
    assert len(origin.requests) == 2


def test_a_changed_track_costs_one_slice_beside_the_condition(node, origin):
    track = origin.add("/t", 10 * SLICE, fields={"Cache-Control": "max-age=0"})
    assert node.fetch("/t").body == track.body
    origin.forget()
    track.body, track.etag, track.fields = track_bytes("/changed", 10 * SLICE), '"v2"', {}
    response = node.fetch("/t", Range=f"bytes={3 * SLICE}-{3 * SLICE + 99}")
    assert (response["ETag"], response.body) == ('"v2"', track.body[3 * SLICE : 3 * SLICE + 100])
    (request,) = origin.requests_for("/t")
    assert request.fields["if-none-match"] == '"v1"'
    assert request.range[1] + 1 - request.range[0] == SLICE
    response = node.fetch("/t")
    assert (response["ETag"], response.body) == ('"v2"', track.body)


def test_stale_while_revalidate_serves_at_once_and_asks_behind(node, origin):
    track = origin.add("/t", LENGTH, fields={"Cache-Control": "max-age=0, stale-while-revalidate=60"})
    node.fetch("/t")
    old, served = track.body, threading.Event()
    track.body, track.etag = track_bytes("/new", LENGTH), '"v2"'
    new = origin.copy_of(track)
    track.script = lambda handler, request: served.wait(10) and handler.serve_track(new, request)
    origin.forget()
    response = node.fetch("/t")
    assert (response.body, response.is_hit) == (old, True)  # though the origin has not answered
    served.set()
    wait_until(lambda: node.fetch("/t").body == track.body, every=0.05, what="the new version")
    assert len(origin.requests_for("/t")) >= 1


@pytest.mark.slow
def test_stale_if_error_ends_with_its_time(node, origin):
    origin.add("/t", LENGTH, fields={"Cache-Control": "max-age=0, stale-if-error=3"})
    node.fetch("/t")
    origin.misbehave("/t", FAULTS["server_error"])
    assert node.fetch("/t").status == 200
    wait_until(lambda: node.fetch("/t").status == 500, seconds=8, every=0.1, what="500")


# --- never stored ---


@pytest.mark.parametrize("control", ["no-store", "private", "max-age=60, no-store", "PRIVATE", 'private="x-a"'])
def test_what_must_not_be_stored_is_passed_through_as_the_range_that_was_asked(node, origin, control):
    track = origin.add("/t", 700_001, fields={"Cache-Control": control})
    for _ in range(3):
        before = len(origin.requests_for("/t"))
        response = node.fetch("/t", Range="bytes=300000-300099")
        assert response.status == 206
        assert response.content_range == (300_000, 300_099, 700_001)
        assert response.body == track.body[300_000:300_100]
        assert "hit" not in response.cache_status
        assert "stored" not in response.cache_status
        assert 1 <= len(origin.requests_for("/t")) - before <= 2
    assert node.fetch("/t").body == track.body
    track.body = track_bytes("/changed", 700_001)
    assert node.fetch("/t").body == track.body


def test_waiters_behind_an_answer_that_is_not_stored_get_their_own(node, origin):
    bodies = {}

    def script(handler, request):
        body = f"for {request.fields.get('x-user')}".encode().ljust(20)
        handler.send(f"HTTP/1.1 200 OK\r\nCache-Control: private\r\nContent-Length: {len(body)}\r\n\r\n")
        handler.send(body)
        return True

    origin.add("/t", 0).script = script
    with node_for(origin, 'forward = ["x-user"]') as personal:
        barrier = threading.Barrier(20)

        def one(i):
            barrier.wait()
            bodies[i] = personal.fetch("/t", X_User=str(i)).body

        with concurrent.futures.ThreadPoolExecutor(20) as pool:
            list(pool.map(one, range(20)))
    assert bodies == {i: f"for {i}".encode().ljust(20) for i in range(20)}
    assert node.process.poll() is None


def test_authorization_that_reaches_the_origin_keeps_the_answer_out_of_the_cache(origin):
    origin.add("/t", LENGTH)
    origin.add("/public", LENGTH, fields={"Cache-Control": "public, max-age=60"})
    with node_for(origin, 'forward = ["authorization"]') as node:
        for _ in range(2):
            assert not node.fetch("/t", Authorization="Bearer a").is_hit
        assert origin.requests_for("/t")[0].fields["authorization"] == "Bearer a"
        node.fetch("/public", Authorization="Bearer a")
        assert node.fetch("/public", Authorization="Bearer b").is_hit


def test_authorization_that_stays_here_does_not_keep_it_out(node, origin):
    origin.add("/t", LENGTH)
    node.fetch("/t", Authorization="Bearer a")
    assert node.fetch("/t", Authorization="Bearer b").is_hit
    assert "authorization" not in origin.requests[0].fields


def test_set_cookie_reaches_the_client_it_was_set_for_and_nobody_else(node, origin):
    origin.add("/t", LENGTH, fields={"Set-Cookie": "id=1", "Set-Cookie2": "id=1"})
    origin.add("/passed", LENGTH, fields={"Set-Cookie": "id=1", "Cache-Control": "no-store"})
    for target, cookies in (("/t", ["id=1"]), ("/t", []), ("/passed", ["id=1"]), ("/passed", ["id=1"])):
        response = node.fetch(target)
        assert response.status == 200
        assert response.all("Set-Cookie") == cookies
        assert not response.all("Set-Cookie2")


# --- variants ---


def by_language(origin):
    def script(handler, request):
        language = request.fields.get("accept-language", "none")
        body = language.encode() * 10
        first = request.range[0] if request.range else 0
        end = min(request.range[1] + 1, len(body)) if request.range else len(body)
        content_range = f"Content-Range: bytes {first}-{end - 1}/{len(body)}\r\n" if request.range else ""
        handler.send(
            f'HTTP/1.1 {206 if request.range else 200} OK\r\nETag: "{language}"\r\n'
            "Vary: Accept-Language, Accept-Encoding\r\nCache-Control: max-age=60\r\n"
            f"{content_range}Content-Length: {end - first}\r\n\r\n"
        )
        handler.send(body[first:end])
        return True

    origin.add("/t", 0).script = script


def test_variants_are_told_apart_by_the_fields_the_origin_sees(origin):
    by_language(origin)
    with node_for(origin, 'forward = ["accept-language"]') as node:
        for round_is_hit in (False, True):
            for language in ("en", "de", "fr"):
                response = node.fetch("/t", Accept_Language=language)
                assert (response.body, response["ETag"]) == (language.encode() * 10, f'"{language}"')
                assert response.is_hit == round_is_hit
        assert len(origin.requests) == 3
        assert "Accept-Language" in node.fetch("/t", Accept_Language="en")["Vary"]


def test_what_varies_by_a_field_that_is_not_passed_on_is_one_variant(node, origin):
    by_language(origin)
    node.fetch("/t", Accept_Language="en")
    response = node.fetch("/t", Accept_Language="de")
    assert response.is_hit
    assert "accept-language" not in origin.requests[0].fields


def test_more_variants_than_are_kept_are_still_right(origin):
    by_language(origin)
    with node_for(origin, 'forward = ["accept-language"]') as node:
        for _ in range(2):
            for i in range(20):
                assert node.fetch("/t", Accept_Language=f"l{i:02}").body == f"l{i:02}".encode() * 10


def test_vary_by_everything_is_never_stored(node, origin):
    origin.add("/t", LENGTH, fields={"Vary": "*"})
    for _ in range(2):
        assert not node.fetch("/t").is_hit
    assert len(origin.requests_for("/t")) >= 2


# --- keys ---

QUERIES = [  # setting, the first query, queries that are the same key, queries that are another, what the origin sees
    ('query = "keep"', "?a=1&b=2", ["?a=1&b=2", "?a=1&b=2&CMCD=x"], ["", "?b=2&a=1", "?a=1"], "?a=1&b=2"),
    ('query = "drop"', "?a=1&b=2", ["", "?", "?b=2", "?x"], [], ""),
    ('query = ["v"]', "?v=1&t=2", ["?v=1", "?t=9&v=1", "?v=1&v2=3"], ["?v=2", ""], "?v=1"),
]


@pytest.mark.parametrize("site, first, same, others, seen", QUERIES, ids=[case[0] for case in QUERIES])
def test_the_query_belongs_to_the_key_as_the_site_says(origin, site, first, same, others, seen):
    for query in [seen, *others]:
        origin.add(f"/t{query}", LENGTH)
    with node_for(origin, site) as node:
        assert node.fetch(f"/t{first}").status == 200
        assert origin.requests[0].target == f"/t{seen}"
        for query in same:
            assert node.fetch(f"/t{query}").is_hit, query
        for query in others:
            assert not node.fetch(f"/t{query}").is_hit, query
        assert {request.target for request in origin.requests} <= {f"/t{query}" for query in [seen, *others]} | {"/t"}


def test_sites_never_share_a_key(origin):
    origin.add("/t", LENGTH)
    with Node(
        config_for(origin.url) + '[[site]]\nname = "other"\nhosts = ["other.example"]\norigin = "store"\n'
    ) as node:
        node.fetch("/t")
        assert not node.fetch("/t", host="other.example").is_hit
        assert node.fetch("/t", host="other.example").is_hit
        assert node.fetch("/t").is_hit


# --- fields ---

HOSTILE_FIELDS = {
    "Cookie": "id=1",
    "Referer": "https://a.example/",
    "Origin": "https://a.example",
    "X_Forwarded_For": "1.2.3.4",
    "X_Forwarded_Host": "evil.example",
    "X_Original_URL": "/admin",
    "X_HTTP_Method_Override": "DELETE",
    "Forwarded": "for=1.2.3.4",
    "Accept_Encoding": "gzip, br",
    "Accept": "audio/*",
    "User_Agent": "player/1",
    "Via": "1.0 evil",
    "Authorization": "Bearer secret",
    "Proxy_Authorization": "Basic a",
    "TE": "trailers",
    "Connection": "X-Listed, keep-alive",
    "Cache_Control": "no-cache",
    "Pragma": "no-cache",
    "If_None_Match": '"x"',
    "If_Modified_Since": "Mon, 01 Jan 2024 00:00:00 GMT",
    "CMCD_Session": 'sid="a"',
    "X_Listed": "v",
}


def test_the_origin_sees_exactly_these_fields(node, origin):
    origin.add("/t", LENGTH)
    node.fetch("/t", Range="bytes=0-1", **HOSTILE_FIELDS)
    (request,) = origin.requests
    assert set(request.fields) == {"host", "range", "accept-encoding", "user-agent", "via", "cdn-loop", "traceparent"}
    assert request.fields["host"] == f"127.0.0.1:{origin.port}"
    assert request.fields["accept-encoding"] == "identity"
    assert re.fullmatch(r"Segue/[\d.]+", request.fields["user-agent"])
    assert request.fields["via"] == "1.0 evil, 1.1 test-node"
    assert request.fields["cdn-loop"] == "test-node"


def test_what_the_site_lists_is_passed_on_and_nothing_else(origin):
    origin.add("/t", LENGTH)
    with node_for(origin, 'forward = ["x-listed", "referer"]') as node:
        node.fetch("/t", **{**HOSTILE_FIELDS, "Connection": "keep-alive"})
        fields = origin.requests[0].fields
        assert (fields["x-listed"], fields["referer"]) == ("v", "https://a.example/")
        assert set(fields) == {
            "host",
            "range",
            "accept-encoding",
            "user-agent",
            "via",
            "cdn-loop",
            "traceparent",
            "x-listed",
            "referer",
        }


def test_a_trace_is_carried_on_and_begun_where_there_is_none(node, origin):
    trace = "0af7651916cd43dd8448eb211c80319c"
    for i, sent in enumerate(
        [f"00-{trace}-b7ad6b7169203331-01", None, "00-zz-b7ad6b7169203331-01", f"00-{'0' * 32}-b7ad6b7169203331-01"]
    ):
        origin.add(f"/t/{i}", LENGTH)
        node.fetch(f"/t/{i}", **({"traceparent": sent} if sent else {}))
        seen = origin.requests_for(f"/t/{i}")[0].fields["traceparent"]
        match = re.fullmatch(r"00-([0-9a-f]{32})-([0-9a-f]{16})-(0[01])", seen)
        assert match, seen
        assert (match[1] == trace) == (i == 0)
        assert match[1] != "0" * 32
        assert match[2] not in ("b7ad6b7169203331", "0" * 16)


def test_fields_of_the_origin_reach_the_client_but_not_those_of_the_hop(node, origin):
    origin.add(
        "/t",
        LENGTH,
        fields={
            "X-Track": "a, b",
            "Content-Language": "en",
            "Keep-Alive": "timeout=5",
            "Connection": "X-Hop",
            "X-Hop": "h",
            "Proxy-Authenticate": "Basic",
            "Upgrade": "h2c",
            "Via": "1.1 store",
            "Alt-Svc": 'h3=":443"',
        },
    )
    for _ in range(2):
        response = node.fetch("/t")
        assert (response["X-Track"], response["Content-Language"], response["Content-Type"]) == (
            "a, b",
            "en",
            "audio/ogg",
        )
        assert response["Last-Modified"] == "Mon, 01 Jan 2024 00:00:00 GMT"
        assert "test-node" in response["Via"]
        for name in ("Keep-Alive", "X-Hop", "Proxy-Authenticate", "Upgrade", "Alt-Svc", "Connection"):
            assert response.get(name) is None, name


# --- negative answers ---


@pytest.mark.parametrize("status", [404, 410])
def test_what_is_missing_is_remembered_for_a_while(origin, status):
    def script(handler, _):
        handler.send(f"HTTP/1.1 {status} Missing\r\nContent-Type: text/plain\r\nContent-Length: 5\r\n\r\nsorry")
        return True

    origin.add("/t", LENGTH).script = script
    with node_for(origin, 'ttl = { negative = "2s" }') as node:
        for is_hit in (False, True):
            for method in ("GET", "HEAD"):
                response = node.fetch("/t", method=method, Range="bytes=0-1")
                assert response.status == status
                assert response["Content-Length"] == "5"
                assert response.body == (b"sorry" if method == "GET" else b"")
                assert response.is_hit == (is_hit or method == "HEAD")
        assert len(origin.requests) == 1
        origin.behave("/t")
        wait_until(lambda: node.fetch("/t").status == 200, seconds=6, every=0.05, what="the track")


def test_an_error_page_larger_than_a_small_answer_is_passed_through_whole(node, origin):
    def script(handler, _):
        handler.send("HTTP/1.1 404 Missing\r\nContent-Length: 100000\r\n\r\n" + "x" * 100_000)
        return True

    origin.add("/t", LENGTH).script = script
    for _ in range(2):
        response = node.fetch("/t")
        assert (response.status, response.body) == (404, b"x" * 100_000)


@pytest.mark.parametrize("status", [301, 302, 307, 308])
def test_a_redirect_without_a_location_is_passed_on(origin, status):
    origin.add("/t", 1)
    origin.misbehave("/t", with_status(status))
    with node_for(origin, 'ttl = { default = "1h", negative = "1s" }') as node:
        assert node.fetch("/t").status == status
        origin.behave("/t")
        wait_until(lambda: node.fetch("/t").status == 200, every=0.05, what="the track")


# --- validators ---


@pytest.mark.parametrize("etag", ['"abc"', '""', '"a,b;c"', '"\x80\xff"', f'"{"x" * 900}"'])
def test_the_entity_tag_is_passed_on_unchanged(node, origin, etag):
    origin.add("/t", LENGTH, etag=etag)
    for _ in range(2):
        assert node.fetch("/t")["ETag"] == etag
        assert node.fetch("/t", Range="bytes=0-1")["ETag"] == etag
    assert node.fetch("/t", If_None_Match=etag).status == 304
    assert node.fetch("/t", Range="bytes=0-1", If_Range=etag).status == 206


def test_no_entity_tag_is_ever_invented(node, origin):
    origin.add("/t", LENGTH, etag=None)
    for _ in range(2):
        assert node.fetch("/t").get("ETag") is None


@pytest.mark.parametrize("etag, last_modified", [('W/"v1"', None), (None, None), ("not-an-etag", None)])
def test_without_a_strong_validator_ranges_are_cut_out_of_one_response(node, origin, etag, last_modified):
    track = origin.add("/t", 700_001, etag=etag, last_modified=last_modified)
    for asked in ("bytes=600000-600009", "bytes=0-9", "bytes=-10"):
        response = node.fetch("/t", Range=asked)
        assert response.status == 206
        first, last, total = response.content_range
        assert (response.body, total) == (track.body[first : last + 1], 700_001)
        assert response.get("ETag") == etag
    assert node.fetch("/t").body == track.body
    if etag and etag.startswith("W/"):
        assert node.fetch("/t", If_None_Match='"v1"').status == 304
        assert node.fetch("/t", Range="bytes=0-1", If_Range=etag).status == 200  # needs a strong comparison
        assert node.fetch("/t", If_Match=etag).status == 412
    # Whatever was stored came from one response: the bytes of a second one are another version for all we know.
    assert len([request for request in origin.requests if "range" not in request.fields]) <= 1


def test_slices_of_two_responses_are_never_joined_without_a_validator(node, origin):
    track = origin.add("/t", 700_001, etag=None, last_modified=None)
    node.fetch("/t", Range="bytes=0-9")
    old, track.body = track.body, track_bytes("/changed", 700_001)
    assert node.fetch("/t").body in (old, track.body)


def test_an_old_last_modified_is_validator_enough(node, origin):
    track = origin.add("/t", 10 * SLICE, etag=None)
    node.fetch("/t", Range="bytes=0-9")
    response = node.fetch("/t", Range=f"bytes={5 * SLICE}-{5 * SLICE + 9}")
    assert response.body == track.body[5 * SLICE : 5 * SLICE + 10]
    assert node.fetch("/t", Range="bytes=0-9").is_hit
    assert all("range" in request.fields for request in origin.requests)
    assert node.fetch("/t", Range="bytes=0-1", If_Range=track.last_modified).status == 206


def test_a_client_cannot_make_us_ask_the_origin_again(node, origin):
    origin.add("/t", LENGTH)
    node.fetch("/t")
    for fields in (
        {"Cache_Control": "no-cache"},
        {"Cache_Control": "max-age=0"},
        {"Pragma": "no-cache"},
        {"Cache_Control": "no-store"},
    ):
        assert node.fetch("/t", **fields).is_hit
    assert len(origin.requests) == 1
