"""NOTIFY in: who may say that a feed has changed, what is answered, and what the feed's source is told of a storm."""

import logging
from collections import Counter
from ipaddress import ip_network
from typing import Any, Final

import dns.flags
import dns.message
import dns.name
import dns.opcode
import dns.rcode
import dns.rrset
import dns.tsig
import pytest
import trio
import trio.testing

from actors import Delivery
from tapir.codec.tsig import TsigKey
from tapir.model.messages.feeds import FeedNotified
from tapir.model.names import parse_name
from tapir.services.authority.access import AccessRule, Secured
from tapir.services.authority.feeds import PACE, Bell, FeedAccess
from tapir.services.authority.responder import KEY, Responder
from tapir.zone.query import QueryKind
from tapir.zone.replies import Reply
from tapir.zone.settings import ZoneSettings

OURS: Final = ZoneSettings(name=parse_name("rpz.test"))
FEED: Final = parse_name("feed.example")
PRIMARY: Final = "192.0.2.1"
SIGNER: Final = "192.0.2.2"
STRANGER: Final = "198.51.100.1"
SECRET: Final = TsigKey(name=parse_name("key.example"), algorithm="hmac-sha256", secret=bytes(32))
OTHER: Final = TsigKey(name=parse_name("other.example"), algorithm="hmac-sha256", secret=bytes(32))


def feed(source: str, *hosts: str, key: TsigKey | None = None) -> FeedAccess:
    label = f"sources.{source}"
    rule = AccessRule(
        label=label,
        networks=tuple(ip_network(host) for host in hosts),
        keys=frozenset({key.name} if key else ()),
        kinds=frozenset({QueryKind.NOTIFY}),
    )
    return FeedAccess(source=source, zone=FEED, label=label, rules=(rule,))


class Rig:
    """A responder, and what sources are told."""

    def __init__(self, *feeds: FeedAccess) -> None:
        self.told: list[tuple[str, FeedNotified]] = []
        self.responder = Responder(
            OURS,
            [AccessRule(label=KEY, networks=(ip_network("203.0.113.0/24"),))],
            keys=(SECRET, OTHER),
            feeds=feeds,
            log=logging.LoggerAdapter(logging.getLogger("test")),
            now=lambda: 1_700_000_000_000_000,
            seen=lambda _: None,
            notified=lambda source, said: self.told.append((source, said)),
        )

    def ask(self, host: str, wire: bytes) -> dns.message.Message:
        answer = self.responder.respond_datagram(wire, host)
        assert isinstance(answer, Reply)
        return dns.message.from_wire(answer.wire, keyring=False)

    def refused(self) -> dict[str, int]:
        return dict(self.responder.refusals)


def notify(
    zone: str = "feed.example", *, serial: int | None = None, key: TsigKey | None = None, rdtype: str = "SOA"
) -> bytes:
    message = dns.message.make_query(zone, rdtype, flags=dns.flags.AA)
    message.set_opcode(dns.opcode.NOTIFY)
    if serial is not None:
        message.answer.append(dns.rrset.from_text(f"{zone}.", 60, "IN", "SOA", f". . {serial} 1 1 1 1"))
    if key is not None:
        name = dns.name.from_wire(key.name, 0)[0]
        message.use_tsig(dns.tsig.Key(name, key.secret, key.algorithm))
    return message.to_wire()


