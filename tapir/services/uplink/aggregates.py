"""Sends histograms from the outbox to Core, one at a time and the oldest first, and cleans up what was sent.

A file leaves the outbox when Core has it: so a crash sends it twice at most, which Core notices, and loses none. What
the disk then does not let us move is remembered, and not sent again. Which file is next after a failure, and when, is
in `aggregates_turns`.
"""

import random
from collections import Counter
from collections.abc import Awaitable, Callable
from typing import Any, Final

import attrs
import trio

from actors import Actor, ActorRef, Context, Request, StopReason
from tapir.codec.aggregates import NoReceipt, Receipt, Refusal
from tapir.model.messages.edm import AggregatesStatus, GetAggregates, HistogramWritten
from tapir.services.uplink.aggregates_post import AggregateSettings, FileUnusable, NotReady, Parcel, post, prepare
from tapir.services.uplink.aggregates_turns import Blame, Outbox, Patience, Turns, survey
from tapir.services.uplink.aggregates_voice import Alarm, Trouble, Voice, describe
from tapir.store.errors import StoreError
from tapir.store.parquetfiles import ParquetFiles, Retention, StoredFile
from tapir.transport.http.client import HttpFailed, NoConnection

__all__ = ["AggregateSender", "AggregateSettings", "AggregatesMessage", "ConfigureAggregates", "Patience"]

_SECOND: Final = 1_000_000
_PATIENCE: Final = Patience()
_BLAMES: Final = {Refusal.UNAUTHORISED: Blame.REFUSED, Refusal.REJECTED: Blame.REFUSED}

Post = Callable[[Parcel], Awaitable[Receipt | NoReceipt]]


@attrs.frozen(kw_only=True)
class ConfigureAggregates(Request[None]):
    """New settings are in force from the next try on, which is at once."""

    settings: AggregateSettings


AggregatesMessage = HistogramWritten | GetAggregates | ConfigureAggregates


