"""When a list file is to be read: pure steps over what `stat` says.

A list that is read while it is being written is half a list, and half an allowlist blocks what it should
protect. Where nobody tells that a writer is done (`watching.py`), it is inferred:

    another inode, finished before it got its name  ──▶ read at once (written aside, renamed into place)
    anything else that differs                      ──▶ read when a whole poll interval changed nothing

"Finished before it got its name" shows in the change time: a rename sets it and leaves the modification time
alone, so it is later than the last write. A file that was removed and is written anew has both alike. Where the
clock of the file system is too coarse to tell, the file waits for one interval. What changes while it is read is read
again (`content.py` compares before and after).
"""

import enum
import stat
from typing import Final

import attrs

from tapir.store.files import FileIdentity

# Timers are allowed to be a little early; an interval that is a tenth short is still an interval.
_NEARLY: Final = 0.9

_TICKS: Final = 100_000_000

_NANOSECONDS: Final = 1_000_000_000


@attrs.frozen(kw_only=True)
class FileSign(FileIdentity):
    """What tells one content of a file from another; equal signs are taken for equal content."""

    changed_ns: int = attrs.field(eq=False)
    """inode change time: a rename or a chmod sets it, which is no other content"""

    def same_file(self, other: "FileSign") -> bool:
        """Whether both are states of one inode."""
        return (self.device, self.inode) == (other.device, other.inode)


class Verdict(enum.Enum):
    """What to do with a file after a look at it."""

    UNCHANGED = "unchanged"
    SETTLING = "settling"
    READ = "read"


@attrs.frozen(kw_only=True)
class Sighting:
    """A state of the file that was not read yet, seen first at `first_at`; the file changes since `changing_since`.

    Both are seconds on the runtime's clock.
    """

    sign: FileSign
    first_at: float
    changing_since: float


def refuse_kind(mode: int) -> str:
    """Why a file of this mode cannot hold a list, or the empty string."""
    if stat.S_ISREG(mode):
        return ""
    for test, word in (
        (stat.S_ISDIR, "a directory"),
        (stat.S_ISFIFO, "a named pipe"),
        (stat.S_ISSOCK, "a socket"),
        (stat.S_ISCHR, "a character device"),
        (stat.S_ISBLK, "a block device"),
    ):
        if test(mode):
            return f"is {word}; a list must be a regular file"
    return "is not a regular file"


def judge(
    sign: FileSign,
    *,
    taken: FileSign | None,
    sighting: Sighting | None,
    now: float,
    wall: int,
    interval: float,
    finished: bool = False,
) -> tuple[Verdict, Sighting | None]:
    """What to do about a file that looks like `sign`, and what to remember until the next look.

    `finished` says that a writer was seen to be done with it since the last look: then there is nothing to wait for.

    `taken` is what was read last, `sighting` what the last look left; `now` is seconds on the runtime's clock, `wall`
    microseconds since the epoch.
    """
    if sign == taken:
        return Verdict.UNCHANGED, None
    if finished:
        since = now if sighting is None else sighting.changing_since
        return Verdict.READ, Sighting(sign=sign, first_at=now, changing_since=since)
    if sighting is not None and sighting.sign == sign:
        settled = now - sighting.first_at >= interval * _NEARLY
        return (Verdict.READ if settled else Verdict.SETTLING), sighting
    since = now if sighting is None else sighting.changing_since
    fresh = Sighting(sign=sign, first_at=now, changing_since=since)
    if (taken is None or not sign.same_file(taken)) and _was_finished(sign, wall=wall, interval=interval):
        return Verdict.READ, fresh
    return Verdict.SETTLING, fresh


def is_young(sign: FileSign, *, wall: int) -> bool:
    """Whether a file was written so lately that another write may leave it with the same sign.

    File systems count time in ticks of some milliseconds.
    """
    return abs(wall * 1000 - sign.modified_ns) < _TICKS


def _was_finished(sign: FileSign, *, wall: int, interval: float) -> bool:
    """Whether a file that we never read was complete before it got its name."""
    if sign.changed_ns > sign.modified_ns:
        return True
    age = wall * 1000 - sign.modified_ns
    return age >= interval * _NANOSECONDS
