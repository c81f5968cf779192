"""What a service manager and an operator see: signs of life, reload, handed-over sockets, an orderly stop."""
import ctypes
import json
import os
import pathlib
import signal
import socket
import subprocess
import threading
import time

import pytest

from support import transport
from support.client import Closed, Connection, fetch, wait_until
from support.node import BINARY, Node, StartFailed, handing_over, run_segue
from support.settings import config_for

LENGTH = 300_000
BIG = 8_000_000


class Manager:
    """The socket that systemd listens at, and what came over it."""

    def __init__(self, folder):
        self.path = str(folder / "notify")
        self.socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self.socket.bind(self.path)
        self.messages = []
        threading.Thread(target=self._read, daemon=True).start()

    def _read(self):
        while True:
            self.messages.append(self.socket.recv(65536).decode())

    def count(self, line):
        return sum(line in message.split("\n") for message in self.messages)

    def lines(self, name):
        return [line for message in self.messages for line in message.split("\n") if line.startswith(name)]


@pytest.fixture
def manager(tmp_path):
    return Manager(tmp_path)


@pytest.fixture
def listener():
    with socket.create_server(("127.0.0.1", 0), backlog=512) as server:
        yield server


def notifying(manager, origin, **keywords):
    environment = {"NOTIFY_SOCKET": manager.path, **keywords.pop("environment", {})}
    return Node(config_for(origin.url), environment=environment, **keywords)


def rewrite(node, old, new):
    text = node.config_path.read_text()
    assert old in text
    node.config_path.write_text(text.replace(old, new))


def hang_up(node, outcome, count=1):
    """SIGHUP, and waits until the reload has the outcome for the `count`th time."""
    node.process.send_signal(signal.SIGHUP)
    name = f'segue_reloads_total{{outcome="{outcome}"}}'
    wait_until(lambda: node.metrics()[name] == count, what=f"reload {outcome}")


# --- signs of life ---


def test_readiness_reload_and_stop_are_told_in_order(manager, origin):
    with notifying(manager, origin) as node:
        wait_until(lambda: manager.count("READY=1") == 1, what="READY")
        hang_up(node, "done")
        wait_until(lambda: manager.count("READY=1") == 2, what="READY after the reload")
        assert manager.count("STOPPING=1") == 0
    told = [line for line in manager.lines("") if line in ("READY=1", "RELOADING=1", "STOPPING=1")]
    assert told == ["READY=1", "RELOADING=1", "READY=1", "STOPPING=1"]
    (stamp,) = manager.lines("MONOTONIC_USEC=")
    assert 0 < int(stamp.partition("=")[2]) <= time.monotonic_ns() // 1000


def test_an_abstract_notify_socket_is_told_too(origin):
    receiver = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
    receiver.bind("\0segue-test-%d" % os.getpid())
    receiver.settimeout(15)
    with Node(config_for(origin.url), environment={"NOTIFY_SOCKET": "@segue-test-%d" % os.getpid()}):
        assert receiver.recv(4096).startswith(b"READY=1")


@pytest.mark.alone
def test_the_watchdog_is_fed_while_every_loop_turns_and_starved_when_one_is_stuck(manager, origin):
    with notifying(manager, origin, environment={"WATCHDOG_USEC": "400000"}) as node:
        wait_until(lambda: manager.count("WATCHDOG=1") >= 3, what="three signs of life")
        with stopped_loop(node, "loop-1"):
            # The health check in flight may still be answered; after it none is.
            node.wait_for_log("loop_stuck loops=1")
            fed = manager.count("WATCHDOG=1")
            assert node.metric("segue_loops_stuck") == 1
            checks = node.metric("segue_loop_checks_total") + 5
            wait_until(lambda: node.metric("segue_loop_checks_total") >= checks, what="further checks")
            assert manager.count("WATCHDOG=1") == fed
        wait_until(lambda: manager.count("WATCHDOG=1") > fed, what="signs of life again")
        assert node.metric("segue_loops_stuck") == 0


