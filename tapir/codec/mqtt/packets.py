"""The packets that a client without a will sends and gets, the same for MQTT 5 and 3.1.1.

What one of the two versions has no word for is left at its default: 3.1.1 has no reason codes in acknowledgements, no
limits in CONNACK, and its server never says why it goes. Reason codes are those of MQTT 5 (§2.4) everywhere.
"""

import enum
from collections.abc import Callable
from typing import Final

import attrs

from tapir.model.errors import TapirError

MOST_PACKET_ID: Final = 65535
MOST_PACKET: Final = 268_435_460
"""octets of the largest packet that MQTT can express, its head included"""

UNSUPPORTED_VERSION: Final = 0x84
TAKEN_OVER: Final = 0x8E
FAILURE: Final = 0x80
"""the reason codes from here on say no"""


class MalformedPacket(TapirError):
    """The octets are no MQTT packet, or none that a server may send; the text says what is wrong."""


class PacketTooLarge(TapirError):
    """A packet is larger than agreed: the peer's, told from its head alone, or one of ours."""


class Version(enum.IntEnum):
    """A protocol version, by the number that CONNECT carries."""

    V3_1_1 = 4
    V5 = 5

    def __str__(self) -> str:
        return "5" if self is Version.V5 else "3.1.1"


class Kind(enum.IntEnum):
    """A packet's type, the upper half of its first octet (§2.1.2)."""

    CONNECT = 1
    CONNACK = 2
    PUBLISH = 3
    PUBACK = 4
    PUBREC = 5
    PUBREL = 6
    PUBCOMP = 7
    SUBSCRIBE = 8
    SUBACK = 9
    UNSUBSCRIBE = 10
    UNSUBACK = 11
    PINGREQ = 12
    PINGRESP = 13
    DISCONNECT = 14
    AUTH = 15


@attrs.frozen(kw_only=True)
class Subscription:
    """A topic filter, and the QoS at which its messages are wanted at most."""

    topic_filter: str
    qos: int = attrs.field(default=1, validator=attrs.validators.in_((0, 1, 2)))


# -- what a client sends


@attrs.frozen(kw_only=True)
class Connect:
    """The client's greeting; a persistent session unless `clean_start`."""

    client_id: str
    keepalive: int
    """seconds; 0 for none"""
    clean_start: bool = False
    session_expiry: int = 0
    """seconds that the server keeps the session after the connection; 3.1.1 has no word for it"""
    receive_maximum: int = 65535
    """messages of QoS 1 and 2 that the server may have on the way to us at a time; not in 3.1.1"""
    maximum_packet: int = MOST_PACKET
    username: str | None = None
    password: bytes | None = attrs.field(default=None, repr=False)


@attrs.frozen(kw_only=True)
class Subscribe:
    """Asks for messages."""

    packet_id: int
    subscriptions: tuple[Subscription, ...]


@attrs.frozen(kw_only=True)
class Unsubscribe:
    """Asks for no more messages."""

    packet_id: int
    topic_filters: tuple[str, ...]


@attrs.frozen(kw_only=True)
class PingRequest:
    """Asks whether the server is there."""


# -- what both send


@attrs.frozen(kw_only=True)
class Publish:
    """A message."""

    topic: str
    payload: bytes = attrs.field(repr=False)
    qos: int = 0
    packet_id: int = 0
    """0 at QoS 0, which has none"""
    retain: bool = False
    duplicate: bool = False


@attrs.frozen(kw_only=True)
class Acknowledge:
    """PUBACK, PUBREC, PUBREL or PUBCOMP, which `kind` says."""

    kind: Kind
    packet_id: int
    reason: int = 0
    text: str = ""


@attrs.frozen(kw_only=True)
class Disconnect:
    """The last word. The server of 3.1.1 has none."""

    reason: int = 0
    text: str = ""


# -- what a server sends


