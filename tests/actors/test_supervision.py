"""Supervision: who is restarted with whom, when, what becomes of the messages, and when it ends."""

import logging
from typing import Any

import attrs
import pytest
import trio
from trio.testing import MockClock, wait_all_tasks_blocked

from actors import (
    Actor,
    ActorCrashed,
    ActorSpec,
    Backoff,
    Context,
    Delivery,
    GaveUp,
    IncarnationOver,
    Intensity,
    NameTaken,
    Restart,
    RestartLimitReached,
    RestartScheduled,
    StartFailed,
    Status,
    StopReason,
    Strategy,
    SupervisorStopped,
)
from actors.testing import ROOMY, InjectedFault, Probe, assert_tree, crash_on_nth, run_actor, run_system

EXACT = Backoff(first=0.1, factor=2, maximum=1.0, jitter=0)


@attrs.frozen(kw_only=True)
class Note:
    text: str = ""


@attrs.frozen(kw_only=True)
class Crash:
    """Crash now."""


@attrs.frozen(kw_only=True)
class Finish:
    """End by your own wish."""


class Diary(Actor[Any]):
    """Writes what happens to it, and when, into a diary that the test holds."""

    def __init__(self, name: str, diary: list[str]) -> None:
        self._name = name
        self._diary = diary

    def write(self, what: str) -> None:
        self._diary.append(f"{trio.current_time():g} {self._name} {what}")

    async def started(self, ctx: Context[Any]) -> None:
        self.write("started")

    async def receive(self, ctx: Context[Any], message: Any) -> None:
        match message:
            case Crash():
                raise ValueError("told to")
            case Finish():
                ctx.stop()
            case Note(text=text):
                self.write(f"got {text}")

    async def stopping(self, ctx: Context[Any], reason: StopReason) -> None:
        self.write(f"stopping {reason.value}")


def actor(name: str, diary: list[str], **spec: Any) -> ActorSpec[Any]:
    return ActorSpec(
        **{"name": name, "factory": lambda: Diary(name, diary), "mailbox": ROOMY, "backoff": EXACT, **spec}
    )


async def test_one_for_one_restarts_one_and_keeps_its_mailbox(autojump_clock: MockClock, tree: Any) -> None:
    diary: list[str] = []
    async with run_system(tree.of(actor("a", diary), actor("b", diary))) as system:
        a = system.ref("a")
        for message in (Note(text="1"), Crash(), Note(text="2")):
            a.tell_nowait(message)
        await wait_all_tasks_blocked()
        assert await a.tell(Note(text="3")) is Delivery.DELIVERED  # the ref survives, the mailbox is open
        assert system.statistics().find("a").status is Status.RESTARTING
        await trio.sleep(1)
        assert diary == [
            "0 a started",
            "0 b started",
            "0 a got 1",
            "0 a stopping crashed",
            "0.1 a started",
            "0.1 a got 2",
            "0.1 a got 3",
        ]
        letters = [(letter.path, letter.reason, letter.message) for letter in system.dead_letters()]
        assert letters == [("a", "crashed", "Crash")]
        node = system.statistics().find("a")
        assert (node.restarts, node.last_error, node.status) == (1, "ValueError: told to", Status.RUNNING)


async def test_one_for_all_restarts_all_and_empties_their_mailboxes(autojump_clock: MockClock, tree: Any) -> None:
    diary: list[str] = []
    names = ("a", "b", "c")
    spec = tree.of(*(actor(name, diary) for name in names), strategy=Strategy.ONE_FOR_ALL)
    async with run_system(spec) as system:
        diary.clear()
        for name in names:
            system.ref(name).tell_nowait(Crash() if name == "b" else Note(text="before"))
            system.ref(name).tell_nowait(Note(text="before too"))
        with trio.move_on_after(0.05):  # while they are down, mailboxes take in what is for the next incarnations
            await trio.sleep(0.01)
            for name in names:
                await system.ref(name).tell(Note(text="after"))
            await trio.sleep_forever()
        await trio.sleep(1)
        befores = [line for line in diary if "before" in line]
        assert [line for line in diary if "before" not in line] == [
            "0 b stopping crashed",
            "0 c stopping restart",
            "0 a stopping restart",
            "0.1 a started",
            "0.1 a got after",
            "0.1 b started",
            "0.1 b got after",
            "0.1 c started",
            "0.1 c got after",
        ]
        lost = [letter for letter in system.dead_letters() if letter.reason == "restart"]
        assert len(befores) + len(lost) == 5  # handled before the crash, or a dead letter: none is lost in silence
        assert ("b", "restart", "Note") in [(letter.path, letter.reason, letter.message) for letter in lost]
        assert [system.statistics().find(name).restarts for name in names] == [0, 1, 0]


