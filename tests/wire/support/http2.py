"""An HTTP/2 connection that looks like a socket with HTTP/1.1 on it: requests written to it become streams, responses
are read from it in the order of the requests. So every test of the suite runs over HTTP/2 (SEGUE_WIRE=h2)."""
import re

import h2.config
import h2.connection
import h2.errors
import h2.events
import h2.exceptions
import h2.settings

STREAM_WINDOW = 256 * 1024
CONNECTION_WINDOW = 64 * 1024 * 1024
GOAWAY = 7
CONNECTION_FIELDS = {"connection", "keep-alive", "te", "transfer-encoding", "upgrade", "proxy-connection"}


class NotHttp2(Exception):
    """The bytes cannot be said in HTTP/2: a test of HTTP/1.1's own words."""


class Exchange:
    """One stream: what has come of its response, as bytes of HTTP/1.1."""

    def __init__(self, number):
        self.number = number
        self.ready = bytearray()  # for recv()
        self.unacknowledged = 0  # body bytes in it; the window opens when the test has read them
        self.chunked = False
        self.over = False
        self.broken = False


class Http2Socket:
    """Takes a connected TLS socket that negotiated h2."""

    def __init__(self, over):
        self.over = over
        config = h2.config.H2Configuration(client_side=True, header_encoding="latin-1", validate_outbound_headers=False)
        self.connection = h2.connection.H2Connection(config)
        self.connection.initiate_connection()
        self.connection.update_settings({h2.settings.SettingCodes.INITIAL_WINDOW_SIZE: STREAM_WINDOW})
        self.connection.increment_flow_control_window(CONNECTION_WINDOW)
        self.exchanges = []  # in the order of the requests; the first one is being read
        self.by_number = {}
        self.unparsed = b""
        self.unframed = b""
        self.body_left = 0  # of the latest request
        self.ended = False
        self.flush()

    def __getattr__(self, name):
        return getattr(self.over, name)

    def flush(self):
        data = self.connection.data_to_send()
        if data:
            self.over.sendall(data)

    # --- requests ---

    def sendall(self, data):
        self.unparsed += data
        while self.unparsed:
            if self.body_left:
                self._send_body()
                continue
            head, end, rest = self.unparsed.partition(b"\r\n\r\n")
            if not end:
                break
            fields, self.body_left = self._fields_of(head)
            self.unparsed = rest
            number = self.connection.get_next_available_stream_id()
            try:
                self.connection.send_headers(number, fields, end_stream=not self.body_left)
            except h2.exceptions.ProtocolError as error:
                raise NotHttp2(str(error)) from error
            exchange = Exchange(number)
            self.exchanges.append(exchange)
            self.by_number[number] = exchange
        self.flush()
        if self.unparsed and not re.match(rb"[A-Z]+ \S+ HTTP/1\.1\r\n", self.unparsed):
            raise NotHttp2("no head")

    def _send_body(self):
        """Some of the body of the latest request; where the node has ended that, nobody wants the rest."""
        exchange = self.exchanges[-1]
        piece = self.unparsed[: min(self.body_left, 16384)]
        if not exchange.over:
            piece = piece[: self.connection.local_flow_control_window(exchange.number)]
            if not piece:
                self.flush()
                self._receive()
                return
            self.connection.send_data(exchange.number, piece, end_stream=len(piece) == self.body_left)
        self.body_left -= len(piece)
        self.unparsed = self.unparsed[len(piece) :]

    @staticmethod
    def _fields_of(head):
        lines = head.decode("latin-1").split("\r\n")
        match = re.fullmatch(r"([!#$%&'*+\-.^_`|~0-9A-Za-z]+) ((?:/|\*$)\S*) HTTP/1\.1", lines[0])
        if not match:
            raise NotHttp2(lines[0])
        fields, host, length = [], None, None
        for line in lines[1:]:
            found = re.fullmatch(r"([!#$%&'*+\-.^_`|~0-9A-Za-z]+):[ \t]*(.*?)[ \t]*", line)
            if not found or re.search(r"[\x00-\x08\x0a-\x1f\x7f]", found[2]):
                raise NotHttp2(line)
            name = found[1].lower()
            if name == "host":
                if host is not None:
                    raise NotHttp2("two hosts")
                host = found[2]
            elif name in CONNECTION_FIELDS:
                raise NotHttp2(line)
            else:
                if name == "content-length":
                    if length is not None or not re.fullmatch(r"\d{1,9}", found[2]):
                        raise NotHttp2(line)
                    length = int(found[2])
                fields.append((name, found[2]))
        if host is None:
            raise NotHttp2("no host")
        pseudo = [(":method", match[1]), (":scheme", "https"), (":authority", host), (":path", match[2])]
        return [(name, value.encode("latin-1")) for name, value in pseudo + fields], length or 0

    # --- responses ---

    def recv(self, size, *_):
        while True:
            while self.exchanges:
                exchange = self.exchanges[0]
                if exchange.ready:
                    data = bytes(exchange.ready[:size])
                    del exchange.ready[:size]
                    self._open_window(exchange, len(data))
                    return data
                if exchange.broken:
                    self.ended = True
                if not exchange.over or exchange.broken:
                    break
                self.exchanges.pop(0)
                del self.by_number[exchange.number]
            if self.ended:
                return b""
            self._receive()

    def _receive(self):
        data = self.over.recv(1 << 18)
        if not data:
            self.ended = True
            return
        data = self._without_goaway(data)
        try:
            events = self.connection.receive_data(data)
        except h2.exceptions.ProtocolError as error:
            raise AssertionError(f"the node broke HTTP/2: {error!r}") from error
        for event in events:
            self._take(event)
        self.flush()

    def _without_goaway(self, data):
        """The library would take nothing more after a GOAWAY; what is under way still comes (RFC 9113 §6.8)."""
        self.unframed += data
        whole = b""
        while len(self.unframed) >= 9:
            end = 9 + int.from_bytes(self.unframed[:3], "big")
            if len(self.unframed) < end:
                break
            frame, self.unframed = self.unframed[:end], self.unframed[end:]
            if frame[3] != GOAWAY:
                whole += frame
            elif frame[13:17] != b"\0\0\0\0":
                self.ended = True
        return whole

    def _take(self, event):
        exchange = self.by_number.get(getattr(event, "stream_id", None))
        if exchange is None:
            return
        if isinstance(event, (h2.events.ResponseReceived, h2.events.InformationalResponseReceived)):
            self._take_head(exchange, event)
        elif isinstance(event, h2.events.DataReceived):
            exchange.unacknowledged += event.flow_controlled_length
            if exchange.chunked and event.data:
                exchange.ready += b"%x\r\n%b\r\n" % (len(event.data), event.data)
            else:
                exchange.ready += event.data
            self._open_window(exchange, 0)
        elif isinstance(event, h2.events.StreamEnded):
            if exchange.chunked:
                exchange.ready += b"0\r\n\r\n"
            exchange.over = True
        elif isinstance(event, h2.events.StreamReset) and not exchange.over:
            exchange.over = exchange.broken = True

    @staticmethod
    def _take_head(exchange, event):
        fields = [(name, value) for name, value in event.headers if not name.startswith(":")]
        status = dict(event.headers)[":status"]
        names = [name for name, _ in fields]
        assert all(name == name.lower() for name in names), fields
        assert not CONNECTION_FIELDS & set(names), fields
        exchange.ready += f"HTTP/1.1 {status} \r\n".encode()
        final = isinstance(event, h2.events.ResponseReceived)
        exchange.chunked = final and "content-length" not in names and status not in ("204", "304")
        if exchange.chunked:
            fields.append(("transfer-encoding", "chunked"))
        exchange.ready += "".join(f"{name}: {value}\r\n" for name, value in fields).encode("latin-1") + b"\r\n"

    def _open_window(self, exchange, read):
        """Only for what the test has read: one that reads nothing is a client that stalls."""
        due = max(0, exchange.unacknowledged - len(exchange.ready))
        if due and (read or due >= STREAM_WINDOW // 4):
            exchange.unacknowledged -= due
            try:
                self.connection.acknowledge_received_data(due, exchange.number)
            except (h2.exceptions.StreamClosedError, h2.exceptions.NoSuchStreamError):
                pass
            self.flush()
