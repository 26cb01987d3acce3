"""BIND, Knot and NSD give us a feed and tell us of each edit: what we serve is what was said, difference by difference.

A primary is edited as operators edit it, and says so by a signed NOTIFY. Nothing else wakes us within the test's time,
so a NOTIFY that is lost on our side fails it. Behind us unbound blocks and unblocks.
"""

import random
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import attrs
import dns.query
import dns.rcode
import dns.zone
import pytest
from feeds import FeedPop
from peers import ZONE, Daemon, Resolver, rules_of, wait_until
from primaries import OTHERS, TARGETS, Primary, start_primary
from subtree_lists import looked_up

pytestmark = pytest.mark.interop

BASES = [f"n{number}.{'x' * 30}.example" for number in range(80)]
UNIVERSE = [f"{prefix}{base}" for base in BASES for prefix in ("", "*.")]
NAMES = [f"{prefix}{base}" for base in BASES for prefix in ("", "sub.")]
ALLOWED = BASES[:5]
"""on a list of ours, whatever the feed says"""
WAYS = ["knot", "bind", "nsd", "bind-tls"]


def decided(rules: Mapping[str, str]) -> dict[str, str]:
    """What is to become of every name when a denylist's feed says `rules`, read off them naively (pop.md §3.3)."""

    def said(name: str) -> set[str]:
        return {rules[owner] for owner in (name, "*." + name.partition(".")[2]) if owner in rules}

    def decide(name: str) -> str:
        actions = said(name)
        return "NXDOMAIN" if actions and "PASSTHRU" not in actions and name not in ALLOWED else "NONE"

    return {name: decide(name) for name in NAMES}


def some_rules(rng: random.Random, count: int) -> dict[str, str]:
    return {name: rng.choice(list(TARGETS)) for name in rng.sample(UNIVERSE, count)}


@attrs.define(kw_only=True)
class Feeding:
    """A product that lives off one primary, and a secondary of ours that follows it by IXFR."""

    pop: FeedPop
    primary: Primary
    copy: dns.zone.Zone = attrs.field(factory=lambda: dns.zone.Zone(f"{ZONE}.", relativize=False))
    took: list[float] = attrs.field(factory=list)

    def begin(self) -> None:
        self.settle()
        self.follow()

    def settle(self) -> None:
        """Wait until we have, and serve, what the primary says."""
        wait_until(lambda: self.pop.serial_of("feed") == self.primary.serial, what="the feed", seconds=30)
        wanted = decided(self.primary.rules)
        wait_until(lambda: looked_up(self.pop.axfr()[1], NAMES) == wanted, what="what follows of it", seconds=30)

    def edit(self, rules: Mapping[str, str]) -> None:
        """Let the primary say `rules`, and wait until our output says what follows of them."""
        before, after = decided(self.primary.rules), decided(rules)
        begun = time.monotonic()
        self.primary.change(rules)
        what = f"edit {self.primary.serial}"
        if before == after:
            wait_until(lambda: self.pop.serial_of("feed") == self.primary.serial, what=what, seconds=20)
            self.follow()
            assert self.said() == after
            return
        # A change on several lists may come in several versions, of which none blocks what neither edit does.
        while self.said() != after:
            wait_until(lambda: self.pop.serial() != self.serial, what=what, seconds=20, pause=0.005)
            self.follow()
            said = self.said()
            assert all(said[name] in {before[name], after[name]} for name in NAMES)
            assert time.monotonic() - begun < 20, f"{what} came to {said}"
        self.took.append(time.monotonic() - begun)

    def follow(self) -> None:
        """Bring our secondary up to date."""
        dns.query.inbound_xfr("127.0.0.1", self.copy, port=self.pop.port, timeout=10, lifetime=30)

    @property
    def serial(self) -> int:
        """What our secondary has."""
        return rules_of(self.copy)[0]

    def said(self) -> dict[str, str]:
        """What our secondary makes of each name."""
        return looked_up(rules_of(self.copy)[1], NAMES)