@pytest.fixture
def frozen_time(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("time.time", lambda: 1_700_000_000.0)


@pytest.mark.parametrize("serial", [None, 0, 7, 2**32 - 1])
def test_a_primary_is_acknowledged_and_the_source_told(serial: int | None) -> None:
    rig = Rig(feed("first", PRIMARY))
    answer = rig.ask(PRIMARY, notify(serial=serial))
    assert (answer.opcode(), answer.rcode()) == (dns.opcode.NOTIFY, dns.rcode.NOERROR)
    assert answer.flags & (dns.flags.QR | dns.flags.AA) == dns.flags.QR | dns.flags.AA
    assert (len(answer.question), answer.answer) == (1, [])
    assert rig.told == [("first", FeedNotified(zone=FEED, serial=serial, primary=PRIMARY))]
    assert rig.responder.counters["NOTIFY"] == 1


def test_a_name_is_the_same_in_upper_case() -> None:
    rig = Rig(feed("first", PRIMARY))
    assert rig.ask(PRIMARY, notify("FEED.Example", serial=3)).rcode() == dns.rcode.NOERROR
    assert [said.serial for _, said in rig.told] == [3]


def test_a_hint_about_another_zone_is_none() -> None:
    rig = Rig(feed("first", PRIMARY))
    message = dns.message.from_wire(notify())
    message.answer.append(dns.rrset.from_text("other.example.", 60, "IN", "SOA", ". . 9 1 1 1 1"))
    rig.ask(PRIMARY, message.to_wire())
    assert [said.serial for _, said in rig.told] == [None]


def test_every_source_of_the_zone_that_takes_it_is_told() -> None:
    rig = Rig(feed("first", PRIMARY), feed("second", "192.0.2.0/24"), feed("third", STRANGER))
    assert rig.ask(PRIMARY, notify(serial=1)).rcode() == dns.rcode.NOERROR
    assert [source for source, _ in rig.told] == ["first", "second"]
    assert rig.ask(SIGNER, notify(serial=1)).rcode() == dns.rcode.NOERROR
    assert [source for source, _ in rig.told] == ["first", "second", "second"]


def test_strangers_are_refused_counted_and_told_of_once(caplog: pytest.LogCaptureFixture) -> None:
    rig = Rig(feed("first", PRIMARY))
    for _ in range(3):
        answer = rig.ask(STRANGER, notify(serial=1))
        assert (answer.rcode(), bool(answer.flags & dns.flags.AA)) == (dns.rcode.REFUSED, False)
    assert rig.refused() == {"notify-from": 3}
    assert rig.told == []
    assert caplog.text.count("refused NOTIFY from") == 1
    assert "it is no primary of sources.first, and not in its notify-from" in caplog.text


def test_who_may_ask_for_our_zone_may_not_notify_of_a_feed() -> None:
    rig = Rig(feed("first", PRIMARY))
    assert rig.ask("203.0.113.1", notify()).rcode() == dns.rcode.REFUSED
    assert rig.refused() == {"notify-from": 1}


@pytest.mark.usefixtures("frozen_time")
def test_where_there_is_a_key_it_must_be_that_one(caplog: pytest.LogCaptureFixture) -> None:
    rig = Rig(feed("signed", SIGNER, key=SECRET))
    assert rig.ask(SIGNER, notify(serial=1)).rcode() == dns.rcode.REFUSED
    assert "sources.signed wants it signed by the key key.example" in caplog.text
    answer = rig.ask(SIGNER, notify(serial=1, key=OTHER))
    assert (answer.rcode(), answer.had_tsig) == (dns.rcode.REFUSED, True)
    assert rig.refused() == {"notify-key": 2}
    wrong = TsigKey(name=SECRET.name, algorithm="hmac-sha256", secret=b"\1" * 32)
    assert rig.ask(SIGNER, notify(serial=1, key=wrong)).rcode() == dns.rcode.NOTAUTH
    assert rig.refused()["tsig-badsig"] == 1
    assert rig.told == []
    answer = rig.ask(SIGNER, notify(serial=1, key=SECRET))
    assert (answer.rcode(), answer.had_tsig) == (dns.rcode.NOERROR, True)
    assert [source for source, _ in rig.told] == ["signed"]


@pytest.mark.usefixtures("frozen_time")
def test_a_key_that_is_not_needed_does_no_harm() -> None:
    rig = Rig(feed("first", PRIMARY))
    assert rig.ask(PRIMARY, notify(key=OTHER)).rcode() == dns.rcode.NOERROR


@pytest.mark.parametrize(("host", "rcode"), [(PRIMARY, "REFUSED"), ("203.0.113.1", "NOTAUTH")])
def test_a_zone_that_nobody_transfers(host: str, rcode: str, caplog: pytest.LogCaptureFixture) -> None:
    rig = Rig(feed("first", PRIMARY))
    assert dns.rcode.to_text(rig.ask(host, notify("unknown.example")).rcode()) == rcode
    assert rig.told == []
    told = "refused NOTIFY from" in caplog.text and "no active source transfers unknown.example" in caplog.text
    assert told == (rcode == "REFUSED")


@pytest.mark.parametrize("rdtype", ["A", "AXFR", "NS"])
def test_notify_is_about_soa(rdtype: str) -> None:
    rig = Rig(feed("first", PRIMARY))
    assert rig.ask(PRIMARY, notify(rdtype=rdtype)).rcode() == dns.rcode.FORMERR
    assert rig.told == []


def test_a_query_for_a_feeds_zone_is_none_of_the_feeds() -> None:
    rig = Rig(feed("first", PRIMARY))
    assert rig.ask(PRIMARY, dns.message.make_query("feed.example", "SOA").to_wire()).rcode() == dns.rcode.REFUSED
    assert rig.refused() == {"acl": 1}


def test_edns_of_the_future_is_told_so() -> None:
    rig = Rig(feed("first", PRIMARY))
    message = dns.message.from_wire(notify())
    message.use_edns(1)
    assert rig.ask(PRIMARY, message.to_wire()).rcode() == dns.rcode.BADVERS
    assert rig.told == []


def test_a_reload_changes_who_may() -> None:
    rig = Rig(feed("first", PRIMARY))
    assert rig.responder.covers(PRIMARY)
    rig.responder.configure([], (), [feed("first", STRANGER)])
    assert not rig.responder.covers(PRIMARY, secured=Secured.CLIENT_CERTIFICATE)
    assert rig.ask(PRIMARY, notify()).rcode() == dns.rcode.REFUSED
    assert rig.ask(STRANGER, notify()).rcode() == dns.rcode.NOERROR


# -- the bell


class Source:
    """Stands in for a source's ref: takes all, or as many as `room`."""

    def __init__(self, *answers: Delivery) -> None:
        self.answers = list(answers)
        self.told: list[tuple[float, int | None]] = []

    def tell_nowait(self, said: FeedNotified) -> Delivery:
        delivery = self.answers.pop(0) if self.answers else Delivery.DELIVERED
        if delivery is Delivery.DELIVERED:
            self.told.append((round(trio.current_time(), 3), said.serial))
        return delivery


def said(serial: int | None) -> FeedNotified:
    return FeedNotified(zone=FEED, serial=serial, primary=PRIMARY)


def bell(**sources: Source) -> tuple[Bell, Counter[str]]:
    counters: Counter[str] = Counter()
    refs: dict[str, Any] = dict(sources)
    return Bell(refs.__getitem__, counters), counters


async def test_the_first_is_told_at_once_and_the_rest_of_a_storm_as_one(
    autojump_clock: trio.testing.MockClock, nursery: trio.Nursery
) -> None:
    one, two = Source(), Source()
    rung, counters = bell(one=one, two=two)
    start = trio.current_time()
    nursery.start_soon(rung.run)
    rung.ring("one", said(1))
    await trio.testing.wait_all_tasks_blocked()
    for serial in range(2, 10_000):
        rung.ring("one", said(serial))
    rung.ring("two", said(5))
    await trio.sleep(1)
    assert [(round(at - start, 3), serial) for at, serial in one.told] == [(0, 1), (PACE, 9_999)]
    assert [serial for _, serial in two.told] == [5]
    assert counters == {"notify_told": 3, "notify_merged": 9_997}
    nursery.cancel_scope.cancel()


@pytest.mark.parametrize(
    ("serials", "told"),
    [([5, 3], 5), ([2**32 - 1, 0], 0), ([5, None, 6], None), ([None, 4], None), ([1, 2**31 + 1], 2**31 + 1)],
)
async def test_of_several_the_one_that_says_most_is_told(
    autojump_clock: trio.testing.MockClock,
    nursery: trio.Nursery,
    serials: list[int | None],
    told: int | None,
) -> None:
    source = Source()
    rung, _ = bell(one=source)
    for serial in serials:
        rung.ring("one", said(serial))
    nursery.start_soon(rung.run)
    await trio.sleep(1)
    assert [serial for _, serial in source.told] == [told]
    nursery.cancel_scope.cancel()


@pytest.mark.parametrize("delivery", [Delivery.FULL, Delivery.REJECTED, Delivery.DROPPED])
async def test_a_full_mailbox_is_tried_again(
    autojump_clock: trio.testing.MockClock, nursery: trio.Nursery, delivery: Delivery
) -> None:
    source = Source(delivery, delivery)
    rung, counters = bell(one=source)
    rung.ring("one", said(1))
    nursery.start_soon(rung.run)
    await trio.sleep(1)
    assert [serial for _, serial in source.told] == [1]
    assert counters == {"notify_told": 1, "notify_untold": 2}
    nursery.cancel_scope.cancel()


async def test_who_is_gone_is_not_told(autojump_clock: trio.testing.MockClock, nursery: trio.Nursery) -> None:
    gone, left = Source(Delivery.DEAD), Source()
    rung, counters = bell(gone=gone, left=left)
    rung.ring("gone", said(1))
    rung.ring("left", said(1))
    rung.forget_all_but(frozenset({"gone"}))
    nursery.start_soon(rung.run)
    await trio.sleep(1)
    assert (gone.told, left.told) == ([], [])
    assert counters == {"notify_untold": 1}
    nursery.cancel_scope.cancel()
