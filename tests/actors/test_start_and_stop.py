"""Start in order, each ready before the next; stop in exactly the reverse order, in bounded time."""

import itertools
from collections.abc import Awaitable, Callable
from typing import Any

import attrs
import pytest
import trio
from trio.testing import MockClock, wait_all_tasks_blocked

from actors import (
    Actor,
    ActorError,
    ActorSpec,
    ActorStopped,
    AskFailed,
    Context,
    Delivery,
    NameTaken,
    Request,
    StartFailed,
    Status,
    StopReason,
    Strategy,
    SupervisorStopped,
    UnknownActor,
)
from actors.testing import ROOMY, Probe, assert_tree, run_system


@attrs.frozen(kw_only=True)
class Work:
    seconds: float


@attrs.frozen(kw_only=True)
class Get(Request[int]):
    """How many?"""


class Worker(Actor[Any]):
    """Takes its time over everything, and writes it down."""

    def __init__(self, name: str, diary: list[str], *, start: float = 0, stop: float = 0, lazy: bool = False) -> None:
        self._name = name
        self._diary = diary
        self._start = start
        self._stop = stop
        self._lazy = lazy

    def write(self, what: str) -> None:
        self._diary.append(f"{trio.current_time():g} {self._name} {what}")

    async def started(self, ctx: Context[Any]) -> None:
        await trio.sleep(self._start)
        ctx.start_soon(self._serve)
        self.write("started")

    async def _serve(self) -> None:
        try:
            await trio.sleep_forever()
        finally:
            self.write("cancelled")

    async def receive(self, ctx: Context[Any], message: Any) -> None:
        await trio.sleep(message.seconds)
        self.write("worked")

    async def stopping(self, ctx: Context[Any], reason: StopReason) -> None:
        self.write(f"stopping {reason.value}")
        await trio.sleep(self._stop)


def worker(name: str, diary: list[str], *, spec: dict[str, Any] | None = None, **settings: Any) -> ActorSpec[Any]:
    return ActorSpec(
        **{"name": name, "factory": lambda: Worker(name, diary, **settings), "mailbox": ROOMY, **(spec or {})}
    )


async def test_each_is_ready_before_the_next_starts(autojump_clock: MockClock, tree: Any) -> None:
    diary: list[str] = []
    inner = tree.of(worker("b", diary, start=2), worker("c", diary, start=1), name="inner")
    async with run_system(tree.of(worker("a", diary, start=3), inner, worker("d", diary))) as system:
        assert diary == ["3 a started", "5 b started", "6 c started", "6 d started"]
        assert system.status is Status.RUNNING


async def test_messages_wait_for_an_actor_that_starts_later(autojump_clock: MockClock, tree: Any) -> None:
    probe = Probe()

    class Early(Actor[Any]):
        async def started(self, ctx: Context[Any]) -> None:
            assert ctx.lookup("late").tell_nowait("for you") is Delivery.DELIVERED

    async with run_system(tree.of(ActorSpec(name="early", factory=Early, mailbox=ROOMY), probe.spec("late"))):
        assert await probe.next() == "for you"


async def test_an_actor_that_is_not_ready_in_time_fails_the_start(autojump_clock: MockClock, tree: Any) -> None:
    diary: list[str] = []
    spec = tree.of(worker("a", diary), worker("b", diary, start=60, spec={"start_timeout": 7}), worker("c", diary))
    with pytest.raises(StartFailed, match="b did not start: it was not ready within 7 s"):
        await tree.system().run(spec)
    assert diary == ["0 a started", "7 a stopping shutdown", "7 a cancelled"]


