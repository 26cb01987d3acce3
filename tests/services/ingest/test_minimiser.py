"""Frames in, files and sightings out; each minute, on request and at the end."""

import logging
import os
import threading
from pathlib import Path
from typing import Any

import attrs
import pytest
import trio
import trio.testing
from minimising import MARK, START, Rig, asked, block_of, fates_of, write_list
from trio.testing import MockClock

from actors import AskError
from tapir.codec.edmnames import until_next_minute
from tapir.minimiser.account import Fate
from tapir.minimiser.pipeline import Pipeline, Processed
from tapir.model.blocks import FrameBlock
from tapir.model.messages.edm import BusyName, GetBusyNames, RotateNow
from tapir.services.ingest.lists import ListPaths, Loaded, load_lists
from tapir.services.ingest.thread import WorkThread
from tapir.store.parquetfiles import Retention

HOUR = 3600 * 1_000_000


async def test_an_interval_ends_at_each_minute_and_at_the_stop(tmp_path: Path, autojump_clock: MockClock) -> None:
    rig = Rig(tmp_path)
    async with rig.running():
        await rig.tell(block_of("known.example", "known.example", "a.wild.example", "new.example"))
        await trio.sleep(39.9)
        assert not rig.histograms
        await trio.sleep(0.2)
        assert len(rig.histograms) == 1
        await rig.tell(block_of("known.example"))
        await trio.sleep(180)
        await rig.tell(block_of("other.example"))
        await trio.sleep(5)
    assert [(each.interval, each.counts) for each in rig.histograms] == [
        ("2026-05-28T12-34-20Z_2026-05-28T12-35-00Z", {"known.example.": 2, ".wild.example.": 1}),
        ("2026-05-28T12-35-00Z_2026-05-28T12-36-00Z", {"known.example.": 1}),
        ("2026-05-28T12-38-00Z_2026-05-28T12-38-05Z", {"other.example.": 1}),
    ]
    assert rig.told_written == 3
    assert fates_of(rig.ledger.account()) == {Fate.HISTOGRAM: 5, Fate.OTHER: 1}
    assert rig.sighted == 1
    assert not rig.ledger.account().in_flight


async def test_rotate_now_is_answered_with_the_files(tmp_path: Path, autojump_clock: MockClock) -> None:
    rig = Rig(tmp_path, sessions=True)
    async with rig.running():
        empty = await rig.ref.ask(RotateNow())
        assert (empty.histogram, empty.sessions, empty.trouble) == ("", (), "")
        for _ in range(9):  # more than are in hand at once
            await rig.tell(block_of("known.example", "new.example"))
        rotated = await rig.ref.ask(RotateNow())
        assert rotated.histogram == str(rig.files("histograms/outbox")[0])
        assert rotated.sessions == (str(rig.files("sessions")[0]),)
        assert (len(rotated.sessions), rotated.trouble) == (1, "")
        assert rig.counts == {"known.example.": 9}
        assert len(rig.session_rows) == 9
        await trio.sleep(41)
        assert len(rig.histograms) == 1  # the rest of the minute had nothing


async def test_names_that_are_busy_and_how_it_stands(tmp_path: Path, autojump_clock: MockClock) -> None:
    rig = Rig(tmp_path, sessions=True, durable=True)
    async with rig.running():
        await rig.tell(block_of("known.example", "known.example", "other.example", "new.example"))
        await rig.settled()
        assert await rig.ref.ask(GetBusyNames(count=1)) == (BusyName(name="known.example.", responses=2),)
        status = await rig.status()
    assert (status.interval_names, status.interval_responses, status.session_rows) == (2, 3, 1)
    assert (status.account.received, status.account.in_flight) == (4, 0)
    assert set(status.account.settled) == {("minimised", "histogram", 3), ("minimised", "other", 1)}
    assert (status.well_known.entries, status.well_known.loaded_at) == (3, START)
    assert status.spooling
    assert not status.trouble
    assert status.pseudonyms == 2


