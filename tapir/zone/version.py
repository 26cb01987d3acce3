"""One state of the zone, for ever: its serial, its apex, and its records in chunks that are message bodies.

A successor shares every chunk that its delta does not touch, so a version of a million records costs its
predecessor's memory plus a few chunks, and one changed name the rebuilding of one chunk.
"""

from array import array
from bisect import bisect_left, bisect_right
from collections.abc import Iterable, Iterator
from itertools import chain

import attrs

from tapir.model.actions import Action
from tapir.model.blocks import EMPTY_RECORDS, NameBlock, RecordBlock, RecordDelta
from tapir.model.names import ROOT, Name, format_name
from tapir.zone.chunk import MIN_OCTETS, Chunk, Entry, Packer, owner_of
from tapir.zone.encoding import ZoneEncoding, encoding_of, label_of
from tapir.zone.errors import ZoneError
from tapir.zone.order import in_order, order_key
from tapir.zone.serial import check_serial
from tapir.zone.settings import ZoneSettings

Body = tuple[int, bytes]
"""A number of records, and their wire form in a message whose question asks for the zone."""

Change = tuple[bytes, Name, int, int]
"""An order key, its name, and the actions (`Action.NONE` for no record) before and after."""


@attrs.frozen(eq=False, repr=False)
class ZoneVersion:
    """The zone at `serial`. Made by `build`, `successor` and `restated` only; `len` counts the rules."""

    encoding: ZoneEncoding
    serial: int
    chunks: tuple[Chunk, ...]
    firsts: tuple[bytes, ...] = attrs.field(init=False)
    """the order key of each chunk's first record"""
    octets: int = attrs.field(init=False)
    """how much wire the records and the apex of a full transfer take"""
    _size: int = attrs.field(init=False)

    def __attrs_post_init__(self) -> None:
        apex = 2 * len(self.encoding.soa(0)) + len(self.encoding.ns)
        object.__setattr__(self, "firsts", tuple([chunk.first for chunk in self.chunks]))
        object.__setattr__(self, "octets", apex + sum([len(chunk.wire) for chunk in self.chunks]))
        object.__setattr__(self, "_size", sum([len(chunk) for chunk in self.chunks]))

    @classmethod
    def build(cls, settings: ZoneSettings, serial: int, records: RecordBlock = EMPTY_RECORDS) -> "ZoneVersion":
        """The version that holds exactly `records`, in any order; quickest when they are in canonical order.

        Raises ZoneError for a name that is there twice, that is too long below the zone's, or whose action
        the zone cannot say.
        """
        encoding = encoding_of(settings)
        chunks = _pack_as_given(encoding, records)
        if chunks is None:
            names = records.names
            actions = records.actions
            packer = Packer(encoding.tails)
            previous = b""
            for key, name, action in _sorted_records(names, actions):
                if key == previous:
                    raise ZoneError(f"{format_name(name)} is there twice")
                previous = key
                packer.add((encoding.record(name, action), action))
            packer.flush()
            chunks = packer.chunks
        return cls(encoding, check_serial(serial), tuple(chunks))

    @property
    def settings(self) -> ZoneSettings:
        """The settings that this version was made under."""
        return self.encoding.settings

    @property
    def apex(self) -> Name:
        """The zone's name."""
        return self.encoding.settings.apex

    def soa(self) -> bytes:
        """The SOA record of this version's serial, for a message whose question asks for the zone."""
        return self.encoding.soa(self.serial)

    def __len__(self) -> int:
        return self._size

    def __repr__(self) -> str:
        return f"<ZoneVersion {format_name(self.apex)} serial {self.serial}, {len(self)} records>"

    # -- reading

    def get(self, name: Name) -> Action:
        """The action of the rule `name` (without the zone's name); NONE when there is no such rule."""
        if name == ROOT or not self.chunks:
            return Action.NONE
        key = order_key(name)
        position = self._chunk_of(key)
        chunk = self.chunks[position]
        index = self._seek(chunk, key)
        if index == len(chunk) or chunk.key(index, self.encoding.tails) != key:
            return Action.NONE
        return Action(chunk.actions[index])

    def neighbours(self, key: bytes) -> tuple[bytes, bytes]:
        """The order keys of the last rule before `key`, which is no rule's own, and of the first one after it.

        Empty for none.
        """
        if not self.chunks:
            return b"", b""
        tails = self.encoding.tails
        position = self._chunk_of(key)
        chunk = self.chunks[position]
        index = self._seek(chunk, key)
        before = chunk.key(index - 1, tails) if index else b""
        if index < len(chunk):
            return before, chunk.key(index, tails)
        return before, self.firsts[position + 1] if position + 1 < len(self.chunks) else b""

    def names(self) -> Iterator[Name]:
        """The names of all rules, in canonical order."""
        tails = self.encoding.tails
        return chain.from_iterable(chunk.names(tails) for chunk in self.chunks)

    def __iter__(self) -> Iterator[tuple[Name, Action]]:
        actions = chain.from_iterable(chunk.actions for chunk in self.chunks)
        return zip(self.names(), map(Action, actions), strict=True)

    def records(self) -> RecordBlock:
        """All rules, in canonical order: what `build` makes this version from again."""
        data = bytearray()
        offsets = array("I", [0])
        position = 0
        tails = self.encoding.tails
        for chunk in self.chunks:
            names = list(chunk.names(tails))
            data += b"".join(names)
            for name in names:
                position += len(name)
                offsets.append(position)
        actions = b"".join([chunk.actions for chunk in self.chunks])
        return RecordBlock(names=NameBlock(data=bytes(data), offsets=offsets.tobytes()), actions=actions)

    def bodies(self) -> Iterator[Body]:
        """All records of a full transfer, from SOA to SOA, as bodies of at most 15 KiB."""
        soa = self.soa()
        yield 1, soa
        yield len(self.settings.ns), self.encoding.ns
        for chunk in self.chunks:
            yield len(chunk), chunk.wire
        yield 1, soa

    def _chunk_of(self, key: bytes) -> int:
        """The number of the chunk in whose range `key` falls."""
        return max(0, bisect_right(self.firsts, key) - 1)

    def _seek(self, chunk: Chunk, key: bytes) -> int:
        """The number of the first record of `chunk` that is not before `key`."""
        tails = self.encoding.tails
        return bisect_left(range(len(chunk)), key, key=lambda index: chunk.key(index, tails))

    # -- making the next one

    def successor(self, delta: RecordDelta, serial: int) -> "ZoneVersion":
        """This version with `delta` applied, as `serial`; chunks that it does not touch are shared.

        Raises ZoneError, and nothing has changed, if `delta` removes what is not there or adds what is, or
        what the zone cannot hold. `serial` may be any but this version's own.
        """
        if check_serial(serial) == self.serial:
            raise ZoneError(f"the successor of serial {serial} needs another serial")
        packer = Packer(self.encoding.tails)
        chunks = self.chunks
        done = 0
        """how many chunks of ours are in the packer"""
        changes = _changes(delta)
        change = next(changes, None)
        while change is not None:
            position = self._chunk_of(change[0])
            packer.chunks += chunks[done:position]
            until = self.firsts[position + 1] if position + 1 < len(chunks) else None
            entries = chunks[position].entries() if chunks else []
            change = self._merge(packer, entries, change, changes, until)
            done = position + 1
            while 0 < packer.pending_octets < MIN_OCTETS and done < len(chunks):
                # Too small to be a message of its own: it takes its right neighbour in, with the changes there.
                entries = chunks[done].entries()
                done += 1
                until = self.firsts[done] if done < len(chunks) else None
                if change is not None and (until is None or change[0] < until):
                    change = self._merge(packer, entries, change, changes, until)
                else:
                    packer.extend(entries)
            if 0 < packer.pending_octets < MIN_OCTETS:
                packer.reopen()
            packer.flush()
        packer.chunks += chunks[done:]
        return ZoneVersion(self.encoding, serial, tuple(packer.chunks))

    def restated(self, settings: ZoneSettings, serial: int) -> "ZoneVersion":
        """The same rules under changed `settings`, as `serial`; no journal leads from this version there."""
        return ZoneVersion.build(settings, serial, self.records())

    def _merge(
        self, packer: Packer, entries: list[Entry], change: Change, changes: Iterator[Change], until: bytes | None
    ) -> Change | None:
        """Pack `entries` with the changes before `until`; returns the first change that is not."""
        tails = self.encoding.tails
        position = 0
        following: Change | None = change
        while following is not None and (until is None or following[0] < until):
            key, name, old, new = following
            index = bisect_left(entries, key, lo=position, key=lambda entry: order_key(owner_of(entry, tails)))
            packer.extend(entries[position:index])
            found = index < len(entries) and owner_of(entries[index], tails) == name
            present = entries[index][1] if found else Action.NONE
            if present != old:
                raise ZoneError(
                    f"the change of {format_name(name)} from {label_of(old)} to {label_of(new)} does not fit "
                    f"serial {self.serial}, where it is {label_of(present)}"
                )
            if new:
                packer.add((self.encoding.record(name, new), new))
            position = index + 1 if found else index
            following = next(changes, None)
        packer.extend(entries[position:])
        return following


