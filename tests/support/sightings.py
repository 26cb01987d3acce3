"""Sightings of names, for whoever stores or encodes them."""

from collections.abc import Sequence

import numpy as np

from tapir.codec.newqname import Sightings
from tapir.model.blocks import NameBlock
from tapir.model.names import Name

MAY = 1_779_970_393_500_000
"""2026-05-28T12:13:13.5Z"""


def sightings_of(
    names: Sequence[bytes], *, flags: int = 0x8180, qtype: int = 1, qclass: int = 1, time: int = MAY
) -> Sightings:
    """A row for each name, which is in wire form."""
    count = len(names)
    return Sightings(
        names=NameBlock.of(map(Name, names)),
        flags=np.full(count, flags, np.uint16),
        qtype=np.full(count, qtype, np.uint16),
        qclass=np.full(count, qclass, np.uint16),
        time=np.full(count, time, np.int64),
        name_hash=np.zeros(count, np.uint64),
    )


def named(label: str) -> bytes:
    """`label` below `example.`, in wire form."""
    return bytes((len(label),)) + label.encode() + b"\7example\0"
