"""The same decision as everywhere, with its reasons kept."""

from typing import Final

import numpy as np

from tapir.codec.rpz import target_of
from tapir.model.actions import Action, ListKind
from tapir.model.messages.lists import ListDescription
from tapir.model.messages.policy import Explanation, ListHit, RuleOutcome
from tapir.model.names import Name, format_name, is_below
from tapir.model.tags import format_tags, tag_names
from tapir.policy.columns import TAPIR_LIST, Columns, Evidence
from tapir.policy.lookups import Lookups
from tapir.policy.rules import Rule, decide_rows, doubtlist_rules
from tapir.policy.settings import PolicySettings
from tapir.policy.storage import SlotColumn
from tapir.policy.table import NameTable

_ORDER: Final = (ListKind.ALLOW, ListKind.DENY, ListKind.DOUBT)
_NO_STAGE: Final = "none"


def explain(
    name: Name,
    *,
    zone: Name,
    redirect: Name | None,
    settings: PolicySettings,
    table: NameTable,
    columns: Columns,
    emitted: SlotColumn[np.uint8],
    lookups: Lookups,
) -> Explanation:
    """Why `name` is answered as it is: every list that holds it, and what each rule made of that.

    Doubtlist rules have an outcome only where they are asked: when no allow- or denylist holds the name.
    """
    slot = table.governing_slot(name)
    seen = columns.gather(np.array([slot], np.int32))
    action = Action(int(decide_rows(settings, seen)[0]))
    # What is looked up is asked itself, for the columns know no more of it than bears on the zone.
    looked_up = {list_: (entry, match) for list_, entry, match in lookups.hits(name)}
    held = [entry for entry in columns.entries(slot) if entry[0].source not in lookups]
    held += [(list_, slot, 0) for list_ in looked_up]
    held = sorted(held, key=lambda each: (_ORDER.index(each[0].kind), each[0].name, each[0].source))
    hits = tuple(
        _hit_of(list_, *looked_up[list_], 0)
        if list_ in looked_up
        else _hit(name, list_, at, tags, table=table, columns=columns)
        for list_, at, tags in held
    )
    stage = _stage(seen)
    if looked_up:
        stage, action = ListKind.ALLOW.value, Action.NONE
    rules: tuple[Rule, ...] = ()
    winner = ""
    if stage == ListKind.DOUBT.value:
        rules = doubtlist_rules(settings)
        fired = [rule for rule in rules if rule.fires(seen)[0]]
        # The most restrictive, the earlier one of equals.
        winner = max(fired, key=lambda rule: rule.action.rank).name if fired else ""
    elif stage != _NO_STAGE:
        winner = stage
    lists = tuple(list_ for list_, _, _ in held if list_.kind.value == stage)
    own = _own_action(settings, lists) if winner else None
    record, hidden = _record(name, slot, zone=zone, redirect=redirect, table=table, emitted=emitted)
    return Explanation(
        name=format_name(name),
        action=action,
        stage=stage,
        hits=hits,
        rules=tuple(_outcome(rule, settings, seen, lists) for rule in rules),
        winner=winner,
        emitted=record,
        action_source=own.source if own is not None else "",
        why=_why(settings, stage, winner, own, lists) + hidden,
    )


def _hit(name: Name, held: ListDescription, at: int, tags: int, *, table: NameTable, columns: Columns) -> ListHit:
    entry = table.name_of(at)
    match = "exact"
    if entry != name:  # by a wildcard above it; one together with the name itself is a subtree
        match = "subtree" if columns.holds(held.source, at - 1) else "wildcard"
    return _hit_of(held, entry, match, tags)


def _hit_of(held: ListDescription, entry: Name, match: str, tags: int) -> ListHit:
    return ListHit(
        list_name=held.name,
        kind=held.kind.value,
        entry=format_name(entry),
        tags=tag_names(tags),
        source=held.source,
        match=match,
        weight=held.weight,
        action=held.action.label if held.action is not None else "",
    )


def _stage(seen: Evidence) -> str:
    if seen.allowed[0]:
        return ListKind.ALLOW.value
    if seen.denied[0]:
        return ListKind.DENY.value
    return ListKind.DOUBT.value if seen.doubted[0] else _NO_STAGE


def _outcome(rule: Rule, settings: PolicySettings, seen: Evidence, lists: tuple[ListDescription, ...]) -> RuleOutcome:
    found = int(rule.figure(seen)[0])
    return RuleOutcome(
        rule=rule.name,
        fired=bool(rule.fires(seen)[0]),
        detail=_detail(rule, found, settings, int(seen.tags[0]), count=len({each.name for each in lists})),
        action=rule.action.label,
        found=found,
        limit=rule.limit,
    )


def _detail(rule: Rule, found: int, settings: PolicySettings, tags: int, *, count: int) -> str:
    match rule.name:
        case "numsources":
            weight = "" if found == count else f" of weight {found} together"
            return f"{count} doubtlist{'s' if count != 1 else ''}{weight}, limit {rule.limit}"
        case "numtapirtags":
            return f"{found} tags from {TAPIR_LIST}, limit {rule.limit}"
        case _:
            return f"tags {format_tags(tags)} from {TAPIR_LIST}, denied {format_tags(settings.denytapir_mask)}"


def _own_action(settings: PolicySettings, lists: tuple[ListDescription, ...]) -> ListDescription | None:
    """Of the lists that hold the name the one whose own action is taken, the first of equals; None: the policy's is."""
    own = [(each.action.rank, each) for each in lists if each.action is not None]
    if not own:
        return None
    rank, taken = max(own, key=lambda pair: pair[0])
    by_default = any(each.kind is ListKind.DENY and each.action is None for each in lists)
    return None if by_default and settings.denylist_action.rank >= rank else taken


def _why(
    settings: PolicySettings,
    stage: str,
    winner: str,
    own: ListDescription | None,
    lists: tuple[ListDescription, ...],
) -> str:
    said = f"source {own.source} says {own.action.label}" if own is not None and own.action is not None else ""
    match stage:
        case ListKind.ALLOW.value:
            return "an allowlist holds it, and what is allowed is left alone"
        case ListKind.DENY.value:
            among = ", the most restrictive of what its denylists say" if len(lists) > 1 else ""
            said = said or f"policy.denylist.action is {settings.denylist_action.label}"
            return f"a denylist holds it, and {said}{among}"
        case ListKind.DOUBT.value if winner:
            return f"doubtlists hold it, and {winner} fires{f'; {said} in its place' if said else ''}"
        case ListKind.DOUBT.value:
            return "doubtlists hold it, but no rule fires"
        case _:
            return "no list holds it"


def _record(
    name: Name, slot: int, *, zone: Name, redirect: Name | None, table: NameTable, emitted: SlotColumn[np.uint8]
) -> tuple[str, str]:
    """The record that a resolver finds for what `slot` decides, or nothing; and why it finds none although there is."""
    for at in table.path(slot):
        if action := emitted.at(at):
            rule = table.name_of(at)
            owner = format_name(Name(rule[:-1] + zone))
            if is_below(name, rule):
                return "", f"; but no wildcard holds below its own label `*`, so {owner} does not answer"
            return f"{owner} CNAME {_target(Action(action), redirect)}", ""
    return "", ""


def _target(action: Action, redirect: Name | None) -> str:
    if action is Action.REDIRECT and redirect is None:
        return "(the redirect target)"
    return format_name(target_of(action, redirect=redirect))
