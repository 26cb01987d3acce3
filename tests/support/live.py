"""How long a change of one name takes from its source to the NOTIFY: `python live.py NAMES FOLDER` says it in JSON.

A source that holds so many names says one more or one less, again and again, at its own pace; the actors in between are
those of the product, with their stores on disk. The stages of a change are timed where they begin and end.
"""

import functools
import json
import random
import statistics
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from types import UnionType
from typing import Any, Final

import attrs
import trio

from actors import (
    Actor,
    ActorSpec,
    ActorSystem,
    Context,
    MailboxSpec,
    Overflow,
    StopReason,
    Strategy,
    SupervisorSpec,
)
from actors.testing import run_system
from tapir.codec.columns import joined, offsets_of
from tapir.codec.entries import put_in_order
from tapir.codec.lists import parse_domains
from tapir.model.actions import ListKind
from tapir.model.blocks import EMPTY_NAMES, ListBlock, NameBlock
from tapir.model.messages.lists import ListsChanged, SourceChanged, SourceLoaded
from tapir.model.messages.zone import ZoneChange, ZoneContent
from tapir.model.names import Name, parse_name
from tapir.policy.settings import PolicySettings
from tapir.services.authority.keeper import KeeperSettings, ZoneKeeper
from tapir.services.authority.messages import Publish
from tapir.services.evaluator.lists import ListKeeper, ListKeeperSettings, stream_of
from tapir.services.evaluator.policy import EvaluatorSettings, PolicyEvaluator
from tapir.services.evaluator.roster import SourceSettings
from tapir.zone.settings import ZoneSettings

ZONE: Final = "dnstapir."
CHANGES: Final = 500
STAGES: Final = ("lists", "policy", "zone")
"""What ends: the list is saved, the change is decided, the version is saved and the notifier hears of it"""


@attrs.define
class Times:
    """When the change that is on its way reached which stage."""

    reached: dict[str, float] = attrs.field(factory=dict)
    done: trio.Event = attrs.field(factory=trio.Event)

    def note(self, stage: str) -> None:
        self.reached[stage] = time.perf_counter()
        if stage == STAGES[-1]:
            self.done.set()


class Timed(Actor[Any]):
    """An actor that notes when a message of some class comes."""

    def __init__(self, inner: Actor[Any], note: Callable[[], None], kind: type | UnionType) -> None:
        self._inner, self._note, self._kind = inner, note, kind

    async def started(self, ctx: Context[Any]) -> None:
        await self._inner.started(ctx)

    async def receive(self, ctx: Context[Any], message: Any) -> None:
        if isinstance(message, self._kind):
            self._note()
        await self._inner.receive(ctx, message)

    async def stopping(self, ctx: Context[Any], reason: StopReason) -> None:
        await self._inner.stopping(ctx, reason)


class Listener(Actor[Any]):
    """Stands for the notifier: what it hears of is as good as on the wire."""

    def __init__(self, times: Times) -> None:
        self._times = times

    async def receive(self, ctx: Context[Any], message: Any) -> None:
        if isinstance(message, Publish):
            self._times.note("zone")


class Silent(Actor[Any]):
    """Stands for all who have nothing to say."""

    async def receive(self, ctx: Context[Any], message: Any) -> None:
        pass


def text_of(count: int) -> bytes:
    """Names of about twenty octets, all different, in no order."""
    tops = ("com", "net", "org", "info", "xyz", "example")
    return "".join(
        f"{number * 2654435761 % 2**32:08x}-{number % 997}.{tops[number % 6]}\n" for number in range(count)
    ).encode()


def make_content(count: int, *, wildcards: bool) -> ListBlock:
    """A list of `count` names, and of a wildcard, if there is to be one."""
    text = text_of(count)
    blocks = (text[start : start + (1 << 20)] for start in range(0, len(text), 1 << 20))
    wild = NameBlock.of([parse_name("*.wild.example")] if wildcards else [])
    return put_in_order(ListBlock(names=joined([parse_domains(blocks).names, wild])))


