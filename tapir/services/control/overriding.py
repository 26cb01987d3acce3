"""Orders for the operator's own lists, and the word on what became of each name."""

import contextlib
from collections.abc import Mapping
from typing import Any, Final

from actors import AskError
from tapir.codec.lists import parse_entry
from tapir.model.actions import Action, ListKind
from tapir.model.messages.lists import GetSources
from tapir.model.messages.local import OverrideChange, RemoveOverride, SetOverride
from tapir.model.messages.policy import Explain
from tapir.model.names import NameSyntaxError, format_name
from tapir.services.control.explaining import ON_ITS_WAY, Asker, explain_name, lists_of
from tapir.services.control.protocol import ProtocolError, to_plain
from tapir.services.control.status import ControlRefs
from tapir.services.control.wording import moment

_WORDS: Final = {ListKind.ALLOW: "allowed", ListKind.DENY: "denied", ListKind.DOUBT: "doubted"}


async def override(
    refs: ControlRefs, ask: Asker, order: SetOverride | RemoveOverride, *, patience: float
) -> dict[str, Any]:
    """Have `order` carried out; the answer says of each name what it was, and what it is now.

    Raises what `ask` raises: when the local source refuses, nothing was changed.
    """
    was = await _actions_before(refs, order.entry, patience=patience)
    change: OverrideChange = await ask(refs.overrides, order)
    names: list[dict[str, Any]] = []
    for each in change.now or change.before:
        explanation: dict[str, Any] | None = None
        # It is done, whoever does not answer now.
        with contextlib.suppress(ProtocolError):
            # The list keeper has the change in front of this question, and then the policy evaluator before the next.
            await ask(refs.lists, GetSources())
            explanation = await explain_name(refs, ask, each.entry, patience=patience)
        text = describe(each.entry, change, explanation, was=was.get(each.entry))
        names.append({"name": each.entry, "text": text, "explanation": explanation})
    return {
        "text": "\n".join(each["text"] for each in names),
        "now": to_plain(change.now),
        "before": to_plain(change.before),
        "names": names,
    }


async def _actions_before(refs: ControlRefs, entry: str, *, patience: float) -> dict[str, Action]:
    """What is decided for the names of `entry` now, as far as that is known."""
    found: dict[str, Action] = {}
    with contextlib.suppress(NameSyntaxError, AskError):
        for name in map(format_name, parse_entry(entry)):
            found[name] = (await refs.policy.ask(Explain(name=name), timeout=patience)).action
    return found


def describe(
    entry: str, change: OverrideChange, explanation: Mapping[str, Any] | None, *, was: Action | None = None
) -> str:
    """One sentence on what `change` did to `entry`, which `was` so before, and is explained as it is since."""
    now = next((each for each in change.now if each.entry == entry), None)
    before = next((each for each in change.before if each.entry == entry), None)
    if now is not None:
        until = "until it is removed" if now.until is None else f"until {moment(now.until)}"
        text = f"{entry} is {_WORDS[now.kind]} {until}"
        if before is not None and before.kind is not now.kind:
            text += f", and no longer {_WORDS[before.kind]}"
    elif before is not None:
        text = f"{entry} is no longer {_WORDS[before.kind]}"
    else:
        text = entry
    if explanation is None:
        return f"{text}; what follows from that is not decided yet"
    text += f"; {_standing(explanation, now.kind if now is not None else None)}"
    if was is not None and was.label != explanation["action"]:
        text += ", and was not" if was is Action.NONE else f", and was {was.label}"
    publication, record = explanation["publication"], explanation["record"]
    if publication is not None and publication["pending"] and record is not None:
        published = f"{record['action']} as {record['owner']}" if record["owner"] else "nothing"
        delayed = publication["why"] != ON_ITS_WAY
        text += f"; the published zone still has {published}: {publication['why']}" if delayed else ""
    return text


def _standing(explanation: Mapping[str, Any], kind: ListKind | None) -> str:
    """What is decided for the name now, and by whom."""
    stage, action = explanation["stage"], explanation["action"]
    by = ", ".join(lists_of(explanation, stage)) if stage != "none" else ""
    if stage == ListKind.ALLOW.value:
        if kind is None or kind is ListKind.ALLOW:
            others = _would_be(explanation)
            # Where something above it is blocked with all below, only a record of its own lets it through.
            what = "the zone lets it through" if explanation["emitted"] else "it is not in the zone"
            return f"{what}{others}"
        return f"without effect: it is on allowlist {by}, and what is allowed is never in the zone"
    if action == "NONE":
        if stage == ListKind.DOUBT.value:
            return f"it is not in the zone: it is on doubtlist {by}, and no rule fires"
        return "it is not in the zone"
    if stage == ListKind.DOUBT.value:
        return f"it is {action} by rule {explanation['winner']} (doubtlists {by})"
    return f"it is {action} by denylist {by}"


def _would_be(explanation: Mapping[str, Any]) -> str:
    """What allowing keeps out."""
    parts = [
        f"{kind.value} {', '.join(names)}"
        for kind in (ListKind.DENY, ListKind.DOUBT)
        if (names := list(lists_of(explanation, kind.value)))
    ]
    return f", although it is on {' and '.join(parts)}" if parts else ""
