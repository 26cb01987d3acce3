"""The keeper of exceptional events: one identifier an event, one line in the log, and nothing forgotten by a restart.

Anybody tells it what an operator must hear of (`RaiseEvent`), and when that is over (`ClearEvent`). What the runtime
does it hears itself: a supervisor that gave up, a stream that is suspended.
"""

import logging
import secrets
from collections import deque
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any, Final

import attrs
import trio

from actors import Actor, ActorRef, ActorSystem, Context, GaveUp, RestartScheduled, StopReason, StreamSuspended
from tapir.model.messages.events import (
    ClearEvent,
    EventKind,
    EventsChanged,
    ExceptionalEvent,
    GetEvents,
    RaiseEvent,
)
from tapir.services.control.eventbook import EventBook, News, make_id, pack_events, restore_events
from tapir.store.documents import read_document, write_document
from tapir.store.errors import StoreCorrupt, StoreError
from tapir.store.quarantine import quarantine

_SECOND: Final = 1_000_000
_CAPACITY: Final = 1000
_OFTEN: Final = 12
"""restarts within ten minutes: more than a source has before it is given up, fewer than of one that crashes for ever"""
_PERIOD: Final = 600.0
_ERRORS: Final = frozenset(
    {
        EventKind.RESTART_LIMIT,
        EventKind.SOURCE_EXPIRED,
        EventKind.RENEWAL_FAILED,
        EventKind.EVENTS_DROPPED,
        EventKind.STORE_ASIDE,
    }
)
"""Something is missing already; of the others something is going to be, or waits for the operator."""


@attrs.frozen(kw_only=True)
class EventSettings:
    """Where events are stored; times in seconds.

    What lasted when the process stopped is over when nobody says it again for `confirm_within`. An actor that runs for
    `steady` again is no longer told of as one that was given up.
    """

    store_path: Path
    confirm_within: float = 900.0
    steady: float = 600.0
    interval: float = 60.0


@attrs.frozen(kw_only=True)
class LookAgain:
    """Time to look what is over by itself, and to store again what could not be stored."""


EventMessage = RaiseEvent | ClearEvent | GetEvents | LookAgain


