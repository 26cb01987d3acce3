"""A feed: a policy zone that is transferred from its primaries by its own timers, and told to the list keeper.

            ┌──────────────(serial is the same, or the transfer is taken)───────────────┐
            ▼                                                                           │
waiting ─▶ current ──(refresh is over, or NOTIFY)──▶ checking: each primary in turn ────┤
            ▲                                            │                              │
            │                                (none could be had)                        │
            │                                            ▼                              │
            └─(a primary vouches again)─ expired ◀── retrying ──(retry is over)─────────┘
"""

import functools
import random
import uuid
from collections import Counter
from collections.abc import Callable
from typing import Any, Final

import attrs
import trio

from actors import Actor, ActorRef, Context, StopReason
from tapir.model.errors import TapirError
from tapir.model.messages.events import ClearEvent, EventKind, HoldExpiry, RaiseEvent
from tapir.model.messages.feeds import FeedNotified, FeedStatus, GetFeed, PassedJudged, SendPassed, TransferWhole
from tapir.model.messages.lists import RefreshSource
from tapir.model.names import format_name
from tapir.services.sources.feedcontent import MisfitError
from tapir.services.sources.feedforwarding import FeedForwarder
from tapir.services.sources.feedsaving import FeedSaving
from tapir.services.sources.feedstate import HeldFeed, TakenFeed, confirmed, content_of, taken
from tapir.services.sources.feedtelling import FeedTeller
from tapir.services.sources.transferasking import FeedAsker, Wish
from tapir.services.sources.transferbook import PrimaryBook, feed_status, log_taken
from tapir.services.sources.transferprimary import NetworkPrimaries, Primaries, PrimarySettings
from tapir.services.sources.transfersettings import TransferSettings
from tapir.zone.inbound import Transferred
from tapir.zone.schedule import Schedule
from tapir.zone.serial import is_newer

_SECOND: Final = 1_000_000
_LARGE: Final = 50_000
_SOON: Final = 5.0
LEAST_INTERVAL: Final = 0.5
"""seconds from the beginning of one check to that of the next, however many NOTIFYs there are"""
REPORT_INTERVAL: Final = 10.0
"""seconds after which the list keeper is told again how the feed stands"""
CHECK_FIRST: Final = 5.0
"""seconds after a start in which a primary is waited for before the list keeper is told again what was stored"""
EXPIRY_GRACE: Final = 15.0
"""seconds for which a feed must be expired before it is withdrawn: who watches the wall clock says sooner that it is
wrong, and that nothing is to expire"""

TransferMessage = FeedNotified | RefreshSource | TransferWhole | GetFeed | HoldExpiry | SendPassed | PassedJudged


