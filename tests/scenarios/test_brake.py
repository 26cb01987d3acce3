"""The brake: what changes too much at once waits for the operator, also over a restart."""

import logging
from typing import Any

import pytest
from trio.testing import MockClock

from actors import AskFailed
from tapir.model.messages.events import GetEvents
from tapir.model.messages.lists import AcceptSource
from tapir.model.messages.zone import AcceptZone, HoldZone, ResumeZone


def names(count: int, prefix: str = "n") -> list[str]:
    return [f"{prefix}{number}.example" for number in range(count)]


def denied(count: int, prefix: str = "n") -> dict[str, str]:
    return {f"{name}.": "NXDOMAIN" for name in names(count, prefix)}


@pytest.fixture
def large(pop: Any) -> Any:
    """A denylist of 1000 names, where the brake begins to look; the zone's own brake looks away."""
    pop.rpz["brake"] = {"change": "100%", "minimum": 1_000_000}
    pop.add("deny", "denylist", *names(1000))
    return pop


@pytest.mark.parametrize(
    ("before", "after", "held"),
    [
        (1000, 500, False),
        (1000, 499, True),
        (1000, 3000, False),
        (1000, 3001, True),
        (999, 1, False),
        (999, 9000, False),
        (1000, 0, True),
    ],
)
async def test_a_list_that_shrinks_or_grows_too_much_is_held_at_the_documented_limits(
    large: Any, before: int, after: int, held: bool, autojump_clock: MockClock
) -> None:
    large.say("deny", *names(before))
    async with large.run() as life:
        await life.until(0.5)
        large.say("deny", *names(after))
        await life.until(2)
        assert large.secondary.rules == denied(before if held else after)
        source = await life.source("deny")
        assert (source.state, source.names, source.pending_names) == (
            ("held", before, after) if held else ("fresh", after, None)
        )


async def test_what_is_held_is_flagged_and_in_effect_once_accepted(
    large: Any, caplog: pytest.LogCaptureFixture, autojump_clock: MockClock
) -> None:
    async with large.run() as life:
        await life.until(0.5)
        large.say("deny", *names(10))
        await life.until(100)
        assert len(large.secondary.seen) == 1
        health = await life.health()
        assert health.ready
        why = "it shrinks from 1000 to 10 names, by more than 50%"
        assert f"source deny is held back by the brake: {why}; tapir accept deny" in health.warnings
        # One warning, with the identifier that Core knows it by.
        (event,) = (
            record.message
            for record in caplog.records
            if record.levelno >= logging.WARNING and "deny" in record.message
        )
        (raised,) = await life.ask("control/events", GetEvents())
        assert event == f"event {raised.id} source-held deny: {raised.text}"
        assert why in raised.text
        assert await life.ask("evaluator/lists", AcceptSource(source="deny"))
        second = await life.secondary.wait_versions(2)
        assert (life.now, second.serial, second.rules) == (100, 2, denied(10))
        assert (await life.health()).warnings == ()
        (over,) = await life.ask("control/events", GetEvents())
        assert (over.id, over.cleared_at is None) == (raised.id, False)
        with pytest.raises(AskFailed):
            await life.ask("evaluator/lists", AcceptSource(source="deny"))


async def test_a_list_that_comes_back_within_the_limits_is_no_longer_held(
    large: Any, autojump_clock: MockClock
) -> None:
    async with large.run() as life:
        await life.until(0.5)
        large.say("deny")
        await life.until(10.5)
        assert (await life.source("deny")).state == "held"
        large.say("deny", *names(1001))
        second = await life.secondary.wait_versions(2)
        assert (life.now, second.rules) == (11, denied(1001))
        assert (await life.source("deny")).state == "fresh"


@pytest.mark.parametrize("end", ["stop", "kill"])
async def test_what_is_held_stays_held_over_a_restart(large: Any, end: str, autojump_clock: MockClock) -> None:
    async with large.run() as life:
        await life.until(0.5)
        large.say("deny", *names(10))
        await life.until(5)
        getattr(life, end)()
    async with large.run() as life:
        await life.until(50)
        assert len(large.secondary.seen) == 1
        source = await life.source("deny")
        assert (source.state, source.names, source.pending_names) == ("held", 1000, 10)
        await life.ask("evaluator/lists", AcceptSource(source="deny"))
        second = await life.secondary.wait_versions(2)
        assert (life.now, second.rules) == (50, denied(10))
    async with large.run() as life:
        await life.until(50)
        assert (await life.source("deny")).state == "fresh"
    assert len(large.secondary.seen) == 2


async def test_a_held_list_holds_no_other_list(large: Any, autojump_clock: MockClock) -> None:
    large.add("more", "denylist", "more.example")
    async with large.run() as life:
        await life.until(0.5)
        large.say("deny")
        large.say("more", "more.example", "other.example")
        second = await life.secondary.wait_versions(2)
        assert (life.now, second.rules) == (
            1,
            denied(1000) | {"more.example.": "NXDOMAIN", "other.example.": "NXDOMAIN"},
        )


