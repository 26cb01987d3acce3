"""What observations mean, by hand and over the wire: each rule of the format, said to a POP that runs."""

import json
import time
from collections.abc import AsyncIterator, Callable
from typing import Any

import attrs
import pytest
import trio
from mosquitto import Broker
from observed_pop import SOON, configure, core, counters, mqtt, publish_all, status, until
from observing import CORE, LIST, OTHER, SECOND, signed
from peers import Pop

from tapir.codec.rfc3339 import format_time
from tapir.transport.mqtt.client import MqttClient

TOPICS = {"core": "obs/shared", "denied": "obs/deny", "allowed": "obs/shared"}
LISTS = {"core": (LIST, "doubtlist"), "denied": ("denied", "denylist"), "allowed": ("allowed", "allowlist")}


def domain(name: str, at: int | None, ttl: int = 3600, *, spelled: str = "name", **more: Any) -> dict[str, Any]:
    entry = {spelled: name, "ttl": ttl, "tag_mask": 7, "extended_tags": [], **more}
    return entry if at is None else {**entry, "time_added": format_time(at)}


def message(source: str, at: int, added: list[Any] | None = None, removed: list[Any] | None = None) -> bytes:
    name, kind = LISTS[source]
    return json.dumps(
        {
            "src_name": name,
            "creator": "hand",
            "msg_type": "observation",
            "list_type": kind,
            "added": added,
            "removed": removed,
            "msg": "",
            "timestamp": format_time(at),
            "time_str": "",
            "message_id": "5e0b8b0e-0000-4000-8000-000000000000",
        }
    ).encode()


@attrs.define(kw_only=True)
class Hand:
    """Core, played by hand."""

    pop: Pop
    client: MqttClient
    start: int

    def at(self, seconds: float) -> int:
        """So long after the beginning."""
        return self.start + round(seconds * SECOND)

    async def say(self, data: bytes, source: str = "core", *, key: Any = CORE, **keys: Any) -> dict[str, int]:
        """Publish it; returns by how much the counters of the source went up."""
        before = await trio.to_thread.run_sync(counters, self.pop, source)
        publication = await self.client.submit(TOPICS[source], signed(data, key), **keys)
        await publication.wait_acknowledged()
        await until(lambda: counters(self.pop, source)["messages"] > before["messages"], "the message")
        after = await trio.to_thread.run_sync(counters, self.pop, source)
        return dict(after - before)

    async def zone(self, wanted: dict[str, str]) -> None:
        try:
            await until(lambda: self.pop.axfr()[1] == wanted, "the zone", 20)
        except BaseException:
            print(f"is {self.pop.axfr()[1]}, wanted {wanted}")
            raise


