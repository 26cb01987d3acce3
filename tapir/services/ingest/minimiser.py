"""Minimises frames: has a thread take their blocks through the pipeline, and writes what each minute leaves.

    opening ──(a list cannot be read)──▶ waiting: frames are held back, it is tried again ──▶ opening
       │
       └──▶ minimising ──▶ stopping: what is in hand is minimised, the last interval is written

    FramesReceived ─▶ in hand ─▶ thread ─▶ settled in the account ─▶ novelty
                                   └─▶ what ended ─▶ writer (a worker) ─▶ files

The event loop does nothing for a frame, and little for a block. While as many blocks are in hand as may be, those that
come stay in the mailbox, their senders wait, and whoever asks is answered nevertheless.
"""

import contextlib
import traceback
from collections.abc import Awaitable, Callable
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import trio

from actors import Actor, ActorRef, Context, MailboxSpec, Overflow, Reply, StopReason
from tapir.codec.cryptopan import CryptopanError
from tapir.codec.edmnames import until_next_minute
from tapir.minimiser.account import Fate, Ledger
from tapir.minimiser.novelty import RecentNames
from tapir.model.blocks import FrameBlock
from tapir.model.messages.edm import (
    BusyName,
    FramesReceived,
    GetBusyNames,
    GetMinimiser,
    HistogramWritten,
    MinimiserStatus,
    Rotated,
    RotateNow,
)
from tapir.model.messages.events import EventKind
from tapir.services.ingest.hand import IN_HAND, Hand
from tapir.services.ingest.lists import Loaded
from tapir.services.ingest.minimisermeans import Means
from tapir.services.ingest.minimiseropening import begin_work, prepare, spool_folder
from tapir.services.ingest.minimisersettings import (
    ConfigureMinimiser,
    Keys,
    MinimiserSettings,
    pipeline_settings,
)
from tapir.services.ingest.minimiserstatus import status_of
from tapir.services.ingest.minimiservoice import Voice
from tapir.services.ingest.rotation import is_early
from tapir.services.ingest.telling import Telling
from tapir.services.ingest.thread import ThreadStopped, WorkThread
from tapir.services.ingest.unwritten import HISTOGRAM, Unwritten, left_spool
from tapir.services.ingest.work import DUMP, SPOOL, Done, PipelineWork
from tapir.services.ingest.writing import Writer
from tapir.store.parquetfiles import ParquetFiles

if TYPE_CHECKING:
    from tapir.minimiser.pipeline import PipelineStatistics

__all__ = ["MAILBOX", "ConfigureMinimiser", "Minimiser", "MinimiserSettings"]

MAILBOX: Final = MailboxSpec(capacity=4, overflow=Overflow.WAIT)
_OUTSTANDING: Final = IN_HAND + 5
"""pieces of work for the thread; questions and rotations are some, too"""
_WAITS: Final = (1.0, 2.0, 5.0, 10.0, 30.0, 60.0)
"""seconds between two tries to begin"""
_LOOK: Final = 60.0
_PATIENCE: Final = 0.5
"""seconds to wait for the thread before what it said last is told again"""

_HOOK: Final = "dnstap"
_TROUBLES: Final = {
    SPOOL: ("spool of EDM", "a crash would lose the running minute", EventKind.DISK_FULL),
    DUMP: ("debug-dnstap-filename", "frames are minimised all the same", None),
}

MinimiserMessage = FramesReceived | RotateNow | GetMinimiser | GetBusyNames | ConfigureMinimiser


