"""The zone keeper: the only writer of versions.

`receive` takes the evaluator's stream in and answers questions at once; the author, its background task, brings what
came into the draft, commits and publishes. While it commits, messages go on arriving: all that came meanwhile is
the next version. What may be published is decided in `steps`; the order of effects is the author's:

    store (durable) ─▶ serialcache ─▶ server and notifier ─▶ log
"""

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import attrs
import trio

from actors import Actor, ActorRef, Context, Delivery, MailboxSpec, Overflow, Reply, StopReason
from tapir.model.errors import TapirError
from tapir.model.messages.control import VersionPublished
from tapir.model.messages.zone import (
    AcceptZone,
    GetRecordHistory,
    GetZone,
    GetZoneDifference,
    GetZoneHistory,
    HoldZone,
    PauseZone,
    ResumeZone,
    RollBackZone,
    SendContent,
    SetSerial,
    SourcesMissing,
    ZoneChange,
    ZoneContent,
)
from tapir.model.names import format_name
from tapir.services.authority.archive import ZoneArchive
from tapir.services.authority.author import Author
from tapir.services.authority.draft import Content
from tapir.services.authority.history import MAX_NAMES, find_difference, find_records
from tapir.services.authority.messages import GetView, Publish
from tapir.services.authority.orders import Item, Order, Refused, Wish
from tapir.services.authority.steps import Brake
from tapir.store.zones import ZoneStore
from tapir.zone.settings import ZoneSettings

if TYPE_CHECKING:
    from tapir.model.messages.lists import StreamPosition
    from tapir.zone.view import ZoneView

MAILBOX: Final = MailboxSpec(capacity=64, overflow=Overflow.WAIT)
"""WAIT points the way that data flows: an evaluator that is ahead of the disk waits here."""

_INTAKE: Final = 64
_LOOKING_UP: Final = 8
"""questions about the past at a time; each takes a worker for as long as its journal is long"""
_ANNOUNCE_AGAIN: Final = 0.5
_ASK_FIRST: Final = 2.0
_ASK_MOST: Final = 60.0


@attrs.frozen(kw_only=True)
class KeeperSettings:
    """The zone, where it survives a crash, and how much of it may change at once."""

    zone: ZoneSettings
    store_path: Path
    """the database; its folder must exist"""
    serial_cache: Path | None
    brake_change: float = 0.25
    """the part of the published records that one version may change, and still be published by itself"""
    brake_minimum: int = 1000
    """a change of so many names, or fewer, is never held back"""


@attrs.frozen(kw_only=True)
class AnnounceAgain:
    """Server or notifier had no room for the last version: it is time to tell them of the one that is published."""


@attrs.frozen(kw_only=True)
class AskContent:
    """It is time to ask the evaluator for its content, if it has sent none."""


KeeperMessage = (
    ZoneContent
    | ZoneChange
    | SourcesMissing
    | AskContent
    | AnnounceAgain
    | GetZone
    | GetView
    | GetZoneDifference
    | GetRecordHistory
    | GetZoneHistory
    | Wish
)


