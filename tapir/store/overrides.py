"""The operator's own lists: which name is on which, by whom, when, why, and until when.

There is one snapshot and a log of the changes since, as for every list; a change costs its own size, and when the log
outweighs the snapshot it is folded into it.
"""

import json
from collections.abc import Iterable
from pathlib import Path
from typing import Any, Final

import attrs

from tapir.model.actions import ListKind
from tapir.model.messages.local import Override
from tapir.store.blobs import BlobError, BlobKind
from tapir.store.database import STATE, Database

_APPLICATION_ID: Final = 0x5450524F  # "TPRO"
_SERIES: Final = 0
_BASE: Final = "base"
_SMALL: Final = 64 * 1024


@attrs.frozen(kw_only=True)
class _State:
    """The item that says what the snapshot and the log must be; without `based` there is no snapshot yet."""

    based: bool = False
    first: int = 1
    last: int = 0
    base_octets: int = 0
    log_octets: int = 0

    def pack(self) -> bytes:
        return json.dumps(attrs.asdict(self)).encode()


class OverrideStore:
    """The stored overrides. Synchronous, one call at a time, from any thread.

    Every method raises StoreFull when nothing can be written (and nothing was) and StoreCorrupt when what is stored
    cannot be trusted.
    """

    def __init__(self, database: Database) -> None:
        self._database = database

    @classmethod
    def open(cls, path: Path) -> "OverrideStore":
        """The store at `path`, made when there is none; its folder must exist."""
        return cls(Database.open(path, application_id=_APPLICATION_ID, state=_State().pack()))

    @classmethod
    def open_reading(cls, path: Path) -> "OverrideStore":
        """The store at `path`, which is there, to be loaded only; see Database.open_reading."""
        return cls(Database.open_reading(path, application_id=_APPLICATION_ID))

    def close(self) -> None:
        """Give the file back; closing twice is fine."""
        self._database.close()

    def load(self) -> tuple[Override, ...]:
        """All that is stored, also what has ended since."""
        with self._database.reading():
            state = _read_state(self._database)
            return tuple(_read(self._database, state).values())

    def change(self, *, upserted: Iterable[Override], removed: Iterable[str]) -> None:
        """`removed` (entries) are no more, and then `upserted` are as they are; all of it, or nothing."""
        content = json.dumps({"set": [_pack(override) for override in upserted], "drop": list(removed)}).encode()
        with self._database.writing():
            state = _read_state(self._database)
            number = state.last + 1
            octets = self._database.append(BlobKind.OVERRIDE_CHANGE, _SERIES, number, content)
            state = attrs.evolve(state, last=number, log_octets=state.log_octets + octets)
            if state.log_octets > max(state.base_octets, _SMALL):
                self._write_base(state, _read(self._database, state).values())
            else:
                _write_state(self._database, state)

    def replace(self, overrides: Iterable[Override]) -> None:
        """Exactly `overrides` are stored from now on."""
        with self._database.writing():
            self._write_base(_read_state(self._database), overrides)

    def _write_base(self, state: _State, overrides: Iterable[Override]) -> None:
        content = json.dumps([_pack(override) for override in overrides]).encode()
        octets = self._database.put(BlobKind.OVERRIDES, _BASE, content)
        self._database.drop_log(_SERIES)
        state = _State(based=True, first=state.last + 1, last=state.last, base_octets=octets)
        _write_state(self._database, state)


def _read(database: Database, state: _State) -> dict[str, Override]:
    found: dict[str, Override] = {}
    try:
        if state.based:
            for fields in json.loads(database.get(BlobKind.OVERRIDES, _BASE)):
                _put(found, fields)
        for entry in database.entries(BlobKind.OVERRIDE_CHANGE, _SERIES, first=state.first, last=state.last):
            change = json.loads(entry)
            for name in change["drop"]:
                found.pop(name, None)
            for fields in change["set"]:
                _put(found, fields)
    except (KeyError, TypeError, ValueError) as exc:
        raise BlobError(f"an override cannot be read: {exc!r}") from exc
    return found


def _put(found: dict[str, Override], fields: dict[str, Any]) -> None:
    override = Override(**{**fields, "kind": ListKind(fields["kind"])})
    found[override.entry] = override


def _pack(override: Override) -> dict[str, Any]:
    return {**attrs.asdict(override), "kind": override.kind.value}


def _read_state(database: Database) -> _State:
    try:
        return _State(**json.loads(database.get(BlobKind.STATE, STATE)))
    except (TypeError, ValueError) as exc:
        if isinstance(exc, BlobError):
            raise
        raise BlobError(f"the state cannot be read: {exc!r}") from exc


def _write_state(database: Database, state: _State) -> None:
    database.put(BlobKind.STATE, STATE, state.pack())
