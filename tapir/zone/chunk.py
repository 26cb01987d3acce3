"""Chunks: runs of records in canonical order, each already the body of a DNS message.

A chunk is at most MAX_OCTETS of wire, so that a message with it, the longest question and an OPT stays
within the 16 KiB that compression pointers and common implementations like. New chunks are filled to
FILL_OCTETS only: the next few records find room without splitting.
"""

from array import array
from collections.abc import Iterator
from typing import Final

import attrs

from tapir.model.names import Name
from tapir.zone.order import order_key

MAX_OCTETS: Final = 15 * 1024
FILL_OCTETS: Final = 14 * 1024
MIN_OCTETS: Final = 4 * 1024

Entry = tuple[bytes, int]
"""One record of a chunk: its wire form and its `Action`."""


@attrs.frozen(eq=False, repr=False)
class Chunk:
    """`len` records back to back in `wire`; record i is `wire[starts[i]:starts[i + 1]]`.

    `starts` holds len + 1 native uint16, `actions` an octet a record. Never empty.
    """

    wire: bytes
    starts: bytes
    actions: bytes
    first: bytes
    """the order key of the first record"""

    @classmethod
    def of(cls, entries: list[Entry], tails: tuple[bytes, ...]) -> "Chunk":
        """The chunk of `entries`, which are in order."""
        starts = array("H", bytes(2 * (len(entries) + 1)))
        position = 0
        for index, (record, _) in enumerate(entries, 1):
            position += len(record)
            starts[index] = position
        actions = bytes([action for _, action in entries])
        wire = b"".join([record for record, _ in entries])
        return cls(wire, starts.tobytes(), actions, order_key(owner_of(entries[0], tails)))

    def __len__(self) -> int:
        return len(self.actions)

    def entries(self) -> list[Entry]:
        """All records, in order."""
        wire = self.wire
        starts = memoryview(self.starts).cast("H").tolist()
        return [(wire[start:end], action) for start, end, action in zip(starts, starts[1:], self.actions, strict=False)]

    def names(self, tails: tuple[bytes, ...]) -> Iterator[Name]:
        """The names of all records, in order."""
        wire = self.wire
        lengths = [len(tail) for tail in tails]
        start = 0
        for end, action in zip(memoryview(self.starts).cast("H")[1:], self.actions, strict=True):
            yield Name(wire[start : end - lengths[action]] + b"\0")
            start = end

    def key(self, index: int, tails: tuple[bytes, ...]) -> bytes:
        """The order key of record `index`."""
        starts = memoryview(self.starts).cast("H")
        end = starts[index + 1] - len(tails[self.actions[index]])
        return order_key(Name(self.wire[starts[index] : end] + b"\0"))

    def __repr__(self) -> str:
        return f"<Chunk of {len(self)} records, {len(self.wire)} octets>"


def owner_of(entry: Entry, tails: tuple[bytes, ...]) -> Name:
    """The name of the rule whose record `entry` is."""
    record, action = entry
    return Name(record[: len(record) - len(tails[action])] + b"\0")


class Packer:
    """Cuts records that come in order into chunks.

    `chunks` is what came of it; whole chunks may be put there between two runs. `flush` ends a run: what is
    pending becomes one chunk, or several of about the same size.
    """

    def __init__(self, tails: tuple[bytes, ...]) -> None:
        self.chunks: list[Chunk] = []
        self._tails = tails
        self._pending: list[Entry] = []
        self._octets = 0

    @property
    def pending_octets(self) -> int:
        """How much waits for the next chunk."""
        return self._octets

    def add(self, entry: Entry) -> None:
        """Take the next record."""
        self._pending.append(entry)
        self._octets += len(entry[0])
        if self._octets >= 2 * FILL_OCTETS:
            self._emit(FILL_OCTETS)

    def extend(self, entries: list[Entry]) -> None:
        """Take the next records."""
        for entry in entries:
            self.add(entry)

    def reopen(self) -> None:
        """Put the records of the last chunk, if there is one, before what is pending."""
        if self.chunks:
            last = self.chunks.pop()
            self._pending[:0] = last.entries()
            self._octets += len(last.wire)

    def flush(self) -> None:
        """End the run."""
        while self._octets > MAX_OCTETS:
            pieces = -(-self._octets // FILL_OCTETS)
            self._emit(self._octets // pieces)
        if self._pending:
            self._emit(self._octets)

    def _emit(self, octets: int) -> None:
        """Make a chunk of the first records that reach `octets`."""
        taken = 0
        count = 0
        while taken < octets:
            taken += len(self._pending[count][0])
            count += 1
        self.chunks.append(Chunk.of(self._pending[:count], self._tails))
        del self._pending[:count]
        self._octets -= taken
