"""What a crash leaves of an interval counts to the same file, and tells nobody else who asked for what."""

import os
from collections.abc import Mapping

import numpy as np
import pytest
from dnstap_frames import dns_message, frame, opt, question
from hypothesis import given
from hypothesis import strategies as st

from tapir.codec.dawg import encode_dawg, parse_dawg
from tapir.codec.dnstap import decode
from tapir.codec.edmfiles import Numbers, Rows, Strings
from tapir.minimiser.addresses import AddressColumn
from tapir.minimiser.columns import accepted
from tapir.minimiser.histogram import Histogram
from tapir.minimiser.sessions import Sessions
from tapir.minimiser.spooling import SpoolError, SpoolWriter, holds_sessions, replay, replay_sessions
from tapir.minimiser.wellknown import index_names
from tapir.model.blocks import FrameBlock
from tapir.model.names import parse_name

SECRET, KEY, SALT = bytes(range(16)), b"the key", bytes(16)
START = 1_780_000_000_123_456
NAMES = index_names(parse_dawg(encode_dawg(sorted([".", ".example.net.", "a.example.", "b.example."]))), SECRET)

RESPONSES = st.builds(
    lambda name, qtype, qclass, rcode, client: frame(
        query_address=client,
        response_message=dns_message(
            [question(parse_name(name), qtype, qclass)], additionals=[opt(rcode)], flags=0x8180 | rcode & 15
        ),
    ),
    st.sampled_from([".", "a.example", "b.example", "c.example.net", "other"]),
    st.sampled_from([1, 2, 15, 28, 65]),
    st.sampled_from([1, 3]),
    st.sampled_from([0, 2, 3, 5, 16]),
    st.none() | st.integers(0, 9).map(lambda number: bytes(3) + bytes((number,))) | st.just(bytes(range(16))),
)


def spooled(blocks: list[list[bytes]], threshold: int = 2) -> tuple[Histogram, list[bytes]]:
    histogram = Histogram(NAMES, start=START, threshold=threshold, seed=SECRET)
    writer = SpoolWriter(key=KEY, salt=SALT, start=START, threshold=threshold)
    parts = [writer.begin]
    for frames in blocks:
        block = decode(FrameBlock.of(frames), SECRET)
        parts.append(writer.record(histogram.add(block, NAMES.rows_of(block, block.outcome)), NAMES))
    return histogram, parts


def cells(rows: Rows | None) -> Mapping[str, object]:
    if rows is None:
        return {}
    out: dict[str, object] = {}
    for name, column in rows.columns.items():
        match column:
            case Numbers(values=values):
                out[name] = values.tolist()
            case Strings(data=data, offsets=offsets, valid=valid):
                out[name] = (data.tobytes(), offsets.tolist(), None if valid is None else valid.tolist())
    return out


@given(st.lists(st.lists(RESPONSES, max_size=8), max_size=4))
def test_a_spool_counts_to_the_same_file(blocks: list[list[bytes]]) -> None:
    histogram, parts = spooled(blocks)
    again = replay(b"".join(parts), key=KEY, seed=os.urandom(16))
    assert again.start == START
    assert cells(again.columns()) == cells(histogram.columns())


def block_of(name: str, count: int = 3) -> list[bytes]:
    message = dns_message([question(parse_name(name))])
    return [frame(query_address=bytes((192, 0, 2, n)), response_message=message) for n in range(count)]


def test_what_was_being_written_is_left_out() -> None:
    _, parts = spooled([block_of("a.example"), block_of("b.example")])
    whole = b"".join(parts)
    first = len(parts[0]) + len(parts[1])
    for end in range(len(parts[0]), len(whole)):
        assert replay(whole[:end], key=KEY, seed=SECRET).responses == (3 if end >= first else 0)
    assert replay(whole + b"\xff" * 9, key=KEY, seed=SECRET).responses == 6
    for end in range(len(parts[0])):
        with pytest.raises(SpoolError):
            replay(whole[:end], key=KEY, seed=SECRET)


