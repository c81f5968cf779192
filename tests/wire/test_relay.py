"""Methods that a site relays (RFC 9110 §9), what they invalidate (RFC 9111 §4.4), requests that go round (RFC 8586),
and only-if-cached."""
import pytest

from support.node import Node
from support.settings import config_for

LENGTH = 1000
RELAYING = 'methods = ["POST", "PUT", "DELETE", "X-REPLACE"]'


@pytest.fixture
def relaying(origin):
    with Node(config_for(origin.url, site=RELAYING)) as node:
        yield node


def answer(status, *fields):
    def script(handler, request):
        if request.method == "GET":
            return handler.serve_track(handler.origin.tracks[request.target], request)
        handler.head(status, 2, extra=fields)
        handler.send("ok")
        return True

    return script


def send(node, method, target, body=b"", **fields):
    with node.connect() as connection:
        connection.request(target, method, **fields, **({"Content-Length": len(body)} if body else {}))
        connection.send(body)
        return connection.read_response()


def is_hit_after(node, origin, method, status, *fields, target="/t", stored="/t"):
    origin.add("/t", LENGTH, script=answer(status, *fields))
    origin.add("/a/other", LENGTH)
    node.fetch(stored)
    assert node.fetch(stored).is_hit
    response = send(node, method, target, b"news")
    assert (response.status, response.body) == (status, b"ok")
    return node.fetch(stored).is_hit


@pytest.mark.parametrize("method", ["POST", "PUT", "DELETE", "X-REPLACE"])
def test_a_relayed_method_reaches_the_origin_with_its_body_and_forgets_the_target(relaying, origin, method):
    assert not is_hit_after(relaying, origin, method, 200)
    (request,) = [request for request in origin.requests if request.method != "GET"]
    assert (request.method, request.target, request.body) == (method, "/t", b"news")


@pytest.mark.parametrize("status", [400, 404, 500, 503])
def test_a_failed_one_forgets_nothing_and_is_not_sent_twice(relaying, origin, status):
    assert is_hit_after(relaying, origin, "POST", status)
    assert len([request for request in origin.requests if request.method == "POST"]) == 1


@pytest.mark.parametrize("name", ["Location", "Content-Location"])
@pytest.mark.parametrize("value", ["/a/other", "http://localhost/a/other", "//localhost:80/a/other", "a/other#part"])
def test_what_location_names_on_the_same_host_is_forgotten_too(relaying, origin, name, value):
    assert not is_hit_after(relaying, origin, "POST", 201, f"{name}: {value}", stored="/a/other")


@pytest.mark.parametrize("value", ["http://elsewhere.example/a/other", "mailto:a/other", "http:a/other", "/a/%zz"])
def test_what_it_names_elsewhere_is_not(relaying, origin, value):
    assert is_hit_after(relaying, origin, "POST", 201, f"Location: {value}", stored="/a/other")


def test_a_lost_answer_is_a_502_and_the_request_is_not_repeated(relaying, origin):
    origin.add("/t", LENGTH, script=lambda handler, request: False)
    assert send(relaying, "POST", "/t", b"x").status == 502
    assert len(origin.requests) == 1


def test_a_chunked_body_is_relayed_whole_and_the_next_request_is_answered(relaying, origin):
    origin.add("/t", LENGTH, script=answer(200))
    with relaying.connect() as connection:
        connection.request("/t", "POST", Transfer_Encoding="chunked", Content_Type="text/plain", Cookie="id=1")
        connection.send(b"3\r\nabc\r\n2\r\nde\r\n0\r\n\r\n")
        assert connection.read_response().status == 200
        connection.request("/t")
        assert connection.read_response().status == 200
    assert origin.requests[0].body == b"abcde"
    assert origin.requests[0].fields["content-type"] == "text/plain"
    assert "cookie" not in origin.requests[0].fields


def test_a_body_may_be_64_kib_and_no_longer(relaying, origin):
    origin.add("/t", LENGTH, script=answer(200))
    assert send(relaying, "POST", "/t", b"x" * 65536).status == 200
    with relaying.connect() as connection:
        connection.request("/t", "POST", Content_Length=65537)
        assert connection.read_response().status == 413
    assert len(origin.requests) == 1


def test_what_is_not_listed_is_refused_and_never_reaches_the_origin(relaying, node, origin):
    for at, method in ((relaying, "PATCH"), (relaying, "post"), (relaying, "TRACE"), (node, "POST"), (node, "DELETE")):
        response = send(at, method, "/t")
        assert response.status == 405
        assert ("POST" in response["Allow"]) == (at is relaying)
    assert not origin.requests


def test_a_request_that_was_here_before_is_a_508(node, origin):
    origin.add("/t", LENGTH)
    for value in ("test-node", "other.example, Test-Node; v=1", ", ".join(["a-cdn.example"] * 100)):
        assert node.fetch("/t", CDN_Loop=value).status == 508
    assert not origin.requests
    assert node.fetch("/t", CDN_Loop="other.example; v=1").status == 200
    assert origin.requests[0].fields["cdn-loop"] == "other.example; v=1, test-node"


def test_only_if_cached_is_answered_from_here_or_with_504(node, origin):
    origin.add("/t", 3 * 262144)
    assert node.fetch("/t", Cache_Control="only-if-cached").status == 504
    assert not origin.requests
    node.fetch("/t", Range="bytes=0-9")
    assert node.fetch("/t", Range="bytes=5-9", Cache_Control="only-if-cached").status == 206
    assert node.fetch("/t", Range="bytes=600000-", Cache_Control="only-if-cached").status == 504
    assert len(origin.requests) == 1


def test_variants_of_one_key_are_bounded(origin):
    def script(handler, request):
        handler.head(200, 2, extra=["Vary: X-Device", 'ETag: "1"', "Cache-Control: max-age=60"])
        handler.send("ok")
        return True

    origin.add("/t", script=script)
    with Node(config_for(origin.url, site='forward = ["x-device"]')) as node:
        for _ in range(2):
            for device in range(20):
                assert node.fetch("/t", X_Device=device).body == b"ok"
        assert [node.fetch("/t", X_Device=device).is_hit for device in range(20)] == [True] * 8 + [False] * 12
        assert node.metric("segue_variants_refused_total") == 3 * 12


@pytest.mark.parametrize("listed,asked,said", [("*", "PUT", "PUT"), ("PUT", "PUT", "PUT"), ("*", "GET", "GET")])
def test_a_preflight_allows_what_is_relayed(origin, listed, asked, said):
    with Node(config_for(origin.url, site=f'methods = ["{listed}"]')) as node:
        response = node.fetch("/t", method="OPTIONS", Origin="https://a.example", Access_Control_Request_Method=asked)
        assert said in response["Access-Control-Allow-Methods"].split(", ")


def test_a_preflight_allows_no_text_that_is_no_method(origin):
    with Node(config_for(origin.url, site='methods = ["*"]')) as node:
        response = node.fetch(
            "/t", method="OPTIONS", Origin="https://a.example", Access_Control_Request_Method="PUT, x y"
        )
        assert "x y" not in response["Access-Control-Allow-Methods"]
