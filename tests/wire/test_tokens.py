"""Signed URLs: who is let in and who is not, in the four forms a site may take. The tokens are made here, by Python's
own HMAC, and some by `segue sign`; the origin tells what it saw."""
import base64
import hashlib
import hmac
import json
import signal
import subprocess
import time
from urllib.parse import quote

import pytest

from support.client import wait_until
from support.node import Node, StartFailed, run_segue
from support.settings import config_for

KEYS = {"k1": bytes(range(32)), "k2": bytes(range(32, 64))}
ALL_FORMS = '["segue", "edgeauth", "expires", "jwt"]'
LATER = int(time.time()) + 3600
BEFORE = int(time.time()) - 3600
TRACK = 300_000


def b64(data):
    return base64.urlsafe_b64encode(data).rstrip(b"=").decode()


def mac(key, text):
    return hmac.new(KEYS.get(key, b"another key, not the site's....."), text.encode(), hashlib.sha256)


def ours(fields, path="", key="k1"):
    text = f"segue1~{fields}" + (f"~path={path}" if path else "")
    return f"{fields}~sig={b64(mac(key, text).digest())}"


def exact(path, exp=LATER, key="k1", more=""):
    return ours(f"kid={key}~exp={exp}{more}", path, key)


def edge_auth(fields, url="", key="k1"):
    return f"{fields}~hmac={mac(key, fields + (f'~url={url}' if url else '')).hexdigest()}"


def expires_pair(path, exp=LATER, key="k1", key_id=""):
    text = f"{path}?expires={exp}" + (f"&keyid={key_id}" if key_id else "")
    return f"expires={exp}" + (f"&keyid={key_id}" if key_id else "") + f"&signature={mac(key, text).hexdigest()}"


def jwt(claims, key="k1", header=None, algorithm="HS256"):
    head = {"alg": algorithm, "typ": "JWT", **(header or {})}
    text = ".".join(b64(json.dumps(part).encode()) for part in (head, claims))
    return f"{text}.{b64(mac(key, text).digest())}"


def uri_hash(uri):
    return "hash:sha-256;" + b64(hashlib.sha256(uri.encode()).digest())


def write_keys(folder, keys=None):
    lines = []
    for name, key in (keys or KEYS).items():
        path = folder / f"{name}.key"
        path.write_text(key.hex() + "\n")
        path.chmod(0o600)
        lines.append(f'{name} = "{path}"')
    return ", ".join(lines)


def site_with(folder, more="", forms=ALL_FORMS):
    return f"{more}\n[site.tokens]\nforms = {forms}\nkeys = {{ {write_keys(folder)} }}\n"


@pytest.fixture(scope="module")
def signed(shared_origin, tmp_path_factory):
    folder = tmp_path_factory.mktemp("keys")
    log = folder / "access.ndjson"
    config = config_for(
        shared_origin.url,
        site=site_with(folder, 'query = "keep"\nforward = ["*"]'),
        more=f'[log]\naccess = "{log}"\nlevel = "debug"',
    )
    with Node(config) as running:
        running.access_log = log
        shared_origin.add("/a/t.ogg", TRACK)
        shared_origin.add("/a/t.ogg?v=1&w=2", TRACK)
        shared_origin.add("/a%2Fb/t.ogg", TRACK)
        yield running


def status(node, target, **fields):
    return node.fetch(target, Range="bytes=0-9", **fields).status


def refused(node, target, **fields):
    response = node.fetch(target, Range="bytes=0-9", **fields)
    assert response["Access-Control-Allow-Origin"] == "*", "players must be able to read the status"
    assert response["Cache-Control"] == "no-store"
    return response.status, response.body.decode().split(": ")[-1].strip()


PATH = "/a/t.ogg"

