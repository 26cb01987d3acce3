"""The operator pauses the zone, rolls it back, and looks at what it was: over commits, crashes and restarts."""

import logging
from collections.abc import Callable
from typing import Any

import pytest
import trio
from trio.testing import MockClock

from actors import AskFailed
from tapir.model.messages.zone import (
    GetZoneDifference,
    GetZoneHistory,
    HoldZone,
    PauseZone,
    ResumeZone,
    RollBackZone,
    SetSerial,
)
from tapir.services.authority.messages import Publish
from tapir.services.authority.steering import clock_text

COMPLETE = {"denied.example.": "NXDOMAIN", "doubted.example.": "NODATA"}
MORE = COMPLETE | {"new.example.": "NXDOMAIN"}
ENDS: dict[str, Callable[[Any], None]] = {"stop": lambda life: life.stop(), "kill": lambda life: life.kill()}
KEEPER = "authority/keeper"


@pytest.fixture(params=ENDS)
def end(request: pytest.FixtureRequest) -> Callable[[Any], None]:
    """How a life ends."""
    return ENDS[request.param]


def say_more(pop: Any) -> None:
    pop.say("deny", "denied.example", "new.example", "allowed.example")


def seen(pop: Any) -> list[tuple[int, dict[str, str]]]:
    return [(version.serial, version.rules) for version in pop.secondary.seen]


async def refusal(life: Any, order: Any) -> str:
    with pytest.raises(AskFailed) as failed:
        await life.ask(KEEPER, order)
    return str(failed.value.__cause__)


async def test_a_pause_empties_the_zone_at_once_and_ends_by_itself(
    four: Any, caplog: pytest.LogCaptureFixture, autojump_clock: MockClock
) -> None:
    caplog.set_level(logging.INFO)
    async with four.run() as life:
        await life.until(10)
        until = clock_text(four.clock.now() + 600_000_000)
        said = await life.ask(KEEPER, PauseZone(seconds=600, user="alice"))
        assert said == f"the zone is empty, as serial 2, until {until}: then what the lists say by then comes back"
        assert seen(four) == [(1, COMPLETE), (2, {})]
        zone = await life.zone()
        assert (zone.state, zone.serial, zone.records) == ("paused", 2, 0)
        assert zone.reason == f"paused until {until}, by alice"
        health = await life.health()
        assert health.ready
        assert health.warnings == (f"the zone is paused until {until}, by alice: nothing is blocked; tapir resume",)
        say_more(four)
        await life.until(609)
        assert len(four.secondary.seen) == 2
        back = await four.secondary.wait_versions(3)
        assert (life.now, back.serial, back.rules) == (610, 3, MORE)
        assert (await life.health()).warnings == ()
        assert (await life.zone()).state == "serving"
        published: list[int] = []
        while len(published) < 3:
            said = await life.notifier.next()
            published += [said.view.serial] if isinstance(said, Publish) else []
        assert published == [1, 2, 3], "secondaries are told of both"
        history = await life.ask(KEEPER, GetZoneHistory(count=10))
        assert [
            (step.serial, step.from_serial, step.removed, step.added, step.kind, step.user) for step in history.steps
        ] == [
            (3, 1, 0, 1, "return", ""),
            (2, None, 2, 0, "pause", "alice"),
            (1, None, 0, 2, "first", ""),
        ]
    assert "the operator alice: PauseZone" in caplog.text


async def test_resume_ends_a_pause_before_its_time(four: Any, autojump_clock: MockClock) -> None:
    async with four.run() as life:
        await life.until(1)
        await life.ask(KEEPER, PauseZone(seconds=600, user="alice"))
        await life.until(5)
        assert await life.ask(KEEPER, ResumeZone(user="bob")) == "the zone is back: serial 3, 2 records"
        assert seen(four) == [(1, COMPLETE), (2, {}), (3, COMPLETE)]
        await life.until(1000)
        assert len(four.secondary.seen) == 3
        (step, *_) = (await life.ask(KEEPER, GetZoneHistory(count=1))).steps
        assert (step.kind, step.user, step.from_serial) == ("return", "bob", 1)


async def test_a_pause_goes_on_over_a_restart_and_ends_at_its_time(
    four: Any, end: Callable[[Any], None], autojump_clock: MockClock
) -> None:
    async with four.run() as life:
        await life.until(1)
        await life.ask(KEEPER, PauseZone(seconds=600, user="alice"))
        await trio.sleep(99)
        end(life)
    say_more(four)
    async with four.run() as life:
        assert (await life.zone()).state == "paused"
        await life.until(400)
        assert seen(four) == [(1, COMPLETE), (2, {})]
        back = await four.secondary.wait_versions(3)
        assert (round(life.now, 3), back.serial, back.rules) == (501, 3, MORE)


