"""Timers and the ends of others arrive as messages; both die with the incarnation that wanted them."""

from typing import Any

import attrs
import pytest
import trio
from trio.testing import MockClock, wait_all_tasks_blocked

from actors import (
    Actor,
    ActorSpec,
    Backoff,
    Context,
    Delivery,
    Down,
    MailboxSpec,
    Overflow,
    Restart,
    StopReason,
    Timer,
)
from actors.testing import ROOMY, Probe, run_actor, run_system

EXACT = Backoff(0.5, 2, 30, 0)


class Timed(Probe):
    """Hands its context to the test."""

    ctx: Context[Any]

    async def started(self, ctx: Context[Any]) -> None:
        await super().started(ctx)
        self.ctx = ctx

    async def receive(self, ctx: Context[Any], message: Any) -> None:
        await super().receive(ctx, message)
        if message == "crash":
            raise ValueError("told to")
        if isinstance(message, float):
            await trio.sleep(message)


async def test_send_after_is_exact_and_can_be_cancelled(autojump_clock: MockClock) -> None:
    actor = Timed()
    async with run_actor(lambda: actor):
        actor.ctx.send_after(2.5, "once")
        timer = actor.ctx.send_after(3, "never")
        await trio.sleep(2.9)
        assert not timer.cancelled
        timer.cancel()
        assert timer.cancelled
        await trio.sleep(10)
    assert (actor.messages, actor.times) == (["once"], [2.5])


async def test_send_every_keeps_its_schedule_whatever_handling_takes(autojump_clock: MockClock) -> None:
    actor = Timed()
    async with run_actor(lambda: actor):
        actor.ctx.send_every(2, 0.5)
        await trio.sleep(9)
    assert actor.times == [2, 4, 6, 8]


async def test_send_every_at_once(autojump_clock: MockClock) -> None:
    actor = Timed()
    async with run_actor(lambda: actor):
        timer: Timer = actor.ctx.send_every(2, "tick", at_once=True)
        await trio.sleep(5)
        timer.cancel()
        await trio.sleep(5)
    assert actor.times == [0, 2, 4]


async def test_ticks_do_not_pile_up(autojump_clock: MockClock) -> None:
    actor = Timed()
    async with run_actor(lambda: actor) as running:
        actor.ctx.send_every(1, "tick")
        running.ref.tell_nowait(10.0)
        await trio.sleep(9.5)
        mailbox = running.system.statistics().find("actor").mailbox
        assert mailbox is not None
        assert (mailbox.depth, mailbox.drops) == (1, {"late_tick": 8})
        await trio.sleep(2)
    assert actor.messages[:3] == [10.0, "tick", "tick"]
    assert actor.times[1] == 10.0


async def test_a_tick_in_a_mailbox_can_still_be_cancelled(autojump_clock: MockClock) -> None:
    actor = Timed()
    async with run_actor(lambda: actor) as running:
        timer = actor.ctx.send_after(1, "tick")
        running.ref.tell_nowait(5.0)
        await trio.sleep(2)
        timer.cancel()
        await trio.sleep(10)
    assert actor.messages == [5.0]


async def test_a_full_mailbox_does_not_keep_a_tick_out(autojump_clock: MockClock) -> None:
    actor = Timed()
    async with run_actor(lambda: actor, mailbox=MailboxSpec(1, Overflow.REJECT)) as running:
        running.ref.tell_nowait(5.0)
        await wait_all_tasks_blocked()
        assert running.ref.tell_nowait("told") is Delivery.DELIVERED
        actor.ctx.send_after(1, "tick")
        await trio.sleep(2)
        assert running.ref.tell_nowait("too much") is Delivery.REJECTED  # a tick takes no slot either
        await trio.sleep(10)
    assert actor.messages == [5.0, "told", "tick"]


async def test_timers_die_with_their_incarnation(autojump_clock: MockClock, tree: Any) -> None:
    actor = Timed()
    async with run_system(tree.of(actor.spec("a", backoff=EXACT))) as system:
        actor.ctx.send_every(1, "tick")
        actor.ctx.send_after(1.5, "once")
        await trio.sleep(1.2)
        system.ref("a").tell_nowait(0.7)
        system.ref("a").tell_nowait("crash")
        system.ref("a").tell_nowait("kept")
        await trio.sleep(20)
        assert actor.messages == ["tick", 0.7, "crash", "kept"]  # the tick of 1.5 lay in the mailbox: gone too


@pytest.mark.parametrize(("seconds", "every"), [(-1, False), (0, True), (-1, True)])
async def test_impossible_timers_are_refused(autojump_clock: MockClock, seconds: float, every: bool) -> None:
    actor = Timed()
    async with run_actor(lambda: actor):
        with pytest.raises(ValueError, match="s"):
            (actor.ctx.send_every if every else actor.ctx.send_after)(seconds, "tick")


# Watches


@attrs.frozen(kw_only=True)
class Gone:
    down: Down


