"""One zone's stored versions: a base, the deltas since, and the deltas before it that the journal still wants.

    log   . . . 5→6  6→7  7→8 | 8→9  9→10
                ▲              ▲         ▲
              journal        base      head

A commit appends one delta, whatever the size of the zone. When the deltas behind the base outweigh it, `tidy`
moves the base up to the head; deltas before the base stay as long as `prune` has not given them up. Every step is one
transaction (WAL, synchronous=FULL): after a crash the store holds all of it or nothing.
"""

import json
import logging
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Final

import attrs

from tapir.codec.columns import joined_records
from tapir.model.blocks import NameBlock, RecordBlock, VersionDelta
from tapir.store.blobs import BlobError, BlobKind
from tapir.store.database import STATE, Database
from tapir.store.errors import StoreFull, StoreOutOfStep
from tapir.store.fold import fold_records
from tapir.store.packing import pack_records, pack_version_delta, unpack_records, unpack_version_delta
from tapir.store.passed import put_passed, read_passed

_APPLICATION_ID: Final = 0x5450525A  # "TPRZ"
_SERIES: Final = 0
_MAX_SERIAL: Final = 2**32 - 1
# Below this, moving the base costs more than the few deltas that it saves at the next start.
_SMALL: Final = 256 * 1024
# records: about 400 KB, so that who reads or writes one holds the interpreter for a moment only
_PART: Final = 1 << 14

_log = logging.getLogger(__name__)


@attrs.frozen(kw_only=True, eq=False)
class StoredZone:
    """What the store holds of a zone: its content at `serial`, and the deltas that lead there."""

    serial: int
    parts: tuple[RecordBlock, ...]
    """the records, in canonical order from block to block"""
    deltas: tuple[VersionDelta, ...]
    """without a gap, the last one leads to `serial`; empty when the journal is"""
    committed_at: int
    held: bool
    extra: Mapping[str, str]
    steering: str = ""
    """what the authority remembers of the operator's wishes, in its own words"""
    passed: tuple[bytes, ...] = ()
    """the records that are passed through, in any order"""

    @property
    def records(self) -> RecordBlock:
        """All records in one block; a copy of them."""
        return joined_records(self.parts)


@attrs.frozen(kw_only=True)
class _State:
    """The row that says what the other rows must be; a row that is missing or too many shows against it."""

    serial: int | None = None
    at: int = 0
    records: int = 0
    held: bool = False
    extra: tuple[tuple[str, str], ...] = ()
    base_number: int = 0
    """the log entry that the base already contains"""
    base_octets: int = 0
    journal: int = 1
    """the first log entry that belongs to the journal"""
    head: int = 0
    """the last log entry"""
    pending_octets: int = 0
    """what the entries behind the base take"""
    steering: str = ""
    parts: int = 0
    """how many items the base is in; 0 for one under the name that it had when there was always one"""
    passed: int = 0
    """how many records are passed through"""
    passed_parts: int = 0
    """in how many items those of the base are"""

    def pack(self) -> bytes:
        fields = attrs.asdict(self)
        for key in ("passed", "passed_parts"):
            if not fields[key]:
                del fields[key]  # so that an earlier version can read what it could have written
        return json.dumps(fields).encode()

    @classmethod
    def unpack(cls, content: bytes) -> "_State":
        fields = json.loads(content)
        fields["extra"] = tuple((key, value) for key, value in fields["extra"])
        return cls(**fields)

    @property
    def first(self) -> int:
        """The first log entry that is still needed."""
        return min(self.journal, self.base_number + 1)


