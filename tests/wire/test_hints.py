"""What players say they ask for next (CMCD nor and nrr) against the real binary: it is there when they do, and it is
never anything that they could not have asked for themselves."""
import time
from urllib.parse import quote

import pytest

from support.client import wait_until as wait_for
from support.node import Node
from support.settings import config_for
from test_container_heads import is_here, ogg_file, wait_until_here
from test_feed import fate as fate_of
from test_feed import plan, post, ranges_of
from test_fill import Gate
from test_tokens import ours, site_with

SEGMENT = 200_000
SLICE = 262_144
OUTCOMES = "taken already_here repeated over_budget unknown_site malformed foreign forbidden too_long".split()


def settings_for(origin, more="", mode="on"):
    return config_for(origin.url, more=f'[prefetch]\nmode = "{mode}"\npredictor = "off"\n{more}')


def hinting(path, **keys):
    """`path` with a CMCD query: texts quoted, booleans bare."""
    parts = [key if value is True else f'{key}="{value}"' for key, value in keys.items()]
    return f"{path}{'&' if '?' in path else '?'}CMCD={quote(','.join(parts), safe='')}"


def listing(path, *items, **keys):
    """`path` with a CMCD query of version 2: items are texts, each with its range or None."""
    items = " ".join(f'"{item}"' + (f';r="{span}"' if span else "") for item, span in items)
    return hinting(path, **keys) + quote(f",nor=({items}),v=2", safe="")


def next_object(target):
    return quote(target, safe="")


def hints(node):
    metrics = node.metrics()
    return {each: metrics[f'segue_prefetch_hints_total{{source="cmcd",outcome="{each}"}}'] for each in OUTCOMES}


def outcome_of(node, path, **fields):
    before = hints(node)
    assert node.fetch(path, **fields).status in (200, 206)
    wait_for(lambda: hints(node) != before, what="the hint")
    after = hints(node)
    return [each for each in OUTCOMES if after[each] > before[each]]


def fate(node, name, model="cmcd"):
    return fate_of(node, name, model)


@pytest.fixture
def segments(origin):
    for path in ("/a/1.m4s", "/a/2.m4s", "/b/3.m4s", "/4.m4s"):
        origin.add(path, SEGMENT)
    origin.add("/long", 3 * SLICE)
    return origin


@pytest.fixture
def node(segments):
    with Node(settings_for(segments)) as running:
        yield running


def test_the_next_object_is_a_hit_that_nobody_had_asked_for(node, segments):
    assert node.fetch(hinting("/a/1.m4s", nor="2.m4s", sid="s")).status == 200
    wait_for(lambda: fate(node, "fetched") == 1)
    answer = node.fetch("/a/2.m4s")
    assert answer.is_hit
    assert answer.body == segments.tracks["/a/2.m4s"].body
    wait_for(lambda: fate(node, "used") == 1)
    assert len(segments.requests_for("/a/2.m4s")) == 1


def test_of_the_next_object_comes_what_its_container_tells(node, segments):
    segments.add("/next.ogg").body = ogg_file(6 * SLICE)
    node.fetch(hinting("/a/1.m4s", nor=next_object("/next.ogg")))
    wait_for(lambda: fate(node, "fetched") == 1)
    assert node.metric("segue_prefetch_heads_told_total") == 1
    wait_until_here(node, "/next.ogg", [True, False, False, False, False, True])


def test_of_the_next_object_comes_as_much_as_the_settings_say(segments):
    with Node(settings_for(segments, 'head = "1s"\n')) as node:
        node.fetch(hinting("/a/1.m4s", nor=next_object("/long")))
        wait_for(lambda: fate(node, "fetched") == 1)
        wait_until_here(node, "/long", [True, False, False])


def test_it_may_come_in_a_field_and_climb_within_the_site(node, segments):
    field = f'nor="{next_object("../b/3.m4s")}"'
    assert node.fetch("/a/1.m4s", CMCD_Request=field).status == 200
    wait_for(lambda: fate(node, "fetched") == 1)
    assert node.fetch("/b/3.m4s").is_hit
    assert not any("CMCD" in request.target for request in segments.requests)
    assert not any("cmcd-request" in request.fields for request in segments.requests)


