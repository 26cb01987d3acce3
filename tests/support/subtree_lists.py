"""Random lists of exact names and subtrees, decided naively; and what RFC 4592 finds in the zone that came of them."""

import random
from collections.abc import Callable, Iterable, Mapping

import attrs

KINDS = {"allow": "allowlist", "deny": "denylist", "one": "doubtlist", "two": "doubtlist"}
FULL = 200


def names_below(base: str, depth: int) -> list[str]:
    """`base` and what lies up to `depth` labels below it."""
    below = [f"{label}.{base}" for label in "abc"] if depth else []
    return [base, *(name for child in below for name in names_below(child, depth - 1))]


ENTRIES = names_below("x.example", 3)
UNIVERSE = [*ENTRIES, *(f"z.{name}" for name in ENTRIES), "example", "y.example"]


def looked_up(rules: Mapping[str, str], names: Iterable[str]) -> dict[str, str]:
    """What RFC 4592 finds for each of `names` among `rules`: a name's own action, or else that of the wildcard at its
    closest encloser, the longest name above it that exists, be it empty."""
    existing = {""}
    for owner in rules:
        while owner not in existing:
            existing.add(owner)
            owner = owner.partition(".")[2]
    found: dict[str, str] = {}
    for name in names:
        above = f"{name}."
        while above not in existing:
            above = above.partition(".")[2]
        action = rules.get(above if above == f"{name}." else f"*.{above}", "NONE")
        found[name] = "NONE" if action == "PASSTHRU" else action
    return found


@attrs.define(kw_only=True)
class Lists:
    """Random lists of exact names and subtrees, and what is to become of every name near them.

    With each edit a name of its own comes or goes for good, so that every edit changes the zone. Those names also make
    the zone large beside an edit; else all of it would be a shorter answer to IXFR than what changed.
    """

    rng: random.Random
    match: dict[str, str] = attrs.field(init=False)
    entries: dict[str, set[str]] = attrs.field(init=False)
    edits: int = 0

    def __attrs_post_init__(self) -> None:
        # Each of the two ways for some list, by chance for which.
        ways = self.rng.sample(["exact", "subtree", "exact", "subtree"], 4)
        self.match = dict(zip(KINDS, ways, strict=True))
        self.entries = {source: {self._entry() for _ in range(4)} for source in KINDS}
        for number in range(FULL):
            self.entries["deny"].add(mark("allow", number))
            self.entries["two"].add(mark("one", number))
            self.entries["one"].add(mark("two", number))

    def edit(self) -> str:
        """Change one list by one to four entries, and its mark of this edit; returns which."""
        source = self.rng.choice(sorted(self.entries))
        for _ in range(self.rng.randint(1, 4)):
            self.entries[source] ^= {self._entry()}
        self.entries[source].add(mark(source, self.edits))
        self.edits += 1
        return source

    def names(self) -> list[str]:
        """Every name to be looked up."""
        return [*UNIVERSE, *(mark(source, number) for source in KINDS for number in range(FULL))]

    def decided(self) -> dict[str, str]:
        """What is to become of every name, decided as naively as the rules can be read."""
        held = {source: self._holds(source) for source in KINDS}
        decisions: dict[str, str] = {}
        for name in self.names():
            if held["allow"](name):
                decisions[name] = "NONE"
            elif held["deny"](name):
                decisions[name] = "NXDOMAIN"
            else:
                decisions[name] = "NODATA" if held["one"](name) and held["two"](name) else "NONE"
        return decisions

    def _entry(self) -> str:
        name = self.rng.choice(ENTRIES)
        return self.rng.choice([name, name, f"*.{name}", f".{name}", f"||{name}^"])

    def _holds(self, source: str) -> Callable[[str], bool]:
        """Whether the list `source` has a name."""
        itself: set[str] = set()
        below: set[str] = set()
        for entry in self.entries[source]:
            name = entry.strip("|^*.")
            if entry[0] not in "*.":
                itself.add(name)
            if not entry[0].isalnum() or self.match[source] == "subtree":
                below.add(name)
        return lambda name: (
            name in itself or any(name[place + 1 :] in below for place, letter in enumerate(name) if letter == ".")
        )


def mark(source: str, number: int) -> str:
    """The name that edit `number` of `source` brings into the zone, or takes out."""
    return f"{source}{number}.marks.example"
