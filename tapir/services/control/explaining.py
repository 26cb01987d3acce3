"""Why a name is answered as it is, since when, and until when: what every part knows of it, put together.

The policy evaluator says what is decided, the local source who said so by hand, the list keeper how old a list is, the
sources whose entries expire when they do, and the zone keeper what is published of it since which serial. Only the
first must answer: what the others do not tell is left out, and of an entry that is said.
"""

from collections.abc import Awaitable, Callable, Iterable, Mapping
from typing import Any, Final

from actors import ActorRef, AskError, Request, answered, ask_together
from tapir.model.actions import Action
from tapir.model.messages.lists import EntryFacts, GetEntry, GetSources, SourcesStatus
from tapir.model.messages.local import SOURCES, GetOverrides, Override, OverridesStatus
from tapir.model.messages.policy import Explain, Explanation, ListHit
from tapir.model.messages.zone import GetRecordHistory, GetZone, RecordHistory, RecordStep, ZoneStatus
from tapir.model.names import MAX_NAME, ROOT, Name, NameSyntaxError, format_name, is_below, parent_of, parse_name
from tapir.services.control.protocol import to_plain
from tapir.services.control.status import ControlRefs

Asker = Callable[[ActorRef[Any], Request[Any]], Awaitable[Any]]
"""Asks, and raises ProtocolError when there is no answer"""

ON_ITS_WAY: Final = "it is on its way"
"""Why something is not published that nothing holds back"""

_SILENT: Final = "its source does not say now since when and until when"
_WILDCARD: Final = b"\x01*"
_LOCAL: Final = frozenset(SOURCES.values())
_EXPIRING: Final = "mqtt"
"""The origin of sources whose entries have times of their own"""


async def explain_name(refs: ControlRefs, ask: Asker, name: str, *, patience: float) -> dict[str, Any]:
    """The explanation of `name`, with `hits` that tell their age, and what the zone says as `record`.

    Raises what `ask` raises when the policy evaluator does not answer; others have `patience` seconds.
    """
    explanation: Explanation = await ask(refs.policy, Explain(name=name))
    candidates = answering_names(explanation.name)
    questions: list[tuple[str, ActorRef[Any], Request[Any]]] = [
        ("overrides", refs.overrides, GetOverrides()),
        ("sources", refs.lists, GetSources()),
        ("zone", refs.keeper, GetZone()),
        ("history", refs.keeper, GetRecordHistory(names=candidates)),
    ]
    answers = await ask_together(questions, patience=patience)
    # What was not answered is left out.
    answers = dict.fromkeys(answers) | answered(answers)
    entries = await _ask_sources(refs, explanation, answers["sources"], patience=patience)
    return put_together(explanation, **answers, entries=entries)


Entries = Mapping[tuple[str, str], EntryFacts | str]
"""What sources know of their entries, or why they do not say, by source and entry."""


async def _ask_sources(
    refs: ControlRefs, explanation: Explanation, sources: SourcesStatus | None, *, patience: float
) -> Entries:
    """What the sources whose entries have times of their own know of those that `explanation` names."""
    if refs.source is None or sources is None:
        return {}
    expiring = {source.id for source in sources.sources if source.origin.split(" ")[0] == _EXPIRING}
    entries = {(hit.source, hit.entry) for hit in explanation.hits if hit.source in expiring}
    questions = [
        ((source, entry), refs.source(source), GetEntry(source=source, name=parse_name(entry)))
        for source, entry in entries
    ]
    answers = await ask_together(questions, patience=patience)
    return {
        key: _SILENT if isinstance(facts, AskError) else facts for key, facts in answers.items() if facts is not None
    }


def answering_names(text: str) -> tuple[Name, ...]:
    """The names whose record can answer for the name `text`: itself, then the wildcards above, nearest first."""
    try:
        name = parse_name(text)
    except NameSyntaxError:
        return ()
    names = [name]
    while (name := parent_of(name)) != ROOT:
        if len(name) + len(_WILDCARD) <= MAX_NAME and names[0] != (wildcard := Name(_WILDCARD + name)):
            names.append(wildcard)
    return tuple(names)


def put_together(
    explanation: Explanation,
    *,
    overrides: OverridesStatus | None,
    sources: SourcesStatus | None,
    zone: ZoneStatus | None,
    history: RecordHistory | None,
    entries: Entries | None = None,
) -> dict[str, Any]:
    """One document of what each part knows; None is a part that did not answer."""
    by_hand = {(each.kind.value, each.entry): each for each in overrides.overrides} if overrides is not None else {}
    loaded = {source.id: source.loaded_at for source in sources.sources} if sources is not None else {}
    plain: dict[str, Any] = to_plain(explanation)
    plain["hits"] = [
        _hit(hit, by_hand, loaded, None if entries is None else entries.get((hit.source, hit.entry)))
        for hit in explanation.hits
    ]
    plain["record"] = None if history is None or zone is None else _record(explanation.name, history, zone.zone)
    plain["publication"] = None if zone is None else _publication(explanation, plain["record"], zone, sources)
    return plain


