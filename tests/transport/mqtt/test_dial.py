"""The way to a broker, over sockets of this machine."""

import ssl
from collections.abc import Callable
from pathlib import Path

import pytest
import trio

from tapir.transport.mqtt.dial import broker_dial
from tapir.transport.mqtt.states import ConnectionLost, Trouble
from tapir.transport.tls import client_context


async def listening() -> trio.SocketListener:
    return (await trio.open_tcp_listeners(0, host="127.0.0.1"))[0]


async def test_octets_go_both_ways() -> None:
    async with await listening() as listener:
        port = listener.socket.getsockname()[1]
        with trio.fail_after(10):
            stream = await broker_dial("127.0.0.1", port)()
            async with await listener.accept() as theirs:
                assert stream.peer == ("127.0.0.1", port)
                await stream.send((b"to the", b" broker"), patience=5)
                assert await theirs.receive_some() == b"to the broker"
                await theirs.send_all(b"back")
                assert await stream.receive() == b"back"
                await stream.end()
                assert await theirs.receive_some() == b""


async def test_a_file_that_cannot_be_used_is_named_and_nobody_is_bothered(tmp_path: Path) -> None:
    missing = tmp_path / "ca.pem"
    dial = broker_dial("127.0.0.1", 1, make_context=lambda: client_context(ca=missing))
    with trio.fail_after(10), pytest.raises(ConnectionLost, match=r"ca\.pem") as caught:
        await dial()
    assert caught.value.trouble is Trouble.TLS


async def test_nobody_listens(free_port: Callable[[], int]) -> None:
    with trio.fail_after(10), pytest.raises(ConnectionLost, match="refused") as caught:
        await broker_dial("127.0.0.1", free_port())()
    assert caught.value.trouble is Trouble.CONNECT


async def test_a_broker_without_tls_and_one_that_is_silent() -> None:
    def context() -> ssl.SSLContext:
        return ssl.create_default_context()

    async with await listening() as listener, trio.open_nursery() as nursery:
        dial = broker_dial("127.0.0.1", listener.socket.getsockname()[1], make_context=context)

        async def answer() -> None:
            async with await listener.accept() as theirs:
                await theirs.receive_some()
                await theirs.send_all(b"\x20\x03\x00\x84\x00")

        nursery.start_soon(answer)
        with trio.fail_after(10), pytest.raises(ConnectionLost) as caught:
            await dial()
        assert caught.value.trouble is Trouble.TLS
        # Cancelled amid the handshake, the socket is closed at once: a leak would fail this test.
        with trio.fail_after(30):
            async with trio.open_nursery() as dialling:
                dialling.start_soon(dial)
                theirs = await listener.accept()
                await theirs.receive_some()
                dialling.cancel_scope.cancel()
            async with theirs:
                while await theirs.receive_some():
                    pass
