"""Knot, NSD, BIND, PowerDNS recursor and unbound take the zone at once, each as securely as it can.

They have what was decided after every edit, and took the edit alone; with a key or a way that is not theirs they get
nothing, and catch up when that is mended.
"""

import json
import re
from collections import Counter
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

import attrs
import dns.message
import dns.rcode
import pytest
from certificates import Authority
from peers import ZONE
from secondaries import ADDRESSES, OVER_TLS, SERVER_NAME, SIGNS, Secondary, SecurePop, Starter, key_name, secret
from subtree_lists import FULL, KINDS, UNIVERSE, Lists, looked_up, mark

pytestmark = pytest.mark.interop

TOOLS = ("knot", "nsd", "bind", "pdns", "unbound")
RESOLVERS = ("bind", "pdns", "unbound")


def action_met(answer: dns.message.Message) -> str:
    """Which action a client was answered by."""
    if answer.rcode() == dns.rcode.NXDOMAIN:
        return "NXDOMAIN"
    assert answer.rcode() == dns.rcode.NOERROR, answer
    return "NONE" if answer.answer else "NODATA"


@pytest.fixture
def pop(tmp_path: Path) -> Iterable[SecurePop]:
    """The product, not yet started."""
    made = SecurePop.make(tmp_path / "pop", TOOLS)
    yield made
    if made.daemon is not None:
        if made.daemon.alive():
            made.daemon.kill()
        print(f"--- tapir ---\n{made.daemon.output()[-8000:]}")


@pytest.fixture
def secondaries(
    tmp_path: Path, daemons: list[Any], internet: int, require_peer: Callable[[str], str]
) -> Callable[[SecurePop], list[Secondary]]:
    """Starts all five."""
    starter = Starter(tmp_path, daemons, require_peer, internet=internet)
    return lambda pop: [starter.start(pop, tool) for tool in TOOLS]


def counters_of(pop: SecurePop) -> Counter[str]:
    """The zone server's counters; 0 for one that has not begun."""
    return Counter(dict(pop.status()["server"]["counters"]))


def test_every_edit_of_names_and_subtrees_reaches_all_five_by_ixfr(
    pop: SecurePop, secondaries: Callable[..., list[Secondary]], campaign: Any, wait_until: Callable[..., Any]
) -> None:
    lists = Lists(rng=campaign.random())
    for source, kind in KINDS.items():
        pop.add_source(source, kind, sorted(lists.entries[source]), match=lists.match[source])
    pop.start()
    first = pop.axfr()
    assert looked_up(first[1], lists.names()) == lists.decided()
    running = secondaries(pop)
    for secondary in running:
        wait_until(lambda s=secondary: s.has(first), what=f"{secondary.tool} to have the zone")
    before = counters_of(pop)
    assert before["transfers_full"] == pop.own_transfers + len(running)

    edits = campaign.rounds(FULL)
    for number in range(edits):
        source = lists.edit()
        pop.write_list(source, sorted(lists.entries[source]))
        said = f"edit {number}, of {source} ({lists.match[source]})"
        serial = first[0] + number + 1
        wait_until(lambda s=serial: pop.serial() == s, what=f"{said} to be published")
        content = pop.axfr()
        decided = lists.decided()
        assert looked_up(content[1], lists.names()) == decided, said
        for secondary in running:
            wait_until(lambda s=secondary, c=content: s.has(c), what=f"{said} to reach {secondary.tool}")
        # The resolvers read RFC 4592, too, each by itself. A few names each time, one that has just changed for sure.
        asked = [mark(source, number), *lists.rng.sample(UNIVERSE, 8)]
        for secondary in running:
            if secondary.tool not in RESOLVERS:
                continue
            for name in asked:
                wait_until(
                    lambda s=secondary, n=name, d=decided: action_met(s.ask(f"{n}.")) == d[n],
                    what=f"{said} to be how {secondary.tool} answers {name}, {decided[name]}",
                )

    after = counters_of(pop)
    # One transfer of each version to each of the five, and none of the whole zone but ours.
    assert after["transfers_incremental"] == edits * len(running)
    assert after["transfers_full"] == pop.own_transfers + len(running)
    assert not pop.status()["server"]["refusals"]
    told = {s["address"]: s["notify_state"] for s in pop.status()["secondaries"] if s["configured"]}
    assert set(told.values()) == {"acknowledged"}, told
    print(f"{edits} edits, counters: {after}")


