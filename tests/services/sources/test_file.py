"""The file source on real files and virtual time; a look costs no time unless the worker is made to hang."""

import contextlib
import os
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any, TypeVar

import attrs
import pytest
import trio
from trio.testing import MockClock, wait_all_tasks_blocked

from actors import (
    ActorRef,
    ActorSpec,
    ActorSystem,
    MailboxSpec,
    ManualClock,
    Overflow,
    Strategy,
    SupervisorSpec,
    SystemSettings,
)
from actors.testing import Probe, run_system
from tapir.model.actions import ListKind
from tapir.model.messages.lists import RefreshSource, SourceFailed, SourceLoaded, SourceUnchanged
from tapir.model.names import format_name, parse_name
from tapir.services.sources.content import read_list
from tapir.services.sources.file import FileSource, FileSourceSettings
from tapir.services.sources.worker import FileWorker, Worker

T = TypeVar("T")

ZONE = parse_name("dnstapir.")


@attrs.frozen
class Rig:
    lists: Probe
    source: ActorRef[Any]
    path: Path


class HangingWorker:
    """A file system that answers when it is told to."""

    def __init__(self) -> None:
        self.answers = trio.Event()
        self.calls = 0

    async def run(self, fn: Callable[..., T], *args: object) -> T:
        self.calls += 1
        await self.answers.wait()
        return fn(*args)


@contextlib.asynccontextmanager
async def running(path: Path, *, worker: Worker | None = None, **settings: Any) -> AsyncIterator[Rig]:
    lists = Probe()
    system = ActorSystem(clock=ManualClock(), settings=SystemSettings(seed=0))
    source = FileSourceSettings(**{"id": "feed", "kind": ListKind.DENY, "path": path, "zone": ZONE, **settings})
    spec: ActorSpec[Any] = ActorSpec(
        name="feed",
        factory=lambda: FileSource(source, lists=system.ref("lists"), worker=worker),
        mailbox=MailboxSpec(4, Overflow.DROP_NEWEST),
    )
    tree = SupervisorSpec(name="test", strategy=Strategy.ONE_FOR_ONE, children=(lists.spec("lists"), spec))
    async with run_system(tree, system=system):
        yield Rig(lists=lists, source=system.ref("feed"), path=path)


def write(path: Path, *names: str, age: int = 3600) -> None:
    """Write in place, as of `age` seconds before the test's wall clock begins (the change time is always now)."""
    path.write_text("".join(f"{name}\n" for name in names))
    at = (1_700_000_000 - age) * 1_000_000_000
    os.utime(path, ns=(at, at))


def replace(path: Path, *names: str, age: int = 3600) -> None:
    aside = path.with_suffix(".new")
    write(aside, *names, age=age)
    aside.rename(path)


def move(path: Path, other: Path) -> None:
    path.rename(other)


def names_of(message: SourceLoaded) -> list[str]:
    return sorted(format_name(name) for name, _ in message.content)


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "denylist.txt"


async def test_what_the_file_says_is_told_at_once(path: Path, autojump_clock: MockClock) -> None:
    write(path, "evil.example", "# comment", "http://bad", "com", "worse.example.")
    async with running(path) as rig:
        loaded = await rig.lists.next()
        assert trio.current_time() == 0.0
        assert isinstance(loaded, SourceLoaded)
        assert names_of(loaded) == ["evil.example.", "worse.example."]
        assert [(refusal.reason, refusal.count, refusal.lines) for refusal in loaded.refusals] == [
            ("malformed", 1, (3,)),
            ("too_broad", 1, (4,)),
        ]
        assert (loaded.source, loaded.loaded_at) == ("feed", 1_700_000_000_000_000)


