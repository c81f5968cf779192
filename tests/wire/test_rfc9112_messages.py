"""RFC 9112: how messages are framed, and what of a client's bytes may never become a request of its own.

Each attack is sent on a miss and on a hit, with a second request pipelined behind it. Either it is refused and
the connection ends, or it is one request and the second one is answered as if it had come alone; never is
anything out of a body or a field taken for a request."""
import itertools
import socket
import time

import pytest

from support import transport
from support.client import Closed, Connection, fetch, request_bytes
from support.node import Node
from support.origin import track_bytes
from support.settings import config_for

REQUEST_LINE_BYTES_MAX = 8192
HEADER_LINE_BYTES_MAX = 8192
HEADER_BYTES_MAX = 32768
HEADER_FIELDS_MAX = 100
KEY_BYTES_MAX = 2048  # "<site><canonical target>"
BODY_DRAIN_BYTES_MAX = 65536
LENGTH = 1000

SMUGGLED = "GET /smuggled HTTP/1.1\r\nHost: localhost\r\n\r\n"
SIZE = f"{len(SMUGGLED):x}"
CHUNKED = "Transfer-Encoding: chunked\r\n"


def attack(fields="", body="", line="GET {t} HTTP/1.1", host="Host: localhost\r\n"):
    return f"{line}\r\n{host}{fields}\r\n{body}"


def with_length(value, body=SMUGGLED):
    return attack(f"Content-Length: {value}\r\n", body)


def with_coding(field, body=f"{SIZE}\r\n{SMUGGLED}\r\n0\r\n\r\n"):
    return attack(f"{field}\r\n", body)


def with_chunks(body):
    return attack(CHUNKED, body)


