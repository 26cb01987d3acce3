"""A minimiser with neighbours that keep what they are told, on a data folder of its own."""

import io
from collections import Counter
from collections.abc import AsyncIterator, Iterable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import attrs
import pyarrow.parquet as pq
import trio
from dnstap_frames import frame, response

from actors import (
    ActorSpec,
    ActorSystem,
    Backoff,
    Clock,
    Context,
    Intensity,
    ManualClock,
    Strategy,
    SupervisorSpec,
    SystemSettings,
)
from actors.testing import Probe
from tapir.codec.dawg import encode_dawg
from tapir.minimiser.account import Account, Fate, Ledger
from tapir.minimiser.novelty import RecentNames
from tapir.model.blocks import FrameBlock
from tapir.model.messages.edm import FramesReceived, GetMinimiser, HistogramWritten, MinimiserStatus
from tapir.model.messages.events import RaiseEvent
from tapir.model.names import parse_name
from tapir.services.ingest.messages import NamesSighted
from tapir.services.ingest.minimiser import MAILBOX, ConfigureMinimiser, Minimiser, MinimiserSettings
from tapir.store.parquetfiles import Retention

SECRET = bytes(range(16))
MARK = bytes((203, 0, 113, 77))
"""an address that is to be seen nowhere"""
# 2026-05-28 12:34:20 UTC: forty seconds are left of the minute.
START = 1_779_971_660_000_000
KNOWN = ("known.example.", "other.example.", ".wild.example.")


def asked(name: str, client: bytes = MARK) -> bytes:
    """A frame of a response for `name`."""
    return frame(
        query_address=client, response_address=bytes((192, 0, 2, 53)), response_message=response(parse_name(name))
    )


def block_of(*names: str) -> FrameBlock:
    """A block with a response for each of these names."""
    return FrameBlock.of([asked(name) for name in names])


def write_list(path: Path, words: Iterable[str] = KNOWN) -> Path:
    """A DAWG file with these words."""
    path.write_bytes(encode_dawg(sorted(words)))
    return path


@attrs.frozen
class Written:
    """A histogram file: the interval of its name, and how many responses each name has."""

    interval: str
    counts: dict[str, int]


class Fragile(Minimiser):
    """A minimiser of which a background task fails once that is wanted."""

    def __init__(self, *args: Any, **settings: Any) -> None:
        super().__init__(*args, **settings)
        self.wanted = trio.Event()

    async def started(self, ctx: Context[Any]) -> None:
        await super().started(ctx)
        ctx.start_soon(self._fail)

    async def _fail(self) -> None:
        await self.wanted.wait()
        raise RuntimeError("on purpose")


