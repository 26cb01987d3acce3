"""From what a feed says to what its lists hold, and to what changes of them. Blocking: for a worker.

A feed of kind denylist or doubtlist feeds its own list and, with its PASSTHRU rules, an allowlist; one of kind
allowlist its own, and with all other rules a doubtlist. The lists are sources of their own to the list keeper, whose
ids are derived from the feed's.
"""

import itertools
from collections.abc import Mapping, Sequence
from typing import Final

import attrs
import numpy as np

import tapir.kernels.order
from tapir.codec.columns import (
    concatenated,
    is_ordered,
    joined,
    joined_records,
    name_of,
    net_of,
    octets_of,
    offsets_of,
    order_of,
    records_of,
    scratch,
    steps_of,
    taken,
)
from tapir.codec.ordering import in_order, take_names
from tapir.model.actions import ListKind
from tapir.model.blocks import EMPTY_NAMES, EMPTY_RECORDS, NameBlock, RecordBlock, RecordDelta
from tapir.model.errors import TapirError
from tapir.model.messages.feeds import derived_source
from tapir.model.messages.lists import Refusal
from tapir.policy.feeds import FeedRules, map_content
from tapir.store.blobs import BlobError
from tapir.store.fold import fold_records

_PIECE: Final = 1 << 16
_LITTLE: Final = 1000
_MARK: Final = 1
"""any action, where only being on the list counts"""


@attrs.frozen(kw_only=True, eq=False)
class FeedLists:
    """All that the lists of a feed hold, by the id that each has as a source, in order of wire octets."""

    lists: Mapping[str, NameBlock]
    refused: Mapping[str, int]

    @property
    def refusals(self) -> tuple[Refusal, ...]:
        """What no list may hold, as the list keeper has it; a feed has no lines."""
        return tuple(
            Refusal(reason=reason, count=count, lines=()) for reason, count in sorted(self.refused.items()) if count
        )


@attrs.frozen(kw_only=True, eq=False)
class ListStep:
    """What becomes of one list: `removed` leave it, then `added` come to it; in any order."""

    removed: NameBlock = EMPTY_NAMES
    added: NameBlock = EMPTY_NAMES

    def __bool__(self) -> bool:
        return bool(len(self.removed) or len(self.added))


@attrs.frozen(kw_only=True, eq=False)
class Advanced:
    """A feed after a change of it: its rules, and what that does to its lists."""

    parts: tuple[RecordBlock, ...]
    delta: RecordDelta
    steps: Mapping[str, ListStep]
    """only those that are not empty"""
    refused: Mapping[str, int]
    """by how many more rules are refused now, by reason"""


class MisfitError(TapirError):
    """A difference does not fit what is held of the feed: it is to be had whole."""


def source_ids(source: str, kind: ListKind) -> tuple[str, str]:
    """The sources that a feed is: the one whose names are let through, and the one whose names are suspect."""
    if kind is ListKind.ALLOW:
        return source, derived_source(source, ListKind.DOUBT)
    return derived_source(source, ListKind.ALLOW), source


def canonical(blocks: Sequence[RecordBlock]) -> tuple[RecordBlock, ...]:
    """The rules in canonical order, each name once: of a name that is there twice the last rule counts."""
    records = joined_records(blocks)
    if not len(records):
        return ()
    if not is_ordered(records.names):
        numbers = in_order(records.names, np.arange(len(records), dtype=np.uint32))
        order = numbers[order_of(taken(records.names, numbers))]
        records = records_of(records.names, np.frombuffer(records.actions, np.uint8), order)
    # In pieces, since a change of one rule makes a new piece.
    return tuple(_piece(records, start, min(start + _PIECE, len(records))) for start in range(0, len(records), _PIECE))


def _piece(records: RecordBlock, start: int, end: int) -> RecordBlock:
    offsets = np.frombuffer(records.names.offsets, np.uint32)[start : end + 1]
    data = concatenated([memoryview(records.names.data)[int(offsets[0]) : int(offsets[-1])]])
    names = NameBlock(data=data, offsets=octets_of(offsets - offsets[0]))
    return RecordBlock(names=names, actions=records.actions[start:end])


