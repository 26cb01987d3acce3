"""The names that were ever seen, and the events that say so: two databases of one LMDB environment.

    seen     digest of the name (12 octets)  ->  the minute when it was last known to be in use
    outbox   number (8 octets, ascending)    ->  when it came, CRC-32, the event in JSON, unsigned
    about    the format, and the secret of the digests

Both are written in one transaction: a name is seen when its event is in the outbox, and never otherwise. Every
transaction is durable when the call returns (but see `SeenStore.sync`); a crash leaves the one before. So a batch
should be hundreds of names, and the caller should count on tens of milliseconds for it, most of them without the
interpreter.

A name is kept as a digest, two hashes by SipHash-1-3 under two keys, of which 96 bits stay. It takes half of the room
of the name, it does not tell the name to who has the file and not its secret, and all have one length, which is what
LMDB is best at. Two names with one digest would lose a report: with 100 million names the odds are 2^-69 for each new
one, and since the keys are secret nobody can look for such pairs.

A name is forgotten when it has not been in use for `Retention.age`. It is in use when it is reported, of which the
front in memory keeps most away; it lets each name through now and then (`tapir.minimiser.novelty`), and the minute here
is set anew when an eighth of the age has passed. When there are more names than `Retention.names`, as of an attack by
random names, the oldest of those next to a place that moves on make room.

The file grows as it must; pages that were given up are used again, and it never shrinks. Blocking: for worker threads,
of which one at a time is served.
"""

import itertools
import os
import zlib
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Final

import attrs
import numpy as np

from tapir.codec.columns import Numbers
from tapir.codec.dnstap import hashes_of
from tapir.codec.newqname import Sightings, encode_events
from tapir.model.blocks import NameBlock
from tapir.store.errors import StoreCorrupt
from tapir.store.seenfile import SeenFile

if TYPE_CHECKING:
    from lmdb import Transaction, _Database

DIGEST: Final = 12

_MINUTE: Final = 60_000_000
_NOTED: Final = 30 * 86_400_000_000
_WINDOW: Final = 4
"""how many names are looked at for one that makes room"""


@attrs.frozen(kw_only=True)
class Retention:
    """How much is kept: names until `age` microseconds after they were last in use, and so many names and events.

    An age of None is for ever.
    """

    age: int | None = 90 * 86_400_000_000
    names: int = 50_000_000
    events: int = 2_000_000


@attrs.frozen(kw_only=True, eq=False)
class Reported:
    """What became of a batch."""

    new: Numbers
    """the rows whose names were new; an event of each is in the outbox, in this order, where they are queued"""
    dropped: int = 0
    """events that made room, unsent"""
    forgotten: int = 0
    """names that made room"""


@attrs.frozen(kw_only=True)
class Waiting:
    """An event in the outbox; `since` is when it came, microseconds since the epoch."""

    number: int
    since: int
    event: bytes


@attrs.frozen(kw_only=True)
class SeenStatistics:
    """What is held now, and what was given up since the store was opened."""

    names: int
    events: int
    oldest: int | None
    """when the first event in the outbox came, microseconds since the epoch"""
    octets: int
    """of the file"""
    dropped: int
    forgotten: int


