"""TLS over socket pairs; Trio's own SSLStream is the other side."""

import select
import socket
import ssl
import struct
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
import trio
from certificates import Authority

from tapir.transport.streams import Buffer, PeerGone, PeerStalled, TcpStream
from tapir.transport.tls import (
    HandshakeFailed,
    TlsError,
    TlsStream,
    Truncated,
    client_context,
    digest_authorities,
    server_context,
)

PEER = ("192.0.2.1", 4711)


@pytest.fixture(scope="module")
def authority(tmp_path_factory: pytest.TempPathFactory) -> Authority:
    return Authority(tmp_path_factory.mktemp("ca"))


@pytest.fixture(scope="module")
def served(authority: Authority) -> ssl.SSLContext:
    pair = authority.issue("pop.example")
    return server_context(certificate=pair.certificate, key=pair.key, protocols=("dot",))


def trusting(authority: Authority, *protocols: str) -> ssl.SSLContext:
    return client_context(ca=authority.ca, protocols=protocols)


@asynccontextmanager
async def connected(
    served: ssl.SSLContext, client: ssl.SSLContext, *, name: str = "pop.example"
) -> AsyncIterator[tuple[TlsStream, trio.SSLStream[trio.SocketStream]]]:
    """Our server's side and Trio's client's, after the handshake."""
    ours, theirs = trio.socket.socketpair()
    with ours, theirs:
        server = TlsStream(TcpStream(ours, PEER), served, server_side=True)
        stream = trio.SSLStream(trio.SocketStream(theirs), client, server_hostname=name)
        with trio.fail_after(30):
            async with trio.open_nursery() as nursery:
                nursery.start_soon(stream.do_handshake)
                await server.handshake(patience=10)
            yield server, stream


async def test_what_is_said_arrives_both_ways(served: ssl.SSLContext, authority: Authority) -> None:
    async with connected(served, trusting(authority, "h2", "dot")) as (server, client):
        assert server.peer == PEER
        assert server.protocol == "dot"
        assert server.peer_certificate is None
        await client.send_all(b"question")
        assert await server.receive() == b"question"
        await server.send((b"an", memoryview(b"swer"), b""), patience=5)
        assert await client.receive_some(100) == b"answer"


async def test_all_records_of_a_read_come_together(served: ssl.SSLContext, authority: Authority) -> None:
    async with connected(served, trusting(authority)) as (server, client):
        for _ in range(50):
            await client.send_all(b"x" * 100)
        assert await server.receive() == b"x" * 5000


async def test_much_is_sent_and_none_of_it_lost(served: ssl.SSLContext, authority: Authority) -> None:
    sent: list[Buffer] = [*(bytes([number]) * 98_000 for number in range(29)), b"\xff" * 155_000, b"", b"end"]
    got = bytearray()
    async with connected(served, trusting(authority)) as (server, client), trio.open_nursery() as nursery:

        async def read() -> None:
            while len(got) < 2_997_003:
                got.extend(await client.receive_some(1 << 16))

        nursery.start_soon(read)
        await server.send(sent, patience=5)
    assert got == b"".join(sent)


@pytest.mark.parametrize("pieces", [[bytes(16 * 1024)] * 640, [bytes(10 << 20)], [b"head", bytes(10 << 20), b"", b"x"]])
async def test_little_lies_encrypted_for_a_slow_reader(
    served: ssl.SSLContext, authority: Authority, monkeypatch: pytest.MonkeyPatch, pieces: list[bytes]
) -> None:
    asked: list[int] = []
    send = TcpStream.send

    async def noting(self: TcpStream, pieces: Sequence[Buffer], *, patience: float) -> None:
        asked.append(sum(map(len, pieces)))
        await send(self, pieces, patience=patience)

    async with connected(served, trusting(authority)) as (server, _):
        monkeypatch.setattr(TcpStream, "send", noting)
        with pytest.raises(PeerStalled):
            await server.send(pieces, patience=0.05)
    assert 64 * 1024 < max(asked) < 136 * 1024


