"""The admin listener: metrics that parse, readiness, purges that hold, explain, drain; and who may not ask."""
import json
import os
import re
import subprocess
import urllib.parse

import pytest

from support.client import Connection, fetch, request_bytes, wait_until
from support.faults import FAULTS
from support.node import BINARY, Node, run_segue
from support.origin import track_bytes
from support.settings import config_for

LENGTH = 300_000
SAMPLE = re.compile(
    r'((?:segue|process)_[a-z0-9_]+)(\{[a-z_]+="(?:[^"\\\n]|\\.)*"(?:,[a-z_]+="(?:[^"\\\n]|\\.)*")*\})?'
    r" ([-+]?(?:[0-9.]+(?:e[-+]?\d+)?|Inf)|NaN)"
)


@pytest.fixture
def track(origin):
    return origin.add("/t/1", LENGTH)


# --- metrics ---


def parse_metrics(text):
    """{family: type} and {sample: value} of Prometheus text format 0.0.4; asserts that every line is right."""
    assert text.endswith("\n")
    types, samples, helped = {}, {}, set()
    for line in text.splitlines():
        if line.startswith("# HELP "):
            name, _, words = line.removeprefix("# HELP ").partition(" ")
            assert words and name not in helped, line
            helped.add(name)
        elif line.startswith("# TYPE "):
            _, _, name, kind = line.split(" ")
            assert kind in ("counter", "gauge", "histogram") and name not in types, line
            types[name] = kind
        else:
            match = SAMPLE.fullmatch(line)
            assert match, f"no sample: {line!r}"
            family = match[1] if match[1] in types else re.sub(r"_(bucket|sum|count)$", "", match[1])
            assert family in types, f"{line!r} has no type"
            assert match[1] + (match[2] or "") not in samples, f"{line!r} occurs twice"
            samples[match[1] + (match[2] or "")] = float(match[3])
    assert helped == set(types)
    return types, samples


def test_every_line_of_the_metrics_parses_and_is_named_by_convention(node, origin, track):
    node.fetch("/t/1")
    node.fetch("/t/1", Range="bytes=0-1")
    response = node.admin("/metrics")
    assert response["Content-Type"].startswith("text/plain; version=0.0.4")
    types, samples = parse_metrics(response.body.decode())
    for name, kind in types.items():
        assert re.fullmatch(r"(segue|process)_[a-z0-9]+(_[a-z0-9]+)*", name)
        assert (kind == "counter") == name.endswith("_total"), f"{name} is a {kind}"
        assert not re.search(r"_(ms|us|kb|mb|kib|mib)(_|$)", name), f"{name}: base units are seconds and bytes"
    for topic in (
        "requests_total",
        "responses_total",
        "body_bytes_total",
        "fills_started_total",
        "origin_requests_total",
        "first_byte_seconds",
        "first_64k_seconds",
        "buffers_resident",
        "buffers_pinned",
        "ram_evictions_total",
        "cache_admitted_total",
        "degraded",
        "requests_in_flight",
        "origin_faults_total",
    ):
        assert f"segue_{topic}" in types, topic
    # Counters never fall.
    node.fetch("/t/1")
    _, later = parse_metrics(node.admin("/metrics").body.decode())
    for name, value in samples.items():
        if types.get(name.split("{")[0]) == "counter":
            assert later[name] >= value


def test_the_counts_are_those_of_what_happened(node, origin, track):
    for _ in range(3):
        node.fetch("/t/1")
    node.fetch("/none")
    node.fetch("/t/1", method="BREW")
    wait_until(lambda: node.metric("segue_responses_total") == 5, what="five responses")
    metrics = node.metrics()
    assert metrics['segue_requests_total{outcome="miss"}'] == 2  # the track and what is not there
    assert metrics['segue_requests_total{outcome="hit_ram"}'] == 2
    assert metrics['segue_responses_total{class="2xx"}'] == 3
    assert metrics['segue_responses_total{class="4xx"}'] == 2
    assert node.metric("segue_body_bytes_total") == 3 * LENGTH
    assert node.metric("segue_origin_requests_total") == len(origin.requests)
    assert node.metric("segue_origin_body_bytes_total") == LENGTH
    assert node.metric("segue_requests_in_flight") == 0
    assert node.metric("segue_buffers_pinned") == 0