def make_tree(system: ActorSystem, times: Times, folder: Path) -> SupervisorSpec:
    """Lists, policy and the zone as in the product; who speaks and who listens is ours."""
    lists, policy, keeper = system.ref("lists"), system.ref("policy"), system.ref("keeper")
    bulk = MailboxSpec(capacity=16, overflow=Overflow.WAIT)
    settings = ListKeeperSettings(
        store_path=folder / "lists.db",
        sources=(
            SourceSettings(id="live", name="live", kind=ListKind.DENY),
            SourceSettings(id="other", name="other", kind=ListKind.ALLOW, required=False),
        ),
        start_deadline=600.0,
    )
    make_lists = ListKeeper.factory(settings, policy=policy, source_ref=lambda _: system.ref("silent"))
    make_policy = PolicyEvaluator.factory(
        EvaluatorSettings(zone=ZONE, policy=PolicySettings()), lists=lists, keeper=keeper
    )
    zone = KeeperSettings(
        zone=ZoneSettings(name=parse_name(ZONE)), store_path=folder / "zone.db", serial_cache=folder / "serial"
    )

    def make_keeper() -> Actor[Any]:
        return ZoneKeeper(zone, policy=policy, server=None, notifier=system.ref("notifier"))

    return SupervisorSpec(
        name="live",
        strategy=Strategy.ONE_FOR_ONE,
        children=(
            ActorSpec(name="notifier", factory=lambda: Listener(times), mailbox=bulk),
            ActorSpec(name="silent", factory=Silent, mailbox=bulk),
            ActorSpec(
                name="keeper",
                factory=lambda: Timed(make_keeper(), functools.partial(times.note, "policy"), ZoneChange | ZoneContent),
                mailbox=bulk,
            ),
            ActorSpec(name="lists", factory=make_lists, mailbox=bulk, stream=stream_of),
            ActorSpec(
                name="policy",
                factory=lambda: Timed(make_policy(), functools.partial(times.note, "lists"), ListsChanged),
                mailbox=bulk,
            ),
        ),
    )


def make_changes(content: ListBlock, *, digest: str, seed: int) -> Iterator[SourceChanged]:
    """One name more, or one of the list less, by turns and somewhere."""
    rng = random.Random(seed)
    offsets = offsets_of(content.names)
    gone = rng.sample(range(len(content)), CHANGES)
    for number in range(CHANGES):
        new = parse_name(f"{rng.getrandbits(40):x}.new{number % 7}.example")
        old = Name(content.names.data[offsets[gone[number]] : offsets[gone[number] + 1]])
        after = f"{digest}.{number}"
        yield SourceChanged(
            source="live",
            base=digest if number == 0 else f"{digest}.{number - 1}",
            digest=after,
            removed=NameBlock.of([old] if number % 2 else []),
            upserted=ListBlock.of([] if number % 2 else [(new, 0)]),
            refusals=(),
            loaded_at=number,
        )


async def measure(count: int, folder: Path, *, wildcards: bool) -> dict[str, Any]:
    """Milliseconds from when a source says a change until each stage ended, at the median and for one in a hundred."""
    times = Times()
    system = ActorSystem()
    found: dict[str, list[float]] = {stage: [] for stage in STAGES}
    async with run_system(make_tree(system, times, folder), system=system):
        lists = system.ref("lists")
        content = make_content(count, wildcards=wildcards)
        begun = time.perf_counter()
        for source, block in (("other", ListBlock(names=EMPTY_NAMES)), ("live", content)):
            await lists.tell(SourceLoaded(source=source, content=block, digest="0", refusals=(), loaded_at=1))
        await times.done.wait()
        loading = time.perf_counter() - begun
        for change in make_changes(content, digest="0", seed=count):
            times.done = trio.Event()
            begun = time.perf_counter()
            await lists.tell(change)
            await times.done.wait()
            for stage in STAGES:
                found[stage].append((times.reached[stage] - begun) * 1000)
    return {
        "names": count,
        "load s": round(loading, 2),
        **{f"{stage} p{part}": round(_part(found[stage], part), 2) for stage in STAGES for part in (50, 99)},
        "worst": round(max(found["zone"]), 2),
    }


def _part(values: list[float], percent: int) -> float:
    return statistics.quantiles(values, n=100)[percent - 1]


if __name__ == "__main__":
    for number, wild in enumerate((False, True)):
        place = Path(sys.argv[2]) / str(number)
        place.mkdir()
        print(json.dumps(trio.run(functools.partial(measure, int(sys.argv[1]), place, wildcards=wild))))
