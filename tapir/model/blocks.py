"""Bulk values: frozen over `bytes`, one buffer a column, read through `np.frombuffer` or by iteration.

They compare by identity (`eq=False`): two blocks of a million names are never compared by accident. Their
`repr` shows sizes, never a name.
"""

from array import array
from collections.abc import Iterable, Iterator

import attrs

from tapir.model.actions import Action
from tapir.model.names import Name


@attrs.frozen(eq=False, repr=False)
class NameBlock:
    """Names back to back in `data`; name i is `data[offsets[i]:offsets[i + 1]]`.

    `offsets` holds len + 1 native uint32.
    """

    data: bytes
    offsets: bytes

    @classmethod
    def of(cls, names: Iterable[Name]) -> "NameBlock":
        """The block that holds `names` in their order."""
        data = bytearray()
        offsets = array("I", (0,))
        for name in names:  # not one join: that would hold the interpreter for as long as it takes
            data += name
            offsets.append(len(data))
        return cls(data=bytes(data), offsets=offsets.tobytes())

    def __len__(self) -> int:
        return len(self.offsets) // 4 - 1

    def __iter__(self) -> Iterator[Name]:
        data = self.data
        offsets = memoryview(self.offsets).cast("I")
        start = offsets[0]
        for end in offsets[1:]:
            yield Name(data[start:end])
            start = end

    def __repr__(self) -> str:
        return f"<NameBlock of {len(self)} names, {len(self.data)} octets>"


EMPTY_NAMES = NameBlock.of(())


@attrs.frozen(eq=False, repr=False)
class ListBlock:
    """Names of one list with their tags: `tags` holds one native uint32 a name, or is empty when all are 0."""

    names: NameBlock
    tags: bytes = b""

    @classmethod
    def of(cls, entries: Iterable[tuple[Name, int]]) -> "ListBlock":
        """The block of (name, tag mask) pairs, in their order."""
        collected = list(entries)
        tags = array("I", [mask for _, mask in collected])
        return cls(
            names=NameBlock.of(name for name, _ in collected),
            tags=tags.tobytes() if any(tags) else b"",
        )

    def __len__(self) -> int:
        return len(self.names)

    def __iter__(self) -> Iterator[tuple[Name, int]]:
        if not self.tags:
            return ((name, 0) for name in self.names)
        return zip(self.names, memoryview(self.tags).cast("I"), strict=True)

    def __repr__(self) -> str:
        return f"<ListBlock of {len(self)} names>"


@attrs.frozen(kw_only=True)
class LookupList:
    """A list that is never held in memory: the DAWG of `size` octets in the file `path`, which is looked up instead.

    The file was checked, is the process's own, and holds `words` entries; `digest` is the SHA-256 of its octets, so
    another content has another path. Whoever looks maps the file, and may find it gone: then a newer one is in effect.
    """

    path: str
    digest: str
    words: int
    size: int
    subtree: bool = False
    """whether an entry that is no wildcard stands for all below it, too"""

    def __len__(self) -> int:
        return self.words


@attrs.frozen(eq=False, repr=False)
class RecordBlock:
    """RPZ rules without their zone: names, and one octet of `Action` each (never `Action.NONE`)."""

    names: NameBlock
    actions: bytes

    @classmethod
    def of(cls, records: Iterable[tuple[Name, Action]]) -> "RecordBlock":
        """The block of (name, action) pairs, in their order."""
        collected = list(records)
        return cls(
            names=NameBlock.of(name for name, _ in collected),
            actions=bytes(action for _, action in collected),
        )

    def __len__(self) -> int:
        return len(self.actions)

    def __iter__(self) -> Iterator[tuple[Name, Action]]:
        return zip(self.names, map(Action, self.actions), strict=True)

    def __repr__(self) -> str:
        return f"<RecordBlock of {len(self)} records>"


EMPTY_RECORDS = RecordBlock.of(())


@attrs.frozen(eq=False, repr=False)
class PassedDelta:
    """What becomes of the records that are passed through from feeds as they are; a changed TTL is in both.

    Each is octets as `tapir.codec.passed` has them.
    """

    removed: tuple[bytes, ...] = ()
    added: tuple[bytes, ...] = ()

    def __len__(self) -> int:
        return len(self.removed) + len(self.added)

    def __repr__(self) -> str:
        return f"<PassedDelta -{len(self.removed)} +{len(self.added)}>"


NOTHING_PASSED = PassedDelta()