async def test_rest_for_one_restarts_those_after_it(autojump_clock: MockClock, tree: Any) -> None:
    diary: list[str] = []
    names = ("a", "b", "c", "d")
    spec = tree.of(*(actor(name, diary) for name in names), strategy=Strategy.REST_FOR_ONE)
    async with run_system(spec) as system:
        diary.clear()
        system.ref("b").tell_nowait(Crash())
        await trio.sleep(1)
        assert diary == [
            "0 b stopping crashed",
            "0 d stopping restart",
            "0 c stopping restart",
            "0.1 b started",
            "0.1 c started",
            "0.1 d started",
        ]


async def test_a_further_crash_during_a_group_restart_enlarges_the_group(autojump_clock: MockClock, tree: Any) -> None:
    diary: list[str] = []
    names = ("a", "b", "c")
    spec = tree.of(*(actor(name, diary) for name in names), strategy=Strategy.REST_FOR_ONE)
    async with run_system(spec) as system:
        diary.clear()
        system.ref("c").tell_nowait(Crash())
        await trio.sleep(0.05)
        system.ref("a").tell_nowait(Crash())
        await trio.sleep(1)
        assert diary == [
            "0 c stopping crashed",
            "0.05 a stopping crashed",
            "0.05 b stopping restart",
            "0.15 a started",
            "0.15 b started",
            "0.15 c started",
        ]


async def test_a_nested_supervisor_is_restarted_with_its_group(autojump_clock: MockClock, tree: Any) -> None:
    diary: list[str] = []
    inner = tree.of(actor("x", diary), actor("y", diary), name="inner")
    spec = tree.of(actor("a", diary), inner, actor("z", diary), strategy=Strategy.REST_FOR_ONE)
    async with run_system(spec) as system:
        diary.clear()
        system.ref("a").tell_nowait(Crash())
        await trio.sleep(1)
        assert diary == [
            "0 a stopping crashed",
            "0 z stopping restart",
            "0 y stopping restart",
            "0 x stopping restart",
            "0.1 a started",
            "0.1 x started",
            "0.1 y started",
            "0.1 z started",
        ]


async def test_backoff_grows_to_its_maximum_and_the_limit_ends_it(
    autojump_clock: MockClock, tree: Any, log_lines: Any
) -> None:
    starts: list[float] = []

    class Failing(Actor[Any]):
        async def started(self, ctx: Context[Any]) -> None:
            starts.append(trio.current_time())
            ctx.start_soon(self.fail)

        async def fail(self) -> None:
            raise OSError("broker refused the connection")

    spec = tree.of(
        ActorSpec(name="a", factory=Failing, mailbox=ROOMY, backoff=EXACT), intensity=Intensity(6, 60), name="root"
    )
    system = tree.system()
    with pytest.raises(RestartLimitReached) as caught:
        await system.run(spec)
    assert starts == pytest.approx([0, 0.1, 0.3, 0.7, 1.5, 2.5, 3.5])
    assert caught.value.child == "a"
    assert caught.value.restarts == 6
    assert "OSError: broker refused the connection" in str(caught.value)
    critical = [line for line in log_lines() if line.startswith("CRITICAL")]
    assert len(critical) == 1
    assert "gives up" in critical[0]


async def test_old_restarts_are_forgotten(autojump_clock: MockClock, tree: Any) -> None:
    diary: list[str] = []
    spec = tree.of(actor("a", diary), intensity=Intensity(2, 10))
    async with run_system(spec) as system:
        for _ in range(8):
            system.ref("a").tell_nowait(Crash())
            await trio.sleep(6)
        assert system.statistics().find("a").restarts == 8
        starts = [line for line in diary if line.endswith("started")]
        assert starts[:4] == ["0 a started", "0.1 a started", "6.2 a started", "12.2 a started"]


