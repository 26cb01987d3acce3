"""NOTIFY and the standing of secondaries, on the virtual clock, with a transport that the test answers for."""

import itertools
import logging
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Any

import attrs
import pytest
import trio
from dns import flags, message, opcode, rcode, rrset, tsig
from dns import name as dns_name
from trio.testing import MockClock, wait_all_tasks_blocked

from actors import ActorRef, ActorSpec, ActorSystem, ManualClock, Strategy, SupervisorSpec, SystemSettings
from actors.testing import probe, run_system
from tapir.codec.tsig import Rejected, TsigError, TsigKey, encode_rejection, find_tsig, seal
from tapir.model.blocks import EMPTY_RECORDS
from tapir.model.messages.zone import GetSecondaries, SecondaryStatus
from tapir.model.names import parse_name
from tapir.services.authority.messages import GetView, Publish, SecondarySeen
from tapir.services.authority.notifier import MAILBOX, ConfigureNotifier, Notifier, NotifierSettings
from tapir.zone.settings import ZoneSettings
from tapir.zone.version import ZoneVersion
from tapir.zone.view import ZoneView

ONE = ("192.0.2.1", 53)
TWO = ("2001:db8::2", 5353)
ZONE = ZoneSettings(name=parse_name("rpz.test"))


def view(serial: int) -> ZoneView:
    return ZoneView(version=ZoneVersion.build(ZONE, serial, EMPTY_RECORDS))


def acknowledge(wire: bytes) -> bytes:
    return message.make_response(message.from_wire(wire)).to_wire()


def refuse(wire: bytes) -> bytes:
    response = message.make_response(message.from_wire(wire))
    response.set_rcode(rcode.REFUSED)
    return response.to_wire()


class Network:
    """What was sent to whom and when, and what each address answers: octets, an error, or None for silence."""

    def __init__(self) -> None:
        self.sent: list[tuple[float, tuple[str, int], int]] = []
        self.looked: list[tuple[float, tuple[str, int]]] = []
        self.has: dict[tuple[str, int], int] = {}
        self.answers: dict[tuple[str, int], Callable[[bytes], bytes | None]] = {}

    async def exchange(self, address: tuple[str, int], octets: bytes, *, is_answer: Callable[[bytes], bool]) -> bytes:
        notify = message.from_wire(octets)
        if notify.opcode() == opcode.QUERY:
            return await self._ask_soa(address, notify, is_answer)
        assert notify.opcode() == opcode.NOTIFY
        assert notify.flags & flags.AA
        serial = notify.answer[0][0].serial
        self.sent.append((trio.current_time(), address, serial))
        await trio.lowlevel.checkpoint()
        answer = self.answers.get(address, acknowledge)(octets)
        if answer is not None and is_answer(answer):
            return answer
        await trio.sleep_forever()
        raise AssertionError

    async def _ask_soa(
        self, address: tuple[str, int], query: message.Message, is_answer: Callable[[bytes], bool]
    ) -> bytes:
        """The zone at `address`, where `has` says that there is one."""
        assert not query.flags & flags.RD
        self.looked.append((trio.current_time(), address))
        await trio.lowlevel.checkpoint()
        response = message.make_response(query)
        if address in self.has:
            response.flags |= flags.AA
            soa = f"mname. hostmaster.test. {self.has[address]} 1 1 1 1"
            response.answer.append(rrset.from_text("rpz.test.", 60, "IN", "SOA", soa))
        else:
            response.set_rcode(rcode.REFUSED)
        octets = response.to_wire()
        assert is_answer(octets)
        assert not is_answer(bytes([octets[0] ^ 1]) + octets[1:])
        return octets

    def serials(self, address: tuple[str, int]) -> list[int]:
        return [serial for _, to, serial in self.sent if to == address]


@attrs.frozen(kw_only=True)
class Rig:
    network: Network
    notifier: ActorRef[Any]

    async def statuses(self) -> dict[str, SecondaryStatus]:
        statuses = await self.notifier.ask(GetSecondaries())
        return {status.address: status for status in statuses}

    async def publish(self, serial: int) -> None:
        await self.notifier.tell(Publish(view=view(serial)))


