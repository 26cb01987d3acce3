"""Helpers for tests of actors and of whole trees, on Trio's MockClock: a probe, a tree to compare, faults to inject."""

import contextlib
import textwrap
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from typing import Any, Generic, TypeVar

import attrs
import trio

from actors.actor import Actor, Context
from actors.clock import ManualClock
from actors.errors import unwrap
from actors.mailbox import MailboxSpec, Overflow
from actors.message import Request, describe
from actors.ref import ActorRef
from actors.spec import ActorSpec, StopReason, Strategy, SupervisorSpec, SystemSettings
from actors.statistics import NodeStatistics
from actors.system import ActorSystem

M = TypeVar("M")

ROOMY = MailboxSpec(1024, Overflow.REJECT)
"""a mailbox that a test does not fill by accident, and hears of when it does"""


class Probe(Actor[Any]):
    """An actor that keeps what it receives, and when; it answers asks from `answers`, by the request's class.

    One object across restarts, so that a test can hold it: `probe.spec("name")`, or return it from a factory. A
    function among the answers is called with the request.
    """

    def __init__(self, answers: Mapping[type[Request[Any]], Any] | None = None) -> None:
        self.messages: list[Any] = []
        self.times: list[float] = []
        self.reasons: list[StopReason] = []
        self.starts = 0
        self._answers = dict(answers or {})
        self._changed = trio.Event()
        self._read = 0

    def spec(self, name: str, mailbox: MailboxSpec = ROOMY, **settings: Any) -> ActorSpec[Any]:
        """A spec whose factory is this probe."""
        return ActorSpec(name=name, factory=lambda: self, mailbox=mailbox, **settings)

    async def next(self, seconds: float = 60) -> Any:
        """The next message that was not read by `next`; raises TooSlowError after `seconds`."""
        await self.wait_count(self._read + 1, seconds)
        self._read += 1
        return self.messages[self._read - 1]

    async def wait_count(self, count: int, seconds: float = 60) -> None:
        """Wait until `count` messages have come in all; raises TooSlowError after `seconds`."""
        with trio.fail_after(seconds):
            await trio.lowlevel.checkpoint()
            while len(self.messages) < count:
                await self._changed.wait()

    async def started(self, ctx: Context[Any]) -> None:
        self.starts += 1

    async def receive(self, ctx: Context[Any], message: Any) -> None:
        self.messages.append(message)
        self.times.append(trio.current_time())
        self._changed.set()
        self._changed = trio.Event()
        if type(message) in self._answers:
            answer = self._answers[type(message)]
            ctx.reply(answer(message) if callable(answer) else answer)

    async def stopping(self, ctx: Context[Any], reason: StopReason) -> None:
        self.reasons.append(reason)


def probe(answers: Mapping[type[Request[Any]], Any] | None = None) -> Probe:
    """A new Probe."""
    return Probe(answers)


class _Faulty(Actor[M]):
    """An actor with something done before each of its messages."""

    def __init__(self, inner: Actor[M], before: Callable[[M], Awaitable[None]]) -> None:
        self._inner = inner
        self._before = before

    async def started(self, ctx: Context[M]) -> None:
        await self._inner.started(ctx)

    async def receive(self, ctx: Context[M], message: M) -> None:
        await self._before(message)
        await self._inner.receive(ctx, message)

    async def stopping(self, ctx: Context[M], reason: StopReason) -> None:
        await self._inner.stopping(ctx, reason)


class InjectedFault(Exception):
    """`crash_on_nth` made this crash."""


def crash_on_nth(factory: Callable[[], Actor[M]], *numbers: int) -> Callable[[], Actor[M]]:
    """A factory whose actors crash on the `numbers`-th messages (from 1, counted across restarts)."""
    seen = 0

    async def before(message: M) -> None:
        nonlocal seen
        seen += 1
        if seen in numbers:
            raise InjectedFault(f"on message {seen}, {describe(message)}")

    return lambda: _Faulty(factory(), before)


def stall(factory: Callable[[], Actor[M]], seconds: float, *kinds: type) -> Callable[[], Actor[M]]:
    """A factory whose actors take `seconds` longer over each message (of `kinds`, if any are given)."""

    async def before(message: M) -> None:
        if not kinds or type(message) in kinds:
            await trio.sleep(seconds)

    return lambda: _Faulty(factory(), before)


def render_tree(node: NodeStatistics) -> str:
    """The tree below `node`, a line each: name, status, strategy; indented, in start order."""
    lines = []
    for child in node.children:
        kind = "" if child.strategy is None else f" ({child.strategy})"
        lines.append(f"{child.name} {child.status.value}{kind}")
        if child.children:
            lines.append(textwrap.indent(render_tree(child), "  "))
    return "\n".join(lines)


def assert_tree(system: ActorSystem, expected: str) -> None:
    """The system's tree looks like `expected`, as `render_tree` writes it; indentation of the whole is ignored."""
    wanted, found = textwrap.dedent(expected).strip("\n").rstrip(), render_tree(system.statistics().root)
    if wanted != found:
        raise AssertionError(f"the tree is\n{found}\nnot\n{wanted}")


@attrs.frozen(kw_only=True)
class Running(Generic[M]):
    """A system with one actor."""

    system: ActorSystem
    ref: ActorRef[M]


@contextlib.asynccontextmanager
async def run_system(tree: SupervisorSpec, *, system: ActorSystem | None = None) -> AsyncIterator[ActorSystem]:
    """A running system, ready inside the block and stopped in order after it; its failure is raised as itself."""
    system = system or ActorSystem(clock=ManualClock(), settings=SystemSettings(seed=0))
    try:
        async with trio.open_nursery() as nursery:
            await nursery.start(system.run, tree)
            yield system
            system.request_stop("the test is over")
    except ExceptionGroup as group:
        if len(group.exceptions) == 1:
            raise unwrap(group) from None
        raise


@contextlib.asynccontextmanager
async def run_actor(
    factory: Callable[[], Actor[M]], *, name: str = "actor", settings: SystemSettings | None = None, **spec: Any
) -> AsyncIterator[Running[M]]:
    """A system with the one actor `name`, ready inside the block; `spec` holds further fields of its ActorSpec."""
    system = ActorSystem(clock=ManualClock(), settings=settings or SystemSettings(seed=0))
    actor = ActorSpec(**{"name": name, "factory": factory, "mailbox": ROOMY, **spec})
    async with run_system(SupervisorSpec(name="test", strategy=Strategy.ONE_FOR_ONE, children=(actor,)), system=system):
        yield Running(system=system, ref=system.ref(name))