async def test_a_child_may_have_an_intensity_of_its_own(autojump_clock: MockClock, tree: Any) -> None:
    diary: list[str] = []
    spec = tree.of(
        actor("fragile", diary, intensity=Intensity(1, 60)), actor("sturdy", diary), intensity=Intensity(100, 60)
    )

    async def story() -> None:
        async with run_system(spec) as system:
            for _ in range(5):
                system.ref("sturdy").tell_nowait(Crash())
                await trio.sleep(2)
            for _ in range(2):
                system.ref("fragile").tell_nowait(Crash())
                await trio.sleep(2)

    with pytest.raises(RestartLimitReached, match="fragile needed more than 1 restarts in 60 s"):
        await story()


def test_jitter_shortens_the_wait_reproducibly(tree: Any) -> None:
    import random

    backoff = Backoff(first=1, factor=2, maximum=8, jitter=0.5)
    delays = [backoff.delay(number, random.Random(number)) for number in range(1, 8)]
    for full, delay in zip([1, 2, 4, 8, 8, 8, 8], delays, strict=True):
        assert full / 2 <= delay <= full
    assert delays == [backoff.delay(number, random.Random(number)) for number in range(1, 8)]
    assert EXACT.delay(100_000, random.Random()) == 1.0


async def test_escalation_restarts_the_supervisor_and_empties_its_mailboxes(
    autojump_clock: MockClock, tree: Any, log_lines: Any
) -> None:
    diary: list[str] = []
    inner = tree.of(
        actor("x", diary), actor("y", diary), name="inner", intensity=Intensity(1, 60), backoff=Backoff(0.5, 2, 9, 0)
    )
    events: list[Any] = []
    async with run_system(tree.of(actor("a", diary), inner)) as system, system.subscribe(100) as feed:
        diary.clear()
        x = system.ref("inner/x")
        for message in (Crash(), Crash(), Note(text="lost")):
            x.tell_nowait(message)
        await trio.sleep(0.3)
        assert await x.tell(Note(text="kept")) is Delivery.DELIVERED  # for the next incarnation
        await trio.sleep(2)
        assert diary == [
            "0 x stopping crashed",
            "0.1 x started",
            "0.1 x stopping crashed",
            "0.1 y stopping restart",
            "0.6 x started",
            "0.6 x got kept",  # it is ready, whether or not its siblings are
            "0.6 y started",
        ]
        events = [event for event in feed.take_all() if isinstance(event, GaveUp)]
        assert [(event.path, event.child, event.error) for event in events] == [
            ("inner", "inner/x", "ValueError: told to")
        ]
        assert ("inner/x", "restart") in [(letter.path, letter.reason) for letter in system.dead_letters()]
        assert system.statistics().find("inner").restarts == 1
        assert_tree(
            system,
            """
            a running
            inner running (one_for_one)
              x running
              y running
            """,
        )


async def test_giving_up_is_loud_and_stops_the_rest_in_order(
    autojump_clock: MockClock, tree: Any, log_lines: Any
) -> None:
    diary: list[str] = []
    spec = tree.of(
        *(actor(name, diary, **({"intensity": Intensity(0, 1)} if name == "b" else {})) for name in ("a", "b", "c"))
    )
    system = tree.system()

    async def story() -> None:
        async with run_system(spec, system=system), system.subscribe(100) as feed:
            system.ref("c").tell_nowait(Note(text="drained"))
            system.ref("b").tell_nowait(Crash())
            async for event in feed:
                if isinstance(event, GaveUp):
                    assert (event.path, event.child) == ("", "b")
                    break
            await trio.sleep_forever()

    with pytest.raises(RestartLimitReached):
        await story()
    assert diary[3:] == ["0 c got drained", "0 b stopping crashed", "0 c stopping shutdown", "0 a stopping shutdown"]
    assert any(line.startswith("CRITICAL supervisor (root) gives up: b") for line in log_lines())
    assert system.status is Status.FAILED
    assert system.statistics().find("b").status is Status.FAILED
    assert system.statistics().find("c").status is Status.STOPPED


