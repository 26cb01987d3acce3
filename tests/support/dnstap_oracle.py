"""What the decode kernels are held to: protobuf for the frame, plain Python for the DNS message in it."""

import struct
from typing import Any, Final

import attrs
from google.protobuf import descriptor_pb2, descriptor_pool, message_factory  # type: ignore[import-untyped]
from google.protobuf.message import DecodeError  # type: ignore[import-untyped]

from tapir.codec import rdata as layout
from tapir.codec.dnstap import Outcome

_LAST_SECOND: Final = 9223372036849


def _dnstap_class() -> Any:
    """`Dnstap` of dnstap.proto; family and protocol are numbers here, for any number of theirs is kept."""
    file = descriptor_pb2.FileDescriptorProto(name="dnstap_oracle.proto", package="dnstap_oracle", syntax="proto2")
    kinds = descriptor_pb2.FieldDescriptorProto

    def add(message: Any, name: str, number: int, kind: Any, *, required: bool = False, of: str | None = None) -> None:
        label = kinds.LABEL_REQUIRED if required else kinds.LABEL_OPTIONAL
        message.field.add(name=name, number=number, type=kind, label=label, type_name=of)

    dnstap = file.message_type.add(name="Dnstap")
    dnstap.enum_type.add(name="Type").value.add(name="MESSAGE", number=1)
    for number, name in enumerate(("identity", "version", "extra"), 1):
        add(dnstap, name, number, kinds.TYPE_BYTES)
    add(dnstap, "message", 14, kinds.TYPE_MESSAGE, of=".dnstap_oracle.Message")
    add(dnstap, "type", 15, kinds.TYPE_ENUM, required=True, of=".dnstap_oracle.Dnstap.Type")
    message = file.message_type.add(name="Message")
    types = message.enum_type.add(name="Type")
    for number in range(1, 15):
        types.value.add(name=f"T{number}", number=number)
    add(message, "type", 1, kinds.TYPE_ENUM, required=True, of=".dnstap_oracle.Message.Type")
    add(message, "socket_family", 2, kinds.TYPE_UINT32)
    add(message, "socket_protocol", 3, kinds.TYPE_UINT32)
    add(message, "query_address", 4, kinds.TYPE_BYTES)
    add(message, "response_address", 5, kinds.TYPE_BYTES)
    add(message, "query_port", 6, kinds.TYPE_UINT32)
    add(message, "response_port", 7, kinds.TYPE_UINT32)
    add(message, "query_time_sec", 8, kinds.TYPE_UINT64)
    add(message, "query_time_nsec", 9, kinds.TYPE_FIXED32)
    add(message, "query_message", 10, kinds.TYPE_BYTES)
    add(message, "query_zone", 11, kinds.TYPE_BYTES)
    add(message, "response_time_sec", 12, kinds.TYPE_UINT64)
    add(message, "response_time_nsec", 13, kinds.TYPE_FIXED32)
    add(message, "response_message", 14, kinds.TYPE_BYTES)
    pool = descriptor_pool.DescriptorPool()
    pool.Add(file)
    return message_factory.GetMessageClass(pool.FindMessageTypeByName("dnstap_oracle.Dnstap"))


Dnstap: Final = _dnstap_class()


class NotDns(Exception):
    """This is no DNS message."""


@attrs.frozen(kw_only=True)
class Dns:
    """What a DNS message says."""

    flags: int
    rcode: int
    questions: tuple[tuple[bytes, int, int], ...]
    answers: int
    authorities: int
    additionals: int
    client_subnet: bool


