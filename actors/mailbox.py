"""Bounded mailboxes. Every mailbox says at its spawn what happens when it is full, and counts what it drops.

Two lanes: signals (a watched actor's end) are taken first; messages follow in the order they were put. Signals and
timer ticks do not count against the capacity: there is at most one of each per watch and per timer.

A sender that waits keeps its place: its message enters when a slot gets free, before any later message, and being
cancelled while it waits means that the message was not delivered.
"""

import collections
import enum
from collections.abc import Callable, Hashable
from typing import TYPE_CHECKING, Any

import attrs
import outcome
import trio

from actors.message import describe

if TYPE_CHECKING:
    from actors.ask import Reply
    from actors.timers import Timer


class Overflow(enum.Enum):
    """What a full mailbox does with one more message."""

    WAIT = "wait"
    """the sender waits; only ever the way that data flows"""
    REJECT = "reject"
    """the sender is told"""
    DROP_NEWEST = "drop_newest"
    DROP_OLDEST = "drop_oldest"
    COALESCE = "coalesce"
    """a message replaces the waiting one with the same key, in its slot; when full of other keys, as REJECT"""


class Delivery(enum.Enum):
    """What became of a told message."""

    DELIVERED = "delivered"
    REJECTED = "rejected"
    DROPPED = "dropped"
    """this message was dropped"""
    COALESCED = "coalesced"
    """this message took the slot of an older one"""
    FULL = "full"
    """`tell_nowait` would have had to wait"""
    DEAD = "dead"
    """there is no such actor, or it takes no more messages"""


@attrs.frozen
class MailboxSpec:
    """A mailbox's bound and what happens there; `key` belongs to COALESCE, must not raise, and None is never merged."""

    capacity: int
    overflow: Overflow
    key: Callable[[Any], Hashable] | None = None

    def __attrs_post_init__(self) -> None:
        if self.capacity < 1:
            raise ValueError(f"a mailbox needs a capacity of at least 1, not {self.capacity}")
        if (self.overflow is Overflow.COALESCE) != (self.key is not None):
            raise ValueError("a mailbox has a key if, and only if, it coalesces")


class Envelope:
    """A message on its way, with whom to answer or which timer sent it."""

    __slots__ = ("key", "message", "reply", "signal", "timer")

    def __init__(self, message: Any, *, reply: "Reply | None" = None, timer: "Timer | None" = None) -> None:
        self.message = message
        self.reply = reply
        self.timer = timer
        self.key: Hashable | None = None
        self.signal: Callable[[Any], Any] | None = None

    def __repr__(self) -> str:
        return f"<envelope {describe(self.message)}>"


