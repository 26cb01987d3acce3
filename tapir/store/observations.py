"""What an observation source remembers: which names are on its list until when, and what it must not take again.

There is one snapshot and a log of the steps since, never a row a name. A step is small, since a source that is told
something new must make it durable before it acknowledges; so steps are put together, so many at a time, and when the
log outweighs the snapshot it is folded into a new one. What was stored is one of these, in this order:

    snapshot ─▶ groups of steps ─▶ steps

Content has a digest, `<epoch>:<sequence>`: the epoch is drawn when a store is begun, and the sequence is that of the
step that last changed the list. So one digest never names two contents, not even after a crash.
"""

import json
import os
from collections.abc import Sequence
from pathlib import Path
from typing import Final

import attrs

from tapir.model.observed import RememberedBlock, RememberedStep
from tapir.store.blobs import BlobError, BlobKind
from tapir.store.database import STATE, Database
from tapir.store.observed_packing import coalesced, pack_steps, unpack_steps

GROUP: Final = 256
"""So many steps are put together."""

_APPLICATION_ID: Final = 0x5450524D  # "TPRM"
_STEPS: Final = 0
_GROUPS: Final = 1
_SNAPSHOTS: Final = 2
_SMALL: Final = 1 << 20


@attrs.frozen(kw_only=True)
class _State:
    """The item that says what the logs must be; without `snapshot` there is none yet."""

    epoch: str
    sequence: int = 0
    list_sequence: int = 0
    """the step that last changed the list"""
    snapshot: int = 0
    first_step: int = 1
    first_group: int = 1
    last_group: int = 0
    base_octets: int = 0
    log_octets: int = 0

    def pack(self) -> bytes:
        return json.dumps(attrs.asdict(self)).encode()

    @classmethod
    def unpack(cls, content: bytes) -> "_State":
        try:
            return cls(**json.loads(content))
        except (TypeError, ValueError) as exc:
            raise BlobError(f"the state cannot be read: {exc!r}") from exc

    @property
    def digest(self) -> str:
        return f"{self.epoch}:{self.list_sequence}"


class ObservationStore:
    """The stored memory of one source. Synchronous, one call at a time, from any thread; one writer.

    Every method raises StoreFull when nothing can be written (and nothing was) and StoreCorrupt when what is stored
    cannot be trusted.
    """

    def __init__(self, database: Database) -> None:
        self._database = database
        with database.reading():
            self._state = _State.unpack(database.get(BlobKind.STATE, STATE))
            self._recent = list(self._steps_since_group())

    @classmethod
    def open(cls, path: Path) -> "ObservationStore":
        """The store at `path`, made when there is none; its folder must exist."""
        state = _State(epoch=os.urandom(8).hex())
        database = Database.open(path, application_id=_APPLICATION_ID, state=state.pack())
        try:
            return cls(database)
        except BaseException:
            database.close()
            raise

    def close(self) -> None:
        """Give the file back; closing twice is fine."""
        self._database.close()

    @property
    def digest(self) -> str:
        """Names the list as it is stored."""
        return self._state.digest

    @property
    def outweighed(self) -> bool:
        """Whether the log outweighs the snapshot, so that it is time for a new one."""
        return self._state.log_octets > max(self._state.base_octets, _SMALL)

    def load(self) -> tuple[RememberedStep, ...]:
        """All that is stored, in order."""
        state = self._state
        with self._database.reading():
            steps: list[RememberedStep] = []
            if state.snapshot:
                steps += self._read(BlobKind.REMEMBERED, _SNAPSHOTS, state.snapshot, state.snapshot)
            steps += self._read(BlobKind.REMEMBERED_STEPS, _GROUPS, state.first_group, state.last_group)
        return (*steps, *coalesced(self._recent))

    def append(self, steps: Sequence[RememberedStep], *, changes_list: bool) -> None:
        """`steps` are durable when this returns; the list has another digest then when they change it."""
        state = self._state
        number = state.sequence + 1
        recent = [*self._recent, *steps]
        with self._database.writing():
            octets = self._database.append(BlobKind.REMEMBERED_STEPS, _STEPS, number, pack_steps(steps))
            state = attrs.evolve(
                state,
                sequence=number,
                list_sequence=number if changes_list else state.list_sequence,
                log_octets=state.log_octets + octets,
            )
            if len(recent) >= GROUP:
                state = self._put_together(state, recent)
                recent = []
            self._write(state)
        self._state, self._recent = state, recent

    def replace(self, entries: RememberedBlock, digests: bytes, *, changes_list: bool = False) -> None:
        """Exactly this is stored from now on, in place of all steps: the same, unless it `changes_list`."""
        state = self._state
        with self._database.writing():
            octets = self._database.append(
                BlobKind.REMEMBERED,
                _SNAPSHOTS,
                state.snapshot + 1,
                pack_steps([RememberedStep(entries=entries, digests=digests)]),
            )
            self._database.trim(_SNAPSHOTS, below=state.snapshot + 1)
            self._database.drop_log(_GROUPS)
            self._database.drop_log(_STEPS)
            sequence = state.sequence + changes_list
            state = attrs.evolve(
                state,
                sequence=sequence,
                list_sequence=sequence if changes_list else state.list_sequence,
                snapshot=state.snapshot + 1,
                first_step=sequence + 1,
                first_group=state.last_group + 1,
                base_octets=octets,
                log_octets=0,
            )
            self._write(state)
        self._state, self._recent = state, []

    def _put_together(self, state: _State, steps: Sequence[RememberedStep]) -> _State:
        group = state.last_group + 1
        self._database.append(BlobKind.REMEMBERED_STEPS, _GROUPS, group, pack_steps(coalesced(steps)))
        self._database.drop_log(_STEPS)
        return attrs.evolve(state, last_group=group, first_step=state.sequence + 1)

    def _steps_since_group(self) -> list[RememberedStep]:
        return self._read(BlobKind.REMEMBERED_STEPS, _STEPS, self._state.first_step, self._state.sequence)

    def _read(self, kind: BlobKind, series: int, first: int, last: int) -> list[RememberedStep]:
        entries = self._database.entries(kind, series, first=first, last=last)
        return [step for entry in entries for step in unpack_steps(entry)]

    def _write(self, state: _State) -> None:
        self._database.put(BlobKind.STATE, STATE, state.pack())
