"""Differences between contents, and what becomes of differences that follow each other."""

from array import array
from collections import Counter
from collections.abc import Iterable, Iterator
from typing import Final

import numpy as np

from tapir.model.actions import Action
from tapir.model.blocks import NameBlock, RecordBlock, RecordDelta
from tapir.model.names import Name, format_name
from tapir.zone.errors import ZoneError
from tapir.zone.version import ZoneVersion

_PART: Final = 16_384


def difference(version: ZoneVersion, content: RecordBlock) -> RecordDelta:
    """The least delta that makes `version` hold exactly `content`, which may be in any order.

    A million names are compared part by part, dealt out by their hash, so that no call holds the interpreter
    for long and no dictionary of them all is made. Raises ZoneError for a name twice in `content`.
    """
    present = version.records()
    parts = 1 + (len(present) + len(content)) // (2 * _PART)
    removed: list[tuple[Name, int]] = []
    added: list[tuple[Name, int]] = []
    for ours, theirs in zip(_deal(present, parts), _deal(content, parts), strict=True):
        wanted = dict(theirs)
        if len(wanted) != len(theirs):
            [(twice, _)] = Counter(name for name, _ in theirs).most_common(1)
            raise ZoneError(f"{format_name(twice)} is twice in the content of the zone")
        for name, action in ours:
            want = wanted.pop(name, Action.NONE)
            if want != action:
                removed.append((name, action))
                if want:
                    added.append((name, want))
        added.extend(wanted.items())
    return RecordDelta(removed=_block(removed), added=_block(added))


def invert(delta: RecordDelta) -> RecordDelta:
    """The delta that undoes `delta`."""
    return RecordDelta(removed=delta.added, added=delta.removed)


def compose(deltas: Iterable[RecordDelta]) -> RecordDelta:
    """The net effect of `deltas`, each applied to what the one before it left.

    A name that ends as it began is not in it. Raises ZoneError for deltas that cannot follow each other.
    """
    before: dict[Name, int] = {}
    after: dict[Name, int] = {}
    for delta in deltas:
        for name, action in zip(delta.removed.names, delta.removed.actions, strict=True):
            if after.get(name, action) != action:
                raise ZoneError(f"{format_name(name)} is removed where an earlier change left another state")
            before.setdefault(name, action)
            after[name] = Action.NONE
        for name, action in zip(delta.added.names, delta.added.actions, strict=True):
            if after.get(name, Action.NONE) != Action.NONE:
                raise ZoneError(f"{format_name(name)} is added where an earlier change left it present")
            before.setdefault(name, Action.NONE)
            after[name] = action
    changed = [name for name, action in before.items() if after[name] != action]
    return RecordDelta(
        removed=_block([(name, before[name]) for name in changed if before[name]]),
        added=_block([(name, after[name]) for name in changed if after[name]]),
    )


def _deal(records: RecordBlock, parts: int) -> Iterator[list[tuple[Name, int]]]:
    """The records in `parts` parts by the hash of their name."""
    if parts == 1:
        yield list(zip(records.names, records.actions, strict=True))
        return
    data = records.names.data
    offsets = memoryview(records.names.offsets).cast("I")
    actions = records.actions
    numbers = np.frombuffer(array("I", [hash(name) % parts for name in records.names]), dtype=np.uint32)
    dealt = np.argsort(numbers, kind="stable")
    start = 0
    for end in np.cumsum(np.bincount(numbers, minlength=parts)).tolist():
        yield [(Name(data[offsets[i] : offsets[i + 1]]), actions[i]) for i in dealt[start:end].tolist()]
        start = end


def _block(records: list[tuple[Name, int]]) -> RecordBlock:
    return RecordBlock(
        names=NameBlock.of(name for name, _ in records), actions=bytes([action for _, action in records])
    )