class Mailbox:
    """The queue of one place in the tree; it outlives the actor's incarnations.

    `dropped` is told the reason and message of every loss that happens here.
    """

    def __init__(self, spec: MailboxSpec, dropped: Callable[[str, Any], None]) -> None:
        self.spec = spec
        self.high_water = 0
        self.drops: collections.Counter[str] = collections.Counter()
        self._dropped = dropped
        self._signals: collections.deque[Envelope] = collections.deque()
        self._queue: collections.deque[Envelope] = collections.deque()
        self._load = 0  # envelopes that count against the capacity
        self._keys: dict[Hashable, Envelope] = {}
        self._waiting: dict[trio.lowlevel.Task, Envelope] = {}  # senders, longest waiting first
        self._receiver = trio.lowlevel.ParkingLot()
        self._held: type | None = None
        self._closed = False
        self.deserted = False
        """whether nobody is there, nor on the way"""

    def __len__(self) -> int:
        return len(self._queue) + len(self._signals)

    def __repr__(self) -> str:
        return f"<mailbox {len(self)}/{self.spec.capacity} {self.spec.overflow.value}>"

    @property
    def closed(self) -> bool:
        """True while nothing is taken in."""
        return self._closed

    @property
    def exhausted(self) -> bool:
        """True when nothing is in it, and nothing will be."""
        return self._closed and not self._queue and not self._signals

    @property
    def waiting(self) -> int:
        """How many senders wait for a slot."""
        return len(self._waiting)

    # Senders

    def put_nowait(self, envelope: Envelope) -> Delivery:
        """Take `envelope` in, or do what the overflow says; FULL when its sender would have to wait."""
        if self._closed:
            return Delivery.DEAD
        if self.spec.key is not None and envelope.reply is None and self._coalesce(envelope, self.spec.key):
            return Delivery.COALESCED
        if self._load < self.spec.capacity or self._passes(envelope):
            self._append(envelope)
            return Delivery.DELIVERED
        match self.spec.overflow:
            case Overflow.WAIT:
                return Delivery.FULL
            case Overflow.REJECT | Overflow.COALESCE:
                self.count("rejected", envelope.message)
                return Delivery.REJECTED
            case Overflow.DROP_NEWEST:
                self.count("dropped_newest", envelope.message)
                return Delivery.DROPPED
            case Overflow.DROP_OLDEST:
                oldest = next(other for other in self._queue if other.timer is None)
                self._remove(oldest)
                self.count("dropped_oldest", oldest.message)
                if oldest.reply is not None:
                    oldest.reply.reject("dropped for a newer message")
                self._append(envelope)
                return Delivery.DELIVERED

    async def put(self, envelope: Envelope) -> Delivery:
        """As `put_nowait`, but wait for a slot where the overflow is WAIT; always a checkpoint."""
        await trio.lowlevel.checkpoint_if_cancelled()
        delivery = self.put_nowait(envelope)
        if delivery is not Delivery.FULL:
            await trio.lowlevel.cancel_shielded_checkpoint()
            return delivery
        task = trio.lowlevel.current_task()
        self._waiting[task] = envelope

        def abort(_: Callable[[], None]) -> trio.lowlevel.Abort:
            self._waiting.pop(task, None)
            return trio.lowlevel.Abort.SUCCEEDED

        delivered: Delivery = await trio.lowlevel.wait_task_rescheduled(abort)
        return delivered

    def put_tick(self, envelope: Envelope) -> None:
        """Take a timer's message in, beside the capacity; nothing when closed."""
        if not self._closed:
            self._queue.append(envelope)
            self._wake()

    def put_signal(self, envelope: Envelope) -> None:
        """Take a signal in, before all messages; nothing when closed."""
        if not self._closed:
            self._signals.append(envelope)
            self._wake()

    # The receiver

    def take(self) -> Envelope | None:
        """The next envelope, signals first; None when there is none."""
        if self._signals:
            return self._signals.popleft()
        envelope = self._next()
        if envelope is not None:
            self._remove(envelope)
        return envelope

    async def wait_mail(self) -> None:
        """Wait until there is something to take, or the mailbox is exhausted, or what may be taken changes."""
        if not self._signals and self._next() is None and not self.exhausted:
            await self._receiver.park()

    def hold(self, kind: type | None) -> None:
        """Leave messages of this class where they are, and let the others overtake them; None: of no class.

        Meanwhile asks of other classes are taken in beside the capacity: there are as many as there are askers.
        """
        if kind is self._held:
            return
        self._held = kind
        for task, envelope in list(self._waiting.items()):
            if self._passes(envelope):
                del self._waiting[task]
                self._append(envelope)
                trio.lowlevel.reschedule(task, outcome.Value(Delivery.DELIVERED))
        self._receiver.unpark_all()

    # The runtime

    def close(self) -> None:
        """Take nothing in any more; senders that wait are told that their message is DEAD."""
        self._closed = True
        self._receiver.unpark_all()
        self._dismiss()

    def reopen(self) -> None:
        """Take messages in again, for a new incarnation."""
        self._closed = False
        self._held = None
        self.deserted = False

    def purge(self) -> list[Envelope]:
        """Empty the mailbox and return what was in it; senders that wait are told that their message is DEAD."""
        purged = [*self._signals, *self._queue]
        self._dismiss()
        self._signals.clear()
        self._queue.clear()
        self._keys.clear()
        self._load = 0
        return purged

    def strip(self) -> list[Envelope]:
        """Remove and return what cannot outlive an incarnation: asks, ticks and signals; told messages stay."""
        stripped = list(self._signals)
        for task, envelope in list(self._waiting.items()):
            if envelope.reply is not None:
                del self._waiting[task]
                stripped.append(envelope)
                trio.lowlevel.reschedule(task, outcome.Value(Delivery.DELIVERED))  # the reply tells it the rest
        stripped += [envelope for envelope in self._queue if envelope.reply is not None or envelope.timer is not None]
        self._signals.clear()
        for envelope in stripped:
            self.discard(envelope)
        return stripped

    def discard(self, envelope: Envelope) -> None:
        """Remove `envelope` if it is still here (its asker has gone, or will be told)."""
        if envelope in self._queue:
            self._remove(envelope)

    def count(self, reason: str, message: Any) -> None:
        """Count a message that was lost for `reason`."""
        self.drops[reason] += 1
        self._dropped(reason, message)

    def _coalesce(self, envelope: Envelope, key: Callable[[Any], Hashable]) -> bool:
        envelope.key = key(envelope.message)
        if envelope.key is None or (older := self._keys.get(envelope.key)) is None:
            return False
        self.count("coalesced", older.message)
        older.message = envelope.message
        return True

    def _next(self) -> Envelope | None:
        """The first message that is not held."""
        if self._held is None:
            return self._queue[0] if self._queue else None
        return next((envelope for envelope in self._queue if not isinstance(envelope.message, self._held)), None)

    def _passes(self, envelope: Envelope) -> bool:
        return self._held is not None and envelope.reply is not None and not isinstance(envelope.message, self._held)

    def _append(self, envelope: Envelope) -> None:
        self._queue.append(envelope)
        self._load += 1
        if envelope.key is not None:
            self._keys[envelope.key] = envelope
        self._wake()

    def _remove(self, envelope: Envelope) -> None:
        self._queue.remove(envelope)
        self._gone(envelope)

    def _gone(self, envelope: Envelope) -> None:
        if envelope.timer is not None:
            return
        self._load -= 1
        if envelope.key is not None:
            del self._keys[envelope.key]
        if self._waiting and self._load < self.spec.capacity:
            task, waiting = next(iter(self._waiting.items()))
            del self._waiting[task]
            self._append(waiting)
            trio.lowlevel.reschedule(task, outcome.Value(Delivery.DELIVERED))

    def _dismiss(self) -> None:
        for task in self._waiting:
            trio.lowlevel.reschedule(task, outcome.Value(Delivery.DEAD))
        self._waiting.clear()

    def _wake(self) -> None:
        depth = len(self._queue) + len(self._signals)
        if depth > self.high_water:
            self.high_water = depth
        if self._receiver:
            self._receiver.unpark()
