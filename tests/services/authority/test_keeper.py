"""The keeper between probes, on the virtual clock, with a real store in a folder of the test's own."""

import itertools
import logging
from collections.abc import Callable
from typing import Any

import attrs
import pytest
import trio
from stores import FailingStore
from trio.testing import MockClock, wait_all_tasks_blocked

from actors import ActorSpec, AskFailed, Delivery, MailboxSpec, Overflow
from actors.testing import stall
from tapir.model.actions import Action
from tapir.model.blocks import RecordBlock
from tapir.model.messages.control import VersionPublished
from tapir.model.messages.zone import AcceptZone, HoldZone, ResumeZone, SendContent, SetSerial, SourcesMissing
from tapir.model.names import parse_name
from tapir.services.authority.keeper import KeeperSettings
from tapir.services.authority.messages import GetView
from tapir.store.errors import StoreCorrupt, StoreFull
from tapir.store.serialcache import read_serialcache

Blocks = Callable[..., RecordBlock]


def names(view: Any) -> set[str]:
    return {name.hex() for name, _ in view.version}


def same(view: Any, block: RecordBlock) -> bool:
    return dict(view.version) == dict(block)


async def test_the_first_version_is_served_when_the_evaluator_sends_it(
    autojump_clock: MockClock,
    run_keeper: Any,
    make_block: Blocks,
    settings: KeeperSettings,
    caplog: pytest.LogCaptureFixture,
) -> None:
    caplog.set_level(logging.INFO)
    async with run_keeper() as rig:
        assert (await rig.status()).state == "empty"
        assert await rig.ask(GetView()) is None
        await rig.tell(rig.stream.content(make_block("a.example", "b.example")))
        view = await rig.published()
        assert (view.serial, len(view.version)) == (1, 2)
        assert (await rig.notifier.next()).view is view
        status = await rig.status()
        assert (status.state, status.serial, status.records) == ("serving", 1, 2)
        assert settings.serial_cache is not None
        assert read_serialcache(settings.serial_cache).serial == 1
    assert f"published serial=1 -0 +2 records=2 octets={view.version.octets}" in caplog.text


@pytest.mark.parametrize(("cached", "first"), [(0, 1), (41, 42), (2**32 - 1, 1)])
async def test_the_first_serial_follows_serialcache(
    autojump_clock: MockClock, run_keeper: Any, make_block: Blocks, settings: KeeperSettings, cached: int, first: int
) -> None:
    assert settings.serial_cache is not None
    settings.serial_cache.write_text(f"current_serial: {cached}\n")
    async with run_keeper() as rig:
        await rig.tell(rig.stream.content(make_block("a.example")))
        assert (await rig.published()).serial == first


async def test_changes_make_versions_with_a_journal(
    autojump_clock: MockClock, run_keeper: Any, make_block: Blocks
) -> None:
    async with run_keeper() as rig:
        await rig.tell(rig.stream.content(make_block("a.example", "b.example")))
        await rig.published()
        await rig.tell(rig.stream.change(removed=make_block("a.example"), added=make_block("c.example")))
        view = await rig.published()
        assert view.serial == 2
        assert same(view, make_block("b.example", "c.example"))
        net = view.journal.net(1)
        assert (len(net.removed), len(net.added)) == (1, 1)


async def test_content_without_a_difference_keeps_the_serial(
    autojump_clock: MockClock, run_keeper: Any, make_block: Blocks
) -> None:
    async with run_keeper() as rig:
        await rig.tell(rig.stream.content(make_block("a.example")))
        await rig.published()
        await rig.tell(rig.stream.content(make_block("a.example")))
        await wait_all_tasks_blocked()
        assert (await rig.status()).serial == 1
        assert len(rig.server.messages) == 1


async def test_a_changed_action_is_a_minimal_difference(
    autojump_clock: MockClock, run_keeper: Any, make_block: Blocks
) -> None:
    async with run_keeper() as rig:
        await rig.tell(rig.stream.content(make_block("a.example", "b.example")))
        await rig.published()
        changed = RecordBlock.of([(parse_name("a.example"), Action.DROP), (parse_name("b.example"), Action.NXDOMAIN)])
        await rig.tell(rig.stream.content(changed))
        view = await rig.published()
        net = view.journal.net(1)
        assert list(net.removed) == [(parse_name("a.example"), Action.NXDOMAIN)]
        assert list(net.added) == [(parse_name("a.example"), Action.DROP)]


