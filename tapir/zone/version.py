"""One state of the zone, for ever: its serial, its apex, and its records in chunks that are message bodies.

A successor shares every chunk that its delta does not touch, so a version of a million records costs its
predecessor's memory plus a few chunks, and one changed name the rebuilding of one chunk.
"""

from bisect import bisect_right
from collections.abc import Iterable, Iterator, Sequence
from itertools import chain

import attrs

import tapir.kernels.order
from tapir.codec.columns import Changes, follow_in_order, joined_records, offsets_of, scratch
from tapir.codec.passed import between
from tapir.model.actions import Action
from tapir.model.blocks import NOTHING_PASSED, PassedDelta, RecordBlock, RecordDelta
from tapir.model.names import ROOT, Name, format_name
from tapir.zone.chunk import MIN_OCTETS, NO_RECORDS, Chunk, Packer, names_of
from tapir.zone.difference import changes_of, chunks_difference, order_without_repeats
from tapir.zone.encoding import ZoneEncoding, encoding_of
from tapir.zone.errors import ZoneError
from tapir.zone.order import order_key
from tapir.zone.passed import NO_PART, PassedPart
from tapir.zone.serial import check_serial
from tapir.zone.settings import ZoneSettings

Body = tuple[int, bytes]
"""A number of records, and their wire form in a message whose question asks for the zone."""


