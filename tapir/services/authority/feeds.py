"""NOTIFY in: who may say that the zone of a feed has changed, and telling the feed's source so, now and then at most.

A NOTIFY costs whoever sends it nothing, and comes from a forged address as well, so what a storm of them can cause is
bounded here: each source has one place for what it is still to be told, and is told every `PACE` seconds at most.
"""

from collections import Counter
from collections.abc import Callable, Iterable
from typing import Any, Final

import attrs
import trio

from actors import ActorRef, Delivery
from tapir.model.messages.feeds import FeedNotified
from tapir.model.names import Name
from tapir.services.authority.access import AccessList, AccessRule, Secured
from tapir.zone.query import Query, QueryKind
from tapir.zone.replies import Refusal
from tapir.zone.serial import compare

PACE: Final = 0.05
"""seconds between two NOTIFYs that one source is told of; the first is told at once"""


@attrs.frozen(kw_only=True)
class FeedAccess:
    """Of whose NOTIFY the source `source` is told, which transfers `zone`; `label` is its configuration key."""

    source: str
    zone: Name
    label: str
    rules: tuple[AccessRule, ...]
    """of kind NOTIFY"""


@attrs.frozen
class Judgement:
    """What a NOTIFY of a feed's zone leads to: the `sources` that are told, or the `refusal` and its `reason`."""

    sources: tuple[str, ...] = ()
    refusal: Refusal | None = None
    reason: str = ""


class FeedBook:
    """The feeds by zone; pure, but for the bounded memory of `AccessList`."""

    def __init__(self, feeds: Iterable[FeedAccess] = ()) -> None:
        self._zones: dict[Name, list[tuple[FeedAccess, AccessList]]] = {}
        for feed in feeds:
            self._zones.setdefault(feed.zone, []).append((feed, AccessList(feed.rules)))

    def covers(self, host: str, *, secured: Secured) -> bool:
        """Whether `host` may say anything of any zone, if it has the right key."""
        return any(access.covers(host, secured=secured) for feeds in self._zones.values() for _, access in feeds)

    def judge(self, query: Query, host: str, *, secured: Secured, key: Name | None) -> Judgement | None:
        """What the NOTIFY `query` leads to, signed by `key`; None where its zone is no feed's."""
        feeds = self._zones.get(query.name)
        if feeds is None or query.kind is not QueryKind.NOTIFY:
            return None
        granted = [(feed, access.grant(host, secured=secured, key=key)) for feed, access in feeds]
        told = tuple(feed.source for feed, grant in granted if grant.allows(QueryKind.NOTIFY))
        if told:
            return Judgement(sources=told)
        for _, grant in granted:
            if grant.reason:
                return Judgement(refusal=Refusal.NOTIFY_KEY, reason=grant.reason)
        reason = f"it is no primary of {feeds[0][0].label}, and not in its notify-from"
        return Judgement(refusal=Refusal.NOTIFY_FROM, reason=reason)


class Bell:
    """Tells sources of NOTIFYs: of several within `PACE` the one that says most.

    `counters` counts what is told, what was merged with what waited, and what a full mailbox did not take, which is
    told again.
    """

    def __init__(self, source: Callable[[str], ActorRef[Any]], counters: Counter[str]) -> None:
        self._source = source
        self._counters = counters
        self._waiting: dict[str, FeedNotified] = {}
        self._rung = trio.Event()

    def ring(self, source: str, said: FeedNotified) -> None:
        """Let `source` be told of `said`."""
        waiting = self._waiting.get(source)
        if waiting is not None:
            self._counters["notify_merged"] += 1
            said = _merged(waiting, said)
        self._waiting[source] = said
        self._rung.set()

    def forget_all_but(self, sources: frozenset[str]) -> None:
        """Nobody else is told any more."""
        self._waiting = {source: said for source, said in self._waiting.items() if source in sources}

    async def run(self) -> None:
        """Tell, for ever."""
        while True:
            await self._rung.wait()
            self._rung = trio.Event()
            waiting, self._waiting = self._waiting, {}
            for source, said in waiting.items():
                self._tell(source, said)
            await trio.sleep(PACE)

    def _tell(self, source: str, said: FeedNotified) -> None:
        delivery = self._source(source).tell_nowait(said)
        if delivery in {Delivery.DELIVERED, Delivery.COALESCED}:
            self._counters["notify_told"] += 1
            return
        self._counters["notify_untold"] += 1
        if delivery is not Delivery.DEAD:
            self._waiting.setdefault(source, said)
            self._rung.set()


def _merged(waiting: FeedNotified, said: FeedNotified) -> FeedNotified:
    """One that says what both say: who gives no serial wants to be asked, and of two serials the later one counts."""
    if waiting.serial is None:
        return waiting
    if said.serial is None:
        return said
    order = compare(waiting.serial, said.serial)
    return waiting if order is not None and order > 0 else said
