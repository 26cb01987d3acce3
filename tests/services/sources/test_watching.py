"""Edits are seen when they are finished, in real time: the source polls once an hour here."""

import contextlib
import os
from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path
from typing import Any, TypeVar

import pytest
import trio
from inotify_simple import INotify

from actors import ActorSpec, ActorSystem, MailboxSpec, Overflow, Strategy, SupervisorSpec, SystemClock, SystemSettings
from actors.testing import Probe, run_system
from tapir.model.actions import ListKind
from tapir.model.messages.lists import SourceFailed, SourceLoaded
from tapir.model.names import format_name, parse_name
from tapir.services.sources.content import read_list
from tapir.services.sources.file import FileSource, FileSourceSettings
from tapir.services.sources.watching import FolderWatcher
from tapir.services.sources.worker import FileWorker

T = TypeVar("T")

Watched = Callable[[int], Awaitable[None]]
"""returns once so many watches have begun"""

SOON = 60.0
"""Seconds; an hour's poll interval is what would pass without a watch."""


class Counting(FileWorker):
    def __init__(self) -> None:
        super().__init__()
        self.reads = 0
        self.under_way = 0
        self.most = 0

    async def run(self, fn: Callable[..., T], *args: object) -> T:
        if fn is not read_list:
            return await super().run(fn, *args)
        self.reads += 1
        self.under_way += 1
        self.most = max(self.most, self.under_way)
        try:
            return await super().run(fn, *args)
        finally:
            self.under_way -= 1


@contextlib.asynccontextmanager
async def running(path: Path, worker: FileWorker | None = None) -> AsyncIterator[Probe]:
    lists = Probe()
    system = ActorSystem(clock=SystemClock(), settings=SystemSettings(seed=0))
    settings = FileSourceSettings(
        id="feed", kind=ListKind.DENY, path=path, zone=parse_name("rpz."), poll_interval=3600.0
    )
    spec: ActorSpec[Any] = ActorSpec(
        name="feed",
        factory=lambda: FileSource(settings, lists=system.ref("lists"), worker=worker),
        mailbox=MailboxSpec(4, Overflow.REJECT),
    )
    tree = SupervisorSpec(name="test", strategy=Strategy.ONE_FOR_ONE, children=(lists.spec("lists"), spec))
    async with run_system(tree, system=system):
        yield lists


def write(path: Path, text: str) -> None:
    path.write_text(text)


def names_of(message: object) -> list[str]:
    assert isinstance(message, SourceLoaded)
    return [format_name(name) for name, _ in message.content]


@pytest.fixture
def path(tmp_path: Path) -> Path:
    path = tmp_path / "lists" / "list.txt"
    path.parent.mkdir()
    path.write_text("a.example\n")
    os.utime(path, (1_600_000_000, 1_600_000_000))
    return path


@pytest.fixture
def watched(monkeypatch: pytest.MonkeyPatch) -> Watched:
    """Nothing of ours tells that a watch is there; from then on the kernel keeps what happens."""
    begun: list[int] = []

    class Told(INotify):  # type: ignore[misc]
        def add_watch(self, *args: Any) -> int:
            begun.append(super().add_watch(*args))
            return begun[-1]

    async def wait(count: int) -> None:
        with trio.fail_after(SOON):
            while len(begun) < count:  # noqa: ASYNC110 - a thread tells no task
                await trio.sleep(0.005)

    monkeypatch.setattr("tapir.services.sources.watching.INotify", Told)
    return wait


async def started(lists: Probe, watched: Watched) -> None:
    assert names_of(await lists.next(SOON)) == ["a.example."]
    await watched(1)


async def test_an_edit_in_place_and_a_rename_are_seen_at_once(path: Path, watched: Watched) -> None:
    async with running(path) as lists:
        await started(lists, watched)
        write(path, "b.example\n")
        assert names_of(await lists.next(SOON)) == ["b.example."]
        aside = path.with_suffix(".new")
        write(aside, "c.example\n")
        aside.rename(path)
        assert names_of(await lists.next(SOON)) == ["c.example."]
        # Another file in the folder is no news, and one that goes away is found out by looking.
        write(aside, "x.example\n")
        write(path, "d.example\n")
        assert names_of(await lists.next(SOON)) == ["d.example."]


async def test_a_file_that_is_held_open_is_not_believed(path: Path, watched: Watched) -> None:
    async with running(path) as lists:
        await started(lists, watched)
        with path.open("a") as file:
            file.write("b.exam")
            file.flush()
            await trio.sleep(0.2)
            assert len(lists.messages) == 1
            file.write("ple\n")
        assert names_of(await lists.next(SOON)) == ["a.example.", "b.example."]


async def test_a_storm_of_writes_is_read_one_at_a_time(path: Path, watched: Watched) -> None:
    worker = Counting()
    async with running(path, worker) as lists:
        await started(lists, watched)
        with trio.fail_after(60):
            for number in range(2000):
                write(path, f"n{number}.example\n")
                if number % 100 == 0:
                    await trio.lowlevel.checkpoint()
            message = await lists.next(SOON)
            while names_of(message) != ["n1999.example."]:
                message = await lists.next(SOON)
        assert worker.most == 1
        assert worker.reads < 100


async def test_a_folder_that_is_replaced_is_watched_again(
    path: Path, watched: Watched, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("tapir.services.sources.watching._AGAIN", 0.05)
    async with running(path) as lists:
        await started(lists, watched)
        path.parent.rename(path.parent.with_name("old"))
        assert isinstance(await lists.next(SOON), SourceFailed)
        path.parent.mkdir()
        write(path, "b.example\n")
        assert names_of(await lists.next(SOON)) == ["b.example."]
        await watched(2)
        write(path, "c.example\n")
        assert names_of(await lists.next(SOON)) == ["c.example."]


async def test_without_the_system_s_help_there_is_no_watch(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: object, **__: object) -> None:
        raise OSError(24, "Too many open files")

    monkeypatch.setattr("tapir.services.sources.watching.INotify", refuse)
    with trio.move_on_after(0.1) as scope:
        await FolderWatcher(FileWorker()).watch(path, lambda: None)
    assert scope.cancelled_caught
