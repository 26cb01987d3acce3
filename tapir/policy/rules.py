"""The rules (pop.md §5): one set of them, for one name, for a million, and for the explanation.

Allow wins over everything, deny over doubt. A denied name gets the most restrictive of the actions of the denylists
that hold it. All doubtlist rules are looked at; of those that fire the most restrictive decides, the earlier one of
equals. Where one fires and a doubtlist that holds the name has an action of its own, the most restrictive of these
replaces what the rule says: the rules decide whether, the lists may decide what.
"""

from collections.abc import Callable, Sequence
from functools import lru_cache
from itertools import product
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


_RANK_BITS: Final = 3  # RESTRICTIVENESS has no more than 8


def decide_rows(settings: PolicySettings, seen: Evidence) -> Actions:
    """What to do with each row: what a record for it would have to say, NONE where none is wanted."""
    # All that counts of a row is one of some thousand cases, and each case is judged once.
    case = seen.denied_rank.astype(np.uint16)
    case <<= _RANK_BITS
    case |= seen.doubted_rank
    for flags in (seen.allowed, seen.denied_by_default, *(rule.fires(seen) for rule in doubtlist_rules(settings))):
        case <<= 1
        case |= flags
    return _verdicts(settings).take(case)


@lru_cache(maxsize=8)
def _verdicts(settings: PolicySettings) -> Actions:
    """The verdict on each case; the parts of a case count up in the order in which `decide_rows` shifts them in."""
    ranks = range(1 << _RANK_BITS)
    actions = [rule.action for rule in doubtlist_rules(settings)]
    return np.array(
        [
            _judge(
                allowed=bool(allowed),
                denials=[*_of_rank(denied), *([settings.denylist_action] if denied_by_default else [])],
                fired=[action for action, fires in zip(actions, fire, strict=True) if fires],
                own=_of_rank(doubted),
            )
            for denied, doubted, allowed, denied_by_default, *fire in product(
                ranks, ranks, (False, True), (False, True), *[(False, True)] * len(actions)
            )
        ],
        np.uint8,
    )


def _of_rank(rank: int) -> tuple[Action, ...]:
    return RESTRICTIVENESS[rank : rank + 1] if rank else ()


def _judge(*, allowed: bool, denials: Sequence[Action], fired: Sequence[Action], own: Sequence[Action]) -> Action:
    """The verdict on a name: `denials` is what its denylists say, `own` what its doubtlists say where rules `fired`."""
    if allowed:
        return Action.NONE
    if denials:
        return max(denials, key=_severity)
    action = max((own if fired and own else fired), key=_severity, default=Action.NONE)
    return Action.NONE if action is Action.PASSTHRU else action  # a doubted name that may pass needs no record


_severity: Final = RESTRICTIVENESS.index
