"""The page of the admin listener, in headless Chromium: numbers move, the player plays and seeks, nothing comes from
elsewhere. SEGUE_WRITE=1 keeps the screenshots in docs/."""
import json
import os
import pathlib
import re
import threading

import pytest

from support.client import Connection, request_bytes, wait_until
from support.node import ROOT, Node
from support.settings import config_for
from test_real_clients import music, need, playwright, run  # noqa: F401  (fixtures)

FILES = {
    "/": "text/html; charset=utf-8",
    "/page.js": "text/javascript; charset=utf-8",
    "/page.css": "text/css; charset=utf-8",
    "/chart.js": "text/javascript; charset=utf-8",
}


@pytest.mark.parametrize("path", FILES)
def test_the_page_is_in_the_binary(node, path):
    response = node.admin(path)
    assert (response.status, response["Content-Type"]) == (200, FILES[path])
    assert "default-src 'self'" in response["Content-Security-Policy"]
    assert response["X-Content-Type-Options"] == "nosniff"
    source = ROOT / "edge/admin/page" / {"/": "index.html"}.get(path, path[1:])
    if path != "/chart.js":
        assert response.body == source.read_bytes()
    assert node.admin(path, method="POST").status in (404, 405)


def test_the_node_says_who_it_is(node):
    facts = json.loads(node.admin("/node.json").body)
    assert facts["name"] == "test-node"
    assert facts["sites"] == ["music"]
    assert facts["listen"] == ["127.0.0.1:%d" % node.address[1]]


def test_the_page_asks_only_for_what_the_node_has(node):
    html = node.admin("/").body.decode()
    for link in re.findall(r'(?:src|href)="([^"]*)"', html):
        assert link.startswith("data:") or node.admin("/" + link).status == 200
    script = node.admin("/page.js").body.decode()
    for name in set(re.findall(r"'(segue_\w+)'", script)):
        base = re.sub("_bucket$", "", name)
        known = (ROOT / "conf/metrics.md").read_text()
        assert f"`{base}`" in known, name


def feed_what_is_next(node, music):
    """A recommendation of model "m" that comes true, for the table of prefetch."""
    line = json.dumps({"session": "s", "model": "m", "next": [{"track": "/tone.mp3", "head_ms": 1000}]}) + "\n"
    with Connection(node.admin_socket) as connection:
        connection.send(request_bytes("/feed", "POST", Content_Length=len(line)) + line.encode())
        assert connection.read_response().status == 200
    fetched = 'segue_prefetch_tracks_total{model="m",fate="fetched"}'
    wait_until(lambda: node.metrics().get(fetched) == 1, what="the head of the next track")
    body = (music / "tone.mp3").read_bytes()
    assert node.fetch("/tone.mp3").body == body


@pytest.mark.slow
@pytest.mark.alone
def test_numbers_move_and_the_player_plays_in_chromium(music, playwright, tmp_path):  # noqa: F811
    drive = f'[[cache.drive]]\npath = "{tmp_path}"\nsize = "256MiB"\n'
    config = config_for(f"dir:{music}", more=f'[listens]\ncount = true\n[prefetch]\nmode = "on"\n{drive}')
    config = config.replace('hosts = ["localhost"]', 'hosts = ["*"]')
    with Node(config, flags=("--admin", "127.0.0.1:0")) as node:
        admin = re.search(r"admin_listening address=(\S+)", node.log)[1]
        node.admin_socket = (admin.split(":")[0], int(admin.split(":")[1]))
        feed_what_is_next(node, music)
        stop = threading.Event()

        def listen():
            length = (music / "tone.flac").stat().st_size
            second = length // 2
            with Connection(node.address) as connection:
                for first in (0, second):  # the first tenth and more, then a jump forward to the middle
                    last = first + length // 8
                    connection.request("/tone.flac", Range=f"bytes={first}-{last}", User_Agent="Player/1")
                    connection.read_response()
                while not stop.wait(0.02):
                    connection.request("/tone.flac", Range="bytes=0-99999", User_Agent="Player/1")
                    connection.read_response()

        listener = threading.Thread(target=listen)
        listener.start()
        try:
            shots = ROOT / "docs" if os.environ.get("SEGUE_WRITE") == "1" else tmp_path
            script = pathlib.Path(__file__).parent / "support/look_at_page.mjs"
            track = "http://127.0.0.1:%d/tone.ogg" % node.address[1]
            profile = tmp_path / "profile"
            told = json.loads(run("node", script, playwright, f"http://{admin}/", track, profile, shots, seconds=120))
        finally:
            stop.set()
            listener.join(10)
    assert (told["errors"], told["elsewhere"]) == ([], [])
    assert told["name"] == "test-node"
    assert "music" in told["about"]
    assert len(set(told["texts"])) >= 2
    assert max(told["points"]) > 0
    assert (told["origins"], "online" in told["drives"]) == (1, True)
    assert sorted(told["overload"]) == ["buffers", "descriptors", "fills", "memory", "ring"]
    assert told["shed"] == "nothing"
    assert told["shedding"] == "prefetch, miss"
    assert abs(told["duration"] - 20) < 0.5
    assert {row[1] for row in told["ranges"]} == {"206"}
    assert any("hit" in row[2] for row in told["ranges"])
    assert set(told["slices"]) <= {"ram", "drive", "filling", "absent"} and told["slices"]
    (top,) = [at for at, row in enumerate(told["listens"]) if row[:3] == ["/tone.flac", "1", "1"]]
    assert told["curves"][top] == ", ".join(f"{100 * (tenth in (0, 5))} %" for tenth in range(10))
    assert told["listens"][top][6] == "1, most at 10–20 %"
    assert all(re.fullmatch(r"\d+\.\d", row[4]) for row in told["listens"])
    assert len(told["bars"]) == 10 and max(told["bars"]) > 10 * min(told["bars"])
    ((_, precision, coverage, fetched, wasted),) = [row for row in told["prefetch"] if row[0] == "m"]
    assert (precision, wasted) == ("100.0 %", "0 B")
    assert float(coverage.split(" ")[0]) > 0 and fetched != "0 B"
    assert told["dark"] == "rgb(21, 24, 28)"
    assert told["overflow"] <= 0