class EventKeeper(Actor[EventMessage]):
    """Gives identifiers, logs, stores, and tells its `listeners` that there is something to pass on.

    A store that fails is said once; the events are then kept in memory.
    """

    def __init__(
        self,
        settings: EventSettings,
        *,
        system: ActorSystem,
        listeners: Callable[[], Iterable[ActorRef[Any]]] = tuple,
        randomness: Callable[[int], bytes] = secrets.token_bytes,
    ) -> None:
        self._settings = settings
        self._system = system
        self._listeners = listeners
        self._randomness = randomness
        self._book = EventBook()
        self._trouble = ""
        self._unsaved = False
        self._restarts: dict[str, deque[float]] = {}
        """when each actor was restarted last, by Trio's clock"""
        self._age = 0.0
        """seconds since this incarnation began"""

    async def started(self, ctx: Context[EventMessage]) -> None:
        """Know again what lasted, and listen to the runtime."""
        try:
            document = await ctx.run_blocking(read_document, self._settings.store_path)
            self._book = restore_events(document) if document is not None else EventBook()
        except (StoreCorrupt, ValueError) as exc:
            ctx.log.error("stored events: %s; they begin anew, with other identifiers", exc)
            await self._put_aside(ctx)
        except StoreError as exc:
            ctx.log.warning("stored events: %s; they begin anew, with other identifiers", exc)
        ctx.start_soon(self._listen, ctx, name="listen to the runtime")
        ctx.send_every(self._settings.interval, LookAgain())

    async def stopping(self, ctx: Context[EventMessage], reason: StopReason) -> None:
        """Try once more to store what could not be stored."""
        if self._unsaved:
            await self._save(ctx)

    async def receive(self, ctx: Context[EventMessage], message: EventMessage) -> None:
        """Handle one message; see each."""
        match message:
            case RaiseEvent():
                await self._raise(ctx, message)
            case ClearEvent():
                event = self._book.find(message.kind, message.subject)
                if event is not None:
                    await self._clear(ctx, event)
            case GetEvents():
                ctx.reply(self._book.newest_first)
            case LookAgain():
                await self._look_again(ctx)

    async def _raise(self, ctx: Context[EventMessage], message: RaiseEvent) -> None:
        now = ctx.now()
        book, event, news = self._book.raise_event(
            message.kind, message.subject, message.text, new_id=make_id(now, self._randomness(10)), now=now
        )
        if news is News.NEW or news is News.AGAIN:
            still = " still" if news is News.AGAIN else ""
            level = logging.ERROR if event.kind in _ERRORS else logging.WARNING
            ctx.log.log(level, "event %s %s %s%s: %s", event.id, event.kind.value, event.subject, still, event.text)
        if book != self._book:
            await self._take(ctx, book)

    async def _clear(self, ctx: Context[EventMessage], event: ExceptionalEvent) -> None:
        book, over = self._book.clear(event, now=ctx.now())
        ctx.log.info("event %s %s %s is over", over.id, over.kind.value, over.subject)
        await self._take(ctx, book)

    async def _take(self, ctx: Context[EventMessage], book: EventBook) -> None:
        self._book = book
        await self._save(ctx)
        for listener in self._listeners():
            listener.tell_nowait(EventsChanged())  # who did not hear it asks at its own interval

    async def _save(self, ctx: Context[EventMessage]) -> None:
        try:
            await ctx.run_blocking(write_document, self._settings.store_path, pack_events(self._book))
        except StoreError as exc:
            self._unsaved = True
            if self._trouble != str(exc):
                ctx.log.error("stored events: %s; what happens now is forgotten by a restart", exc)
            self._trouble = str(exc)
            return
        self._unsaved = False
        if self._trouble:
            self._trouble = ""
            ctx.log.info("events are stored again")

    async def _put_aside(self, ctx: Context[EventMessage]) -> None:
        try:
            await ctx.run_blocking(quarantine, self._settings.store_path, ctx.now())
        except StoreError as exc:
            ctx.log.warning("stored events: %s", exc)

    # What is over by itself

    async def _look_again(self, ctx: Context[EventMessage]) -> None:
        self._age += self._settings.interval
        if self._unsaved:
            await self._save(ctx)
        await self._look_at_actors(ctx)
        if self._age >= self._settings.confirm_within:
            for event in self._book.lasting:
                if event.id in self._book.unconfirmed:
                    await self._clear(ctx, event)

    async def _look_at_actors(self, ctx: Context[EventMessage]) -> None:
        """Clear what was said of actors that have run for long enough since, or are no longer there."""
        given_up = [event for event in self._book.lasting if event.kind is EventKind.RESTART_LIMIT]
        if not given_up:
            return
        nodes = {node.path: node for node in self._system.statistics().root.walk()}
        for event in given_up:
            node = nodes.get(event.subject)
            if node is None or (node.uptime >= self._settings.steady and not node.suspended):
                await self._clear(ctx, event)

    async def _listen(self, ctx: Context[EventMessage]) -> None:
        async with self._system.subscribe(_CAPACITY) as subscription:
            async for event in subscription:
                match event:
                    case GaveUp():
                        text = f"it crashed too often ({event.error}); {event.path or 'the process'} was stopped for it"
                        self._note(ctx, event.child, text)
                    case RestartScheduled():
                        self._count(ctx, event.path)
                    case StreamSuspended():
                        text = f"what {event.stream} says crashed it twice ({event.error}) and is no longer listened to"
                        self._note(ctx, event.path, text)
                    case _:
                        pass

    def _count(self, ctx: Context[EventMessage], path: str) -> None:
        """Tell of an actor that is never given up, and crashes all the time."""
        now = trio.current_time()
        times = self._restarts.setdefault(path, deque(maxlen=_OFTEN))
        times.append(now)
        if len(times) == _OFTEN and now - times[0] <= _PERIOD:
            self._note(ctx, path, "it crashes again and again, and is tried again each time; the log says why")

    def _note(self, ctx: Context[EventMessage], path: str, text: str) -> None:
        ctx.tell_self(RaiseEvent(kind=EventKind.RESTART_LIMIT, subject=path, text=text))
