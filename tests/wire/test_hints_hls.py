"""What an HLS playlist that went through says is asked for next, against the real binary: segments are there when their
player asks, each is fetched once, and never one that the player could not have asked for itself."""
import time

import pytest

from support.client import wait_until as wait_for
from support.node import Node
from support.origin import Track
from support.settings import config_for
from test_feed import fate as fate_of
from test_operate import hang_up, rewrite
from test_tokens import exact, ours, site_with

TYPE = "application/vnd.apple.mpegurl"
SEGMENT = 100_000
SLICE = 262_144
OUTCOMES = "taken already_here repeated over_budget unknown_site malformed foreign forbidden too_long".split()
READ = "read multivariant malformed too_large put_off".split()


def settings_for(origin, more="", mode="on", site=""):
    return config_for(origin.url, site=site, more=f'[prefetch]\nmode = "{mode}"\npredictor = "off"\n{more}')


def playlist(*lines, end=True):
    """Each line that is no tag is a segment."""
    text = ["#EXTM3U", "#EXT-X-TARGETDURATION:10"]
    for line in lines:
        text += [line] if line.startswith("#") else ["#EXTINF:10,", line]
    return "\n".join([*text, "#EXT-X-ENDLIST" if end else "", ""]).encode()


def offer(origin, path, body, content_type=TYPE, **attributes):
    origin.tracks[path] = Track(body=body, content_type=content_type, **attributes)


def hints(node):
    metrics = node.metrics()
    return {each: metrics[f'segue_prefetch_hints_total{{source="playlist",outcome="{each}"}}'] for each in OUTCOMES}


def read(node):
    metrics = node.metrics()
    return {each: metrics[f'segue_playlists_total{{outcome="{each}"}}'] for each in READ}


def fate(node, name):
    return fate_of(node, name, "playlist")


def wait_fetched(node, count):
    wait_for(lambda: fate(node, "fetched") == count, what=f"{count} segments")


def asked(origin):
    """How often the origin was asked for what."""
    with origin.lock:
        targets = [request.target for request in origin.requests]
    return {target: targets.count(target) for target in targets}


@pytest.fixture
def segments(origin):
    for i in range(1, 7):
        origin.add(f"/a/{i}.ts", SEGMENT)
    offer(origin, "/a/all.m3u8", playlist(*(f"{i}.ts" for i in range(1, 7))))
    return origin


@pytest.fixture
def node(segments):
    with Node(settings_for(segments)) as running:
        yield running


def test_segments_are_hits_from_the_first_on_and_each_is_fetched_once(node, segments):
    assert node.fetch("/a/all.m3u8").status == 200
    for i in range(1, 7):
        wait_fetched(node, min(i + 1, 6))  # two ahead of who plays
        assert asked(segments) == {"/a/all.m3u8": 1, **{f"/a/{n}.ts": 1 for n in range(1, min(i + 1, 6) + 1)}}
        answer = node.fetch(f"/a/{i}.ts")
        assert answer.is_hit
        assert answer.body == segments.tracks[f"/a/{i}.ts"].body
    wait_for(lambda: fate(node, "used") == 6, what="all to be used")
    assert fate(node, "revoked") == fate(node, "failed") == 0
    assert hints(node)["taken"] == 6
    assert sum(asked(segments).values()) == 7


def test_who_plays_through_a_reload_has_the_next_segments_there_all_the_same(segments):
    with Node(settings_for(segments, "playlist_segments = 2\n")) as node:
        node.fetch("/a/all.m3u8")
        wait_fetched(node, 2)
        rewrite(node, "playlist_segments = 2", "playlist_segments = 3")
        hang_up(node, "done")
        assert node.fetch("/a/2.ts").is_hit  # a player does not ask for its playlist again
        wait_fetched(node, 5)
        assert asked(segments) == {"/a/all.m3u8": 1, **{f"/a/{n}.ts": 1 for n in range(1, 6)}}


