"""The zone server on 127.0.0.1, port 0, in real time; dnspython is the client. Every wait has a limit."""

import logging
import random
import socket
import struct
from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack, asynccontextmanager, suppress
from ipaddress import IPv4Network, IPv6Network, ip_network
from typing import Any

import attrs
import dns.asyncquery
import dns.edns
import dns.flags
import dns.message
import dns.name
import dns.opcode
import dns.query
import dns.rcode
import dns.rdatatype
import dns.rrset
import dns.zone
import pytest
import trio

from actors import ActorRef, ActorSpec, ActorSystem, StartFailed, Strategy, SupervisorSpec, SystemClock, SystemSettings
from actors.testing import Probe, probe, run_system
from tapir.model.actions import Action
from tapir.model.blocks import RecordBlock, RecordDelta, VersionDelta
from tapir.model.messages.feeds import FeedNotified
from tapir.model.messages.zone import GetServer, ServerStatus
from tapir.model.names import parse_name
from tapir.services.authority import responder
from tapir.services.authority.access import AccessRule
from tapir.services.authority.feeds import FeedAccess
from tapir.services.authority.messages import GetView, Publish, SecondarySeen
from tapir.services.authority.server import MAILBOX, ConfigureServer, ServerSettings, ZoneServer
from tapir.transport.dns import bind_endpoints
from tapir.transport.streams import format_address
from tapir.zone.journal import Journal
from tapir.zone.query import QueryKind
from tapir.zone.settings import ZoneSettings
from tapir.zone.version import ZoneVersion
from tapir.zone.view import ZoneView

ZONE = ZoneSettings(name=parse_name("rpz.test"))
APEX = dns.name.from_text("rpz.test.")
LOOPBACK = (ip_network("127.0.0.0/8"),)
SMALL = RecordBlock.of([(parse_name("evil.example"), Action.NXDOMAIN)])


def numbered(start: int, end: int) -> RecordBlock:
    return RecordBlock.of((parse_name(f"n{number}.example"), Action.NXDOMAIN) for number in range(start, end))


def view(records: RecordBlock = SMALL, serial: int = 1) -> ZoneView:
    return ZoneView(version=ZoneVersion.build(ZONE, serial, records))


def successor(before: ZoneView, *, added: RecordBlock) -> ZoneView:
    delta = RecordDelta(added=added)
    serial = before.serial + 1
    step = VersionDelta(from_serial=before.serial, to_serial=serial, at=0, delta=delta)
    return ZoneView(version=before.version.successor(delta, serial), journal=before.journal.append(step))


@attrs.frozen(kw_only=True)
class Rig:
    server: ActorRef[Any]
    notifier: Probe
    source: Probe
    """the source `feed`"""
    address: tuple[str, int]

    async def status(self) -> ServerStatus:
        status: ServerStatus = await self.server.ask(GetServer())
        return status

    async def counter(self, name: str) -> int:
        return dict((await self.status()).counters).get(name, 0)

    async def refusal(self, name: str) -> int:
        return dict((await self.status()).refusals).get(name, 0)

    async def wait_for(self, read: Callable[[], Any], wanted: Any) -> None:
        """Wait until what `read` reads is `wanted`; the server has no event for it, so it is asked for."""
        with trio.fail_after(60):
            while await read() != wanted:  # noqa: ASYNC110
                await trio.sleep(0.005)

    async def udp(self, query: dns.message.Message) -> dns.message.Message:
        return await dns.asyncquery.udp(query, self.address[0], port=self.address[1], timeout=30)

    async def tcp(self, query: dns.message.Message) -> dns.message.Message:
        return await dns.asyncquery.tcp(query, self.address[0], port=self.address[1], timeout=30)

    async def transfer(self, zone: dns.zone.Zone | None = None, **kwargs: Any) -> dns.zone.Zone:
        """What a secondary with `zone` has after a transfer; over TCP, unless asked otherwise."""
        zone = zone or dns.zone.Zone(APEX)
        await dns.asyncquery.inbound_xfr(self.address[0], zone, port=self.address[1], lifetime=30, **kwargs)
        return zone

    async def connect(self) -> trio.SocketStream:
        return await trio.open_tcp_stream(*self.address)