@pytest.mark.parametrize(
    ("restart", "message", "again"),
    [
        (Restart.PERMANENT, Crash(), True),
        (Restart.PERMANENT, Finish(), True),
        (Restart.TRANSIENT, Crash(), True),
        (Restart.TRANSIENT, Finish(), False),
        (Restart.TEMPORARY, Crash(), False),
        (Restart.TEMPORARY, Finish(), False),
    ],
)
async def test_when_a_child_is_started_again(
    autojump_clock: MockClock, tree: Any, restart: Restart, message: Any, again: bool
) -> None:
    diary: list[str] = []
    async with run_system(tree.of(actor("a", diary, restart=restart))) as system:
        system.ref("a").tell_nowait(message)
        system.ref("a").tell_nowait(Note(text="x"))
        await trio.sleep(1)
        assert ("0.1 a started" in diary) is again
        alive = Status.RUNNING
        gone = Status.STOPPED if isinstance(message, Finish) else Status.FAILED
        assert system.statistics().find("a").status is (alive if again else gone)
        assert (await system.ref("a").tell(Note(text="y")) is Delivery.DEAD) is not again


async def test_temporary_children_do_not_come_back_with_their_group(autojump_clock: MockClock, tree: Any) -> None:
    diary: list[str] = []
    spec = tree.of(
        actor("a", diary),
        actor("b", diary, restart=Restart.TEMPORARY),
        actor("c", diary),
        strategy=Strategy.ONE_FOR_ALL,
    )
    async with run_system(spec) as system:
        diary.clear()
        system.ref("a").tell_nowait(Crash())
        await trio.sleep(1)
        assert diary[-2:] == ["0.1 a started", "0.1 c started"]
        assert system.statistics().find("b").status is Status.STOPPED


async def test_a_crash_in_a_background_task_is_the_actors_crash(autojump_clock: MockClock, tree: Any) -> None:
    class Host(Diary):
        async def receive(self, ctx: Context[Any], message: Any) -> None:
            match message:
                case Crash():
                    ctx.start_soon(self.fail)
                case Note():
                    await trio.sleep_forever()

        async def fail(self) -> None:
            await trio.sleep(2)
            raise KeyError("socket")

    diary: list[str] = []
    async with run_system(tree.of(actor("a", diary, factory=lambda: Host("a", diary)))) as system:
        system.ref("a").tell_nowait(Crash())
        system.ref("a").tell_nowait(Note(text="in hand"))
        await trio.sleep(5)
        assert diary == ["0 a started", "2 a stopping crashed", "2.1 a started"]
        assert system.statistics().find("a").last_error == "KeyError: 'socket'"
        assert [letter.message for letter in system.dead_letters()] == ["Note"]  # what it had in hand


async def test_start_reports_what_a_background_task_is_ready_with(autojump_clock: MockClock, tree: Any) -> None:
    ports: list[int] = []

    class Server(Actor[Any]):
        async def started(self, ctx: Context[Any]) -> None:
            ports.append(await ctx.start(self.listen, 53))

        async def listen(self, port: int, *, task_status: trio.TaskStatus[int]) -> None:
            await trio.sleep(1)
            task_status.started(port)
            await trio.sleep_forever()

    async with run_actor(Server):
        assert ports == [53]
        assert trio.current_time() == 1.0


async def test_a_failing_restart_counts_as_one_more_crash(autojump_clock: MockClock, tree: Any) -> None:
    starts: list[float] = []

    class Starts(Actor[Any]):
        async def started(self, ctx: Context[Any]) -> None:
            starts.append(trio.current_time())
            if len(starts) in (2, 3):
                raise OSError("still in use")

        async def receive(self, ctx: Context[Any], message: Any) -> None:
            raise ValueError("told to")

    async with run_system(tree.of(ActorSpec(name="a", factory=Starts, mailbox=ROOMY, backoff=EXACT))) as system:
        system.ref("a").tell_nowait(Crash())
        await trio.sleep(5)
        assert starts == pytest.approx([0, 0.1, 0.3, 0.7])
        assert system.statistics().find("a").last_error == "StartFailed: a did not start: OSError: still in use"