def test_the_next_range_of_the_same_object_is_there_when_it_is_asked_for(node, segments):
    assert node.fetch(hinting("/long", nrr=f"{SLICE}-{SLICE + 999}"), Range="bytes=0-999").status == 206
    wait_for(lambda: fate(node, "fetched") == 1)
    answer = node.fetch("/long", Range=f"bytes={SLICE}-{SLICE + 999}")
    assert answer.is_hit
    assert answer.body == segments.tracks["/long"].body[SLICE : SLICE + 1000]
    assert len(segments.requests_for("/long")) == 2
    wait_for(lambda: fate(node, "used") == 1)


def test_a_range_that_was_not_asked_for_goes_and_the_head_that_a_feed_named_stays(node, segments):
    segments.add("/epic", 40 * SLICE)
    post(node, plan(tracks=["/epic"]))
    wait_for(lambda: fate(node, "fetched", "m") == 1)
    node.fetch(hinting("/a/1.m4s", sid="s", nor=next_object("/epic"), nrr=f"{35 * SLICE}-{36 * SLICE - 1}"))
    wait_for(lambda: fate(node, "fetched") == 1)
    node.fetch(hinting("/a/1.m4s", sid="s", nor="2.m4s"))  # it has changed its mind
    wait_for(lambda: fate(node, "revoked") == 1)
    assert not is_here(node, "/epic", 35 * SLICE)
    assert is_here(node, "/epic", 0)


def test_a_list_names_several_each_with_its_range(node, segments):
    asked = listing("/a/1.m4s", ("2.m4s", None), ("../b/3.m4s", None), ("/long", f"{SLICE}-{SLICE + 999}"), sid="s")
    assert node.fetch(asked).status == 200
    wait_for(lambda: fate(node, "fetched") == 3)
    assert node.fetch("/a/2.m4s").is_hit
    assert node.fetch("/b/3.m4s").is_hit
    assert node.fetch("/long", Range=f"bytes={SLICE}-{SLICE + 999}").is_hit
    assert ranges_of(segments, "/long") == [f"bytes={SLICE}-{2 * SLICE - 1}"]
    assert len(segments.requests) == 4
    assert not any("CMCD" in request.target for request in segments.requests)
    wait_for(lambda: fate(node, "used") == 3)


def test_a_list_that_moves_on_keeps_what_it_still_names(node, segments):
    node.fetch(listing("/a/1.m4s", ("2.m4s", None), ("/b/3.m4s", None), sid="s"))
    wait_for(lambda: fate(node, "fetched") == 2)
    node.fetch(listing("/a/2.m4s", ("/b/3.m4s", None), ("/4.m4s", None), sid="s"))
    wait_for(lambda: fate(node, "fetched") == 3)
    assert node.fetch("/b/3.m4s").is_hit
    assert node.fetch("/4.m4s").is_hit
    assert fate(node, "revoked") == 0
    assert len(segments.requests) == 4


def test_of_a_list_what_could_not_be_asked_for_is_left_out_and_no_more_than_four_are_read(node, segments):
    for number in range(6):
        segments.add(f"/c/{number}", SEGMENT)
    bad = [("//elsewhere.example/x", None), ("../../x", None)]
    node.fetch(listing("/a/1.m4s", *bad, ("/c/0", "9-1"), *((f"/c/{number}", None) for number in range(1, 6))))
    wait_for(lambda: fate(node, "fetched") == 1)
    counted = hints(node)
    assert (counted["foreign"], counted["malformed"], counted["taken"]) == (2, 1, 1)
    assert {request.target for request in segments.requests} == {"/a/1.m4s", "/c/1"}


@pytest.mark.parametrize("nor", ["(2.m4s)", '("2.m4s" 7)', '(("2.m4s"))'])
def test_what_is_no_list_of_texts_is_malformed(node, segments, nor):
    assert outcome_of(node, f"/a/1.m4s?CMCD={quote(f'sid=s,nor={nor}', safe='')}") == ["malformed"]
    assert segments.requests_for("/a/2.m4s") == []