def test_histograms_add_up(node, origin, track):
    for _ in range(5):
        node.fetch("/t/1")
    wait_until(lambda: node.metric("segue_first_byte_seconds_count") == 5, what="five first bytes")
    _, samples = parse_metrics(node.admin("/metrics").body.decode())
    buckets = [(name, value) for name, value in samples.items() if name.startswith("segue_first_byte_seconds_bucket")]
    values = [value for _, value in buckets]
    assert values == sorted(values)
    assert 'le="+Inf"' in buckets[-1][0]
    assert values[-1] == samples["segue_first_byte_seconds_count"] == 5
    assert samples["segue_first_byte_seconds_sum"] > 0


def test_statistics_come_as_json_too(node, track):
    node.fetch("/t/1")
    response = node.admin("/stats.json")
    assert response["Content-Type"].startswith("application/json")
    assert "segue_requests_total" in json.dumps(json.loads(response.body))


def test_alive_and_ready(node):
    assert json.loads(node.admin("/live").body) == {"live": True}
    response = node.admin("/ready")
    assert (response.status, json.loads(response.body)["ready"]) == (200, True)


def test_ready_does_not_depend_on_the_origin(origin):
    with Node(config_for("http://127.0.0.1:1")) as node:
        assert node.fetch("/t").status == 502
        assert node.admin("/ready").status == 200


# --- purge ---


def fill(node, origin, *targets):
    for target in targets:
        origin.add(target, LENGTH)
        node.fetch(target)
        assert node.fetch(target).is_hit


@pytest.mark.parametrize(
    "url", ["/t/1", "http://localhost/t/1", "https://localhost:443/t/1", "//localhost/t/1", "/t/%31"]
)
def test_a_purged_url_is_asked_for_again_and_nothing_else_is(node, origin, url):
    fill(node, origin, "/t/1", "/t/2", "/t/1?v=1", "/t/11")
    changed = origin.add("/t/1", LENGTH, etag='"v2"')
    changed.body = track_bytes("/changed", LENGTH)
    node.purge(url=url)
    assert node.fetch("/t/1").body == changed.body
    for target in ("/t/2", "/t/1?v=1", "/t/11"):
        assert node.fetch(target).is_hit


def test_a_purged_prefix_is_gone_with_all_below_it(node, origin):
    fill(node, origin, "/a/1", "/a/2", "/a/b/3?v=1", "/b/1", "/a")
    node.purge(prefix="/a/")
    for target in ("/a/1", "/a/2", "/a/b/3?v=1"):
        assert not node.fetch(target).is_hit
        assert node.fetch(target).is_hit
    for target in ("/b/1", "/a"):
        assert node.fetch(target).is_hit


def test_everything_can_be_purged(node, origin):
    fill(node, origin, "/a/1", "/b/1")
    node.purge(everything=True)
    for target in ("/a/1", "/b/1"):
        assert not node.fetch(target).is_hit


@pytest.mark.parametrize("what", [{"url": "/t/1"}, {"prefix": "/t/"}], ids=["url", "prefix"])
def test_a_soft_purge_makes_stale_and_a_304_makes_fresh_again(node, origin, what):
    fill(node, origin, "/t/1")
    origin.forget()
    node.purge(soft=True, **what)
    response = node.fetch("/t/1")
    assert (response.status, response.body) == (200, track_bytes("/t/1", LENGTH))
    (request,) = origin.requests
    assert request.fields["if-none-match"] == '"v1"'
    assert node.fetch("/t/1").is_hit


def test_a_purge_while_a_response_runs_lets_it_end_on_its_version(node, origin):
    track = origin.add("/t/1", 8 << 20)
    node.fetch("/t/1")
    with node.connect(receive_buffer=65536) as connection:
        connection.request("/t/1")
        connection.read_head()
        old, track.body, track.etag = track.body, track_bytes("/new", 8 << 20), '"v2"'
        node.purge(url="/t/1")
        assert node.fetch("/t/1").body == track.body
        try:
            assert connection.read_exactly(8 << 20) == old
        except Exception:  # cut is allowed, another version's bytes are not
            assert old.startswith(connection.buffer)


