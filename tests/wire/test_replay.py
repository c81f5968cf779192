"""segue replay: a trace in, a table and JSON out; a wrong trace is one line that names the line."""
import json

import pytest

from support.node import run_segue

HEAD = "user,end_unix,ms_played,track\n"


def trace(tmp_path, text):
    path = tmp_path / "plays.csv"
    path.write_text(text)
    return str(path)


def test_a_feed_that_knows_what_follows_turns_misses_into_hits(tmp_path):
    plays = "".join(f"a,{1_000_000 + 60 * i},60000,t{i % 70}\n" for i in range(140))
    out = tmp_path / "out.json"
    done = run_segue("replay", trace(tmp_path, HEAD + plays), "--ram", "30%", "--json", str(out))
    assert done.returncode == 0, done.stderr
    runs = {(run["policy"], run["feed"]): run for run in json.loads(out.read_text())["runs"]}
    assert set(runs) == {(p, f) for p in ("lru", "s3fifo") for f in ("none", "learned:20", "oracle:100", "oracle:61")}
    assert runs["lru", "none"]["following_misses"] == 139
    assert runs["lru", "oracle:100"]["following_misses"] == 0
    assert runs["lru", "oracle:100"]["wasted_bytes"] == 0
    assert 0 < runs["lru", "oracle:61"]["following_misses"] < 139
    assert "oracle:61" in done.stdout


@pytest.mark.parametrize(
    "text, words",
    [
        ("", "line 1: the file is empty"),
        ("a,b\n", 'line 1: no column "user"'),
        (HEAD + "a,1,1,x\na,soon,1,x\n", "line 3: end_unix"),
        (HEAD + "a,1,1,x\na,1,1\n", "line 3: 3 columns"),
        (HEAD, "there is no play in the file"),
    ],
)
def test_a_wrong_trace_is_refused_with_its_line(tmp_path, text, words):
    done = run_segue("replay", trace(tmp_path, text))
    assert done.returncode == 1
    assert words in done.stderr and done.stderr.count("\n") == 1
    assert done.stdout == ""


def test_a_cache_that_cannot_be_and_a_file_that_is_not_there_are_refused(tmp_path):
    path = trace(tmp_path, HEAD + "a,1000,60000,x\n")
    assert "no cache" in run_segue("replay", path, "--ram", "1MiB").stderr
    assert "cannot be opened" in run_segue("replay", str(tmp_path / "none.csv")).stderr
