"""What lies before the author: the draft, what is published, and what the operator has in force.

One task at a time works at it. Whatever a secondary or a restart could see of it changes only when it is durable.
"""

import math
from collections.abc import Awaitable, Callable
from typing import TYPE_CHECKING, Any, Final

import attrs
import trio

from actors import Context
from tapir.services.authority.archive import ZoneArchive
from tapir.services.authority.draft import Draft
from tapir.services.authority.steering import Note, Pause, Steering
from tapir.services.authority.steps import Brake, Restored, Step, Verdict, empty_view, judge, next_step, return_step
from tapir.services.authority.trouble import StoreTrouble
from tapir.store.errors import StoreError
from tapir.zone.version import ZoneVersion, dissolve
from tapir.zone.view import ZoneView

if TYPE_CHECKING:
    import logging

_MANY: Final = 256
_GRACE: Final = 1.0
_LOOK_AGAIN: Final = 30.0
"""seconds after which a pause looks at the wall clock again, in case somebody has set it"""


class Desk:
    """The state of one zone's author; `announce` is told what secondaries are to see from now on."""

    def __init__(
        self,
        archive: ZoneArchive,
        brake: Brake,
        log: "logging.LoggerAdapter[Any]",
        *,
        announce: Callable[[ZoneView], Awaitable[None]],
    ) -> None:
        self.archive = archive
        self.brake = brake
        self.draft: Draft | None = None
        """None until it is known what is stored"""
        self.view: ZoneView | None = None
        """the content as it was last committed; None until there is a first version"""
        self.shown: ZoneView | None = None
        """what secondaries see: `view`, or nothing while the zone is paused"""
        self.steering = Steering()
        self.restating: Restored | None = None
        self.floor: int | None = None
        self.accepted = False
        self.published_at: int | None = None
        self.unsaved = False
        """whether a restart would forget what the operator has in force"""
        self.trouble = StoreTrouble(log)
        self._log = log
        self._announce = announce
        self._ends = math.inf
        """when the pause is over, by Trio's clock"""
        self._beside: tuple[str, ...] = ()
        """what went wrong beside the last commit"""
        self._tidied = True
        self._untidy: tuple[str, ...] = ()
        """what went wrong when the store was put in order"""

    # -- what may be done

    def judge(self, published: int | None = None) -> Verdict:
        """What becomes of the draft, where so many records are `published` (default: as many as there are)."""
        if self.draft is None:
            return Verdict.KEEP
        return judge(
            self.draft,
            published=self.records if published is None else published,
            brake=self.brake,
            held=self.steering.held,
            accepted=self.accepted,
        )

    @property
    def records(self) -> int | None:
        """How many records the content has, also while a pause hides them; None before the first version."""
        return len(self.view.version) if self.view is not None else None

    # -- versions

    async def commit(
        self,
        ctx: Context[Any],
        make: Callable[[int], Step],
        *,
        steering: Steering | None = None,
        announced: bool = True,
    ) -> Step | None:
        """Make a step, make it durable, then publish it; None, and nothing has changed, when the store fails.

        With `steering`, that comes into force together with the step. What `make` raises is raised.
        """
        now = ctx.now()
        wanted = self.steering if steering is None else steering
        try:
            step, noted, trouble = await ctx.run_blocking(self._make_durable, make, wanted, now)
        except StoreError as exc:
            self.trouble.failed(exc)
            return None
        self._saved(trouble, step.view.serial)
        if self.view is not None and len(self.view.version.chunks) > _MANY:
            ctx.start_soon(self._let_go, ctx, [self.view.version], name="let the old version go")
        self.view = step.view
        self.steer(noted, now)
        self.published_at = now
        if announced and self.shown is not None:
            await self._announce(self.shown)
        self._log.info(
            "published serial=%d -%d +%d records=%d octets=%d",
            step.view.serial,
            step.removed,
            step.added,
            len(step.view.version),
            step.view.version.octets,
        )
        self._tidied = False
        return step

    async def tidy(self, ctx: Context[Any]) -> None:
        """Put the store in order after a commit, now that nobody waits for it."""
        view = self.view
        if self._tidied or view is None:
            return
        self._tidied = True
        untidy = await ctx.run_blocking(self.archive.tidy, view)
        if untidy != self._untidy:
            for text in untidy:
                self._log.warning("serial %d is saved, but: %s", view.serial, text)
            self._untidy = untidy

    async def _let_go(self, ctx: Context[Any], old: list[ZoneVersion]) -> None:
        """Keep `old` until nobody else does: the event loop is not to take its thousands of parts away."""
        await trio.sleep(_GRACE)
        await ctx.run_blocking(dissolve, old)

    def _make_durable(
        self, make: Callable[[int], Step], steering: Steering, now: int
    ) -> tuple[Step, Steering, tuple[str, ...]]:
        step = make(now)
        noted = steering.noting(step.note, step.view)
        return step, noted, self.archive.commit(step, noted, now)

    def _saved(self, trouble: tuple[str, ...], serial: int) -> None:
        self.unsaved = False
        self.trouble.worked()
        if trouble != self._beside:
            for text in trouble:
                self._log.warning("serial %d is saved, but: %s", serial, text)
            self._beside = trouble

    # -- what the operator has in force

    async def save(self, ctx: Context[Any]) -> bool:
        """Make durable what is in force already; whether that worked."""
        try:
            trouble = await ctx.run_blocking(self.archive.remember, self.steering, self.view, ctx.now())
        except StoreError as exc:
            self.unsaved = True
            self.trouble.failed(exc)
            return False
        for text in trouble:
            self._log.warning("%s", text)
        if self.unsaved:
            self.unsaved = False
            self.trouble.worked()
        return True

    async def pause(self, ctx: Context[Any], pause: Pause, note: Note | None) -> bool:
        """Show an empty zone as `pause` says, or go on showing one otherwise; False when that cannot be saved."""
        now = ctx.now()
        shown, view = self.shown, self.view
        if view is None:
            return False
        if note is None:
            steering = self.steering.prolonging(pause)
        else:
            steering = attrs.evolve(self.steering, pause=pause).noting(note, view)
        try:
            trouble = await ctx.run_blocking(self.archive.remember, steering, view, now)
        except StoreError as exc:
            self.trouble.failed(exc)
            return False
        self._saved(trouble, pause.serial)
        self.steer(steering, now)
        if self.shown is not None and (shown is None or shown.serial != pause.serial):
            self.published_at = now
            await self._announce(self.shown)
            self._log.info("paused serial=%d hidden=%d", pause.serial, len(view.version))
        return True

    def steer(self, steering: Steering, now: int) -> None:
        """`steering` is in force, and durable: see to what is shown, and until when."""
        self.steering = steering
        pause, view = steering.pause, self.view
        if pause is None or view is None:
            self.shown = view
            self._ends = math.inf
            return
        shown = self.shown
        if shown is None or shown.serial != pause.serial or shown.settings != view.settings or len(shown.version):
            self.shown = empty_view(view, pause.serial)
        self._ends = trio.current_time() + max(0, pause.remaining(now)) / 1_000_000

    def is_over(self, now: int) -> bool:
        """Whether there is a pause whose time is over at `now`, by the wall or by what has passed since."""
        pause = self.steering.pause
        return pause is not None and (pause.until <= now or trio.current_time() >= self._ends)

    @property
    def wake_at(self) -> float:
        """When there is something to do that nobody will ask for, by Trio's clock."""
        if self.trouble.waiting or self.steering.pause is None:
            return self.trouble.retry_at
        return min(self.trouble.retry_at, self._ends, trio.current_time() + _LOOK_AGAIN)

    async def come_back(
        self, ctx: Context[Any], draft: Draft, *, resumed: bool = False, user: str = "", announced: bool = True
    ) -> Step | None:
        """End the pause: with what is desired, or, where a hold or the brake keeps that back, as it was before.

        `resumed` ends a hold as well. None, and the pause goes on, when the store fails.
        """
        view, pause, before = self.view, self.steering.pause, self.steering
        if view is None or pause is None:
            raise AssertionError("only a paused zone comes back")
        after = attrs.evolve(before, pause=None, hold=None if resumed else before.hold)
        # The brake holds what is desired against what was published before the pause: the pause is no change to it.
        verdict = judge(draft, published=self.records, brake=self.brake, held=after.held, accepted=self.accepted)
        if verdict is Verdict.PUBLISH:
            step = await self.commit(
                ctx,
                lambda now: next_step(draft, view, floor=None, now=now, pause=pause, user=user),
                steering=after,
                announced=announced,
            )
            if step is not None:
                draft.publish(step.view.version)
                self.accepted = False
        else:
            step = await self.commit(
                ctx, lambda now: return_step(view, pause, now=now, user=user), steering=after, announced=announced
            )
            if step is not None:
                draft.rebase(step.view.version)
        return step
