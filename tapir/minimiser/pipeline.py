"""What becomes of a block of frames, from its octets to what may be kept, counted and told (edm.md §1.1).

In this order, and each step sees only what the ones before it left:

    decode ─▶ client ignored? ─▶ name ignored? ─▶ well-known: histogram
                                                └▶ other: novelty, sessions

as the existing EDM decides it, so that the same frames end as the same counts. On purpose it differs in this: addresses
become pseudonyms only where a pseudonym is kept, which is in sessions and in the debugging dump; that dump has them in
place of the addresses, and nothing of clients that are ignored; a DNS message that tells of the client in an EDNS
option is kept without that (RFC 7871).
"""

from collections.abc import Mapping
from typing import Final

import attrs
import numpy as np
from numpy.typing import NDArray

import tapir.kernels.subnets
from tapir.codec.cryptopan import CryptoPan
from tapir.codec.dnstap import decode
from tapir.codec.dnstapframe import pseudonymised
from tapir.codec.newqname import Sightings
from tapir.minimiser.account import OUTCOMES, Fate
from tapir.minimiser.addresses import AddressColumn
from tapir.minimiser.columns import DecodedBlock, Marks, Outcome, Rows, client_rows
from tapir.minimiser.histogram import Counted, Histogram
from tapir.minimiser.hook import HookWatch
from tapir.minimiser.ignoring import ClientVerdict, IgnoredClients
from tapir.minimiser.novelty import RecentNames
from tapir.minimiser.pseudonyms import Pseudonymiser, PseudonymStatistics
from tapir.minimiser.sessions import Sessions
from tapir.minimiser.wellknown import WellKnownNames
from tapir.model.blocks import FrameBlock

SESSION_OCTETS: Final = 64 << 20
"""when sessions have as many, they are a file, and new ones begin"""

_HOOK_EVERY: Final = 8
"""of so many blocks one is judged for its hook, after the first judgement: what is wrong there is so in all of them"""

# What becomes of a row, as one octet: an Outcome, or one of these. 0 are those that nothing was found against.
_CLIENT: Final = 64
_CLIENT_ERROR: Final = 65
_QUESTION_NAME: Final = 66
_HISTOGRAM: Final = 67
_ENDS: Final[Mapping[int, Fate]] = {int(outcome): fate for outcome, fate in OUTCOMES.items()} | {
    int(Outcome.OK): Fate.OTHER,
    _CLIENT: Fate.CLIENT,
    _CLIENT_ERROR: Fate.CLIENT_ERROR,
    _QUESTION_NAME: Fate.QUESTION_NAME,
    _HISTOGRAM: Fate.HISTOGRAM,
}


@attrs.frozen(kw_only=True, eq=False)
class PipelineSettings:
    """What a pipeline works by; no part of it changes while a block is worked on."""

    cryptopan: CryptoPan
    pseudonym_octets: int
    """memory for pseudonyms, 0 for none; a pipeline keeps what it was made with"""
    clients: IgnoredClients = attrs.field(factory=IgnoredClients)
    ignored_names: WellKnownNames | None = None
    threshold: int = 20
    """up to how many clients a histogram counts exactly; from the next interval on"""
    sessions: bool = False
    spool: bool = False
    """whether `Processed.counted` and `Processed.kept` are wanted"""
    debug: bool = False
    """whether `Processed.debug` is wanted"""


@attrs.frozen(kw_only=True, eq=False)
class Processed:
    """What came of a block."""

    fates: Mapping[Fate, int]
    """of its frames, each of which has one"""
    sightings: Sightings | None = None
    """the names that are not well-known, and did not come of late"""
    counted: Counted | None = None
    """for the spool; with `Pipeline.names`"""
    kept: bytes | None = attrs.field(default=None, repr=False)
    """for the spool of the sessions: the rows that this block added to them"""
    full: Sessions | None = None
    """sessions that are a file now; those of the running interval go on with new ones"""
    hook: str | None = None
    """for the operator, once: that what comes is not what clients get; empty when that is over"""
    debug: FrameBlock | None = None
    """the frames, with pseudonyms for addresses"""


@attrs.frozen(kw_only=True, eq=False)
class Interval:
    """What an interval left, to be turned into its files elsewhere; microseconds since the epoch."""

    start: int
    stop: int
    histogram: Histogram
    sessions: Sessions


