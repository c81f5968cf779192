"""What one HTTP/2 client may cost, and that the others do not pay for it."""
import struct

import pytest

from support import faults, frames, transport
from support.client import wait_until, wait_until_steady
from support.frames import FrameClient
from support.node import Node
from support.settings import config_for


def word(number):
    return struct.pack(">I", number)


def settled(node):
    """Nothing is held for any request, and no connection is left."""
    wait_until(lambda: node.metric("segue_http2_connections") == 0, what="connections gone")
    pieces = {key: value for key, value in node.metrics().items() if key.startswith("segue_connection_pieces")}
    assert not any(value for key, value in pieces.items() if "request" in key or "exchange" in key or "http2" in key)


def send_much(client, piece, times):
    """In pieces, so that what the node says meanwhile does not block it."""
    for _ in range(0, times, 50):
        client.send(b"".join(piece() for _ in range(50)))


def reset_at_once(client):
    stream = client.new_stream()
    block = client.block("/t/1")
    return client.frame(frames.HEADERS, 5, stream, block) + client.frame(frames.RST_STREAM, 0, stream, word(8))


def made_reset(client):
    """Makes the node reset it: its own window update breaks a rule (CVE-2025-8671)."""
    stream = client.new_stream()
    block = client.block(pseudo=[(":method", "GET"), (":scheme", "https"), (":path", "/"), ("connection", "x")])
    return client.frame(frames.HEADERS, 5, stream, block)


FLOODS = {
    "reset": (reset_at_once, 1000),
    "made_reset": (made_reset, 1000),
    "settings": (lambda c: c.frame(frames.SETTINGS, 0, 0, b""), 200),
    "ping": (lambda c: c.frame(frames.PING, 0, 0, b"\0" * 8), 500),
    "priority": (lambda c: c.frame(frames.PRIORITY, 0, 3, b"\0\0\0\1\1"), 2000),
    "priority_update": (lambda c: c.frame(frames.PRIORITY_UPDATE, 0, 0, word(3) + b"u=1"), 2000),
    "window_update": (lambda c: c.frame(frames.WINDOW_UPDATE, 0, 0, word(1)), 5000),
    "empty_frame": (lambda c: c.frame(frames.DATA, 0, 1, b""), 500),
    "padding_alone": (lambda c: c.frame(frames.DATA, frames.PADDED, 1, b"\x0f" + b"\0" * 15), 500),
    "unknown_frame": (lambda c: c.frame(0x66, 0, 0, b""), 500),
    "continuation": (lambda c: c.frame(frames.CONTINUATION, 0, 3, b""), 100),
}
LABELS = {"made_reset": "reset", "priority_update": "priority", "padding_alone": "empty_frame"}


@pytest.fixture(scope="module")
def relaying(origin):
    """Takes bodies, so that a stream can stay open for them."""
    with Node(
        config_for(origin.url, site='methods = ["POST"]'),
        tls=transport.certificate_table(transport.default_certificate()),
    ) as running:
        yield running


@pytest.mark.parametrize("name", FLOODS)
def test_a_flood_is_told_to_calm_down_while_others_are_served(relaying, name):
    node = relaying
    piece, times = FLOODS[name]
    flood = LABELS.get(name, name)
    key = f'segue_http2_calmed_total{{listener="public",flood="{flood}"}}'
    keys = (key, 'segue_http2_memory_spent_total{listener="public"}')  # whichever bound comes first

    def ended():
        metrics = node.metrics()
        return sum(metrics[each] for each in (keys if name == "made_reset" else keys[:1]))

    before = ended()
    with FrameClient(node) as quiet, FrameClient(node) as loud:
        assert quiet.fetch("/t/small").status == 200
        if name in ("empty_frame", "padding_alone"):
            loud.ask("/t/1", flags=frames.END_HEADERS, method="POST")
        if name == "continuation":
            loud.send_frame(frames.HEADERS, frames.END_STREAM, 3, loud.block())
        send_much(loud, lambda: piece(loud), times)
        assert loud.error() == frames.ENHANCE_YOUR_CALM
        assert quiet.fetch("/t/small").status == 200
    assert ended() == before + 1
    settled(node)


def test_as_much_as_players_do_is_no_flood(node):
    with FrameClient(node) as client:
        for _ in range(8):
            client.send(client.frame(frames.PING, 0, 0, b"\0" * 8) * 4)
            for _ in range(8):
                client.send(reset_at_once(client))
            assert client.fetch("/t/small").status == 200


