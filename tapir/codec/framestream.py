"""Frame Streams, sans-IO, both ends: octets in, blocks of frames and the octets to answer with out.

    sender                      receiver            unidirectional: a file, or a sender that hears nothing
    READY (content types)  →
                           ←    ACCEPT (one of them)
    START (content type)   →                        START
    data frames            →                        data frames
    STOP                   →                        STOP
                           ←    FINISH

Everything is behind a length of four octets, big-endian; 0 is the escape to a control frame, which has a length of its
own, a type and fields. The facts are those of farsightsec/fstrm: `control.h`, `writer.c`, `reader.c`.

Nothing is allocated because of a length that a peer claims: a receiver has one buffer, given by what it was told to
take at most, and refuses what would not fit. Each octet is moved at most a few times, however the stream was cut.
"""

from array import array
from enum import Enum, IntEnum, StrEnum
from typing import Final

import attrs

from tapir.kernels import frames
from tapir.model.blocks import FrameBlock
from tapir.model.errors import TapirError

DNSTAP: Final = b"protobuf:dnstap.Dnstap"
FRAME_LIMIT: Final = 96 * 1024
BLOCK_OCTETS: Final = 256 * 1024

_CONTROL_LIMIT: Final = 512
_CONTENT_TYPE_LIMIT: Final = 256
_CONTENT_TYPE_FIELD: Final = 1
# A block has no more frames than this, however short they are.
_MOST_FRAMES: Final = 16 * 1024
_FEWEST_FRAMES: Final = 256
_SMALL: Final = 4096
_SPARE: Final = 8


class Refusal(StrEnum):
    """What is wrong with a stream."""

    NO_HANDSHAKE = "no-handshake"
    """a data frame, or something else altogether, where READY or START should be"""
    CONTROL_LENGTH = "control-length"
    CONTROL_FORMAT = "control-format"
    CONTROL_ORDER = "control-order"
    """a control frame that has no place there"""
    CONTENT_TYPE = "content-type"
    FRAME_LENGTH = "frame-length"


class FrameStreamError(TapirError):
    """The peer does not speak Frame Streams, or not about what we want; nothing of what it said is in the text."""

    def __init__(self, refusal: Refusal, text: str) -> None:
        super().__init__(text)
        self.refusal = refusal


class Control(IntEnum):
    """Types of control frames."""

    ACCEPT = 1
    START = 2
    STOP = 3
    READY = 4
    FINISH = 5


class Phase(Enum):
    """How far the receiver of a stream is."""

    OPENED = "opened"
    ACCEPTED = "accepted"
    STREAMING = "streaming"
    STOPPED = "stopped"


class Ending(StrEnum):
    """How the octets of a stream ended."""

    STOPPED = "stopped"
    """with STOP, as it should"""
    UNSTOPPED = "unstopped"
    """between two frames: the sender went away without a word"""
    TRUNCATED = "truncated"
    """in the midst of a frame"""
    UNSTARTED = "unstarted"
    """before START"""


_TRANSITIONS: Final = {
    (Phase.OPENED, Control.READY): Phase.ACCEPTED,
    (Phase.OPENED, Control.START): Phase.STREAMING,
    (Phase.ACCEPTED, Control.START): Phase.STREAMING,
    (Phase.STREAMING, Control.STOP): Phase.STOPPED,
}


@attrs.frozen(kw_only=True)
class ControlFrame:
    """A control frame; `content_types` are at most one of START, none of STOP and FINISH."""

    type: Control
    content_types: tuple[bytes, ...] = ()

    def admits(self, content_type: bytes) -> bool:
        """Whether frames of `content_type` may follow; a control frame that names no type says yes to each."""
        return not self.content_types or content_type in self.content_types

    def encode(self) -> bytes:
        """The frame with escape and length."""
        body = self.type.to_bytes(4) + b"".join(
            _CONTENT_TYPE_FIELD.to_bytes(4) + len(name).to_bytes(4) + name for name in self.content_types
        )
        return bytes(4) + len(body).to_bytes(4) + body


def read_control(data: memoryview) -> tuple[ControlFrame, int] | None:
    """The control frame that `data` begins with, and how many octets it has; None while it is not all there.

    Raises FrameStreamError as soon as it can be known.
    """
    if any(data[:4]):
        raise FrameStreamError(Refusal.NO_HANDSHAKE, "the stream does not begin with a control frame")
    if len(data) < 8:
        return None
    length = int.from_bytes(data[4:8])
    if not 4 <= length <= _CONTROL_LIMIT:
        raise FrameStreamError(
            Refusal.CONTROL_LENGTH, f"a control frame of {length} octets, where 4 to {_CONTROL_LIMIT} may be"
        )
    if len(data) < 8 + length:
        return None
    return _parse_control(data[8 : 8 + length]), 8 + length


