"""The feed and purges over NATS JetStream, against real servers: what is published reaches every node once it can be
reached, whatever dies in between; what is wrong is refused for good and changes nothing."""
import contextlib
import json
import re

import pytest

from support import nats, transport
from support.client import wait_until
from support.node import Node, run_segue
from support.settings import config_for
from test_feed import fate

TRACK = 700_000
SECONDS = 60  # until a state is there at last; nothing is ever asserted of how long it took


def wait_for(condition, what="state"):
    wait_until(condition, seconds=SECONDS, what=what, every=0.05)


def settings_of(origin_url, servers, consumer="n1", more="", mode="on"):
    urls = ", ".join(f'"{url}"' for url in servers)
    return config_for(
        origin_url,
        more=f'[prefetch]\nmode = "{mode}"\n[prefetch.nats]\nservers = [{urls}]\nsubject = "segue.feed"\n'
        f'consumer = "{consumer}"\n{more}',
    )


def plan(track, session=None, **members):
    return json.dumps({"session": session or track, "model": "m", "next": [{"track": track}], **members})


def purge(**members):
    return json.dumps({"v": 1, "op": "purge", **members})


def fetched(node):
    return fate(node, "fetched")


def answered(node, answer, subject="feed"):
    return node.metrics()[f'segue_nats_messages_total{{subject="{subject}",answer="{answer}"}}']


def is_connected(node):
    return node.metric("segue_nats_connected") >= 1


def is_cached(node, track):
    return re.search(r"^known: no", node.admin(f"/explain?url={track}").body.decode(), re.M) is None


@pytest.fixture
def server():
    with nats.NatsServer() as running:
        with running.connect() as publisher:
            publisher.add_stream("SEGUE", "segue.>")
        yield running


@pytest.fixture
def publisher(server):
    with server.connect() as connected:
        yield connected


@contextlib.contextmanager
def reading(origin, servers, **options):
    with Node(settings_of(origin.url, servers, **options)) as node:
        wait_for(lambda: is_connected(node) and "nats_connected " in node.log, "connection")
        yield node


def test_what_a_message_names_is_a_hit_nobody_asked_for(origin, server, publisher):
    origin.add("/next", TRACK)
    with reading(origin, [server.url]) as node:
        publisher.publish("segue.feed", plan("/next"))
        wait_for(lambda: fetched(node) == 1)
        assert node.fetch("/next", Range="bytes=0-65535").is_hit
        wait_for(lambda: answered(node, "taken") == 1 and publisher.is_settled("SEGUE", "n1"))
        assert node.metrics()['segue_feed_lines_total{source="nats"}'] == 1


def test_a_batch_is_taken_whole_and_in_order(origin, server, publisher):
    origin.add("/last", TRACK)
    publisher.publish("segue.feed", plan("/none"))
    for revision in range(1, 301):
        publisher.publish("segue.feed", plan("/last" if revision == 300 else "/none", "s", revision=revision))
    with reading(origin, [server.url]) as node:
        wait_for(lambda: answered(node, "taken") == 301)
        wait_for(lambda: fetched(node) == 1)
        wait_for(lambda: publisher.is_settled("SEGUE", "n1"))
        assert node.metric("segue_nats_redelivered_total") == 0


def test_what_was_said_while_a_node_was_dead_is_taken_when_it_is_back(origin, server, publisher):
    origin.add("/next", TRACK)
    settings = settings_of(origin.url, [server.url])
    with Node(settings) as node:
        wait_for(lambda: is_connected(node))
        node.kill()
        publisher.publish("segue.feed", plan("/next"))
        node.process.returncode = 0  # it was us
    with Node(settings) as node:
        wait_for(lambda: fetched(node) == 1)
        assert node.fetch("/next", Range="bytes=0-9").is_hit


def test_a_plan_whose_time_is_over_when_it_arrives_is_ignored(origin, server, publisher):
    origin.add("/old", TRACK)
    origin.add("/new", TRACK)
    publisher.publish("segue.feed", plan("/old", ttl_ms=1))
    publisher.publish("segue.feed", plan("/new"))
    with reading(origin, [server.url]) as node:
        wait_for(lambda: fetched(node) == 1)
        assert not origin.requests_for("/old")
        assert node.metrics()['segue_prefetch_plans_ignored_total{model="m"}'] == 1
        wait_for(lambda: publisher.is_settled("SEGUE", "n1"))


