"""Asks the store whether names were ever seen, a batch at a time, and keeps the store going.

    minimiser ──NamesSighted──▶ gathered ──a batch──▶ store (a worker) ──▶ seen, with an event in the outbox
                                   └── no room ──▶ forgotten: new again when the name comes again

A name that was sifted out is remembered as asked for, so every one of them ends in one of two ways: the store took it,
or it is forgotten. A disk that fails keeps a batch waiting, behind it gathers as much as there is room for, and the
rest is forgotten; the resolver's dnstap never waits for this disk. A store that is damaged is moved aside and begun
anew, and then every name is new again.

Where events are not sent, names are seen all the same, as with the existing EDM (edm.md §9.1): who enrols later is not
flooded with all that was known before.
"""

import math
from collections import deque
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any, Final

import attrs
import trio

from actors import Actor, ActorRef, Context, MailboxSpec, Overflow, Request, StopReason
from tapir.codec.columns import name_of
from tapir.codec.newqname import Sightings
from tapir.minimiser.novelty import Gathering, RecentNames
from tapir.model.messages.edm import FreshName, GetNovelty, NoveltyStatus
from tapir.model.messages.events import EventKind
from tapir.model.messages.newnames import EventsQueued
from tapir.model.names import format_name
from tapir.services.ingest.messages import NamesSighted
from tapir.services.ingest.seenholder import SeenHolder
from tapir.services.ingest.telling import Telling
from tapir.store.errors import StoreCorrupt, StoreError
from tapir.store.seen import Reported, Retention, SeenStore

MAILBOX: Final = MailboxSpec(capacity=64, overflow=Overflow.WAIT)
"""Taking sightings in waits for nothing, so nobody waits here for long."""

SEEN: Final = "seen"
EVENTS: Final = "new_qname"
"""what exceptional events are about"""

_SECOND: Final = 1_000_000
_BATCH: Final = 2048
_LIMIT: Final = 1 << 17
_PATIENCE: Final = 500_000
_NEWEST: Final = 50
_AGEING: Final = 1.0
_SWEEPING: Final = 30.0
_WINDOW: Final = 4096
_WINDOWS: Final = 64
"""at most in one sweep"""
_NEXT: Final = 100
"""events that are sent next"""
_RETRIES: Final = (1.0, 2.0, 5.0, 10.0, 30.0, 60.0)


@attrs.frozen(kw_only=True)
class NoveltySettings:
    """Where names that were seen are stored, and for how long.

    With `sync` each batch outlives a power cut, without it all but the last one. `events_enabled`: an event is made of
    each new name. Within `refresh` microseconds a name in use is asked for again, so that its age is noted: a small
    share of the retention; None leaves that as it is.
    """

    path: Path
    retention: Retention = Retention()
    sync: bool = False
    events_enabled: bool = True
    refresh: int | None = None


@attrs.frozen(kw_only=True)
class ConfigureNovelty(Request[None]):
    """New settings are in force from the next batch on; another path from the next start of the process on."""

    settings: NoveltySettings


NoveltyMessage = NamesSighted | GetNovelty | ConfigureNovelty


