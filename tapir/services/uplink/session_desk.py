"""Messages between the broker and their consumers: who has which, and what may be acknowledged. Pure steps.

    take ─▶ waiting ─(next_block)─▶ in hand ─(settle)─▶ finished, once every consumer of the message has settled it
                ▲                      │
                └──(again, crashed)────┘

A consumer has one block at a time, so that a crash has one cause, and so that what comes while it works becomes the
next block. A block of several messages that crashed its consumer is dealt out again one message a time; a message
that crashed it twice by itself is poison: finished unread, and counted.
"""

from collections import Counter, deque
from collections.abc import Iterable, Iterator, Sequence
from typing import Final

import attrs

from tapir.model.messages.mqtt import MqttBlock
from tapir.transport.mqtt.inbound import Delivery

_MOST_CRASHES: Final = 2


@attrs.define(eq=False, kw_only=True)
class _Message:
    """A message of the broker, and how many consumers have yet to settle it."""

    delivery: Delivery
    open: int
    at: float

    @property
    def size(self) -> int:
        return len(self.delivery.payload) + len(self.delivery.topic)


@attrs.define(eq=False, kw_only=True)
class _Line:
    """What one consumer has and is to get."""

    waiting: deque[_Message] = attrs.field(factory=deque)
    block: MqttBlock | None = None
    in_hand: tuple[_Message, ...] = ()
    sent: bool = False
    alone: int = 0
    """so many of those that wait are dealt out one by one"""
    crashes: int = 0
    """that the first one, alone, has caused"""
    held_at: float = float("-inf")
    """when the consumer last said that it knows why it does not settle"""

    @property
    def oldest(self) -> float | None:
        first = self.in_hand[0] if self.in_hand else self.waiting[0] if self.waiting else None
        return None if first is None else first.at


@attrs.frozen(kw_only=True)
class DeskLimits:
    """How much is in one block, and how much is held in all before nothing more is taken; sizes in octets."""

    block_messages: int = 256
    block_octets: int = 1 << 20
    held_messages: int = 1000
    held_octets: int = 32 << 20


