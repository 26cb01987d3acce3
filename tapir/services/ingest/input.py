"""dnstap in: listens, receives Frame Streams, and passes blocks of frames to the minimiser, whose pace it keeps.

opening ──(it cannot)──▶ waiting: said once, longer each time ──▶ opening
   │
   └──▶ serving ──(told to stop)──▶ draining: what the kernel holds is read ──▶ over
           └──(a listening socket is of no use any more)──▶ waiting
"""

from collections import Counter
from collections.abc import Iterator, Mapping
from typing import Any, Final

import attrs
import trio

from actors import Actor, ActorRef, Context, Delivery, MailboxSpec, Overflow, StopReason
from tapir.minimiser.account import Fate, Ledger
from tapir.model.blocks import FrameBlock
from tapir.model.messages.edm import FramesReceived, GetInput, InputStatus
from tapir.services.ingest.inputopening import (
    Inherited,
    InputError,
    InputSettings,
    OpenedInput,
    close_all,
    open_input,
    read_context,
    tls_state,
)
from tapir.services.ingest.inputvoice import InputVoice
from tapir.transport.framelisteners import FrameListener, ListenError, inherited_descriptors
from tapir.transport.frameserver import FrameInputStatistics, Listeners
from tapir.transport.tls import TlsError

__all__ = ["DRAIN", "LOOK", "MAILBOX", "DnstapInput", "InputSettings"]

MAILBOX: Final = MailboxSpec(16, Overflow.REJECT)
DRAIN: Final = 3.0
"""seconds for which a stop reads on what the kernel holds; the rest of an actor's time to stop is for closing"""
LOOK: Final = 10.0
"""seconds between two looks at what nobody tells: refused connections, and files of TLS that are new"""
_NUMBERS: Final = ("accepted", "refused", "frames", "octets", "control_frames", "blocks", "abandoned")
_MAPS: Final = ("ended", "failed", "accept_errors")
_NOTHING: Final = FrameInputStatistics(open=0, ended={}, failed={}, accept_errors={}, **dict.fromkeys(_NUMBERS, 0))
_FIRST_WAIT: Final = 1.0
_LONGEST_WAIT: Final = 60.0


