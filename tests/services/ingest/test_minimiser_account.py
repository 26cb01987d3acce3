"""Whatever happens in whatever order: each frame has one fate, and what was counted is in one file."""

import random
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import trio
from minimising import KNOWN, Rig, asked, block_of, fates_of, write_list
from trio.testing import MockClock

from actors import AskError, SystemClock
from tapir.minimiser.account import Fate
from tapir.minimiser.pipeline import Pipeline, Processed
from tapir.model.blocks import FrameBlock
from tapir.model.messages.edm import GetBusyNames, RotateNow
from tapir.store.errors import StoreFull
from tapir.store.parquetfiles import ParquetFiles
from tapir.store.spool import SpoolFolder

NAMES = ("known.example", "other.example", "a.wild.example", "new.example", "ignored.example")


class Turmoil:
    """Does things to a minimiser, at random."""

    def __init__(self, rig: Rig, rng: random.Random, monkeypatch: pytest.MonkeyPatch) -> None:
        self.rig = rig
        self.rng = rng
        self.received = 0
        self.lists = [write_list(rig.folder / "one.dawg"), write_list(rig.folder / "two.dawg", KNOWN[1:])]
        self.ignored = write_list(rig.folder / "ignored.dawg", ["ignored.example."])
        process = Pipeline.process

        def fail(pipeline: Pipeline, block: FrameBlock) -> Processed:
            if len(block) == 13:
                raise MemoryError
            return process(pipeline, block)

        monkeypatch.setattr(Pipeline, "process", fail)

    def block(self) -> FrameBlock:
        """Frames of which some are no frames."""
        frames = []
        for _ in range(self.rng.choice([1, 2, 5, 13, 40])):
            octets = bytearray(asked(self.rng.choice(NAMES), self.rng.randbytes(4)))
            if self.rng.random() < 0.3:
                octets[self.rng.randrange(len(octets))] = self.rng.randrange(256)
            frames.append(bytes(octets))
        return FrameBlock.of(frames)

    async def step(self) -> None:
        """Do one thing."""
        rng, rig = self.rng, self.rig
        match rng.randrange(12):
            case 0:
                await rig.ref.ask(RotateNow())
            case 1:
                await rig.configure(
                    well_known=rng.choice(self.lists),
                    ignored_names=rng.choice([None, self.ignored]),
                    sessions=rng.random() < 0.5,
                    cryptopan_key=rng.choice(["key1", "key2"]),
                    threshold=rng.choice([1, 20]),
                )
            case 2:
                await trio.sleep(
                    rng.choice([0, 0.0001, 0.001]) if isinstance(rig.clock, SystemClock) else rng.random() * 50
                )
            case 3:
                await rig.ref.ask(GetBusyNames())
                await rig.status()
            case 4 if rng.random() < 0.3:
                rig.crash()
            case _:
                for _ in range(rng.randrange(1, 8)):
                    block = self.block()
                    self.received += len(block)
                    await rig.tell(block)


async def run(rig: Rig, turmoil: Turmoil, steps: int) -> None:
    async with rig.running():
        for _ in range(steps):
            try:
                await turmoil.step()
            except AskError:
                continue  # it crashed meanwhile
        await rig.settled()
    account = rig.ledger.account()
    assert account.received == turmoil.received
    assert account.in_flight == 0
    fates = Counter(fates_of(account))
    assert sum(rig.counts.values()) == fates[Fate.HISTOGRAM] > 0
    assert not rig.spools
    assert Fate.STOPPED not in fates


@pytest.mark.parametrize("durable", [False, True])
async def test_the_account_is_exact(
    tmp_path: Path, autojump_clock: MockClock, monkeypatch: pytest.MonkeyPatch, campaign: Any, durable: bool
) -> None:
    rng = campaign.random()
    for number in range(campaign.rounds(80)):
        (folder := tmp_path / str(number)).mkdir()
        rig = Rig(folder, durable=durable)
        await run(rig, Turmoil(rig, rng, monkeypatch), 25)


async def test_the_account_is_exact_with_a_thread(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, campaign: Any
) -> None:
    rng = campaign.random()
    for number in range(campaign.rounds(40)):
        (folder := tmp_path / str(number)).mkdir()
        rig = Rig(folder, clock=SystemClock(), durable=rng.random() < 0.5)
        await run(rig, Turmoil(rig, rng, monkeypatch), 30)


async def test_what_the_deadline_of_a_stop_leaves_is_dropped_and_counted(
    tmp_path: Path, autojump_clock: MockClock
) -> None:
    rig = Rig(tmp_path)
    async with rig.running():
        # Novelty takes nothing: what is in hand waits, what comes then stays in the mailbox.
        await trio.sleep(0.1)
        hand = rig.made[0]._hand
        assert hand is not None

        async def forever(_: object) -> None:
            await trio.sleep_forever()

        hand._tell = forever  # type: ignore[assignment, method-assign]
        for _ in range(8):
            await rig.tell(FrameBlock.of([asked("known.example")] * 10))
        assert rig.ledger.account().in_flight
    account = rig.ledger.account()
    assert account.in_flight == 0
    assert account.count(Fate.STOPPED) == 80 - account.count(Fate.HISTOGRAM) > 0
    assert sum(rig.counts.values()) == account.count(Fate.HISTOGRAM)


async def test_what_is_durable_is_exact_whatever_the_disk_and_the_process_do(
    tmp_path: Path, autojump_clock: MockClock, monkeypatch: pytest.MonkeyPatch, campaign: Any
) -> None:
    rng = campaign.random()
    monkeypatch.setattr("tapir.minimiser.pipeline.SESSION_OCTETS", 2000)
    monkeypatch.setattr("tapir.services.ingest.writing.SESSION_OCTETS", 3000)
    tight = [False]
    for owner, name in ((ParquetFiles, "write_histogram"), (ParquetFiles, "write_sessions"), (SpoolFolder, "remove")):
        monkeypatch.setattr(owner, name, refusing(getattr(owner, name), lambda: tight[0] and rng.random() < 0.5))
    for number in range(campaign.rounds(200)):
        (folder := tmp_path / str(number)).mkdir()
        rig = Rig(folder, durable=True, sessions=True)
        fates = Counter[Fate]()
        for _ in range(rng.randrange(1, 4)):
            tight[0] = True
            rig = Rig(folder, durable=True, sessions=True)
            async with trio.open_nursery() as nursery:
                await nursery.start(rig.system.run, rig.tree)
                for _ in range(rng.randrange(1, 12)):
                    for _ in range(rng.randrange(4)):
                        await rig.tell(block_of(*rng.choices(NAMES, k=rng.randrange(1, 9))))
                    await trio.sleep(rng.random() * 40)
                await rig.settled()
                nursery.cancel_scope.cancel()  # as kill -9 does it: nothing is said goodbye to
            fates.update(fates_of(rig.ledger.account()))
        tight[0] = False
        last = Rig(folder)
        async with last.running():
            await trio.sleep(60)
        assert sum(last.counts.values()) == fates[Fate.HISTOGRAM]
        assert len(last.session_rows) == fates[Fate.OTHER]
        assert not last.spools


def refusing(method: Any, refuses: Callable[[], bool]) -> Any:
    """`method` on a disk that sometimes takes nothing."""

    def guarded(held: Any, *args: Any, **settings: Any) -> Any:
        if refuses():
            raise StoreFull(path=Path("/full"), reason="No space left on device")
        return method(held, *args, **settings)

    return guarded
