"""What the operator may ask of the zone: each order is carried out, or refused with a sentence.

| in force →  | nothing           | a hold             | a rollback            | a pause                     |
| ----------- | ----------------- | ------------------ | --------------------- | --------------------------- |
| hold        | held              | as it is           | as it is              | held once it is back        |
| resume      | said so           | what is desired    | what is desired       | back at once, nothing held  |
| rollback N  | content of N,held | content of N, held | content of N, held    | ends it: content of N, held |
| pause       | empty, then back  | empty, then held   | empty, then as rolled | another end, same serial    |
| set-serial  | same content      | same content       | same content          | empty under that serial     |
| accept      | the brake lets go | once resumed       | once resumed          | once it is back             |
"""

from typing import TYPE_CHECKING, Any

import attrs

from actors import Context
from tapir.model.messages.zone import MAX_PAUSE, AcceptZone, HoldZone, PauseZone, ResumeZone, RollBackZone, SetSerial
from tapir.services.authority.desk import Desk
from tapir.services.authority.draft import ChangeSize, Draft
from tapir.services.authority.history import OutOfReachError
from tapir.services.authority.orders import Refused, Wish
from tapir.services.authority.steering import Hold, Note, Pause, clock_text
from tapir.services.authority.steps import Verdict, restate_step, rollback_step, serial_step
from tapir.zone.difference import compose
from tapir.zone.serial import check_serial, is_newer, next_serial
from tapir.zone.view import ZoneView

if TYPE_CHECKING:
    from collections.abc import Callable

    from tapir.services.authority.steps import Step


