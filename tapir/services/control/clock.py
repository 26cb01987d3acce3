"""The keeper of the wall clock: a large step holds all expiry, until the operator or ten minutes say that it is right.

What expires by the wall clock must not be lost because somebody typed a wrong date. What this cannot see is a clock
that was set forward while nothing ran: that looks like a long stop.
"""

from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any, Final

import attrs
import trio

from actors import Actor, ActorRef, Context, Delivery, StopReason
from tapir.model.errors import TapirError
from tapir.model.messages.events import (
    AcceptClock,
    ClearEvent,
    ClockStatus,
    EventKind,
    GetClock,
    HoldExpiry,
    RaiseEvent,
)
from tapir.services.control.clockwatch import SECOND, ClockWatch, pack_watch, restore_watch
from tapir.services.control.wording import length, moment
from tapir.store.documents import read_document, write_document
from tapir.store.errors import StoreError

SUBJECT: Final = "clock"


class ClockError(TapirError):
    """The clock is believed already; nothing was changed."""


@attrs.frozen(kw_only=True)
class ClockSettings:
    """Where the latest time is stored; how often to look, store and say again, in seconds."""

    store_path: Path
    interval: float = 1.0
    store_interval: float = 60.0
    remind_interval: float = 10.0


@attrs.frozen(kw_only=True)
class LookAtClock:
    """Time to look."""


@attrs.frozen(kw_only=True)
class StoreClock:
    """Time to store what time it is."""


@attrs.frozen(kw_only=True)
class RemindOfHold:
    """Time to tell the sources once more, in case that one of them has not heard it."""


ClockMessage = GetClock | AcceptClock | LookAtClock | StoreClock | RemindOfHold


class ClockKeeper(Actor[ClockMessage]):
    """Looks at the clock, tells `sources` to hold or to go on, and raises `clock-step`.

    `sources` are those whose entries expire, as of now. A store that fails is said once, and costs only that a clock
    that was set back while nothing ran is not noticed.
    """

    def __init__(
        self,
        settings: ClockSettings,
        *,
        events: ActorRef[Any],
        sources: Callable[[], Iterable[ActorRef[Any]]],
    ) -> None:
        self._settings = settings
        self._events = events
        self._sources = sources
        self._watch = ClockWatch.begin(wall=0, even=0)
        self._unheard: set[ActorRef[Any]] = set()
        """who has not been told that it may go on"""
        self._trouble = ""

    async def started(self, ctx: Context[ClockMessage]) -> None:
        """Compare with the latest time that was stored, before any source starts."""
        document = None
        try:
            document = await ctx.run_blocking(read_document, self._settings.store_path)
        except StoreError as exc:
            self._say_trouble(ctx, str(exc))
        wall, even = ctx.now(), _even()
        try:
            self._watch = restore_watch(document, wall=wall, even=even)
        except ValueError as exc:
            self._say_trouble(ctx, f"{self._settings.store_path}: {exc}")
            self._watch = ClockWatch.begin(wall=wall, even=even)
        if self._watch.held:
            self._hold(ctx)
        else:
            self._events.tell_nowait(ClearEvent(kind=EventKind.CLOCK_STEP, subject=SUBJECT))
        await self._store(ctx)
        ctx.send_every(self._settings.interval, LookAtClock())
        ctx.send_every(self._settings.store_interval, StoreClock())
        ctx.send_every(self._settings.remind_interval, RemindOfHold())

    async def stopping(self, ctx: Context[ClockMessage], reason: StopReason) -> None:
        """Store what time it is."""
        await self._store(ctx)

    async def receive(self, ctx: Context[ClockMessage], message: ClockMessage) -> None:
        """Look, and answer by what is found."""
        await self._look(ctx)
        match message:
            case GetClock():
                ctx.reply(self._status())
            case AcceptClock():
                await self._accept(ctx, message)
            case StoreClock():
                await self._store(ctx)
            case RemindOfHold():
                if self._watch.held:
                    self._tell(HoldExpiry(held=True), self._sources())
            case LookAtClock():
                if self._unheard and not self._watch.held:
                    self._tell(HoldExpiry(held=False), self._unheard & set(self._sources()))

    async def _look(self, ctx: Context[ClockMessage]) -> None:
        before = self._watch
        self._watch = before.look(wall=ctx.now(), even=_even())
        if self._watch.held and self._watch.held_since != before.held_since:
            self._hold(ctx)
            await self._store(ctx)
        elif before.held and not self._watch.held:
            await self._release(ctx, "the clock went on evenly for ten minutes")

    def _hold(self, ctx: Context[ClockMessage]) -> None:
        self._tell(HoldExpiry(held=True), self._sources())
        self._events.tell_nowait(RaiseEvent(kind=EventKind.CLOCK_STEP, subject=SUBJECT, text=self._text()))

    def _text(self) -> str:
        watch = self._watch
        way = "forward" if watch.stepped_by > 0 else "back"
        at = f" to {moment(watch.stepped_at)}" if watch.stepped_at is not None else ""
        return (
            f"the wall clock went {way} by {length(abs(watch.stepped_by) / SECOND)}{at}; no name expires until it has "
            f"gone on evenly for ten minutes; if it is right: tapir accept clock"
        )

    async def _release(self, ctx: Context[ClockMessage], why: str) -> None:
        ctx.log.info("names expire again: %s", why)
        self._tell(HoldExpiry(held=False), self._sources())
        self._events.tell_nowait(ClearEvent(kind=EventKind.CLOCK_STEP, subject=SUBJECT))
        await self._store(ctx)

    async def _accept(self, ctx: Context[ClockMessage], message: AcceptClock) -> None:
        if not self._watch.held:
            ctx.defer_reply().fail(ClockError("nothing is held: the clock is believed"))
            return
        self._watch = self._watch.believe()
        await self._release(ctx, f"{message.user or 'somebody'} says that the clock is right")
        ctx.reply(f"the clock is right: it is {moment(self._watch.wall)}; what is over by now expires")

    def _tell(self, message: HoldExpiry, sources: Iterable[ActorRef[Any]]) -> None:
        # Never waiting: who has no room for a hold is reminded, and asks before it lets anything go.
        self._unheard = {ref for ref in sources if ref.tell_nowait(message) in (Delivery.REJECTED, Delivery.FULL)}

    def _status(self) -> ClockStatus:
        watch = self._watch
        return ClockStatus(
            held=watch.held,
            stepped_by=watch.stepped_by,
            stepped_at=watch.stepped_at,
            released_at=watch.released_at,
        )

    async def _store(self, ctx: Context[ClockMessage]) -> None:
        try:
            await ctx.run_blocking(write_document, self._settings.store_path, pack_watch(self._watch))
        except StoreError as exc:
            self._say_trouble(ctx, str(exc))
            return
        if self._trouble:
            self._trouble = ""
            ctx.log.info("the time is stored again")

    def _say_trouble(self, ctx: Context[ClockMessage], text: str) -> None:
        if text != self._trouble:
            ctx.log.warning(
                "the stored time: %s; a clock that is set back while tapir stands still is not noticed", text
            )
        self._trouble = text


def _even() -> int:
    """A count of microseconds that nobody sets; Trio's clock, so that tests own it."""
    return round(trio.current_time() * SECOND)
