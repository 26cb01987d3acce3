"""AXFR(m) + IXFR(m→n) = AXFR(n), through real messages that dnspython reads, against naive dictionaries."""

import attrs
import dns.exception
import dns.flags
import dns.message
import dns.name
import dns.rdata
import dns.rdataclass
import dns.rdatatype
import dns.xfr
import dns.zone
import pytest
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule

import tapir.zone.chunk
import tapir.zone.replies
import tapir.zone.version
from tapir.codec.passed import between, make
from tapir.codec.rpz import action_of
from tapir.model.actions import Action
from tapir.model.blocks import RecordBlock, RecordDelta, VersionDelta
from tapir.model.names import Name, parse_name
from tapir.zone.answers import answer
from tapir.zone.difference import difference
from tapir.zone.errors import ZoneError
from tapir.zone.journal import Journal
from tapir.zone.query import NoReply
from tapir.zone.replies import TCP, UDP, Reply, TransferReply
from tapir.zone.serial import compare, next_serial
from tapir.zone.settings import ZoneSettings
from tapir.zone.version import ZoneVersion
from tapir.zone.view import ZoneView

ORIGIN = dns.name.from_text("rpz.example.")
SETTINGS = ZoneSettings(name=parse_name("rpz.example"), redirect=parse_name("garden.example"))
SECOND = 1_000_000
SAID = [action for action in Action if action is not Action.NONE]
POOL = [
    parse_name(text)
    for i in range(9)
    for text in (f"n{i}.example", f"*.n{i}.example", f"{'long' * 12}{i}.below.n{i}.example", f"single{i}")
]
PASSED = [
    make(parse_name(owner), rdtype, 60, rdata)
    for owner in ("data0", "*.data0", "data1.deep.example", "32.1.2.0.192.rpz-ip", "below.n1.example")
    for rdtype, rdata in ((1, b"\xc0\0\2\1"), (1, b"\xc0\0\2\2"), (16, b"\x28" + b"t" * 40))
]


def make_query(rdtype, *, serial=None, edns=True, text="rpz.example."):
    query = dns.message.make_query(text, rdtype, use_edns=edns, payload=4096)
    if serial is not None:
        soa = query.find_rrset(query.authority, ORIGIN, dns.rdataclass.IN, dns.rdatatype.SOA, create=True)
        soa.add(dns.rdata.from_text("IN", "SOA", f". . {serial} 0 0 0 0"))
    return query


def ask(query, view, transport=TCP):
    """Our answer, and its messages as dnspython reads them."""
    reply = answer(query.to_wire(), settings=view.settings, view=view, transport=transport, allowed=lambda kind: True)
    assert not isinstance(reply, NoReply)
    assert not isinstance(reply, Reply) or reply.refusal is None
    wires = list(reply) if isinstance(reply, TransferReply) else [reply.wire]
    one_by_one = query.question[0].rdtype == dns.rdatatype.IXFR
    messages = [dns.message.from_wire(wire, xfr=True, origin=ORIGIN, one_rr_per_rrset=one_by_one) for wire in wires]
    assert all(query.is_response(message) or not message.question for message in messages)
    assert all(message.edns == query.edns for message in messages)
    return reply, messages


def copy_of(content, passed, serial):
    """A secondary's zone in dnspython that holds `content` and what is `passed` through."""
    zone = dns.zone.Zone(ORIGIN)
    version = ZoneVersion.build(SETTINGS, serial, RecordBlock.of(content.items()), passed=passed)
    take(zone, make_query("AXFR"), ask(make_query("AXFR"), ZoneView(version=version))[1], None)
    return zone


def take(zone, query, messages, serial, *, is_udp=False):
    """Let dnspython's secondary take a transfer into `zone`."""
    with dns.xfr.Inbound(zone, query.question[0].rdtype, serial=serial, is_udp=is_udp) as inbound:
        done = [inbound.process_message(message) for message in messages]
    assert done == [False] * (len(messages) - 1) + [True]