def test_what_is_here_costs_the_origin_nothing_whoever_plays_it(node, segments):
    node.fetch("/a/all.m3u8")
    wait_fetched(node, 2)
    node.fetch("/a/1.ts")
    wait_fetched(node, 3)
    segments.forget()
    for _ in range(3):
        assert node.fetch("/a/all.m3u8", User_Agent="another").is_hit
        assert node.fetch("/a/1.ts", User_Agent="another").is_hit
    wait_for(lambda: hints(node)["already_here"] >= 12, what="its hints")
    assert asked(segments) == {}


def test_of_a_live_playlist_the_last_ones_are_fetched(node, segments):
    offer(segments, "/a/live.m3u8", playlist(*(f"{i}.ts" for i in range(1, 6)), end=False), etag='"1"')
    segments.tracks["/a/live.m3u8"].fields["Cache-Control"] = "max-age=0"
    assert node.fetch("/a/live.m3u8").status == 200
    wait_fetched(node, 2)
    assert {"/a/4.ts", "/a/5.ts"} < set(asked(segments)) and len(asked(segments)) == 3
    # It moves on: another version, read once, and its new segment is fetched.
    offer(segments, "/a/live.m3u8", playlist(*(f"{i}.ts" for i in range(2, 7)), end=False), etag='"2"')
    assert b"6.ts" in node.fetch("/a/live.m3u8").body
    wait_fetched(node, 3)
    assert node.fetch("/a/6.ts").is_hit
    assert set(asked(segments)) == {"/a/live.m3u8", "/a/4.ts", "/a/5.ts", "/a/6.ts"}
    assert read(node)["read"] == 2


def test_a_version_is_read_once_however_often_it_is_asked_for(node, segments):
    for _ in range(5):
        assert node.fetch("/a/all.m3u8").body == segments.tracks["/a/all.m3u8"].body
    assert node.fetch("/a/all.m3u8", If_None_Match='"v1"').status == 304
    assert read(node) == {"read": 1, "multivariant": 0, "malformed": 0, "too_large": 0, "put_off": 0}
    assert node.metric("segue_playlists_remembered") == 1
    assert node.metric("segue_playlists_bytes") > 0


def test_a_crowd_of_playlists_is_read_as_fast_as_a_loop_may_and_no_faster(segments):
    padding = ["#" + "x" * 999] * 250
    for i in range(24):
        offer(segments, f"/a/{i}.m3u8", playlist(*padding, "1.ts"))
    with Node(settings_for(segments).replace("threads = 2", "threads = 1")) as node:
        for i in range(24):
            assert len(node.fetch(f"/a/{i}.m3u8").body) > 250_000
        wait_for(lambda: sum(read(node).values()) == 24, what="all to be looked at")
        assert read(node)["read"] > 0
        assert read(node)["put_off"] > 0


def test_parts_of_one_file_come_with_the_file_s_initialization_section(node, segments):
    """Four parts of 200,000 bytes in four slices: what comes with the slices of a part asked for is not fetched for the
    next, so each slice is asked for once."""
    part = 200_000
    segments.add("/a/file.mp4", 1000 + 4 * part)
    segments.add("/a/init.mp4", 700)
    lines = ['#EXT-X-MAP:URI="init.mp4",BYTERANGE="700@0"', f"#EXT-X-BYTERANGE:{part}@1000", "file.mp4"]
    for _ in range(3):
        lines += [f"#EXT-X-BYTERANGE:{part}", "file.mp4"]
    offer(segments, "/a/parts.m3u8", playlist(*lines))
    node.fetch("/a/parts.m3u8")
    wait_fetched(node, 2)  # the section, and a slice with the first part and the second's beginning
    assert node.fetch("/a/init.mp4", Range="bytes=0-699").is_hit
    for i, fetched in enumerate([3, 4, 5, 5]):
        first = 1000 + i * part
        answer = node.fetch("/a/file.mp4", Range=f"bytes={first}-{first + part - 1}")
        assert answer.status == 206
        assert answer.is_hit
        assert answer.body == segments.tracks["/a/file.mp4"].body[first : first + part]
        wait_fetched(node, fetched)
    starts = [request.range[0] for request in segments.requests_for("/a/file.mp4")]
    assert starts == [0, SLICE, 2 * SLICE, 3 * SLICE]
    # Each was of use, also those that begin in the middle of what was asked for.
    wait_for(lambda: fate(node, "used") == 5, what="all to be used")