@attrs.frozen(kw_only=True)
class PipelineStatistics:
    """How the running interval stands, and the memory of pseudonyms."""

    start: int
    names: int
    """well-known names that were met"""
    responses: int
    """how often they were asked for"""
    session_rows: int
    """those that are in no file yet"""
    pseudonyms: PseudonymStatistics


class Pipeline:
    """Takes blocks of frames through; belongs to one thread, which does everything with it.

    A block that cannot be worked on raises, and leaves what others left: it may have been counted in part.
    """

    def __init__(
        self,
        *,
        secret: bytes,
        recent: RecentNames | None,
        settings: PipelineSettings,
        names: WellKnownNames,
        start: int,
    ) -> None:
        """The first interval begins at `start`, microseconds since the epoch.

        `secret` is of 16 random octets, and what `names` and the names to ignore were made with. Without `recent`
        nothing is looked for among the names that were seen. Raises HllError for a threshold that cannot be.
        """
        self._secret = secret
        self._recent = recent
        self._settings = settings
        self._pseudonymiser = Pseudonymiser(settings.cryptopan, octets=settings.pseudonym_octets, seed=secret)
        self._hook = HookWatch()
        self._blocks = 0
        self._histogram = Histogram(names, start=start, threshold=settings.threshold, seed=secret)
        self._sessions = Sessions()

    def __repr__(self) -> str:
        return f"<Pipeline: {self._histogram!r}, {self._sessions!r}>"

    @property
    def names(self) -> WellKnownNames:
        """The well-known names of the running interval."""
        return self._histogram.names

    @property
    def start(self) -> int:
        """When the running interval began."""
        return self._histogram.start

    @property
    def settings(self) -> PipelineSettings:
        """What the next block is worked on by."""
        return self._settings

    def configure(self, settings: PipelineSettings) -> None:
        """Work by these from the next block on; what the running interval has stays."""
        if settings.cryptopan is not self._settings.cryptopan:
            self._pseudonymiser.rotate(settings.cryptopan)
        self._settings = settings

    def process(self, block: FrameBlock) -> Processed:
        """Take a block through. Blocking; nearly all of it without the interpreter."""
        settings = self._settings
        decoded = decode(block, self._secret)
        ends = decoded.outcome.copy()
        self._ignore_clients(decoded, ends)
        debug = self._dump(decoded, ends) if settings.debug else None
        if settings.ignored_names is not None:
            ends[settings.ignored_names.ask_all(decoded, ends)] = _QUESTION_NAME
        hook = self._judge(decoded, ends)
        rows = self.names.rows_of(decoded, ends)
        ends[rows >= 0] = _HISTOGRAM
        rest = np.flatnonzero(ends == Outcome.OK)
        kept, full = self._keep(decoded, rest) if settings.sessions and len(rest) else (None, None)
        counted = self._histogram.add(decoded, rows)
        # Last, for from here on these names are remembered: were anything to fail then, nobody would look for them.
        sightings = self._recent.sift(decoded, rest) if self._recent is not None and len(rest) else None
        return Processed(
            fates=_fates(ends),
            sightings=sightings or None,
            counted=counted if settings.spool and len(counted) else None,
            kept=kept,
            full=full,
            hook=hook,
            debug=debug,
        )

    def rotate(self, now: int, *, names: WellKnownNames | None = None, threshold: int | None = None) -> Interval:
        """End the running interval at `now`, and begin the next, with other well-known names where they are given.

        Its `stop` is not before its start, whatever the clock did. Raises HllError for a threshold that cannot be:
        then nothing changed.
        """
        begun = Histogram(
            self.names if names is None else names,
            start=now,
            threshold=self._settings.threshold if threshold is None else threshold,
            seed=self._secret,
        )
        ended = Interval(
            start=self.start, stop=max(now, self.start), histogram=self._histogram, sessions=self._sessions
        )
        self._histogram, self._sessions = begun, Sessions()
        return ended

    def busy(self, count: int) -> tuple[tuple[str, int], ...]:
        """The `count` well-known names that the running interval has most responses for, as text, with how many."""
        return self._histogram.busiest(count)

    def statistics(self) -> PipelineStatistics:
        """How it stands."""
        return PipelineStatistics(
            start=self.start,
            names=len(self._histogram),
            responses=self._histogram.responses,
            session_rows=len(self._sessions),
            pseudonyms=self._pseudonymiser.statistics(),
        )

    def _ignore_clients(self, block: DecodedBlock, ends: NDArray[np.uint8]) -> None:
        clients = self._settings.clients
        if clients.networks:
            rows = client_rows(block)
            verdicts = clients.verdicts(_addresses(block, rows)[0])
            ends[rows[verdicts == ClientVerdict.IGNORE]] = _CLIENT
            ends[rows[verdicts == ClientVerdict.UNUSABLE]] = _CLIENT_ERROR

    def _judge(self, block: DecodedBlock, ends: NDArray[np.uint8]) -> str | None:
        self._blocks += 1
        if self._hook.judged and self._blocks % _HOOK_EVERY != 1:
            return None
        rows = np.flatnonzero(ends == Outcome.OK)
        return self._hook.observe(block.message_type[rows], *_addresses(block, rows))

    def _keep(self, block: DecodedBlock, rows: Rows) -> tuple[bytes | None, Sessions | None]:
        """Put these rows into the sessions: what goes into a spool, and the sessions if they are full with them."""
        clients, servers = map(self._pseudonymiser.pseudonymise, _addresses(block, rows))
        since = len(self._sessions)
        self._sessions.add(_without_client_subnets(block, rows), rows, clients, servers)
        kept = self._sessions.packed(since) if self._settings.spool else None
        if self._sessions.octets < SESSION_OCTETS:
            return kept, None
        full, self._sessions = self._sessions, Sessions()
        return kept, full

    def _dump(self, block: DecodedBlock, ends: NDArray[np.uint8]) -> FrameBlock | None:
        """The frames that decoded, but those of clients that are ignored, queries among them."""
        shown = ends < _CLIENT
        shown[ends == Outcome.MALFORMED] = False
        queries = np.flatnonzero(ends == Outcome.QUERY)
        shown[queries] = self._settings.clients.verdicts(_addresses(block, queries)[0]) == ClientVerdict.PASS
        rows = np.flatnonzero(shown)
        if not len(rows):
            return None
        clients, servers = map(self._pseudonymiser.pseudonymise, _addresses(block, rows))
        frames = block.frames.data
        offsets = memoryview(block.frames.offsets).cast("I")
        return FrameBlock.of(
            pseudonymised(
                frames[offsets[row] + 4 : offsets[row + 1]],
                query_address=_address(clients, place),
                response_address=_address(servers, place),
            )
            for place, row in enumerate(rows.tolist())
        )