GOOD = {
    "ours": f"token={exact(PATH)}",
    "ours by the second key": f"token={exact(PATH, key='k2')}",
    "ours for a prefix": f"token={ours(f'kid=k1~exp={LATER}~prefix=/a/')}",
    "ours for a prefix without slash": f"token={ours(f'kid=k1~exp={LATER}~prefix=/a')}",
    "ours for a glob": f"token={ours(f'kid=k1~exp={LATER}~glob=/*/t.ogg')}",
    "ours for a deep glob": f"token={ours(f'kid=k1~exp={LATER}~glob=/**.ogg')}",
    "ours with times and client": f"token={exact(PATH, more=f'~nbf={BEFORE}~ip=127.0.0.1~id=anna')}",
    "ours for a network": f"token={exact(PATH, more='~ip=127.0.0.0/8')}",
    "ours, every character encoded": "token=" + "".join(f"%{ord(c):02x}" for c in exact(PATH)),
    "ours as a form encodes it": "token=" + quote(ours(f"kid=k1~exp={LATER}~prefix=/a/"), safe=""),
    "its name encoded": f"%74oken={exact(PATH)}",
    "beside other parameters": f"v=1&token={exact(PATH)}&w=2",
    "edgeauth": f"token={edge_auth(f'exp={LATER}~acl=/a/*')}",
    "edgeauth by any live key": f"token={edge_auth(f'exp={LATER}~acl=/a/*', key='k2')}",
    "edgeauth, several paths": f"token={edge_auth(f'st={BEFORE}~exp={LATER}~acl=/x/*!/a/?.ogg~id=anna~data=x')}",
    "edgeauth with a client": f"token={edge_auth(f'ip=127.0.0.1~exp={LATER}~acl=/*')}",
    "edgeauth for one URL": f"token={edge_auth(f'exp={LATER}', url=PATH)}",
    "edgeauth, escaped early": f"token={edge_auth(f'exp={LATER}~acl=%2fa%2f%2a')}",
    "edgeauth for one URL, escaped early": f"token={edge_auth(f'exp={LATER}', url='%2fa%2ft.ogg')}",
    "expires": expires_pair(PATH),
    "expires with a key id": expires_pair(PATH, key="k2", key_id="k2"),
    "jwt, hash": "token={jwt-hash}",
    "jwt, regex": f"token={jwt({'exp': LATER, 'cdniuc': 'regex:https?://[^/]*/a/.*'})}",
    "jwt with a key id": f"token={jwt({'exp': LATER, 'cdniuc': 'regex:.*'}, key='k2', header={'kid': 'k2'})}",
    "jwt, all that is understood": "token="
    + jwt({"exp": LATER, "nbf": BEFORE, "cdniv": 1, "cdnistt": 0, "cdnicrit": "cdniuc,exp", "cdniuc": "regex:.*"}),
}


@pytest.mark.parametrize("query", GOOD.values(), ids=GOOD.keys())
def test_a_right_token_lets_in(signed, query):
    if "{jwt-hash}" in query:
        scheme = "https" if signed.is_tls else "http"
        query = query.replace("{jwt-hash}", jwt({"exp": LATER, "cdniuc": uri_hash(f"{scheme}://localhost{PATH}")}))
    assert status(signed, f"{PATH}?{query}") == 206