@asynccontextmanager
async def running(
    *downstreams: tuple[str, int], present: int | None = 5, network: Network | None = None, **fields: Any
) -> AsyncIterator[Rig]:
    network = network or Network()
    system = ActorSystem(clock=ManualClock(), settings=SystemSettings(seed=0))
    keeper = probe({GetView: view(present) if present is not None else None})
    settings = NotifierSettings(downstreams=downstreams, **fields)

    def make() -> Notifier:
        return Notifier(settings, keeper=system.ref("keeper"), transport=network)

    notifier = ActorSpec(name="notifier", factory=make, mailbox=MAILBOX)
    tree = SupervisorSpec(name="test", strategy=Strategy.ONE_FOR_ONE, children=(keeper.spec("keeper"), notifier))
    async with run_system(tree, system=system):
        yield Rig(network=network, notifier=system.ref("notifier"))


async def test_the_start_is_told_and_acknowledged(autojump_clock: MockClock) -> None:
    async with running(ONE, TWO) as rig:
        await wait_all_tasks_blocked()
        assert {(address, serial) for _, address, serial in rig.network.sent} == {(ONE, 5), (TWO, 5)}
        statuses = await rig.statuses()
        assert list(statuses) == ["192.0.2.1:53", "[2001:db8::2]:5353"]
        assert {(status.notify_state, status.notify_serial) for status in statuses.values()} == {("acknowledged", 5)}


async def test_without_a_version_there_is_nothing_to_tell(autojump_clock: MockClock) -> None:
    async with running(ONE, present=None) as rig:
        await wait_all_tasks_blocked()
        assert rig.network.sent == []
        assert (await rig.statuses())["192.0.2.1:53"].notify_state == ""
        await rig.publish(1)
        await wait_all_tasks_blocked()
        assert rig.network.serials(ONE) == [1]


async def test_silence_is_met_with_patience_then_given_up(
    autojump_clock: MockClock, caplog: pytest.LogCaptureFixture
) -> None:
    network = Network()
    network.answers[ONE] = lambda _: None
    async with running(ONE, network=network, timeout=3, retries=(1, 2, 4)) as rig:
        await wait_all_tasks_blocked()
        assert (await rig.statuses())["192.0.2.1:53"].notify_state == "waiting"
        await trio.sleep(3)
        await wait_all_tasks_blocked()
        assert (await rig.statuses())["192.0.2.1:53"].notify_state == "waiting: no answer within 3 s"
        await trio.sleep(100)
        began = network.sent[0][0]
        # Each try takes its three seconds, then comes the pause.
        assert [at - began for at, _, _ in network.sent] == pytest.approx([0, 4, 9, 16])
        status = (await rig.statuses())["192.0.2.1:53"]
        assert status.notify_state == "failed: no answer within 3 s"
        # With the next version it begins again, and is well when it answers.
        del network.answers[ONE]
        await rig.publish(6)
        await wait_all_tasks_blocked()
        status = (await rig.statuses())["192.0.2.1:53"]
        assert (status.notify_state, status.notify_serial) == ("acknowledged", 6)
    assert caplog.text.count("NOTIFY of serial 5 to 192.0.2.1:53") == 1


async def test_a_dead_downstream_delays_nobody(autojump_clock: MockClock) -> None:
    network = Network()
    network.answers[ONE] = lambda _: None
    async with running(ONE, TWO, network=network) as rig:
        for serial in range(6, 16):
            await rig.publish(serial)
            await wait_all_tasks_blocked()
        assert network.serials(TWO) == list(range(5, 16))


