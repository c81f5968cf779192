"""A real Segue process under test: started with a configuration, stopped by SIGTERM, killed by SIGKILL."""
import contextlib
import json
import os
import pathlib
import re
import signal
import subprocess
import tempfile
import threading
import time

from . import client, transport

ROOT = pathlib.Path(__file__).resolve().parents[3]
BINARY = pathlib.Path(os.environ.get("SEGUE_BINARY", ROOT / "build/dev/segue"))
START_SECONDS = 30


class StartFailed(Exception):
    """The process ended before it was ready; `code` and `log` say why."""

    def __init__(self, code, log):
        super().__init__(f"segue ended with {code}:\n{log}")
        self.code = code
        self.log = log


def handing_over(descriptors):
    """A command to put in front: it moves the descriptors to 3, 4, ... and says whom they are for."""
    # By way of high numbers: a descriptor may stand where another one is to go.
    moves = [f"exec {100 + i}<&{fd}" for i, fd in enumerate(descriptors)]
    moves += [f"exec {3 + i}<&{100 + i} {100 + i}<&-" for i in range(len(descriptors))]
    script = "; ".join([*moves, f"export LISTEN_PID=$$ LISTEN_FDS={len(descriptors)}", 'exec "$@"'])
    return ["bash", "-c", script, "_"]


class Node:
    """`config` is the text of a segue.toml without listen and admin, which are added; or give `flags` instead.

    `tls`: lines that follow `tls = true` in a listener, or False; the default is what SEGUE_WIRE says. `listener`:
    further lines of it. `descriptors`
    are handed over as a service manager does (sd_listen_fds(3)): as 3, 4, ... with LISTEN_PID."""

    def __init__(
        self,
        config="",
        flags=(),
        folder=None,
        listen=("127.0.0.1:0",),
        environment=None,
        descriptors=(),
        tls=None,
        listener="",
    ):
        self.own_folder = None if folder else tempfile.TemporaryDirectory(prefix="segue-wire-")
        self.folder = pathlib.Path(folder or self.own_folder.name)
        self.admin_socket = str(self.folder / "admin.sock")
        addresses = ", ".join(f'"{address}"' for address in listen)
        if tls is None and transport.WIRE in ("tls", "h2"):
            tls = transport.certificate_table(transport.default_certificate())
        self.is_tls = tls not in (None, False)
        text = f'{config}\n[admin]\nlisten = "unix:{self.admin_socket}"\n[[listen]]\naddr = [{addresses}]\n{listener}\n'
        text += f"tls = true\n{tls}" if self.is_tls else ""
        self.config_path = self.folder / "segue.toml"
        self.config_path.write_text(text)
        self.log_lines = []
        command = [str(BINARY), "serve", "--config", str(self.config_path), *flags]
        if descriptors:
            command = [*handing_over(descriptors), *command]
        self.process = subprocess.Popen(
            command,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            env={**os.environ, **(environment or {})},
            pass_fds=descriptors,
        )
        self.readers = [
            threading.Thread(target=self._read_log, args=(stream,), daemon=True)
            for stream in (self.process.stderr, self.process.stdout)
        ]
        for reader in self.readers:
            reader.start()
        self.addresses = self._wait_until_listening(len(listen))
        self.address = self.addresses[0]
        if self.is_tls:
            transport.TLS_ADDRESSES.update(self.addresses)

    def _read_log(self, stream):
        for line in stream:
            self.log_lines.append(line.decode("utf-8", "replace").rstrip("\n"))

    @property
    def log(self):
        return "\n".join(self.log_lines)

    def wait_for_log(self, text, times=1):
        """A line comes over a pipe, so it may be seen later than what it tells of."""
        client.wait_until(lambda: self.log.count(text) >= times, what=f"the log line with {text!r}")

    def _wait_until_listening(self, count):
        deadline = time.monotonic() + START_SECONDS
        while True:
            listening = re.findall(r"\blistening address=(\S+)", self.log)
            if len(set(listening)) >= count and re.search(r"\bready\b", self.log):
                return [self._parse(address) for address in dict.fromkeys(listening)]
            if self.process.poll() is not None:
                for reader in self.readers:
                    reader.join(5)
                raise StartFailed(self.process.returncode, self.log)
            assert time.monotonic() < deadline, f"segue is not ready after {START_SECONDS} s:\n{self.log}"
            time.sleep(0.01)

    @staticmethod
    def _parse(address):
        if address.startswith("unix:"):
            return address.removeprefix("unix:")
        host, _, port = address.rpartition(":")
        return (host.strip("[]"), int(port))

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.stop()
        transport.TLS_ADDRESSES.difference_update(self.addresses)
        if self.own_folder:
            self.own_folder.cleanup()

    def stop(self, seconds=30):
        """SIGTERM; returns the exit code, which is 0 after a clean stop."""
        if self.process.poll() is None:
            self.process.send_signal(signal.SIGTERM)
        code = self.process.wait(seconds)
        for reader in self.readers:
            reader.join(5)
        assert code == 0, f"segue ended with {code}:\n{self.log}"
        return code

    def kill(self):
        self.process.kill()
        self.process.wait(30)

    def fetch(self, target, **keywords):
        """One request on a connection of its own.

        After a miss it also waits (in the main thread only, and not for long) until the fill is over: the client has
        its bytes a moment before the slice counts as here, and tests that ask for a hit next would lose that race.
        """
        response = client.fetch(self.address, target, **keywords)
        missed = response.status < 400 and response.all("Cache-Status") and not response.is_hit
        if missed and threading.current_thread() is threading.main_thread():
            self.wait_for_fills()
        return response

    def wait_for_fills(self, seconds=2):
        deadline = time.monotonic() + seconds
        while self.metric("segue_fills_in_flight") > 0 and time.monotonic() < deadline:
            time.sleep(0.005)

    def connect(self, **keywords):
        return client.Connection(self.address, **keywords)

    @contextlib.contextmanager
    def slow_body(self, target, receive_buffer=4096):
        """A connection that reads the head of an answer and then nothing of its own accord; with that head."""
        with self.connect(receive_buffer=receive_buffer) as slow:
            slow.request(target)
            yield slow, slow.read_head()

    def purge(self, **what):
        response = self.admin("/purge", "POST", what)
        assert response.status == 200, response.body
        answer = json.loads(response.body)
        assert answer["purged"] is True
        return answer

    def admin(self, target, method="GET", body=None):
        with client.Connection(self.admin_socket) as connection:
            if body is None:
                connection.request(target, method)
            else:
                data = json.dumps(body).encode()
                connection.send(
                    client.request_bytes(target, method, Content_Length=len(data), Content_Type="application/json")
                    + data
                )
            return connection.read_response()

    def metrics(self):
        """Prometheus text as {"name{label=...}": value}."""
        return metrics_of(self.admin("/metrics"))

    def metric(self, name):
        """The sum over all label sets of one metric."""
        values = [value for key, value in self.metrics().items() if key.split("{")[0] == name]
        assert values, f"no metric {name}"
        return sum(values)


def metrics_of(response):
    lines = response.body.decode().splitlines()
    return {
        name: float(value)
        for name, value in (line.rsplit(" ", 1) for line in lines if line and not line.startswith("#"))
    }


def run_segue(*arguments, check=False, **keywords):
    """One `segue` command that ends by itself."""
    return subprocess.run(
        [str(BINARY), *arguments], capture_output=True, text=True, timeout=60, check=check, **keywords
    )