def lists_of(parts: Sequence[RecordBlock], source: str, rules: FeedRules) -> FeedLists:
    """What the lists of the feed `source` hold when it says exactly `parts`."""
    content = map_content(parts or (EMPTY_RECORDS,), rules)
    passing, suspect = source_ids(source, rules.kind)
    found: dict[str, list[NameBlock]] = {passing: [], suspect: []}
    for target, names in content.lists.items():
        found[passing if target.kind is ListKind.ALLOW else suspect].append(names)
    return FeedLists(lists={key: _merged(blocks) for key, blocks in found.items()}, refused=content.refused)


def advance(
    parts: Sequence[RecordBlock],
    delta: RecordDelta,
    source: str,
    rules: FeedRules,
    *,
    after: Sequence[RecordBlock] | None = None,
) -> Advanced:
    """The feed after `delta`, which is `after` if that is known. Raises MisfitError when it does not fit `parts`."""
    if after is None:
        try:
            after = fold_records(parts, [delta])
        except BlobError as exc:
            raise MisfitError(str(exc)) from exc
    removed, added = (lists_of((block,), source, rules) for block in (delta.removed, delta.added))
    steps = {key: _step(removed.lists[key], added.lists[key]) for key in added.lists}
    reasons = dict.fromkeys((*removed.refused, *added.refused))
    return Advanced(
        parts=tuple(part for part in after if len(part)),
        delta=delta,
        steps={key: step for key, step in steps.items() if step},
        refused={reason: added.refused.get(reason, 0) - removed.refused.get(reason, 0) for reason in reasons},
    )


def between(before: Sequence[RecordBlock], after: Sequence[RecordBlock]) -> RecordDelta:
    """The least difference that makes `after` of `before`, both in canonical order, each name once."""
    if sum([len(part) for part in before]) <= _LITTLE:
        return _from_little(joined_records(before), joined_records(after))
    names, adds, actions = steps_of((joined_records(before), joined_records(after)))
    changes, misfit = net_of(names, adds, actions, order_of(names))
    if misfit is not None:
        raise MisfitError("a name is held twice")
    return changes.delta()


def _from_little(before: RecordBlock, after: RecordBlock) -> RecordDelta:
    """The same for a few rules before, each of which is looked up."""
    offsets, marks = offsets_of(after.names), scratch()
    gone, kept, place = [], [], 0
    for number, action in enumerate(before.actions):
        name = name_of(before.names, number)
        place = tapir.kernels.order.reach(after.names.data, offsets, place, name, marks)
        if place < len(after) and after.actions[place] == action and name_of(after.names, place) == name:
            kept.append(place)
        else:
            gone.append(number)
    added = after
    if kept:
        bounds = [-1, *kept, len(after)]
        added = joined_records([_piece(after, first + 1, end) for first, end in itertools.pairwise(bounds)])
    removed = records_of(before.names, np.frombuffer(before.actions, np.uint8), np.array(gone, np.uint32))
    return RecordDelta(removed=removed, added=added)


def _step(removed: NameBlock, added: NameBlock) -> ListStep:
    """Without the names that leave and come: their rule changed, and their list did not."""
    if not len(removed) or not len(added):
        return ListStep(removed=removed, added=added)
    names, adds, actions = steps_of([_marked(removed), _marked(added)])
    changes, _ = net_of(names, adds, actions, order_of(names))
    delta = changes.delta()
    return ListStep(removed=delta.removed.names, added=delta.added.names)


def _marked(names: NameBlock) -> RecordBlock:
    return RecordBlock(names=names, actions=bytes((_MARK,)) * len(names))


def _merged(blocks: Sequence[NameBlock]) -> NameBlock:
    """All names of `blocks`, each of which is in order of wire octets, in that order."""
    if len(blocks) < 2:
        return blocks[0] if blocks else EMPTY_NAMES
    names = joined(blocks)
    return take_names(names, in_order(names, np.arange(len(names), dtype=np.uint32)))
