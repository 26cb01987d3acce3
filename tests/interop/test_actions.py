"""Every action of a source, as clients of unbound and BIND meet it, and as a reload changes it."""

import json
from collections.abc import Callable
from typing import Any

import dns.exception
import dns.flags
import dns.message
import dns.query
import dns.rcode
import dns.rdatatype
import peers
import pytest

pytestmark = pytest.mark.interop

ACTIONS = ("drop", "nxdomain", "nodata", "redirect", "tcp-only", "passthru")


@pytest.fixture(params=["unbound", "bind"])
def start_resolver(request, start_unbound, start_bind):
    return {"unbound": start_unbound, "bind": start_bind}[request.param]


def met(resolver: Any, name: str) -> str:
    """Which action a client of `resolver` finds for `name`; "servfail" where the internet was late to answer it."""
    query = dns.message.make_query(name, "A")
    try:
        answer = dns.query.udp(query, "127.0.0.1", port=resolver.port, timeout=2)
    except dns.exception.Timeout:
        return "drop"
    if answer.flags & dns.flags.TC:
        answer = dns.query.tcp(query, "127.0.0.1", port=resolver.port, timeout=30)
        assert addresses(answer) == ["192.0.2.1"], "the truth is to be had over TCP"
        return "tcp-only"
    if answer.rcode() == dns.rcode.NXDOMAIN:
        return "nxdomain"
    if answer.rcode() == dns.rcode.SERVFAIL:
        return "servfail"
    assert answer.rcode() == dns.rcode.NOERROR
    aliases = [str(rdata.target) for rrset in answer.answer for rdata in rrset if rrset.rdtype == dns.rdatatype.CNAME]
    if aliases:
        assert (aliases, addresses(answer)) == (["garden.example."], ["192.0.2.1"])
        return "redirect"
    return "passthru" if addresses(answer) == ["192.0.2.1"] else "nodata"


def addresses(answer: dns.message.Message) -> list[str]:
    return [str(rdata) for rrset in answer.answer for rdata in rrset if rrset.rdtype == dns.rdatatype.A]


def test_clients_meet_each_action_and_a_reload_changes_it(
    pop, start_resolver: Callable[..., Any], wait_until, free_port, monkeypatch
):
    for target, action in (("garden.example.", "REDIRECT"), ("rpz-tcp-only.", "TCP-ONLY")):
        monkeypatch.setitem(peers.TARGETS, target, action)
    pop.extra = {"services": {"rpz": {"zonename": f"{peers.ZONE}.", "redirect": "garden.example"}}}
    for action in ACTIONS:
        pop.add_source(f"s-{action}", "denylist", [f"{action}.example", f"||{action}.tree.example^"], action=action)
    pop.add_source("doubt", "doubtlist", ["doubted.example"], weight=1, action="tcp-only")
    port = free_port()
    pop.downstreams = [port]
    pop.start()
    resolver = start_resolver(pop, port=port)
    wait_until(lambda: (resolver.zone() or (0, {}))[1], what="the resolver to have the zone")

    def meets(name: str, action: str, *, before: str = "passthru") -> None:
        # BIND gives the zone away before it goes by it: until then it is as it was, and never anything else. An answer
        # that comes too late is not told from none.
        def found() -> bool:
            now = met(resolver, name)
            assert now in {action, before, "servfail", "drop"}, name
            return now == action

        wait_until(found, what=f"a client to meet {action} for {name}")

    for action in ACTIONS:
        meets(f"{action}.example", action)
        meets(f"a.b.{action}.tree.example", action)
    meets("doubted.example", "passthru")

    serial = pop.serial()
    pop.sources["s-nodata"]["action"] = "redirect"
    pop.sources["doubt"]["weight"] = 2
    pop.write_config()
    pop.reload()
    wait_until(lambda: pop.axfr()[1].get("doubted.example.") == "TCP-ONLY", what="the reload to reach the zone")
    wait_until(lambda: resolver.zone() == pop.axfr(), what="the reload to reach the resolver")
    meets("nodata.example", "redirect", before="nodata")
    meets("x.nodata.tree.example", "redirect", before="nodata")
    meets("nxdomain.example", "nxdomain", before="nxdomain")
    # One reload, one version: what the old and the new one have in common is not sent again.
    assert pop.serial() == serial + 1

    explained = json.loads(pop.command("explain", "x.nodata.tree.example", "--json").stdout)
    assert (explained["action"], explained["action_source"]) == ("REDIRECT", "s-nodata")
    assert [(hit["source"], hit["match"], hit["action"]) for hit in explained["hits"]] == [
        ("s-nodata", "subtree", "REDIRECT")
    ]
    assert explained["emitted"] == f"*.nodata.tree.example.{peers.ZONE}. CNAME garden.example."
