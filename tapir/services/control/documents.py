"""What version 1 says of our parts, in its own words: pure functions from what actors answered."""

from bisect import bisect_right
from collections.abc import Iterable, Mapping, Sequence
from datetime import UTC, datetime
from operator import itemgetter
from typing import Any, Final

import numpy as np

from tapir.codec.bootstrap import TopicData
from tapir.codec.popapi import ListHead
from tapir.codec.rfc3339 import SECOND, YEAR_ONE
from tapir.model.actions import ListKind
from tapir.model.blocks import ListBlock, ObservationBlock
from tapir.model.messages.control import HealthStatus
from tapir.model.messages.feeds import FeedStatus, actor_of
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


def list_heads(
    sources: Iterable[SourceStatus], feeds: Mapping[str, FeedStatus] | None = None
) -> list[tuple[ListHead, str, SourceStatus]]:
    """Each source with the list that it feeds, and its key among the lists of that kind.

    Where several sources feed one list, the first one's key is the list's name, that of the others their id. Of those
    that are `feeds`, by their ids, the zone and its serial are told.
    """
    found: list[tuple[ListHead, str, SourceStatus]] = []
    taken: set[tuple[ListKind, str]] = set()
    for source in sources:
        if not source.active or source.state == "unsupported":
            continue
        key = source.id if (source.kind, source.name) in taken else source.name
        taken.add((source.kind, key))
        origin, _, path = source.origin.partition(" ")
        feed = None if feeds is None else feeds.get(source.id)
        head = ListHead(
            name=source.name,
            kind=source.kind,
            description=source.id,
            source_format="none" if source.internal else source.format,
            format="dawg" if source.format == "dawg" else "map",
            file=path if origin == "file" else "",
            zone="." if feed is None else feed.zone,
            serial=0 if feed is None else feed.serial or 0,
        )
        found.append((head, key, source))
    return found


def merge_pages(pages: Sequence[ListBlock]) -> tuple[ListBlock, list[ListBlock]]:
    """What pages of several lists, each in order of its names, surely have in common, and what is left of each.

    A name is in the first once, with the tags of all lists that have it. It ends where the first page does: what comes
    behind that may be in the next page, too. For a worker.
    """
    entries = [list(page) for page in pages]
    end = min(page[-1][0] for page in entries)
    found: dict[Name, int] = {}
    rests = []
    for page in entries:
        count = bisect_right(page, end, key=itemgetter(0))
        for name, tags in page[:count]:
            found[name] = found.get(name, 0) | tags
        rests.append(ListBlock.of(page[count:]))
    return ListBlock.of(sorted(found.items())), rests


def feed_text(feed: FeedStatus, source: SourceStatus) -> str:
    """How a feed stands, in a line."""
    checked = "never" if feed.checked_at is None else _moment(feed.checked_at)
    stands = f"{feed.state}, serial {feed.serial}, {source.names} names, checked {checked}"
    return f"zone {feed.zone} by source {feed.source}: {stands}"


def is_zone(named: str, zone: str) -> bool:
    """Whether `named` is `zone`; nothing named is any."""
    return named.lower().rstrip(".") in ("", zone.lower().rstrip("."))


def record_text(explanation: Mapping[str, Any], asked: str) -> str:
    """The record of the zone that answers for a name."""
    record = explanation["record"]
    return f"{record['owner']}: {record['action']}" if record and record["owner"] else f"{asked}: no record"


def rules_text(explanation: Mapping[str, Any], feeds: Sequence[str]) -> str:
    """What these feeds, by their ids, say of a name, line by line."""
    hits = [hit for hit in explanation["hits"] if actor_of(hit["source"]) in feeds]
    lines = [f"{explanation['name']}: on {hit['kind']} {hit['list_name']} by {hit['entry']}" for hit in hits]
    return "\n".join(lines) or f"{explanation['name']}: no rule"


def relative_to(name: str, zone: str) -> str:
    """The name that the record `name` of `zone` is about; `name` itself where it is not below `zone`."""
    text, apex = name.rstrip("."), zone.strip(".").lower()
    return f"{text[: -len(apex) - 1]}." if apex and text.lower().endswith(f".{apex}") else name


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
