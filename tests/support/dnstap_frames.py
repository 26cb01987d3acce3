"""dnstap frames for tests and benches: an encoder that writes what it is told, and traffic as resolvers have it."""

import ipaddress
import random
import struct
from collections.abc import Iterable, Sequence
from itertools import accumulate
from typing import Final

import attrs

from tapir.model.blocks import FrameBlock
from tapir.model.names import Name, parse_name

CLIENT_RESPONSE: Final = 6
NOERROR: Final = 0x8180
NXDOMAIN: Final = 0x8183
START: Final = 1_790_000_000


def varint(value: int) -> bytes:
    out = bytearray()
    while value > 127:
        out.append(value & 127 | 128)
        value >>= 7
    out.append(value)
    return bytes(out)


def number(field: int, value: int) -> bytes:
    """A field of wire type 0."""
    return varint(field << 3) + varint(value)


def octets(field: int, value: bytes) -> bytes:
    """A field of wire type 2."""
    return varint(field << 3 | 2) + varint(len(value)) + value


def fixed32(field: int, value: int) -> bytes:
    """A field of wire type 5."""
    return varint(field << 3 | 5) + struct.pack("<I", value)


def message_fields(
    *,
    message_type: int | None = CLIENT_RESPONSE,
    family: int | None = None,
    protocol: int | None = 1,
    query_address: bytes | None = None,
    response_address: bytes | None = None,
    query_port: int | None = 40000,
    response_port: int | None = 53,
    query_time: tuple[int, int] | None = None,
    query_message: bytes | None = None,
    response_time: tuple[int, int | None] | None = (START, 0),
    response_message: bytes | None = None,
    more: bytes = b"",
) -> bytes:
    """The body of a `Message`; what is None is left out, and an address tells the family if that is not given."""
    if family is None and query_address is not None:
        family = {4: 1, 16: 2}.get(len(query_address))
    out = b""
    for field, value in enumerate((message_type, family, protocol), 1):
        if value is not None:
            out += number(field, value)
    for field, address in ((4, query_address), (5, response_address)):
        if address is not None:
            out += octets(field, address)
    for field, port in ((6, query_port), (7, response_port)):
        if port is not None:
            out += number(field, port)
    if query_time is not None:
        out += number(8, query_time[0]) + fixed32(9, query_time[1])
    if query_message is not None:
        out += octets(10, query_message)
    if response_time is not None:
        out += number(12, response_time[0])
        if response_time[1] is not None:
            out += fixed32(13, response_time[1])
    if response_message is not None:
        out += octets(14, response_message)
    return out + more


def envelope(message: bytes | None, *, identity: bytes | None = None, version: bytes | None = None) -> bytes:
    """A `Dnstap` around the body of a `Message`."""
    out = b""
    if identity is not None:
        out += octets(1, identity)
    if version is not None:
        out += octets(2, version)
    if message is not None:
        out += octets(14, message)
    return out + number(15, 1)


def frame(identity: bytes | None = b"ns1", version: bytes | None = None, **fields: object) -> bytes:
    """A frame with one `Message` of these fields, as `message_fields` takes them."""
    return envelope(message_fields(**fields), identity=identity, version=version)  # type: ignore[arg-type]


def question(name: bytes, qtype: int = 1, qclass: int = 1) -> bytes:
    return name + struct.pack("!2H", qtype, qclass)


def record(owner: bytes, rdtype: int, rdata: bytes, *, rdclass: int = 1, ttl: int = 300) -> bytes:
    return owner + struct.pack("!2HIH", rdtype, rdclass, ttl, len(rdata)) + rdata


def opt(rcode: int = 0, options: bytes = b"") -> bytes:
    """An OPT record that extends the response code to this one."""
    return record(b"\0", 41, options, rdclass=1232, ttl=rcode >> 4 << 24)


def dns_message(
    questions: Sequence[bytes],
    answers: Sequence[bytes] = (),
    authorities: Sequence[bytes] = (),
    additionals: Sequence[bytes] = (),
    *,
    flags: int = NOERROR,
    counts: Sequence[int] | None = None,
) -> bytes:
    """A DNS message of these parts; `counts` is for headers that lie."""
    sections = (questions, answers, authorities, additionals)
    header = struct.pack("!2H", 4711, flags) + struct.pack("!4H", *(counts or map(len, sections)))
    return header + b"".join([part for section in sections for part in section])