class _Reader:
    def __init__(self, wire: bytes) -> None:
        self.wire = wire
        self.steps = 16 * len(wire)
        self.client_subnet = False

    def name(self, at: int, end: int, begin: int = 0) -> tuple[bytes, int]:
        """The name at `at` and where it ends; pointers count from `begin`."""
        labels: list[bytes] = []
        behind = None
        hops = 0
        while True:
            self.steps -= 1
            if at >= end or self.steps < 0:
                raise NotDns
            length = self.wire[at]
            if length == 0:
                return b"".join(labels) + b"\0", at + 1 if behind is None else behind
            if length >= 192:
                hops += 1
                if at + 2 > end or hops > 126:
                    raise NotDns
                behind = at + 2 if behind is None else behind
                at = begin + (int.from_bytes(self.wire[at : at + 2]) & 0x3FFF)
                continue
            labels.append(self.wire[at : at + 1 + length])
            at += 1 + length
            if length > 63 or at > end or sum(map(len, labels)) > 254:
                raise NotDns

    def records(self, count: int, at: int) -> tuple[int, int, int]:
        """Where so many records end, how many they are, and the upper response code of the last OPT."""
        extended = 0
        for number in range(count):
            if at == len(self.wire):
                return at, number, extended
            _, at = self.name(at, len(self.wire))
            if at + 10 > len(self.wire):
                raise NotDns
            rdtype, _, ttl, size = struct.unpack_from("!2HIH", self.wire, at)
            at += 10
            if at + size > len(self.wire):
                raise NotDns
            if rdtype == 41:
                extended = ttl >> 24
            if size:
                self.rdata(layout.FIELDS.get({32768: 43, 32769: 43}.get(rdtype, rdtype)), at, at + size)
            at += size
        return at, count, extended

    def rdata(self, fields: tuple[int, ...] | None, start: int, end: int) -> None:
        at = start
        previous = None
        for field in (layout.REST,) if fields is None else fields:
            if at == end and previous not in (None, layout.COUNTED, layout.COUNTED_LONG):
                return
            previous = field
            at = self.field(field, start, at, end)
            if at > end:
                raise NotDns
        if at != end:
            raise NotDns

    def field(self, field: int, start: int, at: int, end: int) -> int:
        wire = self.wire
        match field:
            case layout.NAME:
                return self.name(at, end)[1]
            case layout.STRING:
                return at + 1 + wire[at]
            case layout.STRINGS:
                while at < end:
                    at += 1 + wire[at]
                return at
            case layout.REST:
                return end
            case layout.BITMAP:
                self.bitmap(wire[at:end])
                return end
            case layout.OPTIONS:
                for code, place, data in self.pairs(at, end):
                    self.option(code, place, data)
                return end
            case layout.PARAMETERS:
                self.parameters([(key, data) for key, _, data in self.pairs(at, end)])
                return end
            case layout.PREFIXES:
                self.prefixes(wire[at:end])
                return end
            case layout.GATEWAY:
                kind = wire[start + 1]
                return self.name(at, end)[1] if kind == 3 else at + {1: 4, 2: 16}.get(kind, 0)
            case layout.COUNTED:
                return at + wire[at - 1]
            case layout.COUNTED_LONG:
                return at + int.from_bytes(wire[at - 2 : at])
            case layout.HOST_IDENTITY:
                at += wire[start] + int.from_bytes(wire[start + 2 : start + 4])
                while at < end:
                    _, at = self.name(at, end)
                return at
            case octets:
                return at + octets

    def pairs(self, at: int, end: int) -> list[tuple[int, int, bytes]]:
        """Codes, where their data are, and these."""
        out = []
        while at < end:
            if at + 4 > end:
                raise NotDns
            code, size = struct.unpack_from("!2H", self.wire, at)
            at += 4 + size
            if at > end:
                raise NotDns
            out.append((code, at - size, self.wire[at - size : at]))
        return out

    def option(self, code: int, at: int, data: bytes) -> None:
        size = len(data)
        good = {
            1: size >= 18,
            2: size in (4, 8),
            8: size >= 4,
            9: size == 0 or size >= 4,
            11: size in (0, 2),
            15: size >= 2,
            19: size >= 2,
        }
        if not good.get(code, True):
            raise NotDns
        if code == 8:
            self.client_subnet = True
            family, source, scope = struct.unpack_from("!HBB", data)
            limit = {0: (0, 255), 1: (32, 32), 2: (128, 128)}.get(family, (-1, -1))
            if source > limit[0] or scope > limit[1]:
                raise NotDns
        if code == 18:
            self.name(at, at + size, at)

    @staticmethod
    def parameters(pairs: list[tuple[int, bytes]]) -> None:
        keys = [key for key, _ in pairs]
        if keys != sorted(set(keys)) or 65535 in keys:
            raise NotDns
        for key, data in pairs:
            size = len(data)
            hints = [data[at : at + 16] for at in range(0, size, 16)]
            good = {
                0: size % 2 == 0,
                1: _are_strings(data),
                2: size == 0,
                3: size == 2,
                4: size > 0 and size % 4 == 0,
                6: size > 0 and size % 16 == 0 and not any(hint[:12] == bytes(10) + b"\xff\xff" for hint in hints),
                8: size == 0,
            }
            if not good.get(key, True):
                raise NotDns

    @staticmethod
    def bitmap(data: bytes) -> None:
        previous = -1
        while data:
            if len(data) < 2 or data[0] <= previous or not 1 <= data[1] <= 32 or len(data) < 2 + data[1]:
                raise NotDns
            previous = data[0]
            data = data[2 + data[1] :]

    @staticmethod
    def prefixes(data: bytes) -> None:
        while data:
            if len(data) < 4:
                raise NotDns
            family, prefix, head = struct.unpack_from("!HBB", data)
            width, size = {1: 4, 2: 16}.get(family, -1), head & 127
            address = data[4 : 4 + size]
            if prefix > 8 * width or size > width or len(address) < size or address[-1:] == b"\0":
                raise NotDns
            data = data[4 + size :]


