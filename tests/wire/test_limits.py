"""What one client may take: connections, requests, origin bytes of its misses, pace; and whom a connection is from
where a balancer says so by the PROXY protocol."""
import contextlib
import re
import signal
import socket
import struct
import subprocess

import pytest

from support import transport
from support.client import wait_until
from support.node import Node, run_segue
from support.settings import config_for
from test_tokens import exact, ours, site_with, LATER, PATH

SLICE = 262144
MIB = 1 << 20


def limited(origin, limits, **keywords):
    return config_for(origin.url, more=f"[limits]\n{limits}", node="", **keywords).replace("threads = 2", "threads = 1")


def refusals(node, reason):
    return node.metrics().get(f'segue_requests_refused_total{{reason="{reason}"}}', 0)


# --- connections, requests ---


def test_a_client_has_as_many_connections_as_allowed_and_the_next_is_closed(origin):
    origin.add("/t", 1000)
    with Node(limited(origin, "connections = 3")) as node:
        held = [node.connect() for _ in range(3)]
        for connection in held:
            connection.request("/t")
            assert connection.read_response().status == 200
        with node.connect(plain=True) as one_more:
            assert one_more.is_closed_by_peer()
        refused = 'segue_connections_refused_total{listener="public",reason="client"}'
        assert node.metrics()[refused] == 1
        held.pop().close()
        wait_until(lambda: node.metrics()['segue_connections_active{listener="public"}'] == 2, what="its end")
        assert node.fetch("/t").status == 200
        for connection in held:
            connection.close()
        wait_until(lambda: node.metric("segue_limits_clients") == 0, what="nobody")


def test_requests_over_the_rate_are_429_and_say_when_to_come_again(origin):
    origin.add("/t", 1000)
    with Node(limited(origin, "requests_per_second = 2")) as node:
        with node.connect() as connection:
            statuses = []
            for _ in range(40):
                connection.request("/t", Origin="https://player.example")
                response = connection.read_response()
                statuses.append(response.status)
                if response.status == 429:
                    assert 1 <= int(response["Retry-After"]) <= 4
                    assert response["Access-Control-Allow-Origin"] == "*"
            assert statuses[:8] == [200] * 8 and 429 in statuses
        assert refusals(node, "limit_requests") == statuses.count(429)
        # A reload lifts it.
        node.config_path.write_text(node.config_path.read_text().replace("requests_per_second = 2", ""))
        node.process.send_signal(signal.SIGHUP)
        wait_until(lambda: node.metrics()['segue_reloads_total{outcome="done"}'] == 1, what="the reload")
        assert node.fetch("/t").status == 200


def test_who_guesses_at_tokens_is_counted_too(origin, tmp_path):
    origin.add(PATH, 1000)
    for by in ("client", "token"):
        limits = f'requests_per_second = 2\nby = "{by}"'
        with Node(limited(origin, limits, site=site_with(tmp_path))) as node:
            statuses = [node.fetch(f"{PATH}?token=kid=k1~exp={LATER}~sig=guess{i}").status for i in range(40)]
            assert set(statuses) == {403, 429}


@pytest.mark.parametrize("by", ["client", "token"])
def test_what_nobody_is_served_counts_for_its_sender_and_preflights_only_where_addresses_count(origin, tmp_path, by):
    limits = f'requests_per_second = 1\nby = "{by}"'
    with Node(limited(origin, limits, site=site_with(tmp_path))) as node:
        preflights = {node.fetch(PATH, method="OPTIONS").status for _ in range(40)}
        assert preflights == ({204} if by == "token" else {204, 429})
    with Node(limited(origin, limits, site=site_with(tmp_path))) as node:
        assert {node.fetch(PATH, method="PUT").status for _ in range(40)} == {405, 429}
        assert refusals(node, "limit_requests") > 0
    assert not origin.requests_for(PATH)


# --- misses ---


def test_a_client_whose_misses_cost_too_much_gets_hits_alone(origin):
    for i in range(12):
        origin.add(f"/t{i}", 4 * SLICE)
    with Node(limited(origin, 'miss_bytes_per_second = "64KiB"')) as node:
        answers = {i: node.fetch(f"/t{i}", Range=f"bytes=0-{SLICE - 1}") for i in range(12)}
        missed = [i for i, answer in answers.items() if answer.status == 429]
        served = [i for i, answer in answers.items() if answer.status == 206]
        assert served[:2] == [0, 1] and missed
        for i in missed:
            assert answers[i]["Retry-After"] and b"limit_misses" in answers[i].body
            assert not origin.requests_for(f"/t{i}")
        # What is here is served all the same, from RAM and in parts; what is not here is not asked for.
        for i in served:
            hit = node.fetch(f"/t{i}", Range="bytes=5-100")
            assert hit.status == 206 and hit.is_hit
            asked = len(origin.requests_for(f"/t{i}"))
            for absent in [f"bytes={2 * SLICE}-", f"bytes={SLICE - 1}-", "bytes=0-"]:
                assert node.fetch(f"/t{i}", Range=absent).status == 429
            assert len(origin.requests_for(f"/t{i}")) == asked
        assert refusals(node, "limit_misses") >= len(missed)


