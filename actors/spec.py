"""How a tree is described before it runs: frozen specifications of actors, supervisors and the system."""

import enum
import random
from collections.abc import Callable, Hashable
from typing import TYPE_CHECKING, Any, Generic, TypeVar

import attrs

from actors.mailbox import MailboxSpec

if TYPE_CHECKING:
    from actors.actor import Actor

M = TypeVar("M")


class Restart(enum.Enum):
    """When a child that ended is started again."""

    PERMANENT = "permanent"
    """always"""
    TRANSIENT = "transient"
    """after a crash, not after it ended by itself"""
    TEMPORARY = "temporary"
    """never"""


class Strategy(enum.Enum):
    """Who is restarted with a child that failed."""

    ONE_FOR_ONE = "one_for_one"
    ONE_FOR_ALL = "one_for_all"
    REST_FOR_ONE = "rest_for_one"
    """the child and those started after it"""


class StopReason(enum.Enum):
    """Why an incarnation ends."""

    SHUTDOWN = "shutdown"
    """the system stops, in order"""
    REMOVED = "removed"
    """its supervisor was told to stop it"""
    RESTART = "restart"
    """another actor failed, and the strategy restarts this one too"""
    CRASHED = "crashed"
    DONE = "done"
    """it called `ctx.stop()`"""
    MISSING = "missing"
    """there is no such actor (only in Down)"""


@attrs.frozen
class Intensity:
    """More than `restarts` restarts within `period` seconds are too many."""

    restarts: int
    period: float


@attrs.frozen
class Backoff:
    """The wait before a restart: `first`, then `factor` times as long each time, `maximum` at most.

    `jitter` (0 to 1) takes up to that part off at random, so that many do not come back at one moment.
    """

    first: float = 0.1
    factor: float = 2.0
    maximum: float = 30.0
    jitter: float = 0.1

    def delay(self, crashes: int, rng: random.Random) -> float:
        """Seconds to wait after the `crashes`-th crash in a row."""
        # The exponent is bounded: a float to the power of thousands overflows.
        full = min(self.maximum, self.first * self.factor ** min(crashes - 1, 64))
        return full * (1 - self.jitter * rng.random()) if self.jitter else full


@attrs.frozen(kw_only=True)
class ActorSpec(Generic[M]):
    """An actor in the tree: how it is made, what its mailbox holds, when it is restarted, how long things may take.

    `intensity` limits this child alone, beside its supervisor's. `stream` names the stream that a message belongs to
    (None: none): the second crash on one stream suspends it, see `Context.suspended`; stream keys are logged.
    """

    name: str
    factory: "Callable[[], Actor[M]]"
    mailbox: MailboxSpec
    restart: Restart = Restart.PERMANENT
    start_timeout: float = 30
    drain_timeout: float = 5
    stop_timeout: float = 5
    intensity: Intensity | None = None
    backoff: Backoff = Backoff()
    stream: Callable[[Any], Hashable | None] | None = None


@attrs.frozen(kw_only=True)
class SupervisorSpec:
    """A supervisor and its children, in the order they start; more can be added while it runs."""

    name: str
    strategy: Strategy
    children: "tuple[ActorSpec[Any] | SupervisorSpec, ...]" = ()
    intensity: Intensity = Intensity(5, 60)
    backoff: Backoff = Backoff()


@attrs.frozen(kw_only=True)
class SystemSettings:
    """What holds for the whole system; times in seconds."""

    ask_timeout: float = 5.0
    stop_deadline: float = 30.0
    """the ordered stop as a whole; past it nothing is drained, in the same order"""
    stuck_after: float = 10.0
    """an actor that handles one message for longer is reported as stuck"""
    workers: int = 4
    workers_apart: frozenset[str] = frozenset()
    """children of the root that have as many workers of their own, each: theirs may hang, and the others' do not"""
    worker_niceness: int = 0
    """how much further behind the event loop the threads of workers stand at the processor, 0 to 19 (see nice(2))"""
    inline_workers: bool | None = None
    """None: inline exactly under a MockClock"""
    lag_interval: float | None = 1.0
    """how often the event loop's lag is sampled; None for never, and never with inline workers"""
    dead_letters: int = 256
    """how many dead letters are kept; all are counted"""
    seed: int | None = None
    """of the jitter's random numbers; None for a different one each time"""
