"""Times as the sentences of this room have them."""

from datetime import UTC, datetime, timedelta
from typing import Final

_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)


def moment(microseconds: int) -> str:
    """A wall-clock time for people, to the second, in UTC; one outside the years 1 to 9999 is `no time at all`."""
    try:
        return (_EPOCH + timedelta(seconds=microseconds // 1_000_000)).strftime("%Y-%m-%d %H:%M:%S UTC")
    except OverflowError:
        return "no time at all"


def length(seconds: float) -> str:
    """A length of time for people, in one or two units."""
    minutes, rest = divmod(int(seconds), 60)
    hours, minutes_left = divmod(minutes, 60)
    days, hours_left = divmod(hours, 24)
    if days >= 2:
        return f"{days} days {hours_left} h" if hours_left and days < 10 else f"{days} days"
    if hours:
        return f"{hours} h {minutes_left} min" if minutes_left else f"{hours} h"
    if minutes:
        return f"{minutes} min {rest} s" if rest and minutes < 10 else f"{minutes} min"
    return f"{rest} s"