async def test_that_it_has_begun_is_told_although_its_thread_is_busy_from_then_on(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    rig, busy, gate = Rig(tmp_path), threading.Event(), threading.Event()
    process = Pipeline.process

    def hold(self: Pipeline, *args: Any) -> Processed:
        busy.set()
        gate.wait(60)
        return process(self, *args)

    monkeypatch.setattr(Pipeline, "process", hold)
    async with rig.running(begun=False):
        await rig.tell(block_of("known.example"))
        with trio.fail_after(60):
            while not busy.is_set():  # noqa: ASYNC110 - a thread tells no task
                await trio.sleep(0.001)
        try:
            assert (await rig.status()).interval_started_at
        finally:
            gate.set()


async def test_it_works_in_a_thread(tmp_path: Path) -> None:
    rig = Rig(tmp_path, sessions=True, durable=True)
    async with rig.running():
        assert "edm-pipeline" in {thread.name for thread in threading.enumerate()}
        for _ in range(30):
            await rig.tell(block_of(*["known.example"] * 50, "a.example", "b.example"))
        await rig.ref.ask(RotateNow())
        for _ in range(30):
            await rig.tell(block_of("known.example"))
    assert "edm-pipeline" not in {thread.name for thread in threading.enumerate()}
    assert rig.counts == {"known.example.": 1530}
    assert len(rig.session_rows) == 60
    assert fates_of(rig.ledger.account()) == {Fate.HISTOGRAM: 1530, Fate.OTHER: 60}
    assert rig.sighted == 2
    assert not rig.spools


async def test_frames_wait_while_a_list_cannot_be_read(
    tmp_path: Path, autojump_clock: MockClock, caplog: pytest.LogCaptureFixture, nursery: trio.Nursery
) -> None:
    caplog.set_level(logging.INFO)
    rig = Rig(tmp_path, ignored_clients=tmp_path / "clients")
    told = 0

    async def tell() -> None:
        nonlocal told
        await rig.tell(block_of("known.example"))
        told += 1

    async with rig.running(begun=False):
        for _ in range(6):
            nursery.start_soon(tell)
        await trio.sleep(200)
        assert told == 4  # as many as the mailbox holds: the other senders wait
        assert rig.ledger.account().in_flight == 6
        status = await rig.status()
        assert "clients: No such file" in status.trouble
        assert status.ignored_clients.trouble
        assert (await rig.ref.ask(RotateNow())).trouble == status.trouble
        assert await rig.ref.ask(GetBusyNames()) == ()
        (tmp_path / "clients").write_bytes(b"192.0.2.0/24\n")
        await trio.sleep(61)
        await rig.settled()
        assert not (await rig.status()).trouble
    assert rig.counts == {"known.example.": 6}
    assert rig.raised == ["list-unusable"]
    assert len([record for record in caplog.records if "lists of EDM" in record.message]) == 2


async def test_a_new_path_gets_through_to_one_that_waits(tmp_path: Path, autojump_clock: MockClock) -> None:
    rig = Rig(tmp_path, well_known=tmp_path / "missing.dawg")
    async with rig.running(begun=False):
        await rig.tell(block_of("known.example"))
        await trio.sleep(200)
        began = trio.current_time()
        await rig.configure(well_known=write_list(tmp_path / "there.dawg"))
        await rig.settled()
        assert trio.current_time() - began < 0.1
    assert rig.counts == {"known.example.": 1}


async def test_a_key_that_cannot_be_is_said_and_another_one_taken(tmp_path: Path, autojump_clock: MockClock) -> None:
    rig = Rig(tmp_path, cryptopan_salt="short")
    async with rig.running(begun=False):
        await rig.tell(block_of("known.example"))
        await trio.sleep(10)
        assert "salt" in (await rig.status()).trouble
        await rig.configure(cryptopan_salt="long enough now")
        await rig.settled()
        with pytest.raises(AskError):
            await rig.configure(cryptopan_salt="short")
        assert "the former key is in use" in (await rig.status()).trouble
        await rig.tell(block_of("known.example"))
    assert rig.counts == {"known.example.": 2}


async def test_a_reload_is_in_force_from_the_next_block_on(tmp_path: Path, autojump_clock: MockClock) -> None:
    rig = Rig(tmp_path, sessions=True)
    async with rig.running():
        await rig.tell(block_of("known.example", "new.example"))
        (tmp_path / "clients").write_bytes(b"203.0.113.0/24\n")
        await rig.configure(ignored_clients=tmp_path / "clients")
        await rig.tell(block_of("known.example", "new.example"))
        assert fates_of(await rig.settled()) == {Fate.HISTOGRAM: 1, Fate.OTHER: 1, Fate.CLIENT: 2}
        assert not rig.histograms  # the interval goes on
        write_list(tmp_path / "ignored.dawg", ["new.example."])
        await rig.configure(ignored_clients=None, ignored_names=tmp_path / "ignored.dawg", sessions=False)
        await rig.tell(block_of("known.example", "new.example", "newer.example"))
        account = await rig.settled()
        assert account.count(Fate.QUESTION_NAME) == 1
    assert len(rig.session_rows) == 1  # what was gathered before they were switched off
    assert rig.counts == {"known.example.": 2}


async def test_a_list_that_hangs_keeps_neither_minutes_nor_answers(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, nursery: trio.Nursery
) -> None:
    rig = Rig(tmp_path)
    gate = threading.Event()

    def hang(paths: ListPaths, **settings: Any) -> Loaded:
        if not gate.wait(20):
            raise TimeoutError
        return load_lists(paths, **settings)

    async with rig.running():
        monkeypatch.setattr("tapir.services.ingest.minimisermeans.load_lists", hang)
        configured = trio.Event()

        async def configure() -> None:
            await rig.configure()
            configured.set()

        nursery.start_soon(configure)
        await trio.testing.wait_all_tasks_blocked(0.01)
        for _ in range(10):
            await rig.tell(block_of("known.example"))
        assert (await rig.ref.ask(RotateNow())).histogram
        assert (await rig.status()).histograms_written == 1
        gate.set()
        await configured.wait()
    assert rig.counts == {"known.example.": 10}


async def test_a_stop_at_the_minute_is_an_ordinary_stop(
    tmp_path: Path, autojump_clock: MockClock, caplog: pytest.LogCaptureFixture, nursery: trio.Nursery
) -> None:
    for late in (-0.001, 0, 0.001):
        (folder := tmp_path / str(late)).mkdir()
        rig = Rig(folder)
        failed: list[AskError] = []

        async def ask(rig: Rig = rig, failed: list[AskError] = failed) -> None:
            try:
                await rig.ref.ask(RotateNow())
            except AskError as exc:
                failed.append(exc)

        async with rig.running():
            await rig.tell(block_of("known.example"))
            await trio.sleep(until_next_minute(rig.clock.now()) / 1e6 + late)
            for _ in range(5):
                nursery.start_soon(ask)
        assert rig.counts == {"known.example.": 1}
        assert not rig.ledger.account().in_flight
    assert "failed while stopping" not in caplog.text


async def test_another_list_of_well_known_names_begins_an_interval(tmp_path: Path, autojump_clock: MockClock) -> None:
    rig = Rig(tmp_path)
    async with rig.running():
        await rig.tell(block_of("known.example", "new.example"))
        await trio.sleep(5)
        await rig.configure()
        assert not rig.histograms  # it is the same as before
        await rig.configure(well_known=write_list(tmp_path / "another.dawg", ["new.example."]))
        await rig.tell(block_of("known.example", "new.example"))
        await trio.sleep(5)
    assert [(each.interval, each.counts) for each in rig.histograms] == [
        ("2026-05-28T12-34-20Z_2026-05-28T12-34-25Z", {"known.example.": 1}),
        ("2026-05-28T12-34-25Z_2026-05-28T12-34-30Z", {"new.example.": 1}),
    ]


async def test_a_list_that_breaks_is_read_again_each_minute(tmp_path: Path, autojump_clock: MockClock) -> None:
    rig = Rig(tmp_path)
    async with rig.running():
        rig.settings.well_known.write_bytes(b"no list")
        await rig.configure()
        assert "the former one is in effect" in (await rig.status()).trouble
        await rig.tell(block_of("known.example"))
        write_list(rig.settings.well_known, ["new.example."])
        await trio.sleep(70)
        assert not (await rig.status()).trouble
        await rig.tell(block_of("new.example"))
    assert rig.counts == {"known.example.": 1, "new.example.": 1}


async def test_another_key_begins_an_interval(tmp_path: Path, autojump_clock: MockClock) -> None:
    rig = Rig(tmp_path, sessions=True, durable=True)
    async with rig.running():
        await rig.tell(block_of("known.example", "new.example"))
        (before,) = rig.spools
        await rig.configure(cryptopan_key="key2")
        await rig.tell(block_of("known.example", "new.example"))
        await rig.settled()
        assert (await rig.status()).pseudonym_generation == 1
        assert before not in rig.spools
    first, second = rig.session_rows
    assert first["source_ipv4"] != second["source_ipv4"]
    assert int.from_bytes(MARK) not in (first["source_ipv4"], second["source_ipv4"])
    assert [each.counts for each in rig.histograms] == [{"known.example.": 1}] * 2


async def test_a_block_that_fails_is_counted_and_the_next_one_is_not_concerned(
    tmp_path: Path, autojump_clock: MockClock, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    process = Pipeline.process

    def fail(pipeline: Pipeline, block: FrameBlock) -> Processed:
        if len(block) == 3:
            raise ValueError(f"in {block.data!r}")
        return process(pipeline, block)

    monkeypatch.setattr(Pipeline, "process", fail)
    rig = Rig(tmp_path, durable=True)
    async with rig.running():
        await rig.tell(block_of("known.example"))
        assert (await rig.status()).spooling
        for _ in range(3):
            await rig.tell(block_of("known.example", "known.example", "marked.example"))
        await rig.tell(block_of("known.example"))
        await rig.settled()
        assert not (await rig.status()).spooling  # it may lack something
    assert fates_of(rig.ledger.account()) == {Fate.HISTOGRAM: 2, Fate.FAILED: 9}
    said = [record for record in caplog.records if "could not be worked on" in record.message]
    assert len(said) == 1
    assert "ValueError" in said[0].message
    assert "marked" not in caplog.text
    assert rig.counts == {"known.example.": 2}


async def test_a_crash_settles_what_is_in_hand_and_writes_the_interval(
    tmp_path: Path, autojump_clock: MockClock, caplog: pytest.LogCaptureFixture
) -> None:
    rig = Rig(tmp_path)
    async with rig.running():
        await rig.tell(block_of("known.example", "known.example"))
        await rig.settled()
        rig.crash()
        await trio.sleep(1)
        assert len(rig.made) == 2
        assert rig.counts == {"known.example.": 2}
        await rig.tell(block_of("known.example"))
        await rig.settled()
    assert fates_of(rig.ledger.account()) == {Fate.HISTOGRAM: 3}
    assert rig.counts == {"known.example.": 3}


async def test_nothing_of_a_frame_comes_out_of_a_crash(
    tmp_path: Path, autojump_clock: MockClock, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG)
    put = WorkThread.put

    async def fail(thread: WorkThread, work: Any, *args: Any) -> Any:
        if args and isinstance(args[0], FrameBlock) and len(args[0]) == 3:
            await trio.sleep(1000)  # long enough to be called stuck
            raise RuntimeError(f"with {args}")
        return await put(thread, work, *args)

    monkeypatch.setattr(WorkThread, "put", fail)
    rig = Rig(tmp_path, sessions=True)
    marked = block_of("marked.example", "marked.example", "marked.example")
    async with rig.running(), rig.system.subscribe(1000) as events, rig.system.trace("minimiser", 1000) as trace:
        for block in (block_of("known.example"), marked, marked, marked):
            await rig.tell(block)
        await trio.sleep(1)
        statistics = rig.system.statistics()
        await trio.sleep(3000)  # the third is in hand
        rig.system.request_stop()
    said = "\n".join([caplog.text, *map(repr, (events.take_all(), trace.take_all(), statistics))])
    said += repr(rig.system.dead_letters())
    assert [letter.message for letter in rig.system.dead_letters()] == ["(private)"] * 3
    assert "minimiser is stuck: it has handled (private)" in said
    assert "crashed: RuntimeError: with (<" in said
    for leak in ("marked", "203.0.113.77", MARK.hex(), repr(MARK)[2:-1], str(int.from_bytes(MARK))):
        assert leak not in said
    assert fates_of(rig.ledger.account())[Fate.FAILED] == 9


async def test_names_that_nobody_hears_of_are_new_again(tmp_path: Path, autojump_clock: MockClock) -> None:
    rig = Rig(tmp_path)
    rig.novelty = type(rig.novelty)()
    tree = rig.tree
    without = attrs.evolve(tree, children=tuple(child for child in tree.children if child.name != "novelty"))
    async with trio.open_nursery() as nursery:
        await nursery.start(rig.system.run, without)
        await rig.tell(block_of("new.example"))
        await rig.settled()
        await trio.sleep(0.1)
        nursery.cancel_scope.cancel()
    after = Rig(tmp_path)
    after.recent = rig.recent
    async with after.running():
        await after.tell(block_of("new.example"))
    assert after.sighted == 1


async def test_who_stops_before_it_could_begin_drops_and_counts(tmp_path: Path, autojump_clock: MockClock) -> None:
    rig = Rig(tmp_path, well_known=tmp_path / "missing.dawg")
    async with rig.running(begun=False):
        await rig.tell(block_of("known.example", "new.example"))
        await trio.sleep(1)
    assert fates_of(rig.ledger.account()) == {Fate.STOPPED: 2}


async def test_what_is_in_the_mailbox_at_the_stop_is_minimised(tmp_path: Path, autojump_clock: MockClock) -> None:
    rig = Rig(tmp_path)
    async with rig.running():
        await trio.sleep(1)
        for _ in range(6):
            await rig.tell(block_of("known.example"))
    assert fates_of(rig.ledger.account()) == {Fate.HISTOGRAM: 6}
    assert rig.counts == {"known.example.": 6}


async def test_the_dump_has_pseudonyms_and_its_trouble_is_said_once(
    tmp_path: Path, autojump_clock: MockClock, caplog: pytest.LogCaptureFixture
) -> None:
    rig = Rig(tmp_path, debug_dnstap=tmp_path / "dump.json")
    async with rig.running():
        await rig.tell(FrameBlock.of([asked("known.example"), asked("new.example"), b"no protobuf"]))
    octets = (tmp_path / "dump.json").read_bytes()
    assert octets.count(b"\n") == 2
    assert b"203.0.113.77" not in octets
    assert b"known.example. IN A" in octets
    assert (tmp_path / "dump.json").stat().st_mode & 0o777 == 0o600
    (tmp_path / "folder").mkdir()
    rig = Rig(tmp_path, debug_dnstap=tmp_path / "folder")
    async with rig.running():
        for _ in range(3):
            await rig.tell(block_of("known.example"))
        await rig.settled()
        assert "debug-dnstap-filename" not in (await rig.status()).trouble  # the words, not the key
        assert "folder: Is a directory" in (await rig.status()).trouble
    assert caplog.text.count("Is a directory") == 1


async def test_old_sessions_are_removed(tmp_path: Path, autojump_clock: MockClock) -> None:
    rig = Rig(tmp_path, sessions=True, keep_sessions=Retention(seconds=3600))
    async with rig.running():
        await rig.tell(block_of("new.example"))
        rotated = await rig.ref.ask(RotateNow())
        (path,) = map(Path, rotated.sessions)
        os.utime(path, (START / 1e6 - 3500, START / 1e6 - 3500))
        await trio.sleep(61)
        assert path.exists()
        await trio.sleep(61)
        assert not path.exists()


async def test_a_clock_that_is_set_back_keeps_intervals_honest(tmp_path: Path, autojump_clock: MockClock) -> None:
    rig = Rig(tmp_path)
    async with rig.running():
        await rig.tell(block_of("known.example"))
        await trio.sleep(10)
        rig.clock.advance(-HOUR)  # type: ignore[attr-defined]
        await trio.sleep(31)
        await rig.tell(block_of("other.example"))
        await trio.sleep(60)
    assert [(each.interval, each.counts) for each in rig.histograms] == [
        ("2026-05-28T11-35-00Z_2026-05-28T11-36-00Z", {"other.example.": 1}),
        ("2026-05-28T12-34-20Z_2026-05-28T12-35-00Z", {"known.example.": 1}),
    ]


async def test_a_clock_that_is_set_on_makes_no_hour_of_a_minute(tmp_path: Path, autojump_clock: MockClock) -> None:
    rig = Rig(tmp_path)
    async with rig.running():
        await rig.tell(block_of("known.example"))
        await trio.sleep(10)
        rig.clock.advance(HOUR)  # type: ignore[attr-defined]
        await trio.sleep(31)
        await rig.tell(block_of("other.example"))
        await trio.sleep(60)
    assert [each.interval for each in rig.histograms] == [
        "2026-05-28T12-34-20Z_2026-05-28T12-35-00Z",
        "2026-05-28T13-35-00Z_2026-05-28T13-36-00Z",
    ]


def test_the_key_is_not_shown(tmp_path: Path) -> None:
    assert "key1" not in repr(Rig(tmp_path).settings) + repr(logging.root)
