"""Asking: one answer or one error, never silence, and no circle of actors that wait for each other."""

from collections.abc import Awaitable, Callable
from typing import Any

import attrs
import pytest
import trio
from trio.testing import MockClock, wait_all_tasks_blocked

from actors import (
    Actor,
    ActorSpec,
    AskCycle,
    AskFailed,
    AskTimeout,
    Backoff,
    Context,
    MailboxSpec,
    NoReply,
    NotAsked,
    Overflow,
    Reply,
    Request,
    Restart,
)
from actors.testing import ROOMY, Probe, run_actor, run_system


@attrs.frozen(kw_only=True)
class Get(Request[int]):
    """How many?"""


@attrs.frozen(kw_only=True)
class Crash:
    """Crash now."""


Handler = Callable[[Context[Any], Any], Awaitable[None]]


class Doing(Actor[Any]):
    """Handles every message by a function of the test."""

    def __init__(self, handle: Handler) -> None:
        self._handle = handle

    async def receive(self, ctx: Context[Any], message: Any) -> None:
        await self._handle(ctx, message)


def doing(name: str, handle: Handler, **spec: Any) -> ActorSpec[Any]:
    return ActorSpec(**{"name": name, "factory": lambda: Doing(handle), "mailbox": ROOMY, **spec})


async def forever(ctx: Context[Any], message: Any) -> None:
    if isinstance(message, Crash):
        raise ValueError("told to")
    await trio.sleep_forever()


async def test_an_answer_is_typed_by_its_request(autojump_clock: MockClock) -> None:
    async with run_actor(lambda: Probe({Get: 7})) as running:
        answer: int = await running.ref.ask(Get())
        assert answer == 7


async def test_the_default_deadline_is_five_seconds(autojump_clock: MockClock) -> None:
    async with run_actor(lambda: Doing(forever), drain_timeout=0) as running:
        with pytest.raises(AskTimeout, match=r"ask of actor \(Get\): no answer within 5 s"):
            await running.ref.ask(Get())
        assert trio.current_time() == 5.0
        with pytest.raises(AskTimeout):
            await running.ref.ask(Get(), timeout=20)
        assert trio.current_time() == 25.0


async def test_a_nearer_enclosing_deadline_holds(autojump_clock: MockClock) -> None:
    async with run_actor(lambda: Doing(forever), drain_timeout=0) as running:
        with trio.move_on_after(2) as scope:
            await running.ref.ask(Get())
        assert scope.cancelled_caught
        assert trio.current_time() == 2.0


async def test_a_farther_enclosing_deadline_takes_the_place_of_the_default(autojump_clock: MockClock) -> None:
    async with run_actor(lambda: Doing(forever), drain_timeout=0) as running:
        with trio.move_on_after(20) as scope:
            await running.ref.ask(Get())
        assert scope.cancelled_caught
        assert trio.current_time() == 20.0
        with trio.move_on_after(20), pytest.raises(AskTimeout, match="no answer within 2 s"):
            await running.ref.ask(Get(), timeout=2)


async def test_asks_of_a_crashing_actor_fail_at_once_queued_ones_too(autojump_clock: MockClock, tree: Any) -> None:
    failures: list[str] = []
    gate = trio.Event()

    async def crash(ctx: Context[Any], message: Any) -> None:
        await gate.wait()
        raise OSError("disk full")

    async def ask(ref: Any) -> None:
        with pytest.raises(AskFailed) as caught:
            await ref.ask(Get(), timeout=100)
        failures.append(caught.value.reason)

    async with run_system(tree.of(doing("a", crash))) as system, trio.open_nursery() as nursery:
        for _ in range(3):
            nursery.start_soon(ask, system.ref("a"))
            await wait_all_tasks_blocked()
        await trio.sleep(1)
        gate.set()
        await wait_all_tasks_blocked()
        assert failures == ["it crashed: OSError: disk full"] * 3
        assert trio.current_time() == 1.0
        assert system.statistics().find("a").mailbox.depth == 0


