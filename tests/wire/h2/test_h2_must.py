"""RFC 9113, a case per MUST that a server can break: what a client may send wrong, and what it must then be told.

CONNECTION errors are a GOAWAY with the code; STREAM errors a RST_STREAM, and the connection lives."""
import struct

import pytest

from support import frames
from support.frames import FrameClient

HUGE = 2**31 - 1
GET = [(":method", "GET"), (":scheme", "https"), (":authority", "localhost"), (":path", "/t/small")]


def word(number):
    return struct.pack(">I", number)


def open_request(client):
    """A request whose body has not ended, and whose answer cannot: these clients' windows are closed."""
    return client.ask("/t/1", flags=frames.END_HEADERS)


def finished_request(client):
    stream = client.ask("/t/small")
    assert client.answer(stream).status == 200
    return stream


# --- connection errors: (name, what is sent, the codes that are right) ---

CONNECTION = {
    # §3.4: a preface that is none. GOAWAY may be left out.
    "preface": (lambda c: b"", {frames.PROTOCOL_ERROR, None}),
    # §4.1, §4.2
    "frame_larger_than_allowed": (
        lambda c: c.frame(frames.DATA, 0, open_request(c), b"a" * 16385),
        {frames.FRAME_SIZE_ERROR},
    ),
    "settings_larger_than_allowed": (
        lambda c: c.frame(frames.SETTINGS, 0, 0, b"\0" * 16386),
        {frames.FRAME_SIZE_ERROR},
    ),
    # §4.3
    "bad_field_block": (lambda c: c.frame(frames.HEADERS, 5, 1, b"\xff\xff\xff\xff\xff"), {frames.COMPRESSION_ERROR}),
    "table_size_over_the_limit": (
        lambda c: c.frame(frames.HEADERS, 5, 1, b"\x3f\xff\xff\x7f" + c.block()),
        {frames.COMPRESSION_ERROR},
    ),
    "data_within_a_field_block": (
        lambda c: c.frame(frames.HEADERS, frames.END_STREAM, 1, c.block()) + c.frame(frames.DATA, 0, 1, b"a"),
        {frames.PROTOCOL_ERROR},
    ),
    "unknown_frame_within_a_field_block": (
        lambda c: c.frame(frames.HEADERS, frames.END_STREAM, 1, c.block()) + c.frame(0x77, 0, 0, b"a"),
        {frames.PROTOCOL_ERROR},
    ),
    "other_streams_continuation": (
        lambda c: c.frame(frames.HEADERS, frames.END_STREAM, 1, c.block()) + c.frame(frames.CONTINUATION, 4, 3, b""),
        {frames.PROTOCOL_ERROR},
    ),
    # §5.1
    "data_on_an_idle_stream": (lambda c: c.frame(frames.DATA, 0, 1, b"a"), {frames.PROTOCOL_ERROR}),
    "reset_of_an_idle_stream": (lambda c: c.frame(frames.RST_STREAM, 0, 1, word(8)), {frames.PROTOCOL_ERROR}),
    "update_of_an_idle_stream": (lambda c: c.frame(frames.WINDOW_UPDATE, 0, 1, word(1)), {frames.PROTOCOL_ERROR}),
    "continuation_without_headers": (lambda c: c.frame(frames.CONTINUATION, 4, 1, b""), {frames.PROTOCOL_ERROR}),
    # §5.1.1
    "even_stream": (lambda c: c.frame(frames.HEADERS, 5, 2, c.block()), {frames.PROTOCOL_ERROR}),
    "stream_number_that_steps_back": (
        lambda c: c.frame(frames.HEADERS, 5, 5, c.block()) + c.frame(frames.HEADERS, 5, 3, c.block()),
        {frames.PROTOCOL_ERROR, frames.STREAM_CLOSED},
    ),
    # §6.1
    "data_of_stream_0": (lambda c: c.frame(frames.DATA, 0, 0, b"a"), {frames.PROTOCOL_ERROR}),
    "padding_longer_than_the_data": (
        lambda c: c.frame(frames.DATA, frames.PADDED, open_request(c), b"\x05a"),
        {frames.PROTOCOL_ERROR},
    ),
    # §6.2
    "headers_of_stream_0": (lambda c: c.frame(frames.HEADERS, 5, 0, c.block()), {frames.PROTOCOL_ERROR}),
    "padding_longer_than_the_headers": (
        lambda c: c.frame(frames.HEADERS, 5 | frames.PADDED, 1, b"\xff" + c.block()),
        {frames.PROTOCOL_ERROR},
    ),
    # §6.3
    "priority_of_stream_0": (lambda c: c.frame(frames.PRIORITY, 0, 0, b"\0\0\0\1\1"), {frames.PROTOCOL_ERROR}),
    # §6.4
    "reset_of_stream_0": (lambda c: c.frame(frames.RST_STREAM, 0, 0, word(8)), {frames.PROTOCOL_ERROR}),
    "reset_of_wrong_size": (
        lambda c: c.frame(frames.RST_STREAM, 0, open_request(c), b"\0\0\0"),
        {frames.FRAME_SIZE_ERROR},
    ),
    # §6.5
    "settings_of_a_stream": (lambda c: c.frame(frames.SETTINGS, 0, 1, b""), {frames.PROTOCOL_ERROR}),
    "settings_ack_with_a_payload": (
        lambda c: c.frame(frames.SETTINGS, frames.ACK, 0, b"\0" * 6),
        {frames.FRAME_SIZE_ERROR},
    ),
    "settings_of_wrong_size": (lambda c: c.frame(frames.SETTINGS, 0, 0, b"\0" * 5), {frames.FRAME_SIZE_ERROR}),
    "enable_push_2": (
        lambda c: c.frame(frames.SETTINGS, 0, 0, frames.settings({frames.ENABLE_PUSH: 2})),
        {frames.PROTOCOL_ERROR},
    ),
    "initial_window_over_the_limit": (
        lambda c: c.frame(frames.SETTINGS, 0, 0, frames.settings({frames.INITIAL_WINDOW_SIZE: 2**31})),
        {frames.FLOW_CONTROL_ERROR},
    ),
    "max_frame_size_too_small": (
        lambda c: c.frame(frames.SETTINGS, 0, 0, frames.settings({frames.MAX_FRAME_SIZE: 16383})),
        {frames.PROTOCOL_ERROR},
    ),
    "max_frame_size_too_large": (
        lambda c: c.frame(frames.SETTINGS, 0, 0, frames.settings({frames.MAX_FRAME_SIZE: 2**24})),
        {frames.PROTOCOL_ERROR},
    ),
    # §6.6: a client cannot push.
    "push_promise": (lambda c: c.frame(frames.PUSH_PROMISE, 4, 1, word(2) + c.block()), {frames.PROTOCOL_ERROR}),
    # §6.7
    "ping_of_a_stream": (lambda c: c.frame(frames.PING, 0, 1, b"\0" * 8), {frames.PROTOCOL_ERROR}),
    "ping_of_wrong_size": (lambda c: c.frame(frames.PING, 0, 0, b"\0" * 7), {frames.FRAME_SIZE_ERROR}),
    # §6.8
    "goaway_of_a_stream": (lambda c: c.frame(frames.GOAWAY, 0, 1, b"\0" * 8), {frames.PROTOCOL_ERROR}),
    # §6.9
    "update_by_0": (lambda c: c.frame(frames.WINDOW_UPDATE, 0, 0, word(0)), {frames.PROTOCOL_ERROR}),
    "update_of_wrong_size": (lambda c: c.frame(frames.WINDOW_UPDATE, 0, 0, b"\0" * 3), {frames.FRAME_SIZE_ERROR}),
    "window_over_the_limit": (lambda c: c.frame(frames.WINDOW_UPDATE, 0, 0, word(HUGE)), {frames.FLOW_CONTROL_ERROR}),
    # RFC 9218 §7.1
    "priority_update_of_a_stream": (
        lambda c: c.frame(frames.PRIORITY_UPDATE, 0, 1, word(1) + b"u=1"),
        {frames.PROTOCOL_ERROR},
    ),
}


