"""A counter that crashes on nonsense and is restarted: `python docs/examples/counter.py`."""

import attrs
import trio

import actors


@attrs.frozen(kw_only=True)
class Add:
    """The count grows by `amount`."""

    amount: int


@attrs.frozen(kw_only=True)
class GetCount(actors.Request[int]):
    """How far have you counted?"""


class Counter(actors.Actor[Add | GetCount]):
    """Counts up, from 0 in each incarnation."""

    async def started(self, ctx: actors.Context[Add | GetCount]) -> None:
        self._count = 0

    async def receive(self, ctx: actors.Context[Add | GetCount], message: Add | GetCount) -> None:
        match message:
            case Add(amount=amount):
                if amount < 0:
                    raise ValueError("a counter counts up")
                self._count += amount
            case GetCount():
                ctx.reply(self._count)


COUNTER = actors.ActorSpec(name="counter", factory=Counter, mailbox=actors.MailboxSpec(16, actors.Overflow.WAIT))
TREE = actors.SupervisorSpec(name="app", strategy=actors.Strategy.ONE_FOR_ONE, children=(COUNTER,))


async def main() -> None:
    """Count, crash the counter, and count on."""
    system = actors.ActorSystem()
    counter = system.ref("counter")
    async with system.subscribe(16) as events, trio.open_nursery() as nursery:
        await nursery.start(system.run, TREE)
        await counter.tell(Add(amount=3))
        print("counted", await counter.ask(GetCount()))  # noqa: T201
        await counter.tell(Add(amount=-1))
        await counter.tell(Add(amount=4))  # the mailbox outlives the crash
        async for event in events:
            print(type(event).__name__, event.path)  # noqa: T201
            if isinstance(event, actors.RestartScheduled):
                break
        print("counted", await counter.ask(GetCount()))  # noqa: T201
        system.request_stop("done")


if __name__ == "__main__":
    trio.run(main)