def test_a_hint_counts_once(node):
    hinted = hinting("/a/1.m4s", nor="2.m4s", sid="s")
    assert outcome_of(node, hinted) == ["taken"]
    wait_for(lambda: fate(node, "fetched") == 1)
    assert outcome_of(node, hinted) == ["already_here"]
    assert outcome_of(node, hinting("/a/2.m4s", nor="2.m4s", sid="s")) == ["already_here"]


@pytest.mark.parametrize(
    "nor, outcome",
    [
        ("//elsewhere.example/x", "foreign"),
        ("http://elsewhere.example/x", "foreign"),
        ("../../x", "foreign"),
        ("#part", "foreign"),
        ("..%2F..%2Fx", "foreign"),
        ("%2e%2e%2f%2e%2e%2fx", "foreign"),
        ("a\\b", "malformed"),
        ("x%00", "malformed"),
        ("%2", "malformed"),
        ("x" * 300, "too_long"),
    ],
)
def test_what_is_no_path_of_the_site_is_never_asked_for(node, segments, nor, outcome):
    assert outcome_of(node, hinting("/a/1.m4s", nor=nor)) == [outcome]
    assert {request.target for request in segments.requests} == {"/a/1.m4s"}


@pytest.mark.parametrize("nrr", ["", "5", "9-1", "-5", "a-b", "99999999999999999999-"])
def test_what_is_no_range_is_never_asked_for(node, segments, nrr):
    assert outcome_of(node, hinting("/a/1.m4s", nor="2.m4s", nrr=nrr)) == ["malformed"]
    assert segments.requests_for("/a/2.m4s") == []


def test_what_the_origin_has_not_is_a_failure_that_harms_nobody(node, segments):
    assert outcome_of(node, hinting("/a/1.m4s", nor="none")) == ["taken"]
    wait_for(lambda: fate(node, "failed") == 1)
    assert node.fetch("/a/1.m4s").is_hit


def test_only_what_the_requests_own_token_lets_in_to_is_fetched(segments, tmp_path):
    config = config_for(segments.url, site=site_with(tmp_path), more='[prefetch]\nmode = "on"\npredictor = "off"\n')
    later = int(time.time()) + 3600
    wide = ours(f"kid=k1~exp={later}~prefix=/a/")
    with Node(config) as node:
        signed = f"/a/1.m4s?token={wide}"
        assert outcome_of(node, hinting(signed, nor=next_object("../b/3.m4s"))) == ["forbidden"]
        assert outcome_of(node, hinting(signed, nor=next_object("/4.m4s"))) == ["forbidden"]
        assert segments.requests_for("/b/3.m4s") == segments.requests_for("/4.m4s") == []
        assert outcome_of(node, hinting(signed, nor="2.m4s")) == ["taken"]
        wait_for(lambda: fate(node, "fetched") == 1)
        assert all("token" not in request.target for request in segments.requests)
        # Refused itself, a request hints at nothing.
        assert node.fetch(hinting("/a/1.m4s", nor="2.m4s")).status == 403


def over_its_limit(node):
    """Asks for what is not here from its address until it is given hits alone."""
    tries = iter(range(12))
    wait_for(lambda: node.fetch(f"/c/{next(tries)}").status == 429, what="the limit")


@pytest.mark.parametrize("way", ["by its limit of misses", "by its own word"])
def test_who_may_cost_the_origin_nothing_makes_nothing_fetched_by_what_it_says_comes_next(segments, way):
    for number in range(12):
        segments.add(f"/c/{number}", 20 * SLICE)
    config = settings_for(segments, '[limits]\nmiss_bytes_per_second = "64KiB"\n').replace("threads = 2", "threads = 1")
    with Node(config) as node:
        assert node.fetch("/a/1.m4s").status == 200
        fields = {"Cache_Control": "only-if-cached"}
        if way == "by its limit of misses":
            over_its_limit(node)
            fields = {}
        for listed in [hinting("/a/1.m4s", nor="2.m4s"), listing("/a/1.m4s", ("2.m4s", None), ("/4.m4s", None))]:
            assert node.fetch(listed, **fields).is_hit
        with node.connect(source="127.0.0.2") as other:  # whose misses are its own; told after those
            other.request(hinting("/a/1.m4s", nor=next_object("../b/3.m4s")))
            assert other.read_response().status == 200
        wait_for(lambda: fate(node, "fetched") == 1)
        assert hints(node)["taken"] == 1
        assert segments.requests_for("/a/2.m4s") == segments.requests_for("/4.m4s") == []


