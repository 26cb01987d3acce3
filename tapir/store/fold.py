"""Apply a log of changes to a block, as vector operations: no Python object per name.

All names of the base and of the changes are laid end to end, and equal names are brought together by
sorting on a 64-bit hash. The last word on a name decides whether it stays. The hash's multiplier is drawn anew for
every fold, so nobody can prepare names that collide; should two names collide all the same, that is
noticed (equal hash, other octets) and another multiplier is drawn.
"""

import os
from collections.abc import Sequence
from typing import Final

import attrs
import numpy as np
from numpy.typing import NDArray

from tapir.model.blocks import ListBlock, NameBlock, RecordBlock, RecordDelta
from tapir.store.blobs import BlobError

_CHUNK: Final = 1 << 16
_DRAWS: Final = 16


def fold_records(base: RecordBlock, deltas: Sequence[RecordDelta]) -> RecordBlock:
    """`base` after all of `deltas`.

    Raises BlobError when a delta removes a record that is not there, or adds one that is.
    """
    parts = [base]
    adds = [True]
    for delta in deltas:
        parts += [delta.removed, delta.added]
        adds += [False, True]
    folded = _fold([part.names for part in parts], adds)
    actions = np.frombuffer(b"".join(part.actions for part in parts), dtype=np.uint8)
    folded.check_alternation()
    folded.check_removed(actions)
    return RecordBlock(names=folded.names(), actions=actions[folded.kept].tobytes())


def fold_list(base: ListBlock, changes: Sequence[tuple[NameBlock, ListBlock]]) -> ListBlock:
    """`base` after all (removed, upserted) `changes`; removing a name that is not there changes nothing."""
    parts = [base.names]
    tags = [_tags_of(base)]
    adds = [True]
    for removed, upserted in changes:
        parts += [removed, upserted.names]
        tags += [np.zeros(len(removed), dtype=np.uint32), _tags_of(upserted)]
        adds += [False, True]
    folded = _fold(parts, adds)
    kept = np.concatenate(tags)[folded.kept]
    return ListBlock(names=folded.names(), tags=kept.tobytes() if bool(kept.any()) else b"")


def _tags_of(block: ListBlock) -> NDArray[np.uint32]:
    if not block.tags:
        return np.zeros(len(block), dtype=np.uint32)
    return np.frombuffer(block.tags, dtype=np.uint32)


@attrs.frozen(kw_only=True, eq=False)
class _Folded:
    """Every name of every part in one row, grouped by `order`, and which of them are `kept`."""

    octets: NDArray[np.uint8]
    lengths: NDArray[np.int64]
    adds: NDArray[np.bool_]
    order: NDArray[np.int64]
    """positions, equal names together, each group in the order in which it was said"""
    first: NDArray[np.bool_]
    """whether `order[i]` begins a group"""
    kept: NDArray[np.int64]

    def names(self) -> NameBlock:
        keep = np.zeros(len(self.lengths), dtype=np.bool_)
        keep[self.kept] = True
        offsets = np.zeros(len(self.kept) + 1, dtype=np.uint32)
        np.cumsum(self.lengths[self.kept], out=offsets[1:], dtype=np.uint32)
        return NameBlock(data=self.octets[np.repeat(keep, self.lengths)].tobytes(), offsets=offsets.tobytes())

    def check_alternation(self) -> None:
        """Raise BlobError unless every name is added, removed, added … in turn."""
        if not len(self.order):
            return
        begins = np.flatnonzero(self.first)
        sizes = np.diff(np.append(begins, len(self.order)))
        rank = np.arange(len(self.order)) - np.repeat(begins, sizes)
        if bool((self.adds[self.order] != (rank % 2 == 0)).any()):
            raise BlobError("a delta does not fit the records that it changes")

    def check_removed(self, values: NDArray[np.uint8]) -> None:
        """Raise BlobError unless what is removed has the value with which it was added."""
        removals = np.flatnonzero(~self.adds[self.order])
        if bool((values[self.order[removals]] != values[self.order[removals - 1]]).any()):
            raise BlobError("a delta removes a record with another action than it has")


def _fold(parts: Sequence[NameBlock], adds: Sequence[bool]) -> _Folded:
    lengths = np.concatenate([_lengths_of(part) for part in parts])
    octets = np.frombuffer(b"".join(_octets_of(part) for part in parts), dtype=np.uint8)
    added = np.repeat(np.array(adds, dtype=np.bool_), [len(part) for part in parts])
    for _ in range(_DRAWS):
        hashes = _hash_names(octets, lengths, _draw_multiplier())
        order = np.argsort(hashes, kind="stable")
        same = hashes[order[1:]] == hashes[order[:-1]]
        if _are_equal(octets, lengths, order[1:][same], order[:-1][same]):
            break
    else:
        raise BlobError(f"names collide under {_DRAWS} hashes: the machine's random numbers are broken")
    first = np.ones(len(order), dtype=np.bool_)
    first[1:] = ~same
    last = np.ones(len(order), dtype=np.bool_)
    last[:-1] = ~same
    final = order[last]
    return _Folded(
        octets=octets, lengths=lengths, adds=added, order=order, first=first, kept=np.sort(final[added[final]])
    )


def _lengths_of(block: NameBlock) -> NDArray[np.int64]:
    offsets = np.frombuffer(block.offsets, dtype=np.uint32).astype(np.int64)
    return offsets[1:] - offsets[:-1]


def _octets_of(block: NameBlock) -> bytes:
    offsets = memoryview(block.offsets).cast("I")
    return block.data[offsets[0] : offsets[-1]]


def _draw_multiplier() -> int:
    return int.from_bytes(os.urandom(8), "little") | 1


def _hash_names(octets: NDArray[np.uint8], lengths: NDArray[np.int64], multiplier: int) -> NDArray[np.uint64]:
    """A polynomial hash per name, in chunks that keep the temporaries in the cache."""
    powers = np.array([pow(multiplier, exponent, 2**64) for exponent in range(1, 257)], dtype=np.uint64)
    hashes = np.empty(len(lengths), dtype=np.uint64)
    starts = np.cumsum(lengths) - lengths
    for begin in range(0, len(lengths), _CHUNK):
        size = lengths[begin : begin + _CHUNK]
        start = starts[begin : begin + _CHUNK]
        local = start - start[0]
        part = octets[start[0] : start[-1] + size[-1]]
        place = np.arange(len(part)) - np.repeat(local, size)
        hashes[begin : begin + _CHUNK] = np.add.reduceat((part.astype(np.uint64) + 1) * powers[place], local)
    return hashes


def _are_equal(
    octets: NDArray[np.uint8], lengths: NDArray[np.int64], left: NDArray[np.int64], right: NDArray[np.int64]
) -> bool:
    """Whether the names at `left` and at `right` are pairwise the same octets."""
    if bool((lengths[left] != lengths[right]).any()):
        return False
    starts = np.cumsum(lengths) - lengths
    size = lengths[left]
    place = np.arange(int(size.sum())) - np.repeat(np.cumsum(size) - size, size)
    same = octets[np.repeat(starts[left], size) + place] == octets[np.repeat(starts[right], size) + place]
    return bool(same.all())
