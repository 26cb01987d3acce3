"""DNS messages, as far as a server reads them (RFC 1035 §4.1): names, questions, the outline of records.

dnspython is the oracle; this reads what a server needs of a query in some microseconds, and from any octets
yields a value or WireError.
"""

import struct
from typing import Final

import attrs

from tapir.model.errors import TapirError
from tapir.model.names import MAX_NAME, Name

HEADER_OCTETS: Final = 12
MAX_MESSAGE: Final = 65535

QR: Final = 0x8000
AA: Final = 0x0400
TC: Final = 0x0200
RD: Final = 0x0100

# A name of 255 octets has 127 labels: honest compression needs no more pointers than that.
_MOST_POINTERS: Final = 127

_HEADER: Final = struct.Struct("!6H")
_FIXED: Final = struct.Struct("!HHIH")


class WireError(TapirError):
    """The octets are not the DNS message that they should be."""


@attrs.frozen
class Header:
    """The first twelve octets of a message."""

    id: int
    flags: int
    counts: tuple[int, int, int, int]

    @property
    def is_response(self) -> bool:
        """The QR bit."""
        return bool(self.flags & QR)

    @property
    def opcode(self) -> int:
        """What kind of request this is or answers."""
        return self.flags >> 11 & 0xF

    @property
    def rcode(self) -> int:
        """The response code's four bits in the header."""
        return self.flags & 0xF


@attrs.frozen
class Question:
    """The question: `octets` as they came, `name` in lower case."""

    octets: bytes
    name: Name
    rdtype: int
    rdclass: int


@attrs.frozen
class Record:
    """Where one record of a message lies: its owner from `start`, its rdata from `rdata` to `end`."""

    start: int
    rdtype: int
    rdclass: int
    ttl: int
    rdata: int
    end: int


def read_header(wire: bytes) -> Header:
    """The header of a message; raises WireError when there is less than one."""
    if len(wire) < HEADER_OCTETS:
        raise WireError(f"{len(wire)} octets are no DNS header")
    id_, flags, *counts = _HEADER.unpack_from(wire)
    return Header(id_, flags, (counts[0], counts[1], counts[2], counts[3]))


def encode_header(id_: int, flags: int, counts: tuple[int, int, int, int]) -> bytes:
    """The twelve octets of a header."""
    return _HEADER.pack(id_, flags, *counts)


def read_question(wire: bytes, position: int = HEADER_OCTETS) -> tuple[Question, int]:
    """The question at `position`, and where it ends; raises WireError.

    Its name must not be compressed: in front of it are no names to point at.
    """
    end = skip_name(wire, position)
    if end + 4 > len(wire):
        raise WireError("the message ends within its question")
    if end - position > MAX_NAME or not _is_plain(wire, position, end):
        raise WireError("the question's name is compressed or too long")
    rdtype, rdclass = struct.unpack_from("!HH", wire, end)
    # Length octets are at most 63 and so below "A": lower() leaves them alone.
    return Question(wire[position : end + 4], Name(wire[position:end].lower()), rdtype, rdclass), end + 4


def _is_plain(wire: bytes, position: int, end: int) -> bool:
    """Whether the name that lies there ends in the root's label, not in a pointer."""
    while wire[position] and wire[position] < 0xC0:
        position += 1 + wire[position]
    return position == end - 1


def skip_name(wire: bytes, position: int) -> int:
    """Where the name at `position` ends, pointers not followed; raises WireError."""
    size = len(wire)
    while position < size:
        length = wire[position]
        if length == 0:
            return position + 1
        if length >= 0xC0:
            if position + 2 > size:
                break
            return position + 2
        if length > 63:
            raise WireError(f"label type {length >> 6} at octet {position} is unknown")
        position += 1 + length
    raise WireError("the message ends within a name")


def read_name(wire: bytes, position: int) -> tuple[Name, int]:
    """The name at `position` in lower case, decompressed, and where it ends; raises WireError.

    A pointer must lead to before the labels that it ends, so that no chain of them is endless, and there are no more
    of them than a name can have labels: a long chain is written once and could be followed from thousands of records.
    """
    end = skip_name(wire, position)
    labels = bytearray()
    limit = position
    pointers = 0
    while True:
        length = wire[position]
        if length >= 0xC0:
            target = (length & 0x3F) << 8 | wire[position + 1]
            if target >= limit:
                raise WireError(f"the pointer at octet {position} does not lead back")
            pointers += 1
            if pointers > _MOST_POINTERS:
                raise WireError(f"a name has more than {_MOST_POINTERS} pointers")
            position = limit = target
            skip_name(wire, position)
            continue
        labels += wire[position : position + 1 + length]
        if len(labels) > MAX_NAME:
            raise WireError(f"a name has more than {MAX_NAME} octets")
        if length == 0:
            return Name(bytes(labels).lower()), end
        position += 1 + length


def read_record(wire: bytes, position: int) -> Record:
    """The outline of the record at `position`; raises WireError."""
    fixed = skip_name(wire, position)
    if fixed + _FIXED.size > len(wire):
        raise WireError("the message ends within a record")
    rdtype, rdclass, ttl, length = _FIXED.unpack_from(wire, fixed)
    rdata = fixed + _FIXED.size
    if rdata + length > len(wire):
        raise WireError("the message ends within rdata")
    return Record(position, rdtype, rdclass, ttl, rdata, rdata + length)


def encode_record(owner: bytes, rdtype: int, rdclass: int, ttl: int, rdata: bytes) -> bytes:
    """A record; `owner` may be a pointer."""
    return owner + _FIXED.pack(rdtype, rdclass, ttl, len(rdata)) + rdata


def read_soa_serial(wire: bytes, record: Record) -> int:
    """The serial in the rdata of the SOA `record`; raises WireError."""
    position = skip_name(wire, skip_name(wire, record.rdata))
    if position + 20 != record.end:
        raise WireError("the rdata of an SOA record has the wrong length")
    return int.from_bytes(wire[position : position + 4], "big")