class AggregateSender(Actor[AggregatesMessage]):
    """Empties the outbox; `settings` are asked for once, `events` is the keeper of exceptional events."""

    def __init__(
        self,
        settings: Callable[[], AggregateSettings],
        *,
        events: ActorRef[Any] | None,
        post: Post = post,
        patience: Patience = _PATIENCE,
        chance: Callable[[], float] = random.random,
    ) -> None:
        self._settings = settings()
        self._post = post
        self._turns = Turns(patience, chance=chance)
        self._alarm = Alarm(events, clock=trio.current_time)
        self._voice: Voice
        self._woken = trio.Event()
        self._idle = trio.Event()
        self._leaving = False
        self._untried = False
        """nothing was sent or refused since the settings are new: what was refused before may be so still"""
        self._outbox = Outbox()
        self._looking = True
        """the outbox is looked at right now, for the first time or again"""
        self._delivered: set[StoredFile] = set()
        """what Core has and the outbox, too"""
        self._sent = self._kept = 0
        self._failures: Counter[str] = Counter()
        self._last_sent_at: int | None = None
        self._clean_at = 0.0

    async def started(self, ctx: Context[AggregatesMessage]) -> None:
        """Send what is there from before."""
        self._voice = Voice(ctx.log, clock=trio.current_time)
        ctx.start_soon(self._run, ctx, name="send")

    async def receive(self, ctx: Context[AggregatesMessage], message: AggregatesMessage) -> None:
        """Hear of more, and answer who asks."""
        match message:
            case HistogramWritten():
                self._woken.set()
            case GetAggregates():
                ctx.reply(await self._status(ctx))
            case ConfigureAggregates():
                self._configure(message.settings)
                ctx.reply(None)

    async def stopping(self, ctx: Context[AggregatesMessage], reason: StopReason) -> None:
        """Let a POST under way end, for a moment: what Core has by then is not sent once more."""
        self._leaving = True
        self._woken.set()
        if reason is not StopReason.CRASHED:
            with trio.move_on_after(self._settings.farewell):
                await self._idle.wait()

    def _configure(self, settings: AggregateSettings) -> None:
        self._settings = settings
        # Also where they are the same: whoever reloads may have mended a file that they name.
        self._turns.begin_anew()
        self._untried = True
        if not settings.enabled:
            self._voice.drop(Trouble.SENDING, Trouble.ASIDE)
        self._woken.set()

    # -- the loop

    async def _run(self, ctx: Context[AggregatesMessage]) -> None:
        while not self._leaving:
            self._woken, self._looking = trio.Event(), True
            pause = await self._go_round(ctx)
            with trio.move_on_after(pause):
                await self._woken.wait()
        self._idle.set()

    async def _go_round(self, ctx: Context[AggregatesMessage]) -> float:
        """Look, clean up, and send what can be; how long there is nothing to do then, in seconds."""
        settings, files = self._settings, ParquetFiles(self._settings.data_dir / "parquet")
        began = trio.current_time()
        try:
            await self._settle(ctx, files)
            outbox = await ctx.run_blocking(_look, files, self._turns.aside(began), frozenset(self._delivered))
            if began >= self._clean_at:
                self._clean_at = began + settings.clean_interval
                self._kept = await ctx.run_blocking(_clean, files, settings.keep_sent, ctx.now() / _SECOND)
        except StoreError as exc:
            self._failures["disk"] += 1
            self._voice.begin(Trouble.FOLDERS, str(exc))
            return settings.interval
        self._voice.end(Trouble.FOLDERS)
        self._outbox, self._looking = outbox, False
        self._turns.see(outbox)
        if not self._turns.refused and not (self._untried and outbox.files):
            self._voice.end(Trouble.ASIDE)
        self._alarm.look(self._late(ctx.now()))
        while settings is self._settings and settings.enabled and not self._leaving:
            now = trio.current_time()
            file = self._turns.choose(now)
            if file is None and now < self._turns.resume_at:
                return min(settings.interval, self._turns.resume_at - now)
            if file is None and not self._outbox.hidden:
                return settings.interval
            if file is None or now - began >= settings.interval:
                return 0.0
            if await self._send(ctx, file):
                await self._settle(ctx, files)
        return settings.interval

    async def _settle(self, ctx: Context[AggregatesMessage], files: ParquetFiles) -> None:
        """Move what Core has out of the outbox."""
        for file in tuple(self._delivered):
            try:
                await ctx.run_blocking(files.mark_sent, file.path)
            except StoreError as exc:
                if not isinstance(exc.__cause__, FileNotFoundError):
                    self._voice.begin(Trouble.MOVING, str(exc))
                    return
            else:
                self._kept += 1
            # Moved, or taken away by somebody else.
            self._delivered.discard(file)
        self._voice.end(Trouble.MOVING)

    async def _send(self, ctx: Context[AggregatesMessage], file: StoredFile) -> bool:
        """Whether Core has it now."""
        settings = self._settings
        try:
            parcel = await ctx.run_blocking(prepare, settings, file, ctx.now())
            if parcel is None:
                self._turns.gone(file)
                self._forget(file)
                return False
            answer = await self._post(parcel)
        except NotReady as exc:
            self._failures["not-ready"] += 1
            self._voice.begin(Trouble.SENDING, str(exc))
            self._turns.wait(settings.interval, now=trio.current_time())
        except FileUnusable as exc:
            self._fail(file, Blame.FILE, "unusable", str(exc))
        except NoConnection as exc:
            self._fail(file, Blame.NOBODY, "no-connection", str(exc))
        except HttpFailed as exc:
            self._fail(file, Blame.SHARED, "no-answer", str(exc))
        else:
            self._untried = False
            if isinstance(answer, Receipt):
                self._sent += 1
                self._last_sent_at = ctx.now()
                self._turns.arrived(file)
                self._delivered.add(file)
                self._forget(file)
                self._voice.end(Trouble.SENDING)
                ctx.log.debug("%s is at %s", file.path.name, answer.location or "its receiver")
                return True
            blame = _BLAMES.get(answer.refusal, Blame.SHARED)
            self._fail(file, blame, answer.refusal.value, describe(answer))
        return False

    def _fail(self, file: StoredFile, blame: Blame, reason: str, text: str) -> None:
        self._failures[reason] += 1
        if self._turns.failed(file, blame, now=trio.current_time()):
            self._voice.begin(Trouble.ASIDE, text if blame is Blame.FILE else f"{file.path.name}: {text}")
            if blame is not Blame.FILE:
                self._voice.amend(Trouble.SENDING, text)
        else:
            self._voice.begin(Trouble.SENDING, text)

    def _forget(self, file: StoredFile) -> None:
        """It waits no longer."""
        outbox = self._outbox
        left = tuple(each for each in outbox.chosen if each != file)
        self._outbox = attrs.evolve(
            outbox,
            files=outbox.files - 1,
            octets=outbox.octets - file.size,
            oldest=next(iter(left), None) if outbox.oldest == file else outbox.oldest,
            chosen=left,
        )

    # -- what is told

    def _late(self, now: int) -> str:
        oldest, settings = self._outbox.oldest, self._settings
        if not settings.enabled or oldest is None or now - oldest.name.stop <= settings.alarm_after * _SECOND:
            return ""
        return (
            f"histograms have waited to be sent for more than {settings.alarm_after / 60:.0f} minutes; all are kept in "
            f"{oldest.path.parent}, and `tapir status` says why"
        )

    async def _status(self, ctx: Context[AggregatesMessage]) -> AggregatesStatus:
        outbox, settings = self._outbox, self._settings
        if self._looking or self._woken.is_set():
            # Who knows of a file that was told of finds it here, too; otherwise what is known is new enough.
            files = ParquetFiles(settings.data_dir / "parquet")
            try:
                outbox = await ctx.run_blocking(_look, files, frozenset(), frozenset(self._delivered))
            except StoreError as exc:
                ctx.log.debug("the outbox as it was: %s", exc)
        return AggregatesStatus(
            enabled=settings.enabled,
            url=settings.url,
            waiting=outbox.files,
            waiting_octets=outbox.octets,
            oldest_at=outbox.oldest.name.start if outbox.oldest is not None else None,
            sent=self._sent,
            failures=tuple(sorted(self._failures.items())),
            last_sent_at=self._last_sent_at,
            kept=self._kept,
            trouble=self._voice.trouble,
        )


def _look(files: ParquetFiles, aside: frozenset[str], delivered: frozenset[StoredFile]) -> Outbox:
    return survey((file for file in files.waiting() if file not in delivered), aside)


def _clean(files: ParquetFiles, retention: Retention, now: float) -> int:
    """Keep `retention`; how many are kept."""
    files.clean_sent(retention, now=now)
    return files.count_sent()
