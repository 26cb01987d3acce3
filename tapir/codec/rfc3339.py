"""Times as RFC 3339 writes them and Go's encoding/json reads them: microseconds since the epoch here.

`T` and `Z` are capitals, a fraction has any number of digits, offsets are up to 23:59, there is no leap second. Digits
below the microsecond are cut off. Times are of the years 1 to 9999 in UTC.
"""

import datetime as dt
import re
from typing import Final

_SHAPE: Final = re.compile(
    r"(\d{4})-(\d\d)-(\d\d)T([01]\d|2[0-3]):([0-5]\d):([0-5]\d)(?:\.(\d+))?(?:Z|([+-])([01]\d|2[0-3]):([0-5]\d))",
    re.ASCII,
)
_EPOCH: Final = dt.datetime(1970, 1, 1, tzinfo=dt.UTC)
_DAY: Final = 86_400
SECOND: Final = 1_000_000

YEAR_ONE: Final = -62_135_596_800 * SECOND
"""The beginning of year 1, which is Go's time of nothing."""
LAST: Final = 253_402_300_800 * SECOND - 1
"""The last microsecond of year 9999."""


def parse_time(text: str) -> int:
    """The microseconds since the epoch that `text` tells. Raises ValueError, and nothing else whatever the text."""
    found = _SHAPE.fullmatch(text)
    if found is None:
        raise ValueError("it is no time of RFC 3339")
    year, month, day, hour, minute, second = map(int, found.group(1, 2, 3, 4, 5, 6))
    fraction, sign, offset_hours, offset_minutes = found.group(7, 8, 9, 10)
    days = dt.date(year, month, day).toordinal() - _EPOCH.toordinal()
    seconds = days * _DAY + hour * 3600 + minute * 60 + second
    if sign is not None:
        offset = int(offset_hours) * 3600 + int(offset_minutes) * 60
        seconds += offset if sign == "-" else -offset
    time = seconds * SECOND + int((fraction or "")[:6].ljust(6, "0"))
    if not YEAR_ONE <= time <= LAST:
        raise ValueError("it is not in the years 1 to 9999")
    return time


def format_time(time: int) -> str:
    """`time` in UTC with as many digits as it takes. Raises OverflowError outside the years 1 to 9999."""
    if not YEAR_ONE <= time <= LAST:
        raise OverflowError(f"{time} microseconds are not in the years 1 to 9999")
    seconds, fraction = divmod(time, SECOND)
    text = (_EPOCH + dt.timedelta(seconds=seconds)).strftime("%m-%dT%H:%M:%S")
    year = (_EPOCH + dt.timedelta(seconds=seconds)).year  # whose zeros strftime leaves out
    digits = f".{fraction:06d}".rstrip("0") if fraction else ""
    return f"{year:04d}-{text}{digits}Z"
