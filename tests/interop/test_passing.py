"""What a feed says and POP does not evaluate, passed through to a resolver: exactly that, as long as it is said."""

from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

import attrs
import dns.message
import dns.query
import dns.rcode
import dns.rdatatype
import dns.tsig
import dns.update
import dns.zone
import pytest
from feeds import FeedPop
from peers import ZONE, Daemon, Resolver, wait_until
from primaries import FEED, KEY_NAME, SECRET, Primary, start_primary

pytestmark = pytest.mark.interop

TRIGGERS = {
    "32.1.2.0.192.rpz-client-ip 60 IN CNAME .",
    "ns.bad.example.rpz-nsdname 60 IN CNAME .",
}
"""of what each primary has from the start; its local data is at top-level names, which no list may hold"""
DROPS_ALL = "24.0.2.0.192.rpz-ip 60 IN CNAME rpz-drop."
LOCAL = {
    "data.example 60 IN A 192.0.2.53",
    "data.example 60 IN A 192.0.2.54",
    'data.example 60 IN TXT "passed" "through"',
    "*.wild.example 60 IN AAAA 2001:db8::1",
    "alias.example 60 IN CNAME data.example.net.",
    "mail.example 60 IN MX 10 mx.example.net.",
}
JUDGED = {
    "allowed.example 60 IN A 192.0.2.60",
    "*.above.example 60 IN A 192.0.2.61",
    "denied.example 60 IN A 192.0.2.62",
    "x.subtree.example 60 IN A 192.0.2.63",
    "odd.example 60 IN HINFO a b",
}
"""at names of which the policy says something, and of a type that is never passed through"""
REFUSED = {
    "passed.refused.allowlisted": 2,
    "passed.refused.ruled": 2,
    "passed.refused.type": 1,
    "passed.refused.too_broad": 3,
}


@attrs.define(kw_only=True)
class Passing:
    """A product that passes through what one primary says, and a secondary of ours that follows it by IXFR."""

    pop: FeedPop
    primary: Primary
    copy: dns.zone.Zone = attrs.field(factory=lambda: dns.zone.Zone(f"{ZONE}.", relativize=False))

    def update(self, *, add: Iterable[str] = (), delete: Iterable[str] = ()) -> None:
        """Let the primary's zone have these records, and not those."""
        update = dns.update.UpdateMessage(FEED, keyring=dns.tsig.Key(KEY_NAME, SECRET, "hmac-sha256"))
        for text in delete:
            owner, _, _, rdtype, rdata = text.split(" ", 4)
            update.delete(owner, rdtype, rdata)
        for text in add:
            owner, ttl, _, rdtype, rdata = text.split(" ", 4)
            update.add(owner, int(ttl), rdtype, rdata)
        said = dns.query.tcp(update, "127.0.0.1", port=self.primary.port, timeout=10)
        assert said.rcode() == dns.rcode.NOERROR, said
        self.primary.serial += 1

    def follow(self) -> set[str]:
        """Bring our secondary up to date; what it holds besides the apex."""
        dns.query.inbound_xfr("127.0.0.1", self.copy, port=self.pop.port, timeout=10, lifetime=30)
        return besides_apex(self.copy)

    def expect(self, records: set[str], what: str) -> None:
        wait_until(lambda: self.follow() == records, what=what, seconds=30)
        messages = dns.query.xfr("127.0.0.1", f"{ZONE}.", port=self.pop.port, timeout=30, relativize=False)
        assert besides_apex(dns.zone.from_xfr(messages, relativize=False)) == records


def besides_apex(zone: dns.zone.Zone) -> set[str]:
    found = set()
    for name, ttl, rdata in zone.iterate_rdatas():
        owner = str(name).removesuffix(f"{ZONE}.").removesuffix(".")
        if owner:
            found.add(f"{owner} {ttl} IN {dns.rdatatype.to_text(rdata.rdtype)} {rdata}")
    return found


def rules(*names: str, target: str = ".") -> set[str]:
    return {f"{name} 3600 IN CNAME {target}" for name in names}


@pytest.fixture(params=["knot", "bind"])
def passing(
    request: pytest.FixtureRequest,
    tmp_path: Path,
    daemons: list[Daemon],
    require_peer: Callable[[str], str],
    make_pop: Callable[..., Any],
    free_port: Callable[[], int],
) -> Passing:
    pop: FeedPop = make_pop(kind=FeedPop, downstreams=[free_port()])
    tool = request.param
    primary = start_primary(
        tool, tmp_path / "primary", daemons, require_peer, {"bad.example": "NXDOMAIN"}, downstream=pop.port
    )
    pop.add_source("allow", "allowlist", ["allowed.example", "below.above.example"])
    pop.add_source("deny", "denylist", ["denied.example"])
    pop.add_source("under", "denylist", ["subtree.example"], match="subtree")
    passing: dict[str, Any] = {"other-triggers": "pass"}
    pop.add_feed("feed", "denylist", primary, **passing)
    pop.loosen()
    pop.start()
    return Passing(pop=pop, primary=primary)


