"""Lists whose plain names are subtrees, from the file to what a resolver answers by the zone."""

from typing import Any

import pytest
import trio
from trio.testing import MockClock


async def test_a_list_of_subtrees_blocks_and_protects_all_below(
    pop: Any, resolve: Any, autojump_clock: MockClock
) -> None:
    pop.add("deny", "denylist", "evil.example", "*.strict.example", match="subtree")
    pop.add("exact", "denylist", "only.example", match="exact")
    pop.add("allow", "allowlist", "good.evil.example", match="subtree")
    asked = [
        "evil.example.", "x.evil.example.", "y.x.evil.example.", "strict.example.", "x.strict.example.",
        "only.example.", "x.only.example.", "good.evil.example.", "x.good.evil.example.",
    ]  # fmt: skip
    async with pop.run() as life:
        await life.secondary.wait_versions(1)
        blocked = [name for name in asked if resolve(pop.secondary.rules, name) != "NONE"]
        assert blocked == [
            "evil.example.",
            "x.evil.example.",
            "y.x.evil.example.",
            "x.strict.example.",
            "only.example.",
        ]
        await life.until(0.5)
        pop.say("deny", "x.evil.example")
        await trio.sleep(1)
        blocked = [name for name in asked if resolve(pop.secondary.rules, name) != "NONE"]
        assert blocked == ["x.evil.example.", "y.x.evil.example.", "only.example."]


async def test_a_list_becomes_one_of_subtrees_and_back_by_a_reload(
    pop: Any, resolve: Any, autojump_clock: MockClock
) -> None:
    pop.add("deny", "denylist", "evil.example", "||other.example^")
    pop.add("allow", "allowlist", "good.deep.evil.example")
    pop.secondary.never = {"good.deep.evil.example."}
    exact = {"evil.example.": "NXDOMAIN", "other.example.": "NXDOMAIN", "*.other.example.": "NXDOMAIN"}
    async with pop.run() as life:
        assert (await life.secondary.wait_versions(1)).rules == exact
        pop.sources["deny"]["match"] = "subtree"
        assert await life.reload() == ()
        second = await life.secondary.wait_versions(2)
        assert second.rules == {
            **exact,
            "*.evil.example.": "NXDOMAIN",
            "deep.evil.example.": "NXDOMAIN",
            "*.deep.evil.example.": "NXDOMAIN",
            "good.deep.evil.example.": "PASSTHRU",
            "*.good.deep.evil.example.": "NXDOMAIN",
        }
        assert resolve(second.rules, "good.deep.evil.example.") == "NONE"
        del pop.sources["deny"]["match"]
        assert await life.reload() == ()
        assert (await life.secondary.wait_versions(3)).rules == exact
        await life.until(life.now + 10)
        assert len(pop.secondary.seen) == 3


@pytest.mark.parametrize("first", ["deny", "allow"])
async def test_what_protects_grows_before_what_blocks(pop: Any, first: str, autojump_clock: MockClock) -> None:
    lists = {"deny": ("denylist", "evil.example"), "allow": ("allowlist", "good.evil.example")}
    for source in sorted(lists, key=lambda each: each != first):
        pop.add(source, *lists[source])
    pop.secondary.never = {"good.evil.example.", "x.good.evil.example."}
    async with pop.run() as life:
        await life.secondary.wait_versions(1)
        for source in lists:
            pop.sources[source]["match"] = "subtree"
        assert await life.reload() == ()
        assert (await life.secondary.wait_versions(2)).rules["*.evil.example."] == "NXDOMAIN"
        await life.until(life.now + 10)
