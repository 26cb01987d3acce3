"""What an actor is, and what it can do while it runs."""

import logging
from collections.abc import Awaitable, Callable, Hashable
from typing import TYPE_CHECKING, Any, Generic, TypeVar

import trio

from actors.ask import ASKER, Reply
from actors.errors import IncarnationOver, NotAsked
from actors.mailbox import Delivery, Envelope, Mailbox
from actors.message import Request, describe
from actors.ref import ActorRef
from actors.runtime import Down, Runtime
from actors.spec import StopReason
from actors.timers import Timer

if TYPE_CHECKING:
    from actors.cell import ActorCell
    from actors.streams import StreamGuard

M = TypeVar("M")
T = TypeVar("T")


class Actor(Generic[M]):
    """State with one owner, and a mailbox. One message is handled at a time.

    What any of these methods raises, and what any background task raises, is the actor's crash: this incarnation
    ends, and its supervisor decides. A new incarnation is a new object from the spec's factory.
    """

    async def started(self, ctx: "Context[M]") -> None:
        """Become ready: restore, open, listen. The next actor starts when this returns."""

    async def receive(self, ctx: "Context[M]", message: M) -> None:
        """Handle one message."""
        raise NotImplementedError(f"{type(self).__name__} does not receive messages")

    async def stopping(self, ctx: "Context[M]", reason: StopReason) -> None:
        """Let go of what `started` took; bounded by the spec's `stop_timeout`.

        Called whenever `started` had returned: after the mailbox is drained, with background tasks still running;
        after a crash too, when they are gone already and no timer, watch or task can be begun any more. Not called
        when the whole run is cancelled from outside.
        """