class TransferSource(Actor[TransferMessage]):
    """Keeps one feed current and tells `lists` what its lists hold.

    What is told is durable before, or becomes so meanwhile where it is a whole transfer; where the disk takes nothing
    it is told all the same, for the primary has it, too. So after a crash the list keeper may know more than is stored
    here: then it is told what the primary says, not what is stored, if that can be had soon.
    One check runs at a time, in the background: whatever a primary does, questions are answered and the feed expires.
    `events` hears when the feed expired, and when it is back.
    """

    @classmethod
    def factory(
        cls,
        settings: TransferSettings,
        *,
        lists: ActorRef[Any],
        events: ActorRef[Any] | None = None,
        policy: ActorRef[Any] | None = None,
    ) -> Callable[[], "TransferSource"]:
        """Makes the incarnations of one source, which share a thread for what may hang."""
        primaries = NetworkPrimaries(patience=settings.patience)
        return lambda: cls(settings, lists=lists, events=events, policy=policy, primaries=primaries)

    def __init__(
        self,
        settings: TransferSettings,
        *,
        lists: ActorRef[Any],
        events: ActorRef[Any] | None = None,
        policy: ActorRef[Any] | None = None,
        primaries: Primaries,
        chance: Callable[[], float] = random.random,
    ) -> None:
        self._feed = settings.feed
        self._bounds = settings.bounds
        self._teller = FeedTeller(feed=settings.feed, lists=lists)
        self._forwarder = FeedForwarder(settings.feed, lists=lists, policy=policy)
        self._events = events
        self._chance = chance
        self._saving = FeedSaving(settings.store_path, settings.feed)
        self._book = PrimaryBook(settings.primaries)
        self._counters: Counter[str] = Counter()
        self._asker = FeedAsker(
            feed=settings.feed, limits=settings.limits, primaries=primaries, counters=self._counters
        )
        self._held: HeldFeed | None = None
        self._schedule = Schedule(due=0)
        self._checked_at: int | None = None
        # What is wanted: all lists said again, a check, one that takes the feed whole, one because of a NOTIFY.
        self._say_all = False
        self._say_passed = False
        self._asked = False
        self._whole = False
        self._notified = False
        self._hint: int | None = None
        self._prefer = ""
        # One check at a time; what it found is taken, and what expires is withdrawn, one after the other.
        self._checking = False
        self._began = -LEAST_INTERVAL
        self._changing = trio.Lock()
        self._wake = trio.Event()
        self._hold = False
        self._overdue_since: float | None = None
        self._told_at = 0.0
        self._check_first_until = 0.0
        self._cleared = False

    async def started(self, ctx: Context[TransferMessage]) -> None:
        """Ready at once: what is stored is read, and primaries are asked, in the background."""
        self._schedule = Schedule.first(now=ctx.now())
        ctx.start_soon(self._run, ctx, name="run")

    async def stopping(self, ctx: Context[TransferMessage], reason: StopReason) -> None:
        """Close the store, once nobody writes there."""
        async with self._changing:
            await self._saving.close(ctx)

    async def receive(self, ctx: Context[TransferMessage], message: TransferMessage) -> None:
        """Note what is wanted; see each."""
        match message:
            case FeedNotified():
                self._take_notify(message)
            case RefreshSource():
                self._say_all = self._asked = True
                self._wake.set()
            case TransferWhole():
                self._whole = True
                self._wake.set()
                ctx.reply(f"feed {self._feed.source} is asked for whole; what it has is taken whatever its serial")
            case HoldExpiry():
                self._hold = message.held
                self._wake.set()
            case SendPassed():
                self._say_passed = True
                self._wake.set()
            case PassedJudged():
                self._forwarder.judged(message)
            case GetFeed():
                ctx.reply(self._status())

    def _take_notify(self, message: FeedNotified) -> None:
        self._counters["notify"] += 1
        if self._is_known(message.serial):
            self._counters["notify.known"] += 1
        elif self._notified:
            # One check follows from all that come before it begins.
            self._counters["notify.coalesced"] += 1
            self._hint, self._prefer = message.serial, message.primary
        else:
            self._notified = True
            self._hint, self._prefer = message.serial, message.primary
            self._wake.set()

    def _is_known(self, serial: int | None) -> bool:
        held = self._held
        if serial is None or held is None or held.standing.withdrawn:
            return False
        return not is_newer(serial, held.standing.serial)

    # The life of the feed

    async def _run(self, ctx: Context[TransferMessage]) -> None:
        async with self._changing:
            await self._restore(ctx)
        while True:
            self._wake = trio.Event()
            async with self._changing:
                await self._mind(ctx)
            nap = REPORT_INTERVAL
            if self._say_all and self._checks_first():
                nap = min(nap, self._check_first_until - trio.current_time())
            if not self._checking:
                nap = min(nap, self._seconds_to_check(ctx))
                if nap <= 0:
                    self._checking = True
                    self._began = trio.current_time()
                    ctx.start_soon(self._check, ctx, name="check")
                    continue
            with trio.move_on_after(nap):
                await self._wake.wait()

    async def _restore(self, ctx: Context[TransferMessage]) -> None:
        held = self._held = await self._saving.restore(ctx)
        self._check_first_until = trio.current_time() + CHECK_FIRST
        if held is None:
            await self._forwarder.tell(ctx, None)
            return
        refreshed_at = held.standing.refreshed_at
        self._schedule = Schedule.restored(held.timers, self._bounds, refreshed_at=refreshed_at, now=ctx.now())
        if held.standing.withdrawn:
            await self._teller.withdrawn(held, now=ctx.now())
        else:
            await self._teller.unchanged(held, now=ctx.now())
        await self._forwarder.tell(ctx, held)
        self._asked = self._is_lacking()
        self._told_at = trio.current_time()

    def _is_lacking(self) -> bool:
        """Whether what is to be passed through is not held, and only the whole feed has it."""
        return self._forwarder.active and self._held is not None and self._held.lacking

    async def _mind(self, ctx: Context[TransferMessage]) -> None:
        """Say what is to be said, and let the feed expire when it is time."""
        held = self._held
        if held is not None:
            await self._expire_in_time(ctx, held)
            held = self._held or held
        if held is not None and self._say_all and not self._checks_first():
            self._say_all = False
            await self._tell_all(ctx, held)
        elif trio.current_time() - self._told_at >= REPORT_INTERVAL:
            await self._report(ctx)
            await self._forwarder.tell(ctx, self._held)
        anew, self._say_passed = self._say_passed, False
        if anew:
            await self._forwarder.tell(ctx, self._held, anew=True)

    def _checks_first(self) -> bool:
        """Whether a primary is to be heard before all that was stored is said."""
        return self._checked_at is None and trio.current_time() < self._check_first_until

    async def _tell_all(self, ctx: Context[TransferMessage], held: HeldFeed) -> None:
        if held.standing.withdrawn:
            await self._teller.withdrawn(held, now=ctx.now())
        else:
            content = await ctx.run_blocking(content_of, held, self._feed)
            await self._teller.all_of(held, content, now=ctx.now())
        await self._report(ctx, only_failure=True)

    async def _report(self, ctx: Context[TransferMessage], *, only_failure: bool = False) -> None:
        """How the feed stands, which the list keeper may have forgotten since it was told."""
        self._told_at = trio.current_time()
        held = self._held
        if self._schedule.failures:
            await self._teller.failed(self._failure(), now=ctx.now())
        elif held is not None and not held.standing.withdrawn and not only_failure:
            await self._teller.unchanged(held, now=ctx.now())

    def _failure(self) -> str:
        held = self._held
        expired = "it expired, and takes no part until a primary vouches for it again: "
        return (expired if held is not None and held.standing.withdrawn else "") + self._book.error()

    # Expiry

    async def _expire_in_time(self, ctx: Context[TransferMessage], held: HeldFeed) -> None:
        if held.standing.withdrawn or self._hold or not self._schedule.is_expired(now=ctx.now()):
            self._overdue_since = None
            return
        if self._overdue_since is None:
            self._overdue_since = trio.current_time()
        if trio.current_time() - self._overdue_since < EXPIRY_GRACE:
            return
        held = self._held = attrs.evolve(held, standing=attrs.evolve(held.standing, withdrawn=True))
        feed, zone = self._feed.source, format_name(self._feed.zone)
        text = f"no primary vouches for {zone} any more: feed {feed} expired, and its {len(held)} rules take no part"
        ctx.log.error("%s", text)
        await self._saving.note(ctx, held)
        self._cleared = False
        await self._forwarder.tell(ctx, held)
        await self._teller.withdrawn(held, now=ctx.now())
        if self._events is not None:
            self._events.tell_nowait(RaiseEvent(kind=EventKind.SOURCE_EXPIRED, subject=feed, text=text))
        await self._report(ctx)

    # Checks

    def _seconds_to_check(self, ctx: Context[TransferMessage]) -> float:
        """Until a check is to begin; not positive for now."""
        if self._notified and self._is_known(self._hint):
            self._notified = False  # what it told of came with the check before
        now = ctx.now()
        wait = (self._schedule.due - now) / _SECOND
        timers = self._schedule.timers
        if timers is not None and wait > max(timers.refresh, timers.retry):
            wait = 0  # the wall clock was set back: what is due is not put off by that
        if self._asked or self._whole or self._notified:
            wait = 0
        return max(wait, self._began + LEAST_INTERVAL - trio.current_time())

    async def _check(self, ctx: Context[TransferMessage]) -> None:
        wish = Wish(whole=self._whole, again=self._is_lacking(), hint=self._hint if self._notified else None)
        self._whole = self._asked = self._notified = False
        last = self._held.standing.primary if self._held is not None else ""
        prefer, self._prefer = self._prefer, ""
        self._counters["checks"] += 1
        for primary in self._book.order(prefer, last):
            if await self._check_at(ctx, primary, wish):
                break
        else:
            async with self._changing:
                await self._note_failure(ctx)
        self._checked_at = ctx.now()
        self._checking = False
        self._wake.set()

    async def _check_at(self, ctx: Context[TransferMessage], primary: PrimarySettings, wish: Wish) -> bool:
        """Bring the feed up to date with `primary`; whether that succeeded."""
        source = self._feed.source
        try:
            result = await self._asker.ask(primary, wish, held=self._serial(), ctx=ctx)
            try:
                await self._take(ctx, primary, result)
            except MisfitError as exc:
                self._counters["failures.misfit"] += 1
                ctx.log.warning("feed %s: a difference does not fit what is held; taken whole: %s", source, exc)
                whole = await self._asker.whole(primary, held=self._serial(), ctx=ctx)
                await self._take(ctx, primary, whole)
        except TapirError as exc:
            said = self._asker.failed(exc)
            if self._book.failed(primary, said) and len(self._book) > 1:
                ctx.log.warning("feed %s: primary %s fails: %s", source, primary.label, said)
            return False
        if self._book.answered(primary, now=ctx.now()) and len(self._book) > 1:
            ctx.log.info("feed %s: primary %s works again", source, primary.label)
        return True

    def _serial(self) -> int | None:
        return None if self._held is None else self._held.standing.serial

    # What comes of a check

    async def _take(self, ctx: Context[TransferMessage], primary: PrimarySettings, result: Transferred | None) -> None:
        """Keep, and tell, what `primary` has. Raises MisfitError."""
        async with self._changing:
            before, now = self._held, ctx.now()
            if result is None or result.is_current:
                if before is None:
                    raise AssertionError("nothing is held that could be current")
                self._counters["current"] += 1
                self._held = confirmed(before, primary=primary.label, now=now)
                await self._saving.note(ctx, self._held)
                await self._note_success(ctx, before, self._held, None)
                return
            taking = functools.partial(taken, primary=primary.label, epoch=uuid.uuid4().hex[:16], now=now)
            done = await ctx.run_blocking(taking, before, result, self._feed)
            whole = result.content is not None
            self._counters["transfers.whole" if whole else "transfers.incremental"] += 1
            self._held = done.held
            base = done.held.standing.serial if before is None else before.standing.serial
            if not whole:
                await self._saving.save(ctx, done.held, delta=done.delta, base=base)
            log_taken(ctx.log, self._feed, primary, result, done.held)
            await self._note_success(ctx, before, done.held, done)
            if whole:
                if len(done.held) >= _LARGE:
                    # After the list keeper, which saves it as well: both at once take the processors from who answers.
                    await self._teller.heard(_SOON)
                await self._saving.save(ctx, done.held, delta=done.delta, base=base)

    async def _note_success(
        self, ctx: Context[TransferMessage], before: HeldFeed | None, held: HeldFeed, done: TakenFeed | None
    ) -> None:
        failed = bool(self._schedule.failures)
        self._schedule = self._schedule.succeeded(held.timers, self._bounds, now=ctx.now(), jitter=self._chance())
        self._overdue_since = None
        if before is None or before.standing.withdrawn:
            if before is not None:
                ctx.log.info("feed %s takes part again", self._feed.source)
            await self._tell_all(ctx, held)
        elif done is not None and done.steps:
            await self._teller.steps(before, held, done.steps, now=ctx.now())
        if done is not None or before is None or before.standing.withdrawn:
            await self._forwarder.tell(ctx, held)
        if failed:
            await self._report(ctx)
        if self._events is not None and not self._cleared:
            self._events.tell_nowait(ClearEvent(kind=EventKind.SOURCE_EXPIRED, subject=self._feed.source))
            self._cleared = True

    async def _note_failure(self, ctx: Context[TransferMessage]) -> None:
        """No primary could be had: they are asked again after a while."""
        before = self._failure() if self._schedule.failures else None
        self._schedule = self._schedule.failed(self._bounds, now=ctx.now(), jitter=self._chance())
        if self._failure() != before:
            await self._report(ctx)

    def _status(self) -> FeedStatus:
        return feed_status(
            self._feed,
            self._held,
            self._schedule,
            self._book,
            self._counters,
            checking=self._checking,
            checked_at=self._checked_at,
            passed=self._forwarder.counts(),
        )
