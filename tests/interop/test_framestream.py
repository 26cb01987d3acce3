"""fstrm's own programs at the other end: one sends to us, one takes from us, and files go both ways."""

import functools
import random
import signal
import socket
import subprocess
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager, contextmanager
from pathlib import Path
from typing import Final

import pytest
import trio
import trio.testing
from framestreams import connect_unix, file_octets, send_prepared, write_file
from peers import wait_until

from tapir.codec.framestream import DNSTAP, Ending
from tapir.model.blocks import FrameBlock
from tapir.transport.framefiles import open_frames
from tapir.transport.framelisteners import FrameListener, adopt, listen_tcp, listen_unix
from tapir.transport.frameserver import Listeners
from tapir.transport.framestream import FrameStreamSettings

SETTINGS: Final = FrameStreamSettings()
TYPE: Final = DNSTAP.decode()


@pytest.fixture
def frames() -> list[bytes]:
    """Frames of all sizes that fstrm takes, in no order."""
    rng = random.Random(5359)
    sizes = [1, 2, 3, 4, 5, 1000, 65_536, 98_304, *(rng.randrange(1, 400) for _ in range(20_000))]
    rng.shuffle(sizes)
    return [rng.randbytes(size) for size in sizes]


@pytest.fixture
def replay(require_peer: Callable[[str], str]) -> Callable[..., None]:
    program = require_peer("fstrm_replay")

    def run(*words: str | Path, content_type: str = TYPE) -> None:
        subprocess.run([program, "-t", content_type, *words], check=True, timeout=60, capture_output=True)

    return run


@asynccontextmanager
async def receiving(*listeners: FrameListener) -> AsyncIterator[tuple[Listeners, list[bytes]]]:
    """Serves until the block ends; what came, in its order."""
    received: list[bytes] = []

    async def deliver(block: FrameBlock) -> None:
        await trio.lowlevel.checkpoint()
        received.extend(block)

    serving = Listeners(listeners, deliver, SETTINGS)
    with trio.fail_after(60):
        async with trio.open_nursery() as nursery:
            nursery.start_soon(serving.serve)  # noqa: ASYNC113 - the kernel holds what comes before it listens
            yield serving, received
            serving.stop()


async def test_fstrm_replay_sends_to_a_unix_socket(
    replay: Callable[..., None], frames: list[bytes], tmp_path: Path
) -> None:
    write_file(tmp_path / "a.fstrm", frames)
    async with receiving(listen_unix(tmp_path / "sock")) as (serving, received):
        await trio.to_thread.run_sync(replay, "-r", tmp_path / "a.fstrm", "-u", tmp_path / "sock")
    assert received == frames
    assert serving.statistics().ended == {Ending.STOPPED: 1}
    assert serving.statistics().control_frames == 3


async def test_fstrm_replay_sends_over_tcp_and_from_several_at_once(
    replay: Callable[..., None], frames: list[bytes], tmp_path: Path
) -> None:
    write_file(tmp_path / "a.fstrm", frames)
    listener = listen_tcp(("127.0.0.1", 0))
    words = ("-r", tmp_path / "a.fstrm", "-a", "127.0.0.1", "-p", str(listener.address[1]))
    async with receiving(listener) as (serving, received), trio.open_nursery() as nursery:
        for _ in range(3):
            nursery.start_soon(functools.partial(trio.to_thread.run_sync, replay, *words))
    assert sorted(received) == sorted(3 * frames)
    assert serving.statistics().ended == {Ending.STOPPED: 3}


async def test_fstrm_replay_of_another_content_is_refused(replay: Callable[..., None], tmp_path: Path) -> None:
    path = tmp_path / "a.fstrm"
    path.write_bytes(file_octets([b"frame"], content_type=b"protobuf:other"))
    async with receiving(listen_unix(tmp_path / "sock")) as (serving, received):
        with pytest.raises(subprocess.CalledProcessError):
            await trio.to_thread.run_sync(
                functools.partial(replay, "-r", path, "-u", tmp_path / "sock", content_type="protobuf:other")
            )
    assert received == []
    assert serving.statistics().failed == {"content-type": 1}


@contextmanager
def capturing(program: str, path: Path, *where: str) -> Iterator[subprocess.Popen[bytes]]:
    with subprocess.Popen([program, "-t", TYPE, "-w", path, *where], stderr=subprocess.PIPE) as process:
        try:
            yield process
        finally:
            process.send_signal(signal.SIGTERM)
            process.wait(30)


def test_fstrm_capture_takes_what_our_sender_writes_and_we_read_its_file(
    require_peer: Callable[[str], str], frames: list[bytes], tmp_path: Path
) -> None:
    sock, path = tmp_path / "sock", tmp_path / "captured.fstrm"
    with capturing(require_peer("fstrm"), path, "-u", str(sock)):
        wait_until(sock.exists, what="the socket of fstrm_capture")
        send_prepared(functools.partial(connect_unix, sock), FrameBlock.of(frames).data, times=1)
    with open_frames(path, SETTINGS) as file:
        assert [frame for block in file for frame in block] == frames
        assert file.done == file.total
    assert file.summary().ending is Ending.STOPPED


def test_fstrm_dump_reads_what_we_write(
    require_peer: Callable[[str], str], frames: list[bytes], tmp_path: Path
) -> None:
    write_file(tmp_path / "a.fstrm", frames)
    run = subprocess.run(
        [require_peer("fstrm_dump"), tmp_path / "a.fstrm"], check=True, timeout=60, capture_output=True
    )
    assert run.stderr.count(b"Data frame (") == len(frames)


async def test_a_restart_under_socket_activation_loses_no_frame_of_those_who_wait(
    replay: Callable[..., None], frames: list[bytes], tmp_path: Path
) -> None:
    """The manager's socket stays; who connects between two of our lives is served by the second."""
    write_file(tmp_path / "a.fstrm", frames)
    words = ("-r", tmp_path / "a.fstrm", "-u", tmp_path / "sock")
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as held:
        held.bind(str(tmp_path / "sock"))
        held.listen()
        async with receiving(adopt(held.fileno(), "dnstap")) as (_, first):
            await trio.to_thread.run_sync(replay, *words)
        async with trio.open_nursery() as nursery:
            nursery.start_soon(trio.to_thread.run_sync, functools.partial(replay, *words))
            await trio.lowlevel.wait_readable(held)  # it has connected, and nobody is there
            async with receiving(adopt(held.fileno(), "dnstap")) as (serving, second):
                while not serving.statistics().ended:
                    await trio.testing.wait_all_tasks_blocked(0.01)
    assert first == second == frames
