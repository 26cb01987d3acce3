"""Go's time.Time in its binary form: version, seconds since year 1, nanoseconds, offset of the zone in minutes.

Version 1 has 15 octets; version 2 has one more, for an offset that is no whole minute. An offset of -1 means UTC.
"""

import struct
from typing import Final

import attrs

from tapir.codec.gob.wire import GobError

YEAR_ONE: Final = -62_135_596_800
"""The beginning of year 1 in seconds since the epoch."""

_FORM: Final = struct.Struct(">BqIh")
_UTC: Final = -1


@attrs.frozen(kw_only=True, order=False)
class GobTime:
    """A moment to the nanosecond, and the offset of the zone that it was told in; None for UTC.

    `seconds` since the epoch; of the offset, `minutes` and the `rest` in seconds, which Go writes with one sign.
    """

    seconds: int = YEAR_ONE
    nanoseconds: int = 0
    minutes: int | None = None
    rest: int = 0


NOTHING: Final = GobTime()
"""Go's time of nothing, which a struct leaves out."""


def decode_time(octets: bytes) -> GobTime:
    """The time that `octets` tell. Raises GobError."""
    if len(octets) != _FORM.size + (octets[:1] == b"\2"):
        raise GobError(f"a time has {len(octets)} octets")
    version, since, nanoseconds, minutes = _FORM.unpack_from(octets)
    if version not in (1, 2):
        raise GobError(f"a time is of version {version}")
    if nanoseconds >= 1_000_000_000:
        raise GobError("a time has more than a second of nanoseconds")
    rest = int.from_bytes(octets[_FORM.size :], "big", signed=True) if version == 2 else 0
    if version == 2 and (rest == 0 or minutes == _UTC):
        raise GobError("a time is of version 2 without need")
    return GobTime(
        seconds=since + YEAR_ONE, nanoseconds=nanoseconds, minutes=None if minutes == _UTC else minutes, rest=rest
    )


def encode_time(time: GobTime) -> bytes:
    """The octets that tell `time`. Raises GobError where the form has no room for it."""
    try:
        octets = _FORM.pack(
            2 if time.rest else 1,
            time.seconds - YEAR_ONE,
            time.nanoseconds,
            _UTC if time.minutes is None else time.minutes,
        )
        return octets + time.rest.to_bytes(1, "big", signed=True) if time.rest else octets
    except (struct.error, OverflowError):
        raise GobError(f"{time} has no form") from None
