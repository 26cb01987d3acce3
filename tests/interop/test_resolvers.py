"""unbound and BIND pull the zone, block by it, and follow its changes by IXFR."""

from collections.abc import Callable
from typing import Any

import dns.rcode
import dns.rdatatype
import pytest

pytestmark = pytest.mark.interop


def addresses(answer: Any) -> list[str]:
    return [str(rdata) for rrset in answer.answer for rdata in rrset if rrset.rdtype == dns.rdatatype.A]


def blocks(resolver: Any, *names: str) -> bool:
    """Whether all of `names` are NXDOMAIN there. BIND gives the zone away before it goes by it."""
    return all(resolver.ask(name).rcode() == dns.rcode.NXDOMAIN for name in names)


@pytest.fixture(params=["unbound", "bind"])
def start_resolver(request, start_unbound, start_bind):
    return {"unbound": start_unbound, "bind": start_bind}[request.param]


def test_a_client_gets_the_action_of_the_policy(pop, start_resolver: Callable[..., Any], wait_until, free_port):
    pop.policy = {"denylist": "NXDOMAIN", "numsources": "NODATA"}
    pop.add_source("deny", "denylist", ["bad.example", "Mixed.CASE.example", "both.example"])
    pop.add_source("allow", "allowlist", ["both.example"])
    pop.add_source("doubt1", "doubtlist", ["shady.example", "one.example"])
    pop.add_source("doubt2", "doubtlist", ["shady.example"])
    port = free_port()
    pop.downstreams = [port]
    pop.start()
    resolver = start_resolver(pop, port=port)
    wait_until(lambda: (resolver.zone() or (0, {}))[1], what="the resolver to have the zone")

    wait_until(lambda: blocks(resolver, "bad.example", "mixed.case.example"), what="the resolver to go by it")
    wait_until(lambda: not addresses(resolver.ask("shady.example")), what="the resolver to go by all of it")
    assert resolver.ask("shady.example").rcode() == dns.rcode.NOERROR
    for name in ("both.example", "one.example", "elsewhere.example", "sub.bad.example"):
        assert addresses(resolver.ask(name)) == ["192.0.2.1"], name

    pop.write_list("deny", ["worse.example"])
    wait_until(lambda: blocks(resolver, "worse.example"), what="the new name to be blocked")
    assert addresses(resolver.ask("bad.example")) == ["192.0.2.1"]


def test_an_allowlisted_name_below_a_denied_wildcard_is_never_blocked(
    pop, start_resolver: Callable[..., Any], wait_until, free_port
):
    pop.add_source("deny", "denylist", ["||evil.example^"])
    pop.add_source("allow", "allowlist", ["good.deep.evil.example"])
    pop.start()
    resolver = start_resolver(pop)
    wait_until(lambda: (resolver.zone() or (0, {}))[1], what="the resolver to have the zone")
    evil = ("evil.example", "a.evil.example", "deep.evil.example", "b.deep.evil.example", "x.y.evil.example")
    wait_until(lambda: blocks(resolver, *evil), what="the resolver to go by it")
    assert addresses(resolver.ask("good.deep.evil.example")) == ["192.0.2.1"]


def test_random_edits_reach_both_resolvers_by_ixfr(
    pop, start_unbound, start_bind, make_edits, campaign, wait_until, free_port
):
    pop.add_source("allow", "allowlist", [])
    pop.add_source("deny", "denylist", [])
    pop.add_source("doubt1", "doubtlist", [])
    pop.add_source("doubt2", "doubtlist", [])
    edits = make_edits(pop, seed=campaign.seed, universe=400)
    edits.begin()
    ports = [free_port(), free_port()]
    pop.downstreams = ports
    pop.start()
    wait_until(lambda: pop.axfr()[1] == edits.expected(), what="the first content")
    resolvers = [start_unbound(pop, port=ports[0]), start_bind(pop, port=ports[1])]
    for resolver in resolvers:
        wait_until(lambda r=resolver: r.zone() == pop.axfr(), what=f"{resolver.daemon.name} to have the zone")
    changed, begun = 0, pop.serial()
    for number in range(campaign.rounds(200)):
        serial = pop.serial()
        before = edits.expected()
        edits.step()
        expected = edits.expected()
        wait_until(lambda e=expected: pop.axfr()[1] == e, what=f"edit {number} to reach the zone")
        changed += before != expected
        assert (pop.serial() != serial) == (before != expected)
        for resolver in resolvers:
            wait_until(
                lambda r=resolver, e=expected: r.zone() == (pop.serial(), e),
                what=f"edit {number} to reach {resolver.daemon.name}",
            )
    assert changed
    counters = dict(pop.status()["server"]["counters"])
    # An edit that changes nothing may be read after the next one, which then takes two versions: hence a range. No
    # resolver took a version more than once, and only what was asked for by AXFR (by this test, mostly) came in full.
    assert changed * 2 <= counters["transfers_incremental"] <= (pop.serial() - begun) * 2
    assert counters["transfers_full"] == counters["AXFR"]
    for resolver, port in zip(resolvers, ports, strict=True):
        (secondary,) = [s for s in pop.status()["secondaries"] if s["address"] == f"127.0.0.1:{port}"]
        assert secondary["notify_state"] == "acknowledged", resolver.daemon.name
        assert secondary["notify_serial"] == pop.serial()
