"""`kill -9` at any moment of the work on a large zone: while it is read, decided, committed, served, or restored."""

import itertools
import random
import socket
import struct
import threading
from collections.abc import Iterator

import dns.message
from benching import make_names, rules_in, wait_for_zone


def read_zone(port: int) -> tuple[int, set[bytes]]:
    """The serial of a full transfer, and the owners of its rules. The record that begins it also ends it."""
    query = dns.message.make_query("dnstapir.", "AXFR").to_wire()
    messages: list[bytes] = []
    with socket.create_connection(("127.0.0.1", port), timeout=60) as stream, stream.makefile("rb") as octets:
        stream.sendall(struct.pack("!H", len(query)) + query)
        soa, ended = b"", False
        while not ended:
            message = octets.read(int.from_bytes(octets.read(2), "big"))
            assert message, "the transfer was cut"
            assert not message[3] & 0xF, "the transfer was refused"
            if not messages:
                length = int.from_bytes(message[len(query) + 10 : len(query) + 12], "big")
                soa = message[len(query) : len(query) + 12 + length]
            ended = message.endswith(soa) and (len(messages) > 0 or message.count(soa) == 2)
            messages.append(message)
    serial = int.from_bytes(soa[-20:-16], "big")
    return serial, {owner for owner, _ in rules_in(messages)}


def behind(a: int, b: int) -> bool:
    """Whether serial `a` is before `b` (RFC 1982), said naively."""
    return a != b and (b - a) % 2**32 < 2**31


def owner_of(name: str) -> bytes:
    """The owner of the rule for `name`."""
    labels = [*name.split("."), "dnstapir"]
    return b"".join(bytes((len(label),)) + label.encode() for label in labels) + b"\0"


def test_kill_9_at_a_million_names(pop, campaign, wait_until):
    count = campaign.rounds(1_000_000)
    kills = campaign.rounds(200)
    rng = campaign.random()
    reserve = iter(make_names(count + 2_000 * kills, seed=campaign.seed))
    listed = list(itertools.islice(reserve, count))
    pop.extra = {"start-deadline": 300}
    pop.add_source("deny", "denylist", listed)
    pop.start(wait=False)
    wait_for_zone(pop.port, pop.daemon)
    serial, content = read_zone(pop.port)
    assert content == {owner_of(name) for name in listed}

    for number in range(kills):
        change(listed, reserve, rng)
        pop.write_list("deny", listed)
        # Anything from before the list is noticed to after its effect was seen.
        threading.Event().wait(rng.random() * (0.3 + count / 400_000))
        before = pop.serial()
        assert before is not None
        assert not behind(before, serial)
        pop.kill()
        pop.start(wait=False)
        wait_for_zone(pop.port, pop.daemon)
        after, restored = read_zone(pop.port)
        assert not behind(after, before), f"kill {number}: the serial went back from {before} to {after}"
        if after == serial:
            assert restored == content, f"kill {number}: serial {after} has two contents"
        expected = {owner_of(name) for name in listed}
        if restored != expected:
            wait_until(lambda after=after: pop.serial() != after, what=f"the lists to be read after kill {number}")
        serial, content = read_zone(pop.port)
        assert content == expected, f"kill {number}: {len(content ^ expected)} names are wrong"
    assert pop.stop() == 0


def change(listed: list[str], reserve: Iterator[str], rng: random.Random) -> None:
    """Take up to a thousand names out of the list, anywhere, and put up to a thousand others in."""
    for _ in range(rng.randrange(1, 1000)):
        position = rng.randrange(len(listed))
        listed[position] = listed[-1]
        listed.pop()
    listed.extend(itertools.islice(reserve, rng.randrange(1, 1000)))
