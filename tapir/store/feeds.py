"""What was transferred of one feed: its rules at a serial, and how it stands, so that a restart goes on by IXFR.

A snapshot of the rules and a log of the differences since, as for our own zone; the journal ends at the snapshot, for
nobody asks us for older versions of a feed. A commit appends one difference, whatever the size of the feed; when the
log outweighs the snapshot it is folded into it. Every step is one transaction: after a crash all of it is there, or
nothing.
"""

import itertools
import json
import logging
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Final

import attrs

from tapir.model.blocks import NameBlock, RecordBlock, RecordDelta, VersionDelta
from tapir.store.blobs import BlobError, BlobKind
from tapir.store.database import STATE, Database
from tapir.store.errors import StoreFull, StoreOutOfStep
from tapir.store.fold import fold_records
from tapir.store.packing import pack_records, pack_version_delta, unpack_records, unpack_version_delta
from tapir.store.passed import put_passed, read_passed

_APPLICATION_ID: Final = 0x54505246  # "TPRF"
_SERIES: Final = 0
_SMALL: Final = 256 * 1024
_PART: Final = 1 << 16

_log = logging.getLogger(__name__)


@attrs.frozen(kw_only=True)
class FeedStanding:
    """How a feed stands, apart from its rules; times are microseconds since the epoch, timers seconds."""

    zone: str
    serial: int
    timers: tuple[int, int, int, int]
    """refresh, retry, expire and minimum, as the feed's SOA has them"""
    refreshed_at: int
    """when a primary last said that this is current, or gave it"""
    changed_at: int
    primary: str
    epoch: str
    """drawn anew with each whole transfer: a serial alone does not say which content"""
    digests: tuple[tuple[str, str], ...]
    """of each list that is fed, what names its content"""
    unevaluated: tuple[tuple[str, int], ...] = ()
    """how many records of each kind the feed has that POP does not evaluate"""
    refused: tuple[tuple[str, int], ...] = ()
    """how many of its rules no list may hold, by reason"""
    withdrawn: bool = False
    """it expired, and its lists hold nothing until a primary vouches for it again"""
    kept: bool = False
    """whether what POP does not evaluate was kept, too"""
    surplus: int = 0
    """how many records of that were too many to keep"""


@attrs.frozen(kw_only=True, eq=False)
class StoredFeed:
    """What the store holds: the rules in canonical order from block to block, and how the feed stands."""

    standing: FeedStanding
    parts: tuple[RecordBlock, ...]
    passed: tuple[bytes, ...] = ()
    """what POP does not evaluate, where that is kept"""


@attrs.frozen(kw_only=True)
class _State:
    """The row that says what the other rows must be."""

    standing: FeedStanding | None = None
    records: int = 0
    parts: int = 0
    base_octets: int = 0
    first: int = 1
    """the first log entry that the snapshot lacks"""
    last: int = 0
    log_octets: int = 0
    passed: int = 0
    """how many records there are that POP does not evaluate"""
    passed_parts: int = 0

    def pack(self) -> bytes:
        return json.dumps(attrs.asdict(self)).encode()

    @classmethod
    def unpack(cls, content: bytes) -> "_State":
        try:
            fields = json.loads(content)
            if (standing := fields["standing"]) is not None:
                standing["timers"] = tuple(standing["timers"])
                for key in ("digests", "unevaluated", "refused"):
                    standing[key] = tuple((str(name), value) for name, value in standing[key])
                fields["standing"] = FeedStanding(**standing)
            return cls(**fields)
        except (KeyError, TypeError, ValueError) as exc:
            raise BlobError(f"the state cannot be read: {exc!r}") from exc