async def test_a_pause_that_ended_while_nothing_ran_is_over_at_the_start(
    four: Any, end: Callable[[Any], None], autojump_clock: MockClock
) -> None:
    async with four.run() as life:
        await life.until(1)
        await life.ask(KEEPER, PauseZone(seconds=60))
        end(life)
    await trio.sleep(60)
    four.ruin("deny", "absent")
    async with four.run() as life:
        assert (life.now, (await life.zone()).state) == (0, "serving")
        assert seen(four) == [(1, COMPLETE), (2, {}), (3, COMPLETE)]


async def test_a_clock_that_was_set_back_does_not_make_a_pause_longer(four: Any, autojump_clock: MockClock) -> None:
    async with four.run() as life:
        await life.until(1)
        await life.ask(KEEPER, PauseZone(seconds=60))
        four.clock.advance(-86_400_000_000)
        back = await four.secondary.wait_versions(3)
        assert life.now == 61
        await life.ask(KEEPER, PauseZone(seconds=300))
        four.clock.advance(-86_400_000_000)
        life.stop()
    async with four.run() as life:
        back = await four.secondary.wait_versions(5)
        assert (life.now, back.rules) == (300, COMPLETE)
        await life.ask(KEEPER, PauseZone(seconds=3600))
        four.clock.advance(3_600_000_000)
        back = await four.secondary.wait_versions(7)
        assert life.now <= 630, "a clock that is set forward is noticed, too"


async def test_what_changed_too_much_during_a_pause_is_held_against_what_was_before(
    pop: Any, autojump_clock: MockClock
) -> None:
    names = [f"n{number}.example" for number in range(3000)]
    pop.rpz["brake"] = {"change": "25%", "minimum": 100}
    pop.add("deny", "denylist", *names, brake={"shrink": "100%", "grow": 100, "minimum": 1_000_000})
    async with pop.run() as life:
        await life.until(1)
        await life.ask(KEEPER, PauseZone(seconds=60))
        pop.say("deny", *names[:2900])
        await life.until(62)
        assert [len(version.rules) for version in pop.secondary.seen] == [3000, 0, 2900], "no brake on the way back"
        await life.ask(KEEPER, PauseZone(seconds=60))
        pop.say("deny", *names[:100])
        await life.until(130)
        assert [len(version.rules) for version in pop.secondary.seen][3:] == [0, 2900]
        assert (await life.zone()).state == "braked"


async def test_a_rollback_is_served_and_held_over_a_restart_until_resumed(
    four: Any, end: Callable[[Any], None], autojump_clock: MockClock
) -> None:
    async with four.run() as life:
        await life.until(1)
        say_more(four)
        await four.secondary.wait_versions(2)
        said = await life.ask(KEEPER, RollBackZone(serial=1, user="alice"))
        assert said == (
            "the zone is rolled back to serial 1: -1 +0 records, as serial 3; it is held until: tapir resume"
        )
        four.say("deny", "denied.example", "new.example", "newer.example", "allowed.example")
        await life.until(30)
        end(life)
    async with four.run() as life:
        zone = await life.zone()
        assert (zone.serial, zone.state, zone.reason) == (3, "held", "held: rolled back to serial 1 by alice")
        await life.until(100)
        assert seen(four) == [(1, COMPLETE), (2, MORE), (3, COMPLETE)]
        assert (await life.health()).warnings == (
            "the zone is held: rolled back to serial 1 by alice: tapir zone resume",
        )
        difference = await life.ask(KEEPER, GetZoneDifference(from_serial=2, to_serial=3))
        assert (difference.removed, difference.added) == (1, 0)
        await life.ask(KEEPER, ResumeZone(user="alice"))
        back = await four.secondary.wait_versions(4)
        assert back.rules == MORE | {"newer.example.": "NXDOMAIN"}
        assert four.secondary.whole_transfers == 0, "each step by IXFR"
        kinds = [
            (step.serial, step.kind, step.user) for step in (await life.ask(KEEPER, GetZoneHistory(count=9))).steps
        ]
        assert kinds == [(4, "lists", ""), (3, "rollback", "alice"), (2, "lists", ""), (1, "first", "")]


