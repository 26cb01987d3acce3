"""What the parts of a POP say of themselves, as the components that Core knows (pop.md §8.2), and as counters. Pure.

No text of another part goes out as it is: it could name a file, an address or a domain name. What is said here is made
of figures, of states, and of the ids of sources.
"""

from collections.abc import Callable, Iterable, Mapping
from typing import Final

import attrs

from tapir.model.messages.control import OF_EDM, HealthStatus
from tapir.model.messages.events import EventKind, ExceptionalEvent
from tapir.model.messages.feeds import FeedStatus
from tapir.model.messages.lists import SourcesStatus, SourceStatus
from tapir.model.messages.mqtt import MqttStatus, TopicStatus
from tapir.model.messages.observations import ObservationsStatus
from tapir.model.messages.telemetry import ComponentState
from tapir.model.messages.zone import SecondaryStatus, ServerStatus, ZoneStatus

GLOBAL: Final = "uplink/global"
"""the consumer of the global configuration, by its actor's path"""


COMPONENTS: Final = frozenset(
    {
        "tapir-observation",
        "mqtt-event",
        "rpz",
        "rpz-ixfr",
        "rpz-inbound",
        "downstream-notify",
        "downstream-ixfr",
        "mqtt-config",
        "mqtt-unknown",
        "main-boot",
        "cert-status",
    }
)
"""all that Core knows"""


@attrs.frozen(kw_only=True)
class Facts:
    """The answers of the parts; None where one is not run or did not answer."""

    health: HealthStatus | None = None
    sources: SourcesStatus | None = None
    zone: ZoneStatus | None = None
    server: ServerStatus | None = None
    secondaries: tuple[SecondaryStatus, ...] | None = None
    mqtt: MqttStatus | None = None
    feeds: tuple[FeedStatus, ...] = ()
    observed: tuple[ObservationsStatus, ...] = ()
    events: tuple[ExceptionalEvent, ...] | None = None


@attrs.frozen
class Judgement:
    """How a component does, in a sentence."""

    state: ComponentState
    text: str


_FAIL, _WARN, _OK = ComponentState.FAIL, ComponentState.WARN, ComponentState.OK
_ZONE_STATES: Final = {
    "serving": (_OK, "the zone is served"),
    "held": (_WARN, "the zone is held by the operator"),
    "paused": (_WARN, "the zone is paused by the operator: nothing is blocked"),
    "braked": (_WARN, "a change of the zone is held back by the brake"),
    "unsaved": (_FAIL, "the zone cannot be saved: what is published stays"),
    "empty": (_FAIL, "the zone has no version yet"),
}
_FEED_STATES: Final = {"current": _OK, "transferring": _OK, "waiting": _WARN, "retrying": _WARN, "expired": _FAIL}


def judge_components(facts: Facts) -> dict[str, Judgement]:
    """Each component that this POP has, and how it does; one whose part did not answer is left out."""
    found = {
        "main-boot": _main(facts.health),
        "cert-status": judge_certificates(facts.events),
        "rpz": _zone(facts.zone),
        "rpz-ixfr": _journal(facts.zone),
        "rpz-inbound": _feeds(facts.feeds),
        "tapir-observation": _observations(facts.sources, facts.observed),
        "downstream-notify": _notified(facts.secondaries),
        "downstream-ixfr": _served(facts.secondaries),
        "mqtt-event": judge_broker(facts.mqtt),
        "mqtt-config": _global(facts.mqtt),
    }
    return {name: judgement for name, judgement in found.items() if judgement is not None}


def _main(health: HealthStatus | None) -> Judgement | None:
    if health is None:
        return None
    if not health.ready:
        return Judgement(_WARN, f"started, and not ready for {count_of(len(health.reasons), 'reason')}")
    warnings = [each for each in health.warnings if not each.startswith(OF_EDM)]  # which has a status of its own
    if warnings:
        return Judgement(_OK, f"started; {count_of(len(warnings), 'warning')}")
    return Judgement(_OK, "started")


def judge_certificates(events: tuple[ExceptionalEvent, ...] | None) -> Judgement | None:
    """How the certificates do of which there may be word in `events`."""
    if events is None:
        return None
    lasting = [event for event in events if event.cleared_at is None]
    kinds = {EventKind.CERTIFICATE_EXPIRES: "ends soon", EventKind.RENEWAL_FAILED: "cannot be used"}
    parts = [f"{event.subject} {kinds[event.kind]}" for event in lasting if event.kind in kinds]
    return Judgement(_WARN, "; ".join(parts)) if parts else Judgement(_OK, "all certificates are good")


def _zone(zone: ZoneStatus | None) -> Judgement | None:
    if zone is None:
        return None
    state, text = _ZONE_STATES.get(zone.state, (_WARN, f"the zone is {zone.state}"))
    return Judgement(state, text)


def _journal(zone: ZoneStatus | None) -> Judgement | None:
    if zone is None or zone.serial is None:
        return None
    if zone.journal_from is None:
        return Judgement(_OK, "the journal is empty: the next transfer is a whole one")
    return Judgement(_OK, "differences are served")


