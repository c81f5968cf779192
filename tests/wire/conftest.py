"""Fixtures of the wire tests: a scripted origin and a node in front of it, fresh for each test.

Where a table of many cases runs over one node (each case with paths of its own), `shared_origin` and
`shared_node` live as long as the file. `./dev test quick` leaves out what is marked slow."""
import pytest

from support.node import Node
from support.origin import Origin
from support.settings import config_for


def pytest_configure(config):
    config.addinivalue_line(
        "markers", "slow: waits for a real time limit, or moves much data; not part of ./dev test quick"
    )


@pytest.fixture
def origin():
    with Origin() as scripted:
        yield scripted


@pytest.fixture
def node(origin):
    with Node(config_for(origin.url)) as running:
        yield running


@pytest.fixture(scope="module")
def shared_origin():
    with Origin() as scripted:
        yield scripted


@pytest.fixture(scope="module")
def shared_node(shared_origin):
    with Node(config_for(shared_origin.url)) as running:
        yield running
