"""Files that an interval is to become: what they are made of, until a disk has taken them."""

from collections.abc import Sequence
from pathlib import Path
from typing import Final

import attrs
import trio

from tapir.codec.columns import Buffer
from tapir.codec.edmnames import until_next_minute
from tapir.codec.parquet import encode_parquet
from tapir.minimiser.histogram import Histogram
from tapir.minimiser.sessions import Sessions
from tapir.minimiser.spooling import SpoolError, holds_sessions, replay, replay_sessions
from tapir.store.errors import StoreError
from tapir.store.parquetfiles import ParquetFiles
from tapir.store.spool import SpoolFolder

HISTOGRAM: Final = "histogram"
SESSIONS: Final = "sessions"


@attrs.define(eq=False, repr=False, kw_only=True)
class Unwritten:
    """One file of the interval from `start` to `stop`, microseconds since the epoch.

    `spool` holds the same, as far as it is `whole`, and goes when the file is there; where there is nothing else, the
    file is made of it.
    """

    kind: str
    start: int
    stop: int
    source: Histogram | Sessions | None = None
    spool: Path | None = None
    spool_key: bytes | None = None
    whole: bool = False
    rows: int = 0
    octets: int = 0
    """that it takes in memory, about"""
    path: Path | None = None
    """the file, once it is there"""
    replayed: int = 0
    """responses that were counted again, or sessions that were had again"""
    lost: bool = False
    trouble: str = ""
    """what came of the last try; empty when it went well"""
    tried: trio.Event = attrs.field(factory=trio.Event)
    """a try was made, by which it was written or was not"""
    _parts: Sequence[Buffer] | None = None

    def __repr__(self) -> str:
        return f"<Unwritten {self.kind} of {self.rows} rows>"

    @property
    def from_spool(self) -> bool:
        """Whether the file is to be made of its spool."""
        return self.source is None and self._parts is None and self.path is None and self.spool is not None

    def write(self, files: ParquetFiles, spools: SpoolFolder, secret: bytes) -> None:
        """Write what there is to write, as far as that was not done. Blocking; to be called again when it failed.

        Raises StoreError when the disk does not take it, and SpoolError for a spool that cannot be read, ever.
        """
        if self.from_spool and self.spool is not None:
            self._replay(spools, self.spool, secret)
        self.encode()
        if self._parts is not None:
            try:
                self.path = self._put(files, spools, self._parts)
            except StoreError:
                if self.whole or self.spool is None:
                    raise
                # A spool that lacks a part is one that found no room, and it may be itself that has taken the last of
                # it. All that it holds is here as well, so the file comes first.
                self._remove_spool(spools)
                self.path = self._put(files, spools, self._parts)
            self._parts, self.octets = None, 0
        self._remove_spool(spools)

    def encode(self) -> None:
        """Make of what is in memory the octets of the file: those are a tenth of it. Blocking."""
        if self.source is None:
            return
        rows = self.source.columns()
        if rows is not None:
            self.rows = rows.count
            self._parts = encode_parquet(rows)
            self.octets = sum([memoryview(part).nbytes for part in self._parts])
        self.source = None

    def release(self) -> bool:
        """Give up what is in memory, where all of it is in the spool; whether it is."""
        if not (self.whole and self.spool is not None and self.path is None):
            return False
        self.source, self._parts, self.octets = None, None, 0
        return True

    def drop(self) -> int:
        """Give it up, but not its spool; how many rows that are."""
        lost = self.rows if self.path is None else 0
        self.source, self._parts, self.octets, self.lost = None, None, 0, True
        return lost

    def _put(self, files: ParquetFiles, spools: SpoolFolder, parts: Sequence[Buffer]) -> Path:
        def naming(name: str) -> None:
            if self.spool is not None:
                self.spool = spools.mark(self.spool, name)

        write = files.write_histogram if self.kind == HISTOGRAM else files.write_sessions
        return write(parts, start=self.start, stop=self.stop, naming=naming)

    def _remove_spool(self, spools: SpoolFolder) -> None:
        if self.spool is not None:
            spools.remove(self.spool)
            self.spool = None

    def _replay(self, spools: SpoolFolder, path: Path, secret: bytes) -> None:
        if self.spool_key is None:
            raise SpoolError("there is no key for the spool")
        octets = spools.octets(path)
        ended = path.stat().st_mtime_ns // 1000
        if holds_sessions(octets):
            self.kind = SESSIONS
            start, self.source = replay_sessions(octets, key=self.spool_key)
            self.replayed = len(self.source)
        else:
            self.source = histogram = replay(octets, key=self.spool_key, seed=secret)
            start, self.replayed = histogram.start, histogram.responses
        if not self.stop:
            # With its last response, or with its minute at the latest: the clock may have been set since it began.
            end = start + until_next_minute(start)
            self.start, self.stop = start, ended if start <= ended <= end else end


def sessions_file(sessions: Sessions, *, start: int, stop: int) -> Unwritten:
    """Sessions of an interval, or of a part of it."""
    return Unwritten(kind=SESSIONS, start=start, stop=stop, source=sessions, rows=len(sessions), octets=sessions.octets)


def left_spool(path: Path, key: bytes) -> Unwritten:
    """The histogram, or sessions, of an interval that a crash has left in its spool, which says what it is."""
    return Unwritten(kind=HISTOGRAM, start=0, stop=0, spool=path, spool_key=key, whole=True)