def test_clients_of_three_resolvers_find_names_blocked_and_unblocked(
    pop: SecurePop, secondaries: Callable[..., list[Secondary]], wait_until: Callable[..., Any]
) -> None:
    pop.add_source("deny", "denylist", [], match="exact")
    pop.add_source("denysub", "denylist", [], match="subtree")
    pop.add_source("allow", "allowlist", [], match="exact")
    pop.add_source("allowsub", "allowlist", [], match="subtree")
    pop.start()
    resolvers = [secondary for secondary in secondaries(pop) if secondary.tool in RESOLVERS]
    assert len(resolvers) == len(RESOLVERS)
    tree = ["tree.example", "a.tree.example", "b.a.tree.example", "ok.tree.example", "deep.ok.tree.example"]
    names = ["bad.example", "below.bad.example", *tree]
    # Each edit, and which of `names` are blocked after it.
    for source, entries, blocked in (
        ("deny", ["bad.example"], {"bad.example"}),
        ("denysub", ["tree.example"], {"bad.example", *tree}),
        ("allow", ["ok.tree.example"], {"bad.example", *tree} - {"ok.tree.example"}),
        ("allowsub", ["ok.tree.example"], {"bad.example", *tree[:3]}),
        ("denysub", ["*.tree.example"], {"bad.example", *tree[:3]}),
        ("denysub", ["||a.tree.example^"], {"bad.example", *tree[1:3]}),
        ("deny", ["||bad.example^"], {"bad.example", "below.bad.example", *tree[1:3]}),
        ("allow", ["bad.example"], {"below.bad.example", *tree[1:3]}),
        ("denysub", [], {"below.bad.example"}),
        ("deny", [], set()),
    ):
        pop.write_list(source, entries)
        for resolver in resolvers:
            wait_until(
                lambda r=resolver, b=blocked: {n for n in names if action_met(r.ask(f"{n}.")) != "NONE"} == b,
                what=f"{resolver.tool} to block {sorted(blocked)} after {source} has {entries}",
                seconds=60,
            )


@attrs.frozen(kw_only=True)
class Mistake:
    """A setting of ours that does not fit a secondary's: the reason counted, what the log says, and who is refused."""

    reason: str
    said: str
    refused: tuple[str, ...]
    make: Callable[[SecurePop], None]
    mend: Callable[[SecurePop], None]


def write_keys(pop: SecurePop, suffix: str = "") -> None:
    for tool in SIGNS:
        pop.write_key(tool, secret(tool + suffix))


def swap_algorithms(pop: SecurePop) -> None:
    swapped = {"hmac-sha256": "hmac-sha512", "hmac-sha384": "hmac-sha256", "hmac-sha512": "hmac-sha256"}
    pop.algorithms = {tool: swapped[algorithm] for tool, algorithm in pop.algorithms.items()}


MISTAKES = (
    Mistake(
        reason="tsig-badsig",
        said="BADSIG",
        refused=tuple(SIGNS),
        make=lambda pop: write_keys(pop, " but wrong"),
        mend=write_keys,
    ),
    Mistake(
        reason="tsig-badkey",
        said="BADKEY",
        refused=tuple(SIGNS),
        make=swap_algorithms,
        mend=lambda pop: setattr(pop, "algorithms", dict(SIGNS)),
    ),
    Mistake(
        reason="acl",
        said=" wants it | allows SOA",  # unbound may ask that, if not the rest
        refused=TOOLS,
        # Over TLS what comes in clear; by the key of another; signed what is not.
        make=lambda pop: pop.demands.update(
            knot={"tls": True},
            pdns={"tls": True},
            nsd={"key": key_name("knot")},
            bind={"key": key_name("knot")},
            unbound={"key": key_name("knot")},
        ),
        mend=lambda pop: pop.demands.clear(),
    ),
)


