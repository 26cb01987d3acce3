"""What the parts of an EDM say of themselves, as components and as counters. Pure.

No text of another part goes out as it is: it could name a file or an address. What is said here is made of figures, of
states, and of keys of the configuration; nothing is said of a client, and no name that somebody asked for.
"""

from collections.abc import Iterable
from typing import Final

import attrs

from tapir.minimiser.account import Account, Fate
from tapir.model.messages.edm import AggregatesStatus, InputStatus, MinimiserStatus, NoveltyStatus
from tapir.model.messages.events import EventKind, ExceptionalEvent
from tapir.model.messages.mqtt import MqttStatus
from tapir.model.messages.newnames import NewNamesStatus
from tapir.model.messages.telemetry import ComponentState
from tapir.services.uplink.telemetry_parts import (
    MOST_COUNTERS,
    Judgement,
    add_all,
    count_of,
    judge_broker,
    judge_certificates,
)

COMPONENTS: Final = frozenset(
    {
        "main-boot",
        "cert-status",
        "dnstap-input",
        "minimiser",
        "parquet",
        "aggregates",
        "novelty",
        "new-qname",
        "mqtt-event",
    }
)
"""Those of a POP that an EDM has, too, by the same names"""

_FAIL, _WARN, _OK = ComponentState.FAIL, ComponentState.WARN, ComponentState.OK


@attrs.frozen(kw_only=True)
class EdmAnswers:
    """The answers of the parts; None where one is not run or did not answer."""

    account: Account
    input: InputStatus | None = None
    minimiser: MinimiserStatus | None = None
    novelty: NoveltyStatus | None = None
    aggregates: AggregatesStatus | None = None
    newnames: NewNamesStatus | None = None
    mqtt: MqttStatus | None = None
    events: tuple[ExceptionalEvent, ...] | None = None

    def lasting(self, kind: EventKind) -> tuple[str, ...]:
        """What an event of this kind lasts of."""
        return tuple(event.subject for event in self.events or () if event.kind is kind and event.cleared_at is None)


def judge_edm(answers: EdmAnswers) -> dict[str, Judgement]:
    """Each component that this EDM has, and how it does; one whose part did not answer is left out."""
    found = {
        "main-boot": _main(answers),
        "cert-status": judge_certificates(answers.events),
        "dnstap-input": _input(answers),
        "minimiser": _minimiser(answers),
        "parquet": _parquet(answers),
        "aggregates": _aggregates(answers),
        "novelty": _novelty(answers),
        "new-qname": _events(answers),
        "mqtt-event": judge_broker(answers.mqtt),
    }
    return {name: judgement for name, judgement in found.items() if judgement is not None}


def _main(answers: EdmAnswers) -> Judgement | None:
    if answers.events is None:
        return None
    crashing = answers.lasting(EventKind.RESTART_LIMIT)
    if crashing:
        return Judgement(_WARN, f"started; {count_of(len(crashing), 'actor')} crashed too often")
    return Judgement(_OK, "started")


def _input(answers: EdmAnswers) -> Judgement | None:
    status = answers.input
    if status is None:
        return None
    if status.trouble:
        return Judgement(_FAIL, "nothing is listened on, or not everything that should be")
    if answers.lasting(EventKind.DNSTAP_HOOK):
        return Judgement(_WARN, "the resolver sends what it asks for itself: no clients are counted")
    if not status.open:
        return Judgement(_WARN, "no sender is connected")
    return Judgement(_OK, f"{count_of(status.open, 'sender')} connected")


def _minimiser(answers: EdmAnswers) -> Judgement | None:
    status = answers.minimiser
    if status is None:
        return None
    lists = {
        "well-known-domains-file": status.well_known,
        "ignored-client-ips-file": status.ignored_clients,
        "ignored-question-names-file": status.ignored_names,
    }
    unusable = [key for key, file in lists.items() if file.trouble]
    if unusable:
        what = f"{', '.join(unusable)} cannot be used"
        if not status.interval_started_at:
            return Judgement(_FAIL, f"{what}; frames wait for it")
        if any(lists[key].loaded_at is None for key in unusable):
            return Judgement(_FAIL, f"{what}; none was read before")
        return Judgement(_WARN, f"{what}; what was read before is")
    if status.trouble:
        return Judgement(_WARN, "frames are minimised, and something is wrong: see its log")
    return Judgement(_OK, "frames are minimised")


