"""Keys, rules and TLS at the zone server, in real time; dnspython signs, Trio's SSLStream is the client."""

import logging
import ssl
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from ipaddress import ip_network
from pathlib import Path
from typing import Any

import attrs
import dns.message
import dns.name
import dns.rcode
import dns.tsig
import dns.xfr
import dns.zone
import pytest
import trio
from certificates import Authority

from actors import ActorRef, ActorSpec, ActorSystem, Strategy, SupervisorSpec, SystemClock, SystemSettings
from actors.testing import probe, run_system
from tapir.codec.tsig import TsigKey
from tapir.model.actions import Action
from tapir.model.blocks import RecordBlock
from tapir.model.messages.zone import GetServer, ServerStatus
from tapir.model.names import parse_name
from tapir.services.authority.access import AccessRule, Secured
from tapir.services.authority.messages import GetView
from tapir.services.authority.server import MAILBOX, ConfigureServer, ServerSettings, TlsSettings, ZoneServer
from tapir.transport.tls import client_context
from tapir.zone.query import QueryKind
from tapir.zone.settings import ZoneSettings
from tapir.zone.version import ZoneVersion
from tapir.zone.view import ZoneView

ZONE = ZoneSettings(name=parse_name("rpz.test"))
APEX = dns.name.from_text("rpz.test.")
LOOPBACK = (ip_network("127.0.0.0/8"),)
ANY = ("127.0.0.1", 0)
NAMES = 3_000
KEY = TsigKey(name=parse_name("k.test"), algorithm="hmac-sha256", secret=b"s" * 32)
THEIRS = dns.tsig.Key("k.test.", KEY.secret, KEY.algorithm)
KEYRING = {THEIRS.name: THEIRS}
SIGNED = AccessRule(label="outputs.r1", networks=LOOPBACK, keys=frozenset({KEY.name}), alone=True)


@attrs.frozen(kw_only=True)
class Rig:
    server: ActorRef[Any]
    address: tuple[str, int]
    tls: tuple[str, int] | None

    async def status(self) -> ServerStatus:
        status: ServerStatus = await self.server.ask(GetServer())
        return status

    async def counts(self, *names: str) -> list[int]:
        status = await self.status()
        counted = dict(status.counters) | dict(status.refusals)
        return [counted.get(name, 0) for name in names]

    async def wait_for(self, name: str, wanted: int = 1) -> None:
        """Wait until the counter is `wanted`; the server has no event for it, so it is asked for."""
        with trio.fail_after(60):
            while await self.counts(name) != [wanted]:  # noqa: ASYNC110
                await trio.sleep(0.005)


@pytest.fixture(scope="module")
def view() -> ZoneView:
    records = RecordBlock.of((parse_name(f"n{number}.example"), Action.NXDOMAIN) for number in range(NAMES))
    return ZoneView(version=ZoneVersion.build(ZONE, 7, records))


@pytest.fixture(scope="module")
def authority(tmp_path_factory: pytest.TempPathFactory) -> Authority:
    return Authority(tmp_path_factory.mktemp("ca"))


@pytest.fixture
def files(authority: Authority, tmp_path: Path) -> TlsSettings:
    """TLS settings whose files the test may write over."""
    pair = authority.issue("pop.example")
    certificate, key = tmp_path / "cert.pem", tmp_path / "key.pem"
    certificate.write_bytes(pair.certificate.read_bytes())
    key.write_bytes(pair.key.read_bytes())
    return TlsSettings(addresses=(ANY,), certificate=certificate, key=key)


@asynccontextmanager
async def serving(view: ZoneView, **fields: Any) -> AsyncIterator[Rig]:
    system = ActorSystem(clock=SystemClock(), settings=SystemSettings(seed=0))
    keeper, notifier = probe({GetView: view}), probe()
    settings = ServerSettings(**{"zone": ZONE, "addresses": (ANY,), "allow": (), "keys": (KEY,), **fields})

    def make() -> ZoneServer:
        return ZoneServer(settings, keeper=system.ref("keeper"), notifier=system.ref("notifier"), source=system.ref)

    server = ActorSpec(name="server", factory=make, mailbox=MAILBOX)
    children = (keeper.spec("keeper"), notifier.spec("notifier"), server)
    tree = SupervisorSpec(name="test", strategy=Strategy.ONE_FOR_ONE, children=children)
    with trio.fail_after(120):
        async with run_system(tree, system=system):
            ref = system.ref("server")
            found: list[tuple[str, int]] = []
            for place in (await ref.ask(GetServer())).listening:
                host, _, port = place.removesuffix(" (TLS)").rpartition(":")
                found.append((host, int(port)))
            yield Rig(server=ref, address=found[0], tls=found[1] if len(found) > 1 else None)


