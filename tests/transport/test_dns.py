"""Sockets on 127.0.0.1, port 0; the peer under test never closes first unless the test says so."""

import errno
import socket
import struct
from collections.abc import Callable
from contextlib import closing
from pathlib import Path

import pytest
import trio

from tapir.transport.dns import (
    BindError,
    Deframer,
    Endpoint,
    MessageStream,
    TcpListener,
    UdpExchange,
    bind_endpoints,
    frame,
)
from tapir.transport.streams import PeerGone, PeerStalled, format_address, unmap_address

LOCAL = ("127.0.0.1", 0)


@pytest.mark.parametrize("step", [1, 2, 3, 7, 1000])
def test_messages_come_out_whole_however_the_stream_is_cut(step: int) -> None:
    messages = [b"", b"a", bytes(range(256)) * 3, b"last"]
    stream = b"".join(frame(message) for message in messages) + b"\0"
    deframer = Deframer()
    found: list[bytes] = []
    for start in range(0, len(stream), step):
        deframer.feed(stream[start : start + step])
        while (message := deframer.next_message()) is not None:
            found.append(message)
    assert found == messages
    assert deframer.pending == 1


def test_addresses_are_written_so_that_the_port_can_be_told() -> None:
    assert format_address(("192.0.2.1", 53)) == "192.0.2.1:53"
    assert format_address(("2001:db8::1", 53)) == "[2001:db8::1]:53"
    assert unmap_address("::ffff:192.0.2.1") == "192.0.2.1"
    assert unmap_address("fe80::1%eth0") == "fe80::1"


async def test_port_0_gives_one_port_for_both() -> None:
    (endpoint,) = bind_endpoints([LOCAL])
    with closing(endpoint):
        assert endpoint.address[1] != 0
        assert endpoint.udp.address == endpoint.tcp.address


async def test_a_failure_to_bind_names_the_address_and_binds_nothing() -> None:
    (taken,) = bind_endpoints([LOCAL])
    with closing(taken):
        before = _open_files()
        with pytest.raises(BindError, match=rf"127\.0\.0\.1:{taken.address[1]} \(TCP\)") as caught:
            bind_endpoints([LOCAL, taken.address])
        assert caught.value.address == taken.address
        assert _open_files() <= before, "what was bound first is closed again"


def _open_files() -> set[str]:
    return {path.name for path in Path("/proc/self/fd").iterdir()}


def test_a_host_name_is_no_address() -> None:
    with pytest.raises(BindError, match=r"localhost:53"):
        bind_endpoints([("localhost", 53)])


async def _connected(endpoint: Endpoint) -> tuple[MessageStream, trio.SocketStream]:
    client = await trio.open_tcp_stream(*endpoint.address)
    return MessageStream(await endpoint.tcp.accept()), client


async def test_a_stream_of_queries_and_answers() -> None:
    (endpoint,) = bind_endpoints([LOCAL])
    with closing(endpoint):
        server, client = await _connected(endpoint)
        async with client:
            await client.send_all(frame(b"first") + frame(b"second") + b"\0")
            assert await server.receive() == b"first"
            assert await server.receive() == b"second"
            await server.send([frame(b"answer")], patience=5)
            assert await client.receive_some(100) == b"\0\6answer"
            await client.send_eof()
            assert await server.receive() is None
            server.close()


async def test_a_deadline_loses_nothing_that_was_read() -> None:
    (endpoint,) = bind_endpoints([LOCAL])
    with closing(endpoint):
        server, client = await _connected(endpoint)
        async with client:
            await client.send_all(b"\0\5par")
            with trio.move_on_after(0.05) as scope:
                await server.receive()
            assert scope.cancelled_caught
            await client.send_all(b"ti")
            assert await server.receive() == b"parti"
            server.close()


async def test_a_peer_that_reads_nothing_is_given_up_and_its_data_dropped() -> None:
    (endpoint,) = bind_endpoints([LOCAL])
    with closing(endpoint):
        server, client = await _connected(endpoint)
        async with client:
            with pytest.raises(PeerStalled, match=r"read nothing for 0\.05 s"):
                await server.send([bytes(64 << 20)], patience=0.05)
            server.abort()
            with pytest.raises(trio.BrokenResourceError):
                await _read_all(client)


async def _read_all(client: trio.SocketStream) -> None:
    while await client.receive_some(1 << 20):
        pass


async def test_a_reset_is_the_peers_doing() -> None:
    (endpoint,) = bind_endpoints([LOCAL])
    with closing(endpoint):
        server, client = await _connected(endpoint)
        client.socket.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        await client.aclose()
        with pytest.raises(PeerGone, match=r"127\.0\.0\.1:\d+: Connection reset"):
            await server.receive()
        with pytest.raises(PeerGone):
            await server.send([b"more"], patience=5)
        server.close()