class ZoneStore:
    """The stored versions of one zone. Synchronous, one call at a time, from any thread.

    Every method raises StoreFull when nothing can be written (and nothing was) and StoreCorrupt when what
    is stored cannot be trusted.
    """

    def __init__(self, database: Database) -> None:
        self._database = database

    @classmethod
    def open(cls, path: Path) -> "ZoneStore":
        """The store at `path`, made when there is none; its folder must exist."""
        database = Database.open(path, application_id=_APPLICATION_ID, state=_State().pack())
        try:
            with database.reading():
                _read_state(database)
        except BaseException:
            database.close()
            raise
        return cls(database)

    @classmethod
    def open_reading(cls, path: Path) -> "ZoneStore":
        """The store at `path`, which is there, to be looked into only; see Database.open_reading."""
        return cls(Database.open_reading(path, application_id=_APPLICATION_ID))

    @property
    def path(self) -> Path:
        """The database file."""
        return self._database.path

    def close(self) -> None:
        """Give the file back; closing twice is fine."""
        self._database.close()

    def held(self) -> bool:
        """Whether the operator holds the zone; known before there is a first version, too."""
        with self._database.reading():
            return _read_state(self._database).held

    def steering(self) -> str:
        """What `set_held` and its like last remembered, in the authority's words; empty at first."""
        with self._database.reading():
            return _read_state(self._database).steering

    def load(self) -> StoredZone | None:
        """What is stored, None when no version was committed yet."""
        with self._database.reading():
            state = _read_state(self._database)
            if state.serial is None:
                return None
            parts, passed, deltas = _read_versions(self._database, state)
        return StoredZone(
            serial=state.serial,
            parts=parts,
            deltas=tuple(deltas[state.journal - state.first :]),
            committed_at=state.at,
            held=state.held,
            extra=dict(state.extra),
            steering=state.steering,
            passed=passed,
        )

    def commit(
        self,
        delta: VersionDelta,
        *,
        extra: Mapping[str, str] | None = None,
        held: bool | None = None,
        steering: str | None = None,
    ) -> None:
        """The zone is at `delta.to_serial` when this returns, whatever happens then.

        Takes time in the size of the delta. `extra`, `held` and `steering` replace what is stored when given. Raises
        StoreOutOfStep when `delta` does not start at the stored serial.
        """
        packed = pack_version_delta(delta)
        with self._database.writing():
            state = _read_state(self._database)
            if state.serial != delta.from_serial:
                raise StoreOutOfStep(path=self.path, reason=f"it is at serial {state.serial}, not at {delta!r}'s")
            state = _append(self._database, state, delta, packed)
            if extra is not None:
                state = attrs.evolve(state, extra=tuple(extra.items()))
            _write_state(self._database, _steered(state, held, steering))

    def tidy(self) -> None:
        """Move the base up to the head if the deltas behind it outweigh it: to be called when nobody waits.

        Takes time in the size of the zone then, and otherwise none.
        """
        with self._database.reading():
            state = _read_state(self._database)
        if state.pending_octets > max(state.base_octets, _SMALL):
            self._move_base()

    def reset(
        self,
        serial: int,
        records: RecordBlock,
        at: int,
        *,
        passed: Sequence[bytes] = (),
        deltas: Iterable[VersionDelta] = (),
        extra: Mapping[str, str] | None = None,
        held: bool | None = None,
        steering: str | None = None,
    ) -> None:
        """The zone is `records` and what is `passed` through at `serial`; `deltas`, without a gap, are its journal.

        For the first version, a serial that the operator sets, and after a failure of the store. `held` and
        `steering` stay as they are when not given.
        """
        if not 0 <= serial <= _MAX_SERIAL:
            raise ValueError(f"{serial} is not a serial")
        chain = tuple(deltas)
        _check_chain(chain, serial)
        packed_chain = [pack_version_delta(delta) for delta in chain]
        with self._database.writing():
            old = _read_state(self._database)
            self._database.drop_log(_SERIES)
            parts = _split(records)
            octets = _put_base(self._database, parts, old)
            passed_parts, more = put_passed(self._database, passed, before=old.passed_parts)
            for number, (delta, entry) in enumerate(zip(chain, packed_chain, strict=True), 1):
                self._database.append(BlobKind.VERSION_DELTA, _SERIES, number, entry, mark=delta.from_serial)
            state = _State(
                serial=serial,
                at=at,
                records=len(records),
                held=old.held,
                steering=old.steering,
                extra=old.extra if extra is None else tuple(extra.items()),
                base_number=len(chain),
                base_octets=octets + more,
                head=len(chain),
                parts=len(parts),
                passed=len(passed),
                passed_parts=passed_parts,
            )
            _write_state(self._database, _steered(state, held, steering))

    def prune(self, oldest_serial_to_keep: int) -> int:
        """Give up the deltas that lead to `oldest_serial_to_keep`, and those before; returns how many.

        A serial from which no stored delta starts changes nothing, except the current one: that empties
        the journal.
        """
        with self._database.writing():
            state = _read_state(self._database)
            journal = _find_start(self._database, state, oldest_serial_to_keep)
            if journal is None:
                return 0
            pruned = attrs.evolve(state, journal=journal)
            self._database.trim(_SERIES, below=pruned.first)
            _write_state(self._database, pruned)
        return journal - state.journal

    def set_held(self, held: bool, *, steering: str | None = None) -> None:
        """Remember whether the operator holds the zone, and `steering` when given."""
        with self._database.writing():
            _write_state(self._database, _steered(_read_state(self._database), held, steering))

    def _move_base(self) -> None:
        """Put the deltas behind the base into it."""
        try:
            with self._database.writing():
                state = _read_state(self._database)
                folded, passed, _ = _read_versions(self._database, state)
                parts = _regrouped(folded)
                octets = _put_base(self._database, parts, state)
                passed_parts, more = put_passed(self._database, passed, before=state.passed_parts)
                state = attrs.evolve(
                    state,
                    base_number=state.head,
                    base_octets=octets + more,
                    pending_octets=0,
                    parts=len(parts),
                    passed_parts=passed_parts,
                )
                self._database.trim(_SERIES, below=state.first)
                _write_state(self._database, state)
        except StoreFull as exc:
            # The commit that led here is durable, and the deltas do what the base would: the next commit tries again.
            _log.warning("the base of the zone could not be moved up, its deltas go on growing: %s", exc)