RULES = rules("bad.example", "denied.example", "subtree.example", "*.subtree.example")


def test_a_resolver_has_what_the_feed_says_as_long_as_it_says_it(
    passing: Passing, start_bind: Callable[..., Resolver]
) -> None:
    pop = passing.pop
    passing.expect(RULES | TRIGGERS | {DROPS_ALL}, "what the feed has from the start")
    passing.update(delete=[DROPS_ALL])
    passing.expect(RULES | TRIGGERS, "what would drop all answers to be gone")
    bind = start_bind(pop, port=pop.downstreams[0])

    passing.update(add=LOCAL | JUDGED)
    passing.expect(RULES | TRIGGERS | LOCAL, "local data")
    wait_until(lambda: REFUSED.items() <= pop.counters_of("feed").items(), what="refusals to be counted", seconds=15)
    assert pop.counters_of("feed")["passed"] == len(TRIGGERS | LOCAL)
    assert pop.status()["zone"]["records"] == len(RULES | TRIGGERS | LOCAL)

    def addresses(name: str, rdtype: str = "A") -> set[str]:
        answer = bind.ask(f"{name}.", rdtype).answer
        return {str(rdata) for rrset in answer if rrset.rdtype == dns.rdatatype.from_text(rdtype) for rdata in rrset}

    wait_until(lambda: addresses("data.example") == {"192.0.2.53", "192.0.2.54"}, what="BIND to rewrite")
    wait_until(
        lambda: addresses("any.wild.example", "AAAA") == {"2001:db8::1"}, what="BIND to rewrite below a wildcard"
    )
    assert addresses("allowed.example") == addresses("below.above.example") == {"192.0.2.1"}

    # What the operator allows is not rewritten any more, and is again when he changes his mind.
    pop.command("allow", "data.example")
    without = {record for record in LOCAL if not record.startswith("data.example ")}
    passing.expect(RULES | TRIGGERS | without, "the name to be let through")
    wait_until(lambda: addresses("data.example") == {"192.0.2.1"}, what="BIND to let it through")
    said = pop.command("explain", "data.example").stdout
    assert "A, TXT at data.example. by feed feed is not passed through: allowlisted" in said
    pop.command("allow", "--remove", "data.example")
    passing.expect(RULES | TRIGGERS | LOCAL, "the name to be rewritten again")

    # A restart says nothing anew: no version, and no transfer.
    serial = pop.serial()
    pop.stop()
    pop.start()
    wait_until(lambda: pop.counters_of("feed").get("passed") == len(TRIGGERS | LOCAL), what="the feed to be back")
    assert pop.serial() == serial
    assert pop.counters_of("feed").get("transfers.whole", 0) == 0

    gone = {record for record in LOCAL if not record.startswith("mail")} | {"32.1.2.0.192.rpz-client-ip 60 IN CNAME ."}
    passing.update(delete=gone)
    passing.expect(RULES | (TRIGGERS | LOCAL) - gone, "what the feed takes back to go")
    wait_until(lambda: addresses("data.example") == {"192.0.2.1"}, what="BIND to let it through")
    shown = pop.command("zone", "diff", str(serial), str(pop.serial())).stdout
    assert f"-{len(gone)} +0 records" in shown


def test_a_feed_that_begins_or_ends_to_be_passed_through(passing: Passing) -> None:
    pop = passing.pop
    passing.update(add=LOCAL, delete=[DROPS_ALL])
    passing.expect(RULES | TRIGGERS | LOCAL, "all of it")
    pop.sources["feed"]["other-triggers"] = "count"
    pop.write_config()
    pop.reload()
    passing.expect(RULES, "nothing but rules")
    passing.update(delete=["mail.example 60 IN MX 10 mx.example.net."])
    wait_until(lambda: pop.serial_of("feed") == passing.primary.serial, what="the change")
    pop.sources["feed"]["other-triggers"] = "pass"
    pop.write_config()
    pop.reload()
    passing.expect(RULES | TRIGGERS | LOCAL - {"mail.example 60 IN MX 10 mx.example.net."}, "what it has by now")