@pytest.mark.parametrize("name", CONNECTION)
def test_what_breaks_the_connection_ends_it_with_the_right_code(node, name):
    sent, codes = CONNECTION[name]
    with FrameClient(node, {frames.INITIAL_WINDOW_SIZE: 0}, open=name != "preface") as client:
        client.send(b"GET / HTTP/1.1\r\nHost: localhost\r\n\r\n" if name == "preface" else sent(client))
        assert client.error() in codes
        while client.read_frame() is not None:
            pass
        assert client.ended
    assert node.fetch("/t/small").status == 200


def test_a_preface_without_settings_is_refused(node):
    with FrameClient(node, open=False) as client:
        client.send(frames.PREFACE + client.frame(frames.PING, 0, 0, b"\0" * 8))
        assert client.error() in (frames.PROTOCOL_ERROR, None)


# --- stream errors: requests that are none (§8.1, §8.2, §8.3) ---

MALFORMED = {
    "upper_case_name": [*GET, ("X-Upper", "a")],
    "space_in_name": [*GET, ("x y", "a")],
    "colon_in_name": [*GET, ("x:y", "a")],
    "nul_in_value": [*GET, ("x", "a\0b")],
    "line_feed_in_value": [*GET, ("x", "a\nb")],
    "carriage_return_in_value": [*GET, ("x", "a\r\nhost: evil")],
    "connection": [*GET, ("connection", "close")],
    "keep_alive": [*GET, ("keep-alive", "1")],
    "proxy_connection": [*GET, ("proxy-connection", "close")],
    "transfer_encoding": [*GET, ("transfer-encoding", "chunked")],
    "upgrade": [*GET, ("upgrade", "websocket")],
    "te_other_than_trailers": [*GET, ("te", "gzip")],
    "no_method": GET[1:],
    "no_scheme": [GET[0], *GET[2:]],
    "no_path": GET[:3],
    "empty_path": [*GET[:3], (":path", "")],
    "two_methods": [GET[0], *GET],
    "two_schemes": [GET[1], *GET],
    "two_paths": [GET[3], *GET],
    "unknown_pseudo_field": [*GET, (":x", "a")],
    "status_in_a_request": [*GET, (":status", "200")],
    "pseudo_field_behind_a_field": [*GET[:3], ("x", "a"), GET[3]],
    "another_host": [*GET, ("host", "other.example")],
    "no_authority_and_no_host": [GET[0], GET[1], GET[3]],
    "path_that_is_a_url": [GET[0], (":scheme", "ftp"), GET[2], (":path", "https://localhost/t/small")],
    "path_of_another_host": [GET[0], (":scheme", "x"), GET[2], (":path", "http://other.example/t/small")],
    "path_with_a_space": [*GET[:3], (":path", "/t/small x")],
    "path_with_a_line": [*GET[:3], (":path", "/t/small HTTP/1.1\r\nx: y")],
    "length_that_is_no_number": [*GET, ("content-length", "a")],
    "two_lengths": [*GET, ("content-length", "1"), ("content-length", "1")],
    "length_without_a_body": [*GET, ("content-length", "5")],
}