@pytest.mark.parametrize(("kind", "broad"), [(ListKind.ALLOW, False), (ListKind.DENY, True)])
async def test_what_is_broad_for_one_list_is_fine_for_another(
    path: Path, kind: ListKind, broad: bool, autojump_clock: MockClock
) -> None:
    write(path, "com")
    async with running(path, kind=kind, broad=broad) as rig:
        assert names_of(await rig.lists.next()) == ["com."]


async def test_a_file_renamed_into_place_is_told_at_the_next_look(path: Path, autojump_clock: MockClock) -> None:
    write(path, "a.example")
    async with running(path) as rig:
        await rig.lists.next()
        replace(path, "b.example")
        assert names_of(await rig.lists.next()) == ["b.example."]
        assert trio.current_time() == 1.0


async def test_a_file_written_in_place_is_told_when_it_has_rested(path: Path, autojump_clock: MockClock) -> None:
    write(path, "a.example")
    async with running(path) as rig:
        await rig.lists.next()
        write(path, "b.example", age=10)
        await trio.sleep(1.5)
        write(path, "b.example", "c.example", age=5)
        assert names_of(await rig.lists.next()) == ["b.example.", "c.example."]
        assert trio.current_time() == 3.0, "seen at 2, unchanged at 3; what was half written at 1 was never told"


async def test_the_same_names_written_otherwise_are_no_news(path: Path, autojump_clock: MockClock) -> None:
    write(path, "a.example", "b.example")
    async with running(path, report_interval=10) as rig:
        await rig.lists.next()
        replace(path, "# in another order", "b.example", "A.EXAMPLE.")
        unchanged = await rig.lists.next()
        assert isinstance(unchanged, SourceUnchanged)
        assert trio.current_time() == 10.0, "nothing but the slow report"


async def test_other_refusals_are_news(path: Path, autojump_clock: MockClock) -> None:
    write(path, "a.example", "bad name")
    async with running(path) as rig:
        await rig.lists.next()
        replace(path, "a.example")
        loaded = await rig.lists.next()
        assert isinstance(loaded, SourceLoaded)
        assert loaded.refusals == ()


async def test_a_file_that_does_not_change_is_confirmed_slowly(path: Path, autojump_clock: MockClock) -> None:
    write(path, "a.example")
    async with running(path, report_interval=10) as rig:
        loaded = await rig.lists.next()
        for at in (10.0, 20.0):
            unchanged = await rig.lists.next()
            assert unchanged == SourceUnchanged(
                source="feed", at=1_700_000_000_000_000 + int(at * 1_000_000), digest=loaded.digest
            )
            assert trio.current_time() == at


async def test_a_file_that_is_absent_is_told_once_and_comes_back(path: Path, autojump_clock: MockClock) -> None:
    async with running(path, report_interval=1000) as rig:
        failed = await rig.lists.next()
        assert isinstance(failed, SourceFailed)
        assert failed.reason == f"{path}: No such file or directory"
        await trio.sleep(30.5)
        assert len(rig.lists.messages) == 1, "one distinct failure, one message"
        write(path, "a.example")
        assert names_of(await rig.lists.next()) == ["a.example."]
        move(path, path.with_suffix(".away"))
        assert isinstance(await rig.lists.next(), SourceFailed)
        move(path.with_suffix(".away"), path)
        assert isinstance(await rig.lists.next(), SourceUnchanged), "the same file again: only the failure is over"


async def test_a_failure_that_stays_is_told_again_slowly(path: Path, autojump_clock: MockClock) -> None:
    async with running(path, report_interval=10) as rig:
        await rig.lists.wait_count(3)
        assert rig.lists.times == [0.0, 10.0, 20.0]


def make_directory(path: Path) -> None:
    path.mkdir()


def make_pipe(path: Path) -> None:
    os.mkfifo(path)


def make_too_large(path: Path) -> None:
    write(path, "a.example", "b.example", "c.example")


def make_device(path: Path) -> None:
    path.symlink_to("/dev/zero")


