"""What a POP tells Core of itself, part by part; the management API shows the same."""

import enum

import attrs

from actors import Request
from tapir.model.messages.events import ExceptionalEvent


class ComponentState(enum.IntEnum):
    """How a part does; the number stands in the document (pop.md §8.2)."""

    FAIL = 0
    WARN = 1
    OK = 2


@attrs.frozen(kw_only=True)
class ComponentStatus:
    """How one part does, and when it did otherwise; times are microseconds since the epoch, None for never.

    `failures` and `warnings` count how often it began to fail or to want a hand since it was well.
    """

    state: ComponentState
    message: str
    error: str = ""
    warning: str = ""
    failures: int = 0
    warnings: int = 0
    failed_at: int | None = None
    warned_at: int | None = None
    succeeded_at: int | None = None


@attrs.frozen(kw_only=True)
class FunctionStatus:
    """All parts, by name, sorted; `id` says which POP it is. `counters` count since the process began."""

    function: str
    id: str
    components: tuple[tuple[str, ComponentStatus], ...]
    failures: int = 0
    failed_at: int | None = None
    version: str = ""
    at: int | None = None
    counters: tuple[tuple[str, int], ...] = ()
    events: tuple[ExceptionalEvent, ...] = ()


@attrs.frozen(kw_only=True)
class GetFunctionStatus(Request[FunctionStatus]):
    """How do all parts do now? With the last events, and those that last."""


@attrs.frozen(kw_only=True)
class SetComponent(Request[str]):
    """Somebody tries whether a word of the component `name` arrives: it holds until the next regular look."""

    name: str
    state: ComponentState


@attrs.frozen(kw_only=True)
class TelemetryStatus:
    """Whether and where that is published; times as everywhere."""

    topic: str
    """empty where it is not published"""
    published: int
    published_at: int | None
    pending_events: int
    """events that the broker has not acknowledged as they are now"""
    trouble: str


@attrs.frozen(kw_only=True)
class GetTelemetry(Request[TelemetryStatus]):
    """How does publishing do?"""