def _are_strings(data: bytes) -> bool:
    while data:
        if len(data) < 1 + data[0]:
            return False
        data = data[1 + data[0] :]
    return True


def parse_dns(wire: bytes) -> Dns:
    """What `wire` says, as the DNS library of the existing EDM takes it; NotDns if it is none."""
    if len(wire) < 12:
        raise NotDns
    flags, qdcount, *counts = struct.unpack_from("!5H", wire, 2)
    reader = _Reader(wire)
    at = 12
    questions = []
    for _ in range(qdcount if len(wire) > 12 else 0):
        name, at = reader.name(at, len(wire))
        rest = wire[at : at + 4]
        if len(rest) % 2:
            raise NotDns
        questions.append((name, int.from_bytes(rest[:2]), int.from_bytes(rest[2:])))
        at += len(rest)
    reader.steps = 16 * len(wire)
    found = []
    extended = 0
    for count in counts:
        at, number, extended = reader.records(count, at)
        found.append(number)
    return Dns(
        flags=flags,
        rcode=flags & 15 | extended << 4,
        questions=tuple(questions),
        answers=found[0],
        authorities=found[1],
        additionals=found[2],
        client_subnet=reader.client_subnet,
    )


def expected(frame: bytes) -> dict[str, object]:
    """The columns of a frame by name, as far as they mean anything."""
    dnstap = Dnstap()
    try:
        dnstap.ParseFromString(frame)
    except DecodeError:
        return {"outcome": Outcome.MALFORMED}
    if not dnstap.IsInitialized():
        return {"outcome": Outcome.MALFORMED}
    if not dnstap.HasField("message"):
        return {"outcome": Outcome.NO_MESSAGE, "identity": dnstap.identity}
    message = dnstap.message
    no_time = not message.HasField("response_time_sec")
    absurd = message.response_time_sec > _LAST_SECOND
    time = 0 if no_time or absurd else message.response_time_sec * 10**6 + message.response_time_nsec // 1000
    out: dict[str, object] = {
        "message_type": message.type,
        "family": min(message.socket_family, 255),
        "protocol": min(message.socket_protocol, 255),
        "query_address": message.query_address,
        "response_address": message.response_address,
        "query_port": message.query_port,
        "response_port": message.response_port,
        "time": time,
        "identity": dnstap.identity,
        "wire": message.response_message,
        "no_time": no_time,
        "absurd_time": absurd,
        "no_query_port": not message.HasField("query_port"),
        "no_response_port": not message.HasField("response_port"),
    }
    if message.type & 1:
        return out | {"outcome": Outcome.QUERY}
    if not message.response_message:
        return out | {"outcome": Outcome.NO_DNS}
    try:
        dns = parse_dns(message.response_message)
    except NotDns:
        return out | {"outcome": Outcome.UNPARSABLE}
    out |= {key: getattr(dns, key) for key in ("flags", "rcode", "answers", "authorities", "additionals")}
    out |= {"client_subnet": dns.client_subnet, "questions": len(dns.questions)}
    if not dns.questions:
        return out | {"outcome": Outcome.NO_QUESTION}
    sent, qtype, qclass = dns.questions[0]
    return out | {
        "outcome": Outcome.OK,
        "name_as_sent": sent,
        "name": sent.lower(),
        "qtype": qtype,
        "qclass": qclass,
    }
