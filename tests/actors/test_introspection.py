"""Looking inside: statistics, events and traces, which answer whatever the actors do, and show no payload."""

import json
import logging
import time
from typing import Any, ClassVar

import attrs
import pytest
import trio
from trio.testing import MockClock, wait_all_tasks_blocked

from actors import (
    Actor,
    ActorError,
    ActorSpec,
    ActorStuck,
    AskFailed,
    Context,
    MailboxSpec,
    MessageDropped,
    Overflow,
    Request,
    Status,
    SystemEvent,
    TraceEntry,
    UnknownActor,
    describe,
)
from actors.statistics import LatencyHistogram
from actors.testing import ROOMY, Probe, assert_tree, render_tree, run_actor, run_system, stall

SECRET = "s3cr3t"


@attrs.frozen(kw_only=True)
class Letter:
    text: str


@attrs.frozen(kw_only=True)
class Block:
    text: str

    def __len__(self) -> int:
        return 42


@attrs.frozen(kw_only=True)
class Summed:
    text: str

    def summary(self) -> str:
        return "names=3"


@attrs.frozen(kw_only=True)
class Diary:
    private: ClassVar[bool] = True
    text: str


@attrs.frozen(kw_only=True)
class Broken:
    text: str

    def summary(self) -> str:
        raise ValueError("oops")


@attrs.frozen(kw_only=True)
class Ask(Request[int]):
    text: str


class Slow(Actor[Any]):
    """Takes a second for each character."""

    async def receive(self, ctx: Context[Any], message: Any) -> None:
        await trio.sleep(len(message.text))
        if message.text == "crash":
            raise ValueError("told to")


@pytest.mark.parametrize(
    ("message", "shown"),
    [
        (Letter(text=SECRET), "Letter"),
        (Block(text=SECRET), "Block len=42"),
        (Summed(text=SECRET), "Summed names=3"),
        (Diary(text=SECRET), "(private)"),
        (Broken(text=SECRET), "Broken"),
        (Ask(text=SECRET), "Ask"),
        (SECRET, f"str len={len(SECRET)}"),
        (Letter, "type"),
    ],
)
def test_a_message_is_shown_without_its_payload(message: Any, shown: str) -> None:
    assert describe(message) == shown


async def test_statistics_answer_while_an_actor_is_stuck(autojump_clock: MockClock, tree: Any, log_lines: Any) -> None:
    system = tree.system(stuck_after=10)
    spec = tree.of(
        ActorSpec(name="slow", factory=stall(Probe, 35, Letter), mailbox=ROOMY),
        ActorSpec(name="quick", factory=Probe, mailbox=ROOMY),
    )
    async with run_system(spec, system=system), system.subscribe(10) as feed:
        await trio.sleep(3)
        system.ref("slow").tell_nowait(Letter(text=SECRET))
        system.ref("slow").tell_nowait(Block(text=SECRET))
        await trio.sleep(9.5)
        node = system.statistics().find("slow")
        assert (node.status, node.current, node.current_seconds) == (Status.RUNNING, "Letter", 9.5)
        event = await anext(feed)
        assert trio.current_time() == 13.0  # exactly ten seconds after it took the message
        assert event == ActorStuck(at=event.at, path="slow", message="Letter", seconds=10.0)
        await trio.sleep(20)
        node = system.statistics().find("slow")
        assert node.status is Status.STUCK
        assert node.current_seconds == 30.0
        assert node.uptime == 33.0
        assert node.mailbox is not None
        assert node.mailbox.depth == 1
        assert system.statistics().find("quick").status is Status.RUNNING
        await trio.sleep(20)
        assert system.statistics().find("slow").status is Status.RUNNING
        assert [type(event).__name__ for event in feed.take_all()] == []  # said once
    assert [line for line in log_lines() if line.startswith("WARNING")] == [
        "WARNING slow is stuck: it has handled Letter for 10 s",
        "WARNING slow is no longer stuck: it handled Letter in 35.000 s",
    ]