class stopped_loop:
    """One thread of a process held by ptrace(2), as a call that never returns would hold it."""

    SEIZE, INTERRUPT, DETACH = 0x4206, 0x4207, 17

    def __init__(self, node, name):
        tasks = pathlib.Path(f"/proc/{node.process.pid}/task")
        found = [int(task.name) for task in tasks.iterdir() if (task / "comm").read_text().strip() == name]
        assert len(found) == 1, [(task / "comm").read_text() for task in tasks.iterdir()]
        self.thread = found[0]
        self.ptrace = ctypes.CDLL(None, use_errno=True).ptrace
        self.ptrace.argtypes = [ctypes.c_long, ctypes.c_long, ctypes.c_void_p, ctypes.c_void_p]
        self.ptrace.restype = ctypes.c_long

    def call(self, request):
        if self.ptrace(request, self.thread, None, None) != 0:
            error = ctypes.get_errno()
            if request == self.SEIZE:
                pytest.skip(f"ptrace is not allowed here: {os.strerror(error)}")
            raise OSError(error, os.strerror(error))

    def __enter__(self):
        self.call(self.SEIZE)
        self.call(self.INTERRUPT)
        os.waitpid(self.thread, 0x40000000)  # __WALL: until it has stopped

    def __exit__(self, *_):
        self.call(self.DETACH)


@pytest.mark.parametrize("variable, value", [("WATCHDOG_USEC", "soon"), ("LISTEN_FDS", "-1"), ("LISTEN_FDS", "2")])
def test_what_a_manager_says_wrongly_is_a_clear_line(listener, variable, value):
    # `env` keeps the process id, so LISTEN_PID still means us; two sockets are announced where one is.
    front = [*handing_over([listener.fileno()]), "env", f"{variable}={value}"]
    command = [*front, str(BINARY), "serve", "--origin", "dir:/srv"]
    ended = subprocess.run(
        command, pass_fds=[listener.fileno()], capture_output=True, text=True, timeout=60, check=False
    )
    assert ended.returncode == 2
    assert f"{variable}={value}" in ended.stderr


# --- reload ---


def test_a_site_of_a_reload_is_served_and_one_taken_out_is_not(node, origin):
    origin.add("/t/1", LENGTH)
    assert node.fetch("/t/1", host="new.example").status == 421
    rewrite(node, '"localhost"', '"localhost", "new.example"')
    hang_up(node, "done")
    assert node.fetch("/t/1", host="new.example").status == 200
    assert node.fetch("/t/1", host="new.example").is_hit
    rewrite(node, '"localhost", "new.example"', '"localhost"')
    hang_up(node, "done", 2)
    assert node.fetch("/t/1", host="new.example").status == 421
    assert node.fetch("/t/1").is_hit


def test_a_response_under_way_ends_on_the_rules_it_began_with(node, origin):
    track = origin.add("/t/1", BIG)
    with node.slow_body("/t/1") as (slow, head):
        for round_number in range(3):
            rewrite(node, "[[site]]", f"[[site]]  # {round_number}")
            hang_up(node, "done", round_number + 1)
        assert slow.read_exactly(int(head["Content-Length"])) == track.body


def test_a_file_with_a_mistake_changes_nothing_and_says_why(manager, origin):
    origin.add("/t/1", LENGTH)
    with notifying(manager, origin) as node:
        rewrite(node, '"localhost"', '"other.example"')
        rewrite(node, 'ram = "256MiB"', 'ram = "256 Mib"')
        hang_up(node, "refused")
        assert node.fetch("/t/1").status == 200
        assert node.fetch("/t/1", host="other.example").status == 421
        assert node.metric("segue_reload_last_success") == 0
        for words in ("settings_mistake", "node.ram", "the old settings stay in force"):
            node.wait_for_log(words)
        wait_until(lambda: any("node.ram" in line for line in manager.lines("STATUS=")), what="STATUS")
        node.config_path.unlink()
        hang_up(node, "refused", 2)
        node.wait_for_log("cannot be read")
        assert node.fetch("/t/1").status == 200


def test_what_needs_a_restart_is_named_and_goes_on_as_it_was(node, origin):
    origin.add("/t/1", LENGTH)
    rewrite(node, 'ram = "256MiB"', 'ram = "512MiB"')
    rewrite(node, '"localhost"', '"localhost", "new.example"')
    hang_up(node, "done")
    node.wait_for_log("reload_needs_restart settings=node.ram")
    assert node.fetch("/t/1", host="new.example").status == 200
    # It still differs from what runs, so it is named again.
    hang_up(node, "done", 2)
    node.wait_for_log("reload_needs_restart settings=node.ram", times=2)
    wait_until(lambda: "changed=\n" in node.log + "\n", what="what changed")


