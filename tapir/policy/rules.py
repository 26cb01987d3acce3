"""The rules (pop.md §5): one set of them, for one name, for a million, and for the explanation.

Allow wins over everything, deny over doubt. All doubtlist rules are looked at; of those that fire the most
restrictive decides, the earlier one of equals.
"""

from collections.abc import Callable
from typing import Final

import attrs
import numpy as np
import numpy.typing as npt

from tapir.model.actions import Action
from tapir.model.tags import format_tags
from tapir.policy.columns import TAPIR_LIST, Evidence
from tapir.policy.settings import PolicySettings
from tapir.policy.table import Flags

Actions = npt.NDArray[np.uint8]
"""An `Action` a row. Their values are in order of restrictiveness, so the most restrictive is the greatest."""


@attrs.frozen(kw_only=True)
class Rule:
    """One doubtlist rule: on which rows it fires, what it does then, and what it compared on one row."""

    name: str
    action: Action
    fires: Callable[[Evidence], Flags]
    detail: Callable[[Evidence, int], str]


def doubtlist_rules(settings: PolicySettings) -> tuple[Rule, ...]:
    """The three rules, in the order that breaks ties."""
    limit = settings.numsources_limit
    tag_limit = settings.numtapirtags_limit
    mask = np.uint32(settings.denytapir_mask)
    return (
        Rule(
            name="numsources",
            action=settings.numsources_action,
            fires=lambda seen: seen.doubts >= limit,
            detail=lambda seen, row: f"{seen.doubts[row]} doubtlists, limit {limit}",
        ),
        Rule(
            name="numtapirtags",
            action=settings.numtapirtags_action,
            fires=lambda seen: np.bitwise_count(seen.tags) >= tag_limit,
            detail=lambda seen, row: f"{int(seen.tags[row]).bit_count()} tags from {TAPIR_LIST}, limit {tag_limit}",
        ),
        Rule(
            name="denytapir",
            action=settings.denytapir_action,
            fires=lambda seen: (seen.tags & mask) != 0,
            detail=lambda seen, row: (
                f"tags {format_tags(int(seen.tags[row]))} from {TAPIR_LIST}, denied {format_tags(int(mask))}"
            ),
        ),
    )


_PASS: Final = int(Action.PASSTHRU)


def decide_rows(settings: PolicySettings, seen: Evidence) -> Actions:
    """What to do with each row: what a record for it would have to say, NONE where none is wanted."""
    verdict = np.zeros(len(seen.tags), np.uint8)
    for rule in doubtlist_rules(settings):
        if rule.action > _PASS:  # a doubted name that may pass needs no record
            verdict = np.where(rule.fires(seen), np.maximum(verdict, np.uint8(rule.action)), verdict)
    verdict = np.where(seen.denied, np.uint8(settings.denylist_action), verdict)
    return np.where(seen.allowed, np.uint8(Action.NONE), verdict)
