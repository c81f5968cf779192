"""The recommendation feed against the real binary: what it names is there before anyone asks, over each source; what
it says wrongly changes nothing; and players come first."""
import json
import os
import pathlib
import re
import socket
import threading

import pytest
import support.node

from support import client, faults
from support.client import fetch
from support.client import wait_until as wait_for
from support.node import Node, run_segue
from support.settings import config_for
from test_tokens import LATER, ours, site_with

TRACK = 700_000
SLICE = 262_144


def prefetching(origin_url, mode="on", more=""):
    return config_for(origin_url, more=f'[prefetch]\nmode = "{mode}"\n{more}')


def plan(session="s1", revision=1, tracks=("/next",), **members):
    return json.dumps(
        {
            "session": session,
            "revision": revision,
            "model": "m",
            "next": [{"track": track} for track in tracks],
            **members,
        }
    )


def post_text(node, text):
    with client.Connection(node.admin_socket) as connection:
        data = text.encode()
        connection.send(client.request_bytes("/feed", "POST", Content_Length=len(data)) + data)
        return connection.read_response()


def post(node, *lines):
    return post_text(node, "".join(line + "\n" for line in lines))


def json_of(response):
    return json.loads(response.body)


def ranges_of(origin, target):
    return [request.fields.get("range") for request in origin.requests_for(target)]


def fate(node, name, model="m"):
    count = node.metrics().get(f'segue_prefetch_tracks_total{{model="{model}",fate="{name}"}}', 0)
    if name == "fetched":
        node.wait_for_fills()  # its bytes are here a moment before its last slice counts as here
    return count


@pytest.fixture
def feeding(origin):
    origin.add("/next", TRACK)
    origin.add("/other", TRACK)
    with Node(prefetching(origin.url)) as node:
        yield node


def test_what_a_posted_plan_names_is_a_hit_nobody_asked_for(feeding, origin):
    assert json_of(post(feeding, plan())) == {"read": 1, "taken": 1, "malformed": 0}
    wait_for(lambda: fate(feeding, "fetched") == 1)
    response = feeding.fetch("/next", Range="bytes=0-65535")
    assert response.status == 206
    assert response.is_hit
    assert response.body == origin.tracks["/next"].body[:65536]
    wait_for(lambda: fate(feeding, "used") == 1)
    assert feeding.metric("segue_prefetch_first_byte_misses_avoided_total") == 1


def test_only_the_head_is_fetched_until_it_is_played(feeding, origin):
    post(feeding, json.dumps({"session": "s", "next": [{"track": "/next", "head_ms": 1000, "bytes": TRACK}]}))
    wait_for(lambda: fate(feeding, "fetched", "unnamed") == 1)
    assert ranges_of(origin, "/next") == [f"bytes=0-{SLICE - 1}"]
    assert "0-0 ram" in feeding.admin("/explain?url=/next").body.decode()


def test_the_last_page_comes_along_where_the_feed_says_so(feeding, origin):
    post(feeding, json.dumps({"session": "s", "next": [{"track": "/next", "head_ms": 1000, "tail": True}]}))
    wait_for(lambda: fate(feeding, "fetched", "unnamed") == 1)
    assert feeding.fetch("/next", Range="bytes=-1000").is_hit


def test_wrong_lines_are_counted_and_change_nothing(feeding, origin):
    answer = post(
        feeding,
        "{",
        '{"session":"s","next":[{"track":"https://evil.example/next"}]}',
        '{"session":"s","next":[{"track":"/%00"}]}',
        plan(),
    )
    assert json_of(answer) == {"read": 4, "taken": 2, "malformed": 2}
    wait_for(lambda: fate(feeding, "fetched") == 1)
    assert feeding.metrics()['segue_feed_malformed_total{source="post"}'] == 2
    feeding.wait_for_log("source=post line=1")
    assert post(feeding, "{").status == 400


def test_a_purge_does_not_come_as_a_line(feeding):
    feeding.fetch("/other")
    assert post(feeding, '{"op":"purge","everything":true}').status == 400
    assert feeding.fetch("/other", Range="bytes=0-9").is_hit


def test_a_feed_is_refused_where_prefetch_is_off(node):
    assert post(node, plan()).status == 409


