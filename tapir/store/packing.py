"""Blocks to octets and back, checked on both ways: what is not a well-formed block is not written either.

A column of names is stored as its count, one length octet a name, and the names back to back. Integers are
little-endian whatever the machine. A block that cannot be packed is its maker's mistake (ValueError), octets that
cannot be unpacked are damage (BlobError).
"""

import contextlib
import struct
from collections.abc import Iterator, Sequence
from typing import Final

import numpy as np
from numpy.typing import NDArray

import tapir.kernels.columns
from tapir.codec.columns import Buffer, concatenated
from tapir.codec.passed import check
from tapir.model.actions import Action
from tapir.model.blocks import (
    NOTHING_PASSED,
    ListBlock,
    NameBlock,
    PassedDelta,
    RecordBlock,
    RecordDelta,
    VersionDelta,
)
from tapir.model.names import MAX_LABEL, MAX_NAME
from tapir.store.blobs import BlobError

_NAMES: Final = struct.Struct("<IQ")
_COUNT: Final = struct.Struct("<I")
_VERSION_DELTA: Final = struct.Struct("<IIq")
_MAX_OCTETS: Final = 2**32 - 1
_PROBLEMS: Final = (
    f"a name is empty or longer than {MAX_NAME} octets",
    "a name has an upper-case letter",
    f"a label is longer than {MAX_LABEL} octets",
    "a name ends before its length does",
    "a name does not end in the root",
)
"""what the kernel's numbers say, from 1 on"""


def pack_list(block: ListBlock) -> bytes:
    """`block` as octets. Raises ValueError when it is not well formed."""
    return concatenated(_list_parts(block))


def pack_records(block: RecordBlock) -> bytes:
    """`block` as octets. Raises ValueError when it is not well formed."""
    return concatenated(_record_parts(block))


def pack_version_delta(delta: VersionDelta) -> bytes:
    """`delta` as octets. Raises ValueError when it is not well formed."""
    try:
        head = _VERSION_DELTA.pack(delta.from_serial, delta.to_serial, delta.at)
    except struct.error as exc:
        raise ValueError(f"a serial or a time is out of range: {exc}") from exc
    passed = delta.delta.passed
    rest = [pack_passed(passed.removed), pack_passed(passed.added)] if len(passed) else []
    return concatenated([head, *_record_parts(delta.delta.removed), *_record_parts(delta.delta.added), *rest])


def pack_passed(records: Sequence[bytes]) -> bytes:
    """Records that are passed through as octets. Raises ValueError for one that is not well formed."""
    parts = [_COUNT.pack(len(records))]
    for record in records:
        check(record)
        parts += (_COUNT.pack(len(record)), record)
    return concatenated(parts)


def pack_list_change(removed: NameBlock, upserted: ListBlock) -> bytes:
    """A change of a list as octets. Raises ValueError when it is not well formed."""
    return concatenated([*_name_parts(removed), *_list_parts(upserted)])


def _name_parts(block: NameBlock) -> list[Buffer]:
    lengths, data = _columns(block)
    return [_NAMES.pack(len(lengths), len(data)), lengths.data, data]


def _list_parts(block: ListBlock) -> list[Buffer]:
    if block.tags and len(block.tags) != 4 * len(block.names):
        raise ValueError("a list has another number of tags than of names")
    tags = np.frombuffer(block.tags, dtype=np.uint32).astype("<u4", copy=False)
    return [*_name_parts(block.names), bytes((bool(len(tags)),)), tags.view(np.uint8).data]


def _record_parts(block: RecordBlock) -> list[Buffer]:
    _check_actions(block.actions, len(block.names))
    return [*_name_parts(block.names), block.actions]


def unpack_list(octets: bytes) -> ListBlock:
    """The block that `pack_list` packed. Raises BlobError."""
    with _unpacking(octets) as reader:
        return reader.list()


def unpack_records(octets: bytes) -> RecordBlock:
    """The block that `pack_records` packed. Raises BlobError."""
    with _unpacking(octets) as reader:
        return reader.records()


def unpack_passed(octets: bytes) -> tuple[bytes, ...]:
    """The records that `pack_passed` packed. Raises BlobError."""
    with _unpacking(octets) as reader:
        return reader.passed()


