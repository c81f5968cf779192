"""TLS as clients and operators meet it: names, versions, resumption, what a bad certificate does, reload by SIGHUP."""
import os
import signal
import socket
import ssl
import subprocess
import threading

import pytest

from support import transport
from support.client import Connection, fetch, wait_until
from support.node import Node, StartFailed, run_segue
from support.settings import config_for

BOTH = """[[site]]
name = "other"
hosts = ["other.site.example"]
origin = "store"
"""


@pytest.fixture(autouse=True)
def track(origin):
    return origin.add("/t", 1000)


def connect(address, name="localhost", **options):
    """(TLS socket, name in the certificate it showed)."""
    session = options.pop("session", None)
    context = options.pop("context", None) or transport.client_context(**options)
    over = transport.wrapped(socket.create_connection(address, 15), context, name, session)
    return over, over.getpeercert()["subjectAltName"][0][1]


def shown(address, name):
    over, first = connect(address, name, check_hostname=False)
    over.close()
    return first


@pytest.fixture
def named(origin):
    """A node with a certificate for each of two hosts; (node, folder with a.* and b.*)."""
    table = transport.certificate_table(
        transport.authority().issue(["DNS:localhost"]), transport.authority().issue(["DNS:*.site.example"])
    )
    with Node(config_for(origin.url, more=BOTH), tls=table) as node:
        yield node


def results(node):
    prefix = 'segue_tls_handshakes_total{listener="public",result="'
    return {key[len(prefix) :].rstrip('"}'): value for key, value in node.metrics().items() if key.startswith(prefix)}


def test_each_name_is_shown_its_certificate_and_another_the_first(named):
    assert shown(named.address, "localhost") == "localhost"
    assert shown(named.address, "other.site.example") == "*.site.example"
    assert shown(named.address, "unknown.test") == "localhost"


def test_a_host_that_the_certificate_does_not_cover_is_421_on_that_connection_alone(named):
    connection = Connection(named.address)
    connection.request("/t", host="other.site.example")
    assert connection.read_response().status == 421
    if transport.WIRE != "h2":  # there its other requests go on
        assert connection.is_closed_by_peer()
    connection = Connection(named.address, plain=True)
    connection.socket = transport.wrapped(connection.socket, name="other.site.example")
    connection.request("/t", host="other.site.example")
    assert connection.read_response().status == 200
    assert named.metrics()['segue_http_refused_total{listener="public",status="421"}'] == 1


def test_an_unknown_name_is_refused_where_that_is_set(origin):
    table = 'unknown_name = "refuse"\n' + transport.certificate_table(transport.default_certificate())
    with Node(config_for(origin.url), tls="[tls]\n" + table) as node:
        with pytest.raises(ssl.SSLError, match="UNRECOGNIZED_NAME"):
            connect(node.address, "unknown.test")
        assert node.fetch("/t").status == 200
        assert results(node)["unknown_name"] == 1


def test_sessions_resume_on_every_loop_and_are_counted(named):
    """Two loops share their keys: with eight connections some land on the other one."""
    context = transport.client_context()
    over, _ = connect(named.address, context=context)
    over.sendall(b"GET /t HTTP/1.1\r\nHost: localhost\r\n\r\n")
    over.recv(1)  # the ticket comes before the response
    session = over.session
    for _ in range(8):
        again, _ = connect(named.address, context=context, session=session)
        assert again.session_reused
        again.close()
    over.close()
    # A client has shaken hands a flight before the server has.
    wait_until(lambda: results(named)["resumed"] == 8, what="all resumed")
    assert results(named)["full"] == 1


@pytest.mark.parametrize("version", [ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3])
def test_both_versions_are_spoken_and_a_setting_leaves_the_newer_alone(named, origin, version):
    over, _ = connect(named.address, minimum_version=version, maximum_version=version)
    assert over.version() == version.name.replace("_", ".")
    over.close()
    only = '[tls]\nmin_version = "1.3"\n' + transport.certificate_table(transport.default_certificate())
    with Node(config_for(origin.url), tls=only) as node:
        if version == ssl.TLSVersion.TLSv1_2:
            with pytest.raises(ssl.SSLError, match="PROTOCOL_VERSION"):
                connect(node.address, maximum_version=version)
        else:
            connect(node.address, minimum_version=version)[0].close()