async def test_a_slow_restart_does_not_hold_up_its_siblings(autojump_clock: MockClock, tree: Any) -> None:
    slow = {"seconds": 0.0}
    diary: list[str] = []

    class Slow(Diary):
        async def started(self, ctx: Context[Any]) -> None:
            await trio.sleep(slow["seconds"])
            await super().started(ctx)

    async with run_system(
        tree.of(actor("slow", diary, factory=lambda: Slow("slow", diary)), actor("b", diary))
    ) as system:
        slow["seconds"] = 20
        diary.clear()
        system.ref("slow").tell_nowait(Crash())
        await trio.sleep(1)
        system.ref("b").tell_nowait(Crash())
        await trio.sleep(30)
        assert diary == [
            "0 slow stopping crashed",
            "1 b stopping crashed",
            "1.1 b started",
            "20.1 slow started",
        ]


async def test_the_message_after_a_crash_is_not_handled_twice(autojump_clock: MockClock, tree: Any) -> None:
    probe = Probe()
    factory = crash_on_nth(lambda: probe, 2)
    async with run_system(tree.of(ActorSpec(name="a", factory=factory, mailbox=ROOMY))) as system:
        for text in ("1", "2", "3"):
            system.ref("a").tell_nowait(Note(text=text))
        await trio.sleep(1)
        assert [message.text for message in probe.messages] == ["1", "3"]
        assert system.statistics().find("a").last_error == "InjectedFault: on message 2, Note"


async def test_events_tell_the_story_of_a_crash(autojump_clock: MockClock, tree: Any) -> None:
    diary: list[str] = []
    async with run_system(tree.of(actor("a", diary))) as system, system.subscribe(10) as feed:
        system.ref("a").tell_nowait(Crash())
        await trio.sleep(1)
        story = [type(event).__name__ for event in feed.take_all()]
        assert story == ["ActorCrashed", "DeadLetter", "RestartScheduled", "ActorStarted"]
        system.ref("a").tell_nowait(Crash())
        await trio.sleep(1)
        crashed, _, scheduled, _ = feed.take_all()
        assert isinstance(crashed, ActorCrashed)
        assert (crashed.error, crashed.message) == ("ValueError: told to", "Crash")
        assert isinstance(scheduled, RestartScheduled)
        assert (scheduled.delay, scheduled.restarts) == (0.2, 2)


async def test_an_exception_group_is_unwrapped(autojump_clock: MockClock, tree: Any) -> None:
    class Nested(Actor[Any]):
        async def receive(self, ctx: Context[Any], message: Any) -> None:
            async with trio.open_nursery() as outer, trio.open_nursery() as inner:
                outer.start_soon(trio.sleep_forever)
                inner.start_soon(self.fail)

        async def fail(self) -> None:
            raise LookupError("deep inside")

    async with run_actor(Nested) as running:
        running.ref.tell_nowait(Crash())
        await trio.sleep(1)
        assert running.system.statistics().find("actor").last_error == "LookupError: deep inside"


async def test_cancelling_the_run_passes_through(autojump_clock: MockClock, tree: Any) -> None:
    diary: list[str] = []
    system = tree.system()
    async with trio.open_nursery() as nursery:
        await nursery.start(system.run, tree.of(actor("a", diary)))
        nursery.cancel_scope.cancel()
    assert diary == ["0 a started"]  # the emergency exit: nothing more is called


async def test_an_actor_that_fails_while_stopping_does_not_stop_the_stop(
    autojump_clock: MockClock, tree: Any, log_lines: Any
) -> None:
    class Bad(Diary):
        async def stopping(self, ctx: Context[Any], reason: StopReason) -> None:
            raise OSError("on the way out")

    diary: list[str] = []
    async with run_system(tree.of(actor("a", diary), actor("b", diary, factory=lambda: Bad("b", diary)))):
        pass
    assert diary == ["0 a started", "0 b started", "0 a stopping shutdown"]
    assert "ERROR b failed while stopping: OSError: on the way out" in log_lines()


async def test_first_start_is_all_or_nothing(autojump_clock: MockClock, tree: Any) -> None:
    class Broken(Diary):
        async def started(self, ctx: Context[Any]) -> None:
            raise InjectedFault("no disk")

    diary: list[str] = []
    spec = tree.of(actor("a", diary), actor("b", diary, factory=lambda: Broken("b", diary)), actor("c", diary))
    with pytest.raises(StartFailed, match="b did not start: InjectedFault: no disk"):
        async with run_system(spec):
            raise AssertionError("it is not ready")
    assert diary == ["0 a started", "0 a stopping shutdown"]


