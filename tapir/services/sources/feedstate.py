"""What is held of a feed, and what becomes of it with each transfer. Blocking where it says so: for a worker."""

import hashlib
from collections.abc import Mapping

import attrs

from tapir.codec.passed import between as between_passed
from tapir.model.actions import ListKind
from tapir.model.blocks import NOTHING_PASSED, PassedDelta, RecordBlock, RecordDelta
from tapir.model.names import Name, format_name
from tapir.policy.feeds import FeedRules
from tapir.services.sources.feedcontent import (
    FeedLists,
    ListStep,
    MisfitError,
    advance,
    between,
    canonical,
    lists_of,
    source_ids,
)
from tapir.services.sources.feedpassing import has_room, held_after, held_whole
from tapir.services.sources.suffixes import load_suffix_test
from tapir.store.feeds import FeedStanding, StoredFeed
from tapir.zone.inbound import Transferred
from tapir.zone.schedule import Timers

Counts = tuple[tuple[str, int], ...]


@attrs.frozen(kw_only=True)
class FeedIdentity:
    """Which feed it is, and what decides on which list a rule of it ends: its kind, and what lists of `output` hold."""

    source: str
    zone: Name
    kind: ListKind
    output: Name
    broad: bool = False
    forward: bool = False
    """whether what POP does not evaluate is passed through"""

    @property
    def rules(self) -> FeedRules:
        """The same for the policy. Blocks when it is the first that anybody asks for."""
        suffixes = load_suffix_test()
        return FeedRules(kind=self.kind, zone=self.output, is_public_suffix=suffixes, broad=self.broad)

    @property
    def passing(self) -> str:
        """The source whose names are let through."""
        return source_ids(self.source, self.kind)[0]

    @property
    def suspect(self) -> str:
        """The source whose names are suspect."""
        return source_ids(self.source, self.kind)[1]

    @property
    def reading(self) -> str:
        """Changes with anything that makes other lists of the same feed."""
        said = f"{self.zone!r} {self.kind.value} {self.output!r} {self.broad}"
        return hashlib.sha256(said.encode()).hexdigest()[:8]


@attrs.frozen(kw_only=True, eq=False)
class HeldFeed:
    """The rules, in canonical order from block to block, and how the feed stands."""

    standing: FeedStanding
    parts: tuple[RecordBlock, ...]
    passed: tuple[bytes, ...] = ()
    """what POP does not evaluate, if that is passed through; whether or not it may be"""

    @property
    def lacking(self) -> bool:
        """Whether some of that is not held and could be: the feed is to be had whole."""
        return not self.standing.kept or (bool(self.standing.surplus) and has_room(self.passed))

    @property
    def timers(self) -> Timers:
        """As the feed's SOA has them."""
        refresh, retry, expire, minimum = self.standing.timers
        return Timers(refresh=refresh, retry=retry, expire=expire, minimum=minimum)

    @property
    def digests(self) -> Mapping[str, str]:
        """What names the content of each list."""
        return dict(self.standing.digests)

    def __len__(self) -> int:
        return sum(len(part) for part in self.parts)


@attrs.frozen(kw_only=True, eq=False)
class TakenFeed:
    """A feed after a transfer, and how it differs from what was held."""

    held: HeldFeed
    delta: RecordDelta | None
    """None where nothing was held, or another content under the same serial"""
    steps: Mapping[str, ListStep]
    """what becomes of each list that has another digest now; of use only where there was one before"""


def restored(stored: StoredFeed, feed: FeedIdentity) -> HeldFeed | None:
    """What is stored, if it is of this feed; where lists are made of it in another way, with other digests."""
    standing = stored.standing
    if standing.zone != format_name(feed.zone):
        return None
    if not all(digest.endswith(f"/{feed.reading}") for _, digest in standing.digests):
        digests = {key: _digest(feed, standing.epoch, standing.serial) for key in (feed.passing, feed.suspect)}
        standing = attrs.evolve(standing, digests=tuple(digests.items()))
    kept = standing.kept and feed.forward
    standing = attrs.evolve(standing, kept=kept, surplus=standing.surplus if kept else 0)
    return HeldFeed(standing=standing, parts=stored.parts, passed=stored.passed if kept else ())


def confirmed(held: HeldFeed, *, primary: str, now: int) -> HeldFeed:
    """What is held, after `primary` said that it is current."""
    return attrs.evolve(held, standing=attrs.evolve(held.standing, refreshed_at=now, primary=primary, withdrawn=False))