def test_one_message_purges_every_node(origin, server, publisher):
    origin.add("/a", TRACK)
    origin.add("/b", TRACK)
    with reading(origin, [server.url], consumer="n1") as one, reading(origin, [server.url], consumer="n2") as two:
        for node in (one, two):
            for track in ("/a", "/b"):
                node.fetch(track)
        publisher.publish("segue.feed", purge(url="//localhost/a"))
        for node, consumer in ((one, "n1"), (two, "n2")):
            wait_for(lambda: node.metric("segue_nats_purges_total") == 1)
            wait_for(lambda: publisher.is_settled("SEGUE", consumer))
            assert not node.fetch("/a", Range="bytes=0-9").is_hit
            assert node.fetch("/b", Range="bytes=0-9").is_hit
            wait_for(lambda: "purged sequence=" in node.log)


def test_a_node_that_was_away_makes_the_purges_it_missed(origin, server, publisher, tmp_path):
    origin.add("/a", TRACK)
    origin.add("/b", TRACK)
    drive = f'[cache]\nsize = "256MiB"\n[[cache.drive]]\npath = "{tmp_path}"\nsparse = true\n'
    settings = settings_of(origin.url, [server.url]) + drive
    with Node(settings) as node:
        wait_for(lambda: is_connected(node))
        for track in ("/a", "/b"):
            node.fetch(track)
    publisher.publish("segue.feed", purge(url="//localhost/a"))
    with Node(settings) as node:
        wait_for(lambda: node.metric("segue_nats_purges_total") == 1)
        assert not is_cached(node, "/a")
        assert is_cached(node, "/b")
        wait_for(lambda: publisher.is_settled("SEGUE", "n1"))


def test_purges_may_have_a_subject_of_their_own(origin, server, publisher):
    origin.add("/a", TRACK)
    with reading(origin, [server.url], more='purge_subject = "segue.purge"') as node:
        wait_for(lambda: node.metric("segue_nats_connected") == 2)
        node.fetch("/a")
        publisher.publish("segue.feed", purge(url="//localhost/a"))
        wait_for(lambda: answered(node, "never") == 1)
        assert node.fetch("/a", Range="bytes=0-9").is_hit
        publisher.publish("segue.purge", plan("/b"))
        publisher.publish("segue.purge", purge(tag="x", everything=True))
        publisher.publish("segue.purge", purge(url="//elsewhere.example/a"))
        wait_for(lambda: answered(node, "never", "purges") == 3)
        publisher.publish("segue.purge", purge(prefix="//localhost/"))
        wait_for(lambda: answered(node, "taken", "purges") == 1)
        assert not is_cached(node, "/a")
        for consumer in ("n1", "n1-purge"):
            wait_for(lambda: publisher.is_settled("SEGUE", consumer))


def test_hostile_messages_are_refused_for_good(origin, server, publisher):
    origin.add("/next", TRACK)
    hostile = [
        b"",
        b"{",
        b"\x00\xff" * 500,
        b"[" * 5000,
        b'{"session":"' + b"x" * 70_000 + b'"}',
        b"\n".join([plan("/a").encode()] * 2),
        plan("https://evil.example/next", "s").encode(),
        b'{"op":"purge"}',
        b'{"op":"purge","url":"/next","extra":1}',
        b'{"op":"purge","everything":false}',
        b'{"op":"purge","op":"purge","everything":true}',
        b'{"v":2,"op":"purge","everything":true}',
        b'{"op":["purge"],"everything":true}',
    ]
    with reading(origin, [server.url]) as node:
        for message in hostile:
            publisher.publish("segue.feed", message)
        publisher.publish("segue.feed", plan("/next"))
        wait_for(lambda: fetched(node) == 1)
        wait_for(lambda: publisher.is_settled("SEGUE", "n1"))
        # A track that is no path is a mistake of the line, like all the others.
        assert answered(node, "never") == len(hostile)
        assert answered(node, "taken") == 1
        assert node.metric("segue_nats_redelivered_total") == 0
        assert node.metrics()['segue_nats_purges_total{subject="feed",outcome="durable"}'] == 0
        assert is_cached(node, "/next")


