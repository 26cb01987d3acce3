"""The names that were ever seen, and the events that say so: two databases of one LMDB environment.

    seen     digest of the name (12 octets)  ->  the minute when it was last known to be in use
    outbox   number (8 octets, ascending)    ->  when it came, CRC-32, the event in JSON, unsigned
    about    the format, and the secret of the digests

Both are written in one transaction: a name is seen when its event is in the outbox, and never otherwise. Every
transaction is durable when the call returns; a crash leaves the one before. So a batch should be hundreds of names, and
the caller should count on tens of milliseconds for it, most of them without the interpreter.

A name is kept as a digest, two hashes by SipHash-1-3 under two keys, of which 96 bits stay. It takes half of the room
of the name, it does not tell the name to who has the file and not its secret, and all have one length, which is what
LMDB is best at. Two names with one digest would lose a report: with 100 million names the odds are 2^-69 for each new
one, and since the keys are secret nobody can look for such pairs.

A name is forgotten when it has not been in use for `Retention.age`. It is in use when it is reported, of which the
front in memory keeps most away; it lets each name through now and then (`tapir.minimiser.novelty`), and the minute here
is set anew when an eighth of the age has passed. When there are more names than `Retention.names`, as of an attack by
random names, the oldest of those next to a place that moves on make room.

The file grows as it must; pages that were given up are used again, and it never shrinks. It is for one process; the
state folder's lock sees to that. Blocking: for worker threads, of which one at a time is served.
"""

import contextlib
import itertools
import os
import threading
import zlib
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, Final

import attrs
import lmdb
import numpy as np

from tapir.codec.columns import Numbers
from tapir.codec.dnstap import hashes_of
from tapir.codec.newqname import Sightings, encode_events
from tapir.model.blocks import NameBlock
from tapir.store.errors import StoreCorrupt, StoreError, StoreFormatUnknown, StoreFull
from tapir.store.files import sync_folder

FORMAT: Final = b"1"
DIGEST: Final = 12
SIDE_FILE: Final = "-lock"

_MINUTE: Final = 60_000_000
_MODE: Final = 0o600
_FIRST_MAP: Final = 256 << 20
_SLACK: Final = 32 << 20
"""more than the largest transaction writes beside what it is counted for"""
_PAGES_A_NAME: Final = 4
_WINDOW: Final = 4
"""how many names are looked at for one that makes room"""

_CORRUPT: Final = (lmdb.CorruptedError, lmdb.PageNotFoundError, lmdb.InvalidError, lmdb.IncompatibleError)


@attrs.frozen(kw_only=True)
class Retention:
    """How much is kept: names until `age` microseconds after they were last in use, and so many names and events."""

    age: int = 180 * 86_400_000_000
    names: int = 50_000_000
    events: int = 1_000_000


