"""Everything an origin can do wrong, one function each; tests/wire/origin_faults.md says what a client then gets.

A fault is called as fault(handler, request, track) and returns True if the connection can go on. FAULTS is the table
by name."""
import socket
import time

FAULTS = {}


def fault(function):
    FAULTS[function.__name__] = function
    return function


def asked_range(request, track):
    """[first, end) that a well-behaved origin would send; all of it without Range."""
    total = len(track.body)
    asked = request.range
    if asked is None:
        return 0, total
    if asked[0] == "suffix":
        return max(0, total - asked[1]), total
    return asked[0], total if asked[1] is None else min(asked[1] + 1, total)


def head_lines(request, track, content_range=None, status=None, length=None, fields=(), version="HTTP/1.1"):
    """A right head for what was asked, with what is given in place of the right thing. `length` False: none."""
    first, end = asked_range(request, track)
    status = status or (206 if request.range is not None else 200)
    lines = [f"{version} {status} Scripted", f"ETag: {track.etag}", f"Content-Type: {track.content_type}"]
    lines += [f"{name}: {value}" for name, value in track.fields.items()]
    if status == 206:
        lines.append(f"Content-Range: {content_range or f'bytes {first}-{end - 1}/{len(track.body)}'}")
    if length is not False:
        lines.append(f"Content-Length: {end - first if length is None else length}")
    return "\r\n".join([*lines, *fields]) + "\r\n\r\n"


def right_body(request, track):
    first, end = asked_range(request, track)
    return track.body[first:end]


def chunk(data):
    return b"%x\r\n%s\r\n" % (len(data), data)


def with_fields(*fields):
    """A right answer with further field lines."""

    def serve(handler, request, track):
        handler.send(head_lines(request, track, fields=fields))
        handler.send(right_body(request, track))
        return False

    return serve


def raw_head(text):
    """Sends `text` as the head, and a right body behind it."""

    def serve(handler, request, track):
        first, end = asked_range(request, track)
        fields = f"ETag: {track.etag}\r\nContent-Range: bytes {first}-{end - 1}/{len(track.body)}"
        handler.send(text.replace("{length}", str(end - first)).replace("{fields}", fields))
        handler.send(right_body(request, track))
        return False

    return serve


def silent_until_closed(handler):
    handler.socket.settimeout(30)
    handler.socket.recv(1)
    return False


# --- before the head ---


@fault
def silent(handler, request, track):
    return silent_until_closed(handler)


@fault
def slow_head(handler, request, track):
    time.sleep(0.1)
    return handler.serve_track(track, request)


@fault
def reset_before_head(handler, request, track):
    handler.socket.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\x01\x00\x00\x00\x00\x00\x00\x00")
    return False


@fault
def closed_before_head(handler, request, track):
    return False


@fault
def closed_in_head(handler, request, track):
    handler.send(head_lines(request, track)[:40])
    return False


@fault
def stalled_in_head(handler, request, track):
    handler.send(head_lines(request, track)[:40])
    return silent_until_closed(handler)


# --- the body ---


@fault
def short_body(handler, request, track):
    handler.send(head_lines(request, track))
    handler.send(right_body(request, track)[:10_000])
    return False


@fault
def stalled_body(handler, request, track):
    handler.send(head_lines(request, track))
    handler.send(right_body(request, track)[:10_000])
    return silent_until_closed(handler)


@fault
def chunked_without_end(handler, request, track):
    handler.send(head_lines(request, track, length=False, fields=["Transfer-Encoding: chunked"]))
    handler.send(chunk(right_body(request, track)[:10_000]))
    return False


@fault
def bad_chunk_size(handler, request, track):
    handler.send(head_lines(request, track, length=False, fields=["Transfer-Encoding: chunked"]))
    handler.send(chunk(right_body(request, track)[:10_000]) + b"zz\r\n")
    return False


@fault
def chunked_longer_than_its_range(handler, request, track):
    handler.send(head_lines(request, track, length=False, fields=["Transfer-Encoding: chunked"]))
    handler.send(chunk(right_body(request, track)) + chunk(b"x" * 5000) + b"0\r\n\r\n")
    return False


@fault
def extra_bytes_after_body(handler, request, track):
    handler.send(head_lines(request, track))
    handler.send(right_body(request, track) + b"HTTP/1.1 200 OK\r\nContent-Length: 6\r\n\r\npoison")
    return True