class Operator:
    """Carries out what the operator wants of what lies on `desk`."""

    def __init__(self, desk: Desk) -> None:
        self._desk = desk

    async def obey(self, ctx: Context[Any], wish: Wish) -> str:
        """What was done, as a sentence; raises TapirError where nothing was."""
        desk = self._desk
        if desk.draft is None:
            raise Refused(f"not done: what is stored of the zone cannot be read: {desk.trouble.error}")
        match wish:
            case HoldZone():
                return await self._hold(ctx, wish.user)
            case ResumeZone():
                return await self._resume(ctx, desk.draft, wish.user)
            case AcceptZone():
                return self._accept(desk.draft)
            case SetSerial():
                return await self._set_serial(ctx, desk.draft, check_serial(wish.serial), wish.user)
            case RollBackZone():
                return await self._roll_back(ctx, desk.draft, check_serial(wish.serial), wish.user)
            case PauseZone():
                return await self._pause(ctx, wish.seconds, wish.user)

    # -- hold, resume, accept

    async def _hold(self, ctx: Context[Any], user: str) -> str:
        desk = self._desk
        held = desk.steering.held
        if not held:
            desk.steering = attrs.evolve(desk.steering, hold=Hold(user=user, at=ctx.now()))
        saved = await self._save(ctx)
        if held:
            return "the zone is held already" + saved
        if desk.steering.pause is not None:
            return "the zone is held: after the pause nothing new is published" + saved
        return "the zone is held: nothing new is published" + saved

    async def _resume(self, ctx: Context[Any], draft: Draft, user: str) -> str:
        desk = self._desk
        hold = desk.steering.hold
        if hold is not None and desk.view is not None:
            await ctx.run_blocking(self._trust, draft, desk.view, hold)
        if desk.steering.pause is not None and desk.restating is None:
            step = await desk.come_back(ctx, draft, resumed=True, user=user)
            if step is None:
                raise Refused(f"not done: {desk.trouble.error}")
            said = f"the zone is back: serial {step.view.serial}, {len(step.view.version)} records"
            braked = desk.judge() is Verdict.BRAKE
            return said + ("; the brake holds what changed since: tapir accept zone" if braked else "")
        desk.steering = attrs.evolve(desk.steering, hold=None)
        saved = await self._save(ctx)
        if hold is None:
            return "the zone was not held" + saved
        match desk.judge():
            case Verdict.BRAKE:
                return "the zone is no longer held, but the brake holds the change: tapir accept zone" + saved
            case Verdict.PUBLISH:
                return "the zone is published again, beginning with what was held" + saved
            case _:
                return "the zone is published again; nothing was held back" + saved

    def _trust(self, draft: Draft, view: ZoneView, hold: Hold) -> None:
        """Let the way back from a rollback pass the brake, unless it leads far from where the rollback began."""
        if hold.before is None or (rolled := view.journal.net(hold.before)) is None:
            return
        size = ChangeSize.of_delta(compose([rolled, draft.delta()]))
        records = len(view.version) + rolled.lost - rolled.gained
        if not self._desk.brake.holds(records=records, size=size):
            self._desk.accepted = True

    async def _save(self, ctx: Context[Any]) -> str:
        if await self._desk.save(ctx):
            return ""
        return f"; a restart would forget it until the store can be written ({self._desk.trouble.error})"

    def _accept(self, draft: Draft) -> str:
        desk = self._desk
        size = draft.size
        if desk.records is None or not desk.brake.holds(records=desk.records, size=size):
            raise Refused("not done: the brake holds nothing back")
        desk.accepted = True
        change = f"-{size.removed} +{size.added} records"
        if desk.steering.held:
            return f"accepted: {change}, to be published when the zone is resumed"
        if desk.steering.pause is not None:
            return f"accepted: {change}, to be published when the zone is back"
        return f"accepted: {change} will be published"

    # -- another serial, another content, none

    async def _set_serial(self, ctx: Context[Any], draft: Draft, serial: int, user: str) -> str:
        desk = self._desk
        shown, view, restating = desk.shown, desk.view, desk.restating
        make: Callable[[int], Step]
        if serial == 0:
            raise Refused("not done: 0 stands for no serial")
        if restating is not None:
            if desk.steering.pause is not None:
                raise Refused(f"not done: the zone is paused, and cannot be saved: {desk.trouble.error}")
            make = lambda now: restate_step(restating, serial, now=now, user=user)  # noqa: E731
        elif view is None or shown is None:
            desk.floor = serial - 1
            return f"there is no version yet; the first one will have serial {serial}"
        elif serial == shown.serial:
            return f"the serial is {serial} already"
        elif desk.steering.pause is not None:
            pause = desk.steering.pause
            back = not is_newer(serial, than=pause.serial)
            note = Note(serial=serial, at=ctx.now(), kind="set-serial", user=user, text="while paused")
            if not await desk.pause(ctx, attrs.evolve(pause, serial=serial, set_back=pause.set_back or back), note):
                raise Refused(f"not done: {desk.trouble.error}")
            return _serial_said(serial, shown)
        else:
            make = lambda now: serial_step(view, serial, now=now, user=user)  # noqa: E731
        step = await desk.commit(ctx, make)
        if step is None:
            raise Refused(f"not done: {desk.trouble.error}")
        draft.rebase(step.view.version)
        desk.restating = None
        return _serial_said(serial, shown)

    async def _roll_back(self, ctx: Context[Any], draft: Draft, serial: int, user: str) -> str:
        desk = self._desk
        view = self._view()
        steering = desk.steering
        pause, hold = steering.pause, steering.hold
        before = hold.before if hold is not None and hold.rolled_back_to is not None else view.serial
        try:
            step = await desk.commit(
                ctx,
                lambda now: rollback_step(view, serial, now=now, pause=pause, user=user),
                steering=attrs.evolve(
                    steering, pause=None, hold=Hold(user=user, at=ctx.now(), rolled_back_to=serial, before=before)
                ),
            )
        except OutOfReachError as exc:
            raise Refused(f"not done: {exc}{self._why_not_further(view)}") from exc
        if step is None:
            raise Refused(f"not done: {desk.trouble.error}")
        await ctx.run_blocking(draft.move_base, step.view.version)
        desk.accepted = False
        return (
            f"the zone is rolled back to serial {serial}: -{step.removed} +{step.added} records, as serial "
            f"{step.view.serial}; it is held until: tapir resume"
        )

    def _why_not_further(self, view: ZoneView) -> str:
        start = view.serial if view.journal.from_serial is None else view.journal.from_serial
        reasons = {
            "restate": "the zone's own records changed, and no difference leads across that",
            "set-serial": "the serial was set back, and no difference leads across that",
            "first": "it was the first version",
        }
        kinds = [
            reasons[note.kind] for note in self._desk.steering.notes if note.serial == start and note.kind in reasons
        ]
        return f"; with serial {start} {kinds[-1]}" if kinds else ""

    async def _pause(self, ctx: Context[Any], seconds: int, user: str) -> str:
        desk = self._desk
        view = self._view()
        if not 0 < seconds <= MAX_PAUSE:
            raise Refused(f"not done: a pause lasts 1 s to {MAX_PAUSE // 86400} days")
        now = ctx.now()
        until = now + seconds * 1_000_000
        running = desk.steering.pause
        if running is not None:
            pause = attrs.evolve(running, at=now, until=until, user=user)
            note = None
        else:
            pause = Pause(serial=next_serial(view.serial), at=now, until=until, user=user)
            text = f"until {clock_text(until)}"
            note = Note(serial=pause.serial, at=now, kind="pause", user=user, text=text, removed=len(view.version))
        if not await desk.pause(ctx, pause, note):
            raise Refused(f"not done: {desk.trouble.error}")
        if running is not None:
            return f"the zone is paused already: now until {clock_text(until)}"
        returns = "what it held" if desk.steering.held else "what the lists say by then"
        return f"the zone is empty, as serial {pause.serial}, until {clock_text(until)}: then {returns} comes back"

    def _view(self) -> ZoneView:
        desk = self._desk
        if desk.view is None:
            raise Refused("not done: there is no version of the zone yet")
        if desk.restating is not None:
            raise Refused(f"not done: what is stored could not be saved under a new serial: {desk.trouble.error}")
        return desk.view


def _serial_said(serial: int, shown: ZoneView | None) -> str:
    if shown is not None and not is_newer(serial, than=shown.serial):
        return f"the serial is {serial}, not after {shown.serial}: have the secondaries transfer the whole zone"
    return f"the serial is {serial}"
