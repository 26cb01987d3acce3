"""Disks that take nothing, crashes and spools: what is kept, what is lost, and what is said of it."""

import logging
from pathlib import Path
from typing import Any

import pytest
import trio
from minimising import MARK, START, Rig, block_of, fates_of
from trio.testing import MockClock

from tapir.codec.parquet import encode_parquet
from tapir.minimiser.account import Fate
from tapir.model.messages.edm import RotateNow
from tapir.model.messages.events import ClearEvent, EventKind
from tapir.store.errors import StoreFull
from tapir.store.parquetfiles import ParquetFiles
from tapir.store.spool import SpoolFile, SpoolFolder


class Disk:
    """Says no to writers of parquet files for as long as it is full."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.full = False
        self.refused = 0
        for name in ("write_histogram", "write_sessions"):
            self._guard(monkeypatch, ParquetFiles, name)

    def guard_spools(self, monkeypatch: pytest.MonkeyPatch) -> None:
        """Say no to spools, too."""
        self._guard(monkeypatch, SpoolFolder, "begin")
        self._guard(monkeypatch, SpoolFile, "append")

    def _guard(self, monkeypatch: pytest.MonkeyPatch, owner: type, name: str) -> None:
        method = getattr(owner, name)

        def guarded(held: Any, *args: Any, **settings: Any) -> Any:
            if self.full:
                self.refused += 1
                if isinstance(held, SpoolFile):
                    held.short = True
                raise StoreFull(path=Path("/full"), reason="No space left on device")
            return method(held, *args, **settings)

        monkeypatch.setattr(owner, name, guarded)


@pytest.fixture
def disk(monkeypatch: pytest.MonkeyPatch) -> Disk:
    return Disk(monkeypatch)


async def test_what_a_full_disk_refused_is_written_when_it_has_room(
    tmp_path: Path, autojump_clock: MockClock, disk: Disk, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO)
    rig = Rig(tmp_path, sessions=True)
    async with rig.running():
        disk.full = True
        for _ in range(3):
            await rig.tell(block_of("known.example", "new.example"))
            await trio.sleep(60)
        rotated = await rig.ref.ask(RotateNow())
        assert not rotated.trouble  # it had nothing to write
        assert "No space left" in (await rig.status()).trouble
        disk.full = False
        await trio.sleep(10)
        status = await rig.status()
    assert (status.histograms_written, status.session_files_written, status.rows_lost, status.trouble) == (3, 3, 0, "")
    assert [each.counts for each in rig.histograms] == [{"known.example.": 1}] * 3
    assert len(rig.session_rows) == 3
    said = [record.message for record in caplog.records if "of EDM: " in record.message]
    assert len(said) == 4  # of each kind: that it began, and that it is over
    assert set(rig.raised) == {"disk-full"}
    cleared = [each for each in rig.events.messages if isinstance(each, ClearEvent)]
    assert {each.subject for each in cleared if each.kind is EventKind.DISK_FULL} == {
        "histograms of EDM",
        "sessions of EDM",
    }


async def test_a_rotation_that_cannot_be_written_says_so(tmp_path: Path, autojump_clock: MockClock, disk: Disk) -> None:
    rig = Rig(tmp_path)
    async with rig.running():
        disk.full = True
        await rig.tell(block_of("known.example"))
        rotated = await rig.ref.ask(RotateNow())
        assert rotated.histogram == ""
        assert "No space left" in rotated.trouble
        disk.full = False
    assert rig.counts == {"known.example.": 1}


async def test_a_disk_that_stays_full_costs_the_oldest(
    tmp_path: Path, autojump_clock: MockClock, disk: Disk, caplog: pytest.LogCaptureFixture
) -> None:
    rig = Rig(tmp_path)
    async with rig.running():
        disk.full = True
        for number in range(8):
            await rig.tell(block_of(*["known.example"] * (number + 1), "other.example"))
            await trio.sleep(60)
        assert (await rig.status()).rows_lost == 2 * 5
        disk.full = False
        await trio.sleep(10)
    assert [each.counts["known.example."] for each in rig.histograms] == [6, 7, 8]
    assert caplog.text.count("2 rows are lost") == 5
    assert fates_of(rig.ledger.account()) == {Fate.HISTOGRAM: sum(range(2, 10))}


async def test_what_waits_for_a_disk_waits_as_the_files_it_becomes(
    tmp_path: Path, autojump_clock: MockClock, disk: Disk
) -> None:
    rig = Rig(tmp_path, sessions=True)
    async with rig.running():
        disk.full = True
        for _ in range(3):
            await rig.tell(block_of("known.example", "new.example"))
            await trio.sleep(70)
        waiting = list(rig.made[0]._writer._queue)
        assert len(waiting) == 6
        assert all(each.source is None and each.octets for each in waiting)
        disk.full = False
        await trio.sleep(10)
    assert rig.counts == {"known.example.": 3}
    assert len(rig.session_rows) == 3


async def test_with_spools_a_disk_that_stays_full_costs_nothing(
    tmp_path: Path, autojump_clock: MockClock, disk: Disk
) -> None:
    rig = Rig(tmp_path, durable=True)
    async with rig.running():
        disk.full = True
        for number in range(8):
            await rig.tell(block_of(*["known.example"] * (number + 1)))
            await trio.sleep(60)
        disk.full = False
        await trio.sleep(10)
        status = await rig.status()
        assert (status.rows_lost, status.histograms_written) == (0, 8)
        assert len(rig.spools) == 1  # of the running interval
    assert sorted(each.counts["known.example."] for each in rig.histograms) == [1, 2, 3, 4, 5, 6, 7, 8]
    # Also of those that were given up in memory: an interval ends when it ended, not with its last response.
    ends = [each.interval.partition("_")[2] for each in rig.histograms]
    assert all(end.endswith("-00Z") for end in ends), ends
    assert not rig.spools


async def test_more_spools_than_may_wait_stay_for_the_next_start(
    tmp_path: Path, autojump_clock: MockClock, disk: Disk, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("tapir.services.ingest.writing._SPOOLS", 1)
    monkeypatch.setattr("tapir.services.ingest.writing.INTERVALS", 1)
    rig = Rig(tmp_path, durable=True)
    async with rig.running():
        disk.full = True
        for number in range(4):
            await rig.tell(block_of(*["known.example"] * (number + 1)))
            await trio.sleep(60)
        disk.full = False
        await trio.sleep(10)
        assert (await rig.status()).histograms_written == 2
    assert len(rig.spools) == 2
    monkeypatch.undo()
    after = Rig(tmp_path)
    async with after.running():
        await trio.sleep(1)
    assert after.counts == {"known.example.": 1 + 2 + 3 + 4}


async def test_what_is_lost_at_the_stop_is_counted(
    tmp_path: Path, autojump_clock: MockClock, disk: Disk, caplog: pytest.LogCaptureFixture
) -> None:
    rig = Rig(tmp_path)
    async with rig.running():
        await rig.tell(block_of("known.example"))
        await rig.settled()
        disk.full = True
    assert not rig.histograms
    assert "1 rows are lost" in caplog.text


async def crash(rig: Rig, *blocks: Any) -> None:
    """Run until the blocks are settled, and then no further: nothing is said goodbye to."""
    async with trio.open_nursery() as nursery:
        await nursery.start(rig.system.run, rig.tree)
        for block in blocks:
            await rig.tell(block)
        await rig.settled()
        nursery.cancel_scope.cancel()


async def test_the_minute_of_a_crash_is_counted_again(
    tmp_path: Path, autojump_clock: MockClock, caplog: pytest.LogCaptureFixture
) -> None:
    rig = Rig(tmp_path, durable=True)
    await crash(rig, block_of("known.example", "a.wild.example", "new.example"), block_of("known.example"))
    assert len(rig.spools) == 1
    partial = rig.files("histograms/outbox") or [rig.data / "parquet/histograms/outbox/none"]
    unfinished = partial[0].with_name("dns_histogram-2026-05-28T12-34-20Z_2026-05-28T12-35-00Z.parquet.tmp")
    unfinished.write_bytes(b"half a file")
    after = Rig(tmp_path)  # `durable` was switched off meanwhile
    async with after.running():
        await trio.sleep(1)
        # Nobody knows when it ended, but that was not after its minute, whatever the clock says by now.
        assert [each.interval for each in after.histograms] == ["2026-05-28T12-34-20Z_2026-05-28T12-35-00Z"]
        assert after.counts == {"known.example.": 2, ".wild.example.": 1}
        assert (await after.status()).replayed == 3
        await after.tell(block_of("known.example"))
    assert after.counts == {"known.example.": 3, ".wild.example.": 1}
    assert not after.spools
    assert not unfinished.exists()
    assert after.told_written == 2


async def test_the_sessions_of_a_crash_are_had_again(
    tmp_path: Path, autojump_clock: MockClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    rig = Rig(tmp_path, durable=True, sessions=True)
    await crash(rig, block_of("known.example", "new.example"), block_of("other.new.example"))
    assert len(rig.spools) == 2
    assert not any(MARK in path.read_bytes() or b"new" in path.read_bytes() for path in rig.spools)
    after = Rig(tmp_path)
    async with after.running():
        await trio.sleep(1)
        assert sorted(row["label1"] for row in after.session_rows) == ["new", "new"]
        assert {row["label2"] for row in after.session_rows} == {None, "other"}
        assert after.counts == {"known.example.": 1}
        assert (await after.status()).replayed == 1
    assert not after.spools
    assert len(after.session_rows) == 2


async def test_sessions_that_wait_for_a_disk_wait_in_their_spools(
    tmp_path: Path, autojump_clock: MockClock, disk: Disk, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("tapir.services.ingest.writing.SESSION_OCTETS", 1)
    rig = Rig(tmp_path, durable=True, sessions=True)
    async with rig.running():
        disk.full = True
        for number in range(5):
            await rig.tell(block_of(f"new{number}.example"))
            await trio.sleep(60)
        disk.full = False
        await trio.sleep(10)
        assert (await rig.status()).rows_lost == 0
        assert len(rig.session_rows) == 5
    assert not rig.spools


async def test_sessions_that_fill_a_file_end_their_spool(
    tmp_path: Path, autojump_clock: MockClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("tapir.minimiser.pipeline.SESSION_OCTETS", 1)
    rig = Rig(tmp_path, durable=True, sessions=True)
    await crash(rig, block_of("a.example"), block_of("b.example"), block_of("c.example"))
    after = Rig(tmp_path)
    async with after.running():
        await trio.sleep(1)
    assert sorted(row["label1"] for row in after.session_rows) == ["a", "b", "c"]
    assert not after.spools


async def test_a_disk_that_takes_no_spool_of_sessions_costs_no_session(
    tmp_path: Path, autojump_clock: MockClock, disk: Disk, monkeypatch: pytest.MonkeyPatch
) -> None:
    rig = Rig(tmp_path, durable=True, sessions=True)
    async with rig.running():
        disk.guard_spools(monkeypatch)
        disk.full = True
        for _ in range(3):
            await rig.tell(block_of("new.example"))
            await rig.settled()
        assert disk.refused == 1  # the spool of the sessions is not tried at each block
        assert not (await rig.status()).spooling
        disk.full = False
    assert len(rig.session_rows) == 3
    assert not rig.spools


async def test_a_spool_whose_key_is_gone_is_removed(
    tmp_path: Path, autojump_clock: MockClock, caplog: pytest.LogCaptureFixture
) -> None:
    rig = Rig(tmp_path, durable=True)
    await crash(rig, block_of("known.example"))
    after = Rig(tmp_path, durable=True, cryptopan_key="key2")
    async with after.running():
        await after.tell(block_of("other.example"))
        await trio.sleep(1)
    assert after.counts == {"other.example.": 1}
    assert not after.spools
    assert caplog.text.count("it is removed") == 1


async def test_a_spool_waits_for_a_disk_that_is_full_at_the_start(
    tmp_path: Path, autojump_clock: MockClock, disk: Disk
) -> None:
    rig = Rig(tmp_path, durable=True)
    await crash(rig, block_of("known.example"))
    disk.full = True
    after = Rig(tmp_path, durable=True)
    async with after.running():
        await trio.sleep(200)
        assert not after.histograms
    assert len(after.spools) == 1  # still there, for the next one
    disk.full = False
    last = Rig(tmp_path)
    async with last.running():
        await trio.sleep(1)
    assert last.counts == {"known.example.": 1}
    assert not last.spools


async def test_a_disk_that_takes_no_spool_is_said_and_left_alone(
    tmp_path: Path,
    autojump_clock: MockClock,
    disk: Disk,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    caplog.set_level(logging.INFO)
    disk.guard_spools(monkeypatch)
    rig = Rig(tmp_path, durable=True)
    async with rig.running():
        disk.full = True
        for _ in range(4):
            await rig.tell(block_of("known.example"))
        await rig.settled()
        status = await rig.status()
        assert not status.spooling
        assert "a crash would lose the running minute" in status.trouble
        disk.full = False
        await trio.sleep(60)
        await rig.tell(block_of("known.example"))
        await rig.settled()
        status = await rig.status()
        assert status.spooling
        assert not status.trouble
    assert rig.counts == {"known.example.": 5}
    assert caplog.text.count("spool of EDM: ") == 2


async def test_a_record_that_cannot_be_made_costs_the_spool_and_no_name(
    tmp_path: Path, autojump_clock: MockClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*args: Any) -> bytes:
        raise MemoryError

    rig = Rig(tmp_path, durable=True, debug_dnstap=tmp_path / "dump")
    async with rig.running():
        monkeypatch.setattr("tapir.minimiser.spooling.SpoolWriter.record", fail)
        monkeypatch.setattr("tapir.services.ingest.debugging.describe_frames", fail)
        await rig.tell(block_of("known.example", "new.example"))
        await rig.settled()
        status = await rig.status()
        assert not status.spooling
        assert status.trouble.count("(MemoryError)") == 2
    assert rig.sighted == 1
    assert fates_of(rig.ledger.account()) == {Fate.HISTOGRAM: 1, Fate.OTHER: 1}
    assert rig.counts == {"known.example.": 1}


async def test_a_file_that_cannot_be_made_is_lost_and_others_are_not(
    tmp_path: Path, autojump_clock: MockClock, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def fail(rows: Any) -> Any:
        if rows.layout.root == "sessionData":
            raise ValueError("marked.example asked for this")
        return encode_parquet(rows)

    monkeypatch.setattr("tapir.services.ingest.unwritten.encode_parquet", fail)
    rig = Rig(tmp_path, sessions=True)
    async with rig.running():
        await rig.tell(block_of("known.example", "a.example", "b.example"))
        rotated = await rig.ref.ask(RotateNow())
        assert "ValueError" in rotated.trouble
        assert rotated.histogram
        assert (await rig.status()).rows_lost == 2
    assert "marked" not in caplog.text


async def test_sessions_that_fill_a_file_get_one_and_wait_for_the_disk_up_to_a_bound(
    tmp_path: Path, autojump_clock: MockClock, disk: Disk, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("tapir.minimiser.pipeline.SESSION_OCTETS", 10_000)
    monkeypatch.setattr("tapir.services.ingest.writing.SESSION_OCTETS", 45_000)
    rig = Rig(tmp_path, sessions=True)
    rows = [f"n{number}.example" for number in range(200)]
    async with rig.running():
        await rig.tell(block_of(*rows))
        await rig.settled()
        await trio.sleep(0.1)
        assert len(rig.session_rows) == 200
        assert [path.name for path in rig.files("sessions")] == [
            "dns_session_block-2026-05-28T12-34-20Z_2026-05-28T12-34-20Z.parquet"
        ]
        disk.full = True
        for _ in range(6):
            await rig.tell(block_of(*rows))
            await rig.settled()
            await trio.sleep(6)
        lost = (await rig.status()).rows_lost
        assert 0 < lost < 1200
        disk.full = False
    assert len(rig.session_rows) == 1400 - lost


async def test_a_folder_that_takes_no_sessions_costs_no_histogram(
    tmp_path: Path, autojump_clock: MockClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*args: Any, **settings: Any) -> Path:
        raise StoreFull(path=Path("/sessions"), reason="Permission denied")

    monkeypatch.setattr(ParquetFiles, "write_sessions", refuse)
    rig = Rig(tmp_path, sessions=True)
    async with rig.running():
        for _ in range(6):
            await rig.tell(block_of("known.example", "new.example"))
            await trio.sleep(60)
        assert len(rig.histograms) == 6
        assert "Permission denied" in (await rig.status()).trouble


async def test_a_data_folder_that_cannot_be_prepared_stops_nobody(
    tmp_path: Path, autojump_clock: MockClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*args: Any) -> int:
        raise StoreFull(path=Path("/data"), reason="Read-only file system")

    monkeypatch.setattr(ParquetFiles, "prepare", refuse)
    monkeypatch.setattr(SpoolFolder, "left", refuse)
    rig = Rig(tmp_path)
    async with rig.running():
        assert (await rig.status()).trouble.count("Read-only file system") == 2
        await rig.tell(block_of("known.example"))
    assert rig.counts == {"known.example.": 1}


def test_the_start_of_the_rig_is_where_it_says() -> None:
    assert START % 60_000_000 == 20_000_000
