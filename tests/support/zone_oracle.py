"""The zone's chunks as plain Python makes them, one object a record: what the kernels are held to."""

from bisect import bisect_left, bisect_right
from collections.abc import Mapping

import attrs

from tapir.model.actions import Action
from tapir.model.blocks import RecordDelta
from tapir.model.names import Name
from tapir.zone.encoding import ZoneEncoding
from tapir.zone.order import order_key

Entry = tuple[bytes, int]


class MisfitError(Exception):
    """What a ZoneError is for."""


@attrs.frozen
class Sizes:
    """The limits of chunks."""

    longest: int
    fill: int
    shortest: int


def owner_of(entry: Entry, encoding: ZoneEncoding) -> Name:
    record, action = entry
    return Name(record[: len(record) - len(encoding.tails[action])] + b"\0")


def key_of(entry: Entry, encoding: ZoneEncoding) -> bytes:
    return order_key(owner_of(entry, encoding))


class Packer:
    def __init__(self, sizes: Sizes) -> None:
        self.chunks: list[list[Entry]] = []
        self.sizes = sizes
        self.pending: list[Entry] = []

    @property
    def octets(self) -> int:
        return sum(len(record) for record, _ in self.pending)

    def add(self, entry: Entry) -> None:
        self.pending.append(entry)
        if self.octets >= 2 * self.sizes.fill:
            self.emit(self.sizes.fill)

    def reopen(self) -> None:
        if self.chunks:
            self.pending[:0] = self.chunks.pop()

    def flush(self) -> None:
        while self.octets > self.sizes.longest:
            pieces = -(-self.octets // self.sizes.fill)
            self.emit(self.octets // pieces)
        if self.pending:
            self.emit(self.octets)

    def emit(self, octets: int) -> None:
        taken = count = 0
        while taken < octets:
            taken += len(self.pending[count][0])
            count += 1
        self.chunks.append(self.pending[:count])
        del self.pending[:count]


def build(encoding: ZoneEncoding, content: Mapping[Name, int], sizes: Sizes) -> list[list[Entry]]:
    """The chunks of `content`."""
    packer = Packer(sizes)
    for name in sorted(content, key=order_key):
        packer.add((encoding.record(name, content[name]), content[name]))
    packer.flush()
    return packer.chunks


def successor(encoding: ZoneEncoding, chunks: list[list[Entry]], delta: RecordDelta, sizes: Sizes) -> list[list[Entry]]:
    """`chunks` after `delta`; raises MisfitError."""
    changes = changes_of(delta)
    firsts = [key_of(chunk[0], encoding) for chunk in chunks]
    packer = Packer(sizes)
    done = 0

    def merge(entries: list[Entry], until: bytes | None) -> None:
        position = 0
        while changes and (until is None or order_key(changes[0][0]) < until):
            name, old, new = changes.pop(0)
            keys = [key_of(entry, encoding) for entry in entries]
            index = bisect_left(keys, order_key(name), lo=position)
            for entry in entries[position:index]:
                packer.add(entry)
            found = index < len(entries) and keys[index] == order_key(name)
            if (entries[index][1] if found else Action.NONE) != old:
                raise MisfitError
            if new:
                packer.add((encoding.record(name, new), new))
            position = index + found
        for entry in entries[position:]:
            packer.add(entry)

    while changes:
        position = max(0, bisect_right(firsts, order_key(changes[0][0])) - 1)
        packer.chunks += chunks[done:position]
        done = position + 1
        merge(chunks[position] if chunks else [], firsts[done] if done < len(chunks) else None)
        while 0 < packer.octets < sizes.shortest and done < len(chunks):
            done += 1
            merge(chunks[done - 1], firsts[done] if done < len(chunks) else None)
        if 0 < packer.octets < sizes.shortest:
            packer.reopen()
        packer.flush()
    return packer.chunks + chunks[done:]


def changes_of(delta: RecordDelta) -> list[tuple[Name, int, int]]:
    """Each name with its action before and after, in canonical order; raises MisfitError."""
    removed = dict(delta.removed)
    added = dict(delta.added)
    if len(removed) != len(delta.removed) or len(added) != len(delta.added):
        raise MisfitError
    return [
        (name, removed.get(name, Action.NONE), added.get(name, Action.NONE))
        for name in sorted({*removed, *added}, key=order_key)
    ]
