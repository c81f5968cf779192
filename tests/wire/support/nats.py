"""Real nats-server processes with JetStream, and a client that speaks just enough of the protocol to publish."""
import contextlib
import json
import pathlib
import shutil
import socket
import ssl
import subprocess
import tempfile
import time

from . import client

SERVER = shutil.which("nats-server") or "/usr/sbin/nats-server"


def free_port():
    with contextlib.closing(socket.create_server(("127.0.0.1", 0))) as listener:
        return listener.getsockname()[1]


class NatsServer:
    """One server; `more` are further lines of its configuration. It keeps its port and its store over restarts."""

    def __init__(self, more="", name="nats", port=None):
        self.folder = pathlib.Path(tempfile.mkdtemp(prefix="segue-nats-"))
        self.port = port or free_port()
        self.name = name
        self.more = more
        self.process = None
        self.start()

    @property
    def url(self):
        return f"nats://127.0.0.1:{self.port}"

    def start(self):
        config = self.folder / "nats.conf"
        config.write_text(
            f'server_name: {self.name}\nlisten: "127.0.0.1:{self.port}"\n'
            f'jetstream {{ store_dir: "{self.folder}", max_mem: 64MB, max_file: 256MB }}\n{self.more}\n'
        )
        with open(self.folder / "log", "ab") as log:
            self.process = subprocess.Popen([SERVER, "-c", config], stdin=subprocess.DEVNULL, stdout=log, stderr=log)
        client.wait_until(self._accepts, seconds=30, what=f"nats-server {self.name}")

    def _accepts(self):
        assert self.process.poll() is None, (self.folder / "log").read_text()
        try:
            socket.create_connection(("127.0.0.1", self.port), timeout=5).close()
            return True
        except ConnectionRefusedError:
            return False

    def kill(self):
        self.process.kill()
        self.process.wait(30)

    def connect(self, **options):
        return NatsClient(self.port, **options)

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.kill()
        shutil.rmtree(self.folder, ignore_errors=True)


class NatsClient:
    """`context`: an SSL context where the server wants TLS; `options`: further members of CONNECT."""

    def __init__(self, port, context=None, **options):
        self.socket = socket.create_connection(("127.0.0.1", port), timeout=20)
        self.received = b""
        self.requests = 0
        assert self._line().startswith(b"INFO ")
        if context is not None:
            self.socket = context.wrap_socket(self.socket, server_hostname="localhost")
        self.inbox = f"_INBOX.{id(self)}.{time.monotonic_ns()}"
        self.send(f"CONNECT {json.dumps({'verbose': False, 'headers': True, **options})}\r\n")
        self.send(f"SUB {self.inbox}.* 1\r\nPING\r\n")
        while self._line() != b"PONG":
            pass
        self.socket.settimeout(3)  # a cluster without a leader does not answer: ask again

    def send(self, text):
        self.socket.sendall(text.encode() if isinstance(text, str) else text)

    def _receive(self):
        data = self.socket.recv(65536)
        assert data, "the server hung up"
        self.received += data

    def _line(self):
        while b"\r\n" not in self.received:
            self._receive()
        line, _, self.received = self.received.partition(b"\r\n")
        assert not line.startswith(b"-ERR"), line
        if line == b"PING":
            self.send("PONG\r\n")
        return line

    def _message(self):
        """(subject, size of the headers, bytes)"""
        while not (line := self._line()).startswith((b"MSG ", b"HMSG ")):
            pass
        words = line.split()
        size = int(words[-1])
        while len(self.received) < size + 2:
            self._receive()
        body, self.received = self.received[:size], self.received[size + 2 :]
        return words[1].decode(), int(words[-2]) if words[0] == b"HMSG" else 0, body

    def request(self, subject, payload=b""):
        """The body of the answer, None where nobody answers."""
        payload = payload.encode() if isinstance(payload, str) else payload
        self.requests += 1
        inbox = f"{self.inbox}.{self.requests}"
        self.send(f"PUB {subject} {inbox} {len(payload)}\r\n".encode() + payload + b"\r\n")
        try:
            while True:
                to, headers, body = self._message()
                if to == inbox:  # not a late answer to an earlier one
                    return None if body.startswith(b"NATS/1.0 503") else json.loads(body[headers:])
        except TimeoutError:
            return None

    def publish(self, subject, payload, tries=100):
        """Kept by the stream once it returns; its sequence. Tries again while a cluster elects."""
        for _ in range(tries):
            answer = self.request(subject, payload)
            if answer is not None and "error" not in answer:
                return answer["seq"]
            time.sleep(0.1)
        raise AssertionError(f"{subject} was not stored: {answer}")

    def add_stream(self, name, *subjects, replicas=1, tries=100):
        config = {"name": name, "subjects": subjects, "storage": "file", "num_replicas": replicas}
        for _ in range(tries):
            answer = self.request(f"$JS.API.STREAM.CREATE.{name}", json.dumps(config))
            if answer is not None and "error" not in answer:
                return
            time.sleep(0.1)
        raise AssertionError(f"no stream: {answer}")

    def add_consumer(self, stream, name, subject, ack_seconds, tries=100):
        """As a node would make it, but what is not acknowledged comes again sooner."""
        config = {
            "durable_name": name,
            "filter_subject": subject,
            "ack_policy": "explicit",
            "deliver_policy": "all",
            "ack_wait": ack_seconds * 1_000_000_000,
        }
        request = json.dumps({"stream_name": stream, "config": config})
        for _ in range(tries):
            answer = self.request(f"$JS.API.CONSUMER.DURABLE.CREATE.{stream}.{name}", request)
            if answer is not None and "error" not in answer:
                return
            time.sleep(0.1)
        raise AssertionError(f"no consumer: {answer}")

    def consumer(self, stream, name):
        """What the server knows of a consumer, {} where there is none."""
        answer = self.request(f"$JS.API.CONSUMER.INFO.{stream}.{name}")
        return {} if answer is None or "error" in answer else answer

    def is_settled(self, stream, name):
        """Everything was delivered, and nothing waits to be acknowledged."""
        facts = self.consumer(stream, name)
        return facts.get("num_pending") == 0 and facts.get("num_ack_pending") == 0

    def close(self):
        self.socket.close()

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.close()


@contextlib.contextmanager
def cluster(size=3):
    """Servers of one JetStream cluster; some may be dead when it ends."""
    routes = [free_port() for _ in range(size)]
    all_routes = ", ".join(f'"nats://127.0.0.1:{port}"' for port in routes)
    with contextlib.ExitStack() as stack:
        servers = []
        for i, port in enumerate(routes):
            more = f'cluster {{ name: test, listen: "127.0.0.1:{port}", routes: [{all_routes}] }}'
            servers.append(stack.enter_context(NatsServer(more, name=f"n{i}")))
        yield servers


def tls_context(authority, chain=None, key=None):
    context = ssl.create_default_context(cafile=str(authority.ca))
    if chain is not None:
        context.load_cert_chain(chain, key)
    return context
