"""Many connections at once: none disturbs another, all are counted, and a stop takes what the kernel has."""

import contextlib
import errno
import socket
import ssl
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
import trio
from certificates import Authority
from framestreams import TestSender, connect_unix, file_octets
from trio.testing import MockClock, wait_all_tasks_blocked

from tapir.codec.framestream import Ending, Refusal
from tapir.model.blocks import FrameBlock
from tapir.transport.framelisteners import FrameListener, ListenError, listen_tcp, listen_unix
from tapir.transport.frameserver import Listeners
from tapir.transport.framestream import ConnectionSummary, Failure, FrameStreamSettings
from tapir.transport.streams import PeerGone
from tapir.transport.tls import client_context, server_context

SETTINGS = FrameStreamSettings()


class Room:
    """Listeners that serve, what they delivered, and what they reported."""

    def __init__(self, *listeners: FrameListener, limit: int = 256, settings: FrameStreamSettings = SETTINGS) -> None:
        self.frames: list[bytes] = []
        self.reports: list[tuple[str, ConnectionSummary]] = []
        self.reported = trio.Event()
        self.listeners = Listeners(
            listeners,
            self.deliver,
            settings,
            connection_limit=limit,
            report=self.report,
        )

    def report(self, name: str, summary: ConnectionSummary) -> None:
        self.reports.append((name, summary))
        self.reported.set()

    async def deliver(self, block: FrameBlock) -> None:
        await trio.lowlevel.checkpoint()
        self.frames += block

    def taken_up(self) -> int:
        """How many connections were accepted or refused."""
        statistics = self.listeners.statistics()
        return statistics.accepted + statistics.refused

    async def wait_until(self, condition: Callable[[], bool]) -> None:
        with trio.fail_after(30):
            while not condition():
                await wait_all_tasks_blocked()


@asynccontextmanager
async def serving(
    *listeners: FrameListener, limit: int = 256, settings: FrameStreamSettings = SETTINGS
) -> AsyncIterator[Room]:
    room = Room(*listeners, limit=limit, settings=settings)
    async with trio.open_nursery() as nursery:
        nursery.start_soon(room.listeners.serve)  # noqa: ASYNC113 - the kernel holds what comes before
        yield room
        room.listeners.stop()


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "dnstap.sock"


def gone(path: Path) -> bool:
    return not path.exists()


async def open_sender(path: Path) -> TestSender:
    sender = TestSender(await trio.open_unix_socket(path))
    await sender.open()
    return sender


async def test_unix_and_tcp_at_once(path: Path) -> None:
    tcp = listen_tcp(("127.0.0.1", 0))
    async with serving(listen_unix(path), tcp) as room:
        unix = await open_sender(path)
        other = TestSender(await trio.open_tcp_stream(*tcp.address), bidirectional=False)
        await other.open()
        await unix.send([b"unix"])
        await other.send([b"tcp"])
        await room.wait_until(lambda: room.listeners.statistics().open == 2)
        await unix.stop()
        await other.stop()
        await room.wait_until(lambda: len(room.reports) == 2)
        statistics = room.listeners.statistics()
    assert sorted(room.frames) == [b"tcp", b"unix"]
    assert (statistics.open, statistics.accepted, statistics.refused) == (0, 2, 0)
    assert (statistics.ended, statistics.failed) == ({"stopped": 2}, {})
    assert (statistics.frames, statistics.control_frames) == (2, 5)
    assert sorted(name.partition(":")[0] for name, _ in room.reports) == ["tcp", "unix"]
    assert gone(path)


async def test_those_that_break_lie_or_hang_disturb_nobody(path: Path, mock_clock: MockClock) -> None:
    async with serving(listen_unix(path)) as room:
        good = await open_sender(path)
        await good.send([b"one"])
        silent = connect_unix(path)
        liars = [b"GET /\r\n", file_octets([b"x"], content_type=b"other"), file_octets([])[:-12] + b"\xff\xff\xff\xff"]
        for octets in (*liars, file_octets([b"cut"])[:-15], b""):
            with connect_unix(path) as sock:
                sock.sendall(octets)
        await room.wait_until(lambda: len(room.reports) == 5)
        mock_clock.jump(SETTINGS.handshake_deadline)  # no time passes by itself: nobody else is late
        await room.wait_until(lambda: len(room.reports) == 6)
        silent.close()
        await good.send([b"two"])
        await good.stop()
        await room.wait_until(lambda: len(room.reports) == 7)
        statistics = room.listeners.statistics()
    assert room.frames == [b"one", b"two"]
    assert statistics.accepted == 7
    assert statistics.ended == {"stopped": 1, "truncated": 1, "unstarted": 1}
    assert statistics.failed == {
        Refusal.NO_HANDSHAKE: 1,
        Refusal.CONTENT_TYPE: 1,
        Refusal.FRAME_LENGTH: 1,
        Failure.HANDSHAKE_DEADLINE: 1,
    }


