"""An observation source: what is signed and new is on the list, durable before it is acknowledged, until it ends."""

import contextlib
import json
import logging
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import AbstractAsyncContextManager
from pathlib import Path
from typing import Any

import attrs
import pytest
import trio
from observing import CORE, LIST, OTHER, SECOND, STRANGER, payload, signed, write_keystore
from trio.testing import MockClock

from actors import ActorRef, ActorSpec, ActorSystem, AskFailed, ManualClock, Strategy, SupervisorSpec, SystemSettings
from actors.testing import ROOMY, Probe, probe, run_system
from tapir.model.actions import ListKind
from tapir.model.blocks import ListBlock, ObservationBlock
from tapir.model.messages.events import ClockStatus, GetClock, HoldExpiry
from tapir.model.messages.lists import (
    GetEntry,
    RefreshSource,
    SourceChanged,
    SourceFailed,
    SourceLoaded,
    SourceUnchanged,
)
from tapir.model.messages.mqtt import ConsumeAgain, MqttBlock, MqttHolding, MqttSettled
from tapir.model.messages.observations import BootstrapAgain, GetObservations, GetObservationsExport, ObservationsStatus
from tapir.model.names import Name, format_name, parse_name
from tapir.services.sources.bootstrap import BootstrapFailed, BootstrapResult, BootstrapSettings
from tapir.services.sources.observations import ObservationSource
from tapir.services.sources.observations_desk import ObservationDesk
from tapir.services.sources.observations_reading import ReadingSettings
from tapir.services.sources.observations_settings import ObservationSettings
from tapir.store.errors import StoreFull
from tapir.store.observations import ObservationStore

START = 1_700_000_000 * SECOND
"""A multiple of 20 seconds, and 20 seconds past a minute."""


class Fetching:
    """A bootstrapper that answers when the test says what."""

    def __init__(self) -> None:
        self.result: BootstrapResult | BootstrapFailed | None = None
        self.told = trio.Event()

    def tell(self, result: BootstrapResult | BootstrapFailed) -> None:
        self.result = result
        self.told.set()

    async def fetch(self) -> BootstrapResult:
        await self.told.wait()
        self.told = trio.Event()
        assert self.result is not None
        if isinstance(self.result, BootstrapFailed):
            raise self.result
        return self.result


@attrs.define
class Believed:
    held: bool = False

    def status(self, request: GetClock) -> ClockStatus:
        return ClockStatus(held=self.held, stepped_by=0, stepped_at=None, released_at=None)


@attrs.define
class Rig:
    ref: ActorRef[Any]
    lists: Probe
    session: Probe
    clock: ManualClock
    believed: Believed
    settings: ObservationSettings
    fetching: Fetching
    blocks: int = 0
    digest: str = ""
    held: dict[Name, int] = attrs.field(factory=dict)
    read: int = 0

    @property
    def now(self) -> int:
        return self.clock.now()

    async def send(self, *messages: bytes, settled: bool = True) -> int:
        """Hand over one block of signed messages, and wait until it is settled."""
        self.blocks += 1
        block = MqttBlock(id=self.blocks, topics=("obs",) * len(messages), payloads=messages)
        await self.ref.tell(block)
        if settled:
            await self.wait_settled(self.blocks)
        return self.blocks

    async def wait_settled(self, block: int) -> None:
        with trio.fail_after(60):
            while block not in self.settled:
                await self.session.wait_count(len(self.session.messages) + 1)

    @property
    def settled(self) -> list[int]:
        told = [each for each in self.session.messages if isinstance(each, MqttSettled)]
        return [block for each in told for block in each.blocks]

    @property
    def names(self) -> dict[str, int]:
        """What the list keeper makes of all that it was told; it must fit to the letter."""
        for message in self.lists.messages[self.read :]:
            match message:
                case SourceLoaded():
                    assert isinstance(message.content, ListBlock)
                    self.held, self.digest = dict(message.content), message.digest
                case SourceChanged():
                    assert message.base == self.digest
                    for name in message.removed:
                        del self.held[name]
                    self.held.update(message.upserted)
                    self.digest = message.digest
                case SourceUnchanged():
                    self.digest = self.digest or message.digest
                    assert message.digest == self.digest
        self.read = len(self.lists.messages)
        return {format_name(name): tags for name, tags in self.held.items()}

    async def status(self) -> ObservationsStatus:
        return await self.ref.ask(GetObservations())

    async def counters(self) -> dict[str, int]:
        return dict((await self.status()).counters)

    async def refresh(self) -> dict[str, int]:
        await self.ref.ask(GetObservations())
        await self.ref.tell(RefreshSource())
        await self.ref.ask(GetObservations())
        return self.names


