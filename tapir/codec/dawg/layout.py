"""Where things stand in a DAWG file: bits, the header, and single nodes; nothing is taken on trust but their order."""

from bisect import bisect_left
from typing import Final

import attrs

from tapir.model.errors import TapirError

MAX_COUNT: Final = (1 << 28) - 2
"""The largest number of words, nodes, prefixes or edges of a node that the format's writers know how to write."""
MAX_SIZE: Final = (1 << 32) - 1
MAX_LENGTH: Final = 1 << 16
"""Characters of the longest word that we write and are sure to read, which is no limit of the format; a name has a
thousand at most. A file of an octet a character would else make a path of gigabytes."""


_SMALLEST: Final = 11
HEADER: Final = 48
"""Bits of the header before its 7codes."""
_CBITS: Final = 21
_ABITS: Final = 35  # what the end of a file of MAX_SIZE octets takes
_GROUPS: Final = 5


class DawgError(TapirError):
    """The octets are no DAWG, or the words make none; the text says why and, of octets, at which bit."""

    def __init__(self, reason: str, *, bit: int | None = None) -> None:
        super().__init__(reason if bit is None else f"{reason} (at bit {bit})")
        self.reason = reason
        self.bit = bit


@attrs.frozen(kw_only=True)
class DawgHeader:
    """What a DAWG says of itself; `root` is the bit where the first node begins."""

    size: int
    cbits: int
    abits: int
    words: int
    nodes: int
    edges: int
    root: int

    @property
    def nskip_width(self) -> int:
        """How many bits tell the width of a node's skips."""
        return self.words.bit_length().bit_length()


class Bits:
    """Octets as one string of bits. Raises DawgError for what lies beyond their end."""

    __slots__ = ("data", "length")

    def __init__(self, data: bytes | memoryview) -> None:
        self.data = data
        self.length = 8 * len(data)

    def take(self, start: int, width: int) -> int:
        end = start + width
        if end > self.length:
            raise DawgError("it ends in the middle of a node", bit=start)
        return int.from_bytes(self.data[start >> 3 : (end + 7) >> 3], "big") >> (-end & 7) & ((1 << width) - 1)

    def take_count(self, start: int) -> tuple[int, int]:
        """The 7code at `start`, and the bit behind it."""
        value = 0
        for group in range(_GROUPS):
            octet = self.take(start + 8 * group, 8)
            value = value << 7 | octet & 0x7F
            if octet < 0x80:
                if group + 1 != len(count_octets(value)):
                    break
                return value, start + 8 * group + 8
        raise DawgError("a number is longer than it need be", bit=start)


class Node:
    """The node whose record begins at bit `start`, decoded but for its edges; `end` is the bit behind it."""

    __slots__ = ("_bits", "_cbits", "_first", "_stride", "abits", "counted", "edges", "end", "final", "nskip")

    def __init__(self, bits: Bits, header: DawgHeader, start: int) -> None:
        self._bits = bits
        self._cbits = header.cbits
        self.final = bits.take(start, 1)
        self.edges = 1
        self.counted = False
        self.nskip = 0
        self.abits = header.abits
        if bits.take(start + 1, 1):
            self.abits = 0  # the target is where the record ends
            self._first = start + 2
        elif bits.take(start + 2, 1):
            self._first = start + 3
        else:
            self.counted = True
            self.edges, position = bits.take_count(start + 3)
            self.nskip = bits.take(position, header.nskip_width)
            self._first = position + header.nskip_width
        self._stride = self._cbits + self.nskip + self.abits
        self.end = self._first + (self.edges * self._stride - self.nskip if self.edges else 0)

    def _edge(self, number: int) -> int:
        return self._first + number * self._stride - (self.nskip if number else 0)

    def character(self, number: int) -> int:
        """The code point on edge `number`."""
        return self._bits.take(self._edge(number), self._cbits)

    def follow(self, number: int) -> tuple[int, int]:
        """How many words edge `number` skips, and where it leads."""
        position = self._edge(number) + self._cbits
        skip = self.final
        if number:
            skip = self._bits.take(position, self.nskip)
            position += self.nskip
        return skip, self._bits.take(position, self.abits) if self.abits else self.end

    def find(self, character: int) -> int | None:
        """The edge with this character, or None."""
        found = bisect_left(range(self.edges), character, key=self.character)
        return found if found < self.edges and self.character(found) == character else None

    def last_within(self, count: int) -> int:
        """The last edge that skips `count` words at most."""
        low, high = 0, self.edges - 1
        while low < high:
            middle = (low + high + 1) // 2
            if self.follow(middle)[0] <= count:
                low = middle
            else:
                high = middle - 1
        return low


def read_header(bits: Bits) -> DawgHeader:
    octets = len(bits.data)
    if octets < _SMALLEST:
        raise DawgError(f"{octets} octets are no DAWG: it takes {_SMALLEST} at least")
    size = bits.take(0, 32)
    if size != octets:
        raise DawgError(f"it says that it has {size} octets, and has {octets}")
    cbits, abits = bits.take(32, 8), bits.take(40, 8)
    words, position = bits.take_count(HEADER)
    nodes, position = bits.take_count(position)
    edges, position = bits.take_count(position)
    for what, value, most in (
        ("bits of a character", cbits, _CBITS),
        ("bits of an address", abits, _ABITS),
        ("words", words, MAX_COUNT),
        ("nodes", nodes, MAX_COUNT),
        ("edges", edges, MAX_COUNT),
    ):
        if value > most:
            raise DawgError(f"{value} {what} are more than there can be ({most})")
    if nodes < 1 or abits < 1:
        raise DawgError("it has no root, or no room for an address")
    return DawgHeader(size=size, cbits=cbits, abits=abits, words=words, nodes=nodes, edges=edges, root=position)


def settle_abits(fixed: int, addresses: int) -> int:
    """How wide addresses are in a file of `fixed` bits and so many of them: as wide as its end takes."""
    abits = 1
    while (needed := (fixed + addresses * abits).bit_length()) > abits:
        abits = needed
    return abits


def count_octets(value: int) -> bytes:
    """`value` as a 7code, which is one octet longer than it need be where all of its bits are set."""
    groups = 1
    while value >= (1 << 7 * groups) - 1:
        groups += 1
    octets = [value >> 7 * group & 0x7F | 0x80 for group in reversed(range(groups))]
    octets[-1] &= 0x7F
    return bytes(octets)
