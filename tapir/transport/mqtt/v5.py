"""MQTT 5 (OASIS 2019) in octets by the `mqtt5` package, which nothing else imports.

The package checks less than the standard asks and more than its stub says: topics with wildcards and packet
identifiers of 0 pass it, its enumerations are no integers and true even for 0, and what it cannot hold is a Rust
panic, which is a BaseException. All of that ends here.
"""

from typing import Final

import mqtt5

from tapir.codec.mqtt.framing import packet_end
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
    PacketTooLarge,
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

_QOS: Final = (mqtt5.QoS.AT_MOST_ONCE, mqtt5.QoS.AT_LEAST_ONCE, mqtt5.QoS.EXACTLY_ONCE)
# A server that knows only 3.1.1 says so in the words of 3.1.1 (§3.2.2.3 there): two octets, no properties.
_CONNACK_OF_311: Final = b"\x20\x02"


def encode(packet: ToServer) -> bytes:
    """See `Codec.encode`."""
    match packet:
        case Publish():
            # A quarter MiB is more than what goes before the payload; past 2^28 the package panics.
            if len(packet.payload) > MOST_PACKET - (1 << 18):
                raise PacketTooLarge(f"a payload of {len(packet.payload)} octets; MQTT ends at 256 MiB")
            check_topic(packet.topic)
            if packet.qos:
                _check_identifier(packet.packet_id)
        case Acknowledge():
            _check_identifier(packet.packet_id)
        case Subscribe():
            _check_identifier(packet.packet_id)
            for subscription in packet.subscriptions:
                check_filter(subscription.topic_filter)
        case Unsubscribe():
            _check_identifier(packet.packet_id)
            for topic_filter in packet.topic_filters:
                check_filter(topic_filter)
        case Connect() | PingRequest() | Disconnect():
            pass
    try:
        return _packet_of(packet).write()
    except (ValueError, OverflowError, TypeError) as exc:
        raise MalformedPacket(f"{type(packet).__name__}: {exc}") from exc


def decode(octets: memoryview) -> ToClient:
    """See `Codec.decode`."""
    if not octets or packet_end(octets, 0, MOST_PACKET) != len(octets):
        raise MalformedPacket("a packet of another length than it says")
    if bytes(octets[:2]) == _CONNACK_OF_311:
        return ConnectAck(reason=UNSUPPORTED_VERSION if octets[3] == 1 else 0x80, text="in the words of 3.1.1")
    try:
        packet, _ = mqtt5.read(octets)
    except (ValueError, IndexError, OverflowError) as exc:
        raise MalformedPacket(str(exc)[:200]) from exc
    except BaseException as exc:
        # A panic in Rust cannot be named by a type, and is no Exception; what it met is hostile, and no more than that.
        if type(exc).__name__ != "PanicException":
            raise
        raise MalformedPacket("a packet that the codec cannot hold") from exc  # noqa: ASYNC104 - all others are
    return _value_of(packet)


CODEC: Final = Codec(version=Version.V5, encode=encode, decode=decode)


def _packet_of(packet: ToServer) -> mqtt5.Packet:
    match packet:
        case Publish():
            return mqtt5.PublishPacket(
                packet.topic,
                packet.payload,
                qos=_QOS[packet.qos],
                retain=packet.retain,
                packet_id=packet.packet_id if packet.qos else None,
                duplicate=packet.duplicate,
            )
        case Acknowledge():
            return _acknowledgement(packet)
        case PingRequest():
            return mqtt5.PingReqPacket()
        case Connect():
            return mqtt5.ConnectPacket(
                packet.client_id,
                username=packet.username,
                password=packet.password,
                clean_start=packet.clean_start,
                keep_alive=packet.keepalive,
                session_expiry_interval=packet.session_expiry,
                receive_max=packet.receive_maximum,
                max_packet_size=packet.maximum_packet,
            )
        case Subscribe():
            return mqtt5.SubscribePacket(
                packet.packet_id,
                [
                    mqtt5.TopicFilter(
                        subscription.topic_filter,
                        max_qos=_QOS[subscription.qos],
                        # Subscribing again, as every connection does, brings no retained message that came before.
                        retain_handling=mqtt5.RetainHandling.SEND_IF_SUBSCRIPTION_NOT_EXISTS,
                    )
                    for subscription in packet.subscriptions
                ],
            )
        case Unsubscribe():
            return mqtt5.UnsubscribePacket(packet.packet_id, list(packet.topic_filters))
        case Disconnect():
            return mqtt5.DisconnectPacket(reason_code=mqtt5.DisconnectReasonCode(packet.reason))