@asynccontextmanager
async def over_tls(rig: Rig, context: ssl.SSLContext) -> AsyncIterator[trio.SSLStream[trio.SocketStream]]:
    assert rig.tls is not None
    stream = trio.SSLStream(await trio.open_tcp_stream(*rig.tls), context, server_hostname="pop.example")
    try:
        yield stream
    finally:
        await trio.aclose_forcefully(stream)


class Messages:
    """Queries and answers over a stream, and a transfer with every signature checked."""

    def __init__(self, stream: trio.abc.Stream) -> None:
        self._stream = stream
        self._read = b""

    async def ask(self, query: dns.message.Message) -> dns.message.Message:
        await self.send(query)
        return dns.message.from_wire(await self.next(), keyring=KEYRING, request_mac=query.mac)

    async def send(self, query: dns.message.Message) -> None:
        wire = query.to_wire()
        await self._stream.send_all(len(wire).to_bytes(2, "big") + wire)

    async def next(self) -> bytes:
        while len(self._read) < 2 or len(self._read) < 2 + int.from_bytes(self._read[:2], "big"):
            octets = await self._stream.receive_some(1 << 16)
            assert octets
            self._read += octets
        end = 2 + int.from_bytes(self._read[:2], "big")
        message, self._read = self._read[2:end], self._read[end:]
        return message

    async def transfer(self, key: dns.tsig.Key | None) -> int:
        """How many records a secondary then holds."""
        query = axfr(key)
        await self.send(query)
        zone = dns.zone.Zone(APEX)
        context, done, first = None, False, True
        with dns.xfr.Inbound(zone, dns.rdatatype.AXFR) as inbound:
            while not done:
                message = dns.message.from_wire(
                    await self.next(),
                    keyring=KEYRING,
                    request_mac=query.mac if first else b"",
                    xfr=True,
                    origin=APEX,
                    tsig_ctx=context,
                    multi=True,
                )
                assert message.had_tsig == (key is not None)
                context, first = message.tsig_ctx, False
                done = inbound.process_message(message)
        return sum(1 for _ in zone.iterate_rdatas("CNAME"))


def soa(key: dns.tsig.Key | None = None) -> dns.message.Message:
    query = dns.message.make_query("rpz.test.", "SOA")
    if key:
        query.use_tsig(key)
    return query


def axfr(key: dns.tsig.Key | None = None) -> dns.message.Message:
    query = dns.message.make_query("rpz.test.", "AXFR")
    if key:
        query.use_tsig(key)
    return query


@asynccontextmanager
async def over_tcp(rig: Rig) -> AsyncIterator[Messages]:
    async with await trio.open_tcp_stream(*rig.address) as stream:
        yield Messages(stream)


# -- keys


async def test_an_address_with_a_key_gets_nothing_without_it(view: ZoneView, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.WARNING)
    wrong = dns.tsig.Key("k.test.", b"z" * 32, "hmac-sha256")
    unknown = dns.tsig.Key("other.test.", KEY.secret, "hmac-sha256")
    async with serving(view, rules=(SIGNED,), allow=LOOPBACK) as rig:
        async with over_tcp(rig) as messages:
            assert (await messages.ask(soa(THEIRS))).had_tsig
            assert await messages.transfer(THEIRS) == NAMES
            for _ in range(2):
                for query in (soa(), axfr()):
                    assert (await messages.ask(query)).rcode() == dns.rcode.REFUSED
                with pytest.raises(dns.tsig.PeerBadSignature):
                    await messages.ask(axfr(wrong))
                await messages.send(axfr(unknown))
                assert dns.message.from_wire(await messages.next(), keyring=False).rcode() == dns.rcode.NOTAUTH
        assert await rig.counts("acl", "tsig-badsig", "tsig-badkey", "signed") == [4, 2, 2, 2]
    said = [record.getMessage() for record in caplog.records]
    assert said == [
        "refused SOA from 127.0.0.1: outputs.r1 wants it signed by the key k.test.",
        "refused AXFR from 127.0.0.1: BADSIG, the key k.test. has another secret there than here",
        "refused AXFR from 127.0.0.1: BADKEY, no key is called other.test. here, see `keys`",
    ]