def test_logging_is_the_librarys_own() -> None:
    assert logging.getLogger("actors").handlers == []


async def test_a_sibling_finishes_the_message_in_hand_before_it_is_restarted(
    autojump_clock: MockClock, tree: Any
) -> None:
    class Slow(Diary):
        async def receive(self, ctx: Context[Any], message: Any) -> None:
            await trio.sleep(float(message.text))
            self.write(f"did {message.text}")

    diary: list[str] = []
    slow = actor("slow", diary, factory=lambda: Slow("slow", diary), drain_timeout=4)
    spec = tree.of(actor("a", diary), slow, strategy=Strategy.ONE_FOR_ALL)
    async with run_system(spec) as system:
        for seconds, outcome in (("3", ["3 slow did 3"]), ("50", [])):
            diary.clear()
            origin = trio.current_time()
            system.ref("slow").tell_nowait(Note(text=seconds))
            system.ref("slow").tell_nowait(Note(text="1"))
            await wait_all_tasks_blocked()
            system.ref("a").tell_nowait(Crash())
            await trio.sleep(10)
            assert [line for line in diary if "did" in line] == outcome
            assert sum(line.endswith("slow stopping restart") for line in diary) == 1
            assert trio.current_time() == origin + 10
        letters = [letter.reason for letter in system.dead_letters() if letter.path == "slow"]
        assert letters == ["restart"] * 3  # the one behind, twice, and the one that was cut off


async def test_a_crash_while_draining_ends_the_draining(autojump_clock: MockClock, tree: Any, log_lines: Any) -> None:
    class Slow(Diary):
        async def receive(self, ctx: Context[Any], message: Any) -> None:
            await trio.sleep(1)
            await super().receive(ctx, message)

    diary: list[str] = []
    async with run_system(tree.of(actor("a", diary, factory=lambda: Slow("a", diary)))) as system:
        for message in (Note(text="1"), Crash(), Note(text="2")):
            system.ref("a").tell_nowait(message)
        await wait_all_tasks_blocked()
    assert diary == ["0 a started", "1 a got 1", "2 a stopping shutdown"]
    assert "ERROR a failed while stopping: ValueError: told to" in log_lines()
    assert [letter.message for letter in system.dead_letters()] == ["Crash", "Note"]
    assert system.statistics().find("a").last_error == "ValueError: told to"


async def test_an_actor_that_wanted_to_end_and_crashed_on_the_way_has_crashed(
    autojump_clock: MockClock, tree: Any
) -> None:
    diary: list[str] = []
    async with run_system(tree.of(actor("a", diary, restart=Restart.TRANSIENT))) as system:
        system.ref("a").tell_nowait(Finish())
        system.ref("a").tell_nowait(Crash())
        await trio.sleep(1)
        assert diary == ["0 a started", "0 a stopping crashed", "0.1 a started"]


async def test_an_actor_may_end_while_it_starts(autojump_clock: MockClock, tree: Any) -> None:
    class Idle(Diary):
        async def started(self, ctx: Context[Any]) -> None:
            ctx.stop()
            await trio.sleep(5)

    diary: list[str] = []
    idle = actor("idle", diary, factory=lambda: Idle("idle", diary), restart=Restart.TRANSIENT)
    async with run_system(tree.of(idle, actor("b", diary))) as system:
        assert diary == ["0 b started"]
        assert system.statistics().find("idle").status is Status.STOPPED


async def test_a_supervisor_can_come_and_go_too(autojump_clock: MockClock, tree: Any) -> None:
    diary: list[str] = []
    async with run_system(tree.of()) as system:
        root = system.supervisor("")
        await root.start_child(tree.of(actor("x", diary), actor("y", diary), name="group"))
        await system.supervisor("group").start_child(actor("z", diary))
        await root.stop_child("group")
        assert [line.split(" ", 1)[1] for line in diary[3:]] == [f"{name} stopping removed" for name in "zyx"]
        assert await system.ref("group/x").tell(Note()) is Delivery.DEAD
        assert root.children() == ()