def _acknowledgement(packet: Acknowledge) -> mqtt5.Packet:
    match packet.kind:
        case Kind.PUBACK:
            return mqtt5.PubAckPacket(packet.packet_id, reason_code=mqtt5.PubAckReasonCode(packet.reason))
        case Kind.PUBREC:
            return mqtt5.PubRecPacket(packet.packet_id, reason_code=mqtt5.PubRecReasonCode(packet.reason))
        case Kind.PUBREL:
            return mqtt5.PubRelPacket(packet.packet_id, reason_code=mqtt5.PubRelReasonCode(packet.reason))
        case Kind.PUBCOMP:
            return mqtt5.PubCompPacket(packet.packet_id, reason_code=mqtt5.PubCompReasonCode(packet.reason))
        case _:
            raise MalformedPacket(f"{packet.kind.name} acknowledges nothing")


def _value_of(packet: mqtt5.Packet) -> ToClient:
    match packet:
        case mqtt5.PublishPacket():
            # We offer no topic aliases (§3.1.2.11.5), so none may come.
            if packet.topic_alias is not None:
                raise MalformedPacket("a topic alias, which we did not offer")
            check_topic(packet.topic)
            qos = int(packet.qos)
            if qos:
                _check_identifier(packet.packet_id)
            elif packet.duplicate:
                raise MalformedPacket("a PUBLISH of QoS 0 that is a duplicate (§3.3.1.1)")
            return Publish(
                topic=packet.topic,
                payload=packet.payload,
                qos=qos,
                packet_id=packet.packet_id or 0,
                retain=packet.retain,
                duplicate=packet.duplicate,
            )
        case mqtt5.PubAckPacket():
            return _acknowledged(Kind.PUBACK, packet)
        case mqtt5.PubRecPacket():
            return _acknowledged(Kind.PUBREC, packet)
        case mqtt5.PubRelPacket():
            return _acknowledged(Kind.PUBREL, packet)
        case mqtt5.PubCompPacket():
            return _acknowledged(Kind.PUBCOMP, packet)
        case mqtt5.PingRespPacket():
            return PingResponse()
        case mqtt5.ConnAckPacket():
            return _connected(packet)
        case mqtt5.SubAckPacket():
            return _subscribed(Kind.SUBACK, packet)
        case mqtt5.UnsubAckPacket():
            return _subscribed(Kind.UNSUBACK, packet)
        case mqtt5.DisconnectPacket():
            return Disconnect(reason=int(packet.reason_code), text=packet.reason_str or packet.server_reference or "")
        case _:
            raise MalformedPacket(f"{type(packet).__name__}, which no server sends to a client like us")


def _connected(packet: mqtt5.ConnAckPacket) -> ConnectAck:
    if packet.receive_max == 0 or packet.max_packet_size == 0:
        raise MalformedPacket("a limit of 0 in CONNACK (§3.2.2.3)")
    return ConnectAck(
        session_present=packet.session_present,
        reason=int(packet.reason_code),
        text=packet.reason_str or packet.server_reference or "",
        keepalive=packet.server_keep_alive,
        session_expiry=packet.session_expiry_interval,
        receive_maximum=packet.receive_max,
        maximum_packet=packet.max_packet_size or MOST_PACKET,
        maximum_qos=int(packet.max_qos),
        retain_available=packet.retain_available,
    )


def _subscribed(kind: Kind, packet: mqtt5.SubAckPacket | mqtt5.UnsubAckPacket) -> SubscribeAck:
    _check_identifier(packet.packet_id)
    reasons = tuple(int(reason) for reason in packet.reason_codes)
    if not reasons:
        raise MalformedPacket(f"{kind.name} without reason codes")
    return SubscribeAck(kind=kind, packet_id=packet.packet_id, reasons=reasons, text=packet.reason_str or "")


def _acknowledged(
    kind: Kind, packet: mqtt5.PubAckPacket | mqtt5.PubRecPacket | mqtt5.PubRelPacket | mqtt5.PubCompPacket
) -> Acknowledge:
    _check_identifier(packet.packet_id)
    return Acknowledge(
        kind=kind, packet_id=packet.packet_id, reason=int(packet.reason_code), text=packet.reason_str or ""
    )


def _check_identifier(packet_id: int | None) -> None:
    if packet_id is None or not 0 < packet_id < 1 << 16:
        raise MalformedPacket(f"the packet identifier {packet_id}")
