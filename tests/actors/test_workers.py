"""Workers stand behind the event loop at the processor, each by itself, and nowhere but where that is by thread."""

import os
import sys
import threading

import pytest
import trio

from actors.workers import WorkerPool, stand_back

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="niceness is by thread on Linux alone")


def niceness() -> int:
    return os.getpriority(os.PRIO_PROCESS, threading.get_native_id())


async def test_workers_stand_back_once_and_the_loop_does_not() -> None:
    own = niceness()
    pool = WorkerPool(1, inline=False, niceness=3)
    with trio.fail_after(10):
        assert [await pool.run("any", niceness) for _ in range(3)] == [own + 3] * 3
    assert niceness() == own


def test_elsewhere_nobody_stands_back(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "platform", "darwin")
    monkeypatch.setattr(os, "setpriority", lambda *_: pytest.fail("that may be another process"))
    stand_back(3)
