"""What the journal knows of the zone's past: of its versions, of the way between two, and of single records; pure.

All of it reads frozen values, so it may be done in a worker while the author goes on. A journal can hold a million
records: they are searched as octets and compared as columns, never made into an object each where that can be helped.
"""

from collections.abc import Iterable
from typing import Final

import numpy as np

from tapir.model.actions import Action
from tapir.model.blocks import RecordBlock, RecordDelta, VersionDelta
from tapir.model.errors import TapirError
from tapir.model.messages.zone import RecordHistory, RecordStep, ZoneDifference
from tapir.model.names import ROOT, Name
from tapir.zone.difference import changes_of, compose, invert
from tapir.zone.journal import Journal
from tapir.zone.view import ZoneView

MAX_NAMES: Final = 64
MAX_STEPS: Final = 4
"""of one record; who wants to know more reads the history of the versions"""
_WINDOW: Final = 1 << 20  # octets searched at once: about a millisecond in which nothing else runs


class OutOfReachError(TapirError):
    """The journal does not reach back to a serial."""

    def __init__(self, serial: int, journal: Journal, present: int) -> None:
        reach = f"back to serial {journal.from_serial}" if len(journal) else f"no further than serial {present}"
        super().__init__(f"serial {serial} is not known: the journal reaches {reach}")


def net_between(view: ZoneView, from_serial: int, to_serial: int) -> RecordDelta:
    """The net difference that leads from one version to the other, whichever is older. Raises OutOfReachError."""
    journal = view.journal
    places = [_place(journal, view.serial, serial) for serial in (from_serial, to_serial)]
    older, newer = sorted(places)
    net = compose(step.delta for step in journal.steps[older:newer])
    return net if places[0] <= places[1] else invert(net)


def _place(journal: Journal, present: int, serial: int) -> int:
    """How many steps of the journal lead to `serial`."""
    if serial == present:
        return len(journal)
    steps = journal.since(serial)
    if steps is None:
        raise OutOfReachError(serial, journal, present)
    return len(journal) - len(steps)


def find_difference(view: ZoneView, from_serial: int, to_serial: int) -> ZoneDifference:
    """The same as `net_between`, a row a name. Raises OutOfReachError."""
    net = net_between(view, from_serial, to_serial)
    changes = changes_of(net)
    return ZoneDifference(
        from_serial=from_serial,
        to_serial=to_serial,
        removed=net.lost,
        added=net.gained,
        names=changes.names,
        before=changes.before,
        after=changes.after,
        passed=net.passed,
    )


def find_records(view: ZoneView, names: Iterable[Name], shown: ZoneView | None = None) -> RecordHistory:
    """Which versions changed the records of `names`, and which of them are in what is `shown` (default: `view`)."""
    wanted = dict.fromkeys(name for name in names if name != ROOT)
    shown = shown or view
    found: dict[Name, list[RecordStep]] = {name: [] for name in wanted}
    for step in reversed(view.journal.steps):
        open_names = [name for name, steps in found.items() if len(steps) < MAX_STEPS]
        if not open_names:
            break
        for name in open_names:
            record = _record_step(step, name)
            if record is not None:
                found[name].append(record)
    present = ((name, shown.version.get(name)) for name in wanted)
    return RecordHistory(
        serial=shown.serial,
        journal_from=view.journal.from_serial,
        journal_from_at=view.journal.steps[0].at if len(view.journal) else None,
        steps=tuple((name, tuple(steps)) for name, steps in found.items()),
        present=tuple((name, action) for name, action in present if action),
    )


def _record_step(step: VersionDelta, name: Name) -> RecordStep | None:
    before = _action_in(step.delta.removed, name)
    after = _action_in(step.delta.added, name)
    if not before and not after:
        return None
    return RecordStep(serial=step.to_serial, at=step.at, before=before, after=after)


def _action_in(records: RecordBlock, name: Name) -> Action:
    """The action of `name` in `records`; NONE when it is not there."""
    data = records.names.data
    size = len(name)
    for start in range(0, len(data), _WINDOW):
        place = start - 1
        end = min(len(data), start + _WINDOW + size - 1)
        while (place := data.find(name, place + 1, end)) >= 0:
            # What looks like the name may be the end of another one: `example.` is in `an.example.`.
            offsets = np.frombuffer(records.names.offsets, dtype=np.uint32)
            index = int(np.searchsorted(offsets, place))
            if index < len(records) and offsets[index] == place and offsets[index + 1] - place == size:
                return Action(records.actions[index])
    return Action.NONE