def assert_cuts(node, origin, fields=None, **which):
    """A purge of /t/1 with `cut` ends a response that is under way."""
    track = origin.add("/t/1", 8 << 20, fields=fields or {})
    node.fetch("/t/1")
    with node.slow_body("/t/1", receive_buffer=65536) as (running, _):
        node.purge(**which, cut=True)
        assert running.is_closed_by_peer(within=10)
        assert len(running.buffer) < 8 << 20
        assert track.body.startswith(running.buffer)


def test_a_purge_that_cuts_ends_running_responses(node, origin):
    assert_cuts(node, origin, url="/t/1")


def test_what_was_asked_of_the_origin_before_a_purge_is_not_stored_after_it(node, origin):
    origin.add("/t/1", LENGTH, delay=0.5)
    with node.connect() as connection:
        connection.request("/t/1")
        wait_until(lambda: origin.requests_for("/t/1"), what="the origin request")
        node.purge(url="/t/1")
        assert connection.read_response().body == track_bytes("/t/1", LENGTH)
    # The bytes above were asked for before the purge: nobody who comes after it may get them.
    before = len(origin.requests_for("/t/1"))
    assert node.fetch("/t/1").status == 200
    assert len(origin.requests_for("/t/1")) + node.fetch("/t/1").is_hit >= 2
    assert before >= 1


def test_the_purge_command_asks_the_node(node, origin):
    fill(node, origin, "/t/1", "/a/1")
    done = run_segue(
        "purge",
        "--admin",
        f"unix:{node.admin_socket}",
        "--url",
        "http://localhost/t/1",
        "--prefix",
        "http://localhost/a/",
    )
    assert done.returncode == 0, done.stderr
    assert not node.fetch("/t/1").is_hit
    assert not node.fetch("/a/1").is_hit


BAD_PURGES = [
    b"",
    b"no json",
    b"[]",
    b"{}",
    b'{"url":""}',
    b'{"url":1}',
    b'{"url":"/a","prefix":"/b"}',
    b'{"url":"/a","soft":"yes"}',
    b'{"url":"/a","x":1}',
    b'{"url":"/a/../b"}',
    b'{"url":"/a%00"}',
    b'{"url":"https://other.example/a"}',
    b'{"url":"ftp:x"}',
    b'{"everything":false}',
    b'{"url":"/' + b"a" * 3000 + b'"}',
    b'{"url":"/a"' + b" " * 10 + b"",
    b'{"url":"/a","url":"/b"}',
]


@pytest.mark.parametrize("body", BAD_PURGES, ids=lambda body: body[:40].decode())
def test_a_bad_purge_is_400_and_purges_nothing(node, origin, body):
    fill(node, origin, "/t/1")
    with Connection(node.admin_socket) as connection:
        connection.send(
            request_bytes("/purge", "POST", Content_Length=len(body), Content_Type="application/json") + body
        )
        response = connection.read_response()
        assert response.status == 400
        assert json.loads(response.body)["error"]
    assert node.fetch("/t/1").is_hit


def test_a_purge_body_without_end_is_refused(node):
    with Connection(node.admin_socket) as connection:
        connection.send(request_bytes("/purge", "POST", Content_Length=10 << 30))
        assert connection.read_response().status == 413
        assert connection.is_closed_by_peer()


def test_an_origin_has_its_name_from_the_settings_in_metrics(node, origin, track):
    node.fetch("/t/1")
    assert node.metrics()['segue_origin_requests_total{origin="store"}'] >= 1


# --- explain ---


def test_explain_says_what_is_here_and_why(node, origin, track):
    unknown = node.admin("/explain?url=%2Ft%2F1")
    assert unknown.status == 200
    assert "known: no" in unknown.body.decode()
    node.fetch("/t/1", Range="bytes=0-1")
    text = node.admin("/explain?url=http%3A%2F%2Flocalhost%2Ft%2F%2531").body.decode()
    for words in ("key: music/t/1", "site: music", 'etag: "v1"', "fresh for", "0-0 ram", f"complete length: {LENGTH}"):
        assert words in text
    done = run_segue("explain", "http://localhost/t/1", "--admin", f"unix:{node.admin_socket}")
    assert (done.returncode, "key: music/t/1" in done.stdout) == (0, True)


