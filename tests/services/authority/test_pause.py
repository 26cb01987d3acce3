"""Pauses and rollbacks where something else goes wrong: the disk, the settings, the serial."""

from typing import Any

import attrs
import pytest
import trio
from stores import FailingStore
from trio.testing import MockClock, wait_all_tasks_blocked

from actors import AskFailed
from tapir.model.messages.zone import (
    AcceptZone,
    GetZoneHistory,
    HoldZone,
    PauseZone,
    ResumeZone,
    RollBackZone,
    SetSerial,
)
from tapir.services.authority.keeper import KeeperSettings
from tapir.services.authority.messages import GetView
from tapir.store.errors import StoreCorrupt, StoreFull
from tapir.store.zones import ZoneStore


async def two_versions(rig: Any, make_block: Any) -> None:
    """Serial 1 has a.example, serial 2 b.example besides."""
    await rig.tell(rig.stream.content(make_block("a.example")))
    await rig.published()
    await rig.tell(rig.stream.change(added=make_block("b.example")))
    await rig.published()


async def refusal(rig: Any, order: Any) -> str:
    with pytest.raises(AskFailed) as failed:
        await rig.ask(order)
    return str(failed.value.__cause__)


@pytest.mark.parametrize("order", [PauseZone(seconds=60), RollBackZone(serial=1)])
async def test_what_cannot_be_saved_is_not_done(
    autojump_clock: MockClock, run_keeper: Any, make_block: Any, settings: KeeperSettings, order: Any
) -> None:
    store = FailingStore()
    async with run_keeper(open_store=store.open) as rig:
        await two_versions(rig, make_block)
        store.failing = StoreFull(path=settings.store_path, reason="disk full")
        assert "disk full" in await refusal(rig, order)
        store.failing = None
        await trio.sleep(200)
        status = await rig.status()
        assert (status.state, status.serial, status.reason) == ("serving", 2, "")
        await rig.ask(order)
        assert (await rig.published()).serial == 3


async def test_a_pause_that_cannot_be_ended_goes_on_until_it_can(
    autojump_clock: MockClock, run_keeper: Any, make_block: Any, settings: KeeperSettings
) -> None:
    store = FailingStore()
    async with run_keeper(open_store=store.open) as rig:
        await two_versions(rig, make_block)
        await rig.ask(PauseZone(seconds=60))
        assert len((await rig.published()).version) == 0
        store.failing = StoreFull(path=settings.store_path, reason="disk full")
        assert "disk full" in await refusal(rig, ResumeZone())
        await trio.sleep(100)
        status = await rig.status()
        assert (status.state, status.serial) == ("unsaved", 3)
        store.failing = None
        view = await rig.published()
        assert (view.serial, len(view.version)) == (4, 2)
        assert trio.current_time() < 100 + 61
        assert view.journal.reaches(2)


async def test_a_store_found_corrupt_in_a_pause_does_not_forget_it(
    autojump_clock: MockClock, run_keeper: Any, make_block: Any, settings: KeeperSettings
) -> None:
    store = FailingStore()
    async with run_keeper(open_store=store.open) as rig:
        await two_versions(rig, make_block)
        await rig.ask(PauseZone(seconds=600, user="alice"))
        store.failing = StoreCorrupt(path=settings.store_path, reason="a page turned into another")
        await rig.ask(HoldZone(user="bob"))
    async with run_keeper() as rig:
        await wait_all_tasks_blocked()
        status = await rig.status()
        assert (status.state, status.serial, status.records) == ("paused", 3, 0)
        assert "by alice; held by bob" in status.reason
        await rig.ask(ResumeZone())
        status = await rig.status()
        assert (status.state, status.serial, status.records) == ("serving", 4, 2)


async def test_settings_that_change_during_a_pause_do_not_end_it(
    autojump_clock: MockClock, run_keeper: Any, make_block: Any, settings: KeeperSettings
) -> None:
    async with run_keeper() as rig:
        await two_versions(rig, make_block)
        await rig.ask(PauseZone(seconds=600))
    changed = attrs.evolve(settings, zone=attrs.evolve(settings.zone, refresh=3600))
    for _ in range(2):
        async with run_keeper(settings=changed) as rig:
            await wait_all_tasks_blocked()
            view = await rig.ask(GetView())
            assert (len(view.version), view.settings.refresh, view.journal.from_serial) == (0, 3600, None)
            assert view.serial == 5, "4 is the hidden content's"
    async with run_keeper(settings=changed) as rig:
        await rig.ask(ResumeZone())
        view = await rig.published()
        assert (view.serial, len(view.version)) == (6, 2)
        assert (await refusal(rig, RollBackZone(serial=1))) == (
            "not done: serial 1 is not known: the journal reaches back to serial 4; "
            "with serial 4 the zone's own records changed, and no difference leads across that"
        )
        kinds = [(step.serial, step.kind) for step in (await rig.ask(GetZoneHistory(count=9))).steps]
        assert kinds == [(6, "return"), (4, "restate")]


