"""How a primary is reached: by its address or its name, signed, in clear or over TLS, and never by another way."""

import socket
from collections.abc import Sequence
from typing import Any

import pytest
import trio
from trio.testing import MockClock

from tapir.codec.tsig import TsigKey
from tapir.model.actions import Action
from tapir.model.blocks import RecordBlock
from tapir.model.names import parse_name
from tapir.services.sources import transferprimary
from tapir.services.sources.transferprimary import (
    NetworkPrimaries,
    PrimarySettings,
    PrimaryTls,
    PrimaryUnusable,
    TransferRequest,
    reason_of,
)
from tapir.transport.tls import TlsError
from tapir.transport.transfer import Patience, PrimaryFailed
from tapir.zone.answers import answer
from tapir.zone.faults import Fault, TransferError
from tapir.zone.replies import TCP, UDP, TransferReply
from tapir.zone.settings import ZoneSettings
from tapir.zone.version import ZoneVersion
from tapir.zone.view import ZoneView

ZONE = parse_name("feed.example")
SETTINGS = ZoneSettings(name=ZONE)
KEY = TsigKey(name=parse_name("k.example"), algorithm="hmac-sha256", secret=b"secret")
OTHER = TsigKey(name=parse_name("k.example"), algorithm="hmac-sha256", secret=b"another")
NOW = 1_700_000_000_000_000
RULES = {parse_name(f"n{i}.example"): Action.DROP for i in range(20)}


class Server:
    """Ourselves as the primary, on the other end of whatever is dialled."""

    def __init__(self) -> None:
        self.view = ZoneView(version=ZoneVersion.build(SETTINGS, 9, RecordBlock.of(RULES.items())))
        self.dialled: list[Any] = []
        self.datagrams = 0
        self.udp = True

    def say(self, wire: bytes, transport: Any) -> list[bytes]:
        reply = answer(
            wire,
            settings=SETTINGS,
            view=self.view,
            transport=transport,
            allowed=lambda kind: True,
            keys={KEY.name: KEY},
            now=NOW,
        )
        return [bytes(each) for each in reply] if isinstance(reply, TransferReply) else [reply.wire]

    async def exchange(self, address: Any, message: bytes, *, is_answer: Any) -> bytes:
        self.datagrams += 1
        if not self.udp:
            raise ConnectionRefusedError
        (wire,) = self.say(message, UDP)
        if not is_answer(wire):
            await trio.sleep_forever()
        return wire


class Stream:
    def __init__(self, server: Server, peer: Any) -> None:
        self.server = server
        self.peer = peer
        self.pieces: list[bytes] = []

    async def send(self, pieces: Sequence[Any], *, patience: float) -> None:
        wires = self.server.say(b"".join(map(bytes, pieces))[2:], TCP)
        self.pieces = [len(wire).to_bytes(2, "big") + wire for wire in wires]

    async def receive(self) -> bytes:
        await trio.lowlevel.checkpoint()
        return self.pieces.pop(0) if self.pieces else b""

    async def end(self) -> None: ...

    def close(self) -> None: ...

    def abort(self) -> None: ...


@pytest.fixture
def server(monkeypatch: pytest.MonkeyPatch) -> Server:
    found = Server()

    class Tcp:
        def __init__(self, *, peer: Any) -> None:
            self.peer = peer

        async def connect(self, *, patience: Patience) -> Stream:
            await trio.lowlevel.checkpoint()
            found.dialled.append(self.peer)
            return Stream(found, self.peer)

    class Tls:
        def __init__(self, *, tcp: Tcp, context: Any, hostname: str, require_alpn: bool) -> None:
            self.tcp, self.peer, self.said = tcp, tcp.peer, (context, hostname, require_alpn)

        async def connect(self, *, patience: Patience) -> Stream:
            await trio.lowlevel.checkpoint()
            found.dialled.append((*self.peer, *self.said))
            return Stream(found, self.peer)

    monkeypatch.setattr(transferprimary, "TcpConnector", Tcp)
    monkeypatch.setattr(transferprimary, "TlsConnector", Tls)
    return found


@pytest.fixture
def primaries(server: Server, monkeypatch: pytest.MonkeyPatch) -> NetworkPrimaries:
    found = NetworkPrimaries(patience=Patience(udp=1, udp_tries=1, idle=5))
    monkeypatch.setattr(found, "_udp", server)
    return found


def clock() -> int:
    return NOW


