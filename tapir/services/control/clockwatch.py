"""Does the wall clock agree with the machine's own count of time? Pure: a value that each look makes anew."""

from typing import Any, Final

import attrs

SECOND: Final = 1_000_000
STEP: Final = 300 * SECOND
"""microseconds; a wall clock that is set by more than that is not believed at once"""
AGREEMENT: Final = 600 * SECOND
"""microseconds for which the clock must go on evenly to be believed again"""
_WINDOW: Final = 3600 * SECOND
"""microseconds within which small steps add up to a large one; what a clock is slewed by in it is far below"""


@attrs.frozen(kw_only=True)
class ClockWatch:
    """What the last look found. Wall times are microseconds since the epoch, even ones microseconds of a steady count.

                     |step| > 5 min
    ┌──── believed ─────────────────▶ held ◀──┐ another step: the ten minutes begin anew
    │        ▲                          │ ────┘
    └────────┘  ten minutes evenly, or the operator says so
    """

    wall: int
    even: int
    anchor_wall: int
    anchor_even: int
    held_since: int | None = None
    """by the steady count; None while the clock is believed"""
    stepped_by: int = 0
    stepped_at: int | None = None

    @classmethod
    def begin(cls, *, wall: int, even: int, latest: int | None = None) -> "ClockWatch":
        """The first look; `latest` is the last wall time that was stored, and a clock before it has gone back."""
        watch = cls(wall=wall, even=even, anchor_wall=wall, anchor_even=even)
        if latest is not None and wall < latest - STEP:
            return watch._hold(wall - latest)
        return watch

    @property
    def held(self) -> bool:
        """Whether nothing may expire now."""
        return self.held_since is not None

    @property
    def released_at(self) -> int | None:
        """The wall time at which the clock is believed by itself, if it goes on evenly."""
        return None if self.held_since is None else self.wall + AGREEMENT - (self.even - self.held_since)

    def look(self, *, wall: int, even: int) -> "ClockWatch":
        """What this look finds; at the end of the agreement the clock is believed again."""
        step = (wall - self.anchor_wall) - (even - self.anchor_even)
        if abs(step) > STEP:
            moved = attrs.evolve(self, wall=wall, even=even, anchor_wall=wall, anchor_even=even)
            return moved._hold(step)
        after = attrs.evolve(self, wall=wall, even=even)
        if even - self.anchor_even >= _WINDOW:
            after = attrs.evolve(after, anchor_wall=wall, anchor_even=even)
        if self.held_since is not None and even - self.held_since >= AGREEMENT:
            after = after.believe()
        return after

    def believe(self) -> "ClockWatch":
        """The operator says, or ten minutes have shown, that the clock is right."""
        return attrs.evolve(self, held_since=None)

    def hold_again(self, *, stepped_by: int, stepped_at: int | None) -> "ClockWatch":
        """As it was when the process stopped, the ten minutes begin anew."""
        return attrs.evolve(self, held_since=self.even, stepped_by=stepped_by, stepped_at=stepped_at)

    def _hold(self, step: int) -> "ClockWatch":
        return attrs.evolve(self, held_since=self.even, stepped_by=step, stepped_at=self.wall)


def pack_watch(watch: ClockWatch) -> dict[str, Any]:
    """What must be known of `watch` after a restart, as JSON says it."""
    return {
        "latest": watch.wall,
        "held": watch.held,
        "stepped_by": watch.stepped_by,
        "stepped_at": watch.stepped_at,
    }


def restore_watch(document: dict[str, Any] | None, *, wall: int, even: int) -> ClockWatch:
    """The first look of a process that finds `document`. Raises ValueError for what `pack_watch` did not make."""
    if document is None:
        return ClockWatch.begin(wall=wall, even=even)
    latest, held = document.get("latest"), document.get("held")
    by, at = document.get("stepped_by"), document.get("stepped_at")
    if type(latest) is not int or type(held) is not bool or type(by) is not int or not (at is None or type(at) is int):
        raise ValueError("it is no document of the clock")
    watch = ClockWatch.begin(wall=wall, even=even, latest=latest)
    if held and not watch.held:
        return watch.hold_again(stepped_by=by, stepped_at=at)
    return watch
