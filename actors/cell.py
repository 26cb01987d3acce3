"""An actor's place in the tree, and the life of each of its incarnations.

    starting ──▶ running ──▶ draining ──▶ stopping ──▶ stopped
        │           │   (intake closed)  (`stopping`)
        └─ crash ───┴──────────────────▶ stopping ──▶ restarting ──▶ starting
                                                   └─▶ failed (given up)

The incarnation runs in one task: `started`, then message after message, then `stopping`. Its background tasks and
timers live in a nursery around that, so that the failure of any ends all; what failed is caught here, before the
supervisor's nursery could see it, and handed over as an Ending.
"""

import math
from typing import Any

import trio

from actors.actor import Actor, Context
from actors.ask import ASKER
from actors.errors import StartFailed, error_text, unwrap
from actors.events import (
    ActorCrashed,
    ActorStarted,
    ActorStopped,
    ActorStuck,
    MessageDropped,
    StreamSuspended,
    Subscription,
    TraceEntry,
)
from actors.mailbox import Envelope, Mailbox
from actors.message import describe
from actors.node import Ending, How, Node
from actors.ref import ActorRef
from actors.runtime import Runtime, log
from actors.spec import ActorSpec, StopReason
from actors.statistics import LatencyHistogram, MailboxStatistics, NodeStatistics, Status
from actors.streams import StreamGuard

_IN_A_ROW = 16  # messages between two checkpoints

_LOUD = frozenset({"rejected", "dropped_newest", "dropped_oldest"})