async def test_what_queues_up_becomes_one_version_or_few(
    autojump_clock: MockClock, run_keeper: Any, make_numbered: Blocks
) -> None:
    async with run_keeper() as rig:
        await rig.tell(rig.stream.content(make_numbered(0, 40)))
        await rig.published()
        messages = [rig.stream.change(added=make_numbered(40 + n, 41 + n)) for n in range(9)]
        assert {rig.keeper.tell_nowait(message) for message in messages} == {Delivery.DELIVERED}
        await wait_all_tasks_blocked()
        view = await rig.ask(GetView())
        assert len(view.version) == 49
        # The first of them starts a commit, what arrives meanwhile is the next one.
        assert view.serial <= 4


async def test_a_gap_asks_for_everything_and_is_mended(
    autojump_clock: MockClock, run_keeper: Any, make_block: Blocks, make_stream: Any
) -> None:
    async with run_keeper() as rig:
        await rig.tell(rig.stream.content(make_block("a.example")))
        await rig.published()
        await trio.sleep(5)
        rig.stream.change(added=make_block("lost.example"))
        await rig.tell(rig.stream.change(added=make_block("c.example")))
        assert await rig.policy.next() == SendContent(zone="rpz.test.")
        await rig.tell(rig.stream.change(added=make_block("d.example")))
        await wait_all_tasks_blocked()
        assert len(rig.policy.messages) == 1
        assert (await rig.status()).serial == 1
        await rig.tell(make_stream("b").content(make_block("a.example", "lost.example", "c.example", "d.example")))
        view = await rig.published()
        assert (view.serial, len(view.version)) == (2, 4)


async def test_a_change_that_does_not_fit_asks_for_everything(
    autojump_clock: MockClock, run_keeper: Any, make_block: Blocks, make_stream: Any
) -> None:
    async with run_keeper() as rig:
        await rig.tell(rig.stream.content(make_block("a.example")))
        await rig.published()
        await trio.sleep(5)
        await rig.tell(rig.stream.change(removed=make_block("never.example")))
        assert isinstance(await rig.policy.next(), SendContent)
        await rig.tell(rig.stream.change(added=make_block("b.example")))
        await wait_all_tasks_blocked()
        assert (await rig.status()).serial == 1
        await rig.tell(make_stream("b").content(make_block("b.example")))
        assert same(await rig.published(), make_block("b.example"))


async def test_content_that_is_refused_each_time_does_not_go_round_and_round(
    autojump_clock: MockClock, run_keeper: Any, make_block: Blocks, make_stream: Any
) -> None:
    """A name twice cannot become a version; the old one is served, and asking slows down."""
    async with run_keeper() as rig:
        await rig.tell(rig.stream.content(make_block("a.example")))
        await rig.published()
        await trio.sleep(5)
        asked: list[float] = []
        for number in range(4):
            await rig.tell(make_stream(str(number)).content(make_block("b.example", "b.example")))
            await rig.policy.next()
            asked.append(rig.policy.times[-1])
        gaps = [later - earlier for earlier, later in itertools.pairwise(asked)]
        assert gaps == sorted(gaps)
        assert gaps[0] >= 2
        assert (await rig.status()).serial == 1


async def test_an_evaluator_that_says_nothing_is_asked_again_and_later_each_time(
    autojump_clock: MockClock, run_keeper: Any
) -> None:
    async with run_keeper() as rig:
        await rig.policy.wait_count(4, seconds=600)
        began = rig.policy.times[0]
        assert [time - began for time in rig.policy.times] == pytest.approx([0, 4, 12, 28])
        await rig.policy.wait_count(9, seconds=600)
        assert [time - began for time in rig.policy.times[4:]] == pytest.approx([60, 120, 180, 240, 300])


async def test_a_restart_serves_what_is_stored_at_once(
    autojump_clock: MockClock, run_keeper: Any, make_block: Blocks, make_stream: Any
) -> None:
    async with run_keeper() as rig:
        await rig.tell(rig.stream.content(make_block("a.example", "b.example")))
        await rig.tell(rig.stream.change(added=make_block("c.example")))
        await rig.server.wait_count(1)
        await wait_all_tasks_blocked()
        before = await rig.status()
    async with run_keeper() as rig:
        view = await rig.ask(GetView())
        assert view.serial == before.serial
        assert (await rig.status()).published_at == before.published_at
        assert same(view, make_block("a.example", "b.example", "c.example"))
        await rig.tell(make_stream("z").content(make_block("a.example")))
        view = await rig.published()
        assert view.serial == before.serial + 1
        net = view.journal.net(before.serial)
        assert (len(net.removed), len(net.added)) == (2, 0)


