"""What happens in the tree, as frozen events; nobody who looks on can slow it down.

A subscription is a bounded buffer: a reader that is too slow loses the oldest entries and sees in `lost` how many.
"""

import collections
from types import TracebackType
from typing import Generic, Self, TypeVar

import attrs
import trio

from actors.spec import StopReason

E = TypeVar("E")


@attrs.frozen(kw_only=True)
class SystemEvent:
    """Something happened at `path`, at wall time `at` (microseconds since the epoch)."""

    at: int
    path: str


@attrs.frozen(kw_only=True)
class ActorStarted(SystemEvent):
    """The actor is ready."""


@attrs.frozen(kw_only=True)
class ActorStopped(SystemEvent):
    """The actor ended without a crash."""

    reason: StopReason


@attrs.frozen(kw_only=True)
class ActorCrashed(SystemEvent):
    """The actor or one of its background tasks failed; `message` is what it handled, if anything."""

    error: str
    message: str | None


@attrs.frozen(kw_only=True)
class RestartScheduled(SystemEvent):
    """The actor is started again, with those whom the strategy names, after `delay` seconds."""

    delay: float
    restarts: int


@attrs.frozen(kw_only=True)
class GaveUp(SystemEvent):
    """The supervisor at `path` gave up over `child`; its parent decides, or the system ends."""

    child: str
    error: str


@attrs.frozen(kw_only=True)
class DeadLetter(SystemEvent):
    """A message for `path` was not, or not completely, handled; only its payload-free form is kept."""

    reason: str
    message: str


@attrs.frozen(kw_only=True)
class MessageDropped(SystemEvent):
    """A mailbox lost a message."""

    reason: str
    message: str


@attrs.frozen(kw_only=True)
class ActorStuck(SystemEvent):
    """The actor handles one message for longer than the system's `stuck_after`; said once a message."""

    message: str
    seconds: float


@attrs.frozen(kw_only=True)
class StreamSuspended(SystemEvent):
    """A second crash on one stream; its messages go to the dead letters until the actor resumes it."""

    stream: str
    error: str


@attrs.frozen(kw_only=True)
class TraceEntry:
    """One step of a message at a traced actor: `received`, `handled`, `failed` or `dropped`; `seconds` of handling."""

    at: int
    kind: str
    message: str
    seconds: float


class Subscription(Generic[E]):
    """A bounded live feed: `async with` it, then `async for`; ends when its source does."""

    def __init__(self, capacity: int, home: "set[Subscription[E]]", *, ended: bool = False) -> None:
        self.lost = 0
        self._entries: collections.deque[E] = collections.deque(maxlen=max(1, capacity))
        self._home = home
        self._lot = trio.lowlevel.ParkingLot()
        self._ended = ended

    def __repr__(self) -> str:
        return f"<subscription waiting={len(self._entries)} lost={self.lost}>"

    async def __aenter__(self) -> Self:
        if not self._ended:
            self._home.add(self)
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self._home.discard(self)
        self.end()

    def __aiter__(self) -> Self:
        return self

    async def __anext__(self) -> E:
        await trio.lowlevel.checkpoint()
        while not self._entries:
            if self._ended:
                raise StopAsyncIteration
            await self._lot.park()
        return self._entries.popleft()

    def take_all(self) -> tuple[E, ...]:
        """All that waits to be read, without waiting for more."""
        taken = tuple(self._entries)
        self._entries.clear()
        return taken

    def push(self, entry: E) -> None:
        """Add an entry (the runtime's side); never waits."""
        self.lost += len(self._entries) == self._entries.maxlen
        self._entries.append(entry)
        self._lot.unpark_all()

    def end(self) -> None:
        """No more entries will come (the runtime's side); what waits can still be read."""
        self._ended = True
        self._lot.unpark_all()