@attrs.frozen(eq=False, repr=False)
class RecordDelta:
    """What to take out of a set of records and what to put in; a changed action is in both.

    Applying it to a set that does not hold all of `removed`, or that holds a name of `added` which is not
    also in `removed`, is an error of the caller.
    """

    removed: RecordBlock = EMPTY_RECORDS
    added: RecordBlock = EMPTY_RECORDS
    passed: PassedDelta = NOTHING_PASSED
    """what becomes of records that are no rules of ours"""

    def __len__(self) -> int:
        return len(self.removed) + len(self.added) + len(self.passed)

    @property
    def lost(self) -> int:
        """How many records go, those that are passed through among them."""
        return len(self.removed) + len(self.passed.removed)

    @property
    def gained(self) -> int:
        """How many records come, those that are passed through among them."""
        return len(self.added) + len(self.passed.added)

    def __repr__(self) -> str:
        return f"<RecordDelta -{self.lost} +{self.gained}>"


@attrs.frozen(eq=False, repr=False)
class VersionDelta:
    """The step from one committed serial to the next; `at` is microseconds since the epoch."""

    from_serial: int
    to_serial: int
    at: int
    delta: RecordDelta

    def __repr__(self) -> str:
        return f"<VersionDelta {self.from_serial}→{self.to_serial} {self.delta!r}>"


@attrs.frozen(eq=False, repr=False, kw_only=True)
class ObservationBlock:
    """What was observed of names, a column each; times are microseconds since the epoch.

    A name has one native uint32 in `tags`, and one native int64 in `observed` (when it was observed) and in `deadlines`
    (from when on that says nothing any more, which may be before it was observed).
    """

    names: NameBlock
    tags: bytes
    observed: bytes
    deadlines: bytes

    @classmethod
    def of(cls, entries: Iterable[tuple[Name, int, int, int]]) -> "ObservationBlock":
        """The block of (name, tag mask, observed, deadline), in their order."""
        names: list[Name] = []
        tags, observed, deadlines = array("I"), array("q"), array("q")
        for name, mask, time, deadline in entries:
            names.append(name)
            tags.append(mask)
            observed.append(time)
            deadlines.append(deadline)
        return cls(
            names=NameBlock.of(names),
            tags=tags.tobytes(),
            observed=observed.tobytes(),
            deadlines=deadlines.tobytes(),
        )

    def __len__(self) -> int:
        return len(self.names)

    def __iter__(self) -> Iterator[tuple[Name, int, int, int]]:
        return zip(
            self.names,
            memoryview(self.tags).cast("I"),
            memoryview(self.observed).cast("q"),
            memoryview(self.deadlines).cast("q"),
            strict=True,
        )

    def __repr__(self) -> str:
        return f"<ObservationBlock of {len(self)} names>"


@attrs.frozen(eq=False, repr=False, kw_only=True)
class WithdrawalBlock:
    """Names of which an observation is taken back, with one native int64 each: its `observed`, as above."""

    names: NameBlock
    observed: bytes

    @classmethod
    def of(cls, entries: Iterable[tuple[Name, int]]) -> "WithdrawalBlock":
        """The block of (name, observed), in their order."""
        collected = list(entries)
        return cls(
            names=NameBlock.of(name for name, _ in collected),
            observed=array("q", [time for _, time in collected]).tobytes(),
        )

    def __len__(self) -> int:
        return len(self.names)

    def __iter__(self) -> Iterator[tuple[Name, int]]:
        return zip(self.names, memoryview(self.observed).cast("q"), strict=True)

    def __repr__(self) -> str:
        return f"<WithdrawalBlock of {len(self)} names>"


@attrs.frozen(eq=False, repr=False)
class FrameBlock:
    """Data frames of a Frame Stream as they came, back to back in `data`, each behind its length of four octets.

    Frame i is `data[offsets[i] + 4:offsets[i + 1]]` and never empty; `offsets` holds len + 1 native uint32, the first
    of which is 0 and the last `len(data)`. So `data` as it is can be written to a Frame Stream again. What is in a
    frame is nobody's promise: it may be anything.
    """

    data: bytes
    offsets: bytes

    @classmethod
    def of(cls, frames: Iterable[bytes]) -> "FrameBlock":
        """The block that holds `frames`, none of which may be empty, in their order."""
        data = bytearray()
        offsets = array("I", (0,))
        for frame in frames:
            if not frame:
                raise ValueError("an empty data frame cannot be told from a control frame")
            data += len(frame).to_bytes(4)
            data += frame
            offsets.append(len(data))
        return cls(data=bytes(data), offsets=offsets.tobytes())

    def __len__(self) -> int:
        return len(self.offsets) // 4 - 1

    def __iter__(self) -> Iterator[bytes]:
        data = self.data
        offsets = memoryview(self.offsets).cast("I")
        start = offsets[0]
        for end in offsets[1:]:
            yield data[start + 4 : end]
            start = end

    def __repr__(self) -> str:
        return f"<FrameBlock of {len(self)} frames, {len(self.data)} octets>"
