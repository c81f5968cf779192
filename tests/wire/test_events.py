"""The daemon's own log: every event has its row in conf/events.md, and every line begins with one; for journald with
the priority in front (sd-daemon(3))."""
import re

from support.client import wait_until
from support.node import ROOT, Node
from support.settings import config_for

SOURCES = ("base", "http", "conf", "cache", "tls", "origin", "edge")
PRIORITY = {"info": "<6>", "warning": "<4>", "error": "<3>"}


def rows():
    """{event: level} of the page."""
    found = re.findall(r"^\| `(\w+)` \| (\w+) \| [^|]+ \| [^|]*\|$", (ROOT / "conf/events.md").read_text(), re.M)
    assert found == sorted(found), "by name"
    return dict(found)


def test_the_page_of_events_is_what_the_sources_log():
    logged = {}
    for folder in SOURCES:
        for source in (ROOT / folder).rglob("*.cc"):
            for level, event in re.findall(r'\blog_(info|warning|error)\(\s*"([^"]*)"', source.read_text()):
                assert re.fullmatch(r"[a-z][a-z0-9_]+", event), f"{source}: {event!r} is no name"
                assert logged.setdefault(event, level) == level, f"{event} has two levels"
    assert logged == rows()


def test_every_line_of_a_node_begins_with_its_event(origin):
    known = rows()
    with Node(config_for(origin.url)) as node:
        node.process.send_signal(1)
        node.wait_for_log("reloaded")
    for line in node.log_lines:
        level, event, _ = line.split(" ", 2)
        assert known[event] == level, line


def test_for_the_journal_a_line_begins_with_its_priority(origin):
    known = rows()
    with Node(config_for(origin.url), environment={"JOURNAL_STREAM": "8:1"}) as node:
        node.config_path.write_text("nonsense = 1\n")
        node.process.send_signal(1)
        node.wait_for_log("reload_refused")
    lines = [re.fullmatch(r"(<\d>)(\w+) .*", line) for line in node.log_lines]
    assert all(lines), node.log
    assert {PRIORITY[known[line[2]]] == line[1] for line in lines} == {True}
    assert any(line[1] == "<3>" and line[2] == "reload_refused" for line in lines)