class Rig:
    """Runs a minimiser; `settings` may be replaced before it starts, and by `configure` afterwards."""

    def __init__(self, folder: Path, *, clock: Clock | None = None, **changes: Any) -> None:
        self.folder = folder
        self.data = folder / "data"
        self.data.mkdir(exist_ok=True)
        known = folder / "known.dawg"
        if not known.exists():
            write_list(known)
        settings = MinimiserSettings(
            cryptopan_key="key1",
            cryptopan_salt="aabbccddeeffgghh",
            pseudonym_entries=1000,
            pseudonym_octets=1 << 20,
            well_known=known,
            ignored_clients=None,
            ignored_names=None,
            data_dir=self.data,
            threshold=20,
            sessions=False,
            keep_sessions=Retention(),
            durable=False,
            debug_dnstap=None,
        )
        self.settings = attrs.evolve(settings, **changes)
        self.clock = clock if clock is not None else ManualClock(START)
        self.ledger = Ledger()
        self.recent = RecentNames(1 << 12, refresh=10**12)
        self.novelty, self.aggregates, self.events = Probe(), Probe(), Probe()
        self.made: list[Fragile] = []
        """the minimisers that there were, the newest last"""
        self.system = ActorSystem(clock=self.clock, settings=SystemSettings(stop_deadline=60))
        self.ref = self.system.ref("minimiser")

    def make(self) -> Minimiser:
        """A minimiser among these neighbours."""
        minimiser = Fragile(
            lambda: self.settings,
            ledger=self.ledger,
            recent=self.recent,
            secret=SECRET,
            novelty=self.system.ref("novelty"),
            aggregates=self.system.ref("aggregates"),
            events=self.system.ref("events"),
        )
        self.made.append(minimiser)
        return minimiser

    def crash(self) -> None:
        """Have the newest minimiser crash, if it has not yet."""
        self.made[-1].wanted.set()

    @property
    def tree(self) -> SupervisorSpec:
        """The neighbours and the minimiser."""
        return SupervisorSpec(
            name="test",
            strategy=Strategy.ONE_FOR_ONE,
            intensity=Intensity(1000, 60),
            children=(
                self.events.spec("events"),
                self.aggregates.spec("aggregates"),
                self.novelty.spec("novelty"),
                ActorSpec(
                    name="minimiser",
                    factory=self.make,
                    mailbox=MAILBOX,
                    stop_timeout=10,
                    backoff=Backoff(first=0.001, maximum=0.001),
                ),
            ),
        )

    @asynccontextmanager
    async def running(self, *, begun: bool = True) -> AsyncIterator[None]:
        """With the system running, and minimising if it is to have `begun`; stopped in order at the end."""
        async with trio.open_nursery() as nursery:
            await nursery.start(self.system.run, self.tree)
            with trio.fail_after(20):
                while begun and not (await self.status()).interval_started_at:  # noqa: ASYNC110 - as below
                    await trio.sleep(0.001)
            yield
            self.system.request_stop()

    async def tell(self, block: FrameBlock) -> None:
        """As the input does it: entered in the account, then told."""
        self.ledger.receive(len(block))
        await self.ref.tell(FramesReceived(block=block))

    async def configure(self, **changes: Any) -> None:
        """Have other settings in force."""
        self.settings = attrs.evolve(self.settings, **changes)
        await self.ref.ask(ConfigureMinimiser(settings=self.settings))

    async def settled(self) -> Account:
        """The account, once nothing is in flight."""
        with trio.fail_after(100):
            while self.ledger.account().in_flight:  # noqa: ASYNC110 - nobody tells of it
                await trio.sleep(0.001)
        return self.ledger.account()

    async def status(self) -> MinimiserStatus:
        """What the minimiser says of itself."""
        status: MinimiserStatus = await self.ref.ask(GetMinimiser())
        return status

    def files(self, folder: str) -> list[Path]:
        """What is in a folder of parquet files."""
        return sorted((self.data / "parquet" / folder).iterdir())

    @property
    def histograms(self) -> list[Written]:
        """The histograms in the outbox, by their names' order."""
        return [
            Written(path.name.removeprefix("dns_histogram-").removesuffix(".parquet"), counts_of(path))
            for path in sorted((self.data / "parquet/histograms/outbox").glob("*.parquet"))
        ]

    @property
    def counts(self) -> Counter[str]:
        """How many responses all histograms have together, by name."""
        total = Counter[str]()
        for written in self.histograms:
            total.update(written.counts)
        return total

    @property
    def session_rows(self) -> list[dict[str, Any]]:
        """All rows of all sessions."""
        paths = sorted((self.data / "parquet/sessions").glob("*.parquet"))
        return [row for path in paths for row in pq.read_table(path).to_pylist()]

    @property
    def sighted(self) -> int:
        """How many names novelty was told of."""
        return sum([len(message) for message in self.novelty.messages if isinstance(message, NamesSighted)])

    @property
    def told_written(self) -> int:
        """How many histograms the sender was told of."""
        return sum([isinstance(message, HistogramWritten) for message in self.aggregates.messages])

    @property
    def raised(self) -> list[str]:
        """The kinds of events that were raised, in order."""
        return [message.kind.value for message in self.events.messages if isinstance(message, RaiseEvent)]

    @property
    def spools(self) -> list[Path]:
        """Spools that are on disk."""
        return sorted((self.data / "spool").glob("*.spool"))


def counts_of(path: Path) -> dict[str, int]:
    """Responses by name of a histogram file; a wildcard begins with a dot."""
    counts = {}
    for row in pq.read_table(io.BytesIO(path.read_bytes())).to_pylist():
        labels = [row[f"label{number}"] for number in range(10) if row[f"label{number}"] is not None]
        counts[".".join(reversed(labels)) + "."] = sum(
            [row[name] for name in ("ok_count", "nx_count", "fail_count", "other_rcode_count")]
        )
    return counts


def fates_of(account: Account) -> dict[Fate, int]:
    """The fates that frames had."""
    return {fate: count for fate, count in account.settled.items() if count}
