"""What the machine does not give ends the node cleanly: one line, status 3, and the next start serves (SECURITY.md,
Memory). Each single allocation is refused in tests/unit/memory."""
import contextlib
import re
import resource

import pytest

from support.node import Node
from support.settings import config_for

LINE = "segue: out of memory: "
OUT_OF_MEMORY = 3
MIB = 1 << 20


def written_bytes(node):
    """What the kernel counts for RLIMIT_DATA."""
    with open(f"/proc/{node.process.pid}/status", encoding="ascii") as status:
        return int(re.search(r"VmData:\s+(\d+)", status.read())[1]) << 10


def test_a_node_that_gets_no_more_memory_ends_with_one_line_and_the_next_one_serves(origin, tmp_path):
    origin.add("/t", 100_000)
    node = Node(config_for(origin.url), folder=tmp_path)
    if node.metrics()['segue_overload_hard_limit{resource="memory"}'] == 0:
        node.stop()
        pytest.skip("a sanitizer has memory of its own")
    assert node.fetch("/t").status == 200
    resource.prlimit(node.process.pid, resource.RLIMIT_DATA, (written_bytes(node) + MIB, resource.RLIM_INFINITY))
    with contextlib.ExitStack() as held:
        for number in range(3000):
            # Heads that do not end, each in memory of its own.
            with contextlib.suppress(OSError):
                client = held.enter_context(node.connect(plain=True))
                client.send(b"GET /%d HTTP/1.1\r\nHost: localhost\r\nX: " % number + b"x" * 6000)
            if node.process.poll() is not None:
                break
        assert node.process.wait(30) == OUT_OF_MEMORY
    for reader in node.readers:
        reader.join(5)
    assert [line for line in node.log_lines if line.startswith("segue: ")] == [node.log_lines[-1]]
    assert node.log_lines[-1].startswith(LINE)
    with Node(config_for(origin.url), folder=tmp_path) as next_one:
        assert next_one.fetch("/t").status == 200
