"""Records that are passed through: published, stored, braked and taken back with the rules."""

from collections.abc import Callable
from typing import Any

import pytest
from trio.testing import MockClock, wait_all_tasks_blocked

from tapir.codec.passed import make
from tapir.model.blocks import PassedDelta, RecordBlock, RecordDelta
from tapir.model.messages.zone import AcceptZone, GetZoneDifference, GetZoneHistory, PauseZone, ResumeZone, RollBackZone
from tapir.model.names import parse_name
from tapir.services.authority.draft import Content, Draft
from tapir.services.authority.messages import GetView
from tapir.zone.errors import ZoneError
from tapir.zone.settings import ZoneSettings

Blocks = Callable[..., RecordBlock]


def local(name: str, last: int = 1, ttl: int = 60) -> bytes:
    return make(parse_name(name), 1, ttl, bytes((192, 0, 2, last)))


A, B, C = (local(f"{name}.example") for name in ("pa", "pb", "pc"))


async def test_they_make_versions_of_their_own_and_with_rules(
    autojump_clock: MockClock, run_keeper: Any, make_block: Blocks
) -> None:
    async with run_keeper() as rig:
        await rig.tell(rig.stream.content(make_block("a.example"), (B, A)))
        view = await rig.published()
        assert view.version.passed.records == (A, B)
        assert (await rig.status()).records == 3
        await rig.tell(rig.stream.change(passed=PassedDelta(removed=(A,), added=(C,))))
        assert (await rig.published()).version.passed.records == (B, C)
        await rig.tell(rig.stream.change(added=make_block("b.example"), passed=PassedDelta(added=(A,))))
        view = await rig.published()
        net = view.journal.net(1)
        assert (list(net.removed), len(net.added)) == ([], 1)
        assert (net.passed.removed, net.passed.added) == ((), (C,))
        history = await rig.ask(GetZoneHistory(count=9))
        assert [(step.removed, step.added) for step in history.steps] == [(0, 2), (1, 1), (0, 3)]
        difference = await rig.ask(GetZoneDifference(from_serial=3, to_serial=1))
        assert (difference.removed, difference.added) == (2, 0)
        assert difference.passed.removed == (C,)
        # The same content, said in another order, is no change.
        await rig.tell(rig.stream.content(make_block("b.example", "a.example"), (C, B, A)))
        await wait_all_tasks_blocked()
        assert (await rig.status()).serial == 3


async def test_a_restart_has_them_and_what_no_feed_says_any_more_goes(
    autojump_clock: MockClock, run_keeper: Any, make_block: Blocks, make_stream: Any
) -> None:
    async with run_keeper() as rig:
        await rig.tell(rig.stream.content(make_block("a.example"), (A,)))
        await rig.published()
        await rig.tell(rig.stream.change(passed=PassedDelta(added=(B,))))
        await rig.published()
    async with run_keeper() as rig:
        view = await rig.ask(GetView())
        assert (view.serial, view.version.passed.records) == (2, (A, B))
        assert view.journal.net(1).passed.added == (B,)
        await rig.tell(make_stream("b").content(make_block("a.example"), (B,)))
        assert (await rig.published()).version.passed.records == (B,)


async def test_the_brake_counts_them(
    autojump_clock: MockClock, run_keeper: Any, make_block: Blocks, settings: Any
) -> None:
    many = tuple(local(f"p{number}.example") for number in range(2000))
    async with run_keeper() as rig:
        await rig.tell(rig.stream.content(make_block("a.example")))
        await rig.published()
        await rig.tell(rig.stream.change(passed=PassedDelta(added=many)))
        await wait_all_tasks_blocked()
        status = await rig.status()
        assert (status.state, status.held_change) == ("braked", (0, 2000))
        await rig.ask(AcceptZone())
        assert len((await rig.published()).version.passed) == 2000


async def test_a_pause_hides_them_and_a_rollback_brings_them_back(
    autojump_clock: MockClock, run_keeper: Any, make_block: Blocks
) -> None:
    async with run_keeper() as rig:
        await rig.tell(rig.stream.content(make_block("a.example"), (A,)))
        await rig.published()
        await rig.ask(PauseZone(seconds=60))
        assert len((await rig.published()).version) == 0
        await rig.ask(ResumeZone())
        assert (await rig.published()).version.passed.records == (A,)
        await rig.tell(rig.stream.change(passed=PassedDelta(removed=(A,), added=(B,))))
        before = (await rig.published()).serial
        await rig.ask(RollBackZone(serial=before - 1))
        assert (await rig.published()).version.passed.records == (A,)
        await rig.ask(ResumeZone())
        assert (await rig.published()).version.passed.records == (B,)


def test_a_change_that_does_not_fit_changes_nothing(make_block: Blocks) -> None:
    draft = Draft(ZoneSettings(name=parse_name("rpz.test")), None)
    draft.replace(make_block("a.example"), (A,))
    for wrong, text in (
        (PassedDelta(added=(A,)), "is there"),
        (PassedDelta(removed=(B,)), "is missing"),
        (PassedDelta(removed=(local("pa.example", ttl=9),)), "another one"),
        (PassedDelta(added=(B, B)), "added twice"),
        (PassedDelta(removed=(A, A)), "removed twice"),
        (PassedDelta(added=(local(".".join(["l" * 60] * 4) + ".long"),)), "no owner of"),
    ):
        problem = draft.follow([Content(records=make_block("a.example"), passed=(A,)), RecordDelta(passed=wrong)])
        assert text in problem
        with pytest.raises(ZoneError, match=text):
            draft.change(RecordDelta(passed=wrong))
        assert draft.version is not None
        assert draft.version.passed.records == (A,)
