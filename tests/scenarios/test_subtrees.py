"""Lists whose plain names are subtrees, from the file to what a resolver answers by the zone."""

from typing import Any

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
