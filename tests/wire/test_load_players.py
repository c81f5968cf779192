"""The realistic listeners of loadtest/players in front of the node, for a moment: every byte right, nothing cut.

Counts and bytes only; how long anything took is for `./dev bench players`.
"""
import contextlib
import json
import subprocess

import pytest

from support.node import BINARY, Node
from support.settings import config_for

pytestmark = pytest.mark.alone  # crowds, and none of them may be turned away
PROGRAMS = BINARY.resolve().parent / "loadtest"
PERSONAS = ("chunk512", "librespot", "java128", "chromium", "apple", "ffmpeg", "media3", "hls", "dash")


@contextlib.contextmanager
def endless_origin(*words):
    """loadtest/origin; ends when its standard input does."""
    process = subprocess.Popen(
        [PROGRAMS / "origin", "0", *words], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )
    try:
        yield f"http://127.0.0.1:{process.stdout.readline().split()[1]}"
    finally:
        process.stdin.close()
        process.stdout.close()
        process.wait(10)


def listen(address, folder, *words):
    """(exit code, what the listeners counted)"""
    server, found = f"{address[0]}:{address[1]}", folder / "players.json"
    command = [PROGRAMS / "players", server, "--host", "localhost", "--json", found, "--seconds", "110", *words]
    done = subprocess.run([str(word) for word in command], capture_output=True, text=True, timeout=150, check=False)
    assert found.exists(), done.stdout + done.stderr
    return done.returncode, json.loads(found.read_text()), done.stdout


def test_listeners_of_every_kind_get_every_byte(tmp_path):
    with endless_origin("--track-bytes", "900000") as origin, Node(config_for(origin), tls=False) as node:
        words = ["--listeners", "40", "--plays", "3", "--accelerate", "200", "--tracks", "10"]
        code, found, text = listen(node.address, tmp_path, "--track-bytes", "900000", *words)
        assert code == 0, text
        everyone = found["all"]
        assert sum(everyone["troubles"].values()) == 0
        assert everyone["plays"] == 3 * everyone["listeners"] == 120
        for name in PERSONAS:
            assert found["personas"][name]["bytes"] > 0, name
        assert everyone["first_byte"]["count"] <= everyone["requests"]
        assert everyone["responses"] + everyone["left"] == everyone["requests"]
        numbers = node.metrics()
        assert numbers['segue_responses_total{class="4xx"}'] == 0
        assert numbers['segue_responses_total{class="5xx"}'] == 0


def test_a_wrong_byte_does_not_go_unseen(tmp_path):
    """The origin has tracks of another length than the listeners know: every range says so."""
    with endless_origin("--track-bytes", "900000") as origin, Node(config_for(origin), tls=False) as node:
        code, found, _ = listen(
            node.address, tmp_path, "--listeners", "4", "--plays", "1", "--track-bytes", "900001", "--accelerate", "200"
        )
        assert code == 1
        assert sum(found["all"]["troubles"].values()) > 0


@pytest.mark.slow
def test_listeners_are_served_while_both_tiers_evict(tmp_path):
    with endless_origin() as origin:
        drive = f'[[cache.drive]]\npath = "{tmp_path}"\nsize = "64MiB"\nsparse = true\n'
        config = config_for(origin, more=drive).replace('ram = "256MiB"', 'ram = "128MiB"')
        with Node(config, tls=False) as node:
            code, found, text = listen(
                node.address, tmp_path, "--listeners", "60", "--plays", "2", "--accelerate", "200", "--tracks", "100"
            )
            assert code == 0, text
            assert found["all"]["plays"] == 120
            assert node.metric("segue_ram_evictions_total") > 0