def taken(
    held: HeldFeed | None, result: Transferred, feed: FeedIdentity, *, primary: str, epoch: str, now: int
) -> TakenFeed:
    """The feed after `result`, which is no `is_current`. Raises MisfitError when a difference does not fit. Blocks.

    `epoch` is the one to begin if this is a whole transfer.
    """
    if held is None:
        parts = canonical(result.content or ())
        lists = lists_of(parts, feed.source, feed.rules)
        digests = dict.fromkeys(lists.lists, _digest(feed, epoch, result.serial))
        standing = _standing(feed, result, epoch=epoch, primary=primary, now=now)
        standing = attrs.evolve(
            standing,
            digests=tuple(digests.items()),
            refused=_counted((), lists.refused),
            unevaluated=_others((), result),
        )
        passed, _, complete = _passed(None, result, feed)
        return TakenFeed(held=_held(standing, parts, passed, feed, complete=complete), delta=None, steps={})
    before = held.standing
    whole = None if result.content is None else canonical(result.content)
    delta = result.delta if whole is None else between(held.parts, whole)
    if delta is None:
        raise AssertionError("a transfer that changed something brought nothing")
    advanced = advance(held.parts, delta, feed.source, feed.rules, after=whole)
    passed, change, complete = _passed(held, result, feed)
    epoch = before.epoch if whole is None else epoch
    refused = _counted(before.refused, advanced.refused)
    changed = set(advanced.steps)
    if refused != before.refused:
        changed.add(feed.source)  # that is to be said, too
    digests = {**held.digests, **dict.fromkeys(changed, _digest(feed, epoch, result.serial))}
    standing = attrs.evolve(
        _standing(feed, result, epoch=epoch, primary=primary, now=now),
        digests=tuple(digests.items()),
        refused=refused,
        unevaluated=_others(() if whole is not None else before.unevaluated, result),
    )
    # What is not held is not stored either, or stored and out of date.
    linked = result.serial != before.serial and (before.kept or not feed.forward)
    return TakenFeed(
        held=_held(standing, advanced.parts, passed, feed, complete=complete),
        delta=RecordDelta(removed=delta.removed, added=delta.added, passed=change) if linked else None,
        steps={key: advanced.steps.get(key, ListStep()) for key in changed},
    )


def _passed(
    held: HeldFeed | None, result: Transferred, feed: FeedIdentity
) -> tuple[tuple[bytes, ...], PassedDelta, bool]:
    """What is held then of what POP does not evaluate, how that differs, and whether it is all. Raises MisfitError."""
    if not feed.forward:
        return (), NOTHING_PASSED, True
    before = () if held is None else held.passed
    if held is None or result.content is not None:
        after, complete = held_whole(result.opaque)
        change = between_passed(before, after)
        return (after if len(change) else before), change, complete and not result.left_out
    if not held.standing.kept:
        return (), NOTHING_PASSED, False
    try:
        after, change, complete = held_after(before, result.opaque, complete=not held.standing.surplus)
    except ValueError as exc:
        raise MisfitError(str(exc)) from exc
    return after, change, complete and not result.left_out


def _held(
    standing: FeedStanding,
    parts: tuple[RecordBlock, ...],
    passed: tuple[bytes, ...],
    feed: FeedIdentity,
    *,
    complete: bool,
) -> HeldFeed:
    """The feed as it stands, with how much of what POP does not evaluate was too much."""
    surplus = 0 if complete else max(1, sum(count for _, count in standing.unevaluated) - len(passed))
    return HeldFeed(standing=attrs.evolve(standing, kept=feed.forward, surplus=surplus), parts=parts, passed=passed)


def content_of(held: HeldFeed, feed: FeedIdentity) -> FeedLists:
    """All that the lists of the feed hold. Blocks."""
    return lists_of(held.parts, feed.source, feed.rules)


def _digest(feed: FeedIdentity, epoch: str, serial: int) -> str:
    return f"{epoch}:{serial}/{feed.reading}"


def _standing(feed: FeedIdentity, result: Transferred, *, epoch: str, primary: str, now: int) -> FeedStanding:
    timers = result.timers
    return FeedStanding(
        zone=format_name(feed.zone),
        serial=result.serial,
        timers=(timers.refresh, timers.retry, timers.expire, timers.minimum),
        refreshed_at=now,
        changed_at=now,
        primary=primary,
        epoch=epoch,
        digests=(),
    )


def _others(before: Counts, result: Transferred) -> Counts:
    return _counted(before, {kind.label: count for kind, count in result.unevaluated.items()})


def _counted(before: Counts, gained: Mapping[str, int]) -> Counts:
    counts = dict(before)
    for key, count in gained.items():
        counts[key] = counts.get(key, 0) + count
    return tuple(sorted((key, count) for key, count in counts.items() if count > 0))