def _feeds(feeds: tuple[FeedStatus, ...]) -> Judgement | None:
    if not feeds:
        return None
    worst = min(_FEED_STATES.get(feed.state, _WARN) for feed in feeds)
    troubled = {feed.source: feed.state for feed in feeds if _FEED_STATES.get(feed.state, _WARN) is not _OK}
    return Judgement(worst, _told(troubled) or f"{count_of(len(feeds), 'feed')} current")


def _observations(sources: SourcesStatus | None, observed: tuple[ObservationsStatus, ...]) -> Judgement | None:
    mine = [source for source in sources.sources if _is_observed(source)] if sources is not None else []
    if not mine:
        return None
    troubled = {source.id: source.state for source in mine if source.state not in ("fresh", "restored")}
    if troubled:
        return Judgement(_FAIL if "waiting" in troubled.values() else _WARN, _told(troubled))
    if any(status.held for status in observed):
        return Judgement(_WARN, "observations are taken, and none expires: the clock is in doubt")
    return Judgement(_OK, "observations are taken")


def _is_observed(source: SourceStatus) -> bool:
    return source.active and source.origin.split(" ")[0] == "mqtt"


def _notified(secondaries: tuple[SecondaryStatus, ...] | None) -> Judgement | None:
    configured = [each for each in secondaries or () if each.configured]
    if not configured:
        return None
    late = sum(each.notify_state not in ("acknowledged", "") for each in configured)
    if not late:
        return Judgement(_OK, f"{count_of(len(configured), 'secondary', 'secondaries')} notified")
    state = _FAIL if late == len(configured) else _WARN
    return Judgement(state, f"{late} of {len(configured)} did not acknowledge the last version")


def _served(secondaries: tuple[SecondaryStatus, ...] | None) -> Judgement | None:
    if not secondaries:
        return None
    ahead = sum(each.ahead for each in secondaries)
    if ahead:
        return Judgement(_FAIL, f"{ahead} of {len(secondaries)} secondaries are ahead of the zone's serial")
    return Judgement(_OK, f"{count_of(len(secondaries), 'secondary', 'secondaries')} known")


def judge_broker(mqtt: MqttStatus | None) -> Judgement | None:
    """How the session with the broker does."""
    if mqtt is None:
        return None
    refused = sum(topic.granted is False for topic in mqtt.topics)
    if mqtt.state != "connected":
        return Judgement(_WARN if mqtt.state == "connecting" else _FAIL, f"the connection is {mqtt.state}")
    if refused:
        return Judgement(_FAIL, f"the broker refuses {refused} of {count_of(len(mqtt.topics), 'subscription')}")
    return Judgement(_OK, "connected")


def _global(mqtt: MqttStatus | None) -> Judgement | None:
    topics: list[TopicStatus] = [] if mqtt is None else [each for each in mqtt.topics if each.consumer == GLOBAL]
    if not topics:
        return None
    if any(topic.granted is False for topic in topics):
        return Judgement(_FAIL, "the broker refuses the topic of the global configuration")
    return Judgement(_OK, "the global configuration is listened for")


def _told(troubled: Mapping[str, str]) -> str:
    shown = [f"{source} is {state}" for source, state in sorted(troubled.items())]
    more = [f"{len(shown) - 10} more"] if len(shown) > 10 else []
    return "; ".join([*shown[:10], *more])


def count_of(number: int, one: str, many: str = "") -> str:
    """Figure and word."""
    return f"{number} {one if number == 1 else many or one + 's'}"


def count_all(facts: Facts) -> tuple[tuple[str, int], ...]:
    """What is counted, by dotted name, sorted: sums over all sources, feeds and secondaries, nothing about one of them.

    `…-now` is how much there is; all else counts since the process began.
    """
    counters: dict[str, int] = {}

    def add(name: str, number: int) -> None:
        counters[name] = counters.get(name, 0) + number

    if facts.zone is not None:
        add("zone.records-now", facts.zone.records)
    if facts.sources is not None:
        for source in facts.sources.sources:
            if source.active and not source.internal:
                add("sources.now", 1)
                add("sources.names-now", source.names)
                add(f"sources.{source.state}-now", 1)
                add("sources.lines-refused-now", sum(refusal.count for refusal in source.refusals))
    if facts.server is not None:
        add_all(add, "server", facts.server.counters)
        add_all(add, "server.refused", facts.server.refusals)
    if facts.mqtt is not None:
        add("mqtt.messages", sum(topic.messages for topic in facts.mqtt.topics))
        add("mqtt.octets", sum(topic.octets for topic in facts.mqtt.topics))
        add("mqtt.connections", facts.mqtt.connections)
        add("mqtt.published", facts.mqtt.published)
        add_all(add, "mqtt", facts.mqtt.counters)
    for feed in facts.feeds:
        add_all(add, "feeds", feed.counters)
    for status in facts.observed:
        add_all(add, "observations", status.counters)
        add("observations.names-now", status.entries)
    return tuple(sorted(counters.items()))[:MOST_COUNTERS]


MOST_COUNTERS: Final = 500


def add_all(add: Callable[[str, int], None], prefix: str, counters: Iterable[tuple[str, int]]) -> None:
    """Add `counters` by names below `prefix`."""
    for name, number in counters:
        add(f"{prefix}.{name}", number)