REFUSED_400 = {
    # two ways to say how long the body is
    "content_length_then_chunked": attack(f"Content-Length: {len(SMUGGLED)}\r\n{CHUNKED}", f"0\r\n\r\n{SMUGGLED}"),
    "chunked_then_content_length": attack(f"{CHUNKED}Content-Length: 5\r\n", f"0\r\n\r\n{SMUGGLED}"),
    "two_equal_content_lengths": attack("Content-Length: 0\r\nContent-Length: 0\r\n"),
    "two_other_content_lengths": attack(f"Content-Length: 0\r\nContent-Length: {len(SMUGGLED)}\r\n", SMUGGLED),
    "a_list_of_content_lengths": with_length(f"{len(SMUGGLED)}, {len(SMUGGLED)}"),
    # lengths that are no 1*DIGIT
    "length_with_plus": with_length(f"+{len(SMUGGLED)}"),
    "length_negative": with_length("-1"),
    "length_hexadecimal": with_length("0x10"),
    "length_with_underscore": with_length("1_0"),
    "length_with_exponent": with_length("1e1"),
    "length_with_fraction": with_length("10.0"),
    "length_with_inner_space": with_length("1 0"),
    "length_with_letter": with_length("10a"),
    "length_empty": with_length(""),
    "length_quoted": with_length('"10"'),
    "length_over_64_bits": with_length("18446744073709551616"),
    "length_over_63_bits": with_length("9223372036854775808"),
    # codings
    "coding_unknown": with_coding("Transfer-Encoding: xchunked"),
    "coding_identity": with_coding("Transfer-Encoding: identity"),
    "coding_twice": with_coding("Transfer-Encoding: chunked, chunked"),
    "coding_in_two_fields": with_coding("Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked"),
    "coding_not_last": with_coding("Transfer-Encoding: chunked, identity"),
    "coding_after_empty_member": with_coding("Transfer-Encoding: , chunked"),
    "coding_before_empty_member": with_coding("Transfer-Encoding: chunked,"),
    "coding_empty": with_coding("Transfer-Encoding:"),
    "coding_with_parameter": with_coding("Transfer-Encoding: chunked;q=1"),
    "coding_after_vertical_tab": with_coding("Transfer-Encoding: \x0bchunked"),
    "coding_quoted": with_coding('Transfer-Encoding: "chunked"'),
    "coding_in_http_1_0": attack(CHUNKED, f"0\r\n\r\n{SMUGGLED}", line="GET {t} HTTP/1.0"),
    "coding_in_http_1_0_kept_alive": attack(
        f"Connection: keep-alive\r\n{CHUNKED}", f"0\r\n\r\n{SMUGGLED}", line="GET {t} HTTP/1.0"
    ),
    # field lines
    "space_before_colon": with_coding("Transfer-Encoding : chunked"),
    "tab_before_colon": with_coding("Transfer-Encoding\t: chunked"),
    "space_before_the_first_name": "GET {t} HTTP/1.1\r\n Host: localhost\r\n\r\n",
    "folded_field": attack("X: a\r\n Transfer-Encoding: chunked\r\n"),
    "folded_with_tab": attack("X: a\r\n\tb\r\n"),
    "no_colon": attack("Transfer-Encoding\r\n"),
    "empty_name": attack(": a\r\n"),
    "name_with_space": attack("X Y: a\r\n"),
    "name_with_bracket": attack("X(Y): a\r\n"),
    "name_beyond_ascii": attack("X\xe9: a\r\n"),
    "nul_in_value": attack("X: a\x00b\r\n"),
    "nul_in_name": attack("X\x00Y: a\r\n"),
    "nul_in_target": attack(line="GET {t}\x00 HTTP/1.1"),
    "control_in_value": attack("X: a\x01b\r\n"),
    "delete_in_value": attack("X: a\x7fb\r\n"),
    "bare_lf_after_the_request_line": "GET {t} HTTP/1.1\nHost: localhost\r\n\r\n",
    "bare_lf_after_a_field": "GET {t} HTTP/1.1\r\nHost: localhost\nX: a\r\n\r\n",
    "bare_lf_at_the_end": "GET {t} HTTP/1.1\r\nHost: localhost\r\n\n",
    "bare_cr_in_value": attack("X: a\rTransfer-Encoding: chunked\r\n"),
    "bare_cr_in_the_request_line": attack(line="GET {t}\r HTTP/1.1"),
    "cr_cr_lf": "GET {t} HTTP/1.1\r\r\nHost: localhost\r\n\r\n",
    # the request line
    "http_0_9": "GET {t}\r\n\r\n",
    "no_target": attack(line="GET HTTP/1.1"),
    "two_spaces": attack(line="GET  {t} HTTP/1.1"),
    "leading_space": attack(line=" GET {t} HTTP/1.1"),
    "trailing_space": attack(line="GET {t} HTTP/1.1 "),
    "tab_as_separator": attack(line="GET\t{t}\tHTTP/1.1"),
    "four_words": attack(line="GET {t} x HTTP/1.1"),
    "lower_case_version": attack(line="GET {t} http/1.1"),
    "other_protocol": attack(line="GET {t} HTTPS/1.1"),
    "version_of_one_digit": attack(line="GET {t} HTTP/1"),
    "version_of_three_digits": attack(line="GET {t} HTTP/1.10"),
    "version_with_comma": attack(line="GET {t} HTTP/1,1"),
    "method_is_no_token": attack(line="GE(T {t} HTTP/1.1"),
    "no_method": attack(line="{t} HTTP/1.1"),
    "fragment": attack(line="GET {t}#a HTTP/1.1"),
    "relative_target": attack(line="GET t/1 HTTP/1.1"),
    "asterisk_with_get": attack(line="GET * HTTP/1.1"),
    "bytes_beyond_ascii_in_target": attack(line="GET {t}\xe9 HTTP/1.1"),
    "two_empty_lines_first": "\r\n\r\n" + attack(),
    # Host
    "no_host": attack(host=""),
    "two_hosts": attack("Host: localhost\r\n"),
    "two_other_hosts": attack("Host: other.example\r\n"),
    "empty_host": attack(host="Host:\r\n"),
    "host_with_user": attack(host="Host: user@localhost\r\n"),
    "host_with_path": attack(host="Host: localhost/a\r\n"),
    "host_with_space": attack(host="Host: local host\r\n"),
    "host_with_bad_port": attack(host="Host: localhost:99999\r\n"),
    "host_twice_one_folded_away": attack(host="Host: localhost\r\nHost:\r\n"),
    "host_with_nul": attack(host="Host: localhost\x00.example\r\n"),
    "host_with_query": attack(host="Host: localhost?a\r\n"),
    "host_list": attack(host="Host: localhost, localhost\r\n"),
    "absolute_form_of_another_host": attack(line="GET http://other.example{t} HTTP/1.1"),
    "absolute_form_with_user": attack(line="GET http://user@localhost{t} HTTP/1.1"),
    "absolute_form_of_another_scheme": attack(line="GET ftp://localhost{t} HTTP/1.1"),
}