class DnstapInput(Actor[GetInput]):
    """Takes what senders of dnstap send, and tells `minimiser` of each block once `ledger` has it as received.

    While the minimiser's mailbox is full nothing is read: what comes stays in the kernel, then with the sender. What
    cannot be listened on is no crash: it is tried again, and `GetInput` says why. Sockets of the service manager are
    borrowed, so that a restart of the actor or the process loses nobody who connected and was not accepted yet.
    """

    def __init__(
        self,
        settings: InputSettings,
        *,
        minimiser: ActorRef[Any],
        ledger: Ledger,
        inherited: Inherited = inherited_descriptors,
    ) -> None:
        self._settings = settings
        self._minimiser = minimiser
        self._ledger = ledger
        self._inherited = inherited
        self._opened: tuple[FrameListener, ...] = ()
        self._tls_state: object = None
        self._serving: Listeners | None = None
        self._counted = _NOTHING
        self._trouble = ""
        self._misfits = ""
        self._stopping = trio.Event()
        self._over = trio.Event()

    async def started(self, ctx: Context[GetInput]) -> None:
        """Listen, if that can be had; ready in any case."""
        voice = InputVoice(ctx.log)
        opened = await self._open(ctx)
        ctx.start_soon(self._run, ctx, voice, opened, name="listen")
        ctx.start_soon(self._look, ctx, voice, name="look")

    async def receive(self, ctx: Context[GetInput], message: GetInput) -> None:
        """Say how it stands."""
        ctx.reply(self._status())

    async def stopping(self, ctx: Context[GetInput], reason: StopReason) -> None:
        """Accept nothing more, and take what was sent already."""
        if reason is StopReason.CRASHED:
            return  # who listened is gone, and has closed
        self._stopping.set()
        if self._serving is not None:
            self._serving.stop()
        await self._over.wait()

    # -- listening

    async def _run(self, ctx: Context[GetInput], voice: InputVoice, opened: OpenedInput | None) -> None:
        wait = _FIRST_WAIT
        try:
            while not self._stopping.is_set():
                if opened is not None:
                    began = trio.current_time()
                    await self._serve(ctx, voice)
                    if self._stopping.is_set():
                        break
                    if trio.current_time() - began >= _LONGEST_WAIT:
                        wait = _FIRST_WAIT  # it worked: what broke it is something new
                with trio.move_on_after(wait):
                    await self._stopping.wait()
                    break
                wait = min(2 * wait, _LONGEST_WAIT)
                opened = await self._open(ctx)
        finally:
            self._close()
            self._over.set()

    async def _open(self, ctx: Context[GetInput]) -> OpenedInput | None:
        try:
            opened = await ctx.run_blocking(open_input, self._settings, self._inherited)
        except InputError as exc:
            self._say_trouble(ctx, str(exc))
            return None
        self._opened = opened.listeners
        self._tls_state = opened.tls_state
        where = ", ".join(listener.name for listener in opened.listeners)
        ctx.log.info("input: listening on %s%s", where, " again" if self._trouble else "")
        self._trouble = ""
        misfits = "; ".join(opened.misfits)
        if misfits and misfits != self._misfits:
            ctx.log.error("input: %s; %s is listened on", misfits, where)
        self._misfits = misfits
        return opened

    async def _serve(self, ctx: Context[GetInput], voice: InputVoice) -> None:
        """Until it is to stop, or nothing can be listened on any more. Raises what is nobody's doing but ours."""
        self._serving = Listeners(
            self._opened,
            self._deliver,
            self._settings.streams,
            connection_limit=self._settings.connections,
            report=voice.ended,
        )
        useless: list[str] = []
        try:
            await self._serving.serve(drain=DRAIN)
        except* ListenError as group:
            useless = [str(exc) for exc in _leaves(group)]
        finally:
            self._counted = _sum(self._counted, self._serving.statistics())
            self._serving = None
            self._opened = ()  # closed already
        if useless:
            self._say_trouble(ctx, "; ".join(useless))

    async def _deliver(self, block: FrameBlock) -> None:
        self._ledger.receive(len(block))
        delivery = None
        try:
            delivery = await self._minimiser.tell(FramesReceived(block=block))
        finally:
            # Nobody else has it then, so nobody else settles it.
            if delivery is not Delivery.DELIVERED:
                self._ledger.settle({Fate.STOPPED: len(block)})

    def _close(self) -> None:
        opened, self._opened = self._opened, ()
        close_all(opened)

    # -- what is said

    def _say_trouble(self, ctx: Context[GetInput], text: str) -> None:
        if text != self._trouble:
            ctx.log.error("input: %s; it is tried again, and until then nothing comes in there", text)
        self._trouble = text

    async def _look(self, ctx: Context[GetInput], voice: InputVoice) -> None:
        limit = self._settings.connections
        refused = 0
        failed = Counter[str]()
        while True:
            await trio.sleep(LOOK)
            now = self._now()
            voice.refused(now.refused - refused, limit)
            errors = Counter(now.accept_errors)
            for name, count in (errors - failed).items():
                voice.exhausted(name, count)
            refused, failed = now.refused, errors
            if self._settings.tls is not None and self._opened:
                await self._look_at_tls(ctx)

    async def _look_at_tls(self, ctx: Context[GetInput]) -> None:
        state = await ctx.run_blocking(tls_state, self._settings)
        if state == self._tls_state:
            return
        self._tls_state = state
        try:
            context = await ctx.run_blocking(read_context, self._settings)
        except TlsError as exc:
            ctx.log.error("input: %s; senders get the certificate from before", exc)
            return
        for listener in self._opened:
            if listener.tls is not None:
                listener.tls = context
        ctx.log.info("input: the certificate was read anew; senders that connect from now on get it")

    def _now(self) -> FrameInputStatistics:
        return self._counted if self._serving is None else _sum(self._counted, self._serving.statistics())

    def _status(self) -> InputStatus:
        now = self._now()
        return InputStatus(
            addresses=tuple(listener.name for listener in self._opened),
            open=now.open,
            accepted=now.accepted,
            refused=now.refused,
            ended=_pairs(now.ended),
            failed=_pairs(now.failed),
            accept_errors=_pairs(now.accept_errors),
            frames=now.frames,
            octets=now.octets,
            abandoned=now.abandoned,
            trouble="; ".join([text for text in (self._trouble, self._misfits) if text]),
        )


def _sum(before: FrameInputStatistics, now: FrameInputStatistics) -> FrameInputStatistics:
    """The figures of both; what is open is open now."""
    sums: dict[str, Any] = {name: getattr(before, name) + getattr(now, name) for name in _NUMBERS}
    sums |= {name: Counter(getattr(before, name)) + Counter(getattr(now, name)) for name in _MAPS}
    return attrs.evolve(now, **sums)


def _leaves(group: BaseExceptionGroup[ListenError]) -> Iterator[ListenError]:
    for exc in group.exceptions:
        if isinstance(exc, BaseExceptionGroup):
            yield from _leaves(exc)
        else:
            yield exc


def _pairs(counts: Mapping[str, int]) -> tuple[tuple[str, int], ...]:
    return tuple(sorted(counts.items()))
