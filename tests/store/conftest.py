"""Names and records to store, and an oracle that needs no database."""

import itertools
from collections.abc import Iterator

import pytest

from tapir.codec.passed import between, make
from tapir.model.actions import Action
from tapir.model.blocks import RecordBlock, RecordDelta, VersionDelta
from tapir.model.names import Name, parse_name

Records = dict[Name, Action]


class Oracle:
    """A zone as a plain dict; edit n is the same in every process that asks for it."""

    def versions(self) -> Iterator[tuple[VersionDelta, Records]]:
        """Every step from serial 1, where the zone is empty, with what it leads to."""
        records: Records = {}
        for serial in itertools.count(1):
            removed, added = self._edit(serial, records)
            records = {name: action for name, action in records.items() if name not in removed} | added
            delta = RecordDelta(
                removed=RecordBlock.of(removed.items()),
                added=RecordBlock.of(added.items()),
                passed=between(self.passed(serial), self.passed(serial + 1)),
            )
            yield VersionDelta(from_serial=serial, to_serial=serial + 1, at=serial * 1_000_000, delta=delta), records

    def records(self, serial: int) -> Records:
        """What the zone holds at `serial`."""
        return next(itertools.islice(self.versions(), serial - 2, None))[1] if serial > 1 else {}

    def passed(self, serial: int) -> tuple[bytes, ...]:
        """What is passed through at `serial`: nothing at first, and now and then."""
        names = [parse_name(f"p{number}.example") for number in range((serial - 1) % 7)]
        return tuple(make(name, 16, serial % 3, bytes((20,)) + b"t" * 20) for name in names)

    def delta(self, serial: int) -> VersionDelta:
        """The step from `serial` to the next."""
        return next(itertools.islice(self.versions(), serial - 1, None))[0]

    def _edit(self, step: int, records: Records) -> tuple[Records, Records]:
        """Some names come, every third step some go, every fifth some change their action."""
        present = list(records)
        removed: Records = {}
        if step % 3 == 0:
            removed |= {name: records[name] for name in present[:: 7 + step % 4]}
        added = {parse_name(f"n{step}-{index}.example"): Action.NXDOMAIN for index in range(1 + step % 5)}
        if step % 5 == 0:
            changed = [name for name in present[1::9] if name not in removed]
            removed |= {name: records[name] for name in changed}
            added |= {name: Action.DROP if records[name] != Action.DROP else Action.NODATA for name in changed}
        return removed, added


@pytest.fixture
def oracle() -> Oracle:
    """The zone that every test of the zone store edits."""
    return Oracle()