@pytest.mark.parametrize("name", MALFORMED)
def test_a_malformed_request_is_reset_and_the_connection_lives(node, origin, name):
    before = len(origin.requests)
    with FrameClient(node) as client:
        stream = client.ask(pseudo=MALFORMED[name])
        assert client.answer(stream).reset == frames.PROTOCOL_ERROR
        assert client.fetch("/t/small").status == 200
    assert all(request.target == "/t/small" for request in origin.requests[before:])


def test_a_body_longer_or_shorter_than_announced_is_reset(node):
    for length, body in (("3", b"abcd"), ("5", b"abcd")):
        with FrameClient(node) as client:
            stream = client.new_stream()
            block = client.block("/t/small", method="POST", more=[("content-length", length)])
            client.send(
                client.frame(frames.HEADERS, frames.END_HEADERS, stream, block)
                + client.frame(frames.DATA, frames.END_STREAM, stream, body)
            )
            frame = client.read_until(lambda f: f.stream == stream and f.type == frames.RST_STREAM)
            assert struct.unpack(">I", frame.payload)[0] == frames.PROTOCOL_ERROR
            assert client.is_alive()


def test_trailers_with_a_pseudo_field_are_reset(node):
    with FrameClient(node) as client:
        stream = client.new_stream()
        client.send(client.frame(frames.HEADERS, frames.END_HEADERS, stream, client.block("/t/small", method="POST")))
        client.send_frame(frames.HEADERS, 5, stream, client.encoder.encode([(":path", "/x")]))
        frame = client.read_until(lambda f: f.stream == stream and f.type == frames.RST_STREAM)
        assert frame is not None
        assert client.is_alive()