async def test_statistics_of_an_actor(autojump_clock: MockClock) -> None:
    async with run_actor(Slow, mailbox=MailboxSpec(8, Overflow.REJECT)) as running:
        for text in ("1", "22", "4444", "88888888"):
            running.ref.tell_nowait(Letter(text=text))
        await trio.sleep(16)
        node = running.system.statistics().find("actor")
        assert (node.path, node.name, node.status, node.processed, node.current) == (
            "actor",
            "actor",
            Status.RUNNING,
            4,
            None,
        )
        assert node.latency is not None
        assert (node.latency.count, node.latency.maximum) == (4, 8.0)
        assert 2 <= node.latency.p50 <= 4
        assert node.latency.p99 == 8.0
        assert node.mailbox is not None
        assert (node.mailbox.depth, node.mailbox.high_water, node.mailbox.overflow) == (0, 4, "reject")
        assert node.uptime == 16.0
        assert node.last_error is None
        running.ref.tell_nowait(Letter(text="crash"))
        await trio.sleep(5.05)
        node = running.system.statistics().find("actor")
        assert (node.status, node.uptime, node.last_error) == (Status.RESTARTING, 0.0, "ValueError: told to")
        assert node.last_error_at == 1_700_000_000_000_000 + 21_000_000


async def test_statistics_are_plain_values(autojump_clock: MockClock, tree: Any) -> None:
    inner = tree.of(ActorSpec(name="x", factory=Probe, mailbox=ROOMY), name="inner")
    async with run_system(tree.of(inner)) as system:
        statistics = system.statistics()
        text = json.dumps(attrs.asdict(statistics), default=lambda value: value.value)
        assert json.loads(text)["root"]["children"][0]["children"][0]["path"] == "inner/x"
        assert statistics.find("inner").strategy == "one_for_one"
        with pytest.raises(KeyError):
            statistics.find("nothing")
        assert render_tree(statistics.root) == "inner running (one_for_one)\n  x running"
        with pytest.raises(AssertionError, match="the tree is"):
            assert_tree(system, "something else")


def test_statistics_before_a_run(tree: Any) -> None:
    system = tree.system()
    with pytest.raises(ActorError, match="does not run"):
        system.statistics()
    with pytest.raises(UnknownActor):
        system.trace("a", 1)
    assert repr(system) == "<actor system waiting>"


def test_quantiles_round_up_within_a_factor_of_two() -> None:
    histogram = LatencyHistogram()
    assert histogram.statistics().p50 == 0.0
    for milliseconds in range(1, 1001):
        histogram.add(milliseconds / 1000)
    found = histogram.statistics()
    assert (found.count, found.maximum) == (1000, 1.0)
    for exact, quantile in ((0.5, found.p50), (0.9, found.p90), (0.99, found.p99)):
        assert exact <= quantile <= 2 * exact
    histogram.add(1e9)
    assert histogram.statistics().maximum == 1e9


# Traces


async def test_a_trace_follows_messages_live_and_across_restarts(autojump_clock: MockClock) -> None:
    async with run_actor(Slow, mailbox=MailboxSpec(2, Overflow.REJECT)) as running:
        running.ref.tell_nowait(Letter(text="untraced"))
        await trio.sleep(10)
        async with running.system.trace("actor", 100) as trace:
            running.ref.tell_nowait(Block(text="22"))
            await wait_all_tasks_blocked()
            for text in ("crash", "1", "no room"):
                running.ref.tell_nowait(Letter(text=text))
            await trio.sleep(20)
            entries = trace.take_all()
        running.ref.tell_nowait(Letter(text="untraced"))
        await trio.sleep(20)
        assert trace.take_all() == ()
    start = 1_700_000_000_000_000 + 10_000_000
    found = [(entry.kind, entry.message, entry.seconds, entry.at - start) for entry in entries]
    assert found[:5] == [
        ("received", "Block len=42", 0.0, 0),
        ("dropped", "Letter", 0.0, 0),
        ("handled", "Block len=42", 2.0, 2_000_000),
        ("received", "Letter", 0.0, 2_000_000),
        ("failed", "Letter", 5.0, 7_000_000),
    ]
    assert [entry[:3] for entry in found[5:]] == [("received", "Letter", 0.0), ("handled", "Letter", 1.0)]


