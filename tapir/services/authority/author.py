"""The keeper's background task: what came in goes into the draft; what may be published is committed, then published.

The author alone touches draft, view and archive, so nothing here needs a lock: heavy steps run in a worker, one at a
time, and what arrives meanwhile waits in the intake and becomes one version. A store that fails is tried again
with back-off, with whatever is desired by then; the version that is published stays as it is until a commit succeeds.
"""

from collections.abc import Awaitable, Callable, Sequence
from typing import TYPE_CHECKING, Any, Final

import attrs
import trio

from actors import Context
from tapir.model.blocks import RecordDelta
from tapir.model.errors import TapirError
from tapir.model.messages.zone import ZoneHistory, ZoneStatus
from tapir.services.authority.archive import Opened, ZoneArchive
from tapir.services.authority.desk import Desk
from tapir.services.authority.draft import Content, Draft
from tapir.services.authority.operator import Operator
from tapir.services.authority.orders import Item, Order
from tapir.services.authority.standing import zone_history, zone_status
from tapir.services.authority.steering import Steering
from tapir.services.authority.steps import (
    Brake,
    Restored,
    Verdict,
    next_step,
    recover_serial,
    restate_step,
    restore,
)
from tapir.store.errors import StoreError
from tapir.zone.serial import next_serial
from tapir.zone.settings import ZoneSettings
from tapir.zone.view import ZoneView

if TYPE_CHECKING:
    import logging

_BATCH: Final = 64