def test_a_window_of_a_stream_over_the_limit_resets_that_stream(node):
    with FrameClient(node, initial={frames.INITIAL_WINDOW_SIZE: 10}) as client:
        stream = client.ask("/t/1")
        for _ in range(2):
            client.send_frame(frames.WINDOW_UPDATE, 0, stream, word(HUGE))
        assert client.answer(stream, windows=False).reset == frames.FLOW_CONTROL_ERROR
        assert client.is_alive()


def test_an_update_of_a_stream_by_0_resets_that_stream(node):
    with FrameClient(node, initial={frames.INITIAL_WINDOW_SIZE: 10}) as client:
        stream = client.ask("/t/1")
        client.send_frame(frames.WINDOW_UPDATE, 0, stream, word(0))
        answer = client.answer(stream, windows=False)
        # Or the connection: §5.4.1 leaves it to us to take a stream's error for one of it.
        assert frames.PROTOCOL_ERROR in (answer.reset, answer.goaway)


def test_data_behind_the_end_of_a_request_is_an_error(node):
    with FrameClient(node, initial={frames.INITIAL_WINDOW_SIZE: 10}) as client:
        stream = client.ask("/t/1")
        client.send_frame(frames.DATA, 0, stream, b"a")
        answer = client.answer(stream, windows=False)
        assert frames.STREAM_CLOSED in (answer.reset, answer.goaway)


# --- what must be ignored, or answered ---


def test_settings_and_pings_are_answered_and_what_is_unknown_is_ignored(node):
    with FrameClient(node, initial={0x99: 7, frames.MAX_CONCURRENT_STREAMS: 5}) as client:
        first = client.read_frame()
        assert (first.type, first.flags, first.stream) == (frames.SETTINGS, 0, 0)
        told = {key: value for key, value in struct.iter_unpack(">HI", first.payload)}
        assert told == {frames.MAX_CONCURRENT_STREAMS: 100, frames.MAX_HEADER_LIST_SIZE: 32768, 9: 1}
        assert client.read_until(lambda f: f.type == frames.SETTINGS and f.flags & frames.ACK)
        client.send_frame(0x99, 0xFF, 0, b"unknown")
        client.send_frame(0x99, 0xFF, 7, b"unknown")
        client.send_frame(frames.PING, 0xFE, 0, b"abcdefgh")  # undefined flags
        pong = client.read_until(lambda f: f.type == frames.PING)
        assert (pong.flags, pong.stream, pong.payload) == (frames.ACK, 0, b"abcdefgh")
        assert client.fetch("/t/small").status == 200


def test_frames_of_a_stream_that_is_over_are_ignored(node):
    with FrameClient(node) as client:
        stream = finished_request(client)
        for type, payload in ((frames.WINDOW_UPDATE, word(10)), (frames.RST_STREAM, word(8))):
            client.send_frame(type, 0, stream, payload)
        client.send_frame(frames.PRIORITY, 0, stream, b"\0\0\0\0\1")
        client.send_frame(frames.PRIORITY_UPDATE, 0, 0, word(stream) + b"u=1")
        assert client.is_alive()


def test_priority_and_padding_in_headers_are_understood(node):
    with FrameClient(node) as client:
        flags = 5 | frames.PADDED | frames.WITH_PRIORITY
        payload = b"\x03" + b"\0\0\0\0\x10" + client.block("/t/small") + b"\0\0\0"
        stream = client.new_stream()
        client.send_frame(frames.HEADERS, flags, stream, payload)
        assert client.answer(stream).status == 200


