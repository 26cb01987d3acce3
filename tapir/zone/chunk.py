"""Chunks: runs of records in canonical order, each already the body of a DNS message.

A chunk is at most MAX_OCTETS of wire, so that a message with it, the longest question and an OPT stays
within the 16 KiB that compression pointers and common implementations like. New chunks are filled to
FILL_OCTETS only: the next few records find room without splitting.
"""

from collections.abc import Sequence
from typing import Final

import attrs
import numpy as np

import tapir.kernels.zone
from tapir.codec.columns import (
    NO_CHANGES,
    NO_NUMBERS,
    Changes,
    Numbers,
    filled,
    name_of,
    octets_of,
    offsets_of,
    scratch,
)
from tapir.model.blocks import EMPTY_NAMES, NameBlock, RecordBlock
from tapir.model.names import MAX_NAME, Name, format_name
from tapir.zone.encoding import ZoneEncoding, label_of
from tapir.zone.errors import ZoneError
from tapir.zone.order import order_key

MAX_OCTETS: Final = 15 * 1024
FILL_OCTETS: Final = 14 * 1024
MIN_OCTETS: Final = 4 * 1024

_DESK_OCTETS: Final = 256 * 1024
_DESK_RECORDS: Final = 8 * 1024
_RECORD_OCTETS: Final = 2 * MAX_NAME + 16
"""more than any record takes: a name, another one as its target, and the rest of the tail"""

_ALL: Final = memoryview(b"").cast("H")


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

    def __len__(self) -> int:
        return len(self.actions)

    @property
    def places(self) -> memoryview:
        """`starts` as numbers."""
        return memoryview(self.starts).cast("H")

    def names(self, tail_starts: memoryview, records: memoryview = _ALL) -> NameBlock:
        """The names of the records of these numbers, or of all."""
        count = len(records) or len(self)
        offsets = np.zeros(count + 1, dtype=np.uint32)
        data = bytearray(len(self.wire))
        self.put_names(tail_starts, memoryview(data), offsets.data, 0, records)
        return NameBlock(data=bytes(data[: int(offsets[-1])]), offsets=octets_of(offsets))

    def put_names(
        self, tail_starts: memoryview, out: memoryview, offsets: memoryview, count: int, records: memoryview = _ALL
    ) -> int:
        """Write names behind the `count` in `out`; returns how many are there then."""
        return int(
            tapir.kernels.zone.names(self.wire, self.places, self.actions, tail_starts, records, out, offsets, count)
        )

    def name(self, index: int, tail_starts: memoryview) -> Name:
        """The name of record `index`."""
        places = self.places
        action = self.actions[index]
        end = places[index + 1] - (tail_starts[action + 1] - tail_starts[action])
        return Name(self.wire[places[index] : end] + b"\0")

    def key(self, index: int, tail_starts: memoryview) -> bytes:
        """The order key of record `index`."""
        return order_key(self.name(index, tail_starts))

    def seek(self, name: Name) -> tuple[int, bool]:
        """The number of the first record that is not before `name`, and whether it is the name's own."""
        found = tapir.kernels.zone.seek(self.wire, self.places, name, scratch())
        return found >> 1, bool(found & 1)

    def __repr__(self) -> str:
        return f"<Chunk of {len(self)} records, {len(self.wire)} octets>"


NO_RECORDS: Final = Chunk(b"", b"\0\0", b"", b"")
"""what changes are merged into where there is no chunk; in no version"""


