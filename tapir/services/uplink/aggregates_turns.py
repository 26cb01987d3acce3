"""Which histogram is sent next, and when: the oldest first, and nothing that fails stands in the way of the rest. Pure.

Whose fault a failure is shows by what comes after it. After each but `FILE` nothing is sent for a pause that doubles
up to its limit; the next try is then for another file: the oldest or the newest that had none yet, by turns. A file
that is refused by itself is put aside for longer and longer; so is one that fails again although others arrived
since. What was put aside while nothing arrived at all comes back when something does: it was not the file.

Times are seconds of one clock that does not step.
"""

import enum
import math
from collections.abc import Callable, Iterable
from typing import Final

import attrs

from tapir.store.parquetfiles import StoredFile

WINDOW: Final = 500
"""how many files, the oldest that are not aside, are known at a time"""
_NEVER: Final = -1
JITTER: Final = 1.5
"""a pause takes up to that many times as long, at random, so that not all come back at one moment"""


class Blame(enum.Enum):
    """What a failure says of the file."""

    NOBODY = enum.auto()
    """it was not asked for: there is no connection"""
    SHARED = enum.auto()
    """the server or the file, nobody knows"""
    REFUSED = enum.auto()
    """the server does not want this one, or any"""
    FILE = enum.auto()
    """nothing but this file"""


@attrs.frozen(kw_only=True)
class Patience:
    """Least and greatest length of a pause, and for how long a file is put aside; in seconds, with the jitter."""

    least: float = 10.0
    most: float = 600.0
    aside_least: float = 600.0
    aside_most: float = 3600.0


@attrs.frozen(kw_only=True)
class Outbox:
    """What was found in the folder: all of it in numbers, and the files that may have their turn, the oldest first."""

    files: int = 0
    octets: int = 0
    oldest: StoredFile | None = None
    chosen: tuple[StoredFile, ...] = ()
    names: frozenset[str] = frozenset()
    """which of the files that are aside are still there"""
    hidden: bool = False
    """whether there are more that may have their turn"""


def survey(files: Iterable[StoredFile], aside: frozenset[str]) -> Outbox:
    """The outbox that holds `files`, the oldest first, of which those of these names are not to be chosen."""
    octets = 0
    oldest = newest = None
    chosen: list[StoredFile] = []
    names = set()
    count = hidden = 0
    for file in files:
        count += 1
        octets += file.size
        oldest = oldest or file
        if file.path.name in aside:
            names.add(file.path.name)
        elif len(chosen) < WINDOW:
            chosen.append(file)
        else:
            hidden += 1
            newest = file
    if newest is not None:
        chosen.append(newest)
    return Outbox(
        files=count,
        octets=octets,
        oldest=oldest,
        chosen=tuple(chosen),
        names=frozenset(names),
        hidden=hidden > 1,
    )


@attrs.frozen(kw_only=True)
class _Mishap:
    """What a file that failed is remembered by; `first` is how many files had arrived when it first did."""

    first: int
    tries: int
    due: float


class Turns:
    """Told of every try, it says who is next. `chance` gives numbers from 0 to 1, for the jitter."""

    def __init__(self, patience: Patience, *, chance: Callable[[], float]) -> None:
        self._patience = patience
        self._chance = chance
        self._files: dict[str, StoredFile] = {}
        self._mishaps: dict[str, _Mishap] = {}
        self._tried: set[str] = set()
        self._failures = 0
        self._arrived = 0
        self.resume_at = -math.inf
        """before this nothing is tried"""

    @property
    def refused(self) -> int:
        """How many files were put aside and have not arrived since."""
        return sum(mishap.due > -math.inf for mishap in self._mishaps.values())

    def aside(self, now: float) -> frozenset[str]:
        """The names of the files that have no turn now."""
        return frozenset(name for name, mishap in self._mishaps.items() if mishap.due > now)

    def see(self, outbox: Outbox) -> None:
        """This is in the folder now; what is not there any more is forgotten."""
        self._files = {file.path.name: file for file in outbox.chosen}
        if not outbox.hidden:
            present = outbox.names | self._files.keys()
            self._mishaps = {name: mishap for name, mishap in self._mishaps.items() if name in present}

    def choose(self, now: float) -> StoredFile | None:
        """Who is next; None when nobody is, or not yet."""
        if now < self.resume_at:
            return None
        if not self._mishaps:
            return next(iter(self._files.values()), None)
        aside = self.aside(now)
        free = [file for name, file in self._files.items() if name not in aside]
        untried = [file for file in free if file.path.name not in self._tried]
        if not untried:
            self._tried.clear()
            untried = free
        if not untried:
            return None
        return untried[-1 if len(self._tried) % 2 else 0]

    def gone(self, file: StoredFile) -> None:
        """It is not there any more, and nothing was tried."""
        self._files.pop(file.path.name, None)
        self._mishaps.pop(file.path.name, None)

    def arrived(self, file: StoredFile) -> None:
        """The server has it."""
        self.gone(file)
        for name, mishap in self._mishaps.items():
            if mishap.first == self._arrived:
                self._mishaps[name] = attrs.evolve(mishap, due=-math.inf)
        self._arrived += 1
        self._resume()

    def failed(self, file: StoredFile, blame: Blame, *, now: float) -> bool:
        """It did not arrive; whether it is put aside."""
        name, patience = file.path.name, self._patience
        aside = False
        if blame is not Blame.NOBODY:
            before = self._mishaps.get(name, _Mishap(first=self._arrived, tries=0, due=-math.inf))
            aside = blame is not Blame.SHARED or before.first < self._arrived
            tries = before.tries + aside
            first = _NEVER if blame is Blame.FILE else before.first
            length = self._stretch(patience.aside_least, patience.aside_most, tries) if aside else -math.inf
            self._mishaps[name] = _Mishap(first=first, tries=tries, due=now + length)
        if blame is not Blame.FILE:
            self._failures += 1
            self.resume_at = now + self._stretch(patience.least, patience.most, self._failures)
            if blame is not Blame.NOBODY:
                self._tried.add(name)
        return aside

    def wait(self, seconds: float, *, now: float) -> None:
        """Nothing can be tried now, through no fault of a file or the server."""
        self.resume_at = now + seconds

    def begin_anew(self) -> None:
        """Another server, or another way to speak to it: all that failed is tried again at once."""
        self._mishaps.clear()
        self._resume()

    def _resume(self) -> None:
        self._failures = 0
        self._tried.clear()
        self.resume_at = -math.inf

    def _stretch(self, least: float, most: float, times: int) -> float:
        # The exponent is bounded: a float to the power of thousands overflows.
        full = min(most / JITTER, least * 2.0 ** min(times - 1, 64))
        return full * (1 + (JITTER - 1) * self._chance())
