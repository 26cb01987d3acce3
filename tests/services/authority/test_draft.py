"""The draft against a dict, and the decisions that rest on it."""

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tapir.model.actions import Action
from tapir.model.blocks import RecordBlock, RecordDelta
from tapir.model.names import Name, parse_name
from tapir.services.authority.draft import ChangeSize, Draft
from tapir.services.authority.steps import Brake, Verdict, judge, next_step, recover_serial, serial_step
from tapir.zone.difference import difference
from tapir.zone.errors import ZoneError
from tapir.zone.serial import next_serial
from tapir.zone.settings import ZoneSettings
from tapir.zone.version import ZoneVersion
from tapir.zone.view import ZoneView

ZONE = ZoneSettings(name=parse_name("rpz.test"))

actions = st.sampled_from([Action.NXDOMAIN, Action.DROP, Action.NODATA])
contents = st.dictionaries(st.integers(0, 12).map(lambda n: parse_name(f"n{n}.example")), actions, max_size=13)


def block(content: dict[Name, Action]) -> RecordBlock:
    return RecordBlock.of(content.items())


def delta_between(before: dict[Name, Action], after: dict[Name, Action]) -> RecordDelta:
    return RecordDelta(
        removed=block({name: action for name, action in before.items() if after.get(name) != action}),
        added=block({name: action for name, action in after.items() if before.get(name) != action}),
    )


def version(content: dict[Name, Action], serial: int = 1) -> ZoneVersion:
    return ZoneVersion.build(ZONE, serial, block(content))


@given(published=contents, steps=st.lists(st.tuples(st.booleans(), contents), max_size=6))
def test_a_draft_holds_what_was_said_and_its_least_difference(
    published: dict[Name, Action], steps: list[tuple[bool, dict[Name, Action]]]
) -> None:
    base = version(published)
    draft = Draft(ZONE, base)
    desired = published
    for whole, content in steps:
        if whole:
            draft.replace(block(content))
        else:
            draft.change(delta_between(desired, content))
        desired = content
        least = difference(base, block(desired))
        delta = draft.delta()
        assert dict(delta.removed) == dict(least.removed)
        assert dict(delta.added) == dict(least.added)
        assert draft.size == ChangeSize(
            names=len(dict(least.removed) | dict(least.added)), removed=len(least.removed), added=len(least.added)
        )
        assert draft.differs == bool(draft.size.names)
        assert draft.version is not None
        assert dict(draft.version) == desired
    step = next_step(draft, ZoneView(version=base), floor=None, now=0)
    assert dict(step.view.version) == desired
    assert dict(base.successor(draft.delta(), 2)) == desired


@given(published=contents, desired=contents, wrong=contents)
def test_a_change_that_does_not_fit_changes_nothing(
    published: dict[Name, Action], desired: dict[Name, Action], wrong: dict[Name, Action]
) -> None:
    draft = Draft(ZONE, version(published))
    draft.replace(block(desired))
    size = draft.size
    misfit = RecordDelta(removed=block({name: action for name, action in wrong.items() if name not in desired}))
    if len(misfit) == 0:
        return
    with pytest.raises(ZoneError):
        draft.change(misfit)
    assert draft.size == size
    assert draft.version is not None
    assert dict(draft.version) == desired


def test_a_draft_of_nothing_yet() -> None:
    draft = Draft(ZONE, None)
    assert not draft.differs
    with pytest.raises(ZoneError):
        draft.change(RecordDelta())
    with pytest.raises(ZoneError):
        draft.titled(1)
    draft.replace(block({}))
    # An empty zone is a version: only until the first one do secondaries get SERVFAIL.
    assert draft.differs
    step = next_step(draft, None, floor=7, now=0)
    assert (step.view.serial, step.delta, len(step.view.version)) == (8, None, 0)
    draft.publish(step.view.version)
    assert not draft.differs


@pytest.mark.parametrize(
    ("records", "names", "held"),
    [
        (4000, 1000, False),
        (4000, 1001, True),
        (4004, 1001, False),
        (1200, 1000, False),
        (0, 1000, False),
        (0, 1001, True),
    ],
)
def test_the_brake_wants_both_a_part_and_a_number(records: int, names: int, held: bool) -> None:
    size = ChangeSize(names=names, removed=names, added=0)
    assert Brake(change=0.25, minimum=1000).holds(records=records, size=size) is held


@pytest.mark.parametrize(
    ("fields", "verdict"),
    [
        ({"published": 3}, Verdict.BRAKE),
        ({"published": 3, "accepted": True}, Verdict.PUBLISH),
        ({"published": 3, "accepted": True, "held": True}, Verdict.HOLD),
        # An empty zone, published when no source had delivered in time, is filled as a first version is.
        ({"published": 0}, Verdict.PUBLISH),
        ({"published": None}, Verdict.PUBLISH),
        ({"published": None, "held": True}, Verdict.HOLD),
    ],
)
def test_what_becomes_of_a_draft(fields: dict[str, Any], verdict: Verdict) -> None:
    name = parse_name("a.example")
    draft = Draft(ZONE, version({}) if fields["published"] is not None else None)
    draft.replace(block({name: Action.DROP}))
    settings: dict[str, Any] = {"brake": Brake(change=0.25, minimum=0), "held": False, "accepted": False}
    assert judge(draft, **(settings | fields)) is verdict
    draft.publish(draft.titled(1))
    assert judge(draft, **(settings | fields)) is Verdict.KEEP


@given(start=st.integers(0, 2**32 - 1), count=st.integers(1, 4))
def test_serials_count_up_and_wrap(start: int, count: int) -> None:
    view = ZoneView(version=version({}, serial=start))
    draft = Draft(ZONE, view.version)
    serials = [start]
    for number in range(count):
        draft.replace(block({parse_name(f"n{number}.example"): Action.DROP}))
        step = next_step(draft, view, floor=None, now=number)
        assert step.delta is not None
        view = step.view
        draft.publish(view.version)
        serials.append(view.serial)
        assert view.serial == next_serial(serials[-2])
        assert view.journal.reaches(start)


def test_a_serial_that_is_set_keeps_the_content_and_what_is_desired() -> None:
    name, other = parse_name("a.example"), parse_name("b.example")
    view = ZoneView(version=version({name: Action.DROP}, serial=10))
    draft = Draft(ZONE, view.version)
    draft.replace(block({other: Action.DROP}))
    for serial, journal in ((20, True), (5, False), (10 + 2**31, False)):
        step = serial_step(view, serial, now=0)
        assert (step.view.serial, dict(step.view.version)) == (serial, {name: Action.DROP})
        assert (step.delta is not None) is journal
        assert step.view.journal.reaches(10) is journal
        draft.rebase(step.view.version)
        assert dict(draft.delta().added) == {other: Action.DROP}
        following = next_step(draft, step.view, floor=None, now=0)
        assert dict(following.view.version) == {other: Action.DROP}


def test_a_lost_serial_is_recovered_from_serialcache_or_by_the_time() -> None:
    assert recover_serial(cached=9, now=0) == 9
    assert recover_serial(cached=None, now=1_700_000_000_000_000) == 1_700_000_000
