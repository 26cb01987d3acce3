"""The rules (pop.md §5): one set of them, for one name, for a million, and for the explanation.

Allow wins over everything, deny over doubt. A denied name gets the most restrictive of the actions of the denylists
that hold it. All doubtlist rules are looked at; of those that fire the most restrictive decides, the earlier one of
equals. Where one fires and a doubtlist that holds the name has an action of its own, the most restrictive of these
replaces what the rule says: the rules decide whether, the lists may decide what.
"""

from collections.abc import Callable
from typing import Final

import attrs
import numpy as np
import numpy.typing as npt

from tapir.model.actions import RESTRICTIVENESS, Action
from tapir.policy.columns import Evidence
from tapir.policy.settings import PolicySettings
from tapir.policy.table import Flags

Actions = npt.NDArray[np.uint8]
"""An `Action` a row."""

Figures = npt.NDArray[np.int64]

_OF_RANK: Final = np.array(RESTRICTIVENESS, np.uint8)
_PASS: Final = np.uint8(Action.PASSTHRU.rank)
_NOTHING: Final = np.uint8(Action.NONE.rank)


@attrs.frozen(kw_only=True)
class Rule:
    """One doubtlist rule: it fires where its figure reaches `limit`, and what it does then."""

    name: str
    action: Action
    limit: int
    figure: Callable[[Evidence], Figures]

    def fires(self, seen: Evidence) -> Flags:
        """On which rows it fires."""
        return self.figure(seen) >= self.limit


def doubtlist_rules(settings: PolicySettings) -> tuple[Rule, ...]:
    """The three rules, in the order that breaks ties."""
    mask = np.uint32(settings.denytapir_mask)
    return (
        Rule(
            name="numsources",
            action=settings.numsources_action,
            limit=settings.numsources_limit,
            figure=lambda seen: seen.doubts,
        ),
        Rule(
            name="numtapirtags",
            action=settings.numtapirtags_action,
            limit=settings.numtapirtags_limit,
            figure=lambda seen: np.bitwise_count(seen.tags),
        ),
        Rule(
            name="denytapir",
            action=settings.denytapir_action,
            limit=1,
            figure=lambda seen: np.bitwise_count(seen.tags & mask),
        ),
    )


def decide_rows(settings: PolicySettings, seen: Evidence) -> Actions:
    """What to do with each row: what a record for it would have to say, NONE where none is wanted."""
    rank = np.zeros(len(seen.tags), np.uint8)
    for rule in doubtlist_rules(settings):
        rank = np.where(rule.fires(seen), np.maximum(rank, np.uint8(rule.action.rank)), rank)
    rank = np.where((rank != _NOTHING) & (seen.doubted_rank != _NOTHING), seen.doubted_rank, rank)
    rank = np.where(rank == _PASS, _NOTHING, rank)  # a doubted name that may pass needs no record
    default = np.where(seen.denied_by_default, np.uint8(settings.denylist_action.rank), _NOTHING)
    rank = np.where(seen.denied, np.maximum(default, seen.denied_rank), rank)
    return _OF_RANK[np.where(seen.allowed, _NOTHING, rank)]
