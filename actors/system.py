"""The actor system: a tree that runs, what is known of it, and how it is told to stop."""

import logging
import math
from typing import Any

import trio

from actors.cell import ActorCell
from actors.clock import Clock, SystemClock
from actors.errors import ActorError, UnknownActor
from actors.events import DeadLetter, Subscription, SystemEvent, TraceEntry
from actors.node import Ending, Node
from actors.ref import ActorRef
from actors.runtime import Runtime
from actors.spec import StopReason, SupervisorSpec, SystemSettings
from actors.statistics import LatencyHistogram, Status, SystemStatistics
from actors.supervisor import ChildSpec, Command, Supervisor

log = logging.getLogger("actors")

_DEFAULTS = SystemSettings()


class SupervisorRef:
    """The place of a supervisor, whose children can be changed while it runs."""

    __slots__ = ("_system", "path")

    def __init__(self, system: "ActorSystem", path: str) -> None:
        self._system = system
        self.path = path

    def __repr__(self) -> str:
        return f"<supervisor {self.path or '(root)'}>"

    async def start_child(self, spec: ChildSpec) -> None:
        """Add a child behind the others and wait until it is ready.

        Raises StartFailed (the child is gone again), NameTaken, SupervisorStopped, UnknownActor. Cancelled, the
        child starts all the same.
        """
        await self._command(Command(spec.name, spec))

    async def stop_child(self, name: str) -> None:
        """Stop a child, in order, and remove it from the tree. Raises UnknownActor, SupervisorStopped.

        Cancelled, the child stops all the same. An actor does not stop itself by this, but by `ctx.stop()`.
        """
        await self._command(Command(name, None))

    def children(self) -> tuple[str, ...]:
        """The names of the children, in start order. Raises UnknownActor."""
        return tuple(child.name for child in self._node().children)

    async def _command(self, command: Command) -> None:
        await trio.lowlevel.checkpoint()
        self._node().submit(command)
        await command.done.wait()
        if command.error is not None:
            raise command.error

    def _node(self) -> Supervisor:
        node = self._system.find(self.path)
        if not isinstance(node, Supervisor):
            raise UnknownActor(f"{self.path} is no supervisor")
        return node


class ActorSystem:
    """One tree of actors. Refs may be made before it runs; `run` runs it once."""

    def __init__(self, *, clock: Clock | None = None, settings: SystemSettings = _DEFAULTS) -> None:
        self._runtime = Runtime(clock or SystemClock(), settings)
        self._root: Supervisor | None = None
        self._stop_asked: str | None = None
        self._ready_said = False
        self._lag = LatencyHistogram()

    def __repr__(self) -> str:
        return f"<actor system {self.status.value}>"

    @property
    def status(self) -> Status:
        """The root's status: RUNNING exactly when the whole tree became ready and no stop was asked."""
        return Status.WAITING if self._root is None else self._root.status

    def ref(self, path: str) -> ActorRef[Any]:
        """A ref to the place `path` (which does not include the root's name), whether or not anything is there."""
        return ActorRef(self._runtime, path)

    def supervisor(self, path: str) -> SupervisorRef:
        """The supervisor at `path`; the empty path is the root."""
        return SupervisorRef(self, path)

    async def run(self, tree: SupervisorSpec, *, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED) -> None:
        """Run `tree` until `request_stop`, and stop it in order.

        Reports `started` when the whole tree is ready, or when a stop was requested before. Raises StartFailed or
        RestartLimitReached after stopping the rest in order. Cancelling it is the emergency exit: no draining, no
        `stopping`.
        """
        if self._root is not None:
            raise ActorError("an actor system runs once")
        self._runtime.begin()
        root = self._root = Supervisor(tree, "", self._runtime, root=True)
        ending: Ending | None = None
        try:
            async with trio.open_nursery() as nursery:
                nursery.start_soon(self._watch_stuck, root)
                if self._runtime.settings.lag_interval is not None and not self._runtime.workers.inline:
                    nursery.start_soon(self._sample_lag, self._runtime.settings.lag_interval)
                nursery.start_soon(self._report_ready, root, task_status)
                root.prepare()
                if self._stop_asked is not None:
                    self.request_stop(self._stop_asked)
                ending = await root.run()
                nursery.cancel_scope.cancel()
        finally:
            root.close("the system was cancelled")  # nothing is left where it ended in order
            self._end_feeds(root)
        if ending is not None and ending.error is not None:
            raise ending.error
        if not self._ready_said:  # a stop came before: not what was hoped for, but no error
            task_status.started()

    def request_stop(self, reason: str = "requested") -> None:
        """Have the system stop in order, within its deadline; `reason` is logged. Safe to call again."""
        first = self._stop_asked is None
        self._stop_asked = reason
        if self._root is None:
            return
        if first or not math.isfinite(self._runtime.stop_at):
            log.info("stopping the system (%s)", reason)
            self._runtime.limit_stop(self._root.walk())
            self._root.begin_stop(StopReason.SHUTDOWN, drain=True)

    def statistics(self) -> SystemStatistics:
        """A snapshot of the whole tree; answers whatever its actors do. Raises ActorError before `run`."""
        if self._root is None:
            raise ActorError("the system does not run")
        return SystemStatistics(
            at=self._runtime.clock.now(),
            root=self._root.statistics(),
            dead_letters=self._runtime.dead_letter_count,
            workers=self._runtime.workers.statistics(),
            lag=self._lag.statistics(),
        )

    def subscribe(self, capacity: int) -> Subscription[SystemEvent]:
        """The events of the whole tree from now on; at most `capacity` wait for the reader, the oldest are lost."""
        return Subscription(capacity, self._runtime.subscriptions)

    def trace(self, path: str, capacity: int) -> Subscription[TraceEntry]:
        """The messages of the actor at `path`, live, across its restarts. Raises UnknownActor."""
        node = self.find(path)
        if not isinstance(node, ActorCell):
            raise UnknownActor(f"{path} is no actor")
        return Subscription(capacity, node.tracers)

    def dead_letters(self) -> tuple[DeadLetter, ...]:
        """The latest dead letters, oldest first."""
        return tuple(self._runtime.dead_letters)

    def find(self, path: str) -> Node:
        """The node at `path` (the runtime's side). Raises UnknownActor."""
        for node in () if self._root is None else self._root.walk():
            if node.path == path:
                return node
        raise UnknownActor(f"there is nothing at {path!r}")

    async def _report_ready(self, root: Supervisor, task_status: trio.TaskStatus[None]) -> None:
        await root.settled.wait()
        self._ready_said = True
        task_status.started()

    async def _watch_stuck(self, root: Supervisor) -> None:
        # Sleeping until the earliest message in hand can be due, and never longer than the limit, finds each at its
        # exact time without costing a message anything.
        limit = self._runtime.settings.stuck_after
        while True:
            now = trio.current_time()
            due = now + limit
            for node in root.walk():
                if isinstance(node, ActorCell) and (since := node.stuck_since()) < math.inf:
                    if since + limit <= now:
                        node.say_stuck()
                    else:
                        due = min(due, since + limit)
            await trio.sleep_until(due)

    async def _sample_lag(self, interval: float) -> None:
        while True:
            due = trio.current_time() + interval
            await trio.sleep_until(due)
            self._lag.add(trio.current_time() - due)

    def _end_feeds(self, root: Supervisor) -> None:
        for events in list(self._runtime.subscriptions):
            events.end()
        for node in root.walk():
            if isinstance(node, ActorCell):
                for tracer in list(node.tracers):
                    tracer.end()
