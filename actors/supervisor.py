"""Supervisors: start children in order, restart them by the strategy, give up loudly, stop in reverse.

One task, the owner, takes signals one by one (a child ended, a request came, stop) and decides at once; what takes
time runs beside it as an *operation* under its own cancel scope, so that a stop, or a further crash, never waits for
a back-off or a slow start:

    start_all     once per incarnation of the supervisor
    revive        one_for_one: wait the back-off, start the child again
    restore       one_for_all, rest_for_one: stop the group in reverse, wait, start it in order; a further crash
                  cancels it and begins anew with the larger group
    add, drop     a dynamic child

All but `revive` hold the lock, since they change more than one child.
"""

import collections
from collections.abc import Awaitable, Callable, Iterator
from typing import Any

import trio

from actors.cell import ActorCell
from actors.errors import NameTaken, RestartLimitReached, StartFailed, SupervisorStopped, UnknownActor, error_text
from actors.events import GaveUp, RestartScheduled
from actors.node import Ending, How, Node
from actors.runtime import Runtime, log
from actors.spec import ActorSpec, Intensity, Restart, StopReason, Strategy, SupervisorSpec
from actors.statistics import NodeStatistics, Status

ChildSpec = ActorSpec[Any] | SupervisorSpec


class Command:
    """A request to add (`spec`) or drop a child; `done` is set when it is carried out, or has failed with `error`."""

    def __init__(self, name: str, spec: ChildSpec | None) -> None:
        self.name = name
        self.spec = spec
        self.done = trio.Event()
        self.error: Exception | None = None

    def finish(self, error: Exception | None = None) -> None:
        if not self.done.is_set():
            self.error = error
            self.done.set()