async def test_a_dead_downstream_is_told_at_most_once_a_second_and_of_the_latest(autojump_clock: MockClock) -> None:
    network = Network()

    def nobody(_: bytes) -> bytes:
        raise ConnectionRefusedError(111, "Connection refused")

    network.answers[ONE] = nobody
    async with running(ONE, network=network) as rig:
        await wait_all_tasks_blocked()
        for serial in range(6, 46):
            await rig.publish(serial)
            await trio.sleep(0.1)
        times = [at for at, _, _ in network.sent]
        assert min(later - earlier for earlier, later in itertools.pairwise(times)) > 0.999
        assert len(times) <= 6
        await trio.sleep(300)
        assert network.serials(ONE)[-1] == 45
        assert (await rig.statuses())["192.0.2.1:53"].notify_state.startswith(("waiting: ", "failed: "))


async def test_versions_that_come_while_one_is_told_are_told_as_one(autojump_clock: MockClock) -> None:
    network = Network()
    release = trio.Event()

    async def slow(address: tuple[str, int], octets: bytes, *, is_answer: Callable[[bytes], bool]) -> bytes:
        if not network.sent:
            network.sent.append((0, address, 0))
            await release.wait()
            return acknowledge(octets)
        return await Network.exchange(network, address, octets, is_answer=is_answer)

    network.exchange = slow  # type: ignore[method-assign]
    async with running(ONE, network=network) as rig:
        for serial in range(6, 16):
            await rig.publish(serial)
        await wait_all_tasks_blocked()
        release.set()
        await wait_all_tasks_blocked()
        assert network.serials(ONE) == [0, 15]


async def test_a_refusal_ends_the_tries(autojump_clock: MockClock) -> None:
    network = Network()
    network.answers[ONE] = refuse
    async with running(ONE, network=network) as rig:
        await trio.sleep(400)
        assert network.serials(ONE) == [5]
        assert (await rig.statuses())["192.0.2.1:53"].notify_state == "failed: REFUSED"


async def test_only_the_answer_to_this_notify_counts(autojump_clock: MockClock) -> None:
    network = Network()

    def another(wire: bytes) -> bytes:
        return bytes([wire[0] ^ 1]) + acknowledge(wire)[1:]

    network.answers[ONE] = another
    async with running(ONE, network=network, retries=()) as rig:
        await trio.sleep(10)
        assert (await rig.statuses())["192.0.2.1:53"].notify_state == "failed: no answer within 3 s"


async def test_downstreams_are_changed_while_it_runs(autojump_clock: MockClock) -> None:
    network = Network()
    network.answers[ONE] = lambda _: None
    async with running(ONE, network=network) as rig:
        await wait_all_tasks_blocked()
        await rig.notifier.tell(ConfigureNotifier(settings=NotifierSettings(downstreams=(TWO,))))
        await trio.sleep(400)
        assert list(await rig.statuses()) == ["[2001:db8::2]:5353"]
        assert network.serials(ONE) == [5]
        assert network.serials(TWO) == [5]


async def test_of_a_downstream_that_was_gone_nothing_is_known(autojump_clock: MockClock) -> None:
    network = Network()
    network.has = {ONE: 5000}
    async with running(ONE, network=network) as rig:
        await trio.sleep(20)
        assert (await rig.statuses())["192.0.2.1:53"].last_serial == 5000
        network.has = {}
        await rig.notifier.tell(ConfigureNotifier(settings=NotifierSettings(downstreams=())))
        # Asked in between: settings that follow each other at once coalesce, and then it was never gone.
        assert await rig.statuses() == {}
        await rig.notifier.tell(ConfigureNotifier(settings=NotifierSettings(downstreams=(ONE,))))
        assert (await rig.statuses())["192.0.2.1:53"].last_serial is None