REFUSED_OTHERWISE = {  # name: (status, request)
    "coding_before_chunked": (501, with_coding("Transfer-Encoding: gzip, chunked")),
    "version_2": (505, attack(line="GET {t} HTTP/2.0")),
    "http_2_preface": (505, "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"),
}

DRAINED = {  # one request with a body nobody wants, then the next request
    "body_by_length": with_length(len(SMUGGLED)),
    "body_by_chunks": with_coding("Transfer-Encoding: chunked"),
    "coding_in_capitals": with_coding("TRANSFER-ENCODING: ChunKed"),
    "body_of_nothing": with_length(0, ""),
    "length_with_leading_zeros": with_length(f"000{len(SMUGGLED)}"),
    "two_chunks": with_chunks(f"1\r\nG\r\n{len(SMUGGLED) - 1:X}\r\n{SMUGGLED[1:]}\r\n0\r\n\r\n"),
    "chunk_extension": with_chunks(f'{SIZE};a=b;c="d"\r\n{SMUGGLED}\r\n0\r\n\r\n'),
    "trailer": with_chunks(f"{SIZE}\r\n{SMUGGLED}\r\n0\r\nX-Trailer: GET /smuggled\r\nContent-Length: 99\r\n\r\n"),
    "chunk_size_with_leading_zeros": with_chunks(f"000{SIZE}\r\n{SMUGGLED}\r\n0\r\n\r\n"),
    "body_at_the_limit": with_length(BODY_DRAIN_BYTES_MAX, (SMUGGLED * BODY_DRAIN_BYTES_MAX)[:BODY_DRAIN_BYTES_MAX]),
    "head_with_body": attack(f"Content-Length: {len(SMUGGLED)}\r\n", SMUGGLED, line="HEAD {t} HTTP/1.1"),
    "upgrade_that_is_ignored": attack(
        "Connection: Upgrade, HTTP2-Settings\r\nUpgrade: h2c\r\nHTTP2-Settings: AAMAAABkAAQAoAAAAAIAAAAA\r\n"
    ),
    "content_length_named_hop_by_hop": attack(
        f"Connection: Content-Length\r\nContent-Length: {len(SMUGGLED)}\r\n", SMUGGLED
    ),
    "fields_for_other_caches": attack(
        "X-Original-URL: /smuggled\r\nX-Forwarded-Host: other.example\r\nX-HTTP-Method-Override: POST\r\n"
    ),
    "host_with_port": attack(host="Host: localhost:8080\r\n"),
    "host_with_empty_port": attack(host="Host: localhost:\r\n"),
    "host_in_capitals_with_a_dot": attack(host="hOST: LOCALHOST.\r\n"),
    "one_empty_line_first": "\r\n" + attack(),
    "http_1_2": attack(line="GET {t} HTTP/1.2"),
}