async def test_nothing_private_is_kept(autojump_clock: MockClock, tree: Any, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG)
    seen: list[Any] = []
    async with run_actor(Slow, mailbox=MailboxSpec(1, Overflow.DROP_OLDEST), drain_timeout=0) as running:
        system = running.system
        async with system.trace("actor", 100) as trace, system.subscribe(100) as feed:
            for message in (Diary(text=SECRET), Letter(text=SECRET), Diary(text="crash"), Diary(text=SECRET)):
                running.ref.tell_nowait(message)
                await wait_all_tasks_blocked()
            await trio.sleep(60)
            running.ref.tell_nowait(Diary(text="crash"))
            await trio.sleep(60)
            system.ref("nobody").tell_nowait(Diary(text=SECRET))
            with pytest.raises(AskFailed) as caught:
                await system.ref("nobody").ask(Ask(text=SECRET))
            seen += [system.dead_letters(), system.statistics(), trace.take_all(), feed.take_all(), caught.value]
            seen += [running.ref, system.supervisor(""), trace, system.find("actor")]
            assert {letter.message for letter in system.dead_letters()} == {"(private)", "Ask"}
    shown = repr(seen) + str(seen) + caplog.text
    assert SECRET not in shown
    assert "Diary" not in repr(seen[0])


# Events


async def test_a_slow_reader_loses_the_oldest_and_sees_how_many(autojump_clock: MockClock) -> None:
    async with run_actor(Slow, mailbox=MailboxSpec(1, Overflow.REJECT)) as running, running.system.subscribe(3) as feed:
        running.ref.tell_nowait(Letter(text="1"))
        await wait_all_tasks_blocked()
        for _ in range(9):
            running.ref.tell_nowait(Letter(text="1"))
        assert feed.lost == 5
        events: tuple[SystemEvent, ...] = feed.take_all()
        assert [type(event) for event in events] == [MessageDropped] * 3


async def test_a_feed_ends_with_its_source(autojump_clock: MockClock, tree: Any) -> None:
    collected: list[str] = []
    traced: list[TraceEntry] = []

    async def follow(system: Any) -> None:
        async with system.subscribe(100) as feed:
            collected.extend([type(event).__name__ async for event in feed])

    async def follow_trace(system: Any) -> None:
        async with system.trace("a", 100) as feed:
            traced.extend([entry async for entry in feed])

    async with trio.open_nursery() as nursery, run_system(tree.of()) as system:
        nursery.start_soon(follow, system)  # noqa: ASYNC111 - it is to outlive the system
        await wait_all_tasks_blocked()
        await system.supervisor("").start_child(Probe().spec("a"))
        nursery.start_soon(follow_trace, system)  # noqa: ASYNC111 - likewise
        await wait_all_tasks_blocked()
        system.ref("a").tell_nowait("x")
        await wait_all_tasks_blocked()
        await system.supervisor("").stop_child("a")
        await wait_all_tasks_blocked()
        assert [entry.kind for entry in traced] == ["received", "handled"]  # it left the tree
    assert collected == ["ActorStarted", "ActorStopped"]


async def test_dead_letters_are_bounded_and_counted(autojump_clock: MockClock, tree: Any) -> None:
    system = tree.system(dead_letters=3)
    async with run_system(tree.of(), system=system):
        for _ in range(10):
            await system.ref("nobody").tell("x")
        assert len(system.dead_letters()) == 3
        assert system.statistics().dead_letters == 10


async def test_the_first_loss_of_its_kind_is_logged(autojump_clock: MockClock, log_lines: Any) -> None:
    async with run_actor(Slow, mailbox=MailboxSpec(1, Overflow.DROP_NEWEST)) as running:
        for _ in range(5):
            running.ref.tell_nowait(Letter(text="1"))
    warnings = [line for line in log_lines() if line.startswith("WARNING")]
    assert warnings == ["WARNING actor: its mailbox is full, Letter (dropped_newest); further ones are counted"]


