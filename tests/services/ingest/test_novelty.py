"""Every name that was sifted out is stored as seen, or forgotten; whatever the disk does."""

import logging
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import attrs
import numpy as np
import pytest
import trio
from sightings import MAY, named, sightings_of

from actors import ActorSpec, ActorSystem, Backoff, ManualClock, Strategy, SupervisorSpec, SystemSettings
from actors.testing import Probe, crash_on_nth, run_system
from tapir.codec.newqname import Sightings
from tapir.minimiser.novelty import RecentNames
from tapir.model.messages.edm import GetNovelty, NoveltyStatus
from tapir.model.messages.events import ClearEvent, EventKind, RaiseEvent
from tapir.model.messages.newnames import EventsQueued
from tapir.services.ingest import novelty
from tapir.services.ingest.messages import NamesSighted
from tapir.services.ingest.novelty import EVENTS, MAILBOX, SEEN, ConfigureNovelty, NoveltyKeeper, NoveltySettings
from tapir.services.ingest.seenholder import SeenHolder
from tapir.store.errors import StoreCorrupt, StoreFull
from tapir.store.seen import Retention, SeenStore

DAY = 86_400_000_000


class Recent(RecentNames):
    """Also counts what is forgotten, and how often it is aged."""

    def __init__(self) -> None:
        super().__init__(1024, refresh=3_600_000_000)
        self.forgotten: list[int] = []
        self.aged: list[int] = []

    def forget(self, hashes: Any) -> None:
        self.forgotten += hashes.tolist()
        super().forget(hashes)

    def age(self, now: int) -> None:
        self.aged.append(now)
        super().age(now)


def sighted(*labels: str) -> NamesSighted:
    """A message with a hash of its own for each name."""
    rows = sightings_of([named(label) for label in labels])
    hashes = np.array([sum(label.lower().encode()) for label in labels], dtype=np.uint64)
    return NamesSighted(sightings=attrs.evolve(rows, name_hash=hashes))


def hash_of(label: str) -> int:
    return sum(label.encode())


class Rig:
    def __init__(self, folder: Path, **settings: Any) -> None:
        self.settings = NoveltySettings(path=folder / "data" / "seen", **settings)
        self.holder = SeenHolder()
        self.recent = Recent()
        self.newnames, self.events = Probe(), Probe()
        self.system = ActorSystem(clock=ManualClock(MAY), settings=SystemSettings(seed=0))
        self.ref = self.system.ref("novelty")
        self.make: Any = lambda: NoveltyKeeper(
            lambda: self.settings,
            holder=self.holder,
            recent=self.recent,
            newnames=self.system.ref("newnames"),
            events=self.system.ref("events"),
        )

    def tree(self, **spec: Any) -> SupervisorSpec:
        return SupervisorSpec(
            name="test",
            strategy=Strategy.ONE_FOR_ONE,
            children=(
                self.newnames.spec("newnames"),
                self.events.spec("events"),
                ActorSpec(name="novelty", factory=self.make, mailbox=MAILBOX, backoff=Backoff(jitter=0), **spec),
            ),
        )

    async def status(self) -> NoveltyStatus:
        status: NoveltyStatus = await self.ref.ask(GetNovelty())
        return status

    def events_waiting(self) -> int:
        assert self.holder.store is not None
        return len(self.holder.store.waiting(10_000))


@asynccontextmanager
async def running(rig: Rig, **spec: Any) -> AsyncIterator[Rig]:
    try:
        async with run_system(rig.tree(**spec), system=rig.system):
            yield rig
    finally:
        rig.holder.close()


def stored(path: Path) -> tuple[int, int]:
    """How many names and events are in the store."""
    store = SeenStore.open(path)
    statistics = store.statistics()
    store.close()
    return statistics.names, statistics.events