async def test_stop_closes_drains_and_stops_in_reverse(autojump_clock: MockClock, tree: Any, log_lines: Any) -> None:
    diary: list[str] = []
    inner = tree.of(worker("b", diary), worker("c", diary, stop=1), name="inner")
    async with run_system(tree.of(worker("a", diary), inner, worker("d", diary))) as system:
        diary.clear()
        for _ in range(3):
            system.ref("inner/c").tell_nowait(Work(seconds=0.9))
        system.ref("d").tell_nowait(Work(seconds=2))
        await wait_all_tasks_blocked()
        system.request_stop("enough")
        await wait_all_tasks_blocked()
        assert await system.ref("d").tell(Work(seconds=1)) is Delivery.DEAD  # closed
        assert await system.ref("a").tell(Work(seconds=0)) is Delivery.DELIVERED  # its turn comes last
        assert system.statistics().find("d").status is Status.DRAINING
    assert diary == [
        "0 a worked",
        "0.9 c worked",
        "1.8 c worked",
        "2 d worked",
        "2 d stopping shutdown",
        "2 d cancelled",
        "2.7 c worked",
        "2.7 c stopping shutdown",
        "3.7 c cancelled",
        "3.7 b stopping shutdown",
        "3.7 b cancelled",
        "3.7 a stopping shutdown",
        "3.7 a cancelled",
    ]
    lines = log_lines()
    assert [line for line in lines if " started " in line] == [
        "INFO started a",
        "INFO started inner/b",
        "INFO started inner/c",
        "INFO started supervisor inner",
        "INFO started d",
        "INFO started supervisor (root)",
    ]
    assert lines[lines.index("INFO stopping the system (enough)") :] == [
        "INFO stopping the system (enough)",
        "INFO stopped d (shutdown)",
        "INFO stopped inner/c (shutdown)",
        "INFO stopped inner/b (shutdown)",
        "INFO stopped supervisor inner (shutdown)",
        "INFO stopped a (shutdown)",
        "INFO stopped supervisor (root) (shutdown)",
    ]
    assert system.status is Status.STOPPED


async def test_the_order_is_the_same_in_a_hundred_runs(autojump_clock: MockClock, tree: Any) -> None:
    stories = set()
    for _ in range(100):
        diary: list[str] = []
        groups = [
            tree.of(
                *(worker(f"{group}{number}", diary, stop=number % 2) for number in range(4)),
                name=group,
                strategy=strategy,
            )
            for group, strategy in zip("xyz", Strategy, strict=True)
        ]
        origin = trio.current_time()
        async with run_system(tree.of(*groups, worker("last", diary))) as system, system.subscribe(1000) as feed:
            for seconds, path in enumerate(("x/x1", "z/z3", "y/y0", "last"), start=1):
                system.ref(path).tell_nowait(Work(seconds=seconds))
            await wait_all_tasks_blocked()
            system.request_stop()
            stopped = [event.path async for event in feed if isinstance(event, ActorStopped)]
        stories.add((round(trio.current_time() - origin, 6), *stopped, *(line.split(" ", 1)[1] for line in diary)))
    assert len(stories) == 1
    assert list(stories.pop()[1:14]) == ["last", *(f"{g}/{g}{n}" for g, n in itertools.product("zyx", (3, 2, 1, 0)))]


async def test_draining_ends_at_its_deadline(autojump_clock: MockClock, tree: Any) -> None:
    diary: list[str] = []
    async with run_system(tree.of(worker("a", diary, spec={"drain_timeout": 2.5}))) as system:
        diary.clear()
        for _ in range(5):
            system.ref("a").tell_nowait(Work(seconds=1))
        await wait_all_tasks_blocked()
    assert diary == ["1 a worked", "2 a worked", "2.5 a stopping shutdown", "2.5 a cancelled"]
    # The one in hand and the two behind it.
    assert [(letter.reason, letter.message) for letter in system.dead_letters()] == [("shutdown", "Work")] * 3


async def test_stopping_ends_at_its_deadline(autojump_clock: MockClock, tree: Any, log_lines: Any) -> None:
    diary: list[str] = []
    async with run_system(tree.of(worker("a", diary, stop=100, spec={"stop_timeout": 3}))):
        diary.clear()
    assert diary == ["0 a stopping shutdown", "3 a cancelled"]
    assert "WARNING a was cut off while stopping, after 3 s" in log_lines()


async def test_one_deadline_bounds_the_whole_stop_and_keeps_the_order(autojump_clock: MockClock, tree: Any) -> None:
    diary: list[str] = []
    system = tree.system(stop_deadline=6)
    async with run_system(tree.of(*(worker(name, diary, stop=4) for name in "abcd")), system=system):
        diary.clear()
        system.ref("a").tell_nowait(Work(seconds=100))
    assert diary == [
        "0 d stopping shutdown",
        "4 d cancelled",
        "4 c stopping shutdown",
        "6 c cancelled",
        "6 b stopping shutdown",
        "6 b cancelled",
        "6 a stopping shutdown",
        "6 a cancelled",
    ]


async def test_a_stop_interrupts_a_start(autojump_clock: MockClock, tree: Any) -> None:
    diary: list[str] = []
    system = tree.system()
    spec = tree.of(worker("a", diary), worker("b", diary, start=20), worker("c", diary))
    async with trio.open_nursery() as nursery:
        nursery.start_soon(system.run, spec)
        await trio.sleep(5)
        assert system.status is Status.STARTING
        system.request_stop()
    assert diary == ["0 a started", "5 a stopping shutdown", "5 a cancelled"]


