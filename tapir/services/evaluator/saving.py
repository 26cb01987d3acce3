"""Saving list state with patience: what the store does not take now is tried again, ever more rarely."""

from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any, Final

import attrs

from actors import Context
from tapir.policy.difference import ListDifference
from tapir.services.evaluator.archive import ListArchive
from tapir.services.evaluator.roster import SourceSettings, SourceState
from tapir.store.errors import StoreCorrupt, StoreError

RETRY_FIRST: Final = 1.0
RETRY_LAST: Final = 60.0


@attrs.frozen(kw_only=True)
class RetrySave:
    """Time to try whether the store works again."""


class Saving:
    """The list keeper's hand on the store, which is a worker's to touch.

    The methods return the states that they were given, with `saved` as it is now. A state that could not be saved is
    saved whole at the next retry, and not before: a RetrySave comes to the actor when that is due.
    """

    def __init__(self, path: Path) -> None:
        self._archive = ListArchive(path)
        self._retry_due = False
        self._delay = RETRY_FIRST
        self.error = ""
        """why the store does not take anything, empty when it does"""

    async def restore(self, ctx: Context[Any], sources: Iterable[SourceSettings]) -> tuple[SourceState, ...]:
        """What is stored of `sources`; a store that fails is reported and gone without."""
        restored = await ctx.run_blocking(self._archive.restore, sources, ctx.now())
        if restored.trouble:
            self._fail(ctx, "; ".join(restored.trouble))
        return restored.states

    async def save_content(
        self, ctx: Context[Any], states: Iterable[SourceState], source: str, changed: ListDifference | None
    ) -> tuple[SourceState, ...]:
        """Save what `source` holds; `changed` is the difference to what was in effect, None for all of it."""
        return await self._save(ctx, states, source, lambda state: self._archive.save_content(state, changed))

    async def save_pending(
        self, ctx: Context[Any], states: Iterable[SourceState], source: str
    ) -> tuple[SourceState, ...]:
        """Save what is held back for `source`, or that nothing is."""
        return await self._save(ctx, states, source, self._archive.save_pending)

    async def forget(
        self, ctx: Context[Any], states: Iterable[SourceState], gone: Iterable[SourceSettings]
    ) -> tuple[SourceState, ...]:
        """Nothing is stored of `gone` any more; what stays behind by a failure is forgotten at the next start."""
        return await self._attempt(ctx, tuple(states), "", self._archive.forget, gone)

    async def retry(self, ctx: Context[Any], states: Iterable[SourceState]) -> tuple[SourceState, ...]:
        """Save everything that is not saved; to be called when RetrySave arrives."""
        self._retry_due = False
        before = tuple(states)
        unsaved = [state for state in before if not state.saved]
        try:
            put_aside = await ctx.run_blocking(self._archive.save_all, unsaved, ctx.now())
        except StoreError as exc:
            self._fail(ctx, str(exc))
            return before
        if put_aside:
            ctx.log.error("stored lists: %s", put_aside)
        ctx.log.info("stored lists: the store works again, everything is saved")
        self.error = ""
        self._delay = RETRY_FIRST
        return tuple(attrs.evolve(state, saved=True) for state in before)

    async def sweep(self, ctx: Context[Any], states: Iterable[SourceState]) -> None:
        """Remove the copies of lists that nothing refers to any more, unless the store may still refer to them."""
        before = tuple(states)
        if all(state.saved for state in before):
            try:
                await ctx.run_blocking(self._archive.sweep, before, ctx.now())
            except StoreError as exc:
                ctx.log.warning("copies of lists: %s", exc)

    async def lost(self, ctx: Context[Any], states: Iterable[SourceState]) -> tuple[str, ...]:
        """The sources that are looked up in a copy that is not there."""
        before = tuple(states)
        return await ctx.run_blocking(self._archive.lost, before)

    async def close(self, ctx: Context[Any]) -> None:
        """Give the store back."""
        await ctx.run_blocking(self._archive.close)

    async def _save(
        self,
        ctx: Context[Any],
        states: Iterable[SourceState],
        source: str,
        write: Callable[[SourceState], None],
    ) -> tuple[SourceState, ...]:
        before = tuple(states)
        state = next(state for state in before if state.settings.id == source)
        if not state.saved:
            return before
        return await self._attempt(ctx, before, source, write, state)

    async def _attempt(
        self,
        ctx: Context[Any],
        states: tuple[SourceState, ...],
        source: str,
        write: Callable[..., None],
        *args: object,
    ) -> tuple[SourceState, ...]:
        try:
            await ctx.run_blocking(write, *args)
        except StoreCorrupt as exc:
            self._fail(ctx, str(exc))
            return tuple(attrs.evolve(state, saved=state.content is None) for state in states)
        except StoreError as exc:
            self._fail(ctx, str(exc))
            return tuple(attrs.evolve(state, saved=False) if state.settings.id == source else state for state in states)
        return states

    def _fail(self, ctx: Context[Any], reason: str) -> None:
        if reason != self.error:
            ctx.log.error("stored lists: %s; what the sources say is in effect all the same", reason)
        self.error = reason
        if not self._retry_due:
            self._retry_due = True
            ctx.send_after(self._delay, RetrySave())
            self._delay = min(2 * self._delay, RETRY_LAST)
