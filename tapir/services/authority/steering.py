"""What the operator has in force, and the notes on what became of it: remembered over restarts; pure.

    zone        (nothing)      hold             rollback SERIAL         pause
    shows       what is        what it showed   what it had at SERIAL,  nothing, under a serial of its own; what was
                desired        before           under a new serial      shown before comes back when the time is over
    ended by                   resume           resume                  its deadline, resume, rollback

A hold and a pause may be in force together: each has its own field here. A rollback is a hold that says what for.
"""

import json
from datetime import UTC, datetime
from typing import Any, Final

import attrs

from tapir.zone.serial import is_newer
from tapir.zone.view import ZoneView

FORMAT: Final = 1
MAX_NOTES: Final = 100


@attrs.frozen(kw_only=True)
class Hold:
    """Nothing new is published until resumed; `user` is empty where nobody knows who wanted it."""

    user: str
    at: int
    rolled_back_to: int | None = None
    before: int | None = None
    """the serial whose content a resume leads back to, when that was rolled back: the brake holds against that one"""

    @property
    def reason(self) -> str:
        """What is in force, and by whom."""
        what = "held" if self.rolled_back_to is None else f"held: rolled back to serial {self.rolled_back_to}"
        return f"{what} by {self.user or 'the operator'}"


@attrs.frozen(kw_only=True)
class Pause:
    """The zone is empty, under `serial`, until `until`; its content stays underneath, with its own serial."""

    serial: int
    at: int
    until: int
    user: str
    set_back: bool = False
    """whether the operator set the serial back meanwhile: then no difference may cross the pause"""

    def remaining(self, now: int) -> int:
        """Microseconds that are left at `now`; never more than was asked for, however the clock was set since."""
        return min(self.until - now, self.until - self.at)

    @property
    def reason(self) -> str:
        """What is in force, until when, and by whom."""
        return f"paused until {clock_text(self.until)}, by {self.user or 'the operator'}"


@attrs.frozen(kw_only=True)
class Note:
    """Why a version is what it is, where it is not just what the lists say; `kind` as in `ZoneStep`."""

    serial: int
    at: int
    kind: str
    user: str = ""
    text: str = ""
    removed: int = 0
    added: int = 0


@attrs.frozen(kw_only=True)
class Steering:
    """All of it. The notes are oldest first, and bounded."""

    hold: Hold | None = None
    pause: Pause | None = None
    notes: tuple[Note, ...] = ()

    @property
    def held(self) -> bool:
        """Whether anything new has to wait for the operator."""
        return self.hold is not None

    @property
    def reason(self) -> str:
        """What is in force and who wanted it; empty for nothing."""
        return "; ".join(wish.reason for wish in (self.pause, self.hold) if wish is not None)

    def noting(self, note: Note | None, view: ZoneView) -> "Steering":
        """With `note`, and without those from before the journal of `view` began."""
        if note is None:
            return self
        noted = attrs.evolve(self, notes=(*self.notes, note))
        return attrs.evolve(noted, notes=noted.notes_on(view)[-MAX_NOTES:])

    def notes_on(self, view: ZoneView) -> tuple[Note, ...]:
        """The notes since the journal of `view` began; by serials, for the clock may have been set meanwhile."""
        start = view.serial if view.journal.from_serial is None else view.journal.from_serial
        begins = [number for number, note in enumerate(self.notes) if note.serial == start]
        later = (number for number, note in enumerate(self.notes) if is_newer(note.serial, than=start))
        return self.notes[begins[-1] if begins else next(later, len(self.notes)) :]

    def prolonging(self, pause: Pause) -> "Steering":
        """With `pause` in place of the one that is in force, also in the note on that."""
        notes = list(self.notes)
        for number in reversed(range(len(notes))):
            if notes[number].kind == "pause":
                notes[number] = attrs.evolve(notes[number], text=f"until {clock_text(pause.until)}", user=pause.user)
                break
        return attrs.evolve(self, pause=pause, notes=tuple(notes))

    def pack(self) -> str:
        """What `unpack` reads; empty for nothing at all."""
        if self == Steering():
            return ""
        return json.dumps({"format": FORMAT, **attrs.asdict(self)})

    @classmethod
    def unpack(cls, text: str, *, held: bool) -> "Steering":
        """What `pack` wrote, where the store says besides whether the zone is `held`: old ones say nothing else.

        Raises ValueError for what this version did not write; the hold then stands all the same.
        """
        fields: dict[str, Any] = json.loads(text) if text else {"format": FORMAT}
        try:
            if fields["format"] != FORMAT:
                raise ValueError(f"its format is {fields['format']}, known is {FORMAT}")
            hold = Hold(**fields["hold"]) if fields.get("hold") else None
            pause = Pause(**fields["pause"]) if fields.get("pause") else None
            notes = tuple(Note(**note) for note in fields.get("notes", ()))
        except (KeyError, TypeError) as exc:
            raise ValueError(f"it is not understood: {exc}") from exc
        return cls(hold=(hold or UNKNOWN_HOLD) if held else None, pause=pause, notes=notes)


UNKNOWN_HOLD: Final = Hold(user="", at=0)


def clock_text(microseconds: int) -> str:
    """A wall-clock time for people, in UTC."""
    return datetime.fromtimestamp(microseconds / 1_000_000, UTC).strftime("%Y-%m-%d %H:%M:%S UTC")
