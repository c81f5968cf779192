"""What prefetch may take, against the real binary: nothing while clients queue for the origin, and what it waits for
then comes afterwards; no more than its budget, which a reload changes."""
import contextlib
import json

from support.client import wait_until
from support.node import Node
from support.origin import Origin
from support.settings import config_for
from test_feed import fate, plan, post
from test_fill import Gate
from test_operate import hang_up, rewrite

TRACK = 200_000


def started(node):
    return node.metrics().get('segue_prefetch_started_total{model="m"}', 0)


def refused(node):
    return node.metrics().get('segue_prefetch_refused_total{model="m"}', 0)


def hold(origin, count):
    """Tracks that end when their script is opened: who asks for one has a place at the origin until then."""
    held = [origin.add(f"/hold/{number}", TRACK) for number in range(count)]
    for track in held:
        track.script = Gate(track, 1000)
    return held


def four_places(origin):
    more = '[prefetch]\nmode = "on"\npredictor = "off"\n'
    return config_for(origin.url, origin="fetches = 4", more=more).replace("threads = 2", "threads = 1")


def test_while_clients_queue_for_the_origin_nothing_is_fetched_for_nobody_and_it_comes_afterwards(origin):
    held = hold(origin, 5)
    origin.add("/next", TRACK)
    config = four_places(origin)
    with Node(config) as node:
        clients = [node.connect() for _ in held]
        try:
            for number, client in enumerate(clients[:4]):
                client.request(f"/hold/{number}", Range="bytes=0-99999")
                client.read_head()
            clients[4].request("/hold/4", Range="bytes=0-99999")
            wait_until(lambda: node.metric("segue_fetches_waiting") == 1, what="the queue")
            post(node, plan())
            wait_until(lambda: node.metric("segue_prefetch_pauses_total") >= 2, what="the pause")
            assert started(node) == 0
            assert origin.requests_for("/next") == []
            for track in held:
                track.script.opened.set()
            for number, client in enumerate(clients):
                if number == 4:
                    client.read_head()
                assert client.read_exactly(100_000) == held[number].body[:100_000]
            wait_until(lambda: fate(node, "fetched") == 1, what="the next track")
            assert fate(node, "failed") == 0
        finally:
            for client in clients:
                client.close()


def test_readers_of_what_is_passed_on_who_queue_stop_no_prefetch(origin):
    passed = origin.add("/passed", TRACK, fields={"Cache-Control": "no-store"})
    origin.add("/next", TRACK)
    more = '[prefetch]\nmode = "on"\npredictor = "off"\n'
    config = config_for(origin.url, origin="fetches = 8", more=more).replace("threads = 2", "threads = 1")
    with Node(config) as node, contextlib.ExitStack() as stack:
        assert node.fetch("/passed").status == 200
        passed.script = gate = Gate(passed, 1000)
        for _ in range(5):  # of eight places four are for what is passed on
            client = stack.enter_context(node.connect())
            client.request("/passed", Range="bytes=0-99999")
        wait_until(lambda: node.metric("segue_fetches_waiting") == 1, what="the queue")
        post(node, plan())
        wait_until(lambda: fate(node, "fetched") == 1, what="the next track")
        assert node.metric("segue_fetches_waiting") == 1
        gate.opened.set()


def test_clients_who_queue_for_one_origin_stop_no_prefetch_from_another(origin):
    held = hold(origin, 5)
    with Origin() as other, contextlib.ExitStack() as stack:
        for one in (origin, other):
            one.add("/next", TRACK)
        config = four_places(origin)
        config += f'[origin.other]\nservers = ["{other.url}"]\n'
        config += '[[site]]\nname = "books"\nhosts = ["books.example"]\norigin = "other"\n'
        node = stack.enter_context(Node(config))
        for number in range(5):
            client = stack.enter_context(node.connect())
            client.request(f"/hold/{number}", Range="bytes=0-99999")
        wait_until(lambda: node.metric("segue_fetches_waiting") == 1, what="the queue")
        post(node, plan(next=[{"site": site, "track": "/next"} for site in ("music", "books")]))
        wait_until(lambda: fate(node, "fetched") == 1, what="the other origin's")
        wait_until(lambda: refused(node) >= 2, what="the waiting one's tries")
        assert len(other.requests_for("/next")) == 1
        assert origin.requests_for("/next") == []
        for track in held:
            track.script.opened.set()
        wait_until(lambda: fate(node, "fetched") == 2, what="the one that waited")
        assert fate(node, "failed") == 0


