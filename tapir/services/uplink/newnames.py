"""Sends the events of new names from the outbox to the broker, in their order and no faster than it should.

An event leaves the outbox when the broker has acknowledged it, so a crash of any part sends some of them twice and
loses none. While the broker is away one batch waits for it, and the rest stays where it is.
"""

import math
from collections.abc import Callable
from pathlib import Path
from typing import Any, Final

import attrs
import trio

from actors import Actor, ActorRef, AskError, Context, Request
from tapir.codec.jose import Algorithm
from tapir.codec.newqname import sign_event, topic_of
from tapir.model.messages.mqtt import PublishMessage
from tapir.model.messages.newnames import EventsQueued, GetNewNames, NewNamesStatus
from tapir.services.uplink.telemetry_signing import SigningError, read_key
from tapir.store.errors import StoreError
from tapir.store.seen import SeenStatistics, SeenStore

_MOST: Final = 100
"""events on their way at once; the session takes some more messages than that, which others want to publish"""
_BATCHES: Final = 5
"""in a second, at a rate that gives a batch so much"""


@attrs.frozen(kw_only=True)
class NewNamesSettings:
    """How events are sent: signed by `key`, `rate` a second at most; times in seconds.

    What is queued is looked for when somebody says so, and every `interval`; what did not arrive is tried again after
    `retry`.
    """

    key: Path
    qos: int = 1
    rate: int = 500
    interval: float = 5.0
    retry: float = 15.0


@attrs.frozen(kw_only=True)
class ConfigureNewNames(Request[None]):
    """New settings are in force from the next batch on."""

    settings: NewNamesSettings


@attrs.frozen(kw_only=True)
class _Batch:
    """Events as they are published."""

    topic: str
    numbers: tuple[int, ...]
    payloads: tuple[bytes, ...]


NewNamesMessage = EventsQueued | GetNewNames | ConfigureNewNames


class NewNames(Actor[NewNamesMessage]):
    """Empties the outbox. `store` is what holds it now, None while there is none."""

    def __init__(
        self, settings: NewNamesSettings, *, store: Callable[[], SeenStore | None], mqtt: ActorRef[Any]
    ) -> None:
        self._settings = settings
        self._store = store
        self._mqtt = mqtt
        self._queued = trio.Event()
        self._topic = ""
        self._sent = 0
        self._arrived: list[int] = []
        """what the broker has and the outbox, too: a full disk keeps that so, and it is not to be sent again"""
        self._arrived_from: SeenStore | None = None
        """whose numbers these are; a store that was begun anew counts from the beginning"""
        self._trouble = ""

    async def started(self, ctx: Context[NewNamesMessage]) -> None:
        """Send what is there from before."""
        ctx.start_soon(self._run, ctx, name="send")

    async def receive(self, ctx: Context[NewNamesMessage], message: NewNamesMessage) -> None:
        """Hear of more, and answer who asks."""
        match message:
            case EventsQueued():
                self._queued.set()
            case GetNewNames():
                ctx.reply(await self._status(ctx))
            case ConfigureNewNames():
                self._settings = message.settings
                ctx.reply(None)

    async def _run(self, ctx: Context[NewNamesMessage]) -> None:
        while True:
            self._queued = trio.Event()
            try:
                sent = await self._send(ctx)
            except (StoreError, SigningError) as exc:
                self._note_trouble(ctx, str(exc))
                sent = None
            if sent is None:
                await trio.sleep(self._settings.retry)
            elif not sent:
                with trio.move_on_after(self._settings.interval):
                    await self._queued.wait()

    async def _send(self, ctx: Context[NewNamesMessage]) -> int | None:
        """Send one batch, and take the time that it should; how many, None when something is wrong.

        Raises StoreError and SigningError.
        """
        settings, store = self._settings, self._store()
        if store is None:
            return 0
        if store is not self._arrived_from:
            self._arrived.clear()
            self._arrived_from = store
        await self._acknowledge(ctx, store)
        limit = max(1, min(_MOST, settings.rate // _BATCHES))
        batch = await ctx.run_blocking(_prepare, store, settings.key, limit)
        if batch is None:
            return 0
        earliest = trio.current_time() + len(batch.numbers) / settings.rate
        self._topic = batch.topic
        failures: list[str] = []

        async def publish(number: int, payload: bytes) -> None:
            message = PublishMessage(topic=batch.topic, payload=payload, qos=settings.qos)
            try:
                # For as long as the broker is away: what the session has taken it sends when it can, and to give up
                # waiting for that would only have it send the same once more.
                await self._mqtt.ask(message, timeout=math.inf)
            except AskError as exc:
                failures.append(str(exc.__cause__ or exc))
            else:
                self._arrived.append(number)
                self._sent += 1

        async with trio.open_nursery() as nursery:
            for number, payload in zip(batch.numbers, batch.payloads, strict=True):
                nursery.start_soon(publish, number, payload)
        if self._store() is not store:
            return 0
        await self._acknowledge(ctx, store)
        if failures:
            self._note_trouble(ctx, failures[0])
            return None
        if self._trouble:
            ctx.log.info("events for new names are sent again")
            self._trouble = ""
        await trio.sleep_until(earliest)
        return len(batch.numbers)

    async def _acknowledge(self, ctx: Context[NewNamesMessage], store: SeenStore) -> None:
        if self._arrived:
            await ctx.run_blocking(store.acknowledge, tuple(self._arrived))
            self._arrived.clear()

    def _note_trouble(self, ctx: Context[NewNamesMessage], text: str) -> None:
        if not self._trouble:
            ctx.log.warning("events for new names cannot be sent now: %s; they are kept and tried again", text)
        self._trouble = text

    async def _status(self, ctx: Context[NewNamesMessage]) -> NewNamesStatus:
        store, trouble = self._store(), self._trouble
        held = SeenStatistics(names=0, events=0, oldest=None, octets=0, dropped=0, forgotten=0)
        if store is not None:
            try:
                held = await ctx.run_blocking(store.statistics)
            except StoreError as exc:
                trouble = str(exc)
        return NewNamesStatus(
            topic=self._topic,
            sent=self._sent,
            waiting=held.events,
            oldest_at=held.oldest,
            dropped=held.dropped,
            names=held.names,
            forgotten=held.forgotten,
            trouble=trouble,
        )


def _prepare(store: SeenStore, path: Path, limit: int) -> _Batch | None:
    """The next events, signed; None when there are none. Blocks. Raises StoreError and SigningError."""
    waiting = store.waiting(limit)
    if not waiting:
        return None
    key = read_key(path)
    if key.kid is None or key.algorithm is not Algorithm.EDDSA:
        raise SigningError(f"{path}: events are signed with a key of Ed25519 that has a kid")
    try:
        topic = topic_of(key.kid)
    except ValueError as exc:
        raise SigningError(f"{path}: {exc}") from None
    return _Batch(
        topic=topic,
        numbers=tuple(each.number for each in waiting),
        payloads=tuple(sign_event(each.event, key) for each in waiting),
    )