async def test_asks_of_a_full_waiting_mailbox_fail_at_once_too(autojump_clock: MockClock, tree: Any) -> None:
    gate = trio.Event()
    failed = 0

    async def crash(ctx: Context[Any], message: Any) -> None:
        await gate.wait()
        raise OSError("disk full")

    async def ask(ref: Any) -> None:
        nonlocal failed
        with pytest.raises(AskFailed):
            await ref.ask(Get(), timeout=100)
        failed += 1

    spec = doing("a", crash, mailbox=MailboxSpec(1, Overflow.WAIT))
    async with run_system(tree.of(spec)) as system, trio.open_nursery() as nursery:
        for _ in range(4):  # one in hand, one in the mailbox, two wait for a slot
            nursery.start_soon(ask, system.ref("a"))
            await wait_all_tasks_blocked()
        gate.set()
        await wait_all_tasks_blocked()
        assert failed == 4


async def test_asks_of_a_stopping_actor_fail_at_once(autojump_clock: MockClock, tree: Any) -> None:
    failed: list[str] = []

    async def ask(ref: Any) -> None:
        with pytest.raises(AskFailed) as caught:
            await ref.ask(Get(), timeout=100)
        failed.append(caught.value.reason)

    async with run_system(tree.of(doing("a", forever, drain_timeout=2))) as system, trio.open_nursery() as nursery:
        for _ in range(2):
            nursery.start_soon(ask, system.ref("a"))
            await wait_all_tasks_blocked()
        await system.supervisor("").stop_child("a")
        assert trio.current_time() == 2.0  # its drain deadline
        await wait_all_tasks_blocked()
        assert failed == ["it stopped (removed)"] * 2
        with pytest.raises(AskFailed, match="there is no such actor"):
            await system.ref("a").ask(Get())


async def test_an_ask_that_is_handled_without_an_answer_fails(autojump_clock: MockClock) -> None:
    async with run_actor(Probe) as running:
        with pytest.raises(NoReply, match="handled without an answer"):
            await running.ref.ask(Get())


async def test_a_deferred_reply_answers_later(autojump_clock: MockClock) -> None:
    taken: list[Reply] = []

    async def later(reply: Reply) -> None:
        await trio.sleep(3)
        reply.send(3)

    async def defer(ctx: Context[Any], message: Any) -> None:
        taken.append(ctx.defer_reply())
        ctx.start_soon(later, taken[0])

    async with run_actor(lambda: Doing(defer)) as running:
        assert await running.ref.ask(Get()) == 3
        assert trio.current_time() == 3.0
        with pytest.raises(NotAsked, match="answered already"):
            taken[0].send(4)
        assert repr(taken[0]) == "<reply sent actor Get>"


async def test_a_deferred_reply_fails_with_a_cause(autojump_clock: MockClock) -> None:
    async def defer(ctx: Context[Any], message: Any) -> None:
        ctx.defer_reply().fail(KeyError("zone"))

    async with run_actor(lambda: Doing(defer)) as running:
        with pytest.raises(AskFailed, match="KeyError") as caught:
            await running.ref.ask(Get())
        assert isinstance(caught.value.__cause__, KeyError)


async def test_open_deferred_replies_fail_when_the_incarnation_ends(autojump_clock: MockClock) -> None:
    async def defer(ctx: Context[Any], message: Any) -> None:
        if isinstance(message, Crash):
            raise ValueError("told to")
        ctx.defer_reply()
        ctx.tell_self(Crash())

    async with run_actor(lambda: Doing(defer)) as running:
        with pytest.raises(AskFailed, match="crashed: ValueError: told to"):
            await running.ref.ask(Get(), timeout=100)
        assert trio.current_time() == 0.0