async def test_secondaries_are_known_by_what_they_ask(autojump_clock: MockClock) -> None:
    async with running(ONE) as rig:
        await rig.notifier.tell(SecondarySeen(address="192.0.2.1", query="IXFR", serial=4, at=10))
        await rig.notifier.tell(SecondarySeen(address="192.0.2.1", query="SOA", serial=None, at=20))
        await rig.notifier.tell(SecondarySeen(address="192.0.2.9", query="AXFR", serial=5, at=30))
        statuses = await rig.statuses()
        one, nine = statuses["192.0.2.1:53"], statuses["192.0.2.9"]
        assert (one.configured, one.last_serial, one.last_query, one.last_query_at) == (True, 4, "SOA", 20)
        assert (nine.configured, nine.last_serial, nine.last_query, nine.notify_state) == (False, 5, "AXFR", "")


async def test_a_secondary_that_is_ahead_is_reported_once(
    autojump_clock: MockClock, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.WARNING)
    async with running(ONE) as rig:
        for at in range(3):
            await rig.notifier.tell(SecondarySeen(address="192.0.2.1", query="IXFR", serial=90, at=at))
            await rig.notifier.tell(SecondarySeen(address="192.0.2.1", query="SOA", serial=None, at=at))
        assert (await rig.statuses())["192.0.2.1:53"].ahead
        await rig.publish(91)
        assert not (await rig.statuses())["192.0.2.1:53"].ahead
    assert caplog.text.count("the secondary 192.0.2.1 has serial 90") == 1
    assert "`tapir zone set-serial 91` mends that" in caplog.text


async def test_a_secondary_that_is_ahead_and_asks_nothing_is_found_out(
    autojump_clock: MockClock, caplog: pytest.LogCaptureFixture
) -> None:
    """BIND, Knot, NSD and unbound hold the SOA against their own, and never send the IXFR that would show it."""
    caplog.set_level(logging.WARNING)
    network = Network()
    network.has = {ONE: 5000}
    async with running(ONE, TWO, network=network) as rig:
        await trio.sleep(20)
        for serial in (6, 7):
            await rig.publish(serial)
            await trio.sleep(20)
        statuses = await rig.statuses()
        assert (statuses["192.0.2.1:53"].last_serial, statuses["192.0.2.1:53"].ahead) == (5000, True)
        assert (statuses["[2001:db8::2]:5353"].last_serial, statuses["[2001:db8::2]:5353"].ahead) == (None, False)
        await rig.publish(5001)
        assert not (await rig.statuses())["192.0.2.1:53"].ahead
        await rig.notifier.tell(SecondarySeen(address="192.0.2.1", query="IXFR", serial=5001, at=1))
        assert (await rig.statuses())["192.0.2.1:53"].last_serial == 5001
    assert caplog.text.count("the secondary 192.0.2.1:53 has serial 5000") == 1
    assert "`tapir zone set-serial 5001` mends that" in caplog.text


async def test_downstreams_are_looked_at_once_and_only_in_quiet(autojump_clock: MockClock) -> None:
    async with running(ONE) as rig:
        for serial in range(6, 12):
            await rig.publish(serial)
            await trio.sleep(2)
        assert rig.network.looked == []
        await trio.sleep(100)
        assert len(rig.network.looked) == 1


async def test_downstreams_are_looked_at_also_where_it_is_never_quiet(autojump_clock: MockClock) -> None:
    network = Network()
    network.has = {ONE: 5000}
    async with running(ONE, network=network) as rig:
        for serial in range(6, 106):
            await rig.publish(serial)
            await trio.sleep(2)
        assert len(network.looked) == 3
        assert (await rig.statuses())["192.0.2.1:53"].ahead
        assert network.serials(ONE) == list(range(5, 106))


async def test_a_secondary_is_ahead_once_our_serial_was_set_back(
    autojump_clock: MockClock, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.WARNING)
    async with running(ONE) as rig:
        await rig.notifier.tell(SecondarySeen(address="192.0.2.1", query="IXFR", serial=5, at=1))
        await rig.publish(2)
        await rig.notifier.tell(SecondarySeen(address="192.0.2.1", query="SOA", serial=None, at=2))
        assert (await rig.statuses())["192.0.2.1:53"].ahead
    assert "the secondary 192.0.2.1 has serial 5" in caplog.text


# -- signed

