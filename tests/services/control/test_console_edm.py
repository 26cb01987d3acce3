"""EDM's operations of the console, over its socket."""

from collections.abc import AsyncIterator
from contextlib import aclosing, asynccontextmanager
from pathlib import Path

import pytest
import trio

from actors import ActorSpec, ActorSystem, Strategy, SupervisorSpec
from actors.testing import ROOMY, Probe
from tapir.app.cli.client import ConsoleClient, ConsoleRefusedError, open_console
from tapir.model.messages.edm import (
    BusyName,
    FreshName,
    GetBusyNames,
    GetNovelty,
    NoveltyStatus,
    Rotated,
    RotateNow,
)
from tapir.services.control.console import Console, ConsoleSettings
from tapir.services.control.edm import EdmRefs
from tapir.services.control.status import ControlRefs, ProcessFacts

NOVELTY = NoveltyStatus(
    gathered=0, asked=2, new=1, put_off=0, recent_octets=8, newest=(FreshName(name="new.example.", at=1),)
)


@asynccontextmanager
async def console(folder: Path, *, minimiser: Probe | None = None, edm: bool = True) -> AsyncIterator[ConsoleClient]:
    """A client of a console; what hangs fails the test."""
    system = ActorSystem()
    other = system.ref("other")
    refs = ControlRefs(
        keeper=other,
        server=None,
        notifier=None,
        lists=other,
        policy=other,
        health=other,
        overrides=other,
        pop=False,
        edm=EdmRefs(novelty=system.ref("novelty"), minimiser=system.ref("minimiser")) if edm else None,
    )
    facts = ProcessFacts(version="1", commit="c", pid=1, started_at=0, config_dir="", state_dir=str(folder))
    settings = ConsoleSettings(socket=folder / "console.sock", patience=30)
    children = [
        Probe({GetNovelty: NOVELTY}).spec("novelty"),
        (minimiser or Probe()).spec("minimiser"),
        ActorSpec(
            name="console",
            factory=lambda: Console(settings=settings, system=system, refs=refs, facts=facts),
            mailbox=ROOMY,
        ),
    ]
    tree = SupervisorSpec(name="test", strategy=Strategy.ONE_FOR_ONE, children=tuple(children))
    with trio.fail_after(60):
        async with trio.open_nursery() as nursery:
            await nursery.start(system.run, tree)
            try:
                async with open_console(folder) as client:
                    yield client
            finally:
                system.request_stop()


async def test_each_part_is_told_by_itself(tmp_path: Path) -> None:
    async with console(tmp_path) as client:
        edm = await client.request("edm")
    assert edm["novelty"]["newest"] == [{"name": "new.example.", "at": 1}]
    # That one answers nothing; those that are not run are not there.
    assert set(edm) == {"novelty", "minimiser"}
    assert set(edm["minimiser"]) == {"error"}


async def test_watching_tells_of_busy_names_too(tmp_path: Path) -> None:
    def busy(request: GetBusyNames) -> tuple[BusyName, ...]:
        return tuple(BusyName(name=f"n{number}.example.", responses=9) for number in range(request.count))

    minimiser = Probe({GetBusyNames: busy})
    async with (
        console(tmp_path, minimiser=minimiser) as client,
        aclosing(client.stream("edm-watch", interval=1)) as stream,
    ):
        document = (await anext(stream))["data"]
    assert len(document["edm"]["busy"]) == 20
    assert document["edm"]["busy"][0] == {"name": "n0.example.", "responses": 9}
    assert document["process"]["pid"] == 1
    assert document["at"] > 0
    assert "p99" in document["lag"]


async def test_rotating_tells_the_files(tmp_path: Path) -> None:
    rotated = Rotated(start=1, stop=2, histogram="/d/h.parquet", sessions=("/d/s.parquet",))
    async with console(tmp_path, minimiser=Probe({RotateNow: rotated})) as client:
        assert await client.request("edm-rotate") == {
            "start": 1,
            "stop": 2,
            "histogram": "/d/h.parquet",
            "sessions": ["/d/s.parquet"],
            "trouble": "",
        }


@pytest.mark.parametrize("op", ["edm", "edm-rotate", "edm-watch"])
async def test_a_process_without_edm_says_so(tmp_path: Path, op: str) -> None:
    async with console(tmp_path, edm=False) as client:
        with pytest.raises(ConsoleRefusedError, match="runs no EDM"):
            await (anext(client.stream(op)) if op == "edm-watch" else client.request(op))


async def test_an_interval_is_at_least_a_second(tmp_path: Path) -> None:
    async with console(tmp_path) as client:
        with pytest.raises(ConsoleRefusedError, match="an integer from 1 to 3600"):
            await anext(client.stream("edm-watch", interval=0))
