"""How a zone stands and how it came to that, as those outside of this group see it; pure."""

from bisect import bisect_left
from collections.abc import Sequence

from tapir.model.blocks import VersionDelta
from tapir.model.messages.zone import ZoneHistory, ZoneStatus, ZoneStep
from tapir.model.names import format_name
from tapir.services.authority.draft import ChangeSize
from tapir.services.authority.steering import Note, Steering
from tapir.zone.serial import is_newer
from tapir.zone.settings import ZoneSettings
from tapir.zone.view import ZoneView


def zone_status(
    settings: ZoneSettings,
    view: ZoneView | None,
    *,
    steering: Steering,
    published_at: int | None,
    held_change: ChangeSize | None,
    braked: bool,
    store_error: str,
) -> ZoneStatus:
    """The zone of `settings`, of which `view` is published (None: nothing yet), and what is held back from it."""
    if store_error:
        state = "unsaved"
    elif steering.pause is not None:
        state = "paused"
    elif steering.held:
        state = "held"
    elif braked:
        state = "braked"
    else:
        state = "serving" if view is not None else "empty"
    return ZoneStatus(
        zone=format_name(settings.apex),
        serial=view.serial if view is not None else None,
        records=len(view.version) if view is not None else 0,
        published_at=published_at,
        journal_from=view.journal.from_serial if view is not None else None,
        journal_deltas=len(view.journal) if view is not None else 0,
        journal_octets=view.journal.octets if view is not None else 0,
        state=state,
        held_change=(held_change.removed, held_change.added) if held_change is not None else None,
        store_error=store_error,
        reason=steering.reason,
        paused_until=steering.pause.until if steering.pause is not None else None,
    )


def zone_history(settings: ZoneSettings, view: ZoneView | None, steering: Steering, *, count: int) -> ZoneHistory:
    """The newest `count` versions: the steps of `view`'s journal, with what is noted of them.

    Versions that no difference leads to (the first one, a pause, a serial that was set back) are there by their note.
    """
    journal = view.journal.steps if view is not None else ()
    reached = {step.to_serial for step in journal}
    noted = steering.notes_on(view) if view is not None else ()
    notes = {note.serial: note for note in noted}
    alone = _placed([note for note in noted if note.serial not in reached], journal)
    first = max(0, len(journal) - count)
    steps = [
        (
            number,
            _told(
                ZoneStep(
                    serial=step.to_serial,
                    from_serial=step.from_serial,
                    at=step.at,
                    removed=step.delta.lost,
                    added=step.delta.gained,
                    kind="lists",
                    user="",
                    text="",
                ),
                notes.get(step.to_serial),
            ),
        )
        for number, step in enumerate(journal[first:], first)
    ]
    # A note stands before the step at its place: a first version before its successor, a pause before its end.
    both = [step for _, step in sorted([*alone, *steps], key=lambda pair: pair[0])][-count:] if count else []
    pause = steering.pause
    serial = view.serial if view is not None else None
    return ZoneHistory(
        zone=format_name(settings.apex),
        serial=pause.serial if pause is not None else serial,
        journal_from=view.journal.from_serial if view is not None else None,
        steps=tuple(reversed(both)),
        more=len(journal) + len(alone) - len(both),
    )


def _placed(notes: Sequence[Note], journal: Sequence[VersionDelta]) -> list[tuple[int, ZoneStep]]:
    """Each of `notes`, oldest first, with the number of the step of `journal` that came after it.

    By serials and not by times: the clock may have been set meanwhile. Where a serial was set back in a pause, what was
    noted before it tells.
    """
    placed: list[tuple[int, ZoneStep]] = []
    place = 0
    for note in notes:
        serial = note.serial
        place = max(place, bisect_left(journal, True, key=lambda step: is_newer(step.to_serial, than=serial)))
        placed.append((place, _noted(note)))
    return placed


def _noted(note: Note) -> ZoneStep:
    return ZoneStep(
        serial=note.serial,
        from_serial=None,
        at=note.at,
        removed=note.removed,
        added=note.added,
        kind=note.kind,
        user=note.user,
        text=note.text,
    )


def _told(step: ZoneStep, note: Note | None) -> ZoneStep:
    if note is None or note.at != step.at:
        return step
    return ZoneStep(
        serial=step.serial,
        from_serial=step.from_serial,
        at=step.at,
        removed=step.removed,
        added=step.added,
        kind=note.kind,
        user=note.user,
        text=note.text,
    )