def explained(node, url):
    text = node.admin("/explain?url=" + urllib.parse.quote(url, safe="")).body.decode()
    return dict(line.split(": ", 1) for line in text.splitlines())


def wait_until_missed(node, url, pattern):
    """The note of a miss is written when its response has ended, which its client may know a moment earlier."""
    wait_until(lambda: re.search(pattern, explained(node, url)["last miss"]), what=f"the note {pattern}")


def test_explain_remembers_why_the_last_request_was_a_miss(node, origin):
    origin.add("/long", 3 << 20)
    origin.add("/private", LENGTH, fields={"Cache-Control": "private"})
    origin.add("/stale", LENGTH, fields={"Cache-Control": "max-age=0", "Surrogate-Key": "album-7 live"})
    assert explained(node, "/long")["last miss"] == "none remembered"
    node.fetch("/long", Range="bytes=0-0")
    stamp = r"^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ"
    wait_until_missed(node, "/long", stamp + r' by "uri-miss" \(miss, status 206; 0 of 1 slices.*\)$')
    first = explained(node, "/long")["last miss"]
    wait_until(lambda: node.metric("segue_fills_in_flight") == 0, what="the end of the first fill")
    assert node.fetch("/long", Range="bytes=0-0").is_hit  # a hit is no miss and leaves the note alone
    assert explained(node, "/long")["last miss"] == first
    node.fetch("/long", Range="bytes=0-2999999")
    wait_until_missed(node, "/long", r'by "partial" \(miss, status 206; [1-9]\d* of 12 slices')
    node.fetch("/stale")
    node.fetch("/stale")
    wait_until_missed(node, "/stale", r'by "stale" \(revalidated, status 200')
    told = explained(node, "/stale")
    assert re.fullmatch(r"2 \(hashes [0-9a-f]{16}, [0-9a-f]{16}\)", told["tags"])
    assert explained(node, "/long")["tags"] == "none"
    node.fetch("/private")
    wait_until_missed(node, "/private", r"\(pass, status 200")
    node.purge(url="/stale")
    del origin.tracks["/stale"]
    assert explained(node, "/stale")["known"].startswith("no;")
    assert 'by "stale"' in explained(node, "/stale")["last miss"]
    origin.add("/gone", LENGTH)
    origin.misbehave("/gone", FAULTS["closed_before_head"])
    assert node.fetch("/gone").status == 502
    wait_until_missed(node, "/gone", "status 502")


@pytest.mark.parametrize(
    "query", ["", "?url=", "?url=%zz", "?url=%00", "?url=http%3A%2F%2Fother.example%2F", "?url=%2F..%2F", "?uri=%2F"]
)
def test_a_bad_explain_is_400(node, query):
    assert node.admin(f"/explain{query}").status == 400


# --- who may ask, and how ---


@pytest.mark.parametrize(
    "method, path, status",
    [
        ("GET", "/purge", 405),
        ("GET", "/drain", 405),
        ("POST", "/metrics", 405),
        ("DELETE", "/ready", 405),
        ("GET", "/", 200),
        ("GET", "/nothing", 404),
        ("GET", "/metrics/", 404),
        ("GET", "/../metrics", 404),
        ("HEAD", "/live", 200),
        ("GET", "/metrics?x=1", 200),
    ],
)
def test_methods_and_paths(node, method, path, status):
    with Connection(node.admin_socket) as connection:
        connection.request(path, method)
        response = connection.read_response(head_request=method == "HEAD")
        assert response.status == status
        if status == 405:
            assert response["Allow"] in ("POST", "GET, HEAD")
    assert node.admin("/ready").status == 200


def test_another_host_name_is_refused_as_rebinding_pages_would_send_it(node):
    for host, status in (
        ("localhost", 200),
        ("LOCALHOST:9", 200),
        ("127.0.0.1:9180", 200),
        ("[::1]", 200),
        ("evil.example", 421),
        ("localhost.evil.example", 421),
    ):
        with Connection(node.admin_socket) as connection:
            connection.request("/metrics", host=host)
            assert connection.read_response().status == status


def test_a_page_of_another_origin_cannot_purge(node, origin):
    fill(node, origin, "/t/1")
    with Connection(node.admin_socket) as connection:
        connection.send(
            request_bytes("/purge", "POST", Origin="https://evil.example", Content_Length=17) + b'{"url": "/t/1" }\n'
        )
        assert connection.read_response().status == 403
    assert node.fetch("/t/1").is_hit


