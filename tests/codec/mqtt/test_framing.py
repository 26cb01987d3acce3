"""Packets out of a stream, in any pieces."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tapir.codec.mqtt.framing import PacketSplitter, encode_length, packet_end
from tapir.codec.mqtt.packets import MalformedPacket, PacketTooLarge

PACKETS = st.lists(
    st.builds(
        lambda head, body: bytes((head,)) + encode_length(len(body)) + body,
        st.integers(0, 255),
        st.one_of(st.binary(max_size=20), st.integers(120, 20_000).map(bytes)),
    ),
    max_size=8,
)


@pytest.mark.parametrize(
    ("length", "octets"),
    # Table 1-1 of MQTT 5 §1.5.5.
    [
        (0, "00"),
        (127, "7f"),
        (128, "8001"),
        (16_383, "ff7f"),
        (16_384, "808001"),
        (2_097_151, "ffff7f"),
        (2_097_152, "80808001"),
        (268_435_455, "ffffff7f"),
    ],
)
def test_lengths_are_those_of_the_standard(length: int, octets: str) -> None:
    assert encode_length(length).hex() == octets
    assert packet_end(b"\x30" + bytes.fromhex(octets), 0, 1 << 29) == 1 + len(octets) // 2 + length


def test_what_is_longer_than_mqtt_can_say_is_refused() -> None:
    with pytest.raises(PacketTooLarge):
        encode_length(1 << 28)


@given(PACKETS, st.data())
def test_any_split_gives_the_same_packets(packets: list[bytes], data: st.DataObject) -> None:
    octets = b"".join(packets)
    cuts = sorted(data.draw(st.lists(st.integers(0, len(octets)), max_size=10)))
    splitter = PacketSplitter(30_000)
    got: list[bytes] = []
    for start, end in zip([0, *cuts], [*cuts, len(octets)], strict=True):
        got += [bytes(packet) for packet in splitter.feed(octets[start:end])]
    assert got == packets
    assert splitter.pending == 0


def test_octet_by_octet() -> None:
    octets = b"\x30\x83\x01" + bytes(131) + b"\xd0\x00"
    splitter = PacketSplitter(200)
    got = [bytes(packet) for octet in octets for packet in splitter.feed(bytes((octet,)))]
    assert got == [octets[:-2], octets[-2:]]


def test_a_length_without_end_is_noticed_at_its_fifth_octet() -> None:
    splitter = PacketSplitter(1000)
    for octet in b"\x30\xff\xff\xff":
        assert list(splitter.feed(bytes((octet,)))) == []
    with pytest.raises(MalformedPacket, match="four octets"):
        list(splitter.feed(b"\xff"))


def test_a_packet_past_the_limit_is_refused_by_its_head() -> None:
    splitter = PacketSplitter(1000)
    taken = splitter.feed(b"\xd0\x00\x30\xe7\x07")
    assert bytes(next(taken)) == b"\xd0\x00"
    with pytest.raises(PacketTooLarge, match="1002 octets, where 1000"):
        next(taken)
    assert list(PacketSplitter(1002).feed(b"\x30\xe7\x07")) == []


@given(st.binary(max_size=300), st.integers(1, 50))
def test_garbage_is_packets_or_refused_and_nothing_more_is_held(octets: bytes, limit: int) -> None:
    splitter = PacketSplitter(limit)
    try:
        for octet in octets:
            for packet in splitter.feed(bytes((octet,))):
                assert len(packet) <= limit
            assert splitter.pending < max(limit, 5)
    except (MalformedPacket, PacketTooLarge):
        pass
