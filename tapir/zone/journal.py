"""The way from earlier versions to the present one: the deltas of IXFR (RFC 1995), bounded and contiguous."""

from bisect import bisect_left
from collections.abc import Iterable, Iterator

import attrs

from tapir.model.blocks import RecordBlock, RecordDelta, VersionDelta
from tapir.zone.difference import compose
from tapir.zone.errors import ZoneError
from tapir.zone.serial import MODULUS, check_serial, is_newer
from tapir.zone.settings import ZoneSettings

_RECORD_OCTETS = 25  # about what a record needs beside its name
_STEP_OCTETS = 200


@attrs.frozen(eq=False, repr=False)
class Journal:
    """Steps, each from the serial that the one before it led to; all serials are in RFC 1982 order.

    So a serial is at most once in a journal and means one content. `octets` is about what the steps take in
    memory and on the wire.
    """

    steps: tuple[VersionDelta, ...] = ()
    octets: int = 0

    @classmethod
    def of(cls, steps: Iterable[VersionDelta]) -> "Journal":
        """The journal of stored `steps`, oldest first; raises ZoneError if they are not contiguous."""
        journal = cls()
        for step in steps:
            journal = journal.append(step)
        return journal

    def append(self, step: VersionDelta) -> "Journal":
        """This journal and then `step`.

        What would not stand in RFC 1982 order any more goes: steps from serials 2^31 or more back, and the
        whole journal with `step` itself when the operator set the serial back, since a serial that comes
        again means another content. Raises ZoneError for a step that does not begin where this journal ends.
        """
        check_serial(step.from_serial)
        check_serial(step.to_serial)
        if self.steps and step.from_serial != self.steps[-1].to_serial:
            raise ZoneError(f"a step from serial {step.from_serial} does not follow {self.steps[-1].to_serial}")
        if not is_newer(step.to_serial, than=step.from_serial):
            return Journal()
        steps = (*self.steps, step)
        kept = next(i for i, earlier in enumerate(steps) if is_newer(step.to_serial, than=earlier.from_serial))
        dropped = sum(map(octets_of, steps[:kept]))
        return Journal(steps[kept:], self.octets + octets_of(step) - dropped)

    def prune(self, settings: ZoneSettings, *, now: int) -> "Journal":
        """This journal within the limits of `settings`; the oldest steps go first."""
        oldest = now - settings.journal_max_age * 1_000_000
        octets = self.octets
        kept = max(0, len(self.steps) - settings.journal_max_deltas)
        octets -= sum(map(octets_of, self.steps[:kept]))
        for step in self.steps[kept:]:
            if octets <= settings.journal_max_octets and step.at >= oldest:
                break
            octets -= octets_of(step)
            kept += 1
        return Journal(self.steps[kept:], octets) if kept else self

    @property
    def from_serial(self) -> int | None:
        """The oldest serial that a difference can start from; None for none."""
        return self.steps[0].from_serial if self.steps else None

    @property
    def to_serial(self) -> int | None:
        """The serial that the steps lead to; None when there are none."""
        return self.steps[-1].to_serial if self.steps else None

    def reaches(self, serial: int) -> bool:
        """Whether a difference can start from `serial`, which is not the present one."""
        return self._index(serial) is not None

    def since(self, from_serial: int) -> tuple[VersionDelta, ...] | None:
        """The steps from `from_serial` on; None if the journal does not reach back to it."""
        index = self._index(from_serial)
        return None if index is None else self.steps[index:]

    def net(self, from_serial: int) -> RecordDelta | None:
        """The net difference from `from_serial` to the present; None if the journal does not reach back to it.

        What was added and removed again in between is not in it. Empty for the present serial.
        """
        if self.steps and from_serial == self.to_serial:
            return RecordDelta()
        steps = self.since(from_serial)
        return None if steps is None else compose(step.delta for step in steps)

    def __len__(self) -> int:
        return len(self.steps)

    def __iter__(self) -> Iterator[VersionDelta]:
        return iter(self.steps)

    def __repr__(self) -> str:
        return f"<Journal {self.from_serial}→{self.to_serial}, {len(self)} steps, {self.octets} octets>"

    def _index(self, serial: int) -> int | None:
        if not self.steps:
            return None
        base = self.steps[0].from_serial
        distance = (serial - base) % MODULUS
        index = bisect_left(self.steps, distance, key=lambda step: (step.from_serial - base) % MODULUS)
        return index if index < len(self.steps) and self.steps[index].from_serial == serial else None


def octets_of(step: VersionDelta) -> int:
    """About what one step takes, in memory and on the wire."""
    passed = step.delta.passed
    return (
        _STEP_OCTETS
        + _octets_of_records(step.delta.removed)
        + _octets_of_records(step.delta.added)
        + sum([len(record) + _RECORD_OCTETS for part in (passed.removed, passed.added) for record in part])
    )


def _octets_of_records(records: RecordBlock) -> int:
    offsets = memoryview(records.names.offsets).cast("I")
    return offsets[-1] - offsets[0] + _RECORD_OCTETS * len(records)
