"""Fixtures of the wire tests: a scripted origin and a node in front of it, fresh for each test.

Where a table of many cases runs over one node (each case with paths of its own), `shared_origin` and
`shared_node` live as long as the file. `./dev test quick` leaves out what is marked slow. The files are shared out to
several processes (pytest-xdist), so all must name the same tests: no addresses or times in parameters' names."""
import pytest

from support.node import Node
from support.origin import Origin
from support import transport
from support.settings import config_for


def pytest_configure(config):
    config.addinivalue_line(
        "markers", "slow: waits for a real time limit, or moves much data; not part of ./dev test quick"
    )
    config.addinivalue_line("markers", "alone: needs the machine for itself; .ci/suite.py runs it beside no other test")


# HTTP/1.1's own words and framing; what HTTP/2 has instead is in tests/wire/h2.
collect_ignore = ["test_rfc9112_messages.py"] if transport.WIRE == "h2" else []
# What comes over NATS is the same whatever clients speak.
collect_ignore += ["test_feed_nats.py"] if transport.WIRE != "h1" else []


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


@pytest.hookimpl(hookwrapper=True)
def pytest_runtest_call(item):
    """Over HTTP/2 a test that speaks HTTP/1.1's own words has nothing to ask."""
    outcome = yield
    if transport.WIRE == "h2" and outcome.excinfo and outcome.excinfo[0].__name__ == "NotHttp2":
        pytest.skip(f"HTTP/1.1 only: {outcome.excinfo[1]}")
