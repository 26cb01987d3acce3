"""What we decide is what resolvers answer, also where wildcards, exact names and exceptions lie on top of each other.

The zone stands for the decision by RFC 4592's rules on closest enclosers, as we read them; unbound and BIND have read
them too. Random lists of exact names, wildcards and subtrees, every name near them asked.
"""

import functools
import random
from collections.abc import Callable
from typing import Any

import dns.message
import dns.rcode
import dns.rdatatype
import peers
import pytest

pytestmark = pytest.mark.interop

LABELS = ("a", "b", "c")
KINDS = {
    "allow": "allowlist", "allow-tree": "allowlist", "deny": "denylist", "deny-tree": "denylist",
    "one": "doubtlist", "two-tree": "doubtlist",
}  # fmt: skip
"""Lists called `tree` have `match: subtree`."""
RANKS = ("NONE", "REDIRECT", "NODATA", "NXDOMAIN")
DENIED = {"deny": "NXDOMAIN", "deny-tree": "REDIRECT"}
SPELLINGS = ("{}", "{}", "*.{}", ".{}", "||{}^")
ROUNDS = 6


def names_below(base: str, depth: int) -> list[str]:
    """`base` and what lies up to `depth` labels below it."""
    below = [f"{label}.{base}" for label in LABELS] if depth else []
    return [base, *(name for child in below for name in names_below(child, depth - 1))]


UNIVERSE = names_below("x.example", 3)


def random_lists(rng: random.Random) -> dict[str, list[str]]:
    return {
        source: sorted({rng.choice(SPELLINGS).format(name) for name in rng.sample(UNIVERSE, rng.randint(1, 5))})
        for source in KINDS
    }


def holds(entry: str, name: str, *, subtree: bool) -> bool:
    """Whether an entry holds a name, as docs/configuration.md says."""
    if entry.startswith(("*.", ".")):
        return name.endswith("." + entry.lstrip("*."))
    base = entry.strip("|^")
    return name == base or ((subtree or entry != base) and name.endswith("." + base))


def naive_action(name: str, lists: dict[str, list[str]]) -> str:
    """The decision, read off the rules."""
    held = {
        source
        for source, entries in lists.items()
        if any(holds(entry, name, subtree=source.endswith("-tree")) for entry in entries)
    }
    if held & {"allow", "allow-tree"}:
        return "NONE"
    if held & DENIED.keys():
        return max((DENIED[source] for source in held & DENIED.keys()), key=RANKS.index)
    return "NODATA" if {"one", "two-tree"} <= held else "NONE"


def action_of(answer: dns.message.Message) -> str:
    if answer.rcode() == dns.rcode.NXDOMAIN:
        return "NXDOMAIN"
    assert answer.rcode() == dns.rcode.NOERROR
    if any(rrset.rdtype == dns.rdatatype.CNAME for rrset in answer.answer):
        return "REDIRECT"
    return "NONE" if answer.answer else "NODATA"


def answers_as(resolver: Any, expected: dict[str, str]) -> bool:
    found = {name: action_of(resolver.ask(f"{name}.")) for name in UNIVERSE}
    differing = {name: (action, expected[name]) for name, action in found.items() if action != expected[name]}
    print(f"found and expected: {differing}")  # the last of these is what a failure is about
    return not differing


def test_resolvers_answer_as_we_decide(
    pop: Any, start_unbound: Callable[..., Any], start_bind: Callable[..., Any], wait_until: Callable[..., Any],
    free_port: Callable[[], int], campaign: Any,
) -> None:  # fmt: skip
    rng = campaign.random()
    ports = {"unbound": free_port(), "bind": free_port()}
    pop.downstreams = list(ports.values())
    lists = random_lists(rng)
    for source, kind in KINDS.items():
        keys = {"match": "subtree"} if source.endswith("-tree") else {}
        pop.add_source(source, kind, lists[source], **keys)
    pop.extra = {"services": {"rpz": {"zonename": f"{peers.ZONE}.", "redirect": "garden.test"}}}
    pop.sources["deny-tree"]["action"] = "redirect"
    pop.start()
    resolvers = {"unbound": start_unbound(pop, port=ports["unbound"]), "bind": start_bind(pop, port=ports["bind"])}
    for number in range(ROUNDS):
        if number:
            lists = random_lists(rng)
            for source, names in lists.items():
                pop.write_list(source, names)
        expected = {name: naive_action(name, lists) for name in UNIVERSE}
        for tool, resolver in resolvers.items():
            wait_until(
                functools.partial(answers_as, resolver, expected),
                what=f"{tool} to answer as decided (round {number}: {lists})",
            )
