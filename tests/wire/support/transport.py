"""What the suite's requests go over: SEGUE_WIRE=h1 (the default), tls or h2. Every test runs over all unchanged: the
node gets a certificate and `tls = true`, and a connection to a public listener shakes hands first, for HTTP/2 too
(support/http2.py)."""
import atexit
import functools
import os
import pathlib
import shutil
import socket
import ssl
import subprocess
import tempfile

WIRE = os.environ.get("SEGUE_WIRE", "h1")
assert WIRE in ("h1", "tls", "h2"), f"SEGUE_WIRE={WIRE}"
TLS_ADDRESSES = set()  # public listeners of nodes under test
NAMES = ("DNS:localhost", "DNS:other.example", "DNS:new.example", "IP:127.0.0.1", "IP:::1")


class Authority:
    """A certificate authority that lives as long as the test run."""

    def __init__(self):
        self.folder = pathlib.Path(tempfile.mkdtemp(prefix="segue-ca-"))
        atexit.register(shutil.rmtree, self.folder, ignore_errors=True)
        self.ca = self.folder / "ca.pem"
        self.count = 0
        arguments = ["-x509", "-subj", "/CN=Segue test CA", "-days", "2", "-out", self.ca]
        self._openssl("req", *self._new_key("ca", "ec"), *arguments)

    def _openssl(self, *arguments):
        subprocess.run(["openssl", *map(str, arguments)], check=True, capture_output=True)

    def _new_key(self, name, kind):
        options = ["-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256"] if kind == "ec" else ["-newkey", "rsa:2048"]
        return [*options, "-nodes", "-keyout", self.folder / f"{name}.key"]

    def issue(self, names=NAMES, kind="ec", days=2):
        """(chain, key) of a new certificate for names such as "DNS:a.example"; expired where days is negative."""
        self.count += 1
        stem = self.folder / f"{self.count}"
        request, extensions = stem.with_suffix(".csr"), stem.with_suffix(".ext")
        self._openssl("req", "-new", *self._new_key(stem.name, kind), "-subj", "/CN=node", "-out", request)
        extensions.write_text(f"subjectAltName={','.join(names)}\n")
        chain, key = stem.with_suffix(".pem"), stem.with_suffix(".key")
        signed_by = ["-CA", self.ca, "-CAkey", self.folder / "ca.key", "-set_serial", str(1000 + self.count)]
        self._openssl("x509", "-req", "-in", request, *signed_by, "-extfile", extensions, "-days", days, "-out", chain)
        key.chmod(0o600)
        return chain, key


@functools.cache
def authority():
    return Authority()


@functools.cache
def default_certificate():
    return authority().issue()


def certificate_table(*certificates):
    return "".join(f'[[tls.certificate]]\nchain = "{chain}"\nkey = "{key}"\n' for chain, key in certificates)


def client_context(**options):
    context = ssl.create_default_context(cafile=str(authority().ca))
    for name, value in options.items():
        setattr(context, name, value)
    return context


@functools.cache
def _shared_context():
    return client_context()


@functools.cache
def _http2_context():
    context = client_context()
    context.set_alpn_protocols(["h2"])
    return context


def connected(plain):
    """What the suite goes over, over a connected socket."""
    if WIRE != "h2":
        return wrapped(plain)
    from . import http2  # here: Debian's python3-h2 is needed for this alone

    over = wrapped(plain, _http2_context())
    assert over.selected_alpn_protocol() == "h2"
    return http2.Http2Socket(over)


def wrapped(plain, context=None, name="localhost", session=None):
    """A TLS connection over a connected socket."""
    return (context or _shared_context()).wrap_socket(plain, server_hostname=name, session=session)


def shut_writing(over):
    """Ends our side without a close_notify, as a player that goes away does; reading goes on."""
    socket.socket.shutdown(getattr(over, "over", over), socket.SHUT_WR)
