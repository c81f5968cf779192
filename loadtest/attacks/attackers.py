#!/usr/bin/python3
"""loadtest/attacks/attackers.py - thousands of connections whose harm is that they are slow.

    attackers.py KIND PORT COUNT [--track N]

KIND is one of
  silence    connects and says nothing
  drip       a request's head, one byte a second, without end
  slow_read  asks for a track of its own and reads 256 bytes every other second
  handshake  half a ClientHello, and then nothing
  h2_window  asks for a track of its own over HTTP/2 with windows of 0, and never opens one

Keeps COUNT connections: in the place of one that is cut comes another, each place taken at most every ten seconds, the
first ones a thousand a second (who asks for a track: as fast as they are answered), so that it is no flood. Prints one
line of JSON a second: how many stand, were opened, were cut, could not connect or were refused, and of heads that were
cut the longest time from their first byte. Ends when its standard input does. Needs nothing of Segue's."""
import argparse
import errno
import heapq
import json
import select
import socket
import ssl
import struct
import sys
import time

STEPS = 20  # of a second; each connection has its turn in one of them
SOURCES = 4  # 127.0.0.2 and on: one address has only so many ports
AGAIN_SECONDS = 10
FIRST_A_SECOND = 1000
HEAD = b"GET /t/0 HTTP/1.1\r\nHost: localhost\r\nX-Slow: "
CLOSED = select.EPOLLRDHUP | select.EPOLLHUP | select.EPOLLERR


def client_context():
    context = ssl.create_default_context()
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    return context


def client_hello():
    """The first flight of a handshake, as bytes."""
    incoming, outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
    client = client_context().wrap_bio(incoming, outgoing, server_hostname="localhost")
    try:
        client.do_handshake()
    except ssl.SSLWantReadError:
        pass
    return outgoing.read()


def frame(kind, flags, stream, payload):
    return struct.pack(">I", len(payload))[1:] + struct.pack(">BBI", kind, flags, stream) + payload


def h2_request(path):
    """Preface, SETTINGS with an initial window of 0, and a GET (RFC 9113 §3.4, §6.5.2; fields not indexed)."""
    fields = b"\x82\x87"  # GET, https
    for index, value in ((4, path), (1, b"localhost")):
        fields += bytes([index, len(value)]) + value
    settings = frame(4, 0, 0, struct.pack(">HI", 4, 0))
    return b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n" + settings + frame(1, 5, 1, fields)


class Slow:
    """One connection: what it sends when it is there, and once a second from then on."""

    events = select.EPOLLIN | CLOSED
    opening_max = 256  # connects and handshakes under way

    def __init__(self, attack, number):
        self.attack, self.number = attack, number
        self.came, self.begun = time.monotonic(), None
        self.socket = socket.socket()
        self.socket.setblocking(False)
        self.prepare()
        self.socket.bind((f"127.0.0.{2 + number % SOURCES}", 0))
        error = self.socket.connect_ex(("127.0.0.1", attack.port))
        if error not in (0, errno.EINPROGRESS):
            raise OSError(error, "connect")

    def prepare(self):
        pass

    def stand(self):
        """It is connected. None once it has said its first words; else what it waits for before it is asked again."""

    def turn(self):
        pass

    def receive(self):
        """Something came: False where that was the end."""
        return bool(self.socket.recv(4096))


class Silence(Slow):
    pass


class Drip(Slow):
    def stand(self):
        self.socket.send(HEAD)
        self.begun = time.monotonic()

    def turn(self):
        self.socket.send(b"x")


class SlowRead(Slow):
    """They come as fast as they are answered: how much an origin can give at once is another limit."""

    events = CLOSED
    opening_max = 64
    turns, asked = 0, False

    def prepare(self):
        self.socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)

    def stand(self):
        if not self.asked:
            target = f"/t/{self.attack.first_track + self.number}".encode()
            self.socket.send(b"GET " + target + b" HTTP/1.1\r\nHost: localhost\r\n\r\n")
            self.asked = True
            return select.EPOLLIN
        if self.socket.recv(12, socket.MSG_PEEK) != b"HTTP/1.1 200":
            raise OSError("refused")
        return None

    def turn(self):
        self.turns += 1
        if self.turns % 2 == 0:
            self.socket.recv(256)


