"""Random trees whose actors crash, stall, ask, end, add and drop each other: nothing hangs, nothing is lost.

Each world is a tree of random shape, strategies and mailboxes on the virtual clock. Whatever happens in it, a stop ends
it within the deadline, a place has one incarnation at a time, a told message is handled at most once, and an ask ends
in time. Trio orders tasks at random, so a seed repeats a world's shape, not its every step.
"""

import collections
import contextlib
import logging
import random
from typing import Any, Final

import attrs
import pytest
import trio
from trio.testing import MockClock

from actors import (
    Actor,
    ActorError,
    ActorSpec,
    ActorSystem,
    AskError,
    Backoff,
    Context,
    Delivery,
    Intensity,
    MailboxSpec,
    ManualClock,
    Overflow,
    Request,
    Restart,
    RestartLimitReached,
    StartFailed,
    StopReason,
    Strategy,
    SupervisorSpec,
    SystemSettings,
)

STOP_DEADLINE: Final = 10.0
DEEDS: Final = (
    *["nothing"] * 8, "crash", "sleep", "stall", "ask", "tell", "crash after the reply", "defer", "crash behind",
    "finish", "timer", "watch", "add", "drop", "two crashes",
)  # fmt: skip


@attrs.frozen(kw_only=True, eq=False)
class Told:
    number: int
    deed: str


@attrs.frozen(kw_only=True, eq=False)
class Asked(Request[int]):
    deed: str


class World:
    """A random tree, who lives in it, and what became of the messages."""

    def __init__(self, seed: int) -> None:
        self.rng = random.Random(seed)
        self.system = ActorSystem(clock=ManualClock(), settings=SystemSettings(seed=seed, stop_deadline=STOP_DEADLINE))
        self.paths: list[str] = []
        self.supervisors: list[str] = []
        self.alive: dict[str, Actor[Any]] = {}
        self.handled: collections.Counter[int] = collections.Counter()
        self.refused: set[int] = set()
        self.wrong: list[str] = []  # an assertion in an actor would only crash it
        self._number = 0
        self.tree = self.supervisor("", "world", 0)

    def supervisor(self, parent: str, name: str, depth: int) -> SupervisorSpec:
        path = f"{parent}/{name}".strip("/") if depth else ""
        self.supervisors.append(path)
        children: list[ActorSpec[Any] | SupervisorSpec] = []
        for number in range(self.rng.randrange(1, 4)):
            if depth < 2 and self.rng.random() < 0.4:
                children.append(self.supervisor(path, f"s{number}", depth + 1))
            else:
                children.append(self.actor(path, f"a{number}"))
        return SupervisorSpec(
            name=name,
            strategy=self.rng.choice(list(Strategy)),
            children=tuple(children),
            intensity=Intensity(self.rng.choice([3, 30, 1000]), 10),
            backoff=self.rng.choice([Backoff(first=0, maximum=0), Backoff(first=0.3)]),
        )

    def actor(self, parent: str, name: str) -> ActorSpec[Any]:
        rng = self.rng
        path = f"{parent}/{name}".strip("/")
        if path not in self.paths:
            self.paths.append(path)
        overflow = rng.choice(list(Overflow))
        return ActorSpec(
            name=name,
            factory=lambda: Random(self, path),
            mailbox=MailboxSpec(rng.randrange(1, 4), overflow, key_of if overflow is Overflow.COALESCE else None),
            restart=rng.choice([*[Restart.PERMANENT] * 4, Restart.TRANSIENT, Restart.TEMPORARY]),
            start_timeout=3,
            drain_timeout=3 * rng.random(),
            stop_timeout=rng.choice([1, 100]),
            backoff=rng.choice([Backoff(first=0, maximum=0), Backoff(first=0.1), Backoff(first=1, jitter=0.5)]),
            intensity=rng.choice([None, Intensity(50, 10)]),
            stream=rng.choice([None, lambda message: message.number % 5 if isinstance(message, Told) else None]),
        )

    def message(self) -> Told:
        self._number += 1
        return Told(number=self._number, deed=self.rng.choice(DEEDS))

    def path(self) -> str:
        return self.rng.choice(self.paths)

    async def ask(self) -> None:
        began = trio.current_time()
        with contextlib.suppress(AskError):
            await self.system.ref(self.path()).ask(Asked(deed=self.rng.choice(DEEDS)), timeout=2)
        if trio.current_time() - began > 2.001:
            self.wrong.append("an ask took longer than its deadline")

    async def change(self, *, add: bool) -> None:
        parent = self.rng.choice(self.supervisors)
        name = f"d{self.rng.randrange(4)}"
        with trio.move_on_after(self.rng.choice([0, 0.1, 2, 50])):
            try:
                if add:
                    await self.system.supervisor(parent).start_child(self.actor(parent, name))
                else:
                    await self.system.supervisor(parent).stop_child(name)
            except ActorError:
                pass

    async def disturb(self) -> None:
        """Somebody outside who speaks to the tree, and is cancelled now and then."""
        rng = self.rng
        for _ in range(rng.randrange(5, 60)):
            match rng.randrange(5):
                case 0 | 1:
                    message = self.message()
                    with trio.move_on_after(rng.choice([0, 0.1, 3])) as scope:
                        delivery = await self.system.ref(self.path()).tell(message)
                        if delivery in (Delivery.REJECTED, Delivery.DROPPED, Delivery.DEAD):
                            self.refused.add(message.number)
                    if scope.cancelled_caught:
                        self.refused.add(message.number)
                case 2:
                    await self.ask()
                case 3:
                    await self.change(add=rng.random() < 0.6)
                case _:
                    await trio.sleep(3 * rng.random())
            for _ in range(rng.randrange(3)):
                await trio.lowlevel.checkpoint()

    async def run(self, *, cancel: bool) -> None:
        began = trio.current_time()
        async with trio.open_nursery() as outer:
            outer.start_soon(self._run_system)
            await trio.lowlevel.checkpoint()
            async with trio.open_nursery() as inner:
                for _ in range(4):
                    inner.start_soon(self.disturb)
            began = trio.current_time()
            if cancel:
                outer.cancel_scope.cancel()
            self.system.request_stop("the end of the world")
        assert trio.current_time() - began <= STOP_DEADLINE + 0.001
        assert self.wrong == []
        assert cancel or self.alive == {}
        for path in self.paths:
            assert await self.system.ref(path).tell(self.message()) is Delivery.DEAD
        assert max(self.handled.values(), default=0) <= 1
        assert not self.refused & self.handled.keys()
        assert all(node.mailbox is None or not node.mailbox.depth for node in self.system.statistics().root.walk())

    async def _run_system(self) -> None:
        with contextlib.suppress(RestartLimitReached, StartFailed):
            await self.system.run(self.tree)