async def test_running_out_of_descriptors_is_waited_out(autojump_clock: trio.testing.MockClock) -> None:
    attempts = [errno.EMFILE, errno.ECONNABORTED, errno.ENFILE]

    class Socket:
        async def accept(self) -> tuple[socket.socket, tuple[str, int]]:
            await trio.lowlevel.checkpoint()
            if attempts:
                raise OSError(attempts.pop(0), "no")
            return socket.socket(), ("192.0.2.1", 5353)

    listener = TcpListener(socket.create_server(LOCAL))
    listener.close()
    listener._socket = Socket()  # type: ignore[assignment]
    stream = await listener.accept()
    assert trio.current_time() == pytest.approx(0.2)
    assert listener.exhausted == 2
    assert stream.peer == ("192.0.2.1", 5353)
    stream.close()


@pytest.mark.parametrize("wildcard", [False, True])
async def test_udp_answers_leave_from_the_address_asked(wildcard: bool) -> None:
    (endpoint,) = bind_endpoints([("0.0.0.0" if wildcard else "127.0.0.3", 0)])
    with closing(endpoint):
        client = trio.socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        with client:
            await client.bind(("127.0.0.2", 0))
            # 127.0.0.3 is on the loopback, but not what the kernel would choose to answer from.
            await client.sendto(b"question", ("127.0.0.3", endpoint.address[1]))
            await endpoint.udp.wait_readable()
            (datagram,) = endpoint.udp.receive_batch(8)
            assert datagram.payload == b"question"
            assert datagram.peer[0] == "127.0.0.2"
            endpoint.udp.send(b"answer", datagram)
            assert await client.recvfrom(100) == (b"answer", ("127.0.0.3", endpoint.address[1]))


async def test_udp_over_ipv6() -> None:
    try:
        (endpoint,) = bind_endpoints([("::", 0)])
    except BindError as exc:
        pytest.skip(f"no IPv6 here: {exc}")
    with closing(endpoint), trio.socket.socket(socket.AF_INET6, socket.SOCK_DGRAM) as client:
        try:
            await client.sendto(b"question", ("::1", endpoint.address[1]))
        except OSError as exc:
            pytest.skip(f"no IPv6 here: {exc}")
        await endpoint.udp.wait_readable()
        (datagram,) = endpoint.udp.receive_batch(8)
        endpoint.udp.send(b"answer", datagram)
        assert (await client.recvfrom(100))[0] == b"answer"


async def test_a_batch_is_read_at_one_wakeup_and_is_bounded() -> None:
    (endpoint,) = bind_endpoints([LOCAL])
    with closing(endpoint), trio.socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as client:
        for number in range(5):
            await client.sendto(b"%d" % number, endpoint.address)
        await endpoint.udp.wait_readable()
        assert [datagram.payload for datagram in endpoint.udp.receive_batch(3)] == [b"0", b"1", b"2"]
        assert [datagram.payload for datagram in endpoint.udp.receive_batch(3)] == [b"3", b"4"]


async def test_errors_of_the_network_are_counted_not_raised() -> None:
    (endpoint,) = bind_endpoints([LOCAL])
    with closing(endpoint), trio.socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as client:
        await client.sendto(b"q", endpoint.address)
        await endpoint.udp.wait_readable()
        (datagram,) = endpoint.udp.receive_batch(8)
        endpoint.udp.send(bytes(70000), datagram)
        assert endpoint.udp.errors == 1


async def _answer(sock: "trio.socket.SocketType", reply: Callable[[bytes], list[bytes]]) -> None:
    question, peer = await sock.recvfrom(100)
    for answer in reply(question):
        await sock.sendto(answer, peer)


async def test_an_exchange_skips_what_is_no_answer(nursery: trio.Nursery) -> None:
    with trio.socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as server:
        await server.bind(LOCAL)
        nursery.start_soon(_answer, server, lambda question: [b"junk", question.upper()])
        answer = await UdpExchange().exchange(server.getsockname(), b"q", is_answer=lambda octets: octets == b"Q")
        assert answer == b"Q"


async def test_an_exchange_ends_at_its_deadline_or_when_nobody_listens() -> None:
    with trio.socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as server:
        await server.bind(LOCAL)
        address = server.getsockname()
        with trio.move_on_after(0.05) as scope:
            await UdpExchange().exchange(address, b"q", is_answer=bool)
        assert scope.cancelled_caught
    with pytest.raises(ConnectionRefusedError):
        await UdpExchange().exchange(address, b"q", is_answer=bool)
