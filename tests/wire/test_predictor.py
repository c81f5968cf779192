"""The predictor against the real binary: it learns from what is played, proves itself before it fetches, and knows
after a restart what it knew."""
import pytest

from support.client import wait_until as wait_for
from support.node import Node
from support.settings import config_for
from test_feed import fate

TRACK = 700_000
LISTENERS = 150  # so many guesses are judged before it is trusted: 32 MiB of heads


def settings_for(origin, tmp_path, predictor, mode="on", name="learned"):
    drive = tmp_path / "cache"
    drive.mkdir(exist_ok=True)
    table = f'[[cache.drive]]\npath = "{drive}"\nsize = "64MiB"\nsparse = true\n'
    table += f'[prefetch]\nmode = "{mode}"\nbytes_per_second = "1GiB"\n'
    table += f'predictor = "{predictor}"\npredictor_file = "{tmp_path / name}"\n'
    return config_for(origin.url, more=table)


def play(node, session, *tracks):
    for track in tracks:
        assert node.fetch(f"{track}?CMCD=sid%3D%22{session}%22").status == 200


def teach(node, listeners=LISTENERS):
    for i in range(listeners):
        play(node, f"s{i}", "/a", "/b")


def judged(node):
    """Bytes of guesses that were only looked at, and are judged by now."""
    metrics = node.metrics()
    return sum(
        metrics.get(f'segue_prefetch_bytes_total{{model="predictor-observed",fate="{fate}"}}', 0)
        for fate in ("used", "wasted")
    )


@pytest.fixture
def tracks(origin):
    for path in ("/a", "/b"):
        origin.add(path, TRACK)
    return origin


def test_it_fetches_what_follows_once_it_has_proved_itself(tracks, tmp_path):
    with Node(settings_for(tracks, tmp_path, "on")) as node:
        assert node.metric("segue_predictor_trusted") == 0
        teach(node)
        wait_for(lambda: node.metric("segue_predictor_trusted") == 1, what="trust")
        assert judged(node) >= 32 << 20
        # What follows has been forgotten meanwhile: the guess brings it back before anyone asks.
        node.purge(url="http://localhost/b")
        asked = len(tracks.requests_for("/b"))
        play(node, "late", "/a")
        wait_for(lambda: fate(node, "fetched", "predictor") > 0, what="the guess")
        fetched = len(tracks.requests_for("/b"))
        assert fetched > asked
        answer = node.fetch("/b?CMCD=sid%3D%22late%22", Range="bytes=0-65535")
        assert answer.status == 206 and answer.is_hit
        assert len(tracks.requests_for("/b")) == fetched


@pytest.mark.parametrize("mode, predictor", [("on", "observe"), ("observe", "on")])
def test_observing_it_fetches_nothing_however_right_it_is(tracks, tmp_path, mode, predictor):
    with Node(settings_for(tracks, tmp_path, predictor, mode)) as node:
        teach(node)
        wait_for(lambda: judged(node) >= 32 << 20, what="judgement")
        node.purge(url="http://localhost/b")
        asked = len(tracks.requests_for("/b"))
        play(node, "late", "/a")
        assert node.metric("segue_predictor_trusted") == 0
        play(node, "later", "/a")
        assert len(tracks.requests_for("/b")) == asked


def test_what_was_learned_is_known_after_a_restart(tracks, tmp_path):
    settings = settings_for(tracks, tmp_path, "observe")
    with Node(settings) as node:
        teach(node, 20)
        wait_for(lambda: node.metric("segue_predictor_rows") > 0, what="learning")
        rows = node.metric("segue_predictor_rows")
        names = node.metric("segue_predictor_tracks")
        assert names == 2
    assert (tmp_path / "learned").stat().st_mode & 0o777 == 0o600
    with Node(settings) as node:
        assert node.metric("segue_predictor_rows") == rows
        assert node.metric("segue_predictor_tracks") == names


@pytest.mark.parametrize(
    "damage",
    [lambda good: b"", lambda good: good[:-1], lambda good: good[:40] + b"\xff" + good[41:], lambda good: b"x" * 5000],
)
def test_a_file_that_is_damaged_is_not_believed_and_the_node_serves(tracks, tmp_path, damage):
    settings = settings_for(tracks, tmp_path, "observe")
    with Node(settings) as node:
        teach(node, 5)
    path = tmp_path / "learned"
    path.write_bytes(damage(path.read_bytes()))
    with Node(settings) as node:
        assert node.metric("segue_predictor_rows") == 0
        node.wait_for_log("learning begins anew")
        play(node, "s", "/a")
    assert path.read_bytes()[:8] == b"SEGUEPRD"  # the next one takes its place


def test_a_file_that_cannot_be_written_stops_nobody(tracks, tmp_path):
    settings = settings_for(tracks, tmp_path, "observe", name="nowhere/learned")
    with Node(settings) as node:
        play(node, "s", "/a", "/b")
    assert "could not be written" in node.log


def begun(node, count):
    wait_for(lambda: node.metric("segue_first_byte_requests_total") == count, what=f"{count} notes")


def observed_used(node):
    return node.metrics().get('segue_prefetch_tracks_total{model="predictor-observed",fate="used"}', 0)


def test_players_behind_one_address_are_listeners_of_their_own(origin):
    for path in ("/a", "/b", "/x", "/y"):
        origin.add(path, 20_000)
    with Node(config_for(origin.url, more='[prefetch]\nmode = "on"\nbytes_per_second = "1GiB"\n')) as node:
        plays = 0

        def play_with(player, path):
            nonlocal plays
            assert node.fetch(path, User_Agent=player).status == 200
            plays += 1
            begun(node, plays)

        for _ in range(20):
            for player, path in (("one", "/a"), ("other", "/x"), ("one", "/b"), ("other", "/y")):
                play_with(player, path)
        play_with("third", "/a")
        used = observed_used(node)
        play_with("third", "/b")  # not /x, which somebody else began after /a each time
        wait_for(lambda: observed_used(node) == used + 1, what="the guess to be used")


def rows_after_plays(origin, threads):
    config = config_for(origin.url, more='[prefetch]\nmode = "on"\n')
    with Node(config.replace("threads = 2", f"threads = {threads}")) as node:
        for i in range(24):
            assert node.fetch(f"/{i}").status == 200
            begun(node, i + 1)
        return node.metric("segue_predictor_rows")


def test_a_listener_is_the_same_one_on_every_loop(origin):
    for i in range(24):
        origin.add(f"/{i}", 20_000)
    assert rows_after_plays(origin, threads=2) == rows_after_plays(origin, threads=1)


def test_paths_that_do_not_exist_are_no_names(origin):
    origin.add("/a", 20_000)
    with Node(config_for(origin.url, more='[prefetch]\nmode = "on"\n')) as node:
        assert [node.fetch("/a").status for _ in range(2)] == [200, 200]
        for i in range(20):
            assert [node.fetch(f"/missing{i}").status for _ in range(2)] == [404, 404]
        begun(node, 42)
        assert node.metric("segue_predictor_tracks") == 1
