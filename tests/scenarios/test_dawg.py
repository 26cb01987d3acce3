"""DAWG files of every kind, from the file to what a resolver answers by the zone, over restarts and damage."""

from typing import Any

import trio
from trio.testing import MockClock

from tapir.codec.dawg import encode_dawg

ASKED = [
    "evil.example.", "x.evil.example.", "wild.example.", "x.wild.example.", "good.wild.example.",
    "x.good.wild.example.",
    "x.safe.wild.example.", "deep.under.example.", "x.deep.under.example.", "x.under.example.", "twice.example.",
    "once.example.",
]  # fmt: skip


def dawg(*words: str) -> bytes:
    return encode_dawg(sorted(words))


def install(pop: Any) -> None:
    for source, kind in (("allow", "allowlist"), ("deny", "denylist"), ("doubt", "doubtlist")):
        pop.add(source, kind, missing=True, format="dawg")
    pop.put("deny", dawg("evil.example.", ".wild.example."))
    pop.put("allow", dawg("good.wild.example.", ".safe.wild.example.", "deep.under.example."))
    pop.put("doubt", dawg("twice.example.", "once.example.", "good.wild.example."))
    # Denied subtrees and a second opinion come from lists of another format.
    pop.add("under", "denylist", "under.example", match="subtree")
    pop.add("other", "doubtlist", "twice.example")


BLOCKED = ["evil.example.", "x.wild.example.", "x.good.wild.example.", "x.deep.under.example.", "x.under.example.",
           "twice.example."]  # fmt: skip


async def test_lists_of_every_kind_may_be_dawg_files(pop: Any, resolve: Any, autojump_clock: MockClock) -> None:
    install(pop)

    def blocked() -> list[str]:
        return [name for name in ASKED if resolve(pop.secondary.rules, name) != "NONE"]

    async with pop.run() as life:
        await life.secondary.wait_versions(1)
        assert blocked() == BLOCKED
        await life.until(5)
        # What is torn, empty or no DAWG changes nothing.
        for octets in (b"", dawg("good.wild.example.")[:-1], b"good.wild.example\n", dawg("no name", "nor this")):
            for source in ("allow", "deny", "doubt"):
                pop.put(source, octets)
            await trio.sleep(3)
        assert blocked() == BLOCKED
        assert len(pop.secondary.seen) == 1
        # A list of subtrees protects what is below its names, too.
        pop.put("allow", dawg("deep.under.example.", "good.wild.example."))
        pop.put("deny", dawg("evil.example.", ".wild.example."))
        pop.sources["allow"]["match"] = "subtree"
        assert await life.reload() == ()
        await trio.sleep(3)
        assert blocked() == ["evil.example.", "x.wild.example.", "x.safe.wild.example.", "x.under.example.",
                             "twice.example."]  # fmt: skip


async def test_a_dawg_file_that_is_gone_stays_in_effect_over_a_restart(
    pop: Any, resolve: Any, autojump_clock: MockClock
) -> None:
    install(pop)
    async with pop.run() as life:
        await life.secondary.wait_versions(1)
        await life.until(5)
    for source in ("allow", "deny", "doubt"):
        pop.clear(source)
    pop.say("under", "under.example", "more.example")
    async with pop.run() as life:
        await life.secondary.wait_versions(2)
        await trio.sleep(30)
        assert [name for name in ASKED if resolve(pop.secondary.rules, name) != "NONE"] == BLOCKED
        assert resolve(pop.secondary.rules, "x.more.example.") == "NXDOMAIN"
