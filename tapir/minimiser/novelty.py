"""Which names of a block are to be looked for among those that were ever seen: the few that did not come lately.

The memory of what came lately is a table of keyed 64-bit hashes, of fixed size. It errs both ways, and each time to a
known extent. A name that it has forgotten is asked of the store, which knows. A name that it takes for another's is not
reported, this time: with N names remembered the odds are N / 2^64 for each new name, 10 million and a billion new names
a loss of one in 2,000 such runs; and the key is another in each process, so what one misses the next one reports.

A name is remembered from when it is handed out to be asked for, so that blocks in between do not hand it out again.
Whoever could not ask takes that back by `forget`.
"""

import threading
from collections import deque
from typing import Final

import numpy as np
from numpy.typing import NDArray

import tapir.kernels.recent
from tapir.codec.newqname import Sightings, join_sightings
from tapir.minimiser.columns import DecodedBlock, Rows, names_of

_WAYS: Final = 8
_LOOSE: Final = 64
"""parts that are made one where they have few rows: each takes a kilobyte, whatever is in it"""


class RecentNames:
    """Names that came lately, `entries` of them at most, by the hashes of one secret; eight octets each.

    When it is half full it knows nearly all of them, and some nine of ten when it is full. Its memory is asked for when
    it is made, and used as it fills. Safe for any number of threads, one at a time.
    """

    def __init__(self, entries: int, *, refresh: int) -> None:
        """Each name is forgotten, however often it comes, within `refresh` microseconds of `age`; see there."""
        if entries < 1 or refresh < 1:
            raise ValueError("there must be room for a name, and some time to remember it")
        self._rows = -(-entries // _WAYS)
        self._table = np.zeros(_WAYS * self._rows, dtype=np.uint64)
        self.refresh = refresh
        """may be set at any time: the share that is due is of the new one from then on"""
        self._aged_at: int | None = None
        self._aged_row = 0
        self._lock = threading.Lock()
        self._evicted = 0

    def __repr__(self) -> str:
        return f"<RecentNames: {len(self._table)} entries>"

    @property
    def octets(self) -> int:
        """What the table takes when it is full."""
        return self._table.nbytes

    @property
    def evicted(self) -> int:
        """How many names made room for others; those forgotten for their age are not among them."""
        return self._evicted

    def sift(self, block: DecodedBlock, rows: Rows) -> Sightings:
        """Of these rows those with names that did not come lately, each once; from now on they did."""
        hashes = block.name_hash[rows]
        fresh = np.empty(len(hashes), dtype=np.uint32)
        with self._lock:
            count, evicted = tapir.kernels.recent.sift(self._table.data, hashes.data, fresh.data)
            self._evicted += evicted
        return sightings_of(block, rows[fresh[:count]])

    def forget(self, hashes: NDArray[np.uint64]) -> None:
        """The names of these hashes did not come, for all that we know."""
        with self._lock:
            tapir.kernels.recent.forget(self._table.data, np.ascontiguousarray(hashes).data)

    def age(self, now: int) -> None:
        """Forget the share that is due since the last call: all of it in the course of `refresh`.

        So a name that is asked for all the time is still asked of the store now and then, which notes that it is in use
        and does not drop it for its age. `now` is microseconds since the epoch.
        """
        if self._aged_at is None or now < self._aged_at:
            self._aged_at = now  # the clock was set back
            return
        due = min(self._rows, (now - self._aged_at) * self._rows // self.refresh)
        if not due:
            return
        self._aged_at = now
        end = self._aged_row + due
        with self._lock:
            self._table[_WAYS * self._aged_row : _WAYS * end] = 0
            self._table[: _WAYS * max(0, end - self._rows)] = 0
        self._aged_row = end % self._rows


def sightings_of(block: DecodedBlock, rows: Rows) -> Sightings:
    """What events would say of these rows, apart from the block."""
    return Sightings(
        names=names_of(block, rows, as_sent=True),
        flags=block.flags[rows],
        qtype=block.qtype[rows],
        qclass=block.qclass[rows],
        time=block.time[rows],
        name_hash=block.name_hash[rows],
    )


class Gathering:
    """Sightings on their way to the store, which wants few large batches: `size` rows at once, `limit` at most."""

    def __init__(self, *, size: int, limit: int) -> None:
        self._size = size
        self._limit = limit
        self._parts: deque[Sightings] = deque()
        self._count = self._loose = 0
        self._since: int | None = None

    def __len__(self) -> int:
        return self._count

    def add(self, sightings: Sightings, *, now: int) -> Sightings | None:
        """Take these in. What there is no room for comes back, to be forgotten by who remembers it."""
        room = min(self._limit - self._count, len(sightings))
        if room > 0:
            self._append(_part(sightings, 0, room), now)
        return _part(sightings, room, len(sightings)) if room < len(sightings) else None

    def is_due(self, now: int, *, patience: int) -> bool:
        """Whether there is a whole batch, or one that has waited for `patience` microseconds."""
        return self.due_in(now, patience=patience) == 0

    def due_in(self, now: int, *, patience: int) -> int | None:
        """In how many microseconds it is due if nothing more comes; None when there is nothing."""
        if self._since is None:
            return None
        waited = now - self._since
        # One that has waited for less than nothing began before the clock was set back.
        return 0 if self._count >= self._size or waited < 0 else max(0, patience - waited)

    def take(self) -> Sightings:
        """The oldest, about `size` of them at most; of nothing, none."""
        parts: list[Sightings] = []
        room = self._size
        while self._parts and room > 0:
            part = self._parts.popleft()
            if len(part) > room:
                self._parts.appendleft(_part(part, room, len(part)))
                part = _part(part, 0, room)
            parts.append(part)
            room -= len(part)
        self._count -= self._size - room
        if not self._parts:
            self._since = None
        return join_sightings(parts)

    def _append(self, sightings: Sightings, now: int) -> None:
        self._parts.append(sightings)
        self._count += len(sightings)
        self._loose += 1
        if self._loose >= _LOOSE:
            self._join()
        if self._since is None:
            self._since = now

    def _join(self) -> None:
        """Make one of the last parts."""
        last = [self._parts.pop() for _ in range(min(self._loose, len(self._parts)))]
        last.reverse()
        few = sum([len(part) for part in last]) <= self._size
        self._parts.extend([join_sightings(last)] if few else last)
        self._loose = 0


def _part(sightings: Sightings, start: int, end: int) -> Sightings:
    if start == 0 and end == len(sightings):
        return sightings
    return sightings.rows(np.arange(start, end, dtype=np.uint32))
