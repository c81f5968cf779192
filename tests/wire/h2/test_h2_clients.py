"""Programs that others wrote: curl and h2load over HTTP/2, and testssl.sh, which judges the TLS under it."""
import json
import re
import shutil
import subprocess

import pytest

from support import transport
from support.node import BINARY, Node
from support.settings import config_for


def run(*command, seconds=120):
    return subprocess.run([str(each) for each in command], capture_output=True, text=True, timeout=seconds, check=False)


def url_of(node, path):
    return f"https://localhost:{node.address[1]}{path}"


def test_curl_gets_every_range_over_http2(node, origin, tmp_path):
    body = origin.tracks["/t/1"].body
    out = tmp_path / "out"
    for first, last in ((0, 1), (1000, 70_000), (262_143, 600_000), (0, len(body) - 1)):
        command = ["curl", "--http2", "-sS", "--cacert", transport.authority().ca, "-r", f"{first}-{last}"]
        done = run(*command, "-o", out, "-w", "%{http_version} %{http_code}", url_of(node, "/t/1"))
        assert (done.stdout, done.stderr) == ("2 206", "")
        assert out.read_bytes() == body[first : last + 1]


def test_curl_asks_for_many_tracks_at_once_on_one_connection(node, origin, tmp_path):
    accepted = 'segue_connections_accepted_total{listener="public"}'
    before = node.metrics()[accepted]
    command = ["curl", "--http2", "--parallel", "-sS", "--cacert", transport.authority().ca]
    for i in range(20):
        command += ["-r", f"{i * 50_000}-{i * 50_000 + 99_999}", "-o", tmp_path / f"{i}", url_of(node, "/t/1")]
        command += ["--next", "--http2", "-sS", "--cacert", transport.authority().ca] if i < 19 else []
    done = run(*command)
    assert done.returncode == 0, done.stderr
    for i in range(20):
        assert (tmp_path / f"{i}").read_bytes() == origin.tracks["/t/1"].body[i * 50_000 : i * 50_000 + 100_000]
    assert node.metrics()[accepted] == before + 1


def test_h2load_sees_no_failed_request(node):
    if shutil.which("h2load") is None:
        pytest.skip("SKIPPED, not tested here: no h2load on this machine")
    node.fetch("/t/1")
    before = node.metric("segue_http2_requests_total")
    load = ["h2load", "-n", "2000", "-c", "8", "-m", "20", "-H", "range: bytes=100000-165535"]
    done = run(*load, url_of(node, "/t/1"))
    assert "2000 succeeded, 0 failed, 0 errored, 0 timeout" in done.stdout, done.stdout
    assert re.search(r"\(131072000\) data", done.stdout), done.stdout
    assert node.metric("segue_http2_requests_total") == before + 2000


def test_the_log_says_which_protocol_it_was(origin, tmp_path):
    log = tmp_path / "access.ndjson"
    tls = transport.certificate_table(transport.default_certificate())
    with Node(config_for(origin.url, more=f'[log]\naccess = "{log}"'), tls=tls) as node:
        for version in ("--http2", "--http1.1"):
            run(
                "curl", version, "-s", "--cacert", transport.authority().ca, "-o", "/dev/null", url_of(node, "/t/small")
            )
    lines = [json.loads(line) for line in log.read_text().splitlines()]
    assert sorted(line["protocol"] for line in lines) == ["HTTP/1.1", "HTTP/2"]


def test_http2_can_be_switched_off(origin):
    tls = "[tls]\nhttp2 = false\n" + transport.certificate_table(transport.default_certificate())
    with Node(config_for(origin.url), tls=tls) as node:
        command = ["curl", "--http2", "-s", "--cacert", transport.authority().ca, "-o", "/dev/null"]
        assert run(*command, "-w", "%{http_version}", url_of(node, "/t/small")).stdout == "1.1"


# What a throw-away certificate authority cannot have.
ABOUT_THE_TEST_CA = re.compile(r"cert|chain|OCSP|CRL|trust|expiration|HSTS|DNS_CAA|security_headers", re.I)
ABOUT_THE_TOOL = ("engine_problem",)


@pytest.mark.slow
def test_testssl_finds_nothing(origin, tmp_path):
    program = shutil.which("testssl") or shutil.which("testssl.sh")
    if program is None:
        pytest.skip("SKIPPED, not tested here: no testssl.sh on this machine")
    if BINARY.parent.name in ("asan", "tsan"):
        pytest.skip("it looks at the protocol, not at our memory, and takes two minutes")
    with Node(config_for(origin.url), tls=transport.certificate_table(transport.default_certificate())) as node:
        found = tmp_path / "found.json"
        sections = ["-p", "-s", "-f", "-U"]
        options = ["--quiet", "--color", "0", "--ip", "127.0.0.1", "--jsonfile", found]
        run(program, *sections, *options, f"localhost:{node.address[1]}", seconds=580)
        findings = json.loads(found.read_text())
    assert len(findings) > 40
    bad = [
        (each["id"], each["severity"], each["finding"])
        for each in findings
        if each["severity"] not in ("OK", "INFO")
        and each["id"] not in ABOUT_THE_TOOL
        and not ABOUT_THE_TEST_CA.search(each["id"])
    ]
    assert bad == []