def test_what_finds_no_place_at_the_origin_comes_once_there_is_one(origin):
    held = hold(origin, 3)
    origin.add("/next", TRACK)
    config = four_places(origin)
    with Node(config) as node:
        with contextlib.ExitStack() as stack:
            clients = [stack.enter_context(node.connect()) for _ in held]
            for number, client in enumerate(clients):
                client.request(f"/hold/{number}", Range="bytes=0-99999")
                client.read_head()
            post(node, plan())  # the last quarter of the places is for clients, of whom none waits
            wait_until(lambda: refused(node) >= 3, what="several tries")
            assert node.metric("segue_fetches_waiting") == 0
            assert origin.requests_for("/next") == []
            for track in held:
                track.script.opened.set()
            wait_until(lambda: fate(node, "fetched") == 1, what="the next track")
        assert fate(node, "failed") == 0
        assert started(node) == 1


def test_a_days_budget_is_kept_and_a_reload_changes_it(origin):
    for path in ("/a", "/b"):
        origin.add(path, TRACK)
    more = '[prefetch]\nmode = "on"\npredictor = "off"\nbytes_per_day = "600KiB"\n'
    with Node(config_for(origin.url, more=more)) as node:
        post(node, plan("1", tracks=["/a"]), plan("2", tracks=["/b"]))
        wait_until(lambda: fate(node, "fetched") == 1, what="the first")
        assert node.metric("segue_prefetch_waiting") == 2
        assert started(node) == 1
        rewrite(node, '"600KiB"', '"1GiB"')
        hang_up(node, "done")
        wait_until(lambda: fate(node, "fetched") == 2, what="the second")


def test_its_share_of_ram_is_kept_and_a_reload_changes_it(origin):
    origin.add("/small", TRACK)
    origin.add("/large", 4_000_000)
    large = {"track": "/large", "bytes": 4_000_000, "duration_ms": 40_000, "head_ms": 30_000}
    more = '[prefetch]\nmode = "on"\npredictor = "off"\nram_percent = 1\n'
    with Node(config_for(origin.url, more=more)) as node:
        post(node, json.dumps({"session": "s", "model": "m", "next": [{"track": "/small"}, large]}))
        wait_until(lambda: fate(node, "fetched") == 1, what="the small one")
        assert started(node) == 1
        assert origin.requests_for("/large") == []
        rewrite(node, "ram_percent = 1", "ram_percent = 20")
        hang_up(node, "done")
        wait_until(lambda: fate(node, "fetched") == 2, what="the large one")
        assert node.fetch("/large", Range="bytes=2000000-2000999").is_hit


def test_what_waits_for_its_time_is_fetched_at_once_where_a_reload_says_so(origin):
    for path in ("/now", "/later"):
        origin.add(path, TRACK)
    more = '[prefetch]\nmode = "on"\npredictor = "off"\nlead = "60s"\n'
    with Node(config_for(origin.url, more=more)) as node:
        tracks = [{"track": "/now"}, {"track": "/later", "eta_ms": 500_000}]
        post(node, plan(next=tracks, ttl_ms=3_600_000))
        wait_until(lambda: fate(node, "fetched") == 1, what="what is due now")
        assert origin.requests_for("/later") == []
        rewrite(node, '"60s"', '"600s"')
        hang_up(node, "done")
        wait_until(lambda: fate(node, "fetched") == 2, what="what is due later")
        # Back again: what was found by the former lead is found no more, and nothing goes round for ever.
        rewrite(node, '"600s"', '"60s"')
        hang_up(node, "done", 2)
        post(node, plan(revision=2, tracks=["/now"]), plan("s2", tracks=["/later"]))
        wait_until(lambda: fate(node, "revoked") == 1 and fate(node, "fetched") == 3, what="the plans after it")
