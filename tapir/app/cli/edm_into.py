"""`tapir edm replay --into`: frames of a file through a pipeline of its own, which has no uplink, into files.

It is the pipeline of the service: the same actors, lists and keys, with a data folder of its own.
"""

import json
import os
import signal
import sys
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any, Final

import attrs
import trio

from actors import ActorSpec, ActorSystem, Delivery, Strategy, SupervisorSpec, SystemSettings
from tapir.app.cli.commands import NOT_DONE, WRONG_INPUT
from tapir.app.cli.edm_replay import Reading, ReplayError, finish, read_through
from tapir.app.config import ConfigErrors, EdmConfig
from tapir.app.config.edm import load_edm
from tapir.app.config.edmkeys import UPSTREAM_FILE
from tapir.app.mapping_edm import minimiser_settings, novelty_settings, refresh_names, remembered_names
from tapir.minimiser.account import Account, Fate, Ledger
from tapir.minimiser.novelty import RecentNames
from tapir.model.blocks import FrameBlock
from tapir.model.messages.edm import FramesReceived, GetMinimiser, GetNovelty, RotateNow
from tapir.services.ingest.minimiser import MAILBOX as MINIMISER_MAILBOX
from tapir.services.ingest.minimiser import Minimiser
from tapir.services.ingest.novelty import MAILBOX as NOVELTY_MAILBOX
from tapir.services.ingest.novelty import NoveltyKeeper
from tapir.services.ingest.seenholder import SeenHolder
from tapir.store.errors import FolderInUse, StoreError
from tapir.store.hold import FolderHold

NEW_NAMES: Final = "new-names.jsonl"
INTERRUPTED: Final = "it was not read to its end, for that was interrupted"
_SECRET: Final = 16
_PAGE: Final = 1000
_EVENTS: Final = 1 << 32
"""as many events as may be: who replays a file wants all of its names"""
_PATIENCE: Final = 60.0
"""seconds to write the last files and to report the last names"""
_LOOK: Final = 0.02


@attrs.frozen(kw_only=True)
class Outcome:
    """What became of the frames, and where it is."""

    account: Account
    files: tuple[Path, ...]
    new_names: int
    trouble: str


def replay_into(path: Path, config_dir: Path, into: Path, *, as_json: bool) -> int:
    """Minimise what `path` holds into files below `into`, and print the account; gives the exit code."""
    try:
        config = _own_config(config_dir, into)
        held = FolderHold.take(into)
        try:
            reading, outcome = _run(path, config, into, show=not as_json)
        finally:
            held.close()
    except FolderInUse as exc:
        print(f"tapir: {exc}; name another one", file=sys.stderr)
        return WRONG_INPUT
    except ReplayError as exc:
        print(f"tapir: {exc}", file=sys.stderr)
        return exc.code
    if as_json:
        print(json.dumps(_document(reading, outcome, into), ensure_ascii=False, indent=2))
    else:
        for line in _lines(reading, outcome, into):
            print(line)
    code = finish(reading, quiet=as_json)
    if not outcome.trouble:
        return code
    print(f"tapir: {outcome.trouble}", file=sys.stderr)
    return NOT_DONE


def _own_config(config_dir: Path, into: Path) -> EdmConfig:
    """The configuration without what reaches out of `into`, which is made. Raises ReplayError."""
    flags = {"disable-mqtt": "true", "disable-histogram-sender": "true"}
    try:
        config = load_edm(config_dir / UPSTREAM_FILE, environment=os.environ, flags=flags)
    except ConfigErrors as exc:
        raise ReplayError("\n".join(exc.lines), code=WRONG_INPUT) from exc
    if config.data_dir is not None and into.resolve() == config.data_dir.resolve():
        raise ReplayError(f"{into} is the data-dir of the service; name another folder", code=WRONG_INPUT)
    try:
        into.mkdir(mode=0o750, parents=True, exist_ok=True)
    except OSError as exc:
        raise ReplayError(f"{into}: {exc.strerror or exc}", code=NOT_DONE) from exc
    return attrs.evolve(config, data_dir=into.absolute(), debug_dnstap_filename=None, durable=False)