def _hit(
    hit: ListHit,
    by_hand: Mapping[tuple[str, str], Override],
    loaded: Mapping[str, int | None],
    facts: EntryFacts | str | None,
) -> dict[str, Any]:
    override = by_hand.get((hit.kind, hit.entry)) if hit.source in _LOCAL else None
    known = facts if isinstance(facts, EntryFacts) else None
    return {
        **to_plain(hit),
        "loaded_at": loaded.get(hit.source),
        # Of a list it is known when all of it was read, and not since when it has had this entry.
        "since": override.at if override is not None else known.observed_at if known is not None else None,
        "expires": override.until if override is not None else known.expires_at if known is not None else None,
        "override": to_plain(override),
        "note": facts if isinstance(facts, str) else "",
    }


def _record(name: str, history: RecordHistory, zone: str) -> dict[str, Any]:
    """The published record that answers for `name`, or which one did last, as far as the journal reaches."""
    candidates = answering_names(name)
    present = dict(history.present)
    steps = dict(history.steps)
    found = next((each for each in candidates if each in present), None)
    if found is not None and is_below(candidates[0], found):
        found = None  # a wildcard holds for nothing below its own label `*` (RFC 4592 §2.2.1)
    record: dict[str, Any] = {
        "owner": _owner(found, zone) if found is not None else None,
        "action": present[found].label if found is not None else None,
        "since": None,
        "since_before": None,
        "withdrawn": None,
        "steps": [{**_step(step), "owner": _owner(each, zone)} for each in candidates for step in steps.get(each, ())],
    }
    if found is not None:
        changed = steps.get(found, ())
        if changed:
            record["since"] = _step(changed[0])
        else:
            record["since_before"] = _journal_start(history)
        return record
    gone = [(step, each) for each in candidates for step in steps.get(each, ())[:1] if step.after is Action.NONE]
    if gone:
        step, each = max(gone, key=lambda pair: pair[0].at)
        record["withdrawn"] = {**_step(step), "owner": _owner(each, zone)}
    return record


def _step(step: RecordStep) -> dict[str, Any]:
    return {"serial": step.serial, "at": step.at, "before": step.before.label, "after": step.after.label}


def _journal_start(history: RecordHistory) -> dict[str, Any]:
    if history.journal_from is None:
        return {"serial": history.serial, "at": None}
    return {"serial": history.journal_from, "at": history.journal_from_at}


def _owner(name: Name, zone: str) -> str:
    return format_name(name) + zone.removesuffix(".") + "."


def _publication(
    explanation: Explanation, record: Mapping[str, Any] | None, zone: ZoneStatus, sources: SourcesStatus | None
) -> dict[str, Any]:
    """Whether the zone says what is decided, and if not, why not."""
    pending = record is not None and not _agrees(explanation, record)
    return {
        "serial": zone.serial,
        "state": zone.state,
        "pending": pending,
        "why": _why(zone, sources) if pending else "",
    }


def _agrees(explanation: Explanation, record: Mapping[str, Any]) -> bool:
    owner, _, target = explanation.emitted.partition(" CNAME ")
    if not owner or record["owner"] is None:
        return not owner and record["owner"] is None
    action = Action.PASSTHRU if target == "rpz-passthru." else explanation.action
    return (owner, action.label) == (record["owner"], record["action"])


def _why(zone: ZoneStatus, sources: SourcesStatus | None) -> str:
    if zone.reason:
        return f"the zone is {zone.reason}: tapir resume"
    if zone.state in _STATES:
        return _STATES[zone.state]
    if sources is not None and not sources.publishing:
        return f"nothing new is published until these deliver: {', '.join(sources.waiting_for)}"
    return ON_ITS_WAY


_STATES: Final = {
    "held": "the zone is held by the operator: tapir zone resume",
    "braked": "the brake holds the change: tapir accept zone",
    "unsaved": "the zone cannot be saved",
    "empty": "the zone has no first version yet",
}


def lists_of(explanation: Mapping[str, Any], kind: str) -> Iterable[str]:
    """The names of the lists of `kind` in the document `explanation`, each once."""
    return dict.fromkeys(hit["list_name"] for hit in explanation["hits"] if hit["kind"] == kind)
