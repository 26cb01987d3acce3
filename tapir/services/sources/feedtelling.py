"""Telling the list keeper what the lists of a feed hold, so that no state it passes through blocks too much.

What a feed lets through takes names out of what it, or another list, blocks below a wildcard. So what is to be let
through from now on is said first, and what is not any more last:

    1  the passing list gains     2  the suspect list changes     3  the passing list loses
"""

import contextlib
from collections.abc import Mapping
from typing import Any

import attrs

from actors import ActorRef, AskError, Delivery
from tapir.model.blocks import EMPTY_NAMES, ListBlock
from tapir.model.messages.lists import GetSources, Refusal, SourceChanged, SourceFailed, SourceLoaded, SourceUnchanged
from tapir.services.sources.feedcontent import FeedLists, ListStep
from tapir.services.sources.feedstate import FeedIdentity, HeldFeed

_NOTHING = ListBlock(names=EMPTY_NAMES)


@attrs.frozen(kw_only=True)
class FeedTeller:
    """Speaks for one feed to the list keeper; each method says whether all of it arrived. Waits for room there."""

    feed: FeedIdentity
    lists: ActorRef[Any]

    async def all_of(self, held: HeldFeed, content: FeedLists, *, now: int) -> bool:
        """The lists hold exactly `content`, whatever was said before."""
        refusals = content.refusals
        arrived = True
        for source in (self.feed.passing, self.feed.suspect):
            message = SourceLoaded(
                source=source,
                content=ListBlock(names=content.lists[source]),
                digest=held.digests[source],
                refusals=refusals if source == self.feed.source else (),
                loaded_at=now,
            )
            arrived = await self._tell(message) and arrived
        return arrived

    async def steps(self, before: HeldFeed, after: HeldFeed, steps: Mapping[str, ListStep], *, now: int) -> bool:
        """The lists changed so, from what they were when `before` was held."""
        feed = self.feed
        passing, suspect = steps.get(feed.passing), steps.get(feed.suspect)
        held, digest = before.digests[feed.passing], after.digests[feed.passing]
        arrived = True
        last: SourceChanged | None = None
        if passing is not None:
            between = held
            if suspect is not None and len(passing.removed):
                if len(passing.added):
                    between = f"{digest}+"
                    gains = attrs.evolve(passing, removed=EMPTY_NAMES)
                    arrived = await self._tell(self._change(feed.passing, held, between, gains, after, now))
                losses = attrs.evolve(passing, added=EMPTY_NAMES)
                last = self._change(feed.passing, between, digest, losses, after, now)
            else:
                arrived = await self._tell(self._change(feed.passing, held, digest, passing, after, now))
        if suspect is not None:
            base = before.digests[feed.suspect]
            change = self._change(feed.suspect, base, after.digests[feed.suspect], suspect, after, now)
            arrived = await self._tell(change) and arrived
        if last is not None:
            arrived = await self._tell(last) and arrived
        return arrived

    async def unchanged(self, held: HeldFeed, *, now: int) -> bool:
        """The lists hold what these digests name."""
        arrived = True
        for source, digest in held.standing.digests:
            arrived = await self._tell(SourceUnchanged(source=source, at=now, digest=digest)) and arrived
        return arrived

    async def withdrawn(self, held: HeldFeed, *, now: int) -> bool:
        """The lists hold nothing any more, since nobody vouches for it. What is let through is taken back last."""
        arrived = True
        for source in (self.feed.suspect, self.feed.passing):
            digest = f"withdrawn:{held.digests[source]}"
            message = SourceLoaded(
                source=source, content=_NOTHING, digest=digest, refusals=(), loaded_at=now, withdrawn=True
            )
            arrived = await self._tell(message) and arrived
        return arrived

    async def failed(self, reason: str, *, now: int) -> bool:
        """The feed cannot be had; what is held stays in effect."""
        return await self._tell(SourceFailed(source=self.feed.source, reason=reason, at=now))

    async def heard(self, patience: float) -> None:
        """Wait until the list keeper has taken what was told, `patience` seconds at most."""
        with contextlib.suppress(AskError):
            await self.lists.ask(GetSources(), timeout=patience)

    def _change(self, source: str, base: str, digest: str, step: ListStep, after: HeldFeed, now: int) -> SourceChanged:
        refused = after.standing.refused if source == self.feed.source else ()
        return SourceChanged(
            source=source,
            base=base,
            digest=digest,
            removed=step.removed,
            upserted=ListBlock(names=step.added),
            refusals=tuple(Refusal(reason=reason, count=count, lines=()) for reason, count in refused),
            loaded_at=now,
        )

    async def _tell(self, message: object) -> bool:
        return await self.lists.tell(message) in (Delivery.DELIVERED, Delivery.COALESCED)