def test_a_field_block_may_come_in_pieces(node):
    with FrameClient(node) as client:
        block = client.block("/t/small", more=[("x", "y" * 100)])
        stream = client.new_stream()
        client.send_frame(frames.HEADERS, frames.END_STREAM, stream, block[:1])
        client.send_frame(frames.CONTINUATION, 0, stream, block[1:7])
        client.send_frame(frames.CONTINUATION, 0, stream, b"")
        client.send_frame(frames.CONTINUATION, frames.END_HEADERS, stream, block[7:])
        assert client.answer(stream).status == 200


def test_the_window_of_a_stream_and_of_the_connection_are_kept(node, origin):
    want = origin.tracks["/t/1"].body
    with FrameClient(node, initial={frames.INITIAL_WINDOW_SIZE: 1000}) as client:
        stream = client.ask("/t/1")
        got = b""
        while len(got) < 1000:
            frame = client.read_until(lambda f: f.type == frames.DATA)
            got += frame.payload
        assert len(got) == 1000
        assert client.is_alive()
        assert not [f for f in client.kept if f.type == frames.DATA]
        # A smaller initial window makes it negative (§6.9.2); nothing may come before it is positive.
        client.send_frame(frames.SETTINGS, 0, 0, frames.settings({frames.INITIAL_WINDOW_SIZE: 500}))
        client.send_frame(frames.WINDOW_UPDATE, 0, stream, word(500))
        assert client.is_alive()
        assert not [f for f in client.kept if f.type == frames.DATA]
        client.send_frame(frames.WINDOW_UPDATE, 0, stream, word(2000))
        while len(got) < 3000:
            got += client.read_until(lambda f: f.type == frames.DATA).payload
        # Now the connection's window, 65,535 from the start.
        client.send_frame(frames.WINDOW_UPDATE, 0, stream, word(1_000_000))
        while len(got) < 65_535:
            got += client.read_until(lambda f: f.type == frames.DATA).payload
        assert len(got) == 65_535
        assert client.is_alive()
        assert not [f for f in client.kept if f.type == frames.DATA]
        assert got == want[: len(got)]


def test_no_frame_is_larger_than_the_client_allows(node, origin):
    with FrameClient(node, initial={frames.INITIAL_WINDOW_SIZE: 10**6}) as client:
        client.send_frame(frames.WINDOW_UPDATE, 0, 0, word(10**6))
        stream = client.ask("/t/1", more=[("range", "bytes=0-499999")])
        answer = client.answer(stream)
        assert (answer.status, answer.body) == (206, origin.tracks["/t/1"].body[:500_000])
        assert all(len(frame.payload) <= 16384 for frame in client.kept)


def test_a_response_has_no_field_of_the_connection_and_lower_case_names(node):
    with FrameClient(node) as client:
        for path in ("/t/small", "/none"):
            answer = client.fetch(path)
            names = [name for name, _ in answer.fields]
            assert not {"connection", "keep-alive", "transfer-encoding", "upgrade"} & set(names)
            assert names == [name.lower() for name in names]


def test_head_and_304_end_with_their_head(node):
    with FrameClient(node) as client:
        etag = client.fetch("/t/small")["etag"]
        for keywords in ({"method": "HEAD"}, {"more": [("if-none-match", etag)]}):
            stream = client.ask("/t/small", **keywords)
            frame = client.read_until(lambda f: f.stream == stream)
            assert frame.type == frames.HEADERS
            assert frame.ends_stream


def test_the_pieces_of_a_cookie_are_one_field(node):
    """§8.2.3; not seen by any origin unless a site passes cookies, so the answer is what is looked at."""
    with FrameClient(node) as client:
        answer = client.fetch("/t/small", more=[("cookie", "a=1"), ("x", "y"), ("cookie", "b=2")])
        assert answer.status == 200


def test_http2_is_not_spoken_without_tls(origin):
    """h2c is not offered: neither by prior knowledge nor by Upgrade (RFC 9113 §3.1 has dropped it)."""
    import socket

    from support.node import Node
    from support.settings import config_for

    with Node(config_for(origin.url), tls=False) as plain:
        with socket.create_connection(plain.address, 15) as over:
            over.sendall(frames.PREFACE + FrameClient.frame(frames.SETTINGS))
            assert over.recv(100).startswith(b"HTTP/1.1 ")
