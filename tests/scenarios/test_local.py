"""Names that the operator allows, denies or doubts by hand, and the canary: from the order to what a secondary has."""

from collections.abc import Callable
from typing import Any

import pytest
import trio
import trio.lowlevel
from trio.testing import MockClock

from tapir.app.config import load
from tapir.app.plan import make_plan
from tapir.model.actions import ListKind
from tapir.model.messages.local import CANARY, GetOverrides, RemoveOverride, SetOverride

COMPLETE = {"denied.example.": "NXDOMAIN", "doubted.example.": "NODATA"}
ENDS: dict[str, Callable[[Any], None]] = {"stop": lambda life: life.stop(), "kill": lambda life: life.kill()}


async def put(life: Any, entry: str, kind: ListKind, seconds: int | None = None) -> Any:
    return await life.ask(
        "sources/tapir:local", SetOverride(entry=entry, kind=kind, seconds=seconds, reason="", user="ops")
    )


async def test_a_denied_name_is_in_the_next_version_and_an_allowed_one_is_not(
    four: Any, autojump_clock: MockClock
) -> None:
    async with four.run() as life:
        await life.until(10)
        await put(life, "||now.example^", ListKind.DENY)
        second = await life.secondary.wait_versions(2)
        assert (life.now, second.rules) == (
            10,
            COMPLETE | {"now.example.": "NXDOMAIN", "*.now.example.": "NXDOMAIN"},
        )
        await put(life, "denied.example", ListKind.ALLOW)
        await put(life, "*.now.example", ListKind.ALLOW)
        await put(life, "northern.example", ListKind.DOUBT)
        await life.until(11)
        assert life.secondary.rules == {
            "doubted.example.": "NODATA",
            "northern.example.": "NODATA",
            "now.example.": "NXDOMAIN",
        }
        # What is allowed by a list stays out, whoever denies it.
        await put(life, "allowed.example", ListKind.DENY)
        await life.ask("sources/tapir:local", RemoveOverride(entry="denied.example", kind=ListKind.ALLOW, user="ops"))
        await life.until(20)
        assert life.secondary.rules["denied.example."] == "NXDOMAIN"
        assert (await life.health()).warnings == ()
    assert four.secondary.whole_transfers == 0


@pytest.mark.parametrize("end", ENDS.values(), ids=ENDS)
async def test_what_was_answered_outlives_the_process_and_what_ended_meanwhile_does_not(
    four: Any, end: Callable[[Any], None], autojump_clock: MockClock
) -> None:
    async with four.run() as life:
        await life.secondary.wait_versions(1)
        await put(life, "now.example", ListKind.DENY)
        await put(life, "soon.example", ListKind.DENY, 3600)
        await life.secondary.wait_versions(2)
        await put(life, "denied.example", ListKind.ALLOW)
        end(life)
    # At the latest with the first version of the next life the last order is carried out.
    four.secondary.always = {"now.example."}
    async with four.run() as life:
        await life.until(30)
        # The wall clock of a life begins anew, as it would after a step of the machine's: half an hour is left.
        assert life.secondary.rules == {
            "doubted.example.": "NODATA",
            "now.example.": "NXDOMAIN",
            "soon.example.": "NXDOMAIN",
        }
        assert {source.state for source in (await life.sources()).sources} == {"fresh"}
        await life.until(3700)
        assert "soon.example." not in life.secondary.rules
        assert {each.entry for each in (await life.ask("sources/tapir:local", GetOverrides())).overrides} == {
            "now.example.",
            "denied.example.",
        }


async def test_it_ends_by_itself(four: Any, autojump_clock: MockClock) -> None:
    async with four.run() as life:
        await life.until(10)
        await put(life, "denied.example", ListKind.ALLOW, 7200)
        second = await life.secondary.wait_versions(2)
        assert second.rules == {"doubted.example.": "NODATA"}
        third = await life.secondary.wait_versions(3, seconds=8000)
        assert (life.now, third.rules) == (7210, COMPLETE)


async def test_crashes_of_who_keeps_them_lose_nothing(four: Any, trouble: Any, autojump_clock: MockClock) -> None:
    async with four.run(trouble=trouble) as life:
        await life.until(1)
        await put(life, "now.example", ListKind.DENY)
        four.secondary.always = {"now.example."}
        for path in ("sources/tapir:local", "evaluator/lists", "evaluator/policy"):
            trouble.arm(path, "before", "after")
            await life.until(life.now + 60)
        trouble.disarm()
        await put(life, "more.example", ListKind.DENY)
        await life.until(life.now + 60)
        assert life.secondary.rules == COMPLETE | {"now.example.": "NXDOMAIN", "more.example.": "NXDOMAIN"}
        assert trouble.crashes >= 4


async def test_a_canary_is_in_the_zone_until_it_is_another_one(four: Any, autojump_clock: MockClock) -> None:
    four.rpz["canary"] = "canary.example"
    async with four.run() as life:
        first = await life.secondary.wait_versions(1)
        assert first.rules == COMPLETE | {"canary.example.": "NXDOMAIN"}
        four.rpz["canary"] = "other.example"
        assert await life.reload() == ()
        second = await life.secondary.wait_versions(2)
        assert second.rules == COMPLETE | {"other.example.": "NXDOMAIN"}
        # A crash does not bring the old one back.
        life.system.ref("sources/tapir:local")
        four.say("allow", "allowed.example", "*.example")
        four.secondary.never = set()
        await life.until(30)
        warnings = (await life.health()).warnings
        assert any("the canary other.example. is on an allowlist (allow)" in warning for warning in warnings)
        four.say("allow", "allowed.example")
        await life.until(60)
        assert (await life.health()).warnings == ()
        assert (await life.source(CANARY)).state == "fresh"


@pytest.mark.parametrize("canary", ["se", "co.uk", "*.example", "a..b", "x.rpz-ip", 5])
async def test_a_canary_that_no_denylist_may_hold_is_an_error(
    four: Any, canary: Any, autojump_clock: MockClock
) -> None:
    async with four.run() as life:
        four.rpz["canary"] = canary
        (error,) = await life.reload()
        assert "services.rpz.canary: " in error


async def test_ids_of_our_own_sources_are_refused(four: Any, autojump_clock: MockClock) -> None:
    async with four.run() as life:
        four.add("Tapir:deny", "denylist", "x.example")
        (error,) = await life.reload()
        assert "ids that begin with `tapir:` are those of tapir's own lists" in error


async def test_a_plan_knows_the_overrides_and_the_canary(four: Any, autojump_clock: MockClock) -> None:
    four.rpz["canary"] = "canary.example"
    async with four.run() as life:
        await put(life, "now.example", ListKind.DENY, 60)
        await life.until(5)
        config = load(four.config_dir, four.state_dir)
        now = 1_700_000_005_000_000
        assert not make_plan(config, running=config, state_dir=four.state_dir, now=now).changes
        later = make_plan(config, running=config, state_dir=four.state_dir, now=now + 60_000_000)
        assert [change.name for change in later.removed.first] == ["now.example."]
        await trio.lowlevel.checkpoint()