KEY = TsigKey(name=parse_name("k.test"), algorithm="hmac-sha256", secret=b"s" * 32)
KEYRING = {"k.test.": tsig.Key("k.test.", KEY.secret, KEY.algorithm)}


class SigningNetwork(Network):
    """A downstream that knows `keyring`, and answers as `wanted` says; its clock is the notifier's, at zero."""

    def __init__(self, keyring: Any = None) -> None:
        super().__init__()
        self.keyring = {dns_name.from_text(name): key for name, key in (keyring or KEYRING).items()}
        self.signed: list[int] = []
        self.answer = "signed"
        self.serial = 9

    async def exchange(self, address: tuple[str, int], octets: bytes, *, is_answer: Callable[[bytes], bool]) -> bytes:
        await trio.lowlevel.checkpoint()
        query = message.from_wire(octets, keyring=self.keyring)
        assert query.had_tsig
        self.signed.append(query.opcode())
        response = message.make_response(query)
        if query.opcode() == opcode.QUERY:
            response.flags |= flags.AA
            soa = f"mname. hostmaster.test. {self.serial} 1 1 1 1"
            response.answer.append(rrset.from_text("rpz.test.", 60, "IN", "SOA", soa))
        if self.answer == "unsigned":
            response.tsig = None
        wire = response.to_wire()
        if self.answer == "badkey":
            record = find_tsig(octets)
            assert record is not None
            response.tsig = None
            response.set_rcode(rcode.NOTAUTH)
            wire = seal(response.to_wire(), encode_rejection(Rejected(error=TsigError.BADKEY, record=record)))
        if is_answer(wire):
            return wire
        await trio.sleep_forever()
        raise AssertionError


@pytest.fixture
def their_clock(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("time.time", lambda: ManualClock().now() / 1_000_000)


async def test_a_downstream_with_a_key_is_told_and_asked_signed(their_clock: None, autojump_clock: MockClock) -> None:
    network = SigningNetwork()
    async with running(ONE, network=network, keys=((ONE, KEY),)) as rig:
        await trio.sleep(20)
        status = (await rig.statuses())["192.0.2.1:53"]
        assert (status.notify_state, status.last_serial, status.ahead) == ("acknowledged", 9, True)
        assert network.signed == [opcode.NOTIFY, opcode.QUERY]


@pytest.mark.parametrize(
    ("answer", "reason"), [("unsigned", "its answer is not signed"), ("badkey", "it says BADKEY of our key k.test.")]
)
async def test_only_a_signed_answer_counts(
    their_clock: None, autojump_clock: MockClock, answer: str, reason: str
) -> None:
    network = SigningNetwork()
    network.answer = answer
    async with running(ONE, network=network, keys=((ONE, KEY),)) as rig:
        await trio.sleep(3.5)
        assert (await rig.statuses())["192.0.2.1:53"].notify_state == f"waiting: {reason}"
        await trio.sleep(400)
        assert (await rig.statuses())["192.0.2.1:53"].notify_state == f"failed: {reason}"


async def test_a_new_key_is_used_after_a_reload(their_clock: None, autojump_clock: MockClock) -> None:
    other = TsigKey(name=parse_name("new.test"), algorithm="hmac-sha512", secret=b"n" * 32)
    keyring = {**KEYRING, "new.test.": tsig.Key("new.test.", other.secret, other.algorithm)}
    network = SigningNetwork(keyring)
    async with running(ONE, network=network, keys=((ONE, KEY),)) as rig:
        await trio.sleep(20)
        settings = NotifierSettings(downstreams=(ONE,), keys=((ONE, other),))
        network.answer = "unsigned"
        await rig.notifier.tell(ConfigureNotifier(settings=settings))
        await trio.sleep(4)
        assert (await rig.statuses())["192.0.2.1:53"].notify_state == "waiting: its answer is not signed"
        network.answer = "signed"
        await trio.sleep(20)
        assert (await rig.statuses())["192.0.2.1:53"].notify_state == "acknowledged"
