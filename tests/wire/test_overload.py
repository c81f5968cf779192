"""A node that runs short of a resource sheds in the written order (SECURITY.md, overload): prefetch, revalidation, new
connections, new misses; hits never. Here it is descriptors, whose limit prlimit(2) moves under the running node; the
other resources are in tests/unit/edge/overload_test.cc. And when there are no descriptors at all: no spin, and service
again at once when there are."""
import contextlib
import resource

import pytest

from support.client import Connection, wait_until
from support.node import Node, metrics_of
from support.settings import config_for

pytestmark = pytest.mark.alone  # counts descriptors to the last
IDLE = 300  # connections, so that the steps between soft and hard are several descriptors wide
ORDER = ("prefetch", "revalidation", "connection", "miss")
SHED = {load: f'segue_overload_shed_total{{load="{load}"}}' for load in ORDER}
CLIENTS = 'segue_connections_active{listener="public"}'
USED = 'segue_overload_used{resource="descriptors"}'


class Operator:
    """Reads the metrics over a connection that is there already: a new one may find no descriptor."""

    def __init__(self, node):
        self.connection = Connection(node.admin_socket)
        self.metrics()

    def metrics(self):
        return metrics_of(ask(self.connection, "/metrics"))

    def shedding(self):
        """What is shed, in the written order."""
        metrics = self.metrics()
        return [load for load in ORDER if metrics[f'segue_overload_shedding{{load="{load}"}}'] == 1]

    def has_been_seen(self):
        """Whether the manager has counted what is open (but the few descriptors of operators)."""
        metrics = self.metrics()
        return metrics[USED] >= metrics["process_open_fds"] - 4

    def wait_for(self, loads):
        wait_until(lambda: self.shedding() == list(loads), what=f"shedding {loads}")


def limit_descriptors(node, soft):
    """Sets the soft limit of the running node; the hard one stays, so that it can be raised again."""
    hard = resource.prlimit(node.process.pid, resource.RLIMIT_NOFILE)[1]
    resource.prlimit(node.process.pid, resource.RLIMIT_NOFILE, (soft or hard, hard))


def run_short(node, operator, loads):
    """Moves the limit until exactly the first `loads` of ORDER are shed."""
    # Soft 90 %, hard 98 %, and what is shed begins at 0, 1, 2 and 3 thirds of the way between them.
    share = (0.89, 0.913, 0.94, 0.966, 0.99)[loads]
    limit_descriptors(node, int(operator.metrics()[USED] / share))
    operator.wait_for(ORDER[:loads])


@pytest.fixture
def short(origin):
    """A node with idle connections, so that each step between soft and hard is several descriptors wide; an operator,
    and a client that has been there before."""
    origin.add("/hit", 100_000)
    origin.add("/stale", 100_000, fields={"Cache-Control": "max-age=0, stale-while-revalidate=600"})
    origin.add("/cold", 100_000)
    with Node(config_for(origin.url)) as node, contextlib.ExitStack() as held:
        for path in ("/hit", "/stale"):
            assert node.fetch(path).status == 200
        # An answer of the node's own, as those in the shortage will be: UBSan looks at an object's type once, through a
        # pipe, and calls it invalid where no descriptor is left for that.
        assert node.fetch("/hit", method="BREW").status == 405
        operator = Operator(node)
        held.enter_context(operator.connection)
        for _ in range(IDLE):
            held.enter_context(node.connect(plain=True))
        regular = held.enter_context(node.connect())
        wait_until(lambda: operator.metrics()[CLIENTS] == IDLE + 1, what="the crowd")
        wait_until(operator.has_been_seen, what="a look at it")
        yield node, operator, regular


def ask(connection, path):
    connection.request(path)
    return connection.read_response()


def test_loads_are_shed_in_the_written_order_and_hits_never(short, origin):
    node, operator, regular = short
    before = len(origin.requests)
    for loads in (1, 2, 3, 4):
        run_short(node, operator, loads)
        hit = ask(regular, "/hit")
        assert hit.status == 200 and hit.is_hit
        assert ask(regular, "/stale").status == 200
        if loads >= 3:
            with node.connect(plain=True) as one_more:
                assert one_more.is_closed_by_peer()
    cold = ask(regular, "/cold")
    assert (cold.status, cold["Retry-After"]) == (503, "1")
    shed = operator.metrics()
    # So near to the end of descriptors one of the two may have met the end itself.
    assert shed[SHED["connection"]] >= 1 and shed[SHED["miss"]] == 1
    assert shed[SHED["revalidation"]] == 3
    asked = [request.target for request in origin.requests[before:]]
    assert "/cold" not in asked and asked.count("/stale") <= 1
    limit_descriptors(node, None)
    operator.wait_for(())
    assert ask(regular, "/cold").status == 200
    assert node.fetch("/hit").is_hit
    assert "overload shed=prefetch" in node.log and "overload_over" in node.log


def test_without_a_descriptor_nobody_spins_and_service_returns_with_the_first(short):
    node, operator, regular = short
    limit_descriptors(node, 16)  # far fewer than are open
    errors = 'segue_accept_errors_total{listener="public"}'
    pauses = 'segue_accept_pauses_total{listener="public"}'
    with contextlib.ExitStack() as held:
        for _ in range(20):
            held.enter_context(node.connect(plain=True))
        wait_until(lambda: operator.metrics()[errors] > 0, what="the first failed accept")
        # Each accept that failed was followed by a pause: a listener that is left readable would spin.
        for _ in range(20):
            assert ask(regular, "/hit").is_hit
        told = operator.metrics()
        assert told[errors] == told[pauses]
        limit_descriptors(node, None)
        operator.wait_for(())
        wait_until(lambda: is_served(node, "/hit"), what="service")
        assert node.fetch("/cold").status == 200


def is_served(node, target):
    try:
        return node.fetch(target).status == 200
    except OSError:  # closed: none was free when it came
        return False


def test_the_limits_and_what_is_in_use_stand_in_the_statistics(node):
    metrics = node.metrics()
    for name in ("buffers", "memory", "descriptors", "fills", "ring"):
        used, soft, hard = (
            metrics[f'segue_overload_{what}{{resource="{name}"}}'] for what in ("used", "soft_limit", "hard_limit")
        )
        assert used < soft <= hard or (name == "memory" and hard == 0), name  # under a sanitizer memory is not judged
    assert not any(value for name, value in metrics.items() if name.startswith("segue_overload_shedding"))
    assert b'"segue_overload_used"' in node.admin("/stats.json").body
