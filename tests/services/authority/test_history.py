"""What the journal knows of the past, against a list of contents."""

from itertools import pairwise
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from trio.testing import MockClock

from actors import AskFailed
from tapir.model.actions import Action
from tapir.model.blocks import NameBlock, RecordBlock, RecordDelta, VersionDelta
from tapir.model.messages.zone import GetRecordHistory, GetZoneDifference, RecordStep, ZoneDifference
from tapir.model.names import Name, canonical_key, format_name, parse_name
from tapir.services.authority.history import MAX_STEPS, OutOfReachError, find_difference, find_records
from tapir.zone.journal import Journal
from tapir.zone.settings import ZoneSettings
from tapir.zone.version import ZoneVersion
from tapir.zone.view import ZoneView

ZONE = ZoneSettings(name=parse_name("rpz.test"))
NAMES = [
    parse_name(name) for name in ("example", "an.example", "n.an.example", "*.example", "other", r"\001o\000.other")
]

Content = dict[Name, Action]

contents = st.dictionaries(
    st.sampled_from(NAMES), st.sampled_from([Action.NXDOMAIN, Action.DROP, Action.NODATA]), max_size=len(NAMES)
)
pasts = st.lists(contents, min_size=1, max_size=8)


def delta_between(before: Content, after: Content) -> RecordDelta:
    return RecordDelta(
        removed=RecordBlock.of((name, action) for name, action in before.items() if after.get(name) != action),
        added=RecordBlock.of((name, action) for name, action in after.items() if before.get(name) != action),
    )


def view_of(past: list[Content], first: int = 1) -> ZoneView:
    """The last content, with a journal through all of them: serial `first` is the first one, committed at 0 s."""
    steps = [
        VersionDelta(from_serial=serial, to_serial=serial + 1, at=1000 * (serial + 1 - first), delta=delta)
        for serial, delta in enumerate(map(delta_between, past, past[1:]), first)
    ]
    version = ZoneVersion.build(ZONE, first + len(past) - 1, RecordBlock.of(past[-1].items()))
    return ZoneView(version=version, journal=Journal.of(steps))


def rows(difference: ZoneDifference) -> list[tuple[Name, int, int]]:
    return list(zip(difference.names, difference.before, difference.after, strict=True))


@given(past=pasts, data=st.data())
def test_the_difference_between_any_two_serials_is_what_their_contents_differ_by(
    past: list[Content], data: st.DataObject
) -> None:
    older, newer = (data.draw(st.integers(0, len(past) - 1)) for _ in range(2))
    difference = find_difference(view_of(past), older + 1, newer + 1)
    left, right = past[older], past[newer]
    assert rows(difference) == [
        (name, left.get(name, Action.NONE), right.get(name, Action.NONE))
        for name in sorted(left.keys() | right.keys(), key=canonical_key)
        if left.get(name) != right.get(name)
    ]
    assert (difference.removed, difference.added) == (
        sum(1 for name in left if right.get(name) != left[name]),
        sum(1 for name in right if left.get(name) != right[name]),
    )


def test_a_difference_from_where_the_journal_does_not_reach_is_refused() -> None:
    view = view_of([{}, {NAMES[0]: Action.DROP}], first=7)
    for serials in ((6, 8), (8, 6), (8, 9)):
        with pytest.raises(OutOfReachError, match="the journal reaches back to serial 7"):
            find_difference(view, *serials)
    with pytest.raises(OutOfReachError, match="serial 2 is not known: the journal reaches no further than serial 1"):
        find_difference(view_of([{}]), 1, 2)
    assert rows(find_difference(view_of([{}]), 1, 1)) == []


@given(past=pasts)
def test_each_record_has_its_last_steps(past: list[Content]) -> None:
    view = view_of(past)
    history = find_records(view, NAMES)
    changes: dict[Name, list[RecordStep]] = {name: [] for name in NAMES}
    for number, (before, after) in enumerate(pairwise(past), 1):
        for name in NAMES:
            if before.get(name) != after.get(name):
                step = RecordStep(
                    serial=number + 1,
                    at=1000 * number,
                    before=before.get(name, Action.NONE),
                    after=after.get(name, Action.NONE),
                )
                changes[name].insert(0, step)
    assert dict(history.steps) == {name: tuple(steps[:MAX_STEPS]) for name, steps in changes.items()}
    assert dict(history.present) == past[-1]
    assert (history.serial, history.journal_from, history.journal_from_at) == (
        (len(past), 1, 1000) if len(past) > 1 else (1, None, None)
    )


def test_a_name_that_lies_across_two_searched_windows_is_found() -> None:
    many = [Name(b"\x07n%06d\x07example\x00" % number) for number in range(70_000)]
    block = RecordBlock(names=NameBlock.of(many), actions=bytes([Action.DROP]) * len(many))
    assert len(block.names.data) > 1 << 20
    step = VersionDelta(from_serial=1, to_serial=2, at=5, delta=RecordDelta(removed=block))
    view = ZoneView(version=ZoneVersion.build(ZONE, 2), journal=Journal.of([step]))
    edge = (1 << 20) // len(many[0])
    asked = [*many[edge - 2 : edge + 3], many[-1]]
    found = find_records(view, asked)
    assert found.steps == tuple(
        (name, (RecordStep(serial=2, at=5, before=Action.DROP, after=Action.NONE),)) for name in asked
    )
    assert len(rows(find_difference(view, 2, 1))) == len(many)


async def test_the_past_is_told_beside_the_stream(autojump_clock: MockClock, run_keeper: Any, make_block: Any) -> None:
    async with run_keeper() as rig:
        with pytest.raises(AskFailed) as refusal:
            await rig.ask(GetZoneDifference(from_serial=1, to_serial=2))
        assert "there is no version of the zone yet" in str(refusal.value.__cause__)
        await rig.tell(rig.stream.content(make_block("a.example", "b.example")))
        await rig.published()
        await rig.tell(rig.stream.change(removed=make_block("a.example"), added=make_block("c.example")))
        await rig.published()
        difference = await rig.ask(GetZoneDifference(from_serial=2, to_serial=1))
        assert [format_name(name) for name in difference.names] == ["a.example.", "c.example."]
        assert (difference.before, difference.after) == (bytes([0, 4]), bytes([4, 0]))
        with pytest.raises(AskFailed) as refusal:
            await rig.ask(GetZoneDifference(from_serial=2, to_serial=9))
        assert "serial 9 is not known" in str(refusal.value.__cause__)
        gone, here = parse_name("a.example"), parse_name("b.example")
        records = await rig.ask(GetRecordHistory(names=(gone, here)))
        assert records.present == ((here, Action.NXDOMAIN),)
        ((_, (step,)), (_, never)) = records.steps
        assert (step.serial, step.before, step.after, never) == (2, Action.NXDOMAIN, Action.NONE, ())