def response(name: bytes, qtype: int = 1, *, flags: int = NOERROR, answers: int = 1) -> bytes:
    """What a resolver answers: addresses, and an OPT record."""
    prefix = bytes(range(1, 16)) if qtype == 28 else b"\xc0\0\2"
    records = [record(b"\xc0\x0c", qtype, prefix + bytes((number,))) for number in range(1, answers + 1)]
    return dns_message([question(name, qtype)], records, (), [opt()], flags=flags)


# -- traffic


@attrs.frozen(kw_only=True)
class Workload:
    """Traffic of so many clients and well-known names, both Zipf; a few names are others, of which some are new."""

    clients: int = 50_000
    ipv6: float = 0.4
    known: int = 100_000
    known_exponent: float = 0.9
    known_share: float = 0.95
    others: int = 200_000
    """of which a name that is not well known is taken, unless it is new"""
    new_share: float = 0.01
    """of those that are not well known"""
    seed: int = 5359

    def known_names(self) -> list[Name]:
        """The well-known names, the most asked one first."""
        tops = ("com", "net", "org", "se", "example", "info")
        return [parse_name(f"{self._word(i)}.{tops[i % 6]}") for i in range(self.known)]

    def _word(self, number: int) -> str:
        return (
            f"{'www.' if number % 3 == 0 else ''}{number * 2654435761 % 2**32:07x}{'-cdn' if number % 7 == 0 else ''}"
        )

    def client(self, number: int) -> bytes:
        """The address of a client."""
        if (number * 40503 & 0xFFFF) < self.ipv6 * 65536:
            return (0x20010DB8 << 96 | number << 64 | number * 7919 + 1).to_bytes(16)
        return (0x0A000000 + number).to_bytes(4)

    def frames(self, count: int) -> list[bytes]:
        """So many frames, a second for each hundred thousand."""
        rng = random.Random(self.seed)
        known = self.known_names()
        rows = rng.choices(known, cum_weights=_zipf(self.known, self.known_exponent), k=count)
        clients = rng.choices(range(self.clients), cum_weights=_zipf(self.clients, 1.0), k=count)
        server = {4: ipaddress.ip_address("192.0.2.53").packed, 16: ipaddress.ip_address("2001:db8:53::53").packed}
        frames = []
        for number, (name, client) in enumerate(zip(rows, clients, strict=True)):
            draw = rng.random()
            qtype = 28 if rng.random() < 0.35 else 1 if rng.random() < 0.8 else 65
            wire: bytes = name
            if draw >= self.known_share:
                new = rng.random() < self.new_share
                wire = parse_name(
                    f"new{number}.{self.seed}.example" if new else f"h{rng.randrange(self.others)}.other.example"
                )
            if rng.random() < 0.1:
                wire = wire.upper() if all(octet < 65 for octet in _lengths(wire)) else wire
            missing = qtype == 65 or rng.random() < 0.1
            message = response(
                wire, qtype, flags=NXDOMAIN if missing else NOERROR, answers=0 if missing else 1 + number % 3
            )
            address = self.client(client)
            frames.append(
                frame(
                    query_address=address,
                    response_address=server[len(address)],
                    query_port=1024 + rng.randrange(64000),
                    query_time=(START + number // 100_000, number % 100_000 * 10_000),
                    response_time=(START + number // 100_000, number % 100_000 * 10_000 + 700),
                    response_message=message,
                )
            )
        return frames


def _zipf(count: int, exponent: float) -> list[float]:
    return list(accumulate(1 / rank**exponent for rank in range(1, count + 1)))


def _lengths(name: bytes) -> list[int]:
    found, at = [], 0
    while name[at]:
        found.append(name[at])
        at += 1 + name[at]
    return found


def blocks(frames: Iterable[bytes], size: int = 256 * 1024) -> list[FrameBlock]:
    """The frames cut into blocks as a connection does."""
    out: list[FrameBlock] = []
    part: list[bytes] = []
    filled = 0
    for one in frames:
        if part and filled + 4 + len(one) > size:
            out.append(FrameBlock.of(part))
            part, filled = [], 0
        part.append(one)
        filled += 4 + len(one)
    if part:
        out.append(FrameBlock.of(part))
    return out