async def test_a_stop_publishes_what_came_in_before_it(
    autojump_clock: MockClock, run_keeper: Any, make_numbered: Blocks
) -> None:
    async with run_keeper() as rig:
        await rig.tell(rig.stream.content(make_numbered(0, 3)))
        await rig.published()
        await rig.tell(rig.stream.change(added=make_numbered(3, 5)))
    async with run_keeper() as rig:
        assert same(await rig.ask(GetView()), make_numbered(0, 5))


async def test_health_hears_of_each_version_and_that_the_stored_one_is_right(
    autojump_clock: MockClock, run_keeper: Any, make_block: Blocks, make_stream: Any
) -> None:
    async with run_keeper() as rig:
        await rig.tell(rig.stream.content(make_block("a.example")))
        published = VersionPublished(zone="rpz.test.", serial=1, records=1)
        assert await rig.health.next() == published
    async with run_keeper() as rig:
        await rig.tell(make_stream("b").content(make_block("a.example")))
        assert await rig.health.next() == published
        await rig.tell(make_stream("c").content(make_block("a.example")))
        await wait_all_tasks_blocked()
        assert len(rig.health.messages) == 1
        assert rig.server.messages == []


async def test_a_large_change_is_held_until_it_is_accepted(
    autojump_clock: MockClock, run_keeper: Any, make_numbered: Blocks
) -> None:
    async with run_keeper() as rig:
        await rig.tell(rig.stream.content(make_numbered(0, 40)))
        await rig.published()
        await rig.tell(rig.stream.change(removed=make_numbered(0, 11)))
        await wait_all_tasks_blocked()
        status = await rig.status()
        assert (status.state, status.serial, status.held_change) == ("braked", 1, (11, 0))
        await rig.tell(rig.stream.change(added=make_numbered(50, 51)))
        await wait_all_tasks_blocked()
        assert (await rig.status()).held_change == (11, 1)
        assert await rig.ask(AcceptZone()) == "accepted: -11 +1 records will be published"
        view = await rig.published()
        assert (view.serial, len(view.version)) == (2, 30)
        assert (await rig.status()).state == "serving"
        # The next one is held again: acceptance was for that change.
        await rig.tell(rig.stream.change(removed=make_numbered(11, 40)))
        await wait_all_tasks_blocked()
        assert (await rig.status()).state == "braked"


@pytest.mark.parametrize(("published", "count"), [(12, 10), (44, 11)])
async def test_small_changes_and_small_parts_are_not_held(
    autojump_clock: MockClock, run_keeper: Any, make_numbered: Blocks, published: int, count: int
) -> None:
    """Exactly the number, or exactly the part, is not more than it."""
    async with run_keeper() as rig:
        await rig.tell(rig.stream.content(make_numbered(0, published)))
        await rig.published()
        await rig.tell(rig.stream.change(removed=make_numbered(0, count)))
        assert (await rig.published()).serial == 2


async def test_a_held_change_that_becomes_small_is_published(
    autojump_clock: MockClock, run_keeper: Any, make_numbered: Blocks
) -> None:
    async with run_keeper() as rig:
        await rig.tell(rig.stream.content(make_numbered(0, 40)))
        await rig.published()
        await rig.tell(rig.stream.change(removed=make_numbered(0, 20)))
        await wait_all_tasks_blocked()
        assert (await rig.status()).state == "braked"
        await rig.tell(rig.stream.change(added=make_numbered(5, 20)))
        view = await rig.published()
        assert (view.serial, len(view.version)) == (2, 35)
        assert (len(view.journal.net(1).removed), len(view.journal.net(1).added)) == (5, 0)


async def test_a_held_change_that_is_taken_back_leaves_nothing(
    autojump_clock: MockClock, run_keeper: Any, make_numbered: Blocks
) -> None:
    async with run_keeper() as rig:
        await rig.tell(rig.stream.content(make_numbered(0, 40)))
        await rig.published()
        await rig.tell(rig.stream.change(removed=make_numbered(0, 20)))
        await rig.tell(rig.stream.change(added=make_numbered(0, 20)))
        await wait_all_tasks_blocked()
        assert ((await rig.status()).state, (await rig.status()).serial) == ("serving", 1)
        with pytest.raises(AskFailed, match="holds nothing back"):
            await rig.ask(AcceptZone())