def _parse_control(body: memoryview) -> ControlFrame:
    try:
        kind = Control(int.from_bytes(body[:4]))
    except ValueError:
        raise FrameStreamError(Refusal.CONTROL_FORMAT, "a control frame of an unknown type") from None
    names: list[bytes] = []
    at = 4
    while at < len(body):
        length = int.from_bytes(body[at + 4 : at + 8])
        end = at + 8 + length
        if int.from_bytes(body[at : at + 4]) != _CONTENT_TYPE_FIELD or end > len(body):
            raise FrameStreamError(Refusal.CONTROL_FORMAT, f"{kind.name} with a field that is none or does not end")
        if length > _CONTENT_TYPE_LIMIT:
            raise FrameStreamError(Refusal.CONTROL_FORMAT, f"{kind.name} with a content type of {length} octets")
        names.append(bytes(body[at + 8 : end]))
        at = end
    if len(names) > {Control.START: 1, Control.STOP: 0, Control.FINISH: 0}.get(kind, _CONTROL_LIMIT):
        raise FrameStreamError(Refusal.CONTROL_FORMAT, f"{kind.name} with {len(names)} content types")
    return ControlFrame(type=kind, content_types=tuple(names))


class BufferPool:
    """Buffers of one size that receivers lend: a few are kept, so that a stream at full rate allocates none."""

    def __init__(self, *, block_octets: int = BLOCK_OCTETS, frame_limit: int = FRAME_LIMIT) -> None:
        self.block_octets = block_octets
        self.frame_limit = frame_limit
        # Less than a block of whole frames and one that is not all there yet always fit.
        self.size = block_octets + max(frame_limit + 4, _CONTROL_LIMIT + 8)
        self._spare: list[bytearray] = []

    def lend(self) -> bytearray:
        """A buffer of `size` octets, with anything in it."""
        return self._spare.pop() if self._spare else bytearray(self.size)

    def give_back(self, buffer: bytearray) -> None:
        """Take a buffer back; one of another size is let go."""
        if len(buffer) == self.size and len(self._spare) < _SPARE:
            self._spare.append(buffer)


