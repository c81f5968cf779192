"""The numbers under their public names: conf/metrics.md says what is exported, promtool and a real Prometheus read it,
every alert rule fires where it must, and every query of the dashboard has an answer.

SEGUE_WRITE=1 writes conf/metrics.md anew."""
import json
import os
import re
import shutil
import socket
import subprocess
import urllib.parse

import pytest

from support import transport
from support.client import wait_until
from support.node import ROOT, Node
from support.settings import config_for

PAGE = ROOT / "conf/metrics.md"
RULES = ROOT / "conf/prometheus"
LENGTH = 700_000
HEAD = """# Metrics

What `/metrics` of the admin listener says, with every label. Made from a running node by tests/wire/test_metrics.py
(SEGUE_WRITE=1), which also fails when the two differ. A counter ends in `_total`; times are seconds, sizes bytes. The
values of labels come from the settings (sites, origins, drives by their number) or from a fixed list, never from
requests.

| metric | type | labels | what it says |
|---|---|---|---|
"""


def need(tool):
    if shutil.which(tool) is None:
        pytest.skip(f"SKIPPED, not tested here: no {tool} on this machine")
    return tool


@pytest.fixture(scope="module")
def busy_node(shared_origin, tmp_path_factory):
    """A node with every part that exports something: drive, access log, prefetch, listening, TLS, handed-over socket, a
    TCP admin listener."""
    folder = tmp_path_factory.mktemp("metrics")
    shared_origin.add("/t/1", LENGTH)
    drive = f'[[cache.drive]]\npath = "{folder}"\nsize = "256MiB"\n[log]\naccess = "{folder}/access.ndjson"\n'
    drive += f'[prefetch]\nmode = "on"\nfollow = "{folder}/feed"\npredictor_file = "{folder}/learned"\n'
    drive += '[prefetch.nats]\nservers = "nats://127.0.0.1:1"\nsubject = "feed"\npurge_subject = "purge"\n'
    drive += "[listens]\ncount = true\n"
    drive += '[[listen]]\naddr = ["127.0.0.1:0"]\ntls = true\n'
    drive += transport.certificate_table(transport.default_certificate())
    with socket.create_server(("127.0.0.1", 0)) as listener:
        address = "127.0.0.1:%d" % listener.getsockname()[1]
        with Node(
            config_for(shared_origin.url, more=drive).replace('ram = "256MiB"', 'ram = "512MiB"'),
            flags=("--admin", "127.0.0.1:0"),
            listen=(address,),
            descriptors=[listener.fileno()],
            tls=False,
        ) as node:
            port = int(re.search(r"admin_listening address=127.0.0.1:(\d+)", node.log)[1])
            node.admin_socket = ("127.0.0.1", port)
            node.origin = shared_origin
            node.address = listener.getsockname()  # not the one with TLS
            make_traffic(node)
            yield node


def make_traffic(node):
    """Hits, a miss of a track that nobody has asked for, and a 404."""
    node.fetch("/t/1", Range="bytes=0-99999")
    fresh = f"/fresh/{len(node.origin.tracks)}"
    node.origin.add(fresh, LENGTH)
    for first in (0, 300_000, 600_000, 0):
        node.fetch(fresh, Range=f"bytes={first}-{first + 99_999}")
    node.fetch("/t/none")


def families(node):
    """{name: (type, help, labels)} as exported."""
    found, kind, said = {}, {}, {}
    for line in node.admin("/metrics").body.decode().splitlines():
        if line.startswith("# HELP "):
            _, _, name, text = line.split(" ", 3)
            said[name] = text
        elif line.startswith("# TYPE "):
            _, _, name, what = line.split(" ")
            kind[name] = what
            found[name] = (what, said[name], [])
        else:
            name, _, labels = line.rsplit(" ", 1)[0].partition("{")
            base = name if name in kind else re.sub("_(bucket|sum|count)$", "", name)
            for label in re.findall(r'(\w+)="', labels):
                if label not in found[base][2] and label != "le":
                    found[base][2].append(label)
    return found


def page_of(found):
    rows = [
        f"| `{name}` | {kind} | {', '.join(f'`{label}`' for label in labels)} | {text} |\n"
        for name, (kind, text, labels) in sorted(found.items())
    ]
    return HEAD + "".join(rows)


def rows_of(page):
    return {match[1]: match[0] for match in re.finditer(r"^\| `(\w+)` \|.*$", page, re.M)}


def test_the_page_of_metrics_is_what_a_node_exports(busy_node):
    made = page_of(families(busy_node))
    if os.environ.get("SEGUE_WRITE") == "1":
        PAGE.write_text(made)
    written, exported = rows_of(PAGE.read_text()), rows_of(made)
    assert PAGE.read_text().startswith(HEAD)
    differing = {name for name in exported if written.get(name) != exported[name]}
    gone = {name for name in written if name not in exported}
    assert not differing and not gone, "SEGUE_WRITE=1 pytest tests/wire/test_metrics.py, and commit conf/metrics.md"


