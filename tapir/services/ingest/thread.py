"""One long-lived thread that does a pipeline's work in the order in which it is handed in.

A thread from a pool costs a tenth of a millisecond a call, which for a block of frames is as long as the work itself.
Here a block is put on a queue and its result comes back with the next turn of the event loop, those that are ready
together in one; nothing else is done in the loop. Under a virtual clock, which would jump over the time that a thread
works, the work is done in the caller's own task.
"""

import functools
import queue
import threading
from collections import deque
from collections.abc import Callable
from typing import Any, Final, Generic, TypeVar

import outcome
import trio

from actors.clock import is_virtual
from actors.workers import stand_back

T = TypeVar("T")

_NICENESS: Final = 10
"""how far the thread stands behind the event loop, which serves DNS as well; see nice(2)"""


class ThreadStopped(Exception):
    """The thread does nothing any more: what was handed in is not done."""


class Job(Generic[T]):
    """Work that was handed in."""

    __slots__ = ("_done", "_outcome", "_work")

    def __init__(self, work: Callable[[], T]) -> None:
        self._work: Callable[[], T] | None = work
        self._outcome: outcome.Value[T] | outcome.Error | None = None
        self._done = trio.Event()

    def __repr__(self) -> str:
        return f"<Job: {'done' if self._done.is_set() else 'to do'}>"

    async def wait(self) -> T:
        """What it came to, or what it raised. Cancelled, it is done all the same."""
        await self.wait_done()
        return self.result()

    async def wait_done(self) -> None:
        """Wait until it is done, however that ended."""
        await self._done.wait()

    @property
    def done(self) -> bool:
        """Whether `result` can be asked for."""
        return self._done.is_set()

    def result(self) -> T:
        """What it came to, or what it raised. Raises ThreadStopped when that is not known."""
        if self._outcome is None:
            raise ThreadStopped("the work was not done")
        return self._outcome.unwrap()

    def run(self) -> None:
        """Do it, and keep what comes of it. For the thread."""
        work, self._work = self._work, None
        if work is not None:
            self._outcome = outcome.capture(work)

    def settle(self) -> None:
        """Tell who waits. For the event loop."""
        self._done.set()


class WorkThread:
    """The thread; made in a Trio run, and used by it. What one piece of work raises is its caller's, and no other's."""

    def __init__(self, name: str, *, outstanding: int, inline: bool | None = None) -> None:
        """At most `outstanding` pieces of work wait or are done at once; `inline` None: under a virtual clock."""
        self._inline = is_virtual() if inline is None else inline
        self._room = trio.Semaphore(outstanding)
        self._stopped = False
        self._jobs: queue.SimpleQueue[Job[Any] | None] = queue.SimpleQueue()
        self._finished: deque[Job[Any]] = deque()
        self._ended = trio.Event()
        self._token = trio.lowlevel.current_trio_token()
        self._thread: threading.Thread | None = None
        if not self._inline:
            # A daemon: work that hangs in the file system must not keep the process from ending.
            self._thread = threading.Thread(target=self._work, name=name, daemon=True)
            self._thread.start()

    def __repr__(self) -> str:
        return f"<WorkThread: {'inline' if self._inline else 'stopped' if self._stopped else 'running'}>"

    async def put(self, fn: Callable[..., T], *args: object) -> Job[T]:
        """Hand `fn(*args)` in; waits for room. Raises ThreadStopped; cancelled, nothing was handed in."""
        await self._room.acquire()
        if self._stopped:
            self._room.release()
            raise ThreadStopped("the thread was stopped")
        job: Job[T] = Job(functools.partial(fn, *args))
        if self._inline:
            job.run()
            self._finished.append(job)
            self._settle()
        else:
            self._jobs.put(job)
        return job

    async def run(self, fn: Callable[..., T], *args: object) -> T:
        """`fn(*args)`, behind all that was handed in before; see `put` and `Job.wait`."""
        return await (await self.put(fn, *args)).wait()

    async def stop(self) -> None:
        """Have done what was handed in, and end the thread. Cancelled, it ends by itself; again, it only waits."""
        if not self._stopped:
            self._stopped = True
            self._jobs.put(None)
        if self._thread is None:
            await trio.lowlevel.checkpoint()
            return
        await self._ended.wait()
        self._thread.join()  # it has nothing left to do but to end

    def _work(self) -> None:
        stand_back(_NICENESS)
        try:
            while (job := self._jobs.get()) is not None:
                job.run()
                self._finished.append(job)
                del job
                self._token.run_sync_soon(self._settle, idempotent=True)
            self._token.run_sync_soon(self._ended.set)
        except trio.RunFinishedError:
            return  # nobody is left to tell

    def _settle(self) -> None:
        while self._finished:
            self._finished.popleft().settle()
            self._room.release()