class Handshake(Slow):
    hello = client_hello()

    def stand(self):
        self.socket.send(self.hello[: len(self.hello) // 2])


class H2Window(Slow):
    context = client_context()
    context.set_alpn_protocols(["h2"])
    opening_max = 64
    shaking = False

    def stand(self):
        if not self.shaking:
            self.socket = self.context.wrap_socket(
                self.socket, server_hostname="localhost", do_handshake_on_connect=False
            )
            self.shaking = True
        try:
            self.socket.do_handshake()
        except ssl.SSLWantReadError:
            return select.EPOLLIN
        except ssl.SSLWantWriteError:
            return select.EPOLLOUT
        self.socket.send(h2_request(f"/t/{self.attack.first_track + self.number}".encode()))
        return None

    def receive(self):
        try:
            return bool(self.socket.recv(4096))
        except ssl.SSLWantReadError:
            return True


KINDS = {"silence": Silence, "drip": Drip, "slow_read": SlowRead, "handshake": Handshake, "h2_window": H2Window}


class Attack:
    def __init__(self, options):
        self.kind, self.port, self.first_track = KINDS[options.kind], options.port, options.track
        self.poll = select.epoll()
        self.poll.register(sys.stdin, select.EPOLLIN | select.EPOLLHUP)
        self.opening, self.standing = {}, {}  # by descriptor
        self.by_step = [set() for _ in range(STEPS)]  # those that stand
        now = time.monotonic()
        self.to_come = [(now + number / FIRST_A_SECOND, number) for number in range(options.count)]
        self.counts = {"opened": 0, "cut": 0, "failed": 0, "longest_head": 0.0}

    def open_more(self, now):
        while self.to_come and self.to_come[0][0] <= now and len(self.opening) < self.kind.opening_max:
            _, number = heapq.heappop(self.to_come)
            try:
                one = self.kind(self, number)
            except OSError:
                self.counts["failed"] += 1
                heapq.heappush(self.to_come, (now + AGAIN_SECONDS, number))
                continue
            self.opening[one.socket.fileno()] = one
            self.poll.register(one.socket, select.EPOLLOUT | CLOSED)

    def end(self, fd, one, counter):
        self.poll.unregister(fd)
        one.socket.close()
        self.counts[counter] += 1
        heapq.heappush(self.to_come, (one.came + AGAIN_SECONDS, one.number))

    def go_on_opening(self, fd):
        one = self.opening[fd]
        try:
            error = one.socket.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR)
            if error:
                raise OSError(error, "connect")
            waits_for = one.stand()
        except OSError:
            del self.opening[fd]
            self.end(fd, one, "failed")
            return
        if waits_for:
            self.poll.modify(fd, waits_for | CLOSED)
            return
        del self.opening[fd]
        self.poll.modify(fd, one.events)
        self.standing[fd] = one
        self.by_step[one.number % STEPS].add(one)
        self.counts["opened"] += 1

    def on_event(self, fd, what, now):
        one = self.standing[fd]
        try:
            gone = not one.receive() if what & select.EPOLLIN else bool(what & CLOSED)
        except OSError:
            gone = True
        if not gone:
            return
        if one.begun:
            self.counts["longest_head"] = max(self.counts["longest_head"], now - one.begun)
        del self.standing[fd]
        self.by_step[one.number % STEPS].remove(one)
        self.end(fd, one, "cut")

    def take_turns(self, step):
        for one in self.by_step[step]:
            try:
                one.turn()
            except OSError:
                pass  # nothing there, or it has been cut, as its event will say

    def run(self):
        step = 0
        next_step = time.monotonic()
        while True:
            now = time.monotonic()
            self.open_more(now)
            for fd, what in self.poll.poll(max(0.0, min(next_step - now, 0.01)), 4096):
                if fd == sys.stdin.fileno():
                    return
                if fd in self.opening:
                    self.go_on_opening(fd)
                elif fd in self.standing:
                    self.on_event(fd, what, time.monotonic())
            if now < next_step:
                continue
            next_step += 1 / STEPS
            step = (step + 1) % STEPS
            self.take_turns(step)
            if step == 0:
                print(json.dumps({"standing": len(self.standing), **self.counts}), flush=True)


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("kind", choices=KINDS)
    parser.add_argument("port", type=int)
    parser.add_argument("count", type=int)
    parser.add_argument("--track", type=int, default=1000, help="the first of the tracks that are asked for")
    Attack(parser.parse_args()).run()


if __name__ == "__main__":
    main()
