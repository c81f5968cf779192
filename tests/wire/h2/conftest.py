"""The tests of HTTP/2 itself run over TLS whatever SEGUE_WIRE says."""
import pytest

from support import transport
from support.node import Node
from support.origin import Origin
from support.settings import config_for

LENGTH = 1_500_000


def tls():
    return transport.certificate_table(transport.default_certificate())


@pytest.fixture(scope="module")
def origin():
    with Origin() as scripted:
        scripted.add("/t/1", LENGTH)
        scripted.add("/t/small", 1000)
        yield scripted


@pytest.fixture(scope="module")
def node(origin):
    with Node(config_for(origin.url), tls=tls()) as running:
        yield running