def test_observing_judges_without_fetching(origin):
    origin.add("/next", TRACK)
    with Node(prefetching(origin.url, "observe")) as node:
        post(node, plan())
        assert not node.fetch("/next", Range="bytes=0-65535").is_hit
        wait_for(lambda: fate(node, "used") == 1)
        assert node.metric("segue_prefetch_first_byte_misses_avoided_total") == 1
        assert len(ranges_of(origin, "/next")) == 1
        assert node.metrics()['segue_prefetch_bytes_total{model="m",fate="fetched"}'] == 0


def test_a_followed_file_survives_rotation_and_truncation(origin, tmp_path):
    for name in ("/a", "/b", "/c", "/d"):
        origin.add(name, TRACK)
    path = tmp_path / "feed.ndjson"
    path.write_text(plan(session="old", tracks=["/d"]) + "\n")
    with Node(prefetching(origin.url, more=f'follow = "{path}"')) as node:
        wait_for(lambda: node.metric("segue_feed_files_open") == 1)
        with path.open("a") as feed:
            feed.write(plan(session="1", tracks=["/a"])[:20])
            feed.flush()
            feed.write(plan(session="1", tracks=["/a"])[20:] + "\n")
        wait_for(lambda: fate(node, "fetched") == 1)
        path.rename(tmp_path / "feed.1")
        path.write_text(plan(session="2", tracks=["/b"]) + "\n")
        wait_for(lambda: fate(node, "fetched") == 2)
        path.write_text("")
        wait_for(lambda: node.metric("segue_feed_file_opened_total") >= 3)
        with path.open("a") as feed:
            feed.write(plan(session="3", tracks=["/c"]) + "\n")
        wait_for(lambda: fate(node, "fetched") == 3)
        assert [node.fetch(name, Range="bytes=0-9").is_hit for name in ("/a", "/b", "/c", "/d")] == [True] * 3 + [False]


def test_a_fifo_is_followed_while_feeders_come_and_go(origin, tmp_path):
    origin.add("/a", TRACK)
    origin.add("/b", TRACK)
    path = tmp_path / "feed.fifo"
    os.mkfifo(path)
    with Node(prefetching(origin.url, more=f'follow = "{path}"')) as node:
        wait_for(lambda: node.metric("segue_feed_files_open") == 1)
        for session, track in (("1", "/a"), ("2", "/b")):
            with path.open("w") as feeder:
                feeder.write(plan(session=session, tracks=[track]) + "\n")
        wait_for(lambda: fate(node, "fetched") == 2)
        assert node.fetch("/b", Range="bytes=0-9").is_hit


def without_override(folder):
    """Segue as a user for whom the modes of files count, which they do not for root."""
    if os.geteuid() != 0:
        return support.node.BINARY
    script = folder / "segue-as-others"
    script.write_text(f'#!/bin/sh\nexec setpriv --bounding-set -dac_override "{support.node.BINARY}" "$@"\n')
    script.chmod(0o755)
    return script


def naps_of(node, name):
    """How often the thread waited: one that goes round and round never does."""
    for task in pathlib.Path(f"/proc/{node.process.pid}/task").iterdir():
        if (task / "comm").read_text().strip() == name:
            return int(re.search(r"^voluntary_ctxt_switches:\s+(\d+)", (task / "status").read_text(), re.M)[1])
    raise AssertionError(f"no thread {name}")


def test_a_fifo_it_may_only_read_costs_nothing_while_nobody_feeds(origin, tmp_path, monkeypatch):
    origin.add("/a", TRACK)
    path = tmp_path / "feed.fifo"
    os.mkfifo(path)
    path.chmod(0o440)
    monkeypatch.setattr(support.node, "BINARY", without_override(tmp_path))
    with Node(prefetching(origin.url, more=f'follow = "{path}"')) as node:
        wait_for(lambda: node.metric("segue_feed_files_open") == 1)
        path.chmod(0o640)
        with path.open("w") as feeder:
            feeder.write(plan(tracks=["/a"]) + "\n")
        wait_for(lambda: fate(node, "fetched") == 1)
        naps = naps_of(node, "feed")
        wait_for(lambda: naps_of(node, "feed") >= naps + 5, what="the thread to wait")


