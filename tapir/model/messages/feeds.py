"""RPZ feeds: NOTIFY comes in at the zone server and is handed to the sources that transfer that zone.

What a feed says by the way goes to the lists that all feeds share (pop.md §3.1): the source `<id>:allow` feeds
`allow_catchall`, the source `<id>:doubt` feeds `doubt_catchall`. Both are said by the actor of the source `<id>`, which
says first what is let through; nobody waits for them besides the source itself.
"""

from typing import Final

import attrs

from actors import Request
from tapir.model.actions import ListKind
from tapir.model.names import Name

CATCH_ALLS: Final = {ListKind.ALLOW: "allow_catchall", ListKind.DOUBT: "doubt_catchall"}
"""The names of the lists that feeds share"""
DERIVED: Final = {ListKind.ALLOW: ":allow", ListKind.DOUBT: ":doubt"}
"""What the id of a source that feeds one of them ends with; the id of no configured source may"""


def derived_source(source: str, kind: ListKind) -> str:
    """The id of the source by which the feed `source` says what goes to the shared list of `kind`."""
    return source + DERIVED[kind]


def actor_of(source: str) -> str:
    """The id of the source whose actor speaks for `source`: itself, unless that is derived from another."""
    for ending in DERIVED.values():
        if source.endswith(ending):
            return source.removesuffix(ending)
    return source


@attrs.frozen(kw_only=True)
class FeedNotified:
    """A primary that may say so says that `zone` has changed; `serial` is its hint, if it gave one."""

    zone: Name
    serial: int | None
    primary: str
    """its address, without a port; for choosing whom to ask first"""


@attrs.frozen(kw_only=True)
class PrimaryStatus:
    """One primary of a feed."""

    address: str
    secured: str
    """`no`, `tsig`, `tls` or `tls+tsig`"""
    failures: int
    """in a row"""
    error: str
    answered_at: int | None


@attrs.frozen(kw_only=True)
class FeedStatus:
    """How one feed stands; times are microseconds since the epoch, None for never."""

    source: str
    zone: str
    serial: int | None
    state: str
    """`waiting`, `current`, `transferring`, `retrying`, `expired`"""
    checked_at: int | None
    next_check_at: int | None
    expires_at: int | None
    primaries: tuple[PrimaryStatus, ...]
    counters: tuple[tuple[str, int], ...]
    """transfers, records by kind, refusals by reason, NOTIFYs taken and refused"""


@attrs.frozen(kw_only=True)
class GetFeed(Request[FeedStatus]):
    """How does this feed stand?"""


@attrs.frozen(kw_only=True)
class TransferWhole(Request[str]):
    """The operator wants the feed taken whole, also when its serial went back; the reply is a sentence."""


@attrs.frozen(kw_only=True, eq=False)
class PassedRecords:
    """To the policy evaluator: `source` wants exactly `records` passed through (`tapir.codec.passed`).

    `digest` names these records. Told after the source's lists, so that what these let through is known.
    """

    source: str
    digest: str
    records: tuple[bytes, ...]


@attrs.frozen(kw_only=True)
class PassedUnchanged:
    """To the policy evaluator: `source` still wants the records of this digest passed through."""

    source: str
    digest: str


@attrs.frozen(kw_only=True)
class SendPassed:
    """To a feed's source: say all that you want passed through."""


@attrs.frozen(kw_only=True)
class PassedJudged:
    """To a feed's source: of the records of this digest so many are passed through, and so many are not, by reason."""

    digest: str
    passed: int
    refused: tuple[tuple[str, int], ...]