BAD = {
    "none": ("", 403, "token_missing"),
    "empty": ("token=", 403, "token_malformed"),
    "no token": ("token=abc", 403, "token_malformed"),
    "truncated": (f"token={exact(PATH)[:-1]}", 403, "token_malformed"),
    "cut in the middle": (f"token={exact(PATH)[:30]}", 403, "token_malformed"),
    "longer by one": (f"token={exact(PATH)}A", 403, "token_malformed"),
    "one bit else": (
        f"token={exact(PATH)[:-2]}{'AE'[exact(PATH)[-2] == 'A']}{exact(PATH)[-1]}",
        403,
        "token_signature",
    ),
    "doubled": (f"token={exact(PATH)}&token={exact(PATH)}", 403, "token_doubled"),
    "doubled, one name encoded": (f"token={exact(PATH)}&%74oken=x", 403, "token_doubled"),
    "encoded twice": ("token=" + quote(quote(exact(PATH), safe=""), safe=""), 403, "token_malformed"),
    "another path": (f"token={exact('/a/u.ogg')}", 403, "token_signature"),
    "another prefix": (f"token={ours(f'kid=k1~exp={LATER}~prefix=/b/')}", 403, "token_path"),
    "a prefix within a segment": (f"token={ours(f'kid=k1~exp={LATER}~prefix=/a/t.o')}", 403, "token_path"),
    "a star does not cross a slash": (f"token={ours(f'kid=k1~exp={LATER}~glob=/*.ogg')}", 403, "token_path"),
    "an unknown key": (f"token={exact(PATH, key='k9')}", 403, "token_key"),
    "another key's signature": (f"token={ours(f'kid=k1~exp={LATER}', PATH, 'k2')}", 403, "token_signature"),
    "expired": (f"token={exact(PATH, exp=BEFORE)}", 410, "token_expired"),
    "later's time, earlier's signature": (
        f"token={exact(PATH, exp=BEFORE).replace(str(BEFORE), str(LATER))}",
        403,
        "token_signature",
    ),
    "not yet": (f"token={exact(PATH, more=f'~nbf={LATER}')}", 403, "token_early"),
    "another client": (f"token={exact(PATH, more='~ip=203.0.113.7')}", 403, "token_address"),
    "a field twice": (f"token={ours(f'kid=k1~exp={LATER}~exp={LATER}', PATH)}", 403, "token_malformed"),
    "an unknown field": (f"token={ours(f'kid=k1~exp={LATER}~only=mono', PATH)}", 403, "token_malformed"),
    "a negative time": (f"token={ours('kid=k1~exp=-1', PATH)}", 403, "token_malformed"),
    "a time beyond 64 bits": (f"token={ours('kid=k1~exp=99999999999999999999', PATH)}", 403, "token_malformed"),
    "a control character": (f"token={exact(PATH)}%01", 403, "token_malformed"),
    "too long": ("token=" + "x" * 4097, 403, "token_too_long"),
    "edgeauth, another acl": (f"token={edge_auth(f'exp={LATER}~acl=/b/*')}", 403, "token_path"),
    "edgeauth, expired": (f"token={edge_auth(f'exp={BEFORE}~acl=/a/*')}", 410, "token_expired"),
    "edgeauth, not yet": (f"token={edge_auth(f'st={LATER}~exp={LATER + 9}~acl=/a/*')}", 403, "token_early"),
    "edgeauth, another key": (f"token={edge_auth(f'exp={LATER}~acl=/a/*', key='k9')}", 403, "token_signature"),
    "edgeauth, acl widened": (
        f"token={edge_auth(f'exp={LATER}~acl=/b/*').replace('/b/', '/')}",
        403,
        "token_signature",
    ),
    "edgeauth, one URL for another": (f"token={edge_auth(f'exp={LATER}', url='/a/u.ogg')}", 403, "token_signature"),
    "edgeauth, md5": (f"token=exp={LATER}~acl=/a/*~hmac={'0' * 32}", 403, "token_malformed"),
    "expires, over": (expires_pair(PATH, exp=BEFORE), 410, "token_expired"),
    "expires, another path": (expires_pair("/a/u.ogg"), 403, "token_signature"),
    "expires without signature": (f"expires={LATER}", 403, "token_malformed"),
    "signature without expires": (f"signature={'0' * 64}", 403, "token_malformed"),
    "expires twice": (f"{expires_pair(PATH)}&expires={LATER + 1}", 403, "token_doubled"),
    "expires by an unknown key": (expires_pair(PATH, key_id="k9"), 403, "token_key"),
    "jwt, another URI": (f"token={jwt({'exp': LATER, 'cdniuc': uri_hash('http://localhost/u')})}", 403, "token_path"),
    "jwt, a regex of a part": (f"token={jwt({'exp': LATER, 'cdniuc': 'regex:/a/'})}", 403, "token_path"),
    "jwt, expired": (f"token={jwt({'exp': BEFORE, 'cdniuc': 'regex:.*'})}", 410, "token_expired"),
    "jwt, not yet": (f"token={jwt({'exp': LATER, 'nbf': LATER, 'cdniuc': 'regex:.*'})}", 403, "token_early"),
    "jwt, another key": (f"token={jwt({'exp': LATER, 'cdniuc': 'regex:.*'}, key='k9')}", 403, "token_signature"),
    "jwt, an unknown key id": (f"token={jwt({'cdniuc': 'regex:.*'}, header={'kid': 'k9'})}", 403, "token_key"),
    "jwt without a signature": (
        f"token={jwt({'cdniuc': 'regex:.*'}, algorithm='none').rsplit('.', 1)[0]}.",
        403,
        "token_key",
    ),
    "jwt, alg none with a signature": (f"token={jwt({'cdniuc': 'regex:.*'}, algorithm='none')}", 403, None),
    "jwt, another algorithm's name": (f"token={jwt({'cdniuc': 'regex:.*'}, algorithm='RS256')}", 403, "token_key"),
    "jwt without container": (f"token={jwt({'exp': LATER})}", 403, "token_malformed"),
    "jwt, encrypted client": (
        f"token={jwt({'exp': LATER, 'cdniip': 'eyJ.x.y.z.w', 'cdniuc': 'regex:.*'})}",
        403,
        "token_unsupported",
    ),
    "jwt, encrypted as a whole": ("token=eyJhbGciOiJkaXIifQ.a.b.c.d", 403, "token_malformed"),
    "jwt, renewal": (f"token={jwt({'cdnistt': 1, 'cdniets': 30, 'cdniuc': 'regex:.*'})}", 403, "token_unsupported"),
    "jwt, a nonce": (f"token={jwt({'jti': 'x', 'cdniuc': 'regex:.*'})}", 403, "token_unsupported"),
    "jwt, another version": (f"token={jwt({'cdniv': 2, 'cdniuc': 'regex:.*'})}", 403, "token_unsupported"),
    "jwt, critical and unknown": (f"token={jwt({'cdnicrit': 'x', 'cdniuc': 'regex:.*'})}", 403, "token_unsupported"),
    "jwt, a critical field": (
        f"token={jwt({'cdniuc': 'regex:.*'}, header={'crit': ['b64'], 'b64': False})}",
        403,
        "token_unsupported",
    ),
    "jwt, another issuer": (f"token={jwt({'iss': 'x', 'cdniuc': 'regex:.*'})}", 403, "token_signature"),
    "jwt, a bad regex": (f"token={jwt({'cdniuc': 'regex:('})}", 403, "token_unsupported"),
    "jwt, a regex that never ends": (
        f"token={jwt({'cdniuc': 'regex:(.*)+' + chr(92) + '1'})}",
        403,
        "token_unsupported",
    ),
    "jwt, a time that is a text": (f"token={jwt({'exp': 'soon', 'cdniuc': 'regex:.*'})}", 403, "token_malformed"),
    "jwt, claims that are no object": (f"token={jwt([1, 2])}", 403, "token_malformed"),
}


