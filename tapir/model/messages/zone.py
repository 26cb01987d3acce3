"""The policy evaluator speaks to the zone keeper; the console asks the keeper, server and notifier."""

import attrs

from actors import Request
from tapir.model.blocks import RecordBlock, RecordDelta
from tapir.model.messages.lists import StreamPosition


@attrs.frozen(kw_only=True, eq=False)
class ZoneContent:
    """The zone is to hold exactly `records`; begins a stream at `position`."""

    zone: str
    position: StreamPosition
    records: RecordBlock


@attrs.frozen(kw_only=True, eq=False)
class ZoneChange:
    """The zone is to change by `delta`, relative to what the stream said before."""

    zone: str
    position: StreamPosition
    delta: RecordDelta


@attrs.frozen(kw_only=True)
class SendContent:
    """The zone keeper lacks the base of the stream and asks the evaluator for all of it."""

    zone: str


@attrs.frozen(kw_only=True)
class SourcesMissing:
    """The evaluator holds the zone back; `waiting_for` names the sources (keeper: log, status, readiness)."""

    zone: str
    waiting_for: tuple[str, ...]


@attrs.frozen(kw_only=True)
class ZoneStatus:
    """How the zone stands; times are microseconds since the epoch."""

    zone: str
    serial: int | None
    """None until a first complete version exists"""
    records: int
    published_at: int | None
    journal_from: int | None
    """the oldest serial that an IXFR can start from"""
    journal_deltas: int
    journal_octets: int
    state: str
    """`empty`, `serving`, `held` (by the operator), `braked` (a change too large), `unsaved` (the store fails)"""
    held_change: tuple[int, int] | None
    """records that the held change removes and adds"""
    store_error: str


@attrs.frozen(kw_only=True)
class GetZone(Request[ZoneStatus]):
    """How does the zone stand?"""


@attrs.frozen(kw_only=True)
class HoldZone(Request[str]):
    """Publish nothing new until resumed; the reply is a sentence."""


@attrs.frozen(kw_only=True)
class ResumeZone(Request[str]):
    """Publish again, beginning with what was held."""


@attrs.frozen(kw_only=True)
class AcceptZone(Request[str]):
    """The operator accepts the change that the brake holds back."""


@attrs.frozen(kw_only=True)
class SetSerial(Request[str]):
    """Publish the present content under `serial`, also where RFC 1982 calls that a step back."""

    serial: int


@attrs.frozen(kw_only=True)
class SecondaryStatus:
    """What one secondary asked for and how it answered NOTIFY."""

    address: str
    configured: bool
    last_serial: int | None
    """the serial that it last said it has (IXFR), or took with a transfer since"""
    last_query: str
    """`SOA`, `AXFR`, `IXFR` or empty"""
    last_query_at: int | None
    ahead: bool
    notify_serial: int | None
    notify_state: str
    """`acknowledged`, `waiting`, `waiting: why` after a try that failed, `failed: why`, or empty: never notified"""
    notify_at: int | None


@attrs.frozen(kw_only=True)
class ServerStatus:
    """What the zone server listens on, and what it did, by name of counter."""

    listening: tuple[str, ...]
    counters: tuple[tuple[str, int], ...]
    refusals: tuple[tuple[str, int], ...]
    connections: int


@attrs.frozen(kw_only=True)
class GetServer(Request[ServerStatus]):
    """How does the zone server stand?"""


@attrs.frozen(kw_only=True)
class GetSecondaries(Request[tuple[SecondaryStatus, ...]]):
    """What do we know of the secondaries?"""