async def test_a_duplicate_name_in_a_tree_is_refused(autojump_clock: MockClock, tree: Any) -> None:
    with pytest.raises(NameTaken, match="'a' is no name for one more child"):
        await tree.system().run(tree.of(actor("a", []), actor("a", [])))


async def test_restarts_are_shown_to_the_next_incarnation(autojump_clock: MockClock, tree: Any) -> None:
    seen: list[Any] = []

    class Curious(Diary):
        async def started(self, ctx: Context[Any]) -> None:
            seen.append((ctx.restarts, ctx.last_error))

    async with run_system(tree.of(actor("a", [], factory=lambda: Curious("a", [])))) as system:
        system.ref("a").tell_nowait(Crash())
        await trio.sleep(1)
        assert seen == [(0, None), (1, "ValueError: told to")]


def flaky(name: str, diary: list[str], failures: list[float]) -> ActorSpec[Any]:
    """An actor whose start fails once for each entry of `failures`, which takes so many seconds."""

    class Flaky(Diary):
        async def started(self, ctx: Context[Any]) -> None:
            if failures:
                await trio.sleep(failures.pop())
                raise OSError("not yet")
            await super().started(ctx)

    return ActorSpec(name=name, factory=lambda: Flaky(name, diary), mailbox=ROOMY, backoff=EXACT)


async def test_a_restarted_supervisor_whose_child_fails_to_start_is_restarted_again(
    autojump_clock: MockClock, tree: Any
) -> None:
    diary: list[str] = []
    failures: list[float] = []
    inner = tree.of(flaky("a", diary, failures), actor("b", diary), name="s", backoff=EXACT)
    async with run_system(
        tree.of(actor("x", diary), inner, strategy=Strategy.ONE_FOR_ALL, intensity=Intensity(9, 60))
    ) as system:
        await system.ref("s/a").tell(Crash())  # from here on `a` counts as one that was restarted
        await trio.sleep(1)
        failures.append(0)
        await system.ref("x").tell(Crash())
        await trio.sleep(10)
        assert_tree(system, "x running\ns running (one_for_one)\n  a running\n  b running")


async def test_a_child_that_was_being_added_leaves_with_its_supervisor(autojump_clock: MockClock, tree: Any) -> None:
    diary: list[str] = []
    added: list[Exception] = []
    inner = tree.of(actor("a", diary), name="s", intensity=Intensity(0, 60), backoff=EXACT)
    async with run_system(tree.of(inner)) as system, trio.open_nursery() as nursery:

        async def add() -> None:
            try:
                await system.supervisor("s").start_child(flaky("late", diary, [0, 5]))
            except SupervisorStopped as exc:
                added.append(exc)

        nursery.start_soon(add)
        await trio.sleep(1)
        await system.ref("s/a").tell(Crash())
        await trio.sleep(10)
        assert len(added) == 1
        assert_tree(system, "s running (one_for_one)\n  a running")


async def test_a_temporary_child_that_ends_during_a_group_restart_leaves_once(
    autojump_clock: MockClock, tree: Any
) -> None:
    class Slow(Diary):
        async def stopping(self, ctx: Context[Any], reason: StopReason) -> None:
            await trio.sleep(1)

    diary: list[str] = []
    async with run_system(tree.of(actor("a", diary), strategy=Strategy.ONE_FOR_ALL)) as system:
        await system.supervisor("").start_child(
            actor("t", diary, factory=lambda: Slow("t", diary), restart=Restart.TEMPORARY)
        )
        await system.ref("t").tell(Crash())
        await system.ref("a").tell(Crash())
        await trio.sleep(10)
        assert_tree(system, "a running")


async def test_a_child_that_crashes_while_it_is_removed_is_not_revived(autojump_clock: MockClock, tree: Any) -> None:
    class Slow(Diary):
        async def stopping(self, ctx: Context[Any], reason: StopReason) -> None:
            await trio.sleep(1)

    diary: list[str] = []
    for _ in range(20):  # the order of two tasks decides
        async with run_system(tree.of(actor("a", diary, factory=lambda: Slow("a", diary)))) as system:
            await system.ref("a").tell(Crash())
            await wait_all_tasks_blocked()
            await system.supervisor("").stop_child("a")
            diary.clear()
            await trio.sleep(10)
            assert diary == []


