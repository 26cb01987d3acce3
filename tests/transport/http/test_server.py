import contextlib
import logging
import socket
import ssl
import struct
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from functools import partial
from pathlib import Path
from typing import Any

import h2.connection
import h2.events
import httpx
import pytest
import trio
import trio.testing
from certificates import Authority
from starlette.requests import Request
from starlette.responses import PlainTextResponse, Response, StreamingResponse

from tapir.transport.http.guard import GuardedStream
from tapir.transport.http.server import ALPN, HttpLimits, HttpServer, listen
from tapir.transport.tls import server_context

Handler = Callable[[Request], Awaitable[Response]]

IMPATIENT = HttpLimits(patience=0.5)
"""for tests that wait until it is over; in the others nobody is late because the machine was busy"""


def application(handler: Handler) -> Any:
    async def app(scope: Any, receive: Any, send: Any) -> None:
        response = await handler(Request(scope, receive))
        await response(scope, receive, send)

    return app


async def echo(request: Request) -> Response:
    return PlainTextResponse(f"{request.method} {len(await request.body())}")


@asynccontextmanager
async def serving(
    handler: Handler = echo, *, limits: HttpLimits | None = None, context: ssl.SSLContext | None = None
) -> AsyncIterator[tuple[HttpServer, int]]:
    server = HttpServer(application(handler), limits)
    listener = listen("127.0.0.1", 0)
    port = listener.socket.getsockname()[1]
    with trio.fail_after(30):
        async with trio.open_nursery() as nursery:
            nursery.start_soon(partial(server.serve, listener, lambda: context))  # noqa: ASYNC113
            yield server, port
            nursery.cancel_scope.cancel()


async def until(condition: Callable[[], bool]) -> None:
    """Wait for what no event tells."""
    while not condition():  # noqa: ASYNC110
        await trio.sleep(0.01)


async def say(port: int, octets: bytes) -> bytes:
    """What a client that says this, and then listens, is told until the end."""
    stream = await trio.open_tcp_stream("127.0.0.1", port)
    async with stream:
        await stream.send_all(octets)
        return await hear(stream)


async def hear(stream: trio.abc.ReceiveStream) -> bytes:
    heard = b""
    while True:
        try:
            piece = await stream.receive_some()
        except trio.BrokenResourceError:
            return heard
        if not piece:
            return heard
        heard += piece


async def test_it_answers_and_keeps_the_connection():
    async with serving() as (server, port), httpx.AsyncClient(base_url=f"http://127.0.0.1:{port}") as client:
        for size in (0, 10, 65536):
            answer = await client.post("/", content=b"x" * size)
            assert (answer.status_code, answer.text) == (200, f"POST {size}")
            assert "server" not in answer.headers
        assert server.counters["accepted"] == 1
        assert server.requests == 3


async def test_a_body_too_large_is_refused_and_the_connection_closed():
    async with serving() as (server, port):
        async with httpx.AsyncClient(base_url=f"http://127.0.0.1:{port}") as client:
            answer = await client.post("/", content=b"x" * 200_000)
            assert (answer.status_code, answer.text) == (413, "the request is too large\n")
        assert server.refused == {"body": 1}


async def test_a_body_without_end_does_not_hold_anything_up():
    async with serving() as (server, port):
        async with await trio.open_tcp_stream("127.0.0.1", port) as stream:
            await stream.send_all(b"POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n")
            with contextlib.suppress(trio.BrokenResourceError):
                while True:
                    await stream.send_all(b"8000\r\n" + b"x" * 0x8000 + b"\r\n")
        await until(lambda: not server.connections)


async def test_an_application_that_reads_no_body_answers_all_the_same():
    async def never_mind(request: Request) -> Response:
        return PlainTextResponse("no", 404)

    async with serving(never_mind) as (server, port):
        async with httpx.AsyncClient(base_url=f"http://127.0.0.1:{port}") as client:
            answer = await client.post("/", content=b"x" * 900_000)
            assert (answer.status_code, answer.text) == (404, "no")
        await until(lambda: not server.connections)


@pytest.mark.parametrize(
    "octets",
    [
        b"",
        b"GET / HTTP/1.1\r\nHos",
        b"GET / HTTP/1.1\r\nHost: a\r\n\r\nGET / HTTP",
        b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
    ],
)
async def test_a_client_that_does_not_go_on_is_let_go(octets: bytes):
    async with serving(limits=IMPATIENT) as (server, port):
        await say(port, octets)
        await until(lambda: not server.connections)