@pytest.mark.parametrize("way", ["leaves at once", "HEAD", "asks for many parts"])
def test_what_the_origin_sent_is_paid_however_it_was_asked_for(origin, way):
    tracks = [f"/t{i}" for i in range(40)]
    for track in tracks:
        origin.add(track, 20 * SLICE)
    with Node(limited(origin, 'miss_bytes_per_second = "32KiB"')) as node:
        for track in tracks:
            if way == "HEAD":
                node.fetch(track, method="HEAD")
            elif way == "leaves at once":
                with node.connect() as gone:
                    gone.request(track)
                wait_until(lambda: node.metric("segue_requests_in_flight") == 0, what="its end")
            else:
                parts = ",".join(f"{i * SLICE}-{i * SLICE}" for i in range(4))
                node.fetch(track, Range=f"bytes={parts}")
        asked = [track for track in tracks if origin.requests_for(track)]
        assert len(asked) < 12, "8 s at 32 KiB/s are one slice"
        assert refusals(node, "limit_misses") > 0


def test_a_crowd_behind_one_address_pays_once_for_what_it_waits_for(origin):
    origin.add("/live", 4 * SLICE, delay=0.5)
    origin.add("/cold", SLICE)
    with Node(limited(origin, 'miss_bytes_per_second = "128KiB"')) as node, contextlib.ExitStack() as stack:
        crowd = [stack.enter_context(node.connect()) for _ in range(20)]
        for listener in crowd:
            listener.request("/live", Range=f"bytes=0-{SLICE - 1}")
        for listener in crowd:
            assert listener.read_response().status == 206
        assert node.fetch("/cold").status == 200
        assert refusals(node, "limit_misses") == 0


def test_one_byte_of_a_slice_costs_the_slice(origin):
    for i in range(16):
        origin.add(f"/t{i}", 4 * SLICE)
    with Node(limited(origin, 'miss_bytes_per_second = "64KiB"')) as node:
        statuses = [node.fetch(f"/t{i}", Range="bytes=0-0").status for i in range(16)]
        assert 429 in statuses, "sixteen bytes delivered, four megabytes asked of the origin"


def test_hits_alone_cost_nothing(origin):
    origin.add("/t", 2 * SLICE)
    with Node(limited(origin, 'miss_bytes_per_second = "128KiB"')) as node:
        assert node.fetch("/t").status == 200
        for _ in range(50):
            assert node.fetch("/t").status == 200
        assert refusals(node, "limit_misses") == 0


def test_a_hit_that_is_not_read_to_its_end_costs_nothing(origin):
    origin.add("/t", 20 * MIB)
    origin.add("/cold", SLICE)
    with Node(limited(origin, 'miss_bytes_per_second = "64KiB"')) as node:
        with node.connect(source="127.0.0.2") as other:  # whose misses are its own
            other.request("/t")
            assert len(other.read_response().body) == 20 * MIB
        for gone in range(3):
            with node.slow_body("/t"):
                pass
            wait_until(lambda: node.metric("segue_http_clients_gone_total") > gone, what="it has left")
        assert node.fetch("/cold").status == 200
        assert refusals(node, "limit_misses") == 0


def test_by_token_two_listeners_behind_one_address_have_a_limit_each(origin, tmp_path):
    origin.add(PATH, 1000)
    limits = 'requests_per_second = 1\nby = "token"'
    with Node(limited(origin, limits, site=site_with(tmp_path))) as node:

        def ask_until_refused(who):
            target = f"{PATH}?token={ours(f'kid=k1~exp={LATER}~prefix=/a/~id={who}')}"
            statuses = [node.fetch(target).status for _ in range(12)]
            assert statuses[0] == 200
            return 429 in statuses

        assert ask_until_refused("anna") and ask_until_refused("bert")
        # Without a name in the token the address counts.
        assert node.fetch(f"{PATH}?token={exact(PATH)}").status == 200


# --- pace ---


def max_pacing(node):
    """What the kernel was told of the node's connections: bits per second; none where it is told nothing."""
    port = node.address[1]
    shown = subprocess.run(["ss", "-tinH", f"sport = :{port}"], capture_output=True, text=True, check=True).stdout
    return re.findall(r"pacing_rate \d+bps/(\d+)bps", shown)