class Context(Generic[M]):
    """One incarnation's view of the system."""

    def __init__(self, cell: "ActorCell", runtime: Runtime, nursery: trio.Nursery, ref: ActorRef[M]) -> None:
        self.ref = ref
        self.path = ref.path
        self.log = logging.LoggerAdapter(logging.getLogger(f"actors.{ref.path}"), {"actor": ref.path})
        self.restarts = cell.restarts
        """how often this actor was restarted before this incarnation"""
        self.last_error = cell.last_error
        """`Type: text` of the last crash, or None"""
        self._runtime = runtime
        self._cell = cell
        self._mailbox: Mailbox = cell.mailbox
        self._streams: StreamGuard = cell.streams
        self._nursery = nursery
        self._envelope: Envelope | None = None
        self._open_replies: set[Reply] = set()
        self._over = False

    def __repr__(self) -> str:
        return f"<context {self.path}>"

    # Speaking

    def lookup(self, path: str) -> ActorRef[Any]:
        """A ref to the place `path`, whether or not there is an actor now."""
        return ActorRef(self._runtime, path)

    def reply(self, value: object) -> None:
        """Answer the ask being handled. Raises NotAsked when it was not asked, or is answered already.

        A Request that was told instead of asked may be answered; the answer goes nowhere.
        """
        self._current_reply().send(value)

    def defer_reply(self) -> Reply:
        """Take the answer along, to be given later; when this incarnation ends first, the ask fails."""
        reply = self._current_reply()
        if reply.deferred:
            raise NotAsked(f"the reply to {reply.message} is deferred already")
        reply.keep_in(self._open_replies)
        return reply

    def tell_self(self, message: M) -> Delivery:
        """Put a message into the own mailbox; FULL instead of waiting for oneself."""
        return self.ref.tell_nowait(message)

    # Listening

    def hold(self, kind: type | None) -> None:
        """Receive no message of this class until `hold(None)`; what else comes overtakes them.

        So senders of such messages wait as for a full mailbox, and whoever asks meanwhile is answered. A stop waits for
        those that are held as for all, within `drain_timeout`. Ends with the incarnation.
        """
        self._mailbox.hold(kind)

    # Time

    def now(self) -> int:
        """Wall time, microseconds since the epoch."""
        return self._runtime.clock.now()

    def send_after(self, seconds: float, message: M) -> Timer:
        """Receive `message` in `seconds`, unless cancelled; it does not count against the mailbox's capacity."""
        self._check_alive()
        return self._start_timer(Timer(self._mailbox, message, seconds, every=False, at_once=False))

    def send_every(self, seconds: float, message: M, *, at_once: bool = False) -> Timer:
        """Receive `message` every `seconds`; while one tick is undelivered, further ones are skipped and counted."""
        self._check_alive()
        return self._start_timer(Timer(self._mailbox, message, seconds, every=True, at_once=at_once))

    # Work beside `receive`

    def start_soon(self, fn: Callable[..., Awaitable[object]], *args: object, name: str | None = None) -> None:
        """Run `fn(*args)` as a background task of this incarnation; its crash is the actor's crash."""
        self._check_alive()
        self._nursery.start_soon(_background, fn, args, name=name or f"{self.path} {_name(fn)}")

    async def start(self, fn: Callable[..., Awaitable[object]], *args: object, name: str | None = None) -> Any:
        """As `start_soon`, but return what `fn` passes to `task_status.started`, once it does."""

        self._check_alive()

        async def run(**task_status: Any) -> None:
            ASKER.set(None)
            await fn(*args, **task_status)

        return await self._nursery.start(run, name=name or f"{self.path} {_name(fn)}")

    async def run_blocking(self, fn: Callable[..., T], *args: object) -> T:
        """`fn(*args)` in the system's bounded pool of threads; inline under a virtual clock."""
        return await self._runtime.workers.run(self.path, fn, *args)

    # Others' lives, and one's own

    def watch(self, ref: ActorRef[Any], message: Callable[[Down], M]) -> None:
        """Receive `message(Down)` each time an incarnation at `ref` ends, before other messages.

        At once (MISSING) when there is no such actor. One Down at most waits, the newest. A second watch of the
        same ref replaces the first; watches end with the incarnation that set them.
        """
        self._check_alive()
        self._runtime.watch(self._mailbox, ref.path, message)

    def stop(self) -> None:
        """End this incarnation by one's own wish, in order: close the mailbox, drain it, `stopping`."""
        self._cell.begin_stop(StopReason.DONE, drain=True)

    @property
    def suspended(self) -> frozenset[Hashable]:
        """The streams (see `ActorSpec.stream`) whose messages crashed this actor twice and no longer reach it."""
        return self._streams.suspended

    def resume(self, stream: Hashable) -> None:
        """Let messages of a suspended stream through again, and forget its crashes."""
        self._streams.resume(stream)

    # For the runtime

    def enter(self, envelope: Envelope | None) -> None:
        """This message is handled from now on; None: none is."""
        self._envelope = envelope

    def end(self, reason: str) -> None:
        """The incarnation is over: fail the asks that it took along and did not answer."""
        self._over = True
        for reply in list(self._open_replies):
            reply.give_up(reason)

    def _current_reply(self) -> Reply:
        envelope = self._envelope
        if envelope is None:
            raise NotAsked(f"{self.path} handles no message")
        if envelope.reply is None:
            if not isinstance(envelope.message, Request):
                raise NotAsked(f"{describe(envelope.message)} was not asked")
            envelope.reply = Reply(self.path, describe(envelope.message))
            envelope.reply.abandon()
        return envelope.reply

    def _check_alive(self) -> None:
        # The mailbox is the next incarnation's by now: what this one began would arrive there.
        if self._over:
            raise IncarnationOver(f"this incarnation of {self.path} is over and can begin nothing any more")

    def _start_timer(self, timer: Timer) -> Timer:
        self._nursery.start_soon(timer.run, name=f"{self.path} timer")
        return timer


async def _background(fn: Callable[..., Awaitable[object]], args: tuple[object, ...]) -> None:
    # A background task that waits for an answer does not keep its actor from answering: it is no asker.
    ASKER.set(None)
    await fn(*args)


def _name(fn: Callable[..., object]) -> str:
    return getattr(fn, "__qualname__", None) or type(fn).__name__