async def test_the_operator_holds_the_zone_also_over_a_restart(
    autojump_clock: MockClock, run_keeper: Any, make_block: Blocks, make_stream: Any
) -> None:
    async with run_keeper() as rig:
        await rig.tell(rig.stream.content(make_block("a.example")))
        await rig.published()
        assert await rig.ask(HoldZone()) == "the zone is held: nothing new is published"
        assert await rig.ask(HoldZone()) == "the zone is held already"
        await rig.tell(rig.stream.change(added=make_block("b.example")))
        await wait_all_tasks_blocked()
        assert ((await rig.status()).state, (await rig.status()).held_change) == ("held", (0, 1))
    async with run_keeper() as rig:
        assert ((await rig.status()).state, (await rig.status()).serial) == ("held", 1)
        await rig.tell(make_stream("b").content(make_block("a.example", "b.example", "c.example")))
        await wait_all_tasks_blocked()
        assert rig.server.messages == []
        assert await rig.ask(ResumeZone()) == "the zone is published again, beginning with what was held"
        assert (await rig.published()).serial == 2
        assert await rig.ask(ResumeZone()) == "the zone was not held"


async def test_a_serial_forward_keeps_the_journal(
    autojump_clock: MockClock, run_keeper: Any, make_block: Blocks
) -> None:
    async with run_keeper() as rig:
        await rig.tell(rig.stream.content(make_block("a.example")))
        await rig.published()
        assert await rig.ask(SetSerial(serial=1000)) == "the serial is 1000"
        view = await rig.published()
        assert view.serial == 1000
        assert len(view.journal.net(1)) == 0
        assert await rig.ask(SetSerial(serial=1000)) == "the serial is 1000 already"
        await rig.tell(rig.stream.change(added=make_block("b.example")))
        assert (await rig.published()).serial == 1001
    async with run_keeper() as rig:
        assert (await rig.ask(GetView())).serial == 1001


async def test_a_serial_back_begins_the_journal_anew(
    autojump_clock: MockClock, run_keeper: Any, make_block: Blocks, settings: KeeperSettings
) -> None:
    assert settings.serial_cache is not None
    settings.serial_cache.write_text("current_serial: 499\n")
    async with run_keeper() as rig:
        await rig.tell(rig.stream.content(make_block("a.example")))
        await rig.published()
        await rig.tell(rig.stream.change(added=make_block("b.example")))
        await rig.published()
        assert "not after 501" in await rig.ask(SetSerial(serial=7))
        view = await rig.published()
        assert view.serial == 7
        assert view.journal.from_serial is None
        assert read_serialcache(settings.serial_cache).serial == 7
        await rig.tell(rig.stream.change(added=make_block("c.example")))
        assert (await rig.published()).serial == 8
    async with run_keeper() as rig:
        assert (await rig.ask(GetView())).serial == 8


async def test_serials_that_are_none_are_refused(autojump_clock: MockClock, run_keeper: Any) -> None:
    async with run_keeper() as rig:
        for serial in (0, -1, 2**32):
            with pytest.raises(AskFailed):
                await rig.ask(SetSerial(serial=serial))


async def test_a_serial_set_before_the_first_version_is_that_versions(
    autojump_clock: MockClock, run_keeper: Any, make_block: Blocks
) -> None:
    async with run_keeper() as rig:
        assert "the first one will have serial 5" in await rig.ask(SetSerial(serial=5))
        await rig.tell(rig.stream.content(make_block("a.example")))
        assert (await rig.published()).serial == 5


async def test_other_settings_get_another_serial_and_no_journal(
    autojump_clock: MockClock, run_keeper: Any, make_block: Blocks, settings: KeeperSettings
) -> None:
    async with run_keeper() as rig:
        await rig.tell(rig.stream.content(make_block("a.example")))
        await rig.published()
        await rig.tell(rig.stream.change(added=make_block("b.example")))
        await rig.published()
    changed = attrs.evolve(settings, zone=attrs.evolve(settings.zone, refresh=3600))
    async with run_keeper(settings=changed) as rig:
        await wait_all_tasks_blocked()
        view = await rig.ask(GetView())
        assert (view.serial, view.journal.from_serial, len(view.version)) == (3, None, 2)
    async with run_keeper(settings=changed) as rig:
        await wait_all_tasks_blocked()
        assert (await rig.ask(GetView())).serial == 3


