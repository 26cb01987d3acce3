"""Frame Streams without a wire: however it is cut the same frames come out, and garbage is refused, no more."""

from collections.abc import Iterable, Sequence
from itertools import pairwise
from struct import pack

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tapir.codec import framestream
from tapir.codec.framestream import (
    DNSTAP,
    BufferPool,
    Control,
    ControlFrame,
    Ending,
    FrameStreamError,
    Phase,
    Receiver,
    Refusal,
    Sender,
    read_control,
)
from tapir.model.blocks import FrameBlock

FRAMES = st.lists(st.binary(min_size=1, max_size=40), max_size=30)
POOLS = st.builds(BufferPool, block_octets=st.sampled_from([1, 64, 1000]), frame_limit=st.sampled_from([40, 5000]))
READY = ControlFrame(type=Control.READY, content_types=(DNSTAP,)).encode()
ACCEPT = ControlFrame(type=Control.ACCEPT, content_types=(DNSTAP,)).encode()
START = ControlFrame(type=Control.START, content_types=(DNSTAP,)).encode()
STOP = ControlFrame(type=Control.STOP).encode()
FINISH = ControlFrame(type=Control.FINISH).encode()


def field(name: bytes, kind: int = 1) -> bytes:
    return pack(">II", kind, len(name)) + name


def control(kind: int, *fields: bytes) -> bytes:
    body = pack(">I", kind) + b"".join(fields)
    return bytes(4) + pack(">I", len(body)) + body


def framed(frames: Iterable[bytes]) -> bytes:
    return b"".join(pack(">I", len(frame)) + frame for frame in frames)


def feed(receiver: Receiver, octets: bytes, *, flush: bool = False) -> list[FrameBlock]:
    """Give the receiver all of `octets`; the blocks that become due, and at `flush` what is left."""
    blocks = []
    rest = memoryview(octets)
    while True:
        receiver.advance()
        if receiver.due or (flush and not rest and receiver.ready):
            blocks.append(receiver.take())
            continue
        if not rest or receiver.phase is Phase.STOPPED:
            return blocks
        room = receiver.room()
        count = min(len(room), len(rest))
        room[:count] = rest[:count]
        receiver.filled(count)
        rest = rest[count:]


def frames_of(blocks: Iterable[FrameBlock]) -> list[bytes]:
    return [frame for block in blocks for frame in block]


def parts(octets: bytes, cuts: Sequence[int]) -> Iterable[bytes]:
    places = sorted({0, len(octets), *(cut % (len(octets) + 1) for cut in cuts)})
    return (octets[start:end] for start, end in pairwise(places))


@given(FRAMES, st.lists(st.integers(0, 2000), max_size=40), st.booleans(), st.booleans(), POOLS)
def test_the_same_frames_come_out_however_the_stream_is_cut(
    frames: list[bytes], cuts: list[int], bidirectional: bool, flush: bool, pool: BufferPool
) -> None:
    receiver = Receiver(pool)
    blocks = []
    for part in parts((READY if bidirectional else b"") + START + framed(frames) + STOP, cuts):
        blocks += feed(receiver, part, flush=flush)
        receiver.rest()
    assert frames_of(blocks) == frames
    assert all(len(block) == len(list(block)) > 0 for block in blocks)
    assert receiver.frames == len(frames)
    assert receiver.ending is Ending.STOPPED
    assert receiver.control_frames == 2 + bidirectional
    assert receiver.outgoing() == (ACCEPT + FINISH if bidirectional else b"")
    assert (receiver.outgoing(), receiver.pending, receiver.bidirectional) == (b"", 0, bidirectional)


@given(FRAMES, POOLS)
def test_one_octet_at_a_time(frames: list[bytes], pool: BufferPool) -> None:
    octets = START + framed(frames) + STOP
    receiver = Receiver(pool)
    blocks = [block for octet in octets for block in feed(receiver, bytes((octet,)))]
    assert frames_of(blocks) == frames
    assert receiver.octets == len(octets)


GARBAGE = st.one_of(
    st.binary(max_size=60),
    st.lists(
        st.one_of(
            st.sampled_from([READY, START, STOP, FINISH, ACCEPT, bytes(4), bytes(8), START[:-1]]),
            st.binary(min_size=1, max_size=50).map(lambda frame: framed([frame])),
            st.builds(
                control,
                st.integers(0, 6),
                st.builds(field, st.binary(max_size=300), st.integers(0, 2)),
            ),
            st.builds(lambda length: pack(">I", length), st.integers(0, 2**32 - 1)),
        ),
        max_size=8,
    ).map(b"".join),
)