async def test_a_clock_that_is_wrong_is_told_so(
    view: ZoneView, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with serving(view, rules=(SIGNED,)) as rig, over_tcp(rig) as messages:
        query = soa(THEIRS)
        with monkeypatch.context() as patch:
            patch.setattr("dns.message.time.time", lambda: 1_700_000_000.0)
            query.to_wire()
            wire = query.to_wire()
        query.to_wire = lambda *args, **kwargs: wire  # type: ignore[method-assign]
        await messages.send(query)
        with pytest.raises(dns.tsig.PeerBadTime):
            dns.message.from_wire(await messages.next(), keyring=KEYRING, request_mac=query.mac)
        assert await rig.counts("tsig-badtime") == [1]
    assert "refused SOA from 127.0.0.1: BADTIME, it was signed -" in caplog.text


async def test_kinds_are_allowed_one_by_one(view: ZoneView) -> None:
    rule = AccessRule(label="dnsengine.access[0]", networks=LOOPBACK, kinds=frozenset({QueryKind.SOA}))
    async with serving(view, rules=(rule,)) as rig, over_tcp(rig) as messages:
        assert (await messages.ask(soa())).answer
        assert (await messages.ask(axfr())).rcode() == dns.rcode.REFUSED
        lookup = dns.message.make_query("n1.example.rpz.test.", "A")
        assert (await messages.ask(lookup)).rcode() == dns.rcode.REFUSED


async def test_nobody_may_ask_by_default(view: ZoneView) -> None:
    async with serving(view) as rig, over_tcp(rig) as messages:
        assert (await messages.ask(soa())).rcode() == dns.rcode.REFUSED
        assert (await messages.ask(soa(THEIRS))).rcode() == dns.rcode.REFUSED


async def test_keys_and_rules_change_with_a_reload(view: ZoneView) -> None:
    other = TsigKey(name=KEY.name, algorithm=KEY.algorithm, secret=b"n" * 32)
    async with serving(view, rules=(SIGNED,)) as rig, over_tcp(rig) as messages:
        assert (await messages.ask(soa(THEIRS))).answer
        settings = ServerSettings(zone=ZONE, addresses=(ANY,), allow=(), rules=(SIGNED,), keys=(other,))
        await rig.server.tell(ConfigureServer(settings=settings))
        await rig.status()
        with pytest.raises(dns.tsig.PeerBadSignature):
            await messages.ask(soa(THEIRS))


# -- TLS


def trusting(authority: Authority, *protocols: str, **fields: Any) -> ssl.SSLContext:
    return client_context(ca=authority.ca, protocols=protocols or ("dot",), **fields)


async def test_transfers_and_queries_over_one_tls_connection(
    view: ZoneView, files: TlsSettings, authority: Authority
) -> None:
    rule = AccessRule(label="dnsengine.access[0]", networks=LOOPBACK, secured=Secured.TLS)
    async with serving(view, rules=(rule,), tls=files) as rig:
        async with over_tcp(rig) as messages:
            assert (await messages.ask(axfr())).rcode() == dns.rcode.REFUSED
        async with over_tls(rig, trusting(authority)) as stream:
            messages = Messages(stream)
            for key in (None, THEIRS, None):
                assert (await messages.ask(soa(key))).answer[0][0].serial == 7
                assert await messages.transfer(key) == NAMES
            with trio.move_on_after(5):
                await stream.aclose()
        await rig.wait_for("transfers_full", 3)
        assert await rig.counts("connections_tls", "tls", "tls_truncated") == [1, 6, 0]


async def test_a_truncated_connection_is_counted(view: ZoneView, files: TlsSettings, authority: Authority) -> None:
    async with serving(view, allow=LOOPBACK, tls=files) as rig, over_tls(rig, trusting(authority)) as stream:
        assert (await Messages(stream).ask(soa())).answer
        await stream.transport_stream.send_eof()
        await rig.wait_for("tls_truncated")


@pytest.mark.parametrize("protocols", [(), ("h2",)])
async def test_another_protocol_is_refused(
    view: ZoneView,
    files: TlsSettings,
    authority: Authority,
    protocols: tuple[str, ...],
    caplog: pytest.LogCaptureFixture,
) -> None:
    context = client_context(ca=authority.ca, protocols=protocols)
    async with serving(view, allow=LOOPBACK, tls=files) as rig:
        async with over_tls(rig, context) as stream:
            await stream.do_handshake()
            assert await stream.receive_some(1) == b""
        assert await rig.counts("tls-alpn", "tls") == [1, 0]
    assert "does not name the protocol `dot`" in caplog.text


async def test_a_client_that_names_no_protocol_is_let_in_where_that_is_configured(
    view: ZoneView, files: TlsSettings, authority: Authority
) -> None:
    async with serving(view, allow=LOOPBACK, tls=attrs.evolve(files, require_alpn=False)) as rig:
        for context in (client_context(ca=authority.ca), trusting(authority)):
            async with over_tls(rig, context) as stream:
                assert (await Messages(stream).ask(soa())).answer
        assert await rig.counts("tls-alpn", "tls") == [0, 2]


async def test_a_stranger_is_not_shaken_hands_with(
    view: ZoneView, files: TlsSettings, authority: Authority, caplog: pytest.LogCaptureFixture
) -> None:
    async with serving(view, allow=(ip_network("192.0.2.0/24"),), tls=files) as rig:
        for _ in range(2):
            # It may be reset before connecting says that it is there.
            with pytest.raises((trio.BrokenResourceError, OSError)):
                async with over_tls(rig, trusting(authority)) as stream:
                    await stream.do_handshake()
        assert await rig.counts("acl", "connections_tls") == [2, 0]
    assert caplog.text.count('"127.0.0.1/32"') == 1


async def test_a_client_certificate_may_be_needed(view: ZoneView, files: TlsSettings, authority: Authority) -> None:
    rule = AccessRule(label="dnsengine.access[0]", networks=LOOPBACK, secured=Secured.CLIENT_CERTIFICATE)
    pair = authority.issue("secondary.example")
    shown = trusting(authority, certificate=pair.certificate, key=pair.key)
    tls = attrs.evolve(files, client_ca=authority.ca)
    async with serving(view, rules=(rule,), tls=tls) as rig:
        async with over_tls(rig, shown) as stream:
            assert await Messages(stream).transfer(None) == NAMES
        async with over_tls(rig, trusting(authority)) as stream:
            assert (await Messages(stream).ask(axfr())).rcode() == dns.rcode.REFUSED
    strict = attrs.evolve(tls, require_client_certificate=True)
    async with serving(view, rules=(rule,), tls=strict) as rig:
        async with over_tls(rig, trusting(authority)) as stream:
            with pytest.raises(trio.BrokenResourceError):
                await Messages(stream).ask(axfr())
        await rig.wait_for("tls_handshakes_failed")


async def test_a_client_that_does_not_trust_us_is_told_of_once(
    view: ZoneView, files: TlsSettings, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    stranger = Authority(tmp_path, "stranger")
    async with serving(view, allow=LOOPBACK, tls=files) as rig:
        for count in (1, 2):
            async with over_tls(rig, trusting(stranger)) as stream:
                with pytest.raises(trio.BrokenResourceError):
                    await stream.do_handshake()
            await rig.wait_for("tls_handshakes_failed", count)
    assert caplog.text.count("no TLS with 127.0.0.1:") == 1


async def test_a_silent_client_is_let_go(view: ZoneView, files: TlsSettings) -> None:
    async with serving(view, allow=LOOPBACK, tls=files, handshake_timeout=0.05) as rig:
        assert rig.tls is not None
        async with await trio.open_tcp_stream(*rig.tls) as stream:
            assert await stream.receive_some(1) == b""
        await rig.wait_for("tls_handshakes_failed")
        assert (await rig.status()).connections == 0


async def test_an_idle_client_is_told_that_it_ends(view: ZoneView, files: TlsSettings, authority: Authority) -> None:
    async with serving(view, allow=LOOPBACK, tls=files, idle_timeout=0.05) as rig:
        async with over_tls(rig, trusting(authority)) as stream:
            await stream.do_handshake()
            # Trio raises where close_notify is missing.
            assert await stream.receive_some(1) == b""
        await rig.wait_for("connections_idle")


async def test_a_renewed_certificate_is_read_and_a_broken_one_is_not_used(
    view: ZoneView, files: TlsSettings, authority: Authority, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    settings = ServerSettings(zone=ZONE, addresses=(ANY,), allow=LOOPBACK, tls=files)

    async def subject(rig: Rig) -> Any:
        async with over_tls(rig, trusting(authority)) as stream:
            await stream.do_handshake()
            return stream.getpeercert()["serialNumber"]

    async with serving(view, allow=LOOPBACK, tls=files) as rig:
        first = await subject(rig)
        files.certificate.write_text("half a certificate")
        await rig.server.tell(ConfigureServer(settings=settings))
        await rig.status()
        assert await subject(rig) == first
        assert "the one before stays in use" in caplog.text
        pair = authority.issue("pop.example", file="renewed")
        files.certificate.write_bytes(pair.certificate.read_bytes())
        files.key.write_bytes(pair.key.read_bytes())
        async with over_tls(rig, trusting(authority)) as old:
            messages = Messages(old)
            assert (await messages.ask(soa())).answer
            await rig.server.tell(ConfigureServer(settings=settings))
            await rig.status()
            assert await subject(rig) != first
            # Who is connected stays so.
            assert (await messages.ask(soa())).answer


async def test_a_certificate_of_a_ca_that_was_taken_away_serves_no_longer_on_a_connection_that_stands(
    view: ZoneView, files: TlsSettings, authority: Authority, tmp_path: Path
) -> None:
    ca = tmp_path / "clients.pem"
    ca.write_bytes(authority.ca.read_bytes())
    rule = AccessRule(label="dnsengine.access[0]", networks=LOOPBACK, secured=Secured.CLIENT_CERTIFICATE)
    tls = attrs.evolve(files, client_ca=ca)
    pair = authority.issue("secondary.example")
    shown = trusting(authority, certificate=pair.certificate, key=pair.key)
    settings = ServerSettings(zone=ZONE, addresses=(ANY,), allow=(), rules=(rule,), tls=tls)
    async with serving(view, rules=(rule,), tls=tls) as rig, over_tls(rig, shown) as stream:
        messages = Messages(stream)
        assert await messages.transfer(None) == NAMES
        await rig.server.tell(ConfigureServer(settings=settings))
        assert await rig.counts("tls_outdated") == [0]
        assert await messages.transfer(None) == NAMES
        ca.write_bytes(Authority(tmp_path, "other").ca.read_bytes())
        await rig.server.tell(ConfigureServer(settings=settings))
        assert await rig.counts("tls_outdated") == [0]
        await messages.send(axfr())
        assert await stream.receive_some(1) == b""  # close_notify, and nothing before it
        assert await rig.counts("tls_outdated", "transfers_full") == [1, 2]


async def test_without_a_good_certificate_the_rest_is_served(
    view: ZoneView, files: TlsSettings, authority: Authority, caplog: pytest.LogCaptureFixture
) -> None:
    good = files.certificate.read_bytes()
    files.certificate.write_text("nothing")
    async with serving(view, allow=LOOPBACK, tls=files) as rig:
        assert "until a reload finds it good" in caplog.text
        async with over_tcp(rig) as messages:
            assert (await messages.ask(soa())).answer
        with pytest.raises((trio.BrokenResourceError, OSError)):
            async with over_tls(rig, trusting(authority)) as stream:
                await stream.do_handshake()
        files.certificate.write_bytes(good)
        settings = ServerSettings(zone=ZONE, addresses=(ANY,), allow=LOOPBACK, tls=files)
        await rig.server.tell(ConfigureServer(settings=settings))
        await rig.status()
        async with over_tls(rig, trusting(authority)) as stream:
            assert (await Messages(stream).ask(soa())).answer