class Receiver:
    """The receiving end: write into `room`, tell by `filled`, `advance`, and `take` what is `due`.

    It follows the sender, who alone decides whether the stream is bidirectional. Frames that came before something
    that is refused can be taken first: `advance` raises only when none is left.
    """

    def __init__(self, pool: BufferPool, *, content_type: bytes = DNSTAP) -> None:
        self.phase = Phase.OPENED
        self.bidirectional = False
        self.frames = 0
        """data frames taken"""
        self.octets = 0
        """all that came"""
        self.control_frames = 0
        self.due = False
        """the frames that are ready are a block of full size, or nothing more joins them"""
        self._pool = pool
        self._content_type = content_type
        self._buffer = bytearray(_SMALL)
        self._ends = array("I", bytes(4 * _FEWEST_FRAMES))
        self._count = 1  # of _ends, the first of which is 0
        self._start = 0  # of the frames that are ready
        self._at = 0  # their end, and where to go on
        self._end = 0  # of all that is there
        self._outgoing = b""

    @property
    def ready(self) -> int:
        """How many whole frames there are to take."""
        return self._count - 1

    @property
    def pending(self) -> int:
        """Octets that came and belong to no whole frame; after STOP, those that should not have come."""
        return self._end - self._at

    def room(self) -> memoryview:
        """Where the next octets belong; only while no block is `due`."""
        if self._end == len(self._buffer):
            self._compact()
            if self._end == len(self._buffer):
                self._move(self._pool.lend())
        return memoryview(self._buffer)[self._end :]

    def filled(self, count: int) -> None:
        """Say that `count` octets were written into `room`."""
        self._end += count
        self.octets += count

    def advance(self) -> None:
        """Go through what came. Raises FrameStreamError, and again if called again."""
        while self.phase is not Phase.STOPPED:
            if self.phase is Phase.STREAMING and self._cut():
                return
            found = read_control(memoryview(self._buffer)[self._at : self._end])
            if found is None:
                return
            control, size = found
            self._obey(control)
            self.control_frames += 1
            self._start = self._at = self._at + size

    def take(self) -> FrameBlock:
        """The frames that are ready, of which there must be one at least; `advance` comes next."""
        if self._count < 2:
            raise ValueError("no frame is ready")
        block = FrameBlock(
            data=bytes(memoryview(self._buffer)[self._start : self._at]),
            offsets=bytes(memoryview(self._ends)[: self._count]),
        )
        self.frames += len(block)
        self._count = 1
        self._start = self._at
        self.due = False
        self._compact()
        return block

    def outgoing(self) -> bytes:
        """What the sender is to be told, each octet once."""
        octets, self._outgoing = self._outgoing, b""
        return octets

    def rest(self) -> None:
        """Give back the large buffer where a small one does, as the next octets may be long in coming."""
        there = self._end - self._start
        # Twice what is there, and no more than the frame will have: one that trickles in is copied as often as it
        # doubles, and a thousand senders that rest within their frames hold little more than those.
        frame = 4 + int.from_bytes(memoryview(self._buffer)[self._at : self._at + 4])
        size = max(_SMALL, there, min(2 * there, frame))
        if size <= self._pool.size // 2 and len(self._buffer) == self._pool.size:
            self._move(bytearray(size))

    def close(self) -> None:
        """Give back the buffer; nothing can be read or taken any more."""
        self._pool.give_back(self._buffer)
        self._buffer = bytearray()
        self._start = self._at = self._end = 0
        self._count = 1

    @property
    def ending(self) -> Ending:
        """What it means if nothing more comes."""
        if self.phase is Phase.STOPPED:
            return Ending.STOPPED
        if self.phase is not Phase.STREAMING:
            return Ending.UNSTARTED
        return Ending.TRUNCATED if self.pending else Ending.UNSTOPPED

    def _cut(self) -> bool:
        """Find whole frames; whether that is all that can be done, which it is not before a control frame."""
        while True:
            self._at, why, self._count = frames.cut(
                self._buffer, self._at, self._end, self._start, self._pool.frame_limit, self._ends, self._count
            )
            if why != frames.ROOM or len(self._ends) >= _MOST_FRAMES:
                break
            self._ends.frombytes(bytes(4 * len(self._ends)))
        self.due = self._count > 1 and (why != frames.PARTIAL or self._at - self._start >= self._pool.block_octets)
        if why == frames.TOO_LONG and not self.due:
            length = int.from_bytes(memoryview(self._buffer)[self._at : self._at + 4])
            raise FrameStreamError(
                Refusal.FRAME_LENGTH, f"a frame of {length} octets, where {self._pool.frame_limit} may be at most"
            )
        return self.due or why != frames.CONTROL

    def _obey(self, control: ControlFrame) -> None:
        phase = _TRANSITIONS.get((self.phase, control.type))
        if phase is None:
            raise FrameStreamError(Refusal.CONTROL_ORDER, f"{control.type.name} in a stream that is {self.phase.value}")
        if not control.admits(self._content_type):
            raise FrameStreamError(
                Refusal.CONTENT_TYPE, f"{control.type.name} with no content type {self._content_type.decode('latin-1')}"
            )
        if phase is Phase.ACCEPTED:
            self.bidirectional = True
            self._outgoing += ControlFrame(type=Control.ACCEPT, content_types=(self._content_type,)).encode()
        elif phase is Phase.STOPPED and self.bidirectional:
            self._outgoing += ControlFrame(type=Control.FINISH).encode()
        self.phase = phase

    def _compact(self) -> None:
        if self._start:
            view = memoryview(self._buffer)
            view[: self._end - self._start] = view[self._start : self._end]
            self._at, self._end, self._start = self._at - self._start, self._end - self._start, 0

    def _move(self, buffer: bytearray) -> None:
        self._compact()
        memoryview(buffer)[: self._end] = memoryview(self._buffer)[: self._end]
        self._pool.give_back(self._buffer)
        self._buffer = buffer


class Sender:
    """The sending end: `start`, `feed` it what the receiver says, and once it is `open` write blocks' `data`."""

    def __init__(self, *, bidirectional: bool, content_type: bytes = DNSTAP) -> None:
        self.open = False
        self.finished = False
        """whether the receiver has everything up to STOP; a unidirectional one never says so"""
        self._bidirectional = bidirectional
        self._content_type = content_type
        self._heard = b""
        self._stopped = False

    def start(self) -> bytes:
        """The octets to begin with."""
        if self._bidirectional:
            return ControlFrame(type=Control.READY, content_types=(self._content_type,)).encode()
        return self._begin()

    def feed(self, octets: bytes) -> bytes:
        """Hear the receiver; gives what to answer. Raises FrameStreamError."""
        answer = b""
        self._heard += octets
        while self._heard and (found := read_control(memoryview(self._heard))) is not None:
            control, size = found
            self._heard = self._heard[size:]
            if control.type is Control.ACCEPT and self._bidirectional and not self.open and not self._stopped:
                if not control.admits(self._content_type):
                    raise FrameStreamError(Refusal.CONTENT_TYPE, "the receiver wants another content type")
                answer += self._begin()
            elif control.type is Control.FINISH and self._bidirectional and self._stopped and not self.finished:
                self.finished = True
            else:
                raise FrameStreamError(Refusal.CONTROL_ORDER, f"{control.type.name}, which has no place here")
        return answer

    def stop(self) -> bytes:
        """The octets to end with."""
        self.open = False
        self._stopped = True
        return ControlFrame(type=Control.STOP).encode()

    def _begin(self) -> bytes:
        self.open = True
        return ControlFrame(type=Control.START, content_types=(self._content_type,)).encode()
