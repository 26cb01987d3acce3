"""dnstap in blocks: from data frames to columns of what the minimiser asks of them (dnstap.proto, edm.md §1.1, §3).

A frame is decoded as protobuf does it, its DNS message as the library of the existing EDM does it, so that what is
counted there as ignored or malformed is so here. Kernels do both, and hold no interpreter; what comes out are arrays,
a row a frame, and places in the block's own octets.
"""

from enum import IntEnum, IntFlag
from typing import Final

import attrs
import numpy as np
from numpy.typing import NDArray

import tapir.kernels.dnsquestion
import tapir.kernels.dnsrecords
import tapir.kernels.dnstap
from tapir.codec.rdata import LAYOUTS, STARTS
from tapir.model.blocks import FrameBlock, NameBlock
from tapir.model.names import Name

Octets = NDArray[np.uint8]
Shorts = NDArray[np.uint16]
Words = NDArray[np.uint32]
Longs = NDArray[np.uint64]
Times = NDArray[np.int64]


class Outcome(IntEnum):
    """How far a frame came, in the order in which the existing EDM decides (edm.md §1.1).

    Between QUERY and the ones after it come the ignored clients: those are looked for in all rows from NO_DNS on, and
    in those that are OK. That a name of a question is invalid is not an outcome: what the DNS library reads is valid.
    """

    OK = 0
    """a response with a question"""
    MALFORMED = 1
    """no protobuf, or without one of the two required types; the row says nothing else"""
    NO_MESSAGE = 2
    """an envelope with nothing in it"""
    QUERY = 3
    NO_DNS = 4
    """no response_message, or an empty one"""
    UNPARSABLE = 5
    """the response_message is no DNS message"""
    NO_QUESTION = 6


class Marks(IntFlag):
    """What is odd about a frame."""

    NO_TIME = 1
    """it does not say when the response came"""
    ABSURD_TIME = 2
    """it says a time that microseconds in 63 bits cannot"""
    NO_QUERY_PORT = 4
    NO_RESPONSE_PORT = 8
    CLIENT_SUBNET = 16
    """the DNS message tells of the client in an EDNS option (RFC 7871)"""


class Family(IntEnum):
    """`SocketFamily`; UNSET is to be taken for INET (edm.md §8), and other numbers for what they are, up to 255."""

    UNSET = 0
    INET = 1
    INET6 = 2


class MessageType(IntEnum):
    """`Message.Type`; those that are odd are queries."""

    AUTH_QUERY = 1
    AUTH_RESPONSE = 2
    RESOLVER_QUERY = 3
    RESOLVER_RESPONSE = 4
    CLIENT_QUERY = 5
    CLIENT_RESPONSE = 6
    FORWARDER_QUERY = 7
    FORWARDER_RESPONSE = 8
    STUB_QUERY = 9
    STUB_RESPONSE = 10
    TOOL_QUERY = 11
    TOOL_RESPONSE = 12
    UPDATE_QUERY = 13
    UPDATE_RESPONSE = 14


@attrs.frozen(kw_only=True, eq=False, repr=False)
class DecodedBlock:
    """The columns of a block: row i is what its frame i says, 0 what it does not.

    Addresses, identity and the DNS message are places in `frames.data`, names places in `names`: where one begins, and
    its length. The columns from `flags` on mean something in rows that are OK; those that are not of the question do so
    in rows without one, too. Nobody writes into a block.
    """

    frames: FrameBlock
    outcome: Octets
    """an `Outcome`"""
    marks: Octets
    """bits of `Marks`"""
    message_type: Octets
    family: Octets
    """SocketFamily; 0 is unset, 255 that or more"""
    protocol: Octets
    """SocketProtocol; 0 is unset, 255 that or more"""
    query_address_at: Words
    query_address_length: Words
    """of any length: whoever asks wants 4 or 16"""
    response_address_at: Words
    response_address_length: Words
    query_port: Words
    response_port: Words
    time: Times
    """of the response: microseconds since the epoch, 0 if it does not say a usable one"""
    identity_at: Words
    identity_length: Words
    wire_at: Words
    """the DNS message"""
    wire_length: Words
    flags: Shorts
    """octets 2 and 3 of the DNS message: QR, opcode, AA, TC, RD, RA, Z, AD, CD, RCODE"""
    rcode: Shorts
    """with what the OPT record adds, up to 4095"""
    qtype: Shorts
    """type, class and name are of the first question"""
    qclass: Shorts
    questions: Shorts
    """how many there are"""
    answers: Shorts
    """records that are there, whatever the header says"""
    authorities: Shorts
    additionals: Shorts
    names: bytes
    name_at: Words
    """the name, in lower case and wire form, without compression"""
    name_length: Words
    sent_at: Words
    """the name as it was sent, as long as the other; the same place when it was sent in lower case"""
    name_hash: Longs
    """of the name in lower case, keyed; see `hashes_of`"""

    def __len__(self) -> int:
        return len(self.outcome)

    def __repr__(self) -> str:
        return f"<DecodedBlock of {len(self)} frames, {len(self.frames.data)} octets>"

    @property
    def opcode(self) -> Octets:
        return (self.flags >> 11 & 15).astype(np.uint8)

    def name(self, row: int) -> Name:
        """The name that `row` asks for, in lower case."""
        at = int(self.name_at[row])
        return Name(self.names[at : at + int(self.name_length[row])])

    def name_as_sent(self, row: int) -> bytes:
        """The name that `row` asks for, in wire form."""
        at = int(self.sent_at[row])
        return self.names[at : at + int(self.name_length[row])]

    def query_address(self, row: int) -> bytes:
        """The client's address; private."""
        at = int(self.query_address_at[row])
        return self.frames.data[at : at + int(self.query_address_length[row])]

    def response_address(self, row: int) -> bytes:
        """The server's address."""
        at = int(self.response_address_at[row])
        return self.frames.data[at : at + int(self.response_address_length[row])]

    def identity(self, row: int) -> bytes:
        """What the server calls itself."""
        at = int(self.identity_at[row])
        return self.frames.data[at : at + int(self.identity_length[row])]

    def wire(self, row: int) -> bytes:
        """The DNS message."""
        at = int(self.wire_at[row])
        return self.frames.data[at : at + int(self.wire_length[row])]