async def test_a_stop_before_the_start_and_a_second_run(autojump_clock: MockClock, tree: Any) -> None:
    diary: list[str] = []
    system = tree.system()
    assert system.status is Status.WAITING
    system.request_stop("early")
    async with trio.open_nursery() as nursery:  # noqa: ASYNC112 - `started` must have been called too
        await nursery.start(system.run, tree.of(worker("a", diary)))
    assert [line for line in diary if "cancelled" not in line] == []
    assert system.status.value == "stopped"
    with pytest.raises(ActorError, match="runs once"):
        await system.run(tree.of())


async def test_a_stop_interrupts_a_backoff_and_a_group_restart(autojump_clock: MockClock, tree: Any) -> None:
    for strategy in Strategy:
        diary: list[str] = []
        origin = trio.current_time()
        async with run_system(tree.of(worker("a", diary), worker("b", diary), strategy=strategy)) as system:
            system.ref("a").tell_nowait("no work has no seconds")
            await wait_all_tasks_blocked()
            assert system.statistics().find("a").status is Status.RESTARTING
            system.ref("a").tell_nowait(Work(seconds=1))
        assert trio.current_time() == origin
        assert sum("started" in line for line in diary) == 2
        assert system.statistics().find("a").status is Status.STOPPED
        assert system.dead_letters()[-1].reason == "shutdown"


async def test_asks_fail_at_once_when_the_system_stops(autojump_clock: MockClock, tree: Any) -> None:
    diary: list[str] = []
    failed: list[float] = []

    async def ask(ref: Any) -> None:
        with pytest.raises(AskFailed):
            await ref.ask(Get(), timeout=1000)
        failed.append(trio.current_time())

    async with (
        trio.open_nursery() as nursery,
        run_system(tree.of(worker("a", diary, spec={"drain_timeout": 2}))) as system,
    ):
        system.ref("a").tell_nowait(Work(seconds=100))
        await wait_all_tasks_blocked()
        nursery.start_soon(ask, system.ref("a"))  # noqa: ASYNC111 - it is to outlive the system
        await wait_all_tasks_blocked()
    assert failed == [2.0]


# Dynamic children


async def test_children_come_and_go(autojump_clock: MockClock, tree: Any) -> None:
    diary: list[str] = []
    async with run_system(tree.of(worker("a", diary), tree.of(name="sources"))) as system:
        sources = system.supervisor("sources")
        await sources.start_child(worker("x", diary, start=2))
        assert trio.current_time() == 2.0  # it is ready
        await sources.start_child(worker("y", diary))
        assert sources.children() == ("x", "y")
        assert await system.ref("sources/x").tell(Work(seconds=1)) is Delivery.DELIVERED
        await sources.stop_child("x")
        assert diary[-3:] == ["3 x worked", "3 x stopping removed", "3 x cancelled"]
        assert sources.children() == ("y",)
        assert await system.ref("sources/x").tell(Work(seconds=1)) is Delivery.DEAD
        await sources.start_child(worker("x", diary))
        assert await system.ref("sources/x").tell(Work(seconds=1)) is Delivery.DELIVERED  # the ref names the place
        assert_tree(
            system,
            """
            a running
            sources running (one_for_one)
              y running
              x running
            """,
        )


async def test_what_a_supervisor_refuses(autojump_clock: MockClock, tree: Any) -> None:
    diary: list[str] = []
    async with run_system(tree.of(worker("a", diary))) as system:
        root = system.supervisor("")
        with pytest.raises(NameTaken):
            await root.start_child(worker("a", diary))
        with pytest.raises(NameTaken):
            await root.start_child(worker("a/b", diary))
        with pytest.raises(UnknownActor):
            await root.stop_child("b")
        with pytest.raises(UnknownActor):
            await system.supervisor("a").stop_child("b")
        with pytest.raises(UnknownActor):
            system.supervisor("nowhere").children()
        with pytest.raises(StartFailed, match="slow did not start"):
            await root.start_child(worker("slow", diary, start=10, spec={"start_timeout": 1}))
        assert root.children() == ("a",)
        assert system.statistics().root.restarts == 0
    with pytest.raises(SupervisorStopped):
        await root.start_child(worker("b", diary))


