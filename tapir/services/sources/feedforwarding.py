"""Telling the policy evaluator what of a feed is to be passed through, and keeping what became of it."""

from collections.abc import Mapping
from typing import Any

from actors import ActorRef, AskError, Context, Delivery
from tapir.model.messages.feeds import PassedJudged, PassedRecords, PassedUnchanged
from tapir.model.messages.lists import GetSources
from tapir.services.sources.feedpassing import Offer, offer_of
from tapir.services.sources.feedstate import FeedIdentity, HeldFeed


class FeedForwarder:
    """Speaks for one feed to `policy`; says nothing where nothing of the feed is passed through.

    Methods are called one after the other, and wait for room there.
    """

    def __init__(self, feed: FeedIdentity, *, lists: ActorRef[Any], policy: ActorRef[Any] | None) -> None:
        self._feed = feed
        self._lists = lists
        self._policy = policy if feed.forward else None
        self._offered: tuple[bytes, ...] | None = None
        """what `_offer` was made of"""
        self._offer = Offer()
        self._judged: PassedJudged | None = None
        self._surplus = 0
        self._told = ""
        """the digest of what arrived there, empty for nothing"""

    @property
    def active(self) -> bool:
        """Whether anything is passed through at all."""
        return self._policy is not None

    async def tell(self, ctx: Context[Any], held: HeldFeed | None, *, anew: bool = False) -> None:
        """Say what is to be passed through of what is `held`, all of it if it changed or is wanted `anew`."""
        if self._policy is None:
            return
        source = self._feed.source
        await self._make_offer(ctx, held)
        offer = self._offer
        if offer.digest == self._told and not anew:
            await self._policy.tell(PassedUnchanged(source=source, digest=offer.digest))
            return
        # An answer tells that the list keeper has handed on what it was told before: what that lets through is known.
        if offer.records:
            try:
                await self._lists.ask(GetSources())
            except AskError as exc:
                # Told now, local data could reach a name that the feed lets through: the next report says it.
                ctx.log.debug("feed %s: what is passed through is told later: %s", source, exc)
                self._told = ""
                return
        records = PassedRecords(source=source, digest=offer.digest, records=offer.records)
        if await self._policy.tell(records) in (Delivery.DELIVERED, Delivery.COALESCED):
            self._told = offer.digest

    async def _make_offer(self, ctx: Context[Any], held: HeldFeed | None) -> None:
        offered = () if held is None or held.standing.withdrawn else held.passed
        surplus = 0 if held is None or held.standing.withdrawn else held.standing.surplus
        if surplus and not self._surplus:
            ctx.log.warning(
                "feed %s has %d records more than can be kept of what is passed through", self._feed.source, surplus
            )
        self._surplus = surplus
        if offered is self._offered:
            return
        before = self._offer
        self._offer = await ctx.run_blocking(lambda: offer_of(offered, self._feed.rules)) if offered else Offer()
        self._offered = offered
        if self._offer.refused and self._offer.refused != before.refused:
            said = ", ".join(f"{count} {reason}" for reason, count in sorted(self._offer.refused.items()))
            ctx.log.info("feed %s: not passed through: %s", self._feed.source, said)

    def judged(self, message: PassedJudged) -> None:
        """The policy evaluator says what became of what it was told."""
        self._judged = message

    def counts(self) -> Mapping[str, int]:
        """What passes, under `passed`, and what does not, by reason."""
        if self._policy is None:
            return {}
        counts = {f"passed.refused.{reason}": count for reason, count in self._offer.refused.items()}
        judged = self._judged
        if judged is not None and judged.digest == self._offer.digest:
            counts["passed"] = judged.passed
            for reason, count in judged.refused:
                counts[f"passed.refused.{reason}"] = counts.get(f"passed.refused.{reason}", 0) + count
        if self._surplus:
            counts["passed.refused.surplus"] = counts.get("passed.refused.surplus", 0) + self._surplus
        return counts