async def test_a_child_is_removed_in_the_tick_in_which_it_is_revived(autojump_clock: MockClock, tree: Any) -> None:
    at_once = Backoff(first=0, maximum=0)
    diary: list[str] = []
    async with run_system(tree.of(intensity=Intensity(10**6, 1))) as system:
        for pause in range(8):
            for _ in range(8):
                await system.supervisor("").start_child(actor("a", diary, backoff=at_once))
                await system.ref("a").tell(Crash())
                for _ in range(pause):
                    await trio.lowlevel.checkpoint()
                with trio.fail_after(60):
                    await system.supervisor("").stop_child("a")
                assert system.supervisor("").children() == ()


async def test_an_incarnation_that_is_over_leaves_nothing_to_the_next(autojump_clock: MockClock, tree: Any) -> None:
    refused: list[str] = []

    class Late(Diary):
        async def stopping(self, ctx: Context[Any], reason: StopReason) -> None:
            for begin in (
                lambda: ctx.watch(ctx.lookup("nobody"), lambda down: Note(text="down")),
                lambda: ctx.send_every(5, Note(text="tick"), at_once=True),
                lambda: ctx.send_after(5, Note(text="tick")),
                lambda: ctx.start_soon(trio.sleep_forever),
            ):
                if reason is StopReason.CRASHED:
                    with pytest.raises(IncarnationOver, match="this incarnation of a is over"):
                        begin()
                    refused.append(reason.value)

    diary: list[str] = []
    async with run_system(tree.of(actor("a", diary, factory=lambda: Late("a", diary)))) as system:
        await system.ref("a").tell(Crash())
        await trio.sleep(20)
    assert len(refused) == 4
    assert [entry for entry in diary if "got" in entry] == []


async def test_one_that_ended_by_itself_and_comes_back_takes_messages_meanwhile(
    autojump_clock: MockClock, tree: Any
) -> None:
    diary: list[str] = []
    async with run_system(tree.of(actor("a", diary))) as system:
        await system.ref("a").tell(Finish())
        await wait_all_tasks_blocked()
        assert await system.ref("a").tell(Note(text="meanwhile")) is Delivery.DELIVERED
        await trio.sleep(10)
    assert "got meanwhile" in " ".join(diary)


@pytest.mark.parametrize("error", [KeyboardInterrupt, SystemExit, GeneratorExit])
async def test_what_is_no_exception_is_no_crash_and_ends_the_run(
    error: type[BaseException], autojump_clock: MockClock, tree: Any
) -> None:
    class Fatal(Diary):
        async def receive(self, ctx: Context[Any], message: Any) -> None:
            raise error

    diary: list[str] = []
    system = tree.system()

    async def run() -> None:
        fatal = actor("b", diary, factory=lambda: Fatal("b", diary))
        async with run_system(tree.of(actor("a", diary), fatal), system=system):
            await system.ref("b").tell(Note())
            await trio.sleep_forever()

    with pytest.raises(BaseExceptionGroup) as caught:
        await run()
    assert caught.group_contains(error)
    assert await system.ref("a").tell(Note()) is Delivery.DEAD


async def test_a_failure_on_the_way_out_is_not_the_cancellers(
    autojump_clock: MockClock, tree: Any, log_lines: Any
) -> None:
    class Clumsy(Diary):
        async def receive(self, ctx: Context[Any], message: Any) -> None:
            async with trio.open_nursery() as nursery:
                nursery.start_soon(self.clean_up)
                await trio.sleep_forever()

        async def clean_up(self) -> None:
            try:
                await trio.sleep_forever()
            finally:
                raise OSError("could not clean up")

    diary: list[str] = []
    async with trio.open_nursery() as nursery:
        system = tree.system()
        await nursery.start(system.run, tree.of(actor("a", diary, factory=lambda: Clumsy("a", diary))))
        await system.ref("a").tell(Note())
        await wait_all_tasks_blocked()
        nursery.cancel_scope.cancel()
    assert "ERROR a failed while it was cancelled: OSError: could not clean up" in log_lines()