async def test_more_connections_than_may_be_are_closed_at_once(path: Path) -> None:
    async with serving(listen_unix(path), limit=2) as room:
        first, second = await open_sender(path), await open_sender(path)
        third = TestSender(await trio.open_unix_socket(path))
        with pytest.raises((trio.BrokenResourceError, PeerGone)):
            await third.open()
        await third.stream.aclose()
        await first.stop()
        await room.wait_until(lambda: room.listeners.statistics().open == 1)
        third = await open_sender(path)
        await second.stop()
        await third.stop()
        assert room.listeners.statistics().refused == 1


class Exhausted(socket.socket):
    """A listening socket whose accept fails with each of `errors` first."""

    errors: list[int]

    def accept(self) -> tuple[socket.socket, object]:
        if self.errors:
            code = self.errors.pop(0)
            raise OSError(code, errno.errorcode[code])
        return super().accept()


async def test_running_out_of_descriptors_is_waited_out(path: Path, autojump_clock: MockClock) -> None:
    listener = listen_unix(path)
    failing = Exhausted(fileno=listener.sock.detach())
    failing.errors = [errno.EMFILE] * 10 + [errno.ECONNABORTED, errno.ENFILE]
    failing.setblocking(False)
    listener.sock = failing
    begun = trio.current_time()
    with connect_unix(path) as sock:
        sock.sendall(file_octets([b"kept"]))
        async with serving(listener) as room:
            await room.reported.wait()
            waited = trio.current_time() - begun
            assert room.listeners.statistics().accept_errors == {"EMFILE": 10, "ECONNABORTED": 1, "ENFILE": 1}
    assert waited == pytest.approx(0.005 * (2**8 - 1) + 4 * 1.0, abs=0.06)
    assert room.frames == [b"kept"]


async def test_a_listening_socket_that_is_of_no_use_ends_it(path: Path) -> None:
    listener = listen_unix(path)
    failing = Exhausted(fileno=listener.sock.detach())
    failing.errors = [errno.EINVAL]
    listener.sock = failing
    with pytest.RaisesGroup(pytest.RaisesGroup(pytest.RaisesExc(ListenError, match="unix:.*EINVAL"))):
        await Room(listener).listeners.serve()
    assert gone(path)


async def test_what_the_consumer_raises_ends_it_all(path: Path) -> None:
    async def fail(block: FrameBlock) -> None:
        await trio.lowlevel.checkpoint()
        raise LookupError("ours")

    listeners = Listeners([listen_unix(path)], fail, SETTINGS)
    with connect_unix(path) as sock:
        sock.sendall(file_octets([b"one"]))
        with pytest.RaisesGroup(LookupError), trio.fail_after(30):
            await listeners.serve()
    assert listeners.statistics().abandoned == 1


@pytest.mark.parametrize("family", ["unix", "tcp"])
async def test_a_stop_takes_what_the_kernel_holds(family: str, path: Path) -> None:
    listener = listen_unix(path) if family == "unix" else listen_tcp(("127.0.0.1", 0))
    connect = (lambda: connect_unix(path)) if family == "unix" else lambda: socket.create_connection(listener.address)
    room = Room(listener)
    octets = file_octets([b"x" * 90] * 1000)[:-12]
    async with trio.open_nursery() as nursery:
        nursery.start_soon(room.listeners.serve)
        with connect() as sock, connect():
            await room.wait_until(lambda: room.listeners.statistics().open == 2)
            sock.sendall(octets)
            room.listeners.stop()
            await room.wait_until(lambda: len(room.reports) == 2)
    assert len(room.frames) == 1000
    assert room.listeners.statistics().ended == {Ending.UNSTOPPED: 1, Ending.UNSTARTED: 1}


async def test_a_tcp_sender_that_goes_on_holds_a_stop_up_only_so_long(autojump_clock: MockClock) -> None:
    listener = listen_tcp(("127.0.0.1", 0))
    room = Room(listener)
    octets = file_octets([b"x" * 90] * 100)
    async with trio.open_nursery() as nursery:
        nursery.start_soon(room.listeners.serve)
        with socket.create_connection(listener.address) as sock:
            sock.sendall(octets[:42])
            await room.wait_until(lambda: room.listeners.statistics().octets == 42)
            begun = trio.current_time()
            room.listeners.stop()
            with contextlib.suppress(BrokenPipeError, ConnectionResetError):
                while not room.reports and trio.current_time() - begun < 5:
                    sock.sendall(octets[42:-12])
                    await trio.sleep(0.01)
    assert trio.current_time() - begun < 2
    assert room.listeners.statistics().open == 0


