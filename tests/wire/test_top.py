"""`segue top` in a terminal (a pty, shown by pyte), and `segue stats`: the numbers are the node's, it fits the
window it is given, and it says when the node is not there."""
import contextlib
import fcntl
import json
import os
import pty
import re
import select
import signal
import struct
import subprocess
import termios
import time

import pytest

from support.client import wait_until
from support.node import BINARY, Node, run_segue
from support.settings import config_for

pyte = pytest.importorskip("pyte", reason="SKIPPED, not tested here: no python3-pyte on this machine")

LENGTH = 600_000


class Terminal:
    """`segue top` in a terminal of `columns` x `lines`."""

    def __init__(self, node, columns=100, lines=40, every="200ms", term="linux"):
        self.screen = pyte.Screen(columns, lines)
        self.stream = pyte.ByteStream(self.screen)
        self.master, slave = pty.openpty()
        self.resize(columns, lines)
        command = [str(BINARY), "top", "--admin", f"unix:{node.admin_socket}", "--every", every]

        def take_terminal():
            # A job in the background of a script has inherited that an interrupt is ignored.
            signal.signal(signal.SIGINT, signal.SIG_DFL)
            fcntl.ioctl(0, termios.TIOCSCTTY, 0)

        self.process = subprocess.Popen(
            command,
            stdin=slave,
            stdout=slave,
            stderr=slave,
            start_new_session=True,
            preexec_fn=take_terminal,
            env={**os.environ, "TERM": term},
        )
        os.close(slave)

    def resize(self, columns, lines):
        self.screen.resize(lines, columns)
        fcntl.ioctl(self.master, termios.TIOCSWINSZ, struct.pack("HHHH", lines, columns, 0, 0))

    def read(self, seconds=0.1):
        while select.select([self.master], [], [], seconds)[0]:
            try:
                data = os.read(self.master, 65536)
            except OSError:  # the other side has ended
                return
            self.stream.feed(data)
            seconds = 0

    @property
    def text(self):
        self.read()
        return "\n".join(line.rstrip() for line in self.screen.display).rstrip()

    def wait_for(self, words, seconds=20):
        deadline = time.monotonic() + seconds
        while not re.search(words, self.text):
            assert time.monotonic() < deadline, f"never showed {words!r}:\n{self.text}"
        return self.text

    def press(self, keys):
        os.write(self.master, keys.encode())

    def end(self, seconds=10):
        deadline = time.monotonic() + seconds
        while self.process.poll() is None and time.monotonic() < deadline:
            self.read()
        return self.process.poll()

    def __enter__(self):
        return self

    def __exit__(self, *_):
        if self.process.poll() is None:
            self.process.kill()
            self.process.wait(10)
        with contextlib.suppress(OSError):
            os.close(self.master)


@pytest.fixture
def node(origin, tmp_path):
    origin.add("/t/1", LENGTH)
    drive = f'[[cache.drive]]\npath = "{tmp_path}"\nsize = "256MiB"\nsparse = true\n'
    with Node(config_for(origin.url, more="[listens]\ncount = true\n" + drive)) as running:
        yield running


def listen(node, count=1):
    for _ in range(count):
        node.fetch("/t/1", User_Agent="Player/1")
    wait_until(lambda: node.metric("segue_listens_responses_total") >= count, what="the counting")


def test_it_shows_what_the_node_does_and_q_ends_it(node):
    listen(node, 4)
    with Terminal(node, every="1h") as terminal:  # only the first look: since the start
        terminal.wait_for("TOP TRACKS")
        shown = terminal.wait_for("music /t/1")
        assert "segue " in shown.splitlines()[0] and "serving" in shown.splitlines()[0]
        for words in (
            r"^store ",
            r"^0 +online",
            r"^ +1 +1 +[\d.]+ +music /t/1$",
            r"^hits +[1-9]\d\.\d % +ram [1-9]",
            r"^64 KiB +p50 \d",
        ):
            assert re.search(words, shown, re.M), (words, shown)
        assert "PREFETCH" not in shown  # this node has none
        terminal.press("q")
        assert terminal.end() == 0


