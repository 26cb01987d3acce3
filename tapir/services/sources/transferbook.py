"""What is known of each primary of a feed, and in which order they are asked (no clock, no socket)."""

import logging
from collections.abc import Mapping, Sequence
from typing import Any

import attrs

from tapir.model.messages.feeds import FeedStatus, PrimaryStatus
from tapir.model.names import format_name
from tapir.services.sources.feedstate import FeedIdentity, HeldFeed
from tapir.services.sources.transferprimary import PrimarySettings
from tapir.zone.inbound import Transferred
from tapir.zone.schedule import Schedule


@attrs.frozen(kw_only=True)
class _Standing:
    failures: int = 0
    error: str = ""
    answered_at: int | None = None


class PrimaryBook:
    """The primaries as configured, with what each did last."""

    def __init__(self, primaries: Sequence[PrimarySettings]) -> None:
        self._primaries = tuple(primaries)
        self._standing = {primary.label: _Standing() for primary in self._primaries}

    def __len__(self) -> int:
        return len(self._primaries)

    def order(self, *preferred: str) -> tuple[PrimarySettings, ...]:
        """All of them: first those that `preferred` names, by host or by label, then as configured."""
        wanted = [each for name in preferred for each in self._primaries if name and name in (each.host, each.label)]
        return tuple(dict.fromkeys((*wanted, *self._primaries)))

    def answered(self, primary: PrimarySettings, *, now: int) -> bool:
        """It did what was asked; whether it had failed before."""
        before = self._standing[primary.label]
        self._standing[primary.label] = _Standing(answered_at=now)
        return bool(before.failures)

    def failed(self, primary: PrimarySettings, error: str) -> bool:
        """Nothing came of asking it; whether that is news."""
        before = self._standing[primary.label]
        after = attrs.evolve(before, failures=before.failures + 1, error=error)
        self._standing[primary.label] = after
        return not before.failures

    def error(self) -> str:
        """Why none of them could be had, as one sentence."""
        return "; ".join(dict.fromkeys(each.error for each in self._standing.values() if each.error))

    def status(self) -> tuple[PrimaryStatus, ...]:
        """For others to see."""
        return tuple(
            PrimaryStatus(
                address=primary.label,
                secured=primary.secured,
                failures=standing.failures,
                error=standing.error,
                answered_at=standing.answered_at,
            )
            for primary in self._primaries
            for standing in (self._standing[primary.label],)
        )


def feed_status(
    feed: FeedIdentity,
    held: HeldFeed | None,
    schedule: Schedule,
    book: PrimaryBook,
    counters: Mapping[str, int],
    *,
    checking: bool,
    checked_at: int | None,
    passed: Mapping[str, int],
) -> FeedStatus:
    """How a feed stands, for others to see; `passed` is counted of what POP does not evaluate."""
    counts = dict(counters) | dict(passed)
    if held is not None:
        counts["rules"] = len(held)
        counts |= {f"unevaluated.{kind}": count for kind, count in held.standing.unevaluated}
        counts |= {f"refused.{reason}": count for reason, count in held.standing.refused}
    if checking:
        state = "transferring"
    elif held is not None and held.standing.withdrawn:
        state = "expired"
    elif schedule.failures:
        state = "retrying"
    else:
        state = "waiting" if held is None else "current"
    return FeedStatus(
        source=feed.source,
        zone=format_name(feed.zone),
        serial=held.standing.serial if held is not None else None,
        state=state,
        checked_at=checked_at,
        next_check_at=None if checking else schedule.due,
        expires_at=schedule.expires,
        primaries=book.status(),
        counters=tuple(sorted(counts.items())),
    )


def log_taken(
    log: "logging.LoggerAdapter[Any]", feed: FeedIdentity, primary: PrimarySettings, result: Transferred, held: HeldFeed
) -> None:
    """Say that `result` was had from `primary`, and is `held` now."""
    whole = result.content is not None
    log.log(
        logging.INFO if whole else logging.DEBUG,
        "feed %s: serial %s from %s, %s, %d octets; %d rules now%s",
        feed.source,
        held.standing.serial,
        primary.label,
        "whole" if whole else "incremental",
        result.octets,
        len(held),
        _listed("; not evaluated: ", held.standing.unevaluated),
    )


def _listed(head: str, counts: tuple[tuple[str, int], ...]) -> str:
    return head + ", ".join(f"{count} {kind}" for kind, count in counts) if counts else ""