async def test_the_way_back_from_a_rollback_passes_the_brake(pop: Any, autojump_clock: MockClock) -> None:
    names = [f"n{number}.example" for number in range(2000)]
    pop.rpz["brake"] = {"change": "25%", "minimum": 100}
    pop.add("deny", "denylist", names[0])
    async with pop.run() as life:
        await life.until(1)
        pop.say("deny", *names[:101])
        await pop.secondary.wait_versions(2)
        await life.until(3)
        await life.ask(KEEPER, RollBackZone(serial=1))
        pop.say("deny", *names[:200])
        await life.until(10)
        await life.ask(KEEPER, ResumeZone())
        await life.until(11)
        assert len(pop.secondary.rules) == 200, "199 names more than the one now, but 99 more than before the rollback"
        await life.ask(KEEPER, RollBackZone(serial=1))
        pop.say("deny", *names)
        await life.until(20)
        said = await life.ask(KEEPER, ResumeZone())
        assert said == "the zone is no longer held, but the brake holds the change: tapir accept zone"


async def test_what_cannot_be_rolled_back_is_refused_in_words(four: Any, autojump_clock: MockClock) -> None:
    async with four.run() as life:
        await life.until(1)
        assert await refusal(life, RollBackZone(serial=1)) == (
            "not done: nothing would change by going back to serial 1, it is the present one"
        )
        assert await refusal(life, RollBackZone(serial=7)) == (
            "not done: serial 7 is not known: the journal reaches no further than serial 1; "
            "with serial 1 it was the first version"
        )
        say_more(four)
        await four.secondary.wait_versions(2)
        assert "1 s to 7 days" in await refusal(life, PauseZone(seconds=8 * 86400))
        assert (await life.zone()).state == "serving"
        assert len(four.secondary.seen) == 2


async def test_hold_and_pause_stand_beside_each_other(four: Any, autojump_clock: MockClock) -> None:
    async with four.run() as life:
        await life.until(1)
        await life.ask(KEEPER, HoldZone(user="bob"))
        await life.ask(KEEPER, PauseZone(seconds=60, user="alice"))
        zone = await life.zone()
        assert zone.state == "paused"
        assert zone.reason.endswith(", by alice; held by bob")
        say_more(four)
        await life.until(62)
        assert seen(four) == [(1, COMPLETE), (2, {}), (3, COMPLETE)], "back as it was held"
        assert (await life.zone()).state == "held"
        await life.ask(KEEPER, PauseZone(seconds=60))
        assert (await life.ask(KEEPER, PauseZone(seconds=600))).startswith("the zone is paused already: now until")
        until = clock_text(four.clock.now() + 600_000_000)
        (step, *_) = (await life.ask(KEEPER, GetZoneHistory(count=1))).steps
        assert (step.kind, step.text) == ("pause", f"until {until}"), "the history has the end that counts"
        await life.until(130)
        assert len(four.secondary.seen) == 4
        await life.ask(KEEPER, ResumeZone())
        assert seen(four)[4:] == [(5, MORE)], "resume ends both"
        assert (await life.zone()).reason == ""


async def test_a_rollback_ends_a_pause(four: Any, autojump_clock: MockClock) -> None:
    async with four.run() as life:
        await life.until(1)
        say_more(four)
        await four.secondary.wait_versions(2)
        await life.ask(KEEPER, PauseZone(seconds=60))
        await life.ask(KEEPER, RollBackZone(serial=1))
        await life.until(100)
        assert seen(four) == [(1, COMPLETE), (2, MORE), (3, {}), (4, COMPLETE)]
        assert (await life.zone()).state == "held"
        await life.ask(KEEPER, PauseZone(seconds=60))
        await life.until(200)
        assert seen(four)[4:] == [(5, {}), (6, COMPLETE)], "a pause while rolled back leads back to that"
        assert (await life.zone()).reason == "held: rolled back to serial 1 by the operator"


@pytest.mark.parametrize(("serial", "back"), [(50, 51), (2**31 + 3, 2**31 + 4)])
async def test_a_serial_that_is_set_in_a_pause_is_the_empty_zones(
    four: Any, serial: int, back: int, autojump_clock: MockClock
) -> None:
    four.secondary.may_miss = True
    async with four.run() as life:
        await life.until(1)
        say_more(four)
        await four.secondary.wait_versions(2)
        await life.ask(KEEPER, PauseZone(seconds=60))
        said = await life.ask(KEEPER, SetSerial(serial=serial))
        assert said.startswith(f"the serial is {serial}")
        assert (await life.zone()).serial == serial
        await life.until(100)
        assert (await life.zone()).serial == back
        assert four.secondary.rules == MORE
        if serial != 50:
            assert "have the secondaries transfer the whole zone" in said
            four.secondary.wrong = [wrong for wrong in four.secondary.wrong if "goes back" not in wrong]
        life.kill()
    async with four.run() as life:
        zone = await life.zone()
        assert (zone.serial, zone.journal_from) == (back, 1 if serial == 50 else None)
