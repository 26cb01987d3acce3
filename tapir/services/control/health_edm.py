"""How EDM is, from what its actors say of themselves. Pure."""

from typing import Final

import attrs

from tapir.model.messages.edm import AggregatesStatus, InputStatus, MinimiserStatus, NoveltyStatus
from tapir.model.messages.mqtt import MqttStatus
from tapir.model.messages.newnames import NewNamesStatus

OVERDUE: Final = 3600 * 1_000_000
"""microseconds after which something that is still to be sent deserves a word"""


@attrs.frozen(kw_only=True)
class EdmLook:
    """What each part said; None of one that did not answer, or is not run as `connected` and `answering` say."""

    input: InputStatus | None = None
    minimiser: MinimiserStatus | None = None
    novelty: NoveltyStatus | None = None
    aggregates: AggregatesStatus | None = None
    new_names: NewNamesStatus | None = None
    mqtt: MqttStatus | None = None
    connected: bool = True
    """whether events are sent at all"""


def judge_edm(look: EdmLook, *, now: int) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """Why EDM does not do what it is there for, and what else an operator should look at; a sentence each.

    `now` is microseconds since the epoch.
    """
    return (*_input_reasons(look.input), *_minimiser_reasons(look.minimiser)), tuple(_warnings(look, now))


def _input_reasons(status: InputStatus | None) -> list[str]:
    if status is None:
        return ["the dnstap input does not answer"]
    if not status.addresses:
        return [f"the dnstap input is not open: {status.trouble or 'it has not begun yet'}"]
    return []


def _minimiser_reasons(status: MinimiserStatus | None) -> list[str]:
    if status is None:
        return ["the minimiser does not answer"]
    known = status.well_known
    if known.loaded_at is None:
        return [f"the well-known names are not loaded: {known.trouble or f'{known.path} is being read'}"]
    if not status.interval_started_at:
        return _list_troubles(status) or ["the minimiser has not begun yet"]
    return []


def _list_troubles(status: MinimiserStatus) -> list[str]:
    lists = (("clients to ignore", status.ignored_clients), ("names to ignore", status.ignored_names))
    return [f"{what}: {each.trouble}" for what, each in lists if each.trouble]


def _warnings(look: EdmLook, now: int) -> list[str]:
    found: list[str] = []
    if look.input is not None and look.input.addresses and look.input.trouble:
        found.append(f"dnstap input: {look.input.trouble}")
    if look.minimiser is not None:
        status = look.minimiser
        if status.well_known.loaded_at is not None and status.well_known.trouble:
            found.append(f"well-known names: {status.well_known.trouble}; those of before are in effect")
        if status.interval_started_at:
            found += _list_troubles(status)
        rest = status.trouble
        for each in (status.well_known, status.ignored_clients, status.ignored_names):
            rest = rest.replace(each.trouble, "") if each.trouble else rest  # that is said already
        if rest := rest.strip("; "):
            found.append(f"minimiser: {rest}")
    if look.novelty is None:
        found.append("who looks for new names does not answer")
    elif look.novelty.trouble:
        found.append(f"new names: {look.novelty.trouble}")
    return [*found, *_aggregate_warnings(look.aggregates, now), *(_event_warnings(look, now) if look.connected else ())]


def _aggregate_warnings(status: AggregatesStatus | None, now: int) -> list[str]:
    if status is None:
        return ["the sender of histograms does not answer"]
    if not status.enabled:
        return []
    if status.oldest_at is not None and now - status.oldest_at >= OVERDUE:
        hours = (now - status.oldest_at) // OVERDUE
        why = f": {status.trouble}" if status.trouble else ""
        return [f"{status.waiting} histograms are not sent, the oldest is {hours} h old{why}; they are kept"]
    return [f"histograms: {status.trouble}; {status.waiting} are kept"] if status.trouble else []


def _event_warnings(look: EdmLook, now: int) -> list[str]:
    found: list[str] = []
    if look.mqtt is None:
        found.append("EDM's session with its broker does not answer")
    elif look.mqtt.trouble:
        found.append(f"EDM's broker is away: {look.mqtt.trouble}")
    status = look.new_names
    if status is None:
        return [*found, "the sender of new names does not answer"]
    if status.oldest_at is not None and now - status.oldest_at >= OVERDUE:
        hours = (now - status.oldest_at) // OVERDUE
        found.append(f"{status.waiting} events of new names are not sent, the oldest is {hours} h old; they are kept")
    if status.trouble and not (look.mqtt is not None and look.mqtt.trouble):
        found.append(f"events of new names: {status.trouble}")
    return found