def _fates(ends: NDArray[np.uint8]) -> Mapping[Fate, int]:
    counts = np.bincount(ends)
    fates: dict[Fate, int] = {}
    for end in np.flatnonzero(counts).tolist():
        fate = _ENDS[end]
        fates[fate] = fates.get(fate, 0) + int(counts[end])
    return fates


def _addresses(block: DecodedBlock, rows: Rows) -> tuple[AddressColumn, AddressColumn]:
    """The clients and the servers of these rows."""
    data = block.frames.data
    return (
        AddressColumn.gathered(data, block.query_address_at[rows], block.query_address_length[rows]),
        AddressColumn.gathered(data, block.response_address_at[rows], block.response_address_length[rows]),
    )


def _address(addresses: AddressColumn, row: int) -> bytes:
    """One of a column; what is longer than an address is left out, as the column has none of it."""
    size = int(addresses.sizes[row])
    return addresses.octets[row, :size].tobytes() if size <= addresses.octets.shape[1] else b""


def _without_client_subnets(block: DecodedBlock, rows: Rows) -> DecodedBlock:
    """A block whose DNS messages, in these rows, do not tell of the client."""
    telling = rows[block.marks[rows] & np.uint8(Marks.CLIENT_SUBNET) != 0]
    if not len(telling):
        return block
    data = bytearray(block.frames.data)
    if tapir.kernels.subnets.blank(data, block.wire_at[telling].data, block.wire_length[telling].data) < len(telling):
        raise ValueError("a DNS message that decoded is none")
    return attrs.evolve(block, frames=attrs.evolve(block.frames, data=bytes(data)))