@asynccontextmanager
async def serving(
    present: ZoneView | None,
    *,
    allow: tuple[IPv4Network | IPv6Network, ...] = LOOPBACK,
    addresses: tuple[tuple[str, int], ...] = (("127.0.0.1", 0),),
    **fields: Any,
) -> AsyncIterator[Rig]:
    system = ActorSystem(clock=SystemClock(), settings=SystemSettings(seed=0))
    keeper, notifier, source = probe({GetView: present}), probe(), probe()
    settings = ServerSettings(zone=ZONE, addresses=addresses, allow=allow, **fields)

    def make() -> ZoneServer:
        return ZoneServer(settings, keeper=system.ref("keeper"), notifier=system.ref("notifier"), source=system.ref)

    server = ActorSpec(name="server", factory=make, mailbox=MAILBOX)
    children = (keeper.spec("keeper"), notifier.spec("notifier"), source.spec("feed"), server)
    tree = SupervisorSpec(name="test", strategy=Strategy.ONE_FOR_ONE, children=children)
    with trio.fail_after(120):
        async with run_system(tree, system=system):
            ref = system.ref("server")
            listening = (await ref.ask(GetServer())).listening
            host, _, port = listening[0].rpartition(":")
            yield Rig(server=ref, notifier=notifier, source=source, address=(host, int(port)))


def owners(zone: dns.zone.Zone) -> set[str]:
    return {str(name) for name in zone.nodes if name != dns.name.empty and str(name) != "@"}


def query(name: str = "rpz.test.", rdtype: str = "SOA", **kwargs: Any) -> dns.message.Message:
    return dns.message.make_query(name, rdtype, **kwargs)


def ixfr(serial: int) -> dns.message.Message:
    zone = dns.zone.Zone(APEX)
    with zone.writer() as txn:
        txn.add("@", 60, dns.rdata.from_text("IN", "SOA", f"a. b. {serial} 1 1 1 1"))
    message, _ = dns.xfr.make_query(zone, serial=serial)
    return message


# -- answers


async def test_soa_and_lookups_over_udp_and_tcp() -> None:
    async with serving(view(serial=7)) as rig:
        for ask in (rig.udp, rig.tcp):
            soa = await ask(query())
            assert soa.flags & dns.flags.AA
            assert soa.answer[0][0].serial == 7
            assert str((await ask(query("evil.example.rpz.test.", "A"))).answer[0][0].target) == "."
            assert (await ask(query("other.rpz.test.", "A"))).rcode() == dns.rcode.NXDOMAIN
        assert dict((await rig.status()).counters)["SOA"] == 2


async def test_until_there_is_a_version_all_is_servfail() -> None:
    async with serving(None) as rig:
        for ask in (rig.udp, rig.tcp):
            assert (await ask(query())).rcode() == dns.rcode.SERVFAIL
        with pytest.raises(dns.xfr.TransferError):
            await rig.transfer()
        await rig.server.tell(Publish(view=view()))
        assert owners(await rig.transfer()) == {"evil.example"}


async def test_a_zone_is_transferred_and_followed() -> None:
    first = view(numbered(0, 3000))
    async with serving(first) as rig:
        zone = await rig.transfer()
        assert owners(zone) == {f"n{number}.example" for number in range(3000)}
        await rig.server.tell(Publish(view=successor(first, added=numbered(3000, 3010))))
        await rig.transfer(zone)
        assert owners(zone) == {f"n{number}.example" for number in range(3010)}
        seen: list[SecondarySeen] = rig.notifier.messages
        with trio.fail_after(60):
            await rig.notifier.wait_count(4)  # that all is written is told after it was read
        assert [(one.query, one.serial) for one in seen] == [("AXFR", None), ("AXFR", 1), ("IXFR", 1), ("IXFR", 2)]
        assert {one.address for one in seen} == {"127.0.0.1"}
        assert await rig.counter("transfers_full") == 1
        assert await rig.counter("transfers_incremental") == 1