async def test_records_that_the_settings_cannot_say_any_more_are_left_out(
    autojump_clock: MockClock, run_keeper: Any, make_block: Blocks, settings: KeeperSettings
) -> None:
    redirecting = attrs.evolve(settings, zone=attrs.evolve(settings.zone, redirect=parse_name("walled.example")))
    async with run_keeper(settings=redirecting) as rig:
        records = [*make_block("a.example", action=Action.REDIRECT), *make_block("b.example")]
        await rig.tell(rig.stream.content(RecordBlock.of(records)))
        await rig.published()
    async with run_keeper() as rig:
        await wait_all_tasks_blocked()
        view = await rig.ask(GetView())
        assert view.serial == 2
        assert same(view, make_block("b.example"))


async def test_a_serialcache_that_is_ahead_is_followed(
    autojump_clock: MockClock, run_keeper: Any, make_block: Blocks, settings: KeeperSettings
) -> None:
    """The old daemon ran in between, and secondaries have its serials: ours come after them."""
    async with run_keeper() as rig:
        await rig.tell(rig.stream.content(make_block("a.example")))
        await rig.published()
    assert settings.serial_cache is not None
    settings.serial_cache.write_text("current_serial: 90\n")
    async with run_keeper() as rig:
        await wait_all_tasks_blocked()
        # What is stored is older than what secondaries have: they keep theirs until it is known what is desired.
        assert await rig.ask(GetView()) is None
        await rig.tell(rig.stream.content(make_block("a.example", "b.example")))
        view = await rig.published()
        assert (view.serial, len(view.version)) == (91, 2)
    async with run_keeper() as rig:
        view = await rig.ask(GetView())
        assert (view.serial, len(view.version)) == (91, 2)


async def test_a_serialcache_that_is_ahead_does_not_open_the_brake(
    autojump_clock: MockClock, run_keeper: Any, make_numbered: Blocks, settings: KeeperSettings
) -> None:
    async with run_keeper() as rig:
        await rig.tell(rig.stream.content(make_numbered(0, 40)))
        await rig.published()
    assert settings.serial_cache is not None
    settings.serial_cache.write_text("current_serial: 90\n")
    async with run_keeper() as rig:
        await rig.tell(rig.stream.content(make_numbered(0, 5)))
        view = await rig.published()
        assert (view.serial, len(view.version)) == (91, 40)
        assert (await rig.status()).state == "braked"


async def test_no_serial_has_two_contents_when_the_settings_changed(
    autojump_clock: MockClock, run_keeper: Any, make_block: Blocks, settings: KeeperSettings
) -> None:
    """For a moment after the restart, the old serial was seen with the new SOA."""
    async with run_keeper() as rig:
        await rig.tell(rig.stream.content(make_block("a.example")))
        await rig.published()
    changed = attrs.evolve(settings, zone=attrs.evolve(settings.zone, refresh=3600))
    async with run_keeper(settings=changed) as rig:
        # The first thing that anybody can ask.
        assert (await rig.ask(GetView())).serial == 2
    store = FailingStore()
    store.failing = StoreFull(path=settings.store_path, reason="disk full")
    async with run_keeper(open_store=store.open) as rig:
        # Nothing can be committed: the zone is served all the same, and gets its serial when it can.
        assert ((await rig.ask(GetView())).serial, (await rig.status()).state) == (2, "unsaved")
        store.failing = None
        assert (await rig.published()).serial == 3


async def test_a_notifier_without_room_hears_of_the_version_later(
    autojump_clock: MockClock, run_keeper: Any, make_block: Blocks
) -> None:
    """Full of what hundreds of secondaries asked, it never heard of that version."""

    def busy(notifier: Any) -> ActorSpec[Any]:
        mailbox = MailboxSpec(capacity=1, overflow=Overflow.REJECT)
        return ActorSpec(name="notifier", factory=stall(lambda: notifier, 5), mailbox=mailbox)

    async with run_keeper(notifier_spec=busy) as rig:
        await rig.system.ref("notifier").tell("something else")
        await wait_all_tasks_blocked()
        await rig.system.ref("notifier").tell("and more")
        await rig.tell(rig.stream.content(make_block("a.example")))
        await rig.published()
        await trio.sleep(30)
        assert [message.view.serial for message in rig.notifier.messages[2:]] == [1]