RunSource = Callable[..., AbstractAsyncContextManager[Rig]]


@pytest.fixture
def run_source(tmp_path: Path) -> RunSource:
    """`async with run_source() as rig`; a second one in the same test finds what the first one stored."""

    @contextlib.asynccontextmanager
    async def run(start: int = START, keys: Sequence[Any] = (CORE,), **fields: Any) -> AsyncIterator[Rig]:
        if keys:
            write_keystore(tmp_path / "keys.json", *keys)
        believed, fetching = Believed(), Fetching()
        lists, session, clockwatch = Probe(), Probe(), probe({GetClock: believed.status})
        clock = ManualClock(start)
        system = ActorSystem(clock=clock, settings=SystemSettings(seed=0))
        settings = ObservationSettings(
            **{
                "id": "core",
                "name": LIST,
                "kind": ListKind.DOUBT,
                "zone": parse_name("dnstapir."),
                "topics": ("obs",),
                "store_path": tmp_path / "core.db",
                "keystore": tmp_path / "keys.json",
                **fields,
            }
        )
        source: ActorSpec[Any] = ActorSpec(
            name="core",
            factory=lambda: ObservationSource(
                settings,
                lists=system.ref("lists"),
                session=system.ref("session"),
                clock=system.ref("clock"),
                bootstrapper=lambda settings, now: fetching,
            ),
            mailbox=ROOMY,
        )
        children = (lists.spec("lists"), session.spec("session"), clockwatch.spec("clock"), source)
        tree = SupervisorSpec(name="test", strategy=Strategy.ONE_FOR_ONE, children=children)
        async with run_system(tree, system=system):
            yield Rig(
                ref=system.ref("core"),
                lists=lists,
                session=session,
                clock=clock,
                believed=believed,
                settings=settings,
                fetching=fetching,
            )

    return run


def adding(rig: Rig, *names: str, tags: int = 1, seconds: int = 3600, at: int = 0, key: Any = CORE) -> bytes:
    """A message that says that `names` were observed `at` microseconds from now."""
    observed = rig.now + at
    return signed(payload([(name, tags, observed, seconds) for name in names], at=observed), key)


async def test_what_is_signed_is_on_the_list_and_only_then_settled(
    run_source: RunSource, autojump_clock: MockClock
) -> None:
    async with run_source() as rig:
        assert [type(each) for each in rig.session.messages] == [ConsumeAgain]
        await rig.send(adding(rig, "bad.example", tags=17), adding(rig, "Worse.Example.", tags=2))
        assert rig.names == {"bad.example.": 17, "worse.example.": 2}
        assert rig.settled == [1]
        with contextlib.closing(ObservationStore.open(rig.settings.store_path)) as store:
            assert sum(len(step.entries) for step in store.load()) == 2
            assert store.digest == rig.digest
        assert await rig.refresh() == rig.names


async def test_a_restart_finds_all_of_it_and_says_so_without_saying_it(
    run_source: RunSource, autojump_clock: MockClock
) -> None:
    async with run_source() as rig:
        message = adding(rig, "bad.example", tags=17)
        await rig.send(message)
        await rig.send(signed(payload(removed=["gone.example"], at=rig.now)))
        digest = rig.lists.messages[-1].digest
    async with run_source(START + 60 * SECOND) as rig:
        assert [(type(each), each.digest) for each in rig.lists.messages] == [(SourceUnchanged, digest)]
        assert (await rig.status()).entries == 1
        assert await rig.refresh() == {"bad.example.": 17}
        await rig.send(message, signed(payload([("gone.example", 1, START - 1, 3600)])))
        assert (await rig.counters())["duplicate"] == 1
        assert (await rig.counters())["stale"] == 1


async def test_names_leave_within_the_interval(run_source: RunSource, autojump_clock: MockClock) -> None:
    async with run_source(reaper_interval=60) as rig:
        await rig.send(adding(rig, "a.example", seconds=50), adding(rig, "b.example", seconds=101))
        assert set(rig.names) == {"a.example.", "b.example."}
        # The interval ends at :40 and 1:40 from the start; what is over by then leaves then.
        await trio.sleep_until(99.9)
        assert set(rig.names) == {"a.example.", "b.example."}
        await trio.sleep_until(100.1)
        assert set(rig.names) == {"b.example."}
        await trio.sleep_until(160.1)
        assert rig.names == {}
        assert (await rig.status()).next_expiry is None


