"""The policy evaluator speaks to the zone keeper; the console asks the keeper, server and notifier."""

from typing import Final

import attrs

from actors import Request
from tapir.model.actions import Action
from tapir.model.blocks import NOTHING_PASSED, NameBlock, PassedDelta, RecordBlock, RecordDelta
from tapir.model.messages.lists import StreamPosition
from tapir.model.names import Name


@attrs.frozen(kw_only=True, eq=False)
class ZoneContent:
    """The zone is to hold exactly `records` and what is `passed`; begins a stream at `position`."""

    zone: str
    position: StreamPosition
    records: RecordBlock
    passed: tuple[bytes, ...] = ()
    """records that feeds say and POP does not evaluate, as they are (`tapir.codec.passed`), at no rule's name"""


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
    """`empty`, `serving`, `paused` or `held` (by the operator), `braked` (a change too large), `unsaved` (the store
    fails)"""
    held_change: tuple[int, int] | None
    """records that the held change removes and adds"""
    store_error: str
    reason: str = ""
    """what the operator asked for and who it was, as `rolled back to 12 by alice`; empty when nothing is in force"""
    paused_until: int | None = None


@attrs.frozen(kw_only=True)
class GetZone(Request[ZoneStatus]):
    """How does the zone stand?"""


@attrs.frozen(kw_only=True)
class HoldZone(Request[str]):
    """Publish nothing new until resumed; the reply is a sentence."""

    user: str = ""


@attrs.frozen(kw_only=True)
class ResumeZone(Request[str]):
    """Publish again, beginning with what was held; ends a pause and what a rollback holds, too."""

    user: str = ""


@attrs.frozen(kw_only=True)
class AcceptZone(Request[str]):
    """The operator accepts the change that the brake holds back."""

    user: str = ""


@attrs.frozen(kw_only=True)
class SetSerial(Request[str]):
    """Publish the present content under `serial`, also where RFC 1982 calls that a step back."""

    serial: int
    user: str = ""


@attrs.frozen(kw_only=True)
class RollBackZone(Request[str]):
    """Publish the content that the zone had at `serial`, under a new serial, and hold it until resumed."""

    serial: int
    user: str = ""


MAX_PAUSE: Final = 7 * 86400
"""seconds; who wants no zone for longer than that takes it out of the resolver"""


@attrs.frozen(kw_only=True)
class PauseZone(Request[str]):
    """Publish an empty zone for `seconds`, at most `MAX_PAUSE`, then what is desired by then."""

    seconds: int
    user: str = ""


@attrs.frozen(kw_only=True)
class ZoneStep:
    """One committed version: what it changed, and why.

    `kind` is `lists` (what the evaluator desires), `first`, `pause`, `return` (from a pause), `rollback`,
    `set-serial` or `restate` (the zone's own records changed, or its serial was behind).
    """

    serial: int
    from_serial: int | None
    """the version before; None where no difference leads here"""
    at: int
    """microseconds since the epoch"""
    removed: int
    added: int
    kind: str
    user: str
    text: str
    """more about the operator's wish, or empty"""


@attrs.frozen(kw_only=True)
class ZoneHistory:
    """The committed versions that are remembered, newest first, and how many more there are."""

    zone: str
    serial: int | None
    journal_from: int | None
    steps: tuple[ZoneStep, ...]
    more: int


@attrs.frozen(kw_only=True)
class GetZoneHistory(Request[ZoneHistory]):
    """What became of the zone lately? The newest `count` versions."""

    count: int


@attrs.frozen(kw_only=True, eq=False)
class ZoneDifference:
    """The net difference from one version to another: name i had action `before[i]`, and has `after[i]`.

    Names are in canonical order; `Action.NONE` is no record.
    """

    from_serial: int
    to_serial: int
    removed: int
    added: int
    names: NameBlock
    before: bytes
    after: bytes
    passed: PassedDelta = NOTHING_PASSED
    """what differs of the records that are passed through from feeds; `removed` and `added` count them, too"""


@attrs.frozen(kw_only=True)
class GetZoneDifference(Request[ZoneDifference]):
    """What leads from one version to another, in either direction? Fails where the journal does not reach."""

    from_serial: int
    to_serial: int


@attrs.frozen(kw_only=True)
class RecordStep:
    """A version that changed a record: its serial and time (microseconds since the epoch)."""

    serial: int
    at: int
    before: Action
    after: Action


@attrs.frozen(kw_only=True)
class RecordHistory:
    """What the journal knows of some owners; names are without the zone's.

    `steps` are newest first, at most a few a name; a name without any stands as it does since before
    `journal_from_at`, when the journal's first step was committed, the one from serial `journal_from` (None: it is
    empty). `present` has the names that are in the published zone; while that is paused, none.
    """

    serial: int | None
    journal_from: int | None
    journal_from_at: int | None
    steps: tuple[tuple[Name, tuple[RecordStep, ...]], ...]
    present: tuple[tuple[Name, Action], ...]


@attrs.frozen(kw_only=True)
class GetRecordHistory(Request[RecordHistory]):
    """By which versions did the records of `names`, at most 64 owners without the zone's name, come and go?"""

    names: tuple[Name, ...]


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