def test_names_and_types_follow_the_conventions(busy_node):
    found = families(busy_node)
    for name, (kind, text, _) in found.items():
        assert name.startswith(("segue_", "process_")), name
        assert (kind == "counter") == name.endswith("_total"), name
        assert text.endswith("."), name
    for word in ("_ms", "_milliseconds", "_kib", "_mb", "_percent"):
        assert not [name for name in found if name.endswith((word, word + "_total"))]


def test_promtool_has_nothing_to_say(busy_node):
    text = busy_node.admin("/metrics").body
    done = subprocess.run([need("promtool"), "check", "metrics"], input=text, capture_output=True, check=False)
    assert (done.returncode, done.stdout, done.stderr) == (0, b"", b"")


def test_the_number_of_series_does_not_grow_with_requests(busy_node):
    before = len(busy_node.metrics())
    for number in range(50):
        busy_node.fetch(f"/random/{number}?x={number}", host="localhost", User_Agent=f"agent-{number}")
    assert len(busy_node.metrics()) == before


@pytest.mark.parametrize("command", [["check", "rules", "segue.rules.yml"], ["test", "rules", "segue.rules.test.yml"]])
def test_the_alert_rules_are_right(command):
    done = subprocess.run([need("promtool"), *command], cwd=RULES, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr


def test_every_alert_has_a_world_where_it_fires_and_one_where_it_does_not():
    alerts = set(re.findall(r"- alert: (\w+)", (RULES / "segue.rules.yml").read_text()))
    worlds = (RULES / "segue.rules.test.yml").read_text().split("  - name: ")[1:]
    fires = {re.search(r"alertname: (\w+)", world)[1] for world in worlds if "exp_alerts: []" not in world}
    assert fires == alerts


@pytest.mark.slow
def test_every_query_of_the_dashboard_and_the_alerts_has_an_answer(busy_node, tmp_path):
    exported = set(families(busy_node))
    with prometheus(busy_node, tmp_path) as ask:
        queries = dashboard_queries()
        assert len(queries) > 40
        silent = []
        for title, query in queries:
            names = set(re.findall(r"\b(?:segue|process)_\w+", query))
            names = {re.sub("_(bucket|sum|count)$", "", name) for name in names} | (names & exported)
            make_traffic(busy_node)
            assert names & exported, f"{title}: {names} are not exported"
            if not ask(query):
                silent.append((title, query))
        assert silent == []
        rules = ask.rules()
        assert len(rules) >= 14
        assert [rule["name"] for rule in rules if rule["health"] != "ok"] == []


def dashboard_queries():
    board = json.loads((ROOT / "conf/grafana/segue.json").read_text())
    queries = []
    for panel in board["panels"]:
        for target in panel["targets"]:
            query = target["expr"].replace("$__rate_interval", "1m").replace("$instance", ".*")
            assert "$" not in query
            queries.append((panel["title"], query))
    return queries


class prometheus:
    """A real Prometheus that scrapes the node; called with a query, it returns the result's samples."""

    def __init__(self, node, folder):
        self.node, self.folder = node, folder
        with socket.create_server(("127.0.0.1", 0)) as free:
            self.port = free.getsockname()[1]
        config = (RULES / "prometheus.yml").read_text()
        config = config.replace("127.0.0.1:9180", "127.0.0.1:%d" % node.admin_socket[1]).replace("15s", "1s")
        config = config.replace("segue.rules.yml", str(RULES / "segue.rules.yml"))
        (folder / "prometheus.yml").write_text(config)

    def get(self, path):
        command = ["curl", "-sS", "--max-time", "10", f"http://127.0.0.1:{self.port}{path}"]
        done = subprocess.run(command, capture_output=True, check=False)
        return json.loads(done.stdout) if done.returncode == 0 and done.stdout.startswith(b"{") else None

    def __call__(self, query):
        answer = self.get("/api/v1/query?query=" + urllib.parse.quote(query))
        assert answer and answer["status"] == "success", (query, answer)
        return [sample for sample in answer["data"]["result"] if sample["value"][1] != "NaN"]

    def rules(self):
        return [rule for group in self.get("/api/v1/rules")["data"]["groups"] for rule in group["rules"]]

    def __enter__(self):
        self.process = subprocess.Popen(
            [
                need("prometheus"),
                f"--config.file={self.folder}/prometheus.yml",
                f"--storage.tsdb.path={self.folder}/data",
                f"--web.listen-address=127.0.0.1:{self.port}",
            ],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=open(self.folder / "prometheus.log", "wb"),
        )

        def scraped_under_traffic():
            make_traffic(self.node)
            return self.get("/-/ready") is not None or len(self.scrapes()) > 0

        wait_until(scraped_under_traffic, seconds=30, what="Prometheus", every=0.2)
        wait_until(lambda: make_traffic(self.node) or len(self.scrapes()) >= 4, seconds=30, what="scrapes", every=0.3)
        wait_until(lambda: all(rule["health"] == "ok" for rule in self.rules()), seconds=30, what="rules", every=0.3)
        return self

    def scrapes(self):
        answer = self.get("/api/v1/query?query=" + urllib.parse.quote('up{job="segue"}[1m]'))
        return answer["data"]["result"][0]["values"] if answer and answer["data"]["result"] else []

    def __exit__(self, *_):
        self.process.terminate()
        try:
            self.process.wait(15)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait(15)