def test_a_server_that_is_killed_and_comes_back_loses_nothing(origin, server):
    for i in range(4):
        origin.add(f"/{i}", TRACK)
    with server.connect() as publisher:
        publisher.add_consumer("SEGUE", "n1", "segue.feed", ack_seconds=1)
    with reading(origin, [server.url]) as node:
        with server.connect() as publisher:
            publisher.publish("segue.feed", plan("/0"))
            wait_for(lambda: fetched(node) == 1)
            publisher.publish("segue.feed", plan("/1"))
        server.kill()
        wait_for(lambda: not is_connected(node))
        assert node.fetch("/0", Range="bytes=0-9").is_hit
        assert not node.fetch("/3", Range="bytes=0-9").is_hit
        server.start()
        with server.connect() as publisher:
            publisher.publish("segue.feed", plan("/2"))
            wait_for(lambda: fetched(node) == 3)
            wait_for(lambda: publisher.is_settled("SEGUE", "n1"))
        assert all(node.fetch(f"/{i}", Range="bytes=0-9").is_hit for i in range(3))
        wait_for(lambda: "nats_lost " in node.log)


@pytest.mark.slow
def test_a_cluster_of_three_loses_nothing_with_the_one_that_a_node_reads(origin):
    names = [f"/{i}" for i in range(12)]
    for name in names:
        origin.add(name, TRACK)
    with nats.cluster(3) as servers, contextlib.ExitStack() as stack:
        with servers[0].connect() as publisher:
            publisher.add_stream("SEGUE", "segue.>", replicas=3)
            publisher.add_consumer("SEGUE", "n1", "segue.feed", ack_seconds=1)
        urls = [server.url for server in servers]
        node = stack.enter_context(reading(origin, urls))
        read_from = re.search(r"nats_connected .*server=(\S+)", node.log).group(1)
        victim = servers[urls.index(read_from)]
        with next(server for server in servers if server is not victim).connect() as publisher:
            for name in names[:6]:
                publisher.publish("segue.feed", plan(name))
            victim.kill()
            for name in names[6:]:
                publisher.publish("segue.feed", plan(name), tries=300)
                assert node.fetch(name, Range="bytes=0-9").status == 206  # listeners go on
            wait_for(lambda: answered(node, "taken") >= len(names))
            wait_for(lambda: publisher.is_settled("SEGUE", "n1"))
        assert all(origin.requests_for(name) for name in names)
        assert [node.fetch(name, Range="bytes=0-9").is_hit for name in names] == [True] * len(names)
        assert node.metric("segue_nats_connects_total") >= 2


def test_who_we_are_is_read_anew_at_each_try(origin, tmp_path):
    origin.add("/next", TRACK)
    password = tmp_path / "password"
    password.write_text("wrong\n")
    accounts = 'authorization { users: [ { user: "segue", password: "right" } ] }'
    with nats.NatsServer(accounts) as server, server.connect(user="segue", **{"pass": "right"}) as publisher:
        publisher.add_stream("SEGUE", "segue.>")
        more = f'user = "segue"\npassword = "{password}"'
        with Node(settings_of(origin.url, [server.url], more=more)) as node:
            wait_for(lambda: node.metric("segue_nats_connect_failures_total") >= 2)
            wait_for(lambda: "nats_unusable " in node.log)
            assert node.log.count("nats_unusable ") == 1  # the same trouble is said once
            assert "right" not in node.log and "wrong" not in node.log
            assert node.fetch("/next", Range="bytes=0-9").status == 206
            password.write_text("right\n")
            wait_for(lambda: is_connected(node))


def test_a_token_opens_the_door_too(origin, tmp_path):
    token = tmp_path / "token"
    token.write_text("s3cret\n")
    with nats.NatsServer('authorization { token: "s3cret" }') as server:
        with server.connect(auth_token="s3cret") as publisher:
            publisher.add_stream("SEGUE", "segue.>")
        with reading(origin, [server.url], more=f'token = "{token}"') as node:
            assert node.metric("segue_nats_connects_total") == 1


@pytest.fixture
def tls_server():
    authority = transport.authority()
    chain, key = authority.issue(("DNS:localhost",))
    tls = f'tls {{ cert_file: "{chain}", key_file: "{key}", ca_file: "{authority.ca}", verify: true }}'
    with nats.NatsServer(tls) as server:
        server.client = authority.issue(("DNS:client",))
        with server.connect(context=nats.tls_context(authority, *server.client)) as publisher:
            publisher.add_stream("SEGUE", "segue.>")
        yield server


