"""Slow attackers of every kind at once, few of them: nobody else is refused, nothing is held for them, each is cut in
its time, and when they leave all is as before. Ten thousand of each, with figures: ./dev bench attacks, ./dev soak."""
import contextlib
import sys

import pytest

from support import transport
from support.client import wait_until
from support.node import ROOT, Node
from support.settings import config_for

sys.path.insert(0, str(ROOT / "loadtest"))
from lib.siege import Attackers  # noqa: E402

EACH = 40
TRACK = 600_000  # more than a socket takes
FIRST = {"slow_read": 1000, "h2_window": 2000}
TLS_KINDS = ("handshake", "h2_window")
CLIENTS = 'segue_connections_active{listener="public"}'
HEADS_CUT = 'segue_connection_timeouts_total{listener="public",kind="head"}'
HANDSHAKES_CUT = 'segue_tls_handshakes_total{listener="public",result="timeout"}'
HANDSHAKES = 'segue_tls_handshakes_in_flight{listener="public"}'


@pytest.fixture
def besieged(origin):
    """A node with a plain and a TLS listener, and the attackers before it by their kind."""
    origin.add("/t/0", TRACK)
    for first in FIRST.values():
        for number in range(EACH):
            origin.add(f"/t/{first + number}", TRACK)
    second = '[[listen]]\naddr = ["127.0.0.1:0"]'  # what follows makes it one of TLS
    certificate = transport.certificate_table(transport.default_certificate())
    with contextlib.ExitStack() as held:
        node = held.enter_context(Node(config_for(origin.url), listener=second, tls=certificate))
        plain, secure = (address[1] for address in node.addresses)
        attackers = {}
        for kind in ("silence", "drip", "slow_read", "handshake", "h2_window"):
            port = secure if kind in TLS_KINDS else plain
            attackers[kind] = held.enter_context(Attackers(kind, port, EACH, FIRST.get(kind, 0)))
        yield node, attackers


def ask(node, target):
    with node.connect(plain=True) as connection:
        connection.request(target)
        return connection.read_response()


@pytest.mark.slow  # a head may take ten seconds
@pytest.mark.skipif(transport.WIRE != "h1", reason="it speaks all of them by itself")
def test_slow_clients_of_every_kind_hold_nothing_up_and_are_cut_in_time(besieged, origin):
    node, attackers = besieged
    body = ask(node, "/t/0").body
    wait_until(lambda: ask(node, "/t/0").is_hit, what="a hot track")
    wait_until(lambda: all(one.said["opened"] >= EACH for one in attackers.values()), what="the attack")
    for number in range(100):
        hot = ask(node, "/t/0")
        assert hot.status == 200 and hot.is_hit and hot.body == body, number
    origin.add("/t/cold", 1000)
    assert ask(node, "/t/cold").status == 200
    # Who asked for a track and does not read it holds no part of it.
    wait_until(lambda: node.metric("segue_fills_in_flight") == 0, what="the ends of their fills")
    wait_until(lambda: node.metric("segue_buffers_pinned") == 0, what="no pin")
    for cut in (HEADS_CUT, HANDSHAKES_CUT):
        wait_until(lambda cut=cut: node.metrics()[cut] >= EACH, what=cut)
    assert ask(node, "/t/0").is_hit
    assert {kind: one.said["failed"] for kind, one in attackers.items()} == dict.fromkeys(attackers, 0)
    for one in attackers.values():
        one.stop()
    wait_until(lambda: node.metrics()[CLIENTS] == 0, what="nobody left")
    wait_until(lambda: node.metric("segue_requests_in_flight") == 0, what="no request left")
    assert node.metrics()[HANDSHAKES] == 0
