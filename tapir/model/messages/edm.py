"""What EDM's actors say to each other and to who looks at them. Nothing here says anything of a client.

input ──FramesReceived──▶ minimiser ──HistogramWritten──▶ aggregates
                              └──(private)──▶ novelty ──EventsQueued──▶ newnames (messages/newnames)
"""

from typing import ClassVar

import attrs

from actors import Request
from tapir.model.blocks import FrameBlock


@attrs.frozen(kw_only=True, eq=False)
class FramesReceived:
    """A block of dnstap frames, which the account has as received. Private: it is never kept, shown or traced."""

    private: ClassVar[bool] = True
    block: FrameBlock = attrs.field(repr=lambda block: f"<{len(block)} frames>")


@attrs.frozen
class HistogramWritten:
    """There is a file in the outbox that was not there before."""


@attrs.frozen(kw_only=True)
class InputStatus:
    """What came in since the start, from all listeners; `addresses` are our own."""

    addresses: tuple[str, ...]
    open: int
    accepted: int
    refused: int
    """connections closed at once, for there were as many as may be"""
    ended: tuple[tuple[str, int], ...]
    failed: tuple[tuple[str, int], ...]
    """connections given up, by reason"""
    frames: int
    octets: int
    abandoned: int
    """frames that were read and given up, since the input stopped"""
    accept_errors: tuple[tuple[str, int], ...] = ()
    """connections that could not be accepted at once, by the error's name (EMFILE)"""
    trouble: str = ""


@attrs.frozen
class GetInput(Request[InputStatus]):
    """How does input stand?"""


@attrs.frozen(kw_only=True)
class ListFile:
    """A list that frames are held against; empty `path`: there is none. `loaded_at` is microseconds since the epoch."""

    path: str
    entries: int = 0
    loaded_at: int | None = None
    trouble: str = ""
    """why what the file holds now is not used; what was read before stays in effect"""


@attrs.frozen(kw_only=True)
class AccountStatus:
    """received = in_flight + the sum of `settled`: kind (minimised, ignored, malformed, dropped), reason, count."""

    received: int
    in_flight: int
    settled: tuple[tuple[str, str, int], ...]


@attrs.frozen(kw_only=True)
class MinimiserStatus:
    """How the pipeline stands; times are microseconds since the epoch."""

    account: AccountStatus
    interval_started_at: int
    interval_names: int
    """well-known names that were met in this interval"""
    interval_responses: int
    session_rows: int
    histograms_written: int
    session_files_written: int
    rows_lost: int
    """of histograms and sessions that no disk took"""
    well_known: ListFile
    ignored_clients: ListFile
    ignored_names: ListFile
    pseudonyms: int
    """how many are remembered"""
    pseudonym_generation: int
    spooling: bool
    replayed: int
    """responses that were counted again at the start, from what a crash left"""
    trouble: str = ""
    pseudonym_octets: int = 0
    pseudonym_hits: int = 0
    pseudonym_misses: int = 0
    pseudonym_evicted: int = 0
    """since the start, as the two before; a change of the key evicts none"""


@attrs.frozen
class GetMinimiser(Request[MinimiserStatus]):
    """How does minimising stand?"""


@attrs.frozen(kw_only=True)
class Rotated:
    """The files that an interval became; empty where it had nothing to say. Microseconds since the epoch."""

    start: int
    stop: int
    histogram: str = ""
    sessions: tuple[str, ...] = ()
    trouble: str = ""


@attrs.frozen
class RotateNow(Request[Rotated]):
    """End the running interval now; answered when its files are on disk."""


@attrs.frozen(kw_only=True)
class BusyName:
    """A well-known name and how often it was asked for in the running interval."""

    name: str
    responses: int


@attrs.frozen(kw_only=True)
class GetBusyNames(Request[tuple[BusyName, ...]]):
    """The `count` best known of the running interval, the busiest first."""

    count: int = 10


@attrs.frozen(kw_only=True)
class FreshName:
    """A name that was never seen before; `at` is microseconds since the epoch."""

    name: str
    at: int


@attrs.frozen(kw_only=True)
class NoveltyStatus:
    """How looking for new names stands; times are microseconds since the epoch."""

    gathered: int
    """sightings that wait for the store"""
    asked: int
    """names that the store was asked about"""
    new: int
    put_off: int
    """sightings that the store did not take; each is reported when its name comes again"""
    recent_octets: int
    newest: tuple[FreshName, ...]
    """the newest first"""
    trouble: str = ""
    recent_evicted: int = 0
    """names that came lately and made room for others"""


@attrs.frozen
class GetNovelty(Request[NoveltyStatus]):
    """How does that stand?"""


@attrs.frozen(kw_only=True)
class AggregatesStatus:
    """How sending histograms does; times are microseconds since the epoch."""

    enabled: bool
    url: str
    waiting: int
    """files in the outbox"""
    waiting_octets: int
    oldest_at: int | None
    """the begin of the interval of the oldest of them"""
    sent: int
    """files that Core has taken since the start, those among them that it had before"""
    failures: tuple[tuple[str, int], ...]
    """tries that failed, by reason"""
    last_sent_at: int | None
    kept: int
    """files that were sent and are still there"""
    trouble: str = ""


@attrs.frozen
class GetAggregates(Request[AggregatesStatus]):
    """How does that stand?"""


@attrs.frozen(kw_only=True)
class MetricsStatus:
    """Whether metrics can be asked for; `address` is empty where they cannot by configuration."""

    address: str
    listening: bool
    pages: int
    """how many were made since the start"""
    trouble: str = ""
    """why the address cannot be had; it is tried again"""


@attrs.frozen
class GetEdmMetrics(Request[MetricsStatus]):
    """How does that stand?"""
