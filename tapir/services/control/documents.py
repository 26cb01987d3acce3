"""What version 1 says of our parts, in its own words: pure functions from what actors answered."""

from collections.abc import Iterable, Mapping
from datetime import UTC, datetime
from typing import Any, Final

import numpy as np

from tapir.codec.bootstrap import TopicData
from tapir.codec.popapi import ListHead
from tapir.codec.rfc3339 import SECOND, YEAR_ONE
from tapir.model.actions import ListKind
from tapir.model.blocks import ObservationBlock
from tapir.model.messages.control import HealthStatus
from tapir.model.messages.lists import SourcesStatus, SourceStatus
from tapir.model.messages.mqtt import MqttStatus
from tapir.model.messages.zone import ZoneStatus
from tapir.model.names import Name, format_name
from tapir.zone.serial import is_newer, next_serial

MOST_REAPED: Final = 10_000
"""names that `reaper-stats` shows of one list, those that go first"""
_SLOT: Final = 60 * SECOND

_WORDS: Final = {
    **{kind.value: kind for kind in ListKind},
    **{kind.value.removesuffix("list"): kind for kind in ListKind},
}


def kind_of(*words: str) -> ListKind | None:
    """The kind of list that the first of `words` that names one does: `denylist` or `deny`, in any case."""
    return next((_WORDS[word.lower()] for word in words if word.lower() in _WORDS), None)


def well_or_not(health: HealthStatus | None, zone: ZoneStatus | None) -> str:
    """How the service does, in a sentence."""
    if health is None or zone is None:
        return "some parts do not answer"
    if not health.ready:
        return f"not ready: {'; '.join(health.reasons)}"
    text = f"ready: {zone.zone} is served with serial {zone.serial} and {zone.records} records"
    return "; ".join((text, *health.warnings))


def bumped_serial(present: int, now: int) -> int:
    """The serial after `present`: the time in seconds as upstream has it where that is newer, else the next one."""
    seconds = now // SECOND & 0xFFFF_FFFF
    return seconds if is_newer(seconds, than=present) else next_serial(present)


def lookup_text(explanation: Mapping[str, Any]) -> str:
    """Why a name is answered as it is, line by line: the decision, the lists, the rules that fired, the record."""
    name = explanation["name"]
    lines = [f"{name}: {explanation['why'] or explanation['action']}"]
    for hit in explanation["hits"]:
        by = "" if hit["match"] in ("", "exact") else f", by {hit['entry']}"
        tags = f", tags {' '.join(hit['tags'])}" if hit["tags"] else ""
        lines.append(f"  on {hit['kind']} {hit['list_name']}{by}{tags}")
    lines += [
        f"  rule {rule['rule']} fires: {rule['detail']}: {rule['action']}"
        for rule in explanation["rules"]
        if rule["fired"]
    ]
    record = explanation["record"]
    if record is not None:
        published = f"{record['owner']}: {record['action']}" if record["owner"] else "nothing"
        lines.append(f"  the zone has {published}")
    return "\n".join(lines)


def sources_text(sources: SourcesStatus) -> str:
    """The names of the lists, a line for each kind."""
    lines = []
    for kind in ListKind:
        names = dict.fromkeys(source.name for source in sources.sources if source.kind is kind and source.active)
        lines.append(f"{kind.value}s: {', '.join(names)}")
    return "\n".join(lines)


def zone_text(zone: ZoneStatus) -> str:
    """How the zone stands, line by line."""
    published = "never" if zone.published_at is None else _moment(zone.published_at)
    lines = [
        f"zone {zone.zone}: {zone.state}, serial {zone.serial}, {zone.records} records, published {published}",
        f"journal: {zone.journal_deltas} differences, {zone.journal_octets} octets, from serial {zone.journal_from}",
    ]
    return "\n".join(filter(None, (*lines, zone.reason, zone.store_error)))


def topics_of(mqtt: MqttStatus) -> tuple[TopicData, ...]:
    """The subscriptions, as upstream tells of them."""
    return tuple(
        TopicData(
            topic=topic.filter,
            messages=topic.messages,
            latest=YEAR_ONE if topic.latest_at is None else topic.latest_at,
        )
        for topic in mqtt.topics
    )


def list_heads(sources: Iterable[SourceStatus]) -> list[tuple[ListHead, str, str]]:
    """Each source with the list that it feeds, its key among the lists of that kind, and its id.

    Where several sources feed one list, the first one's key is the list's name, that of the others their id.
    """
    found: list[tuple[ListHead, str, str]] = []
    taken: set[tuple[ListKind, str]] = set()
    for source in sources:
        if not source.active or source.state == "unsupported":
            continue
        key = source.id if (source.kind, source.name) in taken else source.name
        taken.add((source.kind, key))
        origin, _, path = source.origin.partition(" ")
        head = ListHead(
            name=source.name,
            kind=source.kind,
            description=source.id,
            source_format=source.format,
            format="dawg" if source.format == "dawg" else "map",
            file=path if origin == "file" else "",
        )
        found.append((head, key, source.id))
    return found


def reaper_slots(block: ObservationBlock) -> tuple[dict[int, tuple[str, ...]], int]:
    """The names that go, by the end of the minute in which they do, and how many more go later.

    Sorts all of them, for a worker.
    """
    deadlines = np.frombuffer(block.deadlines, np.int64)
    offsets = memoryview(block.names.offsets).cast("I")
    slots: dict[int, list[str]] = {}
    for row in np.argsort(deadlines, kind="stable")[:MOST_REAPED].tolist():
        name = Name(block.names.data[offsets[row] : offsets[row + 1]])
        slots.setdefault(-(-int(deadlines[row]) // _SLOT) * _SLOT, []).append(format_name(name))
    return {at: tuple(names) for at, names in slots.items()}, max(0, len(block) - MOST_REAPED)


def _moment(microseconds: int) -> str:
    return datetime.fromtimestamp(microseconds / SECOND, UTC).strftime("%Y-%m-%d %H:%M:%S UTC")
