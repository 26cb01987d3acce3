"""What the pipeline's thread does: it minimises blocks, and appends to the files that grow with each of them.

All of it is called in that one thread, in the order in which it was handed in. What an interval left is put aside here
at once, so that it is there whatever becomes of who asked for it.
"""

import os
from collections import deque
from collections.abc import Mapping
from typing import Final

import attrs

from tapir.codec.newqname import Sightings
from tapir.minimiser.account import Fate
from tapir.minimiser.histogram import Counted
from tapir.minimiser.pipeline import Pipeline, PipelineSettings, PipelineStatistics
from tapir.minimiser.sessions import Sessions
from tapir.minimiser.spooling import SALT_SIZE, SpoolWriter
from tapir.minimiser.wellknown import WellKnownNames
from tapir.model.blocks import FrameBlock
from tapir.services.ingest.debugging import DebugDump
from tapir.services.ingest.rotation import IntervalClock
from tapir.services.ingest.unwritten import HISTOGRAM, Unwritten, sessions_file
from tapir.store.errors import StoreError
from tapir.store.spool import SpoolFile, SpoolFolder

SPOOL: Final = "spool"
DUMP: Final = "dump"


@attrs.frozen(kw_only=True, eq=False)
class Done:
    """What came of a block, but for what was put aside."""

    fates: Mapping[Fate, int]
    sightings: Sightings | None
    hook: str | None
    troubles: Mapping[str, str]
    """by what it concerns: why something is not written, empty where it is"""


@attrs.define(eq=False, repr=False, kw_only=True)
class _Spooling:
    """The spool of the running interval."""

    key: bytes
    writer: SpoolWriter
    file: SpoolFile

    def end(self, unwritten: Unwritten) -> None:
        """Take no more: what it holds is to become this file."""
        self.file.close()
        unwritten.spool, unwritten.spool_key, unwritten.whole = self.file.path, self.key, not self.file.short


