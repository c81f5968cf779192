"""Ranges made to cost much (RFC 9110 §17.15): many, overlapping, enormous. Whatever is asked, a client gets no more
than the representation and 200 bytes per part, and the origin is asked for no more than the slices asked of us and
one more."""
import itertools
import re

import pytest

SLICE = 262144
LENGTH = 5 * SLICE + 1000
PART_BYTES_MAX = 200
RANGES_MAX = 16

numbers = itertools.count()


def every(step, count, width):
    return ",".join(f"{i * step}-{i * step + width - 1}" for i in range(count))


HUGE = 2**63 - 1
CASES = {
    "one byte": "0-0",
    "the last byte": "-1",
    "an enormous suffix": f"-{HUGE}",
    "an enormous end": f"0-{HUGE}",
    "an end over 64 bits": f"0-{2**64}",
    "a beginning over 64 bits": f"{2**64}-",
    "a beginning far behind the end": f"{HUGE}-",
    "all of it twice": "0-,0-",
    "all of it sixteen times": ",".join(["0-"] * RANGES_MAX),
    "all of it seventeen times": ",".join(["0-"] * (RANGES_MAX + 1)),
    "a thousand times all of it": ",".join(["0-"] * 1000),
    "all but the first byte, again and again": ",".join(f"{i}-" for i in range(RANGES_MAX)),
    "one byte less each time": ",".join(f"0-{LENGTH - i}" for i in range(1, RANGES_MAX)),
    "suffixes that contain each other": ",".join(f"-{LENGTH - i}" for i in range(RANGES_MAX)),
    "overlapping halves": f"0-{LENGTH // 2},{LENGTH // 4}-{LENGTH - 1}",
    "neighbours": every(1000, RANGES_MAX, 1000),
    "neighbours but one": every(1000, RANGES_MAX, 999),
    "single bytes near each other": every(2, RANGES_MAX, 1),
    "single bytes of each slice": every(SLICE, 5, 1),
    "backwards": ",".join(f"{i * SLICE}-{i * SLICE + 9}" for i in (4, 3, 2, 1, 0)),
    "across each border": ",".join(f"{i * SLICE - 1}-{i * SLICE}" for i in range(1, 6)),
    "first and last": "0-0,-1",
    "one good among many behind the end": ",".join([f"{LENGTH + i}-" for i in range(RANGES_MAX - 1)] + ["5-9"]),
    "all behind the end": ",".join(f"{LENGTH + i}-" for i in range(RANGES_MAX)),
    "empty suffix beside a good one": "-0,5-9",
    "empty suffix": "-0",
    "six hundred single bytes": every(2, 600, 1),
    "empty members": ",,,0-0,,,5-5,,",
    "a thousand empty members": "," * 1000 + "0-0",
    "a beginning behind its end": "9-5",
    "a good one and one that is none": "0-5,9-5",
    "signs": "+0-+5",
    "spaces": "0 - 5",
    "hexadecimal": "0x0-0x5",
    "no number at all": "-",
    "leading zeros": "000000000000000000000000-00000000000000000000000000005",
}


def slices_of(asked):
    """Slices touched if all that can be read as a range is served; the whole where the field is ignored."""
    touched = set()
    for member in asked.split(","):
        match = re.fullmatch(r"(\d*)-(\d*)", member.strip())
        wrong = not match or member.strip() == "-" or (all(match.groups()) and int(match[1]) > int(match[2]))
        if wrong or asked.count("-") > RANGES_MAX:
            return set(range(6))  # no ranges, or too many: the field is ignored
        first, last = match.groups()
        begin = int(first) if first else max(0, LENGTH - int(last))
        end = min(int(last), LENGTH - 1) if first and last else LENGTH - 1
        if first or int(last):
            touched |= set(range(begin // SLICE, end // SLICE + 1)) if begin <= end else set()
    return touched


@pytest.mark.parametrize("asked", CASES.values(), ids=CASES.keys())
@pytest.mark.parametrize("head_only", [False, True], ids=["get", "head"])
def test_no_range_makes_more_of_the_representation_or_of_the_origin(shared_node, shared_origin, asked, head_only):
    path = f"/r/{next(numbers)}"
    track = shared_origin.add(path, LENGTH)
    for _ in range(2):
        before = shared_node.metric("segue_origin_body_bytes_total")
        with shared_node.connect() as connection:
            connection.request(path, "HEAD" if head_only else "GET", Range=f"bytes={asked}")
            response = connection.read_response(head_request=head_only)
        assert response.status in (200, 206, 416)
        parts = re.findall(rb"\r\nContent-Range: bytes (\d+)-(\d+)/%d\r\n" % LENGTH, response.body)
        assert len(parts) <= RANGES_MAX
        assert len(response.body) <= LENGTH + PART_BYTES_MAX * max(len(parts), 1)
        assert not head_only or response.body == b""
        for first, last in parts:
            assert track.body[int(first) : int(last) + 1] in response.body
        covered = sum(int(last) - int(first) + 1 for first, last in parts)
        assert covered <= LENGTH
        shared_node.wait_for_fills()
        fetched = shared_node.metric("segue_origin_body_bytes_total") - before
        assert fetched <= (len(slices_of(asked)) + 1) * SLICE
