"""What an RPZ feed says, as entries of lists (pop.md §3.3).

A feed is a source of some kind, and each of its rules puts a name on a list:

    source       rule PASSTHRU                rule of another action
    allowlist    its own list                 the catch-all doubtlist
    denylist     the catch-all allowlist      its own list
    doubtlist    the catch-all allowlist      its own list

The action stays with the entry, so a list of the feed comes in a part for each. Upstream lets it have no say in what
becomes of the name; whether it has one here is for whoever makes lists of the parts. A wildcard is an entry like any
other: `*.bad.example` is all below `bad.example`. What may not be on a list is refused here, as with any source.
"""

from collections.abc import Mapping, Sequence
from typing import Final

import attrs
import numpy as np
import numpy.typing as npt

from tapir.codec.columns import concatenated, joined
from tapir.codec.ordering import in_order, take_names
from tapir.codec.suffixes import SuffixTest
from tapir.model.actions import Action, ListKind
from tapir.model.blocks import EMPTY_NAMES, NameBlock, RecordBlock, RecordDelta
from tapir.model.names import Name
from tapir.policy.admission import VERDICTS, verdicts_on

SAID: Final = tuple(action for action in Action if action is not Action.NONE)


@attrs.frozen
class FeedList:
    """A list that a feed puts names on, with what the feed says is to become of them."""

    kind: ListKind
    catch_all: bool
    """not the feed's own, but what all feeds of another kind say by the way"""
    action: Action


@attrs.frozen(kw_only=True, eq=False)
class FeedContent:
    """All that a feed says: the names of each list in order of wire octets, each once on one list; none is empty."""

    lists: Mapping[FeedList, NameBlock]
    refused: Mapping[str, int]
    """rules that no list may hold, by reason"""
    repeated: int
    """rules for a name that a later rule speaks of, too, which then counts"""


@attrs.frozen(kw_only=True, eq=False)
class FeedChange:
    """What becomes of one list: the names that leave it and those that come to it, in order of wire octets."""

    removed: NameBlock = EMPTY_NAMES
    added: NameBlock = EMPTY_NAMES


@attrs.frozen(kw_only=True)
class FeedRules:
    """What decides on which list a rule of a feed ends: the source's kind, and what a list for `zone` may hold."""

    kind: ListKind
    zone: Name
    is_public_suffix: SuffixTest
    broad: bool = False
    """whether it may hold top-level domains and the like"""


def list_of(kind: ListKind, action: Action) -> FeedList:
    """The list on which a rule of `action` puts its name, in a feed of `kind`."""
    if kind is ListKind.ALLOW:
        if action is Action.PASSTHRU:
            return FeedList(ListKind.ALLOW, False, action)
        return FeedList(ListKind.DOUBT, True, action)
    if action is Action.PASSTHRU:
        return FeedList(ListKind.ALLOW, True, action)
    return FeedList(kind, False, action)


def map_content(blocks: Sequence[RecordBlock], rules: FeedRules) -> FeedContent:
    """What a feed that holds exactly `blocks` says; of a name that is there twice the last rule counts."""
    names = joined([block.names for block in blocks])
    actions = np.frombuffer(concatenated([block.actions for block in blocks]), np.uint8)
    kept = in_order(names, np.arange(len(names), dtype=np.uint32))
    repeated = len(names) - len(kept)
    refused: dict[str, int] = {}
    lists: dict[FeedList, NameBlock] = {}
    said = actions[kept]
    for action in SAID:
        which = kept[said == action]
        if len(which):
            target = list_of(rules.kind, action)
            admitted = _admitted(names, which, target, rules, refused)
            if len(admitted):
                lists[target] = take_names(names, admitted)
    return FeedContent(lists=lists, refused=refused, repeated=repeated)


def map_delta(delta: RecordDelta, rules: FeedRules) -> Mapping[FeedList, FeedChange]:
    """What a difference of the feed comes to on its lists: to what `map_content` makes of the feed before and after.

    That holds for feeds that have no name twice. A name whose action changes leaves one list and comes to another.
    """
    removed = map_content([delta.removed], rules).lists
    added = map_content([delta.added], rules).lists
    return {
        target: FeedChange(removed=removed.get(target, EMPTY_NAMES), added=added.get(target, EMPTY_NAMES))
        for target in dict.fromkeys((*removed, *added))
    }


def _admitted(
    names: NameBlock, which: npt.NDArray[np.uint32], target: FeedList, rules: FeedRules, refused: dict[str, int]
) -> npt.NDArray[np.uint32]:
    """Those `which` of `names` that a list like `target` may hold; the others are counted in `refused`."""
    # A copy of them is for where they are few among all; else all are judged where they lie.
    few = 2 * len(which) < len(names)
    verdicts = verdicts_on(
        take_names(names, which) if few else names,
        kind=target.kind,
        zone=rules.zone,
        is_public_suffix=rules.is_public_suffix,
        broad=rules.broad,
    )
    verdicts = verdicts if few else verdicts[which]
    for reason, verdict in VERDICTS.items():
        count = int(np.count_nonzero(verdicts == verdict))
        if count:
            refused[reason] = refused.get(reason, 0) + count
    admitted: npt.NDArray[np.uint32] = which[verdicts == 0]
    return admitted
