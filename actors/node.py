"""What supervisors and actors have in common: a place in the tree that runs, ends, and may run again."""

import collections
import enum
from typing import TYPE_CHECKING

import attrs
import trio

from actors.errors import error_text
from actors.runtime import Runtime
from actors.spec import Backoff, Intensity, Restart, StopReason
from actors.statistics import NodeStatistics, Status

if TYPE_CHECKING:
    from collections.abc import Iterator


class How(enum.Enum):
    """How an incarnation ended."""

    STOPPED = "stopped"
    """as it was told"""
    DONE = "done"
    """by its own wish"""
    CRASHED = "crashed"


@attrs.frozen(kw_only=True)
class Ending:
    """The end of an incarnation; `counted` against the intensities unless its stream explains it."""

    how: How
    error: Exception | None = None
    counted: bool = True


class Node:
    """A place in the tree. Its supervisor runs it, one incarnation at a time."""

    def __init__(
        self, *, name: str, path: str, runtime: Runtime, restart: Restart, backoff: Backoff, intensity: Intensity | None
    ) -> None:
        self.name = name
        self.path = path
        self.runtime = runtime
        self.restart = restart
        self.backoff = backoff
        self.intensity = intensity
        self.status = Status.WAITING
        self.restarts = 0
        self.last_error: str | None = None
        self.last_error_at: int | None = None
        # The supervisor's view
        self.up = False  # its task runs
        self.ready = False
        self.proven = False  # it was ready since its supervisor began
        self.start_failed = False  # the latest incarnation crashed before it was ready
        self.wanted = True  # its supervisor means it to run
        self.dynamic = False
        self.trial = False  # started on request, and not ready yet: its failure is the requester's news
        self.revival: trio.CancelScope | None = None
        self.settled = trio.Event()  # ready, or ended
        self.ended = trio.Event()
        self.crashes: collections.deque[float] = collections.deque(maxlen=64)  # for the back-off
        self.failures: collections.deque[float] = collections.deque()  # for the child's own intensity
        self._ready_at = 0.0

    def __repr__(self) -> str:
        return f"<{type(self).__name__} {self.path or '(root)'} {self.status.value}>"

    async def run(self) -> Ending:
        """Run one incarnation to its end. Raises nothing but Cancelled."""
        raise NotImplementedError

    def begin_stop(self, reason: StopReason, *, drain: bool) -> None:
        """Tell the running incarnation to end, in order; without `drain` its mailbox goes to the dead letters."""
        raise NotImplementedError

    def purge(self, why: str) -> None:
        """Move what lies in the mailboxes of this place to the dead letters."""
        raise NotImplementedError

    def close(self, why: str) -> None:
        """Nothing runs here any more: take no messages, and purge."""
        raise NotImplementedError

    def reopen(self) -> None:
        """A new incarnation is on its way: take messages for it."""
        raise NotImplementedError

    def hasten(self) -> None:
        """The system's stop has a deadline from now on, which also bounds what is stopping already."""

    def remove(self) -> None:
        """Leave the tree."""
        raise NotImplementedError

    def statistics(self) -> NodeStatistics:
        raise NotImplementedError

    def walk(self) -> "Iterator[Node]":
        """This node and all below, in start order."""
        yield self

    # For the supervisor

    def prepare(self) -> None:
        """A new incarnation is about to run."""
        self.up = True
        self.ready = False
        self.start_failed = False
        self.settled = trio.Event()
        self.ended = trio.Event()

    def mark_ready(self) -> None:
        self.ready = True
        self.proven = True
        self.trial = False
        self.status = Status.RUNNING
        self._ready_at = trio.current_time()
        self.settled.set()

    def mark_ended(self, ending: Ending) -> None:
        # A child that was ready, and crashed before its supervisor had a look, has not failed to start.
        self.start_failed = ending.how is How.CRASHED and not self.settled.is_set()
        self.up = False
        self.ready = False
        self.settled.set()
        self.ended.set()

    def note_error(self, error: Exception) -> str:
        self.last_error = error_text(error)
        self.last_error_at = self.runtime.clock.now()
        return self.last_error

    def uptime(self) -> float:
        return trio.current_time() - self._ready_at if self.ready else 0.0