def content_of(zone):
    """The serial, the rules and what is passed through that a secondary holds; all else must be the apex."""
    rules = {}
    passed = set()
    serial = None
    for name, ttl, rdata in zone.iterate_rdatas():
        if rdata.rdtype in {dns.rdatatype.A, dns.rdatatype.TXT}:
            owner = name.derelativize(ORIGIN).relativize(ORIGIN).concatenate(dns.name.root)
            passed.add(make(Name(owner.to_wire()), rdata.rdtype, ttl, rdata.to_wire()))
            continue
        assert ttl == 3600
        if rdata.rdtype == dns.rdatatype.SOA:
            serial = rdata.serial
        elif rdata.rdtype == dns.rdatatype.CNAME:
            owner = name.derelativize(ORIGIN).relativize(ORIGIN).concatenate(dns.name.root)
            rules[owner.to_wire()] = action_of(rdata.target.derelativize(dns.name.root).to_wire())
        else:
            assert rdata.rdtype == dns.rdatatype.NS
    assert len(zone.get_rdataset("@", "NS")) == 2
    return serial, rules, passed


class Transfers(RuleBasedStateMachine):
    """A zone through its life; after each step every secondary that ever took a version comes for the next one.

    `past` is the naive oracle: the content of every serial that still means one content.
    """

    @initialize(
        serial=st.sampled_from([1, 0, 7, 2**31 - 3, 2**31, 2**32 - 3, 2**32 - 1]),
        content=st.dictionaries(st.sampled_from(POOL), st.sampled_from(SAID), max_size=36),
        passed=st.sets(st.sampled_from(PASSED), max_size=8),
    )
    def begin(self, serial, content, passed):
        self.patch = pytest.MonkeyPatch()
        for module, name, value in (
            (tapir.zone.chunk, "MAX_OCTETS", 240),
            (tapir.zone.chunk, "FILL_OCTETS", 200),
            (tapir.zone.version, "MIN_OCTETS", 80),
            (tapir.zone.replies, "TRANSFER_OCTETS", 500),
        ):
            self.patch.setattr(module, name, value)
        self.now = 0
        version = ZoneVersion.build(SETTINGS, serial, RecordBlock.of(content.items()), passed=passed)
        self.view = ZoneView(version=version)
        self.content = content
        self.passed = passed
        self.past = {serial: (content, passed)}
        self.reachable = []
        """serials that the journal must reach, oldest first, with the time of the step from them"""

    def teardown(self):
        if hasattr(self, "patch"):
            self.patch.undo()

    def publish(self, content, delta, serial, passed=None):
        self.passed = self.passed if passed is None else passed
        old = self.view.version
        step = VersionDelta(from_serial=old.serial, to_serial=serial, at=self.now, delta=delta)
        self.view = ZoneView(version=old.successor(delta, serial), journal=self.view.journal.append(step))
        self.content = content
        if compare(serial, old.serial) != 1:
            self.past = {}
            self.reachable = []
        else:
            self.reachable.append((old.serial, self.now))
            self.reachable = [one for one in self.reachable if compare(serial, one[0]) == 1]
            self.past = {one: held for one, held in self.past.items() if compare(serial, one) == 1}
        self.past[serial] = content, self.passed

    @rule(
        gone=st.sets(st.sampled_from(POOL), max_size=12),
        new=st.dictionaries(st.sampled_from(POOL), st.sampled_from(SAID), max_size=12),
        jump=st.sampled_from([0, 0, 0, 1, 2**30, 2**31 - 2]),
        passed=st.one_of(st.none(), st.sets(st.sampled_from(PASSED), max_size=8)),
    )
    def change(self, gone, new, jump, passed):
        content = {name: action for name, action in self.content.items() if name not in gone} | new
        delta = difference(self.view.version, RecordBlock.of(content.items()))
        if passed is not None:
            change = between(self.view.version.passed.records, sorted(passed))
            delta = RecordDelta(removed=delta.removed, added=delta.added, passed=change)
        serial = (next_serial(self.view.serial) + jump) % 2**32 or 1
        self.publish(content, delta, serial, passed)

    @rule(name=st.sampled_from(POOL), action=st.sampled_from(SAID))
    def add_and_take_back(self, name, action):
        before = self.content.get(name)
        if before is action:
            return
        held = {name: before} if before is not None else {}
        there = RecordBlock.of(held.items())
        other = RecordBlock.of([(name, action)])
        middle = self.content | {name: action}
        self.publish(middle, RecordDelta(removed=there, added=other), next_serial(self.view.serial))
        back = {one: said for one, said in middle.items() if one != name} | held
        self.publish(back, RecordDelta(removed=other, added=there), next_serial(self.view.serial))

    @rule(serial=st.one_of(st.integers(0, 2**32 - 1), st.sampled_from([0, 1, 2**31, 2**32 - 1])))
    def set_serial(self, serial):
        if serial != self.view.serial:
            self.publish(self.content, RecordDelta(), serial)

    @rule(step=st.sampled_from([-1, 1, 2, 2**31 - 1, 2**31, 2**31 + 1]))
    def set_serial_near(self, step):
        self.publish(self.content, RecordDelta(), (self.view.serial + step) % 2**32)

    @rule(deltas=st.integers(1, 6), octets=st.sampled_from([300, 1_500, 10**6]), age=st.integers(1, 10))
    def prune(self, deltas, octets, age):
        limits = attrs.evolve(SETTINGS, journal_max_deltas=deltas, journal_max_octets=octets, journal_max_age=age)
        journal = self.view.journal.prune(limits, now=self.now)
        assert len(journal) <= deltas
        assert journal.octets <= octets or not journal.steps
        kept = self.reachable[len(self.reachable) - len(journal) :]
        assert all(at >= self.now - age * SECOND for _, at in kept)
        if octets == 10**6:
            wanted = [one for one in self.reachable[-deltas:] if one[1] >= self.now - age * SECOND]
            assert kept == wanted
        self.reachable = kept
        self.view = ZoneView(version=self.view.version, journal=journal)

    @rule(seconds=st.integers(1, 5))
    def wait(self, seconds):
        self.now += seconds * SECOND

    @rule()
    def restart(self):
        """The state comes back from its stored form."""
        old = self.view.version
        version = ZoneVersion.build(SETTINGS, self.view.serial, old.records(), passed=reversed(old.passed.records))
        assert version.passed.records == old.passed.records
        self.view = ZoneView(version=version, journal=Journal.of(self.view.journal))

    @invariant()
    def the_whole_zone_is_the_content(self):
        query = make_query("AXFR", text="rPz.ExamplE.")
        zone = dns.zone.Zone(ORIGIN)
        reply, messages = ask(query, self.view)
        take(zone, query, messages, None)
        assert content_of(zone) == (self.view.serial, self.content, self.passed)
        assert not reply.incremental
        assert sum(len(wire) for wire in reply) >= reply.octets

    @invariant()
    def a_secondary_of_any_serial_ends_with_the_same_zone(self):
        reachable = {serial for serial, _ in self.reachable}
        assert {step.from_serial for step in self.view.journal} == reachable
        for serial, (held, passed) in self.past.items():
            query = make_query("IXFR", serial=serial)
            reply, messages = ask(query, self.view)
            if serial == self.view.serial:
                assert isinstance(reply, Reply)
                assert len(messages[0].answer) == 1
                continue
            net = sum((self.content.get(name) != said) for name, said in held.items())
            net += sum((held.get(name) != said) for name, said in self.content.items())
            net += len(passed ^ self.passed)
            assert isinstance(reply, TransferReply)
            if reply.incremental:
                assert serial in reachable
                assert sum(len(message.answer) for message in messages) == net + 4
                assert reply.octets <= self.view.version.octets
            elif serial in reachable:
                known = self.view.difference_from(serial)
                assert known is not None
                assert known.octets > self.view.version.octets
            zone = copy_of(held, passed, serial)
            take(zone, query, messages, serial)
            assert content_of(zone) == (self.view.serial, self.content, self.passed)

    @invariant()
    def a_datagram_holds_the_difference_or_sends_to_tcp(self):
        for serial, (held, passed) in [*self.past.items()][-4:]:
            for edns in (True, False):
                query = make_query("IXFR", serial=serial, edns=edns)
                reply, [message] = ask(query, self.view, UDP)
                room = 1232 if edns else 512
                assert isinstance(reply, Reply)
                assert len(reply.wire) <= room
                assert not message.flags & dns.flags.TC
                if len(message.answer) > 1:
                    zone = copy_of(held, passed, serial)
                    take(zone, query, [message], serial, is_udp=True)
                    assert content_of(zone) == (self.view.serial, self.content, self.passed)
                    continue
                assert message.answer[0][0].serial == self.view.serial
                if serial != self.view.serial:
                    known = self.view.difference_from(serial)
                    assert known is None or known.octets > room - 12 - 17 - 11
                    with pytest.raises(dns.xfr.UseTCP):
                        take(copy_of(held, passed, serial), query, [message], serial, is_udp=True)

    @invariant()
    def a_secondary_that_is_ahead_gets_one_soa(self):
        for ahead in (1, 2**31 - 1):
            serial = (self.view.serial + ahead) % 2**32
            reply, [message] = ask(make_query("IXFR", serial=serial), self.view)
            assert isinstance(reply, Reply)
            assert [rrset[0].serial for rrset in message.answer] == [self.view.serial]


