"""Random histories of lists, policies, reloads and crashes, against an oracle that knows nothing of any of these."""

import random
from collections.abc import Callable
from pathlib import Path
from typing import Any

import attrs
import pytest
import trio
from trio.testing import MockClock

from actors import Actor
from actors.testing import InjectedFault
from tapir.model.actions import Action, ListKind
from tapir.model.messages.lists import SourceLoaded
from tapir.policy.settings import PolicySettings
from tapir.services.evaluator.lists import ConfigureLists, ListKeeperSettings
from tapir.services.evaluator.policy import ConfigurePolicy, EvaluatorSettings
from tapir.services.evaluator.roster import SourceSettings

NAMES = [f"n{number}.example" for number in range(12)]


@attrs.define
class Oracle:
    """What the zone must hold: allow beats deny beats doubt, and two doubtlists are needed for the last."""

    sources: dict[str, SourceSettings]
    said: dict[str, set[str]]
    policy: PolicySettings

    def records(self) -> dict[str, str]:
        found: dict[str, str] = {}
        for name in NAMES:
            on = [
                source.kind
                for source in self.sources.values()
                if source.active and name in self.said.get(source.id, ())
            ]
            if ListKind.ALLOW in on:
                continue
            if ListKind.DENY in on:
                found[name + "."] = self.policy.denylist_action.label
            elif on.count(ListKind.DOUBT) >= self.policy.numsources_limit:
                found[name + "."] = self.policy.numsources_action.label
        return found


class Unreliable:
    """Wraps factories; when it is armed, the next message that an actor gets crashes it, before or after handling."""

    def __init__(self, rng: random.Random) -> None:
        self._rng = rng
        self.armed = 0

    def __call__(self, factory: Callable[[], Actor[Any]]) -> Callable[[], Actor[Any]]:
        unreliable = self

        class Crashing(Actor[Any]):
            def __init__(self) -> None:
                self._inner = factory()
                self.started = self._inner.started  # type: ignore[method-assign]
                self.stopping = self._inner.stopping  # type: ignore[method-assign]

            async def receive(self, ctx: Any, message: Any) -> None:
                armed, unreliable.armed = unreliable.armed, 0
                if armed == 1:
                    raise InjectedFault("before handling")
                await self._inner.receive(ctx, message)
                if armed == 2:
                    raise InjectedFault("after handling")

        return Crashing


def random_policy(rng: random.Random) -> PolicySettings:
    return PolicySettings(
        denylist_action=rng.choice([Action.NODATA, Action.DROP, Action.NXDOMAIN]),
        numsources_limit=rng.choice([1, 2]),
        numsources_action=rng.choice([Action.NODATA, Action.DROP, Action.NXDOMAIN]),
    )


def random_sources(rng: random.Random) -> dict[str, SourceSettings]:
    kinds = {"allow": ListKind.ALLOW, "deny": ListKind.DENY, "p": ListKind.DOUBT, "q": ListKind.DOUBT}
    chosen = {
        name: SourceSettings(id=name, name=name, kind=kind, active=rng.random() < 0.9)
        for name, kind in kinds.items()
        if rng.random() < 0.9
    }
    if rng.random() < 0.5:
        chosen["odd"] = SourceSettings(id="odd", name="odd", kind=rng.choice(list(ListKind)))
    return chosen


@pytest.mark.parametrize("seed", range(8))
async def test_the_zone_is_what_the_oracle_says(
    run_evaluator: Any, loaded: Callable[..., SourceLoaded], tmp_path: Path, seed: int, autojump_clock: MockClock
) -> None:
    rng = random.Random(seed)
    unreliable = Unreliable(rng)
    oracle = Oracle(sources=random_sources(rng), said={}, policy=random_policy(rng))

    async def say(rig: Any, source: str) -> None:
        names = set(rng.sample(NAMES, rng.randrange(len(NAMES))))
        # A crash takes what was in hand along; a source says it again, as file sources do.
        for _ in range(3):
            await rig.lists.tell(loaded(source, *names))
            await settle()
        if oracle.sources[source].active:
            oracle.said[source] = names

    async def settle() -> None:
        await trio.sleep(120)

    async def deliver_what_lacks(rig: Any) -> None:
        for source in oracle.sources.values():
            if source.active and source.id not in oracle.said:
                await say(rig, source.id)

    for run in range(3):
        async with run_evaluator(*oracle.sources.values(), policy=oracle.policy, wrap=unreliable) as rig:
            if run == 0:
                assert rig.zone.records is None
            await deliver_what_lacks(rig)
            await settle()
            assert rig.zone.records == oracle.records()
            for _ in range(25):
                if rng.random() < 0.3:
                    unreliable.armed = rng.choice([1, 2])
                match rng.randrange(8):
                    case 0:
                        unreliable.armed = 0  # else the new settings may crash on their way, and be lost
                        oracle.policy = random_policy(rng)
                        await rig.policy.tell(
                            ConfigurePolicy(settings=EvaluatorSettings(zone="dnstapir.", policy=oracle.policy))
                        )
                        await settle()
                    case 1 if rng.random() < 0.5:
                        unreliable.armed = 0
                        kept = oracle.sources
                        oracle.sources = random_sources(rng)
                        for name in kept:
                            now = oracle.sources.get(name)
                            if now is None or now.kind is not kept[name].kind:
                                oracle.said.pop(name, None)
                        settings = ListKeeperSettings(
                            store_path=tmp_path / "lists.db", sources=tuple(oracle.sources.values())
                        )
                        await rig.lists.tell(ConfigureLists(settings=settings))
                        await deliver_what_lacks(rig)
                        await settle()
                    case _:
                        if oracle.sources:
                            await say(rig, rng.choice(list(oracle.sources)))
                assert rig.zone.records == oracle.records()