async def test_thresholds_come_from_the_configuration_and_from_each_source(
    large: Any, autojump_clock: MockClock
) -> None:
    large.top["brake"] = {"shrink": "10%", "minimum": 10}
    large.add("odd", "denylist", *names(10, "odd"), brake={"shrink": "90%"})
    large.add("even", "denylist", *names(10, "even"))
    async with large.run() as life:
        await life.until(0.5)
        large.say("odd", *names(1, "odd"))
        large.say("even", *names(8, "even"))
        await life.until(2)
        assert [(await life.source(source)).state for source in ("odd", "even")] == ["fresh", "held"]
        large.sources["even"]["brake"] = {"shrink": "20%"}
        assert await life.reload() == ()
        large.say("even", *names(8, "even")[::-1], "even99.example")
        await life.until(4)
        assert (await life.source("even")).state == "fresh"


# The zone's own brake


@pytest.fixture
def zone(pop: Any) -> Any:
    """A zone of 4000 names from two lists, each far from its own brake."""
    pop.add("deny", "denylist", *names(3000))
    pop.add("more", "denylist", *names(1000, "m"))
    return pop


WHOLE = denied(3000) | denied(1000, "m")


@pytest.mark.parametrize(
    ("gone", "held"), [(1000, False), (1001, True)], ids=["a quarter is published", "more is held"]
)
async def test_a_version_that_changes_too_much_is_held(
    zone: Any, gone: int, held: bool, autojump_clock: MockClock
) -> None:
    async with zone.run() as life:
        await life.until(10.5)
        assert zone.secondary.rules == WHOLE
        serial = zone.secondary.serial
        zone.say("deny", *names(3000)[gone:])
        await life.until(20)
        status = await life.zone()
        if not held:
            assert (status.serial, status.state, status.records) == (serial + 1, "serving", 3000)
            return
        assert (status.serial, status.state, status.held_change) == (serial, "braked", (1001, 0))
        assert any("tapir accept zone" in warning for warning in (await life.health()).warnings)
        assert await life.ask("authority/keeper", AcceptZone())
        accepted = await life.secondary.wait_versions(len(zone.secondary.seen) + 1)
        assert (life.now, accepted.serial, len(accepted.rules)) == (20, serial + 1, 2999)


async def test_a_braked_change_that_becomes_small_again_is_published(zone: Any, autojump_clock: MockClock) -> None:
    async with zone.run() as life:
        await life.until(10.5)
        zone.say("deny", *names(3000)[1500:])
        await life.until(15.5)
        assert (await life.zone()).state == "braked"
        zone.say("deny", *names(3000)[500:])
        await life.until(17)
        assert ((await life.zone()).state, len(zone.secondary.rules)) == ("serving", 3500)


@pytest.mark.parametrize("end", ["stop", "kill"])
async def test_a_braked_change_is_braked_again_after_a_restart(zone: Any, end: str, autojump_clock: MockClock) -> None:
    async with zone.run() as life:
        await life.until(10.5)
        zone.say("deny", *names(3000)[1500:])
        await life.until(15)
        getattr(life, end)()
    async with zone.run() as life:
        await life.until(30)
        assert ((await life.zone()).state, zone.secondary.rules) == ("braked", WHOLE)
        await life.ask("authority/keeper", AcceptZone())
        await life.until(31)
        assert len(zone.secondary.rules) == 2500


async def test_the_zones_thresholds_come_from_the_configuration(pop: Any, autojump_clock: MockClock) -> None:
    pop.rpz["brake"] = {"change": "50%", "minimum": 4}
    pop.add("deny", "denylist", *names(8))
    async with pop.run() as life:
        await life.until(0.5)
        pop.say("deny", *names(4))
        await life.until(2)
        assert len(pop.secondary.rules) == 4
        pop.say("deny", *names(4, "x"))
        await life.until(4)
        assert ((await life.zone()).state, pop.secondary.rules) == ("braked", denied(4))


# What the operator holds


@pytest.mark.parametrize("end", ["stop", "kill"])
async def test_a_held_zone_stays_held_over_a_restart_and_goes_on_with_everything(
    four: Any, end: str, caplog: pytest.LogCaptureFixture, autojump_clock: MockClock
) -> None:
    async with four.run() as life:
        await life.until(1)
        await life.ask("authority/keeper", HoldZone())
        four.say("deny", "first.example")
        await life.until(5)
        zone = await life.zone()
        assert (zone.state, zone.serial, zone.held_change) == ("held", 1, (1, 1))
        assert "the zone is held by the operator: tapir zone resume" in (await life.health()).warnings
        getattr(life, end)()
    four.say("deny", "first.example", "second.example")
    async with four.run() as life:
        await life.until(100)
        zone = await life.zone()
        assert (zone.state, zone.serial, zone.held_change) == ("held", 1, (1, 2))
        await life.ask("authority/keeper", ResumeZone())
        second = await life.secondary.wait_versions(2)
        assert (life.now, second.serial) == (100, 2)
        assert second.rules == {
            "doubted.example.": "NODATA",
            "first.example.": "NXDOMAIN",
            "second.example.": "NXDOMAIN",
        }
        await life.until(101)
    async with four.run() as life:
        assert (await life.zone()).state == "serving"
    assert not [record for record in caplog.records if record.levelno >= logging.ERROR]