def test_plain_http_on_the_tls_port_ends_and_others_go_on(named):
    with Connection(named.address, plain=True) as plain:
        plain.request("/t")
        assert plain.is_closed_by_peer()
    assert named.fetch("/t").status == 200
    assert results(named)["malformed"] == 1


def test_a_fleet_listener_takes_only_certificates_of_its_ca(origin):
    authority = transport.authority()
    tls = f'client_ca = "{authority.ca}"\n' + transport.certificate_table(transport.default_certificate())
    with Node(config_for(origin.url), tls=tls) as node:
        over, _ = connect(node.address)
        with pytest.raises((ssl.SSLError, ConnectionError), match="CERTIFICATE_REQUIRED|reset"):
            over.sendall(b"GET /t HTTP/1.1\r\nHost: localhost\r\n\r\n")
            over.recv(1)
        context = transport.client_context()
        context.load_cert_chain(*authority.issue(["DNS:node.example"]))
        over, _ = connect(node.address, context=context)
        over.sendall(b"GET /t HTTP/1.1\r\nHost: localhost\r\n\r\n")
        assert over.recv(12) == b"HTTP/1.1 200"
        assert results(node)["client_certificate"] == 1


@pytest.mark.parametrize("version", [ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3])
def test_a_fleet_listener_asks_for_the_certificate_each_time(origin, version):
    """A ticket would let in whose CA was taken out since, or whose certificate has expired."""
    authority = transport.authority()
    tls = f'client_ca = "{authority.ca}"\n' + transport.certificate_table(transport.default_certificate())
    context = transport.client_context()
    context.minimum_version = context.maximum_version = version
    context.load_cert_chain(*authority.issue(["DNS:node.example"]))
    with Node(config_for(origin.url), tls=tls) as node:
        session = None
        for _ in range(2):
            over, _ = connect(node.address, context=context, session=session)
            over.sendall(b"GET /t HTTP/1.1\r\nHost: localhost\r\n\r\n")
            assert over.recv(12) == b"HTTP/1.1 200"
            assert not over.session_reused
            session = over.session
        assert results(node)["full"] == 2


# --- reload ---


@pytest.fixture
def reloading(origin, tmp_path):
    """(node, put): put(names) puts a new certificate in the place of the one the node was started with."""
    chain, key = tmp_path / "chain.pem", tmp_path / "key.pem"

    def put(names=("DNS:localhost",), **options):
        made_chain, made_key = transport.authority().issue(names, **options)
        os.replace(made_chain, chain)
        os.replace(made_key, key)

    put()
    with Node(config_for(origin.url), tls=transport.certificate_table((chain, key))) as node:
        yield node, put


def reload(node, event):
    before = node.log.count(event)
    node.process.send_signal(signal.SIGHUP)
    wait_until(lambda: node.log.count(event) > before, what=event)


def test_sighup_takes_new_certificates_and_drops_no_connection(reloading):
    node, put = reloading
    with node.connect() as running:
        running.request("/t")
        assert running.read_response().status == 200
        put(("DNS:new.example", "DNS:localhost"))
        reload(node, "reloaded")
        assert shown(node.address, "localhost") == "new.example"
        running.request("/t")  # on the certificate it began with
        assert running.read_response().status == 200
    wait_until(lambda: node.metrics()['segue_reloads_total{outcome="done"}'] == 1, what="reload")


def test_a_bad_new_certificate_keeps_the_old_one_and_says_so(reloading, tmp_path):
    node, put = reloading
    put(("DNS:new.example",))
    (tmp_path / "key.pem").write_text("no key\n")
    reload(node, "reload_refused")
    node.wait_for_log("has no private key in PEM")
    assert shown(node.address, "localhost") == "localhost"
    assert node.metrics()['segue_reloads_total{outcome="refused"}'] == 1
    node.config_path.write_text(node.config_path.read_text() + "nonsense = 1\n")
    reload(node, "reload_refused")
    node.wait_for_log("nonsense")
    assert node.fetch("/t").status == 200