class Author:
    """Writes the versions of one zone.

    `announce` is told what is published from now on, `confirm` what was published before and is what the evaluator
    wants, as the first thing that it says; `lost_base` is called when the stream's content is needed anew.
    """

    def __init__(
        self,
        settings: ZoneSettings,
        archive: ZoneArchive,
        brake: Brake,
        log: "logging.LoggerAdapter[Any]",
        *,
        announce: Callable[[ZoneView], Awaitable[None]],
        confirm: Callable[[ZoneView], None],
        lost_base: Callable[[], None],
    ) -> None:
        self._settings = settings
        self._log = log
        self._announce = announce
        self._confirm = confirm
        self._lost_base = lost_base
        self._desk = Desk(archive, brake, log, announce=announce)
        self._operator = Operator(self._desk)
        self._heard = False
        """whether the evaluator has said anything, and that has had its effect"""
        self._verdict = Verdict.KEEP

    @property
    def view(self) -> ZoneView | None:
        """What is published; None until there is a first version."""
        return self._desk.shown

    @property
    def content(self) -> ZoneView | None:
        """As `view`, but with what a pause hides, and with the journal that leads there."""
        return self._desk.view

    async def open(self, ctx: Context[Any]) -> None:
        """Read what is stored, and make it what is published; when it cannot be read now, `run` tries again."""
        desk = self._desk
        try:
            opened, restored = await ctx.run_blocking(self._open, ctx.now())
        except StoreError as exc:
            desk.trouble.failed(exc)
            return
        desk.trouble.worked()
        for trouble in opened.trouble:
            self._log.warning("%s", trouble)
        desk.steering = opened.steering
        if restored is None:
            desk.steering = attrs.evolve(desk.steering, pause=None)
            self._begin_empty(ctx, opened)
            return
        version = restored.view.version
        draft = desk.draft = Draft(self._settings, version)
        if restored.servable:
            desk.view = restored.view
            desk.published_at = opened.stored.committed_at if opened.stored is not None else None
        elif desk.steering.pause is not None:
            self._log.warning("the stored pause is older than the serial in serialcache, and forgotten")
            desk.steering = attrs.evolve(desk.steering, pause=None)
        desk.steer(desk.steering, ctx.now())
        if restored.restate:
            self._log.warning(
                "the stored version, serial %d, gets a new serial: %s%s",
                version.serial,
                restored.restate,
                f"; {restored.lost} records have an action that the zone can no longer say" if restored.lost else "",
            )
            desk.restating = restored
        journal = len(restored.view.journal)
        self._log.info("restored serial=%d records=%d journal=%d", version.serial, len(version), journal)
        if desk.steering.reason:
            self._log.info("the zone is %s", desk.steering.reason)
        # Before anybody asks: under the stored serial only what was stored is seen. A store that takes nothing
        # leaves the new SOA under the old serial, rather than no zone at all.
        if restored.restate and restored.servable and not await self._restate(ctx, restored, draft, announced=False):
            return
        if desk.is_over(ctx.now()):
            await desk.come_back(ctx, draft, announced=False)

    def _open(self, now: int) -> tuple[Opened, Restored | None]:
        opened = self._desk.archive.open(now)
        if opened.stored is None:
            return opened, None
        pause = opened.steering.pause
        return opened, restore(opened.stored, self._settings, cached=opened.cached, now=now, pause=pause)

    def _begin_empty(self, ctx: Context[Any], opened: Opened) -> None:
        self._desk.draft = Draft(self._settings, None)
        self._desk.floor = opened.cached
        if opened.no_serial:
            self._log.info("%s", opened.no_serial)
        if opened.lost:
            self._desk.floor = recover_serial(cached=opened.cached, now=ctx.now())
            self._log.warning("the stored versions are lost; the next one comes after serial %d", self._desk.floor)

    async def run(self, ctx: Context[Any], intake: trio.MemoryReceiveChannel[Item]) -> None:
        """Work off what comes through `intake`, until it is closed."""
        while True:
            try:
                batch = await self._wait_batch(intake)
            except trio.EndOfChannel:
                return
            if self._desk.draft is None and not self._desk.trouble.waiting:
                await self.open(ctx)
                if self._desk.draft is not None:
                    # Nobody kept what came meanwhile.
                    self._lost_base()
                if self.view is not None:
                    await self._announce(self.view)
            await self._take(ctx, batch)
            await self._settle(ctx)
            await self._desk.tidy(ctx)

    async def _wait_batch(self, intake: trio.MemoryReceiveChannel[Item]) -> list[Item]:
        """All that waits, at least one item; nothing when it is time to do something unasked."""
        batch: list[Item] = []
        with trio.move_on_at(self._desk.wake_at):
            batch.append(await intake.receive())
        while len(batch) < _BATCH:
            try:
                batch.append(intake.receive_nowait())
            except (trio.WouldBlock, trio.EndOfChannel):
                break
        return batch

    # -- what comes in

    async def _take(self, ctx: Context[Any], batch: Sequence[Item]) -> None:
        contents: list[Content | RecordDelta] = []
        for item in batch:
            if isinstance(item, Order):
                await self._draft_all(ctx, contents)
                contents = []
                await self._carry_out(ctx, item)
            else:
                contents.append(item)
        await self._draft_all(ctx, contents)

    async def _draft_all(self, ctx: Context[Any], contents: Sequence[Content | RecordDelta]) -> None:
        draft = self._desk.draft
        if not contents or draft is None:
            return
        problem = await ctx.run_blocking(draft.follow, contents)
        if not problem and not self._heard:
            self._heard = True
            if self.view is not None and not draft.differs:
                self._confirm(self.view)
        if problem:
            self._log.error("what the evaluator sent cannot become a version, it is asked for all again: %s", problem)
            self._lost_base()

    async def _carry_out(self, ctx: Context[Any], order: Order) -> None:
        wish = order.request
        try:
            answer = await self._operator.obey(ctx, wish)
        except TapirError as exc:
            order.reply.fail(exc)
        else:
            self._log.info("the operator%s: %s: %s", wish.user and f" {wish.user}", type(wish).__name__, answer)
            order.reply.send(answer)

    # -- what goes out

    async def _settle(self, ctx: Context[Any]) -> None:
        """Commit and publish what may be published, unless the store failed a moment ago."""
        desk = self._desk
        draft = desk.draft
        if draft is None or desk.trouble.waiting:
            return
        if desk.unsaved and not await desk.save(ctx):
            return
        if desk.restating is not None and not await self._restate(ctx, desk.restating, draft):
            return
        if desk.is_over(ctx.now()) and await desk.come_back(ctx, draft) is None:
            return
        verdict = desk.judge()
        self._note_verdict(verdict, draft)
        if verdict is Verdict.PUBLISH and desk.steering.pause is None:
            step = await desk.commit(ctx, lambda now: next_step(draft, desk.view, floor=desk.floor, now=now))
            if step is not None:
                draft.publish(step.view.version)
                desk.accepted = False
                self._verdict = Verdict.KEEP
        else:
            if verdict is Verdict.KEEP:
                desk.accepted = False
            # What could not be saved is not to be published any more, or not now: the store has nothing to take.
            desk.trouble.relieved()

    async def _restate(self, ctx: Context[Any], restating: Restored, draft: Draft, *, announced: bool = True) -> bool:
        """Give what is stored its new serial; or, where that was not to be seen, at once what is desired now."""
        desk = self._desk
        if not (restating.servable or self._heard):
            # Secondaries have later content than what is stored: they keep it until it is known what is desired.
            return False
        if not restating.servable and desk.judge(len(restating.view.version)) is Verdict.PUBLISH:
            step = await desk.commit(ctx, lambda now: next_step(draft, None, floor=restating.floor, now=now))
            if step is not None:
                draft.publish(step.view.version)
                desk.accepted = False
        else:
            step = await desk.commit(
                ctx,
                lambda now: restate_step(restating, now=now),
                steering=_restated(desk.steering, restating),
                announced=announced,
            )
            if step is not None:
                draft.rebase(step.view.version)
        if step is None:
            return False
        desk.restating = None
        return True

    # -- how it stands

    def _note_verdict(self, verdict: Verdict, draft: Draft) -> None:
        if verdict is Verdict.BRAKE and self._verdict is not Verdict.BRAKE:
            size = draft.size
            # Said loudly is the exceptional event, with its identifier.
            self._log.info(
                "a change of -%d +%d records, where %d are published, is held back",
                size.removed,
                size.added,
                self._desk.records,
            )
        self._verdict = verdict

    def status(self) -> ZoneStatus:
        """How the zone stands."""
        desk = self._desk
        held_back = self._verdict in {Verdict.HOLD, Verdict.BRAKE}
        return zone_status(
            self._settings,
            desk.shown,
            steering=desk.steering,
            published_at=desk.published_at,
            held_change=desk.draft.size if desk.draft is not None and held_back else None,
            braked=self._verdict is Verdict.BRAKE,
            store_error=desk.trouble.error,
        )

    def history(self, count: int) -> ZoneHistory:
        """The newest `count` versions."""
        return zone_history(self._settings, self._desk.view, self._desk.steering, count=count)


def _restated(steering: Steering, restating: Restored) -> Steering:
    """A pause goes on, under a serial after the one that the hidden content gets."""
    if steering.pause is None:
        return steering
    serial = next_serial(next_serial(restating.floor))
    return attrs.evolve(steering, pause=attrs.evolve(steering.pause, serial=serial))
