"""Keeping a feed on disk, off the event loop, and saying once what is wrong with the disk."""

import functools
from pathlib import Path
from typing import Any

from actors import Context
from tapir.model.blocks import RecordDelta
from tapir.services.sources.feedkeeping import FeedArchive
from tapir.services.sources.feedstate import FeedIdentity, HeldFeed, restored
from tapir.store.errors import StoreError


class FeedSaving:
    """The store of one feed; methods are called one after the other, and never raise for what the disk does."""

    def __init__(self, path: Path, feed: FeedIdentity) -> None:
        self._archive = FeedArchive(path)
        self._feed = feed
        self._failing = False

    async def restore(self, ctx: Context[Any]) -> HeldFeed | None:
        """What is held since an earlier run."""
        source = self._feed.source
        try:
            opened = await ctx.run_blocking(self._archive.open, ctx.now())
        except StoreError as exc:
            ctx.log.warning("feed %s: what was saved cannot be read, and is transferred again: %s", source, exc)
            return None
        if opened.trouble:
            ctx.log.error("feed %s: what was saved is lost, and is transferred again: %s", source, opened.trouble)
        return restored(opened.stored, self._feed) if opened.stored is not None else None

    async def save(self, ctx: Context[Any], held: HeldFeed, *, delta: RecordDelta | None, base: int) -> None:
        """Make `held` durable, to which `delta` leads from serial `base`; None: from anywhere.

        Where the disk takes nothing that is said once, and the next change is saved with all that is missing.
        """
        saving = functools.partial(self._archive.save, delta=delta, base=base, now=ctx.now())
        try:
            trouble = await ctx.run_blocking(saving, held.standing, held.parts, held.passed)
        except StoreError as exc:
            if not self._failing:
                ctx.log.warning("feed %s is in effect, but not saved: %s", self._feed.source, exc)
            self._failing = True
            return
        if trouble:
            ctx.log.error("feed %s: what was saved is lost, and saved anew: %s", self._feed.source, trouble)
        elif self._failing:
            ctx.log.info("feed %s is saved again", self._feed.source)
        self._failing = False

    async def note(self, ctx: Context[Any], held: HeldFeed) -> None:
        """Make durable how `held` stands; its rules are as they were saved."""
        await self.save(ctx, held, delta=RecordDelta(), base=held.standing.serial)

    async def close(self, ctx: Context[Any]) -> None:
        """Give the file back."""
        await ctx.run_blocking(self._archive.close)
