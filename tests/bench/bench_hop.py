"""What a mailbox costs over a bare memory channel of Trio: a ratio of both, measured in turns in one run.

Absolute figures of a shared machine say little and gate nothing; they are printed. The ratio is the runtime's own
doing, and is gated: 1.2 was measured on a prototype, above 2.0 something has crept into the path of every message.
"""

import statistics
import time

import attrs
import trio

from actors import Actor, ActorSpec, ActorSystem, Context, MailboxSpec, Overflow, Strategy, SupervisorSpec

MESSAGES = 20_000
CAPACITY = 64
ROUNDS = 11
CEILING = 2.0


@attrs.frozen(kw_only=True)
class Block:
    """One unit of work, as both ways carry it."""

    number: int


class Counter(Actor[Block]):
    """Sets its event when the last message has come, having seen all of them in order."""

    def __init__(self) -> None:
        self.expected = 0
        self.done = trio.Event()

    async def receive(self, ctx: Context[Block], message: Block) -> None:
        assert message.number == self.expected
        self.expected += 1
        if self.expected == MESSAGES:
            self.expected = 0
            self.done.set()


async def time_channel(blocks: list[Block]) -> float:
    """Microseconds a message from a sender to a receiver over a memory channel."""
    sender, receiver = trio.open_memory_channel[Block](CAPACITY)

    async def receive_all() -> None:
        expected = 0
        async with receiver:
            async for block in receiver:
                assert block.number == expected
                expected += 1
        assert expected == MESSAGES

    started = time.perf_counter()
    async with trio.open_nursery() as nursery:
        nursery.start_soon(receive_all)
        async with sender:
            for block in blocks:
                await sender.send(block)
    return (time.perf_counter() - started) / MESSAGES * 1e6


async def test_mailbox_hop_stays_near_a_memory_channel() -> None:
    blocks = [Block(number=number) for number in range(MESSAGES)]
    counter = Counter()
    mailbox = MailboxSpec(capacity=CAPACITY, overflow=Overflow.WAIT)
    spec = ActorSpec[Block](name="counter", factory=lambda: counter, mailbox=mailbox)
    system = ActorSystem()
    ref = system.ref("counter")

    async def time_mailbox() -> float:
        counter.done = trio.Event()
        started = time.perf_counter()
        for block in blocks:
            await ref.tell(block)
        await counter.done.wait()
        return (time.perf_counter() - started) / MESSAGES * 1e6

    channel: list[float] = []
    told: list[float] = []
    async with trio.open_nursery() as nursery:
        await nursery.start(system.run, SupervisorSpec(name="root", strategy=Strategy.ONE_FOR_ONE, children=(spec,)))
        await time_channel(blocks)  # both have run once before it counts
        await time_mailbox()
        for _ in range(ROUNDS):  # in turns, so that a busy moment of the machine hits both
            channel.append(await time_channel(blocks))
            told.append(await time_mailbox())
        system.request_stop()

    ratio = statistics.median(one / other for one, other in zip(told, channel, strict=True))
    print(
        f"\nmemory channel {statistics.median(channel):.1f} us ({min(channel):.1f}-{max(channel):.1f}), "
        f"mailbox tell {statistics.median(told):.1f} us ({min(told):.1f}-{max(told):.1f}), "
        f"ratio {ratio:.2f} (ceiling {CEILING})"
    )
    assert ratio <= CEILING
