r"""Canonical order (RFC 4034 §6.1) as a sort key of plain bytes.

The key is the labels from the right, each closed by a zero octet: `www.example.` is `example\0www\0`. What
lies at or below a name is then exactly what begins with the name's key, so a subtree is a range and an empty
non-terminal is seen from its neighbour. Labels may hold octets 0 and 1 themselves; they become two octets
(0 → 1 1, 1 → 1 2), which keeps the order and frees 0 for closing.
"""

from array import array
from bisect import bisect_right
from collections.abc import Iterator
from typing import Final

import numpy as np

from tapir.model.blocks import NameBlock
from tapir.model.names import Name

_BUCKET: Final = 1024
_SAMPLES_PER_BUCKET: Final = 8


def order_key(name: Name) -> bytes:
    """The key by which names stand in canonical order."""
    labels = []
    position = 0
    while length := name[position]:
        end = position + 1 + length
        labels.append(name[position + 1 : end])
        position = end
    if not labels:
        return b""
    labels.reverse()
    key = b"\0".join(labels) + b"\0"
    if b"\1" in key or key.count(0) != len(labels):
        return b"".join(_escape(label) + b"\0" for label in labels)
    return key


def _escape(label: bytes) -> bytes:
    return label.replace(b"\1", b"\1\2").replace(b"\0", b"\1\1")


def in_order(names: NameBlock) -> Iterator[tuple[bytes, int]]:
    """Every name's (order key, index in `names`), in order; equal names stay in the order given.

    A million names are not sorted at once: one call of `sorted` would hold the interpreter for a second, and
    their keys would take more memory than the zone. They are dealt into buckets of about a thousand by
    sampled splitters, and each bucket is sorted as it is reached.
    """
    data = names.data
    offsets = memoryview(names.offsets).cast("I")
    if len(names) <= 2 * _BUCKET:
        yield from sorted((order_key(name), index) for index, name in enumerate(names))
        return
    splitters = _splitters(names)
    buckets = array("I", [bisect_right(splitters, order_key(name)) for name in names])
    numbers = np.frombuffer(buckets, dtype=np.uint32)
    dealt = np.argsort(numbers, kind="stable")
    ends = np.cumsum(np.bincount(numbers, minlength=len(splitters) + 1))
    start = 0
    for end in ends.tolist():
        indices = dealt[start:end].tolist()
        yield from sorted((order_key(Name(data[offsets[i] : offsets[i + 1]])), i) for i in indices)
        start = end


def _splitters(names: NameBlock) -> list[bytes]:
    count = len(names)
    data = names.data
    offsets = memoryview(names.offsets).cast("I")
    step = max(1, _BUCKET // _SAMPLES_PER_BUCKET)
    sample = sorted(order_key(Name(data[offsets[i] : offsets[i + 1]])) for i in range(0, count, step))
    return sample[_SAMPLES_PER_BUCKET::_SAMPLES_PER_BUCKET]