@attrs.frozen(eq=False, repr=False)
class ZoneVersion:
    """The zone at `serial`. Made by `build`, `successor` and `restated` only.

    `len` counts the rules and what is passed through from feeds; to iterate gives the rules alone.
    """

    encoding: ZoneEncoding
    serial: int
    chunks: tuple[Chunk, ...]
    passed: PassedPart = NO_PART
    """records that feeds say and POP does not evaluate; the policy evaluator sees to it that no rule has their names"""
    firsts: tuple[bytes, ...] = attrs.field(init=False)
    """the order key of each chunk's first record"""
    octets: int = attrs.field(init=False)
    """how much wire the records and the apex of a full transfer take"""
    _size: int = attrs.field(init=False)

    def __attrs_post_init__(self) -> None:
        apex = 2 * len(self.encoding.soa(0)) + len(self.encoding.ns)
        object.__setattr__(self, "firsts", tuple([chunk.first for chunk in self.chunks]))
        object.__setattr__(self, "octets", apex + sum([len(chunk.wire) for chunk in self.chunks]) + self.passed.octets)
        object.__setattr__(self, "_size", sum([len(chunk) for chunk in self.chunks]) + len(self.passed))

    @classmethod
    def build(
        cls, settings: ZoneSettings, serial: int, *records: RecordBlock, passed: Iterable[bytes] = ()
    ) -> "ZoneVersion":
        """The version that holds exactly `records`, in any order, and what is `passed` through.

        Quickest when they are in canonical order, from one block to the next.

        Raises ZoneError for a name that is there twice, that is too long below the zone's, or whose action
        the zone cannot say.
        """
        packer = Packer(encoding_of(settings))
        if follow_in_order([block.names for block in records]):
            for block in records:
                packer.pack(block)
        else:
            whole = joined_records(records)
            packer.pack(whole, order_without_repeats(whole.names))
        packer.flush()
        part = PassedPart.build(passed, settings.apex)
        return cls(encoding_of(settings), check_serial(serial), tuple(packer.chunks), part)

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
        chunk = self.chunks[self._chunk_of(order_key(name))]
        index, found = chunk.seek(name)
        return Action(chunk.actions[index]) if found else Action.NONE

    def neighbours(self, name: Name) -> tuple[bytes, bytes]:
        """The order keys of the last rule before `name`, which is no rule's own, and of the first one after it.

        Empty for none.
        """
        if not self.chunks:
            return b"", b""
        tail_starts = self.encoding.tail_starts
        position = self._chunk_of(order_key(name))
        chunk = self.chunks[position]
        index, _ = chunk.seek(name)
        before = chunk.key(index - 1, tail_starts) if index else b""
        if index < len(chunk):
            return before, chunk.key(index, tail_starts)
        return before, self.firsts[position + 1] if position + 1 < len(self.chunks) else b""

    def names(self) -> Iterator[Name]:
        """The names of all rules, in canonical order."""
        tail_starts = self.encoding.tail_starts
        return chain.from_iterable(chunk.names(tail_starts) for chunk in self.chunks)

    def __iter__(self) -> Iterator[tuple[Name, Action]]:
        actions = chain.from_iterable(chunk.actions for chunk in self.chunks)
        return zip(self.names(), map(Action, actions), strict=True)

    def records(self) -> RecordBlock:
        """All rules, in canonical order: what `build` makes this version from again, with what is passed through."""
        return _records(self.chunks, self.encoding)

    def bodies(self) -> Iterator[Body]:
        """All records of a full transfer, from SOA to SOA, as bodies of at most 15 KiB."""
        soa = self.soa()
        yield 1, soa
        yield len(self.settings.ns), self.encoding.ns
        for chunk in self.chunks:
            yield len(chunk), chunk.wire
        yield from self.passed.bodies()
        yield 1, soa

    def _chunk_of(self, key: bytes) -> int:
        """The number of the chunk in whose range `key` falls."""
        return max(0, bisect_right(self.firsts, key) - 1)

    def difference_from(self, base: "ZoneVersion") -> RecordDelta:
        """The least delta that leads from `base` to this version; costs the chunks that the two do not share."""
        ours = set(map(id, self.chunks))
        shared = ours.intersection(map(id, base.chunks))
        passed = NOTHING_PASSED if self.passed is base.passed else between(base.passed.records, self.passed.records)
        if len(shared) == len(ours) == len(base.chunks):
            return RecordDelta(passed=passed)
        there = [chunk for chunk in base.chunks if id(chunk) not in shared]
        here = [chunk for chunk in self.chunks if id(chunk) not in shared]
        rules = chunks_difference(there, base.encoding.tail_starts, _records(here, self.encoding))
        return RecordDelta(removed=rules.removed, added=rules.added, passed=passed)

    # -- making the next one

    def successor(
        self, delta: RecordDelta | Changes, serial: int, *, passed: PassedDelta = NOTHING_PASSED
    ) -> "ZoneVersion":
        """This version with `delta` applied, as `serial`; chunks that it does not touch are shared.

        `passed` is what becomes of the records that are passed through, where `delta` cannot say so.

        Raises ZoneError, and nothing has changed, if `delta` removes what is not there or adds what is, or
        what the zone cannot hold. `serial` may be any but this version's own.
        """
        if check_serial(serial) == self.serial:
            raise ZoneError(f"the successor of serial {serial} needs another serial")
        if isinstance(delta, Changes):
            changes = delta
        else:
            changes, passed = changes_of(delta), delta.passed
        part = self.passed.successor(passed, self.apex)
        packer = Packer(self.encoding, f"serial {self.serial}")
        chunks = self.chunks
        done = 0
        """how many chunks of ours are in the packer"""
        made = 0
        """how many of the changes are"""
        while made < len(changes):
            position = self._chunk_of(order_key(changes.name(made)))
            packer.chunks += chunks[done:position]
            done = position + 1
            made = packer.merge(
                chunks[position] if chunks else NO_RECORDS, changes, made, self._until(changes, made, done)
            )
            while 0 < packer.pending_octets < MIN_OCTETS and done < len(chunks):
                # Too small to be a message of its own: it takes its right neighbour in, with the changes there.
                done += 1
                made = packer.merge(chunks[done - 1], changes, made, self._until(changes, made, done))
            if 0 < packer.pending_octets < MIN_OCTETS:
                packer.reopen()
            packer.flush()
        packer.chunks += chunks[done:]
        return ZoneVersion(self.encoding, serial, tuple(packer.chunks), part)

    def _until(self, changes: Changes, made: int, position: int) -> int:
        """The number of the first change that does not fall before chunk `position`; `made` of them do."""
        if position >= len(self.chunks):
            return len(changes)
        names = changes.names
        wire = self.chunks[position].wire
        return int(tapir.kernels.order.reach(names.data, offsets_of(names), made, wire, scratch()))

    def restated(self, settings: ZoneSettings, serial: int) -> "ZoneVersion":
        """The same rules under changed `settings`, as `serial`; no journal leads from this version there."""
        return ZoneVersion.build(settings, serial, self.records(), passed=self.passed.records)


def dissolve(versions: list[ZoneVersion]) -> None:
    """Take the versions away, chunk by chunk: all at once would hold the interpreter for as long as it takes."""
    chunks: list[Chunk] = []
    while versions:
        chunks += versions.pop().chunks
    while chunks:
        chunks.pop()


def _records(chunks: Sequence[Chunk], encoding: ZoneEncoding) -> RecordBlock:
    names = names_of(chunks, encoding.tail_starts)
    return RecordBlock(names=names, actions=b"".join([chunk.actions for chunk in chunks]))