def key_of(message: object) -> int | None:
    return message.number % 3 if isinstance(message, Told) and message.number else None


class Random(Actor[Any]):
    """Does what its messages say, and fails in every way that an actor can."""

    def __init__(self, world: World, path: str) -> None:
        self._world = world
        self._path = path
        if world.rng.random() < 0.02:
            raise RuntimeError("the factory failed")

    async def started(self, ctx: Context[Any]) -> None:
        world, chance = self._world, self._world.rng.random()
        if chance < 0.05:
            raise ValueError("told to fail")
        if chance < 0.1:
            await trio.sleep(3 * world.rng.random())
        elif chance < 0.13:
            await trio.sleep_forever()
        elif chance < 0.2:
            await world.ask()
        elif chance < 0.3:
            ctx.send_every(1 + world.rng.random(), Told(number=0, deed="nothing"), at_once=chance < 0.25)
        elif chance < 0.32:
            ctx.start_soon(self._crash_later)
        if self._path in world.alive:
            world.wrong.append(f"two incarnations at {self._path}")
        world.alive[self._path] = self

    async def receive(self, ctx: Context[Any], message: Any) -> None:
        world = self._world
        if world.alive.get(self._path) is not self:
            world.wrong.append(f"{self._path} got another incarnation's message")
        if isinstance(message, Told) and message.number:
            world.handled[message.number] += 1
        match message.deed:
            case "crash":
                raise ValueError("told to")
            case "sleep":
                await trio.sleep(world.rng.random())
            case "stall":
                await trio.sleep(20)
            case "ask":
                await world.ask()
            case "tell":
                ctx.lookup(world.path()).tell_nowait(world.message())
            case "crash after the reply" if isinstance(message, Asked):
                ctx.reply(1)
                raise ValueError("told to")
            case "defer" if isinstance(message, Asked):
                reply = ctx.defer_reply()
                ctx.start_soon(trio.sleep, world.rng.random())
                if world.rng.random() < 0.7:
                    reply.send(1)
                return
            case "crash behind":
                ctx.start_soon(self._crash_later)
            case "finish":
                ctx.stop()
            case "timer":
                ctx.send_after(world.rng.random(), Told(number=0, deed=world.rng.choice(DEEDS)))
            case "watch":
                ctx.watch(ctx.lookup(world.path()), lambda down: Told(number=0, deed="nothing"))
            case "add" | "drop":
                await world.change(add=message.deed == "add")
            case "two crashes":
                async with trio.open_nursery() as nursery:
                    nursery.start_soon(self._crash_later)
                    nursery.start_soon(self._crash_later)
        if isinstance(message, Asked) and world.rng.random() < 0.9:
            ctx.reply(2)

    async def stopping(self, ctx: Context[Any], reason: StopReason) -> None:
        world, chance = self._world, self._world.rng.random()
        try:
            if chance < 0.1:
                await trio.sleep(20)
            elif chance < 0.2:
                raise ValueError("failed on the way out")
            elif chance < 0.3:
                await world.ask()
        finally:
            if world.alive.pop(self._path, None) is not self:
                world.wrong.append(f"{self._path} is stopped, and another lives there")

    async def _crash_later(self) -> None:
        await trio.sleep(self._world.rng.random())
        raise KeyError("behind")


@pytest.mark.parametrize("cancel", [False, True], ids=["stopped", "cancelled"])
def test_random_trees_end_in_order(cancel: bool, campaign: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(logging.getLogger("actors"), "disabled", True)  # thousands of tracebacks, all wanted

    async def live(seed: int) -> None:
        with trio.fail_after(10_000):
            await World(seed).run(cancel=cancel)

    for number in range(campaign.rounds(2000)):
        seed = campaign.seed + number
        print(f"world {seed}")
        trio.run(live, seed, clock=MockClock(autojump_threshold=0))