def _parquet(answers: EdmAnswers) -> Judgement | None:
    if answers.minimiser is None:
        return None
    full = answers.lasting(EventKind.DISK_FULL)
    if full:
        return Judgement(_FAIL, f"the disk does not take {', '.join(sorted(full))}")
    return Judgement(_OK, "files are written")


def _aggregates(answers: EdmAnswers) -> Judgement | None:
    status = answers.aggregates
    if status is None:
        return None
    if not status.enabled:
        return Judgement(_OK, "histograms are not sent, by configuration")
    if answers.lasting(EventKind.HISTOGRAMS_UNSENT):
        return Judgement(_FAIL, "histograms have been waiting for long")
    if status.trouble:
        return Judgement(_WARN, "histograms wait, and are tried again")
    return Judgement(_OK, "histograms are sent")


def _novelty(answers: EdmAnswers) -> Judgement | None:
    status = answers.novelty
    if status is None:
        return None
    if status.trouble:
        return Judgement(_FAIL, "the store of seen names cannot be used: names are put off until they come again")
    if answers.lasting(EventKind.STORE_ASIDE):
        return Judgement(_WARN, "the store of seen names was damaged and began anew: every name is new")
    return Judgement(_OK, "new names are found")


def _events(answers: EdmAnswers) -> Judgement | None:
    status = answers.newnames
    if status is None:
        return None
    if answers.lasting(EventKind.EVENTS_DROPPED):
        return Judgement(_FAIL, "more events wait than are kept: the oldest were dropped")
    if status.trouble:
        return Judgement(_WARN, "events wait, and are tried again")
    return Judgement(_OK, "events are sent")


def count_edm(answers: EdmAnswers) -> tuple[tuple[str, int], ...]:
    """What is counted, by dotted name, sorted. `…-now` is how much there is; all else counts since the start."""
    found: dict[str, int] = {}

    def add(name: str, number: int) -> None:
        found[name] = number

    account = answers.account
    add("frames.received", account.received)
    add("frames.in-flight-now", account.in_flight)
    add_all(add, "frames", ((f"{fate.kind}.{fate.reason}", account.count(fate)) for fate in Fate))
    if (source := answers.input) is not None:
        add("input.connections-now", source.open)
        add("input.accepted", source.accepted)
        add("input.refused", source.refused)
        add("input.octets", source.octets)
        add_all(add, "input.failed", source.failed)
    if (minimiser := answers.minimiser) is not None:
        add_all(add, "minimiser", _of_minimiser(minimiser))
    if (novelty := answers.novelty) is not None:
        add("novelty.asked", novelty.asked)
        add("novelty.new", novelty.new)
        add("novelty.put-off", novelty.put_off)
    if (events := answers.newnames) is not None:
        add("new-qname.sent", events.sent)
        add("new-qname.waiting-now", events.waiting)
        add("new-qname.dropped", events.dropped)
        add("novelty.names-now", events.names)
        add("novelty.forgotten", events.forgotten)
    if (aggregates := answers.aggregates) is not None:
        add("aggregates.waiting-now", aggregates.waiting)
        add("aggregates.sent", aggregates.sent)
        add_all(add, "aggregates.failed", aggregates.failures)
    if (mqtt := answers.mqtt) is not None:
        add("mqtt.connections", mqtt.connections)
        add("mqtt.published", mqtt.published)
        add_all(add, "mqtt", mqtt.counters)
    return tuple(sorted(found.items()))[:MOST_COUNTERS]


def _of_minimiser(status: MinimiserStatus) -> Iterable[tuple[str, int]]:
    return (
        ("histograms-written", status.histograms_written),
        ("session-files-written", status.session_files_written),
        ("rows-lost", status.rows_lost),
        ("pseudonyms-now", status.pseudonyms),
    )