async def test_a_thousand_that_never_speak_and_one_that_comes_again_and_again(
    path: Path, campaign: Any, mock_clock: MockClock
) -> None:
    number = campaign.rounds(1000)
    settings = FrameStreamSettings(block_delay=0)  # time stands still until it jumps
    with contextlib.ExitStack() as silent:
        async with serving(listen_unix(path), limit=number // 2, settings=settings) as room:
            good = await open_sender(path)
            for _ in range(number):
                silent.enter_context(connect_unix(path))
                await trio.lowlevel.checkpoint()
            await good.send([b"still here"])
            await room.wait_until(lambda: room.taken_up() == number + 1)
            mock_clock.jump(settings.handshake_deadline)
            await room.wait_until(lambda: room.frames == [b"still here"])
            await room.wait_until(lambda: room.listeners.statistics().open == 1)
            for _ in range(number):
                again = await open_sender(path)
                await again.send([b"again"])
                await again.stop()
            await good.stop()
            await room.wait_until(lambda: room.listeners.statistics().open == 0)
            statistics = room.listeners.statistics()
    assert len(room.frames) == 1 + number
    assert statistics.accepted == statistics.ended[Ending.STOPPED] + statistics.failed[Failure.HANDSHAKE_DEADLINE]
    assert statistics.refused + statistics.accepted == 2 * number + 1
    assert statistics.refused > 0


async def test_a_stop_waits_for_a_consumer_only_so_long(path: Path, autojump_clock: MockClock) -> None:
    async def never(block: FrameBlock) -> None:
        await trio.sleep_forever()

    listeners = Listeners([listen_unix(path)], never, SETTINGS)
    with connect_unix(path) as sock:
        sock.sendall(file_octets([b"one"] * 7))
        async with trio.open_nursery() as nursery:
            nursery.start_soon(listeners.serve)
            await trio.sleep(10)
            listeners.stop()
            begun = trio.current_time()
        assert trio.current_time() - begun == 1
    statistics = listeners.statistics()
    assert (statistics.open, statistics.frames, statistics.abandoned) == (0, 0, 7)


@pytest.fixture(scope="module")
def authority(tmp_path_factory: pytest.TempPathFactory) -> Authority:
    return Authority(tmp_path_factory.mktemp("ca"))


def contexts(authority: Authority, *, known: bool) -> tuple[ssl.SSLContext, ssl.SSLContext]:
    """Of a server that wants certificates of clients, and of a client that has one or not."""
    ours, theirs = authority.issue("edm.example"), authority.issue("resolver.example")
    server = server_context(
        certificate=ours.certificate, key=ours.key, client_ca=authority.ca, require_client_certificate=True
    )
    if known:
        return server, client_context(ca=authority.ca, certificate=theirs.certificate, key=theirs.key)
    return server, client_context(ca=authority.ca)


async def test_tls_with_a_certificate_of_the_client(authority: Authority) -> None:
    server, client = contexts(authority, known=True)
    listener = listen_tcp(("127.0.0.1", 0), tls=server)
    assert listener.name.startswith("tls:")
    frames = [bytes([number % 256]) * 999 for number in range(3000)]
    async with serving(listener) as room:
        stream = trio.SSLStream(
            await trio.open_tcp_stream(*listener.address), client, server_hostname="edm.example", https_compatible=True
        )
        sender = TestSender(stream)
        with trio.fail_after(30):
            await sender.open()
            await sender.send(frames)
            await sender.stop()
        await room.wait_until(lambda: bool(room.reports))
    assert room.frames == frames
    assert room.listeners.statistics().ended == {"stopped": 1}


async def test_tls_without_one_is_counted_and_says_why_but_not_who(authority: Authority) -> None:
    server, client = contexts(authority, known=False)
    listener = listen_tcp(("127.0.0.1", 0), tls=server)
    async with serving(listener) as room:
        stream = trio.SSLStream(await trio.open_tcp_stream(*listener.address), client, server_hostname="edm.example")
        with pytest.raises(trio.BrokenResourceError):
            await TestSender(stream).open()
        await trio.aclose_forcefully(stream)
        with socket.create_connection(listener.address) as sock:
            sock.sendall(file_octets([b"in clear"]))
            await room.wait_until(lambda: len(room.reports) == 2)
    assert room.listeners.statistics().failed == {"tls": 2}
    details = [summary.detail for _, summary in room.reports]
    assert "certificate" in details[0]
    assert all(details)
    assert not any("127.0.0.1" in repr(summary) or "peer" in repr(summary) for _, summary in room.reports[1:])


async def test_a_stop_ends_tls_too(authority: Authority) -> None:
    server, client = contexts(authority, known=True)
    listener = listen_tcp(("127.0.0.1", 0), tls=server)
    async with serving(listener) as room:
        stream = trio.SSLStream(await trio.open_tcp_stream(*listener.address), client, server_hostname="edm.example")
        sender = TestSender(stream)
        await sender.open()
        await sender.send([b"one"])
        await room.wait_until(lambda: bool(room.listeners.statistics().octets))
    await trio.aclose_forcefully(stream)
    assert room.frames in ([b"one"], [])
    assert room.listeners.statistics().ended == {"unstopped": 1}