async def test_what_was_decrypted_outlives_a_cancelled_answer(served: ssl.SSLContext, authority: Authority) -> None:
    async with connected(served, trusting(authority)) as (server, client):
        await client.send_all(b"before")
        # As after a KeyUpdate that wants one in return: an answer stands there while octets come.
        server._outgoing.write(b"x")
        await server._feed()
        with trio.CancelScope() as scope:
            scope.cancel()
            await server.receive()
        assert scope.cancelled_caught
        server._outgoing.read()
        assert await server.receive() == b"before"


async def test_an_end_is_told_from_a_truncation(served: ssl.SSLContext, authority: Authority) -> None:
    async with connected(served, trusting(authority)) as (server, client):
        await client.send_all(b"last words")
        with trio.move_on_after(5):
            await client.aclose()
        assert await server.receive() == b"last words"
        assert await server.receive() == b""
        assert await server.receive() == b""
    async with connected(served, trusting(authority)) as (server, client):
        await client.send_all(b"first half")
        await client.transport_stream.send_eof()
        assert await server.receive() == b"first half"
        with pytest.raises(Truncated, match="without close_notify"):
            await server.receive()
        with pytest.raises(PeerGone):
            await server.send((b"more",), patience=5)


async def test_our_end_is_one_to_the_peer(served: ssl.SSLContext, authority: Authority) -> None:
    async with connected(served, trusting(authority)) as (server, client):
        await server.end()
        # Trio raises BrokenResourceError where close_notify is missing.
        assert await client.receive_some(1) == b""
    async with connected(served, trusting(authority)) as (server, client):
        server.close()
        with pytest.raises(trio.BrokenResourceError):
            await client.receive_some(1)


async def test_a_peer_that_reads_nothing_is_given_up(served: ssl.SSLContext, authority: Authority) -> None:
    async with connected(served, trusting(authority)) as (server, _):
        with pytest.raises(PeerStalled):
            await server.send((bytes(64 << 20),), patience=0.05)
        await server.end()


async def test_a_client_certificate_is_known(authority: Authority, tmp_path: Path) -> None:
    pair = authority.issue("pop.example", file="with-clients")
    ours = authority.issue("secondary.example")
    client = client_context(ca=authority.ca, certificate=ours.certificate, key=ours.key)
    asking, requiring = (
        server_context(
            certificate=pair.certificate, key=pair.key, client_ca=authority.ca, require_client_certificate=required
        )
        for required in (False, True)
    )
    for context in (asking, requiring):
        async with connected(context, client) as (server, _):
            assert server.peer_certificate is not None
            assert ("DNS", "secondary.example") in server.peer_certificate["subjectAltName"]
    stranger = Authority(tmp_path, "stranger").issue("secondary.example")
    bad = client_context(ca=authority.ca, certificate=stranger.certificate, key=stranger.key)
    for wrong in (bad, trusting(authority)):
        with pytest.raises(ExceptionGroup) as caught:
            async with connected(requiring, wrong):
                pass
        assert caught.group_contains(HandshakeFailed, match="certificate")


async def test_without_tickets_nothing_follows_the_handshake(served: ssl.SSLContext, authority: Authority) -> None:
    pair = authority.issue("pop.example", file="without-tickets")
    silent = server_context(certificate=pair.certificate, key=pair.key, tickets=False)
    for context, follows in ((silent, False), (served, True)):
        ours, theirs = socket.socketpair()
        with ours, theirs:
            server = TlsStream(TcpStream(trio.socket.from_stdlib_socket(ours), PEER), context, server_side=True)
            client = trio.SSLStream(
                trio.SocketStream(trio.socket.from_stdlib_socket(theirs)),
                trusting(authority),
                server_hostname="pop.example",
            )
            async with trio.open_nursery() as nursery:
                nursery.start_soon(client.do_handshake)
                await server.handshake(patience=10)
            readable, _, _ = select.select([theirs], [], [], 0)
            assert bool(readable) is follows


def wire_pair() -> tuple[trio.socket.SocketType, trio.socket.SocketType]:
    return trio.socket.socketpair()