class FeedStore:
    """The stored state of one feed. Synchronous, one call at a time, from any thread.

    Every method raises StoreFull when nothing can be written (and nothing was) and StoreCorrupt when what is stored
    cannot be trusted.
    """

    def __init__(self, database: Database) -> None:
        self._database = database

    @classmethod
    def open(cls, path: Path) -> "FeedStore":
        """The store at `path`, made when there is none; its folder must exist."""
        return cls(Database.open(path, application_id=_APPLICATION_ID, state=_State().pack()))

    @property
    def path(self) -> Path:
        """The database file."""
        return self._database.path

    def close(self) -> None:
        """Give the file back; closing twice is fine."""
        self._database.close()

    def load(self) -> StoredFeed | None:
        """What is stored; None when nothing was transferred yet."""
        with self._database.reading():
            state = _read_state(self._database)
            if state.standing is None:
                return None
            parts, passed = _read_content(self._database, state)
        return StoredFeed(standing=state.standing, parts=parts, passed=passed)

    def replace(self, standing: FeedStanding, parts: Sequence[RecordBlock], passed: Sequence[bytes] = ()) -> None:
        """The feed is exactly the rules in `parts`, in canonical order, and what is `passed`, from now on."""
        with self._database.writing():
            old = attrs.evolve(_read_state(self._database), standing=standing)
            _write_state(self._database, _put_base(self._database, parts, passed, old))

    def commit(self, base: int, standing: FeedStanding, delta: RecordDelta) -> None:
        """The feed is what it was at serial `base` with `delta` made. Raises StoreOutOfStep when that is not stored."""
        step = VersionDelta(from_serial=base, to_serial=standing.serial, at=standing.changed_at, delta=delta)
        packed = pack_version_delta(step)
        with self._database.writing():
            state = _read_state(self._database)
            if state.standing is None or state.standing.serial != base:
                raise StoreOutOfStep(path=self.path, reason=f"it does not hold serial {base} of the feed")
            number = state.last + 1
            octets = self._database.append(BlobKind.VERSION_DELTA, _SERIES, number, packed, mark=base)
            state = attrs.evolve(
                state,
                standing=standing,
                records=state.records + len(delta.added) - len(delta.removed),
                passed=state.passed + len(delta.passed.added) - len(delta.passed.removed),
                last=number,
                log_octets=state.log_octets + octets,
            )
            _write_state(self._database, state)
        if state.log_octets > max(state.base_octets, _SMALL):
            self._fold()

    def note(self, standing: FeedStanding) -> None:
        """The rules are as they were; how the feed stands is `standing`, with the serial that is stored."""
        with self._database.writing():
            state = _read_state(self._database)
            if state.standing is None or state.standing.serial != standing.serial:
                raise StoreOutOfStep(path=self.path, reason=f"it does not hold serial {standing.serial} of the feed")
            _write_state(self._database, attrs.evolve(state, standing=standing))

    def _fold(self) -> None:
        try:
            with self._database.writing():
                state = _read_state(self._database)
                parts, passed = _read_content(self._database, state)
                _write_state(self._database, _put_base(self._database, parts, passed, state))
        except StoreFull as exc:
            # The commit that led here is durable, and the log does what the snapshot would: the next one tries again.
            _log.warning("the snapshot of the feed could not be written anew, its log goes on growing: %s", exc)


def _put_base(database: Database, parts: Iterable[RecordBlock], passed: Sequence[bytes], old: _State) -> _State:
    """Store the snapshot anew, and forget the log."""
    for number in range(old.parts):
        database.drop(f"base/{number}")
    pieces = _split(parts)
    octets = sum(
        database.put(BlobKind.RECORDS, f"base/{number}", pack_records(piece)) for number, piece in enumerate(pieces)
    )
    passed_parts, more = put_passed(database, passed, before=old.passed_parts)
    database.drop_log(_SERIES)
    return _State(
        standing=old.standing,
        records=sum(len(piece) for piece in pieces),
        parts=len(pieces),
        base_octets=octets + more,
        first=old.last + 1,
        last=old.last,
        passed=len(passed),
        passed_parts=passed_parts,
    )


def _split(parts: Iterable[RecordBlock]) -> list[RecordBlock]:
    """The same records in pieces that are packed and sealed one after the other, none of them large."""
    pieces = []
    for records in parts:
        for start in range(0, len(records), _PART):
            actions = records.actions[start : start + _PART]
            offsets = records.names.offsets[4 * start : 4 * (start + len(actions) + 1)]
            pieces.append(RecordBlock(names=NameBlock(data=records.names.data, offsets=offsets), actions=actions))
    return pieces


def _read_content(database: Database, state: _State) -> tuple[tuple[RecordBlock, ...], tuple[bytes, ...]]:
    base = [unpack_records(database.get(BlobKind.RECORDS, f"base/{number}")) for number in range(state.parts)]
    entries = database.entries(BlobKind.VERSION_DELTA, _SERIES, first=state.first, last=state.last)
    steps = [unpack_version_delta(entry) for entry in entries]
    for before, after in itertools.pairwise(steps):
        if before.to_serial != after.from_serial:
            raise BlobError(f"{after!r} does not follow {before!r}")
    if steps and (state.standing is None or steps[-1].to_serial != state.standing.serial):
        raise BlobError(f"{steps[-1]!r} does not lead to the serial that is stored")
    parts = fold_records(base, [step.delta for step in steps])
    count = sum(len(part) for part in parts)
    if count != state.records:
        raise BlobError(f"the feed has {count} rules where {state.records} were stored")
    changes = [step.delta.passed for step in steps]
    return parts, read_passed(database, state.passed_parts, changes, wanted=state.passed)


def _read_state(database: Database) -> _State:
    return _State.unpack(database.get(BlobKind.STATE, STATE))


def _write_state(database: Database, state: _State) -> None:
    database.put(BlobKind.STATE, STATE, state.pack())