async def test_an_ixfr_over_udp_falls_back_to_tcp_when_it_does_not_fit() -> None:
    first = view(numbered(0, 100))
    async with serving(first) as rig:
        zone = await rig.transfer()
        present = successor(first, added=numbered(100, 101))
        await rig.server.tell(Publish(view=present))
        small = await rig.udp(ixfr(1))
        assert len(small.answer) > 1
        for added in (100, 2000):
            present = successor(present, added=numbered(1000 * added, 1000 * added + added))
            await rig.server.tell(Publish(view=present))
            large = await rig.udp(ixfr(1))
            assert [rrset.rdtype for rrset in large.answer] == [dns.rdatatype.SOA]
            assert large.answer[0][0].serial == present.serial
            await rig.transfer(zone, udp_mode=dns.query.UDPMode.TRY_FIRST)
            assert len(owners(zone)) == len(present.version)


async def test_a_long_journal_is_netted_off_the_event_loop_and_right() -> None:
    first = present = view(numbered(0, 10))
    for number in range(1500):
        present = successor(present, added=numbered(1000 + 2 * number, 1002 + 2 * number))
    assert isinstance(present.journal, Journal)
    async with serving(first) as rig:
        zone = await rig.transfer()
        await rig.server.tell(Publish(view=present))
        await rig.transfer(zone)
        assert len(owners(zone)) == 3010
        current = await rig.tcp(ixfr(present.serial))
        assert [rrset.rdtype for rrset in current.answer] == [dns.rdatatype.SOA]


async def test_a_transfer_keeps_the_version_that_it_began_with() -> None:
    first = view(numbered(0, 30_000))
    async with serving(first) as rig:
        client = await rig.connect()
        async with client:
            await client.send_all(_framed(query(rdtype="AXFR")))
            await rig.wait_for(lambda: rig.counter("AXFR"), 1)
            await rig.server.tell(Publish(view=view(SMALL, serial=2)))
            answers = await _read_transfer(client)
            assert answers[0] == answers[-1] == 1
            assert len(answers) == 30_000 + 4


async def test_queries_and_transfers_follow_each_other_on_one_connection() -> None:
    async with serving(view(numbered(0, 2000))) as rig, await rig.connect() as client:
        await client.send_all(
            _framed(query(rdtype="AXFR")) + _framed(query(rdtype="AXFR")) + _framed(query()) + _framed(query())
        )
        buffer = _Reader(client)
        for _ in range(2):
            assert len(await _read_transfer(buffer)) == 2004
        for _ in range(2):
            assert dns.message.from_wire(await buffer.next()).answer[0][0].serial == 1


async def test_names_are_compared_without_case_and_edns_is_answered() -> None:
    async with serving(view()) as rig:
        answer = await rig.udp(query("RPZ.tEsT.", use_edns=0, payload=4096))
        assert answer.answer[0][0].serial == 1
        assert answer.edns == 0
        assert (await rig.udp(query(use_edns=1))).rcode() == dns.rcode.BADVERS


# -- access


async def test_who_may_not_ask_is_refused_and_told_in_the_log_how_to_be_allowed(
    caplog: pytest.LogCaptureFixture,
) -> None:
    caplog.set_level(logging.WARNING)
    async with serving(view(), allow=(ip_network("192.0.2.0/24"),)) as rig:
        for _ in range(3):
            assert (await rig.udp(query())).rcode() == dns.rcode.REFUSED
        assert (await rig.tcp(query("evil.example.rpz.test.", "A"))).rcode() == dns.rcode.REFUSED
        with pytest.raises(dns.xfr.TransferError):
            await rig.transfer()
        assert await rig.refusal("acl") == 5
        assert rig.notifier.messages == []
        line = 'dnsengine.allow-transfer: [..., "127.0.0.1/32"]'
        assert caplog.text.count(line) == 1

        settings = ServerSettings(zone=ZONE, addresses=(("127.0.0.1", 0),), allow=LOOPBACK)
        await rig.server.tell(ConfigureServer(settings=settings))
        assert owners(await rig.transfer()) == {"evil.example"}


# -- binding


async def test_a_taken_address_is_named() -> None:
    (taken,) = bind_endpoints([("127.0.0.1", 0)])
    try:
        with pytest.raises(StartFailed, match=rf"cannot listen on {format_address(taken.address)} \(TCP\)"):
            async with serving(view(), addresses=(taken.address,)):
                pass
    finally:
        taken.close()