@pytest.mark.parametrize(
    ("make", "reason"),
    [
        (make_directory, "is a directory; a list must be a regular file"),
        (make_pipe, "is a named pipe; a list must be a regular file"),
        (make_device, "is a character device; a list must be a regular file"),
        (make_too_large, "is 30 octets long, 20 are allowed"),
    ],
)
async def test_what_cannot_be_a_list_is_refused(
    path: Path, make: Callable[[Path], None], reason: str, autojump_clock: MockClock
) -> None:
    make(path)
    async with running(path, size_limit=20) as rig:
        failed = await rig.lists.next()
        assert isinstance(failed, SourceFailed)
        assert failed.reason == f"{path}: {reason}"


async def test_lines_without_one_entry_are_no_list(path: Path, autojump_clock: MockClock) -> None:
    write(path, "a.example")
    async with running(path, report_interval=10) as rig:
        await rig.lists.next()
        replace(path, "<html>", "<p>502 Bad Gateway")
        for _ in range(2):
            failed = await rig.lists.next()
            assert isinstance(failed, SourceFailed)
            assert failed.reason == f"{path}: is no list: not one of its 2 lines is an entry"
        replace(path, "# empty on purpose")
        emptied = await rig.lists.next()
        assert isinstance(emptied, SourceLoaded)
        assert names_of(emptied) == []


async def test_a_csv_file_is_read_by_its_column(path: Path, autojump_clock: MockClock) -> None:
    write(path, "rank,domain,remark", '1,evil.example,"so they', 'say"', "2,com,", "3,bad name,", "4")
    async with running(path, format="csv") as rig:
        loaded = await rig.lists.next()
        assert names_of(loaded) == ["evil.example."]
        assert [(refusal.reason, refusal.lines) for refusal in loaded.refusals] == [
            ("malformed", (5, 6)),
            ("too_broad", (4,)),
        ]
    write(path, "domain", "a.example")
    async with running(path, format="csv", column="Domain") as rig:
        assert names_of(await rig.lists.next()) == ["a.example."]


async def test_a_csv_file_without_its_header_is_no_list(path: Path, autojump_clock: MockClock) -> None:
    write(path, "rank,domain", "1,a.example")
    async with running(path, report_interval=1000, format="csv", column="domain") as rig:
        await rig.lists.next()
        replace(path)
        assert (await rig.lists.next()).reason == (
            f"{path}: is no list in format csv: it is empty, and not even a header tells that it should be"
        )
        replace(path, "1,a.example")
        assert "none of its columns are called 'domain'" in (await rig.lists.next()).reason
        replace(path, "rank,domain", "1,b.example")
        assert names_of(await rig.lists.next()) == ["b.example."]


async def test_a_file_that_never_rests_is_reported(path: Path, autojump_clock: MockClock) -> None:
    write(path, "a.example")
    async with running(path, patience=5, report_interval=1000) as rig:
        await rig.lists.next()
        for number in range(8):
            write(path, *(f"n{n}.example" for n in range(number + 2)), age=100 - number)
            await trio.sleep(1)
        failed = await rig.lists.next()
        assert isinstance(failed, SourceFailed)
        assert failed.reason == f"{path}: is being written without a pause; rename the finished file into place"
        assert isinstance(await rig.lists.next(), SourceLoaded), "it rests at last"


async def test_refresh_tells_everything_again(path: Path, autojump_clock: MockClock) -> None:
    write(path, "a.example")
    async with running(path, poll_interval=1) as rig:
        first = await rig.lists.next()
        await trio.sleep(0.5)
        await rig.source.tell(RefreshSource())
        again = await rig.lists.next()
        assert isinstance(again, SourceLoaded)
        assert again.digest == first.digest
        assert trio.current_time() == 0.5


