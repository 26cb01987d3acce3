"""Columns to a stream and back: the same as by way of an object a name."""

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tapir.codec.gob import GobError, decode_list, encode_list, export_list, import_list
from tapir.codec.gob.columns import encode_in_pieces, encode_start, read_list
from tapir.codec.rfc3339 import LAST, YEAR_ONE
from tapir.model.actions import ListKind
from tapir.model.blocks import ObservationBlock
from tapir.model.names import Name, parse_name

VECTOR = (Path(__file__).parents[2] / "vectors" / "gob" / "wbglist.gob").read_bytes()
TIMES = st.integers(YEAR_ONE, LAST) | st.just(YEAR_ONE) | st.integers(1_700_000_000_000_000, 1_700_000_600_000_000)
NAMES = st.integers(0, 300).map(lambda number: parse_name(f"host{number}.example."))
ENTRIES = st.dictionaries(NAMES, st.tuples(st.integers(0, 2**32 - 1), TIMES, TIMES), max_size=60)
Said = dict[Name, tuple[int, int, int]]


def block(entries: Said) -> ObservationBlock:
    return ObservationBlock.of((name, *rest) for name, rest in entries.items())


def said(observations: ObservationBlock) -> Said:
    found = {Name(name): (tags, observed, deadline) for name, tags, observed, deadline in observations}
    assert len(found) == len(observations)
    return found


def stream_of(observations: ObservationBlock, *, interval: int = 60) -> bytes:
    pieces = list(
        encode_in_pieces(observations, source="core", kind=ListKind.DOUBT, topics=("obs/t",), interval=interval)
    )
    return encode_start(sum(map(len, pieces))) + b"".join(pieces)


@given(ENTRIES, st.integers(1, 3600))
def test_a_stream_says_the_same_as_one_made_of_objects(entries: Said, interval: int) -> None:
    made, _ = decode_list(stream_of(block(entries), interval=interval))
    other = export_list(block(entries), source="core", kind=ListKind.DOUBT, topics=("obs/t",), interval=interval)
    assert made.names == other.names
    assert sorted(made.reaper or (), key=lambda slot: slot[0].seconds) == sorted(
        other.reaper or (), key=lambda slot: slot[0].seconds
    )
    assert (made.name, made.type, made.mqtt, made.format) == (other.name, other.type, other.mqtt, other.format)


def test_one_slot_makes_it_the_same_octets() -> None:
    entries = {parse_name("a.example."): (1, 10, 70), parse_name("b.example."): (0, 20, 80)}
    other = export_list(block(entries), source="core", kind=ListKind.DOUBT, topics=("obs/t",))
    assert stream_of(block(entries)) == encode_list(other)


def test_a_long_list_comes_in_pieces() -> None:
    entries = {parse_name(f"host{number}.example."): (1, number, number * 10**6) for number in range(5000)}
    pieces = list(encode_in_pieces(block(entries), source="core", kind=ListKind.DOUBT))
    assert len(pieces) > 5
    assert max(map(len, pieces)) < 70_000
    _, found, _ = read_list(stream_of(block(entries)))
    assert said(found.observations).keys() == entries.keys()


@given(ENTRIES)
def test_columns_are_what_objects_would_have_said(entries: Said) -> None:
    octets = stream_of(block(entries)) + b'{"Error":false}\n'
    value, found, end = read_list(octets)
    other, rest = decode_list(octets)
    expected = import_list(other)
    assert said(found.observations) == said(expected.observations)
    assert octets[end:] == rest
    assert (value.name, value.type, value.names, value.reaper) == ("core", "doubtlist", None, None)


def test_the_vector() -> None:
    value, found, end = read_list(VECTOR)
    assert end == len(VECTOR)
    assert value.name == "dns-tapir"
    assert [*found.observations] == [(parse_name("evil.example."), 17, 1_735_787_045_000_000, 1_735_790_645_000_000)]


def test_of_a_name_in_two_spellings_the_last_observation_counts() -> None:
    entries = {parse_name("b.example."): (1, 20, 80), parse_name("c.example."): (2, 30, 90)}
    octets = stream_of(block(entries)).replace(b"\x0ac.example.", b"\x0aB.example.")
    _, found, _ = read_list(octets)
    assert said(found.observations) == {parse_name("b.example."): (2, 30, 90)}
    octets = stream_of(block(entries)).replace(b"\x0ab.example.", b"\x0aC.example.")
    assert said(read_list(octets)[1].observations) == {parse_name("c.example."): (2, 30, 90)}


def test_names_that_are_none_are_counted() -> None:
    octets = stream_of(block({parse_name("bb.example."): (1, 20, 80)})).replace(b"bb.example.", b"b..example.")
    _, found, _ = read_list(octets)
    assert (len(found.observations), found.refused) == (0, 1)
    assert found.reason


def test_limits() -> None:
    with pytest.raises(GobError, match="700 are allowed"):
        read_list(VECTOR, max_size=700)
    with pytest.raises(GobError, match="0 are allowed"):
        read_list(VECTOR, max_names=0)


@given(st.binary(max_size=100), st.integers(0, len(VECTOR)))
def test_any_octets(tail: bytes, cut: int) -> None:
    octets = VECTOR[:cut] + tail
    try:
        value, rest = decode_list(octets)
    except GobError:
        value, rest = None, b""
    try:
        _, found, end = read_list(octets)
    except GobError:
        assert value is None or value.reaper is not None  # slots that are passed over need not be good
    else:
        if value is not None:
            assert said(found.observations) == said(import_list(value).observations)
            assert octets[end:] == rest
