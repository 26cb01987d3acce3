"""A disk that is full, a database that is damaged: serving goes on, and no serial ever goes back."""

import contextlib
import resource
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import trio
from trio.testing import MockClock

from actors.testing import InjectedFault
from tapir.store.errors import StoreCorrupt, StoreFull
from tapir.store.zones import ZoneStore

COMPLETE = {"denied.example.": "NXDOMAIN", "doubted.example.": "NODATA"}


class Disk:
    """A zone store on a disk that fails on demand: `full`, `corrupt` or `crash` (a bug of ours, after the write)."""

    def __init__(self) -> None:
        self.fails = ""
        disk = self

        class Store(ZoneStore):
            def commit(self, *args: Any, **settings: Any) -> None:
                disk._before(self.path)
                super().commit(*args, **settings)
                disk._after()

            def reset(self, *args: Any, **settings: Any) -> None:
                disk._before(self.path)
                super().reset(*args, **settings)
                disk._after()

            def set_held(self, held: bool, **settings: Any) -> None:
                disk._before(self.path)
                super().set_held(held, **settings)

        self.open: Callable[[Path], ZoneStore] = Store.open

    def _before(self, path: Path) -> None:
        if self.fails == "full":
            raise StoreFull(path=path, reason="no space left")
        if self.fails == "corrupt":
            self.fails = ""
            raise StoreCorrupt(path=path, reason="a page turned into another")

    def _after(self) -> None:
        if self.fails == "crash":
            self.fails = ""
            raise InjectedFault("after the commit")


@pytest.fixture
def disk() -> Disk:
    return Disk()


@contextlib.contextmanager
def no_file_grows() -> Iterator[None]:
    """The kernel takes not one octet more into any regular file of this process, as on a full disk."""
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (0, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))


def deny(*names: str) -> list[str]:
    return ["denied.example", "allowed.example", *(f"{name}.example" for name in names)]


def rules(*names: str) -> dict[str, str]:
    return COMPLETE | {f"{name}.example.": "NXDOMAIN" for name in names}


async def test_on_a_full_disk_the_last_version_is_served_and_all_edits_come_with_the_next(
    four: Any, disk: Disk, autojump_clock: MockClock
) -> None:
    async with four.run(open_store=disk.open) as life:
        await life.until(10.5)
        disk.fails = "full"
        for number in range(20):
            four.say("deny", *deny(f"n{number}"))
            await trio.sleep(3)
        zone, health = await life.zone(), await life.health()
        assert (zone.serial, zone.state) == (1, "unsaved")
        assert "no space left" in zone.store_error
        assert health.ready
        assert any("cannot be saved" in warning for warning in health.warnings)
        assert len(four.secondary.seen) == 1
        disk.fails = ""
        second = await life.secondary.wait_versions(2)
        assert (second.serial, second.rules) == (2, rules("n19"))
        assert life.now < 70.5 + 60, "tried again within a minute"
        assert ((await life.zone()).state, (await life.health()).warnings) == ("serving", ())
    assert four.secondary.whole_transfers == 0


async def test_a_first_version_waits_for_a_disk_that_takes_it(four: Any, disk: Disk, autojump_clock: MockClock) -> None:
    disk.fails = "full"
    async with four.run(open_store=disk.open) as life:
        await life.until(5)
        assert four.secondary.seen == []
        assert not (await life.health()).ready
        disk.fails = ""
        first = await life.secondary.wait_versions(1)
        # Tried again after 1, 2, 4 seconds.
        assert (life.now, first.serial, first.rules) == (7, 1, COMPLETE)


@pytest.mark.parametrize("end", ["stop", "kill"])
async def test_what_a_full_disk_did_not_take_comes_after_the_restart(
    four: Any, disk: Disk, end: str, autojump_clock: MockClock
) -> None:
    async with four.run(open_store=disk.open) as life:
        await life.until(10.5)
        disk.fails = "full"
        four.say("deny", *deny("late"))
        await life.until(20)
        getattr(life, end)()
    disk.fails = ""
    async with four.run(open_store=disk.open) as life:
        second = await life.secondary.wait_versions(2)
        assert (life.now, second.serial, second.rules) == (0, 2, rules("late"))
    assert four.secondary.whole_transfers == 0