def test_a_new_initialization_section_comes_with_the_segment_that_needs_it(node, segments):
    for name in ("x", "y"):
        segments.add(f"/a/{name}.mp4", 700)
    lines = ['#EXT-X-MAP:URI="x.mp4"', "1.ts", "2.ts", '#EXT-X-MAP:URI="y.mp4"', "3.ts", "4.ts"]
    offer(segments, "/a/maps.m3u8", playlist(*lines))
    node.fetch("/a/maps.m3u8")
    wait_fetched(node, 3)
    assert set(asked(segments)) == {"/a/maps.m3u8", "/a/x.mp4", "/a/1.ts", "/a/2.ts"}
    node.fetch("/a/1.ts")
    wait_fetched(node, 5)
    assert set(asked(segments)) == {"/a/maps.m3u8", "/a/x.mp4", "/a/1.ts", "/a/2.ts", "/a/y.mp4", "/a/3.ts"}


@pytest.mark.parametrize(
    "content_type, path, is_read",
    [
        ("audio/mpegurl", "/a/list", True),
        ("Audio/X-MpegURL; charset=utf-8", "/a/list", True),
        ("application/octet-stream", "/a/list.m3u8", True),
        ("text/plain", "/a/list.m3u8?v=1", True),
        ("application/octet-stream", "/a/list", False),
        ("audio/mp4", "/a/list.m3u8", False),
        ("text/html", "/a/list.m3u8", False),
    ],
)
def test_a_playlist_is_known_by_its_type_or_where_that_says_nothing_by_its_name(
    node, segments, content_type, path, is_read
):
    offer(segments, path, playlist("1.ts"), content_type)
    assert node.fetch(path).status == 200
    if is_read:
        wait_fetched(node, 1)
    assert read(node)["read"] == is_read
    assert set(asked(segments)) == {path} | ({"/a/1.ts"} if is_read else set())


def test_other_hosts_and_what_is_no_path_of_the_site_are_never_asked_for(node, segments):
    bad = ["http://elsewhere.example/1.ts", "//elsewhere.example/1.ts", "../../1.ts", "#", "a\\b.ts", "%zz.ts"]
    lines = [line for line in bad if not line.startswith("#")]
    offer(segments, "/a/bad.m3u8", playlist(*lines, "x" * 300, "1.ts"))
    assert node.fetch("/a/bad.m3u8").status == 200
    wait_fetched(node, 1)
    assert asked(segments) == {"/a/bad.m3u8": 1, "/a/1.ts": 1}
    counted = hints(node)
    assert (counted["foreign"], counted["malformed"], counted["too_long"], counted["taken"]) == (3, 2, 1, 1)


def test_only_what_the_requests_own_token_lets_in_to_is_fetched(segments, tmp_path):
    segments.add("/b/1.ts", SEGMENT)
    offer(segments, "/a/mixed.m3u8", playlist("../b/1.ts", "1.ts", "2.ts"))
    later = int(time.time()) + 3600
    wide, narrow = ours(f"kid=k1~exp={later}~prefix=/a/"), exact("/a/mixed.m3u8", exp=later)
    with Node(settings_for(segments, site=site_with(tmp_path))) as node:
        assert node.fetch("/a/mixed.m3u8").status == 403  # and hints at nothing
        assert node.fetch(f"/a/mixed.m3u8?token={narrow}").status == 200
        wait_for(lambda: hints(node)["forbidden"] == 2, what="the refusals")
        assert set(asked(segments)) == {"/a/mixed.m3u8"}
        assert node.fetch(f"/a/mixed.m3u8?token={wide}").status == 200
        wait_fetched(node, 1)
        assert hints(node)["forbidden"] == 3
        assert asked(segments) == {"/a/mixed.m3u8": 1, "/a/1.ts": 1}
        assert node.fetch(f"/a/1.ts?token={wide}").is_hit
        wait_fetched(node, 2)
        assert set(asked(segments)) == {"/a/mixed.m3u8", "/a/1.ts", "/a/2.ts"}


