"""A scripted origin: one behaviour per path, every request recorded. Hostile on purpose where a test asks for it."""
import copy
import email.utils
import hashlib
import re
import socket
import threading
import time
from dataclasses import dataclass, field


def track_bytes(name, length):
    """The true bytes of a track: the same for the same name, everywhere different, cheap to make."""
    block = hashlib.shake_128(name.encode()).digest(4093)  # a prime length: no slice looks like another
    return (block * (length // len(block) + 1))[:length]


@dataclass
class Request:
    method: str
    target: str
    fields: dict  # lower-case name -> value
    at: float
    connection: int
    body: bytes = b""

    @property
    def range(self):
        """(first, last or None) of "bytes=a-b", ("suffix", n), or None."""
        match = re.fullmatch(r"bytes=(\d*)-(\d*)", self.fields.get("range", ""))
        if not match:
            return None
        if not match[1]:
            return ("suffix", int(match[2]))
        return (int(match[1]), int(match[2]) if match[2] else None)


@dataclass
class Track:
    """A well-behaved representation; tests change its attributes to misbehave."""

    body: bytes
    etag: str = '"v1"'
    last_modified: str = "Mon, 01 Jan 2024 00:00:00 GMT"
    content_type: str = "audio/ogg"
    fields: dict = field(default_factory=dict)  # further response fields
    status: int = 200
    delay: float = 0.0  # before the head
    accept_ranges: bool = True  # False: answers 200 to a range
    cut_after: int = -1  # closes after so many body bytes
    cut_times: int = -1  # how often (-1: always)
    stall_after: int = -1  # goes silent after so many body bytes, until the connection ends
    chunked: bool = False
    rate: int = 0  # bytes per second, 0: unlimited
    script: object = None  # callable(handler, request) that does everything itself


class Handler:
    """One connection of a client; scripts write to it what they like."""

    def __init__(self, origin, connection, number):
        self.origin = origin
        self.socket = connection
        self.number = number
        self.buffer = b""

    def send(self, data):
        self.socket.sendall(data if isinstance(data, bytes) else data.encode("latin-1"))

    def read_request(self):
        while b"\r\n\r\n" not in self.buffer:
            data = self.socket.recv(65536)
            if not data:
                return None
            self.buffer += data
        head, _, self.buffer = self.buffer.partition(b"\r\n\r\n")
        lines = head.decode("latin-1").split("\r\n")
        method, target, _ = lines[0].split(" ")
        fields = {}
        for line in lines[1:]:
            name, _, value = line.partition(":")
            assert name.lower() not in fields, f"the node repeated {name}"
            fields[name.lower()] = value.strip()
        length = int(fields.get("content-length", 0))
        while len(self.buffer) < length:
            data = self.socket.recv(65536)
            if not data:
                return None
            self.buffer += data
        body, self.buffer = self.buffer[:length], self.buffer[length:]
        return Request(method, target, fields, time.monotonic(), self.number, body)

    def head(self, status, length=None, track=None, extra=()):
        lines = [f"HTTP/1.1 {status} Scripted", f"Date: {email.utils.formatdate(usegmt=True)}"]
        if track is not None:
            if track.etag:
                lines.append(f"ETag: {track.etag}")
            if track.last_modified:
                lines.append(f"Last-Modified: {track.last_modified}")
            lines.append(f"Content-Type: {track.content_type}")
            lines += [f"{name}: {value}" for name, value in track.fields.items()]
        if length is not None:
            lines.append(f"Content-Length: {length}")
        lines += extra
        self.send("\r\n".join(lines) + "\r\n\r\n")

    def serve_track(self, track, request):
        """True if the connection can go on."""
        if track.delay:
            time.sleep(track.delay)
        if request.fields.get("if-none-match") == track.etag and track.etag and track.status == 200:
            self.head(304, track=track)
            return True
        total = len(track.body)
        status, first, end, extra = track.status, 0, total, []
        asked = request.range if track.accept_ranges and track.status == 200 else None
        if asked is not None and ("if-range" not in request.fields or request.fields["if-range"] == track.etag):
            first = max(0, total - asked[1]) if asked[0] == "suffix" else asked[0]
            end = total if asked[0] == "suffix" or asked[1] is None else min(asked[1] + 1, total)
            if first >= end:
                self.head(416, 0, track, [f"Content-Range: bytes */{total}"])
                return True
            status, extra = 206, [f"Content-Range: bytes {first}-{end - 1}/{total}"]
        body = track.body[first:end]
        if request.method == "HEAD":
            self.head(status, len(body), track, extra)
            return True
        if track.chunked:
            self.head(status, None, track, [*extra, "Transfer-Encoding: chunked"])
        else:
            self.head(status, len(body), track, extra)
        return self.send_body(track, body)

    def send_body(self, track, body):
        cut = track.cut_after if track.cut_times != 0 else -1
        limit = min(
            value
            for value in (
                len(body),
                cut if cut >= 0 else len(body),
                track.stall_after if track.stall_after >= 0 else len(body),
            )
        )
        piece = 16384 if not track.rate else max(1, track.rate // 50)
        for at in range(0, limit, piece):
            data = body[at : min(at + piece, limit)]
            self.send(b"%x\r\n%s\r\n" % (len(data), data) if track.chunked else data)
            with self.origin.lock:
                self.origin.body_bytes += len(data)
            if track.rate:
                time.sleep(len(data) / track.rate)
        if cut >= 0 and limit == cut and limit < len(body):
            track.cut_times -= 1 if track.cut_times > 0 else 0
            return False
        if limit < len(body):  # stalled: silent until the other side gives up
            self.socket.settimeout(60)
            self.socket.recv(1)
            return False
        if track.chunked:
            self.send("0\r\n\r\n")
        return True

    def run(self):
        while (request := self.read_request()) is not None:
            with self.origin.lock:
                self.origin.requests.append(request)
            track = self.origin.tracks.get(request.target)
            if track is None:
                self.head(404, 0)
            elif track.script is not None:
                if not track.script(self, request):
                    return
            elif not self.serve_track(track, request):
                return


class Origin:
    """Listens on loopback at a port of the kernel's choice.

    `with Origin() as origin: origin.tracks["/t/1"] = Track(...)`.
    `port` is given only to come back where another Origin was."""

    def __init__(self, port=0):
        self.tracks = {}
        self.requests = []
        self.body_bytes = 0  # handed to the sockets, which is at least what the node read
        self.lock = threading.Lock()
        self.connections = 0
        self.open_sockets = set()
        self.listener = socket.create_server(("127.0.0.1", port), backlog=512)
        self.port = self.listener.getsockname()[1]
        self.url = f"http://127.0.0.1:{self.port}"
        threading.Thread(target=self._accept, daemon=True).start()

    def _accept(self):
        while True:
            try:
                connection, _ = self.listener.accept()
            except OSError:
                return
            with self.lock:
                self.connections += 1
                self.open_sockets.add(connection)
                number = self.connections
            threading.Thread(target=self._serve, args=(connection, number), daemon=True).start()

    def _serve(self, connection, number):
        try:
            Handler(self, connection, number).run()
        except (OSError, ConnectionError):
            pass  # the node hung up: some tests are about that
        finally:
            with self.lock:
                self.open_sockets.discard(connection)
            connection.close()

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.close()

    def close(self):
        """Connections are refused from here on, and those there are end."""
        try:
            self.listener.shutdown(socket.SHUT_RDWR)  # a close alone would leave accept() waiting and the port open
        except OSError:
            pass
        self.listener.close()
        with self.lock:
            for connection in self.open_sockets:
                try:
                    connection.shutdown(socket.SHUT_RDWR)
                except OSError:
                    pass

    def add(self, target, length=0, **attributes):
        track = Track(body=track_bytes(target, length), **attributes)
        self.tracks[target] = track
        return track

    def copy_of(self, track):
        """The same representation without its script."""
        other = copy.copy(track)
        other.script = None
        return other

    def misbehave(self, target, fault, times=-1):
        """The next `times` requests (-1: all) for `target` meet `fault` (of support.faults); behave() ends it."""
        track = self.tracks[target]
        left = [times]

        def script(handler, request):
            if left[0] == 0:
                return handler.serve_track(track, request)
            left[0] -= 1
            return fault(handler, request, track)

        track.script = script

    def behave(self, target):
        self.tracks[target].script = None

    def requests_for(self, target):
        with self.lock:
            return [request for request in self.requests if request.target == target]

    def forget(self):
        with self.lock:
            self.requests.clear()
            self.body_bytes = 0
