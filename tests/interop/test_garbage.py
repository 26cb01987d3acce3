"""What the world may send: mutated messages, slow readers, half-open and too many connections, a list line of 1 GB.

The process serves on, its memory stays bounded, and everything that it refused is counted.
"""

import contextlib
import random
import socket
import struct
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import dns.message
import dns.query
import dns.rcode
import dns.rrset
import dns.tsig
import pytest

pytestmark = pytest.mark.interop


def resident(pid: int) -> int:
    """Anonymous resident memory of a process, in octets."""
    for line in Path(f"/proc/{pid}/status").read_text().splitlines():
        if line.startswith("RssAnon:"):
            return int(line.split()[1]) * 1024
    raise AssertionError("no RssAnon")


def counters(pop: Any) -> tuple[dict[str, int], dict[str, int]]:
    server = pop.status()["server"]
    return dict(server["counters"]), dict(server["refusals"])


@pytest.fixture
def serving(pop, wait_until) -> Any:
    pop.add_source("deny", "denylist", [f"n{number}.example" for number in range(20_000)])
    pop.start()
    wait_until(lambda: len(pop.axfr()[1]) == 20_000, what="the zone")
    return pop


def seeds() -> list[bytes]:
    ixfr = dns.message.make_query("dnstapir.", "IXFR")
    ixfr.authority.append(dns.rrset.from_text("dnstapir.", 0, "IN", "SOA", ". . 1 0 0 0 0"))
    queries = [
        dns.message.make_query("dnstapir.", "SOA"),
        dns.message.make_query("dnstapir.", "AXFR"),
        dns.message.make_query("n1.example.dnstapir.", "CNAME", use_edns=0, payload=4096),
        dns.message.make_query("dnstapir.", "NS", use_edns=1),
        dns.message.make_query("example.org.", "A"),
        ixfr,
    ]
    signed = dns.message.make_query("dnstapir.", "SOA", use_edns=0)
    signed.use_tsig(dns.tsig.Key("transfer.example.", bytes(32), "hmac-sha256"))
    queries.append(signed)
    return [query.to_wire() for query in queries]


def mutate(randomness: random.Random, wire: bytes) -> bytes:
    octets = bytearray(wire)
    for _ in range(randomness.randint(1, 8)):
        match randomness.randrange(4):
            case 0 if octets:
                octets[randomness.randrange(len(octets))] = randomness.randrange(256)
            case 1:
                del octets[randomness.randrange(len(octets) + 1) :]
            case 2:
                octets += randomness.randbytes(randomness.randrange(60))
            case _:
                at = randomness.randrange(len(octets) + 1)
                octets[at:at] = octets[: randomness.randrange(40)]
    return bytes(octets)


def test_mutated_messages(serving, campaign):
    randomness = campaign.random()
    before = resident(serving.daemon.process.pid)
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as udp:
        udp.connect(("127.0.0.1", serving.port))
        for number in range(campaign.rounds(100_000)):
            udp.send(mutate(randomness, randomness.choice(seeds())))
            if number % 50 == 0:
                assert serving.serial() is not None
    for _ in range(campaign.rounds(2_000)):
        with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", serving.port), timeout=60) as tcp:
            for _ in range(randomness.randint(1, 4)):
                wire = mutate(randomness, randomness.choice(seeds()))
                length = len(wire) if randomness.random() < 0.8 else randomness.randrange(65536)
                tcp.sendall(struct.pack("!H", length) + wire)
            tcp.shutdown(socket.SHUT_WR)
            while tcp.recv(65536):
                pass
    assert serving.serial() == 1
    assert len(serving.axfr()[1]) == 20_000
    _, refusals = counters(serving)
    assert sum(refusals.values()) > 0
    assert resident(serving.daemon.process.pid) < before + 64 * 2**20


