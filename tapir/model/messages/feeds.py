"""RPZ feeds: NOTIFY comes in at the zone server and is handed to the sources that transfer that zone."""

import attrs

from actors import Request
from tapir.model.names import Name


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
