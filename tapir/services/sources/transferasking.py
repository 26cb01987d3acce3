"""Asking one primary after another what is new of a feed, and counting what comes of it."""

from collections import Counter
from typing import Any

import attrs

from actors import Context
from tapir.model.errors import TapirError
from tapir.services.sources.feedstate import FeedIdentity
from tapir.services.sources.transferprimary import Primaries, PrimarySettings, TransferRequest, reason_of
from tapir.zone.faults import Fault, TransferError, TransferLimits
from tapir.zone.inbound import Transferred
from tapir.zone.serial import is_newer


@attrs.frozen(kw_only=True)
class Wish:
    """What a check is to bring: with `whole` everything, whatever its serial; `hint` is a serial that there may be.

    With `again` everything, too, but nothing older than what is held.
    """

    whole: bool = False
    again: bool = False
    hint: int | None = None


@attrs.frozen(kw_only=True)
class FeedAsker:
    """Asks for one feed; the words of `counters` are those of FeedStatus."""

    feed: FeedIdentity
    limits: TransferLimits
    primaries: Primaries
    counters: Counter[str]

    async def ask(
        self, primary: PrimarySettings, wish: Wish, *, held: int | None, ctx: Context[Any]
    ) -> Transferred | None:
        """What is new at `primary` since the serial `held`; None for nothing. Raises TapirError.

        A hint that is news saves the question for the serial: the answer to IXFR says it, too.
        """
        if held is None or wish.whole:
            return await self.whole(primary, held=None, ctx=ctx)
        if wish.again:
            return await self.whole(primary, held=held, ctx=ctx)
        if wish.hint is None or not is_newer(wish.hint, held):
            serial = await self.primaries.serial(primary, self.feed.zone, clock=ctx.now)
            if serial == held:
                return None
            if not is_newer(serial, held):
                detail = f"{primary.label} has serial {serial}, and {held} is held"
                raise TransferError(zone=self.feed.zone, fault=Fault.ROLLBACK, detail=detail)
        request = TransferRequest(zone=self.feed.zone, held=held, limits=self.limits, keep=self.feed.forward)
        return await self._transfer(primary, request, ctx)

    async def whole(self, primary: PrimarySettings, *, held: int | None, ctx: Context[Any]) -> Transferred:
        """All that `primary` has, unless that is older than `held`. Raises TapirError."""
        request = TransferRequest(
            zone=self.feed.zone, held=held, whole=True, limits=self.limits, keep=self.feed.forward
        )
        return await self._transfer(primary, request, ctx)

    def failed(self, exc: TapirError) -> str:
        """Count a failure; returns what to tell the operator."""
        self.counters[f"failures.{reason_of(exc)}"] += 1
        if isinstance(exc, TransferError) and exc.fault is Fault.ROLLBACK:
            return f"{exc}; to take it all the same: tapir refresh {self.feed.source} --whole"
        return str(exc)

    async def _transfer(self, primary: PrimarySettings, request: TransferRequest, ctx: Context[Any]) -> Transferred:
        result = await self.primaries.transfer(primary, request, clock=ctx.now, in_thread=ctx.run_blocking)
        self.counters["octets"] += result.octets
        for kind, count in result.counts.items():
            self.counters[f"records.{kind.label}"] += count
        return result
