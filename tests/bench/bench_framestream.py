"""How fast frames are taken from a socket: a ratio to fstrm_capture, a C program that copies the same to /dev/null.

The sender is a process of its own with a prepared buffer, since fstrm_replay is slower than either. Both rates are
timed by it, from START to FINISH, in turns within one run. What comes after is not in this: a block is counted and
let go. 2 to 4 were measured, by how busy the machine was; far below, the intake takes time that decoding needs.
"""

import os
import signal
import statistics
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Final

import framestreams
import trio
from peers import wait_until

from tapir.codec.framestream import DNSTAP
from tapir.model.blocks import FrameBlock
from tapir.transport.framelisteners import listen_unix
from tapir.transport.frameserver import Listeners
from tapir.transport.framestream import FrameStreamSettings

ROUNDS: Final = int(os.environ.get("TAPIR_BENCH_ROUNDS", "5"))
FRAMES: Final = 100_000
TIMES: Final = 30
FLOOR: Final = 1.5


def time_sender(path: Path) -> float:
    """Frames a second that whoever listens at `path` takes."""
    words = [sys.executable, framestreams.__file__, str(path), str(FRAMES), str(TIMES)]
    run = subprocess.run(words, check=True, timeout=120, capture_output=True, text=True)
    return FRAMES * TIMES / float(run.stdout)


async def time_ours(path: Path) -> float:
    """Ours, which counts what it gets."""
    taken = 0

    async def deliver(block: FrameBlock) -> None:
        nonlocal taken
        taken += len(block)

    listeners = Listeners([listen_unix(path)], deliver, FrameStreamSettings())
    async with trio.open_nursery() as nursery:
        nursery.start_soon(listeners.serve)
        rate = await trio.to_thread.run_sync(time_sender, path)
        listeners.stop()
    assert taken == FRAMES * TIMES
    return rate


def time_capture(program: str, path: Path) -> float:
    """fstrm_capture's."""
    words = [program, "-t", DNSTAP.decode(), "-u", str(path), "-w", "/dev/null"]
    with subprocess.Popen(words, stderr=subprocess.DEVNULL) as process:
        try:
            wait_until(path.exists, what="the socket of fstrm_capture")
            return time_sender(path)
        finally:
            process.send_signal(signal.SIGTERM)
            process.wait(30)


def test_frames_are_taken_faster_than_fstrm_capture_copies_them(
    require_peer: Callable[[str], str], tmp_path: Path
) -> None:
    program = require_peer("fstrm")
    ours, theirs = [], []
    for number in range(ROUNDS):
        ours.append(trio.run(time_ours, tmp_path / f"ours{number}"))
        theirs.append(time_capture(program, tmp_path / f"theirs{number}"))
    ratio = statistics.median(mine / other for mine, other in zip(ours, theirs, strict=True))
    print(
        f"\nframes a second: {statistics.median(ours):,.0f}, "
        f"fstrm_capture {statistics.median(theirs):,.0f}; ratio {ratio:.2f}"
    )
    assert ratio >= FLOOR