def _pack_as_given(encoding: ZoneEncoding, records: RecordBlock) -> list[Chunk] | None:
    """The chunks of `records` if these are in canonical order, without a name twice; else None."""
    packer = Packer(encoding.tails)
    previous = b""
    for name, action in zip(records.names, records.actions, strict=True):
        key = order_key(name)
        if key <= previous and name != ROOT:
            return None
        previous = key
        packer.add((encoding.record(name, action), action))
    packer.flush()
    return packer.chunks


def _sorted_records(names: NameBlock, actions: bytes) -> Iterator[tuple[bytes, Name, int]]:
    data = names.data
    offsets = memoryview(names.offsets).cast("I")
    for key, index in in_order(names):
        yield key, Name(data[offsets[index] : offsets[index + 1]]), actions[index]


def _changes(delta: RecordDelta) -> Iterator[Change]:
    """What `delta` does to each name, in canonical order; raises ZoneError for a name twice in one block."""
    removed = _once(_sorted_records(delta.removed.names, delta.removed.actions))
    added = _once(_sorted_records(delta.added.names, delta.added.actions))
    old = next(removed, None)
    new = next(added, None)
    while old is not None or new is not None:
        if new is None or (old is not None and old[0] < new[0]):
            assert old is not None  # noqa: S101  for mypy
            yield old[0], old[1], old[2], Action.NONE
            old = next(removed, None)
        elif old is None or new[0] < old[0]:
            yield new[0], new[1], Action.NONE, new[2]
            new = next(added, None)
        else:
            yield new[0], new[1], old[2], new[2]
            old = next(removed, None)
            new = next(added, None)


def _once(records: Iterable[tuple[bytes, Name, int]]) -> Iterator[tuple[bytes, Name, int]]:
    previous: bytes | None = None
    for record in records:
        if record[0] == previous:
            raise ZoneError(f"{format_name(record[1])} is twice in one block of a change")
        if record[2] == Action.NONE:
            raise ZoneError(f"{format_name(record[1])} has action NONE in a change, which a zone cannot say")
        previous = record[0]
        yield record