@fault
def trailers(handler, request, track):
    handler.send(head_lines(request, track, length=False, fields=["Transfer-Encoding: chunked", "Trailer: ETag"]))
    handler.send(chunk(right_body(request, track)) + b'0\r\nETag: "poison"\r\nSet-Cookie: a=b\r\n\r\n')
    return True


# --- another range than asked ---


@fault
def range_starts_earlier(handler, request, track):
    first, end = asked_range(request, track)
    handler.send(head_lines(request, track, content_range=f"bytes {max(first - 1, 0)}-{end - 2}/{len(track.body)}"))
    handler.send(right_body(request, track))
    return False


@fault
def range_ends_earlier(handler, request, track):
    first, end = asked_range(request, track)
    handler.send(
        head_lines(
            request, track, content_range=f"bytes {first}-{end - 101}/{len(track.body)}", length=end - first - 100
        )
    )
    handler.send(right_body(request, track)[:-100])
    return False


@fault
def range_ends_later(handler, request, track):
    first, end = asked_range(request, track)
    handler.send(
        head_lines(
            request, track, content_range=f"bytes {first}-{end + 99}/{len(track.body) + 1000}", length=end - first + 100
        )
    )
    handler.send(right_body(request, track) + b"x" * 100)
    return False


@fault
def range_beyond_its_total(handler, request, track):
    first, end = asked_range(request, track)
    handler.send(head_lines(request, track, content_range=f"bytes {first}-{end - 1}/{end - 1}"))
    handler.send(right_body(request, track))
    return False


@fault
def range_backwards(handler, request, track):
    first, end = asked_range(request, track)
    handler.send(head_lines(request, track, content_range=f"bytes {end}-{first}/{len(track.body)}"))
    return False


@fault
def range_without_numbers(handler, request, track):
    handler.send(head_lines(request, track, content_range="bytes a-b/c"))
    return False


@fault
def range_field_missing(handler, request, track):
    handler.send(f"HTTP/1.1 206 Partial\r\nETag: {track.etag}\r\nContent-Length: 5\r\n\r\nhello")
    return False


@fault
def range_field_twice(handler, request, track):
    first, end = asked_range(request, track)
    return with_fields(f"Content-Range: bytes {first}-{end - 1}/{len(track.body)}")(handler, request, track)


@fault
def length_is_not_the_range(handler, request, track):
    first, end = asked_range(request, track)
    handler.send(head_lines(request, track, length=end - first - 1))
    handler.send(right_body(request, track)[:-1])
    return False


@fault
def other_total(handler, request, track):
    """The same validator with another complete length."""
    first, end = asked_range(request, track)
    handler.send(head_lines(request, track, content_range=f"bytes {first}-{end - 1}/{len(track.body) + 5000}"))
    handler.send(right_body(request, track))
    return False


@fault
def multipart(handler, request, track):
    body = b"--b\r\nContent-Range: bytes 0-4/700001\r\n\r\nhello\r\n--b--\r\n"
    handler.send(
        f"HTTP/1.1 206 Partial\r\nETag: {track.etag}\r\nContent-Type: multipart/byteranges; boundary=b\r\n"
        f"Content-Length: {len(body)}\r\n\r\n"
    )
    handler.send(body)
    return False


@fault
def range_ignored(handler, request, track):
    handler.send(
        f"HTTP/1.1 200 OK\r\nETag: {track.etag}\r\nContent-Type: {track.content_type}\r\n"
        f"Content-Length: {len(track.body)}\r\n\r\n"
    )
    handler.send(track.body)
    return True


# --- another version, or none ---


@fault
def other_etag(handler, request, track):
    first, end = asked_range(request, track)
    changed = head_lines(request, track).replace(track.etag, '"v2"')
    handler.send(changed)
    handler.send(bytes(255 - byte for byte in track.body[first:end]))
    return False


@fault
def other_etag_and_shorter(handler, request, track):
    first, _ = asked_range(request, track)
    total = len(track.body) - 100_000
    end = min(asked_range(request, track)[1], total)
    handler.send(
        head_lines(request, track, content_range=f"bytes {first}-{end - 1}/{total}", length=end - first).replace(
            track.etag, '"v2"'
        )
    )
    handler.send(bytes(255 - byte for byte in track.body[first:end]))
    return False


def with_status(status, fields=()):
    def serve(handler, request, track):
        body = b"an error page"
        handler.send("\r\n".join([f"HTTP/1.1 {status} Scripted", f"Content-Length: {len(body)}", *fields]) + "\r\n\r\n")
        handler.send(body)
        return True

    return serve


