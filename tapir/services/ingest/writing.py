"""Puts the files of ended intervals on disk: one at a time, in order, in a worker.

What the disk does not take is kept in memory and tried again, as much of it as there is room for: a few minutes. Then
the oldest is given up, and counted as lost where no spool has it.
"""

import functools
from collections import deque
from collections.abc import Callable
from typing import Any, Final

import trio

from actors import Context
from tapir.minimiser.spooling import SpoolError
from tapir.model.messages.events import EventKind
from tapir.services.ingest.minimiservoice import Voice
from tapir.services.ingest.unwritten import HISTOGRAM, SESSIONS, Unwritten
from tapir.store.errors import StoreError
from tapir.store.parquetfiles import ParquetFiles, Retention
from tapir.store.spool import SpoolFolder

INTERVALS: Final = 3
"""histograms that wait in memory"""
SESSION_OCTETS: Final = 192 << 20
"""what sessions that wait take in memory; those that are being written come on top"""
_SPOOLS: Final = 1440
"""histograms that wait in their spools, until the next start where there are more"""
_RETRY: Final = 5.0

_SUBJECTS: Final = {HISTOGRAM: "histograms of EDM", SESSIONS: "sessions of EDM"}
_REPLAYS: Final = "spools of EDM"


class Writer:
    """What waits to be written. Belongs to the actor."""

    def __init__(
        self,
        *,
        files: ParquetFiles,
        spools: SpoolFolder,
        secret: bytes,
        voice: Voice,
        written: Callable[[], None],
    ) -> None:
        """`written` is called for each histogram that is in the outbox."""
        self._files = files
        self._spools = spools
        self._secret = secret
        self._voice = voice
        self._told = written
        self._queue: deque[Unwritten] = deque()
        self._current: Unwritten | None = None
        self._more = trio.Event()
        self._turn = trio.Lock()
        self.histograms = 0
        self.session_files = 0
        self.rows_lost = 0
        self.replayed = 0

    def __repr__(self) -> str:
        return f"<Writer: {len(self._queue)} files wait>"

    def __len__(self) -> int:
        return len(self._queue)

    def add(self, ctx: Context[Any], unwritten: Unwritten) -> None:
        """Have it written; what there is no room for is given up, the oldest first."""
        self._queue.append(unwritten)
        self._make_room(ctx)
        self._more.set()

    async def run(self, ctx: Context[Any]) -> None:
        """Write what comes, for ever."""
        while True:
            self._more = trio.Event()
            whole = await self.flush(ctx)
            with trio.move_on_after(float("inf") if whole else _RETRY):
                await self._more.wait()

    async def flush(self, ctx: Context[Any]) -> bool:
        """Try to write each of what waits; whether nothing waits any more."""
        async with self._turn:
            failed: dict[str, str] = {}
            for unwritten in list(self._queue):
                if unwritten.lost:
                    continue
                subject = _REPLAYS if unwritten.from_spool else _SUBJECTS[unwritten.kind]
                if subject in failed and (unwritten.rows or unwritten.from_spool):
                    # Not past one that waits: they are written in order.
                    unwritten.trouble = failed[subject]
                    await self._encode(ctx, unwritten)
                else:
                    await self._write(ctx, unwritten, subject)
                    if unwritten.trouble and not unwritten.lost:
                        failed[subject] = unwritten.trouble
                unwritten.tried.set()
            self._make_room(ctx)  # also of what could not be given up while it was being worked on
            return not self._queue

    async def clean(self, ctx: Context[Any], retention: Retention) -> None:
        """Remove sessions as `retention` has it."""
        async with self._turn:
            now = ctx.now()
            clean = functools.partial(self._files.clean_sessions, now=now / 1e6)
            try:
                await ctx.run_blocking(clean, retention)
            except StoreError as exc:
                self._voice.note(ctx.log, "removing old sessions", f"{exc}; tried again in a minute", now=now)
            else:
                self._voice.note(ctx.log, "removing old sessions", "", now=now)

    def give_up(self, ctx: Context[Any]) -> None:
        """Nothing more can be written: count what is lost."""
        for unwritten in list(self._queue):
            if not unwritten.whole:
                self._lose(ctx, unwritten)
            unwritten.tried.set()

    async def _write(self, ctx: Context[Any], unwritten: Unwritten, subject: str) -> None:
        self._current = unwritten
        replayed = unwritten.from_spool
        try:
            await ctx.run_blocking(unwritten.write, self._files, self._spools, self._secret)
        except StoreError as exc:
            unwritten.trouble = str(exc)
            text = f"cannot be written now: {exc}; they are kept and tried again"
            self._voice.note(ctx.log, subject, text, now=ctx.now(), kind=EventKind.DISK_FULL)
        except SpoolError as exc:
            await self._give_up_spool(ctx, unwritten, str(exc))
        except Exception as exc:  # noqa: BLE001 - whatever it is, it comes again, and other files can be written
            self._lose_broken(ctx, unwritten, exc)
        else:
            self._queue.remove(unwritten)
            unwritten.trouble = ""
            self._voice.note(ctx.log, subject, "", now=ctx.now(), kind=EventKind.DISK_FULL)
            self._count(ctx, unwritten, replayed=replayed)
        finally:
            self._current = None

    async def _encode(self, ctx: Context[Any], unwritten: Unwritten) -> None:
        """Have what waits for its turn take less memory meanwhile."""
        if unwritten.source is None:
            return
        self._current = unwritten
        try:
            await ctx.run_blocking(unwritten.encode)
        except Exception as exc:  # noqa: BLE001 - as above
            self._lose_broken(ctx, unwritten, exc)
        finally:
            self._current = None

    def _count(self, ctx: Context[Any], unwritten: Unwritten, *, replayed: bool) -> None:
        if replayed:
            if unwritten.kind == HISTOGRAM:
                self.replayed += unwritten.replayed
            ctx.log.info("%s: %d responses were had again, from a spool", _SUBJECTS[unwritten.kind], unwritten.replayed)
        if unwritten.path is None:
            return
        if unwritten.kind == HISTOGRAM:
            self.histograms += 1
            self._told()
        else:
            self.session_files += 1

    async def _give_up_spool(self, ctx: Context[Any], unwritten: Unwritten, reason: str) -> None:
        """A spool that cannot be read, now or later: most likely its key was changed."""
        path = unwritten.spool
        if path is None:
            return
        ctx.log.warning("%s: %s; what it holds of a minute is lost, and it is removed", path, reason)
        unwritten.trouble, unwritten.lost = reason, True
        self._queue.remove(unwritten)
        try:
            await ctx.run_blocking(self._spools.remove, path)
        except StoreError as exc:
            self._voice.note(ctx.log, _REPLAYS, f"{exc}; it stays until the next start", now=ctx.now())

    def _make_room(self, ctx: Context[Any]) -> None:
        waiting = [each for each in self._queue if each is not self._current]
        in_memory = [each for each in waiting if each.kind == HISTOGRAM and not each.from_spool and each.path is None]
        for unwritten in in_memory[: max(0, len(in_memory) - INTERVALS)]:
            if not unwritten.release():
                self._lose(ctx, unwritten)
        spooled = [each for each in waiting if each.from_spool]
        for unwritten in spooled[: max(0, len(spooled) - _SPOOLS)]:
            unwritten.drop()
            self._queue.remove(unwritten)
            unwritten.tried.set()
        octets = sum([each.octets for each in waiting if each.kind == SESSIONS])
        for unwritten in waiting:
            if octets <= SESSION_OCTETS:
                break
            if unwritten.kind == SESSIONS and not unwritten.lost:
                octets -= unwritten.octets
                if not unwritten.release():
                    self._lose(ctx, unwritten)

    def _lose_broken(self, ctx: Context[Any], unwritten: Unwritten, exc: Exception) -> None:
        # Its text may hold what the rows hold.
        unwritten.trouble = f"cannot be made into a file ({type(exc).__name__})"
        self._lose(ctx, unwritten)

    def _lose(self, ctx: Context[Any], unwritten: Unwritten) -> None:
        rows = unwritten.drop()
        self._queue.remove(unwritten)
        unwritten.tried.set()
        self.rows_lost += rows
        if rows:
            ctx.log.error("%s: %d rows are lost: %s", _SUBJECTS[unwritten.kind], rows, unwritten.trouble or "no room")