ANSWERED_THEN_CLOSED = {  # the head is good, but where the next request begins is not known
    "body_over_the_limit": with_length(BODY_DRAIN_BYTES_MAX + 1),
    "expected_body": attack(f"Expect: 100-continue\r\nContent-Length: {len(SMUGGLED)}\r\n", SMUGGLED),
    "chunk_size_hexadecimal_prefix": with_chunks(f"0x{SIZE}\r\n{SMUGGLED}\r\n0\r\n\r\n"),
    "chunk_size_with_plus": with_chunks(f"+{SIZE}\r\n{SMUGGLED}\r\n0\r\n\r\n"),
    "chunk_size_negative": with_chunks(f"-1\r\n{SMUGGLED}\r\n0\r\n\r\n"),
    "chunk_size_after_space": with_chunks(f" {SIZE}\r\n{SMUGGLED}\r\n0\r\n\r\n"),
    "chunk_size_no_number": with_chunks(f"g\r\n{SMUGGLED}\r\n0\r\n\r\n"),
    "chunk_size_empty": with_chunks(f"\r\n{SMUGGLED}\r\n0\r\n\r\n"),
    "chunk_size_over_64_bits": with_chunks(f"1{'0' * 16}\r\n{SMUGGLED}\r\n0\r\n\r\n"),
    "chunk_size_line_with_bare_lf": with_chunks(f"{SIZE}\n{SMUGGLED}\r\n0\r\n\r\n"),
    "chunk_data_longer_than_said": with_chunks(f"1\r\n{SMUGGLED}\r\n0\r\n\r\n"),
    "chunk_data_without_crlf": with_chunks(f"{SIZE}\r\n{SMUGGLED}0\r\n\r\n"),
    "chunk_extension_with_bare_lf": with_chunks(f"{SIZE};a\nb\r\n{SMUGGLED}\r\n0\r\n\r\n"),
    "chunk_extension_with_bare_cr": with_chunks(f"{SIZE};a\rb\r\n{SMUGGLED}\r\n0\r\n\r\n"),
    "last_chunk_with_bare_lf": with_chunks(f"{SIZE}\r\n{SMUGGLED}\r\n0\n\n"),
    "trailer_with_bare_lf": with_chunks(f"{SIZE}\r\n{SMUGGLED}\r\n0\r\nX: a\n\r\n"),
    "trailer_without_colon": with_chunks(f"{SIZE}\r\n{SMUGGLED}\r\n0\r\nGET /smuggled HTTP/1.1\r\n\r\n"),
    "connection_close": attack("Connection: close\r\n"),
    "http_1_0": attack(line="GET {t} HTTP/1.0"),
}

numbers = itertools.count()


@pytest.fixture
def target(shared_origin, shared_node, state):
    """A track of its own for each case, cached or not."""
    path = f"/t/{next(numbers)}"
    shared_origin.add(path, LENGTH)
    shared_origin.add("/victim", LENGTH)
    if state == "hit":
        shared_node.fetch(path)
        assert shared_node.fetch(path).is_hit
    shared_node.fetch("/victim")
    shared_origin.forget()
    return path


def send_with_victim(node, request, target):
    connection = node.connect()
    connection.send(request.replace("{t}", target).encode("latin-1") + request_bytes("/victim"))
    return connection


def assert_origin_saw_only(origin, target, allowed):
    with origin.lock:
        targets = [request.target for request in origin.requests]
    assert set(targets) <= {target}, targets
    assert len(targets) <= allowed, targets


@pytest.mark.parametrize("state", ["miss", "hit"])
@pytest.mark.parametrize(
    "status, request_text",
    [(400, text) for text in REFUSED_400.values()] + list(REFUSED_OTHERWISE.values()),
    ids=[*REFUSED_400, *REFUSED_OTHERWISE],
)
def test_a_malformed_request_is_refused_and_nothing_behind_it_is_read(
    shared_node, shared_origin, target, status, request_text
):
    with send_with_victim(shared_node, request_text, target) as connection:
        response = connection.read_response()
        assert response.status == status
        assert response["Connection"] == "close"
        assert connection.is_closed_by_peer()
        assert connection.buffer == b"", "something behind it was answered"
    assert_origin_saw_only(shared_origin, target, 0)


