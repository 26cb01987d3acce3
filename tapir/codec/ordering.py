"""The names of a block in order of their wire octets, and some of its names as a block: outside the interpreter lock.

A sort or a join of a million `bytes` would hold the lock for most of a second, and the event loop serves DNS meanwhile.
"""

import io
from typing import Final

import numpy as np
import numpy.typing as npt

from tapir.codec.columns import octets_of
from tapir.kernels import sorting
from tapir.model.blocks import NameBlock

Positions = npt.NDArray[np.uint32]

_PIECE: Final = 1 << 20
"""Octets copied at a time, which is what holds the lock."""


def in_order(names: NameBlock, which: Positions) -> Positions:
    """Those `which` of `names` in order of their octets, of equal ones the last."""
    offsets = np.frombuffer(names.offsets, np.uint32)
    ordered = np.array(which, np.uint32)
    spare, counts = np.empty_like(ordered), np.empty(2048, np.uint32)
    keys, spare_keys = np.empty(len(which), np.uint64), np.empty(len(which), np.uint64)
    sorting.sort_names(names.data, offsets, ordered, keys, spare, spare_keys, counts)
    return ordered[: sorting.drop_repeats(names.data, offsets, ordered)]


def take_names(names: NameBlock, which: Positions) -> NameBlock:
    """The names `which`, in their order."""
    offsets = np.frombuffer(names.offsets, np.uint32)
    taken = np.zeros(len(which) + 1, np.uint32)
    np.cumsum(np.diff(offsets)[which], out=taken[1:])
    data = io.BytesIO()  # grows in place, and hands out what it holds without copying it
    piece = memoryview(bytearray(_PIECE))
    position = 0
    while position < len(which):
        position, size = sorting.gather(names.data, offsets, which, position, piece)
        data.write(piece[:size])
    return NameBlock(data=data.getvalue(), offsets=octets_of(taken))
