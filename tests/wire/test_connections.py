"""How many clients a node holds (node.connections), what the next one is told, and how loops share them."""
import pathlib
import socket

from support import transport
from support.client import Connection, wait_until
from support.node import Node, run_segue
from support.settings import config_for

LENGTH = 700_001


def active(node):
    return node.metrics()['segue_connections_active{listener="public"}']


def turned_away(node):
    return node.metrics()['segue_connections_refused_total{listener="public",reason="limit"}']


def test_as_many_clients_are_served_as_memory_is_set_aside_for_and_the_next_is_told_503(origin):
    origin.add("/t", LENGTH)
    with Node(config_for(origin.url, node="connections = 20"), tls=False) as node:
        assert node.metric("segue_connections_max") == 20
        # Whichever loops the kernel gives them to.
        held = [node.connect() for _ in range(20)]
        for connection in held:
            connection.request("/t", Range="bytes=0-9")
            assert connection.read_response().status == 206
        for count in (1, 2, 3):
            with node.connect() as one_more:
                response = one_more.read_response()
                assert response.status == 503
                assert response["Retry-After"] == "1"
                assert response["Connection"] == "close"
                assert one_more.is_closed_by_peer()
            assert turned_away(node) == count
        for connection in held:  # they never noticed
            connection.request("/t", Range="bytes=5-9")
            assert connection.read_response().is_hit
        held.pop().close()
        wait_until(lambda: active(node) == 19, what="its place is free")
        with node.connect() as next_one:
            next_one.request("/t", Range="bytes=0-9")
            assert next_one.read_response().status == 206
        for connection in held:
            connection.close()


def test_over_tls_one_too_many_is_closed_without_a_handshake(origin):
    origin.add("/t", LENGTH)
    with Node(
        config_for(origin.url, node="connections = 2"), tls=transport.certificate_table(transport.default_certificate())
    ) as node:
        held = [node.connect() for _ in range(2)]
        for connection in held:
            connection.request("/t", Range="bytes=0-9")
            assert connection.read_response().status == 206
        with socket.create_connection(node.address) as one_more:
            one_more.settimeout(10)
            try:
                assert one_more.recv(1) == b""
            except ConnectionResetError:
                pass
        assert turned_away(node) == 1
        for connection in held:
            connection.close()


def test_clients_that_memory_is_too_little_for_are_refused_at_start_with_the_needed_figure(tmp_path):
    settings = tmp_path / "segue.toml"
    text = config_for("dir:/srv").replace('name = "test-node"', "connections = 60000")
    settings.write_text(text)
    done = run_segue("check", settings)
    assert done.returncode == 1
    assert "node.ram" in done.stdout + done.stderr and "needed: at least" in done.stdout + done.stderr
    settings.write_text(text.replace("256MiB", "4GiB"))
    done = run_segue("check", settings)
    assert done.returncode == 0
    assert "60000 clients" in done.stdout and "coroutine frames" in done.stdout and "streaming" in done.stdout


def test_the_connections_of_a_unix_socket_are_spread_over_the_loops(origin, tmp_path):
    origin.add("/t", LENGTH)
    path = tmp_path / "public"
    with Node(config_for(origin.url), listen=(f"unix:{path}",), tls=False) as node:
        held = [Connection(str(path)) for _ in range(100)]
        for connection in held:
            connection.request("/t", Range="bytes=0-9")
            assert connection.read_response().status == 206
        assert active(node) == 100
        to_the_other = node.metric("segue_connections_handed_over_total")
        assert 40 <= to_the_other <= 60, "two loops: half of them go to the other"
        for connection in held:
            connection.close()
        wait_until(lambda: active(node) == 0, what="all are gone")
    assert not pathlib.Path(path).exists()
