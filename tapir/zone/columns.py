"""Columns for the kernels: blocks as buffers, and results as `bytes` that are filled where they lie.

A kernel takes memoryviews, since their elements are plain integers also where it runs uncompiled.
"""

import io
from collections.abc import Callable, Sequence
from typing import Final

import numpy as np
from numpy.typing import NDArray

from tapir.model.blocks import NameBlock

Numbers = NDArray[np.uint32]

NO_NUMBERS: Final = memoryview(b"").cast("I")
"""as an order: as it is given"""


def offsets_of(names: NameBlock) -> memoryview:
    """The offsets of a block as numbers."""
    return memoryview(names.offsets).cast("I")


def scratch() -> memoryview:
    """What the kernels ask for as `marks`."""
    return memoryview(bytearray(256))


def filled(size: int, fill: Callable[[memoryview], object]) -> bytes:
    """The `size` octets that `fill` writes. They are written where they stay: a copy of 20 MB holds the interpreter."""
    if not size:
        return b""
    content = io.BytesIO(bytes(size))
    with content.getbuffer() as buffer:
        fill(buffer)
    return content.getvalue()


def lengths_of(names: NameBlock) -> NDArray[np.uint32]:
    """The length of each name."""
    offsets = np.frombuffer(names.offsets, dtype=np.uint32)
    return offsets[1:] - offsets[:-1]


def joined(blocks: Sequence[NameBlock]) -> NameBlock:
    """All names of `blocks`, one block after the other."""
    if len(blocks) == 1:
        return blocks[0]
    pieces = []
    offsets = [np.zeros(1, dtype=np.uint32)]
    size = 0
    for block in blocks:
        own = np.frombuffer(block.offsets, dtype=np.uint32)
        offsets.append(own[1:] - own[0] + np.uint32(size))
        pieces.append(memoryview(block.data)[own[0] : own[-1]])
        size += len(pieces[-1])
    return NameBlock(data=b"".join(pieces), offsets=np.concatenate(offsets).tobytes())
