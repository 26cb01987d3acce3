"""The keeper's background task: what came in goes into the draft; what may be published is committed, then published.

The author alone touches draft, view and archive, so nothing here needs a lock: heavy steps run in a worker, one at a
time, and what arrives meanwhile waits in the intake and becomes one version. A store that fails is tried again
with back-off, with whatever is desired by then; the version that is published stays as it is until a commit succeeds.
"""

from collections.abc import Awaitable, Callable, Sequence
from typing import TYPE_CHECKING, Any, Final

import trio

from actors import Context
from tapir.model.blocks import RecordBlock, RecordDelta
from tapir.model.errors import TapirError
from tapir.model.messages.zone import AcceptZone, HoldZone, ResumeZone, SetSerial, ZoneStatus
from tapir.services.authority.archive import Opened, ZoneArchive
from tapir.services.authority.draft import Draft
from tapir.services.authority.orders import Item, Order, Refused
from tapir.services.authority.standing import zone_status
from tapir.services.authority.steps import (
    Brake,
    Restored,
    Step,
    Verdict,
    judge,
    next_step,
    recover_serial,
    restate_step,
    restore,
    serial_step,
)
from tapir.services.authority.trouble import StoreTrouble
from tapir.store.errors import StoreError
from tapir.zone.serial import check_serial, is_newer
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
        self._archive = archive
        self._brake = brake
        self._log = log
        self._announce = announce
        self._confirm = confirm
        self._lost_base = lost_base
        self._draft: Draft | None = None
        """None until it is known what is stored"""
        self._view: ZoneView | None = None
        self._restating: Restored | None = None
        self._floor: int | None = None
        self._published_at: int | None = None
        self._held = False
        self._hold_unsaved = False
        self._accepted = False
        self._heard = False
        """whether the evaluator has said anything, and that has had its effect"""
        self._verdict = Verdict.KEEP
        self._trouble = StoreTrouble(log)
        self._beside: tuple[str, ...] = ()
        """what went wrong beside the last commit"""

    @property
    def view(self) -> ZoneView | None:
        """What is published; None until there is a first version."""
        return self._view

    async def open(self, ctx: Context[Any]) -> None:
        """Read what is stored, and make it what is published; when it cannot be read now, `run` tries again."""
        try:
            opened, restored = await ctx.run_blocking(self._open, ctx.now())
        except StoreError as exc:
            self._trouble.failed(exc)
            return
        self._trouble.worked()
        for trouble in opened.trouble:
            self._log.warning("%s", trouble)
        self._held = opened.held
        if restored is None:
            self._begin_empty(ctx, opened)
            return
        version = restored.view.version
        self._draft = Draft(self._settings, version)
        if restored.servable:
            self._view = restored.view
            self._published_at = opened.stored.committed_at if opened.stored is not None else None
        if restored.restate:
            self._log.warning(
                "the stored version, serial %d, gets a new serial: %s%s",
                version.serial,
                restored.restate,
                f"; {restored.lost} records have an action that the zone can no longer say" if restored.lost else "",
            )
            self._restating = restored
        journal = len(restored.view.journal)
        self._log.info("restored serial=%d records=%d journal=%d", version.serial, len(version), journal)
        if restored.restate and restored.servable:
            # Before anybody asks: under the stored serial only what was stored is seen. A store that takes nothing
            # leaves the new SOA under the old serial, rather than no zone at all.
            await self._restate(ctx, restored, self._draft, announced=False)

    def _open(self, now: int) -> tuple[Opened, Restored | None]:
        opened = self._archive.open(now)
        if opened.stored is None:
            return opened, None
        return opened, restore(opened.stored, self._settings, cached=opened.cached, now=now)

    def _begin_empty(self, ctx: Context[Any], opened: Opened) -> None:
        self._draft = Draft(self._settings, None)
        self._floor = opened.cached
        if opened.no_serial:
            self._log.info("%s", opened.no_serial)
        if opened.lost:
            self._floor = recover_serial(cached=opened.cached, now=ctx.now())
            self._log.warning("the stored versions are lost; the next one comes after serial %d", self._floor)

    async def run(self, ctx: Context[Any], intake: trio.MemoryReceiveChannel[Item]) -> None:
        """Work off what comes through `intake`, until it is closed."""
        while True:
            try:
                batch = await self._wait_batch(intake)
            except trio.EndOfChannel:
                return
            if self._draft is None and not self._trouble.waiting:
                await self.open(ctx)
                if self._draft is not None:
                    # Nobody kept what came meanwhile.
                    self._lost_base()
                if self._view is not None:
                    await self._announce(self._view)
            await self._take(ctx, batch)
            await self._settle(ctx)

    async def _wait_batch(self, intake: trio.MemoryReceiveChannel[Item]) -> list[Item]:
        """All that waits, at least one item; nothing when it is time to try the store again."""
        batch: list[Item] = []
        with trio.move_on_at(self._trouble.retry_at):
            batch.append(await intake.receive())
        while len(batch) < _BATCH:
            try:
                batch.append(intake.receive_nowait())
            except (trio.WouldBlock, trio.EndOfChannel):
                break
        return batch

    # -- what comes in

    async def _take(self, ctx: Context[Any], batch: Sequence[Item]) -> None:
        contents: list[RecordBlock | RecordDelta] = []
        for item in batch:
            if isinstance(item, Order):
                await self._draft_all(ctx, contents)
                contents = []
                await self._carry_out(ctx, item)
            else:
                contents.append(item)
        await self._draft_all(ctx, contents)

    async def _draft_all(self, ctx: Context[Any], contents: Sequence[RecordBlock | RecordDelta]) -> None:
        if not contents or self._draft is None:
            return
        problem = await ctx.run_blocking(self._draft.follow, contents)
        if not problem and not self._heard:
            self._heard = True
            if self._view is not None and not self._draft.differs:
                self._confirm(self._view)
        if problem:
            self._log.error("what the evaluator sent cannot become a version, it is asked for all again: %s", problem)
            self._lost_base()

    async def _carry_out(self, ctx: Context[Any], order: Order) -> None:
        try:
            answer = await self._obey(ctx, order.request)
        except TapirError as exc:
            order.reply.fail(exc)
        else:
            self._log.info("the operator: %s: %s", type(order.request).__name__, answer)
            order.reply.send(answer)

    async def _obey(self, ctx: Context[Any], request: HoldZone | ResumeZone | AcceptZone | SetSerial) -> str:
        if self._draft is None:
            raise Refused(f"not done: what is stored of the zone cannot be read: {self._trouble.error}")
        match request:
            case HoldZone():
                return await self._set_held(ctx, held=True)
            case ResumeZone():
                return await self._set_held(ctx, held=False)
            case AcceptZone():
                return self._accept(self._draft)
            case SetSerial():
                return await self._set_serial(ctx, self._draft, check_serial(request.serial))

    async def _set_held(self, ctx: Context[Any], *, held: bool) -> str:
        was_held, self._held = self._held, held
        unsaved = not await self._save_hold(ctx)
        saved = f"; a restart would forget it until the store can be written ({self._trouble.error})" if unsaved else ""
        if held:
            return ("the zone is held already" if was_held else "the zone is held: nothing new is published") + saved
        if not was_held:
            return "the zone was not held" + saved
        match self._judge():
            case Verdict.BRAKE:
                return "the zone is no longer held, but the brake holds the change: tapir accept zone" + saved
            case Verdict.PUBLISH:
                return "the zone is published again, beginning with what was held" + saved
            case _:
                return "the zone is published again; nothing was held back" + saved

    def _accept(self, draft: Draft) -> str:
        published = self._records_published()
        size = draft.size
        if published is None or not self._brake.holds(records=published, size=size):
            raise Refused("not done: the brake holds nothing back")
        self._accepted = True
        change = f"-{size.removed} +{size.added} records"
        if self._held:
            return f"accepted: {change}, to be published when the zone is resumed"
        return f"accepted: {change} will be published"

    async def _set_serial(self, ctx: Context[Any], draft: Draft, serial: int) -> str:
        view = self._view
        restating = self._restating
        if serial == 0:
            raise Refused("not done: 0 stands for no serial")
        if restating is not None:
            step = await self._commit(ctx, lambda _: restate_step(restating, serial))
        elif view is None:
            self._floor = serial - 1
            return f"there is no version yet; the first one will have serial {serial}"
        elif serial == view.serial:
            return f"the serial is {serial} already"
        else:
            step = await self._commit(ctx, lambda now: serial_step(view, serial, now=now))
        if step is None:
            raise Refused(f"not done: {self._trouble.error}")
        draft.rebase(step.view.version)
        self._restating = None
        if view is not None and not is_newer(serial, than=view.serial):
            return f"the serial is {serial}, not after {view.serial}: have the secondaries transfer the whole zone"
        return f"the serial is {serial}"

    # -- what goes out

    async def _settle(self, ctx: Context[Any]) -> None:
        """Commit and publish what may be published, unless the store failed a moment ago."""
        draft = self._draft
        if draft is None or self._trouble.waiting:
            return
        if self._hold_unsaved and not await self._save_hold(ctx):
            return
        if self._restating is not None and not await self._restate(ctx, self._restating, draft):
            return
        verdict = self._judge()
        self._note_verdict(ctx, verdict, draft)
        if verdict is Verdict.PUBLISH:
            step = await self._commit(ctx, lambda now: next_step(draft, self._view, floor=self._floor, now=now))
            if step is not None:
                draft.publish(step.view.version)
                self._accepted = False
                self._verdict = Verdict.KEEP
        else:
            if verdict is Verdict.KEEP:
                self._accepted = False
            # What could not be saved is not to be published any more, or not now: the store has nothing to take.
            self._trouble.relieved()

    async def _restate(self, ctx: Context[Any], restating: Restored, draft: Draft, *, announced: bool = True) -> bool:
        """Give what is stored its new serial; or, where that was not to be seen, at once what is desired now."""
        if not (restating.servable or self._heard):
            # Secondaries have later content than what is stored: they keep it until it is known what is desired.
            return False
        if not restating.servable and self._judge(len(restating.view.version)) is Verdict.PUBLISH:
            step = await self._commit(ctx, lambda now: next_step(draft, None, floor=restating.floor, now=now))
            if step is not None:
                draft.publish(step.view.version)
                self._accepted = False
        else:
            step = await self._commit(ctx, lambda _: restate_step(restating), announced=announced)
            if step is not None:
                draft.rebase(step.view.version)
        if step is None:
            return False
        self._restating = None
        return True

    def _judge(self, published: int | None = None) -> Verdict:
        if self._draft is None:
            return Verdict.KEEP
        return judge(
            self._draft,
            published=self._records_published() if published is None else published,
            brake=self._brake,
            held=self._held,
            accepted=self._accepted,
        )

    def _records_published(self) -> int | None:
        return len(self._view.version) if self._view is not None else None

    async def _commit(self, ctx: Context[Any], make: Callable[[int], Step], *, announced: bool = True) -> Step | None:
        """Make a step, make it durable, then publish it; None, and nothing has changed, when the store fails."""
        now = ctx.now()
        try:
            step, trouble = await ctx.run_blocking(self._make_durable, make, now)
        except StoreError as exc:
            self._trouble.failed(exc)
            return None
        self._trouble.worked()
        if trouble != self._beside:
            for text in trouble:
                self._log.warning("serial %d is saved, but: %s", step.view.serial, text)
            self._beside = trouble
        self._view = step.view
        self._published_at = now
        if announced:
            await self._announce(step.view)
        self._log.info(
            "published serial=%d -%d +%d records=%d octets=%d",
            step.view.serial,
            step.removed,
            step.added,
            len(step.view.version),
            step.view.version.octets,
        )
        return step

    def _make_durable(self, make: Callable[[int], Step], now: int) -> tuple[Step, tuple[str, ...]]:
        step = make(now)
        return step, self._archive.commit(step, now)

    async def _save_hold(self, ctx: Context[Any]) -> bool:
        try:
            trouble = await ctx.run_blocking(self._archive.set_held, self._held, self._view, ctx.now())
        except StoreError as exc:
            self._hold_unsaved = True
            self._trouble.failed(exc)
            return False
        for text in trouble:
            self._log.warning("%s", text)
        if self._hold_unsaved:
            self._hold_unsaved = False
            self._trouble.worked()
        return True

    # -- how it stands

    def _note_verdict(self, ctx: Context[Any], verdict: Verdict, draft: Draft) -> None:
        if verdict is Verdict.BRAKE and self._verdict is not Verdict.BRAKE:
            size = draft.size
            self._log.warning(
                "a change of -%d +%d records, where %d are published, is held back: tapir accept zone",
                size.removed,
                size.added,
                self._records_published(),
            )
        self._verdict = verdict

    def status(self) -> ZoneStatus:
        """How the zone stands."""
        held_back = self._draft is not None and self._verdict in {Verdict.HOLD, Verdict.BRAKE}
        return zone_status(
            self._settings,
            self._view,
            published_at=self._published_at,
            held_change=self._draft.size if self._draft is not None and held_back else None,
            state=self._state(),
            store_error=self._trouble.error,
        )

    def _state(self) -> str:
        if self._trouble.error:
            return "unsaved"
        if self._held:
            return Verdict.HOLD.value
        if self._verdict is Verdict.BRAKE:
            return Verdict.BRAKE.value
        return "serving" if self._view is not None else "empty"