def _steered(state: _State, held: bool | None, steering: str | None) -> _State:
    return attrs.evolve(
        state,
        held=state.held if held is None else held,
        steering=state.steering if steering is None else steering,
    )


def _append(database: Database, state: _State, delta: VersionDelta, packed: bytes) -> _State:
    number = state.head + 1
    octets = database.append(BlobKind.VERSION_DELTA, _SERIES, number, packed, mark=delta.from_serial)
    return attrs.evolve(
        state,
        serial=delta.to_serial,
        at=delta.at,
        records=state.records + len(delta.delta.added) - len(delta.delta.removed),
        passed=state.passed + len(delta.delta.passed.added) - len(delta.delta.passed.removed),
        head=number,
        pending_octets=state.pending_octets + octets,
    )


def _find_start(database: Database, state: _State, serial: int) -> int | None:
    """The log entry with which a journal from `serial` begins, None when the journal does not reach back to it."""
    if serial == state.serial:
        return state.head + 1
    number = database.find(_SERIES, serial)
    if number is None or number < state.journal:
        return None
    (entry,) = database.entries(BlobKind.VERSION_DELTA, _SERIES, first=number, last=number)
    if unpack_version_delta(entry).from_serial != serial:
        raise BlobError("an entry of the log has a wrong mark")
    return number


def _split(records: RecordBlock) -> list[RecordBlock]:
    """`records` in parts that are packed and unpacked one after the other; at least one."""
    parts = []
    for start in range(0, max(1, len(records)), _PART):
        actions = records.actions[start : start + _PART]
        offsets = records.names.offsets[4 * start : 4 * (start + len(actions) + 1)]
        parts.append(RecordBlock(names=NameBlock(data=records.names.data, offsets=offsets), actions=actions))
    return parts


def _regrouped(parts: Iterable[RecordBlock]) -> list[RecordBlock]:
    """The same records in parts that are neither large nor, but for the last, small; at least one."""
    regrouped: list[RecordBlock] = []
    small: list[RecordBlock] = []
    for part in parts:
        small.append(part)
        if sum([len(each) for each in small]) >= _PART // 2:
            regrouped += _split(joined_records(small))
            small = []
    if small or not regrouped:
        regrouped += _split(joined_records(small))
    return regrouped


def _base_keys(state: _State) -> list[str]:
    return [f"base/{number}" for number in range(state.parts)] if state.parts else ["base"]


def _put_base(database: Database, parts: Sequence[RecordBlock], old: _State) -> int:
    """Store the base anew; returns how many octets it takes."""
    for key in _base_keys(old):
        database.drop(key)
    return sum(
        database.put(BlobKind.RECORDS, f"base/{number}", pack_records(part)) for number, part in enumerate(parts)
    )


def _read_versions(
    database: Database, state: _State
) -> tuple[tuple[RecordBlock, ...], tuple[bytes, ...], list[VersionDelta]]:
    """The content at the head, rules and what is passed through, and all stored deltas."""
    base = [unpack_records(database.get(BlobKind.RECORDS, key)) for key in _base_keys(state)]
    entries = database.entries(BlobKind.VERSION_DELTA, _SERIES, first=state.first, last=state.head)
    deltas = [unpack_version_delta(entry) for entry in entries]
    try:
        _check_chain(deltas, state.serial)
    except ValueError as exc:
        raise BlobError(str(exc)) from exc
    behind = deltas[state.base_number + 1 - state.first :]
    parts = fold_records(base, [delta.delta for delta in behind])
    count = sum([len(part) for part in parts])
    if count != state.records:
        raise BlobError(f"the zone has {count} records where {state.records} were stored")
    changes = [delta.delta.passed for delta in behind]
    return parts, read_passed(database, state.passed_parts, changes, wanted=state.passed), deltas


def _check_chain(deltas: Iterable[VersionDelta], serial: int | None) -> None:
    previous: int | None = None
    for delta in deltas:
        if previous is not None and delta.from_serial != previous:
            raise ValueError(f"{delta!r} does not follow serial {previous}")
        previous = delta.to_serial
    if previous is not None and previous != serial:
        raise ValueError(f"the deltas lead to serial {previous}, not to {serial}")


def _read_state(database: Database) -> _State:
    return _State.unpack(database.get(BlobKind.STATE, STATE))


def _write_state(database: Database, state: _State) -> None:
    database.put(BlobKind.STATE, STATE, state.pack())