async def test_a_slow_body_is_refused():
    async with serving(limits=IMPATIENT) as (server, port):
        heard = await say(port, b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 10\r\n\r\nx")
        assert heard.startswith(b"HTTP/1.1 408")
        assert server.refused == {"body": 1}


async def test_a_head_too_large_is_refused():
    async with serving() as (_, port):
        heard = await say(port, b"GET / HTTP/1.1\r\nHost: a\r\nX: " + b"x" * 17_000)
        assert heard.startswith(b"HTTP/1.1 431")


@pytest.mark.parametrize(
    "octets", [b"\x00" * 200 + b"\r\n\r\n", b"GET\r\n\r\n", b"\x16\x03\x01\x02\x00\x01\x00\r\n\r\n"]
)
async def test_what_is_no_http_ends_the_connection(octets: bytes):
    async with serving() as (server, port):
        assert (await say(port, octets)).startswith(b"HTTP/1.1 400")
        await until(lambda: not server.connections)


async def test_a_websocket_is_refused():
    async with serving() as (_, port):
        heard = await say(
            port,
            b"GET / HTTP/1.1\r\nHost: a\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
            b"Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n",
        )
        assert heard.startswith(b"HTTP/1.1 403")


async def test_a_client_that_does_not_read_is_cut_off():
    async def pour(request: Request) -> Response:
        async def pieces() -> AsyncIterator[bytes]:
            while True:
                yield b"x" * 65536

        return StreamingResponse(pieces())

    async with serving(pour, limits=IMPATIENT) as (server, port):
        async with await trio.open_tcp_stream("127.0.0.1", port) as stream:
            await stream.send_all(b"GET / HTTP/1.1\r\nHost: a\r\n\r\n")
            await until(lambda: bool(server.refused))
            await until(lambda: not server.connections)
        assert server.refused == {"gone": 1}


async def test_a_client_over_http2_that_grants_no_window_is_cut_off(tmp_path: Path):
    authority = Authority(tmp_path)
    pair = authority.issue("localhost")
    context = server_context(certificate=pair.certificate, key=pair.key, protocols=ALPN)

    async def much(request: Request) -> Response:
        return PlainTextResponse("x" * 1_000_000)

    async with serving(much, limits=IMPATIENT, context=context) as (server, port):
        trusting = ssl.create_default_context(cafile=str(authority.ca))
        trusting.set_alpn_protocols(["h2"])
        stream = await trio.open_ssl_over_tcp_stream("localhost", port, ssl_context=trusting, https_compatible=True)
        await stream.do_handshake()
        assert stream.selected_alpn_protocol() == "h2"
        client = h2.connection.H2Connection()
        client.initiate_connection()
        head = [(":method", "GET"), (":path", "/"), (":scheme", "https"), (":authority", "localhost")]
        client.send_headers(1, head, end_stream=True)
        await stream.send_all(client.data_to_send())
        await hear(stream)
        await trio.aclose_forcefully(stream)
        await until(lambda: not server.connections)


async def test_tls_with_and_without_a_client_certificate(tmp_path: Path):
    authority = Authority(tmp_path)
    pair, client_pair = authority.issue("localhost"), authority.issue("node.example")
    context = server_context(certificate=pair.certificate, key=pair.key, client_ca=authority.ca, protocols=ALPN)

    async def who(request: Request) -> Response:
        peer = request.scope["state"]["peer"]
        return PlainTextResponse(f"{request.scope['http_version']} {peer.secured} {peer.local} {peer.certificate}")

    async with serving(who, context=context) as (server, port):
        trusting = ssl.create_default_context(cafile=str(authority.ca))
        for http2, version in ((False, "1.1"), (True, "2")):
            async with httpx.AsyncClient(verify=trusting, http2=http2) as client:
                assert (await client.get(f"https://localhost:{port}/")).text == f"{version} True True "
        trusting.load_cert_chain(client_pair.certificate, client_pair.key)
        async with httpx.AsyncClient(verify=trusting) as client:
            assert (await client.get(f"https://localhost:{port}/")).text == "1.1 True True node.example"
        await say(port, b"GET / HTTP/1.1\r\n\r\n")  # no TLS at all
        assert server.counters["no-tls"] == 1


async def test_connections_and_requests_are_limited():
    release = trio.Event()

    async def wait(request: Request) -> Response:
        await release.wait()
        return PlainTextResponse("done")

    limits = HttpLimits(connections=4, connections_per_address=3, requests=2, patience=5)
    async with serving(wait, limits=limits) as (server, port):
        heard: list[bytes] = []

        async def ask() -> None:
            heard.append(await say(port, b"GET / HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n"))

        async with trio.open_nursery() as nursery:
            for _ in range(3):
                nursery.start_soon(ask)
            await until(lambda: bool(heard))
            assert heard[0].startswith(b"HTTP/1.1 503")
            async with await trio.open_tcp_stream("127.0.0.1", port):
                await until(lambda: server.connections == 3)
                assert await say(port, b"") == b""  # one more than an address may have
            assert server.counters["refused"] == 1
            release.set()
        assert sorted(text[9:12] for text in heard) == [b"200", b"200", b"503"]


async def test_a_bug_of_the_application_is_a_500_and_told_once(caplog: pytest.LogCaptureFixture):
    async def broken(request: Request) -> Response:
        raise ZeroDivisionError("of the test")

    async with serving(broken) as (server, port), httpx.AsyncClient(base_url=f"http://127.0.0.1:{port}") as client:
        for _ in range(2):
            assert (await client.get("/")).status_code == 500
        assert server.refused == {"failed": 2}
    assert [record.levelno for record in caplog.records if record.name == "tapir.http"] == [logging.ERROR]


async def test_the_end_waits_for_what_was_asked_and_for_nobody_else():
    release = trio.Event()

    async def wait(request: Request) -> Response:
        await release.wait()
        return PlainTextResponse("done")

    async with serving(wait, limits=HttpLimits(patience=20)) as (server, port):
        heard: list[bytes] = []

        async def ask() -> None:
            heard.append(await say(port, b"GET / HTTP/1.1\r\nHost: a\r\n\r\n"))

        async with trio.open_nursery() as nursery:
            nursery.start_soon(ask)
            async with await trio.open_tcp_stream("127.0.0.1", port) as idle:
                await until(lambda: server.connections == 2 and server.requests == 1)
                nursery.start_soon(server.finish, 10)
                assert await hear(idle) == b""
            release.set()
        assert heard[0].startswith(b"HTTP/1.1 200")
        assert server.connections == 0


async def test_the_end_does_not_wait_for_ever():
    async def wait(request: Request) -> Response:
        await trio.sleep_forever()
        raise AssertionError

    async with serving(wait) as (server, port), trio.open_nursery() as nursery:
        nursery.start_soon(say, port, b"GET / HTTP/1.1\r\nHost: a\r\n\r\n")
        await until(lambda: bool(server.requests))
        await server.finish(0.1)
        assert server.connections == 1
        nursery.cancel_scope.cancel()


async def test_an_address_in_use_is_an_error():
    listener = listen("127.0.0.1", 0)
    with pytest.raises(OSError, match="in use"):
        listen("127.0.0.1", listener.socket.getsockname()[1])
    await listener.aclose()


async def test_it_listens_on_ipv6_alone():
    listener = listen("::1", 0)
    assert listener.socket.getsockname()[0] == "::1"
    await listener.aclose()


async def test_a_client_that_asks_nothing_and_leaves_holds_no_place():
    async with serving(limits=HttpLimits(patience=60)) as (server, port):
        for _ in range(5):
            stream = await trio.open_tcp_stream("127.0.0.1", port)
            await stream.aclose()
        await until(lambda: server.counters["accepted"] == 5)
        with trio.fail_after(10):
            await until(lambda: server.connections == 0)


async def test_requests_behind_an_answer_that_could_not_be_sent_hold_no_place():
    going = trio.Event()

    async def slow(request: Request) -> Response:
        going.set()
        await trio.sleep(0.2)
        return PlainTextResponse("done")

    async with serving(slow, limits=HttpLimits(patience=60)) as (server, port):
        stream = await trio.open_tcp_stream("127.0.0.1", port)
        await stream.send_all(b"GET / HTTP/1.1\r\nHost: x\r\n\r\n" * 5)
        await going.wait()
        # What is sent to it from now on comes back as a reset.
        stream.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        await stream.aclose()
        with trio.fail_after(10):
            await until(lambda: server.connections == 0)


async def test_what_was_asked_before_the_client_left_is_carried_out():
    done = trio.Event()

    async def order(request: Request) -> Response:
        await trio.sleep(0.3)
        done.set()
        return PlainTextResponse("done")

    async with serving(order, limits=HttpLimits(patience=60)) as (server, port):
        stream = await trio.open_tcp_stream("127.0.0.1", port)
        await stream.send_all(b"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 0\r\n\r\n")
        await stream.aclose()
        with trio.fail_after(10):
            await done.wait()
            await until(lambda: server.connections == 0)


async def test_a_flood_of_small_frames_is_taken_in_small_bites():
    there, here = trio.testing.memory_stream_pair()
    with trio.socket.socket() as sock:
        guard = GuardedStream(here, sock, patience=5)
        await there.send_all(b"x" * 65536)
        assert 0 < len(await guard.receive_some(65536)) <= 4096
        assert 0 < len(await guard.receive_some()) <= 4096


async def test_a_request_with_two_ends_is_refused_and_is_the_last():
    octets = (
        b"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n"
        b"0\r\n\r\nGET / HTTP/1.1\r\nHost: x\r\n\r\n"
    )
    async with serving() as (server, port):
        heard = await say(port, octets)
        assert heard.startswith(b"HTTP/1.1 400")
        assert heard.count(b"HTTP/1.1") == 1
        assert server.refused == {"ambiguous": 1}
