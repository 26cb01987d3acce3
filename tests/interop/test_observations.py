"""A whole POP that is fed by mosquitto, in real time: what is wrong is counted, what is valid is never lost."""

import json
import random
from collections import Counter
from collections.abc import Callable, Iterator
from typing import Any

import pytest
import trio
from mosquitto import Broker
from observed_pop import (
    Oracle,
    configure,
    core,
    counters,
    microseconds,
    mqtt,
    publish_all,
    status,
    until,
)
from observing import CORE, OTHER, SECOND, STRANGER, make_key, payload, signed
from peers import Pop, transfer

from tapir.codec.jose.base64url import encode_base64url
from tapir.model.actions import ListKind

DENY = ListKind.DENY


def forged(data: bytes, **header: object) -> bytes:
    """`data` signed by the right key under a header of the sender's choice."""
    protected = encode_base64url(json.dumps(header).encode())
    body = encode_base64url(data)
    signature = encode_base64url(CORE.sign(protected + b"." + body))
    return b'{"payload":"%b","protected":"%b","signature":"%b"}' % (body, protected, signature)


class Wrong:
    """Messages that are wrong, each in one of these ways, and by which word each must be counted."""

    def __init__(self, at: int) -> None:
        self._at = at
        self._number = 0
        self.ways: tuple[tuple[str, Callable[[bytes], bytes]], ...] = (
            ("bad-signature", lambda data: signed(data)[:-20] + b"A" * 17 + signed(data)[-3:]),
            ("bad-signature", lambda data: signed(data, make_key("core", 9))),
            ("unknown-kid", lambda data: signed(data, STRANGER)),
            ("key-not-allowed", lambda data: signed(data, OTHER, compact=True)),
            ("no-kid", lambda data: forged(data, alg="EdDSA")),
            ("no-algorithm", lambda data: forged(data, kid="core")),
            ("forbidden-header", lambda data: forged(data, alg="EdDSA", kid="core", jwk={})),
            ("forbidden-header", lambda data: forged(data, alg="EdDSA", kid="core", crit=["b64"], b64=False)),
            ("unsupported-algorithm", lambda data: forged(data, alg="none", kid="core")),
            ("wrong-algorithm", lambda data: forged(data, alg="ES256", kid="core")),
            ("malformed", lambda data: signed(data)[:-30]),
            ("malformed", lambda data: data),
            ("malformed", lambda data: b""),
            ("payload-not-json", lambda data: signed(data[:-1])),
            ("payload-malformed", lambda data: signed(data.replace(b'"ttl":3600', b'"ttl":3600.5'))),
            ("payload-malformed", lambda data: signed(data.replace(b'"tag_mask":7', b'"tag_mask":-1'))),
            ("payload-unknown-message-type", lambda data: signed(data.replace(b'"observation"', b'"rumour"'))),
            ("payload-unknown-list-type", lambda data: signed(data.replace(b'"denylist"', b'"greylist"'))),
            ("wrong-list", lambda data: signed(data.replace(b'"dns-tapir"', b'"dns-tapir-2"'))),
            ("wrong-list", lambda data: signed(data.replace(b'"denylist"', b'"doubtlist"'))),
            ("not-a-name", lambda data: signed(data.replace(b".wrong.example", b"..wrong.example"))),
            ("too-broad", lambda data: signed(payload([(("com", "co.uk", "se")[self._number % 3], 7, self.unique, 60)],
                                                      at=self._at, kind=DENY))),
            ("expired", lambda data: signed(payload([(f"w{self._number}.wrong.example", 7, self._at - 9 * SECOND, 8)],
                                                    at=self._at, kind=DENY))),
        )  # fmt: skip

    @property
    def unique(self) -> int:
        return self._at + self._number

    def make(self, way: int) -> tuple[str, bytes]:
        """One more: its word, and the message."""
        self._number += 1
        word, make = self.ways[way % len(self.ways)]
        return word, make(payload([(f"w{self._number}.wrong.example", 7, self._at, 3600)], at=self._at, kind=DENY))


def storm(count: int, dice: random.Random, oracle: Oracle, expected: Counter[str]) -> Iterator[bytes]:
    """So many messages, of which every third is wrong; what must come of them is in `oracle` and `expected`."""
    wrong = Wrong(microseconds())
    history: list[bytes] = []
    for number in range(count):
        expected["messages"] += 1
        if number % 3 == 2:
            word, message = wrong.make(number // 3)
            expected[word] += 1
            yield message
            continue
        name, at = f"n{dice.randrange(count // 2)}.example", microseconds() + number
        fate = dice.random()
        if fate < 0.05 and history:
            expected["duplicate"] += 1
            yield dice.choice(history[-50_000:])
            continue
        stale = oracle.stale
        if fate < 0.15:
            at -= dice.randrange(10) * SECOND
        if fate < 0.85:
            oracle.add(name, at, 86_400)
            data = payload([(name, 1 << dice.randrange(20), at, 86_400)], at=at, kind=DENY)
            done = "added"
        else:
            oracle.remove(name, at)
            data = payload(removed=[name], at=at, kind=DENY)
            done = "removed"
        expected["stale" if oracle.stale > stale else done] += 1
        message = signed(data, compact=number % 2 == 0)
        history.append(message)
        yield message


@pytest.fixture
async def broker(make_broker: Callable[..., Broker]) -> Broker:
    broker = make_broker()
    await broker.start()
    return broker


@pytest.mark.parametrize("window", [1000, 10])
async def test_of_many_messages_each_is_taken_or_counted(broker: Broker, pop: Pop, campaign: Any, window: int) -> None:
    """As many as a day brings, every third wrong: the counts are exact, and the zone is what was valid."""
    count = campaign.rounds(100_000)
    configure(pop, f"mqtt://127.0.0.1:{broker.port}", CORE, OTHER, mqtt={"receive-maximum": window}, signers=["core"])
    await trio.to_thread.run_sync(pop.start)
    await until(lambda: mqtt(pop)["state"] == "connected", "the session")
    oracle, expected = Oracle(), Counter[str]()
    async with core(broker.port) as client:
        dice = campaign.random()
        await publish_all(client, storm(count, dice, oracle, expected))
        await until(lambda: counters(pop)["messages"] >= count, "all messages", 600)
    assert dict(counters(pop)) == dict(expected)
    assert status(pop)["entries"] == len(oracle.names())
    await until(lambda: set(transfer(pop.port)[1]) == oracle.names(), "the zone")
    found = await trio.to_thread.run_sync(mqtt, pop)
    assert found["connections"] == 1, found["trouble"]
    assert found["unacknowledged"] == 0
    assert await trio.to_thread.run_sync(pop.stop) == 0