@given(st.integers(0, 10_000), st.integers(1, 255))
def test_what_was_changed_is_left_out(at: int, flipped: int) -> None:
    _, parts = spooled([block_of("a.example"), block_of("b.example")])
    whole = bytearray(b"".join(parts))
    whole[at % len(whole)] ^= flipped
    try:
        histogram = replay(bytes(whole), key=KEY, seed=SECRET)
    except SpoolError:
        assert at % len(whole) < len(parts[0])
    else:
        assert histogram.responses in {0, 3}


def test_without_the_key_it_says_nothing() -> None:
    histogram, parts = spooled([block_of("a.example", 100)])
    whole = b"".join(parts)
    assert histogram.responses == 100
    assert b"example" not in whole
    with pytest.raises(SpoolError, match="another key"):
        replay(whole, key=b"another", seed=SECRET)
    _, others = spooled([block_of("a.example", 100)])
    swapped = parts[0][:8] + bytes(15) + b"\1" + parts[0][24:] + others[1]
    with pytest.raises(SpoolError):
        replay(swapped, key=KEY, seed=SECRET)
    with pytest.raises(SpoolError, match="no spool"):
        replay(b"something else altogether", key=KEY, seed=SECRET)
    with pytest.raises(ValueError, match="salt"):
        SpoolWriter(key=KEY, salt=b"", start=0, threshold=1)


def test_a_response_takes_thirteen_octets() -> None:
    histogram = Histogram(NAMES, start=START, threshold=20, seed=SECRET)
    writer = SpoolWriter(key=KEY, salt=SALT, start=START, threshold=20)
    block = decode(FrameBlock.of(block_of("a.example", 200)), SECRET)
    rows = NAMES.rows_of(block, block.outcome)
    writer.record(histogram.add(block, rows), NAMES)
    assert len(writer.record(histogram.add(block, rows), NAMES)) == 200 * 13 + 12 + 16 + 4
    assert np.all(rows >= 0)
    assert repr(writer) == "<SpoolWriter of 3 records>"


# -- sessions


def add_rows(sessions: Sessions, frames: list[bytes]) -> None:
    block = decode(FrameBlock.of(frames), bytes(16))
    rows = accepted(block)
    clients = AddressColumn.gathered(block.frames.data, block.query_address_at[rows], block.query_address_length[rows])
    sessions.add(block, rows, clients, clients)


@given(st.lists(st.lists(st.sampled_from(("a.example", "B.Example", ".")), max_size=4), max_size=6), st.integers(0, 99))
def test_sessions_come_out_of_their_spool_as_they_were(blocks: list[list[str]], cut: int) -> None:
    key, salt = bytes(32), os.urandom(16)
    writer = SpoolWriter(key=key, salt=salt, start=4711, sessions=True)
    sessions, parts = Sessions(), [writer.begin]
    for number, names in enumerate(blocks):
        if not names:
            continue
        since = len(sessions)
        add_rows(sessions, [each for name in names for each in block_of(name, number + 1)])
        parts.append(writer.record_sessions(sessions.packed(since)))
    spool = b"".join(parts)
    assert holds_sessions(spool)
    start, again = replay_sessions(spool, key=key)
    assert start == 4711
    assert cells(again.columns()) == cells(sessions.columns())
    assert b"xample" not in spool
    # What was being written at the end is left out, and all before it is there.
    _, shorter = replay_sessions(spool[: max(len(parts[0]), len(spool) - cut)], key=key)
    assert len(shorter) <= len(sessions)


def test_a_spool_of_sessions_has_a_key_as_well() -> None:
    writer = SpoolWriter(key=bytes(32), salt=bytes(16), start=1, sessions=True)
    with pytest.raises(SpoolError, match="another key"):
        replay_sessions(writer.begin, key=b"\1" * 32)
    assert not holds_sessions(SpoolWriter(key=bytes(32), salt=bytes(16), start=1, threshold=2).begin)
