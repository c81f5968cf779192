"""Players that ask one track for random ranges and compare every byte, until standard input is closed; then the counts
as one line of JSON. Runs inside the network of the container.

players.py PORT TRACK COUNT"""
import json
import pathlib
import random
import sys
import threading

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1] / "wire"))
from support.client import Closed, Connection  # noqa: E402

LOST = (Closed, ConnectionResetError, BrokenPipeError)


class Players:
    def __init__(self, port, track, count):
        self.address = ("127.0.0.1", port)
        self.body = pathlib.Path(track).read_bytes()
        self.target = "/" + pathlib.Path(track).name
        self.stopped = threading.Event()
        self.lock = threading.Lock()
        self.done, self.retried, self.wrong = 0, 0, []
        self.threads = [threading.Thread(target=self.play, args=(seed,)) for seed in range(count)]

    def note(self, wrong=None, retried=0):
        with self.lock:
            self.done += wrong is None and not retried
            self.retried += retried
            if wrong is not None:
                self.wrong.append(wrong)

    def play(self, seed):
        chosen = random.Random(seed)
        connection = None
        while not self.stopped.is_set():
            first = chosen.randrange(len(self.body))
            end = min(len(self.body), first + chosen.choice([1, 4096, 65536, 262144]))
            connection = self.ask(connection, first, end)
            if connection and chosen.random() < 0.05:
                connection.close()
                connection = None
        if connection:
            connection.close()

    def ask(self, connection, first, end, may_retry=True):
        """One range; returns the connection if it may be used again."""
        reused = connection is not None
        try:
            connection = connection or Connection(self.address)
            connection.request(self.target, Range=f"bytes={first}-{end - 1}")
            response = connection.read_response()
        except LOST + (ConnectionRefusedError, TimeoutError) as error:
            if connection:
                connection.close()
            # RFC 9112 §9.3.1: a request on a reused connection that was closed before any byte came, once.
            if may_retry and reused and isinstance(error, LOST) and not getattr(error, "partial", b""):
                self.note(retried=1)
                return self.ask(None, first, end, may_retry=False)
            self.note(wrong=f"{first}-{end} reused={reused}: {error!r}")
            return None
        right = response.status == 206 and response.body == self.body[first:end]
        self.note(wrong=None if right else f"{first}-{end}: {response.status}")
        if response.get("Connection") == "close":
            connection.close()
            return None
        return connection

    def run(self):
        for thread in self.threads:
            thread.start()
        for line in sys.stdin:  # each line asks how far we are
            print(json.dumps({"done": self.done, "wrong": self.wrong[:5]}), flush=True)
        self.stopped.set()
        for thread in self.threads:
            thread.join(30)
        print(json.dumps({"done": self.done, "retried": self.retried, "wrong": self.wrong}), flush=True)


if __name__ == "__main__":
    Players(int(sys.argv[1]), sys.argv[2], int(sys.argv[3])).run()
