"""What the minimiser says: each trouble once when it begins, and once when it is over."""

import logging
from typing import Any

from tapir.model.messages.events import EventKind
from tapir.services.ingest.telling import Telling

Log = logging.Logger | logging.LoggerAdapter[Any]


class Voice:
    """Remembers what is wrong, by what it concerns. No sentence has a client in it, nor what a frame holds."""

    def __init__(self, telling: Telling) -> None:
        self._telling = telling
        self._troubles: dict[str, tuple[str, EventKind | None]] = {}
        self._said: set[str] = set()

    @property
    def trouble(self) -> str:
        """All that is wrong now."""
        return "; ".join([text for text, _ in self._troubles.values()])

    def note(self, log: Log, subject: str, text: str, *, now: int, kind: EventKind | None = None) -> None:
        """`subject` has this trouble now, or, where `text` is empty, none. With `kind` it is an exceptional event, too.

        Logged is that it begins and that it is over, not each of the words that it is told in meanwhile.
        """
        before = self._troubles.get(subject)
        if text:
            self._troubles[subject] = text, kind
            if before is None:
                log.warning("%s: %s", subject, text)
        elif before is not None:
            del self._troubles[subject]
            log.info("%s: all is well again", subject)
        if kind is not None:
            # Also that there never was one: an earlier incarnation may have told of one.
            self._telling.say(kind, subject, text, now=now)

    def say_once(self, log: Log, subject: str, text: str) -> None:
        """Log what happened the first time; afterwards it is counted elsewhere."""
        if subject not in self._said:
            self._said.add(subject)
            log.error("%s: %s", subject, text)

    def happened(self, log: Log, subject: str, text: str, *, now: int, kind: EventKind) -> None:
        """Something came about, which is said."""
        log.warning("%s: %s", subject, text)
        self._telling.happened(kind, subject, text, now=now)

    def look(self, now: int) -> None:
        """To be called every minute or so: what lasts is said again to the keeper of events."""
        self._telling.look(now)
