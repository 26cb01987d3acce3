"""A dnstap frame without the client: what may be kept of it, for dumps and for records of sessions (edm.md §3.5, §8).

Only fields that are known to say nothing of the client are kept. His address is replaced; what is left out is the
query, `extra`, and all that dnstap.proto may have got since. In the DNS message the option that tells of the client
(RFC 7871) keeps its form, with an address of zeros.
"""

from collections.abc import Iterator
from typing import Final

from tapir.codec.dnstap import expand_name

_KEPT: Final = frozenset({1, 2, 15})
"""of `Dnstap`: identity, version, type"""
_KEPT_OF_MESSAGE: Final = frozenset({1, 2, 3, 6, 7, 8, 9, 11, 12, 13})
"""of `Message`: type, family, protocol, ports, times, query_zone"""
_MESSAGE: Final = 14
_QUERY_ADDRESS: Final = 4
_RESPONSE_ADDRESS: Final = 5
_RESPONSE_MESSAGE: Final = 14
_OPT: Final = 41
_CLIENT_SUBNET: Final = 8


def pseudonymised(frame: bytes, *, query_address: bytes, response_address: bytes) -> bytes:
    """`frame` with these addresses, where it has any, and without what may tell of the client.

    The frame must be one that decodes, of any outcome but MALFORMED; ValueError else.
    """
    out = bytearray()
    addresses = {_QUERY_ADDRESS: query_address, _RESPONSE_ADDRESS: response_address}
    for number, wire_type, raw, value in _fields(frame):
        if number == _MESSAGE and wire_type == 2:
            _put(out, number, _message(value, addresses))
        elif number in _KEPT:
            out += raw
    return bytes(out)


def _message(data: bytes, addresses: dict[int, bytes]) -> bytes:
    out = bytearray()
    for number, wire_type, raw, value in _fields(data):
        if number in _KEPT_OF_MESSAGE:
            out += raw
        elif wire_type == 2 and number in addresses:
            _put(out, number, addresses[number])
        elif wire_type == 2 and number == _RESPONSE_MESSAGE:
            try:
                blind = without_client_subnet(value)
            except ValueError:
                blind = b""  # no DNS message: nobody knows what it tells
            _put(out, number, blind)
    return bytes(out)


def _put(out: bytearray, number: int, value: bytes) -> None:
    out += _varint(number << 3 | 2) + _varint(len(value)) + value


def _varint(value: int) -> bytes:
    out = bytearray()
    while value > 127:
        out.append(value & 127 | 128)
        value >>= 7
    out.append(value)
    return bytes(out)


def _fields(data: bytes) -> Iterator[tuple[int, int, bytes, bytes]]:
    """Number, wire type, octets and value (of type 2 only) of each field; groups are passed over."""
    at = depth = 0
    while at < len(data):
        start = at
        tag, at = _read(data, at)
        number, wire_type = tag >> 3, tag & 7
        begin = at
        match wire_type:
            case 0:
                _, at = _read(data, at)
            case 1:
                at += 8
            case 2:
                length, begin = _read(data, at)
                at = begin + length
            case 3:
                depth += 1
            case 4:
                depth -= 1
            case 5:
                at += 4
            case _:
                raise ValueError("no protobuf: a field of no known wire type")
        if at > len(data) or depth < 0:
            raise ValueError("no protobuf: a field does not end with its message")
        if depth == 0 and wire_type not in {3, 4}:
            yield number, wire_type, data[start:at], data[begin:at] if wire_type == 2 else b""


def _read(data: bytes, at: int) -> tuple[int, int]:
    value = 0
    for number, octet in enumerate(data[at : at + 10]):
        value |= (octet & 127) << 7 * number
        if octet < 128:
            return value, at + number + 1
    raise ValueError("no protobuf: a number does not end")


def without_client_subnet(wire: bytes) -> bytes:
    """A DNS message as it is, but that the options of RFC 7871 have an address of zeros; ValueError if it is none."""
    out: bytearray | None = None
    for at, size in _client_subnets(wire):
        out = bytearray(wire) if out is None else out
        out[at : at + size] = bytes(size)
    return wire if out is None else bytes(out)


def _client_subnets(wire: bytes) -> Iterator[tuple[int, int]]:
    """Where the addresses of these options are, and how long; records that are not there are not missed."""
    if len(wire) < 12:
        raise ValueError("no DNS message")
    questions, *sections = (int.from_bytes(wire[place : place + 2]) for place in range(4, 12, 2))
    at = 12
    for _ in range(questions if len(wire) > 12 else 0):
        at = min(expand_name(wire, at)[1] + 4, len(wire))
    for _ in range(sum(sections)):
        if at >= len(wire):
            break
        at = expand_name(wire, at)[1]
        rdtype, size = int.from_bytes(wire[at : at + 2]), int.from_bytes(wire[at + 8 : at + 10])
        at += 10
        if rdtype == _OPT:
            yield from _options(wire, at, at + size)
        at += size


def _options(wire: bytes, at: int, end: int) -> Iterator[tuple[int, int]]:
    while at + 4 <= min(end, len(wire)):
        code, size = int.from_bytes(wire[at : at + 2]), int.from_bytes(wire[at + 2 : at + 4])
        if code == _CLIENT_SUBNET and size > 4:
            yield at + 8, min(size, end - at - 4, len(wire) - at - 4) - 4
        at += 4 + size
