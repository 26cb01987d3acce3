"""What is subscribed to, what should be, and what to say about the difference."""

from collections.abc import Iterable, Mapping, Sequence
from typing import Final

import attrs
import trio

from tapir.codec.mqtt.packets import FAILURE, Subscription, check_filter

_MOST_FILTERS: Final = 50
"""in one packet, so that it stays small"""


@attrs.frozen(kw_only=True)
class Step:
    """One SUBSCRIBE, or one UNSUBSCRIBE."""

    subscribe: tuple[Subscription, ...] = ()
    unsubscribe: tuple[str, ...] = ()


class Subscriptions:
    """What the caller wants, and which topic filters the broker's session may hold."""

    def __init__(self, wanted: Iterable[Subscription], *, former: Iterable[str] = ()) -> None:
        """`former` filters are ones that a session from before a restart may hold. Raises MalformedPacket."""
        self.wanted: tuple[Subscription, ...] = ()
        self.changed = trio.Event()
        self._known = set(former)
        self.change(wanted)

    def change(self, wanted: Iterable[Subscription]) -> None:
        """Want these from now on; of two with one filter the last. Raises MalformedPacket, then nothing changed."""
        unique = {subscription.topic_filter: subscription for subscription in wanted}
        for topic_filter in (*unique, *self._known):
            check_filter(topic_filter)
        self.wanted = tuple(unique.values())
        self.changed.set()

    def begin(self, *, session_present: bool) -> None:
        """A connection begins; without a session the broker knows nothing of us."""
        if not session_present:
            self._known.clear()

    def steps(self, answers: Mapping[Subscription, int]) -> Sequence[Step]:
        """What to say to a broker that gave these `answers` on this connection.

        Everything wanted is asked for once on each connection, since a session that is present proves nothing.
        """
        gone = sorted(self._known - {subscription.topic_filter for subscription in self.wanted})
        new = [subscription for subscription in self.wanted if answers.get(subscription, FAILURE) >= FAILURE]
        return (
            *(Step(unsubscribe=tuple(gone[n : n + _MOST_FILTERS])) for n in range(0, len(gone), _MOST_FILTERS)),
            *(Step(subscribe=tuple(new[n : n + _MOST_FILTERS])) for n in range(0, len(new), _MOST_FILTERS)),
        )

    def done(self, step: Step) -> None:
        """The broker has answered `step`."""
        self._known.update(subscription.topic_filter for subscription in step.subscribe)
        self._known.difference_update(step.unsubscribe)