@pytest.mark.parametrize("state", ["miss", "hit"])
@pytest.mark.parametrize("request_text", DRAINED.values(), ids=DRAINED)
def test_a_body_nobody_wants_is_drained_and_the_next_request_is_answered_alone(
    shared_node, shared_origin, target, state, request_text
):
    with send_with_victim(shared_node, request_text, target) as connection:
        response = connection.read_response(head_request="HEAD " in request_text)
        assert response.status == 200
        assert response.body == (b"" if "HEAD " in request_text else track_bytes(target, LENGTH))
        victim = connection.read_response()
        assert (victim.status, victim.body) == (200, track_bytes("/victim", LENGTH))
        connection.request("/victim", Range="bytes=1-3")
        assert connection.read_response().body == track_bytes("/victim", LENGTH)[1:4]
        assert connection.buffer == b""
    assert_origin_saw_only(shared_origin, target, 0 if state == "hit" else 1)


@pytest.mark.parametrize("state", ["miss", "hit"])
@pytest.mark.parametrize("request_text", ANSWERED_THEN_CLOSED.values(), ids=ANSWERED_THEN_CLOSED)
def test_where_the_next_request_cannot_be_found_the_connection_ends(
    shared_node, shared_origin, target, state, request_text
):
    with send_with_victim(shared_node, request_text, target) as connection:
        response = connection.read_response()
        assert response.status == 200
        assert response.body == track_bytes(target, LENGTH)
        assert connection.is_closed_by_peer()
        assert not connection.buffer.startswith(b"HTTP/1.1 2"), "something behind it was served"
    assert_origin_saw_only(shared_origin, target, 0 if state == "hit" else 1)


@pytest.mark.parametrize("method", ["POST", "PUT", "DELETE", "PATCH", "OPTIONS", "BREW"])
def test_bodies_of_methods_not_served_are_drained_too(shared_node, shared_origin, method):
    shared_origin.add("/victim", LENGTH)
    with send_with_victim(
        shared_node, attack(f"Content-Length: {len(SMUGGLED)}\r\n", SMUGGLED, line=f"{method} /x HTTP/1.1"), "/x"
    ) as connection:
        assert connection.read_response().status == (204 if method == "OPTIONS" else 405)
        assert connection.read_response().body == track_bytes("/victim", LENGTH)
    assert not shared_origin.requests_for("/smuggled")
    assert not shared_origin.requests_for("/x")


# --- limits: at the limit and one over it ---


def fields_of_bytes(total):
    """Field lines of exactly `total` bytes with their line ends, Host among them, none over the line limit."""
    lines = ["Host: localhost\r\n"]
    left = total - len(lines[0])
    while left:
        size = min(left, 8000)
        if 0 < left - size < 10:
            size -= 10
        lines.append("X: " + "a" * (size - 5) + "\r\n")
        left -= size
    return "".join(lines)


def status_and_end_of(node, text):
    with node.connect() as connection:
        connection.send(text)
        status = connection.read_response().status
        if status != 200:
            return status, connection.is_closed_by_peer()
        connection.request("/t")
        assert connection.read_response().status == 200
        return status, False


@pytest.fixture
def track(shared_origin):
    return shared_origin.add("/t", LENGTH)


@pytest.mark.parametrize("over, expected", [(0, (200, False)), (1, (431, True))])
def test_a_field_line_may_be_as_long_as_the_limit(shared_node, track, over, expected):
    line = "X: " + "a" * (HEADER_LINE_BYTES_MAX - 3 + over)
    assert status_and_end_of(shared_node, f"GET /t HTTP/1.1\r\nHost: localhost\r\n{line}\r\n\r\n") == expected


