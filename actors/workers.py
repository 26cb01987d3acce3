"""One bounded pool of threads for blocking and heavy work; inline where the clock is virtual.

Under a MockClock a waiting thread looks like idleness, and the clock would jump over it; so there the work runs in
the caller's own task.
"""

import contextlib
import os
import sys
import threading
from collections.abc import Callable, Collection
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
    if sys.platform != "linux":
        return  # there the number of a thread may be that of another process
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
    """Runs functions in at most `capacity` threads; more wait their turn. Made inside a Trio run.

    Each of the groups that stand `apart` has as many threads of its own: what hangs there keeps nobody else waiting.
    """

    def __init__(
        self, capacity: int, *, inline: bool | None, niceness: int = 0, apart: Collection[str] = frozenset()
    ) -> None:
        self.inline = is_virtual() if inline is None else inline
        self._niceness = niceness
        self._shared = trio.CapacityLimiter(capacity)
        self._apart = {group: trio.CapacityLimiter(capacity) for group in apart}

    async def run(self, path: str, fn: Callable[..., T], *args: object) -> T:
        """`fn(*args)` for the actor at `path`, off the event loop.

        What has begun is waited for, even when cancelled: it may be writing.
        """
        if self.inline:
            await trio.lowlevel.checkpoint()
            return fn(*args)
        limiter = self._apart.get(path.partition("/")[0], self._shared)
        return await trio.to_thread.run_sync(self._run, fn, args, limiter=limiter)

    def _run(self, fn: Callable[..., T], args: tuple[object, ...]) -> T:
        if self._niceness and not getattr(_thread, "stands_back", False):
            stand_back(self._niceness)
            _thread.stands_back = True
        return fn(*args)

    def statistics(self) -> WorkerStatistics:
        now = [limiter.statistics() for limiter in (self._shared, *self._apart.values())]
        return WorkerStatistics(
            capacity=sum(int(each.total_tokens) for each in now),
            running=sum(each.borrowed_tokens for each in now),
            waiting=sum(each.tasks_waiting for each in now),
            inline=self.inline,
        )