def unpack_version_delta(octets: bytes) -> VersionDelta:
    """The delta that `pack_version_delta` packed. Raises BlobError."""
    with _unpacking(octets) as reader:
        from_serial, to_serial, at = _VERSION_DELTA.unpack(reader.take(_VERSION_DELTA.size))
        removed, added = reader.records(), reader.records()
        # Where nothing is passed through there is nothing more, as it was before anything could be.
        passed = PassedDelta(removed=reader.passed(), added=reader.passed()) if reader.more() else NOTHING_PASSED
        delta = RecordDelta(removed=removed, added=added, passed=passed)
        return VersionDelta(from_serial=from_serial, to_serial=to_serial, at=at, delta=delta)


def unpack_list_change(octets: bytes) -> tuple[NameBlock, ListBlock]:
    """The (removed, upserted) pair that `pack_list_change` packed. Raises BlobError."""
    with _unpacking(octets) as reader:
        return reader.names(), reader.list()


@contextlib.contextmanager
def _unpacking(octets: bytes) -> Iterator["_Reader"]:
    """A reader that must have read all of `octets` in the end; what is wrong with them is a BlobError."""
    reader = _Reader(octets)
    try:
        yield reader
        reader.finish()
    except ValueError as exc:
        raise BlobError(str(exc)) from exc


class _Reader:
    """Takes parts off the front of some octets, never past their end."""

    def __init__(self, octets: bytes) -> None:
        self._octets = octets
        self._position = 0

    def take(self, count: int) -> bytes:
        end = self._position + count
        if end > len(self._octets):
            raise ValueError("a block is cut short")
        part = concatenated([memoryview(self._octets)[self._position : end]])
        self._position = end
        return part

    def more(self) -> bool:
        return self._position < len(self._octets)

    def finish(self) -> None:
        if self._position != len(self._octets):
            raise ValueError("a block is followed by something else")

    def names(self) -> NameBlock:
        count, octets = _NAMES.unpack(self.take(_NAMES.size))
        lengths = np.frombuffer(self.take(count), dtype=np.uint8)
        if octets > _MAX_OCTETS or int(lengths.sum(dtype=np.int64)) != octets:
            raise ValueError("the names have another length than they claim")
        data = self.take(octets)
        offsets = np.zeros(count + 1, dtype=np.uint32)
        np.cumsum(lengths, out=offsets[1:], dtype=np.uint32)
        names = NameBlock(data=data, offsets=offsets.tobytes())
        _check_names(names.offsets, data)
        return names

    def list(self) -> ListBlock:
        names = self.names()
        has_tags = self.take(1)
        if has_tags not in (b"\0", b"\1"):
            raise ValueError("a list neither has tags nor has none")
        tags = self.take(4 * len(names)) if has_tags == b"\1" else b""
        return ListBlock(names=names, tags=np.frombuffer(tags, dtype="<u4").astype(np.uint32).tobytes())

    def records(self) -> RecordBlock:
        names = self.names()
        actions = self.take(len(names))
        _check_actions(actions, len(names))
        return RecordBlock(names=names, actions=actions)

    def passed(self) -> tuple[bytes, ...]:
        (count,) = _COUNT.unpack(self.take(_COUNT.size))
        records = []
        for _ in range(count):
            (length,) = _COUNT.unpack(self.take(_COUNT.size))
            record = self.take(length)
            check(record)
            records.append(record)
        return tuple(records)


def _columns(block: NameBlock) -> tuple[NDArray[np.uint8], memoryview]:
    """The lengths of the names and their octets; a block may be a window on a longer `data`."""
    if len(block.offsets) < 4 or len(block.offsets) % 4:
        raise ValueError("a block has no whole number of offsets")
    offsets = np.frombuffer(block.offsets, dtype=np.uint32)
    if int(offsets[-1]) > len(block.data):
        raise ValueError("an offset lies outside the block")
    if bool((offsets[1:] < offsets[:-1]).any()):
        raise ValueError("an offset lies before the one before it")
    _check_names(block.offsets, block.data)
    return (offsets[1:] - offsets[:-1]).astype(np.uint8), memoryview(block.data)[int(offsets[0]) : int(offsets[-1])]


def _check_names(offsets: bytes, data: bytes) -> None:
    """Raise ValueError unless `data` is names in lower-case wire form at these offsets."""
    problem = tapir.kernels.columns.check(data, memoryview(offsets).cast("I"))
    if problem:
        raise ValueError(_PROBLEMS[problem - 1])


def _check_actions(actions: bytes, names: int) -> None:
    if len(actions) != names:
        raise ValueError("there is another number of actions than of names")
    column = np.frombuffer(actions, dtype=np.uint8)
    if actions and not (int(column.min()) > Action.NONE and int(column.max()) <= max(Action)):
        raise ValueError("a record has an unknown action")