class NoveltyKeeper(Actor[NoveltyMessage]):
    """Writes to the store that `holder` has, from one task.

    The store is left open when the actor stops: others take events from it, and the next incarnation goes on with it.
    Whoever made the holder closes it in the end.
    """

    def __init__(
        self,
        settings: Callable[[], NoveltySettings],
        *,
        holder: SeenHolder,
        recent: RecentNames,
        newnames: ActorRef[Any] | None,
        events: ActorRef[Any] | None,
    ) -> None:
        self._settings = settings()
        self._holder = holder
        self._recent = recent
        self._newnames = newnames
        self._telling = Telling(events)
        self._gathering = Gathering(size=_BATCH, limit=_LIMIT)
        self._batch: Sightings | None = None
        """what the store is asked about, until it has answered"""
        self._asking = False
        self._arrived = trio.Event()
        self._turn = trio.Lock()
        """whoever has it uses the store"""
        self._asked = self._new = self._put_off = 0
        self._newest: deque[FreshName] = deque(maxlen=_NEWEST)
        self._trouble = ""
        self._windows = 1
        """how many a sweep takes, so that each name's turn comes in time"""

    async def started(self, ctx: Context[NoveltyMessage]) -> None:
        """Open the store beside everything else: what comes meanwhile is gathered."""
        self._set_pace()
        ctx.start_soon(self._report_all, ctx, name="report")
        ctx.start_soon(self._age, ctx, name="age")
        ctx.start_soon(self._sweep_all, ctx, name="sweep")

    async def stopping(self, ctx: Context[NoveltyMessage], reason: StopReason) -> None:
        """Report what is gathered; what the store does not take is new again when its name comes again."""
        try:
            if reason is not StopReason.CRASHED:
                # As long as the supervisor gives us, which cancels it then.
                async with self._turn:
                    while self._waiting and await self._try(ctx, self._report):
                        pass
        finally:
            if left := self._put_back():
                ctx.log.warning("%d names are not stored as seen; each is looked for when it comes again", left)

    async def receive(self, ctx: Context[NoveltyMessage], message: NoveltyMessage) -> None:
        """Take in what was sighted, and answer who asks."""
        match message:
            case NamesSighted():
                if (over := self._gathering.add(message.sightings, now=_elapsed())) is not None:
                    self._forget(over)
                self._arrived.set()
            case GetNovelty():
                ctx.reply(self._status())
            case ConfigureNovelty():
                self._settings = message.settings
                self._set_pace()
                ctx.reply(None)

    def _set_pace(self) -> None:
        if self._settings.refresh is not None:
            self._recent.refresh = self._settings.refresh

    # What is on its way to the store

    @property
    def _waiting(self) -> int:
        return len(self._gathering) + (0 if self._batch is None else len(self._batch))

    def _forget(self, sightings: Sightings) -> None:
        self._recent.forget(sightings.name_hash)
        self._put_off += len(sightings)

    def _put_back(self) -> int:
        """Forget all that the store was not asked about; how many."""
        left = self._waiting
        if self._batch is not None and not self._asking:
            self._forget(self._batch)
        # One that brought us down while it was asked about is not to do that again as soon as its names come again:
        # they stay remembered until they age.
        self._batch = None
        while len(self._gathering):
            self._forget(self._gathering.take())
        return left

    def _status(self) -> NoveltyStatus:
        return NoveltyStatus(
            gathered=self._waiting,
            asked=self._asked,
            new=self._new,
            put_off=self._put_off,
            recent_octets=self._recent.octets,
            recent_evicted=self._recent.evicted,
            newest=tuple(self._newest),
            trouble=self._trouble,
        )

    # What is done all the time

    async def _report_all(self, ctx: Context[NoveltyMessage]) -> None:
        failures = 0
        while True:
            await self._wait_due()
            async with self._turn:
                done = await self._try(ctx, self._report)
            if done:
                failures = 0
            else:
                await trio.sleep(_RETRIES[min(failures, len(_RETRIES) - 1)])
                failures += 1

    async def _wait_due(self) -> None:
        """Wait for a whole batch, or one that waited for long enough, or that is asked about again; or for no store."""
        while self._holder.store is not None and self._batch is None:
            wait = self._gathering.due_in(_elapsed(), patience=_PATIENCE)
            if wait == 0:
                return
            self._arrived = trio.Event()
            with trio.move_on_after(math.inf if wait is None else wait / _SECOND):
                await self._arrived.wait()

    async def _age(self, ctx: Context[NoveltyMessage]) -> None:
        while True:
            await ctx.run_blocking(self._recent.age, _elapsed())
            await trio.sleep(_AGEING)

    async def _sweep_all(self, ctx: Context[NoveltyMessage]) -> None:
        while True:
            await trio.sleep(_SWEEPING)
            self._telling.look(ctx.now())
            done = 0
            while done < self._windows and not self._trouble:
                # A window at a time: batches go in between.
                async with self._turn:
                    if not await self._try(ctx, self._sweep):
                        break
                done += 1

    # With the store

    async def _report(self, ctx: Context[NoveltyMessage], store: SeenStore) -> None:
        """Ask the store about the next batch, or the one before if that was in vain. Raises StoreError."""
        if self._batch is None:
            if not len(self._gathering):
                return
            self._batch = self._gathering.take()
        batch, settings, now = self._batch, self._settings, ctx.now()
        self._asking = True
        reported = await ctx.run_blocking(_report_batch, store, batch, settings, now)
        self._batch, self._asking, new = None, False, reported.new
        self._asked += len(batch)
        self._new += len(new)
        for row in new[-_NEWEST:].tolist():
            self._newest.appendleft(FreshName(name=format_name(name_of(batch.names, row)), at=now))
        if reported.dropped:
            text = "more events of new names wait than may: the oldest are dropped, and their names stay seen"
            self._telling.happened(EventKind.EVENTS_DROPPED, EVENTS, text, now=now)
        if len(new):
            self._note_success(ctx)
            if settings.events_enabled and self._newnames is not None:
                self._newnames.tell_nowait(EventsQueued())  # it looks for itself, too

    async def _sweep(self, ctx: Context[NoveltyMessage], store: SeenStore) -> None:
        """Forget what is too old among the next names. Raises StoreError."""
        self._windows = await ctx.run_blocking(_sweep_window, store, self._settings, ctx.now())

    async def _try(
        self, ctx: Context[NoveltyMessage], use: Callable[[Context[NoveltyMessage], SeenStore], Awaitable[None]]
    ) -> bool:
        """`use` the store, which is opened if it is not, and begun anew if it is damaged; whether that worked."""
        settings = self._settings
        try:
            store = self._holder.store
            if store is None:
                store = await ctx.run_blocking(self._holder.open, settings.path, settings.retention)
                self._note_success(ctx)
            await use(ctx, store)
        except StoreError as exc:
            self._asking = False
            if isinstance(exc, StoreCorrupt):
                await self._begin_anew(ctx, exc)
            else:
                self._note_trouble(ctx, exc)
            return False
        return True

    async def _begin_anew(self, ctx: Context[NoveltyMessage], corrupt: StoreCorrupt) -> None:
        settings = self._settings
        try:
            aside = await ctx.run_blocking(self._holder.begin_anew, settings.path, settings.retention, ctx.now())
        except StoreError as exc:
            self._note_trouble(ctx, exc)
            return
        text = (
            f"the store of seen names could not be trusted ({corrupt.reason}); {aside}, and a new one begun:"
            " every name is new again, and events that waited are not sent"
        )
        ctx.log.error("%s", text)
        self._telling.happened(EventKind.STORE_ASIDE, SEEN, text, now=ctx.now())
        self._note_success(ctx)

    def _note_success(self, ctx: Context[NoveltyMessage]) -> None:
        """Something was written, or the store could be opened: only that says that it works again."""
        if self._trouble:
            ctx.log.info("names are stored as seen again")
        self._trouble = ""
        self._telling.say(EventKind.DISK_FULL, SEEN, "", now=ctx.now())

    def _note_trouble(self, ctx: Context[NoveltyMessage], exc: StoreError) -> None:
        if not self._trouble:
            text = f"names cannot be stored as seen now ({exc}); some wait, others are looked for when they come again"
            ctx.log.warning("%s", text)
            self._telling.say(EventKind.DISK_FULL, SEEN, text, now=ctx.now())
        self._trouble = str(exc)


def _report_batch(store: SeenStore, batch: Sightings, settings: NoveltySettings, now: int) -> Reported:
    store.retention, store.sync = settings.retention, settings.sync
    return store.report(batch, now=now, queue=settings.events_enabled)


def _sweep_window(store: SeenStore, settings: NoveltySettings, now: int) -> int:
    """Forget what is too old in one window; how many a sweep should take, to be around in a tenth of the age."""
    store.retention, store.sync = settings.retention, settings.sync
    # Who sends events stumbles over a damaged one again and again, and cannot begin anew.
    store.waiting(_NEXT)
    if settings.retention.age is None:
        return 1
    store.sweep(now=now, limit=_WINDOW)
    sweeps = max(1, settings.retention.age // 10 // round(_SWEEPING * _SECOND))
    return min(_WINDOWS, -(-store.statistics().names // (sweeps * _WINDOW)) or 1)


def _elapsed() -> int:
    """Microseconds that no clock is set back or forth by."""
    return round(trio.current_time() * _SECOND)
