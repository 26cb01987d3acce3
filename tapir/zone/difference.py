"""Differences between contents, and what becomes of differences that follow each other."""

from collections.abc import Iterable
from typing import TYPE_CHECKING

import numpy as np

import tapir.kernels.zone
from tapir.codec.columns import (
    NO_NUMBERS,
    Changes,
    Numbers,
    concatenated,
    is_ordered,
    joined,
    name_of,
    net_of,
    offsets_of,
    order_of,
    records_of,
    scratch,
    steps_of,
)
from tapir.codec.passed import net
from tapir.model.actions import Action
from tapir.model.blocks import EMPTY_RECORDS, NameBlock, PassedDelta, RecordBlock, RecordDelta
from tapir.model.names import format_name
from tapir.zone.errors import ZoneError

if TYPE_CHECKING:
    from tapir.zone.chunk import Chunk
    from tapir.zone.version import ZoneVersion


def difference(version: "ZoneVersion", content: RecordBlock) -> RecordDelta:
    """The least delta that makes `version` hold exactly `content`, which may be in any order.

    Quickest when it is in canonical order. Raises ZoneError for a name twice in `content`.
    """
    return chunks_difference(version.chunks, version.encoding.tail_starts, content)


def chunks_difference(chunks: Iterable["Chunk"], tail_starts: memoryview, content: RecordBlock) -> RecordDelta:
    """The same for what is in `chunks` alone."""
    order = order_without_repeats(content.names)
    offsets = offsets_of(content.names)
    numbers = NO_NUMBERS if order is None else order.data
    added = np.empty(len(content), dtype=np.uint32)
    state = np.zeros(2, dtype=np.int64).data
    gone = np.empty(1 << 16, dtype=np.uint16).data
    names: list[NameBlock] = []
    actions: list[bytes] = []
    for chunk in chunks:
        count = tapir.kernels.zone.differ(
            chunk.wire,
            chunk.places,
            chunk.actions,
            tail_starts,
            content.names.data,
            offsets,
            numbers,
            content.actions,
            gone,
            added.data,
            state,
            scratch(),
        )
        if count:
            names.append(chunk.names(tail_starts, gone[:count]))
            actions.append(np.frombuffer(chunk.actions, dtype=np.uint8)[np.asarray(gone[:count])].tobytes())
    rest = np.arange(state[0], len(content), dtype=np.uint32)
    new = np.concatenate((added[: state[1]], rest if order is None else order[rest]))
    return RecordDelta(
        removed=RecordBlock(names=joined(names), actions=concatenated(actions)) if names else EMPTY_RECORDS,
        added=records_of(content.names, np.frombuffer(content.actions, dtype=np.uint8), new),
    )


def order_without_repeats(names: NameBlock) -> Numbers | None:
    """The canonical order of `names`, None if they stand in it. Raises ZoneError for a name that is there twice."""
    if is_ordered(names):
        return None
    order = order_of(names)
    adds = b"\1" * len(names)
    _, repeated = net_of(names, adds, adds, order)
    if repeated is not None:
        raise ZoneError(f"{format_name(name_of(names, repeated))} is there twice in the content of the zone")
    return order


def invert(delta: RecordDelta) -> RecordDelta:
    """The delta that undoes `delta`."""
    passed = PassedDelta(removed=delta.passed.added, added=delta.passed.removed)
    return RecordDelta(removed=delta.added, added=delta.removed, passed=passed)


def compose(deltas: Iterable[RecordDelta]) -> RecordDelta:
    """The net effect of `deltas`, each applied to what the one before it left, in canonical order.

    A name that ends as it began is not in it. Raises ZoneError for deltas that cannot follow each other.
    """
    deltas = tuple(deltas)
    parts = [part for delta in deltas for part in (delta.removed, delta.added)]
    if not parts:
        return RecordDelta()
    try:
        passed = net(delta.passed for delta in deltas)
    except ValueError as exc:
        raise ZoneError(f"changes cannot follow each other: {exc}") from exc
    names, adds, actions = steps_of(parts)
    changes, misfit = net_of(names, adds, actions, order_of(names))
    if misfit is not None:
        name = format_name(name_of(names, misfit))
        if adds[misfit]:
            raise ZoneError(f"{name} is added where an earlier change left it present")
        raise ZoneError(f"{name} is removed where an earlier change left another state")
    rules = changes.delta()
    return RecordDelta(removed=rules.removed, added=rules.added, passed=passed)


def changes_of(delta: RecordDelta) -> Changes:
    """What `delta` does to each name of a rule. Raises ZoneError for one twice in one block, or with action NONE."""
    names, adds, actions = steps_of((delta.removed, delta.added))
    nothing = actions.find(Action.NONE)
    if nothing >= 0:
        name = format_name(name_of(names, nothing))
        raise ZoneError(f"{name} has action NONE in a change, which a zone cannot say")
    changes, misfit = net_of(names, adds, actions, order_of(names))
    if misfit is not None:
        raise ZoneError(f"{format_name(name_of(names, misfit))} is twice in one block of a change")
    return changes
