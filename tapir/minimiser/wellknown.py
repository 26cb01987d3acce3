"""Well-known names (edm.md §6): a checked DAWG as a table that finds the names of a block, and their rows.

A row is a word's place in the DAWG. A name is found as itself, or by the longest wildcard above it; labels are those of
the wire, so a dot within one is no boundary. The table is made once, of the file as it was when it was checked, and
never looks at it again: it cannot be stale, and the file may go. A list of 100,000 names takes about 4 MB.

The list of question names to ignore is looked up the same way.
"""

from collections.abc import Iterator
from typing import Final

import numpy as np
from numpy.typing import NDArray

import tapir.kernels.questions
from tapir.codec.columns import concatenated
from tapir.codec.dawg import Dawg, DawgError
from tapir.codec.dnstap import DecodedBlock, hash_names
from tapir.codec.edmfiles import EXACT, WILDCARD
from tapir.kernels.wellknown import NameIndex
from tapir.model.names import Name, format_name

_MOST: Final = 10_000_000
_OCTETS: Final = 1 << 30
"""A few octets of a file can stand for words without end, so these are counted."""
_STAR: Final = b"\x01*"
_PART: Final = 1 << 16
"""octets of names that are looked up at once, where messages have more questions than one"""


class WellKnownNames:
    """The names of a list and the rows that they are; made by `index_names`. Safe for any number of threads."""

    __slots__ = ("_index", "_secret", "data", "kinds", "offsets", "refused")

    def __init__(
        self, data: NDArray[np.uint8], offsets: NDArray[np.uint32], kinds: NDArray[np.uint8], secret: bytes
    ) -> None:
        self.data = data
        """names in wire form, wildcards with their star"""
        self.offsets = offsets
        self.kinds = kinds
        """by row: `EXACT`, `WILDCARD`, or 0 for a word that is no name"""
        self.refused = int(np.count_nonzero(kinds == 0))
        # At most half full: what is not there is known to be missing after one look, or two.
        slots = np.zeros(1 << max(3, (2 * len(kinds)).bit_length()), np.uint64)
        self._secret = secret
        hashes = hash_names(data, offsets, secret)
        depths = np.zeros(128, np.uint8)
        key = int.from_bytes(secret[8:]) >> 1
        self._index = NameIndex(data.data, offsets.data, kinds.data, hashes.data, slots.data, depths.data, key)

    def __len__(self) -> int:
        return len(self.kinds)

    def __repr__(self) -> str:
        return f"<WellKnownNames: {len(self)} rows>"

    def lookup(
        self,
        names: NDArray[np.uint8],
        starts: NDArray[np.uint32],
        lengths: NDArray[np.uint32],
        hashes: NDArray[np.uint64],
        outcomes: NDArray[np.uint8],
    ) -> NDArray[np.int32]:
        """The row of each name, -1 for one that is not here or whose outcome is not 0; lower-case wire form.

        `hashes` are what `tapir.codec.dnstap.hashes_of` makes of them with the secret of this table.
        """
        rows = np.empty(len(starts), np.int32)
        self._index.lookup(names.data, starts.data, lengths.data, hashes.data, outcomes.data, rows.data)
        return rows

    def rows_of(self, block: DecodedBlock, outcomes: NDArray[np.uint8]) -> NDArray[np.int32]:
        """The rows of the first questions of a block; `outcomes` as for `lookup`, which may be more than its own."""
        return self.lookup(
            np.frombuffer(block.names, np.uint8), block.name_at, block.name_length, block.name_hash, outcomes
        )

    def ask_all(self, block: DecodedBlock, outcomes: NDArray[np.uint8]) -> NDArray[np.bool_]:
        """Which frames ask for a name that is here in any of their questions (edm.md §5.2)."""
        found = self.rows_of(block, outcomes) >= 0
        rows = np.flatnonzero((block.questions > 1) & ~found & (outcomes == 0))
        if len(rows):
            for owners, names, offsets in _all_questions(block, rows):
                hashes = hash_names(names, offsets, self._secret)
                none = np.zeros(len(owners), np.uint8)
                asked = self.lookup(names, offsets[:-1], np.diff(offsets), hashes, none) >= 0
                found[rows[owners[asked]]] = True
        return found

    def text(self, row: int) -> str:
        """The name of a row as text; a wildcard's first label is a star."""
        return format_name(Name(self.data[self.offsets[row] : self.offsets[row + 1]].tobytes()))

    def find(self, name: bytes) -> int | None:
        """The row of `name`, lower-case wire form; None when it is not here."""
        value = int(hash_names(np.frombuffer(name, np.uint8), np.array((0, len(name)), np.uint32), self._secret)[0])
        row: int = self._index.find(name, value)
        return None if row < 0 else row


def _all_questions(
    block: DecodedBlock, rows: NDArray[np.intp]
) -> Iterator[tuple[NDArray[np.uint32], NDArray[np.uint8], NDArray[np.uint32]]]:
    """The names of all questions in these rows, some thousands at once: whose each is, by number in `rows`, the names,
    and where each begins and the last one ends; good until the next. Raises ValueError for a row that has no message.
    """
    wire_at, wire_length = block.wire_at[rows], block.wire_length[rows]
    state = np.zeros(4, np.int64)
    octets = np.empty(_PART, np.uint8)
    offsets = np.empty(_PART // 16 + 1, np.uint32)
    owners = np.empty(_PART // 16, np.uint32)
    data = memoryview(block.frames.data)
    while count := tapir.kernels.questions.unfold(
        data, wire_at.data, wire_length.data, state.data, octets.data, offsets.data, owners.data
    ):
        if count < 0:
            raise ValueError("a DNS message that decoded is none")
        yield owners[:count], octets, offsets[: count + 1]


def no_names(secret: bytes) -> WellKnownNames:
    """A table of no names."""
    return WellKnownNames(np.empty(0, np.uint8), np.zeros(1, np.uint32), np.empty(0, np.uint8), secret)


def index_names(dawg: Dawg, secret: bytes) -> WellKnownNames:
    """The table of a list's names. Blocking: 0.1 s for 100,000 names, most of it without the interpreter.

    `secret` is the one that blocks are decoded with, since their names are looked up by the hashes they come with.
    Words that are no names, which nobody could ask for, keep their rows. Raises DawgError when there are too many.
    """
    if len(dawg) > _MOST:
        raise DawgError(f"{len(dawg)} words are more than can be looked up ({_MOST})")
    lengths = np.zeros(len(dawg) + 1, np.int64)
    kinds = np.zeros(len(dawg), np.uint8)
    parts: list[bytes] = []
    walk = dawg.names()
    for block, places in walk:
        if walk.characters > _OCTETS:
            raise DawgError(f"its names have more octets than can be looked up ({_OCTETS})")
        if not len(block):
            continue
        rows = np.frombuffer(places, np.uint32) - 1
        offsets = np.frombuffer(block.offsets, np.uint32)
        octets = np.frombuffer(block.data, np.uint8)
        starts = offsets[:-1]
        lengths[rows + 1] = np.diff(offsets)
        # A name with a star for its first label is a wildcard: the star itself is no name that DAWGs hold.
        seconds = np.minimum(starts + 1, len(octets) - 1)
        wild = (octets[starts] == _STAR[0]) & (octets[seconds] == _STAR[1])
        kinds[rows] = np.where(wild, WILDCARD, EXACT)
        parts.append(block.data)
    offsets = np.cumsum(lengths)
    data = np.frombuffer(concatenated(parts), np.uint8)
    return WellKnownNames(data, offsets.astype(np.uint32), kinds, secret)