class SeenStore:
    """An open store. Any thread; a failure is a StoreError, and then nothing of the call was done."""

    def __init__(self, file: SeenFile, retention: Retention) -> None:
        """Use `open`."""
        self.path = file.path
        self.retention = retention
        """may be set at any time"""
        self._file = file
        self._next = 1
        # Anywhere, so that what often restarts comes around all the same.
        self._place = os.urandom(DIGEST)
        self._dropped = self._forgotten = 0

    @classmethod
    def open(cls, path: Path, retention: Retention | None = None) -> "SeenStore":
        """The store at `path`, made if there is none. Raises StoreCorrupt, StoreFormatUnknown or StoreFull.

        One that is corrupt is to be moved aside by `tapir.store.quarantine`; a new one takes every name for new.
        """
        file = SeenFile(path)
        try:
            file.open()
            store = cls(file, Retention() if retention is None else retention)
            store._begin()
        except BaseException:
            file.close()
            raise
        return store

    def close(self) -> None:
        """Give the file back; closing twice is fine."""
        self._file.close()

    # -- names

    @property
    def sync(self) -> bool:
        """Whether every transaction outlives a power cut, not only the end of the process; may be set at any time.

        Without it a power cut may undo the last one as a whole, the names with their events.
        """
        return self._file.sync

    @sync.setter
    def sync(self, value: bool) -> None:
        self._file.sync = value

    def report(self, sightings: Sightings, *, now: int, queue: bool = True) -> Reported:
        """Have every name seen, and an event in the outbox for each that was not, in the order of the rows.

        Of rows with one name the first counts. Without `queue` no events are made: nobody wants them. `now` is
        microseconds since the epoch.
        """
        with self._file.call():
            minute = now // _MINUTE
            keys = self._digests(sightings.names)
            # Seen by seen in the order of the database: neighbours share their pages.
            fresh, renewed = self._look(keys, minute)
            if not fresh and not renewed:
                return Reported(new=np.empty(0, np.uint32))
            rows = np.array(sorted(fresh.values()), dtype=np.uint32)
            events = encode_events(sightings.rows(rows)) if queue else []
            stamp = minute.to_bytes(4)
            with self._file.writing(len(fresh) + len(renewed)) as (transaction, seen, outbox):
                excess = transaction.stat(seen)["entries"] + len(fresh) - self.retention.names
                forgotten = self._make_room(transaction, seen, excess) if excess > 0 else 0
                for key in itertools.chain(renewed, fresh):
                    transaction.put(key, stamp, db=seen)
                for number, event in enumerate(events, self._next):
                    transaction.put(number.to_bytes(8), _pack(event, now), db=outbox, append=True)
                excess = transaction.stat(outbox)["entries"] - self.retention.events
                dropped = _drop_first(transaction, outbox, excess)
            self._next += len(events)
            self._dropped += dropped
            self._forgotten += forgotten
        return Reported(new=rows, dropped=dropped, forgotten=forgotten)

    def sweep(self, *, now: int, limit: int = 4096) -> int:
        """Forget what is too old among the next `limit` names; how many those were.

        The place moves on and around. Called once for every `limit` names in a tenth of `Retention.age`, no name stays
        much longer than it should.
        """
        with self._file.call():
            with self._file.reading() as (transaction, seen, _):
                found, self._place = _window(transaction, seen, self._place, limit)
            oldest = 0 if self.retention.age is None else (now - self.retention.age) // _MINUTE
            gone = [key for key, value in found if int.from_bytes(value) < oldest]
            if gone:
                with self._file.writing(len(gone)) as (transaction, seen, _):
                    for key in gone:
                        transaction.delete(key, db=seen)
                self._forgotten += len(gone)
        return len(gone)

    # -- events

    def waiting(self, limit: int, *, after: int = 0) -> tuple[Waiting, ...]:
        """The first events of the outbox whose numbers are above `after`, `limit` at most."""
        with self._file.call(), self._file.reading() as (transaction, _, outbox):
            found = []
            with transaction.cursor(outbox) as cursor:
                if cursor.set_range((after + 1).to_bytes(8)):
                    for key, value in itertools.islice(cursor, limit):
                        since, event = _unpack(value, self.path)
                        found.append(Waiting(number=int.from_bytes(key), since=since, event=event))
            return tuple(found)

    def acknowledge(self, numbers: Sequence[int]) -> int:
        """These were taken by the broker and are forgotten; how many of them were still here."""
        if not numbers:
            return 0
        with self._file.call(), self._file.writing(len(numbers)) as (transaction, _, outbox):
            return sum([transaction.delete(number.to_bytes(8), db=outbox) for number in sorted(numbers)])

    def statistics(self) -> SeenStatistics:
        """What is held now; quick, whatever is held."""
        with self._file.call(), self._file.reading() as (transaction, seen, outbox):
            with transaction.cursor(outbox) as cursor:
                oldest = _unpack(cursor.value(), self.path)[0] if cursor.first() else None
            return SeenStatistics(
                names=transaction.stat(seen)["entries"],
                events=transaction.stat(outbox)["entries"],
                oldest=oldest,
                octets=self.path.stat().st_size,
                dropped=self._dropped,
                forgotten=self._forgotten,
            )

    # -- within

    def _begin(self) -> None:
        """Number on from the last event that is there."""
        with self._file.call(), self._file.reading() as (transaction, _, outbox), transaction.cursor(outbox) as cursor:
            if cursor.last():
                self._next = int.from_bytes(cursor.key()) + 1

    def _digests(self, names: NameBlock) -> list[bytes]:
        """The digest of each name; in any case of letters it is the same."""
        parts = np.empty((len(names), 2), dtype=">u8")
        parts[:, 0] = hashes_of(names, self._file.secret[:16])
        parts[:, 1] = hashes_of(names, self._file.secret[16:])
        octets = parts.tobytes()
        return [octets[at : at + DIGEST] for at in range(0, len(octets), 16)]

    def _look(self, keys: list[bytes], minute: int) -> tuple[dict[bytes, int], list[bytes]]:
        """The first row of each name that is not there, and those whose minute is to be set anew; in order."""
        heads = np.frombuffer(b"".join(keys), dtype=np.dtype([("head", ">u8"), ("tail", ">u4")]))["head"]
        order = np.argsort(heads, kind="stable")
        # Also where all are kept for ever: who decides otherwise later should find times that say something.
        stale = minute - (_NOTED if self.retention.age is None else self.retention.age // 8) // _MINUTE
        fresh: dict[bytes, int] = {}
        renewed: list[bytes] = []
        with self._file.reading() as (transaction, seen, _):
            for row in order.tolist():
                key = keys[row]
                found = transaction.get(key, db=seen)
                if found is None:
                    fresh.setdefault(key, row)
                elif int.from_bytes(found) < stale:
                    renewed.append(key)
        return fresh, renewed

    def _make_room(self, transaction: "Transaction[bytes]", seen: "_Database", excess: int) -> int:
        """Forget `excess` names, or all: the oldest of the next ones from where we are."""
        found, self._place = _window(transaction, seen, self._place, _WINDOW * excess)
        minutes = np.frombuffer(b"".join([value for _, value in found]), dtype=">u4")
        for index in np.argsort(minutes, kind="stable")[:excess].tolist():
            transaction.delete(found[index][0], db=seen)
        return min(excess, len(found))


def _window(
    transaction: "Transaction[bytes]", seen: "_Database", place: bytes, limit: int
) -> tuple[list[tuple[bytes, bytes]], bytes]:
    """The next `limit` names from `place` on, around the end and all at most; and where to go on."""
    with transaction.cursor(seen) as cursor:
        found = list(itertools.islice(cursor, limit)) if cursor.set_range(place) else []
        if len(found) < limit and cursor.first():
            for key, value in itertools.islice(cursor, limit - len(found)):
                if key >= place:
                    break
                found.append((key, value))
    return found, found[-1][0] + b"\0" if found else place


def _drop_first(transaction: "Transaction[bytes]", outbox: "_Database", count: int) -> int:
    """Give up the first `count` events, if that is any."""
    with transaction.cursor(outbox) as cursor:
        dropped = 0
        while dropped < count and cursor.first():
            cursor.delete()
            dropped += 1
    return dropped


def _pack(event: bytes, since: int) -> bytes:
    head = since.to_bytes(8)
    return b"".join((head, zlib.crc32(event, zlib.crc32(head)).to_bytes(4), event))


def _unpack(value: bytes, path: Path) -> tuple[int, bytes]:
    head, event = value[:8], value[12:]
    if zlib.crc32(event, zlib.crc32(head)).to_bytes(4) != value[8:12]:
        raise StoreCorrupt(path=path, reason="an event in the outbox is damaged")
    return int.from_bytes(head), event