@pytest.mark.parametrize("end", ["stop", "kill"])
async def test_a_kernel_that_takes_nothing_stops_nothing(four: Any, end: str, autojump_clock: MockClock) -> None:
    """Zone, lists and serialcache at once, by the limit on the size of files."""
    async with four.run() as life:
        await life.until(10.5)
        four.say("deny", *deny("unsaved"))
        with no_file_grows():
            await life.until(100)
            assert ((await life.zone()).serial, (await life.zone()).state) == (1, "unsaved")
            assert "not saved" in (await life.source("deny")).error
            assert four.secondary.rules == COMPLETE
            assert (await life.health()).ready
        await life.until(170)
        assert ((await life.zone()).serial, four.secondary.rules) == (2, rules("unsaved"))
        assert (await life.source("deny")).error == ""
        four.say("deny", *deny("unsaved", "lost"))
        with no_file_grows():
            await life.until(200)
        getattr(life, end)()  # before anybody tries again
    async with four.run() as life:
        assert (await life.zone()).serial == 2
        third = await life.secondary.wait_versions(3)
        assert (life.now, third.serial, third.rules) == (0, 3, rules("unsaved", "lost"))
    assert four.secondary.whole_transfers == 0


async def test_a_database_found_corrupt_at_a_commit_is_replaced_from_memory(
    four: Any, disk: Disk, autojump_clock: MockClock
) -> None:
    async with four.run(open_store=disk.open) as life:
        for number in range(5):
            await life.until(10 * number + 0.5)
            disk.fails = "corrupt" if number % 2 else ""
            four.say("deny", *deny(f"n{number}"))
            await life.until(10 * number + 5)
            assert (four.secondary.serial, four.secondary.rules) == (number + 2, rules(f"n{number}"))
        life.kill()
    assert len(list(four.zone_db.parent.glob("zone.db.corrupt-*"))) == 2
    async with four.run() as life:
        assert (await life.zone()).serial == 6
        await life.until(20)
    assert len(four.secondary.seen) == 6
    assert four.secondary.whole_transfers == 0


async def test_a_crash_right_after_a_commit_gives_no_serial_two_contents(
    four: Any, disk: Disk, autojump_clock: MockClock
) -> None:
    four.secondary.may_miss = True
    async with four.run(open_store=disk.open) as life:
        for number in range(5):
            await life.until(100 * number + 0.5)
            disk.fails = "crash"
            four.say("deny", *deny(f"n{number}"))
            await life.until(100 * number + 1)
            four.say("deny", *deny(f"n{number}", "more"))
            await life.until(100 * number + 60)
            assert disk.fails == ""
            assert four.secondary.rules == rules(f"n{number}", "more")
    assert four.secondary.whole_transfers == 0


def damage(path: Path, how: str) -> None:
    octets = bytearray(path.read_bytes())
    match how:
        case "empty":
            octets = bytearray()
        case "garbage":
            octets = bytearray(b"\xa5" * len(octets))
        case "half":
            del octets[len(octets) // 2 :]
        case "flipped":
            for index in range(200, len(octets), 97):
                octets[index] ^= 0x5A
    path.write_bytes(octets)
    for side in ("-wal", "-shm"):
        path.with_name(path.name + side).unlink(missing_ok=True)


@pytest.mark.parametrize("how", ["empty", "garbage", "half", "flipped"])
async def test_a_damaged_zone_store_is_put_aside_and_the_serial_goes_on(
    four: Any, how: str, autojump_clock: MockClock
) -> None:
    four.serial_cache.write_text("current_serial: 41\n")
    async with four.run() as life:
        await life.until(5)
    damage(four.zone_db, how)
    four.secondary.may_miss = True
    async with four.run() as life:
        second = await life.secondary.wait_versions(2)
        assert (life.now, second.serial, second.rules) == (0, 43, COMPLETE)
        assert four.serial_cache.read_text() == "current_serial: 43\n"
    assert len(list(four.zone_db.parent.glob("zone.db.corrupt-*"))) == 1


@pytest.mark.parametrize("how", ["empty", "garbage", "half", "flipped"])
async def test_damaged_lists_are_put_aside_and_read_again(four: Any, how: str, autojump_clock: MockClock) -> None:
    async with four.run() as life:
        await life.until(5)
    damage(four.state_dir / "lists.db", how)
    async with four.run() as life:
        assert (await life.zone()).serial == 1
        await life.until(100)
        assert {source.state for source in (await life.sources()).sources} == {"fresh"}
    async with four.run() as life:
        assert {source.state for source in (await life.sources()).sources} <= {"restored", "fresh"}
    assert len(four.secondary.seen) == 1


async def test_with_lists_and_a_list_lost_the_stored_version_stands_until_the_deadline(
    four: Any, autojump_clock: MockClock
) -> None:
    four.secondary.always = {"denied.example.", "doubted.example."}
    async with four.run() as life:
        await life.until(5)
    damage(four.state_dir / "lists.db", "garbage")
    four.clear("allow")
    async with four.run() as life:
        await life.until(500.5)
        assert len(four.secondary.seen) == 1
        assert not (await life.health()).ready
        four.say("allow", "allowed.example")
        await life.until(510)
        assert (await life.health()).ready
    assert len(four.secondary.seen) == 1