class Watcher(Timed):
    """Watches the paths it is told of."""

    async def receive(self, ctx: Context[Any], message: Any) -> None:
        await super().receive(ctx, message)
        if isinstance(message, str) and message.startswith("watch "):
            ctx.watch(ctx.lookup(message.removeprefix("watch ")), lambda down: Gone(down=down))

    def downs(self) -> list[tuple[str, StopReason, str | None]]:
        return [(m.down.path, m.down.reason, m.down.error) for m in self.messages if isinstance(m, Gone)]


async def test_each_end_of_a_watched_actor_is_told(autojump_clock: MockClock, tree: Any) -> None:
    watcher, watched = Watcher(), Timed()
    spec = tree.of(watched.spec("a", backoff=EXACT), watcher.spec("watcher"))
    async with run_system(spec) as system:
        system.ref("watcher").tell_nowait("watch a")
        await wait_all_tasks_blocked()
        system.ref("a").tell_nowait("crash")
        await trio.sleep(1)
        assert watcher.downs() == [("a", StopReason.CRASHED, "ValueError: told to")]
        await system.supervisor("").stop_child("a")
        await wait_all_tasks_blocked()
        assert watcher.downs()[1:] == [("a", StopReason.REMOVED, None)]
        system.ref("watcher").tell_nowait("watch nobody")
        await wait_all_tasks_blocked()
        assert watcher.downs()[2:] == [("nobody", StopReason.MISSING, None)]


async def test_the_end_of_another_does_not_queue_behind_messages(autojump_clock: MockClock, tree: Any) -> None:
    watcher, watched = Watcher(), Timed()
    spec = tree.of(watched.spec("a", backoff=EXACT), watcher.spec("watcher", MailboxSpec(2, Overflow.REJECT)))
    async with run_system(spec) as system:
        ref = system.ref("watcher")
        ref.tell_nowait("watch a")
        await wait_all_tasks_blocked()
        ref.tell_nowait(5.0)
        await wait_all_tasks_blocked()
        assert [ref.tell_nowait(text) for text in ("1", "2", "3")] == [*[Delivery.DELIVERED] * 2, Delivery.REJECTED]
        for _ in range(3):  # three ends while it is busy: one Down, the newest
            system.ref("a").tell_nowait("crash")
            await trio.sleep(1)
        await trio.sleep(10)
        kinds = [type(message).__name__ for message in watcher.messages]
        assert kinds == ["str", "float", "Gone", "str", "str"]
        assert ref.tell_nowait("4") is Delivery.DELIVERED


async def test_watches_end_with_the_incarnation_that_set_them(autojump_clock: MockClock, tree: Any) -> None:
    watcher, watched = Watcher(), Timed()
    spec = tree.of(watched.spec("a", backoff=EXACT), watcher.spec("watcher", backoff=EXACT))
    async with run_system(spec) as system:
        for message in ("watch a", "watch a", "crash"):
            system.ref("watcher").tell_nowait(message)
        await trio.sleep(2)
        system.ref("a").tell_nowait("crash")
        await trio.sleep(2)
        assert watcher.downs() == []
        assert system._runtime._watches == {}


async def test_a_crash_in_a_watch_message_is_the_watchers_own(autojump_clock: MockClock, tree: Any) -> None:
    class Careless(Actor[Any]):
        async def started(self, ctx: Context[Any]) -> None:
            ctx.watch(ctx.lookup("a"), lambda down: down.nonsense)  # type: ignore[attr-defined]

    watched = Timed()
    careless: ActorSpec[Any] = ActorSpec(name="careless", factory=Careless, mailbox=ROOMY, backoff=EXACT)
    async with run_system(tree.of(watched.spec("a", backoff=EXACT), careless)) as system:
        system.ref("a").tell_nowait("crash")
        await trio.sleep(2)
        statistics = system.statistics()
        assert statistics.find("a").restarts == 1
        assert statistics.find("careless").restarts == 1
        assert "AttributeError" in str(statistics.find("careless").last_error)


async def test_one_that_ended_for_good_before_it_was_watched_is_missing(autojump_clock: MockClock, tree: Any) -> None:
    class Short(Actor[Any]):
        async def receive(self, ctx: Context[Any], message: Any) -> None:
            ctx.stop()

    watcher = Probe()

    class Watching(Actor[Any]):
        async def receive(self, ctx: Context[Any], message: Any) -> None:
            if isinstance(message, Down):
                await ctx.lookup("watcher").tell(message)
            else:
                ctx.watch(ctx.lookup("short"), lambda down: down)

    short: ActorSpec[Any] = ActorSpec(name="short", factory=Short, mailbox=ROOMY, restart=Restart.TEMPORARY)
    watching: ActorSpec[Any] = ActorSpec(name="watching", factory=Watching, mailbox=ROOMY)
    async with run_system(tree.of(watcher.spec("watcher"), short, watching)) as system:
        await system.ref("short").tell("end")
        await trio.sleep(1)
        await system.ref("watching").tell("watch it")
        assert await watcher.next() == Down(path="short", reason=StopReason.MISSING, error=None)