async def test_every_address_is_served_and_answers_as_itself() -> None:
    async with serving(view(), addresses=(("127.0.0.1", 0), ("127.0.0.2", 0))) as rig:
        listening = (await rig.status()).listening
        assert len(listening) == 2
        for place in listening:
            host, _, port = place.rpartition(":")
            # dnspython raises when an answer comes from another address.
            assert (await dns.asyncquery.udp(query(), host, port=int(port), timeout=30)).answer


# -- hostile and slow peers


async def test_garbage_stops_nothing_and_is_counted() -> None:
    rng = random.Random(5359)
    wires = [query().to_wire(), query(rdtype="AXFR").to_wire(), ixfr(1).to_wire(), query(use_edns=0).to_wire()]
    async with serving(view()) as rig:
        with trio.socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as client:
            await client.connect(rig.address)
            for number in range(600):
                wire = bytearray(rng.choice(wires))
                for _ in range(rng.randrange(1, 6)):
                    wire[rng.randrange(len(wire))] = rng.randrange(256)
                await client.send(bytes(wire[: rng.randrange(len(wire) + 1)] if number % 2 else wire))
            async with AsyncExitStack() as stack:
                for number in range(50):
                    stream = await stack.enter_async_context(await rig.connect())
                    junk = rng.randbytes(rng.randrange(300))
                    await stream.send_all(junk if number % 2 else struct.pack("!H", len(junk)) + junk)
                assert (await rig.udp(query())).answer[0][0].serial == 1
                assert (await rig.tcp(query())).answer[0][0].serial == 1
        status = await rig.status()
        assert sum(count for _, count in status.refusals) > 300
        assert "internal" not in dict(status.refusals)