@pytest.mark.parametrize("query,expected,reason", BAD.values(), ids=BAD.keys())
def test_a_bad_token_is_told_why_and_reaches_no_origin(signed, shared_origin, query, expected, reason):
    shared_origin.add("/a/fresh.ogg", TRACK)
    before = len(shared_origin.requests)
    counted = "segue_requests_refused_total"
    refusals = signed.metrics().get(f'{counted}{{reason="{reason}"}}', 0)
    got = refused(signed, f"{PATH}?{query}")
    assert got[0] == expected
    if reason:
        assert got[1] == reason
        assert signed.metrics()[f'{counted}{{reason="{reason}"}}'] == refusals + 1
    assert len(shared_origin.requests) == before


def test_a_token_may_come_in_a_field_or_a_cookie(signed):
    assert status(signed, PATH, token=exact(PATH)) == 206
    assert status(signed, PATH, Cookie=f"a=b; token={edge_auth(f'exp={LATER}~acl=/a/*')}; c=d") == 206
    assert refused(signed, PATH, Cookie="tokens=1") == (403, "token_missing")
    # The query decides where it has one.
    assert refused(signed, f"{PATH}?token=x", token=exact(PATH)) == (403, "token_malformed")


def test_two_fields_with_tokens_are_none(signed):
    with signed.connect() as connection:
        field = f"token: {exact(PATH)}\r\n"
        connection.send(f"GET {PATH} HTTP/1.1\r\nHost: localhost\r\n{field}{field}\r\n".encode())
        assert connection.read_response().status == 403


@pytest.mark.parametrize("sent", ["/a/%74.ogg", "/%61/t.ogg"])
def test_the_path_is_checked_in_its_canonical_form(signed, sent):
    assert status(signed, f"{sent}?token={exact(PATH)}") == 206