def test_a_site_of_an_origin_that_needs_a_restart_takes_nothing(node, origin):
    rewrite(
        node,
        'name = "music"',
        'name = "other"\nhosts = ["other.example"]\norigin = "later"\n[[site]]\nname = "music"',
    )
    rewrite(node, "[origin.store]", '[origin.later]\nservers = ["http://127.0.0.1:9"]\n[origin.store]')
    hang_up(node, "refused")
    node.wait_for_log('goes to origin "later", which needs a restart')
    assert node.fetch("/t/1", host="other.example").status == 421


def test_reloads_under_requests_cut_none_of_them(node, origin):
    track = origin.add("/t/1", LENGTH)
    node.fetch("/t/1")
    done, wrong = [], []

    def listen():
        with node.connect() as connection:
            for _ in range(300):
                connection.request("/t/1")
                response = connection.read_response()
                (done if response.status == 200 and response.body == track.body else wrong).append(response.status)

    threads = [threading.Thread(target=listen) for _ in range(4)]
    for thread in threads:
        thread.start()
    for count in range(1, 9):
        hang_up(node, "done", count)
    for thread in threads:
        thread.join(60)
    assert (len(done), wrong) == (1200, [])


def test_the_sample_of_the_access_log_is_reloaded(origin, tmp_path):
    origin.add("/t/1", LENGTH)
    log = tmp_path / "access.ndjson"
    with Node(config_for(origin.url, more=f'[log]\naccess = "{log}"\nsample = 10')) as node:
        with node.connect() as connection:
            for _ in range(100):
                connection.request("/t/1", Range="bytes=0-9")
                connection.read_response()
            connection.request("/t/1", method="DELETE")
            assert connection.read_response().status == 405
        wait_until(lambda: log.read_bytes().count(b"\n") == 11, what="ten of a hundred, and the failure")
        assert [json.loads(line)["status"] for line in log.read_text().splitlines()].count(405) == 1
        assert node.metric("segue_access_log_sampled_out_total") == 90
        rewrite(node, "sample = 10", "sample = 1")
        hang_up(node, "done")
        node.fetch("/t/1", Range="bytes=0-9")
        wait_until(lambda: log.read_bytes().count(b"\n") == 12, what="the next one")
        wait_until(lambda: node.metric("segue_access_log_written_total") == 12, what="counted")


# --- handed-over sockets ---


def activated(listener, origin, **keywords):
    address = "127.0.0.1:%d" % listener.getsockname()[1]
    roomy = config_for(origin.url).replace('ram = "256MiB"', 'ram = "512MiB"')  # for a thousand clients
    return Node(roomy, listen=(address,), descriptors=[listener.fileno()], **keywords)


@pytest.mark.alone
def test_a_thousand_connections_are_spread_evenly_over_the_loops(listener, origin):
    origin.add("/t/1", LENGTH)
    with activated(listener, origin) as node:
        before = node.metric("segue_connections_handed_over_total")
        held = [Connection(node.address) for _ in range(1000)]
        wait_until(lambda: node.metrics()['segue_connections_active{listener="public"}'] == 1000, what="all are open")
        handed_over = node.metric("segue_connections_handed_over_total") - before
        assert 450 <= handed_over <= 550, "two loops: half of them go to the other"
        for connection in (held[0], held[1], held[998], held[999]):
            connection.request("/t/1")
            assert connection.read_response().status == 200
        for connection in held:
            connection.close()


def test_connections_wait_in_the_socket_while_no_node_runs(listener, origin):
    # Plain: over TLS such a client waits in its handshake.
    origin.add("/t/1", LENGTH)
    with activated(listener, origin, tls=False) as node:
        assert node.fetch("/t/1").status == 200
    waiting = [Connection(listener.getsockname()) for _ in range(20)]
    for connection in waiting:
        connection.request("/t/1")
    with activated(listener, origin, tls=False):
        for connection in waiting:
            assert connection.read_response().status == 200


