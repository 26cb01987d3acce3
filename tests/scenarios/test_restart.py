"""A restart: what was published stays published, whatever has become of the lists meanwhile."""

import contextlib
import random
from collections.abc import Callable
from typing import Any

import pytest
import trio
from trio.testing import MockClock

COMPLETE = {"denied.example.": "NXDOMAIN", "doubted.example.": "NODATA"}
LATER = {
    "allow": (["allowed.example", "denied.example"], {"doubted.example.": "NODATA"}),
    "deny": (["denied.example", "new.example", "allowed.example"], COMPLETE | {"new.example.": "NXDOMAIN"}),
    "north": (["doubted.example", "southern.example"], COMPLETE | {"southern.example.": "NODATA"}),
    "south": (["doubted.example", "northern.example"], COMPLETE | {"northern.example.": "NODATA"}),
}
ENDS: dict[str, Callable[[Any], None]] = {"stop": lambda life: life.stop(), "kill": lambda life: life.kill()}


@pytest.fixture(params=ENDS)
def end(request: pytest.FixtureRequest) -> Callable[[Any], None]:
    """How the first life ends."""
    return ENDS[request.param]


async def live_once(pop: Any, end: Callable[[Any], None], seconds: float = 5) -> None:
    """A first life, in which all lists are there."""
    async with pop.run() as life:
        await life.secondary.wait_versions(1)
        await trio.sleep(seconds)
        end(life)


async def test_with_the_same_lists_nothing_changes(
    four: Any, end: Callable[[Any], None], autojump_clock: MockClock
) -> None:
    await live_once(four, end)
    async with four.run() as life:
        zone = await life.zone()
        assert (life.now, zone.serial, zone.records, zone.state) == (0, 1, 2, "serving")
        await life.until(200)
        assert (await life.health()).warnings == ()
        assert {source.state for source in (await life.sources()).sources} == {"fresh"}
    (version,) = four.secondary.seen
    assert version.rules == COMPLETE


@pytest.mark.parametrize("how", ["absent", "directory", "garbage", "loop", "forbidden"])
@pytest.mark.parametrize("source", LATER)
async def test_a_list_that_is_missing_after_a_restart_changes_nothing_until_it_is_back(
    four: Any, end: Callable[[Any], None], source: str, how: str, autojump_clock: MockClock
) -> None:
    four.secondary.always = set(COMPLETE)
    await live_once(four, end)
    four.ruin(source, how)
    async with four.run() as life:
        zone = await life.zone()
        assert (life.now, zone.serial, zone.state) == (0, 1, "serving")
        await life.until(100.5)
        assert len(four.secondary.seen) == 1
        assert (await life.source(source)).state == "stale"
        health = await life.health()
        assert health.ready
        assert any(f"source {source}: " in warning for warning in health.warnings)

        four.secondary.always = {"doubted.example."}
        says, rules = LATER[source]
        four.say(source, *says)
        second = await life.secondary.wait_versions(2)
        assert (life.now, second.serial, second.rules) == (101, 2, rules)
        await life.until(150)
        assert (await life.health()).warnings == ()
    assert len(four.secondary.seen) == 2
    assert four.secondary.whole_transfers == 0


@pytest.mark.parametrize("source", LATER)
async def test_a_list_that_is_being_written_at_the_restart_counts_when_it_is_whole(
    four: Any, end: Callable[[Any], None], source: str, autojump_clock: MockClock
) -> None:
    four.secondary.always = {"doubted.example."}
    await live_once(four, end)
    four.clear(source)
    says, rules = LATER[source]
    lines = ["# half of it"] * 20 + says
    async with four.run() as life, trio.open_nursery() as nursery:
        await life.until(0.25)
        nursery.start_soon(four.write_slowly, source, lines)
        second = await life.secondary.wait_versions(2)
        assert (life.now, second.serial, second.rules) == (int(0.25 + 0.5 * (len(lines) - 1)) + 2, 2, rules)
    assert len(four.secondary.seen) == 2


