"""EDM's sender of histograms alone, as a process that a test can kill: `python aggregate_sender.py SETTINGS.json`.

Prints `ready` once it has begun.
"""

import json
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import trio

from actors import ActorRef, ActorSpec, ActorSystem, MailboxSpec, ManualClock, Overflow, Strategy, SupervisorSpec
from tapir.services.uplink.aggregates import AggregateSender, AggregateSettings, Patience
from tapir.store.parquetfiles import Retention

BOX = MailboxSpec(capacity=64, overflow=Overflow.REJECT)
QUICK = Patience(least=0.05, most=0.3, aside_least=0.1, aside_most=0.3)


def read_settings(document: dict[str, Any]) -> AggregateSettings:
    """Settings from a document of JSON: `data_dir`, `url`, and the files in `folder`."""
    folder = Path(document["folder"])
    return AggregateSettings(
        enabled=True,
        data_dir=Path(document["data_dir"]),
        url=document["url"],
        signing_key=folder / "datakey.json",
        client_certificate=folder / "tls.crt",
        client_key=folder / "tls.key",
        ca=folder / "ca.crt",
        keep_sent=Retention(seconds=86400),
        agent="edm/1.0 linux/amd64",
        interval=0.2,
    )


@asynccontextmanager
async def sending(settings: AggregateSettings, clock: ManualClock | None = None) -> AsyncIterator[ActorRef[Any]]:
    """The actor in a system of its own, which does not wait long; `clock` is its wall time."""
    system = ActorSystem(clock=clock) if clock is not None else ActorSystem()
    spec = ActorSpec(
        name="aggregates",
        factory=lambda: AggregateSender(lambda: settings, events=None, patience=QUICK),
        mailbox=BOX,
    )
    async with trio.open_nursery() as nursery:
        await nursery.start(system.run, SupervisorSpec(name="sender", strategy=Strategy.ONE_FOR_ONE, children=(spec,)))
        yield system.ref("aggregates")
        system.request_stop()


async def main(settings: AggregateSettings) -> None:
    """Send until killed."""
    async with sending(settings):
        sys.stdout.write("ready\n")
        sys.stdout.flush()
        await trio.sleep_forever()


if __name__ == "__main__":
    trio.run(main, read_settings(json.loads(Path(sys.argv[1]).read_text())))