def test_a_restart_under_load_fails_no_request(listener, origin):
    track = origin.add("/t/1", LENGTH)
    stop, done, wrong = threading.Event(), [], []

    def play():
        connection, used = None, False
        while not stop.is_set():
            connection, used = (connection, used) if connection else (Connection(listener.getsockname()), False)
            try:
                connection.request("/t/1")
                response = connection.read_response()
            except (Closed, ConnectionResetError, BrokenPipeError) as error:
                # RFC 9112 §9.3.1: once, on a reused connection, and only if no byte has come.
                if not used or getattr(error, "partial", b""):
                    wrong.append(repr(error))
                connection.close()
                connection = None
                continue
            (done if response.body == track.body else wrong).append(response.status)
            used = True
            if response.get("Connection") == "close":
                connection.close()
                connection = None

    threads = [threading.Thread(target=play) for _ in range(6)]
    node = activated(listener, origin)
    for thread in threads:
        thread.start()
    for _ in range(3):
        enough = len(done) + 60
        wait_until(lambda: len(done) >= enough or wrong, what="responses between two restarts")
        node.stop()
        node = activated(listener, origin)
    enough = len(done) + 60
    wait_until(lambda: len(done) >= enough or wrong, what="responses after the last restart")
    stop.set()
    for thread in threads:
        thread.join(30)
    node.stop()
    assert wrong == []


def test_a_handed_over_socket_that_no_listener_names_is_refused(listener, origin):
    with pytest.raises(StartFailed) as failed:
        Node(config_for(origin.url), descriptors=[listener.fileno()])
    assert "which no [[listen]] names" in failed.value.log


def test_a_handed_over_admin_socket_is_the_admin_listener(origin, tmp_path):
    path = str(tmp_path / "admin.sock")
    admin = socket.socket(socket.AF_UNIX)
    admin.bind(path)
    admin.listen()
    with Node(config_for(origin.url), folder=tmp_path, descriptors=[admin.fileno()]) as node:
        assert node.admin("/live").status == 200
    assert os.path.exists(path), "the file belongs to whoever made it"


# --- stopping ---


def test_at_a_stop_ready_says_no_while_running_bodies_finish(node, origin):
    track = origin.add("/t/1", BIG)
    with node.slow_body("/t/1") as (slow, head):
        node.process.send_signal(signal.SIGTERM)
        wait_until(lambda: node.admin("/ready").status == 503, what="/ready says no")
        assert json.loads(node.admin("/ready").body)["reason"] == "stopping"
        assert node.admin("/live").status == 200
        assert slow.read_exactly(int(head["Content-Length"])) == track.body
        assert slow.is_closed_by_peer()
    node.stop()


def test_a_body_over_the_drain_limit_is_cut(origin):
    origin.add("/t/1", BIG)
    with Node(config_for(origin.url, node='drain = "100ms"')) as node, node.slow_body("/t/1") as (slow, _):
        node.stop(seconds=15)
        with pytest.raises((Closed, ConnectionResetError)):
            slow.read_exactly(BIG)


def test_the_drain_limit_is_reloaded(node, origin):
    origin.add("/t/1", BIG)
    rewrite(node, "threads = 2", 'threads = 2\ndrain = "100ms"')
    hang_up(node, "done")
    with node.slow_body("/t/1"):
        node.stop(seconds=4)


def test_a_connection_just_opened_may_send_its_one_request(node, origin):
    origin.add("/t/1", LENGTH)
    with node.connect() as fresh:
        wait_until(lambda: node.metrics()['segue_connections_active{listener="public"}'] == 1, what="it is open")
        node.process.send_signal(signal.SIGTERM)
        wait_until(lambda: node.admin("/ready").status == 503, what="/ready says no")
        fresh.request("/t/1")
        response = fresh.read_response()
        assert response.status == 200
        if transport.WIRE != "h2":  # which says it by GOAWAY
            assert response["Connection"] == "close"
    node.stop()


def test_a_retired_node_ends_at_its_limit_though_a_player_stays(origin):
    origin.add("/t/1", BIG)
    with Node(config_for(origin.url, node='retire = "500ms"\ndrain = "100ms"')) as node, node.slow_body("/t/1"):
        assert run_segue("drain", "--admin", f"unix:{node.admin_socket}").returncode == 0
        assert node.process.wait(15) == 0


def test_a_clean_stop_takes_its_socket_files_away(origin, tmp_path):
    path = tmp_path / "public.sock"
    with Node(config_for(origin.url), folder=tmp_path, listen=(f"unix:{path}",)) as node:
        assert path.exists() and os.path.exists(node.admin_socket)
        assert fetch(str(path), "/t/none").status == 404
    assert not path.exists()
    assert not os.path.exists(node.admin_socket)