@pytest.mark.parametrize("over, expected", [(0, (200, False)), (1, (431, True))])
def test_all_fields_together_may_be_as_long_as_the_limit(shared_node, track, over, expected):
    assert (
        status_and_end_of(shared_node, f"GET /t HTTP/1.1\r\n{fields_of_bytes(HEADER_BYTES_MAX + over)}\r\n") == expected
    )


@pytest.mark.parametrize("over, expected", [(0, (200, False)), (1, (431, True))])
def test_there_may_be_as_many_fields_as_the_limit(shared_node, track, over, expected):
    fields = "".join(f"X-{i}: a\r\n" for i in range(HEADER_FIELDS_MAX - 1 + over))
    assert status_and_end_of(shared_node, f"GET /t HTTP/1.1\r\nHost: localhost\r\n{fields}\r\n") == expected


def test_a_target_may_be_as_long_as_a_key(shared_node, shared_origin):
    longest = "/" + "a" * (KEY_BYTES_MAX - len("music") - 1)
    shared_origin.add(longest, LENGTH)
    assert shared_node.fetch(longest).status == 200
    assert shared_node.fetch(longest + "a").status == 414


@pytest.mark.parametrize("over, closes", [(0, False), (1, True)])
def test_a_request_line_over_its_limit_is_414_before_its_end_is_seen(shared_node, track, over, closes):
    line = "GET /" + "a" * (REQUEST_LINE_BYTES_MAX - len("GET / HTTP/1.1") + over) + " HTTP/1.1"
    with shared_node.connect() as connection:
        connection.send(f"{line}\r\nHost: localhost\r\n\r\n")
        assert connection.read_response().status == 414
        if closes:
            assert connection.is_closed_by_peer()
        else:
            connection.request("/t")
            assert connection.read_response().status == 200


@pytest.mark.parametrize(
    "endless, status",
    [
        ("GET /" + "a" * 100_000, 414),
        ("GET /t HTTP/1.1\r\nX: " + "a" * 100_000, 431),
        ("GET /t HTTP/1.1\r\n" + "X: a\r\n" * 20_000, 431),
    ],
)
def test_a_head_without_end_is_refused_while_it_is_sent(shared_node, endless, status):
    with shared_node.connect() as connection:
        try:
            connection.send(endless)
        except (BrokenPipeError, ConnectionResetError):
            pass
        assert connection.read_response().status == status
        assert connection.is_closed_by_peer()


# --- connections ---


def test_fifty_pipelined_requests_are_answered_in_order(shared_node, shared_origin):
    shared_origin.add("/p", 700_000)
    body = track_bytes("/p", 700_000)
    with shared_node.connect() as connection:
        ranges = [(i * 13_331, i * 13_331 + i * 7) for i in range(50)]
        connection.send(b"".join(request_bytes("/p", Range=f"bytes={first}-{last}") for first, last in ranges))
        for first, last in ranges:
            response = connection.read_response()
            assert response.content_range == (first, last, 700_000)
            assert response.body == body[first : last + 1]
        assert connection.buffer == b""


def test_a_connection_serves_one_request_after_the_other(shared_node, track):
    with shared_node.connect() as connection:
        for i in range(200):
            connection.request("/t", Range=f"bytes={i}-{i}")
            response = connection.read_response()
            assert response.body == track_bytes("/t", LENGTH)[i : i + 1]
            assert response.get("Connection") is None


def test_http_1_0_closes_unless_asked_to_keep_alive(shared_node, track):
    with shared_node.connect() as connection:
        connection.send("GET /t HTTP/1.0\r\nHost: localhost\r\n\r\n")
        response = connection.read_response()
        assert response.body == track_bytes("/t", LENGTH)
        assert response["Connection"] == "close"
        assert connection.is_closed_by_peer()
    with shared_node.connect() as connection:
        for _ in range(3):
            connection.send("GET /t HTTP/1.0\r\nHost: localhost\r\nConnection: Keep-Alive\r\nRange: bytes=5-6\r\n\r\n")
            response = connection.read_response()
            assert response["Connection"] == "keep-alive"
            assert response.get("Transfer-Encoding") is None
            assert response.body == track_bytes("/t", LENGTH)[5:7]


