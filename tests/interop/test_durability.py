"""`kill -9` amid edits, a full disk, a damaged store: no serial goes back, nothing differs from the oracle."""

import socket
from typing import Any, Final

import dns.message
import dns.name
import dns.query
import dns.rdatatype
import dns.rrset
import pytest

pytestmark = pytest.mark.interop

TARGETS: Final = {".": "NXDOMAIN", "*.": "NODATA"}


def behind(a: int, b: int) -> bool:
    """Whether serial `a` is before `b` (RFC 1982), said naively."""
    return a != b and (b - a) % 2**32 < 2**31


def test_kill_9_amid_edits(pop, make_edits, campaign, wait_until):
    pop.add_source("allow", "allowlist", [])
    pop.add_source("deny", "denylist", [])
    pop.add_source("doubt1", "doubtlist", [])
    pop.add_source("doubt2", "doubtlist", [])
    edits = make_edits(pop, seed=campaign.seed, universe=400)
    edits.begin()
    pop.start()
    wait_until(lambda: pop.axfr()[1] == edits.expected(), what="the first content")
    serial, rules = pop.axfr()
    held: dict[int, dict[str, str]] = {serial: rules}
    total = campaign.rounds(1000)
    kills = set(campaign.random().sample(range(total), max(2, campaign.rounds(20))))
    for number in range(total):
        edits.step()
        if number in kills:
            pop.kill()
            pop.start()
            restarted = pop.serial()
            assert restarted is not None
            assert not behind(restarted, serial), f"the serial went back from {serial} to {restarted}"
        else:
            wait_until(lambda: pop.axfr()[1] == edits.expected(), what=f"edit {number}")
        now, rules = pop.axfr()
        assert not behind(now, serial)
        assert held.setdefault(now, rules) == rules, f"serial {now} has two contents"
        serial = now
    wait_until(lambda: pop.axfr()[1] == edits.expected(), what="the last edit")
    serial, rules = pop.axfr()

    # Every version that anybody ever saw leads to the last one by IXFR, never by a full transfer that is larger.
    for old, content in held.items():
        incremental, reached = follow(pop.port, old, content)
        assert reached == rules, f"IXFR from {old} to {serial} differs"
        # Two SOA records more than in a full transfer weigh as much as a few rules.
        assert incremental or len(rules) <= difference(content, rules) + 6, f"IXFR from {old} came in full"
    assert pop.stop() == 0


def difference(old: dict[str, str], new: dict[str, str]) -> int:
    """How many records an IXFR between the two must carry."""
    return len(old.items() ^ new.items())


def follow(port: int, serial: int, rules: dict[str, str]) -> tuple[bool, dict[str, str]]:
    """What `rules` become by asking for IXFR from `serial`, and whether the answer was incremental (RFC 1995 §4)."""
    records = read_ixfr(port, serial)
    new = records[0][1].serial
    if len(records) == 1:
        assert new == serial
        return True, rules
    incremental = records[1][1].rdtype == dns.rdatatype.SOA
    reached = dict(rules) if incremental else {}
    adding = not incremental
    for owner, rdata in records[1:-1]:
        if rdata.rdtype == dns.rdatatype.SOA:
            adding = rdata.serial == new
        elif rdata.rdtype == dns.rdatatype.CNAME:
            name = str(owner).lower().removesuffix("dnstapir.")
            if adding:
                assert name not in reached
                reached[name] = TARGETS[str(rdata.target)]
            else:
                assert reached.pop(name) == TARGETS[str(rdata.target)]
    return incremental, reached


def read_ixfr(port: int, serial: int) -> list[tuple[dns.name.Name, Any]]:
    """The records of the answer to IXFR from `serial`, in their order.

    The new SOA ends it: the second one where the whole zone comes, the third one where a difference does.
    """
    query = dns.message.make_query("dnstapir.", "IXFR")
    query.authority.append(dns.rrset.from_text("dnstapir.", 0, "IN", "SOA", f". . {serial} 0 0 0 0"))
    records: list[tuple[dns.name.Name, Any]] = []
    with socket.create_connection(("127.0.0.1", port), timeout=60) as tcp:
        dns.query.send_tcp(tcp, query)
        while True:
            message, _ = dns.query.receive_tcp(tcp, one_rr_per_rrset=True)
            records += [(rrset.name, rrset[0]) for rrset in message.answer]
            new = records[0][1].serial
            if len(records) == 1:
                assert new == serial
                return records
            endings = 3 if records[1][1].rdtype == dns.rdatatype.SOA else 2
            soas = [rdata for _, rdata in records if rdata.rdtype == dns.rdatatype.SOA]
            if sum(soa.serial == new for soa in soas) == endings:
                return records


@pytest.mark.parametrize("damage", ["zeros", "cut", "text"])
def test_a_damaged_store_is_set_aside_and_the_serial_goes_on(pop, wait_until, damage):
    pop.add_source("deny", "denylist", ["bad.example"])
    pop.start()
    pop.write_list("deny", ["bad.example", "worse.example"])
    wait_until(lambda: pop.serial() == 2, what="the second version")
    pop.kill()
    (database,) = (pop.state_dir / "zones").glob("*/zone.db")
    for sidecar in database.parent.glob("zone.db-*"):
        sidecar.unlink()
    size = database.stat().st_size
    content = {"zeros": bytes(size), "cut": database.read_bytes()[: size // 3], "text": b"not a database" * 500}
    database.write_bytes(content[damage])
    pop.start()
    assert pop.serial() == 3
    assert pop.axfr()[1] == {"bad.example.": "NXDOMAIN", "worse.example.": "NXDOMAIN"}
    assert list(database.parent.glob("*corrupt*"))
    assert "corrupt" in pop.daemon.output() or "quarantine" in pop.daemon.output()


def test_going_back_to_the_old_daemon_finds_the_serial(pop, wait_until):
    cache = pop.directory / "rpz-serial.yaml"
    cache.write_text("current_serial: 41\n")
    pop.add_source("deny", "denylist", ["bad.example"])
    pop.start()
    assert pop.serial() == 42
    pop.write_list("deny", ["worse.example"])
    wait_until(lambda: pop.serial() == 43, what="the next version")
    assert cache.read_text() == "current_serial: 43\n"