class ActorCell(Node):
    """The place of one actor: its mailbox and what is known of it outlive its incarnations."""

    def __init__(self, spec: ActorSpec[Any], path: str, runtime: Runtime) -> None:
        super().__init__(
            name=spec.name,
            path=path,
            runtime=runtime,
            restart=spec.restart,
            backoff=spec.backoff,
            intensity=spec.intensity,
        )
        self.spec = spec
        self.mailbox = Mailbox(spec.mailbox, self._dropped)
        self.streams = StreamGuard(spec.stream)
        self.tracers: set[Subscription[TraceEntry]] = set()
        self._stop: StopReason | None = None
        self._started: tuple[Actor[Any], Context[Any]] | None = None  # while `stopping` is due
        self._ctx: Context[Any] | None = None
        self._starting = trio.CancelScope()
        self._receiving = trio.CancelScope()
        self._leaving = trio.CancelScope()  # `stopping`
        self._current: Envelope | None = None
        self._current_since = 0.0
        self._stuck_said = False
        self._failed: Envelope | None = None  # the message whose handling raised
        self._processed = 0
        self._latency = LatencyHistogram()
        runtime.mailboxes[path] = self.mailbox

    # One incarnation

    async def run(self) -> Ending:
        try:
            return await self._run()
        except BaseExceptionGroup as group:
            # The system was cancelled, and something failed on the way out: that is for the log, not for the canceller.
            cancelled, failed = group.split(trio.Cancelled)
            if cancelled is None or not isinstance(failed, ExceptionGroup):
                raise
            log.error(
                "%s failed while it was cancelled: %s", self.path, self.note_error(unwrap(failed)), exc_info=group
            )
            raise cancelled from None

    async def _run(self) -> Ending:
        error: Exception | None = None
        try:
            async with trio.open_nursery() as nursery:
                await self._live(nursery)
                nursery.cancel_scope.cancel()
        except Exception as caught:  # noqa: BLE001 - whatever it is, the supervisor decides
            error = unwrap(caught)
        except BaseException:
            self._let_go("the system was cancelled", StopReason.SHUTDOWN)
            raise
        if error is not None and self._stop in (None, StopReason.DONE):
            return await self._crash(error)
        return await self._stopped(error)

    def begin_stop(self, reason: StopReason, *, drain: bool) -> None:
        if self._stop is not None:
            return
        self._stop = reason
        self.mailbox.close()
        if not drain:
            self.purge(reason.value)
        self._receiving.deadline = min(trio.current_time() + self.spec.drain_timeout, self.runtime.stop_at)
        if self.ready:
            self.status = Status.DRAINING
        else:
            self._starting.cancel()

    def hasten(self) -> None:
        if self._stop is not None:
            self._receiving.deadline = min(self._receiving.deadline, self.runtime.stop_at)
        self._leaving.deadline = min(self._leaving.deadline, self.runtime.stop_at)

    def prepare(self) -> None:
        # Here and not in `run`, whose task may take its first step after it was told to stop.
        super().prepare()
        self.status = Status.STARTING
        self.mailbox.reopen()
        self._stop = None
        self._started = None
        self._current = None
        self._failed = None
        self._starting = trio.CancelScope()
        self._receiving = trio.CancelScope()

    async def _live(self, nursery: trio.Nursery) -> None:
        if self._stop is not None:
            return
        ASKER.set(self.path)
        ref: ActorRef[Any] = ActorRef(self.runtime, self.path)
        ctx: Context[Any] = Context(self, self.runtime, nursery, ref)
        self._ctx = ctx
        actor = self.spec.factory()
        self._starting.deadline = trio.current_time() + self.spec.start_timeout
        with self._starting:
            await actor.started(ctx)
        if self._starting.cancelled_caught:
            if self._stop is None:
                raise StartFailed(path=self.path, reason=f"it was not ready within {self.spec.start_timeout:g} s")
            return
        self._started = actor, ctx
        if self._stop is None:
            self.mark_ready()
            self.runtime.emit(ActorStarted, self.path)
            log.info("started %s", self.path)
        with self._receiving:
            await self._receive_all(actor, ctx)
        self.status = Status.STOPPING
        await self._call_stopping(self._stop or StopReason.DONE)

    async def _receive_all(self, actor: Actor[Any], ctx: Context[Any]) -> None:
        mailbox = self.mailbox
        in_a_row = 0
        while True:
            envelope = mailbox.take()
            if envelope is None:
                if mailbox.exhausted:
                    return
                await mailbox.wait_mail()
                in_a_row = 0
                continue
            await self._handle(actor, ctx, envelope)
            in_a_row += 1
            if in_a_row == _IN_A_ROW:
                await trio.lowlevel.checkpoint()
                in_a_row = 0

    async def _handle(self, actor: Actor[Any], ctx: Context[Any], envelope: Envelope) -> None:
        reply = envelope.reply
        if envelope.timer is not None:
            envelope.timer.delivered()
        elif reply is not None and reply.answered:
            return  # its asker has gone
        began = trio.current_time()
        self._current = envelope
        self._current_since = began
        ctx.enter(envelope)
        try:
            if envelope.signal is not None:
                envelope.message = envelope.signal(envelope.message)
            if self.spec.stream is not None and self.streams.blocks(envelope.message):
                self._refuse_suspended(envelope)
                return
            if self.tracers:
                self._trace("received", envelope.message, 0.0)
            await actor.receive(ctx, envelope.message)
        except Exception:
            self._failed = envelope
            raise
        seconds = trio.current_time() - began
        self._current = None
        ctx.enter(None)
        self._processed += 1
        self._latency.add(seconds)
        if self.tracers:
            self._trace("handled", envelope.message, seconds)
        if reply is not None and not reply.deferred:
            reply.nothing()
        if self._stuck_said:
            self._stuck_said = False
            log.warning(
                "%s is no longer stuck: it handled %s in %.3f s", self.path, describe(envelope.message), seconds
            )

    def _refuse_suspended(self, envelope: Envelope) -> None:
        self._current = None
        self.mailbox.count("suspended", envelope.message)
        self.runtime.bury(self.path, "suspended", envelope.message)
        if envelope.reply is not None:
            envelope.reply.give_up("its stream is suspended after two crashes")

    async def _call_stopping(self, reason: StopReason) -> None:
        if self._started is None:
            return
        (actor, ctx), self._started = self._started, None
        began = trio.current_time()
        self._leaving = trio.CancelScope(deadline=min(began + self.spec.stop_timeout, self.runtime.stop_at))
        with self._leaving:
            await actor.stopping(ctx, reason)
        if self._leaving.cancelled_caught:
            log.warning("%s was cut off while stopping, after %g s", self.path, trio.current_time() - began)

    # Its end

    async def _stopped(self, error: Exception | None) -> Ending:
        reason = self._stop or StopReason.DONE
        if error is not None:
            log.error("%s failed while stopping: %s", self.path, self.note_error(error), exc_info=error)
            await self._call_stopping_again(reason)
        self._let_go(reason.value, reason)
        self.status = Status.STOPPED
        self.runtime.emit(ActorStopped, self.path, reason=reason)
        log.info("stopped %s (%s)", self.path, reason.value)
        if reason is StopReason.RESTART:
            self.mailbox.reopen()
        return Ending(how=How.DONE if reason is StopReason.DONE else How.STOPPED)

    async def _crash(self, error: Exception) -> Ending:
        if not self.ready and not isinstance(error, StartFailed):
            failed = StartFailed(path=self.path, reason=error_text(error))
            failed.__cause__ = error
            error = failed
        text = self.note_error(error)
        message = self._current
        log.error("%s crashed: %s", self.path, text, exc_info=error)
        self.runtime.emit(
            ActorCrashed, self.path, error=text, message=None if message is None else describe(message.message)
        )
        if message is not None and self.tracers:
            self._trace("failed", message.message, trio.current_time() - self._current_since)
        counted = not self._blame_stream(text)
        self._let_go(f"crashed: {text}", StopReason.CRASHED)
        self.status = Status.STOPPING
        await self._call_stopping_again(StopReason.CRASHED)
        return Ending(how=How.CRASHED, error=error, counted=counted)

    async def _call_stopping_again(self, reason: StopReason) -> None:
        """`stopping` after a failure, if it was not called yet; a second failure changes nothing any more."""
        try:
            await self._call_stopping(reason)
        except Exception as second:  # noqa: BLE001 - the first failure is the one that counts
            log.exception("%s failed again in `stopping`: %s", self.path, error_text(second))

    def _blame_stream(self, text: str) -> bool:
        """True when the crash is explained by the stream of the message whose handling raised."""
        stream = None if self._failed is None else self.streams.stream_of(self._failed.message)
        if stream is None:
            return False
        if self.streams.crashed(stream):
            log.error("%s: stream %s is suspended after its second crash (%s)", self.path, stream, text)
            self.runtime.emit(StreamSuspended, self.path, stream=str(stream), error=text)
        return True

    def _let_go(self, why: str, reason: StopReason) -> None:
        """Nobody may wait for an incarnation that is over: fail its asks, bury what it had in hand, tell watchers."""
        self.ready = False
        self._stuck_said = False
        current, self._current = self._current, None
        if current is not None:
            self.runtime.bury(self.path, why.partition(":")[0], current.message)
            if current.reply is not None and not current.reply.deferred:
                current.reply.give_up(f"it {why}" if reason is StopReason.CRASHED else f"it stopped ({why})")
        if self._ctx is not None:
            self._ctx.end(f"it {why}" if reason is StopReason.CRASHED else f"it stopped ({why})")
            self._ctx = None
        if reason is StopReason.CRASHED:
            for envelope in self.mailbox.strip():
                if envelope.reply is not None:
                    envelope.reply.give_up(f"it {why}")
        else:
            self.mailbox.close()
            self.purge(why)
        self.runtime.forget_watches(self.mailbox)
        self.runtime.announce_end(self.path, reason, self.last_error if reason is StopReason.CRASHED else None)

    def close(self, why: str) -> None:
        self.mailbox.close()
        self.mailbox.deserted = True
        self.purge(why)
        if self.status is not Status.FAILED:
            self.status = Status.STOPPED

    def reopen(self) -> None:
        self.mailbox.reopen()

    def remove(self) -> None:
        self.close("removed")
        for tracer in self.tracers:
            tracer.end()
        self.runtime.mailboxes.pop(self.path, None)

    def purge(self, why: str) -> None:
        for envelope in self.mailbox.purge():
            if envelope.timer is not None or envelope.signal is not None:
                continue  # nobody's message: the incarnation's own
            self.mailbox.count(why, envelope.message)
            self.runtime.bury(self.path, why, envelope.message)
            if envelope.reply is not None:
                envelope.reply.give_up(f"it stopped ({why})")

    # What is seen from outside

    def stuck_since(self) -> float:
        """The Trio time since when one message has been in hand without having been reported as stuck; inf if none."""
        return self._current_since if self._current is not None and not self._stuck_said else math.inf

    def say_stuck(self) -> None:
        """Report, once a message, that it is in hand for too long."""
        if self._current is None:
            return
        self._stuck_said = True
        seconds = trio.current_time() - self._current_since
        message = describe(self._current.message)
        log.warning("%s is stuck: it has handled %s for %g s", self.path, message, seconds)
        self.runtime.emit(ActorStuck, self.path, message=message, seconds=seconds)

    def statistics(self) -> NodeStatistics:
        current = self._current
        seconds = 0.0 if current is None else trio.current_time() - self._current_since
        stuck = self.status is Status.RUNNING and seconds >= self.runtime.settings.stuck_after
        return NodeStatistics(
            path=self.path,
            name=self.name,
            status=Status.STUCK if stuck else self.status,
            restarts=self.restarts,
            last_error=self.last_error,
            last_error_at=self.last_error_at,
            uptime=self.uptime(),
            mailbox=MailboxStatistics(
                depth=len(self.mailbox),
                high_water=self.mailbox.high_water,
                capacity=self.spec.mailbox.capacity,
                overflow=self.spec.mailbox.overflow.value,
                waiting=self.mailbox.waiting,
                drops=dict(self.mailbox.drops),
            ),
            processed=self._processed,
            latency=self._latency.statistics(),
            current=None if current is None else type(current.message).__name__,
            current_seconds=seconds,
            suspended=tuple(sorted(map(str, self.streams.suspended))),
        )

    def _trace(self, kind: str, message: Any, seconds: float) -> None:
        entry = TraceEntry(at=self.runtime.clock.now(), kind=kind, message=describe(message), seconds=seconds)
        for tracer in self.tracers:
            tracer.push(entry)

    def _dropped(self, reason: str, message: Any) -> None:
        if reason in _LOUD and self.mailbox.drops[reason] == 1:
            log.warning(
                "%s: its mailbox is full, %s (%s); further ones are counted", self.path, describe(message), reason
            )
        if self.runtime.subscriptions:
            self.runtime.emit(MessageDropped, self.path, reason=reason, message=describe(message))
        if self.tracers:
            self._trace("dropped", message, 0.0)
