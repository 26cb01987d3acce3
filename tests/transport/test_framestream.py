"""One connection: what it delivers and when, and how it ends; memory under the virtual clock, sockets in real time."""

import contextlib
import errno
import socket

import pytest
import trio
from framestreams import MemoryStream, TestSender, file_octets, memory_sender
from trio.testing import MockClock, wait_all_tasks_blocked

from tapir.codec.framestream import DNSTAP, Ending, Refusal
from tapir.model.blocks import FrameBlock
from tapir.transport.frameinput import FrameInput, SocketInput, StreamInput
from tapir.transport.framestream import (
    ConnectionSummary,
    Failure,
    FrameCounters,
    FrameStreamSettings,
    serve_connection,
)

SETTINGS = FrameStreamSettings()


class Taken:
    """A consumer that takes blocks as they come, unless it is told to wait; it knows when each came."""

    def __init__(self, *, capacity: int = 1_000_000) -> None:
        self.blocks: list[FrameBlock] = []
        self.times: list[float] = []
        self.counters = FrameCounters()
        self.summary: ConnectionSummary | None = None
        self.room = trio.Semaphore(capacity)

    @property
    def frames(self) -> list[bytes]:
        return [frame for block in self.blocks for frame in block]

    async def deliver(self, block: FrameBlock) -> None:
        await self.room.acquire()
        self.blocks.append(block)
        self.times.append(trio.current_time())

    async def serve(self, stream: FrameInput, settings: FrameStreamSettings = SETTINGS) -> None:
        self.summary = await serve_connection(stream, self.deliver, settings, counters=self.counters)

    @property
    def result(self) -> tuple[Ending, Failure | Refusal | None, int]:
        assert self.summary is not None
        return self.summary.ending, self.summary.failure, self.summary.frames


def connected() -> tuple[socket.socket, SocketInput]:
    theirs, ours = socket.socketpair()
    return theirs, SocketInput(ours)


@pytest.mark.parametrize("bidirectional", [True, False])
async def test_a_stream_from_its_handshake_to_finish(bidirectional: bool, nursery: trio.Nursery) -> None:
    theirs, ours = connected()
    taken = Taken()
    sender = TestSender(trio.SocketStream(trio.socket.from_stdlib_socket(theirs)), bidirectional=bidirectional)
    nursery.start_soon(taken.serve, ours)
    frames = [bytes([number]) * (number * 700 + 1) for number in range(100)]
    with trio.fail_after(30):
        await sender.open()
        await sender.send(frames)
        await sender.stop()
        await wait_all_tasks_blocked()
    assert taken.frames == frames
    assert taken.result == (Ending.STOPPED, None, 100)
    assert taken.summary is not None
    assert taken.summary.bidirectional is bidirectional
    assert taken.counters.frames == 100
    assert taken.counters.control_frames == 2 + bidirectional
    assert taken.counters.octets == taken.summary.octets
    assert taken.counters.blocks == len(taken.blocks) < 60


async def test_frames_wait_a_short_moment_for_others(autojump_clock: MockClock, nursery: trio.Nursery) -> None:
    sender, stream = memory_sender()
    taken = Taken()
    nursery.start_soon(taken.serve, StreamInput(stream))
    await sender.open()
    begun = trio.current_time()
    for number in range(10):  # 90 ms, one each 10 ms
        await sender.send([bytes([number])])
        await trio.sleep(0.01)
    await trio.sleep(7)
    await sender.send([b"late"])
    await sender.stop()
    await wait_all_tasks_blocked()
    assert [len(block) for block in taken.blocks] in ([5, 5, 1], [6, 4, 1])
    assert taken.times[0] - begun == pytest.approx(0.05)
    assert taken.times[2] - begun == pytest.approx(7.1)  # STOP: nothing else joins it


async def test_a_sender_that_never_speaks_is_given_up_in_time(autojump_clock: MockClock, nursery: trio.Nursery) -> None:
    sender, stream = memory_sender()
    taken = Taken()
    begun = trio.current_time()
    await taken.serve(StreamInput(stream))
    assert trio.current_time() - begun == 5
    assert taken.result == (Ending.UNSTARTED, Failure.HANDSHAKE_DEADLINE, 0)
    with pytest.raises(trio.BrokenResourceError):
        await sender.open()


async def test_the_deadline_is_for_the_whole_handshake(autojump_clock: MockClock, nursery: trio.Nursery) -> None:
    sender, stream = memory_sender()
    taken = Taken()
    begun = trio.current_time()
    nursery.start_soon(taken.serve, StreamInput(stream))
    with contextlib.suppress(trio.BrokenResourceError):
        for octet in sender._machine.start():
            await sender.stream.send_all(bytes((octet,)))
            await trio.sleep(1)
    assert trio.current_time() - begun < 7
    assert taken.result == (Ending.UNSTARTED, Failure.HANDSHAKE_DEADLINE, 0)