class ZoneKeeper(Actor[KeeperMessage]):
    """Keeps one zone's versions, and is the only one to make new ones.

    Serves what is stored as soon as it has started. Nothing is seen before it is committed, and serials never go
    back but by SetSerial. A store that fails never stops it: what was published stays published.
    """

    def __init__(
        self,
        settings: KeeperSettings,
        *,
        policy: ActorRef[Any],
        server: ActorRef[Any] | None,
        notifier: ActorRef[Any] | None,
        health: ActorRef[Any] | None = None,
        open_store: Callable[[Path], ZoneStore] = ZoneStore.open,
    ) -> None:
        self._zone = format_name(settings.zone.apex)
        self._policy = policy
        self._server = server
        self._notifier = notifier
        self._health = health
        self._archive = ZoneArchive(settings.store_path, settings.serial_cache, open_store=open_store)
        self._zone_settings = settings.zone
        self._brake = Brake(change=settings.brake_change, minimum=settings.brake_minimum)
        self._position: StreamPosition | None = None
        """how far the stream is in the draft or on its way there; None without a base"""
        self._asking_after = _ASK_FIRST
        self._asking = False
        self._missing: tuple[str, ...] = ()
        self._looking_up = 0

    async def started(self, ctx: Context[KeeperMessage]) -> None:
        """Serve what is stored, then listen to the evaluator; a store that cannot be read now is tried again."""
        self._ctx = ctx
        self._author = Author(
            self._zone_settings,
            self._archive,
            self._brake,
            ctx.log,
            announce=self._announce,
            confirm=self._confirm,
            lost_base=self._lose_base,
        )
        await self._author.open(ctx)
        self._intake, receive = trio.open_memory_channel[Item](_INTAKE)
        self._finished = trio.Event()
        ctx.start_soon(self._write, receive)
        # An evaluator that starts after us sends its content by itself; one that runs already must be asked.
        self._ask_later(ctx)

    async def _write(self, receive: trio.MemoryReceiveChannel[Item]) -> None:
        try:
            async with receive:
                await self._author.run(self._ctx, receive)
        except BaseException:
            # A crash, or the whole run is cancelled, and then `stopping` is not called.
            self._archive.close()
            raise
        self._finished.set()

    async def receive(self, ctx: Context[KeeperMessage], message: KeeperMessage) -> None:
        """Take the stream and the operator's wishes in, and answer questions."""
        match message:
            case ZoneContent():
                self._position = message.position
                self._note_missing(ctx, ())
                await self._intake.send(Content(records=message.records, passed=message.passed))
            case ZoneChange():
                if message.position.follows(self._position):
                    self._position = message.position
                    self._note_missing(ctx, ())
                    await self._intake.send(message.delta)
                else:
                    self._lose_base()
            case SourcesMissing():
                self._note_missing(ctx, message.waiting_for)
            case AskContent():
                self._asking = False
                if self._position is None:
                    self._ask(ctx)
                else:
                    self._asking_after = _ASK_FIRST
            case AnnounceAgain():
                if self._author.view is not None:
                    await self._announce(self._author.view)
            case GetZone():
                ctx.reply(self._author.status())
            case GetView():
                ctx.reply(self._author.view)
            case GetZoneDifference() | GetRecordHistory():
                self._begin_look_up(ctx, message, ctx.defer_reply())
            case GetZoneHistory():
                ctx.reply(self._author.history(message.count))
            case HoldZone() | ResumeZone() | AcceptZone() | SetSerial() | RollBackZone() | PauseZone():
                await self._intake.send(Order(request=message, reply=ctx.defer_reply()))

    async def stopping(self, ctx: Context[KeeperMessage], reason: StopReason) -> None:
        """Finish what came in, unless the author is what crashed; then give the store back."""
        if reason is not StopReason.CRASHED:
            await self._intake.aclose()
            await self._finished.wait()
        await ctx.run_blocking(self._archive.close)

    async def _announce(self, view: "ZoneView") -> None:
        # Both coalesce, so neither waits: what counts is the latest version. A notifier may be full of what secondaries
        # asked for all the same.
        publish = Publish(view=view)
        answers = [await ref.tell(publish) for ref in (self._server, self._notifier) if ref is not None]
        if Delivery.REJECTED in answers:
            self._ctx.send_after(_ANNOUNCE_AGAIN, AnnounceAgain())
        self._confirm(view)

    def _confirm(self, view: "ZoneView") -> None:
        if self._health is not None:
            published = VersionPublished(zone=self._zone, serial=view.serial, records=len(view.version))
            self._health.tell_nowait(published)

    # -- the past

    def _begin_look_up(
        self, ctx: Context[KeeperMessage], question: GetZoneDifference | GetRecordHistory, reply: Reply
    ) -> None:
        """Answer beside the stream: what is looked at does not change any more."""
        view = self._author.content
        if view is None:
            reply.fail(Refused("there is no version of the zone yet"))
        elif self._looking_up >= _LOOKING_UP:
            reply.fail(Refused(f"{_LOOKING_UP} others ask already: ask again in a moment"))
        else:
            self._looking_up += 1
            ctx.start_soon(self._look_up, ctx, view, question, reply)

    async def _look_up(
        self,
        ctx: Context[KeeperMessage],
        view: "ZoneView",
        question: GetZoneDifference | GetRecordHistory,
        reply: Reply,
    ) -> None:
        try:
            match question:
                case GetZoneDifference():
                    reply.send(await ctx.run_blocking(find_difference, view, question.from_serial, question.to_serial))
                case GetRecordHistory():
                    names = question.names[:MAX_NAMES]
                    reply.send(await ctx.run_blocking(find_records, view, names, self._author.view))
        except TapirError as exc:
            reply.fail(exc)
        finally:
            self._looking_up -= 1

    # -- the evaluator's stream

    def _lose_base(self) -> None:
        """What comes next cannot be understood without all that came before: ask for it.

        At once, unless it was asked for a moment ago: content that is refused each time it comes must not go
        round and round.
        """
        self._position = None
        if not self._asking:
            self._ask(self._ctx)

    def _ask(self, ctx: Context[KeeperMessage]) -> None:
        # Against the flow, so never waiting; what gets lost is asked again.
        self._policy.tell_nowait(SendContent(zone=self._zone))
        self._ask_later(ctx)

    def _ask_later(self, ctx: Context[KeeperMessage]) -> None:
        """Look in a while whether the content has come, later each time that it has not."""
        self._asking = True
        ctx.send_after(self._asking_after, AskContent())
        self._asking_after = min(2 * self._asking_after, _ASK_MOST)

    def _note_missing(self, ctx: Context[KeeperMessage], waiting_for: tuple[str, ...]) -> None:
        if waiting_for != self._missing:
            self._missing = waiting_for
            # The list keeper has said it already, and a start should not be told twice.
            ctx.log.debug("the evaluator waits for %s", ", ".join(waiting_for) or "nobody any more")