@attrs.frozen(kw_only=True)
class ConnectAck:
    """The server's answer to CONNECT, with the limits that it sets."""

    session_present: bool = False
    reason: int = 0
    text: str = ""
    keepalive: int | None = None
    """seconds that the server wants instead of ours"""
    session_expiry: int | None = None
    receive_maximum: int = 65535
    maximum_packet: int = MOST_PACKET
    maximum_qos: int = 2
    retain_available: bool = True


@attrs.frozen(kw_only=True)
class SubscribeAck:
    """SUBACK or UNSUBACK: a reason code for each topic filter, in order; UNSUBACK of 3.1.1 has none."""

    kind: Kind
    packet_id: int
    reasons: tuple[int, ...] = ()
    text: str = ""


@attrs.frozen(kw_only=True)
class PingResponse:
    """The server is there."""


ToServer = Connect | Publish | Acknowledge | Subscribe | Unsubscribe | PingRequest | Disconnect
ToClient = ConnectAck | Publish | Acknowledge | SubscribeAck | PingResponse | Disconnect


@attrs.frozen(kw_only=True)
class Codec:
    """One version's way from values to octets and back, a client's side of it."""

    version: Version
    encode: Callable[[ToServer], bytes]
    """The packet in octets. Raises MalformedPacket for what MQTT cannot say, PacketTooLarge past 256 MiB."""
    decode: Callable[[memoryview], ToClient]
    """The packet that these octets, exactly one, are. Raises MalformedPacket and nothing else, whatever they are."""


REASONS: Final[dict[int, str]] = {
    0x00: "success",
    0x04: "disconnect with will message",
    0x10: "no matching subscribers",
    0x11: "no subscription existed",
    0x80: "unspecified error",
    0x81: "malformed packet",
    0x82: "protocol error",
    0x83: "implementation specific error",
    0x84: "unsupported protocol version",
    0x85: "client identifier not valid",
    0x86: "bad user name or password",
    0x87: "not authorized",
    0x88: "server unavailable",
    0x89: "server busy",
    0x8A: "banned",
    0x8B: "server shutting down",
    0x8C: "bad authentication method",
    0x8D: "keep alive timeout",
    0x8E: "session taken over",
    0x8F: "topic filter invalid",
    0x90: "topic name invalid",
    0x91: "packet identifier in use",
    0x92: "packet identifier not found",
    0x93: "receive maximum exceeded",
    0x94: "topic alias invalid",
    0x95: "packet too large",
    0x96: "message rate too high",
    0x97: "quota exceeded",
    0x98: "administrative action",
    0x99: "payload format invalid",
    0x9A: "retain not supported",
    0x9B: "QoS not supported",
    0x9C: "use another server",
    0x9D: "server moved",
    0x9E: "shared subscriptions not supported",
    0x9F: "connection rate exceeded",
    0xA0: "maximum connect time",
    0xA1: "subscription identifiers not supported",
    0xA2: "wildcard subscriptions not supported",
}


def describe(reason: int, text: str = "") -> str:
    """The reason code in the words of MQTT 5 (§2.4), with what the server added; at most 200 characters, printable."""
    words = REASONS.get(reason, f"reason code 0x{reason:02x}")
    if not text:
        return words
    return f"{words}: {''.join(c if c.isprintable() else '?' for c in text[:200])}"


def check_topic(topic: str) -> None:
    """Raises MalformedPacket when no message can have this topic (§4.7)."""
    if not topic:
        raise MalformedPacket("a topic without a character")
    if "+" in topic or "#" in topic or "\0" in topic:
        raise MalformedPacket("a topic with a wildcard or U+0000")


def check_filter(topic_filter: str) -> None:
    """Raises MalformedPacket when this is no topic filter (§4.7.1)."""
    levels = topic_filter.split("/")
    if not topic_filter or "\0" in topic_filter:
        raise MalformedPacket("a topic filter without a character, or with U+0000")
    for position, level in enumerate(levels):
        if "#" in level and (level != "#" or position != len(levels) - 1):
            raise MalformedPacket(f"the topic filter {topic_filter!r}: # stands for the rest, alone and at the end")
        if "+" in level and level != "+":
            raise MalformedPacket(f"the topic filter {topic_filter!r}: + stands for a whole level")