TestTransfers = Transfers.TestCase
TestTransfers.settings = hypothesis_settings(
    max_examples=hypothesis_settings().max_examples // 4, stateful_step_count=12
)


# -- real sizes


def zone_of(count, *, octets=0):
    filler = "x" * octets
    return {parse_name(f"{filler}{i}.d{i % 97}.example"): SAID[i % len(SAID)] for i in range(count)}


@pytest.mark.parametrize(("count", "octets"), [(0, 0), (1, 0), (400, 0), (3_000, 0), (600, 58)])
def test_messages_are_cut_by_octets(count, octets):
    content = zone_of(count, octets=octets)
    view = ZoneView(version=ZoneVersion.build(SETTINGS, 1, RecordBlock.of(content.items())))
    query = make_query("AXFR")
    reply, messages = ask(query, view)
    sizes = [len(wire) for wire in reply]
    assert max(sizes) <= 16 * 1024
    assert len(sizes) == 1 + reply.octets // (15 * 1024)
    zone = dns.zone.Zone(ORIGIN)
    take(zone, query, messages, None)
    assert content_of(zone) == (1, content, set())


def test_the_longest_names_and_question_stay_below_16_kib():
    label = b"\x3f" + b"a" * 63
    apex = Name(label * 3 + b"\x1d" + b"z" * 29 + b"\0")
    settings = ZoneSettings(name=apex, redirect=Name(label * 3 + b"\x3d" + b"r" * 61 + b"\0"))
    content = {parse_name(f"{i:05}abcdefghijklmnopqrst"): Action.REDIRECT for i in range(500)}
    version = ZoneVersion.build(settings, 1, RecordBlock.of(content.items()))
    query = dns.message.make_query(dns.name.from_wire(apex, 0)[0], "AXFR", use_edns=0)
    reply = answer(
        query.to_wire(), settings=settings, view=ZoneView(version=version), transport=TCP, allowed=lambda kind: True
    )
    assert isinstance(reply, TransferReply)
    wires = list(reply)
    assert max(map(len, wires)) <= 16 * 1024
    assert sum(len(dns.message.from_wire(wire, one_rr_per_rrset=True).answer) for wire in wires) == 504


