"""The operator's own lists: durable before they are answered, ended by the wall clock, told to the list keeper."""

import contextlib
from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager
from pathlib import Path
from typing import Any

import attrs
import pytest
import trio
from trio.testing import MockClock

from actors import ActorRef, ActorSpec, ActorSystem, AskFailed, ManualClock, Strategy, SupervisorSpec, SystemSettings
from actors.testing import ROOMY, Probe, probe, run_system
from tapir.model.actions import Action, ListKind
from tapir.model.messages.lists import RefreshSource, SourceFailed, SourceLoaded, SourceUnchanged
from tapir.model.messages.local import CANARY, SOURCES, GetOverrides, Override, RemoveOverride, SetOverride
from tapir.model.messages.policy import Explain, Explanation, ListHit
from tapir.model.names import format_name, parse_name
from tapir.services.sources.local import ConfigureLocal, LocalSettings, LocalSource
from tapir.store.errors import StoreFull
from tapir.store.overrides import OverrideStore

ALLOW, DENY, DOUBT = SOURCES[ListKind.ALLOW], SOURCES[ListKind.DENY], SOURCES[ListKind.DOUBT]


@attrs.frozen(kw_only=True)
class Rig:
    ref: ActorRef[Any]
    lists: Probe
    clock: ManualClock
    settings: LocalSettings

    async def put(self, entry: str, kind: ListKind = ListKind.DENY, seconds: int | None = None) -> Any:
        return await self.ref.ask(SetOverride(entry=entry, kind=kind, seconds=seconds, reason="why", user="ops"))

    async def overrides(self) -> dict[str, str]:
        status = await self.ref.ask(GetOverrides())
        return {each.entry: each.kind.value for each in status.overrides}

    def said(self, source: str) -> list[set[str]]:
        """What the list keeper was told that `source` holds, each time."""
        loaded = [each for each in self.lists.messages if isinstance(each, SourceLoaded) and each.source == source]
        return [{format_name(name) for name, _ in each.content} for each in loaded]


RunLocal = Callable[..., AbstractAsyncContextManager[Rig]]


@pytest.fixture
def run_local(tmp_path: Path) -> RunLocal:
    """`async with run_local() as rig`; a second one in the same test finds what the first one stored."""

    @contextlib.asynccontextmanager
    async def run(start: int = 1_700_000_000_000_000, explanation: Any = None, **fields: Any) -> AsyncIterator[Rig]:
        lists = Probe()
        policy = probe({Explain: explanation} if explanation is not None else {})
        clock = ManualClock(start)
        system = ActorSystem(clock=clock, settings=SystemSettings(seed=0))
        settings = LocalSettings(store_path=tmp_path / "overrides.db", zone=parse_name("dnstapir."), **fields)
        local: ActorSpec[Any] = ActorSpec(
            name="local",
            factory=lambda: LocalSource(settings, lists=system.ref("lists"), policy=system.ref("policy")),
            mailbox=ROOMY,
        )
        children = (lists.spec("lists"), policy.spec("policy"), local)
        tree = SupervisorSpec(name="test", strategy=Strategy.ONE_FOR_ONE, children=children)
        async with run_system(tree, system=system):
            yield Rig(ref=system.ref("local"), lists=lists, clock=clock, settings=settings)

    return run


def listing(folder: Path) -> list[str]:
    return sorted(each.name for each in folder.iterdir())


def stored(path: Path) -> set[str]:
    with contextlib.closing(OverrideStore.open_reading(path)) as store:
        return {each.entry for each in store.load()}


async def test_all_four_lists_speak_at_once_also_when_they_hold_nothing(
    run_local: RunLocal, tmp_path: Path, autojump_clock: MockClock
) -> None:
    async with run_local() as rig:
        assert [each.source for each in rig.lists.messages] == [ALLOW, DENY, DOUBT, CANARY]
        assert {len(each.content) for each in rig.lists.messages} == {0}
    # A file comes with the first thing there is to keep.
    assert listing(tmp_path) == []