async def test_what_cannot_be_answered(autojump_clock: MockClock) -> None:
    seen: list[str] = []

    async def answer(ctx: Context[Any], message: Any) -> None:
        for _ in range(2):
            try:
                ctx.reply(1)
            except NotAsked as error:
                seen.append(str(error))

    async with run_actor(lambda: Doing(answer)) as running:
        assert await running.ref.ask(Get()) == 1
        await running.ref.tell(Crash())
        await running.ref.tell(Get())  # told, not asked: the answer goes nowhere, and harms nobody
        await wait_all_tasks_blocked()
        assert seen == [
            "the ask of actor (Get) is answered already",
            "Crash was not asked",
            "Crash was not asked",
            "the ask of actor (Get) is answered already",
        ]


async def test_an_answer_to_somebody_who_has_gone_does_nothing(autojump_clock: MockClock) -> None:
    async def slow(ctx: Context[Any], message: Any) -> None:
        await trio.sleep(10)
        ctx.reply(1)

    async with run_actor(lambda: Doing(slow)) as running:
        with pytest.raises(AskTimeout):
            await running.ref.ask(Get(), timeout=1)
        await trio.sleep(20)
        assert running.system.statistics().find("actor").restarts == 0


# Circles


def chain(name: str, target: str) -> ActorSpec[Any]:
    """Answers with what `target` answers."""

    async def pass_on(ctx: Context[Any], message: Any) -> None:
        ctx.reply(await ctx.lookup(target).ask(message))

    return doing(name, pass_on, restart=Restart.TEMPORARY)


@pytest.mark.parametrize("length", [1, 2, 3, 7])
async def test_a_circle_of_asks_is_refused_at_once(
    autojump_clock: MockClock, tree: Any, length: int, log_lines: Any
) -> None:
    actors = [chain(f"a{number}", f"a{(number + 1) % length}") for number in range(length)]
    circle = [f"a{number}" for number in range(length)]
    async with run_system(tree.of(*actors)) as system:
        with pytest.raises(AskFailed):
            await system.ref("a0").ask(Get())
        assert trio.current_time() == 0.0
        last = circle[-1]
        error = system.statistics().find(last).last_error
        assert error is not None
        assert error.startswith("AskCycle")
        assert " -> ".join([last, *circle]) in error


async def test_a_circle_is_found_among_several_waits(autojump_clock: MockClock, tree: Any) -> None:
    cycles: list[tuple[str, ...]] = []

    async def fan_out(ctx: Context[Any], message: Any) -> None:
        async def ask(path: str) -> None:
            await ctx.lookup(path).ask(message)

        async with trio.open_nursery() as nursery:  # children of a handler wait on its behalf
            nursery.start_soon(ask, "slow")
            nursery.start_soon(ask, "back")
        ctx.reply(1)

    async def back(ctx: Context[Any], message: Any) -> None:
        await trio.sleep(1)
        try:
            await ctx.lookup("fan").ask(message)
        except AskCycle as error:
            cycles.append(error.cycle)
        ctx.reply(2)

    async def slow(ctx: Context[Any], message: Any) -> None:
        await trio.sleep(2)
        ctx.reply(3)

    async with run_system(tree.of(doing("fan", fan_out), doing("back", back), doing("slow", slow))) as system:
        assert await system.ref("fan").ask(Get()) == 1
        assert cycles == [("back", "fan", "back")]
        assert trio.current_time() == 2.0
        assert await system.ref("fan").ask(Get()) == 1  # the edges are gone


async def test_a_background_task_is_no_link_of_a_circle(autojump_clock: MockClock, tree: Any) -> None:
    got: list[int] = []

    async def ask_back(ctx: Context[Any]) -> None:
        got.append(await ctx.lookup("a").ask(Get()))

    async def a(ctx: Context[Any], message: Any) -> None:
        if isinstance(message, Crash):
            await ctx.lookup("b").ask(Get())
        else:
            ctx.reply(5)

    async def b(ctx: Context[Any], message: Any) -> None:
        ctx.start_soon(ask_back, ctx)
        ctx.reply(6)

    async with run_system(tree.of(doing("a", a), doing("b", b))) as system:
        await system.ref("a").tell(Crash())
        await trio.sleep(1)
        assert got == [5]


async def test_nothing_of_an_ask_remains(autojump_clock: MockClock) -> None:
    async with run_actor(lambda: Probe({Get: 7})) as running:
        for _ in range(3):
            await running.ref.ask(Get())
        assert running.system._runtime.waits._edges == {}