def test_a_slow_reader_gets_its_transfer_bounded_in_memory(serving, wait_until):
    before = resident(serving.daemon.process.pid)
    query = dns.message.make_query("dnstapir.", "AXFR").to_wire()
    slow: list[socket.socket] = []
    try:
        for _ in range(20):
            tcp = socket.socket(socket.AF_INET, socket.SOCK_STREAM)
            tcp.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
            tcp.connect(("127.0.0.1", serving.port))
            tcp.sendall((struct.pack("!H", len(query)) + query) * 3)
            slow.append(tcp)
        assert len(serving.axfr()[1]) == 20_000
        assert resident(serving.daemon.process.pid) < before + 64 * 2**20
        serving.write_list("deny", ["other.example", *(f"n{number}.example" for number in range(20_000))])
        wait_until(lambda: serving.serial() == 2, what="the zone to go on beside slow readers")
    finally:
        for tcp in slow:
            tcp.close()
    wait_until(lambda: serving.status()["server"]["connections"] <= 1, what="the connections to be given back")


def test_half_open_and_too_many_connections(serving, campaign, wait_until):
    held: list[socket.socket] = []
    try:
        for number in range(campaign.rounds(2_000)):
            tcp = socket.socket(socket.AF_INET, socket.SOCK_STREAM)
            held.append(tcp)
            tcp.settimeout(60)
            with contextlib.suppress(ConnectionError):  # over the limits it is reset, at once or a moment later
                tcp.connect(("127.0.0.1", serving.port))
                if number % 3 == 0:
                    tcp.sendall(b"\x00")  # half a length, and nothing more
        for _ in range(5):
            assert serving.serial() == 1  # UDP is served whatever TCP suffers
        _, refusals = wait_until(lambda: (c := counters(serving))[1] and c, what="refused connections to be counted")
        assert any("connection" in reason for reason in refusals)
    finally:
        for tcp in held:
            tcp.close()
    wait_until(lambda: _takes_tcp(serving), what="TCP to be served again")
    assert len(serving.axfr()[1]) == 20_000


def _takes_tcp(pop: Any) -> bool:
    try:
        return bool(pop.ask("dnstapir.", "SOA", tcp=True).rcode() == dns.rcode.NOERROR)
    except (OSError, dns.exception.DNSException, EOFError):
        return False


def test_a_list_line_of_a_gigabyte(serving, campaign, wait_until):
    path = Path(serving.sources["deny"]["filename"])
    before = resident(serving.daemon.process.pid)

    def blocks() -> Iterator[bytes]:
        yield b"first.example\n"
        for _ in range(campaign.rounds(1000)):
            yield b"x" * 10**6  # a whole GiB would be refused by the file's size
        yield b"\nlast.example\n"

    temporary = path.with_suffix(".big")
    with temporary.open("wb") as out:
        for block in blocks():
            out.write(block)
    temporary.rename(path)
    wait_until(
        lambda: serving.status()["sources"]["sources"][0]["state"] == "held", what="the shrunken list", seconds=120
    )
    serving.command("accept", "deny")
    wait_until(lambda: serving.status()["zone"]["state"] == "braked", what="the zone's brake")
    serving.command("accept", "zone")
    wait_until(lambda: serving.axfr()[1] == {"first.example.": "NXDOMAIN", "last.example.": "NXDOMAIN"}, what="it")
    (source,) = (source for source in serving.status()["sources"]["sources"] if source["id"] == "deny")
    assert [(refusal["reason"], refusal["count"], refusal["lines"]) for refusal in source["refusals"]] == [
        ("malformed", 1, [2])
    ]
    assert resident(serving.daemon.process.pid) < before + 64 * 2**20


def test_what_the_acl_refuses_is_counted_and_the_line_that_allows_it_logged(make_pop, wait_until):
    pop = make_pop()
    pop.add_source("deny", "denylist", ["bad.example"])
    pop.write_config()
    pop.extra["dnsengine"] = {
        "active": True,
        "name": "dns",
        "addresses": [f"127.0.0.1:{pop.port}"],
        "logfile": "/dev/null",
        "allow-transfer": ["127.0.0.2/32"],
    }
    pop.start()
    for _ in range(3):
        assert pop.ask("dnstapir.", "SOA").rcode() == dns.rcode.REFUSED
    assert pop.ask("dnstapir.", "AXFR", tcp=True).rcode() == dns.rcode.REFUSED
    _, refusals = counters(pop)
    assert sum(refusals.values()) == 4
    lines = [line for line in pop.daemon.output().splitlines() if "127.0.0.1/32" in line]
    assert len(lines) == 1
    assert "allow-transfer" in lines[0]