class Desk:
    """Not a word to anybody: every step returns what follows from it. `now` is seconds on any one clock."""

    def __init__(self, *, ids: Iterator[int], limits: DeskLimits) -> None:
        """`ids` are never given twice, also not to another desk before or after this one."""
        self._ids = ids
        self._limits = limits
        self._lines: dict[str, _Line] = {}
        self.held = 0
        """messages that are not finished"""
        self.held_octets = 0
        self.counters: Counter[str] = Counter()

    def limit(self, limits: DeskLimits) -> None:
        """These limits hold from the next step on."""
        self._limits = limits

    @property
    def full(self) -> bool:
        """Nothing more is to be taken until something is settled."""
        return self.held >= self._limits.held_messages or self.held_octets >= self._limits.held_octets

    def take(self, arrivals: Iterable[tuple[Delivery, Sequence[str]]], *, now: float) -> list[Delivery]:
        """Put messages with their consumers into line; returns those that nobody wants, finished at once."""
        unwanted: list[Delivery] = []
        for delivery, consumers in arrivals:
            if not consumers:
                self.counters["unwanted"] += 1
                unwanted.append(delivery)
                continue
            message = _Message(delivery=delivery, open=len(consumers), at=now)
            self.held += 1
            self.held_octets += message.size
            for consumer in consumers:
                self._line(consumer).waiting.append(message)
        return unwanted

    def next_block(self, consumer: str) -> MqttBlock | None:
        """What is to be told to `consumer` now, if anything: `sent` says that it was."""
        line = self._line(consumer)
        if line.block is None and line.waiting:
            self._fill(line)
        return None if line.sent else line.block

    def sent(self, consumer: str) -> None:
        """The block is in the consumer's mailbox."""
        self._line(consumer).sent = True

    def settle(self, consumer: str, blocks: Iterable[int]) -> list[Delivery]:
        """`consumer` is done with these blocks; returns the messages that everybody is done with."""
        line = self._line(consumer)
        if line.block is None or line.block.id not in blocks:
            return []  # a block of an incarnation before, which has another identifier by now
        line.alone = max(0, line.alone - len(line.in_hand))
        line.crashes = 0
        return self._finish_hand(line)

    def again(self, consumer: str) -> None:
        """`consumer` (re)started: what it has not settled is told once more."""
        self._line(consumer).sent = False

    def crashed(self, consumer: str) -> list[Delivery]:
        """`consumer` crashed; returns the message that was poison, if everybody else is done with it."""
        line = self._line(consumer)
        if line.block is None or not line.sent:
            return []
        if len(line.in_hand) > 1:
            line.alone = max(line.alone, len(line.in_hand))
        else:
            line.alone = max(line.alone, 1)
            line.crashes += 1
            if line.crashes >= _MOST_CRASHES:
                self.counters["poison"] += 1
                line.alone -= 1
                line.crashes = 0
                return self._finish_hand(line)
        line.waiting.extendleft(reversed(line.in_hand))
        self._clear_hand(line)
        return []

    def holding(self, consumer: str, *, now: float) -> None:
        """`consumer` knows what it has and cannot settle it yet: it is not overdue."""
        self._line(consumer).held_at = now

    def overdue(self, *, now: float, hold: float, blocked: bool = False) -> list[Delivery]:
        """Where nothing more comes, what a consumer has not settled for `hold` seconds while others wait for theirs.

        Nothing more comes where the desk is full, or `blocked`: the broker waits, since acknowledgements have an order.
        What is overdue is given up, counted, and returned as far as everybody else is done with it; not that of a
        consumer that is `holding` it.
        """
        if not (self.full or blocked) or len(self._lines) < 2:
            return []
        finished: list[Delivery] = []
        for line in self._lines.values():
            oldest = line.oldest
            if oldest is None or now - max(oldest, line.held_at) < hold:
                continue
            finished += self._give_up(line, "abandoned", before=now - hold)
        return finished

    def keep(self, consumers: Iterable[str]) -> list[Delivery]:
        """There are these consumers from now on; what others had is finished, as far as nobody else has it."""
        finished: list[Delivery] = []
        for consumer in set(self._lines) - set(consumers):
            finished += self._give_up(self._lines.pop(consumer), "unwanted", before=None)
        for consumer in consumers:
            self._line(consumer)
        return finished

    # -- below

    def _line(self, consumer: str) -> _Line:
        line = self._lines.get(consumer)
        if line is None:
            line = self._lines[consumer] = _Line()
        return line

    def _fill(self, line: _Line) -> None:
        messages = [line.waiting.popleft()]
        octets = messages[0].size
        most = 1 if line.alone else self._limits.block_messages
        while line.waiting and len(messages) < most:
            octets += line.waiting[0].size
            if octets > self._limits.block_octets:
                break
            messages.append(line.waiting.popleft())
        line.in_hand = tuple(messages)
        line.sent = False
        line.block = MqttBlock(
            id=next(self._ids),
            topics=tuple(message.delivery.topic for message in messages),
            payloads=tuple(message.delivery.payload for message in messages),
        )
        self.counters["blocks"] += 1

    def _clear_hand(self, line: _Line) -> None:
        line.block, line.in_hand, line.sent = None, (), False

    def _finish_hand(self, line: _Line) -> list[Delivery]:
        messages = line.in_hand
        self._clear_hand(line)
        return self._finish(messages)

    def _give_up(self, line: _Line, reason: str, *, before: float | None) -> list[Delivery]:
        given: list[_Message] = list(line.in_hand)
        self._clear_hand(line)
        while line.waiting and (before is None or line.waiting[0].at <= before):
            given.append(line.waiting.popleft())
        self.counters[reason] += len(given)
        line.alone = line.crashes = 0
        return self._finish(given)

    def _finish(self, messages: Iterable[_Message]) -> list[Delivery]:
        finished: list[Delivery] = []
        for message in messages:
            message.open -= 1
            if not message.open:
                self.held -= 1
                self.held_octets -= message.size
                finished.append(message.delivery)
        return finished
