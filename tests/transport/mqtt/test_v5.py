"""MQTT 5 through the port: round trips against the package's own writer, what it lets pass, garbage."""

import contextlib
from collections.abc import Sequence

import mqtt5
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tapir.codec.mqtt.packets import (
    TAKEN_OVER,
    UNSUPPORTED_VERSION,
    Acknowledge,
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
    Subscription,
    ToServer,
    Unsubscribe,
    describe,
)
from tapir.transport.mqtt.v5 import decode, encode

TOPICS = st.text(st.characters(exclude_characters="+#\0", exclude_categories=["Cs"]), min_size=1, max_size=50)


def reread(packet: ToServer) -> mqtt5.Packet:
    octets = encode(packet)
    value, length = mqtt5.read(memoryview(octets))
    assert length == len(octets)
    return value


@st.composite
def publishes(draw: st.DrawFn) -> Publish:
    qos = draw(st.integers(0, 2))
    return Publish(
        topic=draw(TOPICS),
        payload=draw(st.binary(max_size=300)),
        qos=qos,
        packet_id=draw(st.integers(1, 65535)) if qos else 0,
        retain=draw(st.booleans()),
        duplicate=bool(qos) and draw(st.booleans()),
    )


@given(publishes())
def test_a_message_survives_the_way(message: Publish) -> None:
    octets = encode(message)
    assert decode(memoryview(octets)) == message
    for end in range(len(octets)):
        with pytest.raises(MalformedPacket):
            decode(memoryview(octets)[:end])


def test_the_greeting_carries_session_and_limits() -> None:
    packet = reread(
        Connect(
            client_id="pop",
            keepalive=30,
            session_expiry=86400,
            receive_maximum=100,
            maximum_packet=4096,
            username="u",
            password=b"p",
        )
    )
    assert isinstance(packet, mqtt5.ConnectPacket)
    assert (packet.client_id, packet.keep_alive, packet.clean_start, packet.will) == ("pop", 30, False, None)
    assert (packet.session_expiry_interval, packet.receive_max, packet.max_packet_size) == (86400, 100, 4096)
    assert (packet.username, packet.password, packet.topic_alias_max) == ("u", b"p", 0)


def test_subscriptions_and_the_rest_are_as_the_package_reads_them() -> None:
    packet = reread(
        Subscribe(
            packet_id=7,
            subscriptions=(Subscription(topic_filter="a/#", qos=2), Subscription(topic_filter="b", qos=0)),
        )
    )
    assert isinstance(packet, mqtt5.SubscribePacket)
    assert [(f.pattern, int(f.max_qos)) for f in packet.topic_filters] == [("a/#", 2), ("b", 0)]
    gone = reread(Unsubscribe(packet_id=8, topic_filters=("a", "b/+")))
    assert isinstance(gone, mqtt5.UnsubscribePacket)
    assert gone.patterns == ["a", "b/+"]
    assert encode(PingRequest()) == b"\xc0\x00"
    assert encode(Disconnect()) == b"\xe0\x00"
    assert encode(Disconnect(reason=0x82)) == b"\xe0\x01\x82"
    for kind, octets in (
        (Kind.PUBACK, "40020102"),
        (Kind.PUBREC, "50020102"),
        (Kind.PUBREL, "62020102"),
        (Kind.PUBCOMP, "70020102"),
    ):
        assert encode(Acknowledge(kind=kind, packet_id=258)).hex() == octets
        assert decode(memoryview(bytes.fromhex(octets))) == Acknowledge(kind=kind, packet_id=258)


def test_limits_of_the_server_are_read() -> None:
    packet = mqtt5.ConnAckPacket(
        session_present=True,
        session_expiry_interval=60,
        server_keep_alive=5,
        receive_max=3,
        max_packet_size=1000,
        max_qos=mqtt5.QoS.AT_LEAST_ONCE,
        retain_available=False,
    )
    assert decode(memoryview(packet.write())) == ConnectAck(
        session_present=True,
        session_expiry=60,
        keepalive=5,
        receive_maximum=3,
        maximum_packet=1000,
        maximum_qos=1,
        retain_available=False,
    )