def test_what_it_shows_is_of_the_last_interval(node):
    listen(node, 4)
    with Terminal(node) as terminal:
        # Nobody asks for anything: the second look shows no traffic, whatever was before.
        terminal.wait_for(r"(?m)^hits +-")
        assert re.search(r"(?m)^64 KiB +p50 - ", terminal.text)
        terminal.press("q")
        assert terminal.end() == 0


@pytest.mark.parametrize("columns, lines", [(40, 10), (20, 3), (200, 60), (1, 1)])
def test_it_fits_the_window_it_is_given(node, columns, lines):
    listen(node)
    with Terminal(node) as terminal:
        terminal.wait_for("TOP TRACKS")
        terminal.resize(columns, lines)
        if columns >= 20:
            terminal.wait_for(r"^segue \d")
        terminal.resize(100, 40)
        terminal.wait_for("TOP TRACKS of this hour")
        assert terminal.process.poll() is None
        terminal.press("Q")
        assert terminal.end() == 0


def test_it_says_that_the_node_has_gone_and_goes_on_when_it_is_back(origin, tmp_path):
    origin.add("/t/1", LENGTH)
    config = config_for(origin.url)
    with Node(config, folder=tmp_path) as first, Terminal(first) as terminal:
        terminal.wait_for("serving")
        first.stop()
        terminal.wait_for("no answer from the admin listener at unix:")
        assert "the numbers below are the last ones" in terminal.text
        with Node(config, folder=tmp_path):
            terminal.wait_for("serving")
            assert "no answer" not in terminal.text
            terminal.press("q")
            assert terminal.end() == 0


def test_without_a_node_it_ends_and_says_where_it_looked(tmp_path):
    class Nobody:
        admin_socket = tmp_path / "none.sock"

    with Terminal(Nobody) as terminal:
        assert terminal.end() == 1
        assert "no answer from the admin listener at unix:" in terminal.text.replace("\n", "")


def test_a_terminal_that_is_not_known_is_named(node):
    with Terminal(node, term="no-such-terminal") as terminal:
        assert terminal.end() == 1
        assert "this terminal is not known" in terminal.text


def test_without_a_terminal_it_points_to_stats(node):
    done = run_segue("top", "--admin", f"unix:{node.admin_socket}", stdin=subprocess.DEVNULL)
    assert (done.returncode, "needs a terminal" in done.stderr) == (1, True)


@pytest.mark.parametrize("every", ["0s", "1ms", "2h", "soon"])
def test_a_strange_pace_is_refused(every):
    done = run_segue("top", "--every", every)
    assert (done.returncode, "100ms to 1h" in done.stderr) == (2, True)


def test_stats_prints_the_same_once_since_the_start(node):
    listen(node, 4)
    done = run_segue("stats", "--admin", f"unix:{node.admin_socket}", check=True)
    for words in (
        r"^segue [\d.]+, serving, up \d+ s",
        r"^hits +[1-9]\d\.\d % +ram [1-9]",
        r"^store ",
        r"^0 +online",
        r"music /t/1$",
    ):
        assert re.search(words, done.stdout, re.M), (words, done.stdout)
    numbers = json.loads(run_segue("stats", "--json", "--admin", f"unix:{node.admin_socket}", check=True).stdout)
    assert numbers["segue_listens_responses_total"] == 4


def test_names_from_clients_cannot_drive_the_terminal(node, origin):
    path = "/%E2%80%AE%5B2J;x"
    origin.add(path, LENGTH)
    node.fetch(path, User_Agent="Player/1")
    wait_until(lambda: node.metric("segue_listens_responses_total") == 1, what="the counting")
    out = run_segue("stats", "--admin", f"unix:{node.admin_socket}", check=True).stdout
    assert "music /" in out
    assert all(character == "\n" or " " <= character <= "~" for character in out)


def test_an_interrupt_leaves_the_terminal_as_it_was(node):
    with Terminal(node) as terminal:
        terminal.wait_for("serving")
        assert not termios.tcgetattr(terminal.master)[3] & termios.ECHO
        terminal.process.send_signal(signal.SIGINT)
        assert terminal.end() is not None
        assert termios.tcgetattr(terminal.master)[3] & termios.ECHO
