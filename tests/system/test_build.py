"""How the release binary is built: what a memory error of ours would meet. Read from the file itself by readelf and
objdump, and from the flags it was compiled with."""
import json
import os
import pathlib
import platform
import re
import shutil
import subprocess

import pytest

ROOT = pathlib.Path(__file__).resolve().parents[2]
BINARY = pathlib.Path(os.environ.get("SEGUE_BINARY", ROOT / "build/release/segue"))
RELEASE = BINARY.parent
ENDBR_MIN = 1000  # places an indirect call or jump may land; without CET there are none of ours


def tool(*words):
    if shutil.which(words[0]) is None:
        pytest.skip(f"SKIPPED, not tested here: no {words[0]} on this machine")
    return subprocess.run([*words, BINARY], capture_output=True, text=True, check=True).stdout


@pytest.fixture(scope="module")
def commands():
    """The compile commands of our own sources in the release build."""
    cache = (RELEASE / "CMakeCache.txt").read_text()
    if "CMAKE_BUILD_TYPE:STRING=Release" not in cache:
        pytest.skip(f"{RELEASE} is no release build")
    entries = json.loads((RELEASE / "compile_commands.json").read_text())
    product = ("base", "http", "conf", "cache", "tls", "origin", "edge")
    return [one["command"] for one in entries if pathlib.Path(one["file"]).relative_to(ROOT).parts[0] in product]


def test_the_binary_is_position_independent():
    assert re.search(r"Type:\s+DYN \(Position-Independent Executable file\)", tool("readelf", "-hW"))


def test_every_relocation_is_made_at_the_start_and_then_read_only():
    assert "GNU_RELRO" in tool("readelf", "-lW")
    dynamic = tool("readelf", "-dW")
    assert "BIND_NOW" in dynamic
    assert re.search(r"FLAGS_1.*NOW.*PIE", dynamic)
    assert "TEXTREL" not in dynamic


def test_nothing_is_writable_and_executable():
    segments = re.findall(r"^\s+(LOAD|GNU_STACK)\s.*\s([R ][W ][E ])\s+0x", tool("readelf", "-lW"), re.M)
    assert {"GNU_STACK"} <= {name for name, _ in segments}
    assert not [flags for _, flags in segments if "W" in flags and "E" in flags]


def test_it_looks_for_libraries_in_no_folder_of_its_own():
    assert not re.search(r"\((RPATH|RUNPATH)\)", tool("readelf", "-dW"))


def test_stacks_and_copies_are_checked(commands):
    symbols = tool("readelf", "-W", "--dyn-syms")
    assert "__stack_chk_fail" in symbols
    assert "__memcpy_chk" in symbols  # of FORTIFY
    for command in commands:
        assert "-D_FORTIFY_SOURCE=3" in command and "-fstack-protector-strong" in command
        assert "-fstack-clash-protection" in command and "-O2" in command


def test_assertions_are_on():
    program = BINARY.read_bytes()
    assert b"segue: assertion failed: %s (%s:%d)" in program
    sources = (path.read_text() for path in (ROOT / "cache").glob("*.cc"))
    asserted = {text for source in sources for text in re.findall(r"^ +SEGUE_ASSERT\(([^\"\n]+)\);$", source, re.M)}
    missing = [text for text in asserted if text.encode() not in program]
    assert len(asserted) > 50
    # The compiler may prove a few of them.
    assert len(missing) <= len(asserted) / 10, missing


def test_every_place_an_indirect_branch_may_land_is_marked(commands):
    if platform.machine() != "x86_64":
        pytest.skip("SKIPPED, not tested here: CET is a matter of x86-64")
    assert all("-fcf-protection=full" in command for command in commands)
    assert tool("objdump", "-d", "--section=.text", "--no-show-raw-insn").count("endbr64") > ENDBR_MIN