async def test_observed_again_the_deadline_moves_either_way(run_source: RunSource, autojump_clock: MockClock) -> None:
    async with run_source(reaper_interval=1) as rig:
        await rig.send(adding(rig, "a.example", seconds=10), adding(rig, "b.example", seconds=100))
        count = len(rig.lists.messages)
        await trio.sleep(1)
        await rig.send(adding(rig, "a.example", seconds=100), adding(rig, "b.example", seconds=10))
        assert len(rig.lists.messages) == count, "the list itself has not changed"
        await trio.sleep_until(15)
        assert set(rig.names) == {"a.example."}
        await trio.sleep_until(105)
        assert set(rig.names) == set()


async def test_what_ended_while_nothing_ran_leaves_at_the_start(
    run_source: RunSource, autojump_clock: MockClock
) -> None:
    async with run_source() as rig:
        await rig.send(adding(rig, "a.example", seconds=10), adding(rig, "b.example", seconds=10_000))
        digest = rig.lists.messages[-1].digest
    async with run_source(START + 3600 * SECOND) as rig:
        rig.digest, rig.held = digest, {parse_name("a.example"): 1, parse_name("b.example"): 1}
        assert rig.names == {"b.example.": 1}


async def test_while_the_clock_is_in_doubt_nothing_ends(run_source: RunSource, autojump_clock: MockClock) -> None:
    async with run_source(reaper_interval=1) as rig:
        await rig.send(adding(rig, "a.example", seconds=10))
        rig.believed.held = True
        await rig.ref.tell(HoldExpiry(held=True))
        rig.clock.advance(3600 * SECOND)
        await trio.sleep(100)
        assert (await rig.status()).held
        # What comes looks as if it was over, and may not be.
        await rig.send(adding(rig, "b.example", at=-3600 * SECOND, seconds=10))
        assert set(rig.names) == {"a.example.", "b.example."}
        rig.believed.held = False
        await rig.ref.tell(HoldExpiry(held=False))
        assert not (await rig.status()).held
        assert rig.names == {}


async def test_a_step_that_nobody_has_told_of_yet_is_asked_for(
    run_source: RunSource, autojump_clock: MockClock
) -> None:
    async with run_source(reaper_interval=1) as rig:
        await rig.send(adding(rig, "a.example", seconds=10))
        rig.believed.held = True
        rig.clock.advance(3600 * SECOND)
        await rig.send(adding(rig, "b.example", at=-3600 * SECOND, seconds=10))
        await trio.sleep(30)
        assert set(rig.names) == {"a.example.", "b.example."}
        # The release is lost: the source asks itself.
        rig.believed.held = False
        await trio.sleep(15)
        assert rig.names == {}


async def test_each_way_to_be_wrong_is_counted_by_its_reason(
    run_source: RunSource, autojump_clock: MockClock, caplog: pytest.LogCaptureFixture
) -> None:
    async with run_source(keys=(CORE, OTHER), signers=("core",)) as rig:
        now = rig.now
        good = payload([("good.example", 1, now, 60)], at=now)
        await rig.send(signed(good))
        with caplog.at_level(logging.WARNING):
            await rig.send(
                b"rubbish",
                signed(good, STRANGER),
                signed(good, OTHER),
                signed(good)[:-20] + b'AAAAAAAAAAAAAAAAAA"}',
                signed(b"[]"),
                signed(b"not json"),
                signed(good.replace(b"observation-encoder", b"somebody else")),
                signed(good.replace(b'"msg_type":"observation"', b'"msg_type":"telegram"')),
                signed(good.replace(b"doubtlist", b"greylist")),
                signed(payload([("x.example", 1, now, 60)], source="other")),
                signed(payload([("x.example", 1, now, 60)], kind=ListKind.DENY)),
                signed(good, compact=True),
                signed(payload([("com", 1, now, 60)])),
                signed(good.replace(b"good.example", b"bad..example")),
                signed(payload([("old.example", 1, now - 61 * SECOND, 60)])),
                signed(payload([("good.example", 1, now - 1, 60)])),
            )
        assert await rig.counters() == {
            "messages": 17,
            "added": 2,
            "removed": 0,
            "malformed": 1,
            "unknown-kid": 1,
            "key-not-allowed": 1,
            "bad-signature": 1,
            "payload-not-json": 2,
            "payload-unknown-message-type": 1,
            "payload-unknown-list-type": 1,
            "wrong-list": 2,
            "duplicate": 1,
            "too-broad": 1,
            "not-a-name": 1,
            "expired": 1,
            "stale": 1,
        }
        assert set(rig.names) == {"good.example."}
        said = [record.getMessage() for record in caplog.records]
        assert any("2 refused as wrong-list: it is for the doubtlist 'other'" in text for text in said)
        assert not any("stale" in text or "duplicate" in text for text in said)
        # Quiet at night: the same again is counted, and told of later.
        caplog.clear()
        await rig.send(signed(payload([("y.example", 1, now, 60)], source="other")))
        assert not [record for record in caplog.records if record.levelno >= logging.WARNING]
        await trio.sleep(1000)
        assert "1 refused as wrong-list" in caplog.text