_DEEPEST_GROUP: Final = 100
_STEPS: Final = 255
"""labels and pointers of a name at most"""
_LEAST_FRAME: Final = 17
"""octets of a frame that has a name: length, types, and a DNS message of more than twelve octets"""


def decode(frames: FrameBlock, secret: bytes) -> DecodedBlock:
    """The columns of `frames`. `secret`, sixteen octets that nobody else may know, keys the hashes of the names."""
    count = len(frames)
    data = memoryview(frames.data)
    words = np.zeros((10, count), dtype=np.uint32)
    octets = np.zeros((5, count), dtype=np.uint8)
    time = np.zeros(count, dtype=np.int64)
    numbers = np.zeros((8, count), dtype=np.uint16)
    places = np.zeros((4, count), dtype=np.uint32)
    hashes = np.zeros(count, dtype=np.uint64)
    names = np.empty(510 * min(count, len(data) // _LEAST_FRAME), dtype=np.uint8)
    state = np.zeros(5, dtype=np.int64)
    groups = np.zeros(_DEEPEST_GROUP, dtype=np.uint32)
    tapir.kernels.dnstap.decode(
        data,
        memoryview(frames.offsets).cast("I"),
        words.reshape(-1).data,
        octets.reshape(-1).data,
        time.data,
        groups.data,
    )
    wire_at, wire_length = words[6], words[7]
    outcome, marks = octets[0], octets[4]
    filled = tapir.kernels.dnsquestion.read(
        data,
        wire_at.data,
        wire_length.data,
        _key(secret),
        outcome.data,
        numbers.reshape(-1).data,
        places.reshape(-1).data,
        hashes.data,
        names.data,
        state.data,
    )
    tapir.kernels.dnsrecords.check(
        data,
        wire_at.data,
        wire_length.data,
        places[3].data,
        STARTS,
        LAYOUTS,
        outcome.data,
        marks.data,
        numbers.reshape(-1).data,
        state.data,
    )
    return DecodedBlock(
        frames=frames,
        outcome=outcome,
        marks=marks,
        message_type=octets[1],
        family=octets[2],
        protocol=octets[3],
        query_address_at=words[0],
        query_address_length=words[1],
        response_address_at=words[2],
        response_address_length=words[3],
        query_port=words[4],
        response_port=words[5],
        time=time,
        identity_at=words[8],
        identity_length=words[9],
        wire_at=wire_at,
        wire_length=wire_length,
        flags=numbers[0],
        rcode=numbers[1],
        qtype=numbers[2],
        qclass=numbers[3],
        questions=numbers[4],
        answers=numbers[5],
        authorities=numbers[6],
        additionals=numbers[7],
        names=names[:filled].tobytes(),
        name_at=places[0],
        name_length=places[1],
        sent_at=places[2],
        name_hash=hashes,
    )


def hashes_of(names: NameBlock, secret: bytes) -> Longs:
    """The hashes that `decode` gives to these names with the same `secret`: SipHash-1-3 of the wire form."""
    return hash_names(np.frombuffer(names.data, np.uint8), np.frombuffer(names.offsets, np.uint32), secret)


def hash_names(data: Octets, offsets: Words, secret: bytes) -> Longs:
    """As `hashes_of`, for names of which number i is `data[offsets[i]:offsets[i + 1]]`, without a copy."""
    hashes = np.empty(len(offsets) - 1, dtype=np.uint64)
    room = memoryview(bytearray(255))
    tapir.kernels.dnsquestion.hash_names(data.data, offsets.data, _key(secret), room, hashes.data)
    return hashes


def _key(secret: bytes) -> memoryview:
    if len(secret) != 16:
        raise ValueError(f"a key of SipHash has 16 octets, not {len(secret)}")
    return np.frombuffer(secret, dtype="<u8").astype(np.uint64).data


def expand_name(wire: bytes, at: int) -> tuple[bytes, int]:
    """The name at `at` of a DNS message, without compression, and where it ends; ValueError if there is none."""
    labels: list[bytes] = []
    behind: int | None = None
    for _ in range(_STEPS):
        length = wire[at] if at < len(wire) else 64
        if length == 0:
            return b"".join(labels) + b"\0", at + 1 if behind is None else behind
        if length >= 0xC0:
            behind = at + 2 if behind is None else behind
            at = int.from_bytes(wire[at : at + 2]) & 0x3FFF
            continue
        if length > 63:
            break
        labels.append(wire[at : at + 1 + length])
        at += 1 + length
    raise ValueError("no name in a DNS message")
