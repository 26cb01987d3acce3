"""The input as an actor, on real sockets: what comes is in the account, what cannot be listened on harms nobody.

Each test ends by itself within seconds; a condition is waited for, never a time.
"""

import contextlib
import os
import socket
import ssl
import stat
import subprocess
import sys
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any, cast

import attrs
import pytest
import trio
from certificates import Authority
from framestreams import TestSender, file_octets
from trio.testing import wait_all_tasks_blocked

import tapir.services.ingest.input
from actors import ActorRef, ActorSpec, ActorSystem, Backoff, MailboxSpec, Overflow, Strategy, SupervisorSpec
from actors.testing import Probe, run_system
from tapir.minimiser.account import Fate, Ledger
from tapir.model.messages.edm import FramesReceived, GetInput, InputStatus
from tapir.services.ingest.input import MAILBOX, DnstapInput, InputSettings
from tapir.services.ingest.inputopening import Inherited, InputError, OpenedInput, open_input
from tapir.transport.framestream import FrameStreamSettings
from tapir.transport.streams import PeerGone
from tapir.transport.tls import client_context

SETTINGS = InputSettings(
    unix=None,
    unix_mode=0o600,
    unix_group="",
    tcp=None,
    tls=None,
    tls_certificate=None,
    tls_key=None,
    tls_client_ca=None,
    streams=FrameStreamSettings(block_delay=0.001),
    connections=4,
)


FOUR = MailboxSpec(4, Overflow.WAIT)


class Room:
    """An input, the minimiser that it tells, and the account of both."""

    def __init__(self, system: ActorSystem, ledger: Ledger, minimiser: Probe) -> None:
        self.input: ActorRef[Any] = system.ref("input")
        self.ledger = ledger
        self.minimiser = minimiser

    async def status(self) -> InputStatus:
        return await self.input.ask(GetInput())

    async def wait(self, condition: Callable[[InputStatus], bool]) -> InputStatus:
        with trio.fail_after(30):
            while not condition(status := await self.status()):
                await wait_all_tasks_blocked(0.005)
        return status

    def frames(self) -> list[bytes]:
        return [frame for message in self.minimiser.messages for frame in message.block]


@asynccontextmanager
async def running(
    settings: InputSettings,
    *,
    inherited: Sequence[tuple[str, int]] = (),
    mailbox: MailboxSpec = FOUR,
    minimiser: Probe | None = None,
) -> AsyncIterator[Room]:
    ledger, probe = Ledger(), minimiser or Probe()
    system = ActorSystem()

    def make() -> DnstapInput:
        return DnstapInput(settings, minimiser=system.ref("minimiser"), ledger=ledger, inherited=lambda: inherited)

    children: tuple[ActorSpec[Any], ...] = (
        probe.spec("minimiser", mailbox),
        ActorSpec(name="input", factory=make, mailbox=MAILBOX, backoff=Backoff(first=0.001)),
    )
    tree = SupervisorSpec(name="edm", strategy=Strategy.ONE_FOR_ONE, children=children)
    with trio.fail_after(60):
        async with run_system(tree, system=system):
            yield Room(system, ledger, probe)


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "dnstap.sock"


@pytest.fixture
def unix(path: Path) -> InputSettings:
    return attrs.evolve(SETTINGS, unix=path)


def rights(path: Path) -> int | None:
    return stat.S_IMODE(path.stat().st_mode) if path.exists() else None


@pytest.fixture
def taken(path: Path) -> Path:
    """A path where something is that is no socket."""
    path.write_text("something else")
    return path


async def sending(path: Path) -> TestSender:
    sender = TestSender(await trio.open_unix_socket(path))
    try:
        await sender.open()
    except BaseException:
        await trio.aclose_forcefully(sender.stream)
        raise
    return sender