async def test_missing_sources_are_said_once(
    autojump_clock: MockClock, run_keeper: Any, make_block: Blocks, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG)
    async with run_keeper() as rig:
        for _ in range(3):
            await rig.tell(SourcesMissing(zone="rpz.test.", waiting_for=("one", "two")))
        await rig.tell(rig.stream.content(make_block("a.example")))
        await rig.published()
    assert caplog.text.count("the evaluator waits for one, two") == 1
    assert caplog.text.count("the evaluator waits for nobody any more") == 1


# -- a store that fails


async def test_a_full_disk_keeps_the_old_version_and_is_tried_again(
    autojump_clock: MockClock, run_keeper: Any, make_block: Blocks, settings: KeeperSettings
) -> None:
    store = FailingStore()
    async with run_keeper(open_store=store.open) as rig:
        await rig.tell(rig.stream.content(make_block("a.example")))
        await rig.published()
        store.failing = StoreFull(path=settings.store_path, reason="disk full")
        await rig.tell(rig.stream.change(added=make_block("b.example")))
        await wait_all_tasks_blocked()
        status = await rig.status()
        assert (status.state, status.serial) == ("unsaved", 1)
        assert "disk full" in status.store_error
        assert (await rig.ask(GetView())).serial == 1
        await rig.tell(rig.stream.change(added=make_block("c.example")))
        await trio.sleep(100)
        assert (await rig.status()).serial == 1
        assert len(rig.server.messages) == 1
        store.failing = None
        view = await rig.published()
        assert (view.serial, len(view.version)) == (2, 3)
        status = await rig.status()
        assert (status.state, status.store_error) == ("serving", "")


async def test_holding_while_the_disk_is_full_holds_and_is_saved_later(
    autojump_clock: MockClock, run_keeper: Any, make_block: Blocks, settings: KeeperSettings
) -> None:
    store = FailingStore()
    async with run_keeper(open_store=store.open) as rig:
        await rig.tell(rig.stream.content(make_block("a.example")))
        await rig.published()
        store.failing = StoreFull(path=settings.store_path, reason="disk full")
        assert "a restart would forget it" in await rig.ask(HoldZone())
        await rig.tell(rig.stream.change(added=make_block("b.example")))
        await trio.sleep(10)
        assert (await rig.status()).serial == 1
        store.failing = None
        await trio.sleep(60)
        assert (await rig.status()).state == "held"
    async with run_keeper() as rig:
        assert (await rig.status()).state == "held"


async def test_the_brake_after_a_full_disk_neither_spins_nor_goes_on_complaining(
    autojump_clock: MockClock, run_keeper: Any, make_numbered: Blocks, settings: KeeperSettings
) -> None:
    """The time of the next try was over and nothing was to be tried: the author turned round and round."""
    store = FailingStore()
    async with run_keeper(open_store=store.open) as rig:
        await rig.tell(rig.stream.content(make_numbered(0, 40)))
        await rig.published()
        store.failing = StoreFull(path=settings.store_path, reason="disk full")
        await rig.tell(rig.stream.change(removed=make_numbered(0, 1)))
        await wait_all_tasks_blocked()
        assert (await rig.status()).state == "unsaved"
        await rig.tell(rig.stream.change(removed=make_numbered(1, 21)))
        await trio.sleep(10)
        # Were the author still turning, this would never return.
        with trio.fail_after(1):
            await wait_all_tasks_blocked()
        status = await rig.status()
        assert (status.state, status.store_error, status.held_change) == ("braked", "", (21, 0))
        store.failing = None
        await rig.ask(AcceptZone())
        view = await rig.published()
        assert (view.serial, len(view.version)) == (2, 19)


async def test_a_serial_is_not_set_while_the_disk_is_full(
    autojump_clock: MockClock, run_keeper: Any, make_block: Blocks, settings: KeeperSettings
) -> None:
    store = FailingStore()
    async with run_keeper(open_store=store.open) as rig:
        await rig.tell(rig.stream.content(make_block("a.example")))
        await rig.published()
        store.failing = StoreFull(path=settings.store_path, reason="disk full")
        with pytest.raises(AskFailed, match="disk full"):
            await rig.ask(SetSerial(serial=50))
        assert (await rig.ask(GetView())).serial == 1


