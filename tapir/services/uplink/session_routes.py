"""Which consumers want a message: topic filters of MQTT, with their wildcards (§4.7), matched here once more.

The broker says which topic a message has, not which subscription it came for.
"""

from collections.abc import Iterable, Sequence
from typing import Final

import attrs

from tapir.codec.mqtt.packets import Subscription
from tapir.services.uplink.session_settings import MqttSubscription

_MOST_TOPICS: Final = 4096
"""remembered with their routes; a broker that makes up topics only costs the matching"""


def matches(topic_filter: str, topic: str) -> bool:
    """Whether messages of `topic` are what `topic_filter` asks for."""
    wanted, given = _levels(topic_filter), topic.split("/")
    # What begins with $ belongs to the broker: no wildcard stands for it (§4.7.2).
    if topic.startswith("$") and wanted[0] in ("+", "#"):
        return False
    for position, level in enumerate(wanted):
        if level == "#":
            return True
        if position >= len(given) or level not in ("+", given[position]):
            return False
    return len(wanted) == len(given)


def _levels(topic_filter: str) -> list[str]:
    levels = topic_filter.split("/")
    # $share/NAME/FILTER (§4.8.2): the broker deals the messages out, under their own topics.
    return levels[2:] if levels[0] == "$share" and len(levels) > 2 else levels


@attrs.define(kw_only=True)
class Traffic:
    """What came for one subscription."""

    messages: int = 0
    octets: int = 0
    latest_at: int | None = None


class Routes:
    """From topics to consumers; what came is counted by subscription."""

    def __init__(self, subscriptions: Iterable[MqttSubscription]) -> None:
        self.subscriptions = tuple(dict.fromkeys(subscriptions))
        self._traffic: dict[MqttSubscription, Traffic] = {each: Traffic() for each in self.subscriptions}
        self._known: dict[str, tuple[MqttSubscription, ...]] = {}

    @property
    def wanted(self) -> tuple[Subscription, ...]:
        """What to ask of the broker: each filter once, at the highest QoS that somebody wants."""
        found: dict[str, int] = {}
        for each in self.subscriptions:
            found[each.filter] = max(each.qos, found.get(each.filter, 0))
        return tuple(Subscription(topic_filter=topic_filter, qos=qos) for topic_filter, qos in found.items())

    @property
    def consumers(self) -> tuple[str, ...]:
        """All of them, each once."""
        return tuple(dict.fromkeys(each.consumer for each in self.subscriptions))

    def find(self, topic: str, octets: int, *, at: int) -> tuple[str, ...]:
        """Who wants this message, each once; it is counted. `at` is microseconds since the epoch."""
        wanting = self._known.get(topic)
        if wanting is None:
            wanting = tuple(each for each in self.subscriptions if matches(each.filter, topic))
            if len(self._known) >= _MOST_TOPICS:
                self._known.clear()
            self._known[topic] = wanting
        for each in wanting:
            traffic = self._traffic[each]
            traffic.messages += 1
            traffic.octets += octets
            traffic.latest_at = at
        if len(wanting) == 1:
            return (wanting[0].consumer,)
        return tuple(dict.fromkeys(each.consumer for each in wanting))

    def traffic(self, subscription: MqttSubscription) -> Traffic:
        """What came for one of the subscriptions."""
        return self._traffic[subscription]

    def changed(self, subscriptions: Sequence[MqttSubscription]) -> "Routes":
        """The routes of `subscriptions`; those that stay go on with what they have counted."""
        routes = Routes(subscriptions)
        routes._traffic.update({each: self._traffic[each] for each in routes.subscriptions if each in self._traffic})
        return routes