async def test_frames_are_received_in_the_account_and_told(unix: InputSettings, path: Path) -> None:
    async with running(unix) as room:
        assert rights(path) == 0o600
        sender = await sending(path)
        await sender.send([b"one", b"two"])
        await sender.stop()
        status = await room.wait(lambda status: status.ended == (("stopped", 1),))
        await room.minimiser.wait_count(1)
        assert room.frames() == [b"one", b"two"]
        assert room.ledger.account().received == room.ledger.account().in_flight == 2
        assert (status.addresses, status.frames, status.accepted) == ((f"unix:{path}",), 2, 1)
        assert (status.open, status.failed, status.abandoned, status.trouble) == (0, (), 0, "")
    assert rights(path) is None


async def test_tcp_says_the_port_that_the_kernel_gave() -> None:
    async with running(attrs.evolve(SETTINGS, tcp=("127.0.0.1", 0))) as room:
        (address,) = (await room.status()).addresses
        assert address.startswith("tcp:127.0.0.1:")
        sender = TestSender(await trio.open_tcp_stream("127.0.0.1", int(address.rpartition(":")[2])))
        await sender.open()
        await sender.send([b"one"])
        await sender.stop()
        assert (await room.minimiser.next()).block.data


async def test_a_full_mailbox_keeps_the_sender_waiting(path: Path) -> None:
    hold = trio.Event()

    class Slow(Probe):
        async def receive(self, ctx: Any, message: Any) -> None:
            await hold.wait()
            await super().receive(ctx, message)

    streams = FrameStreamSettings(block_delay=0.001, block_octets=4096, frame_limit=4096)
    settings = attrs.evolve(SETTINGS, unix=path, streams=streams)
    async with running(settings, mailbox=MailboxSpec(1, Overflow.WAIT), minimiser=Slow()) as room:
        sender = await sending(path)
        sent = 0

        async def pour() -> None:
            nonlocal sent
            while True:
                await sender.send([bytes(4000)])
                sent += 1

        async with trio.open_nursery() as pouring:
            pouring.start_soon(pour)
            await wait_all_tasks_blocked(0.02)  # nobody goes on: neither does the sender
            blocked = room.ledger.account()
            pouring.cancel_scope.cancel()
        assert sent > blocked.received  # the rest is in the kernel
        assert blocked.received == blocked.in_flight <= 8  # a block of two in each place where one may be
        hold.set()
        await room.wait(lambda status: status.frames >= sent)
        assert not room.ledger.account().settled[Fate.STOPPED]
        await sender.stream.aclose()


async def test_what_the_kernel_holds_at_a_stop_is_taken(unix: InputSettings, path: Path) -> None:
    probe = Probe()
    async with running(unix, minimiser=probe) as room:
        sender = await sending(path)
        await room.wait(lambda status: status.open == 1)
        await sender.send([b"late"] * 1000)
    assert len(room.frames()) == room.ledger.account().received == 1000
    with pytest.raises((trio.BrokenResourceError, PeerGone)):
        await sender.stop()
    await sender.stream.aclose()


async def test_what_the_minimiser_does_not_get_is_settled(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tapir.services.ingest.input, "DRAIN", 0.05)

    class Stuck(Probe):
        async def receive(self, ctx: Any, message: Any) -> None:
            await super().receive(ctx, message)
            await trio.sleep_forever()

    streams = FrameStreamSettings(block_delay=0.001, block_octets=4096, frame_limit=4096)
    settings = attrs.evolve(SETTINGS, unix=path, streams=streams)
    probe = Stuck()
    async with run_stuck(settings, probe) as (ledger, sender):
        await sender.send([bytes(4000)] * 20)
        with trio.fail_after(30):
            while ledger.account().received < 6:
                await wait_all_tasks_blocked(0.005)
    account = ledger.account()
    assert account.settled[Fate.STOPPED] == account.received - 4  # a block of two in hand, and one in the mailbox
    await sender.stream.aclose()