def test_hints_cost_no_more_than_their_share_of_the_budget(segments):
    for i in range(20):
        segments.add(f"/c/{i}", SEGMENT)
    with Node(settings_for(segments, 'bytes_per_second = "256KiB"\nhints_percent = 1\n')) as node:
        for i in range(20):
            node.fetch(hinting("/a/1.m4s", nor=f"..%2Fc%2F{i}"))
        wait_for(lambda: sum(hints(node).values()) == 20)
        assert hints(node)["over_budget"] >= 18
        assert hints(node)["taken"] >= 1


def test_one_player_leaves_budget_for_the_hints_of_others(segments):
    for i in range(4):
        segments.add(f"/c/{i}", SEGMENT)
    # 512 KiB/s of hints, two hints at once; one listener has a quarter of it, one hint at once.
    with Node(settings_for(segments, 'bytes_per_second = "1MiB"\nhints_percent = 50\n')) as node:
        assert node.fetch("/a/1.m4s").status == 200
        node.fetch(listing("/a/1.m4s", *((f"/c/{i}", None) for i in range(4))), User_Agent="greedy")
        wait_for(lambda: sum(hints(node).values()) == 4)
        assert (hints(node)["taken"], hints(node)["over_budget"]) == (1, 3)
        assert outcome_of(node, hinting("/a/1.m4s", nor=next_object("../b/3.m4s")), User_Agent="other") == ["taken"]


def test_without_a_share_nothing_is_listened_to(segments):
    with Node(settings_for(segments, "hints_percent = 0\n")) as node:
        node.fetch(hinting("/a/1.m4s", nor="2.m4s"))
        node.fetch("/a/1.m4s")
        assert sum(hints(node).values()) == 0
        assert segments.requests_for("/a/2.m4s") == []


def test_observing_a_hint_is_judged_and_not_fetched(segments):
    with Node(settings_for(segments, mode="observe")) as node:
        assert outcome_of(node, hinting("/a/1.m4s", nor="2.m4s")) == ["taken"]
        assert not node.fetch("/a/2.m4s").is_hit
        wait_for(lambda: fate(node, "used") == 1)
        assert len(segments.requests_for("/a/2.m4s")) == 1


def test_who_is_about_to_fall_silent_goes_first_where_fetches_queue(segments):
    hold = segments.add("/hold", SEGMENT)
    hold.script = gate = Gate(hold, 1000)
    config = config_for(segments.url, origin="fetches = 1", node="", more="").replace("threads = 2", "threads = 1")
    with Node(config) as node:
        clients = [node.connect() for _ in range(4)]
        try:
            clients[0].request("/hold", Range="bytes=0-99999")
            clients[0].read_head()
            asked = [("/a/1.m4s", {}), ("/a/2.m4s", {}), ("/4.m4s", {"CMCD_Request": "bl=300"})]
            for number, (path, fields) in enumerate(asked, start=1):
                clients[number].request(path, Range="bytes=0-99999", **fields)
                wait_for(lambda: node.metric("segue_fetches_waiting") == number, what="its place in the queue")
            gate.opened.set()
            for number, (path, _) in enumerate(asked, start=1):
                clients[number].read_head()
                assert clients[number].read_exactly(100_000) == segments.tracks[path].body[:100_000]
        finally:
            for client in clients:
                client.close()
        assert [request.target for request in segments.requests] == ["/hold", "/4.m4s", "/a/1.m4s", "/a/2.m4s"]
        assert node.metric("segue_fetch_waits_urgent_total") == 1