@pytest.mark.parametrize("key", [None, KEY])
async def test_a_serial_comes_by_udp_and_the_zone_over_a_stream(
    primaries: NetworkPrimaries, server: Server, key: TsigKey | None, autojump_clock: MockClock
) -> None:
    primary = PrimarySettings(host="192.0.2.1", port=5353, key=key)
    assert await primaries.serial(primary, ZONE, clock=clock) == 9
    assert server.dialled == []
    result = await primaries.transfer(primary, TransferRequest(zone=ZONE, held=None), clock=clock)
    assert server.dialled == [("192.0.2.1", 5353)]
    assert result.content is not None
    assert {name for part in result.content for name, _ in part} == set(RULES)
    result = await primaries.transfer(primary, TransferRequest(zone=ZONE, held=9), clock=clock)
    assert result.is_current


async def test_where_udp_fails_the_serial_comes_over_a_stream(
    primaries: NetworkPrimaries, server: Server, autojump_clock: MockClock
) -> None:
    server.udp = False
    assert await primaries.serial(PrimarySettings(host="192.0.2.1"), ZONE, clock=clock) == 9
    assert (server.datagrams, len(server.dialled)) == (1, 1)


async def test_a_wrong_key_is_told_as_that_and_soon(
    primaries: NetworkPrimaries, server: Server, autojump_clock: MockClock
) -> None:
    primary = PrimarySettings(host="192.0.2.1", key=OTHER)
    begun = trio.current_time()
    with pytest.raises(TransferError, match="BADSIG") as caught:
        await primaries.serial(primary, ZONE, clock=clock)
    assert (caught.value.fault, reason_of(caught.value)) == (Fault.TSIG, "tsig")
    assert trio.current_time() - begun < 2
    with pytest.raises(TransferError, match="tsig"):
        await primaries.transfer(primary, TransferRequest(zone=ZONE, held=None), clock=clock)


async def test_over_tls_nothing_goes_by_another_way(
    primaries: NetworkPrimaries, server: Server, autojump_clock: MockClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    said: list[Any] = []

    def context(**keys: Any) -> str:
        said.append(keys)
        return "context"

    monkeypatch.setattr(transferprimary, "client_context", context)
    tls = PrimaryTls(hostname="primary.example", require_alpn=False)
    primary = PrimarySettings(host="192.0.2.1", port=853, tls=tls)
    assert await primaries.serial(primary, ZONE, clock=clock) == 9
    assert server.datagrams == 0
    assert server.dialled == [("192.0.2.1", 853, "context", "primary.example", False)]
    await primaries.serial(primary, ZONE, clock=clock)
    # Read again each time: the files may have been replaced.
    assert said == [{"ca": None, "certificate": None, "key": None, "protocols": ("dot",)}] * 2


async def test_files_that_make_no_tls_are_told(
    primaries: NetworkPrimaries, autojump_clock: MockClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    def context(**keys: Any) -> str:
        raise TlsError("the CA is gone")

    monkeypatch.setattr(transferprimary, "client_context", context)
    primary = PrimarySettings(host="192.0.2.1", tls=PrimaryTls(hostname="x.example"))
    with pytest.raises(PrimaryUnusable, match="the CA is gone") as caught:
        await primaries.serial(primary, ZONE, clock=clock)
    assert reason_of(caught.value) == "tls"


async def test_a_name_is_looked_up_each_time(
    primaries: NetworkPrimaries, server: Server, autojump_clock: MockClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    addresses = ["192.0.2.7", "2001:db8::7"]
    asked: list[str] = []

    def getaddrinfo(host: str, port: int, **keys: Any) -> Any:
        asked.append(host)
        if not addresses:
            raise socket.gaierror(socket.EAI_NONAME, "Name or service not known")
        return [(socket.AF_INET, socket.SOCK_STREAM, 0, "", (addresses.pop(0), port))]

    monkeypatch.setattr(socket, "getaddrinfo", getaddrinfo)
    primary = PrimarySettings(host="primary.example")
    for _ in range(2):
        await primaries.transfer(primary, TransferRequest(zone=ZONE, held=None), clock=clock)
    assert server.dialled == [("192.0.2.7", 53), ("2001:db8::7", 53)]
    with pytest.raises(PrimaryUnusable, match="cannot be looked up: Name or service") as caught:
        await primaries.serial(primary, ZONE, clock=clock)
    assert reason_of(caught.value) == "name"
    assert asked == ["primary.example"] * 3


def test_how_a_primary_is_called_and_secured() -> None:
    tls = PrimaryTls(hostname="x.example")
    assert PrimarySettings(host="2001:db8::1", port=853).label == "[2001:db8::1]:853"
    assert [
        PrimarySettings(host="a", key=key, tls=secured).secured
        for key, secured in ((None, None), (KEY, None), (None, tls), (KEY, tls))
    ] == ["no", "tsig", "tls", "tls+tsig"]
    assert reason_of(PrimaryFailed(peer=("192.0.2.1", 53), reason="idle", detail="x")) == "idle"
