"""Names of EDM's files: the interval that one tells of, from second to second (edm.md §7.2, §8).

    dns_histogram-2026-03-01T07-59-00Z_2026-03-01T08-00-00Z.parquet

Readers take the interval from the name, and from nowhere else.
"""

import re
from datetime import UTC, datetime, timedelta
from typing import Final

import attrs

HISTOGRAM_FILE: Final = "dns_histogram"
SESSION_FILE: Final = "dns_session_block"
SUFFIX: Final = ".parquet"
PARTIAL: Final = ".tmp"
"""behind the name of a file that is not whole yet"""

SECOND: Final = 1_000_000
MINUTE: Final = 60 * SECOND

_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)
_FORMAT: Final = "%Y-%m-%dT%H-%M-%SZ"
_STAMP: Final = r"\d{4}-\d\d-\d\dT\d\d-\d\d-\d\dZ"
_NAME: Final = re.compile(rf"(?P<kind>[a-z_]+)-(?P<start>{_STAMP})_(?P<stop>{_STAMP})\.parquet", re.ASCII)


@attrs.frozen(kw_only=True)
class FileName:
    """What a name says: which kind of file, and its interval, microseconds since the epoch at whole seconds."""

    kind: str
    start: int
    stop: int

    def __str__(self) -> str:
        return f"{self.kind}-{_stamp(self.start)}_{_stamp(self.stop)}{SUFFIX}"


def parse_file_name(name: str) -> FileName | None:
    """What `name` says; None when it is no name of a whole file of ours."""
    match = _NAME.fullmatch(name)
    if match is None:
        return None
    try:
        start, stop = (_moment(match[part]) for part in ("start", "stop"))
    except ValueError:
        return None
    return FileName(kind=match["kind"], start=start, stop=stop)


def until_next_minute(now: int) -> int:
    """How long it is until the next whole minute: from one microsecond to a minute."""
    return MINUTE - now % MINUTE


def _stamp(moment: int) -> str:
    return (_EPOCH + timedelta(seconds=moment // SECOND)).strftime(_FORMAT)


def _moment(stamp: str) -> int:
    moment = datetime.strptime(stamp, _FORMAT).replace(tzinfo=UTC)
    return (moment - _EPOCH) // timedelta(microseconds=1)
