"""One Frame Streams connection, from its first octet to FINISH: blocks of frames out, as fast as they are taken.

Reads go straight into the receiver's buffer, and go on without a pause while the kernel has something. A block leaves
when it is full, or a short moment after its first frame came, whichever is sooner. Nothing is read while a block is
being delivered: what the consumer does not take stays in the kernel, then in the sender, who decides what to drop.

Who is at the other end is never asked, so it cannot be told: no text here has an address of a peer.
"""

import contextlib
import math
from collections.abc import Awaitable, Callable
from enum import StrEnum

import attrs
import trio

from tapir.codec.framestream import (
    BLOCK_OCTETS,
    DNSTAP,
    FRAME_LIMIT,
    BufferPool,
    Ending,
    FrameStreamError,
    Phase,
    Receiver,
    Refusal,
)
from tapir.model.blocks import FrameBlock
from tapir.transport.frameinput import FrameInput
from tapir.transport.streams import PeerGone, PeerStalled
from tapir.transport.tls import HandshakeFailed

Deliver = Callable[[FrameBlock], Awaitable[None]]
"""Takes a block over, and returns once there is room for another"""


class Failure(StrEnum):
    """Why a connection was given up, if not for what it said."""

    HANDSHAKE_DEADLINE = "handshake-deadline"
    IDLE = "idle"
    BROKEN = "broken"
    TLS = "tls"


def _between(least: int, most: int) -> Callable[[object, "attrs.Attribute[int]", int], None]:
    return attrs.validators.and_(attrs.validators.ge(least), attrs.validators.le(most))


@attrs.frozen(kw_only=True)
class FrameStreamSettings:
    """What is taken from a sender; times are seconds."""

    content_type: bytes = DNSTAP
    frame_limit: int = attrs.field(default=FRAME_LIMIT, validator=_between(512, 1 << 24))
    block_octets: int = attrs.field(default=BLOCK_OCTETS, validator=_between(4096, 1 << 26))
    """a block is full from so many octets on, and never has more than a frame on top of that"""
    block_delay: float = 0.05
    """for how long a frame waits for others to share its block"""
    handshake_deadline: float = 5.0
    """until START, with the TLS handshake"""
    idle_limit: float | None = None
    """for how long nothing may come; None is for ever, since a resolver that nobody asks has nothing to say"""

    def pool(self) -> BufferPool:
        """Buffers for connections with these settings, which may share it."""
        return BufferPool(block_octets=self.block_octets, frame_limit=self.frame_limit)


@attrs.define(kw_only=True)
class FrameCounters:
    """What came, of all connections that share this."""

    frames: int = 0
    """delivered"""
    octets: int = 0
    control_frames: int = 0
    blocks: int = 0
    abandoned: int = 0
    """frames that were read but not delivered, because it was cancelled"""


@attrs.frozen(kw_only=True)
class ConnectionSummary:
    """How a connection went."""

    ending: Ending
    failure: Failure | Refusal | None = None
    detail: str = ""
    """what there is to say of `failure`"""
    bidirectional: bool
    frames: int
    octets: int
    unread: int
    """octets that came and belong to no whole frame"""


async def serve_connection(
    stream: FrameInput,
    deliver: Deliver,
    settings: FrameStreamSettings,
    *,
    pool: BufferPool | None = None,
    counters: FrameCounters | None = None,
) -> ConnectionSummary:
    """Receive one stream to its end and close it; whatever the sender does or breaks is in the summary.

    Raises only what `deliver` raises. When cancelled, what was read and not delivered is counted as abandoned.
    """
    connection = _Connection(
        stream,
        deliver,
        settings,
        settings.pool() if pool is None else pool,
        FrameCounters() if counters is None else counters,
    )
    failure: Failure | Refusal | None = None
    detail = ""
    try:
        failure = await connection.run()
    except FrameStreamError as exc:
        failure, detail = exc.refusal, str(exc)
    except HandshakeFailed as exc:
        # The text begins with the anonymous address.
        failure, detail = Failure.TLS, str(exc).partition(": ")[2]
    except (PeerGone, PeerStalled):
        failure = Failure.BROKEN
    finally:
        connection.close()
    return connection.summary(failure, detail)