async def test_edits_while_down_are_published_at_once(
    four: Any, end: Callable[[Any], None], autojump_clock: MockClock
) -> None:
    await live_once(four, end)
    for source, (says, _) in LATER.items():
        four.say(source, *says)
    async with four.run() as life:
        await life.until(30)
        # Each list was restored, so each is published as it comes; what they come to is the same in any order.
        assert four.secondary.rules == {"doubted.example.": "NODATA", "new.example.": "NXDOMAIN"}
        assert all(version.at == life.began for version in four.secondary.seen[1:])
    assert four.secondary.whole_transfers == 0


async def test_another_policy_after_a_restart_is_one_version(
    four: Any, end: Callable[[Any], None], autojump_clock: MockClock
) -> None:
    await live_once(four, end)
    four.policy["denylist"] = {"action": "drop"}
    async with four.run() as life:
        second = await life.secondary.wait_versions(2)
        assert (life.now, second.serial, second.rules) == (0, 2, COMPLETE | {"denied.example.": "DROP"})
        await life.until(100)
    assert len(four.secondary.seen) == 2


async def test_a_new_list_that_is_missing_keeps_the_stored_version_until_the_deadline(
    four: Any, end: Callable[[Any], None], autojump_clock: MockClock
) -> None:
    await live_once(four, end)
    four.add("more", "denylist", missing=True)
    four.say("deny", "denied.example", "new.example", "allowed.example")
    async with four.run() as life:
        await life.until(59.9)
        assert len(four.secondary.seen) == 1
        assert (await life.sources()).waiting_for == ("more",)
        second = await life.secondary.wait_versions(2)
        assert (life.now, second.rules) == (60, COMPLETE | {"new.example.": "NXDOMAIN"})


async def test_a_new_allowlist_that_is_missing_keeps_the_stored_version_for_ever(
    four: Any, end: Callable[[Any], None], autojump_clock: MockClock
) -> None:
    await live_once(four, end)
    four.add("more", "allowlist", missing=True)
    four.say("deny", "denied.example", "new.example", "allowed.example")
    async with four.run() as life:
        await life.until(500.5)
        assert len(four.secondary.seen) == 1
        assert not (await life.health()).ready
        four.say("more", "denied.example")
        second = await life.secondary.wait_versions(2)
        assert (life.now, second.serial) == (501, 2)
        assert second.rules == {"doubted.example.": "NODATA", "new.example.": "NXDOMAIN"}


async def test_a_lost_zone_store_goes_on_after_the_serialcache(
    four: Any, end: Callable[[Any], None], autojump_clock: MockClock
) -> None:
    four.serial_cache.write_text("current_serial: 99\n")
    await live_once(four, end)
    four.zone_db.unlink()
    for side in ("-wal", "-shm"):
        with contextlib.suppress(FileNotFoundError):
            four.zone_db.with_name(four.zone_db.name + side).unlink()
    four.secondary.may_miss = True
    async with four.run() as life:
        second = await life.secondary.wait_versions(2)
        assert (life.now, second.serial, second.rules) == (0, 101, COMPLETE)


async def test_twenty_kills_amid_edits(four: Any, rng: random.Random, autojump_clock: MockClock) -> None:
    four.secondary.always = {"denied.example."}
    extra: list[str] = []
    for number in range(20):
        async with four.run() as life:
            if number:
                assert (await life.zone()).serial == four.secondary.serial
                assert life.now == 0
            for _ in range(rng.randrange(1, 4)):
                extra = [f"n{rng.randrange(50)}.example" for _ in range(10)]
                four.say("deny", "denied.example", "allowed.example", *extra)
                await trio.sleep(rng.random() * 3)
            life.kill()
    async with four.run() as life:
        await life.until(10)
        assert four.secondary.rules == COMPLETE | {f"{name}.": "NXDOMAIN" for name in extra}
    assert four.secondary.whole_transfers == 0
