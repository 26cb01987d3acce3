"""Records that are passed through from feeds as they are, each as octets of its own.

A record is its owner, relative to the zone and in lower case, then type, class, TTL, length and rdata as on the wire,
without compression. So what is stored, compared and sent is the same octets, but for the end of the owner.
"""

import struct
from collections.abc import Iterable
from typing import Final

from tapir.codec.rpz import CLASS_IN, QUESTION_POINTER
from tapir.model.blocks import NOTHING_PASSED, PassedDelta
from tapir.model.names import Name

MOST_RECORDS: Final = 100_000
MOST_OCTETS: Final = 16 << 20
"""how many records the zone passes through at most, and how many octets of them"""

_FIXED: Final = struct.Struct("!HHIH")


def make(owner: Name, rdtype: int, ttl: int, rdata: bytes) -> bytes:
    """The record."""
    return owner + _FIXED.pack(rdtype, CLASS_IN, ttl, len(rdata)) + rdata


def owner_of(record: bytes) -> Name:
    """The owner, relative to the zone."""
    return Name(record[: _end_of_owner(record)])


def parts_of(record: bytes) -> tuple[Name, int, int, bytes]:
    """Owner, type, TTL and rdata."""
    end = _end_of_owner(record)
    rdtype, _, ttl, _ = _FIXED.unpack_from(record, end)
    return Name(record[:end]), rdtype, ttl, record[end + _FIXED.size :]


def type_of(record: bytes) -> int:
    """The type."""
    end = _end_of_owner(record)
    return int.from_bytes(record[end : end + 2], "big")


def body_of(record: bytes) -> bytes:
    """What follows the owner."""
    return record[_end_of_owner(record) :]


def wire_of(record: bytes) -> bytes:
    """The record as it stands in a message whose question asks for the zone."""
    end = _end_of_owner(record)
    return record[: end - 1] + QUESTION_POINTER + record[end:]


def check(record: bytes) -> None:
    """Raise ValueError unless these octets are a record below the zone's name, of class IN."""
    try:
        end = _end_of_owner(record)
        _, rdclass, _, length = _FIXED.unpack_from(record, end)
    except (IndexError, struct.error) as exc:
        raise ValueError("a record that is passed through is cut short") from exc
    if not 1 < end <= 255 or rdclass != CLASS_IN or end + _FIXED.size + length != len(record):
        raise ValueError("a record that is passed through is not well formed")


def net(deltas: Iterable[PassedDelta]) -> PassedDelta:
    """What `deltas` come to, one after the other. Raises ValueError when they cannot follow each other."""
    removed: dict[bytes, None] = {}
    added: dict[bytes, None] = {}
    for delta in deltas:
        for record in delta.removed:
            if record in added:
                del added[record]
            elif record in removed:
                raise ValueError("a record that is passed through is removed twice")
            else:
                removed[record] = None
        for record in delta.added:
            if record in removed:
                del removed[record]
            elif record in added:
                raise ValueError("a record that is passed through is added twice")
            else:
                added[record] = None
    if not removed and not added:
        return NOTHING_PASSED
    return PassedDelta(removed=tuple(removed), added=tuple(added))


def amended(records: Iterable[bytes], delta: PassedDelta) -> tuple[bytes, ...]:
    """`records` after `delta`, in another order. Raises ValueError when it does not fit them."""
    if not len(delta):
        return tuple(records)
    held: dict[bytes, None] = {}
    for record in records:  # not at once, which would hold the interpreter for as long as it takes
        held[record] = None
    for record in delta.removed:
        if held.pop(record, record) is not None:
            raise ValueError("a record that is passed through is removed where it is not")
    for record in delta.added:
        if record in held:
            raise ValueError("a record that is passed through is added where it is")
        held[record] = None
    return tuple(held)


def between(before: Iterable[bytes], after: Iterable[bytes]) -> PassedDelta:
    """What makes `after` of `before`."""
    old: dict[bytes, None] = {}
    for record in before:
        old[record] = None
    added = [record for record in after if old.pop(record, record) is not None]
    return PassedDelta(removed=tuple(old), added=tuple(added)) if old or added else NOTHING_PASSED


def _end_of_owner(record: bytes) -> int:
    at = 0
    while length := record[at]:
        at += 1 + length
    return at + 1