class _Connection:
    """One stream, its receiver, and for how long something waits."""

    def __init__(
        self,
        stream: FrameInput,
        deliver: Deliver,
        settings: FrameStreamSettings,
        pool: BufferPool,
        counters: FrameCounters,
    ) -> None:
        self._stream = stream
        self._deliver = deliver
        self._settings = settings
        self._counters = counters
        self._receiver = Receiver(pool, content_type=settings.content_type)

    async def run(self) -> Failure | Refusal | None:
        """To the end; gives what the sender was given up for. Raises what the stream raises, and FrameStreamError."""
        patience = self._settings.handshake_deadline
        with trio.move_on_after(patience) as deadline:
            await self._stream.handshake(patience=patience)
            await self._start()
        if deadline.cancelled_caught:
            return Failure.HANDSHAKE_DEADLINE
        failure = None
        if self._receiver.phase is Phase.STREAMING:
            try:
                failure = None if await self._stream_frames() else Failure.IDLE
            except PeerGone:
                failure = Failure.BROKEN
            if self._receiver.ready:  # what came before it broke is as good as ever
                await self._hand_over()
        if failure is not None:
            return failure
        if self._receiver.phase is Phase.STOPPED:
            await self._say()  # FINISH; a sender that does not wait for it has done nothing wrong
        await self._stream.end()
        return None

    def close(self) -> None:
        """Close, and count what was read in vain."""
        self._counters.abandoned += self._receiver.ready
        self._stream.close()

    def summary(self, failure: Failure | Refusal | None, detail: str) -> ConnectionSummary:
        """How it went."""
        receiver = self._receiver
        ending, unread = receiver.ending, receiver.pending
        receiver.close()
        return ConnectionSummary(
            ending=ending,
            failure=failure,
            detail=detail,
            bidirectional=receiver.bidirectional,
            frames=receiver.frames,
            octets=receiver.octets,
            unread=unread,
        )

    async def _start(self) -> None:
        receiver = self._receiver
        while True:
            self._advance()
            if octets := receiver.outgoing():
                await self._stream.send(octets, patience=self._settings.handshake_deadline)
            if receiver.phase in (Phase.STREAMING, Phase.STOPPED):
                return
            try:
                count = self._stream.receive_nowait(receiver.room())
            except trio.WouldBlock:
                await self._stream.wait_readable()
                continue
            if not count:
                return
            self._fill(count)

    async def _stream_frames(self) -> bool:
        """Deliver blocks until STOP or the end of the octets; False when nothing came for too long."""
        receiver = self._receiver
        flush_at = math.inf
        while True:
            self._advance()
            if receiver.due:
                await self._hand_over()
                flush_at = math.inf
                continue
            if receiver.phase is Phase.STOPPED:
                return True
            try:
                count = self._stream.receive_nowait(receiver.room())
            except trio.WouldBlock:
                if not receiver.ready:
                    if not await self._wait_quietly():
                        return False
                    continue
                flush_at = min(flush_at, trio.current_time() + self._settings.block_delay)
                if not await self._wait_until(flush_at):
                    await self._hand_over()
                    flush_at = math.inf
                continue
            if not count:
                return True
            self._fill(count)

    async def _wait_quietly(self) -> bool:
        """Wait for the next octets, with no buffer to speak of; False when they are too long in coming."""
        self._receiver.rest()
        limit = self._settings.idle_limit
        if limit is None:
            await self._stream.wait_readable()
            return True
        with trio.move_on_after(limit) as deadline:
            await self._stream.wait_readable()
        return not deadline.cancelled_caught

    async def _wait_until(self, time: float) -> bool:
        """Wait for the next octets; False when they are not there by then."""
        with trio.move_on_at(time) as moment:
            await self._stream.wait_readable()
        return not moment.cancelled_caught

    async def _hand_over(self) -> None:
        block = self._receiver.take()
        try:
            await self._deliver(block)
        except BaseException:
            self._counters.abandoned += len(block)
            raise
        self._counters.frames += len(block)
        self._counters.blocks += 1
        # A sender at full rate, and a consumer that always has room, would leave nobody else a turn.
        await trio.lowlevel.checkpoint()

    async def _say(self) -> None:
        octets = self._receiver.outgoing()
        if octets:
            with contextlib.suppress(PeerGone, PeerStalled):
                await self._stream.send(octets, patience=self._settings.handshake_deadline)

    def _advance(self) -> None:
        before = self._receiver.control_frames
        try:
            self._receiver.advance()
        finally:
            self._counters.control_frames += self._receiver.control_frames - before

    def _fill(self, count: int) -> None:
        self._receiver.filled(count)
        self._counters.octets += count
