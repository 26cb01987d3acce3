"""Observation sources and who asks them: how one stands, and what its list holds, for another POP to begin with."""

import attrs

from actors import Request
from tapir.model.actions import ListKind
from tapir.model.blocks import ObservationBlock


@attrs.frozen(kw_only=True, eq=False)
class ObservationsExport:
    """What an observation source holds at `at`: each name once, with its tags, when it was observed and when it ends.

    `topics` are those that feed it. Nothing of it is secret: no key, no server to bootstrap from, no user.
    """

    name: str
    kind: ListKind
    topics: tuple[str, ...]
    observations: ObservationBlock
    at: int


@attrs.frozen(kw_only=True)
class GetObservationsExport(Request[ObservationsExport]):
    """All that you hold, with its times."""


@attrs.frozen(kw_only=True)
class BootstrapAgain(Request[str]):
    """The operator wants it: fetch once more what other POPs hold; the reply is a sentence."""


@attrs.frozen(kw_only=True)
class ObservationsStatus:
    """How one observation source stands; times are microseconds since the epoch, None for never."""

    source: str
    name: str
    kind: ListKind
    topics: tuple[str, ...]
    entries: int
    remembered: int
    """names that are off the list and still known, so that an older message does not bring them back"""
    octets: int
    """of memory"""
    next_expiry: int | None
    """when the first name may leave by itself"""
    held: bool
    """nothing expires, for the wall clock is in doubt"""
    bootstrap: str
    """`no`, `fetching`, `failed`, `done`"""
    latest_at: int | None
    """when the last message came"""
    waiting: int
    """messages that are here and not yet durable"""
    keys: int | None
    """in the keystore; None while it cannot be read"""
    trouble: str
    """why nothing is taken at the moment, in words; empty when it is"""
    counters: tuple[tuple[str, int], ...]
    """messages and entries since the start, by what became of them; refusals by reason"""


@attrs.frozen(kw_only=True)
class GetObservations(Request[ObservationsStatus]):
    """How does this observation source stand?"""