async def test_a_file_system_that_hangs_is_reported_and_waited_for(path: Path, autojump_clock: MockClock) -> None:
    write(path, "a.example")
    worker = HangingWorker()
    async with running(path, worker=worker, patience=5, report_interval=1000) as rig:
        failed = await rig.lists.next()
        assert isinstance(failed, SourceFailed)
        assert failed.reason == f"{path}: the file system does not answer"
        assert trio.current_time() == 5.0
        await trio.sleep(60)
        assert worker.calls == 1, "never a second call behind one that hangs"
        worker.answers.set()
        assert names_of(await rig.lists.next()) == ["a.example."]


async def test_a_reading_that_gets_no_further_is_reported_and_a_slow_one_is_not(
    path: Path, autojump_clock: MockClock
) -> None:
    class Crawling:
        async def run(self, fn: Callable[..., T], *args: Any) -> T:
            if fn is not read_list:
                return fn(*args)
            for _ in range(3):
                await trio.sleep(20)
                args[2].octets += 1
            return await trio.sleep_forever()

    write(path, "a.example")
    async with running(path, worker=Crawling(), patience=30) as rig:
        failed = await rig.lists.next(600)
        assert failed.reason == f"{path}: the file system does not answer"
        assert trio.current_time() == pytest.approx(90, abs=1)


async def test_what_is_no_list_is_read_once(path: Path, autojump_clock: MockClock) -> None:
    class Counting:
        def __init__(self) -> None:
            self.reads = 0

        async def run(self, fn: Callable[..., T], *args: Any) -> T:
            self.reads += fn is read_list
            return fn(*args)

    write(path, "<html>", "<body>", "502 Bad Gateway", "</html>")
    worker = Counting()
    async with running(path, worker=worker) as rig:
        assert isinstance(await rig.lists.next(), SourceFailed)
        await trio.sleep(100)
        assert worker.reads == 1
        replace(path, "a.example")
        loaded = await rig.lists.next()
        while isinstance(loaded, SourceFailed):
            loaded = await rig.lists.next()
        assert (names_of(loaded), worker.reads) == (["a.example."], 2)


async def test_a_file_system_that_hangs_does_not_hold_up_the_stop(path: Path, autojump_clock: MockClock) -> None:
    write(path, "a.example")
    async with running(path, worker=HangingWorker()):
        await wait_all_tasks_blocked()
        before = trio.current_time()
    assert trio.current_time() - before == 0.0


async def test_a_list_that_did_not_arrive_is_told_again(path: Path, autojump_clock: MockClock) -> None:
    write(path, "a.example")
    lists = Probe()
    system = ActorSystem(clock=ManualClock(), settings=SystemSettings(seed=0))
    source = FileSourceSettings(id="feed", kind=ListKind.DENY, path=path, zone=ZONE)
    tree = SupervisorSpec(
        name="test",
        strategy=Strategy.ONE_FOR_ONE,
        children=(
            ActorSpec(
                name="feed",
                factory=FileSource.factory(source, lists=system.ref("lists")),
                mailbox=MailboxSpec(4, Overflow.DROP_NEWEST),
            ),
        ),
    )
    async with run_system(tree, system=system):
        await trio.sleep(0.5)
        await system.supervisor("").start_child(lists.spec("lists"))
        assert isinstance(await lists.next(), SourceLoaded)
        assert trio.current_time() == 1.0


async def test_the_thread_of_a_source_is_left_behind_when_it_hangs(path: Path) -> None:
    """On real threads: a pipe without a writer hangs whoever opens it, as a dead file server would."""
    os.mkfifo(path)
    worker = FileWorker()

    def hang() -> None:
        with path.open("rb") as pipe:
            pipe.read()

    with trio.move_on_after(0.05) as scope:
        await worker.run(hang)
    assert scope.cancelled_caught
    with trio.move_on_after(0.05) as scope:
        await worker.run(int)
    assert scope.cancelled_caught, "one thread a source, also behind one that hangs"
    path.open("wb").close()
    with trio.fail_after(60):
        assert await worker.run(int, "7") == 7