def _run(path: Path, config: EdmConfig, into: Path, *, show: bool) -> tuple[Reading, Outcome]:
    """The pipeline from its beginning to its end. Blocks. Raises ReplayError."""
    before = {*_parquet(into)}
    pipeline = _Pipeline(config)
    try:
        reading, troubles = trio.run(pipeline.run, partial(read_through, path, config.frame_streams, show=show))
        names = pipeline.write_names(into / NEW_NAMES)
    except BaseExceptionGroup as group:
        # Before the file is read, and while the last files are written.
        if group.subgroup(KeyboardInterrupt) is not None:
            raise KeyboardInterrupt from None
        raise
    except (StoreError, OSError) as exc:
        raise ReplayError(f"{into}: {exc}", code=NOT_DONE) from exc
    finally:
        pipeline.close()
    reading.file = str(path)
    account = pipeline.ledger.account()
    if dropped := account.total("dropped"):
        troubles = (*troubles, f"{dropped} frames were dropped")
    files = tuple([found for found in _parquet(into) if found not in before])
    return reading, Outcome(account=account, files=files, new_names=names, trouble="; ".join(filter(None, troubles)))


class _Pipeline:
    """Minimiser and novelty with nobody above them: what is new stays in the outbox."""

    def __init__(self, config: EdmConfig) -> None:
        self.ledger = Ledger()
        self._holder = SeenHolder()
        self._system = ActorSystem(settings=SystemSettings(stop_deadline=2 * _PATIENCE))
        self._minimiser = self._system.ref("minimiser")
        self._novelty = self._system.ref("novelty")
        minimising = minimiser_settings(config)
        novelty = novelty_settings(config)
        keep = attrs.evolve(novelty.retention, events=_EVENTS)
        novelty = attrs.evolve(novelty, events_enabled=True, retention=keep)
        recent = RecentNames(remembered_names(config), refresh=refresh_names(config))
        secret = os.urandom(_SECRET)
        self._children: tuple[ActorSpec[Any], ...] = (
            ActorSpec(
                name="novelty",
                factory=lambda: NoveltyKeeper(
                    lambda: novelty, holder=self._holder, recent=recent, newnames=None, events=None
                ),
                mailbox=NOVELTY_MAILBOX,
                stop_timeout=_PATIENCE,
            ),
            ActorSpec(
                name="minimiser",
                factory=lambda: Minimiser(
                    lambda: minimising,
                    ledger=self.ledger,
                    recent=recent,
                    secret=secret,
                    novelty=self._novelty,
                    aggregates=None,
                    events=None,
                ),
                mailbox=MINIMISER_MAILBOX,
                drain_timeout=_PATIENCE,
                stop_timeout=_PATIENCE,
            ),
        )

    async def run(self, read: Callable[[Callable[[FrameBlock], None]], Reading]) -> tuple[Reading, tuple[str, ...]]:
        """Have `read` read in a thread; gives what it gave, and what else went wrong. Raises ReplayError."""
        tree = SupervisorSpec(name="replay", strategy=Strategy.ONE_FOR_ONE, children=self._children)
        async with trio.open_nursery() as nursery:
            await nursery.start(self._system.run, tree)
            try:
                found = await self._feed(read)
            except ReplayError as exc:
                found = exc  # raised outside, where no group is made of it
            finally:
                self._system.request_stop("the file is read")
        if isinstance(found, ReplayError):
            raise found
        return found

    async def _feed(
        self, read: Callable[[Callable[[FrameBlock], None]], Reading]
    ) -> tuple[Reading, tuple[str, ...]] | ReplayError:
        await self._wait_begun()
        reading = await self._read_all(read)
        rotated = await self._minimiser.ask(RotateNow(), timeout=_PATIENCE)
        minimising = await self._minimiser.ask(GetMinimiser(), timeout=_PATIENCE)
        novelty = await self._novelty.ask(GetNovelty(), timeout=_PATIENCE)
        return reading, tuple(dict.fromkeys((rotated.trouble, minimising.trouble, novelty.trouble)))

    async def _read_all(self, read: Callable[[Callable[[FrameBlock], None]], Reading]) -> Reading:
        """Read to the end, or until a signal says that it is enough: what was read by then is minimised all the same.

        A thread that waits for standard input is left behind, as nothing wakes it.
        """
        found: Reading | ReplayError | None = None
        async with trio.open_nursery() as nursery:
            await nursery.start(_heed, nursery.cancel_scope)
            try:
                found = await trio.to_thread.run_sync(read, self._take, abandon_on_cancel=True)
            except ReplayError as exc:
                found = exc  # raised outside, where no group is made of it
            nursery.cancel_scope.cancel()
        if isinstance(found, ReplayError):
            raise found
        return Reading(trouble=INTERRUPTED, frames=self.ledger.account().received) if found is None else found

    async def _wait_begun(self) -> None:
        """Until frames are minimised. Raises ReplayError where they cannot be."""
        while True:
            status = await self._minimiser.ask(GetMinimiser(), timeout=_PATIENCE)
            if status.interval_started_at:
                return
            if status.trouble:
                raise ReplayError(status.trouble, code=WRONG_INPUT)
            await trio.sleep(_LOOK)

    def _take(self, block: FrameBlock) -> None:
        trio.from_thread.run(self._deliver, block)

    async def _deliver(self, block: FrameBlock) -> None:
        self.ledger.receive(len(block))
        if await self._minimiser.tell(FramesReceived(block=block)) is not Delivery.DELIVERED:
            self.ledger.settle({Fate.STOPPED: len(block)})

    def write_names(self, path: Path) -> int:
        """Append the events of the outbox to `path`, a line each, and take them out; how many. Blocks.

        Raises StoreError, and OSError: what was not written is written the next time.
        """
        store, count = self._holder.store, 0
        if store is None:
            return 0
        with path.open("ab") as file:
            while page := store.waiting(_PAGE):
                file.writelines([event.event + b"\n" for event in page])
                file.flush()
                store.acknowledge([event.number for event in page])
                count += len(page)
        return count

    def close(self) -> None:
        """Close the store of names. Blocks."""
        self._holder.close()


