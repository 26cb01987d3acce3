"""The blocks that the pipeline's thread has, in order, until the account says what became of their frames."""

from collections import deque
from collections.abc import Callable
from typing import Any, Final

import trio

from actors import ActorRef, Delivery
from tapir.codec.newqname import Sightings
from tapir.minimiser.account import Fate, Ledger
from tapir.minimiser.novelty import RecentNames
from tapir.services.ingest.messages import NamesSighted
from tapir.services.ingest.thread import Job
from tapir.services.ingest.work import Done

IN_HAND: Final = 3
"""blocks that are handed in and not settled: one is worked on, and two keep the thread from waiting for the next"""


class Hand:
    """Settles the blocks, and has novelty told of the names. Belongs to the actor."""

    def __init__(
        self,
        ledger: Ledger,
        recent: RecentNames,
        novelty: ActorRef[Any],
        *,
        done: Callable[[Done], None],
        failed: Callable[[Exception], None],
    ) -> None:
        """`done` and `failed` are called for each block, in order, when it is settled."""
        self._ledger = ledger
        self._recent = recent
        self._novelty = novelty
        self._done = done
        self._failed = failed
        self._blocks: deque[tuple[int, Job[Done]]] = deque()
        self._more = trio.Event()
        self._settled = trio.lowlevel.ParkingLot()

    def __repr__(self) -> str:
        return f"<Hand with {len(self._blocks)} blocks>"

    @property
    def full(self) -> bool:
        """Whether no more blocks should be handed in now."""
        return len(self._blocks) >= IN_HAND

    def add(self, frames: int, job: Job[Done]) -> None:
        """A block of so many frames was handed in."""
        self._blocks.append((frames, job))
        self._more.set()

    async def run(self, room: Callable[[], None]) -> None:
        """Settle what gets done, for ever; `room` is called when there is some."""
        while True:
            while self._blocks:
                await self._blocks[0][1].wait_done()
                sighted = self._settle_done()
                room()
                await self._tell(sighted)
            self._more = trio.Event()
            await self._more.wait()

    async def wait_settled(self, received: int) -> None:
        """Wait until of the frames that the account has so many are settled."""
        while (account := self._ledger.account()).received - account.in_flight < received:
            await self._settled.park()

    def let_go(self, fate: Fate) -> None:
        """Settle what is done; what is not has this fate."""
        for sightings in self._settle_done():
            if self._novelty.tell_nowait(NamesSighted(sightings=sightings)) is not Delivery.DELIVERED:
                self._recent.forget(sightings.name_hash)
        self._ledger.settle({fate: sum([frames for frames, _ in self._blocks])})
        self._blocks.clear()

    def _settle_done(self) -> deque[Sightings]:
        """Settle the blocks that are done; what novelty is to be told of them."""
        sighted: deque[Sightings] = deque()
        while self._blocks and self._blocks[0][1].done:
            frames, job = self._blocks.popleft()
            try:
                done = job.result()
            except Exception as exc:  # noqa: BLE001 - of this block only, and the next one may be a better one
                self._ledger.settle({Fate.FAILED: frames})
                self._failed(exc)
                continue
            self._ledger.settle(done.fates)
            if done.sightings is not None:
                sighted.append(done.sightings)
            self._done(done)
        self._settled.unpark_all()
        return sighted

    async def _tell(self, sighted: deque[Sightings]) -> None:
        try:
            while sighted:
                if await self._novelty.tell(NamesSighted(sightings=sighted[0])) is not Delivery.DELIVERED:
                    self._recent.forget(sighted[0].name_hash)
                sighted.popleft()
        finally:
            # Nobody asks the store about them now: they are new when they come again.
            for sightings in sighted:
                self._recent.forget(sightings.name_hash)
