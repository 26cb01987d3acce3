"""MQTT 3.1.1 (OASIS 2014) in octets, a client's side of it.

Section numbers are those of the standard. What a server says that the standard forbids is a MalformedPacket, save for
what it leaves to the receiver: the low bits of a PUBLISH are checked, an unknown return code of CONNACK is an
unspecified error.
"""

import struct
from typing import Final

from tapir.codec.mqtt.framing import encode_length, packet_end
from tapir.codec.mqtt.packets import (
    MOST_PACKET,
    UNSUPPORTED_VERSION,
    Acknowledge,
    Codec,
    Connect,
    ConnectAck,
    Disconnect,
    Kind,
    MalformedPacket,
    PingRequest,
    PingResponse,
    Publish,
    Subscribe,
    SubscribeAck,
    ToClient,
    ToServer,
    Unsubscribe,
    Version,
    check_filter,
    check_topic,
)

# §3.2.2.3, as the reason codes of MQTT 5.
_CONNECT_RETURN: Final = {0: 0x00, 1: UNSUPPORTED_VERSION, 2: 0x85, 3: 0x88, 4: 0x86, 5: 0x87}
_SUBACK_RETURN: Final = frozenset({0, 1, 2, 0x80})


def encode(packet: ToServer) -> bytes:
    """See `Codec.encode`."""
    match packet:
        case Publish():
            return _encode_publish(packet)
        case Acknowledge(kind=kind):
            # PUBREL has a fixed 2 in its low bits (§3.6.1).
            return struct.pack("!BBH", kind << 4 | (2 if kind is Kind.PUBREL else 0), 2, _identified(packet.packet_id))
        case PingRequest():
            return b"\xc0\x00"
        case Connect():
            return _encode_connect(packet)
        case Subscribe():
            filters = b"".join(_filter(s.topic_filter) + bytes((s.qos,)) for s in packet.subscriptions)
            return _with_filters(Kind.SUBSCRIBE, packet.packet_id, filters)
        case Unsubscribe():
            return _with_filters(Kind.UNSUBSCRIBE, packet.packet_id, b"".join(map(_filter, packet.topic_filters)))
        case Disconnect():
            return b"\xe0\x00"


def decode(octets: memoryview) -> ToClient:
    """See `Codec.decode`."""
    if not octets or packet_end(octets, 0, MOST_PACKET) != len(octets):
        raise MalformedPacket("a packet of another length than it says")
    head = octets[0]
    body = octets[2:]
    kind = head >> 4
    if kind == Kind.PUBLISH:
        return _decode_publish(head, _body(octets))
    if kind == Kind.PUBREL:
        if head != 0x62:
            raise MalformedPacket(f"the flags 0x{head & 15:x} with PUBREL")
    elif head & 15:
        raise MalformedPacket(f"the flags 0x{head & 15:x} with a packet of type {kind}")
    if kind in (Kind.PUBACK, Kind.PUBREC, Kind.PUBREL, Kind.PUBCOMP):
        return Acknowledge(kind=Kind(kind), packet_id=_only_identifier(body))
    if kind == Kind.CONNACK:
        if len(body) != 2 or body[0] > 1:
            raise MalformedPacket("a CONNACK that is none")
        return ConnectAck(session_present=bool(body[0]), reason=_CONNECT_RETURN.get(body[1], 0x80))
    if kind == Kind.SUBACK:
        return _decode_suback(_body(octets))
    if kind == Kind.UNSUBACK:
        return SubscribeAck(kind=Kind.UNSUBACK, packet_id=_only_identifier(body))
    if kind == Kind.PINGRESP:
        if body:
            raise MalformedPacket("a PINGRESP with content")
        return PingResponse()
    raise MalformedPacket(f"a packet of type {kind}, which no server sends")


CODEC: Final = Codec(version=Version.V3_1_1, encode=encode, decode=decode)


# -- out