def test_connection_close_is_honoured_and_answered(shared_node, track):
    with shared_node.connect() as connection:
        connection.request("/t", Connection="close")
        response = connection.read_response()
        assert response["Connection"] == "close"
        assert response.body == track_bytes("/t", LENGTH)
        assert connection.is_closed_by_peer()


def test_a_request_may_come_byte_by_byte(shared_node, track):
    with shared_node.connect() as connection:
        connection.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        for _ in range(2):
            for byte in request_bytes("/t", Range="bytes=10-19", User_Agent="slow but sure"):
                connection.send(bytes([byte]))
            assert connection.read_response().body == track_bytes("/t", LENGTH)[10:20]


def test_expect_100_continue_without_a_body_is_answered_at_once(shared_node, track):
    with shared_node.connect() as connection:
        connection.request("/t", Expect="100-continue", Content_Length="10")
        response = connection.read_response()
        assert response.status == 200  # the final answer: the body is not wanted (RFC 9110 §10.1.1)
        assert response.body == track_bytes("/t", LENGTH)
        assert connection.is_closed_by_peer()


def test_a_half_closed_client_still_gets_its_answer(shared_node, shared_origin):
    for path, delay in (("/half", 0.0), ("/half-slow", 0.2)):
        shared_origin.add(path, 500_000, delay=delay)
        with shared_node.connect() as connection:
            connection.request(path)
            transport.shut_writing(connection.socket)
            assert connection.read_response().body == track_bytes(path, 500_000)
            assert connection.is_closed_by_peer()


def test_a_client_that_leaves_in_the_middle_of_a_head_is_no_request(shared_node, shared_origin):
    shared_origin.forget()
    with shared_node.connect() as connection:
        connection.send("GET /left HTTP/1.1\r\nHost: localhost\r\n")
        transport.shut_writing(connection.socket)
        with pytest.raises(Closed):
            connection.read_response()
    assert not shared_origin.requests_for("/left")


@pytest.mark.slow
def test_a_dripped_head_is_cut_ten_seconds_after_its_first_byte(shared_node):
    started = time.monotonic()
    with shared_node.connect() as connection:
        connection.send("GET /t HTTP/1.1\r\nHost: localhost\r\nX: ")
        connection.socket.settimeout(0.25)  # the drip: one byte each time nothing came back
        ended = False
        while not ended and time.monotonic() < started + 15:
            try:
                connection.send("a")
                connection.read_more()
            except TimeoutError:
                continue
            except (Closed, OSError):
                ended = True
        assert ended
        assert 9 < time.monotonic() - started < 11.5
        assert connection.buffer.startswith(b"HTTP/1.1 408 ")


# --- targets and hosts ---


def test_absolute_form_is_the_same_target(shared_node, shared_origin):
    shared_origin.add("/abs?v=1", LENGTH)
    for target in ("http://localhost/abs?v=1", "HTTP://LOCALHOST/abs?v=1", "http://localhost:80/abs?v=1"):
        with shared_node.connect() as connection:
            connection.request(target, host="localhost:80" if ":80/" in target else "localhost")
            assert connection.read_response().body == track_bytes("/abs?v=1", LENGTH)
    assert len(shared_origin.requests_for("/abs?v=1")) == 1


def test_absolute_form_without_a_path_is_the_root(shared_node, shared_origin):
    shared_origin.add("/", LENGTH)
    assert fetch(shared_node.address, "http://localhost").body == track_bytes("/", LENGTH)


