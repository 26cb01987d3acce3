"""Replies as values, and their octets."""

import enum
from collections.abc import Callable, Iterable, Iterator
from typing import Final

import attrs

from tapir.codec.dnswire import HEADER_OCTETS, QR, RD, TC, Header, encode_header, encode_record
from tapir.codec.tsig import Buffer, Signer, Verified
from tapir.model.names import Name
from tapir.zone.query import TYPE_OPT, Edns, Query, QueryKind, Rcode
from tapir.zone.version import Body

OUR_PAYLOAD: Final = 1232
"""the UDP payload that passes without fragments (DNS flag day 2020)"""
TRANSFER_OCTETS: Final = 16 * 1024
"""the size of transfer messages: as far as compression pointers reach"""

_BATCH_MESSAGES: Final = 32
# Signing takes some 45 us a message, and all the time of the event loop.
_SIGNED_BATCH_MESSAGES: Final = 8
_EDE_OPTION: Final = 15
_NOTHING: Final[Body] = (0, b"")


class Refusal(enum.StrEnum):
    """Why a request did not get what it asked for: the names of counters."""

    FORMERR = "formerr"
    NOTIMP = "notimp"
    BADVERS = "badvers"
    TSIG_BADSIG = "tsig-badsig"
    TSIG_BADKEY = "tsig-badkey"
    TSIG_BADTIME = "tsig-badtime"
    TSIG_BADTRUNC = "tsig-badtrunc"
    ACL = "acl"
    NOTIFY = "notify"
    NOTIFY_FROM = "notify-from"
    """of a zone that is transferred in, from an address that may not say so"""
    NOTIFY_KEY = "notify-key"
    """the same, from one that may where it signs"""
    OUTSIDE = "outside"
    NOT_READY = "not-ready"
    AXFR_OVER_UDP = "axfr-over-udp"


class Ede(enum.IntEnum):
    """Extended DNS errors (RFC 8914 §4) that we give."""

    NOT_READY = 14
    PROHIBITED = 18
    NOT_AUTHORITATIVE = 20


@attrs.frozen
class Transport:
    """How a request came: over a stream (TCP), or in a datagram of whose kind we send `limit` octets at most."""

    stream: bool
    limit: int

    def room(self, edns: Edns | None) -> int:
        """The most octets that one reply may have (RFC 6891 §6.2.3, RFC 1035 §4.2.1)."""
        if self.stream:
            return self.limit
        return min(self.limit, max(512, edns.payload)) if edns is not None else 512


TCP: Final = Transport(stream=True, limit=65535)
UDP: Final = Transport(stream=False, limit=OUR_PAYLOAD)


@attrs.frozen(kw_only=True, repr=False)
class Reply:
    """One message. `refusal` is None for what was asked; `query` is None for what could not be read."""

    wire: bytes
    query: Query | None
    refusal: Refusal | None = None

    @property
    def kind(self) -> QueryKind | None:
        """What was asked."""
        return self.query.kind if self.query is not None else None

    @property
    def client_serial(self) -> int | None:
        """The serial that a secondary said it has, by IXFR."""
        return self.query.client_serial if self.query is not None else None

    def __repr__(self) -> str:
        return f"<Reply {self.kind} {len(self.wire)} octets, refusal {self.refusal}>"


