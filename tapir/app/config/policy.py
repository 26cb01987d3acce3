"""`policy`: what becomes of the names."""

from functools import reduce
from operator import or_
from typing import Final

from tapir.app.config.files import PolicyFile
from tapir.app.config.report import Report, Section
from tapir.app.config.values import ACTIONS, between, listed, parse_action, parse_tag
from tapir.model.actions import Action
from tapir.model.names import Name
from tapir.policy.settings import PolicySettings

_WANTED_ACTION: Final = f"needed is {listed(list(ACTIONS))}"
_WANTED_LIMIT: Final = "needed is a whole number, 1 or more"
_WITHOUT_TARGET: Final = "has no target; set services.rpz.redirect to a domain name"
_FALLBACK: Final = Action.NXDOMAIN


def map_policy(report: Report, policy: PolicyFile, redirect: Name | None) -> PolicySettings:
    """The operator's rules; `redirect` is the target that REDIRECT has, if any."""
    top = Section(report, ("policy",))
    numsources, numtapirtags, denytapir = (
        top.at("doubtlist", rule) for rule in ("numsources", "numtapirtags", "denytapir")
    )
    rules = policy.doubtlist
    allow = top.at("allowlist").parse("action", policy.allowlist.action, parse_action, Action.PASSTHRU)
    if allow is not Action.PASSTHRU:
        top.at("allowlist").warn("action", f"{allow.label} is never applied: what is allowed is not in the zone")
    tags = denytapir.parse_each("tags", rules.denytapir.tags, parse_tag, wanted="an item is the name of a tag")
    return PolicySettings(
        allowlist_action=allow,
        denylist_action=_action(top.at("denylist"), policy.denylist.action, redirect),
        numsources_limit=_limit(numsources, rules.numsources.limit),
        numsources_action=_action(numsources, rules.numsources.action, redirect),
        numtapirtags_limit=_limit(numtapirtags, rules.numtapirtags.limit),
        numtapirtags_action=_action(numtapirtags, rules.numtapirtags.action, redirect),
        denytapir_mask=reduce(or_, tags, 0),
        denytapir_action=_action(denytapir, rules.denytapir.action, redirect, can_fire=bool(rules.denytapir.tags)),
    )


def _limit(section: Section, limit: int | None) -> int:
    return section.require("limit", limit, between(1), wanted=_WANTED_LIMIT, fallback=1)


def _action(section: Section, word: str | None, redirect: Name | None, *, can_fire: bool = True) -> Action:
    action = section.require("action", word, parse_action, wanted=_WANTED_ACTION, fallback=_FALLBACK)
    return sayable_action(section, action, redirect, can_fire=can_fire)


def sayable_action(section: Section, action: Action, redirect: Name | None, *, can_fire: bool = True) -> Action:
    """`action`; an error in `section` when it is REDIRECT, can ever be taken, and leads nowhere."""
    if action is Action.REDIRECT and redirect is None:
        if section.report.is_broken(("services", "rpz", "redirect")):
            return _FALLBACK
        if can_fire:
            section.error("action", f"redirect {_WITHOUT_TARGET}, or use {listed(_OTHERS)}")
            return _FALLBACK
        section.warn("action", f"redirect {_WITHOUT_TARGET} before the first tag is named; until then it does nothing")
    return action


_OTHERS: Final = [word for word in ACTIONS if word not in ("redirect", "allowlist")]