@asynccontextmanager
async def run_stuck(settings: InputSettings, probe: Probe) -> AsyncIterator[tuple[Ledger, TestSender]]:
    """A minimiser that takes two blocks and no more, whatever happens."""
    ledger, system = Ledger(), ActorSystem()

    def make() -> DnstapInput:
        return DnstapInput(settings, minimiser=system.ref("minimiser"), ledger=ledger, inherited=tuple)

    children: tuple[ActorSpec[Any], ...] = (
        probe.spec("minimiser", MailboxSpec(1, Overflow.WAIT), drain_timeout=0.05, stop_timeout=0.05),
        ActorSpec(name="input", factory=make, mailbox=MAILBOX),
    )
    with trio.fail_after(60):
        async with run_system(
            SupervisorSpec(name="edm", strategy=Strategy.ONE_FOR_ONE, children=children), system=system
        ):
            assert settings.unix is not None
            sender = await sending(settings.unix)
            yield ledger, sender


async def test_what_cannot_be_listened_on_is_said_once_and_tried_again(
    unix: InputSettings, taken: Path, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = taken
    monkeypatch.setattr(tapir.services.ingest.input, "_FIRST_WAIT", 0.01)
    caplog.set_level("INFO")
    async with running(unix) as room:
        status = await room.status()
        assert status.addresses == ()
        assert (
            status.trouble == f"cannot listen on unix:{path}: something that is no socket is there, and is left alone"
        )
        await trio.sleep(0.1)  # some tries
        await trio.Path(path).unlink()
        await room.wait(lambda status: status.addresses == (f"unix:{path}",) and not status.trouble)
        await (await sending(path)).stop()
    said = [record.getMessage() for record in caplog.records if record.getMessage().startswith("input: ")]
    assert [text.partition(":")[2].split()[0] for text in said] == ["cannot", "listening"]
    assert said[0].endswith("it is tried again, and until then nothing comes in there")
    assert said[1].endswith(" again")


@pytest.mark.usefixtures("taken")
async def test_a_stop_does_not_wait_for_the_next_try(unix: InputSettings, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tapir.services.ingest.input, "_FIRST_WAIT", 3600.0)
    with trio.fail_after(60):
        async with running(unix) as room:
            assert (await room.status()).trouble


async def test_a_listening_socket_that_is_of_no_use_is_opened_again(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tapir.services.ingest.input, "_FIRST_WAIT", 0.01)
    opened: list[OpenedInput] = []

    def opening(settings: InputSettings, inherited: Inherited) -> OpenedInput:
        opened.append(open_input(settings, inherited))
        return opened[-1]

    monkeypatch.setattr(tapir.services.ingest.input, "open_input", opening)
    async with running(attrs.evolve(SETTINGS, tcp=("127.0.0.1", 0))) as room:
        for turn in (0, 1):
            await room.wait(lambda status, turn=turn: len(opened) == turn + 1 and status.addresses != ())  # type: ignore[misc]
            sender = TestSender(await trio.open_tcp_stream(*opened[turn].listeners[0].address))
            await sender.open()
            await sender.stop()
            await room.wait(lambda status, turn=turn: status.accepted == turn + 1 and not status.open)  # type: ignore[misc]
            if not turn:
                opened[0].listeners[0].sock.shutdown(socket.SHUT_RDWR)  # accept(2) says EINVAL from now on
        assert (await room.status()).ended == (("stopped", 2),)


class Boom(Exception):
    """What this test breaks."""


async def test_after_a_crash_it_listens_again(unix: InputSettings, path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    async with running(unix) as room:
        before = await sending(path)

        def broken(self: Ledger, frames: int) -> None:
            monkeypatch.undo()
            raise Boom

        monkeypatch.setattr(Ledger, "receive", broken)
        await before.send([b"crashes it"])
        with contextlib.suppress(trio.BrokenResourceError):
            while await before.stream.receive_some():
                pass
        await before.stream.aclose()
        with trio.fail_after(10):
            while True:
                with contextlib.suppress(OSError, trio.BrokenResourceError, PeerGone):
                    after = await sending(path)
                    break
                await wait_all_tasks_blocked(0.005)
        await after.send([b"one"])
        await after.stop()
        await room.minimiser.wait_count(1)
    assert room.frames() == [b"one"]
    assert room.ledger.account().received == 1


async def test_one_connection_more_is_refused_and_said_once(
    unix: InputSettings, path: Path, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(tapir.services.ingest.input, "LOOK", 0.01)
    async with running(attrs.evolve(unix, connections=1)) as room:
        first = await sending(path)
        for count in (1, 2):
            with contextlib.suppress(trio.BrokenResourceError, PeerGone):
                await sending(path)
            await room.wait(lambda status, count=count: status.refused == count)  # type: ignore[misc]
            await trio.sleep(0.05)
        await first.stop()
    said = [record.getMessage() for record in caplog.records if record.levelname == "WARNING"]
    assert said == ["input: a sender was refused, since 1 are connected (input-connections)"]


async def test_bad_senders_are_told_once_an_hour(
    unix: InputSettings, path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level("INFO")
    async with running(unix) as room:
        for octets in (b"GET /\r\n", b"GET /\r\n", file_octets([b"x"], content_type=b"other")):
            stream = await trio.open_unix_socket(path)
            await stream.send_all(octets)
            with contextlib.suppress(trio.BrokenResourceError):
                await stream.receive_some()
            await stream.aclose()
        for _ in range(2):
            good = await sending(path)
            await good.send([b"x"])
            await good.stop()
            await room.wait(lambda status: status.open == 0)
        status = await room.wait(lambda status: status.accepted == 5)
    assert status.failed == (("content-type", 1), ("no-handshake", 2))
    said = [record.getMessage() for record in caplog.records if "a sender" in record.getMessage()]
    assert [text.partition("(")[2].split(":")[0] for text in said] == ["no-handshake", "content-type", ""]
    assert said[2] == "input: a sender came and went as it should again"


# TLS


@pytest.fixture(scope="module")
def authority(tmp_path_factory: pytest.TempPathFactory) -> Authority:
    return Authority(tmp_path_factory.mktemp("ca"))


async def tls_sender(port: int, context: ssl.SSLContext) -> TestSender:
    stream = trio.SSLStream(
        await trio.open_tcp_stream("127.0.0.1", port), context, server_hostname="edm.example", https_compatible=True
    )
    sender = TestSender(stream)
    try:
        await sender.open()
    except BaseException:
        await trio.aclose_forcefully(stream)
        raise
    return sender


async def test_tls_takes_who_has_a_certificate_and_follows_its_files(
    authority: Authority, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(tapir.services.ingest.input, "LOOK", 0.01)
    caplog.set_level("INFO")
    ours, theirs = authority.issue("edm.example"), authority.issue("resolver.example")
    certificate, key = tmp_path / "cert.pem", tmp_path / "key.pem"
    certificate.write_bytes(ours.certificate.read_bytes())
    key.write_bytes(ours.key.read_bytes())
    settings = attrs.evolve(
        SETTINGS, tls=("127.0.0.1", 0), tls_certificate=certificate, tls_key=key, tls_client_ca=authority.ca
    )
    known = client_context(ca=authority.ca, certificate=theirs.certificate, key=theirs.key)
    async with running(settings) as room:
        (address,) = (await room.status()).addresses
        assert address.startswith("tls:127.0.0.1:")
        port = int(address.rpartition(":")[2])
        sender = await tls_sender(port, known)
        await sender.send([b"one"])
        await sender.stop()
        with contextlib.suppress(trio.BrokenResourceError, PeerGone):
            await tls_sender(port, client_context(ca=authority.ca))
            raise AssertionError("a stranger was let in")
        await room.wait(lambda status: status.failed == (("tls", 1),))
        key.write_bytes(b"no key")
        while "the certificate from before" not in caplog.text:
            await wait_all_tasks_blocked(0.005)
        await (await tls_sender(port, known)).stop()
        anew = authority.issue("edm.example", file="anew")
        certificate.write_bytes(anew.certificate.read_bytes())
        key.write_bytes(anew.key.read_bytes())
        while "read anew" not in caplog.text:
            await wait_all_tasks_blocked(0.005)
        sender = await tls_sender(port, known)
        assert sender.stream.getpeercert(binary_form=True) == pem_octets(anew.certificate)  # type: ignore[attr-defined]
        await sender.stop()
    assert "127.0.0.1:" not in "".join(text for text in caplog.messages if "given up" in text).replace(address, "")


def pem_octets(path: Path) -> bytes:
    return ssl.PEM_cert_to_DER_cert(path.read_text())


@pytest.mark.parametrize("missing", ["tls_certificate", "tls_key"])
async def test_tls_without_its_files_is_trouble_and_no_crash(
    authority: Authority, missing: str, tmp_path: Path
) -> None:
    pair = authority.issue("edm.example", file="whole")
    whole = attrs.evolve(SETTINGS, tls=("127.0.0.1", 0), tls_certificate=pair.certificate, tls_key=pair.key)
    absent: dict[str, Any] = {missing: tmp_path / "no"}
    settings = attrs.evolve(whole, **absent)
    async with running(settings) as room:
        status = await room.status()
        assert status.trouble.startswith("cannot listen on tls:127.0.0.1:0: the certificate ")
    with pytest.raises(InputError, match="it needs a certificate and a key"):
        open_input(attrs.evolve(settings, **cast("dict[str, Any]", dict.fromkeys(absent))), tuple)


# Sockets of the service manager


def listening(address: object, family: socket.AddressFamily = socket.AF_UNIX) -> socket.socket:
    sock = socket.socket(family, socket.SOCK_STREAM)
    sock.bind(address)  # type: ignore[arg-type]
    sock.listen(8)
    return sock


async def test_a_socket_of_the_service_manager_outlives_the_input(unix: InputSettings, path: Path) -> None:
    with listening(str(path)) as held:
        for turn in range(2):
            # It connects while nobody serves, and what it says lies in the kernel.
            early = await trio.open_unix_socket(path)
            await early.send_all(file_octets([b"%d" % turn]))
            async with running(unix, inherited=[("tapir-edm.socket", held.fileno())]) as room:
                assert (await room.status()).addresses == (f"unix:{path} (fd:tapir-edm.socket)",)
                await room.minimiser.wait_count(1)
                assert room.frames() == [b"%d" % turn]
            await early.aclose()
            assert rights(path) is not None


async def test_a_borrowed_socket_that_somebody_shuts_down_is_replaced_by_our_own(
    unix: InputSettings, path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(tapir.services.ingest.input, "_FIRST_WAIT", 0.01)
    with listening(str(path)) as held:
        async with running(unix, inherited=[("tapir-edm.socket", held.fileno())]) as room:
            await room.wait(lambda status: status.addresses == (f"unix:{path} (fd:tapir-edm.socket)",))
            # From now on it is readable, and accept(2) says EAGAIN: whoever only waits for it never rests again.
            held.shutdown(socket.SHUT_RDWR)
            await room.wait(lambda status: status.addresses == (f"unix:{path}",))
            sender = await sending(path)
            await sender.stop()
            await room.wait(lambda status: status.ended == (("stopped", 1),))
            assert (await room.status()).trouble == "cannot listen on fd:tapir-edm.socket: another process shut it down"


def test_a_tcp_socket_is_known_by_its_address() -> None:
    with listening(("127.0.0.1", 0), socket.AF_INET) as held:
        address = held.getsockname()
        opened = open_input(attrs.evolve(SETTINGS, tcp=address), lambda: [("dnstap", held.fileno())])
        assert [listener.name for listener in opened.listeners] == [f"tcp:127.0.0.1:{address[1]} (fd:dnstap)"]
        assert opened.misfits == ()
        opened.listeners[0].close()
        everywhere = attrs.evolve(SETTINGS, tcp=("0.0.0.0", address[1]))
        with pytest.raises(InputError, match=r"Address already in use.*127.0.0.1:[0-9]+ there, and configured is"):
            open_input(everywhere, lambda: [("dnstap", held.fileno())])


def test_every_address_is_every_address() -> None:
    with listening(("::", 0), socket.AF_INET6) as held:
        settings = attrs.evolve(SETTINGS, tcp=("0.0.0.0", held.getsockname()[1]))
        (listener,) = open_input(settings, lambda: [("dnstap", held.fileno())]).listeners
    listener.close()


def test_var_run_is_run(tmp_path: Path) -> None:
    (tmp_path / "run").mkdir()
    (tmp_path / "var").symlink_to(tmp_path / "run")
    with listening(str(tmp_path / "run" / "sock")) as held:
        settings = attrs.evolve(SETTINGS, unix=tmp_path / "var" / "sock")
        opened = open_input(settings, lambda: [("dnstap", held.fileno())])
        assert opened.misfits == ()
    opened.listeners[0].close()


async def test_what_does_not_fit_is_refused_clearly_and_the_input_is_opened(
    unix: InputSettings, path: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    with (
        listening(str(tmp_path / "other")) as other,
        listening(f"\0tapir-test-{os.getpid()}") as abstract,
        socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as datagrams,
        listening(("127.0.0.1", 0), socket.AF_INET) as tcp,
    ):
        held = {"other": other, "abstract": abstract, "datagrams": datagrams, "tcp": tcp}
        async with running(unix, inherited=[(name, sock.fileno()) for name, sock in held.items()]) as room:
            status = await room.status()
            assert status.addresses == (f"unix:{path}",)
            await (await sending(path)).stop()
    texts = status.trouble.split("; cannot ")
    assert len(texts) == 4
    assert f"fd:other: the service manager listens on unix:{tmp_path}/other there, and configured is unix:" in texts[0]
    assert "a Unix socket without a path" in texts[1]
    assert "no stream socket" in texts[2]
    assert "tcp:127.0.0.1:" in texts[3]
    assert status.trouble in caplog.text


def test_two_sockets_for_one_input(unix: InputSettings, path: Path) -> None:
    with listening(str(path)) as held:
        opened = open_input(unix, lambda: [("a", held.fileno()), ("b", held.fileno())])
    assert [listener.name for listener in opened.listeners] == [f"unix:{path} (fd:a)"]
    assert opened.misfits == ("cannot listen on fd:b: another socket of the service manager is that input",)
    opened.listeners[0].close()


PROCESS = """
import sys, trio
from pathlib import Path
import attrs
from tapir.services.ingest.inputopening import open_input, InputSettings
from tapir.transport.framelisteners import inherited_descriptors
from tapir.transport.framestream import FrameStreamSettings
settings = InputSettings(unix=Path(sys.argv[1]), unix_mode=0o600, unix_group="", tcp=None, tls=None,
    tls_certificate=None, tls_key=None, tls_client_ca=None, streams=FrameStreamSettings(), connections=1)
opened = open_input(settings, inherited_descriptors)
connection, _ = opened.listeners[0].sock.accept()
print(opened.listeners[0].name, opened.misfits, connection.recv(100).decode())
"""


def test_a_process_finds_the_sockets_that_it_was_started_with(path: Path) -> None:
    with listening(str(path)) as held, socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as sender:
        sender.connect(str(path))
        sender.sendall(b"hello")

        script = (
            "import os, sys\n"
            "os.environ['LISTEN_PID'] = str(os.getpid())\n"
            "os.execv(sys.executable, [sys.executable, '-c', *sys.argv[1:]])"
        )
        done = subprocess.run(
            [sys.executable, "-c", script, PROCESS, str(path)],
            env={**os.environ, "LISTEN_FDS": "1", "LISTEN_FDNAMES": "tapir-edm.socket"},
            preexec_fn=lambda: os.dup2(held.fileno(), 3),
            close_fds=False,
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
        )
    assert done.stdout == f"unix:{path} (fd:tapir-edm.socket) () hello\n", done.stderr


def test_a_block_of_frames_is_shown_to_nobody() -> None:
    assert FramesReceived.private
