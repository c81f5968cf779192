"""Purge by cache tag: what carried it is gone or stale, on every tier, after a restart and a crash; nothing else is."""
import json

import pytest

from support.client import wait_until
from support.node import Node, run_segue
from support.origin import track_bytes
from support.settings import config_for
from test_admin import assert_cuts
from test_drive import config, ready_to_keep, settle

LENGTH = 1000


def fill(node, origin, tags):
    for target, fields in tags.items():
        origin.add(target, LENGTH, fields=fields)
        node.fetch(target)
        assert node.fetch(target).is_hit


TAGS = {
    "/a": {"Surrogate-Key": "album-7 artist-1"},
    "/b": {"Cache-Tag": "album-7,artist-2"},
    "/c": {"Cache-Tag": "album-77, album-7x", "Surrogate-Key": "ALBUM-7"},
    "/d": {},
}


@pytest.mark.parametrize("soft", [False, True])
def test_what_carried_the_tag_is_asked_for_again_and_nothing_else_is(node, origin, soft):
    fill(node, origin, TAGS)
    origin.forget()
    node.purge(tag="album-7", soft=soft)
    assert [node.fetch(target).is_hit for target in TAGS] == [False, False, True, True]
    assert [node.fetch(target).is_hit for target in TAGS] == [True] * 4
    conditional = ["if-none-match" in request.fields for request in origin.requests]
    assert conditional == [soft, soft]


def test_tags_never_reach_a_client_on_hit_miss_pass_and_304(node, origin):
    origin.add("/t", LENGTH, fields={"Surrogate-Key": "a b", "Cache-Tag": "c"})
    origin.add("/passed", LENGTH, fields={"Surrogate-Key": "a", "Cache-Control": "no-store"})
    origin.add("/missing", 0, status=404, fields={"Cache-Tag": "a"})
    origin.add("/stale", LENGTH, fields={"Cache-Tag": "a", "Cache-Control": "max-age=0"})
    for target in ("/t", "/passed", "/missing", "/stale"):
        for _ in range(2):
            response = node.fetch(target)
            assert not response.all("Surrogate-Key") and not response.all("Cache-Tag")
    assert not node.fetch("/t", If_None_Match='"v1"').all("Surrogate-Key")


def test_the_names_of_the_fields_are_the_sites(origin):
    with Node(config_for(origin.url, site='tags = ["X-Groups"]')) as node:
        fill(node, origin, {"/a": {"X-Groups": "g"}, "/b": {"Cache-Tag": "g"}})
        assert not node.fetch("/a").all("X-Groups")
        assert node.fetch("/b")["Cache-Tag"] == "g"
        node.purge(tag="g")
        assert not node.fetch("/a").is_hit
        assert node.fetch("/b").is_hit


def test_a_missing_answer_and_a_variant_can_be_purged_by_tag(origin):
    with Node(config_for(origin.url, site='forward = ["accept-language"]')) as node:
        origin.add("/missing", 0, status=404, fields={"Cache-Tag": "t"})
        origin.add("/varies", LENGTH, fields={"Cache-Tag": "t", "Vary": "Accept-Language"})
        asked = [("/missing", {}), ("/varies", {"Accept_Language": "en"}), ("/varies", {"Accept_Language": "de"})]
        for hit in (False, True):
            assert [node.fetch(target, **fields).is_hit for target, fields in asked] == [hit] * 3
        node.purge(tag="t")
        assert [node.fetch(target, **fields).is_hit for target, fields in asked] == [False] * 3


def test_an_answer_under_way_when_its_tag_is_purged_is_not_stored(node, origin):
    origin.add("/t", LENGTH, delay=0.5, fields={"Cache-Tag": "t"})
    with node.connect() as connection:
        connection.request("/t")
        wait_until(lambda: origin.requests_for("/t"), what="the origin request")
        node.purge(tag="t")
        assert connection.read_response().body == track_bytes("/t", LENGTH)
    assert len(origin.requests_for("/t")) + node.fetch("/t").is_hit + node.fetch("/t").is_hit >= 2
    assert len(origin.requests_for("/t")) >= 2


def test_a_purge_by_tag_that_cuts_ends_running_responses(node, origin):
    assert_cuts(node, origin, fields={"Cache-Tag": "t"}, tag="t")


def test_a_304_with_other_tags_brings_a_version_that_has_them(node, origin):
    track = origin.add("/t", LENGTH, fields={"Cache-Tag": "old", "Cache-Control": "max-age=0"})
    node.fetch("/t")
    track.fields = {"Cache-Tag": "new", "Cache-Control": "max-age=600"}
    node.fetch("/t")
    assert node.fetch("/t").is_hit
    node.purge(tag="old")
    assert node.fetch("/t").is_hit
    node.purge(tag="new")
    assert not node.fetch("/t").is_hit


def test_32_tags_are_kept_and_more_are_not_stored(node, origin):
    fill(node, origin, {"/most": {"Cache-Tag": ",".join(f"t{i}" for i in range(32))}})
    origin.add("/more", LENGTH, fields={"Cache-Tag": " ".join(f"t{i}" for i in range(33))})
    assert [node.fetch("/more").is_hit for _ in range(2)] == [False, False]
    assert node.metric("segue_tags_refused_total") >= 1
    node.purge(tag="t31")
    assert not node.fetch("/most").is_hit


def test_the_purge_command_takes_tags(node, origin):
    fill(node, origin, TAGS)
    done = run_segue("purge", "--admin", f"unix:{node.admin_socket}", "--tag", "artist-1", "--tag", "artist-2")
    assert done.returncode == 0, done.stderr
    assert [node.fetch(target).is_hit for target in TAGS] == [False, False, True, True]
    bad = run_segue("purge", "--admin", f"unix:{node.admin_socket}", "--tag", "two words")
    assert bad.returncode != 0
    assert "tag is not" in bad.stderr + bad.stdout


@pytest.mark.parametrize(
    "body",
    [
        {"tag": ""},
        {"tag": "a b"},
        {"tag": "a,b"},
        {"tag": 1},
        {"tag": "x" * 1025},
        {"tag": "a", "url": "/t"},
        {"tag": "ü"},
        {"tag": "a\n"},
    ],
    ids=str,
)
def test_a_tag_that_is_none_is_refused_and_purges_nothing(node, origin, body):
    fill(node, origin, {"/t": {"Cache-Tag": "a"}})
    response = node.admin("/purge", "POST", body)
    assert response.status == 400
    assert json.loads(response.body)["error"]
    assert node.fetch("/t").is_hit


@pytest.mark.slow
@pytest.mark.parametrize("crash", [False, True], ids=["stop", "kill"])
def test_a_tag_purge_outlives_the_process_as_do_the_tags(origin, tmp_path, crash):
    first = Node(config(origin, [tmp_path]))
    try:
        ready_to_keep(first, origin)
        for i in range(8):
            origin.add(f"/t/{i}", 300_000, fields={"Cache-Tag": f"all t{i}"})
            first.fetch(f"/t/{i}")
        settle(first)
        first.purge(tag="t1")  # durable when acknowledged
    finally:
        first.kill() if crash else first.stop()
    with Node(config(origin, [tmp_path])) as node:
        assert [node.fetch(f"/t/{i}").is_hit for i in range(8)] == [i != 1 for i in range(8)]
        node.purge(tag="t2")  # by tags that only the records know
        node.purge(tag="nothing-has-it")
    with Node(config(origin, [tmp_path])) as node:
        assert not node.fetch("/t/2").is_hit
        node.purge(tag="all")
        assert [node.fetch(f"/t/{i}").is_hit for i in range(8)] == [False] * 8