# The event loop and its workers, on the real clock


async def test_the_loops_lag_is_measured(tree: Any) -> None:
    class Hog(Actor[Any]):
        async def receive(self, ctx: Context[Any], message: Any) -> None:
            time.sleep(0.05)  # noqa: ASYNC251 - the fault to be seen

    system = tree.system(lag_interval=0.005)
    async with run_system(tree.of(ActorSpec(name="hog", factory=Hog, mailbox=ROOMY)), system=system):
        await trio.sleep(0.01)
        system.ref("hog").tell_nowait("x")
        with trio.fail_after(60):
            while system.statistics().lag.maximum < 0.04:  # noqa: ASYNC110 - a statistic has no event
                await trio.sleep(0.005)


async def test_no_lag_is_sampled_under_the_virtual_clock(autojump_clock: MockClock) -> None:
    async with run_actor(Probe) as running:
        await trio.sleep(1000)
        assert running.system.statistics().lag.count == 0


async def test_the_pool_is_bounded(tree: Any) -> None:
    import threading

    busy = 0
    most = 0
    lock = threading.Lock()
    together = threading.Barrier(2, timeout=60)

    def work() -> int:
        nonlocal busy, most
        with lock:
            busy += 1
            most = max(most, busy)
        together.wait()  # broken, and this test with it, if two never run at once
        with lock:
            busy -= 1
        return threading.get_ident()

    threads: list[int] = []

    class Pooled(Actor[Any]):
        async def receive(self, ctx: Context[Any], message: Any) -> None:
            async with trio.open_nursery() as nursery:
                for _ in range(8):
                    nursery.start_soon(self.one, ctx)
            ctx.reply(len(threads))

        async def one(self, ctx: Context[Any]) -> None:
            threads.append(await ctx.run_blocking(work))

    system = tree.system(workers=2, lag_interval=None)
    async with run_system(tree.of(ActorSpec(name="a", factory=Pooled, mailbox=ROOMY)), system=system):
        assert await system.ref("a").ask(Ask(text="")) == 8
        assert most == 2
        assert threading.get_ident() not in threads
        workers = system.statistics().workers
        assert workers is not None
        assert (workers.capacity, workers.running, workers.waiting, workers.inline) == (2, 0, 0, False)


async def test_work_that_hangs_apart_keeps_nobody_else_waiting(tree: Any) -> None:
    import threading

    let_go = threading.Event()

    class Hanging(Actor[Any]):
        async def started(self, ctx: Context[Any]) -> None:
            for _ in range(5):
                ctx.start_soon(ctx.run_blocking, let_go.wait, 60.0, name="hang")

        async def receive(self, ctx: Context[Any], message: Any) -> None:
            """Nothing is told."""

    class Working(Actor[Any]):
        async def receive(self, ctx: Context[Any], message: Any) -> None:
            ctx.reply(await ctx.run_blocking(threading.get_ident))

    system = tree.system(workers=2, workers_apart=frozenset({"aside"}), lag_interval=None)
    aside = tree.of(ActorSpec(name="a", factory=Hanging, mailbox=ROOMY), name="aside")
    async with run_system(tree.of(aside, ActorSpec(name="b", factory=Working, mailbox=ROOMY)), system=system):
        try:
            assert await system.ref("b").ask(Ask(text=""), timeout=30) != threading.get_ident()
            workers = system.statistics().workers
            assert workers is not None
            assert (workers.capacity, workers.running, workers.waiting) == (4, 2, 3)
        finally:
            let_go.set()


async def test_work_is_inline_under_the_virtual_clock(autojump_clock: MockClock) -> None:
    import threading

    class Pooled(Actor[Any]):
        async def receive(self, ctx: Context[Any], message: Any) -> None:
            ctx.reply(await ctx.run_blocking(threading.get_ident))

    async with run_actor(Pooled) as running:
        assert await running.ref.ask(Ask(text="")) == threading.get_ident()
        workers = running.system.statistics().workers
        assert workers is not None
        assert workers.inline
