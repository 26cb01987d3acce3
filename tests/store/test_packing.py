"""Blocks come back as they went, and neither a broken block nor broken octets pass."""

import struct

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tapir.model.actions import Action
from tapir.model.blocks import ListBlock, NameBlock, RecordBlock, RecordDelta, VersionDelta
from tapir.model.names import Name, parse_name
from tapir.store.blobs import BlobError
from tapir.store.packing import (
    pack_list,
    pack_list_change,
    pack_records,
    pack_version_delta,
    unpack_list,
    unpack_list_change,
    unpack_records,
    unpack_version_delta,
)

LABELS = st.binary(min_size=1, max_size=63).map(bytes.lower)
NAMES = (
    st.lists(LABELS, max_size=5)
    .map(lambda labels: Name(b"".join(bytes((len(label),)) + label for label in labels) + b"\0"))
    .filter(lambda name: len(name) <= 255)
)
ACTIONS = st.sampled_from([action for action in Action if action is not Action.NONE])
LISTS = st.lists(st.tuples(NAMES, st.integers(0, 2**32 - 1) | st.just(0))).map(ListBlock.of)
RECORDS = st.lists(st.tuples(NAMES, ACTIONS)).map(RecordBlock.of)
LONGEST = Name((b"\x3f" + b"a" * 63) * 3 + b"\x3d" + b"b" * 61 + b"\0")


@given(LISTS)
def test_a_list_comes_back(block: ListBlock) -> None:
    assert list(unpack_list(pack_list(block))) == list(block)


@given(RECORDS)
def test_records_come_back(block: RecordBlock) -> None:
    assert list(unpack_records(pack_records(block))) == list(block)


@given(RECORDS, RECORDS, st.integers(0, 2**32 - 1), st.integers(0, 2**32 - 1), st.integers(-(2**63), 2**63 - 1))
def test_a_version_delta_comes_back(
    removed: RecordBlock, added: RecordBlock, from_serial: int, to_serial: int, at: int
) -> None:
    delta = VersionDelta(
        from_serial=from_serial, to_serial=to_serial, at=at, delta=RecordDelta(removed=removed, added=added)
    )
    back = unpack_version_delta(pack_version_delta(delta))
    assert (back.from_serial, back.to_serial, back.at) == (from_serial, to_serial, at)
    assert (list(back.delta.removed), list(back.delta.added)) == (list(removed), list(added))


@given(st.lists(NAMES).map(NameBlock.of), LISTS)
def test_a_list_change_comes_back(removed: NameBlock, upserted: ListBlock) -> None:
    back = unpack_list_change(pack_list_change(removed, upserted))
    assert (list(back[0]), list(back[1])) == (list(removed), list(upserted))


@given(st.binary(max_size=400))
def test_garbage_is_a_blob_error(octets: bytes) -> None:
    for unpack in (unpack_list, unpack_records, unpack_version_delta, unpack_list_change):
        try:
            unpack(octets)
        except BlobError:
            continue


@given(RECORDS.filter(len), st.integers(min_value=0), st.integers(1, 255))
def test_changed_octets_are_well_formed_or_a_blob_error(block: RecordBlock, position: int, change: int) -> None:
    octets = bytearray(pack_records(block))
    octets[position % len(octets)] ^= change
    try:
        back = unpack_records(bytes(octets))
    except BlobError:
        return
    assert pack_records(back) == bytes(octets)


def test_a_window_on_a_longer_block_is_stored_alone() -> None:
    whole = NameBlock.of([parse_name("a.example"), parse_name("b.example"), parse_name("c.example")])
    window = NameBlock(data=whole.data, offsets=whole.offsets[4:12])
    assert list(unpack_list(pack_list(ListBlock(names=window)))) == [(parse_name("b.example"), 0)]


def test_the_longest_name_and_the_root_are_names() -> None:
    assert len(LONGEST) == 255
    block = ListBlock.of([(LONGEST, 1), (Name(b"\0"), 2)])
    assert list(unpack_list(pack_list(block))) == list(block)


@pytest.mark.parametrize(
    ("name", "reason"),
    [
        (b"", "empty"),
        (b"\x01a\0" * 86, "longer than 255"),
        (b"\x40" + b"a" * 64 + b"\0", "label is longer"),
        (b"\x01A\0", "upper-case"),
        (b"\x01a", "does not end in the root"),
        (b"\x05a\0", "does not end in the root"),
        (b"\x01a\0\0", "before its length"),
        (b"\0\x01a\0", "before its length"),
    ],
)
def test_what_is_no_name_is_not_written(name: bytes, reason: str) -> None:
    good = parse_name("good.example")
    for names in ([Name(name)], [good, Name(name), good]):
        with pytest.raises(ValueError, match=reason):
            pack_list(ListBlock(names=NameBlock.of(names)))


@pytest.mark.parametrize(
    "block",
    [
        NameBlock(data=b"\x01a\0", offsets=b""),
        NameBlock(data=b"\x01a\0", offsets=b"\0\0\0\0\3\0"),
        NameBlock(data=b"\x01a\0", offsets=struct.pack("=II", 0, 4)),
        NameBlock(data=b"\x01a\0", offsets=struct.pack("=III", 0, 3, 0)),
    ],
)
def test_offsets_that_lie_are_not_written(block: NameBlock) -> None:
    with pytest.raises(ValueError, match=r"offset|empty"):
        pack_list(ListBlock(names=block))


def test_columns_of_other_lengths_are_not_written() -> None:
    name = NameBlock.of([parse_name("a.example")])
    with pytest.raises(ValueError, match="number of tags"):
        pack_list(ListBlock(names=name, tags=bytes(8)))
    with pytest.raises(ValueError, match="number of actions"):
        pack_records(RecordBlock(names=name, actions=b"\4\4"))
    for action in (b"\0", b"\7"):
        with pytest.raises(ValueError, match="unknown action"):
            pack_records(RecordBlock(names=name, actions=action))


def test_a_serial_out_of_range_is_not_written() -> None:
    with pytest.raises(ValueError, match="out of range"):
        pack_version_delta(VersionDelta(from_serial=2**32, to_serial=0, at=0, delta=RecordDelta()))