def test_a_connection_is_slowed_down_once_it_has_its_burst(origin):
    track = origin.add("/t", 8 * MIB)
    with Node(config_for(origin.url, site='pace = { bitrate = 8000, times = 10, burst = "1MiB" }'), tls=False) as node:
        node.fetch("/t")
        with node.connect() as connection:
            connection.request("/t", Range=f"bytes=0-{SLICE - 1}")
            assert len(connection.read_response().body) == SLICE
            # The first fetch's connection may still be closing, and it had its burst.
            wait_until(lambda: max_pacing(node) == [], what="no pace yet")
            connection.request("/t")
            connection.read_head()
            assert connection.read_exactly(4 * MIB) == track.body[: 4 * MIB]
            wait_until(lambda: max_pacing(node) == [str(8000 * 10 * 1000)], what="the pace")
            assert connection.read_exactly(4 * MIB) == track.body[4 * MIB :]


def test_a_pace_is_its_sites_alone(origin):
    """What slowed a connection down lets it go for the site that asks for no pace."""
    origin.add("/t", 8 * MIB)
    pace = 'pace = { bitrate = 8000, times = 10, burst = "1MiB" }'
    free = '\n[[site]]\nname = "free"\nhosts = ["free.example"]\norigin = "store"\n'
    with Node(config_for(origin.url, site=pace + free), tls=False) as node, node.connect() as connection:
        connection.request("/t", Range=f"bytes=0-{4 * MIB - 1}")
        assert connection.read_response().status == 206
        assert max_pacing(node) == [str(8000 * 10 * 1000)]
        connection.request("/t", host="free.example", Range="bytes=0-0")
        assert connection.read_response().status == 206
        assert max_pacing(node) == []


# --- PROXY protocol ---


def v1(address, family="TCP4", to="192.0.2.1"):
    return f"PROXY {family} {address} {to} 56324 443\r\n".encode()


def v2(address=None):
    signature = b"\r\n\r\n\0\r\nQUIT\n"
    if address is None:
        return signature + bytes([0x20, 0]) + struct.pack(">H", 0)
    body = socket.inet_aton(address) + socket.inet_aton("192.0.2.1") + struct.pack(">HH", 56324, 443)
    body += b"\x04\x00\x03xyz"
    return signature + bytes([0x21, 0x11]) + struct.pack(">H", len(body)) + body


class Balanced:
    """A node whose listener takes PROXY headers, with an access log that says whom requests were from."""

    def __init__(self, origin, folder, networks='"127.0.0.0/8"', more=""):
        self.log = folder / "access.ndjson"
        config = config_for(origin.url, more=f'[log]\naccess = "{self.log}"\n{more}')
        # Another listener, on which connections are from whom they come.
        config = config.replace("threads = 2", "threads = 1") + '[[listen]]\naddr = "127.0.0.2:0"\n'
        self.node = Node(config, folder=folder, tls=False, listener=f"proxy_protocol = [{networks}]")
        self.node.addresses = self.node._wait_until_listening(2)
        self.address, self.plain = sorted(self.node.addresses)


@pytest.fixture
def balanced(origin, tmp_path):
    origin.add("/t", 1000)
    made = Balanced(origin, tmp_path)
    with made.node:
        yield made


def ask(balanced, header, piecewise=False, **fields):
    lines = "".join(f"{name.replace('_', '-')}: {value}\r\n" for name, value in fields.items())
    request = f"GET /t HTTP/1.1\r\nHost: localhost\r\n{lines}Connection: close\r\n\r\n".encode()
    with socket.create_connection(balanced.address, timeout=10) as connection:
        connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        for piece in [bytes([byte]) for byte in header] if piecewise else [header]:
            connection.sendall(piece)
        try:
            connection.sendall(request)
            answer = b""
            while data := connection.recv(65536):
                answer += data
        except ConnectionError:
            return b""
        return answer


def clients_in(balanced, count):
    wait_until(lambda: balanced.log.exists() and balanced.log.read_text().count("\n") >= count, what="the log")
    return [line.split('"client":"')[1].split('"')[0] for line in balanced.log.read_text().splitlines()]


def test_a_balancer_says_whom_a_connection_is_from(balanced):
    headers = [v1("203.0.113.7"), v1("2001:db8::1", "TCP6", "::1"), v2("203.0.113.9"), v2(), b"PROXY UNKNOWN\r\n"]
    for header in headers:
        assert ask(balanced, header).startswith(b"HTTP/1.1 200 ")
        assert ask(balanced, header, piecewise=True).startswith(b"HTTP/1.1 200 ")
    expected = ["203.0.113.7", "2001:db8::1", "203.0.113.9", "127.0.0.1", "127.0.0.1"]
    assert clients_in(balanced, 10) == [each for each in expected for _ in range(2)]


