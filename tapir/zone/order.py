r"""Canonical order (RFC 4034 §6.1) as a sort key of plain bytes.

The key is the labels from the right, each closed by a zero octet: `www.example.` is `example\0www\0`. What
lies at or below a name is then exactly what begins with the name's key, so a subtree is a range and an empty
non-terminal is seen from its neighbour. Labels may hold octets 0 and 1 themselves; they become two octets
(0 → 1 1, 1 → 1 2), which keeps the order and frees 0 for closing.
"""

import os

import numpy as np

import tapir.kernels.order
import tapir.kernels.zone
from tapir.model.blocks import NameBlock
from tapir.model.names import Name
from tapir.zone.columns import Numbers, filled, lengths_of, offsets_of, scratch


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


def is_ordered(names: NameBlock) -> bool:
    """Whether the names stand in canonical order and none is there twice."""
    return bool(tapir.kernels.zone.disorder(names.data, offsets_of(names), scratch()) == len(names))


def order_of(names: NameBlock) -> Numbers:
    """The numbers of the names, in canonical order; equal names stay in the order given."""
    count = len(names)
    offsets = offsets_of(names)
    marks = scratch()
    split = tapir.kernels.zone.disorder(names.data, offsets, marks)
    if split == count:
        return np.arange(count, dtype=np.uint32)
    order = np.empty(count, dtype=np.uint32)
    if split + tapir.kernels.zone.disorder(names.data, offsets[split:], marks) == count:
        # What is removed and what is added, each in order: nothing is to be sorted.
        tapir.kernels.zone.weave(names.data, offsets, split, order.data, marks)
        return order
    keys = np.empty(tapir.kernels.order.key_octets(names.data, offsets), dtype=np.uint8).data
    starts = np.empty(count + 1, dtype=np.uint32).data
    tapir.kernels.order.make_keys(names.data, offsets, marks, keys, starts)
    words = np.empty(count, dtype=np.uint64).data
    stack = np.empty(384, dtype=np.int64).data
    tapir.kernels.order.sort(keys, starts, order.data, words, stack, int.from_bytes(os.urandom(4)))
    return order


def taken(names: NameBlock, numbers: Numbers) -> NameBlock:
    """The names of these numbers, in this order."""
    offsets = np.empty(len(numbers) + 1, dtype=np.uint32).data
    size = int(lengths_of(names)[numbers].sum())
    source = offsets_of(names)
    if size:
        data = filled(size, lambda out: tapir.kernels.zone.take(names.data, source, numbers.data, out, offsets))
    else:
        data = b""
        offsets[0] = 0
    return NameBlock(data=data, offsets=bytes(offsets))
