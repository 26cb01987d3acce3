"""An observation source: signed messages of a broker become a list whose names leave when their time is over.

    session ─▶ MqttBlock ─▶ verified, read, in the book, committed ─▶ SourceChanged to the list keeper ─▶ MqttSettled

Blocks that wait are taken together, so that many messages cost one commit. As long as the keystore cannot be read or
the store takes nothing, blocks stay here unsettled: the broker keeps what it has, and nothing valid is lost.
"""

from collections.abc import Callable
from typing import Any, Final

from actors import Actor, ActorRef, AskError, Context, Delivery, StopReason, Timer
from tapir.model.errors import TapirError
from tapir.model.messages.events import GetClock, HoldExpiry
from tapir.model.messages.lists import EntryFacts, GetEntry, RefreshSource
from tapir.model.messages.mqtt import ConsumeAgain, MqttBlock, MqttHolding, MqttSettled
from tapir.model.messages.observations import (
    BootstrapAgain,
    GetObservations,
    GetObservationsExport,
    ObservationsExport,
    ObservationsStatus,
)
from tapir.model.observed import Standing
from tapir.policy.observed import NEVER
from tapir.services.sources.bootstrap import BootstrapFailed, BootstrapResult, OneMore, keep_trying
from tapir.services.sources.expiry import seconds_to_boundary
from tapir.services.sources.observations_blocks import next_blocks
from tapir.services.sources.observations_counting import Counts
from tapir.services.sources.observations_desk import KeysMissing, ObservationDesk, Outcome
from tapir.services.sources.observations_settings import (
    Bootstrapped,
    MakeBootstrapper,
    ObservationMessage,
    ObservationSettings,
    Retry,
    SomethingEnds,
    Tick,
    Work,
    http_bootstrapper,
)
from tapir.services.sources.observations_voice import ListVoice
from tapir.store.errors import StoreError

MOST_HELD: Final = 5000
"""Messages that are held back for a bootstrap: with more it is not waited for, since merging is right later, too."""

_FIRST_PAUSE: Final = 0.5
_LONGEST_PAUSE: Final = 10.0
_PATIENCE: Final = 2.0
_MOMENT: Final = 0.05
_HOUSEKEEPING: Final = 3600 * 1_000_000