async def test_an_override_is_durable_when_it_is_answered(
    run_local: RunLocal, tmp_path: Path, autojump_clock: MockClock
) -> None:
    async with run_local() as rig:
        change = await rig.put("Bad.Example")
        assert stored(tmp_path / "overrides.db") == {"bad.example."}
        (now,) = change.now
        assert now == Override(
            entry="bad.example.", kind=ListKind.DENY, user="ops", at=rig.clock.now(), until=None, reason="why"
        )
        assert rig.said(DENY) == [set(), {"bad.example."}]
    async with run_local() as rig:
        assert rig.said(DENY) == [{"bad.example."}]
        assert await rig.overrides() == {"bad.example.": "denylist"}


async def test_a_name_that_moves_is_never_on_neither_list(run_local: RunLocal, autojump_clock: MockClock) -> None:
    async with run_local() as rig:
        await rig.put("bad.example", ListKind.ALLOW)
        count = len(rig.lists.messages)
        change = await rig.put("bad.example", ListKind.DENY)
        assert [each.kind for each in change.before] == [ListKind.ALLOW]
        assert [each.source for each in rig.lists.messages[count:]] == [DENY, ALLOW]
        assert await rig.overrides() == {"bad.example.": "denylist"}


async def test_it_ends_at_the_very_moment(run_local: RunLocal, tmp_path: Path, autojump_clock: MockClock) -> None:
    async with run_local() as rig:
        await trio.sleep(0.25)
        await rig.put("bad.example", seconds=7200)
        await rig.put("other.example", seconds=9000)
        await trio.sleep_until(7200.249)
        assert rig.said(DENY)[-1] == {"bad.example.", "other.example."}
        await trio.sleep_until(7200.251)
        assert rig.said(DENY)[-1] == {"other.example."}
        assert stored(tmp_path / "overrides.db") == {"other.example."}
        await rig.put("other.example")
        await trio.sleep_until(20000)
        assert await rig.overrides() == {"other.example.": "denylist"}


async def test_it_ends_while_nothing_runs_and_on_time_after_a_restart(
    run_local: RunLocal, autojump_clock: MockClock
) -> None:
    start = 1_700_000_000_000_000
    async with run_local() as rig:
        await rig.put("bad.example", seconds=100)
        await rig.put("other.example", seconds=200)
    async with run_local(start=start + 150_000_000) as rig:
        assert rig.said(DENY) == [{"other.example."}]
        await trio.sleep(49.999)
        assert await rig.overrides() == {"other.example.": "denylist"}
        await trio.sleep(0.002)
        assert rig.said(DENY)[-1] == set()


@pytest.mark.parametrize(("step", "left"), [(3600, {}), (-3600, {"bad.example.": "denylist"})])
async def test_a_wall_clock_that_is_set_counts(
    run_local: RunLocal, step: int, left: dict[str, str], autojump_clock: MockClock
) -> None:
    async with run_local() as rig:
        await rig.put("bad.example", seconds=1800)
        rig.clock.advance(step * 1_000_000)
        await trio.sleep(11 if step > 0 else 1801)
        assert rig.said(DENY)[-1] == set(left)
        assert await rig.overrides() == left
        await trio.sleep(3600)
        assert await rig.overrides() == {}


async def test_a_list_keeper_that_lost_them_is_told_again(run_local: RunLocal, autojump_clock: MockClock) -> None:
    async with run_local(canary=parse_name("canary.example")) as rig:
        await rig.put("bad.example")
        rig.ref.tell_nowait(RefreshSource())
        await trio.sleep(1)
        assert rig.said(DENY)[-2:] == [{"bad.example."}] * 2
        assert rig.said(CANARY) == [{"canary.example."}] * 2
        await trio.sleep(10)
        unchanged = [each for each in rig.lists.messages if isinstance(each, SourceUnchanged)]
        loaded = [each for each in rig.lists.messages if isinstance(each, SourceLoaded) and each.source == DENY]
        assert [each.digest for each in unchanged if each.source == DENY] == [loaded[-1].digest]


async def test_a_reload_changes_the_canary(run_local: RunLocal, autojump_clock: MockClock) -> None:
    async with run_local(canary=parse_name("canary.example")) as rig:
        for name in ("other.example", None):
            settings = attrs.evolve(rig.settings, canary=parse_name(name) if name else None)
            await rig.ref.ask(ConfigureLocal(settings=settings))
        assert rig.said(CANARY) == [{"canary.example."}, {"other.example."}, set()]