def tls_lines(server, **others):
    chain, key = server.client
    lines = {"ca": transport.authority().ca, "certificate": chain, "key": key, "server_name": "localhost", **others}
    return "".join(f'{name} = "{value}"\n' for name, value in lines.items() if value)


def test_tls_with_certificates_on_both_sides(origin, tls_server):
    url = tls_server.url.replace("nats://", "tls://")
    with reading(origin, [url], more=tls_lines(tls_server)) as node:
        assert node.metric("segue_nats_connects_total") == 1


@pytest.mark.parametrize(
    "wrong",
    [
        {"server_name": "other.example"},
        {"server_name": None},  # then the host, an address that its certificate does not name
        {"ca": None},
        {"certificate": None, "key": None},
    ],
    ids=["name", "host", "authority", "no certificate"],
)
def test_tls_that_is_not_right_is_no_connection(origin, tls_server, wrong):
    url = tls_server.url.replace("nats://", "tls://")
    with Node(settings_of(origin.url, [url], more=tls_lines(tls_server, **wrong))) as node:
        wait_for(lambda: node.metric("segue_nats_connect_failures_total") >= 1)
        assert not is_connected(node)
        wait_for(lambda: "nats_unusable " in node.log)


def test_a_server_that_speaks_plainly_is_not_read_over_tls(origin, server):
    url = server.url.replace("nats://", "tls://")
    with Node(settings_of(origin.url, [url])) as node:
        wait_for(lambda: node.metric("segue_nats_connect_failures_total") >= 1)
        assert not is_connected(node)


def test_without_server_or_stream_a_node_serves_and_stops(origin, server):
    origin.add("/a", TRACK)
    other = f"nats://127.0.0.1:{nats.free_port()}"
    more = 'stream = "MISSING"'
    with Node(settings_of(origin.url, [other, server.url], more=more)) as node:
        wait_for(lambda: node.metric("segue_nats_connect_failures_total") >= 2)
        assert node.fetch("/a", Range="bytes=0-9").status == 206
        assert node.stop() == 0


def test_a_consumer_of_another_kind_is_not_taken_over(origin, server, publisher):
    config = {"durable_name": "n1", "ack_policy": "none", "deliver_subject": "elsewhere", "deliver_policy": "all"}
    request = json.dumps({"stream_name": "SEGUE", "config": config})
    assert "error" not in publisher.request("$JS.API.CONSUMER.DURABLE.CREATE.SEGUE.n1", request)
    with Node(settings_of(origin.url, [server.url])) as node:
        wait_for(lambda: "delete it, or name another" in node.log)


def test_settings_of_nats_are_checked(tmp_path):
    def check(text, mode="on"):
        path = tmp_path / "segue.toml"
        path.write_text(
            f'[origin.a]\nservers = "http://127.0.0.1:1"\n[prefetch]\nmode = "{mode}"\n[prefetch.nats]\n{text}'
        )
        result = run_segue("check", str(path))
        return result.returncode, result.stdout + result.stderr

    code, text = check(
        'servers = ["http://x", "nats://u:p@x", "nats://x/path"]\nsubject = "a..b"\nstream = "a.b"\nuser = "u"\n'
        'purge_subject = "$JS.x"\ntoken = "t"\nkey = "k"\nconsumer = "*"\nextra = 1\n'
    )
    assert code == 1
    for key in ("servers[0]", "servers[1]", "servers[2]", "subject", "stream", "user", "purge_subject", "consumer"):
        assert f"prefetch.nats.{key}" in text, text
    assert "prefetch.nats.extra" in text
    good = 'servers = "nats://127.0.0.1"\nsubject = "a"\n'
    assert check(good)[0] == 0
    assert "prefetch is off" in check(good, mode="off")[1]
    assert "of TLS" in check(good + 'ca = "x"\n')[1]
    assert "already given" in check(good + 'purge_subject = "a"\n')[1]
    code, text = check(good + f'token = "{tmp_path}/missing"\n')
    assert code == 1 and "missing: No such file" in text
    (tmp_path / "bad.pem").write_text("nothing")
    code, text = check(f'servers = "tls://127.0.0.1"\nsubject = "a"\nca = "{tmp_path}/bad.pem"\n')
    assert code == 1 and "bad.pem" in text
