"""A first start: nothing is published before it is safe, whichever list is late, missing or broken."""

import logging
from typing import Any

import pytest
import trio
from trio.testing import MockClock

COMPLETE = {"denied.example.": "NXDOMAIN", "doubted.example.": "NODATA"}
SAYS = {
    "allow": ["allowed.example"],
    "deny": ["denied.example", "allowed.example"],
    "north": ["doubted.example", "allowed.example", "northern.example"],
    "south": ["doubted.example", "allowed.example", "southern.example"],
}
WITHOUT = {
    "deny": {"doubted.example.": "NODATA"},
    "north": {"denied.example.": "NXDOMAIN"},
    "south": {"denied.example.": "NXDOMAIN"},
}
RUINS = ["absent", "directory", "garbage", "loop", "forbidden"]


async def test_with_every_list_in_place_the_first_version_is_complete_at_once(
    four: Any, autojump_clock: MockClock
) -> None:
    async with four.run() as life:
        first = await life.secondary.wait_versions(1)
        assert (first.at, first.serial, first.rules) == (life.began, 1, COMPLETE)
        assert (await life.health()).ready
        await life.until(1000)
        assert (await life.health()).warnings == ()
    assert len(four.secondary.seen) == 1


@pytest.mark.parametrize("how", RUINS)
@pytest.mark.parametrize("source", WITHOUT)
async def test_a_missing_list_is_waited_for_until_the_deadline_and_then_named(
    four: Any, source: str, how: str, caplog: pytest.LogCaptureFixture, autojump_clock: MockClock
) -> None:
    four.ruin(source, how)
    async with four.run() as life:
        await life.until(59.9)
        assert four.secondary.seen == []
        sources, health, zone = await life.sources(), await life.health(), await life.zone()
        assert (sources.publishing, sources.waiting_for) == (False, (source,))
        assert not health.ready
        assert any(source in reason for reason in health.reasons)
        assert (zone.serial, zone.state) == (None, "empty")
        assert (await life.source(source)).state == "waiting"
        assert (await life.source(source)).error

        first = await life.secondary.wait_versions(1)
        assert (life.now, first.serial, first.rules) == (60, 1, WITHOUT[source])
        health = await life.health()
        assert health.ready
        assert any(source in warning for warning in health.warnings)
        assert (await life.sources()).waiting_for == (source,)
        warned = [record.message for record in caplog.records if record.levelno >= logging.WARNING]
        assert f"changes are published without the sources that did not deliver in time: {source}" in warned

        await life.until(500.5)
        four.say(source, *SAYS[source])
        second = await life.secondary.wait_versions(2)
        assert (life.now, second.serial, second.rules) == (501, 2, COMPLETE)
        assert (await life.health()).warnings == ()
        await life.until(1000)
    assert len(four.secondary.seen) == 2


@pytest.mark.parametrize("how", RUINS)
async def test_without_a_required_allowlist_nothing_is_published_ever(
    four: Any, how: str, caplog: pytest.LogCaptureFixture, autojump_clock: MockClock
) -> None:
    four.ruin("allow", how)
    async with four.run() as life:
        await life.until(1000)
        assert four.secondary.seen == []
        sources, health = await life.sources(), await life.health()
        assert (sources.publishing, sources.waiting_for) == (False, ("allow",))
        assert not health.ready
        assert any("allow" in reason for reason in health.reasons)
        assert not life.reports[-1].ready
        warned = [record.message for record in caplog.records if record.levelno >= logging.WARNING]
        assert any("no content for allow, and a zone made without would do harm" in text for text in warned)
        assert any("source allow fails" in text for text in warned)

        four.say("allow", *SAYS["allow"])
        first = await life.secondary.wait_versions(1)
        assert (life.now, first.serial, first.rules) == (1001, 1, COMPLETE)
        assert (await life.health()).ready


async def test_an_allowlist_that_is_not_required_is_waited_for_until_the_deadline_only(
    four: Any, autojump_clock: MockClock
) -> None:
    four.sources["allow"]["required"] = False
    four.ruin("allow", "absent")
    four.secondary.never.clear()
    async with four.run() as life:
        first = await life.secondary.wait_versions(1)
        assert (life.now, first.rules) == (60, COMPLETE | {"allowed.example.": "NXDOMAIN"})
        assert (await life.health()).ready
        assert any("allow" in warning for warning in (await life.health()).warnings)
        await life.until(70.5)
        four.say("allow", *SAYS["allow"])
        second = await life.secondary.wait_versions(2)
        assert (life.now, second.serial, second.rules) == (71, 2, COMPLETE)


@pytest.mark.parametrize("source", SAYS)
async def test_a_list_that_is_still_being_written_is_not_read_by_half(
    four: Any, source: str, autojump_clock: MockClock
) -> None:
    # The last line, which makes the difference, is written at second 7.75; a whole interval later it is believed.
    four.clear(source)
    async with four.run() as life, trio.open_nursery() as nursery:
        await life.until(0.25)
        nursery.start_soon(four.write_slowly, source, ["# later"] * 15 + SAYS[source])
        await life.until(0.75)
        assert four.secondary.seen == []
        first = await life.secondary.wait_versions(1)
        last = 0.25 + 0.5 * (15 + len(SAYS[source]) - 1)
        assert (life.now, first.rules) == (int(last) + 2, COMPLETE)
        await life.until(100)
    assert len(four.secondary.seen) == 1


@pytest.mark.parametrize("source", SAYS)
async def test_a_list_that_is_written_past_the_deadline_is_missing_until_it_is_whole(
    four: Any, source: str, autojump_clock: MockClock
) -> None:
    four.clear(source)
    async with four.run() as life, trio.open_nursery() as nursery:
        await life.until(0.25)
        nursery.start_soon(four.write_slowly, source, SAYS[source][:-1] + ["# later"] * 200 + SAYS[source][-1:])
        await life.until(61)
        assert len(four.secondary.seen) == (source in WITHOUT)
        await life.until(90)
        assert "is being written without a pause" in (await life.source(source)).error
        last = await life.secondary.wait_versions(1 + (source in WITHOUT))
        assert (life.now, last.rules) == (int(0.25 + 0.5 * (200 + len(SAYS[source]) - 1)) + 2, COMPLETE)
        assert (await life.source(source)).state == "fresh"


async def test_several_missing_lists_are_all_named_and_waited_for_once(four: Any, autojump_clock: MockClock) -> None:
    four.ruin("north", "absent")
    four.ruin("south", "directory")
    async with four.run() as life:
        await life.until(30.5)
        assert (await life.sources()).waiting_for == ("north", "south")
        four.say("north", *SAYS["north"])
        await life.until(31.5)
        assert four.secondary.seen == []
        assert (await life.sources()).waiting_for == ("south",)
        first = await life.secondary.wait_versions(1)
        assert (life.now, first.rules) == (60, WITHOUT["south"])


async def test_an_empty_installation_publishes_an_empty_zone(pop: Any, autojump_clock: MockClock) -> None:
    async with pop.run() as life:
        first = await life.secondary.wait_versions(1)
        assert (life.now, first.serial, first.rules) == (0, 1, {})


async def test_the_first_serial_goes_on_from_the_old_daemons(four: Any, autojump_clock: MockClock) -> None:
    four.serial_cache.write_text("current_serial: 4711\n")
    async with four.run() as life:
        assert (await life.secondary.wait_versions(1)).serial == 4712
        assert four.serial_cache.read_text() == "current_serial: 4712\n"