async def test_an_ask_from_outside_does_not_outlive_a_cancelled_system(autojump_clock: MockClock, tree: Any) -> None:
    failed: list[str] = []

    async def ask(ref: Any) -> None:
        with pytest.raises(AskFailed) as caught:
            await ref.ask(Get(), timeout=1000)
        failed.append(caught.value.reason)

    system = tree.system()
    async with trio.open_nursery() as outside:
        async with trio.open_nursery() as inside:
            await inside.start(system.run, tree.of(doing("a", forever)))
            for _ in range(2):
                outside.start_soon(ask, system.ref("a"))
            await wait_all_tasks_blocked()
            inside.cancel_scope.cancel()
        await wait_all_tasks_blocked()
        assert failed == ["it stopped (the system was cancelled)"] * 2


async def test_an_ask_of_a_restarting_actor_waits_for_the_next_incarnation(
    autojump_clock: MockClock, tree: Any
) -> None:
    async def answer(ctx: Context[Any], message: Any) -> None:
        if isinstance(message, Crash):
            raise ValueError("told to")
        ctx.reply(9)

    async with run_system(tree.of(doing("a", answer, backoff=Backoff(2, 1, 2, 0)))) as system:
        system.ref("a").tell_nowait(Crash())
        await wait_all_tasks_blocked()
        assert await system.ref("a").ask(Get()) == 9
        assert trio.current_time() == 2.0


async def test_a_reply_is_deferred_once(autojump_clock: MockClock) -> None:
    errors: list[str] = []

    async def defer(ctx: Context[Any], message: Any) -> None:
        reply = ctx.defer_reply()
        try:
            ctx.defer_reply()
        except NotAsked as error:
            errors.append(str(error))
        reply.send(1)

    async with run_actor(lambda: Doing(defer)) as running:
        assert await running.ref.ask(Get()) == 1
        assert errors == ["the reply to Get is deferred already"]


async def test_refs_are_equal_by_place(autojump_clock: MockClock, tree: Any) -> None:
    one, other = tree.system(), tree.system()
    assert one.ref("a/b") == one.ref("a/b")
    assert len({one.ref("a"), one.ref("a"), one.ref("b")}) == 2
    assert one.ref("a") != other.ref("a")
    assert one.ref("a") != "a"
    assert repr(one.ref("a/b")) == "<ref a/b>"


async def test_who_was_answered_may_be_asked_in_turn(autojump_clock: MockClock, tree: Any) -> None:
    """An answer ends the wait, whether or not the asker's task had its turn since."""
    answers: list[int] = []

    async def ask_b(ctx: Context[Any], message: Any) -> None:
        if isinstance(message, Crash):
            await ctx.lookup("b").ask(Get())
        else:
            ctx.reply(7)

    async def answer_and_ask_a(ctx: Context[Any], message: Any) -> None:
        ctx.reply(1)
        answers.append(await ctx.lookup("a").ask(Get()))

    async with run_system(tree.of(doing("a", ask_b), doing("b", answer_and_ask_a))) as system:
        await system.ref("a").tell(Crash())
        await trio.sleep(1)
    assert answers == [7]


async def test_a_queued_ask_does_not_outlive_a_system_that_is_cancelled_during_a_backoff(
    autojump_clock: MockClock, tree: Any
) -> None:
    system = tree.system()
    failed: list[float] = []

    async def ask() -> None:
        with pytest.raises(AskFailed):
            await system.ref("a").ask(Get(), timeout=100)
        failed.append(trio.current_time())

    async with trio.open_nursery() as outside, trio.open_nursery() as inside:
        await inside.start(system.run, tree.of(doing("a", forever, backoff=Backoff(first=50, jitter=0))))
        await system.ref("a").tell(Crash())
        await trio.sleep(1)
        outside.start_soon(ask)
        await trio.sleep(1)
        inside.cancel_scope.cancel()
    assert failed == [2.0]