def test_behind_the_header_tls_finds_its_first_byte(origin, tmp_path):
    origin.add("/t", 1000)
    certificate = transport.certificate_table(transport.default_certificate())
    log = tmp_path / "access.ndjson"
    config = config_for(origin.url, more=f'[log]\naccess = "{log}"')
    with Node(config, folder=tmp_path, tls=certificate, listener='proxy_protocol = "127.0.0.0/8"') as node:
        for header in (v1("203.0.113.7"), v2("203.0.113.7")):
            with socket.create_connection(node.address, timeout=10) as plain:
                plain.sendall(header)
                with transport.wrapped(plain) as connection:
                    connection.sendall(b"GET /t HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n")
                    assert connection.recv(15) == b"HTTP/1.1 200 OK"
        wait_until(lambda: log.exists() and log.read_text().count('"client":"203.0.113.7"') == 2, what="the log")


@pytest.mark.parametrize(
    "header",
    [
        b"",
        b"PROXY TCP4 1.2.3.4\r\n",
        b"PROXY TCP4 1.1.1.1 1.1.1.1 1 99999\r\n",
        v2("1.2.3.4").replace(b"\x21", b"\x31"),
        b"X" * 200,
    ],
    ids=["none", "short", "port", "v2", "noise"],
)
def test_without_a_right_header_there_is_no_connection(balanced, header):
    before = balanced.node.metrics()['segue_connections_refused_total{listener="public",reason="proxy"}']
    assert ask(balanced, header) == b""
    assert balanced.node.metrics()['segue_connections_refused_total{listener="public",reason="proxy"}'] == before + 1
    assert ask(balanced, v1("203.0.113.7")).startswith(b"HTTP/1.1 200 ")


def test_who_is_no_balancer_may_not_connect_there(origin, tmp_path):
    origin.add("/t", 1000)
    made = Balanced(origin, tmp_path, networks='"192.0.2.0/24", "2001:db8::/32"')
    with made.node as node:
        assert ask(made, v1("203.0.113.7")) == b""
        assert node.metrics()['segue_connections_refused_total{listener="public",reason="proxy"}'] == 1
        # The other listener takes no header, and then such a line is no request.
        made.address = made.plain
        assert ask(made, v1("203.0.113.7")).startswith(b"HTTP/1.1 400 ")
        assert ask(made, b"").startswith(b"HTTP/1.1 200 ")


def test_limits_count_the_clients_behind_a_balancer(origin, tmp_path):
    origin.add("/t", 1000)
    made = Balanced(origin, tmp_path, more="[limits]\nconnections = 1")
    with made.node as node:
        with socket.create_connection(made.address, timeout=10) as held:
            held.sendall(v1("203.0.113.7"))
            wait_until(lambda: node.metric("segue_limits_clients") >= 1, what="the first client")
            assert ask(made, v1("203.0.113.7")) == b""
            assert ask(made, v1("203.0.113.8")).startswith(b"HTTP/1.1 200 ")
        assert node.metrics()['segue_connections_refused_total{listener="public",reason="client"}'] == 1


def test_what_a_client_says_of_itself_is_not_believed(origin, tmp_path):
    origin.add(PATH, 1000)
    log = tmp_path / "access.ndjson"
    with Node(config_for(origin.url, site=site_with(tmp_path), more=f'[log]\naccess = "{log}"')) as node:
        said = {"X-Forwarded-For": "203.0.113.7", "Forwarded": "for=203.0.113.7", "X-Real-IP": "203.0.113.7"}
        target = f"{PATH}?token={exact(PATH, more='~ip=203.0.113.7')}"
        assert node.fetch(target, **said).status == 403
        wait_until(lambda: log.exists() and log.read_text(), what="the log")
        assert '"client":"127.0.0.1"' in log.read_text()


@pytest.mark.parametrize("value", ['"everybody"', '"10.0.0.1/8"', '"10.0.0.0/33"', '["::/0", 7]'])
def test_check_names_what_is_no_network(tmp_path, value):
    file = tmp_path / "segue.toml"
    file.write_text(
        config_for("http://origin.example", more=f"[[listen]]\naddr = '127.0.0.1:80'\nproxy_protocol = {value}")
    )
    checked = run_segue("check", str(file))
    assert checked.returncode == 1 and "proxy_protocol" in checked.stderr
