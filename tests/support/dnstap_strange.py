"""Frames that hardly anybody sends: rdata of every type, right or nearly so, and messages and protobuf gone wrong."""

import random
import struct
from collections.abc import Sequence
from typing import Final

from dnstap_frames import START, dns_message, message_fields, number, octets, question, record, varint

from tapir.codec import rdata as layout

QNAME: Final = b"\x03Www\x07example\x03com\0"
TYPES: Final = [*layout.FIELDS, 10, 11, 300, 32768, 32769]
COMMON: Final = [41] * 8 + [1, 5, 6, 28, 46, 50, 64, 65] * 3
EDNS_CODES: Final = (1, 2, 3, 4, 5, 6, 7, 8, 8, 8, 9, 10, 11, 12, 15, 18, 19, 65001)
WIDTHS: Final = (0, 24, 32, 33, 128, 129)


class Strange:
    """Makes one thing after the other, all from the numbers of `rng`."""

    def __init__(self, rng: random.Random) -> None:
        self.rng = rng

    def some(self, most: int) -> bytes:
        """Fewer octets than `most`."""
        return self.rng.randbytes(self.rng.randrange(most))

    def chance(self, share: float) -> bool:
        return self.rng.random() < share

    def name(self) -> bytes:
        """A name, which may end in a pointer, be one, or be none."""
        draw = self.rng.random()
        if draw < 0.25:
            return b"\xc0\x0c"
        if draw < 0.3:
            return bytes((0xC1 if self.chance(0.1) else 0xC0, self.rng.randrange(256)))
        out = b""
        for _ in range(self.rng.choice((0, 1, 2, 3, self.rng.randrange(1, 9)))):
            length = self.rng.choice((1, 3, 5, 5, self.rng.randrange(1, 64)))
            out += bytes((length,)) + bytes(self.rng.choices(b'abcXYZ.\\\x00\xff 09"-', k=length))
        return out + (b"\0" if self.chance(0.7) else b"\xc0\x0c")

    def string(self, length: int | None = None) -> bytes:
        length = self.rng.randrange(6) if length is None else length
        return bytes((length,)) + self.rng.randbytes(length)

    def rdata(self, rdtype: int) -> bytes:
        """Rdata of this type, as it should be but for small things."""
        fields: Sequence[int] = layout.FIELDS.get(rdtype, (layout.REST,))
        if self.chance(0.1):
            fields = fields[: self.rng.randrange(len(fields) + 1)]
        out = b""
        for field in fields:
            out += self.field(field, out)
        if self.chance(0.05):
            out = out[: self.rng.randrange(len(out) + 1)]
        return out + (b"!" if self.chance(0.03) else b"")

    def field(self, field: int, before: bytes) -> bytes:
        match field:
            case layout.NAME:
                return self.name()
            case layout.STRING:
                return self.string()
            case layout.STRINGS:
                return b"".join([self.string() for _ in range(self.rng.randrange(3))])
            case layout.REST:
                return self.some(5)
            case layout.BITMAP:
                return self.bitmap()
            case layout.OPTIONS:
                return b"".join([self.option() for _ in range(self.rng.randrange(4))])
            case layout.PARAMETERS:
                return self.parameters()
            case layout.PREFIXES:
                return b"".join([self.prefix() for _ in range(self.rng.randrange(3))])
            case layout.GATEWAY:
                return {1: self.rng.randbytes(4), 2: self.rng.randbytes(16), 3: self.name()}.get(before[1], b"")
            case layout.COUNTED:
                return self.rng.randbytes(before[-1] if self.chance(0.9) else 3)
            case layout.COUNTED_LONG:
                return self.rng.randbytes(before[-1] if self.chance(0.9) else 3)
            case layout.HOST_IDENTITY:
                size = before[0] + before[3]
                return self.rng.randbytes(size) + b"".join([self.name() for _ in range(self.rng.randrange(3))])
            case size:
                return (
                    self.rng.randbytes(size) if self.chance(0.5) else bytes(size - 1) + bytes((self.rng.randrange(6),))
                )

    def bitmap(self) -> bytes:
        window, out = -1, b""
        for _ in range(self.rng.randrange(4)):
            window += self.rng.choice((1, 1, 2, 50, 0))
            out += bytes((window & 255,)) + self.string(self.rng.choice((1, 2, 5, 32, 0, 33)))
        return out

    def option(self) -> bytes:
        code = self.rng.choice(EDNS_CODES)
        data = self.rng.randbytes(self.rng.choice((0, 1, 2, 3, 4, 4, 7, 8, 12, 18, 19)))
        if code == 8 and len(data) >= 4:
            data = bytes((0, self.rng.randrange(4), self.rng.choice(WIDTHS), self.rng.choice(WIDTHS))) + data[4:]
        if code == 18 and self.chance(0.8):
            data = self.name() if self.chance(0.5) else b"\x01a\0"
        return struct.pack("!2H", code, len(data)) + data

    def parameters(self) -> bytes:
        key, out = -1, b""
        for _ in range(self.rng.randrange(5)):
            key = key + self.rng.choice((1, 1, 1, 2, 0, 3, 5, 65535)) & 0xFFFF
            mapped = bytes(10) + bytes((255, self.rng.choice((254, 255)))) + self.rng.randbytes(4)
            strings = self.string() + self.string()
            data = self.rng.choice((b"", self.rng.randbytes(2), b"4444", bytes(16), strings, self.some(5), mapped))
            out += struct.pack("!2H", key, len(data)) + data
        return out

    def prefix(self) -> bytes:
        size = self.rng.choice((0, 1, 4, 5, 16, 17))
        head = (self.rng.choice((1, 2, 3)), self.rng.choice(WIDTHS), size | self.rng.choice((0, 128)))
        return struct.pack("!HBB", *head) + self.rng.randbytes(size)

    def record(self) -> bytes:
        rdtype = self.rng.choice(TYPES + COMMON)
        ttl = self.rng.choice((0, 1 << 24, 300, 0x12345678))
        return record(self.name(), rdtype, self.rdata(rdtype), ttl=ttl)

    def dns_message(self) -> bytes:
        """A DNS message, often cut, longer than it should be, or changed in places."""
        questions = [
            question(self.name() if self.chance(0.3) else QNAME, self.rng.choice((1, 28, 65)), self.rng.choice((1, 3)))
            for _ in range(self.rng.choice((1, 1, 1, 1, 1, 0, 2, 3)))
        ]
        sections = [[self.record() for _ in range(self.rng.choice((0, 0, 1, 2)))] for _ in range(3)]
        counts = [self.rng.randrange(4) for _ in range(4)] if self.chance(0.1) else None
        wire = dns_message(questions, *sections, flags=self.rng.randrange(65536), counts=counts)
        draw = self.rng.random()
        if draw < 0.1:
            return wire[: self.rng.randrange(len(wire) + 1)]
        if draw < 0.2:
            return wire + self.some(4)
        if draw < 0.5:
            return self.changed(wire, (0, 1, 12, 0xC0, 255, self.rng.randrange(256)))
        return wire[:12] if draw < 0.53 else wire

    def changed(self, data: bytes, to: Sequence[int]) -> bytes:
        out = bytearray(data)
        for _ in range(self.rng.choice((1, 1, 2, 5))):
            out[self.rng.randrange(len(out))] = self.rng.choice(to)
        return bytes(out)

    def any_field(self) -> bytes:
        """A field of any number and wire type."""
        field = self.rng.choice((*range(1, 17), 99, 2**29 - 1))
        match self.rng.choice((0, 0, 2, 2, 5, 1, 3, 4, 6)):
            case 0:
                values = (0, 1, 2, 3, 6, 14, 15, 300, 2**31, 2**32 + 6, 2**63, 2**64 - 1)
                return number(field, self.rng.choice(values))
            case 2:
                return octets(field, self.rng.randbytes(self.rng.choice((0, 3, 4, 16))))
            case 5:
                return varint(field << 3 | 5) + self.rng.randbytes(4)
            case 1:
                return varint(field << 3 | 1) + self.rng.randbytes(8)
            case 3:
                inner = b"".join([self.any_field() for _ in range(self.rng.randrange(3))])
                return varint(field << 3 | 3) + inner + varint(self.rng.choice((field, field, field, 5)) << 3 | 4)
            case wire_type:
                return varint(field << 3 | wire_type)

    def frame(self) -> bytes:
        """A frame, never empty, in which anything may be wrong."""
        keys: dict[str, object] = {}
        odd = {
            "message_type": (None, *range(17), 99),
            "family": (0, 1, 2, 3, 99, 254, 255, 300, 2**32 + 1, 2**64 - 1),
            "protocol": (None, 0, 7, 8, 99, 300),
            "query_port": (None, 0, 2**31, 2**32 - 1, 2**32 + 5),
            "response_time": (
                None, (START, None), (START, 2**32 - 1), (2**63 - 1, 1), (2**63, 1),
                (9223372036849, 0), (9223372036850, 0), (0, 5),
            ),
        }  # fmt: skip
        for key, values in odd.items():
            if self.chance(0.12):
                keys[key] = self.rng.choice(values)
        wire = self.dns_message() if self.chance(0.97) else self.rng.choice((None, b""))
        client = self.rng.choice((None, b"", b"\xc6\x33\x64\x14", bytes(range(16)), b"\1\2\3"))
        message = message_fields(
            query_address=client,
            response_address=b"\xc0\0\2\x35",
            response_message=wire,
            **keys,  # type: ignore[arg-type]
        )
        if self.chance(0.15):
            message += self.any_field()
        if self.chance(0.1):
            message = self.any_field() + message
        parts = [octets(14, message), number(15, 1 if self.chance(0.95) else self.rng.choice((0, 2)))]
        if self.chance(0.1):
            parts.insert(0, octets(14, self.any_field()))
        if self.chance(0.5):
            parts.append(octets(1, b"ns1"))
        if self.chance(0.1):
            parts.append(self.any_field())
        if self.chance(0.1):
            self.rng.shuffle(parts)
        if self.chance(0.03):
            parts.pop(self.rng.randrange(len(parts)))
        out = b"".join(parts)
        draw = self.rng.random()
        if draw < 0.05:
            out = out[: self.rng.randrange(len(out) + 1)]
        elif draw < 0.1 and out:
            out = self.changed(out, range(256))
        return out or b"\0"