async def test_a_fault_of_ours_costs_one_answer(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def broken(*args: Any, **kwargs: Any) -> Any:
        raise ZeroDivisionError("a fault")

    async with serving(view()) as rig:
        with monkeypatch.context() as patch:
            patch.setattr(responder, "answer_query", broken)
            with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as client:
                client.setblocking(False)
                for _ in range(20):
                    client.sendto(query().to_wire(), rig.address)
                await rig.wait_for(lambda: rig.refusal("internal"), 20)
                with pytest.raises(BlockingIOError):  # nothing was answered
                    client.recv(1)
        assert (await rig.udp(query())).answer
    assert caplog.text.count("a fault in tapir") == 10


async def test_who_asks_nothing_is_closed() -> None:
    async with serving(view(), idle_timeout=0.05) as rig:
        async with await rig.connect() as silent, await rig.connect() as halfway:
            await halfway.send_all(b"\0\x20half")
            for stream in (silent, halfway):
                with trio.fail_after(30):
                    assert await stream.receive_some(1) == b""
        await rig.wait_for(lambda: rig.counter("connections_idle"), 2)
        await rig.wait_for(lambda: _connections(rig), 0)


async def test_who_does_not_read_a_transfer_is_closed_and_holds_nothing() -> None:
    async with serving(view(numbered(0, 30_000)), write_timeout=0.2) as rig:
        client = socket.socket()
        client.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        client.connect(rig.address)
        with client:
            client.sendall(_framed(query(rdtype="AXFR")))
            assert (await rig.udp(query())).answer
            await rig.wait_for(lambda: rig.counter("connections_stalled"), 1)
            await rig.wait_for(lambda: _connections(rig), 0)
            # Not closed: what it never read must not wait for it in the kernel.
            client.settimeout(30)
            with pytest.raises(ConnectionResetError):
                _read_all(client)
        assert await rig.counter("transfers_full") == 0


async def test_a_connection_that_breaks_in_a_transfer_is_counted() -> None:
    async with serving(view(numbered(0, 30_000))) as rig:
        client = await rig.connect()
        await client.send_all(_framed(query(rdtype="AXFR")))
        await client.receive_some(1000)
        client.socket.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        await client.aclose()
        await rig.wait_for(lambda: rig.counter("connections_broken"), 1)
        await rig.wait_for(lambda: _connections(rig), 0)


@pytest.mark.parametrize("limit", ["connections_total", "connections_address"])
async def test_too_many_connections_are_closed_and_the_others_are_served(limit: str) -> None:
    total, per_address = (8, 100) if limit == "connections_total" else (100, 8)
    limits: dict[str, Any] = {"max_connections": total, "max_connections_per_address": per_address, "idle_timeout": 120}
    async with serving(view(), **limits) as rig:
        async with AsyncExitStack() as stack:
            kept = [await stack.enter_async_context(await rig.connect()) for _ in range(8)]
            await rig.wait_for(lambda: rig.counter("connections"), 8)
            for _ in range(200):
                assert await _is_refused(rig)
            await rig.wait_for(lambda: rig.refusal(limit), 200)
            for stream in kept:
                await stream.send_all(_framed(query()))
                assert dns.message.from_wire(await _Reader(stream).next()).answer
            assert (await rig.udp(query())).answer
            if limit == "connections_address":
                other = dns.asyncquery.tcp(query(), rig.address[0], port=rig.address[1], source="127.0.0.9", timeout=30)
                assert (await other).answer
        await rig.wait_for(lambda: _connections(rig), 0)
        assert (await rig.tcp(query())).answer


async def test_other_limits_hold_from_the_next_connection_on() -> None:
    async with serving(view(), idle_timeout=120) as rig:
        for total, per_address, refusal in ((2, 100, "connections_total"), (100, 2, "connections_address")):
            settings = ServerSettings(
                zone=ZONE,
                addresses=(rig.address,),
                allow=LOOPBACK,
                max_connections=total,
                max_connections_per_address=per_address,
                idle_timeout=120,
            )
            await rig.server.tell(ConfigureServer(settings=settings))
            async with AsyncExitStack() as stack:
                for _ in range(2):
                    await stack.enter_async_context(await rig.connect())
                await rig.wait_for(lambda: _connections(rig), 2)
                assert await _is_refused(rig)
                await rig.wait_for(lambda name=refusal: rig.refusal(name), 1)  # type: ignore[misc]
            await rig.wait_for(lambda: _connections(rig), 0)


async def test_strangers_from_many_addresses_leave_room_for_secondaries() -> None:
    """Who was only to be refused could hold every connection, ten seconds at a time."""
    async with serving(view(), allow=(ip_network("127.0.0.1/32"),), max_connections=16, idle_timeout=120) as rig:
        async with AsyncExitStack() as stack:
            for number in range(40):
                # Those that are not admitted are reset, perhaps before they have noticed that they are connected.
                with suppress(OSError):
                    stream = await trio.open_tcp_stream(*rig.address, local_address=f"127.0.1.{number + 1}")
                    await stack.enter_async_context(stream)
            await rig.wait_for(lambda: rig.refusal("connections_strangers"), 38)
            assert (await rig.tcp(query())).answer
        refused = await dns.asyncquery.tcp(query(), rig.address[0], port=rig.address[1], source="127.0.1.1", timeout=30)
        assert refused.rcode() == dns.rcode.REFUSED


def _read_all(sock: socket.socket) -> None:
    while sock.recv(65536):
        pass


async def _connections(rig: Rig) -> int:
    return (await rig.status()).connections


async def _taken_up(rig: Rig) -> int:
    return await rig.counter("connections") + await rig.refusal("connections_address")


async def _is_refused(rig: Rig) -> bool:
    """Whether a new connection is reset, at once or as soon as it is used."""
    try:
        async with await rig.connect() as stream:
            with trio.fail_after(30):
                return await stream.receive_some(1) == b""
    except OSError:
        return True
    except trio.BrokenResourceError:
        return True


async def test_a_flood_of_half_open_connections(campaign: Any) -> None:
    """2,000 in full, which needs descriptors for both ends; a twentieth otherwise."""
    flood = campaign.rounds(2000)
    limit = flood // 2
    async with serving(view(), max_connections_per_address=limit, max_connections=4000, idle_timeout=0.5) as rig:
        async with AsyncExitStack() as stack:
            standing = 0
            for _ in range(flood):
                with suppress(OSError, trio.BrokenResourceError):
                    stream = await stack.enter_async_context(await rig.connect())
                    await stream.send_all(b"\0")
                    standing += 1
            assert standing >= limit
            assert (await rig.udp(query())).answer
            # A client may be connected before the server has taken its connection up.
            await rig.wait_for(lambda: _taken_up(rig), flood)
            assert await rig.refusal("connections_address") >= flood - limit - await rig.counter("connections_idle")
        await rig.wait_for(lambda: _connections(rig), 0)
        assert (await rig.tcp(query())).answer


class _Reader:
    """Messages of a stream, one by one."""

    def __init__(self, stream: trio.SocketStream) -> None:
        self._stream = stream
        self._buffer = b""

    async def next(self) -> bytes:
        with trio.fail_after(60):
            while len(self._buffer) < 2 or len(self._buffer) < 2 + int.from_bytes(self._buffer[:2], "big"):
                octets = await self._stream.receive_some(65536)
                assert octets, "the server closed the connection"
                self._buffer += octets
        end = 2 + int.from_bytes(self._buffer[:2], "big")
        message, self._buffer = self._buffer[2:end], self._buffer[end:]
        return message


async def _read_transfer(stream: trio.SocketStream | _Reader) -> list[int | None]:
    """The serials of the SOA records of one transfer, None for each other record."""
    reader = stream if isinstance(stream, _Reader) else _Reader(stream)
    records: list[int | None] = []
    while records.count(1) < 2:
        message = dns.message.from_wire(await reader.next(), xfr=True, one_rr_per_rrset=True)
        records += [rrset[0].serial if rrset.rdtype == dns.rdatatype.SOA else None for rrset in message.answer]
    return records


def _framed(message: dns.message.Message) -> bytes:
    wire = message.to_wire()
    return struct.pack("!H", len(wire)) + wire


# -- NOTIFY of feeds


def notify(serial: int) -> dns.message.Message:
    message = query("feed.example.")
    message.set_opcode(dns.opcode.NOTIFY)
    message.answer.append(dns.rrset.from_text("feed.example.", 60, "IN", "SOA", f". . {serial} 1 1 1 1"))
    return message


def feed_of(*networks: IPv4Network | IPv6Network) -> tuple[FeedAccess, ...]:
    rule = AccessRule(label="sources.feed", networks=networks, kinds=frozenset({QueryKind.NOTIFY}))
    return (FeedAccess(source="feed", zone=parse_name("feed.example"), label="sources.feed", rules=(rule,)),)


async def test_a_notify_of_a_feed_reaches_its_source_until_a_reload_changes_who_may() -> None:
    settings = ServerSettings(zone=ZONE, addresses=(("127.0.0.1", 0),), allow=())
    async with serving(view(), allow=(), feeds=feed_of(*LOOPBACK)) as rig:
        for ask, serial in ((rig.udp, 7), (rig.tcp, 8)):
            answer = await ask(notify(serial))
            assert (answer.rcode(), bool(answer.flags & dns.flags.AA)) == (dns.rcode.NOERROR, True)
            said = await rig.source.next()
            assert said == FeedNotified(zone=parse_name("feed.example"), serial=serial, primary="127.0.0.1")
        assert await rig.counter("NOTIFY") == 2
        assert await rig.counter("notify_told") == 2
        await rig.server.tell(ConfigureServer(settings=attrs.evolve(settings, feeds=feed_of(ip_network("192.0.2.1")))))
        assert await rig.refusal("notify-from") == 0
        assert (await rig.udp(notify(9))).rcode() == dns.rcode.REFUSED
        assert await rig.refusal("notify-from") == 1
        await rig.server.tell(ConfigureServer(settings=settings))
        assert await rig.refusal("acl") == 0
        assert (await rig.udp(notify(9))).rcode() == dns.rcode.REFUSED
        assert await rig.refusal("acl") == 1
    assert len(rig.source.messages) == 2


async def test_a_storm_of_notifies_costs_a_source_little_and_others_are_answered() -> None:
    async with serving(view(), feeds=feed_of(*LOOPBACK)) as rig:
        wire = notify(7).to_wire()
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as primary:
            primary.connect(rig.address)
            for _ in range(20):
                for _ in range(100):
                    with suppress(BlockingIOError):
                        primary.send(wire, socket.MSG_DONTWAIT)
                assert (await rig.udp(query())).rcode() == dns.rcode.NOERROR
        counters = dict((await rig.status()).counters)
        told = counters["notify_told"]
        assert counters["NOTIFY"] > 10 * told
        # At most one waits to be told.
        assert counters["NOTIFY"] - counters["notify_merged"] - told in {0, 1}
