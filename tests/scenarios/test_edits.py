"""Hundreds of random edits of four lists, by an oracle that looks at one name at a time; then the same amid crashes."""

import itertools
import random
from collections.abc import Callable, Iterable
from typing import Any, Final

import attrs
import pytest
import trio
from trio.testing import MockClock

KINDS: Final = {"allow": "allowlist", "deny": "denylist", "north": "doubtlist", "south": "doubtlist"}
LABELS: Final = "ab"
NODES: Final = tuple(
    ".".join((*labels, "zone", "example")) + "."
    for depth in range(4)
    for labels in itertools.product(LABELS, repeat=depth)
)
ENTRIES: Final = NODES + tuple(f"*.{node}" for node in NODES)
# Every name that a list can hold, and one below each that none holds: what is decided for these is decided for all.
ASKED: Final = NODES + tuple(f"unlisted.{node}" for node in NODES)


def holds(entries: Iterable[str], name: str) -> bool:
    """Whether a list holds `name`: itself, or by a wildcard above it."""
    labels = name.split(".")
    above = {"*." + ".".join(labels[index:]) for index in range(1, len(labels) - 1)}
    return bool(set(entries) & (above | {name}))


def decide(says: dict[str, set[str]], name: str) -> str:
    """What the policy says of `name`."""
    on = {source for source in says if holds(says[source], name)}
    if "allow" in on:
        return "NONE"
    if "deny" in on:
        return "NXDOMAIN"
    return "NODATA" if {"north", "south"} <= on else "NONE"


@attrs.define
class Editor:
    """Edits the lists at random, and knows what they come to."""

    pop: Any
    rng: random.Random
    resolve: Callable[[dict[str, str], str], str]
    says: dict[str, set[str]] = attrs.field(factory=dict)

    def begin(self) -> None:
        for source, kind in KINDS.items():
            self.says[source] = set(self.rng.sample(ENTRIES, 8))
            self.pop.add(source, kind, *self.says[source])

    def edit(self) -> str:
        source = self.rng.choice(list(KINDS))
        now = self.says[source]
        for _ in range(self.rng.choice([1, 1, 1, 2, 4])):
            # Short lists, for where everything is listed nothing changes any more.
            full = len(now) > self.rng.randrange(3 if source == "allow" else 12)
            now ^= {self.rng.choice(sorted(now) if full else ENTRIES)}
        self.pop.say(source, *self.rng.sample(sorted(now), len(now)))
        return source

    def expected(self) -> dict[str, str]:
        return {name: decide(self.says, name) for name in ASKED}

    def found(self) -> dict[str, str]:
        rules = self.pop.secondary.rules
        return {name: self.resolve(rules, name) for name in ASKED}


@pytest.fixture
def editor(pop: Any, rng: random.Random, resolve: Any) -> Editor:
    made = Editor(pop, rng, resolve)
    made.begin()
    return made


async def test_after_each_of_300_edits_the_zone_is_what_the_oracle_says(
    pop: Any, editor: Editor, autojump_clock: MockClock
) -> None:
    async with pop.run() as life:
        first = await life.secondary.wait_versions(1)
        assert editor.found() == editor.expected()
        serial, before = first.serial, editor.expected()
        await life.until(0.5)
        for _ in range(300):
            editor.edit()
            await trio.sleep(1)
            expected = editor.expected()
            assert editor.found() == expected
            serial += expected != before
            before = expected
            assert pop.secondary.serial == serial
        assert 100 < serial < 300, "edits must now and then change something, and now and then nothing"
    assert pop.secondary.whole_transfers == 0


async def test_edits_faster_than_the_looks_are_merged(
    pop: Any, editor: Editor, rng: random.Random, autojump_clock: MockClock
) -> None:
    async with pop.run() as life:
        for _ in range(30):
            for _ in range(rng.randrange(1, 12)):
                editor.edit()
                await trio.sleep(0.13)
            await trio.sleep(2)
            assert editor.found() == editor.expected()
        assert (await life.zone()).serial == len(pop.secondary.seen)


PATHS: Final = (
    *("evaluator/lists", "evaluator/policy", "authority/keeper", "authority/server", "control/health"),
    *(f"sources/{source}" for source in KINDS),
)


@pytest.mark.parametrize("seed", range(8))
async def test_crashes_amid_edits_change_nothing_in_the_end(
    pop: Any, resolve: Any, trouble: Any, seed: int, autojump_clock: MockClock
) -> None:
    pop.secondary.may_miss = True  # what was on its way to a server that is restarted
    rng = random.Random(seed)
    editor = Editor(pop, rng, resolve)
    editor.begin()
    async with pop.run(trouble=trouble) as life:
        await life.until(0.5)
        for _ in range(40):
            for _ in range(rng.choice([0, 1, 1, 2])):
                trouble.arm(rng.choice(PATHS), rng.choice(["before", "after"]))
            for _ in range(rng.randrange(1, 4)):
                editor.edit()
                await trio.sleep(rng.random() * 2)
            # Sources say again every ten seconds what they said; a list keeper that lost it asks for all.
            await trio.sleep(30)
            assert editor.found() == editor.expected()
            assert {source.state for source in (await life.sources()).sources} == {"fresh"}
        assert trouble.crashes > 20
        assert (await life.zone()).serial == pop.secondary.serial


@pytest.mark.parametrize("seed", range(4))
async def test_crashes_and_kills_amid_edits_lose_nothing(
    pop: Any, resolve: Any, trouble: Any, seed: int, autojump_clock: MockClock
) -> None:
    pop.secondary.may_miss = True
    rng = random.Random(1000 + seed)
    editor = Editor(pop, rng, resolve)
    editor.begin()
    for _ in range(6):
        async with pop.run(trouble=trouble) as life:
            assert (await life.zone()).serial == pop.secondary.serial
            for _ in range(6):
                if rng.random() < 0.5:
                    trouble.arm(rng.choice(PATHS), rng.choice(["before", "after"]))
                editor.edit()
                await trio.sleep(rng.random() * 8)
            if rng.random() < 0.7:
                life.kill()
        trouble.disarm()
    async with pop.run() as life:
        await life.until(30)
        assert editor.found() == editor.expected()
        assert {source.state for source in (await life.sources()).sources} == {"fresh"}
    assert pop.secondary.whole_transfers == 0