@attrs.frozen(kw_only=True, eq=False)
class Reported:
    """What became of a batch."""

    new: Numbers
    """the rows whose names were new; an event of each is in the outbox, in this order"""
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

    def __init__(self, path: Path, retention: Retention) -> None:
        """Use `open`."""
        self.path = path
        self.retention = retention
        """may be set at any time"""
        self._lock = threading.Lock()
        self._environment: Any = None
        self._closed = False
        self._next = 1
        self._place = os.urandom(DIGEST)
        self._dropped = self._forgotten = 0

    @classmethod
    def open(cls, path: Path, retention: Retention | None = None) -> "SeenStore":
        """The store at `path`, made if there is none. Raises StoreCorrupt, StoreFormatUnknown or StoreFull.

        One that is corrupt is to be moved aside by `tapir.store.quarantine`; a new one takes every name for new.
        """
        store = cls(path, Retention() if retention is None else retention)
        with store._told():
            if not path.exists():
                _create(path)
            store._attach()
        return store

    def close(self) -> None:
        """Give the file back; closing twice is fine."""
        with self._lock:
            self._closed = True
            self._detach()

    # -- names

    def report(self, sightings: Sightings, *, now: int) -> Reported:
        """Have every name seen, and an event in the outbox for each that was not, in the order of the rows.

        Of rows with one name the first counts. `now` is microseconds since the epoch.
        """
        with self._lock, self._told():
            minute = now // _MINUTE
            keys = self._digests(sightings.names)
            # Seen by seen in the order of the database: neighbours share their pages.
            fresh, renewed = self._look(keys, minute)
            if not fresh and not renewed:
                return Reported(new=np.empty(0, np.uint32))
            rows = np.array(sorted(fresh.values()), dtype=np.uint32)
            events = encode_events(sightings.rows(rows))
            stamp = minute.to_bytes(4)
            with self._writing(len(fresh) + len(renewed)) as (transaction, seen, outbox):
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
        with self._lock, self._told():
            with self._reading() as (transaction, seen, _):
                found, self._place = _window(transaction, seen, self._place, limit)
            oldest = (now - self.retention.age) // _MINUTE
            gone = [key for key, value in found if int.from_bytes(value) < oldest]
            if gone:
                with self._writing(len(gone)) as (transaction, seen, _):
                    for key in gone:
                        transaction.delete(key, db=seen)
                self._forgotten += len(gone)
        return len(gone)

    # -- events

    def waiting(self, limit: int, *, after: int = 0) -> tuple[Waiting, ...]:
        """The first events of the outbox whose numbers are above `after`, `limit` at most."""
        with self._lock, self._told(), self._reading() as (transaction, _, outbox):
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
        with self._lock, self._told(), self._writing(len(numbers)) as (transaction, _, outbox):
            return sum([transaction.delete(number.to_bytes(8), db=outbox) for number in sorted(numbers)])

    def statistics(self) -> SeenStatistics:
        """What is held now; quick, whatever is held."""
        with self._lock, self._told(), self._reading() as (transaction, seen, outbox):
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

    def _digests(self, names: NameBlock) -> list[bytes]:
        """The digest of each name; in any case of letters it is the same."""
        parts = np.empty((len(names), 2), dtype=">u8")
        parts[:, 0] = hashes_of(names, self._secret[:16])
        parts[:, 1] = hashes_of(names, self._secret[16:])
        octets = parts.tobytes()
        return [octets[at : at + DIGEST] for at in range(0, len(octets), 16)]

    def _look(self, keys: list[bytes], minute: int) -> tuple[dict[bytes, int], list[bytes]]:
        """The first row of each name that is not there, and those whose minute is to be set anew; in order."""
        heads = np.frombuffer(b"".join(keys), dtype=np.dtype([("head", ">u8"), ("tail", ">u4")]))["head"]
        order = np.argsort(heads, kind="stable")
        stale = minute - self.retention.age // _MINUTE // 8
        fresh: dict[bytes, int] = {}
        renewed: list[bytes] = []
        with self._reading() as (transaction, seen, _):
            for row in order.tolist():
                key = keys[row]
                found = transaction.get(key, db=seen)
                if found is None:
                    fresh.setdefault(key, row)
                elif int.from_bytes(found) < stale:
                    renewed.append(key)
        return fresh, renewed

    def _make_room(self, transaction: Any, seen: Any, excess: int) -> int:
        """Forget `excess` names, or all: the oldest of the next ones from where we are."""
        found, self._place = _window(transaction, seen, self._place, _WINDOW * excess)
        minutes = np.frombuffer(b"".join([value for _, value in found]), dtype=">u4")
        for index in np.argsort(minutes, kind="stable")[:excess].tolist():
            transaction.delete(found[index][0], db=seen)
        return min(excess, len(found))

    @contextlib.contextmanager
    def _reading(self) -> Iterator[tuple[Any, Any, Any]]:
        self._attach()
        with self._environment.begin() as transaction:
            yield transaction, self._seen, self._outbox

    @contextlib.contextmanager
    def _writing(self, changes: int) -> Iterator[tuple[Any, Any, Any]]:
        """All that is written within is durable when the block ends, or not there at all when it raises."""
        self._attach()
        self._check_place()
        self._grow(changes)
        try:
            with self._environment.begin(write=True) as transaction:
                yield transaction, self._seen, self._outbox
        except BaseException:
            # After some failures LMDB wants the environment opened anew, and after the others it does no harm.
            self._detach()
            raise

    def _grow(self, changes: int) -> None:
        """Have room for as many changes in the map, which costs addresses and no memory."""
        information = self._environment.info()
        page = self._environment.stat()["psize"]
        wanted = (information["last_pgno"] + 1 + _PAGES_A_NAME * changes) * page + _SLACK
        if wanted > information["map_size"]:
            self._environment.set_mapsize(max(wanted, 2 * information["map_size"]))

    def _check_place(self) -> None:
        """Raise StoreCorrupt when the file is not the one that we opened, or shorter than what is in it."""
        try:
            status = self.path.stat()
        except FileNotFoundError:
            raise StoreCorrupt(path=self.path, reason="the file was removed while it was in use") from None
        if (status.st_dev, status.st_ino) != self._identity:
            raise StoreCorrupt(path=self.path, reason="the file was replaced while it was in use")
        self._check_size(status.st_size)

    def _check_size(self, size: int) -> None:
        # What is mapped beyond the end of the file ends the process.
        if size < (self._environment.info()["last_pgno"] + 1) * self._environment.stat()["psize"]:
            raise StoreCorrupt(path=self.path, reason="the file is shorter than what is in it")

    def _attach(self) -> None:
        if self._environment is not None:
            return
        if self._closed:
            raise ValueError(f"{self.path} is closed")
        if self.path.stat().st_size < 2 * os.sysconf("SC_PAGE_SIZE"):
            raise StoreCorrupt(path=self.path, reason="it is not an LMDB environment")
        environment = _open(self.path)
        try:
            self._environment = environment
            status = self.path.stat()
            self._identity = (status.st_dev, status.st_ino)
            self._check_size(status.st_size)
            about, self._seen, self._outbox = (environment.open_db(name, create=False) for name in _DATABASES)
            with environment.begin() as transaction:
                self._secret = _read_about(transaction, about, self.path)
                with transaction.cursor(self._outbox) as cursor:
                    if cursor.last():
                        self._next = max(self._next, int.from_bytes(cursor.key()) + 1)
        except BaseException:
            self._detach()
            raise

    def _detach(self) -> None:
        if self._environment is not None:
            self._environment.close()
            self._environment = None

    @contextlib.contextmanager
    def _told(self) -> Iterator[None]:
        try:
            yield
        except StoreError:
            raise
        except lmdb.VersionMismatchError as exc:
            raise StoreFormatUnknown(path=self.path, reason=str(exc)) from exc
        except (*_CORRUPT, lmdb.NotFoundError) as exc:
            raise StoreCorrupt(path=self.path, reason=str(exc)) from exc
        except lmdb.Error as exc:
            raise StoreFull(path=self.path, reason=str(exc)) from exc
        except OSError as exc:
            raise StoreFull(path=self.path, reason=exc.strerror or str(exc)) from exc


