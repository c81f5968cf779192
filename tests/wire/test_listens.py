"""Who listened to what, counted by the real node: a play of many ranges is one, a robot is none; and the access log's
example for jq."""
import csv
import io
import json
import re
import shutil
import subprocess

import pytest

from support.client import wait_until
from support.node import ROOT, Node, run_segue
from support.settings import config_for

LENGTH = 3_000_000


@pytest.fixture
def node(origin):
    origin.add("/t/1", LENGTH)
    with Node(config_for(origin.url, more="[listens]\ncount = true\nbitrate = 160")) as running:
        yield running


def rows_of(node):
    response = node.admin("/listens")
    assert (response.status, response["Content-Type"]) == (200, "application/x-ndjson")
    return [json.loads(line) for line in response.body.decode().splitlines()]


def counted(node, responses):
    wait_until(lambda: node.metric("segue_listens_responses_total") == responses, what="the counting")


def listen(node, agent, ranges):
    with node.connect() as connection:
        for first, last in ranges:
            connection.request("/t/1", Range=f"bytes={first}-{last}", User_Agent=agent)
            assert connection.read_response().status == 206


def test_many_ranges_of_two_players_are_two_plays(node):
    parts = [(at, at + 99_999) for at in range(0, 1_500_000, 100_000)]
    listen(node, "Player/1", parts)
    listen(node, "Player/2", [*parts[:3], (2_000_000, 2_299_999)])
    listen(node, "Examplebot/1", parts)
    node.fetch("/t/1", User_Agent="Player/3", Sec_Purpose="prefetch;prerender")
    counted(node, 19)
    rows = rows_of(node)
    total = {name: sum(row[name] for row in rows) for name in ("plays", "downloads", "seconds")}
    assert {(row["site"], row["track"]) for row in rows} == {("music", "/t/1")}
    assert (total["plays"], total["downloads"]) == (2, 1)
    assert total["seconds"] == pytest.approx((1_500_000 + 600_000) / 20_000)
    assert [sum(row["tenths"][i] for row in rows) for i in range(10)] == [2, 1, 1, 1, 1, 0, 0, 1, 0, 0]
    assert [sum(row["skips"][i] for row in rows) for i in range(10)] == [0, 1, 0, 0, 0, 0, 0, 0, 0, 0]
    wait_until(lambda: node.metric("segue_listens_robots_total") == 15, what="the robot's 15")
    wait_until(lambda: node.metric("segue_listens_preloads_total") == 1, what="the one loaded ahead")


def test_looks_at_the_ends_of_a_track_and_playlists_are_no_plays(node, origin):
    origin.add("/list.m3u8", 5000)
    listen(node, "Player/1", [(0, 1), (LENGTH - 65_536, LENGTH - 1)])
    counted(node, 2)
    node.fetch("/list.m3u8", User_Agent="Player/1")
    wait_until(lambda: node.metric("segue_listens_others_total") == 1, what="the playlist")
    assert rows_of(node) == []
    listen(node, "Player/1", [(0, 99_999)])
    counted(node, 3)
    assert [row["plays"] for row in rows_of(node)] == [1]


def test_the_command_prints_lines_of_json_and_csv(node):
    listen(node, "Player/1", [(0, 99_999)])
    counted(node, 1)
    place = ["--admin", f"unix:{node.admin_socket}"]
    (line,) = run_segue("listens", *place, check=True).stdout.splitlines()
    (row,) = csv.DictReader(io.StringIO(run_segue("listens", "--csv", *place, check=True).stdout))
    assert (json.loads(line)["track"], row["track"], row["plays"], row["seconds"]) == ("/t/1", "/t/1", "1", "5.0")
    assert json.loads(run_segue("stats", "--json", *place, check=True).stdout)["segue_listens_rows"] == 1


def test_a_node_that_does_not_count_says_so(origin):
    with Node(config_for(origin.url)) as node:
        assert node.admin("/listens").status == 404
        assert json.loads(node.admin("/node.json").body)["listens"] is False


def test_the_jq_example_of_the_readme_works(origin, tmp_path):
    if shutil.which("jq") is None:
        pytest.skip("SKIPPED, not tested here: no jq on this machine")
    example = re.search(r"```sh\n(jq .*?)\n```", (ROOT / "README.md").read_text(), re.S)[1]
    log = tmp_path / "access.ndjson"
    origin.add("/t/1", LENGTH)
    with Node(config_for(origin.url, more=f'[log]\naccess = "{log}"')) as node:
        for _ in range(3):
            node.fetch("/t/1", Range="bytes=0-99")
        wait_until(lambda: log.exists() and log.read_bytes().count(b"\n") == 3, what="the lines")
    done = subprocess.run(
        ["bash", "-c", example.replace("/var/log/segue/access.ndjson", str(log))],
        capture_output=True,
        text=True,
        check=True,
    )
    assert done.stdout.splitlines() == ["/t/1\t3\t300\t2"]
