"""One bounded pool of threads for blocking and heavy work; inline where the clock is virtual.

Under a MockClock a waiting thread looks like idleness, and the clock would jump over it; so there the work runs in
the caller's own task.
"""

import contextlib
import os
import threading
from collections.abc import Callable
from typing import TypeVar

import attrs
import trio

from actors.clock import is_virtual

T = TypeVar("T")


_thread = threading.local()


def stand_back(niceness: int) -> None:
    """Let the event loop have the processor first: whoever asks waits for that one thread, and nobody for this one.

    Linux counts niceness by thread. Elsewhere, and where it is not allowed, all threads stand alike.
    """
    with contextlib.suppress(OSError):
        own = threading.get_native_id()
        os.setpriority(os.PRIO_PROCESS, own, min(os.getpriority(os.PRIO_PROCESS, own) + niceness, 19))


@attrs.frozen(kw_only=True)
class WorkerStatistics:
    """How busy the pool is; `waiting` work has no thread yet."""

    capacity: int
    running: int
    waiting: int
    inline: bool


class WorkerPool:
    """Runs functions in at most `capacity` threads; more wait their turn. Made inside a Trio run."""

    def __init__(self, capacity: int, *, inline: bool | None, niceness: int = 0) -> None:
        self.inline = is_virtual() if inline is None else inline
        self._niceness = niceness
        self._limiter = trio.CapacityLimiter(capacity)

    async def run(self, fn: Callable[..., T], *args: object) -> T:
        """`fn(*args)`, off the event loop. What has begun is waited for, even when cancelled: it may be writing."""
        if self.inline:
            await trio.lowlevel.checkpoint()
            return fn(*args)
        return await trio.to_thread.run_sync(self._run, fn, args, limiter=self._limiter)

    def _run(self, fn: Callable[..., T], args: tuple[object, ...]) -> T:
        if self._niceness and not getattr(_thread, "stands_back", False):
            stand_back(self._niceness)
            _thread.stands_back = True
        return fn(*args)

    def statistics(self) -> WorkerStatistics:
        now = self._limiter.statistics()
        return WorkerStatistics(
            capacity=int(now.total_tokens), running=now.borrowed_tokens, waiting=now.tasks_waiting, inline=self.inline
        )
