"""What the log hears of sending histograms, and the exceptional event of those that wait for long."""

import enum
import logging
import math
from collections.abc import Callable
from typing import Any, Final

import attrs

from actors import ActorRef, Delivery
from tapir.codec.aggregates import NoReceipt, Refusal
from tapir.model.messages.events import ClearEvent, EventKind, RaiseEvent

Log = logging.Logger | logging.LoggerAdapter[Any]

SUBJECT: Final = "aggregates"
_CALM: Final = 600.0
"""seconds for which a trouble must be over, or must last, to be news"""
_AGAIN: Final = 300.0
"""seconds after which what lasts is said to the keeper of events once more, who may have been away"""

_MEANINGS: Final = {
    Refusal.REDIRECTED: "it sends us elsewhere, which is not followed: is `http-url` right?",
    Refusal.UNAUTHORISED: "it does not accept our signature: does it know the public half of the signing key, and is "
    "the clock right?",
    Refusal.REJECTED: "it does not want it",
    Refusal.OVERLOADED: "it has too much to do",
    Refusal.SERVER_ERROR: "it has trouble of its own",
    Refusal.UNEXPECTED: "that is no answer of a receiver of aggregates: is `http-url` right?",
    Refusal.BAD_LOCATION: "it took it, and says in a way that nobody understands where it is",
}


def describe(answer: NoReceipt) -> str:
    """An answer as a clause for the operator."""
    return f"the server answers {answer.status}: {_MEANINGS[answer.refusal]}"


class Trouble(enum.Enum):
    """What can be wrong, and what is said when it is over; the most important first."""

    SENDING = ("histograms cannot be sent now: %s; they are kept and tried again", "histograms are sent again")
    FOLDERS = (
        "the folders of histograms cannot be used: %s; it is tried again",
        "the folders of histograms can be used again",
    )
    ASIDE = (
        "a histogram is not sent now: %s; it is kept and tried again later, and the others are not held up by it; "
        "further ones are only counted",
        "no histogram is refused any more",
    )
    MOVING = (
        "a histogram was sent and stays in the outbox: %s; it is not sent again until the next start",
        "the histograms that were sent are no longer in the outbox",
    )


@attrs.define
class _Course:
    """How one trouble has gone so far; times in seconds."""

    text: str = ""
    """empty while there is none"""
    began: float = 0.0
    ended: float = -math.inf
    said: bool = False


class Voice:
    """Told of every try, it says what is news: each trouble once, and once that it is over. `clock` gives seconds.

    One that comes back soon after it was over is said again only when it lasts: what comes and goes all night fills
    no log.
    """

    def __init__(self, log: Log, *, clock: Callable[[], float]) -> None:
        self._log = log
        self._clock = clock
        self._courses = {trouble: _Course() for trouble in Trouble}

    @property
    def trouble(self) -> str:
        """What is wrong now, the most important; empty when nothing is."""
        return next((course.text for course in self._courses.values() if course.text), "")

    def begin(self, trouble: Trouble, text: str) -> None:
        """It is so now, or still; `text`, which is not empty, says why."""
        course, now = self._courses[trouble], self._clock()
        if not course.text:
            course.began = now
        course.text = text
        if not course.said and (course.began - course.ended > _CALM or now - course.began > _CALM):
            course.said = True
            self._log.warning(trouble.value[0], text)

    def amend(self, trouble: Trouble, text: str) -> None:
        """If it is so, this is why by now; it is no news of its own."""
        course = self._courses[trouble]
        if course.text:
            course.text = text

    def end(self, trouble: Trouble) -> None:
        """It is not, or no longer."""
        course = self._courses[trouble]
        if course.text:
            if course.said:
                self._log.info(trouble.value[1])
            self._courses[trouble] = _Course(ended=self._clock())

    def drop(self, *troubles: Trouble) -> None:
        """They do not matter any more, and nobody knows whether they are over."""
        for trouble in troubles:
            self._courses[trouble] = _Course()


class Alarm:
    """Raises the event while histograms wait for long. `clock` gives seconds."""

    def __init__(self, events: ActorRef[Any] | None, *, clock: Callable[[], float]) -> None:
        self._events = events
        self._clock = clock
        self._said: str | None = None
        self._say_at = 0.0

    def look(self, text: str) -> None:
        """`text` says what is wrong, and nothing when all is well; the first look clears what an earlier run raised."""
        if self._events is None or (text == self._said and not (text and self._clock() >= self._say_at)):
            return
        kind = EventKind.HISTOGRAMS_UNSENT
        message = RaiseEvent(kind=kind, subject=SUBJECT, text=text) if text else ClearEvent(kind=kind, subject=SUBJECT)
        if self._events.tell_nowait(message) in (Delivery.DELIVERED, Delivery.COALESCED):
            self._said = text
            self._say_at = self._clock() + _AGAIN
