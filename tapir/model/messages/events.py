"""Anybody tells of what an operator must hear of, wherever he is: exceptional events.

Each gets one identifier, which stands in its log line and in the signed message that goes to Core.
"""

import enum
from typing import Final

import attrs

from actors import Request


class EventKind(enum.StrEnum):
    """What happened; the words of logs, of `tapir status` and of telemetry."""

    CERTIFICATE_EXPIRES = "certificate-expires"
    RENEWAL_FAILED = "renewal-failed"
    SOURCE_EXPIRED = "source-expired"
    SOURCE_HELD = "source-held"
    ZONE_HELD = "zone-held"
    RESTART_LIMIT = "restart-limit"
    CLOCK_STEP = "clock-step"
    DNSTAP_HOOK = "dnstap-hook"
    LIST_UNUSABLE = "list-unusable"
    HISTOGRAMS_UNSENT = "histograms-unsent"
    EVENTS_DROPPED = "events-dropped"
    STORE_ASIDE = "store-aside"
    DISK_FULL = "disk-full"


@attrs.frozen(kw_only=True)
class RaiseEvent:
    """`kind` is true of `subject` from now on; said again, it is the same event until it was cleared.

    `text` is one sentence for the operator: what, where, and what still holds. No secret and no client address.
    """

    kind: EventKind
    subject: str
    text: str


@attrs.frozen(kw_only=True)
class ClearEvent:
    """`kind` is no longer true of `subject`."""

    kind: EventKind
    subject: str


@attrs.frozen(kw_only=True)
class ExceptionalEvent:
    """An event with its identifier; times are microseconds since the epoch, `cleared_at` None while it lasts."""

    id: str
    kind: EventKind
    subject: str
    text: str
    at: int
    cleared_at: int | None = None


_OF_EDM: Final = frozenset(
    {
        EventKind.DNSTAP_HOOK,
        EventKind.LIST_UNUSABLE,
        EventKind.HISTOGRAMS_UNSENT,
        EventKind.EVENTS_DROPPED,
        EventKind.STORE_ASIDE,
        EventKind.DISK_FULL,
    }
)
_OF_POP: Final = frozenset({EventKind.SOURCE_EXPIRED, EventKind.SOURCE_HELD, EventKind.ZONE_HELD})
_SHARED: Final = frozenset({"", "control"})
_EDMS_PARTS: Final = frozenset({"edm", "edm-uplink"})
EDM_CERTIFICATES: Final = frozenset(
    {
        "input-tls-cert-file",
        "input-tls-client-ca-file",
        "mqtt-client-cert-file",
        "mqtt-ca-file",
        "http-client-cert-file",
        "http-ca-file",
    }
)
"""the keys of EDM's configuration that are subjects of events"""


def concerns_edm(event: ExceptionalEvent) -> bool:
    """Whether EDM tells Core of it; what is of the whole process both do."""
    match event.kind:
        case EventKind.CERTIFICATE_EXPIRES | EventKind.RENEWAL_FAILED:
            return event.subject in EDM_CERTIFICATES
        case EventKind.RESTART_LIMIT:
            return event.subject.partition("/")[0] in _SHARED | _EDMS_PARTS
        case kind:
            return kind not in _OF_POP


def concerns_pop(event: ExceptionalEvent) -> bool:
    """Whether a POP tells Core of it."""
    match event.kind:
        case EventKind.CERTIFICATE_EXPIRES | EventKind.RENEWAL_FAILED:
            return event.subject not in EDM_CERTIFICATES
        case EventKind.RESTART_LIMIT:
            return event.subject.partition("/")[0] not in _EDMS_PARTS
        case kind:
            return kind not in _OF_EDM


@attrs.frozen(kw_only=True)
class GetEvents(Request[tuple[ExceptionalEvent, ...]]):
    """The last events, the newest first, and all that last."""


@attrs.frozen(kw_only=True)
class EventsChanged:
    """To who passes events on: some began or ended, `GetEvents` tells which."""


@attrs.frozen(kw_only=True)
class ClockStatus:
    """What the wall clock did; `held` says that nothing expires meanwhile. Times are microseconds since the epoch."""

    held: bool
    stepped_by: int
    """microseconds of the last large step, negative for back; 0 for none"""
    stepped_at: int | None
    released_at: int | None
    """when expiry goes on by itself, if the clock agrees until then"""


@attrs.frozen(kw_only=True)
class GetClock(Request[ClockStatus]):
    """How does the wall clock stand? It is looked at anew for each answer.

    So who takes the time first, then asks, and then lets go what is over by that time, is never misled by a step:
    one before it took the time is in the answer. A source asks before each time that it lets names go, and so need not
    have heard `HoldExpiry`, which may come a second later.
    """


@attrs.frozen(kw_only=True)
class AcceptClock(Request[str]):
    """The operator says that the clock is right; the reply is a sentence."""

    user: str = ""


@attrs.frozen(kw_only=True)
class HoldExpiry:
    """To sources whose entries expire: from now on nothing does (`held`), or all that is due does.

    Said to all of them when that changes, and while it holds once more every ten seconds; who starts asks `GetClock`.
    """

    held: bool