def test_an_encoded_slash_is_no_slash(signed):
    path = "/a%2Fb/t.ogg"
    assert status(signed, f"{path}?token={exact(path)}") == 206
    assert status(signed, f"{path.lower()[:4]}f{path[5:]}?token={exact(path)}") == 206
    assert refused(signed, f"{path}?token={ours(f'kid=k1~exp={LATER}~prefix=/a/')}") == (403, "token_path")
    assert refused(signed, f"/a/../b?token={exact(PATH)}")[0] == 400


def test_the_token_is_in_no_key_no_origin_request_and_no_log(signed, shared_origin):
    path = "/a/secret.ogg"
    shared_origin.add(path, TRACK)
    shared_origin.add(f"{path}?v=1", TRACK)
    seen = []
    for how, token in enumerate([exact(path), exact(path, key="k2"), ours(f"kid=k1~exp={LATER}~prefix=/a/")]):
        response = signed.fetch(f"{path}?token={token}&v=1", Range="bytes=0-99")
        assert response.status == 206 and response.is_hit == (how > 0)
        seen.append(token)
    # The site forwards "*": neither field nor cookie may get through.
    shared_origin.add("/a/other.ogg", TRACK)
    token = exact("/a/other.ogg")
    fields = {"token": token, "Cookie": f"token={token}", "X-Kept": "yes"}
    assert signed.fetch("/a/other.ogg", **fields).status == 200
    seen.append(token)
    asked = [request for request in shared_origin.requests if request.target.startswith(("/a/secret", "/a/other"))]
    assert [request.target for request in asked if "secret" in request.target] == [f"{path}?v=1"]
    assert any(request.fields.get("x-kept") == "yes" for request in asked)
    for request in asked:
        assert not {"token", "cookie"} & {name.lower() for name in request.fields}
    wait_until(lambda: signed.access_log.exists() and "other.ogg" in signed.access_log.read_text(), what="the log")
    for text in (signed.log, signed.access_log.read_text()):
        assert not [token for token in seen if token[-43:] in text or quote(token[-43:]) in text]
        assert not [key for key in KEYS.values() if key.hex() in text]
    explained = signed.admin(f"/explain?url=http://localhost{path}?v=1%26token={quote(exact(path))}").body.decode()
    assert "~sig=" not in explained


def test_a_token_of_four_kib_is_read_and_the_rest_of_the_target_is_the_key(signed, shared_origin):
    path = "/a/long.ogg"
    shared_origin.add(f"{path}?v=1&w=2", TRACK)
    token = exact(path, more="~id=" + "x" * (4096 - len(exact(path, more="~id="))))
    assert len(token) == 4096
    assert status(signed, f"{path}?v=1&token={token}&w=2") == 206
    assert [seen.target for seen in shared_origin.requests if path in seen.target] == [f"{path}?v=1&w=2"]
    assert refused(signed, f"{path}?token={token}x") == (403, "token_too_long")


def test_a_preflight_needs_no_token_and_allows_its_field(signed):
    response = signed.fetch(
        PATH,
        method="OPTIONS",
        Origin="https://player.example",
        Access_Control_Request_Method="GET",
        Access_Control_Request_Headers="token",
    )
    assert response.status == 204
    assert "token" in response["Access-Control-Allow-Headers"].split(", ")


def test_one_token_serves_many_requests_of_a_connection_and_ends_with_its_time(signed):
    soon = int(time.time()) + 2
    token = ours(f"kid=k1~exp={soon}~prefix=/a/")
    with signed.connect() as connection:
        statuses = []
        deadline = time.monotonic() + 10
        while 410 not in statuses and time.monotonic() < deadline:
            connection.request(f"{PATH}?token={token}", Range="bytes=0-9")
            statuses.append(connection.read_response().status)
        assert statuses[0] == 206 and statuses[-1] == 410
        # Remembered on the connection, it still opens no other path.
        other = ours(f"kid=k1~exp={LATER}~prefix=/a/")
        for target, expected in [(f"{PATH}?token={other}", 206), (f"/b/t.ogg?token={other}", 403)]:
            connection.request(target, Range="bytes=0-9")
            assert connection.read_response().status == expected


# --- JWTs by public keys ---


def openssl(*arguments, **keywords):
    return subprocess.run(["openssl", *arguments], check=True, capture_output=True, **keywords).stdout