def test_a_fleet_resumes_by_a_shared_file_and_a_new_file_is_taken(origin, tmp_path):
    keys = tmp_path / "tickets"

    def write(*all_keys):
        keys.write_bytes(b"".join(all_keys))
        keys.chmod(0o600)

    one, two = os.urandom(80), os.urandom(80)
    write(one)
    table = f'[tls]\nticket_keys = "{keys}"\n' + transport.certificate_table(transport.default_certificate())
    context = transport.client_context()

    def resumed(node, session):
        over, _ = connect(node.address, context=context, session=session)
        over.sendall(b"GET /t HTTP/1.1\r\nHost: localhost\r\n\r\n")
        over.recv(1)
        with over:
            return over.session_reused, over.session

    with Node(config_for(origin.url), tls=table) as first, Node(config_for(origin.url), tls=table) as second:
        _, session = resumed(first, None)
        reused, renewed = resumed(second, session)
        assert reused
        write(two, one)
        reload(second, "reloaded")
        reused, renewed = resumed(second, renewed)  # opened by the old key, sealed by the new one
        assert reused
        write(two)
        reload(second, "reloaded")
        assert resumed(second, renewed)[0]
        assert not resumed(second, session)[0]
        keys.write_bytes(b"short")
        reload(second, "reload_refused")
        assert resumed(second, renewed)[0]


# --- what is wrong is said before anybody connects ---


def settings_file(tmp_path, table):
    path = tmp_path / "segue.toml"
    listen = '[[listen]]\naddr = "127.0.0.1:0"\ntls = true\n'
    path.write_text(config_for("http://127.0.0.1:9") + listen + table)
    return path


def test_check_names_every_file_that_is_wrong(tmp_path):
    authority = transport.authority()
    good, other, expired = authority.issue(), authority.issue(), authority.issue(days=-1)
    assert run_segue("check", str(settings_file(tmp_path, transport.certificate_table(good)))).returncode == 0
    open_key = authority.issue()
    open_key[1].chmod(0o644)
    table = transport.certificate_table((good[0], other[1]), expired, open_key, (tmp_path / "none.pem", good[1]))
    done = run_segue("check", str(settings_file(tmp_path, table)))
    assert done.returncode == 1
    lines = done.stderr.splitlines()
    assert lines[0] == f"{other[1]}: is not the key of {good[0]}"
    assert lines[1].startswith(f"{expired[0]}: has expired on ")
    assert lines[2] == f"{open_key[1]}: everybody on this machine may read it (mode 644); make it 600"
    assert lines[3] == f"{tmp_path}/none.pem: cannot be read: No such file or directory"
    assert len(lines) == 4


def test_check_and_start_name_the_files_of_an_origin_that_are_wrong(tmp_path):
    authority = transport.authority()
    good, other = authority.issue(), authority.issue()

    def settings(certificate, key, ca):
        return config_for("https://origin.example", origin=f'certificate = "{certificate}"\nkey = "{key}"\nca = "{ca}"')

    def check(*files):
        file = tmp_path / "origin.toml"
        file.write_text(settings(*files))
        done = run_segue("check", str(file))
        return done.returncode, done.stderr.splitlines()

    none = tmp_path / "none.pem"
    absent = "cannot be read: No such file or directory"
    assert check(good[0], good[1], authority.ca)[0] == 0
    assert check(none, none, none) == (1, [f"{none}: {absent}"])
    assert check(good[0], other[1], good[1]) == (
        1,
        [
            f"{other[1]}: is not the key of {good[0]}",
            f"{good[1]}: has no CA certificates in PEM: no certificate or crl found",
        ],
    )
    with pytest.raises(StartFailed, match="is not the key of"):
        Node(settings(good[0], other[1], authority.ca))
    good[1].chmod(0o644)
    code, lines = check(good[0], good[1], authority.ca)
    assert code == 1 and len(lines) == 1 and "everybody on this machine may read it" in lines[0]


def test_a_node_does_not_start_with_a_key_of_another_certificate(origin):
    authority = transport.authority()
    table = transport.certificate_table((authority.issue()[0], authority.issue()[1]))
    with pytest.raises(StartFailed, match="is not the key of"):
        Node(config_for(origin.url), tls=table)