async def test_silence_is_allowed_unless_there_is_an_idle_limit(
    autojump_clock: MockClock, nursery: trio.Nursery
) -> None:
    for settings, wanted in ((SETTINGS, None), (FrameStreamSettings(idle_limit=60), Failure.IDLE)):
        sender, stream = memory_sender()
        taken = Taken()
        nursery.start_soon(taken.serve, StreamInput(stream), settings)
        await sender.open()
        await sender.send([b"one"])
        await trio.sleep(30)
        await sender.send([b"two"])
        await trio.sleep(80_000)
        assert taken.frames == [b"one", b"two"]
        if wanted is None:
            assert taken.summary is None
            await sender.stop()
            await wait_all_tasks_blocked()
            assert taken.result == (Ending.STOPPED, None, 2)
        else:
            assert taken.result == (Ending.UNSTOPPED, wanted, 2)


async def test_nothing_is_read_while_the_consumer_is_full(nursery: trio.Nursery) -> None:
    theirs, ours = connected()
    theirs.setblocking(False)
    taken = Taken(capacity=0)
    nursery.start_soon(taken.serve, ours)
    octets = file_octets([b"x" * 1000] * 20_000)
    sent = 0
    with trio.fail_after(30):
        while True:  # until neither our block nor the kernel takes more
            try:
                sent += theirs.send(octets[sent:])
            except BlockingIOError:
                await wait_all_tasks_blocked()
                try:
                    sent += theirs.send(octets[sent:])
                except BlockingIOError:
                    break
        assert sent < 2_000_000
        assert not taken.blocks
        theirs.close()
        nursery.cancel_scope.cancel()


async def test_a_slow_consumer_gets_everything_all_the_same(nursery: trio.Nursery) -> None:
    theirs, ours = connected()
    taken = Taken(capacity=0)
    nursery.start_soon(taken.serve, ours)
    octets = file_octets([b"x" * 1000] * 5_000)
    stream = trio.SocketStream(trio.socket.from_stdlib_socket(theirs))
    nursery.start_soon(stream.send_all, octets)
    with trio.fail_after(30):
        while taken.summary is None:
            await wait_all_tasks_blocked()
            taken.room.release()
    await stream.aclose()
    assert len(taken.frames) == 5_000
    assert taken.result == (Ending.STOPPED, None, 5_000)


async def test_what_is_read_but_not_delivered_is_counted_as_abandoned(
    autojump_clock: MockClock, nursery: trio.Nursery
) -> None:
    sender, stream = memory_sender()
    taken = Taken(capacity=0)
    with trio.CancelScope() as scope:
        nursery.start_soon(sender.open)
        nursery.start_soon(_cancel_later, scope, 10)
        nursery.start_soon(_send_later, sender, [b"one", b"two"], 1)
        await taken.serve(StreamInput(stream))
    assert scope.cancelled_caught
    assert (taken.counters.frames, taken.counters.abandoned) == (0, 2)


async def _cancel_later(scope: trio.CancelScope, seconds: float) -> None:
    await trio.sleep(seconds)
    scope.cancel()


async def _send_later(sender: TestSender, frames: list[bytes], seconds: float) -> None:
    await trio.sleep(seconds)
    await sender.send(frames)


@pytest.mark.parametrize(
    ("octets", "failure", "frames"),
    [
        (b"GET / HTTP/1.1\r\n\r\n", Refusal.NO_HANDSHAKE, 0),
        (file_octets([b"a"], content_type=b"other"), Refusal.CONTENT_TYPE, 0),
        (file_octets([b"a", b"b"])[:-12] + b"\xff\xff\xff\xff", Refusal.FRAME_LENGTH, 2),
        (file_octets([b"a", b"x" * 512, b"x" * 513]), Refusal.FRAME_LENGTH, 2),
    ],
)
async def test_what_is_no_stream_is_refused_after_what_was_one(
    octets: bytes, failure: Refusal, frames: int, autojump_clock: MockClock, nursery: trio.Nursery
) -> None:
    sender, stream = memory_sender()
    taken = Taken()
    await sender.stream.send_all(octets)
    await taken.serve(StreamInput(stream), FrameStreamSettings(frame_limit=512))
    assert taken.summary is not None
    assert (taken.summary.failure, taken.summary.frames) == (failure, frames)
    assert taken.summary.detail
    assert taken.counters.abandoned == 0