class ObservationSource(Actor[ObservationMessage]):
    """Keeps one list of observations; tells `lists` what it holds and `session` what is durable.

    `clock` is asked before anything leaves by its time, and before a message is dropped as too late.
    """

    def __init__(
        self,
        settings: ObservationSettings,
        *,
        lists: ActorRef[Any],
        session: ActorRef[Any],
        clock: ActorRef[Any] | None = None,
        bootstrapper: MakeBootstrapper = http_bootstrapper,
    ) -> None:
        self._settings = settings
        self._lists = ListVoice(settings.id, lists)
        self._session = session
        self._clock = clock
        self._bootstrapper = bootstrapper
        self._desk = ObservationDesk(
            store_path=settings.store_path, keystore=settings.keystore, reading=settings.reading
        )
        self._open = False
        self._trouble = ""
        self._lacks_keys = False
        self._pause = _FIRST_PAUSE
        self._retry: Timer | None = None
        self._blocks: list[MqttBlock] = []
        """not taken yet, in order"""
        self._taken: list[int] = []
        """blocks that are taken and not durable"""
        self._settled: list[int] = []
        """blocks that are durable, and the session has not been told"""
        self._announced = False
        self._work_due = False
        self._held = False
        self._ends: Timer | None = None
        self._bootstrap = "no"
        self._again = OneMore()
        self._counts = Counts()
        self._latest_at: int | None = None
        self._housekept_at = 0

    async def started(self, ctx: Context[ObservationMessage]) -> None:
        """Restore what is stored and say so; then everything that is not settled comes once more."""
        ctx.send_every(self._settings.report_interval, Tick())
        if self._settings.bootstrap is not None:
            self._bootstrap = "fetching"
        await self._try_to_open(ctx)

    async def stopping(self, ctx: Context[ObservationMessage], reason: StopReason) -> None:
        """Close the store; what is not settled stays with the broker."""
        await ctx.run_blocking(self._desk.close)

    async def receive(self, ctx: Context[ObservationMessage], message: ObservationMessage) -> None:
        """Handle one message; see each."""
        match message:
            case MqttBlock():
                self._blocks.append(message)
                self._latest_at = ctx.now()
                await self._have_work_done(ctx)
            case Work():
                self._work_due = False
                await self._work(ctx)
            case Retry():
                self._retry = None
                await (self._work(ctx) if self._open else self._try_to_open(ctx))
            case SomethingEnds():
                await self._expire(ctx)
            case Tick():
                await self._tick(ctx)
            case HoldExpiry():
                await self._hold(ctx, held=message.held)
            case RefreshSource():
                await self._say_all(ctx)
            case Bootstrapped():
                await self._take_bootstrap(ctx, message.result)
            case GetEntry():
                ctx.reply(self._entry(message))
            case GetObservations():
                ctx.reply(self._status(await ctx.run_blocking(self._desk.count_keys)))
            case GetObservationsExport():
                await self._export(ctx)
            case BootstrapAgain():
                ctx.reply(self._bootstrap_again(ctx))

    # Opening

    async def _try_to_open(self, ctx: Context[ObservationMessage]) -> None:
        try:
            lost = await ctx.run_blocking(self._desk.open, ctx.now())
        except StoreError as exc:
            await self._note_trouble(ctx, f"{exc}; what was observed is not known now, and messages wait")
            return
        self._open = True
        if lost:
            ctx.log.error("stored observations of %s: %s; what was observed before is lost", self._settings.id, lost)
        await self._note_success(ctx)
        await self._expire(ctx)
        self._announce()
        if self._bootstrap == "fetching":
            fetcher, wanted = self._bootstrapper(self._settings, ctx.now), not len(self._desk.book)
            ctx.start_soon(keep_trying, fetcher, self._deliverer(ctx), lambda: wanted, ctx.log, name="bootstrap")
        await self._have_work_done(ctx)

    def _deliverer(self, ctx: Context[ObservationMessage]) -> Callable[[BootstrapResult | BootstrapFailed], Any]:
        return lambda result: ctx.ref.tell(Bootstrapped(result=result))

    def _announce(self) -> None:
        """Ask for all that is not settled; the session may not be there, or have no room now."""
        if not self._announced:
            told = self._session.tell_nowait(ConsumeAgain(consumer=self._settings.id))
            self._announced = told in (Delivery.DELIVERED, Delivery.COALESCED)

    # Messages

    async def _have_work_done(self, ctx: Context[ObservationMessage]) -> None:
        """Take what waits once all that is in the mailbox by now has been looked at: together it costs one commit."""
        if self._work_due or not self._may_work:
            return
        if ctx.tell_self(Work()) is Delivery.DELIVERED:
            self._work_due = True
        else:
            await self._work(ctx)

    @property
    def _may_work(self) -> bool:
        if not self._open or self._retry is not None:
            return False
        return self._bootstrap != "fetching" or sum(map(len, self._blocks)) > MOST_HELD

    async def _work(self, ctx: Context[ObservationMessage]) -> None:
        if self._desk.unsaved and not await self._save(ctx):
            return
        if self._blocks and self._may_work:
            await self._take(ctx)
        self._settle(ctx)
        if self._blocks:
            await self._have_work_done(ctx)
        elif self._open and not self._trouble:
            trouble = await ctx.run_blocking(self._desk.fold)
            if trouble:
                ctx.log.debug("stored observations are not folded: %s", trouble)

    async def _take(self, ctx: Context[ObservationMessage]) -> None:
        """Do what the next blocks say."""
        blocks = next_blocks(self._blocks)
        messages = [payload for block in blocks for payload in block.payloads]
        desk, now = self._desk, ctx.now()
        try:
            result = await ctx.run_blocking(lambda: desk.take(messages, now=now, due=self._due(now)))
        except KeysMissing as exc:
            self._lacks_keys = True
            await self._note_trouble(ctx, f"{exc}; messages wait until it can")
            return
        self._lacks_keys = False
        outcome = result.outcome
        if outcome is None:
            await self._ask_clock()
            outcome = await ctx.run_blocking(lambda: desk.do(result.read, now=now, due=self._due(now)))
        self._counts.take_read(result.read)
        self._counts.take_tally(outcome.tally)
        del self._blocks[: len(blocks)]
        self._taken += [block.id for block in blocks]
        await self._say(ctx, outcome)
        self._tell_refusals(ctx)

    async def _save(self, ctx: Context[ObservationMessage]) -> bool:
        await self._say(ctx, await ctx.run_blocking(self._desk.save, ctx.now()))
        return not self._desk.unsaved

    async def _say(self, ctx: Context[ObservationMessage], outcome: Outcome) -> None:
        """Tell the list keeper what became of the list, and note whether it is durable."""
        if outcome.put_aside:
            ctx.log.error("stored observations of %s: %s; they were stored anew", self._settings.id, outcome.put_aside)
        if outcome.digest != outcome.base:
            await self._lists.changed(outcome, at=ctx.now())
        self._set_timer(ctx)
        if outcome.trouble:
            await self._note_trouble(ctx, f"{outcome.trouble}; what came since is not stored yet, and messages wait")
            return
        self._settled += self._taken
        self._taken = []
        if self._trouble and not self._lacks_keys:
            await self._note_success(ctx)

    def _settle(self, ctx: Context[ObservationMessage]) -> None:
        """Tell the session what is durable. Never waiting: it may be waiting for us."""
        if self._settled:
            told = self._session.tell_nowait(MqttSettled(consumer=self._settings.id, blocks=tuple(self._settled)))
            # One that is not there holds nothing of ours any more: its next incarnation sends all again.
            if told in (Delivery.FULL, Delivery.REJECTED):
                ctx.send_after(_MOMENT, Work())
            else:
                self._settled = []

    def _tell_refusals(self, ctx: Context[ObservationMessage]) -> None:
        for reason, count, detail in self._counts.to_tell(ctx.now()):
            ctx.log.warning("source %s: %d refused as %s%s", self._settings.id, count, reason, detail and f": {detail}")

    # Trouble

    async def _note_trouble(self, ctx: Context[ObservationMessage], text: str) -> None:
        """Tell the list keeper, which says it once, and try again later."""
        self._trouble = text
        await self._lists.stands(self._desk.digest, text, at=ctx.now())
        if self._retry is None:
            self._retry = ctx.send_after(self._pause, Retry())
            self._pause = min(2 * self._pause, _LONGEST_PAUSE)

    async def _note_success(self, ctx: Context[ObservationMessage]) -> None:
        self._trouble = ""
        self._pause = _FIRST_PAUSE
        await self._lists.stands(self._desk.digest, "", at=ctx.now())

    # What ends by itself

    def _due(self, now: int) -> int:
        """By when names are over: by no time at all while the clock is in doubt."""
        return NEVER if self._held else now

    async def _expire(self, ctx: Context[ObservationMessage]) -> None:
        """Let everything go that is over, if something may be."""
        end = self._desk.book.next_deadline() if self._open else None
        if end is not None and end <= ctx.now():
            await self._ask_clock()
            if not self._held:
                await self._say(ctx, await ctx.run_blocking(self._desk.expire, ctx.now()))
                self._settle(ctx)
        self._set_timer(ctx)

    async def _ask_clock(self) -> None:
        """Whether the clock is in doubt; who cannot say changes nothing."""
        if self._clock is not None:
            try:
                self._held = (await self._clock.ask(GetClock(), timeout=_PATIENCE)).held
            except AskError:
                return

    async def _hold(self, ctx: Context[ObservationMessage], *, held: bool) -> None:
        self._held = held
        await self._expire(ctx)

    def _set_timer(self, ctx: Context[ObservationMessage]) -> None:
        if self._ends is not None:
            self._ends.cancel()
            self._ends = None
        end = self._desk.book.next_deadline()
        if end is not None and not self._held:
            seconds = seconds_to_boundary(end, interval=self._settings.reaper_interval, now=ctx.now())
            self._ends = ctx.send_after(seconds, SomethingEnds())

    # Bootstrap

    def _bootstrap_again(self, ctx: Context[ObservationMessage]) -> str:
        if self._settings.bootstrap is None or self._bootstrap == "fetching" or not self._open:
            return f"source {self._settings.id} has nobody to bootstrap from, or has not done so yet"
        return self._again.begin(ctx, self._bootstrapper(self._settings, ctx.now), self._deliverer(ctx))

    async def _take_bootstrap(
        self, ctx: Context[ObservationMessage], result: BootstrapResult | BootstrapFailed
    ) -> None:
        if isinstance(result, BootstrapFailed):
            self._bootstrap = "failed"
        else:
            self._bootstrap = "done"
            desk, now = self._desk, ctx.now()
            snapshot = result.observations
            outcome = await ctx.run_blocking(lambda: desk.merge(snapshot, now=now, due=self._due(now)))
            await self._say(ctx, outcome)
        await self._have_work_done(ctx)

    # What others want to know

    async def _tick(self, ctx: Context[ObservationMessage]) -> None:
        if self._open:
            self._announce()
        if self._trouble and (self._blocks or self._taken):
            self._session.tell_nowait(MqttHolding(consumer=self._settings.id))
        self._settle(ctx)
        self._tell_refusals(ctx)
        if self._held:
            await self._ask_clock()
            if not self._held:
                await self._expire(ctx)
        if self._open and not self._held and ctx.now() - self._housekept_at >= _HOUSEKEEPING:
            self._housekept_at = ctx.now()
            await self._say(ctx, await ctx.run_blocking(self._desk.expire, ctx.now()))
        await self._lists.stands(self._desk.digest, self._trouble, at=ctx.now())

    async def _say_all(self, ctx: Context[ObservationMessage]) -> None:
        if not self._open:
            await self._lists.stands(self._desk.digest, self._trouble, at=ctx.now())
            return
        content = await ctx.run_blocking(self._desk.book.content)
        await self._lists.holds(content, self._desk.digest, at=ctx.now())

    def _entry(self, message: GetEntry) -> EntryFacts | None:
        known = self._desk.book.known(message.name)
        if known is None or known.standing is not Standing.LIVE:
            return None
        return EntryFacts(source=self._settings.id, observed_at=known.stamp, expires_at=known.deadline, tags=known.tags)

    async def _export(self, ctx: Context[ObservationMessage]) -> None:
        reply = ctx.defer_reply()
        if not self._open:
            reply.fail(TapirError(f"the source {self._settings.id} does not know what it holds: {self._trouble}"))
            return
        now = ctx.now()
        observations = await ctx.run_blocking(self._desk.book.export, self._due(now))
        settings = self._settings
        reply.send(
            ObservationsExport(
                name=settings.name, kind=settings.kind, topics=settings.topics, observations=observations, at=now
            )
        )

    def _status(self, keys: int | None) -> ObservationsStatus:
        settings, book = self._settings, self._desk.book
        return ObservationsStatus(
            source=settings.id,
            name=settings.name,
            kind=settings.kind,
            topics=settings.topics,
            entries=len(book),
            remembered=book.gone,
            octets=book.octets,
            next_expiry=book.next_deadline(),
            held=self._held,
            bootstrap=self._bootstrap,
            latest_at=self._latest_at,
            waiting=sum(map(len, self._blocks)),
            keys=keys,
            trouble=self._trouble,
            counters=self._counts.counters,
        )