def raw_signature(der):
    """The two numbers of an ECDSA signature as JWS wants them (RFC 7518 §3.4): 32 bytes each."""
    numbers, at = [], 2
    for _ in range(2):
        length = der[at + 1]
        numbers.append(int.from_bytes(der[at + 2 : at + 2 + length], "big").to_bytes(32, "big"))
        at += 2 + length
    return b"".join(numbers)


@pytest.fixture(scope="module")
def by_public_keys(shared_origin, tmp_path_factory):
    folder = tmp_path_factory.mktemp("public")
    openssl("genpkey", "-algorithm", "RSA", "-pkeyopt", "rsa_keygen_bits:2048", "-out", str(folder / "rsa"))
    openssl("genpkey", "-algorithm", "EC", "-pkeyopt", "ec_paramgen_curve:P-256", "-out", str(folder / "ec"))
    lines = []
    for name in ("rsa", "ec"):
        public = folder / f"{name}.pub"
        public.write_bytes(openssl("pkey", "-in", str(folder / name), "-pubout"))
        public.chmod(0o644)  # no secret
        lines.append(f'{name} = "{public}"')
    (folder / "k1.key").write_text(KEYS["k1"].hex())
    (folder / "k1.key").chmod(0o600)
    lines.append(f'k1 = "{folder / "k1.key"}"')
    tokens = f'issuer = "music.example"\naudience = "edge.example"\nkeys = {{ {", ".join(lines)} }}\n'
    shared_origin.add(PATH, TRACK)
    with Node(config_for(shared_origin.url, site=f'[site.tokens]\nforms = "jwt"\n{tokens}')) as running:
        running.keys = folder
        yield running


CLAIMS = {"iss": "music.example", "aud": ["other.example", "edge.example"], "exp": LATER, "cdniuc": "regex:.*"}


def signed_by(node, name, algorithm, claims=None, header=None):
    parts = ({"alg": algorithm, **(header or {})}, {**CLAIMS, **(claims or {})})
    text = ".".join(b64(json.dumps(part).encode()) for part in parts)
    signature = openssl("dgst", "-sha256", "-sign", str(node.keys / name), input=text.encode())
    return f"{text}.{b64(raw_signature(signature) if name == 'ec' else signature)}"


@pytest.mark.parametrize("name,algorithm", [("rsa", "RS256"), ("ec", "ES256")])
def test_a_jwt_may_be_signed_by_a_key_that_only_its_issuer_has(by_public_keys, name, algorithm):
    node = by_public_keys
    assert status(node, f"{PATH}?token={signed_by(node, name, algorithm)}") == 206
    assert status(node, f"{PATH}?token={signed_by(node, name, algorithm, header={'kid': name})}") == 206
    other = {"rsa": "ec", "ec": "rsa"}[name]
    assert refused(node, f"{PATH}?token={signed_by(node, other, algorithm)}") == (403, "token_signature")
    for claims in ({"iss": "eve.example"}, {"aud": "other.example"}, {"aud": ["edge.example.eve"]}):
        assert status(node, f"{PATH}?token={signed_by(node, name, algorithm, claims)}") == 403


def test_a_public_key_is_no_secret(by_public_keys):
    """The old trick: an HMAC whose secret is the public key, which everybody has."""
    node = by_public_keys
    for name in ("rsa", "ec"):
        public = (node.keys / f"{name}.pub").read_bytes()
        for secret in (public, public.rstrip(b"\n"), public.rstrip(b"\n") + b"\n"):
            for header in ({"alg": "HS256"}, {"alg": "HS256", "kid": name}):
                text = ".".join(b64(json.dumps(part).encode()) for part in (header, CLAIMS))
                token = f"{text}.{b64(hmac.new(secret, text.encode(), hashlib.sha256).digest())}"
                assert status(node, f"{PATH}?token={token}") == 403


# --- previews ---