def test_what_is_appended_once_it_is_ready_is_taken(origin, tmp_path):
    path = tmp_path / "feed"
    path.write_text("")
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as manager:
        manager.bind(str(tmp_path / "notify"))
        manager.settimeout(30)

        def append_when_ready():
            while b"READY=1" not in manager.recv(65536):
                pass
            with path.open("a") as feed:
                feed.write('{"session":"s"}\n')

        for _ in range(5):
            feeder = threading.Thread(target=append_when_ready)
            feeder.start()
            environment = {"NOTIFY_SOCKET": str(tmp_path / "notify")}
            with Node(prefetching(origin.url, more=f'follow = "{path}"'), environment=environment) as node:
                feeder.join()
                wait_for(lambda: node.metrics()['segue_feed_lines_total{source="file"}'] == 1, what="the line")


def test_a_feed_without_end_fills_its_memory_and_no_more(origin):
    with Node(prefetching(origin.url, "observe", 'memory = "1MiB"\npredictor = "off"')) as node:
        for session in range(60):
            tracks = [f"/{session}-{i}-" + "x" * 1900 for i in range(32)]
            entries = [{"track": track, "eta_ms": 80_000_000} for track in tracks]
            line = json.dumps({"session": f"s{session}", "model": "m", "ttl_ms": 86_400_000, "next": entries})
            assert post(node, line).status == 200
        metrics = node.metrics()
        assert 0 < metrics["segue_prefetch_memory_bytes"] <= 1 << 20
        assert metrics["segue_prefetch_waiting"] * 1900 < 1 << 20
        assert metrics['segue_prefetch_plans_ignored_total{model="m"}'] > 0
        # A listener who has a plan still gets a new one.
        post(node, json.dumps({"session": "s0", "model": "m", "next": [{"track": "/next"}]}))
        assert node.metrics()["segue_prefetch_waiting"] < metrics["segue_prefetch_waiting"]


def test_a_cancel_lets_go_of_what_nobody_asked_for(feeding):
    post(feeding, plan())
    wait_for(lambda: fate(feeding, "fetched") == 1)
    post(feeding, '{"op":"cancel","session":"s1","revision":2}')
    wait_for(lambda: fate(feeding, "revoked") == 1)
    assert feeding.metric("segue_prefetch_held_bytes") == 0
    assert not feeding.fetch("/next", Range="bytes=0-9").is_hit


def test_a_listener_who_goes_elsewhere_revokes_the_plan(feeding):
    post(feeding, plan())
    wait_for(lambda: fate(feeding, "fetched") == 1)
    feeding.fetch("/other?CMCD=sid%3D%22s1%22", Range="bytes=0-9")
    wait_for(lambda: fate(feeding, "revoked") == 1)


def test_what_one_session_lets_go_of_and_another_wants_is_there_for_it(feeding, origin):
    post(feeding, plan())
    wait_for(lambda: fate(feeding, "fetched") == 1)
    post(feeding, plan(revision=2, tracks=["/other"]), plan("s2"))
    wait_for(lambda: fate(feeding, "fetched") == 3)
    assert feeding.fetch("/next", Range="bytes=0-9").is_hit


def test_who_has_another_listeners_token_changes_nothing_of_a_plan_by_naming_its_session(origin, tmp_path):
    for path in ("/next", "/other", "/third"):
        origin.add(path, TRACK)
    more = '[prefetch]\nmode = "on"\npredictor = "off"\n'
    with Node(config_for(origin.url, site=site_with(tmp_path), more=more)) as node:

        def play(track, who):
            token = ours(f"kid=k1~exp={LATER}~prefix=/~id={who}")
            answer = node.fetch(f"{track}?token={token}&CMCD=sid%3D%22s1%22", Range="bytes=0-9")
            assert answer.status == 206

        post(node, plan(listener="anna"))
        wait_for(lambda: fate(node, "fetched") == 1)
        asked = node.metric("segue_first_byte_requests_total")
        play("/other", "bert")
        wait_for(lambda: node.metric("segue_first_byte_requests_total") == asked + 1)
        assert fate(node, "revoked") == 0
        assert node.metric("segue_prefetch_waiting") == 1
        play("/third", "anna")
        wait_for(lambda: fate(node, "revoked") == 1)


def test_facts_about_a_track_turn_seconds_into_bytes(feeding, origin):
    facts = {"op": "track", "track": "/next", "bitrate": 2_000_000, "bytes": TRACK}
    post(feeding, json.dumps(facts), json.dumps({"session": "s", "next": [{"track": "/next", "head_ms": 2000}]}))
    wait_for(lambda: fate(feeding, "fetched", "unnamed") == 1)
    assert ranges_of(origin, "/next") == [f"bytes=0-{2 * SLICE - 1}"]