async def _heed(scope: trio.CancelScope, *, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED) -> None:
    """Cancel `scope` at the first signal."""
    with trio.open_signal_receiver(signal.SIGINT, signal.SIGTERM) as signals:
        task_status.started()
        async for _ in signals:
            scope.cancel()


def _parquet(into: Path) -> Iterator[Path]:
    yield from sorted(into.rglob("*.parquet"))


def _document(reading: Reading, outcome: Outcome, into: Path) -> dict[str, Any]:
    return {
        "into": str(into),
        **attrs.asdict(reading),
        "account": {
            "received": outcome.account.received,
            **{f"{kind}.{reason}": count for kind, reason, count in _settled(outcome)},
        },
        "files": [str(found.relative_to(into)) for found in outcome.files],
        "new_names": outcome.new_names,
        "outcome": outcome.trouble,
    }


def _settled(outcome: Outcome) -> list[tuple[str, str, int]]:
    return [(fate.kind, fate.reason, count) for fate, count in outcome.account.settled.items() if count]


def _lines(reading: Reading, outcome: Outcome, into: Path) -> Iterator[str]:
    yield f"{reading.frames:,} frames from {reading.file}"
    for kind, reason, count in _settled(outcome):
        yield f"  {kind:<10}{reason:<16}{count:>14,}"
    yield f"{outcome.new_names:,} new names in {into / NEW_NAMES}"
    for found in outcome.files:
        yield str(found)