@pytest.mark.parametrize("length", ["80000", "4s@160k"])
def test_a_preview_ends_where_its_token_says(signed, shared_origin, length):
    path = f"/a/preview-{length}.ogg"
    track = shared_origin.add(path, TRACK)
    token = exact(path, more=f"~preview={length}")

    def ask(wanted):
        return signed.fetch(f"{path}?token={token}", Range=wanted) if wanted else signed.fetch(f"{path}?token={token}")

    for wanted, last in [("bytes=0-", 79999), ("bytes=100-99999", 79999), ("bytes=0-79999", 79999)]:
        response = ask(wanted)
        first = int(wanted[6:].split("-")[0])
        assert response.status == 206
        assert response["Content-Range"] == f"bytes {first}-{last}/{TRACK}"
        assert response.body == track.body[first : last + 1]
    for wanted in ["bytes=80000-", "bytes=-1", "bytes=0-1,80000-80001", None]:
        response = ask(wanted)
        assert (response.status, b"preview_over" in response.body) == (403, True)
    assert ask("bytes=0-1,5-6").status == 206
    assert signed.fetch(f"{path}?token={token}", method="HEAD").status == 200
    assert signed.fetch(f"{path}?token={exact(path)}").body == track.body


def test_a_preview_of_what_is_passed_through_gives_no_more(signed, shared_origin):
    path = "/a/passed.ogg"
    track = shared_origin.add(path, TRACK, fields={"Cache-Control": "no-store"})
    token = exact(path, more="~preview=1000")
    for wanted in ["bytes=0-", "bytes=0-999", "bytes=0-5000"]:
        response = signed.fetch(f"{path}?token={token}", Range=wanted)
        assert (response.status, response["Content-Range"]) == (206, f"bytes 0-999/{TRACK}")
        assert response.body == track.body[:1000]
    assert signed.fetch(f"{path}?token={token}", Range="bytes=1000-").status == 403
    assert signed.fetch(f"{path}?token={token}").status == 403


def test_an_expression_that_would_take_a_loop_to_compile_is_refused(signed):
    token = jwt({"exp": LATER, "cdniuc": "regex:https?://[^/]{1,200}/([a-z]{1,100}/){0,8}[a-z0-9]+[.]ogg"})
    assert refused(signed, f"{PATH}?token={token}") == (403, "token_unsupported")


# --- keys, settings, segue sign ---


def test_a_reload_changes_the_keys_and_one_it_cannot_read_changes_nothing(origin, tmp_path):
    origin.add(PATH, TRACK)
    with Node(config_for(origin.url, site=site_with(tmp_path))) as node:
        old, new = exact(PATH), exact(PATH, key="k2")
        (tmp_path / "k1.key").write_text("ab" * 32)
        node.process.send_signal(signal.SIGHUP)
        wait_until(lambda: status(node, f"{PATH}?token={old}") == 403, what="the new key")
        assert status(node, f"{PATH}?token={new}") == 206
        (tmp_path / "k2.key").chmod(0o644)
        node.process.send_signal(signal.SIGHUP)
        node.wait_for_log("reload_refused")
        node.wait_for_log("everybody may read")
        assert status(node, f"{PATH}?token={new}") == 206


@pytest.mark.parametrize(
    "content,mode,said",
    [
        ("00" * 32, 0o644, "everybody may read"),
        ("00" * 15, 0o600, "is no key"),
        ("00" * 65, 0o600, "is no key"),
        ("zz" * 32, 0o600, "is no key"),
        ("", 0o600, "is no key"),
        (None, 0, "No such file"),
    ],
)
def test_check_and_serve_name_a_key_file_that_is_wrong(origin, tmp_path, content, mode, said):
    path = tmp_path / "k1.key"
    if content is not None:
        path.write_text(content)
        path.chmod(mode)
    config = config_for(origin.url, site=f'[site.tokens]\nkeys = {{ k1 = "{path}" }}\n')
    file = tmp_path / "segue.toml"
    file.write_text(config)
    checked = run_segue("check", str(file))
    assert checked.returncode == 1 and said in checked.stderr and str(path) in checked.stderr
    assert not content or content not in checked.stderr
    with pytest.raises(StartFailed) as failed:
        Node(config, folder=tmp_path)
    assert said in failed.value.log


def test_expired_is_403_where_the_site_says_so(origin, tmp_path):
    origin.add(PATH, TRACK)
    site = site_with(tmp_path).replace("[site.tokens]", "[site.tokens]\nexpired_status = 403")
    with Node(config_for(origin.url, site=site)) as node:
        assert refused(node, f"{PATH}?token={exact(PATH, exp=BEFORE)}") == (403, "token_expired")


