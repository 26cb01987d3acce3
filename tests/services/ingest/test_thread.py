"""The thread does what it is handed in order, and each caller gets what is his."""

import threading
import time

import pytest
import trio
from trio.testing import MockClock, wait_all_tasks_blocked

from tapir.services.ingest.thread import Job, ThreadStopped, WorkThread


async def test_order_is_kept_and_an_exception_is_its_callers() -> None:
    seen: list[int] = []

    def work(number: int) -> int:
        seen.append(number)
        if number == 3:
            raise ValueError("on purpose")
        return 10 * number

    thread = WorkThread("test", outstanding=100)
    jobs = [await thread.put(work, number) for number in range(10)]
    for number, job in enumerate(jobs):
        if number == 3:
            with pytest.raises(ValueError, match="on purpose"):
                await job.wait()
        else:
            assert await job.wait() == 10 * number
    assert seen == list(range(10))
    assert await thread.run(threading.current_thread) is not threading.current_thread()
    await thread.stop()
    assert "test" not in {each.name for each in threading.enumerate()}
    with pytest.raises(ThreadStopped):
        await thread.run(work, 1)
    await thread.stop()


async def test_no_more_than_so_many_are_outstanding(nursery: trio.Nursery) -> None:
    gate = threading.Event()
    thread = WorkThread("test", outstanding=2)
    put: list[Job[bool]] = []
    all_put = trio.Event()

    async def hand_in() -> None:
        put.append(await thread.put(gate.wait))
        if len(put) == 5:
            all_put.set()

    for _ in range(5):
        nursery.start_soon(hand_in)
    await wait_all_tasks_blocked()
    assert len(put) == 2
    gate.set()
    with trio.fail_after(10):
        await all_put.wait()
        for job in put:
            assert await job.wait()
        await thread.stop()


async def test_who_is_cancelled_leaves_the_rest_alone() -> None:
    gate = threading.Event()
    thread = WorkThread("test", outstanding=3)
    with trio.move_on_after(0.01) as scope:
        await thread.run(gate.wait)
    assert scope.cancelled_caught
    job = await thread.put(len, "abc")
    gate.set()
    assert await job.wait() == 3
    await thread.stop()


async def test_what_was_handed_in_is_done_before_the_end() -> None:
    done: list[int] = []
    thread = WorkThread("test", outstanding=50)
    jobs = [await thread.put(done.append, number) for number in range(40)]
    await thread.stop()
    assert done == list(range(40))
    assert all(job.done for job in jobs)


async def test_inline_under_a_virtual_clock(autojump_clock: MockClock) -> None:
    thread = WorkThread("test", outstanding=1)
    assert await thread.run(threading.current_thread) is threading.current_thread()
    job = await thread.put(len, "abc")
    assert job.result() == 3
    await thread.stop()
    with pytest.raises(ThreadStopped):
        await thread.put(len, "abc")


def test_a_run_that_is_over_ends_the_thread() -> None:
    gate = threading.Event()

    async def main() -> None:
        await WorkThread("orphan", outstanding=2).put(gate.wait)

    trio.run(main)
    gate.set()
    deadline = time.monotonic() + 10
    while any(each.name == "orphan" for each in threading.enumerate()):
        assert time.monotonic() < deadline
        time.sleep(0.001)
