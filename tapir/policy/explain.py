"""The same decision as everywhere, with its reasons kept."""

from typing import Final

import numpy as np

from tapir.codec.rpz import target_of
from tapir.model.actions import Action, ListKind
from tapir.model.messages.policy import Explanation, ListHit, RuleOutcome
from tapir.model.names import Name, format_name
from tapir.model.tags import tag_names
from tapir.policy.columns import Columns, Evidence
from tapir.policy.rules import Actions, decide_rows, doubtlist_rules
from tapir.policy.settings import PolicySettings
from tapir.policy.table import NameTable

_ORDER: Final = (ListKind.ALLOW, ListKind.DENY, ListKind.DOUBT)


def explain(
    name: Name,
    *,
    zone: Name,
    redirect: Name | None,
    settings: PolicySettings,
    table: NameTable,
    columns: Columns,
    emitted: Actions,
) -> Explanation:
    """Why `name` is answered as it is: every list that holds it, and what each rule made of that.

    Doubtlist rules have an outcome only where they are asked: when no allow- or denylist holds the name.
    """
    slot = table.governing_slot(name)
    slots = np.array([slot], np.int32)
    seen = columns.gather(slots)
    hits = tuple(
        sorted(
            (
                ListHit(
                    list_name=description.name,
                    kind=description.kind.value,
                    entry=format_name(table.name_of(at)),
                    tags=tag_names(tags),
                )
                for description, at, tags in columns.entries(slot)
            ),
            key=lambda hit: (_ORDER.index(ListKind(hit.kind)), hit.list_name, hit.entry),
        )
    )
    stage = _stage(seen)
    rules = _outcomes(settings, seen) if stage == ListKind.DOUBT.value else ()
    return Explanation(
        name=format_name(name),
        action=Action(int(decide_rows(settings, seen)[0])),
        stage=stage,
        hits=hits,
        rules=tuple(outcome for outcome, _ in rules),
        winner=_winner(rules) if stage == ListKind.DOUBT.value else "" if stage == "none" else stage,
        emitted=_record(slot, zone=zone, redirect=redirect, table=table, emitted=emitted),
    )


def _stage(seen: Evidence) -> str:
    if seen.allowed[0]:
        return ListKind.ALLOW.value
    if seen.denied[0]:
        return ListKind.DENY.value
    return ListKind.DOUBT.value if seen.doubts[0] else "none"


def _outcomes(settings: PolicySettings, seen: Evidence) -> tuple[tuple[RuleOutcome, Action], ...]:
    return tuple(
        (
            RuleOutcome(
                rule=rule.name,
                fired=bool(rule.fires(seen)[0]),
                detail=rule.detail(seen, 0),
                action=rule.action.label,
            ),
            rule.action,
        )
        for rule in doubtlist_rules(settings)
    )


def _winner(outcomes: tuple[tuple[RuleOutcome, Action], ...]) -> str:
    """The rule whose action is taken: the most restrictive that fired, the earlier one of equals."""
    fired = [(outcome, action) for outcome, action in outcomes if outcome.fired]
    return max(fired, key=lambda each: each[1])[0].rule if fired else ""


def _record(slot: int, *, zone: Name, redirect: Name | None, table: NameTable, emitted: Actions) -> str:
    """The record that a resolver finds for what `slot` decides, or nothing."""
    for at in table.path(slot):
        if emitted[at]:
            owner = format_name(Name(table.name_of(at)[:-1] + zone))
            return f"{owner} CNAME {_target(Action(int(emitted[at])), redirect)}"
    return ""


def _target(action: Action, redirect: Name | None) -> str:
    if action is Action.REDIRECT and redirect is None:
        return "(the redirect target)"
    return format_name(target_of(action, redirect=redirect))
