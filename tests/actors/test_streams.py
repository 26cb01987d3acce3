"""A second crash on one stream suspends it, instead of using up the tree's intensity."""

from typing import Any

import attrs
import pytest
import trio
from trio.testing import MockClock

from actors import (
    Actor,
    ActorSpec,
    AskFailed,
    Backoff,
    Context,
    Intensity,
    MailboxSpec,
    Overflow,
    Request,
    RestartLimitReached,
    StreamSuspended,
)
from actors.streams import StreamGuard
from actors.testing import ROOMY, run_system


@attrs.frozen(kw_only=True)
class Content(Request[int]):
    source: str
    poison: bool = False


class Keeper(Actor[Any]):
    """Remembers what each incarnation was told of suspended streams, and what it took in."""

    def __init__(self, seen: list[Any]) -> None:
        self._seen = seen

    async def started(self, ctx: Context[Any]) -> None:
        self._seen.append((ctx.restarts, ctx.last_error, sorted(map(str, ctx.suspended))))

    async def receive(self, ctx: Context[Any], message: Any) -> None:
        if isinstance(message, str):
            ctx.resume(message)
            return
        if message.poison:
            raise ValueError("cannot digest it")
        self._seen.append(message.source)


def stream_of(message: Any) -> str | None:
    return message.source if isinstance(message, Content) else None


async def test_the_second_crash_suspends_the_stream_and_spares_the_tree(
    autojump_clock: MockClock, tree: Any, log_lines: Any
) -> None:
    seen: list[Any] = []
    spec = ActorSpec(
        name="keeper",
        factory=lambda: Keeper(seen),
        mailbox=MailboxSpec(100, Overflow.REJECT),
        backoff=Backoff(0.1, 2, 1, 0),
        stream=stream_of,
    )
    async with run_system(tree.of(spec, intensity=Intensity(0, 60))) as system, system.subscribe(100) as feed:
        keeper = system.ref("keeper")
        for _ in range(4):
            keeper.tell_nowait(Content(source="bad", poison=True))
        keeper.tell_nowait(Content(source="good"))
        await trio.sleep(5)
        error = "ValueError: cannot digest it"
        assert seen == [(0, None, []), (1, error, []), (2, error, ["bad"]), "good"]
        events = [event for event in feed.take_all() if isinstance(event, StreamSuspended)]
        assert [(event.path, event.stream, event.error) for event in events] == [("keeper", "bad", error)]
        node = system.statistics().find("keeper")
        assert node.suspended == ("bad",)
        assert node.mailbox is not None
        assert node.mailbox.drops == {"suspended": 2}
        assert [letter.reason for letter in system.dead_letters()] == ["crashed", "crashed", "suspended", "suspended"]
        with pytest.raises(AskFailed, match="its stream is suspended"):
            await keeper.ask(Content(source="bad"))
        keeper.tell_nowait("bad")  # the operator accepts it
        keeper.tell_nowait(Content(source="bad"))
        await trio.sleep(5)
        assert seen[4:] == ["bad"]
        assert system.statistics().find("keeper").suspended == ()
    assert any("stream bad is suspended" in line for line in log_lines())


async def test_a_crash_that_no_stream_explains_counts(autojump_clock: MockClock, tree: Any) -> None:
    class Host(Keeper):
        async def receive(self, ctx: Context[Any], message: Any) -> None:
            ctx.start_soon(self.fail)
            await trio.sleep_forever()

        async def fail(self) -> None:
            raise OSError("not the message's fault")

    spec: ActorSpec[Any] = ActorSpec(name="host", factory=lambda: Host([]), mailbox=ROOMY, stream=stream_of)

    async def story() -> None:
        async with run_system(tree.of(spec, intensity=Intensity(0, 60))) as system:
            system.ref("host").tell_nowait(Content(source="a"))
            await trio.sleep_forever()

    with pytest.raises(RestartLimitReached):
        await story()


def test_a_stream_that_cannot_be_told_is_none() -> None:
    assert StreamGuard(lambda message: message.nonsense).stream_of("x") is None
    unhashable: Any = [1]
    assert StreamGuard(lambda message: unhashable).stream_of("x") is None


def test_the_guards_memory_is_bounded() -> None:
    guard = StreamGuard(stream_of)
    for number in range(5000):
        guard.crashed(number)
        guard.crashed(number)
    assert len(guard.suspended) == 1024
    assert 4999 in guard.suspended