class Supervisor(Node):
    """A place in the tree that runs other places."""

    def __init__(self, spec: SupervisorSpec, path: str, runtime: Runtime, *, root: bool = False) -> None:
        super().__init__(
            name=spec.name,
            path=path,
            runtime=runtime,
            restart=Restart.PERMANENT,
            backoff=spec.backoff,
            intensity=None,
        )
        self.spec = spec
        self.children: list[Node] = []
        self._names: set[str] = set()
        self._root = root
        self._stop: tuple[StopReason, bool] | None = None
        self._signals: collections.deque[tuple[Node, Ending] | Command] = collections.deque()
        self._wake = trio.Event()
        self._lock = trio.Lock()
        self._operations: set[trio.CancelScope] = set()
        self._restoring: trio.CancelScope | None = None
        for child in spec.children:
            self._append(child)

    # The owner's task

    async def run(self) -> Ending:
        self.status = Status.STARTING
        for child in self.children:
            child.wanted = True
            child.proven = False
        error: Exception | None = None
        async with trio.open_nursery() as nursery:
            self._operate(nursery, self._start_all, nursery)
            while self._stop is None and error is None:
                if not self._signals:
                    self._wake = trio.Event()
                    await self._wake.wait()
                    continue
                match self._signals.popleft():
                    case Command() as command:
                        self._carry_out(nursery, command)
                    case child, ending:
                        error = self._decide(nursery, child, ending)
            if error is not None and self._stop is None:
                # What was escalated starts anew from above; the root's end is an ordered stop of the whole.
                self.status = Status.FAILED
                self._stop = (StopReason.SHUTDOWN, True) if self._root else (StopReason.RESTART, False)
                if self._root:
                    self.runtime.limit_stop(self.walk())
            elif error is None:
                self.status = Status.STOPPING
            await self._stop_children()
        return self._end(error)

    def begin_stop(self, reason: StopReason, *, drain: bool) -> None:
        if self._stop is None:
            self._stop = reason, drain
            self._wake.set()

    def _end(self, error: Exception | None) -> Ending:
        reason, _ = self._stop or (StopReason.SHUTDOWN, True)
        self._stop = None
        for signal in self._signals:
            if isinstance(signal, Command):
                signal.finish(SupervisorStopped(f"supervisor {self.path or '(root)'} stopped"))
        self._signals.clear()
        if error is None:
            self.status = Status.STOPPED
            log.info("stopped supervisor %s (%s)", self.path or "(root)", reason.value)
            return Ending(how=How.STOPPED)
        self.note_error(error)
        return Ending(how=How.CRASHED, error=error)

    def _decide(self, nursery: trio.Nursery, child: Node, ending: Ending) -> Exception | None:
        """What follows from a child's end; the error with which this supervisor gives up, if it does."""
        if child.trial or child.up or not child.wanted or ending.how is How.STOPPED or child not in self.children:
            return None  # news of one that is started again already, or that nobody wants any more
        if isinstance(ending.error, StartFailed) and not self.ready and not child.proven:
            return ending.error  # the start of a supervisor is all or nothing
        if child.restart is Restart.TEMPORARY or (child.restart is Restart.TRANSIENT and ending.how is How.DONE):
            self._retire(child)
            return None
        period = (child.intensity or self.spec.intensity).period
        now = trio.current_time()
        while child.crashes and child.crashes[0] <= now - period:
            child.crashes.popleft()
        child.crashes.append(now)
        if ending.counted and (error := self._count(child, ending, now)):
            return error
        delay = child.backoff.delay(len(child.crashes), self.runtime.random)
        child.status = Status.RESTARTING
        child.restarts += 1
        child.reopen()
        log.warning("restarting %s in %.3f s (restart %d)", child.path, delay, child.restarts)
        self.runtime.emit(RestartScheduled, child.path, delay=delay, restarts=child.restarts)
        if self.spec.strategy is Strategy.ONE_FOR_ONE:
            child.revival = self._operate(nursery, self._revive, nursery, child, delay)
        else:
            if self._restoring is not None:
                self._restoring.cancel()
            self._restoring = self._operate(nursery, self._restore, nursery, delay)
        return None

    def _count(self, child: Node, ending: Ending, now: float) -> RestartLimitReached | None:
        """Count a restart against the child's and the supervisor's intensity; the error when one is exceeded."""
        for times, limit in ((self.failures, self.spec.intensity), (child.failures, child.intensity)):
            if limit is not None and _exceeds(times, limit, now):
                text = "it ended by itself" if ending.error is None else error_text(ending.error)
                log.critical(
                    "supervisor %s gives up: %s needed more than %d restarts in %g s, last error %s",
                    self.path or "(root)", child.path, limit.restarts, limit.period, text,
                )  # fmt: skip
                child.status = Status.FAILED
                self.runtime.emit(GaveUp, self.path, child=child.path, error=text)
                return RestartLimitReached(
                    path=self.path, child=child.path, restarts=limit.restarts, period=limit.period, error=text
                )
        return None

    def _retire(self, child: Node) -> None:
        """A child that is not started again: a dynamic one leaves the tree, another stays to be seen."""
        child.wanted = False
        failed = child.last_error is not None and child.status is not Status.STOPPED
        child.close("stopped")
        if failed:
            child.status = Status.FAILED
        if child.dynamic:
            self._forget(child)

    # Operations

    def _operate(
        self, nursery: trio.Nursery, operation: Callable[..., Awaitable[None]], *args: Any
    ) -> trio.CancelScope:
        scope = trio.CancelScope()
        self._operations.add(scope)

        async def run() -> None:
            try:
                with scope:
                    await operation(*args)
            finally:
                self._operations.discard(scope)

        nursery.start_soon(run, name=f"supervisor {self.path} {operation.__name__.strip('_')}")
        return scope

    async def _start_all(self, nursery: trio.Nursery) -> None:
        async with self._lock:
            for child in self.children:
                if not await self._launch(nursery, child):
                    return  # the owner decides what follows
            self._become_ready()

    async def _revive(self, nursery: trio.Nursery, child: Node, delay: float) -> None:
        await trio.sleep(delay)
        child.revival = None
        await self._launch(nursery, child)

    async def _restore(self, nursery: trio.Nursery, delay: float) -> None:
        async with self._lock:
            group = self._group()
            for child in reversed(group):
                await self._stop_child(child, StopReason.RESTART, drain=False)
                if child.restart is Restart.TEMPORARY:
                    self._retire(child)
            for child in group:
                child.purge("restart")  # what they told each other while they stopped
                if child.wanted:
                    child.status = Status.RESTARTING
            await trio.sleep(delay)
            for child in group:
                if child.wanted and not await self._launch(nursery, child):
                    return
            self._become_ready()

    def _group(self) -> list[Node]:
        if self.spec.strategy is Strategy.ONE_FOR_ALL:
            return list(self.children)
        down = [child.wanted and not child.ready for child in self.children]
        return self.children[down.index(True) :] if True in down else []

    def _carry_out(self, nursery: trio.Nursery, command: Command) -> None:
        async def run() -> None:
            try:
                if command.spec is None:
                    await self._drop(command)
                else:
                    await self._add(nursery, command, command.spec)
            finally:
                command.finish(SupervisorStopped(f"supervisor {self.path or '(root)'} is stopping"))

        self._operate(nursery, run)

    async def _add(self, nursery: trio.Nursery, command: Command, spec: ChildSpec) -> None:
        async with self._lock:
            try:
                child = self._append(spec)
            except NameTaken as error:
                command.finish(error)
                return
            child.dynamic = child.trial = True
            await self._launch(nursery, child)
            if not child.trial:
                command.finish()
                return
            self._forget(child)
            command.finish(StartFailed(path=child.path, reason=child.last_error or "it ended by itself"))

    async def _drop(self, command: Command) -> None:
        async with self._lock:
            child = next((child for child in self.children if child.name == command.name), None)
            if child is None:
                command.finish(UnknownActor(f"{self.path or '(root)'} has no child {command.name}"))
                return
            child.wanted = False
            if child.revival is not None:
                child.revival.cancel()
            await self._stop_child(child, StopReason.REMOVED, drain=True)
            self._forget(child)
            command.finish()

    async def _stop_children(self) -> None:
        reason, drain = self._stop or (StopReason.SHUTDOWN, True)
        for scope in self._operations:
            scope.cancel()
        async with self._lock:
            for child in reversed(self.children):
                await self._stop_child(child, reason, drain=drain)
            if reason is StopReason.RESTART:
                for child in self.children:
                    child.purge("restart")
            for child in [child for child in self.children if child.trial]:
                self._forget(child)  # whoever wanted it is told that it did not start
        self.ready = False

    # One child

    async def _launch(self, nursery: trio.Nursery, child: Node) -> bool:
        """Start a child and wait until it is ready, or has ended; False when it failed."""
        child.prepare()
        nursery.start_soon(self._run_child, child, name=f"actor {child.path}")
        await child.settled.wait()
        return not child.start_failed

    async def _run_child(self, child: Node) -> None:
        ending = await child.run()
        child.mark_ended(ending)
        self._signals.append((child, ending))
        self._wake.set()

    async def _stop_child(self, child: Node, reason: StopReason, *, drain: bool) -> None:
        if child.up:
            child.begin_stop(reason, drain=drain)
            await child.ended.wait()
        if reason is not StopReason.RESTART:
            child.close(reason.value)  # also what crashed meanwhile, or waited to be started again

    def _append(self, spec: ChildSpec) -> Node:
        path = f"{self.path}/{spec.name}" if self.path else spec.name
        if not spec.name or "/" in spec.name or spec.name in self._names:
            raise NameTaken(f"{path!r} is no name for one more child")
        node = Supervisor if isinstance(spec, SupervisorSpec) else ActorCell
        child = node(spec, path, self.runtime)  # type: ignore[arg-type]
        self.children.append(child)
        self._names.add(spec.name)
        return child

    def _forget(self, child: Node) -> None:
        # Perhaps for the second time: a child may end for good while it is stopped for another's sake.
        if child in self.children:
            self.children.remove(child)
            self._names.remove(child.name)
            child.remove()

    def _become_ready(self) -> None:
        if not self.ready and self._stop is None:
            self.mark_ready()
            log.info("started supervisor %s", self.path or "(root)")

    # As a child of another, and for SupervisorRef

    def submit(self, command: Command) -> None:
        """Have a command carried out. Raises SupervisorStopped when this supervisor does not run."""
        if self._stop is not None or self.status not in (Status.RUNNING, Status.STARTING):
            raise SupervisorStopped(f"supervisor {self.path or '(root)'} does not run")
        self._signals.append(command)
        self._wake.set()

    def purge(self, why: str) -> None:
        for child in self.children:
            child.purge(why)

    def reopen(self) -> None:
        for child in self.children:
            child.reopen()

    def close(self, why: str) -> None:
        if self.status is not Status.FAILED:
            self.status = Status.STOPPED
        for child in reversed(self.children):
            child.close(why)

    def remove(self) -> None:
        for child in self.children:
            child.remove()

    def walk(self) -> Iterator[Node]:
        yield self
        for child in self.children:
            yield from child.walk()

    def statistics(self) -> NodeStatistics:
        return NodeStatistics(
            path=self.path,
            name=self.name,
            status=self.status,
            restarts=self.restarts,
            last_error=self.last_error,
            last_error_at=self.last_error_at,
            uptime=self.uptime(),
            strategy=self.spec.strategy.value,
            children=tuple(child.statistics() for child in self.children),
        )


def _exceeds(times: collections.deque[float], limit: Intensity, now: float) -> bool:
    """Count a restart now; True when that is one too many within the period."""
    while times and times[0] <= now - limit.period:
        times.popleft()
    times.append(now)
    return len(times) > limit.restarts