def test_facts_about_a_site_of_another_node_are_taken_and_left_aside(feeding):
    facts = {"op": "track", "track": "/next", "bytes": TRACK}
    assert post(feeding, json.dumps(facts), json.dumps({**facts, "site": "theirs"})).status == 200
    metrics = feeding.metrics()
    assert metrics['segue_feed_facts_total{source="post"}'] == 1
    assert metrics['segue_feed_malformed_total{source="post"}'] == 0


def test_too_many_lines_a_second_are_sent_back(feeding):
    line = '{"session":"s","revision":1}\n'
    count = 60_000 // len(line)
    taken = 0
    for _ in range(40):
        answer = post_text(feeding, line * count)
        taken += json_of(answer)["taken"]
        if answer.status == 429:
            break
    assert answer.status == 429 and answer["Retry-After"]
    # Whoever comes again goes on behind what was read.
    assert json_of(answer)["read"] == json_of(answer)["taken"] < count
    assert feeding.metrics()['segue_feed_lines_total{source="post"}'] == taken
    assert feeding.metrics()['segue_feed_too_fast_total{source="post"}'] > 0
    assert fetch(feeding.address, "/next", Range="bytes=0-9").status == 206


def test_the_longest_line_is_taken_with_its_end_and_one_byte_more_is_malformed(feeding):
    line = json.dumps({"session": "s", "more": ""})
    longest = line[:-2] + "x" * (65_536 - len(line)) + line[-2:]
    assert json_of(post_text(feeding, f"\n{longest}\r\n")) == {"read": 2, "taken": 1, "malformed": 0}
    longer = post_text(feeding, longest[:-2] + "x" + longest[-2:] + "\n")
    assert (longer.status, json_of(longer)["malformed"]) == (400, 1)
    body = (plan() + "\n").ljust(131_072, "\n")
    assert json_of(post_text(feeding, body))["taken"] == 1
    assert post_text(feeding, body + "\n").status == 413


def test_what_an_origin_refuses_is_no_trouble_for_the_player_that_comes(feeding, origin):
    post(feeding, plan(tracks=["/missing"]))
    wait_for(lambda: fate(feeding, "failed") >= 1)
    assert feeding.fetch("/missing").status == 404


def test_stats_say_how_good_a_model_is(feeding):
    post(feeding, plan())
    wait_for(lambda: fate(feeding, "fetched") == 1)
    feeding.fetch("/next")
    wait_for(lambda: fate(feeding, "used") == 1)
    stats = json.loads(feeding.admin("/stats.json").body)
    precision = {entry["labels"]["model"]: entry["value"] for entry in stats["segue_prefetch_precision_ratio"]}
    assert precision["m"] == 1
    coverage = {entry["labels"]["model"]: entry["value"] for entry in stats["segue_prefetch_coverage_ratio"]}
    assert coverage["m"] == 1


def test_a_stop_ends_running_prefetches(origin):
    origin.add("/never", TRACK)
    origin.misbehave("/never", faults.stalled_body)
    # A fill under way ends at its origin's limits, also at a stop.
    config = config_for(origin.url, origin='timeout = { idle = "1s" }', more='[prefetch]\nmode = "on"')
    with Node(config) as node:
        post(node, plan(tracks=["/never"]))
        wait_for(lambda: node.metric("segue_prefetch_in_flight") == 1)
        wait_for(lambda: origin.requests_for("/never"))
        assert node.metric("segue_prefetch_in_flight") == 1
        assert node.stop() == 0


def test_settings_of_prefetch_are_checked(tmp_path):
    path = tmp_path / "segue.toml"
    path.write_text(
        '[origin.a]\nservers = "http://127.0.0.1:1"\n[prefetch]\nfollow = "x"\nfills = 0\nram_percent = 80\n'
        'bytes_per_second = "1KiB"\nhead = "0"\nlead = "0"\nmode = "maybe"\nfloor = 1\n'
    )
    result = run_segue("check", str(path))
    assert result.returncode == 1
    for key in ("fills", "ram_percent", "bytes_per_second", "head", "lead", "mode", "floor"):
        assert f"prefetch.{key}" in result.stdout + result.stderr