def test_who_comes_with_a_wrong_key_or_way_gets_nothing_and_catches_up_when_that_is_mended(
    pop: SecurePop, secondaries: Callable[..., list[Secondary]], wait_until: Callable[..., Any]
) -> None:
    # They look by themselves, too: a NOTIFY that is signed by a wrong key says nothing to them.
    pop.extra["services"] = {"rpz": {"zonename": f"{ZONE}.", "soa": {"refresh": 2, "retry": 1}}}
    names = [f"n{number}.example" for number in range(100)]
    pop.add_source("deny", "denylist", names)
    pop.start()
    daemon = pop.daemon
    assert daemon is not None
    running = secondaries(pop)
    for secondary in running:
        wait_until(lambda s=secondary: s.has(pop.axfr()), what=f"{secondary.tool} to have the zone")
    assert not pop.status()["server"]["refusals"]

    for mistake in MISTAKES:
        before = pop.axfr()
        logged = len(daemon.output())
        mistake.make(pop)
        reload(pop, wait_until)
        counted = transfers(pop)
        names.append(f"{mistake.reason}.example")
        pop.write_list("deny", names)
        wait_until(lambda b=before: pop.serial() == b[0] + 1, what="the edit to be published")
        for tool in mistake.refused:
            wait_until(
                lambda t=tool, n=logged: f" from {ADDRESSES[t]}: " in refusals_in(daemon.output()[n:]),
                what=f"{tool} to be refused and the log to say it",
            )
        after = pop.axfr()
        took = {secondary.tool for secondary in running if secondary.tool not in mistake.refused}
        for secondary in running:
            if secondary.tool in took:
                wait_until(lambda s=secondary, a=after: s.has(a), what=f"{secondary.tool} to have it all the same")
            else:
                assert secondary.zone() == before, secondary.tool
        assert transfers(pop) == counted + len(took)
        assert dict(pop.status()["server"]["refusals"])[mistake.reason] >= len(mistake.refused)
        lines = refusals_in(daemon.output()[logged:]).splitlines()
        assert all(re.search(mistake.said, line) for line in lines), lines

        mistake.mend(pop)
        reload(pop, wait_until)
        for secondary in running:
            wait_until(lambda s=secondary, a=after: s.has(a), what=f"{secondary.tool} to catch up", seconds=60)
    reasons = set(dict(pop.status()["server"]["refusals"]))
    assert reasons == {mistake.reason for mistake in MISTAKES}
    for tool in SIGNS:
        for text in (secret(tool), secret(f"{tool} but wrong")):
            assert text not in daemon.output()
            assert text not in json.dumps(pop.status())


def reload(pop: SecurePop, wait_until: Callable[..., Any]) -> None:
    """Write the configuration, reload it, and wait until it is in effect."""
    assert pop.daemon is not None
    daemon, before = pop.daemon, len(pop.daemon.output())
    pop.write_config()
    pop.reload()
    wait_until(lambda: "the new configuration is in effect" in daemon.output()[before:], what="the reload")


def refusals_in(log: str) -> str:
    return "\n".join(line for line in log.splitlines() if ": refused " in line)


def transfers(pop: SecurePop) -> int:
    """How many transfers others than this test took."""
    counters = counters_of(pop)
    return counters["transfers_full"] + counters["transfers_incremental"] - pop.own_transfers


def test_a_certificate_that_secondaries_do_not_trust_gets_nobody_the_zone(
    pop: SecurePop, secondaries: Callable[..., list[Secondary]], tmp_path: Path, wait_until: Callable[..., Any]
) -> None:
    """Another CA's certificate, and one for another name: NSD, BIND and unbound take nothing from who shows it."""
    pop.extra["services"] = {"rpz": {"zonename": f"{ZONE}.", "soa": {"refresh": 2, "retry": 1}}}
    names = [f"n{number}.example" for number in range(100)]
    pop.add_source("deny", "denylist", names)
    pop.start()
    daemon = pop.daemon
    assert daemon is not None
    running = secondaries(pop)
    for secondary in running:
        wait_until(lambda s=secondary: s.has(pop.axfr()), what=f"{secondary.tool} to have the zone")
    trusted = pop.extra["dnsengine"]["tls"]
    (tmp_path / "stranger").mkdir()
    pairs = {
        "the CA": Authority(tmp_path / "stranger").issue(SERVER_NAME),
        "the name": pop.authority.issue("other.example"),
    }
    for wrong, pair in pairs.items():
        before = pop.axfr()
        pop.extra["dnsengine"]["tls"] = {**trusted, "certificate": str(pair.certificate), "key": str(pair.key)}
        logged = len(daemon.output())  # of each address it is said once, maybe right after the reload
        reload(pop, wait_until)
        counted = transfers(pop)
        names.append(f"a{len(names)}.example")
        pop.write_list("deny", names)
        wait_until(lambda b=before: pop.serial() == b[0] + 1, what="the edit to be published")
        after = pop.axfr()
        for secondary in running:
            if secondary.tool not in OVER_TLS:
                wait_until(lambda s=secondary, a=after: s.has(a), what=f"{secondary.tool} to have it all the same")
        for tool in OVER_TLS:
            wait_until(
                lambda t=tool, n=logged: f"no TLS with {ADDRESSES[t]}:" in daemon.output()[n:],
                what=f"{tool} to end a handshake over {wrong}, and the log to say it",
            )
        for secondary in running:
            if secondary.tool in OVER_TLS:
                assert secondary.has(before), (wrong, secondary.tool)
        assert transfers(pop) == counted + len(set(TOOLS) - OVER_TLS)
        pop.extra["dnsengine"]["tls"] = trusted
        reload(pop, wait_until)
        for secondary in running:
            wait_until(lambda s=secondary, a=after: s.has(a), what=f"{secondary.tool} to catch up", seconds=60)
