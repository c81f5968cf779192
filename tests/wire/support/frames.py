"""An HTTP/2 client that sends exactly the frames it is told and shows every frame that comes (RFC 9113 §4)."""
import dataclasses
import socket
import struct

import hpack

from . import transport

DATA, HEADERS, PRIORITY, RST_STREAM, SETTINGS, PUSH_PROMISE, PING, GOAWAY, WINDOW_UPDATE, CONTINUATION = range(10)
PRIORITY_UPDATE = 0x10
END_STREAM = ACK = 1
END_HEADERS, PADDED, WITH_PRIORITY = 4, 8, 32
NO_ERROR, PROTOCOL_ERROR, INTERNAL_ERROR, FLOW_CONTROL_ERROR = range(4)
STREAM_CLOSED, FRAME_SIZE_ERROR, REFUSED_STREAM, CANCEL, COMPRESSION_ERROR = range(5, 10)
ENHANCE_YOUR_CALM = 11
PREFACE = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"
HEADER_TABLE_SIZE, ENABLE_PUSH, MAX_CONCURRENT_STREAMS, INITIAL_WINDOW_SIZE, MAX_FRAME_SIZE = range(1, 6)
MAX_HEADER_LIST_SIZE = 6
TIMEOUT_SECONDS = 15


@dataclasses.dataclass
class Frame:
    type: int
    flags: int
    stream: int
    payload: bytes
    fields: list = None  # of HEADERS, decoded in the order they came (RFC 7541 §2.2)

    @property
    def ends_stream(self):
        return self.type in (DATA, HEADERS) and bool(self.flags & END_STREAM)


@dataclasses.dataclass
class Answer:
    """What came for one stream until it ended, or the connection did."""

    status: int = 0
    fields: list = dataclasses.field(default_factory=list)
    body: bytes = b""
    reset: int = None  # the code of RST_STREAM
    goaway: int = None  # the code of GOAWAY, where that ended it

    def __getitem__(self, name):
        (value,) = [value for key, value in self.fields if key == name]
        return value


def settings(values):
    return b"".join(struct.pack(">HI", key, value) for key, value in values.items())


class FrameClient:
    """`initial`: settings of ours. With `open` False nothing is sent, not even the preface."""

    def __init__(self, node, initial=None, open=True, receive_buffer=None):
        plain = socket.socket()
        if receive_buffer:
            plain.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, receive_buffer)
        plain.settimeout(TIMEOUT_SECONDS)
        plain.connect(node.address)
        context = transport.client_context()
        context.set_alpn_protocols(["h2"])
        self.socket = transport.wrapped(plain, context)
        assert self.socket.selected_alpn_protocol() == "h2"
        self.encoder, self.decoder = hpack.Encoder(), hpack.Decoder()
        self.received = b""
        self.kept = []  # frames read while something else was waited for
        self.goaway = None
        self.ended = False
        self.next_stream = 1
        if open:
            self.send(PREFACE + self.frame(SETTINGS, 0, 0, settings(initial or {})))

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.socket.close()

    # --- sending ---

    @staticmethod
    def frame(type, flags=0, stream=0, payload=b"", length=None):
        """`length`: what the frame says of itself, where that is not the truth."""
        size = len(payload) if length is None else length
        return struct.pack(">I", size)[1:] + struct.pack(">BBI", type, flags, stream) + payload

    def send(self, data):
        try:
            self.socket.sendall(data)
        except OSError:  # the node has ended it; what it said is still to be read
            self.ended = True

    def send_frame(self, *arguments, **keywords):
        self.send(self.frame(*arguments, **keywords))

    def block(self, path="/t/1", method="GET", authority="localhost", more=(), pseudo=None):
        fields = pseudo or [(":method", method), (":scheme", "https"), (":authority", authority), (":path", path)]
        return self.encoder.encode([*fields, *more], huffman=False)

    def new_stream(self):
        self.next_stream += 2
        return self.next_stream - 2

    def ask(self, path="/t/1", flags=END_HEADERS | END_STREAM, stream=None, **keywords):
        stream = stream or self.new_stream()
        self.send_frame(HEADERS, flags, stream, self.block(path, **keywords))
        return stream

    # --- receiving ---

    def read_frame(self):
        """The next frame; None at the end of the connection."""
        while len(self.received) < 9 or len(self.received) < 9 + self._length():
            try:
                data = self.socket.recv(1 << 16)
            except ConnectionResetError:
                data = b""
            if not data:
                self.ended = True
                return None
            self.received += data
        length = self._length()
        type, flags, stream = struct.unpack(">BBI", self.received[3:9])
        frame = Frame(type, flags, stream, self.received[9 : 9 + length])
        self.received = self.received[9 + length :]
        if type == HEADERS:
            frame.fields = self.decoder.decode(frame.payload, raw=False)
        if type == GOAWAY:
            self.goaway = struct.unpack(">I", frame.payload[4:8])[0]
            self.last_stream = struct.unpack(">I", frame.payload[:4])[0]
        return frame

    def _length(self):
        return int.from_bytes(self.received[:3], "big")

    def read_until(self, wanted):
        """Reads up to the first frame for which `wanted` holds; None if the connection ends before."""
        while True:
            frame = self.read_frame()
            if frame is None or wanted(frame):
                return frame
            self.kept.append(frame)

    def answer(self, stream, windows=True):
        """Everything of one stream; what comes for others meanwhile is kept. `windows`: opens them as bytes come."""
        answer = Answer()
        pending = [frame for frame in self.kept if frame.stream == stream]
        self.kept = [frame for frame in self.kept if frame.stream != stream]
        while True:
            frame = pending.pop(0) if pending else self.read_frame()
            if frame is None or (frame.type == GOAWAY and self.goaway != NO_ERROR):
                answer.goaway = self.goaway
                return answer
            if frame.stream != stream:
                self.kept.append(frame)
                continue
            if frame.type == HEADERS:
                self._take_head(answer, frame)
            elif frame.type == DATA:
                answer.body += frame.payload
                if windows and frame.payload:
                    grow = struct.pack(">I", len(frame.payload))
                    self.send(self.frame(WINDOW_UPDATE, 0, 0, grow) + self.frame(WINDOW_UPDATE, 0, stream, grow))
            elif frame.type == RST_STREAM:
                answer.reset = struct.unpack(">I", frame.payload)[0]
                return answer
            if frame.ends_stream:
                return answer

    @staticmethod
    def _take_head(answer, frame):
        answer.status = int(frame.fields[0][1])
        answer.fields = frame.fields[1:]

    def fetch(self, path="/t/1", **keywords):
        return self.answer(self.ask(path, **keywords))

    def error(self):
        """The code of the GOAWAY that ends the connection; None where it ends without."""
        self.read_until(lambda frame: frame.type == GOAWAY and self.goaway != NO_ERROR)
        return self.goaway

    def is_alive(self):
        """A PING is answered: what was sent before did not end the connection."""
        self.send_frame(PING, 0, 0, b"are you?")
        found = self.read_until(lambda frame: frame.type == PING and frame.flags & ACK and frame.payload == b"are you?")
        return found is not None