async def test_secondaries_that_are_ahead_of_a_pause_are_not_emptied(
    autojump_clock: MockClock,
    run_keeper: Any,
    make_block: Any,
    settings: KeeperSettings,
    caplog: pytest.LogCaptureFixture,
) -> None:
    async with run_keeper() as rig:
        await two_versions(rig, make_block)
        await rig.ask(PauseZone(seconds=600))
    assert settings.serial_cache is not None
    settings.serial_cache.write_text("current_serial: 90\n")
    async with run_keeper() as rig:
        await wait_all_tasks_blocked()
        assert await rig.ask(GetView()) is None
        await rig.tell(rig.stream.content(make_block("a.example")))
        view = await rig.published()
        assert (view.serial, len(view.version)) == (91, 1)
        assert (await rig.status()).state == "serving"
    assert "the stored pause is older than the serial in serialcache" in caplog.text


async def test_wishes_in_words_of_another_version_leave_a_hold(
    autojump_clock: MockClock,
    run_keeper: Any,
    make_block: Any,
    settings: KeeperSettings,
    caplog: pytest.LogCaptureFixture,
) -> None:
    async with run_keeper() as rig:
        await two_versions(rig, make_block)
    store = ZoneStore.open(settings.store_path)
    store.set_held(True, steering='{"format": 99}')
    store.close()
    async with run_keeper() as rig:
        await wait_all_tasks_blocked()
        status = await rig.status()
        assert (status.state, status.serial, status.reason) == ("held", 2, "held by the operator")
    assert "what is stored of the operator's wishes is forgotten, but for a hold: its format is 99" in caplog.text


async def test_before_a_first_version_there_is_nothing_to_pause(
    autojump_clock: MockClock, run_keeper: Any, make_block: Any
) -> None:
    async with run_keeper() as rig:
        for order in (PauseZone(seconds=60), RollBackZone(serial=1)):
            assert await refusal(rig, order) == "not done: there is no version of the zone yet"


async def test_what_the_brake_holds_can_be_accepted_during_a_pause(
    autojump_clock: MockClock, run_keeper: Any, make_numbered: Any
) -> None:
    async with run_keeper() as rig:
        await rig.tell(rig.stream.content(make_numbered(0, 40)))
        await rig.published()
        await rig.ask(PauseZone(seconds=60))
        await rig.published()
        await rig.tell(rig.stream.content(make_numbered(0, 5)))
        assert await rig.ask(AcceptZone()) == "accepted: -35 +0 records, to be published when the zone is back"
        await trio.sleep(60)
        view = await rig.published()
        assert (view.serial, len(view.version)) == (3, 5)


async def test_a_zone_that_is_resumed_against_the_brake_says_so(
    autojump_clock: MockClock, run_keeper: Any, make_numbered: Any
) -> None:
    async with run_keeper() as rig:
        await rig.tell(rig.stream.content(make_numbered(0, 40)))
        await rig.published()
        await rig.ask(PauseZone(seconds=60))
        await rig.tell(rig.stream.content(make_numbered(0, 5)))
        said = await rig.ask(ResumeZone())
        assert said == "the zone is back: serial 3, 40 records; the brake holds what changed since: tapir accept zone"
        assert (await rig.status()).state == "braked"


async def test_a_rollback_of_a_rollback_and_a_serial_set_back_after_it(
    autojump_clock: MockClock, run_keeper: Any, make_block: Any
) -> None:
    async with run_keeper() as rig:
        await two_versions(rig, make_block)
        await rig.ask(RollBackZone(serial=1))
        await rig.ask(RollBackZone(serial=2, user="bob"))
        status = await rig.status()
        assert (status.serial, status.records, status.reason) == (4, 2, "held: rolled back to serial 2 by bob")
        await rig.ask(SetSerial(serial=1))
        assert "with serial 1 the serial was set back" in await refusal(rig, RollBackZone(serial=3))
        await rig.ask(ResumeZone())
        assert (await rig.status()).state == "serving"