@pytest.mark.parametrize(
    ("octets", "packet"),
    [
        ("20020001", ConnectAck(reason=UNSUPPORTED_VERSION, text="in the words of 3.1.1")),
        ("20020005", ConnectAck(reason=0x80, text="in the words of 3.1.1")),
        ("2003008400", ConnectAck(reason=UNSUPPORTED_VERSION)),
        ("e0018e", Disconnect(reason=TAKEN_OVER)),
        ("e000", Disconnect()),
        ("d000", PingResponse()),
        ("9004000a0087", SubscribeAck(kind=Kind.SUBACK, packet_id=10, reasons=(0x87,))),
        ("b004000a0011", SubscribeAck(kind=Kind.UNSUBACK, packet_id=10, reasons=(0x11,))),
        ("400300 0a97", Acknowledge(kind=Kind.PUBACK, packet_id=10, reason=0x97)),
    ],
)
def test_what_servers_say(octets: str, packet: object) -> None:
    assert decode(memoryview(bytes.fromhex(octets))) == packet


@pytest.mark.parametrize(
    "octets",
    [
        "",
        "30",
        "300400012300",  # topic #
        "300400010000",  # U+0000
        "3206000161000000",  # packet identifier 0
        "40020000",
        "3003000000",  # neither topic nor alias
        mqtt5.PublishPacket("a", b"x", topic_alias=3).write().hex(),
        mqtt5.ConnectPacket("a").write().hex(),
        mqtt5.SubscribePacket(1, [mqtt5.TopicFilter("a")]).write().hex(),
        mqtt5.AuthPacket().write().hex(),
        "c000",
        "2006000003210000",  # receive maximum 0
        "9003000a00",  # SUBACK without a reason code
        "d00000",  # more than one packet
    ],
)
def test_what_no_server_may_say(octets: str) -> None:
    with pytest.raises(MalformedPacket):
        decode(memoryview(bytes.fromhex(octets)))


@pytest.mark.parametrize(
    "packet",
    [
        Publish(topic="", payload=b""),
        Publish(topic="a/#", payload=b""),
        Publish(topic="\0", payload=b""),
        Publish(topic="\ud800", payload=b""),
        Publish(topic="a" * 65536, payload=b""),
        Publish(topic="a", payload=b"", qos=1),
        Acknowledge(kind=Kind.PUBACK, packet_id=0),
        Acknowledge(kind=Kind.PINGREQ, packet_id=1),
        Subscribe(packet_id=1, subscriptions=(Subscription(topic_filter="a#"),)),
        Unsubscribe(packet_id=1, topic_filters=("",)),
        Disconnect(reason=0x07),
        Connect(client_id="a", keepalive=65536, password=b"secret"),
    ],
)
def test_what_cannot_be_said(packet: ToServer) -> None:
    with pytest.raises(MalformedPacket) as caught:
        encode(packet)
    assert "secret" not in str(caught.value)


def test_more_than_mqtt_can_say_is_refused_before_the_codec_panics() -> None:
    with pytest.raises(PacketTooLarge):
        encode(Publish(topic="a", payload=bytes(1 << 28)))


def test_a_panic_of_the_codec_is_a_malformed_packet(monkeypatch: pytest.MonkeyPatch) -> None:
    class PanicException(BaseException):  # as Rust's is called, and derived
        pass

    def panic(_: memoryview) -> None:
        raise PanicException

    monkeypatch.setattr(mqtt5, "read", panic)
    with pytest.raises(MalformedPacket):
        decode(memoryview(b"\xd0\x00"))


def shaped(kinds: Sequence[int]) -> st.SearchStrategy[bytes]:
    """Octets whose head and length are right, so that the body is looked at."""
    return st.builds(
        lambda kind, flags, body: bytes((kind << 4 | flags, len(body))) + body,
        st.sampled_from(kinds),
        st.sampled_from((0, 0, 2, 4)),
        st.binary(max_size=60),
    )


@given(st.one_of(st.binary(max_size=60), shaped(range(16)), shaped((2, 3, 9, 14))))
def test_garbage_is_malformed_and_nothing_else(octets: bytes) -> None:
    with contextlib.suppress(MalformedPacket):
        decode(memoryview(octets))


def test_what_the_server_adds_is_shown_cut_and_printable() -> None:
    assert describe(TAKEN_OVER) == "session taken over"
    assert describe(0xEE) == "reason code 0xee"
    assert describe(0x87, "no\x1b[2J") == "not authorized: no?[2J"
    assert len(describe(0x87, "x" * 10_000)) < 250
