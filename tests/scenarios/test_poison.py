"""A list whose content crashes the list keeper: it alone is set aside, until it says something else."""

from collections.abc import Callable
from typing import Any

import pytest
import trio
from trio.testing import MockClock

from actors import Actor, Context
from actors.testing import InjectedFault
from tapir.model.messages.lists import AcceptSource, SourceLoaded
from tapir.model.names import parse_name

COMPLETE = {"denied.example.": "NXDOMAIN", "doubted.example.": "NODATA"}
POISON = parse_name("poison.example")


class Allergy:
    """Makes the list keeper crash on content with `poison.example` in it, as a bug of ours would."""

    def __init__(self) -> None:
        self.healed = False
        self.crashes: list[float] = []

    def __call__(self, factory: Callable[[], Actor[Any]]) -> Callable[[], Actor[Any]]:
        allergy = self

        class Allergic(Actor[Any]):
            def __init__(self) -> None:
                self._inner = factory()

            async def started(self, ctx: Context[Any]) -> None:
                await self._inner.started(ctx)

            async def receive(self, ctx: Context[Any], message: Any) -> None:
                if isinstance(message, SourceLoaded) and POISON in list(message.content.names) and not allergy.healed:
                    allergy.crashes.append(trio.current_time())
                    raise InjectedFault("poisoned")
                await self._inner.receive(ctx, message)

            async def stopping(self, ctx: Context[Any], reason: Any) -> None:
                await self._inner.stopping(ctx, reason)

        return Allergic


@pytest.fixture
def allergy() -> Allergy:
    return Allergy()


async def test_the_second_crash_suspends_the_list_and_the_others_go_on(
    four: Any, allergy: Allergy, autojump_clock: MockClock
) -> None:
    async with four.run(wrap={"evaluator/lists": allergy}) as life:
        await life.until(10.5)
        four.say("deny", "denied.example", "poison.example")
        await life.until(100.5)
        assert len(allergy.crashes) == 2
        assert allergy.crashes[0] == 11
        source = await life.source("deny")
        assert (source.state, source.names) == ("restored", 2)
        assert "handling it failed twice" in source.error
        assert any(warning.startswith("source deny: ") for warning in (await life.health()).warnings)
        assert life.system.statistics().find("evaluator/lists").suspended == ("deny",)
        assert len(four.secondary.seen) == 1, "what it said last stays in effect"

        four.say("south", "doubted.example", "northern.example", "allowed.example")
        second = await life.secondary.wait_versions(2)
        assert (life.now, second.rules) == (101, COMPLETE | {"northern.example.": "NODATA"})
        four.say("deny", "denied.example", "fresh.example", "allowed.example")
        third = await life.secondary.wait_versions(3)
        assert life.now < 125, "what a suspended list says is asked for again within two reports"
        assert third.rules == second.rules | {"fresh.example.": "NXDOMAIN"}
        await life.until(200)
        assert (await life.source("deny")).state == "fresh"
        assert (await life.health()).warnings == ()
        assert len(allergy.crashes) == 2


async def test_a_list_that_is_poison_from_the_start_is_missing(
    four: Any, allergy: Allergy, autojump_clock: MockClock
) -> None:
    four.say("deny", "poison.example")
    async with four.run(wrap={"evaluator/lists": allergy}) as life:
        await life.until(200)
        (version,) = four.secondary.seen
        assert version.rules == {"doubted.example.": "NODATA"}
        assert (await life.sources()).waiting_for == ("deny",)
        assert len(allergy.crashes) == 2
        assert version.at >= 60


async def test_a_poisoned_allowlist_never_lets_a_first_version_out(
    four: Any, allergy: Allergy, autojump_clock: MockClock
) -> None:
    four.say("allow", "poison.example", "allowed.example")
    async with four.run(wrap={"evaluator/lists": allergy}) as life:
        await life.until(200.5)
        assert four.secondary.seen == []
        health = await life.health()
        assert not health.ready
        assert any("allow" in reason for reason in health.reasons)
        # An operator who knows better may have it tried again.
        allergy.healed = True
        await life.ask("evaluator/lists", AcceptSource(source="allow"))
        first = await life.secondary.wait_versions(1)
        assert first.rules == COMPLETE
        assert life.now <= 201.5


async def test_a_poison_list_wears_nothing_out(four: Any, allergy: Allergy, autojump_clock: MockClock) -> None:
    """Each new poison costs two crashes, which its stream explains: the tree's intensity is for bugs elsewhere."""
    async with four.run(wrap={"evaluator/lists": allergy}) as life:
        await life.until(0.5)
        for number in range(10):
            four.say("deny", "denied.example", "poison.example", f"n{number}.example")
            await trio.sleep(5)
        await trio.sleep(60)
        assert life.system.statistics().root.status.value == "running"
        four.say("deny", "denied.example", "allowed.example", "end.example")
        await trio.sleep(30)
        assert four.secondary.rules == COMPLETE | {"end.example.": "NXDOMAIN"}
