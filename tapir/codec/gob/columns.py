"""A long list between its columns and a stream, without an object for each name on the way.

What `encode_list(export_list(...))` and `import_list(decode_list(...))` do, in a fraction of the memory. A stream
begins with its length, so all of it is there before the first octet can go; but it is made in pieces, and whoever
makes it can do something else between them.
"""

import itertools
from collections.abc import Iterator
from typing import Final

import numpy as np

from tapir.codec.collected import CollectedObservations
from tapir.codec.gob.exchange import (
    INTERVAL,
    ImportedList,
    describe_list,
    entry_of,
    slot_of,
    times_of,
)
from tapir.codec.gob.reading import MAX_NAMES, MAX_STREAM, Stream, read_stream
from tapir.codec.gob.times import NOTHING, GobTime, encode_time
from tapir.codec.gob.types import LIST
from tapir.codec.gob.values import WbgList
from tapir.codec.gob.wire import GobError, encode_int, encode_octets, encode_text, encode_uint
from tapir.codec.gob.writing import PREFIX, encode_entry, encode_value
from tapir.model.actions import ListKind
from tapir.model.blocks import NameBlock, ObservationBlock
from tapir.model.names import Name, NameSyntaxError, format_name, parse_name

_PIECE: Final = 1 << 16
_FROM_ZONE_NAME_TO_NAMES: Final = b"\3"
_FROM_NAMES_TO_REAPER: Final = b"\1"
_TRUE: Final = b"\1"


def encode_in_pieces(
    observations: ObservationBlock,
    *,
    source: str,
    kind: ListKind,
    topics: tuple[str, ...] = (),
    interval: int = INTERVAL,
) -> Iterator[bytes]:
    """What `encode_list` makes of `observations`, in pieces of some 64 KiB, but for what `encode_start` makes."""
    # The last field that is there is RpzZoneName; behind it comes the 0 that ends the list.
    head = encode_value(describe_list(source=source, kind=kind, topics=topics))[:-1]
    piece = bytearray(encode_int(LIST) + head + _FROM_ZONE_NAME_TO_NAMES + encode_uint(len(observations)))
    for entry in observations:
        named = entry_of(*entry)
        piece += encode_text(named.name)
        piece += encode_entry(named)
        if len(piece) >= _PIECE:
            yield bytes(piece)
            piece.clear()
    slots, order, bounds = _slots_of(observations, interval)
    piece += _FROM_NAMES_TO_REAPER + encode_uint(len(slots))
    for slot, (start, end) in zip(slots, itertools.pairwise(bounds), strict=True):
        piece += encode_octets(encode_time(GobTime(seconds=slot))) + encode_uint(end - start)
        for row in order[start:end]:
            piece += encode_text(format_name(_name_at(observations.names, row))) + _TRUE
            if len(piece) >= _PIECE:
                yield bytes(piece)
                piece.clear()
    yield bytes(piece) + b"\0"


def encode_start(length: int) -> bytes:
    """What a stream begins with whose pieces have `length` octets together."""
    return PREFIX + encode_uint(length)


def read_list(
    data: bytes, *, max_size: int = MAX_STREAM, max_names: int = MAX_NAMES
) -> tuple[WbgList, ImportedList, int]:
    """The list that `data` begins with, without its names; what it says of names; and where it ends.

    As `import_list`. Slots are passed over. Raises GobError, and nothing else whatever the octets.
    """
    if len(data) > max_size:
        raise GobError(f"it has {len(data)} octets, {max_size} are allowed")
    columns = _Columns(data, max_names)
    found = read_stream(columns)
    return found, columns.imported(), columns.reader.position


class _Columns(Stream):
    """A stream whose names go into columns as they are read."""

    def __init__(self, data: bytes, max_names: int) -> None:
        super().__init__(data, max_names)
        self._begin()

    def _begin(self) -> None:
        self._found = CollectedObservations()
        self._refused = 0
        self._reason: str | None = None

    def names(self, number: int) -> None:
        """Read the map of names."""
        self._begin()
        for key, fields in self.entries(number):
            try:
                name = parse_name(key)
            except NameSyntaxError as exc:
                self._refused += 1
                self._reason = self._reason or exc.reason
                continue
            observed, deadline = times_of(fields.get("TimeAdded", NOTHING), fields.get("TTL", 0))
            self._found.add(name, fields.get("TagMask", 0), observed, deadline)

    def reaper(self, number: int) -> None:
        """Pass over the slots: times hold, whatever stands there."""
        self.skip(number, 1)

    def imported(self) -> ImportedList:
        """What was read."""
        return ImportedList(observations=self._found.done(), refused=self._refused, reason=self._reason)


def _slots_of(observations: ObservationBlock, interval: int) -> tuple[list[int], memoryview, list[int]]:
    """The slots in which names leave; the rows by slot; and where in those each slot begins, and the last one ends."""
    slots = slot_of(np.frombuffer(observations.deadlines, np.int64), interval)
    order = np.argsort(slots, kind="stable")
    found, starts = np.unique(slots[order], return_index=True)
    return found.tolist(), order.data, [*starts.tolist(), len(order)]


def _name_at(names: NameBlock, row: int) -> Name:
    offsets = memoryview(names.offsets).cast("I")
    return Name(names.data[offsets[row] : offsets[row + 1]])
