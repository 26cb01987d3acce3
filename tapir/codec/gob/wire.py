"""The octets of gob: numbers and strings, read within bounds and written as short as they can be."""

from typing import Final

from tapir.model.errors import TapirError

MAX_UINT: Final = (1 << 64) - 1


class GobError(TapirError):
    """The octets are no gob stream of a list; the text says why and where."""

    def __init__(self, reason: str, *, octet: int | None = None) -> None:
        super().__init__(reason if octet is None else f"{reason} (at octet {octet})")
        self.reason = reason
        self.octet = octet


class Reader:
    """Reads `data` from `position` on, and never beyond `end`. Raises GobError for what lies there."""

    __slots__ = ("data", "end", "position")

    def __init__(self, data: bytes) -> None:
        self.data = data
        self.position = 0
        self.end = len(data)

    @property
    def left(self) -> int:
        """How many octets there are yet."""
        return self.end - self.position

    def uint(self) -> int:
        position = self.position
        if position >= self.end:
            raise self.error("it ends in the middle of a number")
        first = self.data[position]
        if first < 0x80:
            self.position = position + 1
            return first
        width = 0x100 - first
        if width > 8:
            raise self.error(f"a number has {width} octets")
        stop = position + 1 + width
        if stop > self.end:
            raise self.error("it ends in the middle of a number")
        self.position = stop
        return int.from_bytes(self.data[position + 1 : stop], "big")

    def signed(self) -> int:
        value = self.uint()
        return ~(value >> 1) if value & 1 else value >> 1

    def count(self, what: str) -> int:
        """How many elements follow, of an octet each at least."""
        count = self.uint()
        if count > self.end - self.position:
            raise self.error(f"it ends before {count} {what}")
        return count

    def octets(self) -> bytes:
        length = self.count("octets")
        start = self.position
        self.position = start + length
        return self.data[start : self.position]

    def text(self) -> str:
        """A string; octets that are no UTF-8, which Go allows, come back out by `encode_text`."""
        return self.octets().decode("utf-8", "surrogateescape")

    def error(self, reason: str) -> GobError:
        return GobError(reason, octet=self.position)


def encode_uint(value: int) -> bytes:
    """`value` as gob's uint. Raises GobError where it has more than 64 bits, or a sign."""
    if 0 <= value < 0x80:
        return bytes((value,))
    if not 0 <= value <= MAX_UINT:
        raise GobError(f"{value} is no unsigned number of 64 bits")
    octets = value.to_bytes((value.bit_length() + 7) // 8, "big")
    return bytes((0x100 - len(octets),)) + octets


def encode_int(value: int) -> bytes:
    """`value` as gob's int. Raises GobError where it has more than 64 bits."""
    if not -(1 << 63) <= value < 1 << 63:
        raise GobError(f"{value} is no number of 64 bits")
    return encode_uint(~value << 1 | 1 if value < 0 else value << 1)


def encode_octets(octets: bytes) -> bytes:
    """A string of `octets`."""
    return encode_uint(len(octets)) + octets


def encode_text(text: str) -> bytes:
    """`text` as a string. Raises GobError where it has surrogates that stand for no octet."""
    try:
        return encode_octets(text.encode("utf-8", "surrogateescape"))
    except UnicodeEncodeError:
        raise GobError("a text cannot be written as UTF-8") from None