@pytest.mark.parametrize(
    "body, outcome",
    [
        (b"<html>no playlist</html>", "malformed"),
        (b"#EXTM3U\n1.ts\n", "malformed"),
        (b"#EXTM3U\n#EXTINF:1,\n#EXT-X-BYTERANGE:99999999999999999999@0\n1.ts\n", "malformed"),
        (b"#EXTM3U\n" + b"\0" * 1000 + b"\n", "malformed"),
        (b"#EXTM3U\n#EXT-X-STREAM-INF:BANDWIDTH=1\n1.ts\n", "multivariant"),
        (b"#EXTM3U\n" + b"#EXTINF:1,\n1.ts\n" * 20_000, "too_large"),
        (b"#EXTM3U\n" + b"\n" * 20_000, "too_large"),
    ],
    ids="html no_duration no_number nul multivariant bytes lines".split(),
)
def test_what_cannot_be_read_is_counted_once_and_served_as_it_is(node, segments, body, outcome):
    offer(segments, "/a/odd.m3u8", body)
    for _ in range(3):
        assert node.fetch("/a/odd.m3u8").body == body
    assert read(node) == {**dict.fromkeys(READ, 0), outcome: 1}
    assert sum(hints(node).values()) == 0
    assert set(asked(segments)) == {"/a/odd.m3u8"}


def test_segments_that_the_origin_has_not_harm_nobody(node, segments):
    offer(segments, "/a/gone.m3u8", playlist("none.ts", "1.ts"))
    node.fetch("/a/gone.m3u8")
    wait_for(lambda: fate(node, "failed") == 1 and fate(node, "fetched") == 1, what="both")
    assert node.fetch("/a/1.ts").is_hit


@pytest.mark.parametrize("setting", ["playlist_segments = 0", "hints_percent = 0"])
def test_switched_off_playlists_are_not_read(segments, setting):
    with Node(settings_for(segments, setting + "\n")) as node:
        node.fetch("/a/all.m3u8")
        node.fetch("/a/1.ts")
        assert sum(hints(node).values()) == sum(read(node).values()) == 0
        assert asked(segments) == {"/a/all.m3u8": 1, "/a/1.ts": 1}


def test_as_many_are_fetched_ahead_as_the_setting_says(segments):
    with Node(settings_for(segments, "playlist_segments = 5\n")) as node:
        node.fetch("/a/all.m3u8")
        wait_fetched(node, 5)
        assert set(asked(segments)) == {"/a/all.m3u8", *(f"/a/{i}.ts" for i in range(1, 6))}


def test_hints_of_playlists_cost_no_more_than_their_share_of_the_budget(segments):
    with Node(settings_for(segments, 'bytes_per_second = "64KiB"\nhints_percent = 1\nplaylist_segments = 6\n')) as node:
        node.fetch("/a/all.m3u8")
        wait_for(lambda: sum(hints(node).values()) == 6, what="the hints")
        assert hints(node)["taken"] == 1
        assert hints(node)["over_budget"] == 5


def test_observing_they_are_judged_and_not_fetched(segments):
    with Node(settings_for(segments, mode="observe")) as node:
        node.fetch("/a/all.m3u8")
        wait_for(lambda: hints(node)["taken"] == 2, what="the hints")
        assert not node.fetch("/a/1.ts").is_hit
        wait_for(lambda: fate(node, "used") == 1, what="the judgement")
        assert asked(segments) == {"/a/all.m3u8": 1, "/a/1.ts": 1}
