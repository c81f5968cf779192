"""Fixtures of the wire tests: a scripted origin and a node in front of it, fresh for each test."""
import pytest

from support.node import Node
from support.origin import Origin


@pytest.fixture
def origin():
    with Origin() as scripted:
        yield scripted


def config_for(origin_url, site="", origin="", more=""):
    """A segue.toml with one site in front of one origin."""
    return f"""
[node]
name = "test-node"
ram = "256MiB"
threads = 2
{more}
[origin.store]
servers = ["{origin_url}"]
{origin}
[[site]]
name = "music"
hosts = ["localhost"]
origin = "store"
{site}
"""


@pytest.fixture
def node(origin):
    with Node(config_for(origin.url)) as running:
        yield running
