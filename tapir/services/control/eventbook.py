"""The exceptional events as values: which last, which are over, how many are kept, and how they are stored."""

import enum
from collections.abc import Iterable, Iterator, Mapping
from typing import Any, Final

import attrs

from tapir.model.messages.events import EventKind, ExceptionalEvent

KEPT: Final = 100
"""events that are over, of which the newest are kept"""
LASTING: Final = 500
"""events that last; beyond these the oldest is given up, so that nothing grows without end"""
MAX_TEXT: Final = 1000
"""characters of a subject and of a text; what is longer is cut"""


class News(enum.Enum):
    """What `raise_event` found."""

    NEW = "it is new"
    AGAIN = "it lasted when the process stopped, and still does"
    REWORDED = "it lasts, and is said in other words"
    KNOWN = "it is known"


def make_id(now: int, randomness: bytes) -> str:
    """A UUID of version 7 (RFC 9562 §5.7) of the time `now` (µs) and ten octets of `randomness`; ids sort by time."""
    number = int.from_bytes((max(0, now) // 1000).to_bytes(8)[2:] + randomness[:10])
    number = number & ~(0xF << 76) | 7 << 76
    number = number & ~(0x3 << 62) | 2 << 62
    digits = f"{number:032x}"
    return "-".join((digits[:8], digits[8:12], digits[12:16], digits[16:20], digits[20:]))


@attrs.frozen
class EventBook:
    """All events that are known, the oldest first. `unconfirmed` last by what was stored, and nobody said so since."""

    events: tuple[ExceptionalEvent, ...] = ()
    unconfirmed: frozenset[str] = frozenset()

    def __iter__(self) -> Iterator[ExceptionalEvent]:
        return iter(self.events)

    @property
    def lasting(self) -> tuple[ExceptionalEvent, ...]:
        """The events that are not over."""
        return tuple(event for event in self.events if event.cleared_at is None)

    @property
    def newest_first(self) -> tuple[ExceptionalEvent, ...]:
        """All events, as `GetEvents` wants them."""
        return self.events[::-1]

    def find(self, kind: EventKind, subject: str) -> ExceptionalEvent | None:
        """The lasting event of `kind` about `subject`, if there is one."""
        subject = subject[:MAX_TEXT]
        return next((event for event in self.lasting if event.kind is kind and event.subject == subject), None)

    def raise_event(
        self, kind: EventKind, subject: str, text: str, *, new_id: str, now: int
    ) -> "tuple[EventBook, ExceptionalEvent, News]":
        """The book in which `kind` is true of `subject`; the event is another one only where none lasted."""
        text = text[:MAX_TEXT]
        known = self.find(kind, subject)
        if known is None:
            event = ExceptionalEvent(id=new_id, kind=kind, subject=subject[:MAX_TEXT], text=text, at=now)
            return self._with((*self.events, event)), event, News.NEW
        news = News.AGAIN if known.id in self.unconfirmed else News.KNOWN
        if news is News.KNOWN and known.text == text:
            return self, known, news
        event = attrs.evolve(known, text=text)
        book = self._with(event if each.id == event.id else each for each in self.events)
        book = attrs.evolve(book, unconfirmed=self.unconfirmed - {event.id})
        return book, event, News.REWORDED if news is News.KNOWN else news

    def clear(self, event: ExceptionalEvent, *, now: int) -> "tuple[EventBook, ExceptionalEvent]":
        """The book in which `event` is over."""
        # A clock that was set back meanwhile does not let an event end before it began.
        over = attrs.evolve(event, cleared_at=max(now, event.at))
        book = self._with(over if each.id == event.id else each for each in self.events)
        return attrs.evolve(book, unconfirmed=self.unconfirmed - {event.id}), over

    def _with(self, events: Iterable[ExceptionalEvent]) -> "EventBook":
        events = tuple(events)
        lasting = [event.id for event in events if event.cleared_at is None][-LASTING:]
        over = [event.id for event in events if event.cleared_at is not None][-KEPT:]
        kept = {*lasting, *over}
        return attrs.evolve(
            self,
            events=tuple(event for event in events if event.id in kept),
            unconfirmed=self.unconfirmed & kept,
        )


def pack_events(book: EventBook) -> dict[str, Any]:
    """What JSON can say of `book`."""
    return {
        "events": [
            {
                "id": event.id,
                "kind": event.kind.value,
                "subject": event.subject,
                "text": event.text,
                "at": event.at,
                "cleared_at": event.cleared_at,
            }
            for event in book
        ]
    }


def restore_events(document: Mapping[str, Any]) -> EventBook:
    """The book that was packed; whatever lasts in it is unconfirmed.

    Raises ValueError for a document that `pack_events` did not make; kinds of another version are left out.
    """
    try:
        entries = list(document["events"])
        kinds = {kind.value for kind in EventKind}
        events = tuple(_restore(entry) for entry in entries if entry["kind"] in kinds)
    except (KeyError, TypeError) as exc:
        raise ValueError("it is no document of events") from exc
    return EventBook(events, frozenset(event.id for event in events if event.cleared_at is None))


def _restore(entry: Mapping[str, Any]) -> ExceptionalEvent:
    texts = [entry[key] for key in ("id", "subject", "text")]
    times = [entry["at"], 0 if entry["cleared_at"] is None else entry["cleared_at"]]
    if not all(type(text) is str for text in texts) or not all(type(time) is int for time in times):
        raise TypeError("a member is not of its type")
    return ExceptionalEvent(
        id=entry["id"],
        kind=EventKind(entry["kind"]),
        subject=entry["subject"],
        text=entry["text"],
        at=entry["at"],
        cleared_at=entry["cleared_at"],
    )