async def test_a_cancelled_request_is_carried_out_all_the_same(autojump_clock: MockClock, tree: Any) -> None:
    diary: list[str] = []
    async with run_system(tree.of()) as system:
        with trio.move_on_after(1):
            await system.supervisor("").start_child(worker("a", diary, start=3))
        await trio.sleep(5)
        assert diary == ["3 a started"]
        assert_tree(system, "a running")


async def test_requests_fail_when_the_supervisor_stops(autojump_clock: MockClock, tree: Any) -> None:
    diary: list[str] = []
    outcomes: list[str] = []

    async def request(operation: Callable[..., Awaitable[None]], argument: Any) -> None:
        try:
            await operation(argument)
        except SupervisorStopped as error:
            outcomes.append(str(error))

    async with trio.open_nursery() as nursery, run_system(tree.of(worker("a", diary))) as system:
        root = system.supervisor("")
        nursery.start_soon(request, root.start_child, worker("b", diary, start=9))
        await wait_all_tasks_blocked()
        nursery.start_soon(request, root.stop_child, "a")  # waits for the other
        await wait_all_tasks_blocked()
    assert outcomes == ["supervisor (root) is stopping"] * 2
    assert diary == ["0 a started", "0 a stopping shutdown", "0 a cancelled"]


async def test_a_dynamic_child_can_be_removed_while_it_is_down(autojump_clock: MockClock, tree: Any) -> None:
    diary: list[str] = []
    async with run_system(tree.of()) as system:
        root = system.supervisor("")
        await root.start_child(worker("a", diary))
        system.ref("a").tell_nowait("no work has no seconds")
        await wait_all_tasks_blocked()
        await root.stop_child("a")
        await trio.sleep(5)
        assert root.children() == ()
        assert sum("started" in line for line in diary) == 1


async def test_dynamic_children_come_back_with_their_supervisor(autojump_clock: MockClock, tree: Any) -> None:
    diary: list[str] = []
    spec = tree.of(worker("a", diary), tree.of(name="sources"), strategy=Strategy.ONE_FOR_ALL)
    async with run_system(spec) as system:
        await system.supervisor("sources").start_child(worker("x", diary))
        system.ref("a").tell_nowait("no work has no seconds")
        await trio.sleep(1)
        assert system.supervisor("sources").children() == ("x",)
        assert sum("x started" in line for line in diary) == 2
        assert system.statistics().find("sources/x").status is Status.RUNNING


async def test_a_dynamic_child_that_ended_for_good_leaves_the_tree(autojump_clock: MockClock, tree: Any) -> None:
    class Once(Actor[Any]):
        async def receive(self, ctx: Context[Any], message: Any) -> None:
            ctx.stop()

    from actors import Restart

    async with run_system(tree.of()) as system:
        root = system.supervisor("")
        await root.start_child(ActorSpec(name="once", factory=Once, mailbox=ROOMY, restart=Restart.TEMPORARY))
        system.ref("once").tell_nowait("go")
        await wait_all_tasks_blocked()
        assert root.children() == ()


@pytest.mark.parametrize("how", ["by itself", "after a crash"])
async def test_the_deadline_of_the_stop_bounds_what_was_stopping_before(
    how: str, autojump_clock: MockClock, tree: Any
) -> None:
    class Slow(Actor[Any]):
        async def receive(self, ctx: Context[Any], message: Any) -> None:
            if how == "after a crash":
                raise ValueError("told to")
            ctx.stop()
            await trio.sleep(1000)

        async def stopping(self, ctx: Context[Any], reason: StopReason) -> None:
            await trio.sleep(1000)

    slow: ActorSpec[Any] = ActorSpec(name="a", factory=Slow, mailbox=ROOMY, drain_timeout=200, stop_timeout=200)
    async with run_system(tree.of(slow), system=tree.system(stop_deadline=5)) as system:
        await system.ref("a").tell(Work(seconds=0))
        await trio.sleep(1)
    assert trio.current_time() == 6.0


async def test_thousands_of_children_start_and_stop_in_linear_time(autojump_clock: MockClock, tree: Any) -> None:
    """Looked at by comparisons, not by the clock: 2,000 names cost 2,000 look-ups, not two million."""

    class Name(str):
        __slots__ = ()
        compared = 0

        def __eq__(self, other: object) -> bool:
            Name.compared += 1
            return str.__eq__(self, other)

        __hash__ = str.__hash__

    children = [Probe().spec(Name(f"a{number}")) for number in range(2000)]
    async with run_system(tree.of(*children)):
        pass
    assert Name.compared < 20_000