@pytest.mark.parametrize("message", ["delta", "reset"])
async def test_a_store_found_corrupt_is_put_aside_and_begun_anew(
    autojump_clock: MockClock, run_keeper: Any, make_block: Blocks, settings: KeeperSettings, message: str
) -> None:
    store = FailingStore()
    async with run_keeper(open_store=store.open) as rig:
        await rig.tell(rig.stream.content(make_block("a.example")))
        await rig.published()
        await rig.tell(rig.stream.change(added=make_block("b.example")))
        await rig.published()
        store.failing = StoreCorrupt(path=settings.store_path, reason="a seal is broken")
        if message == "delta":
            await rig.tell(rig.stream.change(added=make_block("c.example")))
        else:
            await rig.ask(SetSerial(serial=1))
        view = await rig.published()
        assert view.serial == (3 if message == "delta" else 1)
        assert (await rig.status()).state == "serving"
    assert len(list(settings.store_path.parent.glob("zone.db.corrupt-*"))) >= 1
    async with run_keeper() as rig:
        again = await rig.ask(GetView())
        assert (again.serial, dict(again.version)) == (view.serial, dict(view.version))
        # The journal was in memory, so it is not lost.
        assert again.journal.from_serial == view.journal.from_serial


async def test_a_corrupt_file_is_put_aside_and_the_serial_goes_on(
    autojump_clock: MockClock, run_keeper: Any, make_block: Blocks, settings: KeeperSettings, make_stream: Any
) -> None:
    assert settings.serial_cache is not None
    settings.serial_cache.write_text("current_serial: 41\n")
    async with run_keeper() as rig:
        await rig.tell(rig.stream.content(make_block("a.example")))
        assert (await rig.published()).serial == 42
    settings.store_path.write_bytes(b"\0" * 8192)
    async with run_keeper() as rig:
        assert ((await rig.status()).state, await rig.ask(GetView())) == ("empty", None)
        await rig.tell(make_stream("b").content(make_block("a.example")))
        assert (await rig.published()).serial == 43


async def test_without_store_and_serialcache_the_serial_still_goes_forward(
    autojump_clock: MockClock, run_keeper: Any, make_block: Blocks, settings: KeeperSettings, make_stream: Any
) -> None:
    async with run_keeper() as rig:
        await rig.tell(rig.stream.content(make_block("a.example")))
        assert (await rig.published()).serial == 1
    assert settings.serial_cache is not None
    settings.serial_cache.unlink()
    settings.store_path.with_name("serial").unlink()
    settings.store_path.write_bytes(b"")
    async with run_keeper() as rig:
        await rig.tell(make_stream("b").content(make_block("a.example")))
        assert (await rig.published()).serial == 1_700_000_001


@pytest.mark.parametrize("loss", ["corrupt", "gone"])
async def test_a_serialcache_that_could_not_be_written_does_not_take_the_serial_back(
    autojump_clock: MockClock,
    run_keeper: Any,
    make_block: Blocks,
    settings: KeeperSettings,
    make_stream: Any,
    loss: str,
) -> None:
    """It said 41 from long ago; with the store lost, the serial went back to 42."""
    assert settings.serial_cache is not None
    settings.serial_cache.write_text("current_serial: 41\n")
    async with run_keeper() as rig:
        for number in range(5):
            await rig.tell(rig.stream.content(make_block(f"n{number}.example")))
            assert (await rig.published()).serial == 42 + number
    settings.serial_cache.write_text("current_serial: 41\n")
    for path in settings.store_path.parent.glob("zone.db*"):
        path.unlink()
    if loss == "corrupt":
        settings.store_path.write_bytes(b"junk" * 2000)
    async with run_keeper() as rig:
        await rig.tell(make_stream("b").content(make_block("a.example")))
        assert (await rig.published()).serial == 47


async def test_with_serialcache_and_store_removed_the_serial_still_goes_forward(
    autojump_clock: MockClock, run_keeper: Any, make_block: Blocks, settings: KeeperSettings, make_stream: Any
) -> None:
    async with run_keeper() as rig:
        await rig.tell(rig.stream.content(make_block("a.example")))
        await rig.published()
        await rig.tell(rig.stream.content(make_block("b.example")))
        await rig.published()
    assert settings.serial_cache is not None
    settings.serial_cache.unlink()
    settings.store_path.unlink()
    async with run_keeper() as rig:
        await rig.tell(make_stream("b").content(make_block("b.example")))
        assert (await rig.published()).serial == 3