@pytest.fixture(params=WAYS)
def feeding(
    request: pytest.FixtureRequest,
    tmp_path: Path,
    daemons: list[Daemon],
    require_peer: Callable[[str], str],
    make_pop: Callable[..., Any],
    campaign: Any,
    free_port: Callable[[], int],
) -> Feeding:
    """One primary of the four ways and a product, which has what it says."""
    tool, _, tls = request.param.partition("-")
    pop: FeedPop = make_pop(kind=FeedPop, downstreams=[free_port()])
    rules = some_rules(campaign.random(), 60)
    primary = start_primary(tool, tmp_path / "primary", daemons, require_peer, rules, downstream=pop.port)
    pop.add_source("allow", "allowlist", ALLOWED)
    pop.add_feed("feed", "denylist", primary, tls=bool(tls))
    pop.start()
    feeding = Feeding(pop=pop, primary=primary)
    feeding.begin()
    return feeding


def test_every_edit_comes_in_and_goes_out_by_ixfr(
    feeding: Feeding, campaign: Any, start_unbound: Callable[..., Resolver]
) -> None:
    pop, primary = feeding.pop, feeding.primary
    unbound = start_unbound(pop, port=pop.downstreams[0])
    wait_until(lambda: unbound.zone() == pop.axfr(), what="unbound to have the zone")
    whole, taken = dict(pop.status()["server"]["counters"])["AXFR"], 0

    def reached_unbound() -> bool:
        nonlocal taken
        zone = unbound.zone()
        if zone is None or zone[0] != pop.serial():
            return False
        taken += 1
        return zone == pop.axfr()

    rng = campaign.random()
    changed = 0
    for number in range(campaign.rounds(200)):
        rules = dict(primary.rules)
        for name in rng.sample(UNIVERSE, 4):
            if name in rules and rng.random() < 0.5:
                del rules[name]
            else:
                rules[name] = rng.choice(list(TARGETS))
        if rules == primary.rules:
            continue
        changed += decided(rules) != decided(primary.rules)
        feeding.edit(rules)
        if number % 10 == 0:
            wait_until(reached_unbound, what=f"edit {number} to reach unbound")
    assert changed
    print(
        f"edit to served: {max(feeding.took):.3f} s at most, {sorted(feeding.took)[len(feeding.took) // 2]:.3f} median"
    )

    counters = pop.counters_of("feed")
    assert counters["transfers.whole"] == 1, counters
    assert counters["transfers.incremental"] >= changed, counters
    assert sum(count for name, count in counters.items() if name.startswith("records.")) >= 60 + len(OTHERS)
    # None of the whole zone, but those of this test.
    assert dict(pop.status()["server"]["counters"])["AXFR"] - whole == taken

    blocked, other = f"n70.{'x' * 30}.example", f"n71.{'x' * 30}.example"
    rules = {name: action for name, action in primary.rules.items() if "n70." not in name and "n71." not in name}
    feeding.edit({**rules, blocked: "NXDOMAIN"})
    wait_until(lambda: unbound.ask(blocked).rcode() == dns.rcode.NXDOMAIN, what="unbound to block")
    feeding.edit({**rules, other: "DROP"})
    wait_until(lambda: unbound.ask(other).rcode() == dns.rcode.NXDOMAIN, what="unbound to block another")
    wait_until(lambda: unbound.ask(blocked).rcode() == dns.rcode.NOERROR, what="unbound to unblock")


def test_a_restart_goes_on_by_ixfr(feeding: Feeding, campaign: Any) -> None:
    pop, primary = feeding.pop, feeding.primary
    serial = pop.serial()
    for stop in (pop.stop, pop.kill):
        stop()
        rules = {**primary.rules, f"n{random.randrange(5, 80)}.new.example": "NXDOMAIN"}
        primary.change(rules)
        pop.start()
        feeding.settle()
        counters = pop.counters_of("feed")
        assert counters.get("transfers.whole", 0) == 0, counters
        assert counters["transfers.incremental"] == 1, counters
        now = pop.serial()
        assert serial is not None
        assert now is not None
        assert now >= serial
        serial = now
