"""Where a packet ends (MQTT 5 §2.1, 3.1.1 §2.2; both the same)."""

from collections.abc import Iterator
from typing import Final

from tapir.codec.mqtt.packets import MalformedPacket, PacketTooLarge

_MOST_LENGTH_OCTETS: Final = 4


def encode_length(length: int) -> bytes:
    """`length` as a variable byte integer. Raises PacketTooLarge past 268,435,455."""
    if length < 128:
        return bytes((length,))
    if length >= 1 << 28:
        raise PacketTooLarge(f"a packet of {length} octets; MQTT ends at 256 MiB")
    octets = bytearray()
    while length > 127:
        octets.append(length & 0x7F | 0x80)
        length >>= 7
    octets.append(length)
    return bytes(octets)


def packet_end(buffer: bytes | bytearray | memoryview, start: int, limit: int) -> int:
    """Where the packet that begins at `start` ends; 0 when its head is not whole yet.

    Raises MalformedPacket for a length that never ends, PacketTooLarge for more than `limit` octets in all.
    """
    position = start + 1
    end = len(buffer)
    if position < end and buffer[position] < 128:
        total = position + 1 + buffer[position]
    else:
        length = 0
        for shift in range(0, 7 * _MOST_LENGTH_OCTETS, 7):
            if position >= end:
                return 0
            octet = buffer[position]
            position += 1
            length |= (octet & 0x7F) << shift
            if octet < 128:
                break
        else:
            raise MalformedPacket("a remaining length of more than four octets")
        total = position + length
    if total - start > limit:
        raise PacketTooLarge(f"a packet of {total - start} octets, where {limit} were agreed")
    return total


class PacketSplitter:
    """Cuts a stream into packets; holds at most one that is not whole, and of that at most `limit` octets."""

    def __init__(self, limit: int) -> None:
        self._limit = limit
        self._rest = bytearray()

    @property
    def pending(self) -> int:
        """Octets of a packet that is not whole yet."""
        return len(self._rest)

    def feed(self, octets: bytes) -> Iterator[memoryview]:
        """The packets that are whole with `octets`; to be taken all before the next `feed`.

        Raises MalformedPacket and PacketTooLarge after the packets before the bad one; the stream is then of no use.
        """
        buffer: bytes | bytearray = octets
        if self._rest:
            self._rest += octets
            # A packet that trickles in is copied once, when it is whole, not at every octet.
            if not 0 < packet_end(self._rest, 0, self._limit) <= len(self._rest):
                return
            buffer, self._rest = self._rest, bytearray()
        view = memoryview(buffer)
        start, size = 0, len(buffer)
        while start < size:
            end = packet_end(view, start, self._limit)
            if not 0 < end <= size:
                self._rest += view[start:]
                return
            yield view[start:end]
            start = end