@pytest.mark.parametrize("replaced", [False, True])
async def test_a_store_that_is_removed_under_us_is_begun_anew(
    autojump_clock: MockClock,
    run_keeper: Any,
    make_block: Blocks,
    settings: KeeperSettings,
    caplog: pytest.LogCaptureFixture,
    replaced: bool,
) -> None:
    """SQLite went on writing to the removed file, and all was said to be saved."""
    async with run_keeper() as rig:
        await rig.tell(rig.stream.content(make_block("a.example")))
        await rig.published()
        if replaced:
            settings.store_path.with_name("other").write_bytes(settings.store_path.read_bytes())
            settings.store_path.with_name("other").replace(settings.store_path)
        else:
            for path in settings.store_path.parent.glob("zone.db*"):
                path.unlink()
        await rig.tell(rig.stream.change(added=make_block("b.example")))
        assert (await rig.published()).serial == 2
    assert f"while it was in use); {'it is kept as' if replaced else 'nothing of it is left'}" in caplog.text
    async with run_keeper() as rig:
        view = await rig.ask(GetView())
        assert (view.serial, len(view.version), view.journal.from_serial) == (2, 2, 1)


async def test_holding_with_the_store_removed_begins_it_anew(
    autojump_clock: MockClock, run_keeper: Any, make_block: Blocks, settings: KeeperSettings
) -> None:
    """The hold could never be saved in the store that was removed, and nothing was published before it was."""
    async with run_keeper() as rig:
        await rig.tell(rig.stream.content(make_block("a.example")))
        await rig.published()
        settings.store_path.unlink()
        assert await rig.ask(HoldZone()) == "the zone is held: nothing new is published"
        await rig.tell(rig.stream.change(added=make_block("b.example")))
        await wait_all_tasks_blocked()
        assert ((await rig.status()).state, (await rig.status()).serial) == ("held", 1)
    async with run_keeper() as rig:
        assert ((await rig.status()).state, (await rig.status()).serial) == ("held", 1)
        settings.store_path.unlink()
        await rig.ask(ResumeZone())
        await rig.tell(rig.stream.content(make_block("c.example")))
        assert (await rig.published()).serial == 2


async def test_holding_before_there_is_a_version_with_the_store_removed(
    autojump_clock: MockClock, run_keeper: Any, settings: KeeperSettings
) -> None:
    async with run_keeper() as rig:
        settings.store_path.unlink()
        assert await rig.ask(HoldZone()) == "the zone is held: nothing new is published"
    async with run_keeper() as rig:
        assert (await rig.status()).state == "held"


async def test_a_store_that_cannot_be_opened_is_tried_again(
    autojump_clock: MockClock, run_keeper: Any, make_block: Blocks, settings: KeeperSettings
) -> None:
    async with run_keeper() as rig:
        await rig.tell(rig.stream.content(make_block("a.example")))
        await rig.published()
    store = FailingStore()
    store.opening = StoreFull(path=settings.store_path, reason="permission denied")
    async with run_keeper(open_store=store.open) as rig:
        assert (await rig.status()).state == "unsaved"
        with pytest.raises(AskFailed, match="permission denied"):
            await rig.ask(HoldZone())
        await rig.tell(rig.stream.content(make_block("a.example", "b.example")))
        await trio.sleep(10)
        assert await rig.ask(GetView()) is None
        store.opening = None
        assert (await rig.published()).serial == 1
        # What came meanwhile was not kept.
        await rig.policy.wait_count(1)
        await rig.tell(rig.stream.content(make_block("a.example", "b.example")))
        assert (await rig.published()).serial == 2


async def test_a_serialcache_that_cannot_be_written_is_reported_and_stops_nothing(
    autojump_clock: MockClock,
    run_keeper: Any,
    make_block: Blocks,
    settings: KeeperSettings,
    caplog: pytest.LogCaptureFixture,
) -> None:
    nowhere = attrs.evolve(settings, serial_cache=settings.store_path.parent / "missing" / "serial.yaml")
    async with run_keeper(settings=nowhere) as rig:
        await rig.tell(rig.stream.content(make_block("a.example")))
        await rig.published()
        await rig.tell(rig.stream.change(added=make_block("b.example")))
        assert (await rig.published()).serial == 2
    assert caplog.text.count("is saved, but:") == 1


async def test_after_a_crash_the_keeper_goes_on_from_what_is_stored(
    autojump_clock: MockClock, run_keeper: Any, make_block: Blocks, make_stream: Any
) -> None:
    async with run_keeper() as rig:
        await rig.tell(rig.stream.content(make_block("a.example")))
        await rig.published()
        await rig.tell(attrs.evolve(rig.stream.change(), position=None))
        await trio.sleep(1)
        assert (await rig.ask(GetView())).serial == 1
        await rig.policy.next()
        await rig.tell(make_stream("b").content(make_block("b.example")))
        assert (await rig.published()).serial == 2