def test_malformed_admin_requests_are_refused(node):
    with Connection(node.admin_socket) as connection:
        connection.send(
            "GET /metrics HTTP/1.1\r\nHost: localhost\r\nContent-Length: 1\r\nTransfer-Encoding: chunked\r\n\r\n"
        )
        assert connection.read_response().status == 400
        assert connection.is_closed_by_peer()


def test_the_public_listener_has_no_admin_pages(node, origin):
    for path in ("/metrics", "/ready", "/live", "/stats.json", "/explain?url=%2F"):
        assert node.fetch(path).status == 404  # the origin's
        assert origin.requests_for(path)
    assert node.fetch("/purge", method="POST").status == 405


def test_others_may_not_connect_to_the_admin_socket(node):
    assert os.stat(node.admin_socket).st_mode & 0o002 == 0  # connecting needs to write


# --- drain ---


@pytest.mark.parametrize("by_command", [False, True], ids=["by_http", "by_command"])
def test_a_drained_node_serves_on_until_idle_and_ends(origin, by_command):
    track = origin.add("/t/1", 20 << 20)
    with Node(config_for(origin.url)) as node:
        with node.connect(receive_buffer=65536) as running:
            running.request("/t/1")
            running.read_head()
            if by_command:
                done = run_segue("drain", "--admin", f"unix:{node.admin_socket}")
                assert done.returncode == 0, done.stderr
            else:
                assert node.admin("/drain", method="POST").status == 202
            ready = node.admin("/ready")
            assert (ready.status, json.loads(ready.body)["reason"]) == (503, "draining")
            assert node.admin("/live").status == 200
            assert running.read_exactly(20 << 20) == track.body
        assert node.process.wait(15) == 0


def test_stop_lets_a_running_response_end(origin):
    track = origin.add("/t/1", 3 << 20, rate=3 << 20)
    with Node(config_for(origin.url)) as node:
        with node.connect() as running:
            running.request("/t/1")
            running.read_head()
            node.process.terminate()
            assert running.read_exactly(3 << 20) == track.body
        assert node.process.wait(15) == 0


def test_commands_without_a_node_say_so_in_one_line(tmp_path):
    for command in (["drain"], ["explain", "/t"], ["stats"], ["purge", "--url", "/t"]):
        done = run_segue(*command, "--admin", f"unix:{tmp_path}/none.sock")
        assert done.returncode == 1
        assert done.stderr.count("\n") == 1 and "none.sock" in done.stderr


def test_the_admin_listener_also_listens_on_loopback(origin, tmp_path):
    path = tmp_path / "segue.toml"
    path.write_text(config_for(origin.url) + '[[listen]]\naddr = ["127.0.0.1:0"]\n[admin]\nlisten = "127.0.0.1:0"\n')
    process = subprocess.Popen([BINARY, "serve", "--config", path], stderr=subprocess.PIPE, text=True)
    try:
        for line in process.stderr:
            found = re.search(r"admin_listening address=127\.0\.0\.1:(\d+)", line)
            if found:
                break
        assert fetch(("127.0.0.1", int(found[1])), "/live", host="127.0.0.1").status == 200
    finally:
        process.terminate()
        assert process.wait(15) == 0
        process.stderr.close()


def test_requests_are_counted_by_why_the_origin_was_asked_or_why_they_were_refused(origin):
    # Over TLS a host that no certificate covers does not come so far.
    with Node(config_for(origin.url), tls=False) as node:

        def counted(metric, reason):
            return node.metrics()[f'segue_requests_{metric}_total{{reason="{reason}"}}']

        origin.add("/t", 600_000)
        node.fetch("/t", Range="bytes=0-99")
        node.fetch("/t", Range="bytes=0-99")
        assert counted("forwarded", "uri-miss") == 1
        node.fetch("/t")  # its first slice is here
        assert counted("forwarded", "partial") == 1
        node.fetch("/t", method="DELETE")
        assert counted("refused", "method") == 1
        node.fetch("/t", host="nobody.example")
        assert counted("refused", "unknown_host") == 1
        assert node.metric("segue_origin_latency_seconds_count") == 2