class Minimiser(Actor[MinimiserMessage]):
    """Owns the pipeline and the files of the running interval. `ledger`, `recent` and `secret` outlive it."""

    def __init__(
        self,
        settings: Callable[[], MinimiserSettings],
        *,
        ledger: Ledger,
        recent: RecentNames,
        secret: bytes,
        novelty: ActorRef[Any],
        aggregates: ActorRef[Any] | None,
        events: ActorRef[Any] | None,
    ) -> None:
        self._settings = self._begun = settings()
        self._ledger = ledger
        self._recent = recent
        self._secret = secret
        self._novelty = novelty
        self._aggregates = aggregates
        self._voice = Voice(Telling(events))
        self._files = ParquetFiles(self._begun.data_dir / "parquet")
        self._spools = spool_folder(self._begun.data_dir)
        self._writer = Writer(
            files=self._files, spools=self._spools, secret=secret, voice=self._voice, written=self._tell_written
        )
        self._hand: Hand | None = None
        self._ready = trio.Event()
        self._changed = trio.Event()
        self._turn = trio.Lock()
        """for whoever ends an interval; nothing is waited for meanwhile but the thread"""
        self._changing = trio.Lock()
        """for whoever reads lists and derives keys, which may take as long as a file system does"""
        self._minding = trio.CancelScope()
        self._means = Means(secret=secret, voice=self._voice)
        self._work: PipelineWork | None = None
        self._of_interval: list[Unwritten] = []
        """files of the running interval that were put aside before its end"""
        self._statistics: PipelineStatistics | None = None
        self._begun_at = 0
        self._left_out = 0
        """frames that were received here, and could not be handed in any more"""

    async def started(self, ctx: Context[MinimiserMessage]) -> None:
        """Take no frame yet, and try to begin."""
        ctx.hold(FramesReceived)
        ctx.start_soon(self._writer.run, ctx, name="write")
        ctx.start_soon(self._run, ctx, name="minimise")
        self._thread = WorkThread("edm-pipeline", outstanding=_OUTSTANDING)

    async def receive(self, ctx: Context[MinimiserMessage], message: MinimiserMessage) -> None:
        """Hand frames in; whatever takes a while is done beside the mailbox."""
        match message:
            case FramesReceived():
                await self._take(ctx, message.block)
            case RotateNow():
                self._answer(ctx, partial(self._rotated, ctx))
            case GetMinimiser():
                self._answer(ctx, self._status)
            case GetBusyNames():
                self._answer(ctx, partial(self._busy, message.count))
            case ConfigureMinimiser():
                self._settings = message.settings
                self._changed.set()
                self._answer(ctx, partial(self._configured, ctx))

    async def stopping(self, ctx: Context[MinimiserMessage], reason: StopReason) -> None:
        """Minimise what is in hand, and write the last interval; what there is no time for is dropped and counted."""
        try:
            await self._finish(ctx)
        finally:
            lost = Fate.FAILED if reason is StopReason.CRASHED else Fate.STOPPED
            self._ledger.settle({lost: self._left_out})
            if self._hand is not None:
                self._hand.let_go(lost)
            if reason is not StopReason.CRASHED:
                # The input has stopped before: what else is in flight stands in a mailbox that nobody reads any more.
                self._ledger.settle({Fate.STOPPED: self._ledger.account().in_flight})
            self._writer.give_up(ctx)

    async def _finish(self, ctx: Context[MinimiserMessage]) -> None:
        self._minding.cancel()
        job = None
        if self._work is not None:
            # Behind the blocks in hand, all of which are done when this is.
            job = await self._thread.put(self._work.finish, ctx.now(), _tick())
        await self._thread.stop()
        self._collect(ctx)
        await self._writer.flush(ctx)
        if job is not None:
            job.result()

    # -- beginning

    async def _run(self, ctx: Context[MinimiserMessage]) -> None:
        work = self._work = await self._open(ctx)
        hand = self._hand = Hand(
            self._ledger,
            self._recent,
            self._novelty,
            done=partial(self._note_done, ctx),
            failed=partial(self._note_failed, ctx),
        )
        ctx.hold(None)
        self._ready.set()
        self._voice.note(ctx.log, _HOOK, "", now=ctx.now(), kind=EventKind.DNSTAP_HOOK)
        ctx.log.info("minimising begins")
        async with trio.open_nursery() as nursery:
            nursery.start_soon(hand.run, partial(ctx.hold, None))
            nursery.start_soon(self._mind, ctx, work)

    async def _open(self, ctx: Context[MinimiserMessage]) -> PipelineWork:
        """The work, once all that it needs can be had: until then frames wait."""
        prepared = await ctx.run_blocking(prepare, self._files, self._spools)
        self._voice.note(ctx.log, "files of EDM", prepared.trouble, now=ctx.now())
        tries = 0
        while True:
            self._changed = trio.Event()
            async with self._changing:
                await self._means.derive(ctx, self._settings)
                lists = await self._means.read(ctx, self._settings)
                if self._means.keys is not None and not lists.closed:
                    return await self._begin(ctx, self._means.keys, lists, prepared.left)
            with trio.move_on_after(_WAITS[min(tries, len(_WAITS) - 1)]):
                await self._changed.wait()
            tries += 1

    async def _begin(
        self, ctx: Context[MinimiserMessage], keys: Keys, lists: Loaded, left: tuple[Path, ...]
    ) -> PipelineWork:
        self._begun_at = ctx.now()
        begin = partial(
            begin_work,
            self._begun,
            pipeline_settings(self._settings, self._begun, keys, lists),
            names=lists.well_known.value,
            recent=self._recent,
            secret=self._secret,
            spools=self._spools,
            spool_key=keys.spool,
            now=self._begun_at,
            tick=_tick(),
        )
        work = await self._thread.run(begin)
        self._statistics = await self._thread.run(work.statistics)  # later the thread may be busy
        for path in left:
            self._writer.add(ctx, left_spool(path, keys.spool))
        return work

    # -- frames

    async def _take(self, ctx: Context[MinimiserMessage], block: FrameBlock) -> None:
        work, hand = self._work, self._hand
        try:
            if work is None or hand is None:
                raise AssertionError("frames came while they are held back")
            job = await self._thread.put(work.process, block, ctx.now(), _tick())
        except BaseException:
            self._left_out += len(block)
            raise
        hand.add(len(block), job)
        if hand.full:
            ctx.hold(FramesReceived)

    def _note_done(self, ctx: Context[MinimiserMessage], done: Done) -> None:
        self._collect(ctx)
        if done.hook is not None:
            self._voice.note(ctx.log, _HOOK, done.hook, now=ctx.now(), kind=EventKind.DNSTAP_HOOK)
        for concern, trouble in done.troubles.items():
            subject, holds, kind = _TROUBLES[concern]
            text = f"{trouble}; {holds}" if trouble else ""
            self._voice.note(ctx.log, subject, text, now=ctx.now(), kind=kind)

    def _note_failed(self, ctx: Context[MinimiserMessage], exc: Exception) -> None:
        place = traceback.extract_tb(exc.__traceback__)[-1:]
        where = "".join([f" in {frame.name}, line {frame.lineno}" for frame in place])
        # Not what it says: that may be what stood in a frame.
        text = f"could not be worked on ({type(exc).__name__}{where}); it and others like it are counted as failed"
        self._voice.say_once(ctx.log, "a block of frames", text)

    # -- intervals

    async def _mind(self, ctx: Context[MinimiserMessage], work: PipelineWork) -> None:
        """What is to be done now and then, until the end."""
        with self._minding:
            async with trio.open_nursery() as nursery:
                nursery.start_soon(self._rotate_each_minute, ctx, work)
                nursery.start_soon(self._look, ctx, work)

    async def _rotate_each_minute(self, ctx: Context[MinimiserMessage], work: PipelineWork) -> None:
        while True:
            await trio.sleep(until_next_minute(ctx.now()) / 1e6)
            if not is_early(self._begun_at, ctx.now()):
                await self._rotate(ctx, work)

    async def _rotate(self, ctx: Context[MinimiserMessage], work: PipelineWork) -> tuple[int, int, list[Unwritten]]:
        """End the interval: from when to when it was, and its files, which are being written."""
        async with self._turn:
            now = ctx.now()
            start, stop = await self._thread.run(work.rotate, now, _tick())
            self._begun_at = now
            self._collect(ctx)
            files, self._of_interval = self._of_interval, []
            return start, stop, files

    def _collect(self, ctx: Context[MinimiserMessage]) -> None:
        """Have written what the thread put aside."""
        while self._work is not None and self._work.ended:
            unwritten = self._work.ended.popleft()
            self._of_interval.append(unwritten)
            self._writer.add(ctx, unwritten)

    def _tell_written(self) -> None:
        if self._aggregates is not None:
            # Whether it hears of it or not: it looks by itself, too.
            self._aggregates.tell_nowait(HistogramWritten())

    # -- changes

    async def _configure(self, ctx: Context[MinimiserMessage], work: PipelineWork) -> None:
        """Put the settings and the lists as they are now in force. Raises CryptopanError, and the old key stays."""
        async with self._changing:
            refused = await self._means.derive(ctx, self._settings)
            lists, keys = await self._means.read(ctx, self._settings), self._means.keys
            if keys is None:
                raise AssertionError("work began without keys")
            settings = pipeline_settings(self._settings, self._begun, keys, lists)
            spool_key = keys.spool if self._begun.durable else None
            async with self._turn:
                now, names = ctx.now(), lists.well_known.value
                ended = await self._thread.run(work.configure, settings, spool_key, now, _tick(), names)
                self._collect(ctx)
                if ended:
                    self._begun_at = now
                    self._of_interval = []
        if refused is not None:
            raise refused

    async def _look(self, ctx: Context[MinimiserMessage], work: PipelineWork) -> None:
        while True:
            self._voice.look(ctx.now())
            await self._writer.clean(ctx, self._settings.keep_sessions)
            await trio.sleep(_LOOK)
            if self._means.lists is not None and self._means.lists.troubles:
                with contextlib.suppress(CryptopanError):  # that is said
                    await self._configure(ctx, work)

    # -- answers

    def _answer(self, ctx: Context[MinimiserMessage], answer: Callable[[], Awaitable[object]]) -> None:
        """Answer beside the mailbox, in which frames go on meanwhile."""
        ctx.start_soon(_give, ctx.defer_reply(), answer)

    async def _configured(self, ctx: Context[MinimiserMessage]) -> None:
        if self._work is not None:
            await self._configure(ctx, self._work)

    async def _rotated(self, ctx: Context[MinimiserMessage]) -> Rotated:
        with trio.move_on_after(_PATIENCE):
            await self._ready.wait()
        if self._work is None or self._hand is None:
            now = ctx.now()
            return Rotated(start=now, stop=now, trouble=self._voice.trouble or "nothing is minimised yet")
        with trio.move_on_after(_PATIENCE):
            # What came before it is in the files, also where it overtook that in the mailbox.
            await self._hand.wait_settled(self._ledger.account().received)
        start, stop, files = await self._rotate(ctx, self._work)
        for unwritten in files:
            await unwritten.tried.wait()
        return Rotated(
            start=start,
            stop=stop,
            histogram="".join([str(each.path) for each in files if each.kind == HISTOGRAM and each.path]),
            sessions=tuple([str(each.path) for each in files if each.kind != HISTOGRAM and each.path]),
            trouble="; ".join(dict.fromkeys([each.trouble for each in files if each.trouble])),
        )

    async def _status(self) -> MinimiserStatus:
        if self._work is not None:
            with trio.move_on_after(_PATIENCE):
                self._statistics = await self._thread.run(self._work.statistics)
        return status_of(
            self._statistics,
            account=self._ledger.account(),
            lists=self._means.lists,
            settings=self._settings,
            writer=self._writer,
            spooling=self._work is not None and self._work.spooling,
            trouble=self._voice.trouble,
        )

    async def _busy(self, count: int) -> tuple[BusyName, ...]:
        busy: tuple[tuple[str, int], ...] = ()
        if self._work is not None:
            with trio.move_on_after(_PATIENCE):
                busy = await self._thread.run(self._work.busy, count)
        return tuple([BusyName(name=name, responses=responses) for name, responses in busy])


async def _give(reply: Reply, answer: Callable[[], Awaitable[object]]) -> None:
    try:
        given = await answer()
    except (CryptopanError, ThreadStopped) as exc:
        reply.fail(exc)
    else:
        reply.send(given)


def _tick() -> int:
    return round(trio.current_time() * 1_000_000)