@attrs.frozen(kw_only=True, repr=False, eq=False)
class TransferReply:
    """A transfer: iterating makes its messages one by one, each time from the start.

    `incremental` tells a difference from the whole zone, which also answers an IXFR where it must. The
    reply keeps the version that it began with.
    """

    query: Query
    incremental: bool
    serial: int
    octets: int
    """about what will be sent"""
    bodies: Iterable[Body]
    """can be iterated anew"""
    verified: Verified | None = None
    """how the request was signed: each message is then signed, too"""
    made_at: int = 0

    @property
    def kind(self) -> QueryKind:
        """What was asked."""
        return self.query.kind

    @property
    def client_serial(self) -> int | None:
        """The serial that the secondary said it has, by IXFR."""
        return self.query.client_serial

    def __iter__(self) -> Iterator[bytes]:
        return self.messages()

    def messages(self) -> Iterator[bytes]:
        """The messages, each at most 16 KiB, with the request's ID and its question as it was sent."""
        return map(b"".join, self._messages(lambda: self.made_at))

    def batches(self, *, now: Callable[[], int]) -> Iterator[list[Buffer]]:
        """The messages as they go over a stream, each behind its length; the records are not copied.

        A batch takes half a millisecond to make at most, so whoever sends it lets others have their turn. `now` is
        asked for each message that is signed: a slow reader takes longer than a signature holds.
        """
        most = 3 * (_BATCH_MESSAGES if self.verified is None else _SIGNED_BATCH_MESSAGES)
        batch: list[Buffer] = []
        for head, body, tail in self._messages(now):
            batch += ((len(head) + len(body) + len(tail)).to_bytes(2, "big") + head, body, tail)
            if len(batch) >= most:
                yield batch
                batch = []
        if batch:
            yield batch

    def _messages(self, now: Callable[[], int]) -> Iterator[tuple[bytes, Buffer, bytes]]:
        """Of each message what is before its records, the records, and what is after them."""
        query = self.query
        question = query.question.octets
        opt = encode_opt(query.edns)
        flags = reply_flags(query.header, authoritative=True)
        id_ = query.header.id
        signer = Signer(self.verified.key, request_mac=self.verified.mac) if self.verified is not None else None
        # Every message repeats the question: the records' owners point at the name in it.
        limit = TRANSFER_OCTETS - HEADER_OCTETS - len(question) - len(opt) - (signer.octets if signer else 0)
        extra = 1 if opt else 0
        for count, body in pack(self.bodies, limit):
            header = encode_header(id_, flags, (1, count, 0, extra))
            if signer is None:
                yield header + question, body, opt
            else:
                record = signer.sign((header, question, body, opt), id_=id_, now=now())
                yield encode_header(id_, flags, (1, count, 0, extra + 1)) + question, body, opt + record

    def __repr__(self) -> str:
        form = "difference" if self.incremental else "whole zone"
        return f"<TransferReply {self.kind.value} {self.client_serial}→{self.serial}, {form}>"


def pack(bodies: Iterable[Body], limit: int) -> Iterator[Body]:
    """`bodies` in their order, neighbours joined while they fit in `limit`; one that is larger stands alone."""
    pieces: list[bytes] = []
    records = 0
    octets = 0
    for count, body in bodies:
        if pieces and octets + len(body) > limit:
            yield records, pieces[0] if len(pieces) == 1 else b"".join(pieces)
            pieces.clear()
            records = octets = 0
        pieces.append(body)
        records += count
        octets += len(body)
    if pieces:
        yield records, b"".join(pieces)


def reply_flags(header: Header, *, authoritative: bool = False, rcode: int = 0) -> int:
    """The flags of a reply: opcode and RD as asked, no recursion, AD and CD clear (RFC 4035 §3.1.6)."""
    return QR | header.opcode << 11 | authoritative << 10 | (header.flags & RD) | (rcode & 0xF)


def encode_opt(edns: Edns | None, *, rcode: int = 0, ede: Ede | None = None) -> bytes:
    """Our OPT record for a requester that sent one (RFC 6891 §7), DO as it was (RFC 3225 §3); else nothing."""
    if edns is None:
        return b""
    option = b""
    if ede is not None:
        option = b"".join(number.to_bytes(2, "big") for number in (_EDE_OPTION, 2, ede))
    return encode_record(b"\0", TYPE_OPT, OUR_PAYLOAD, (rcode >> 4) << 24 | edns.dnssec_ok << 15, option)


def compose(
    query: Query,
    *,
    room: int,
    rcode: Rcode = Rcode.NOERROR,
    authoritative: bool = False,
    answer: Body = _NOTHING,
    authority: Body = _NOTHING,
    ede: Ede | None = None,
) -> bytes:
    """One reply to `query`; what does not fit in `room` is left out whole, and TC says so (RFC 2181 §9)."""
    opt = encode_opt(query.edns, rcode=rcode, ede=ede)
    flags = reply_flags(query.header, authoritative=authoritative, rcode=rcode)
    counts = (1, answer[0], authority[0], 1 if opt else 0)
    question = query.question.octets
    wire = b"".join((encode_header(query.header.id, flags, counts), question, answer[1], authority[1], opt))
    if len(wire) <= room:
        return wire
    header = encode_header(query.header.id, flags | TC, (1, 0, 0, 1 if opt else 0))
    return b"".join((header, question, opt))


def pointer_to_apex(query: Query, apex: Name) -> bytes:
    """A pointer to the zone's name, which ends the name in the question."""
    return (0xC000 | HEADER_OCTETS + len(query.name) - len(apex)).to_bytes(2, "big")
