"""Names and records to store, and an oracle that needs no database."""

from collections.abc import Callable

import pytest

from tapir.model.actions import Action
from tapir.model.blocks import NameBlock, RecordBlock, RecordDelta, VersionDelta
from tapir.model.names import Name, parse_name

Records = dict[Name, Action]


class Oracle:
    """A zone as a plain dict per serial; edit n is the same in every process that asks for it."""

    def records(self, serial: int) -> Records:
        """What the zone holds at `serial`, when it began at serial 1 with nothing in it."""
        records: Records = {}
        for step in range(1, serial):
            removed, added = self._edit(step, records)
            for name in removed:
                del records[name]
            records.update(added)
        return records

    def delta(self, serial: int) -> VersionDelta:
        """The step from `serial` to the next."""
        before = self.records(serial)
        removed, added = self._edit(serial, before)
        return VersionDelta(
            from_serial=serial,
            to_serial=serial + 1,
            at=serial * 1_000_000,
            delta=RecordDelta(removed=RecordBlock.of(removed.items()), added=RecordBlock.of(added.items())),
        )

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


@pytest.fixture
def names() -> Callable[..., NameBlock]:
    """`names("a.example", ...)` is a block of them."""
    return lambda *texts: NameBlock.of(parse_name(text) for text in texts)
