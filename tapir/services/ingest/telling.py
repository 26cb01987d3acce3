"""What an operator must hear of, told to the keeper of exceptional events: when it begins and when it is over."""

from typing import Any, Final

import attrs

from actors import ActorRef, Delivery
from tapir.model.messages.events import ClearEvent, EventKind, RaiseEvent

HOUR: Final = 3600 * 1_000_000
_AGAIN: Final = 300 * 1_000_000
"""microseconds after which what lasts is said again: a keeper that was restarted gives up what nobody confirms"""


_TAKEN: Final = frozenset({Delivery.DELIVERED, Delivery.COALESCED})


@attrs.define
class _Told:
    text: str
    at: int | None = None
    """when the keeper was told, microseconds since the epoch; None when it had no room"""
    until: int | None = None
    """when it is over by itself"""

    def is_due(self, now: int) -> bool:
        """Whether the keeper is to be told, once more where this lasts."""
        return self.at is None or (bool(self.text) and not 0 <= now - self.at < _AGAIN)


class Telling:
    """Remembers what was said, so that it may be said at every turn and is told when it changes.

    Never waits: what the keeper has no room for is told at the next turn. `events` None: nobody is told. Belongs to
    one actor. All times are microseconds since the epoch.
    """

    def __init__(self, events: ActorRef[Any] | None) -> None:
        self._events = events
        self._told: dict[tuple[EventKind, str], _Told] = {}

    def say(self, kind: EventKind, subject: str, text: str, *, now: int) -> None:
        """`kind` is true of `subject`, in this sentence for the operator; an empty one: it is not true, or no more.

        Said first, an empty one ends also what an earlier process told.
        """
        told = self._told.get((kind, subject))
        if told is None or told.text != text:
            told = self._told[kind, subject] = _Told(text)
        self._tell(kind, subject, told, now)

    def happened(self, kind: EventKind, subject: str, text: str, *, now: int, lasts: int = HOUR) -> None:
        """`kind` came about, and is over when it has not for `lasts` microseconds; `look` sees to that.

        While it lasts it is told in its first sentence, however often it happens.
        """
        told = self._told.get((kind, subject))
        if told is None or not told.text:
            told = self._told[kind, subject] = _Told(text)
        told.until = now + lasts
        self._tell(kind, subject, told, now)

    def look(self, now: int) -> None:
        """End what is over by itself, and say again what lasts; to be called every minute or so."""
        for (kind, subject), told in self._told.items():
            if told.text and told.until is not None and now >= told.until:
                told.text, told.at = "", None
            self._tell(kind, subject, told, now)

    def _tell(self, kind: EventKind, subject: str, told: _Told, now: int) -> None:
        if self._events is None or not told.is_due(now):
            return
        message: RaiseEvent | ClearEvent
        if told.text:
            message = RaiseEvent(kind=kind, subject=subject, text=told.text)
        else:
            message = ClearEvent(kind=kind, subject=subject)
        if self._events.tell_nowait(message) in _TAKEN:
            told.at = now
