"""A small blocking HTTP/1.1 client that tells when the first byte came."""
import re
import socket
import ssl
import sys
import time

LENGTH = re.compile(rb"(?i)\r\ncontent-length: *(\d+)")


class Answer:
    """One response; `first_byte` and `done` are seconds since the request was sent."""

    def __init__(self, head, body, first_byte, done):
        self.head, self.body, self.first_byte, self.done = head, body, first_byte, done

    @property
    def status(self):
        return int(self.head[9:12])


def unverified():
    """For servers of our own on loopback: bytes are compared, identities are not."""
    context = ssl.create_default_context()
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    return context


class Client:
    """One keep-alive connection; over TLS where a context is given."""

    def __init__(self, port, source="127.0.0.1", context=None):
        self.socket = socket.create_connection(("127.0.0.1", port), timeout=60, source_address=(source, 0))
        self.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        if context:
            self.socket = context.wrap_socket(self.socket, server_hostname="localhost")

    def get(self, target, range_value=None, fields=""):
        if range_value:
            fields += f"Range: bytes={range_value}\r\n"
        return self._ask(f"GET {target} HTTP/1.1\r\nHost: localhost\r\n{fields}\r\n", target)

    def post(self, target, text):
        return self._ask(
            f"POST {target} HTTP/1.1\r\nHost: localhost\r\nContent-Length: {len(text)}\r\n\r\n{text}", target
        )

    def _ask(self, request, target):
        started = time.perf_counter()
        self.socket.sendall(request.encode())
        data, first_byte, end, length = b"", None, -1, None
        while length is None or len(data) < end + 4 + length:
            chunk = self.socket.recv(1 << 20)
            if not chunk:
                raise ConnectionError(f"closed in the middle of an answer to {target}")
            data += chunk
            if end < 0 and (end := data.find(b"\r\n\r\n")) >= 0:
                found = LENGTH.search(data[: end + 2])
                length = int(found.group(1)) if found else 0
            # The first byte of the body: a head alone starts no music.
            if first_byte is None and end >= 0 and (len(data) > end + 4 or length == 0):
                first_byte = time.perf_counter() - started
        return Answer(data[:end], data[end + 4 :], first_byte, time.perf_counter() - started)

    def close(self):
        self.socket.close()


def get(port, target, range_value=None, fields=""):
    client = Client(port)
    try:
        return client.get(target, range_value, fields)
    finally:
        client.close()


def expect(answer, status, length, who):
    """Ends the program where an answer is not what it has to be: its time would say nothing."""
    if answer.status != status or len(answer.body) != length:
        sys.exit(f"{who} answered {answer.status}, {len(answer.body)} bytes")


def expect_status(answer, status, who):
    if answer.status != status:
        sys.exit(f"{who} answered {answer.status}: {answer.body[:200]!r}")


def warm(server, tracks, track_bytes, context=None):
    """Every byte of every track twice: what is asked below is a hit, with a cache that stores at the second use too."""
    client = Client(server.port, context=context)
    for _ in range(2):
        for number in range(tracks):
            expect(client.get(f"/t/{number}"), 200, track_bytes, f"{server.name}: /t/{number}")
    client.close()


def counts(port):
    """What loadtest/origin was asked so far: requests, bytes, ranges."""
    return {name: int(value) for name, value in re.findall(r"(\w+) (\d+)", get(port, "/counts").body.decode())}


def metrics(port):
    """{series: value} of a node's admin listener."""
    lines = get(port, "/metrics", fields="Connection: keep-alive\r\n").body.decode().splitlines()
    return {
        line.rpartition(" ")[0]: float(line.rpartition(" ")[2]) for line in lines if line and not line.startswith("#")
    }


def total(port, name):
    """The sum over all labels of one metric."""
    return sum(value for series, value in metrics(port).items() if series.partition("{")[0] == name)
