"""The second part of a version: records that feeds say and POP does not evaluate, as they are, in canonical order.

Bounded, and mostly empty: then it takes nothing. A successor with a few others costs a copy of some references.
"""

from bisect import bisect_left
from collections.abc import Iterable, Iterator
from heapq import merge
from itertools import islice
from typing import Final

import attrs

from tapir.codec.passed import body_of, owner_of, parts_of, type_of, wire_of
from tapir.model.blocks import PassedDelta
from tapir.model.names import MAX_NAME, Name, format_name
from tapir.zone.errors import ZoneError
from tapir.zone.order import order_key

_BODY_OCTETS: Final = 14 * 1024
_SORTED_AT_ONCE: Final = 1024


@attrs.frozen(eq=False, repr=False)
class PassedPart:
    """The records in canonical order; `keys` are what they are ordered by. Made by `build` and `successor` only."""

    records: tuple[bytes, ...] = ()
    keys: tuple[bytes, ...] = ()
    octets: int = 0
    """how much wire they take"""

    @classmethod
    def build(cls, records: Iterable[bytes], apex: Name) -> "PassedPart":
        """Exactly `records`, in any order. Raises ZoneError for one that is there twice, or too long below `apex`."""
        return NO_PART.successor(PassedDelta(added=tuple(records)), apex)

    def successor(self, delta: PassedDelta, apex: Name) -> "PassedPart":
        """This part with `delta` made. Raises ZoneError, and nothing has changed, where that does not fit."""
        if not len(delta):
            return self
        changes = _changes(delta)
        records: list[bytes] = []
        keys: list[bytes] = []
        octets = self.octets
        done = 0
        for key, old, new in changes:
            place = bisect_left(self.keys, key, done)
            records += self.records[done:place]
            keys += self.keys[done:place]
            done = place
            present = b""
            if place < len(self.keys) and self.keys[place] == key:
                present = self.records[place]
                done = place + 1
            if present != old:
                state = "another one than the change says" if present and old else "there" if present else "missing"
                raise ZoneError(f"a record passed through at {format_name(owner_of(old or new))} is {state}")
            if new:
                _check_room(new, apex)
                records.append(new)
                keys.append(key)
            octets += _octets(new) - _octets(old)
        records += self.records[done:]
        keys += self.keys[done:]
        return PassedPart(tuple(records), tuple(keys), octets)

    def __len__(self) -> int:
        return len(self.records)

    def __bool__(self) -> bool:
        return bool(self.records)

    def __repr__(self) -> str:
        return f"<PassedPart of {len(self)} records, {self.octets} octets>"

    def at(self, name: Name) -> tuple[bytes, ...]:
        """The records at `name`."""
        if not self.records:
            return ()
        key = order_key(name) + b"\0"
        first = last = bisect_left(self.keys, key)
        while last < len(self.keys) and self.keys[last].startswith(key):
            last += 1
        return self.records[first:last]

    def neighbours(self, key: bytes) -> tuple[bytes, bytes]:
        """The keys of the last record before the order key `key`, and of the first one after it; empty for none."""
        place = bisect_left(self.keys, key)
        before = self.keys[place - 1] if place else b""
        return before, self.keys[place] if place < len(self.keys) else b""

    def bodies(self) -> Iterator[tuple[int, bytes]]:
        """All records in bodies of messages."""
        return bodies_of(self.records)


NO_PART: Final = PassedPart()


def bodies_of(records: Iterable[bytes]) -> Iterator[tuple[int, bytes]]:
    """`records` in their order, in bodies of messages; one that is larger than most stands alone."""
    pieces: list[bytes] = []
    octets = 0
    for record in records:
        wire = wire_of(record)
        if pieces and octets + len(wire) > _BODY_OCTETS:
            yield len(pieces), b"".join(pieces)
            pieces, octets = [], 0
        pieces.append(wire)
        octets += len(wire)
    if pieces:
        yield len(pieces), b"".join(pieces)


def key_of(record: bytes) -> bytes:
    """What a record is ordered by: owner, type, rdata; at most one record of a zone has it."""
    owner, rdtype, _, rdata = parts_of(record)
    # What begins with an owner's order key and another zero is its own, what is below it goes on otherwise.
    return order_key(owner) + b"\0" + rdtype.to_bytes(2, "big") + rdata


def answers_in(records: Iterable[bytes], rdtype: int, any_type: int) -> tuple[int, bytes]:
    """Those of `records`, all at the name in the question, that answer a question for `rdtype`; a CNAME answers all."""
    chosen = [each for each in records if type_of(each) in {rdtype, 5} or rdtype == any_type]
    return len(chosen), b"".join([b"\xc0\x0c" + body_of(each) for each in chosen])


def _changes(delta: PassedDelta) -> Iterator[tuple[bytes, bytes, bytes]]:
    """Key, old record and new record (empty: none) of all that changes, in order."""
    old = _by_key(delta.removed, "removed")
    new = _by_key(delta.added, "added")
    keys = [(key, b"") for key in old]
    keys += [(key, b"") for key in new if key not in old]
    for key, _ in _sorted(keys):
        yield key, old.get(key, b""), new.get(key, b"")


def _by_key(records: Iterable[bytes], what: str) -> dict[bytes, bytes]:
    found: dict[bytes, bytes] = {}
    for record in records:
        key = key_of(record)
        if key in found:
            raise ZoneError(f"a record passed through at {format_name(owner_of(record))} is {what} twice")
        found[key] = record
    return found


def _sorted(pairs: Iterable[tuple[bytes, bytes]]) -> Iterable[tuple[bytes, bytes]]:
    """`pairs` in order, sorted a few at a time: many at once would hold the interpreter."""
    source = iter(pairs)
    runs = []
    while run := list(islice(source, _SORTED_AT_ONCE)):
        run.sort()
        runs.append(run)
    return runs[0] if len(runs) == 1 else merge(*runs)


def _octets(record: bytes) -> int:
    return len(record) + 1 if record else 0


def _check_room(record: bytes, apex: Name) -> None:
    owner = owner_of(record)
    if not 1 < len(owner) <= MAX_NAME + 1 - len(apex):
        raise ZoneError(f"{format_name(owner)} with the zone's name is no owner of 2 to {MAX_NAME} octets")
