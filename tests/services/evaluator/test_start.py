"""A start with each source absent, slow and broken in turn: on nothing stored, and again on what was stored.

No zone that is published may hold an allowlisted name, or lack a denied one that an earlier zone had.
"""

from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar

import pytest
import trio
from trio.testing import MockClock

from actors import ActorSpec, ActorSystem, MailboxSpec, Overflow
from tapir.model.actions import ListKind
from tapir.model.messages.lists import GetSources
from tapir.model.names import parse_name
from tapir.services.evaluator.roster import SourceSettings
from tapir.services.sources.file import FileSource, FileSourceSettings

T = TypeVar("T")

LISTS = {
    "allow": (ListKind.ALLOW, ["good.example"]),
    "deny": (ListKind.DENY, ["evil.example", "good.example"]),
    "doubt-a": (ListKind.DOUBT, ["dubious.example"]),
    "doubt-b": (ListKind.DOUBT, ["dubious.example", "good.example"]),
}
WHOLE = {"evil.example.": "NODATA", "dubious.example.": "NXDOMAIN"}
PART = {
    "deny": {"dubious.example.": "NXDOMAIN"},
    "doubt-a": {"evil.example.": "NODATA"},
    "doubt-b": {"evil.example.": "NODATA"},
}


class SlowWorker:
    """A file system that takes its time over each call."""

    def __init__(self, seconds: float) -> None:
        self._seconds = seconds

    async def run(self, fn: Callable[..., T], *args: object) -> T:
        await trio.sleep(self._seconds)
        return fn(*args)


def write_lists(folder: Path) -> None:
    for name, (_, lines) in LISTS.items():
        (folder / name).write_text("\n".join(lines))


def spoil(path: Path, how: str) -> None:
    if how in ("absent", "broken"):
        path.unlink()
    if how == "broken":
        path.mkdir()


def mend(path: Path, how: str) -> None:
    if how == "broken":
        path.rmdir()
    path.write_text("\n".join(LISTS[path.name][1]))


def sources_in(folder: Path, *, slow: str = "") -> Callable[[ActorSystem], tuple[ActorSpec[Any], ...]]:
    def children(system: ActorSystem) -> tuple[ActorSpec[Any], ...]:
        return tuple(
            ActorSpec(
                name=name,
                factory=lambda name=name, kind=kind: FileSource(  # type: ignore[misc]
                    FileSourceSettings(id=name, kind=kind, path=folder / name, zone=parse_name("dnstapir.")),
                    lists=system.ref("evaluator/lists"),
                    worker=SlowWorker(8) if name == slow else None,
                ),
                mailbox=MailboxSpec(4, Overflow.DROP_NEWEST),
            )
            for name, (kind, _) in LISTS.items()
        )

    return children


SOURCES = tuple(SourceSettings(id=name, name=name, kind=kind) for name, (kind, _) in LISTS.items())


@pytest.mark.parametrize("how", ["absent", "slow", "broken"])
@pytest.mark.parametrize("name", LISTS)
async def test_a_first_start_with_one_source_missing(
    run_evaluator: Any, tmp_path: Path, name: str, how: str, autojump_clock: MockClock
) -> None:
    write_lists(tmp_path)
    spoil(tmp_path / name, how)
    children = sources_in(tmp_path, slow=name if how == "slow" else "")
    async with run_evaluator(*SOURCES, children=children) as rig:
        await trio.sleep(19.5)
        assert rig.zone.records is None
        assert rig.zone.missing[-1] == (name,)
        await trio.sleep(45)
        if how == "slow":
            assert rig.zone.published == [WHOLE]
            return
        if name == "allow":
            assert rig.zone.published == []
        else:
            assert rig.zone.published == [PART[name]]
        found = await rig.lists.ask(GetSources())
        assert (found.publishing, found.waiting_for) == (name != "allow", (name,))
        mend(tmp_path / name, how)
        await trio.sleep(5)
        assert rig.zone.published[-1] == WHOLE


@pytest.mark.parametrize("how", ["absent", "slow", "broken"])
@pytest.mark.parametrize("name", LISTS)
async def test_a_restart_with_one_source_missing_publishes_nothing_else(
    run_evaluator: Any, tmp_path: Path, name: str, how: str, autojump_clock: MockClock
) -> None:
    write_lists(tmp_path)
    async with run_evaluator(*SOURCES, children=sources_in(tmp_path)) as rig:
        await trio.sleep(10)
        assert rig.zone.published == [WHOLE]
    spoil(tmp_path / name, how)
    async with run_evaluator(*SOURCES, children=sources_in(tmp_path, slow=name if how == "slow" else "")) as rig:
        await trio.sleep(100)
        assert rig.zone.published == [WHOLE]
        found = await rig.lists.ask(GetSources())
        states = {source.id: source.state for source in found.sources}
        assert states == {**dict.fromkeys(LISTS, "fresh"), name: "fresh" if how == "slow" else "stale"}


async def test_list_edits_reach_the_zone(run_evaluator: Any, tmp_path: Path, autojump_clock: MockClock) -> None:
    write_lists(tmp_path)
    async with run_evaluator(*SOURCES, children=sources_in(tmp_path)) as rig:
        await trio.sleep(5)
        for number in range(20):
            lines = ["evil.example", *(f"n{n}.example" for n in range(number))]
            aside = tmp_path / "new"
            write_list(aside, lines, tmp_path / ("deny" if number % 2 else "allow"))
            await trio.sleep(3)
        denied = {f"n{n}.example" for n in range(19)} | {"evil.example"}
        allowed = {f"n{n}.example" for n in range(18)} | {"evil.example"}
        want = {f"{name}.": "NODATA" for name in denied - allowed}
        assert rig.zone.records == {**want, "dubious.example.": "NXDOMAIN"}


def write_list(aside: Path, lines: list[str], path: Path) -> None:
    aside.write_text("\n".join(lines))
    aside.rename(path)
