"""Serial numbers (RFC 1982, SERIAL_BITS = 32): they wrap, and two of them may be incomparable.

Serial 0 is valid wherever it comes from, yet `next_serial` passes over it, as BIND's updates do: zone
software uses 0 for "none yet", and upstream read an empty serial cache as 0.
"""

from typing import Final

from tapir.zone.errors import ZoneError

MODULUS: Final = 1 << 32
_HALF: Final = 1 << 31


def check_serial(serial: int) -> int:
    """`serial` itself, if it is an unsigned 32-bit number; raises ZoneError."""
    if not 0 <= serial < MODULUS:
        raise ZoneError(f"{serial} is not a serial: allowed are 0 to {MODULUS - 1}")
    return serial


def add(serial: int, increment: int) -> int:
    """The sum of RFC 1982 §3.1; an `increment` outside of 0 to 2^31 - 1 is undefined and raises ZoneError."""
    if not 0 <= increment < _HALF:
        raise ZoneError(f"adding {increment} to a serial is undefined: allowed are 0 to {_HALF - 1}")
    return (check_serial(serial) + increment) % MODULUS


def compare(left: int, right: int) -> int | None:
    """Negative, 0 or positive as `left` is older than, equal to or newer than `right`.

    None where RFC 1982 §3.2 leaves it undefined: the two are 2^31 apart.
    """
    distance = (left - right) % MODULUS
    if distance == _HALF:
        return None
    if distance == 0:
        return 0
    return 1 if distance < _HALF else -1


def is_newer(serial: int, than: int) -> bool:
    """Whether `serial` is certainly newer; False where the order is undefined."""
    return 0 < (serial - than) % MODULUS < _HALF


def next_serial(serial: int) -> int:
    """The serial of the version after `serial`: one more, but never 0."""
    return add(serial, 1) or 1