def test_a_long_difference_is_cut_by_octets_too():
    old = zone_of(6_000)
    new = dict.fromkeys(zone_of(9000), Action.DROP)
    version = ZoneVersion.build(SETTINGS, 1, RecordBlock.of(old.items()))
    delta = difference(version, RecordBlock.of((name, a) for name, a in new.items()))
    step = VersionDelta(from_serial=1, to_serial=2, at=0, delta=delta)
    view = ZoneView(version=version.successor(delta, 2), journal=Journal.of([step]))
    made = view.difference_from(1)
    assert made is not None
    assert made is view.difference_from(1)
    assert max(len(body) for _, body in made.bodies) <= 15 * 1024
    assert made.octets > view.version.octets
    # Larger than the zone: the zone it is.
    assert not ask(make_query("IXFR", serial=1), view)[0].incremental
    assert repr(made) == f"<Difference 1→2, {len(delta)} changes>"


def test_a_transfer_can_be_made_again_and_says_what_it_is():
    view = ZoneView(version=ZoneVersion.build(SETTINGS, 9, RecordBlock.of(zone_of(50).items())))
    reply, _ = ask(make_query("AXFR"), view)
    assert list(reply) == list(reply.messages())
    assert repr(reply) == "<TransferReply AXFR None→9, whole zone>"
    assert (
        repr(view)
        == "<ZoneView <ZoneVersion rpz.example. serial 9, 50 records> <Journal None→None, 0 steps, 0 octets>>"
    )


def test_a_view_remembers_a_few_differences():
    steps = [VersionDelta(from_serial=i, to_serial=i + 1, at=0, delta=RecordDelta()) for i in range(1, 9)]
    view = ZoneView(version=ZoneVersion.build(SETTINGS, 9), journal=Journal.of(steps))
    made = {serial: view.difference_from(serial) for serial in range(1, 9)}
    assert [view.difference_from(serial) is made[serial] for serial in range(5, 9)] == [True] * 4
    assert view.difference_from(1) is not made[1]


def test_a_journal_that_leads_elsewhere_makes_no_view():
    journal = Journal.of([VersionDelta(from_serial=1, to_serial=2, at=0, delta=RecordDelta())])
    with pytest.raises(ZoneError, match="does not lead"):
        ZoneView(version=ZoneVersion.build(SETTINGS, 3), journal=journal)
