"""Real players in front of a folder of music: curl, ffmpeg, mpv, and <audio> in headless Chromium.

Each compares with the local file, byte for byte or as decoded sound, or plays to the end. A tool that is not on the
machine is a skip that says so."""
import hashlib
import json
import os
import pathlib
import shutil
import subprocess

import pytest

from support.node import ROOT, Node
from support.settings import config_for

pytestmark = [pytest.mark.slow, pytest.mark.alone]  # players play in real time
SECONDS = 20
# name of the file, how ffmpeg makes it
FILES = {
    "tone.ogg": ["-c:a", "libvorbis", "-b:a", "192k"],
    "tone.mp3": ["-c:a", "libmp3lame", "-b:a", "320k"],
    "tone.flac": ["-c:a", "flac"],
    "moov-last.m4a": ["-c:a", "aac", "-b:a", "256k"],
    "moov-first.m4a": ["-c:a", "aac", "-b:a", "256k", "-movflags", "+faststart"],
}


def need(tool):
    if shutil.which(tool) is None:
        pytest.skip(f"SKIPPED, not tested here: no {tool} on this machine")
    return tool


def run(*command, seconds=60, **keywords):
    done = subprocess.run(
        [str(word) for word in command],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        timeout=seconds,
        check=False,
        **keywords,
    )
    assert done.returncode == 0, f"{command}: {done.stderr.decode()[-2000:]}"
    return done.stdout


@pytest.fixture(scope="module")
def music(tmp_path_factory):
    """Noise and tones: no two slices alike, and all of it decodable."""
    need("ffmpeg")
    folder = tmp_path_factory.mktemp("music")
    for name, how in FILES.items():
        run(
            "ffmpeg",
            "-v",
            "error",
            "-f",
            "lavfi",
            "-i",
            f"anoisesrc=d={SECONDS}:a=0.3:seed=7",
            "-ac",
            "2",
            "-ar",
            "44100",
            *how,
            folder / name,
        )
    return folder


@pytest.fixture(scope="module")
def url(music, tmp_path_factory):
    drive = tmp_path_factory.mktemp("cache")
    more = f'[[cache.drive]]\npath = "{drive}"\nsize = "256MiB"\nsparse = true\n'
    config = config_for(f"dir:{music}", more=more, site="").replace('hosts = ["localhost"]', 'hosts = ["*"]')
    with Node(config, tls=False) as node:
        yield f"http://127.0.0.1:{node.address[1]}"


def test_curl_fetches_ranges_and_resumes(music, url, tmp_path):
    need("curl")
    for name in FILES:
        body = (music / name).read_bytes()
        for _ in range(2):
            assert run("curl", "-fsS", f"{url}/{name}") == body
            assert run("curl", "-fsS", "-r", "1000-300000", f"{url}/{name}") == body[1000:300_001]
            assert run("curl", "-fsS", "-r", "-65307", f"{url}/{name}") == body[-65307:]
            part = tmp_path / name
            part.write_bytes(body[:123_457])
            run("curl", "-fsS", "-C", "-", "-o", part, f"{url}/{name}")
            assert part.read_bytes() == body
        assert run("curl", "-fsS", "--http1.0", f"{url}/{name}") == body


def decoded(source, *seek):
    return run(
        "ffmpeg",
        "-v",
        "error",
        "-xerror",
        *seek,
        "-i",
        source,
        "-t",
        "3",
        "-f",
        "s16le",
        "-ac",
        "2",
        "-ar",
        "44100",
        "-",
    )


@pytest.mark.parametrize("name", FILES)
def test_ffmpeg_decodes_the_same_sound_with_seeks(music, url, name):
    whole = hashlib.sha256(run("ffmpeg", "-v", "error", "-xerror", "-i", music / name, "-f", "s16le", "-")).hexdigest()
    assert (
        hashlib.sha256(run("ffmpeg", "-v", "error", "-xerror", "-i", f"{url}/{name}", "-f", "s16le", "-")).hexdigest()
        == whole
    )
    for seconds in (15, 3, 17):
        sound = decoded(f"{url}/{name}", "-ss", str(seconds))
        assert sound == decoded(music / name, "-ss", str(seconds))
        assert len(sound) > 44100


MPV_SCRIPT = """
local seeks = {15, 2, 17.5}
mp.register_event("playback-restart", function()
  local where = mp.get_property_number("time-pos")
  print("AT " .. tostring(where))
  local to = table.remove(seeks, 1)
  if to then mp.commandv("seek", to, "absolute+exact") end
end)
mp.register_event("end-file", function(event) print("ENDED " .. event.reason) end)
"""


@pytest.mark.parametrize("name", ["tone.ogg", "tone.mp3", "moov-last.m4a"])
def test_mpv_seeks_and_plays_to_the_end(url, tmp_path, name):
    need("mpv")
    script = tmp_path / "seek.lua"
    script.write_text(MPV_SCRIPT)
    told = run(
        "mpv",
        "--no-config",
        "--ao=null",
        "--vo=null",
        "--no-video",
        "--ytdl=no",
        "--cache=yes",
        f"--script={script}",
        "--msg-level=all=info",
        f"{url}/{name}",
        env={**os.environ, "HOME": str(tmp_path)},
    ).decode()
    assert "ENDED eof" in told, told
    places = [float(line.split("AT ")[1]) for line in told.splitlines() if "AT " in line]
    assert len(places) == 4, told
    for place, wanted in zip(places, (0, 15, 2, 17.5)):
        assert abs(place - wanted) < 0.6, places


@pytest.fixture(scope="module")
def playwright():
    """playwright-core in a folder of the build; fetched once, from the registry npm is set to."""
    need("node")
    need("chromium")
    folder = ROOT / "build/playwright"
    if not (folder / "node_modules/playwright-core").exists():
        need("npm")
        folder.mkdir(parents=True, exist_ok=True)
        done = subprocess.run(
            ["npm", "install", "--prefix", folder, "--no-audit", "--no-fund", "--no-save", "playwright-core"],
            stdin=subprocess.DEVNULL,
            capture_output=True,
            timeout=120,
            check=False,
        )
        if done.returncode:
            pytest.skip(
                f"SKIPPED, not tested here: npm could not install playwright-core: {done.stderr.decode()[-300:]}"
            )
    return folder


@pytest.mark.parametrize("name", ["tone.ogg", "tone.mp3"])
def test_chromium_plays_seeks_and_reaches_the_end(url, playwright, tmp_path, name):
    script = pathlib.Path(__file__).parent / "support/play_in_chromium.mjs"
    told = json.loads(run("node", script, playwright, f"{url}/{name}", tmp_path / "profile", seconds=90))
    assert abs(told["duration"] - SECONDS) < 0.5
    assert told["ended"] is True
    for place, wanted in zip(told["seeks"], (0.7, 0.2, 0.9)):
        assert abs(place - wanted) < 0.02