@pytest.mark.parametrize("hello", [b"", b"\0\x1d not TLS at all, a DNS message", b"\x16\x03\x01\x00\x05hello"])
async def test_what_is_no_tls_fails_the_handshake(served: ssl.SSLContext, hello: bytes) -> None:
    ours, theirs = wire_pair()
    with ours, theirs:
        server = TlsStream(TcpStream(ours, PEER), served, server_side=True)
        await theirs.send(hello) if hello else theirs.shutdown(trio.socket.SHUT_WR)
        theirs.shutdown(trio.socket.SHUT_WR)
        with pytest.raises(HandshakeFailed, match=r"192\.0\.2\.1:4711: "):
            await server.handshake(patience=10)
        await server.end()


async def test_a_handshake_has_a_deadline(served: ssl.SSLContext, autojump_clock: trio.testing.MockClock) -> None:
    ours, theirs = wire_pair()
    with ours, theirs:
        server = TlsStream(TcpStream(ours, PEER), served, server_side=True)
        with pytest.raises(HandshakeFailed, match="no handshake within 5 s"):
            await server.handshake(patience=5)


async def test_older_tls_is_not_spoken(served: ssl.SSLContext, authority: Authority) -> None:
    old = ssl.create_default_context(cafile=authority.ca)
    old.maximum_version = ssl.TLSVersion.TLSv1_2
    ours, theirs = wire_pair()
    with ours, theirs:
        server = TlsStream(TcpStream(ours, PEER), served, server_side=True)
        client = trio.SSLStream(trio.SocketStream(theirs), old, server_hostname="pop.example")
        async with trio.open_nursery() as nursery:

            async def shake() -> None:
                with pytest.raises(trio.BrokenResourceError) as caught:
                    await client.do_handshake()
                assert "protocol version" in str(caught.value.__cause__)  # our alert says why

            nursery.start_soon(shake)
            with pytest.raises(HandshakeFailed, match="unsupported protocol"):
                await server.handshake(patience=10)


async def test_our_client_talks_to_our_server(served: ssl.SSLContext, authority: Authority) -> None:
    ours, theirs = wire_pair()
    with ours, theirs:
        server = TlsStream(TcpStream(ours, PEER), served, server_side=True)
        client = TlsStream(
            TcpStream(theirs, PEER), trusting(authority, "dot"), server_side=False, server_hostname="pop.example"
        )
        async with trio.open_nursery() as nursery:
            nursery.start_soon(lambda: client.handshake(patience=10))
            await server.handshake(patience=10)
        await client.send((struct.pack("!H", 2), b"hi"), patience=5)
        assert await server.receive() == b"\0\2hi"
        await server.send((b"bye",), patience=5)
        await server.end()
        assert await client.receive() == b"bye"
        assert await client.receive() == b""
        assert client.protocol == "dot"


def test_files_that_cannot_be_used_are_named(authority: Authority, tmp_path: Path) -> None:
    good = authority.issue("pop.example", file="good")
    other = authority.issue("pop.example", file="other")
    garbage = tmp_path / "garbage.pem"
    garbage.write_text("no certificate")
    missing = tmp_path / "missing.pem"
    for certificate, key, match in (
        (missing, good.key, r"missing\.pem .*No such file"),
        (garbage, good.key, r"garbage\.pem"),
        (good.certificate, garbage, r"garbage\.pem"),
        (good.certificate, other.key, "key values mismatch"),
    ):
        with pytest.raises(TlsError, match=match):
            server_context(certificate=certificate, key=key)
    for ca in (missing, garbage):
        with pytest.raises(TlsError, match=f"the CA certificates .*{ca.name}"):
            server_context(certificate=good.certificate, key=good.key, client_ca=ca)


def test_states_of_the_authorities_are_told_apart(authority: Authority, tmp_path: Path) -> None:
    other = Authority(tmp_path, "other").ca
    assert digest_authorities(authority.ca) == digest_authorities(authority.ca) != digest_authorities(other)
    with pytest.raises(TlsError, match="No such file"):
        digest_authorities(tmp_path / "missing.pem")
