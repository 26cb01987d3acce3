"""Frozen snapshots of the runtime's own state; taking one never touches a message and waits for nobody."""

import enum
from collections.abc import Iterator, Mapping

import attrs

from actors.workers import WorkerStatistics

_BUCKETS = 40  # powers of two of a microsecond, up to about six days


class Status(enum.Enum):
    """Where an actor or supervisor is in its life."""

    WAITING = "waiting"
    """not started yet"""
    STARTING = "starting"
    RUNNING = "running"
    STUCK = "stuck"
    """running, but one message has been in hand for too long"""
    DRAINING = "draining"
    """it takes no more messages and handles those it has"""
    STOPPING = "stopping"
    STOPPED = "stopped"
    RESTARTING = "restarting"
    """it ended and is started again after the back-off"""
    FAILED = "failed"
    """given up"""


@attrs.frozen(kw_only=True)
class LatencyStatistics:
    """Quantiles in seconds, each rounded up to a power of two of a microsecond, and the exact maximum."""

    count: int
    p50: float
    p90: float
    p99: float
    maximum: float


class LatencyHistogram:
    """Durations in fixed buckets: bounded memory, no allocation per value."""

    def __init__(self) -> None:
        self._buckets = [0] * _BUCKETS
        self._count = 0
        self._maximum = 0.0

    def add(self, seconds: float) -> None:
        self._buckets[min(int(seconds * 1_000_000).bit_length(), _BUCKETS - 1)] += 1
        self._count += 1
        self._maximum = max(self._maximum, seconds)

    def statistics(self) -> LatencyStatistics:
        return LatencyStatistics(
            count=self._count,
            p50=self._quantile(0.5),
            p90=self._quantile(0.9),
            p99=self._quantile(0.99),
            maximum=self._maximum,
        )

    def _quantile(self, part: float) -> float:
        seen = 0
        for exponent, count in enumerate(self._buckets):
            seen += count
            if count and seen >= part * self._count:
                return min((1 << exponent) / 1_000_000, self._maximum)
        return 0.0


@attrs.frozen(kw_only=True)
class MailboxStatistics:
    """A mailbox; `drops` counts what was lost by reason, `waiting` the senders that wait for a slot."""

    depth: int
    high_water: int
    capacity: int
    overflow: str
    waiting: int
    drops: Mapping[str, int]


@attrs.frozen(kw_only=True)
class NodeStatistics:
    """One place in the tree: an actor (`mailbox` is set) or a supervisor (`strategy` is; `children` in start order)."""

    path: str
    name: str
    status: Status
    restarts: int
    last_error: str | None
    last_error_at: int | None
    uptime: float
    """seconds since it became ready; 0 when it is not"""
    mailbox: MailboxStatistics | None = None
    processed: int = 0
    latency: LatencyStatistics | None = None
    current: str | None = None
    """class of the message in hand"""
    current_seconds: float = 0.0
    suspended: tuple[str, ...] = ()
    """streams that crashed the actor twice"""
    strategy: str | None = None
    children: "tuple[NodeStatistics, ...]" = ()

    def walk(self) -> "Iterator[NodeStatistics]":
        """This node and all below, in start order."""
        yield self
        for child in self.children:
            yield from child.walk()


@attrs.frozen(kw_only=True)
class SystemStatistics:
    """The whole tree at wall time `at`; `lag` is how late the event loop woke its sampler."""

    at: int
    root: NodeStatistics
    dead_letters: int
    workers: WorkerStatistics | None
    lag: LatencyStatistics

    def find(self, path: str) -> NodeStatistics:
        """The node at `path`. Raises KeyError."""
        for node in self.root.walk():
            if node.path == path:
                return node
        raise KeyError(path)