class Packer:
    """Cuts records that come in order into chunks.

    `chunks` is what came of it; whole chunks may be put there between two runs. `flush` ends a run: what is
    pending becomes one chunk, or several of about the same size. `base` is what complaints call the records that
    changes are made to.
    """

    def __init__(self, encoding: ZoneEncoding, base: str = "what is there") -> None:
        self.chunks: list[Chunk] = []
        self._base = base
        self._encoding = encoding
        self._tails = (encoding.tail_octets, encoding.tail_starts, encoding.longest)
        self._wire = np.empty(_DESK_OCTETS, dtype=np.uint8).data
        self._starts = np.empty(_DESK_RECORDS + 1, dtype=np.uint32)
        self._starts[0] = 0
        self._places = self._starts.data
        self._actions = np.empty(_DESK_RECORDS, dtype=np.uint8).data
        self._cuts = np.empty(64, dtype=np.uint32).data
        self._state = np.zeros(4, dtype=np.int64).data
        self._marks = scratch()
        self._count = 0

    @property
    def pending_octets(self) -> int:
        """How much waits for the next chunk."""
        return int(self._places[self._count])

    def pack(self, records: RecordBlock, order: Numbers | None = None) -> None:
        """Take the records of a block, as they are given or in another `order`. Raises ZoneError for what none says."""
        names = records.names
        offsets = offsets_of(names)
        numbers = NO_NUMBERS if order is None else order.data
        place = 0
        while place < len(records):
            place, self._count = tapir.kernels.zone.pack(
                names.data,
                offsets,
                numbers,
                records.actions,
                place,
                *self._tails,
                self._wire,
                self._places,
                self._actions,
                self._count,
                _RECORD_OCTETS,
            )
            if place < 0:
                number = -1 - place if order is None else int(order[-1 - place])
                raise ZoneError(self._encoding.problem_of(name_of(names, number), records.actions[number]))
            self._cut()

    def merge(self, chunk: Chunk, changes: Changes, done: int, until: int) -> int:
        """Take the records of `chunk` with the changes from `done` to `until`, which is returned.

        Raises ZoneError for a change that does not fit, or that no record says.
        """
        state = self._state
        state[0] = 0
        state[1] = done
        while True:
            state[2] = self._count
            result = tapir.kernels.zone.merge(
                chunk.wire,
                chunk.places,
                chunk.actions,
                changes.names.data,
                offsets_of(changes.names),
                changes.before,
                changes.after,
                until,
                *self._tails,
                self._wire,
                self._places,
                self._actions,
                state,
                _RECORD_OCTETS,
                self._marks,
            )
            self._count = state[2]
            if result > 1:
                raise ZoneError(self._refusal(changes, state[1], state[3] if result == 2 else None))
            self._cut()
            if result == 0:
                return until

    def extend(self, chunk: Chunk) -> None:
        """Take the records of `chunk`."""
        self.merge(chunk, NO_CHANGES, 0, 0)

    def reopen(self) -> None:
        """Put the records of the last chunk, if there is one, before what is pending."""
        if self.chunks:
            pending = self._chunk(0, self._count)
            self._count = 0
            self.extend(self.chunks.pop())
            self.extend(pending)

    def flush(self) -> None:
        """End the run."""
        while (octets := self.pending_octets) > MAX_OCTETS:
            pieces = -(-octets // FILL_OCTETS)
            tapir.kernels.zone.cut(self._places, self._count, octets // pieces, self._cuts[:1])
            self._emit(self._cuts[0])
        if self._count:
            self._emit(self._count)

    def _cut(self) -> None:
        """Make chunks of what is pending, until less than two of them are left."""
        while found := tapir.kernels.zone.cut(self._places, self._count, FILL_OCTETS, self._cuts):
            self._emit(*self._cuts[:found])

    def _emit(self, *ends: int) -> None:
        """Make chunks of the first records, up to each of `ends`, and move the others to the front."""
        begin = 0
        for end in ends:
            self.chunks.append(self._chunk(begin, end))
            begin = end
        octets = self._places[begin]
        left = self.pending_octets - octets
        self._wire[:left] = bytes(self._wire[octets : octets + left])
        self._actions[: self._count - begin] = bytes(self._actions[begin : self._count])
        self._starts[: self._count - begin + 1] = self._starts[begin : self._count + 1] - np.uint32(octets)
        self._count -= begin

    def _chunk(self, begin: int, end: int) -> Chunk:
        octets = self._places[begin]
        wire = bytes(self._wire[octets : self._places[end]])
        starts = (self._starts[begin : end + 1] - np.uint32(octets)).astype(np.uint16)
        actions = bytes(self._actions[begin:end])
        tail = len(self._encoding.tails[actions[0]])
        return Chunk(wire, starts.tobytes(), actions, order_key(Name(wire[: int(starts[1]) - tail] + b"\0")))

    def _refusal(self, changes: Changes, index: int, present: int | None) -> str:
        name, old, new = changes.name(index), changes.before[index], changes.after[index]
        if present is None:
            return self._encoding.problem_of(name, new)
        return (
            f"the change of {format_name(name)} from {label_of(old)} to {label_of(new)} does not fit "
            f"{self._base}, where it is {label_of(present)}"
        )


def names_of(chunks: Sequence[Chunk], tail_starts: memoryview) -> NameBlock:
    """The names of all records of `chunks`."""
    actions = np.frombuffer(b"".join([chunk.actions for chunk in chunks]), dtype=np.uint8)
    if not len(actions):
        return EMPTY_NAMES
    tails = np.diff(np.asarray(tail_starts))
    taken = int((np.bincount(actions, minlength=len(tails)) * tails).sum())
    octets = sum([len(chunk.wire) for chunk in chunks]) + len(actions) - taken
    offsets = np.zeros(len(actions) + 1, dtype=np.uint32)

    def fill(out: memoryview) -> None:
        done = 0
        for chunk in chunks:
            done = chunk.put_names(tail_starts, out, offsets.data, done)

    return NameBlock(data=filled(octets, fill), offsets=octets_of(offsets))
