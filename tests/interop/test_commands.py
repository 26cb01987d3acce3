"""The operator's commands in any order, amid edits and `kill -9`: every version leads to the last one by IXFR.

Each order is given as a user gives it, to a process that runs, and the zone is read as a secondary reads it.
"""

import random
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import attrs
import dns.message
import dns.query
import dns.xfr
import dns.zone
import pytest
import trio

from tapir.app.cli.client import ConsoleRefusedError, open_console
from tapir.services.authority.steering import MAX_NOTES

pytestmark = pytest.mark.interop

NAMES = [f"n{number}.example" for number in range(30)]


def transfer(port: int) -> dns.zone.Zone:
    zone = dns.zone.Zone("dnstapir.")
    dns.query.inbound_xfr("127.0.0.1", zone, port=port, lifetime=60)
    return zone


def serial_of(zone: dns.zone.Zone) -> int:
    return int(zone.find_rdataset("@", "SOA")[0].serial)


def advance(zone: dns.zone.Zone, port: int) -> dns.zone.Zone:
    """What a secondary that has `zone` makes of it by asking for IXFR (RFC 1995), as dnspython reads the answer."""
    copy = dns.zone.Zone("dnstapir.")
    with zone.reader() as old, copy.writer() as new:
        for name, rdataset in old.iterate_rdatasets():
            new.add(name, rdataset)
    query, _ = dns.xfr.make_query(copy)
    dns.query.inbound_xfr("127.0.0.1", copy, query, port=port, lifetime=60)
    return copy


def order(state_dir: Path, op: str, **arguments: object) -> Any:
    """The answer to an order, or the refusal as text."""

    async def ask() -> Any:
        async with open_console(state_dir) as client:
            try:
                return await client.request(op, **arguments)
            except ConsoleRefusedError as exc:
                return f"refused: {exc}"
        raise AssertionError("open_console yields exactly once")

    return trio.run(ask)


@attrs.define
class Orders:
    """Orders at random, each as likely as its weight, to what runs in `pop`."""

    pop: Any
    random: random.Random
    serials: list[int]

    def give(self) -> str:
        """Give one; returns what was said, for the log of a failure."""
        pick, state_dir = self.random, self.pop.state_dir
        kinds = ("edit", "override", "remove", "pause", "hold", "resume", "rollback", "set-serial", "kill", "reload")
        (kind,) = pick.choices(kinds, (8, 5, 3, 4, 1, 4, 4, 1, 1, 1))
        match kind:
            case "edit":
                self.pop.write_list("deny", pick.sample(NAMES, pick.randrange(1, 20)))
                answer: Any = "written"
            case "override":
                arguments = {"name": self._name(), "list": self._list(), "seconds": pick.choice((0, 1, 3600))}
                answer = order(state_dir, "override-set", **arguments, reason="")
            case "remove":
                answer = order(state_dir, "override-remove", name=self._name(), list=self._list())
            case "pause":
                answer = order(state_dir, "zone-pause", seconds=pick.choice((1, 600)))
            case "rollback":
                answer = order(state_dir, "zone-rollback", serial=pick.choice(self.serials))
            case "set-serial":
                answer = order(state_dir, "zone-set-serial", serial=self.serials[-1] + pick.randrange(1, 1000))
            case "kill":
                self.pop.kill()
                self.pop.start()
                answer = "started again"
            case "reload":
                self.pop.reload()
                answer = "told to"
            case _:
                answer = order(state_dir, f"zone-{kind}")
        return f"{kind}: {answer['text'] if isinstance(answer, dict) else answer}"

    def _name(self) -> str:
        name = self.random.choice(NAMES)
        return self.random.choice((name, name, f"||{name}^", f"*.{name}"))

    def _list(self) -> str:
        return self.random.choice(("allowlist", "denylist"))


def owners(zones: Iterable[dns.zone.Zone]) -> int:
    return max(len(zone.nodes) for zone in zones)


def test_every_version_leads_to_the_last_one_whatever_was_ordered(pop, campaign):
    pop.add_source("deny", "denylist", NAMES[:5])
    pop.start()
    zone = transfer(pop.port)
    seen = {serial_of(zone): zone}
    orders = Orders(pop, campaign.random(), list(seen))
    said = []
    for _ in range(campaign.rounds(1000)):
        said.append(orders.give())
        zone = transfer(pop.port)
        serial = serial_of(zone)
        assert serial >= max(seen), "\n".join(said)
        if serial not in seen:
            orders.serials.append(serial)
        assert seen.setdefault(serial, zone) == zone, "\n".join([f"serial {serial} has two contents", *said])
        for old, content in random.Random(serial).sample(sorted(seen.items()), min(10, len(seen))):
            reached = advance(content, pop.port)
            now = seen.setdefault(serial_of(reached), reached)  # a pause may have ended, an edit be read meanwhile
            assert reached == now, "\n".join([f"IXFR from {old} to {serial_of(reached)}", *said])
    order(pop.state_dir, "zone-resume")
    order(pop.state_dir, "zone-hold")  # lists are still being read, and what was set for a second ends
    last = transfer(pop.port)
    for old, content in seen.items():
        assert advance(content, pop.port) == last, "\n".join([f"IXFR from {old}", *said])
    assert owners(seen.values()) > 1
    history = order(pop.state_dir, "zone-history", count=1000)
    shown = {step["serial"] for step in history["steps"]}
    # Of more pauses, rollbacks and serials that were set than these, the oldest notes are forgotten.
    assert len(said) > MAX_NOTES or shown >= set(seen), "the history has every version that was seen"
    assert pop.stop() == 0