def test_an_expired_certificate_is_served_with_a_warning(origin):
    table = transport.certificate_table(transport.authority().issue(days=-1))
    with Node(config_for(origin.url), tls=table) as node:
        node.wait_for_log("has expired on")
        context = transport.client_context(check_hostname=False)
        context.verify_mode = ssl.CERT_NONE
        transport.wrapped(socket.create_connection(node.address, 15), context).close()


def test_a_flight_longer_than_a_batch_is_sent_whole(origin, tmp_path):
    """A long chain, and a request for a client certificate by any of many CAs with long names."""
    origin.add("/t", 1000)
    authority = transport.authority()
    key = tmp_path / "key"
    subprocess.run(["openssl", "genpkey", "-algorithm", "ed25519", "-out", key], check=True)
    unit = "/OU=" + "u" * 60
    make = ["openssl", "req", "-x509", "-key", key, "-days", "2", "-subj"]
    others = [
        subprocess.run([*make, f"/CN=ca{i}{unit * 20}"], check=True, capture_output=True, text=True).stdout
        for i in range(40)
    ]
    authorities, long_chain = tmp_path / "authorities", tmp_path / "chain"
    authorities.write_text(authority.ca.read_text() + "".join(others))
    chain, own_key = transport.default_certificate()
    long_chain.write_text(chain.read_text() + "".join(others[:10]))
    table = f'client_ca = "{authorities}"\n' + transport.certificate_table((long_chain, own_key))
    with Node(config_for(origin.url), tls=table) as node:
        context = transport.client_context()
        context.load_cert_chain(*authority.issue(["DNS:node.example"]))
        with transport.wrapped(socket.create_connection(node.address, 15), context) as connection:
            connection.sendall(b"GET /t HTTP/1.1\r\nHost: localhost\r\n\r\n")
            assert connection.recv(12) == b"HTTP/1.1 200"


# --- what a client holds while nothing moves ---


def batches_held(node):
    return node.metrics()['segue_connection_pieces{listener="public",pool="tls_batch"}']


def ask(address, target, receive_buffer=None):
    """A TLS connection that has sent one request."""
    plain = socket.socket()
    plain.settimeout(15)
    if receive_buffer:
        plain.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, receive_buffer)
    plain.connect(address)
    over = transport.wrapped(plain, transport.client_context())
    over.sendall(f"GET {target} HTTP/1.1\r\nHost: localhost\r\n\r\n".encode())
    return over


def test_a_client_that_waits_for_the_origin_holds_no_batch(origin, named):
    """The tickets of its handshake do not wait for the response."""
    track, answer = origin.add("/slow", 1000), threading.Event()

    def held(handler, _):
        answer.wait(60)
        handler.head(200, len(track.body), track)
        handler.send(track.body)
        return True

    track.script = held
    waiting = [ask(named.address, "/slow") for _ in range(5)]
    wait_until(lambda: named.metric("segue_http_requests_total") >= 5 and batches_held(named) == 0, what="the tickets")
    assert named.metric("segue_first_byte_seconds_count") == 0
    answer.set()
    for over in waiting:
        assert over.recv(12) == b"HTTP/1.1 200"
        over.close()


def test_a_client_that_pauses_holds_no_batch_and_goes_on(origin, named):
    """No more is sealed than the socket has room for."""
    track = origin.add("/long", 4 << 20)
    named.fetch("/long")
    paused = [ask(named.address, "/long", receive_buffer=4096) for _ in range(5)]
    sent = 'segue_http_sent_bytes_total{listener="public"}'
    least = len(track.body) + len(paused) * (128 << 10)  # of each, what fits a socket
    wait_until(lambda: named.metrics()[sent] > least, what="bytes")
    wait_until(lambda: batches_held(named) == 0, what="the socket to be full")
    for over in paused:
        got = b""
        while len(got.partition(b"\r\n\r\n")[2]) < len(track.body):
            piece = over.recv(1 << 18)
            assert piece, f"the end after {len(got)} bytes"
            got += piece
        assert got.partition(b"\r\n\r\n")[2] == track.body
        over.close()
