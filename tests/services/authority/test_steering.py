"""What the operator has in force, as a value."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tapir.model.actions import Action
from tapir.model.blocks import RecordBlock, RecordDelta, VersionDelta
from tapir.model.names import parse_name
from tapir.services.authority.standing import zone_history
from tapir.services.authority.steering import MAX_NOTES, UNKNOWN_HOLD, Hold, Note, Pause, Steering
from tapir.services.authority.steps import return_step, rollback_step
from tapir.zone.journal import Journal
from tapir.zone.settings import ZoneSettings
from tapir.zone.version import ZoneVersion
from tapir.zone.view import ZoneView

ZONE = ZoneSettings(name=parse_name("rpz.test"))

serials = st.integers(0, 2**32 - 1)
times = st.integers(0, 2**53)
holds = st.builds(Hold, user=st.text(), at=times, rolled_back_to=st.none() | serials, before=st.none() | serials)
pauses = st.builds(Pause, serial=serials, at=times, until=times, user=st.text(), set_back=st.booleans())
notes = st.builds(Note, serial=serials, at=times, kind=st.text(), user=st.text(), text=st.text())
steerings = st.builds(
    Steering, hold=st.none() | holds, pause=st.none() | pauses, notes=st.lists(notes, max_size=3).map(tuple)
)


def view_at(serial: int, *, steps: int = 0) -> ZoneView:
    journal = [
        VersionDelta(from_serial=number, to_serial=number + 1, at=10 * (number + 1), delta=RecordDelta())
        for number in range(serial - steps, serial)
    ]
    return ZoneView(version=ZoneVersion.build(ZONE, serial), journal=Journal.of(journal))


@given(steering=steerings)
def test_what_is_remembered_is_what_was_in_force(steering: Steering) -> None:
    assert Steering.unpack(steering.pack(), held=steering.held) == steering


def test_nothing_in_force_takes_no_room() -> None:
    assert Steering().pack() == ""
    assert Steering.unpack("", held=True) == Steering(hold=UNKNOWN_HOLD)


@pytest.mark.parametrize(
    "text", ["{", "[]", "3", '{"format": 2}', '{"hold": {}}', '{"format": 1, "hold": {"colour": 1}}']
)
def test_what_this_version_did_not_write_is_not_guessed_at(text: str) -> None:
    with pytest.raises(ValueError, match=r".+"):
        Steering.unpack(text, held=True)


@given(asked=st.integers(1, 10**12), passed=st.integers(-(10**15), 10**15))
def test_a_pause_never_has_more_left_than_was_asked_for(asked: int, passed: int) -> None:
    pause = Pause(serial=1, at=10**16, until=10**16 + asked, user="")
    assert pause.remaining(10**16 + passed) == min(asked, asked - passed)


def test_notes_go_with_the_journal_and_never_become_many() -> None:
    steering = Steering()
    for number in range(3 * MAX_NOTES):
        note = Note(serial=1000 + number, at=10 * (1000 + number), kind="pause")
        steering = steering.noting(note, view_at(1000 + number, steps=min(number, 500)))
    assert len(steering.notes) == MAX_NOTES
    steering = steering.noting(Note(serial=1300, at=13_000, kind="pause"), view_at(1300, steps=3))
    assert [note.serial for note in steering.notes] == [1297, 1298, 1299, 1300], "the journal begins with 1297"
    steering = steering.noting(Note(serial=7, at=13_001, kind="set-serial"), view_at(7))
    assert [note.serial for note in steering.notes] == [7]
    assert steering.noting(None, view_at(9)) is steering


def test_the_history_has_the_newest_versions_and_counts_the_others() -> None:
    steering = Steering(
        notes=(Note(serial=5, at=50, kind="first"), Note(serial=7, at=70, kind="rollback", user="alice", text="to 5"))
    )
    view = view_at(9, steps=4)
    history = zone_history(ZONE, view, steering, count=3)
    assert [(step.serial, step.kind, step.user) for step in history.steps] == [
        (9, "lists", ""),
        (8, "lists", ""),
        (7, "rollback", "alice"),
    ]
    assert (history.more, history.serial, history.journal_from) == (2, 9, 5)
    assert len(zone_history(ZONE, view, steering, count=100).steps) == 5
    nothing = zone_history(ZONE, None, Steering(), count=3)
    assert (nothing.serial, nothing.steps, nothing.more) == (None, (), 0)


def test_the_history_goes_by_serials_wherever_the_clock_was_set() -> None:
    steering = Steering(notes=(Note(serial=5, at=900_000, kind="first"),))
    for serial, at, kind in ((7, 70, "rollback"), (8, 2, "pause"), (100, 1, "set-serial")):
        steering = steering.noting(Note(serial=serial, at=at, kind=kind), view_at(7, steps=2))
    history = zone_history(ZONE, view_at(7, steps=2), steering, count=9)
    shown = [(step.serial, step.kind) for step in history.steps]
    assert shown == [(100, "set-serial"), (8, "pause"), (7, "rollback"), (6, "lists"), (5, "first")]
    back = Note(serial=2, at=0, kind="set-serial")
    history = zone_history(ZONE, view_at(7, steps=2), steering.noting(back, view_at(7, steps=2)), count=2)
    assert [step.serial for step in history.steps] == [2, 100], "a serial that was set back in the pause is the newest"


def test_the_history_ends_where_the_journal_begins() -> None:
    notes = [Note(serial=serial, at=10 * serial, kind="rollback") for serial in (1, 3, 8)]
    history = zone_history(ZONE, view_at(9, steps=3), Steering(notes=tuple(notes)), count=9)
    assert [(step.serial, step.kind) for step in history.steps] == [(9, "lists"), (8, "rollback"), (7, "lists")]
    assert (history.journal_from, history.more) == (6, 0), "what came before cannot be gone back to, and has gaps"


@pytest.mark.parametrize(
    ("pause", "linked"),
    [
        (Pause(serial=10, at=0, until=0, user=""), True),
        (Pause(serial=10, at=0, until=0, user="", set_back=True), False),
        (Pause(serial=9 + 2**31, at=0, until=0, user=""), False),
    ],
)
def test_no_difference_crosses_a_pause_whose_serials_are_not_in_order(pause: Pause, linked: bool) -> None:
    view = view_at(9, steps=2)
    for step in (return_step(view, pause, now=200), rollback_step(view, 8, now=200, pause=pause)):
        assert step.view.serial == (pause.serial + 1) % 2**32
        assert (step.delta is not None) is linked
        assert step.view.journal.reaches(9) is linked


def test_a_rollback_across_many_steps_is_their_net_effect() -> None:
    a, b, c = (parse_name(f"{letter}.example") for letter in "abc")
    one = RecordBlock.of([(a, Action.DROP)])
    two = RecordBlock.of([(b, Action.NODATA), (c, Action.DROP)])
    first = ZoneVersion.build(ZONE, 1, one)
    there = RecordDelta(removed=one, added=two)
    back = RecordDelta(removed=RecordBlock.of([(c, Action.DROP)]))
    steps = [
        VersionDelta(from_serial=number, to_serial=number + 1, at=number, delta=delta)
        for number, delta in enumerate((there, back), 1)
    ]
    version = first.successor(there, 2).successor(back, 3)
    step = rollback_step(ZoneView(version=version, journal=Journal.of(steps)), 1, now=3)
    assert dict(step.view.version) == dict(one)
    assert (step.view.serial, step.removed, step.added) == (4, 1, 1)
    assert step.note is not None
    assert (step.note.kind, step.note.text) == ("rollback", "to serial 1")