def test_updates_of_both_windows_for_each_4_kib_read_are_no_flood(node, origin):
    """As Go's client sends them, at any speed."""
    origin.add("/t/long", 16_000_000)
    update = word(4096)
    with FrameClient(node, initial={frames.INITIAL_WINDOW_SIZE: 4 << 20}) as client:
        client.send_frame(frames.WINDOW_UPDATE, 0, 0, word(1 << 30))
        stream = client.ask("/t/long")
        unread, left = 0, 16_000_000
        while left > 0:
            frame = client.read_frame()
            assert frame is not None and frame.type != frames.GOAWAY
            if frame.type == frames.DATA:
                left -= len(frame.payload)
                unread += len(frame.payload)
                both = client.frame(frames.WINDOW_UPDATE, 0, 0, update)
                both += client.frame(frames.WINDOW_UPDATE, 0, stream, update)
                client.send(both * (unread // 4096))
                unread %= 4096
        assert client.is_alive()


def test_a_field_block_that_unpacks_to_far_too_much_is_a_flood(node):
    """4,000 bytes in the table once, then a byte for each time (an HPACK bomb)."""
    with FrameClient(node) as client:
        block = client.encoder.encode([("x", "a" * 3900)], huffman=False) + b"\xbe" * 200
        client.send_frame(frames.HEADERS, 5, 1, client.block() + block)
        assert client.error() == frames.ENHANCE_YOUR_CALM
    settled(node)


def test_a_head_over_the_limits_is_431_and_the_connection_lives(node):
    many = [(f"x-{i}", "a") for i in range(120)]
    long = [("x", "a" * 9000)]
    together = [(f"x-{i}", "a" * 7000) for i in range(5)]
    with FrameClient(node) as client:
        for more in (many, long, together):
            stream = client.new_stream()
            block = client.block("/t/small", more=more)
            pieces = [block[at : at + 16000] for at in range(0, len(block), 16000)]
            for i, piece in enumerate(pieces):
                last = frames.END_HEADERS if i == len(pieces) - 1 else 0
                client.send_frame(frames.CONTINUATION if i else frames.HEADERS, last | (not i), stream, piece)
            assert client.answer(stream).status == 431
        assert client.fetch("/t/small").status == 200
        assert client.fetch("/" + "a" * 8300).status == 414


def test_a_cookie_in_thousands_of_pieces_is_431_and_costs_no_more_than_its_bytes(node):
    """A byte of HPACK each, in front of 24 KiB that would have to move for each."""
    with FrameClient(node) as client:

        def encode(*fields):
            return client.encoder.encode(fields, huffman=False)

        stream = client.new_stream()
        block = client.block("/t/small") + encode(("cookie", "a"), ("x", "a" * 3500))
        block += encode(("x", "a" * 3500)) * 6 + encode(("cookie", "a")) * 2400
        client.send_frame(frames.HEADERS, 5, stream, block)
        assert client.answer(stream).status == 431
        assert client.fetch("/t/small").status == 200


def test_more_streams_than_allowed_are_refused_and_the_others_served(node, origin):
    """A hundred streams whose answers cannot end, and twenty more."""
    with FrameClient(node, initial={frames.INITIAL_WINDOW_SIZE: 0}) as client:
        assert client.read_until(lambda f: f.type == frames.SETTINGS and f.flags & frames.ACK)
        streams = [client.ask("/t/1") for _ in range(120)]
        # nghttp2 ends the connection for it once the client has acknowledged our limit, which this one has not.
        for stream in streams[100:]:
            assert client.answer(stream).reset == frames.REFUSED_STREAM
        client.send_frame(frames.SETTINGS, 0, 0, frames.settings({frames.INITIAL_WINDOW_SIZE: 1000}))
        for stream in streams[:100]:
            client.send_frame(frames.RST_STREAM, 0, stream, word(8))
        assert client.is_alive()
    settled(node)


def test_who_goes_on_opening_streams_beyond_the_limit_is_told_to_calm_down(node):
    """It takes every refusal before it goes on, so that nothing piles up."""
    calmed = 'segue_http2_calmed_total{listener="public",flood="reset"}'
    before = node.metrics()[calmed]
    with FrameClient(node, initial={frames.INITIAL_WINDOW_SIZE: 0}) as client:
        rounds = 0
        while rounds < 100 and client.is_alive():
            for _ in range(50):
                client.ask("/t/1")
            rounds += 1
        assert rounds > 6, "a burst under way when it was told the limit is none"
        assert client.goaway == frames.ENHANCE_YOUR_CALM
    assert node.metrics()[calmed] == before + 1
    settled(node)


def test_a_body_that_nobody_wants_is_not_read_to_its_end(node):
    with FrameClient(node) as client:
        stream = client.ask("/t/small", flags=frames.END_HEADERS)
        answer = client.answer(stream)
        assert (answer.status, answer.reset) == (200, None)
        told = client.read_until(lambda f: f.type == frames.RST_STREAM and f.stream == stream)
        assert struct.unpack(">I", told.payload)[0] == frames.NO_ERROR
        assert client.fetch("/t/small").status == 200


def test_a_relayed_body_is_passed_on_and_one_too_long_is_413(relaying):
    with FrameClient(relaying) as client:
        for length, status in ((60_000, 200), (70_000, 413)):
            stream = client.ask("/t/small", flags=frames.END_HEADERS, method="POST")
            for at in range(0, length, 10_000):
                end = frames.END_STREAM if at + 10_000 >= length else 0
                client.send_frame(frames.DATA, end, stream, b"a" * 10_000)
            answer = client.answer(stream)
            assert answer.status == status
            client.kept.clear()
        assert client.is_alive()


def test_what_a_client_resets_is_given_back_at_once(origin):
    """A client that leaves a stream on a cold track that does not come frees it; its connection lives."""
    origin.add("/t/hangs", 600_000)
    origin.misbehave("/t/hangs", faults.silent)
    with Node(
        config_for(origin.url), tls=transport.certificate_table(transport.default_certificate())
    ) as node, FrameClient(node) as client:
        stream = client.ask("/t/hangs")
        wait_until(lambda: node.metrics()['segue_connection_pieces{listener="public",pool="exchange"}'] == 1)
        client.send_frame(frames.RST_STREAM, 0, stream, word(8))
        wait_until(lambda: node.metrics()['segue_connection_pieces{listener="public",pool="exchange"}'] == 0)
        assert client.is_alive()
        assert node.metric("segue_http_clients_gone_total") == 1


def test_a_response_that_breaks_off_is_reset_and_never_ended(origin):
    origin.add("/t/cut", 600_000)
    origin.misbehave("/t/cut", faults.short_body)
    with Node(
        config_for(origin.url), tls=transport.certificate_table(transport.default_certificate())
    ) as node, FrameClient(node) as client:
        answer = client.fetch("/t/cut")
        assert (answer.status, answer.reset) == (200, frames.INTERNAL_ERROR)
        assert client.is_alive()


def test_a_drain_says_goaway_and_lets_what_runs_end(origin):
    want = origin.tracks["/t/1"].body
    with Node(
        config_for(origin.url), tls=transport.certificate_table(transport.default_certificate())
    ) as node, FrameClient(node) as client:
        client.send_frame(frames.WINDOW_UPDATE, 0, 0, word(10**7))
        running = client.ask("/t/1")
        first = client.read_until(lambda f: f.type == frames.DATA)
        client.kept.append(first)
        node.process.terminate()
        notice = client.read_until(lambda f: f.type == frames.GOAWAY)
        assert (client.goaway, client.last_stream) == (frames.NO_ERROR, 2**31 - 1)
        assert notice is not None
        # Sent before the client saw it, so to say.
        late = client.ask("/t/small")
        answer = client.answer(late)
        assert answer.status == 200
        whole = client.answer(running)
        assert (len(whole.body), whole.reset, whole.goaway) == (len(want), None, None)
        assert whole.body == want
        ping = [f for f in client.kept if f.type == frames.PING and not f.flags] or [
            client.read_until(lambda f: f.type == frames.PING and not f.flags)
        ]
        client.send_frame(frames.PING, frames.ACK, 0, ping[0].payload)
        while client.read_frame() is not None:
            pass
        assert (client.goaway, client.last_stream) == (frames.NO_ERROR, late)
        assert node.stop() == 0


def wait_until_full(node, requests):
    """Until so many were asked, and the socket of a client that does not read takes no more."""
    wait_until(lambda: node.metric("segue_http2_requests_total") == requests, what="all asked")
    wait_until_steady(lambda: node.metrics()['segue_http_sent_bytes_total{listener="public"}'], what="what was sent")


def test_answers_of_our_own_wait_for_room_beside_tracks_that_fill_the_socket(node):
    wide = {frames.INITIAL_WINDOW_SIZE: 2**30}
    with FrameClient(node, wide, receive_buffer=4096) as client:
        node.fetch("/t/1")
        before = node.metric("segue_http2_requests_total")
        client.send_frame(frames.WINDOW_UPDATE, 0, 0, word(2**30))
        full = [client.ask("/t/1") for _ in range(2)]
        wait_until_full(node, before + 2)
        refused, allowed = client.ask("/t/1", method="DELETE"), client.ask("/t/1", method="OPTIONS")
        wait_until(lambda: node.metric("segue_http2_requests_total") == before + 4, what="all asked")
        for stream in full:
            assert len(client.answer(stream).body) == 1_500_000
        assert (client.answer(refused).status, client.answer(allowed).status) == (405, 204)


def test_a_hundred_tracks_with_long_heads_come_whole_to_a_client_that_reads_late(origin):
    """Their heads alone are more than may be held for a connection, and there is no room for them when they are due."""
    for i in range(100):
        origin.add(f"/t/long-head-{i}", 20_000, fields={"X-Policy": "p" * 2500})
    tls = transport.certificate_table(transport.default_certificate())
    wide = {frames.INITIAL_WINDOW_SIZE: 2**30}
    with Node(config_for(origin.url), tls=tls) as node, FrameClient(node, wide, receive_buffer=4096) as client:
        node.fetch("/t/1")
        for i in range(100):
            node.fetch(f"/t/long-head-{i}")
        before = node.metric("segue_http2_requests_total")
        client.send_frame(frames.WINDOW_UPDATE, 0, 0, word(2**30))
        full = [client.ask("/t/1") for _ in range(2)]
        wait_until_full(node, before + 2)
        late = [client.ask(f"/t/long-head-{i}") for i in range(95)]
        wait_until(lambda: node.metric("segue_http2_requests_total") == before + 97, what="all asked")
        left = {**{stream: 1_500_000 for stream in full}, **{stream: 20_000 for stream in late}}
        while any(left.values()):
            frame = client.read_frame()
            assert frame is not None and frame.type not in (frames.GOAWAY, frames.RST_STREAM)
            if frame.type == frames.DATA:
                left[frame.stream] -= len(frame.payload)
        assert node.metric("segue_http2_memory_spent_total") == 0


# Two tracks on one connection that is the bottleneck. The client opens the connection's window by one grant at a time
# and the next one only when all of it came and a PING behind it was answered, so that both tracks wait whenever the
# node chooses: what comes is counted in bytes, and no clock has a say in it.

EVEN = 32_768  # a slice is eight of them: no grant is shared because a slice has ended
GRANTS = 34  # less than a track


def take(client, bytes):
    """So many bytes of bodies, by stream."""
    got = {}
    while bytes > 0:
        frame = client.read_frame()
        assert frame is not None
        if frame.type == frames.DATA:
            got[frame.stream] = got.get(frame.stream, 0) + len(frame.payload)
            bytes -= len(frame.payload)
    assert bytes == 0
    return got


def play_two(node, first, second, update=None, early=(), grant=EVEN):
    """The two streams, and for each grant what came of both."""
    node.fetch("/t/1")
    with FrameClient(node, initial={frames.INITIAL_WINDOW_SIZE: 2**30}) as client:
        a = client.ask("/t/1", more=[("priority", first)] if first else [])
        take(client, 65_535)  # the connection's first window
        client.send_frame(frames.WINDOW_UPDATE, 0, 0, word(1))
        take(client, 1)
        for value in early:
            client.send_frame(frames.PRIORITY_UPDATE, 0, 0, word(client.next_stream) + value)
        b = client.ask("/t/1", more=[("priority", second)] if second else [])
        if update:
            client.send_frame(frames.PRIORITY_UPDATE, 0, 0, word(a) + update)
        grants = []
        for _ in range(GRANTS):
            assert client.is_alive()
            client.send_frame(frames.WINDOW_UPDATE, 0, 0, word(grant))
            got = take(client, grant)
            grants.append((got.get(a, 0), got.get(b, 0)))
        return grants


def sums(grants):
    return tuple(sum(column) for column in zip(*grants))


def test_the_playing_track_goes_before_the_one_fetched_ahead(node):
    prefetched, playing = sums(play_two(node, "u=6", "u=1"))
    # One batch in seventeen, so that it is not starved to death.
    assert EVEN <= prefetched <= 3 * EVEN
    assert playing == GRANTS * EVEN - prefetched


def test_a_priority_update_changes_the_order(node):
    """The track fetched ahead becomes the one that plays."""
    raised, other = sums(play_two(node, "u=6", "u=4", update=b"u=0"))
    assert EVEN <= other <= 3 * EVEN
    assert raised == GRANTS * EVEN - other


def test_of_two_priority_updates_before_a_stream_begins_the_later_counts(node):
    other, raised = sums(play_two(node, "u=3", None, early=(b"u=6", b"u=0")))
    assert EVEN <= other <= 3 * EVEN
    assert raised == GRANTS * EVEN - other


@pytest.mark.parametrize("grant", [EVEN, 65_535])
def test_without_priorities_tracks_share_by_bytes(node, grant):
    """65,535 is a batch and 35 bytes: a client that opens its window when it is used up."""
    grants = play_two(node, None, None, grant=grant)
    for upto in range(1, len(grants) + 1):
        a, b = sums(grants[:upto])
        assert abs(a - b) <= 2 * grant


def test_what_is_not_incremental_goes_one_after_the_other(node):
    first, second = sums(play_two(node, "u=3", "u=3"))
    assert EVEN <= second <= 3 * EVEN
    assert first == GRANTS * EVEN - second