def test_options_for_the_whole_server_is_answered(shared_node):
    response = fetch(shared_node.address, "*", method="OPTIONS")
    assert response.status == 204
    assert response["Allow"] == "GET, HEAD, OPTIONS"


def test_a_host_no_site_has_is_421_and_never_reaches_an_origin(shared_node, shared_origin, track):
    shared_origin.forget()
    for host in ("other.example", "localhost.other.example", "127.0.0.1", "[::1]", "xlocalhost"):
        assert fetch(shared_node.address, "/t", host=host).status == 421
        assert fetch(shared_node.address, f"http://{host}/t", host=host).status == 421
    for host in ("LOCALHOST", "localhost:8080", "localhost:"):
        assert fetch(shared_node.address, "/t", host=host).status == 200
    assert {request.target for request in shared_origin.requests} <= {"/t"}


def test_connect_is_not_served(shared_node, shared_origin):
    shared_origin.forget()
    assert fetch(shared_node.address, "localhost:443", method="CONNECT", host="localhost:443").status == 405
    assert not shared_origin.requests


CANONICAL = {  # what is sent: what the origin is asked; the same text is the key
    "/c/%61bc": "/c/abc",
    "/c/a%2Db%5f%7E": "/c/a-b_~",
    "/c/a%2fb": "/c/a%2Fb",
    "/c//x": "/c//x",
    "/c/a;v=1": "/c/a;v=1",
    "/c/a%20b": "/c/a%20b",
    "/c/%c3%a9": "/c/%C3%A9",
    "/c/a|b": "/c/a%7Cb",
    "/c/%252e%252e/x": "/c/%252e%252e/x",
    "/c/...": "/c/...",
    "/c/q?a=%62&b=1": "/c/q?a=b&b=1",
    "/c/~": "/c/~",
    "/c/a+b": "/c/a+b",
}
NEVER = [
    "/c/../x",
    "/c/%2e%2e/x",
    "/c/.%2E/x",
    "/c/./x",
    "/c/%2e/x",
    "/c/..",
    "/..;a/x",
    "/c/a\\b",
    "/c/a%5Cb",
    "/c/%00",
    "/c/a%00.ogg",
    "/c/%0d%0aX:%20a",
    "/c/%zz",
    "/c/%",
    "/c/%4",
    "/c/%ff",
    "/c/%c0%af",
    "/c/%e0%80%af",
    "/c/%ed%a0%80",
    "/c/%7f",
]


@pytest.mark.parametrize("sent, asked", CANONICAL.items(), ids=list(CANONICAL))
def test_a_target_has_one_form_for_key_and_origin(shared_node, shared_origin, sent, asked):
    shared_origin.add(asked, LENGTH)
    first = shared_node.fetch(sent)
    assert (first.status, first.body) == (200, track_bytes(asked, LENGTH))
    assert shared_node.fetch(asked).is_hit
    assert shared_node.fetch(sent).is_hit
    assert len(shared_origin.requests_for(asked)) == 1


@pytest.mark.parametrize("sent", NEVER)
def test_path_tricks_are_400_and_never_reach_the_origin(shared_node, shared_origin, sent):
    shared_origin.forget()
    assert shared_node.fetch(sent).status == 400
    assert not shared_origin.requests


def test_it_listens_on_ipv4_ipv6_and_unix_sockets(origin, tmp_path):
    origin.add("/t", LENGTH)
    path = str(tmp_path / "public.sock")
    with Node(config_for(origin.url), listen=("127.0.0.1:0", "[::1]:0", f"unix:{path}")) as node:
        assert len(node.addresses) == 3
        assert {type(address) for address in node.addresses} == {tuple, str}
        for address in node.addresses:
            with Connection(address) as connection:
                for _ in range(2):
                    connection.request("/t", Range="bytes=7-9")
                    assert connection.read_response().body == track_bytes("/t", LENGTH)[7:10]
        assert len(origin.requests) == 1
