"""MQTT 3.1.1 in octets: the standard's examples, round trips, garbage."""

import contextlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tapir.codec.mqtt.packets import (
    Acknowledge,
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
    Subscription,
    ToServer,
    Unsubscribe,
    check_filter,
)
from tapir.codec.mqtt.v311 import decode, encode

TOPICS = st.text(st.characters(exclude_characters="+#\0", exclude_categories=["Cs"]), min_size=1, max_size=50)
IDENTIFIERS = st.integers(1, 65535)


@st.composite
def publishes(draw: st.DrawFn) -> Publish:
    qos = draw(st.integers(0, 2))
    return Publish(
        topic=draw(TOPICS),
        payload=draw(st.binary(max_size=300)),
        qos=qos,
        packet_id=draw(IDENTIFIERS) if qos else 0,
        retain=draw(st.booleans()),
        duplicate=bool(qos) and draw(st.booleans()),
    )


@pytest.mark.parametrize(
    ("packet", "octets"),
    [
        # §3.1.2.11 and §3.1.3.1, a persistent session; Figure 3.6 has the flags.
        (Connect(client_id="ab", keepalive=10), "100e 00044d515454 04 00 000a 00026162"),
        (
            Connect(client_id="", keepalive=0, clean_start=True, username="u", password=b"p"),
            "1012 00044d515454 04 c2 0000 0000 000175 000170",
        ),
        # §3.3.2.3, figure 3.11.
        (Publish(topic="a/b", payload=b"", qos=1, packet_id=10), "3207 0003612f62 000a"),
        (Publish(topic="a", payload=b"x", retain=True), "3104 000161 78"),
        # §3.8.3, figure 3.23.
        (
            Subscribe(
                packet_id=10,
                subscriptions=(Subscription(topic_filter="a/b", qos=1), Subscription(topic_filter="c/d", qos=2)),
            ),
            "820e 000a 0003612f62 01 0003632f64 02",
        ),
        # §3.10.3, figure 3.30.
        (Unsubscribe(packet_id=10, topic_filters=("a/b", "c/d")), "a20c 000a 0003612f62 0003632f64"),
        (Acknowledge(kind=Kind.PUBACK, packet_id=258), "4002 0102"),
        (Acknowledge(kind=Kind.PUBREC, packet_id=1), "5002 0001"),
        (Acknowledge(kind=Kind.PUBREL, packet_id=1), "6202 0001"),
        (Acknowledge(kind=Kind.PUBCOMP, packet_id=65535), "7002 ffff"),
        (PingRequest(), "c000"),
        (Disconnect(reason=0x81), "e000"),
    ],
)
def test_what_we_say(packet: ToServer, octets: str) -> None:
    assert encode(packet).hex() == octets.replace(" ", "")


@pytest.mark.parametrize(
    ("octets", "packet"),
    [
        ("2002 0100", ConnectAck(session_present=True)),
        ("2002 0001", ConnectAck(reason=0x84)),
        ("2002 0002", ConnectAck(reason=0x85)),
        ("2002 0003", ConnectAck(reason=0x88)),
        ("2002 0004", ConnectAck(reason=0x86)),
        ("2002 0005", ConnectAck(reason=0x87)),
        ("2002 0077", ConnectAck(reason=0x80)),
        ("9005 000a 000280", SubscribeAck(kind=Kind.SUBACK, packet_id=10, reasons=(0, 2, 0x80))),
        ("b002 000a", SubscribeAck(kind=Kind.UNSUBACK, packet_id=10)),
        ("4002 0102", Acknowledge(kind=Kind.PUBACK, packet_id=258)),
        ("6202 0102", Acknowledge(kind=Kind.PUBREL, packet_id=258)),
        ("d000", PingResponse()),
    ],
)
def test_what_servers_say(octets: str, packet: object) -> None:
    assert decode(memoryview(bytes.fromhex(octets))) == packet


@given(publishes())
def test_a_message_survives_the_way(message: Publish) -> None:
    octets = encode(message)
    assert decode(memoryview(octets)) == message
    for end in range(len(octets)):
        with pytest.raises(MalformedPacket):
            decode(memoryview(octets)[:end])


@pytest.mark.parametrize(
    "octets",
    [
        "",
        "30",
        "ffffffffff",
        "3603000161",  # QoS 3
        "3803000161",  # a duplicate of QoS 0
        "3205000161 0000",  # packet identifier 0
        "3203000161",  # none
        "3003000123",  # topic #
        "30020000",  # no topic
        "3003000100",  # U+0000
        "30030001ff",  # no UTF-8
        "3003000561",  # a topic past the end
        "4102 0001",
        "4002 0000",
        "4001 00",
        "6002 0001",  # PUBREL without its flag
        "2002 0200",
        "2003 000000",
        "9002 0001",
        "9003 000103",
        "9003 000001",
        "b003 000100",
        "d001 00",
        "100c00044d5154540400000a0000",  # CONNECT
        "8206000a00016100",
        "c000",
        "e000",
        "f000",
        "0000",
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
        Publish(topic="+", payload=b""),
        Publish(topic="\0", payload=b""),
        Publish(topic="\ud800", payload=b""),
        Publish(topic="a" * 65536, payload=b""),
        Publish(topic="a", payload=b"", qos=1),
        Acknowledge(kind=Kind.PUBACK, packet_id=65536),
        Subscribe(packet_id=1, subscriptions=()),
        Unsubscribe(packet_id=1, topic_filters=()),
        Unsubscribe(packet_id=0, topic_filters=("a",)),
        Connect(client_id="a", keepalive=0, password=b"secret"),
    ],
)
def test_what_cannot_be_said(packet: ToServer) -> None:
    with pytest.raises(MalformedPacket) as caught:
        encode(packet)
    assert "secret" not in str(caught.value)


@pytest.mark.parametrize("topic_filter", ["", "a\0", "a#", "a/#/b", "#a", "a+", "+a/b", "a/b+/c"])
def test_what_is_no_topic_filter(topic_filter: str) -> None:
    with pytest.raises(MalformedPacket):
        check_filter(topic_filter)


@pytest.mark.parametrize("topic_filter", ["a", "/", "#", "+", "a/+/b", "+/+", "a/#", "$share/g/a"])
def test_what_is_a_topic_filter(topic_filter: str) -> None:
    check_filter(topic_filter)


@given(
    st.one_of(
        st.binary(max_size=40),
        st.builds(lambda h, b: bytes((h, len(b))) + b, st.integers(0, 255), st.binary(max_size=40)),
    )
)
def test_garbage_is_malformed_and_nothing_else(octets: bytes) -> None:
    with contextlib.suppress(MalformedPacket):
        decode(memoryview(octets))