@pytest.mark.parametrize(
    ("cut", "ending", "frames"),
    [(0, Ending.UNSTARTED, 0), (20, Ending.UNSTARTED, 0), (42, Ending.UNSTOPPED, 0), (54, Ending.TRUNCATED, 1)],
)
async def test_a_sender_that_goes_away_leaves_what_it_sent(
    cut: int, ending: Ending, frames: int, nursery: trio.Nursery
) -> None:
    theirs, ours = connected()
    theirs.sendall(file_octets([b"first", b"second"])[:cut])
    theirs.close()
    taken = Taken()
    with trio.fail_after(30):
        await taken.serve(ours)
    assert taken.result == (ending, None, frames)


async def test_frames_that_came_before_a_reset_are_delivered(nursery: trio.Nursery) -> None:
    listener = socket.create_server(("127.0.0.1", 0))
    theirs = socket.create_connection(listener.getsockname())
    accepted, _ = listener.accept()
    taken = Taken()
    nursery.start_soon(taken.serve, SocketInput(accepted), FrameStreamSettings(block_delay=600))
    with trio.fail_after(30):
        theirs.sendall(file_octets([b"one", b"two"])[:-12])
        while not taken.counters.octets:
            await wait_all_tasks_blocked()
        theirs.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")
        theirs.close()  # a reset
        while taken.summary is None:
            await wait_all_tasks_blocked()
    listener.close()
    assert taken.frames == [b"one", b"two"]
    assert taken.result == (Ending.UNSTOPPED, Failure.BROKEN, 2)
    assert "127.0.0.1" not in repr(taken.summary)


async def test_a_sender_that_does_not_wait_for_finish_is_no_failure(nursery: trio.Nursery) -> None:
    theirs, ours = connected()
    taken = Taken()
    sender = TestSender(trio.SocketStream(trio.socket.from_stdlib_socket(theirs)))
    nursery.start_soon(taken.serve, ours)
    with trio.fail_after(30):
        await sender.open()
        await sender.stream.send_all(sender._machine.stop())
        await sender.stream.aclose()
        while taken.summary is None:
            await wait_all_tasks_blocked()
    assert taken.result == (Ending.STOPPED, None, 0)


async def test_a_sender_that_does_not_read_gets_no_finish_and_holds_nothing_up(
    autojump_clock: MockClock, nursery: trio.Nursery
) -> None:
    class Deaf(MemoryStream):
        async def send(self, pieces: object, *, patience: float) -> None:
            with trio.move_on_after(patience):
                await trio.sleep_forever()

    sender, stream = memory_sender(bidirectional=True)
    taken = Taken()
    begun = trio.current_time()
    await sender.stream.send_all(sender._machine.start())
    await taken.serve(StreamInput(Deaf(stream._stream)))
    assert trio.current_time() - begun == 5
    assert taken.result == (Ending.UNSTARTED, Failure.HANDSHAKE_DEADLINE, 0)


async def test_when_told_to_stop_it_reads_what_the_kernel_has_and_the_sender_knows(nursery: trio.Nursery) -> None:
    theirs, ours = connected()
    taken = Taken(capacity=0)
    nursery.start_soon(taken.serve, ours, FrameStreamSettings(block_octets=4096))
    theirs.sendall(file_octets([b"x" * 100] * 300)[:-12])
    with trio.fail_after(30):
        await wait_all_tasks_blocked()
        ours.stop_reading()
        with pytest.raises(OSError) as caught:  # noqa: PT011 - the number says it
            theirs.sendall(b"more")
        assert caught.value.errno == errno.EPIPE
        for _ in range(300):
            taken.room.release()
        while taken.summary is None:
            await wait_all_tasks_blocked()
    assert taken.result == (Ending.UNSTOPPED, None, 300)
    theirs.close()
    ours.stop_reading()  # and does not mind when it is closed


async def test_a_stream_that_is_told_to_stop_ends(autojump_clock: MockClock, nursery: trio.Nursery) -> None:
    sender, stream = memory_sender()
    taken = Taken()
    source = StreamInput(stream)
    nursery.start_soon(taken.serve, source)
    await sender.open()
    await sender.send([b"one"])
    await trio.sleep(1)
    source.stop_reading()
    await wait_all_tasks_blocked()
    assert taken.result == (Ending.UNSTOPPED, None, 1)


def test_settings_that_cannot_be_are_refused() -> None:
    with pytest.raises(ValueError, match="frame_limit"):
        FrameStreamSettings(frame_limit=1 << 25)
    with pytest.raises(ValueError, match="block_octets"):
        FrameStreamSettings(block_octets=1)
    assert FrameStreamSettings().content_type == DNSTAP