class PipelineWork:
    """The pipeline with its spool and its dump. `ended` is filled here and emptied by the event loop."""

    def __init__(
        self,
        pipeline: Pipeline,
        *,
        clock: IntervalClock,
        spools: SpoolFolder,
        spool_key: bytes | None,
        dump: DebugDump | None,
    ) -> None:
        """Without `spool_key` nothing is spooled, without `dump` nothing dumped. The interval's spool is begun."""
        self._pipeline = pipeline
        self._clock = clock
        self._spools = spools
        self._spool_key = spool_key
        self._spooling: _Spooling | None = None
        self._of_sessions: _Spooling | None = None
        """the spool of the sessions that are in no file yet; begun with the first of them"""
        self._sessions_pass = False
        """those sessions are not all in a spool, and so none is begun for them"""
        self._dump = dump
        self._troubles: dict[str, str] = {}
        self.ended: deque[Unwritten] = deque()
        """what is to be written, in order: sessions of an interval before its histogram"""
        self._begin_spool()

    def __repr__(self) -> str:
        return f"<PipelineWork: {self._pipeline!r}>"

    @property
    def spooling(self) -> bool:
        """Whether all of the running interval is in its spools."""
        sessions = not self._sessions_pass and (self._of_sessions is None or not self._of_sessions.file.short)
        return self._spooling is not None and not self._spooling.file.short and sessions

    def process(self, block: FrameBlock, now: int, tick: int) -> Done:
        """Take a block through. What it raises is the pipeline's: the block counts as failed."""
        try:
            processed = self._pipeline.process(block)
        except BaseException:
            # It may have been counted in part, and names that were met there are missing in the spool from now on.
            if self._spooling is not None:
                self._spooling.file.short = True
            if self._of_sessions is not None:
                self._of_sessions.file.short = True
            self._sessions_pass = True
            raise
        if processed.kept is not None:
            self._spool_sessions(processed.kept)
        if processed.full is not None:
            self._end_sessions(processed.full, start=self._clock.start, stop=self._clock.stop(now, tick))
        # From here on the block is minimised, whatever becomes of what is kept of it beside.
        if processed.counted is not None and self._spooling is not None and not self._spooling.file.short:
            self._spool(self._spooling, processed.counted)
        if processed.debug is not None and self._dump is not None:
            self._troubles[DUMP] = self._dump.append(processed.debug)
        return Done(
            fates=processed.fates,
            sightings=processed.sightings,
            hook=processed.hook,
            troubles=dict(self._troubles),
        )

    def rotate(self, now: int, tick: int, names: WellKnownNames | None = None) -> tuple[int, int]:
        """End the interval, and begin the next, with these well-known names from then on; what it was, from and to."""
        stop = self._clock.stop(now, tick)
        interval = self._pipeline.rotate(now, names=names)
        start, spooling = self._clock.start, self._spooling
        self._clock, self._spooling = IntervalClock(start=now, tick=tick), None
        self._end_sessions(interval.sessions, start=start, stop=stop)
        if len(interval.histogram) or spooling is not None:
            histogram = Unwritten(
                kind=HISTOGRAM, start=start, stop=stop, source=interval.histogram, rows=len(interval.histogram)
            )
            if spooling is not None:
                spooling.end(histogram)
            self.ended.append(histogram)
        self._begin_spool()
        return start, stop

    def configure(
        self, settings: PipelineSettings, spool_key: bytes | None, now: int, tick: int, names: WellKnownNames
    ) -> bool:
        """Work by these from the next block on; whether that ended an interval.

        Other well-known names end one, so that no count lands on another name; and another key, so that no file has
        pseudonyms of two, and what is spooled can be read with the key that there is.
        """
        rekeyed = settings.cryptopan is not self._pipeline.settings.cryptopan
        self._pipeline.configure(settings)
        self._spool_key = spool_key
        if rekeyed or names is not self._pipeline.names:
            self.rotate(now, tick, names)
            return True
        return False

    def finish(self, now: int, tick: int) -> None:
        """End the last interval."""
        self._spool_key = None
        self.rotate(now, tick)
        if self._dump is not None:
            self._dump.close()

    def busy(self, count: int) -> tuple[tuple[str, int], ...]:
        """The best known names of the running interval."""
        return self._pipeline.busy(count)

    def statistics(self) -> PipelineStatistics:
        """How the running interval stands."""
        return self._pipeline.statistics()

    def _begin_spool(self) -> None:
        key = self._spool_key
        if key is None:
            self._troubles.pop(SPOOL, None)
            return
        start = self._pipeline.start
        threshold = self._pipeline.settings.threshold
        writer = SpoolWriter(key=key, salt=os.urandom(SALT_SIZE), start=start, threshold=threshold)
        try:
            self._spooling = _Spooling(key=key, writer=writer, file=self._spools.begin(start))
        except StoreError as exc:
            self._troubles[SPOOL] = str(exc)
            return
        self._troubles[SPOOL] = ""
        self._append(self._spooling, writer.begin)

    def _spool(self, spooling: _Spooling, counted: Counted) -> None:
        try:
            self._append(spooling, spooling.writer.record(counted, self._pipeline.names))
        except Exception as exc:  # noqa: BLE001 - as with a disk that is full: the next interval has a spool again
            spooling.file.short = True
            self._troubles[SPOOL] = f"{spooling.file.path}: a record could not be made ({type(exc).__name__})"

    def _spool_sessions(self, packed: bytes) -> None:
        """Keep the rows that a block added to the sessions; they lack nothing that came before, or are passed over."""
        spooling = self._of_sessions
        if spooling is None:
            if self._spool_key is None or self._sessions_pass:
                return
            start = self._clock.start
            writer = SpoolWriter(key=self._spool_key, salt=os.urandom(SALT_SIZE), start=start, sessions=True)
            try:
                file = self._spools.begin(start)
            except StoreError as exc:
                self._sessions_pass = True
                self._troubles[SPOOL] = str(exc)
                return
            spooling = self._of_sessions = _Spooling(key=self._spool_key, writer=writer, file=file)
            self._append(spooling, writer.begin)
        if not spooling.file.short:
            self._append(spooling, spooling.writer.record_sessions(packed))

    def _end_sessions(self, sessions: Sessions, *, start: int, stop: int) -> None:
        """These are a file now, and their spool ends with them."""
        spooling, self._of_sessions, self._sessions_pass = self._of_sessions, None, False
        if not len(sessions):
            return
        unwritten = sessions_file(sessions, start=start, stop=stop)
        if spooling is not None:
            spooling.end(unwritten)
        self.ended.append(unwritten)

    def _append(self, spooling: _Spooling, octets: bytes) -> None:
        try:
            if not spooling.file.append(octets):
                self._troubles[SPOOL] = f"{spooling.file.path}: the spool is as large as it may be"
        except StoreError as exc:
            self._troubles[SPOOL] = str(exc)
