"""Workers stand behind the event loop at the processor, each by itself, and nowhere but where that is by thread."""

import os
import sys
import threading

import pytest

from actors.workers import WorkerPool, stand_back

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="niceness is by thread on Linux alone")


def niceness() -> int:
    return os.getpriority(os.PRIO_PROCESS, threading.get_native_id())


async def test_workers_stand_back_once_and_the_loop_does_not() -> None:
    own = niceness()
    pool = WorkerPool(1, inline=False, niceness=3)
    found: list[int] = []

    def work() -> None:
        found.extend([pool._run(niceness, ()) for _ in range(3)])

    # Not one of Trio's threads: it keeps them, and one of another pool stands back already.
    thread = threading.Thread(target=work)
    thread.start()
    thread.join()
    assert found == [min(own + 3, 19)] * 3
    assert niceness() == own


def test_elsewhere_nobody_stands_back(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "platform", "darwin")
    monkeypatch.setattr(os, "setpriority", lambda *_: pytest.fail("that may be another process"))
    stand_back(3)