@given(GARBAGE, st.lists(st.integers(0, 500), max_size=10), POOLS)
def test_garbage_is_refused_or_taken_but_nothing_else_ever_happens(
    octets: bytes, cuts: list[int], pool: BufferPool
) -> None:
    whole, cut = Receiver(pool), Receiver(pool)
    results = []
    for receiver, pieces in ((whole, [octets]), (cut, parts(octets, cuts))):
        refusal, blocks = None, list[FrameBlock]()
        try:
            for piece in pieces:
                blocks += feed(receiver, piece, flush=True)
        except FrameStreamError as exc:
            refusal = exc.refusal
        # Only what happened up to a refusal is the same: how much came after it depends on the cuts.
        results.append((refusal, receiver.frames, receiver.phase, receiver.control_frames))
    assert results[0] == results[1]


@pytest.mark.parametrize(
    ("octets", "refusal"),
    [
        (b"GET / HTTP/1.1\r\n", Refusal.NO_HANDSHAKE),
        (framed([b"frame"]), Refusal.NO_HANDSHAKE),
        (READY + framed([b"frame"]), Refusal.NO_HANDSHAKE),
        (bytes(4) + pack(">I", 513), Refusal.CONTROL_LENGTH),
        (bytes(4) + b"\xff\xff\xff\xff", Refusal.CONTROL_LENGTH),
        (bytes(4) + pack(">I", 3), Refusal.CONTROL_LENGTH),
        (control(0), Refusal.CONTROL_FORMAT),
        (control(6), Refusal.CONTROL_FORMAT),
        (control(4, b"x"), Refusal.CONTROL_FORMAT),
        (control(4, pack(">II", 1, 10) + b"short"), Refusal.CONTROL_FORMAT),
        (control(4, field(DNSTAP, kind=2)), Refusal.CONTROL_FORMAT),
        (control(4, field(b"x" * 257)), Refusal.CONTROL_FORMAT),
        (control(2, field(DNSTAP), field(DNSTAP)), Refusal.CONTROL_FORMAT),
        (START + control(3, field(DNSTAP)), Refusal.CONTROL_FORMAT),
        (control(5, field(DNSTAP)), Refusal.CONTROL_FORMAT),
        (control(4, field(b"protobuf:other")), Refusal.CONTENT_TYPE),
        (control(2, field(b"")), Refusal.CONTENT_TYPE),
        (READY + control(2, field(b"protobuf:other")), Refusal.CONTENT_TYPE),
        (STOP, Refusal.CONTROL_ORDER),
        (ACCEPT, Refusal.CONTROL_ORDER),
        (FINISH, Refusal.CONTROL_ORDER),
        (READY + READY, Refusal.CONTROL_ORDER),
        (START + START, Refusal.CONTROL_ORDER),
        (START + FINISH, Refusal.CONTROL_ORDER),
        (START + b"\xff\xff\xff\xff", Refusal.FRAME_LENGTH),
        (START + pack(">I", framestream.FRAME_LIMIT + 1), Refusal.FRAME_LENGTH),
    ],
)
def test_each_refusal_has_its_reason(octets: bytes, refusal: Refusal) -> None:
    receiver = Receiver(BufferPool())
    with pytest.raises(FrameStreamError) as caught:
        feed(receiver, octets)
    assert caught.value.refusal is refusal
    with pytest.raises(FrameStreamError):
        receiver.advance()


@pytest.mark.parametrize("types", [(), (b"other", DNSTAP), (DNSTAP, DNSTAP)])
def test_ready_may_offer_several_types_or_none(types: tuple[bytes, ...]) -> None:
    receiver = Receiver(BufferPool())
    feed(receiver, control(4, *map(field, types)))
    assert (receiver.outgoing(), receiver.phase) == (ACCEPT, Phase.ACCEPTED)
    feed(receiver, control(2))
    assert receiver.phase.value == "streaming"


def test_frames_before_a_hostile_length_are_not_lost() -> None:
    receiver = Receiver(BufferPool())
    octets = START + framed([b"one", b"two"]) + b"\xff\xff\xff\xff"
    receiver.room()[: len(octets)] = octets
    receiver.filled(len(octets))
    receiver.advance()
    assert receiver.due
    assert list(receiver.take()) == [b"one", b"two"]
    with pytest.raises(FrameStreamError, match="4294967295"):
        receiver.advance()


def test_a_frame_of_exactly_the_limit_fits_behind_nearly_a_block() -> None:
    pool = BufferPool(block_octets=1000, frame_limit=700)
    frames = [b"a" * 495, b"b" * 495, b"c" * 700, b"d" * 700, b"e"]
    receiver = Receiver(pool)
    assert frames_of(feed(receiver, START + framed(frames) + STOP)) == frames