@pytest.fixture
async def hand(make_broker: Callable[..., Broker], pop: Pop) -> AsyncIterator[Hand]:
    broker = make_broker()
    await broker.start()
    configure(pop, f"mqtt://127.0.0.1:{broker.port}", CORE, OTHER, mqtt={"qos": 0}, signers=["core"])
    template = pop.sources.pop("core")
    for source, topic in TOPICS.items():
        name, kind = LISTS[source]
        pop.sources[source] = {**template, "name": name, "type": kind, "topic": topic}
    del pop.sources["denied"]["signers"]
    pop.extra["services"] = {
        "rpz": {"zonename": "dnstapir.", "serialcache": str(pop.directory / "rpz-serial.yaml")},
        "reaper": {"interval": 1},
        "refreshengine": {"active": True},
    }
    async with core(broker.port) as client:
        await publish_all(client, [])
        kept = message("core", 0, [domain("retained.example", time.time_ns() // 1000)])
        await client.publish(TOPICS["core"], signed(kept), retain=True)
        await trio.to_thread.run_sync(pop.start)
        await until(lambda: mqtt(pop)["state"] == "connected", "the session")
        yield Hand(pop=pop, client=client, start=time.time_ns() // 1000 - 60 * SECOND)
        await trio.to_thread.run_sync(pop.stop)


async def test_the_rules_of_the_format(hand: Hand) -> None:
    at, say, zone = hand.at, hand.say, hand.zone
    await zone({"retained.example.": "NXDOMAIN"})  # it was there before us

    # Spellings: no dot, a dot, any case, the Go library's key, and no `alg` in the keystore's keys.
    found = await say(
        message(
            "core",
            at(0),
            [
                domain("One.Example", at(0)),
                domain("TWO.example.", at(0)),
                domain("three.example", at(0), spelled="Name"),
            ],
        )
    )
    assert found == {"messages": 1, "added": 3}
    rules = dict.fromkeys(("retained.example.", "one.example.", "two.example.", "three.example."), "NXDOMAIN")
    await zone(rules)

    # A removal, the addition replayed, another addition of before, and one of after.
    one = message("core", at(1), [domain("one.example", at(0.5))])
    assert await say(message("core", at(2), None, [domain("ONE.example.", at(2))])) == {"messages": 1, "removed": 1}
    assert await say(one) == {"messages": 1, "stale": 1}
    assert await say(one) == {"messages": 1, "duplicate": 1}
    del rules["one.example."]
    await zone(rules)
    assert await say(message("core", at(3), [domain("one.example", at(3))])) == {"messages": 1, "added": 1}
    rules["one.example."] = "NXDOMAIN"
    await zone(rules)

    # Both in one message: what it also removes it removes.
    both = message(
        "core", at(4), [domain("four.example", at(4)), domain("two.example", at(4))], [domain("two.example", None)]
    )
    assert await say(both) == {"messages": 1, "added": 1, "removed": 1}
    del rules["two.example."]
    rules["four.example."] = "NXDOMAIN"
    await zone(rules)

    # Over at once: no time at all, no time said, a time that is over. Not refused: counted.
    for name, entry in (("five", domain("five.example", at(4), 0)), ("six", domain("six.example", None))):
        assert await say(message("core", at(5), [entry])) == {"messages": 1, "expired": 1}, name
    # As new as what is held, and over: it ends it, as it would have in time.
    assert await say(message("core", at(5), [domain("four.example", at(4), 0)])) == {"messages": 1, "expired": 1}
    del rules["four.example."]
    await zone(rules)
    # What nobody can have seen yet counts as it stands; only what is as new as that removes it.
    far = at(86_400 * 3650)
    assert await say(message("core", at(6), [domain("far.example", far)])) == {"messages": 1, "added": 1}
    assert await say(message("core", at(7), None, [domain("far.example", None)])) == {"messages": 1, "stale": 1}
    assert await say(message("core", far, None, [domain("far.example", None)])) == {"messages": 1, "removed": 1}
    # Old is no reason: what holds still is taken, whenever it was observed.
    old = message("core", at(8), [domain("old.example", at(-86_400 * 300), 86_400 * 301)])
    assert await say(old) == {"messages": 1, "added": 1}
    rules["old.example."] = "NXDOMAIN"
    await zone(rules)

    # One that holds for ever, for all that a calendar knows, is shown all the same.
    ever = message("core", at(8.5), [domain("ever.example", at(8.5), 1 << 62)])
    assert await say(ever) == {"messages": 1, "added": 1}
    rules["ever.example."] = "NXDOMAIN"
    await zone(rules)
    assert "no time of this calendar" in hand.pop.command("explain", "ever.example").stdout
    for words in (("explain", "ever.example", "--json"), ("sources",), ("names", "core"), ("status",)):
        hand.pop.command(*words)

    # Who may sign for which.
    assert await say(message("core", at(9), [domain("x.example", at(9))]), key=OTHER) == {
        "messages": 1,
        "key-not-allowed": 1,
    }
    assert await say(message("denied", at(9), [domain("bad.example", at(9))]), "denied", key=OTHER) == {
        "messages": 1,
        "added": 1,
    }
    rules["bad.example."] = "NXDOMAIN"
    await zone(rules)
    # The list says which one it is, and the topic does not.
    assert await say(message("denied", at(9), [domain("y.example", at(9))])) == {"messages": 1, "wrong-list": 1}

    # A list that allows, by MQTT, too; and of two lists on one topic each takes what is for it.
    assert await say(message("allowed", at(9), [domain("bad.example", at(9))])) == {"messages": 1, "other-list": 1}
    await until(lambda: counters(hand.pop, "allowed")["added"] == 1, "what is allowed")
    assert counters(hand.pop, "allowed")["wrong-list"] == 1, "what is for the list of another topic"
    del rules["bad.example."]
    await zone(rules)

    # Each end as it was said last, sooner or later.
    now = time.time_ns() // 1000
    for name, first, then in (("sooner", 3600, 12), ("later", 12, 3600)):
        await say(message("core", now, [domain(f"{name}.example", now, first)]))
        await say(message("core", now + 1, [domain(f"{name}.example", now + 1, then)]))
    rules |= {"sooner.example.": "NXDOMAIN", "later.example.": "NXDOMAIN"}
    explained = json.loads(hand.pop.command("explain", "sooner.example", "--json").stdout)
    hit = next(hit for hit in explained["hits"] if hit["source"] == "core")
    assert hit["expires"] == now + 1 + 12 * SECOND, dict(hit)
    assert "expires" in hand.pop.command("explain", "later.example").stdout
    del rules["sooner.example."]
    await zone(rules)

    # A restart knows all of it: the retained message comes again, and is nothing new; a replay stays one.
    serial = hand.pop.serial()
    await trio.to_thread.run_sync(hand.pop.stop)
    await trio.to_thread.run_sync(hand.pop.start)
    await until(lambda: mqtt(hand.pop)["state"] == "connected", "the session")
    assert await say(one) == {"messages": 1, "duplicate": 1}
    assert await say(message("core", at(1), [domain("two.example", at(0.6))])) == {"messages": 1, "stale": 1}
    assert hand.pop.axfr()[1] == rules
    assert hand.pop.serial() == serial


async def test_quality_of_service_and_takeovers_are_said(hand: Hand, make_pop: Callable[..., Pop]) -> None:
    pop = hand.pop
    assert pop.daemon is not None
    # One notice a start, for 0 that is made 1.
    assert pop.daemon.output().count("so 1 is used, and nothing is lost") == 1
    assert {topic["qos"] for topic in mqtt(pop)["topics"]} == {1}
    # Somebody with a copy of our state folder.
    copied = MqttClient(
        attrs.evolve(hand.client._settings, client_id=mqtt(pop)["client_id"], backoff=SOON),
        dial=hand.client._dial,
        random=hand.client._random,
    )
    async with trio.open_nursery() as nursery:
        nursery.start_soon(copied.run)
        await until(lambda: "client identifier" in mqtt(pop)["trouble"], "the name of the trouble", 60)
        nursery.cancel_scope.cancel()
    # That it connects by itself again, after a pause, is tried elsewhere.
    assert "client identifier" in pop.daemon.output()
    await trio.to_thread.run_sync(pop.stop)
    # QoS 0 where it is wanted, and said.
    del pop.extra["tapir"]["mqtt"]["qos"]
    pop.extra["tapir"]["mqtt"]["at-most-once"] = True
    seen = len(pop.daemon.output())
    await trio.to_thread.run_sync(pop.start)
    await until(lambda: mqtt(pop)["state"] == "connected", "the session", 60)
    assert {topic["qos"] for topic in mqtt(pop)["topics"]} == {0}
    assert "so 1 is used" not in pop.daemon.output()[seen:]
    assert (await hand.say(message("core", hand.at(1), [domain("zero.example", hand.at(1))])))["added"] == 1
    assert status(pop)["entries"] == 2