async def test_a_topic_of_several_lists_is_nobodys_fault(
    run_source: RunSource, autojump_clock: MockClock, caplog: pytest.LogCaptureFixture
) -> None:
    async with run_source(neighbours=frozenset({("denied", ListKind.DENY)})) as rig:
        with caplog.at_level(logging.WARNING):
            await rig.send(signed(payload([("a.example", 1, rig.now, 60)], source="denied", kind=ListKind.DENY)))
            assert not caplog.records
            await rig.send(signed(payload([("b.example", 1, rig.now, 60)], source="denied", kind=ListKind.ALLOW)))
        assert "wrong-list" in caplog.text
        assert await rig.counters() == {"messages": 2, "added": 0, "removed": 0, "other-list": 1, "wrong-list": 1}
        assert rig.names == {}


async def test_any_kind_of_list_may_be_fed(run_source: RunSource, autojump_clock: MockClock) -> None:
    async with run_source(kind=ListKind.ALLOW, name="allowed") as rig:
        now = rig.now
        await rig.send(signed(payload([("co.uk", 0, now, 60)], source="allowed", kind=ListKind.ALLOW)))
        assert rig.names == {"co.uk.": 0}


async def test_without_keys_nothing_is_lost(run_source: RunSource, tmp_path: Path, autojump_clock: MockClock) -> None:
    async with run_source(keys=()) as rig:
        message = adding(rig, "a.example")
        block = await rig.send(message, settled=False)
        await trio.sleep(30)
        assert rig.settled == []
        status = await rig.status()
        assert (status.keys, status.waiting) == (None, 1)
        assert "keystore cannot be read" in status.trouble
        assert {each.reason for each in rig.lists.messages if isinstance(each, SourceFailed)} == {status.trouble}
        (tmp_path / "keys.json").write_text("{}")
        await trio.sleep(30)
        assert rig.settled == []
        write_keystore(tmp_path / "keys.json", CORE)
        await rig.wait_settled(block)
        assert set(rig.names) == {"a.example."}
        status = await rig.status()
        assert (status.keys, status.trouble) == (1, "")


async def test_names_that_end_do_not_hide_that_keys_are_missing(
    run_source: RunSource, tmp_path: Path, autojump_clock: MockClock
) -> None:
    async with run_source(reaper_interval=1) as rig:
        await rig.send(adding(rig, "a.example", seconds=15), adding(rig, "b.example", seconds=25))
        (tmp_path / "keys.json").unlink()
        await rig.send(adding(rig, "c.example"), settled=False)
        await trio.sleep(1)
        first = len(rig.lists.messages)
        await trio.sleep(60)
        assert set(rig.names) == set()
        said = rig.lists.messages[first:]
        assert not [each for each in said if isinstance(each, SourceUnchanged)], "told as well again, and again not"
        assert "keystore cannot be read" in (await rig.status()).trouble
        assert MqttHolding(consumer="core") in rig.session.messages
        write_keystore(tmp_path / "keys.json", CORE)
        await rig.wait_settled(2)
        assert (await rig.status()).trouble == ""
        said = list(rig.session.messages)
        await trio.sleep(60)
        assert MqttHolding(consumer="core") not in rig.session.messages[len(said) :]


async def test_a_new_key_is_believed_at_once(run_source: RunSource, tmp_path: Path, autojump_clock: MockClock) -> None:
    async with run_source() as rig:
        await rig.send(adding(rig, "a.example", key=OTHER))
        write_keystore(tmp_path / "keys.json", CORE, OTHER)
        await rig.send(adding(rig, "b.example", key=OTHER))
        assert set(rig.names) == {"b.example."}
        assert (await rig.counters())["unknown-kid"] == 1


