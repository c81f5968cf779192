"""A client that sends exactly the bytes it is told and parses answers strictly: a lenient client would hide defects."""
import re
import socket
import time
from dataclasses import dataclass, field

from . import transport

TIMEOUT_SECONDS = 15


class Closed(Exception):
    """The server ended the connection before the answer was complete; `partial` is what came."""

    def __init__(self, partial):
        super().__init__(f"connection closed after {len(partial)} bytes: {partial[:200]!r}")
        self.partial = partial


@dataclass
class Response:
    status: int
    reason: str
    fields: list = field(default_factory=list)  # (name, value) as received
    body: bytes = b""

    def all(self, name):
        return [value for key, value in self.fields if key.lower() == name.lower()]

    def __getitem__(self, name):
        """The value of a field that must be there once."""
        values = self.all(name)
        assert len(values) == 1, f"{name} occurs {len(values)} times in {self.fields}"
        return values[0]

    def get(self, name, default=None):
        values = self.all(name)
        assert len(values) <= 1, f"{name} occurs {len(values)} times in {self.fields}"
        return values[0] if values else default

    @property
    def cache_status(self):
        """Cache-Status of this node as a dictionary: {"hit": True} or {"fwd": "uri-miss", ...}."""
        parts = [part.strip() for part in self["Cache-Status"].split(";")[1:]]
        return {
            name: (value.strip('"') if equals else True)
            for name, equals, value in (part.partition("=") for part in parts)
        }

    @property
    def is_hit(self):
        return "hit" in self.cache_status

    @property
    def content_range(self):
        """(first, last, complete) of "bytes a-b/N"."""
        match = re.fullmatch(r"bytes (\d+)-(\d+)/(\d+)", self["Content-Range"])
        assert match, self["Content-Range"]
        return tuple(int(group) for group in match.groups())


class Connection:
    """One connection, over TLS where the listener has it. `address` is (host, port) or the path of a unix socket."""

    def __init__(self, address, receive_buffer=None, plain=False, source=None):
        family = (
            socket.AF_UNIX if isinstance(address, str) else (socket.AF_INET6 if ":" in address[0] else socket.AF_INET)
        )
        self.socket = socket.socket(family, socket.SOCK_STREAM)
        if receive_buffer:
            self.socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, receive_buffer)
        if source:
            self.socket.bind((source, 0))
        self.socket.settimeout(TIMEOUT_SECONDS)
        self.socket.connect(address)
        if address in transport.TLS_ADDRESSES and not plain:
            self.socket = transport.connected(self.socket)
        self.buffer = b""

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.close()

    def close(self):
        self.socket.close()

    def reset(self):
        """Ends the connection by RST, as a killed player does."""
        self.socket.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\x01\x00\x00\x00\x00\x00\x00\x00")
        self.socket.close()

    def send(self, data):
        self.socket.sendall(data if isinstance(data, bytes) else data.encode("latin-1"))

    def request(self, target, method="GET", host="localhost", **fields):
        """Sends one request; keyword names become fields (If_None_Match -> If-None-Match)."""
        self.send(request_bytes(target, method, host, **fields))

    def read_more(self):
        data = self.socket.recv(1 << 18)
        if not data:
            raise Closed(self.buffer)
        self.buffer += data

    def read_head(self):
        while b"\r\n\r\n" not in self.buffer:
            self.read_more()
        head, _, self.buffer = self.buffer.partition(b"\r\n\r\n")
        lines = head.decode("latin-1").split("\r\n")
        match = re.fullmatch(r"HTTP/1\.1 (\d{3}) ([^\r\n]*)", lines[0])
        assert match, f"bad status line {lines[0]!r}"
        response = Response(int(match[1]), match[2])
        for line in lines[1:]:
            name, colon, value = line.partition(":")
            assert colon and re.fullmatch(r"[!#$%&'*+\-.^_`|~0-9A-Za-z]+", name), f"bad field line {line!r}"
            response.fields.append((name, value.strip(" \t")))
        return response

    def read_exactly(self, count):
        pieces, length = [self.buffer], len(self.buffer)
        try:
            while length < count:  # joined once: bodies of 60 MB are read here
                data = self.socket.recv(1 << 18)
                if not data:
                    raise Closed(b"".join(pieces))
                pieces.append(data)
                length += len(data)
        finally:
            self.buffer = b"".join(pieces)
        data, self.buffer = self.buffer[:count], self.buffer[count:]
        return data

    def read_response(self, head_request=False):
        """A whole response with its body, framed as its head says (RFC 9112 §6.3)."""
        response = self.read_head()
        if head_request or response.status in (204, 304) or response.status < 200:
            return response
        if response.get("Transfer-Encoding") == "chunked":
            assert response.get("Content-Length") is None, "both Content-Length and Transfer-Encoding"
            response.body = self.read_chunked()
        elif response.get("Content-Length") is not None:
            response.body = self.read_exactly(int(response["Content-Length"]))
        else:
            response.body = self.read_to_close()
        return response

    def read_chunked(self):
        body = b""
        while True:
            while b"\r\n" not in self.buffer:
                self.read_more()
            size, _, self.buffer = self.buffer.partition(b"\r\n")
            length = int(size, 16)
            body += self.read_exactly(length)
            assert self.read_exactly(2) == b"\r\n"
            if length == 0:
                return body

    def read_to_close(self):
        try:
            while True:
                self.read_more()
        except (Closed, ConnectionResetError):
            data, self.buffer = self.buffer, b""
            return data

    def is_closed_by_peer(self, within=5.0):
        """True once the server has ended the connection; what it sends meanwhile is kept."""
        self.socket.settimeout(within)
        try:
            while True:
                self.read_more()
        except (Closed, ConnectionResetError):
            return True
        except TimeoutError:
            return False
        finally:
            self.socket.settimeout(TIMEOUT_SECONDS)


def request_bytes(target, method="GET", host="localhost", **fields):
    lines = [f"{method} {target} HTTP/1.1"]
    if host is not None:
        lines.append(f"Host: {host}")
    lines += [f"{name.replace('_', '-')}: {value}" for name, value in fields.items()]
    return ("\r\n".join(lines) + "\r\n\r\n").encode("latin-1")


def fetch(address, target, method="GET", host="localhost", **fields):
    """One request on a connection of its own."""
    with Connection(address) as connection:
        connection.request(target, method, host, **fields)
        return connection.read_response(head_request=method == "HEAD")


def wait_until_steady(value, for_seconds=0.5, seconds=30, what="value"):
    """Polls until `value()` has not changed for a while, and returns it: for "and nothing more happens"."""
    deadline = time.monotonic() + seconds
    last, since = value(), time.monotonic()
    while time.monotonic() - since < for_seconds:
        assert time.monotonic() < deadline, f"{what} was still changing after {seconds} s"
        time.sleep(0.02)
        now = value()
        if now != last:
            last, since = now, time.monotonic()
    return last


def wait_until(condition, seconds=30, what="condition", every=0.01):
    """Polls a fact that another process makes true. For states without an event to wait on; fails loudly."""
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, f"{what} did not come true in {seconds} s"
        time.sleep(every)
