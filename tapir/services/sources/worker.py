"""A thread of a source's own, for a file system that may hang.

The system's pool is bounded and its work is waited for, as work that writes must be. A file system that hangs (NFS,
a dying disk) would take its slots one by one until no version can be committed any more. So each file source has
at most one thread of its own, and leaves it behind when it stops; it only reads, so nothing is lost with it.
"""

from collections.abc import Callable
from typing import Protocol, TypeVar

import trio

from actors.clock import is_virtual

T = TypeVar("T")


class Worker(Protocol):
    """Runs blocking functions off the event loop."""

    async def run(self, fn: Callable[..., T], *args: object) -> T:
        """`fn(*args)`; a caller that is cancelled does not wait for it."""
        ...


class FileWorker:
    """At most one thread at a time, also over restarts of its source; inline where the clock is virtual."""

    def __init__(self) -> None:
        self._limiter = trio.CapacityLimiter(1)

    async def run(self, fn: Callable[..., T], *args: object) -> T:
        """`fn(*args)` in a thread; what a cancelled caller left behind keeps the next one waiting."""
        if is_virtual():
            await trio.lowlevel.checkpoint()
            return fn(*args)
        return await trio.to_thread.run_sync(lambda: fn(*args), limiter=self._limiter, abandon_on_cancel=True)
