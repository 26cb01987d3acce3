"""Random histories of edits, with what the zone must hold after each, decided naively."""

import random
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import attrs
import pytest
from edm import edm, make_edm
from edm_core import core
from mosquitto import Broker
from peers import Daemon, Pop

__all__ = ["core", "edm", "make_edm"]


def oracle(pop: Pop, lists: Mapping[str, set[str]]) -> dict[str, str]:
    """What the zone must hold, decided as naively as the rules can be read (exact names only)."""
    kinds = {source: keys["type"] for source, keys in pop.sources.items()}
    action = {"denylist": "NXDOMAIN", "numsources": "NODATA", **pop.policy}
    allowed = {name for source, names in lists.items() if kinds[source] == "allowlist" for name in names}
    denied = {name for source, names in lists.items() if kinds[source] == "denylist" for name in names}
    doubts: dict[str, int] = {}
    for source, names in lists.items():
        if kinds[source] == "doubtlist":
            for name in names:
                doubts[name] = doubts.get(name, 0) + 1
    rules = {name: action["numsources"] for name, count in doubts.items() if count >= 2}
    rules.update(dict.fromkeys(denied, action["denylist"]))
    return {f"{name}.": act for name, act in rules.items() if name not in allowed}


@attrs.define(kw_only=True)
class Edits:
    """A random history of edits to the lists of a product, with what the lists hold at each moment."""

    pop: Pop
    seed: int
    universe: int = 60
    lists: dict[str, set[str]] = attrs.field(factory=dict)
    randomness: random.Random = attrs.field(init=False)

    def __attrs_post_init__(self) -> None:
        print(f"edits: seed {self.seed}")
        self.randomness = random.Random(self.seed)

    def begin(self) -> None:
        for source in self.pop.sources:
            self.lists.setdefault(source, set())
            for _ in range(self.universe // 4):
                self.lists[source].add(self._name())
            self._write(source)

    def step(self) -> str:
        """Change one list by one to five names; returns which."""
        source = self.randomness.choice(sorted(self.lists))
        names = self.lists[source]
        for _ in range(self.randomness.randint(1, 5)):
            name = self._name()
            names.symmetric_difference_update({name})
        self._write(source)
        return source

    def expected(self) -> dict[str, str]:
        return oracle(self.pop, self.lists)

    def _name(self) -> str:
        return f"n{self.randomness.randrange(self.universe)}.example"

    def _write(self, source: str) -> None:
        self.pop.write_list(source, sorted(self.lists[source]))


@pytest.fixture
def make_edits() -> Callable[..., Edits]:
    """Makes a history of edits; its seed is printed."""

    def make(pop: Pop, *, seed: int, **keys: Any) -> Edits:
        return Edits(pop=pop, seed=seed, **keys)

    return make


@pytest.fixture
def make_broker(
    tmp_path: Path,
    require_peer: Callable[[str], str],
    daemons: list[Daemon],
    free_port: Callable[[], int],
) -> Callable[..., Broker]:
    """Makes a mosquitto that is not running yet, configured by these lines."""

    def make(*lines: str) -> Broker:
        return Broker(
            folder=tmp_path, port=free_port(), program=require_peer("mosquitto"), daemons=daemons, lines=lines
        )

    return make