def _encode_connect(packet: Connect) -> bytes:
    flags = 0x02 if packet.clean_start else 0
    payload = _string(packet.client_id)
    if packet.username is not None:
        flags |= 0x80
        payload += _string(packet.username)
    if packet.password is not None:
        if packet.username is None:
            raise MalformedPacket("a password without a user name (§3.1.2.9)")
        flags |= 0x40
        payload += _binary(packet.password)
    return _packet(0x10, b"\x00\x04MQTT\x04" + struct.pack("!BH", flags, packet.keepalive) + payload)


def _encode_publish(packet: Publish) -> bytes:
    check_topic(packet.topic)
    flags = packet.duplicate << 3 | packet.qos << 1 | packet.retain
    head = _string(packet.topic)
    if packet.qos:
        head += _identified(packet.packet_id).to_bytes(2, "big")
    return b"".join((bytes((0x30 | flags,)), encode_length(len(head) + len(packet.payload)), head, packet.payload))


def _with_filters(kind: Kind, packet_id: int, filters: bytes) -> bytes:
    if not filters:
        raise MalformedPacket("no topic filter (§3.8.3)")
    return _packet(kind << 4 | 2, _identified(packet_id).to_bytes(2, "big") + filters)


def _filter(topic_filter: str) -> bytes:
    check_filter(topic_filter)
    return _string(topic_filter)


def _packet(head: int, body: bytes) -> bytes:
    return bytes((head,)) + encode_length(len(body)) + body


def _identified(packet_id: int) -> int:
    if not 0 < packet_id < 1 << 16:
        raise MalformedPacket(f"the packet identifier {packet_id}")
    return packet_id


def _string(text: str) -> bytes:
    try:
        return _binary(text.encode())
    except UnicodeEncodeError as exc:
        raise MalformedPacket("a text with half a surrogate pair") from exc


def _binary(octets: bytes) -> bytes:
    if len(octets) >= 1 << 16:
        raise MalformedPacket(f"{len(octets)} octets where 65,535 are the most")
    return len(octets).to_bytes(2, "big") + octets


# -- in


def _body(octets: memoryview) -> memoryview:
    start = 2
    while octets[start - 1] > 127:
        start += 1
    return octets[start:]


def _decode_publish(head: int, body: memoryview) -> Publish:
    qos = head >> 1 & 3
    if qos == 3:
        raise MalformedPacket("a PUBLISH of QoS 3")
    if qos == 0 and head & 8:
        raise MalformedPacket("a PUBLISH of QoS 0 that is a duplicate (§3.3.1.1)")
    start = 2 + int.from_bytes(body[:2], "big")
    end = start + (2 if qos else 0)
    if len(body) < end:
        raise MalformedPacket("a PUBLISH that ends within its head")
    try:
        topic = str(body[2:start], "utf-8")
    except UnicodeDecodeError as exc:
        raise MalformedPacket("a topic that is not UTF-8") from exc
    check_topic(topic)
    packet_id = int.from_bytes(body[start:end], "big")
    if qos and not packet_id:
        raise MalformedPacket("the packet identifier 0")
    return Publish(
        topic=topic,
        payload=bytes(body[end:]),
        qos=qos,
        packet_id=packet_id,
        retain=bool(head & 1),
        duplicate=bool(head & 8),
    )


def _decode_suback(body: memoryview) -> SubscribeAck:
    reasons = tuple(body[2:])
    if not reasons or not _SUBACK_RETURN.issuperset(reasons):
        raise MalformedPacket("a SUBACK without return codes, or with one that is none")
    return SubscribeAck(kind=Kind.SUBACK, packet_id=_only_identifier(body[:2]), reasons=reasons)


def _only_identifier(body: memoryview) -> int:
    if len(body) != 2 or not (packet_id := int.from_bytes(body, "big")):
        raise MalformedPacket("a packet identifier that is none")
    return packet_id
