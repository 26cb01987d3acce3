"""The names of a block in order of their wire octets, and some of its names as a block: outside the interpreter lock.

A sort or a join of a million `bytes` would hold the lock for most of a second, and the event loop serves DNS meanwhile.
"""

import numpy as np
import numpy.typing as npt

from tapir.codec.columns import filled, octets_of
from tapir.kernels import sorting
from tapir.model.blocks import NameBlock

Positions = npt.NDArray[np.uint32]


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
    data = filled(int(taken[-1]), lambda out: sorting.gather(names.data, offsets, which, 0, out))
    return NameBlock(data=data, offsets=octets_of(taken))