async def test_a_canary_that_is_allowed_is_a_failure_to_be_seen(run_local: RunLocal, autojump_clock: MockClock) -> None:
    hit = ListHit(list_name="ours", kind="allowlist", entry="*.example.", tags=())
    explanation = Explanation(
        name="canary.example.", action=Action.NONE, stage="allowlist", hits=(hit,), rules=(), winner="", emitted=""
    )
    async with run_local(explanation=explanation, canary=parse_name("canary.example")) as rig:
        await trio.sleep(11)
        (failed,) = [each for each in rig.lists.messages if isinstance(each, SourceFailed)]
        assert failed.source == CANARY
        assert "canary.example. is on an allowlist (ours), so it is not in the zone" in failed.reason


@pytest.mark.parametrize("entry", ["co.uk", "a..b", "x.rpz-ip"])
async def test_what_is_refused_changes_nothing(run_local: RunLocal, entry: str, autojump_clock: MockClock) -> None:
    async with run_local() as rig:
        with pytest.raises(AskFailed):
            await rig.put(entry)
        with pytest.raises(AskFailed):
            await rig.ref.ask(RemoveOverride(entry="never.example", kind=ListKind.DENY, user=""))
        assert rig.said(DENY) == [set()]
        assert await rig.overrides() == {}


async def test_a_full_disk_changes_nothing_but_what_ends_ends(
    run_local: RunLocal, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, autojump_clock: MockClock
) -> None:
    async with run_local() as rig:
        await rig.put("bad.example", seconds=60)
        with monkeypatch.context() as patch:

            def full(*_: object, **__: object) -> None:
                raise disk_full(tmp_path)

            patch.setattr(OverrideStore, "change", full)
            with pytest.raises(AskFailed) as failure:
                await rig.put("more.example")
            assert "disk is full" in str(failure.value.__cause__)
            assert rig.said(DENY)[-1] == {"bad.example."}
            assert (await rig.ref.ask(GetOverrides())).store_error
            await trio.sleep(61)
            assert rig.said(DENY)[-1] == set()
        await rig.put("later.example")
        assert (await rig.ref.ask(GetOverrides())).store_error == ""
    async with run_local(start=1_700_000_061_000_000) as rig:
        assert await rig.overrides() == {"later.example.": "denylist"}


def disk_full(folder: Path) -> StoreFull:
    return StoreFull(path=folder / "overrides.db", reason="database or disk is full")


async def test_a_store_that_is_removed_under_us_is_written_anew(
    run_local: RunLocal, tmp_path: Path, autojump_clock: MockClock
) -> None:
    async with run_local() as rig:
        await rig.put("bad.example")
        (tmp_path / "overrides.db").unlink()
        await rig.put("more.example")
        assert stored(tmp_path / "overrides.db") == {"bad.example.", "more.example."}


async def test_a_corrupt_store_is_put_aside(
    run_local: RunLocal, tmp_path: Path, caplog: pytest.LogCaptureFixture, autojump_clock: MockClock
) -> None:
    (tmp_path / "overrides.db").write_bytes(b"nothing of ours" * 100)
    async with run_local() as rig:
        assert rig.said(DENY) == [set()]
        await rig.put("bad.example")
        assert stored(tmp_path / "overrides.db") == {"bad.example."}
    assert len([name for name in listing(tmp_path) if name.startswith("overrides.db.corrupt-")]) == 1
    assert "all that was allowed, denied or doubted by hand is lost" in caplog.text


async def test_a_store_that_cannot_be_read_leaves_the_lists_alone_until_it_can(
    run_local: RunLocal, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, autojump_clock: MockClock
) -> None:
    async with run_local() as rig:
        await rig.put("bad.example")
    with monkeypatch.context() as patch:

        def unreadable(*_: object) -> None:
            raise disk_full(tmp_path)

        patch.setattr(OverrideStore, "open", unreadable)
        running = run_local()
        rig = await running.__aenter__()
        assert {each.source for each in rig.lists.messages if isinstance(each, SourceFailed)} == {ALLOW, DENY, DOUBT}
        with pytest.raises(AskFailed) as failure:
            await rig.put("more.example")
        assert "not done" in str(failure.value.__cause__)
        await trio.sleep(25)
        assert rig.said(DENY) == []
    await trio.sleep(10)
    assert rig.said(DENY) == [{"bad.example."}]
    await running.__aexit__(None, None, None)
