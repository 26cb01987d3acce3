"""AXFR of a million records to one reader, next to knotd's of the same zone; bare, and signed on both sides."""

import base64
import hashlib
import hmac
from collections.abc import Callable

import dns.name
import pytest
from benching import NAMES, ROUNDS, Key, Knot, Ratios, count_transfer, make_names, read_messages, rules_in
from peers import Pop

REACH = {False: (5.0, 40.0), True: (3.0, 6.0)}


@pytest.mark.parametrize("signed", [False, True], ids=["bare", "signed"])
def test_whole_zone_goes_out_faster_than_knot_sends_it(
    make_pop: Callable[..., Pop], make_knot: Callable[..., Knot], signed: bool
) -> None:
    reach, aim = REACH[signed]
    key = Key() if signed else None
    names = make_names(NAMES)
    knot = make_knot(key=key)
    knot.write_zone(names)
    knot.start()
    pop = make_pop()
    pop.add_source("blocked", "denylist", names)
    if key is not None:
        secret = pop.directory / "transfer.key"
        secret.write_text(key.secret + "\n")
        secret.chmod(0o600)
        pop.extra["keys"] = {key.name: {"algorithm": key.algorithm, "secret-file": str(secret)}}
        pop.engine["access"] = [
            {"from": "127.0.0.0/8", "key": key.name},
            {"from": "127.0.0.0/8", "allow": "soa"},
        ]
    pop.start()

    contents = []
    for port in (knot.port, pop.port):
        mac, messages = read_messages(port, records=NAMES, key=key)
        if key is not None:
            messages = check_signatures(messages, key, mac)
        contents.append(rules_in(messages))
        del messages
    assert contents[0] == contents[1]
    assert len(contents[0]) == NAMES

    rates = Ratios(f"AXFR{' with TSIG' if signed else ''}, records a second")
    for _ in range(ROUNDS):
        knot_rate = NAMES / count_transfer(knot.port, records=NAMES, key=key)
        rates.add(NAMES / count_transfer(pop.port, records=NAMES, key=key), knot_rate)
    rates.show("records/s", reach=f"{reach}, aim {aim}")
    assert rates.median >= reach


def check_signatures(messages: list[bytes], key: Key, mac: bytes) -> list[bytes]:
    """`messages` without their TSIG records, each of which is there and right (RFC 8945 §4.3, §5.3.1)."""
    name = dns.name.from_text(key.name).to_digestable()
    algorithm = dns.name.from_text(key.algorithm).to_digestable()
    width = hashlib.sha256().digest_size
    record = len(name) + 10 + len(algorithm) + 10 + width + 6
    secret = base64.b64decode(key.secret)
    bare: list[bytes] = []
    for message in messages:
        body, tsig = message[:-record], message[-record:]
        assert tsig.startswith(name + b"\x00\xfa\x00\xff")
        variables = tsig[len(name) + 10 :]
        times = variables[len(algorithm) : len(algorithm) + 8]
        found = variables[len(algorithm) + 10 : len(algorithm) + 10 + width]
        additional = int.from_bytes(body[10:12], "big") - 1
        body = body[:10] + additional.to_bytes(2, "big") + body[12:]
        # The first is signed with all that a TSIG says, the others with their times alone.
        extra = times if bare else name + b"\x00\xff\0\0\0\0" + algorithm + times + b"\0\0\0\0"
        signed = len(mac).to_bytes(2, "big") + mac + body + extra
        mac = hmac.digest(secret, signed, "sha256")
        assert mac == found, f"message {len(bare)} has a wrong MAC"
        bare.append(body)
    return bare