FAULTS["not_found"] = with_status(404)
FAULTS["gone"] = with_status(410)
FAULTS["range_not_satisfiable"] = with_status(416)
FAULTS["forbidden"] = with_status(403)
FAULTS["server_error"] = with_status(500)
FAULTS["bad_gateway"] = with_status(502)
FAULTS["unavailable"] = with_status(503, ["Retry-After: 60"])
FAULTS["redirect_elsewhere"] = with_status(302, ["Location: http://other.invalid/t"])
FAULTS["redirect_to_file"] = with_status(302, ["Location: file:///etc/passwd"])
FAULTS["redirect_malformed"] = with_status(302, ["Location: http://[bad/"])


@fault
def redirect_loop(handler, request, track):
    return with_status(302, [f"Location: {request.target}"])(handler, request, track)


@fault
def redirect_on_the_same_origin(handler, request, track):
    moved = request.target + ".moved"
    handler.origin.tracks[moved] = handler.origin.copy_of(track)
    return with_status(302, [f"Location: {moved}"])(handler, request, track)


@fault
def unasked_304(handler, request, track):
    handler.send('HTTP/1.1 304 Not Modified\r\nETag: "other"\r\n\r\n')
    return True


@fault
def status_204(handler, request, track):
    handler.send("HTTP/1.1 204 No Content\r\n\r\n")
    return True


# --- malformed heads ---

FAULTS["garbage"] = raw_head("hello, world\r\n\r\n")
FAULTS["http_0_9"] = raw_head("")
FAULTS["icy"] = raw_head("ICY 200 OK\r\n\r\n")
FAULTS["status_of_two_digits"] = raw_head("HTTP/1.1 20 OK\r\nContent-Length: {length}\r\n\r\n")
FAULTS["status_of_four_digits"] = raw_head("HTTP/1.1 2000 OK\r\nContent-Length: {length}\r\n\r\n")
FAULTS["head_of_70_kib"] = with_fields(*(f"X-{i}: {'a' * 7000}" for i in range(10)))
FAULTS["one_line_of_70_kib"] = with_fields("X: " + "a" * 70_000)
FAULTS["two_hundred_fields"] = with_fields(*(f"X-{i}: a" for i in range(200)))
FAULTS["nul_in_field"] = with_fields("X: a\0b")
FAULTS["bare_lf"] = raw_head("HTTP/1.1 206 OK\n{fields}\r\nContent-Length: {length}\r\n\r\n")
FAULTS["bare_cr_in_field"] = with_fields("X: a\rContent-Length: 5")
FAULTS["folded_field"] = with_fields("X: a\r\n b")
FAULTS["space_before_colon"] = with_fields("X : a")
FAULTS["field_without_colon"] = with_fields("hello")
FAULTS["length_and_coding"] = with_fields("Transfer-Encoding: chunked")
FAULTS["two_lengths"] = with_fields("Content-Length: 5")
FAULTS["length_negative"] = raw_head("HTTP/1.1 206 OK\r\n{fields}\r\nContent-Length: -{length}\r\n\r\n")
FAULTS["length_list"] = raw_head("HTTP/1.1 206 OK\r\n{fields}\r\nContent-Length: {length}, {length}\r\n\r\n")
FAULTS["unknown_coding"] = raw_head("HTTP/1.1 206 OK\r\n{fields}\r\nTransfer-Encoding: gzip, chunked\r\n\r\n")
FAULTS["content_encoding"] = with_fields("Content-Encoding: gzip")
FAULTS["content_encoding_identity"] = with_fields("Content-Encoding: identity")
FAULTS["interim_responses"] = raw_head(
    "HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 103 Early Hints\r\nLink: </x>\r\n\r\n"
    "HTTP/1.1 206 OK\r\n{fields}\r\nContent-Type: audio/ogg\r\nContent-Length: {length}\r\n\r\n"
)
FAULTS["endless_interim_responses"] = raw_head(
    "HTTP/1.1 103 Early Hints\r\n\r\n" * 200 + "HTTP/1.1 206 OK\r\n{fields}\r\nContent-Length: {length}\r\n\r\n"
)
FAULTS["switching_protocols"] = raw_head(
    "HTTP/1.1 101 Switching Protocols\r\nUpgrade: x\r\nConnection: Upgrade\r\n\r\n"
)