async def test_a_full_disk_keeps_messages_with_the_broker_and_lets_names_leave(
    run_source: RunSource, autojump_clock: MockClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with run_source(reaper_interval=1) as rig:
        await rig.send(adding(rig, "a.example", seconds=20))
        real = ObservationStore.append

        def full(self: ObservationStore, *args: Any, **fields: Any) -> None:
            raise StoreFull(path=rig.settings.store_path, reason="no space left")

        monkeypatch.setattr(ObservationStore, "append", full)
        block = await rig.send(adding(rig, "b.example"), settled=False)
        await trio.sleep(0.1)
        other = await rig.send(adding(rig, "c.example"), settled=False)
        await trio.sleep(40)
        assert rig.settled == [1]
        assert set(rig.names) == {"b.example."}, "one that is over leaves all the same"
        assert "no space left" in (await rig.status()).trouble
        monkeypatch.setattr(ObservationStore, "append", real)
        await rig.wait_settled(other)
        assert rig.settled == [1, block, other]
        assert set(rig.names) == {"b.example.", "c.example."}
        digest = rig.digest
    async with run_source(START + 60 * SECOND) as rig:
        assert rig.lists.messages[0].digest == digest
        assert set(await rig.refresh()) == {"b.example.", "c.example."}


async def test_a_store_that_is_removed_while_we_run_is_stored_anew(
    run_source: RunSource, autojump_clock: MockClock, caplog: pytest.LogCaptureFixture
) -> None:
    async with run_source() as rig:
        await rig.send(adding(rig, "a.example"))
        rig.settings.store_path.unlink()
        await rig.send(adding(rig, "b.example"))
        assert set(rig.names) == {"a.example.", "b.example."}
        assert "they were stored anew" in caplog.text
        digest = rig.digest
    async with run_source() as rig:
        assert rig.lists.messages[0].digest == digest
        assert set(await rig.refresh()) == {"a.example.", "b.example."}


async def test_a_store_that_is_damaged_is_put_aside_and_begun_anew(
    run_source: RunSource, autojump_clock: MockClock, caplog: pytest.LogCaptureFixture
) -> None:
    async with run_source() as rig:
        await rig.send(adding(rig, "a.example"))
        before = rig.lists.messages[-1].digest
    path = rig.settings.store_path
    path.write_bytes(b"rubbish" * 1000)
    async with run_source() as rig:
        assert "what was observed before is lost" in caplog.text
        assert len(list(path.parent.glob("core.db.corrupt-*"))) == 1
        assert rig.lists.messages[0].digest != before
        await rig.send(adding(rig, "b.example"))
        assert set(await rig.refresh()) == {"b.example."}


async def test_a_store_that_cannot_be_opened_is_tried_again(
    run_source: RunSource, autojump_clock: MockClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    real = ObservationStore.open

    def full(path: Path) -> ObservationStore:
        raise StoreFull(path=path, reason="no space left")

    monkeypatch.setattr(ObservationStore, "open", full)
    async with run_source() as rig:
        assert isinstance(rig.lists.messages[0], SourceFailed)
        assert rig.session.messages == [], "it could not keep what would come"
        with pytest.raises(AskFailed, match="does not know what it holds"):
            await rig.ref.ask(GetObservationsExport())
        await rig.ref.tell(RefreshSource())
        monkeypatch.setattr(ObservationStore, "open", real)
        await rig.session.wait_count(1)
        await rig.send(adding(rig, "a.example"))
        assert set(await rig.refresh()) == {"a.example."}


async def test_what_is_known_of_an_entry_and_what_is_exported(run_source: RunSource, autojump_clock: MockClock) -> None:
    async with run_source() as rig:
        now = rig.now
        await rig.send(adding(rig, "a.example", tags=5), adding(rig, "b.example", seconds=1))
        facts = await rig.ref.ask(GetEntry(source="core", name=parse_name("a.example")))
        assert (facts.observed_at, facts.expires_at, facts.tags) == (now, now + 3600 * SECOND, 5)
        assert await rig.ref.ask(GetEntry(source="core", name=parse_name("c.example"))) is None
        await trio.sleep(2)
        export = await rig.ref.ask(GetObservationsExport())
        assert (export.name, export.kind, export.topics, export.at) == (LIST, ListKind.DOUBT, ("obs",), rig.now)
        assert list(export.observations) == [(parse_name("a.example"), 5, now, now + 3600 * SECOND)]


BOOTSTRAP = BootstrapSettings(servers=("192.0.2.1:5455",), url="https://%s/api/v1")


async def test_a_bootstrap_comes_before_what_is_held_for_it(run_source: RunSource, autojump_clock: MockClock) -> None:
    async with run_source(bootstrap=BOOTSTRAP) as rig:
        now = rig.now
        removal = signed(payload(removed=["b.example"], at=now))
        await rig.send(adding(rig, "a.example", tags=9), removal, settled=False)
        await trio.sleep(1)
        assert (await rig.status()).bootstrap == "fetching"
        assert rig.settled == []
        names = [(name, now - 5, now + 3600 * SECOND) for name in ("a.example", "b.example", "c.example", "com")]
        rig.fetching.tell(
            BootstrapResult(
                server="there",
                form="gob",
                fetched_at=now,
                observations=ObservationBlock.of((parse_name(name), 1, at, end) for name, at, end in names),
            )
        )
        await rig.wait_settled(1)
        assert rig.names == {"a.example.": 9, "c.example.": 1}
        assert (await rig.status()).bootstrap == "done"


async def test_a_bootstrap_that_fails_holds_nothing_up(run_source: RunSource, autojump_clock: MockClock) -> None:
    async with run_source(bootstrap=BOOTSTRAP) as rig:
        await rig.send(adding(rig, "a.example"), settled=False)
        rig.fetching.tell(BootstrapFailed("nobody is there"))
        await rig.wait_settled(1)
        assert (await rig.status()).bootstrap == "failed"
        assert set(rig.names) == {"a.example."}


async def test_an_operator_has_it_bootstrap_again(run_source: RunSource, autojump_clock: MockClock) -> None:
    async with run_source(bootstrap=BOOTSTRAP) as rig:
        assert "has not done so yet" in await rig.ref.ask(BootstrapAgain())
        nothing = BootstrapResult(server="there", form="gob", fetched_at=rig.now, observations=ObservationBlock.of(()))
        rig.fetching.tell(nothing)
        await rig.send(adding(rig, "a.example"), settled=False)
        await rig.wait_settled(1)
        assert (await rig.status()).bootstrap == "done"
        entry = (parse_name("b.example"), 1, rig.now, rig.now + 3600 * SECOND)
        rig.fetching.tell(attrs.evolve(nothing, observations=ObservationBlock.of((entry,))))
        assert "other POPs are asked" in await rig.ref.ask(BootstrapAgain())
        await trio.sleep(1)
        assert set(rig.names) == {"a.example.", "b.example."}
    async with run_source() as rig:
        assert "has nobody to bootstrap from" in await rig.ref.ask(BootstrapAgain())


async def test_blocks_that_wait_are_taken_together(
    run_source: RunSource, autojump_clock: MockClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    commits = []
    real = ObservationStore.append

    def counting(self: ObservationStore, *args: Any, **fields: Any) -> None:
        commits.append(args)
        real(self, *args, **fields)

    monkeypatch.setattr(ObservationStore, "append", counting)
    async with run_source() as rig:
        messages = [adding(rig, f"n{number}.example") for number in range(600)]
        for start in range(0, 600, 30):
            block = MqttBlock(id=start, topics=("obs",) * 30, payloads=tuple(messages[start : start + 30]))
            rig.ref.tell_nowait(block)
        await rig.wait_settled(570)
        assert rig.settled == list(range(0, 600, 30))
        assert len(rig.names) == 600
        assert len(commits) == 2


async def test_an_untimed_removal_is_of_when_it_came(run_source: RunSource, autojump_clock: MockClock) -> None:
    async with run_source() as rig:
        await rig.send(adding(rig, "a.example"))
        untimed = json.loads(payload(removed=["a.example"]))
        del untimed["timestamp"]
        await trio.sleep(1)
        await rig.send(signed(json.dumps(untimed).encode()))
        assert rig.names == {}


def test_what_is_stale_for_ever_is_remembered_in_bounds(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("tapir.services.sources.observations_desk.MOST", 100)
    reading = ReadingSettings(name=LIST, kind=ListKind.DOUBT, zone=parse_name("dnstapir."))
    keystore = write_keystore(tmp_path / "keys.json", CORE)
    desk = ObservationDesk(store_path=tmp_path / "core.db", keystore=keystore, reading=reading)
    desk.open(START)
    desk.take([signed(payload([("a.example", 1, START, 3600)], at=START))], now=START, due=START)
    for number in range(1, 300):
        stale = signed(payload([("a.example", 1, START - number, 3600)], at=START))
        assert desk.take([stale], now=START, due=START).read.refused == {}
    assert len(desk._new_digests) == 100
    desk.close()
