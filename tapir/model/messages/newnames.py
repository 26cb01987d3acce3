"""Whoever finds new names, and whoever wants to know, speaks to the actor that sends their events."""

import attrs

from actors import Request


@attrs.frozen(kw_only=True)
class EventsQueued:
    """There are events in the outbox that were not there before."""


@attrs.frozen(kw_only=True)
class NewNamesStatus:
    """How sending does, and what is stored; times are microseconds since the epoch."""

    topic: str
    """empty as long as nothing was sent"""
    sent: int
    """events that the broker has acknowledged, since the start"""
    waiting: int
    """events in the outbox"""
    oldest_at: int | None
    """when the first of them came"""
    dropped: int
    """events that made room for others, unsent"""
    names: int
    """names that were seen"""
    forgotten: int
    """names that were given up for their age, or made room"""
    trouble: str
    """why nothing is sent now; empty when it works"""


@attrs.frozen(kw_only=True)
class GetNewNames(Request[NewNamesStatus]):
    """How does that do?"""