_DATABASES: Final = (b"about", b"seen", b"outbox")


def _open(path: Path) -> Any:
    return lmdb.open(
        str(path),
        subdir=False,
        map_size=_FIRST_MAP,
        max_dbs=len(_DATABASES),
        mode=_MODE,
        # Digests are looked for all over the file: what lies next to one is not worth reading.
        readahead=False,
    )


def _create(path: Path) -> None:
    """Build an environment beside `path` and rename it into place, so that an empty file is never ours."""
    building = path.with_name(f".{path.name}.new")
    for side in ("", SIDE_FILE):
        building.with_name(building.name + side).unlink(missing_ok=True)
    with _open(building) as environment:
        about, *_ = (environment.open_db(name) for name in _DATABASES)
        with environment.begin(write=True, db=about) as transaction:
            secret = os.urandom(32)
            transaction.put(b"format", FORMAT)
            transaction.put(b"secret", secret + zlib.crc32(secret).to_bytes(4))
    building.replace(path)
    building.with_name(building.name + SIDE_FILE).unlink(missing_ok=True)
    sync_folder(path.parent)


def _read_about(transaction: Any, about: Any, path: Path) -> bytes:
    """The secret. Raises StoreCorrupt or StoreFormatUnknown."""
    version = transaction.get(b"format", db=about)
    if version != FORMAT:
        raise StoreFormatUnknown(path=path, reason=f"it has format {version!r}, this tapir knows {FORMAT!r}")
    sealed = transaction.get(b"secret", db=about) or b""
    if len(sealed) != 36 or zlib.crc32(sealed[:32]).to_bytes(4) != sealed[32:]:
        raise StoreCorrupt(path=path, reason="the secret of its digests is damaged")
    return bytes(sealed[:32])


def _window(transaction: Any, seen: Any, place: bytes, limit: int) -> tuple[list[tuple[bytes, bytes]], bytes]:
    """The next `limit` names from `place` on, around the end and all at most; and where to go on."""
    with transaction.cursor(seen) as cursor:
        found = list(itertools.islice(cursor, limit)) if cursor.set_range(place) else []
        if len(found) < limit and cursor.first():
            for key, value in itertools.islice(cursor, limit - len(found)):
                if key >= place:
                    break
                found.append((key, value))
    return found, found[-1][0] + b"\0" if found else place


def _drop_first(transaction: Any, outbox: Any, count: int) -> int:
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
    head, event = value[:8], bytes(value[12:])
    if zlib.crc32(event, zlib.crc32(head)).to_bytes(4) != value[8:12]:
        raise StoreCorrupt(path=path, reason="an event in the outbox is damaged")
    return int.from_bytes(head), event