def test_very_short_frames_make_a_block_when_there_are_many() -> None:
    frames = [b"x"] * 40_000
    blocks = feed(Receiver(BufferPool()), START + framed(frames) + STOP)
    assert [len(block) for block in blocks] == [16383, 16383, 7234]


def test_a_claimed_length_allocates_nothing_and_idle_streams_keep_little() -> None:
    lent: list[bytearray] = []

    class Counting(BufferPool):
        def lend(self) -> bytearray:
            lent.append(super().lend())
            return lent[-1]

    receiver = Receiver(Counting())
    feed(receiver, START + pack(">I", framestream.FRAME_LIMIT))
    assert not lent
    feed(receiver, bytes(5000))
    assert len(lent) == 1
    receiver.rest()  # gives it back, and keeps what it has
    feed(receiver, bytes(framestream.FRAME_LIMIT - 5000) + STOP)
    assert len({id(buffer) for buffer in lent}) == 1
    assert (receiver.phase, receiver.frames) == (Phase.STOPPED, 1)
    receiver.close()


@pytest.mark.parametrize("there", [100, 50_000, 90_000, framestream.FRAME_LIMIT - 1])
def test_who_rests_in_the_midst_of_a_frame_has_room_for_no_more_than_that(there: int) -> None:
    pool = BufferPool()
    receiver = Receiver(pool)
    feed(receiver, START + pack(">I", framestream.FRAME_LIMIT) + bytes(there))
    receiver.rest()
    assert len(receiver._buffer) <= max(4096, min(framestream.FRAME_LIMIT + 4, 2 * (there + 4)))
    (block,) = feed(receiver, bytes(framestream.FRAME_LIMIT - there) + framed([b"more"]) + STOP)
    assert [len(frame) for frame in block] == [framestream.FRAME_LIMIT, 4]
    receiver.close()


def test_how_a_stream_ended_is_known() -> None:
    receiver = Receiver(BufferPool())
    assert receiver.ending == "unstarted"
    feed(receiver, READY)
    assert receiver.ending == "unstarted"
    feed(receiver, START + framed([b"frame"]), flush=True)
    assert receiver.ending == "unstopped"
    feed(receiver, b"\0\0\0\5fra")
    assert (receiver.ending, receiver.pending) == (Ending.TRUNCATED, 7)
    feed(receiver, b"me" + STOP + b"more")
    assert (receiver.ending, receiver.pending) == (Ending.STOPPED, 4)


def test_taking_needs_a_frame() -> None:
    with pytest.raises(ValueError, match="no frame"):
        Receiver(BufferPool()).take()


@given(FRAMES, st.booleans())
def test_sender_and_receiver_understand_each_other(frames: list[bytes], bidirectional: bool) -> None:
    sender, receiver = Sender(bidirectional=bidirectional), Receiver(BufferPool())
    feed(receiver, sender.start())
    feed(receiver, sender.feed(receiver.outgoing()))
    assert sender.open
    blocks = feed(receiver, FrameBlock.of(frames).data + sender.stop())
    assert sender.feed(receiver.outgoing()) == b""
    assert (frames_of(blocks), sender.open, sender.finished) == (frames, False, bidirectional)


@pytest.mark.parametrize(
    ("octets", "refusal"),
    [
        (START, Refusal.CONTROL_ORDER),
        (FINISH, Refusal.CONTROL_ORDER),
        (ACCEPT + ACCEPT, Refusal.CONTROL_ORDER),
        (control(1, field(b"other")), Refusal.CONTENT_TYPE),
        (b"HTTP", Refusal.NO_HANDSHAKE),
    ],
)
def test_a_sender_refuses_what_is_no_receiver(octets: bytes, refusal: Refusal) -> None:
    sender = Sender(bidirectional=True)
    sender.start()
    with pytest.raises(FrameStreamError) as caught:
        sender.feed(octets)
    assert caught.value.refusal is refusal


def test_a_sender_waits_for_the_whole_answer() -> None:
    sender = Sender(bidirectional=True)
    assert sender.start() == READY
    assert sender.feed(ACCEPT[:9]) == b""
    assert sender.feed(ACCEPT[9:]) == START


def test_control_frames_are_as_written_in_the_specification() -> None:
    assert START.hex() == "0000000000000022000000020000000100000016" + DNSTAP.hex()
    assert FINISH.hex() == "000000000000000400000005"
    assert read_control(memoryview(START)) == (ControlFrame(type=Control.START, content_types=(DNSTAP,)), len(START))