async def test_names_are_reported_half_a_second_later_in_one_batch(tmp_path: Path, autojump_clock: Any) -> None:
    async with running(Rig(tmp_path)) as rig:
        await trio.sleep(1)
        await rig.ref.tell(sighted("a", "b"))
        await trio.sleep(0.2)
        await rig.ref.tell(sighted("c"))
        await trio.sleep(0.2)
        assert (await rig.status()).gathered == 3
        assert rig.newnames.messages == []
        await trio.sleep(0.2)
        status = await rig.status()
        assert (status.gathered, status.asked, status.new, status.put_off, status.trouble) == (0, 3, 3, 0, "")
        assert [each.name for each in status.newest] == ["c.example.", "b.example.", "a.example."]
        assert status.newest[0].at == MAY + 1_500_000
        assert rig.newnames.messages == [EventsQueued()]
        assert rig.events_waiting() == 3
        assert rig.recent.forgotten == []


async def test_a_whole_batch_does_not_wait(
    tmp_path: Path, autojump_clock: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(novelty, "_BATCH", 4)
    async with running(Rig(tmp_path)) as rig:
        await trio.sleep(1)
        await rig.ref.tell(sighted("a", "b", "c", "d", "e"))
        await trio.sleep(0.01)
        status = await rig.status()
        assert (status.asked, status.gathered) == (4, 1)
        await trio.sleep(0.6)
        assert (await rig.status()).asked == 5


async def test_one_event_for_a_name_that_comes_in_many_blocks(tmp_path: Path, autojump_clock: Any) -> None:
    async with running(Rig(tmp_path)) as rig:
        async with trio.open_nursery() as nursery:
            for _ in range(20):
                nursery.start_soon(rig.ref.tell, sighted("a", "b", "A"))
        await trio.sleep(1)
        await rig.ref.tell(sighted("B", "a"))
        await trio.sleep(1)
        status = await rig.status()
        assert (status.asked, status.new) == (62, 2)
        assert len(status.newest) == rig.events_waiting() == 2
        assert len(rig.newnames.messages) == 1


async def test_the_newest_fifty_are_told(tmp_path: Path, autojump_clock: Any) -> None:
    async with running(Rig(tmp_path)) as rig:
        await rig.ref.tell(sighted(*(f"n{number}" for number in range(70))))
        await trio.sleep(1)
        await rig.ref.tell(sighted("last"))
        await trio.sleep(1)
        newest = [each.name for each in (await rig.status()).newest]
        assert newest == ["last.example."] + [f"n{number}.example." for number in range(69, 20, -1)]


async def test_names_are_seen_though_nobody_wants_events(tmp_path: Path, autojump_clock: Any) -> None:
    rig = Rig(tmp_path, events_enabled=False)
    async with running(rig):
        await rig.ref.tell(sighted("a"))
        await trio.sleep(1)
        assert (await rig.status()).new == 1
        assert rig.events_waiting() == 0
        assert rig.newnames.messages == []
    rig = Rig(tmp_path)
    async with running(rig):
        await rig.ref.tell(sighted("a", "b"))
        await trio.sleep(1)
        assert (await rig.status()).new == rig.events_waiting() == 1


async def test_that_events_make_room_unsent_is_told(tmp_path: Path, autojump_clock: Any) -> None:
    async with running(Rig(tmp_path, retention=Retention(events=2))) as rig:
        await rig.ref.tell(sighted("a", "b"))
        await trio.sleep(1)
        assert [each for each in rig.events.messages if isinstance(each, RaiseEvent)] == []
        await rig.ref.tell(sighted("c"))
        await trio.sleep(1)
        assert [(each.kind, each.subject) for each in rig.events.messages if isinstance(each, RaiseEvent)] == [
            (EventKind.EVENTS_DROPPED, EVENTS)
        ]
        await trio.sleep(3700)
        assert rig.events.messages[-1] == ClearEvent(kind=EventKind.EVENTS_DROPPED, subject=EVENTS)


async def test_what_is_gathered_is_reported_at_the_stop(tmp_path: Path, autojump_clock: Any) -> None:
    rig = Rig(tmp_path)
    async with running(rig):
        await trio.sleep(1)
        await rig.ref.tell(sighted("a", "b"))
    assert stored(rig.settings.path) == (2, 2)
    assert rig.recent.forgotten == []


async def test_the_disk_fails_and_comes_back(
    tmp_path: Path, autojump_clock: Any, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO)
    monkeypatch.setattr(novelty, "_BATCH", 2)
    monkeypatch.setattr(novelty, "_LIMIT", 4)

    def refuse(self: SeenStore, sightings: Sightings, **_: Any) -> None:
        raise StoreFull(path=self.path, reason="no space left")

    async with running(Rig(tmp_path)) as rig:
        await trio.sleep(1)
        with monkeypatch.context() as patch:
            patch.setattr(SeenStore, "report", refuse)
            await rig.ref.tell(sighted("a", "b"))
            await trio.sleep(1)
            await rig.ref.tell(sighted("c", "d", "e"))
            await rig.ref.tell(sighted("f", "g", "h"))
            await trio.sleep(3600)
            status = await rig.status()
            assert "no space left" in status.trouble
            # Two are asked about again and again, four wait behind them, and there is no room for the others.
            assert (status.gathered, status.asked, status.put_off) == (6, 0, 2)
            assert rig.recent.forgotten == [hash_of("g"), hash_of("h")]
        await trio.sleep(61)
        status = await rig.status()
        assert (status.gathered, status.new, status.trouble) == (0, 6, "")
        await rig.ref.tell(sighted("g", "a", "h"))
        await trio.sleep(1)
        assert rig.events_waiting() == 8
    told = rig.events.messages
    assert {(each.kind, each.subject) for each in told} == {(EventKind.DISK_FULL, SEEN)}
    # Said again while it lasts, for a keeper that was restarted.
    assert [type(each) for each in told] == [ClearEvent, *[RaiseEvent] * 13, ClearEvent]
    said = [record.message for record in caplog.records if record.name == "actors.novelty"]
    assert len(said) == 2
    assert said[0].startswith("names cannot be stored as seen now (")
    assert said[1] == "names are stored as seen again"


async def test_a_store_that_cannot_be_opened_is_tried_again(
    tmp_path: Path, autojump_clock: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(novelty, "_LIMIT", 2)
    rig = Rig(tmp_path)
    rig.settings.path.parent.write_bytes(b"a file where the folder should be")
    async with running(rig):
        await rig.ref.tell(sighted("a", "b", "c"))
        await trio.sleep(600)
        status = await rig.status()
        assert (status.gathered, status.put_off) == (2, 1)
        assert str(rig.settings.path.parent) in status.trouble
        rig.settings.path.parent.unlink()
        await trio.sleep(61)
        status = await rig.status()
        assert (status.new, status.trouble) == (2, "")


async def test_what_a_failing_disk_holds_up_is_forgotten_at_the_stop(
    tmp_path: Path, autojump_clock: Any, caplog: pytest.LogCaptureFixture
) -> None:
    rig = Rig(tmp_path)
    rig.settings.path.parent.write_bytes(b"")
    async with running(rig):
        await rig.ref.tell(sighted("a", "b"))
        await trio.sleep(5)
    assert rig.recent.forgotten == [hash_of("a"), hash_of("b")]
    assert "2 names are not stored as seen; each is looked for when it comes again" in caplog.messages


async def test_a_damaged_store_is_moved_aside(
    tmp_path: Path, autojump_clock: Any, caplog: pytest.LogCaptureFixture
) -> None:
    rig = Rig(tmp_path)
    rig.settings.path.parent.mkdir()
    rig.settings.path.write_bytes(b"no environment of LMDB" * 1000)
    async with running(rig):
        await rig.ref.tell(sighted("a"))
        await trio.sleep(3)
        status = await rig.status()
        assert (status.new, status.trouble) == (1, "")
    assert len(list(rig.settings.path.parent.glob("seen.corrupt-*"))) == 1
    said = [record.message for record in caplog.records if record.levelno == logging.ERROR]
    assert len(said) == 1
    assert "every name is new again" in said[0]
    raised = [each for each in rig.events.messages if isinstance(each, RaiseEvent)]
    assert [(each.kind, each.subject, each.text) for each in raised] == [(EventKind.STORE_ASIDE, SEEN, said[0])]


async def test_one_that_is_damaged_while_in_use_keeps_the_batch(
    tmp_path: Path, autojump_clock: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with running(Rig(tmp_path)) as rig:
        await rig.ref.tell(sighted("a"))
        await trio.sleep(1)
        first = rig.holder.store
        with monkeypatch.context() as patch:

            def damaged(self: SeenStore, sightings: Sightings, **_: Any) -> None:
                patch.undo()
                raise StoreCorrupt(path=self.path, reason="a page is not there")

            patch.setattr(SeenStore, "report", damaged)
            await rig.ref.tell(sighted("a", "b"))
            await trio.sleep(3)
        assert rig.holder.store is not first
        status = await rig.status()
        assert (status.new, status.put_off) == (3, 0)
        assert rig.events_waiting() == 2


async def test_a_damaged_event_is_found_before_its_sender_stumbles_over_it_for_ever(
    tmp_path: Path, autojump_clock: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    def damaged(self: SeenStore, limit: int, *, after: int = 0) -> Any:
        raise StoreCorrupt(path=self.path, reason="an event in the outbox is damaged")

    async with running(Rig(tmp_path, retention=Retention(age=None))) as rig:
        await rig.ref.tell(sighted("a"))
        await trio.sleep(1)
        first = rig.holder.store
        with monkeypatch.context() as patch:
            patch.setattr(SeenStore, "waiting", damaged)
            await trio.sleep(31)
        assert rig.holder.store is not first
        await rig.ref.tell(sighted("a"))
        await trio.sleep(1)
        assert rig.events_waiting() == 1


async def test_damage_that_cannot_be_moved_aside_is_told_as_trouble(
    tmp_path: Path, autojump_clock: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    def stay(path: Path, now: int) -> Path:
        raise StoreFull(path=path, reason="the folder is read-only")

    rig = Rig(tmp_path)
    rig.settings.path.parent.mkdir()
    rig.settings.path.write_bytes(b"no environment of LMDB" * 1000)
    async with running(rig):
        with monkeypatch.context() as patch:
            patch.setattr("tapir.services.ingest.seenholder.quarantine", stay)
            await trio.sleep(100)
            assert "read-only" in (await rig.status()).trouble
            assert rig.holder.store is None
        await trio.sleep(61)
        assert (await rig.status()).trouble == ""
        assert rig.holder.store is not None


async def test_a_crash_keeps_the_store_and_forgets_what_was_in_hand(tmp_path: Path, autojump_clock: Any) -> None:
    rig = Rig(tmp_path)
    rig.make = crash_on_nth(rig.make, 3)
    async with running(rig):
        await rig.ref.tell(sighted("a"))
        await trio.sleep(1)
        store = rig.holder.store
        await rig.ref.tell(sighted("b", "c"))
        await rig.ref.tell(sighted("d"))  # crashes on this one, before it is taken in
        await trio.sleep(1)
        assert rig.recent.forgotten == [hash_of("b"), hash_of("c")]
        assert rig.holder.store is store
        await rig.ref.tell(sighted("a", "b", "c"))
        await trio.sleep(1)
        assert (await rig.status()).new == 2
        assert rig.events_waiting() == 3


async def test_a_batch_that_brings_the_actor_down_is_not_asked_about_again_at_once(
    tmp_path: Path, autojump_clock: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(novelty, "_BATCH", 2)
    async with running(Rig(tmp_path)) as rig:
        await trio.sleep(1)
        with monkeypatch.context() as patch:

            def fail(self: SeenStore, sightings: Sightings, **_: Any) -> None:
                patch.undo()
                raise ValueError("nobody thought of that")

            patch.setattr(SeenStore, "report", fail)
            await rig.ref.tell(sighted("a", "b", "c"))
            await trio.sleep(1)
        assert rig.recent.forgotten == [hash_of("c")]
        await rig.ref.tell(sighted("c", "d"))
        await trio.sleep(1)
        assert (await rig.status()).new == 2


async def test_recent_names_age_each_second(tmp_path: Path, autojump_clock: Any) -> None:
    async with running(Rig(tmp_path)) as rig:
        await trio.sleep(3.5)
        assert np.diff(rig.recent.aged).tolist() == [1_000_000] * 3


async def test_a_new_retention_holds_at_once(tmp_path: Path, autojump_clock: Any) -> None:
    async with running(Rig(tmp_path, sync=True)) as rig:
        await rig.ref.tell(sighted("a", "b"))
        await trio.sleep(1)
        assert rig.holder.store is not None
        assert rig.holder.store.sync
        await trio.sleep(300)
        assert rig.holder.store.statistics().names == 2
        settings = attrs.evolve(rig.settings, retention=Retention(age=60_000_000, events=1), sync=False)
        await rig.ref.ask(ConfigureNovelty(settings=settings))
        await trio.sleep(31)
        assert rig.holder.store.statistics().names == 0
        assert not rig.holder.store.sync
        await rig.ref.tell(sighted("c", "d"))
        await trio.sleep(1)
        assert rig.events_waiting() == 1
        await rig.ref.ask(ConfigureNovelty(settings=attrs.evolve(settings, retention=Retention(age=None))))
        await trio.sleep(3600)
        assert rig.holder.store.statistics().names == 2


async def test_names_are_asked_about_as_soon_as_new_settings_say(tmp_path: Path, autojump_clock: Any) -> None:
    async with running(Rig(tmp_path, refresh=7_200_000_000)) as rig:
        assert rig.recent.refresh == 7_200_000_000
        # Who shortens the retention must not have names in use forgotten before they are noted once more.
        await rig.ref.ask(ConfigureNovelty(settings=attrs.evolve(rig.settings, refresh=60_000_000)))
        assert rig.recent.refresh == 60_000_000


async def test_a_sweep_takes_as_many_steps_as_there_are_names(
    tmp_path: Path, autojump_clock: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(novelty, "_WINDOW", 2)
    # A tenth of the age is ten sweeps, so a sweep takes a tenth of the 100 names.
    async with running(Rig(tmp_path, retention=Retention(age=3_000_000_000))) as rig:
        await rig.ref.tell(sighted(*(f"n{number}" for number in range(100))))
        await trio.sleep(31)
        windows: list[int] = []
        sweep = SeenStore.sweep

        def count(self: SeenStore, *, now: int, limit: int) -> int:
            windows.append(limit)
            return sweep(self, now=now, limit=limit)

        monkeypatch.setattr(SeenStore, "sweep", count)
        await trio.sleep(30)
        assert windows == [2] * 5


async def test_a_sweep_that_fails_is_trouble_until_something_is_written(
    tmp_path: Path, autojump_clock: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(self: SeenStore, **_: Any) -> int:
        raise StoreFull(path=self.path, reason="no space left")

    async with running(Rig(tmp_path)) as rig:
        await rig.ref.tell(sighted("a"))
        await trio.sleep(1)
        monkeypatch.setattr(SeenStore, "sweep", refuse)
        await trio.sleep(100)
        assert "no space left" in (await rig.status()).trouble
        await rig.ref.tell(sighted("a"))
        await trio.sleep(1)
        assert "no space left" in (await rig.status()).trouble
        await rig.ref.tell(sighted("b"))
        await trio.sleep(1)
        assert (await rig.status()).trouble == ""