def test_a_form_that_the_site_does_not_take_is_no_token(origin, tmp_path):
    origin.add(PATH, TRACK)
    with Node(config_for(origin.url, site=site_with(tmp_path, forms='"edgeauth"'))) as node:
        assert refused(node, f"{PATH}?token={exact(PATH)}") == (403, "token_malformed")
        assert refused(node, f"{PATH}?{expires_pair(PATH)}") == (403, "token_missing")
        assert status(node, f"{PATH}?token={edge_auth(f'exp={LATER}~acl=/*')}") == 206


@pytest.mark.parametrize("form", ["segue", "edgeauth", "expires", "jwt"])
def test_what_segue_sign_makes_is_let_in(signed, form):
    scheme = "https" if signed.is_tls else "http"
    url = f"{scheme}://localhost{PATH}"
    made = run_segue("sign", url, "--config", str(signed.config_path), "--form", form, "--for", "1h", check=True)
    target = made.stdout.strip().removeprefix(f"{scheme}://localhost")
    assert status(signed, target) == 206
    assert status(signed, target.replace("t.ogg", "u.ogg")) == 403
    over = run_segue("sign", url, "--config", str(signed.config_path), "--form", form, "--for", "0s", check=True)
    assert status(signed, over.stdout.strip().removeprefix(f"{scheme}://localhost")) == 410


def test_segue_sign_binds_prefix_glob_client_and_preview(signed):
    def sign(*arguments):
        made = run_segue("sign", PATH, "--config", str(signed.config_path), *arguments)
        assert made.returncode == 0, made.stderr
        return made.stdout.strip()

    assert status(signed, sign("--prefix", "/a/", "--key-id", "k2")) == 206
    assert status(signed, sign("--glob", "/a/*.ogg")) == 206
    assert status(signed, sign("--glob", "/b/*.ogg")) == 403
    assert status(signed, sign("--client", "127.0.0.1")) == 206
    assert status(signed, sign("--client", "203.0.113.0/24")) == 403
    assert status(signed, sign("--preview", "5")) == 206
    assert status(signed, sign("--from", "1h")) == 403


@pytest.mark.parametrize("form", ["segue", "edgeauth", "jwt"])
def test_segue_sign_binds_a_prefix_that_ends_at_the_end_of_a_segment(signed, shared_origin, form):
    for path in ("/a", "/ab/t.ogg", "/a.ogg"):
        shared_origin.add(path, TRACK)
    base = f"{'https' if signed.is_tls else 'http'}://localhost" if form == "jwt" else ""

    def query(prefix):
        arguments = ["--config", str(signed.config_path), "--form", form, "--prefix", prefix]
        made = run_segue("sign", f"{base}{PATH}", *arguments, check=True).stdout.strip()
        return made[made.index("?") :]

    folder, either = query("/a/"), query("/a")
    assert status(signed, PATH + folder) == 206 and status(signed, PATH + either) == 206
    assert status(signed, f"{PATH}{folder}&v=1&w=2") == 206
    assert status(signed, "/a" + either) == 206
    for path in ("/ab/t.ogg", "/a.ogg"):
        assert refused(signed, path + folder) == (403, "token_path")
        assert refused(signed, path + either) == (403, "token_path")
    assert refused(signed, "/a" + folder) == (403, "token_path")


@pytest.mark.parametrize(
    "arguments",
    [
        ["/t"],
        ["/t", "--key", "/nonexistent"],
        ["/../t", "--key", "{key}"],
        ["/t", "--key", "{key}", "--form", "md5"],
        ["/t", "--key", "{key}", "--client", "nobody"],
        ["/t", "--key", "{key}", "--preview", "much"],
        ["/t", "--key", "{key}", "--prefix", "a"],
        ["/t", "--key", "{key}", "--form", "jwt"],
        ["/t", "--key", "{key}", "--form", "expires", "--client", "127.0.0.1"],
        ["/t", "--key", "{key}", "--id", "a~b"],
        ["/t", "--key", "{key}", "--form", "edgeauth", "--prefix", "/*/"],
    ],
)
def test_segue_sign_refuses_what_it_cannot_sign(tmp_path, arguments):
    write_keys(tmp_path)
    made = run_segue("sign", *[argument.replace("{key}", str(tmp_path / "k1.key")) for argument in arguments])
    assert made.returncode != 0 and made.stdout == "" and made.stderr.startswith("segue: ")
