"""Telemetry: how a POP or an EDM does, signed, on its own topic; exceptional events with it, until the broker has them.

What it says it asks the parts for. It answers the same to whoever asks here, also where nothing is published.
"""

import math
from collections.abc import Mapping
from typing import Any, Final, Protocol

import attrs
import trio

from actors import Actor, ActorRef, AskError, Context, Reply, Request
from tapir.model.errors import TapirError
from tapir.model.messages.events import EventsChanged, ExceptionalEvent
from tapir.model.messages.mqtt import PublishMessage
from tapir.model.messages.telemetry import (
    FunctionStatus,
    GetFunctionStatus,
    GetTelemetry,
    SetComponent,
    TelemetryStatus,
)
from tapir.services.uplink.telemetry_parts import Judgement
from tapir.services.uplink.telemetry_signing import SigningSettings, seal_status
from tapir.services.uplink.telemetry_table import Outbox, StatusTable


class UnknownComponentError(TapirError):
    """Nobody knows a component of that name; nothing was changed."""


_PUBLISH_PATIENCE: Final = 30.0


@attrs.frozen(kw_only=True)
class TelemetrySettings:
    """What is published and when, times in seconds; `signing` is None where nothing is.

    Looked at is every `interval`, and published is what has changed, everything at each `heartbeat`, and an event
    `promptness` after it was raised. What did not arrive is tried again after `retry`.
    """

    version: str
    connected: bool = False
    """whether there is an MQTT session to ask"""
    signing: SigningSettings | None = None
    interval: float = 60.0
    heartbeat: float = 900.0
    promptness: float = 1.0
    retry: float = 15.0
    patience: float = 1.0


@attrs.frozen(kw_only=True)
class Look:
    """What was found when all parts were asked."""

    judgements: Mapping[str, Judgement]
    """each component whose part answered, and how it does"""
    counters: tuple[tuple[str, int], ...]
    events: tuple[ExceptionalEvent, ...] | None
    """those that concern this function, the newest first; None when the keeper of events did not answer"""


class Reported(Protocol):
    """A function of this process whose status is told: its parts, and how to look at them."""

    @property
    def function(self) -> str:
        """What Core knows it as."""

    @property
    def components(self) -> frozenset[str]:
        """All components that it may have."""

    @property
    def mqtt(self) -> ActorRef[Any] | None:
        """Its session with a broker."""

    async def look(self, *, connected: bool, patience: float) -> Look:
        """Ask all parts at once, the session only when `connected`; who does not answer in time (s) is left out."""


@attrs.frozen(kw_only=True)
class ConfigureTelemetry(Request[None]):
    """New settings are in force when this is answered."""

    settings: TelemetrySettings


TelemetryMessage = EventsChanged | GetFunctionStatus | SetComponent | GetTelemetry | ConfigureTelemetry


class Telemetry(Actor[TelemetryMessage]):
    """Keeps the component status table of the function that `refs` are the parts of, and publishes it.

    A broker that is away costs nothing but being late.
    """

    def __init__(self, settings: TelemetrySettings, *, refs: Reported) -> None:
        self._settings = settings
        self._refs = refs
        self._table = StatusTable()
        self._outbox = Outbox()
        self._counters: tuple[tuple[str, int], ...] = ()
        self._events: tuple[ExceptionalEvent, ...] = ()
        self._told: object = None
        """the gist that the broker has"""
        self._told_at = -math.inf
        """by Trio's clock"""
        self._published = 0
        self._published_at: int | None = None
        self._topic = ""
        self._id = ""
        self._trouble = ""
        self._prompted = trio.Event()
        self._tried: dict[str, Judgement] = {}
        """what somebody wants to see arrive"""

    async def started(self, ctx: Context[TelemetryMessage]) -> None:
        """Begin to look; the first time after a while, when there is something to see."""
        ctx.start_soon(self._run, ctx, name="look and publish")

    async def receive(self, ctx: Context[TelemetryMessage], message: TelemetryMessage) -> None:
        """Hear of events, and answer who asks."""
        match message:
            case EventsChanged():
                self._prompted.set()
            case GetFunctionStatus():
                # Beside the mailbox: the parts may take their time, and telemetry hears of events meanwhile.
                ctx.start_soon(self._answer, ctx, ctx.defer_reply())
            case SetComponent():
                self._try(ctx, message)
            case GetTelemetry():
                ctx.reply(self._status())
            case ConfigureTelemetry():
                self._settings = message.settings
                self._told, self._told_at = None, -math.inf
                self._prompted.set()
                ctx.reply(None)

    async def _run(self, ctx: Context[TelemetryMessage]) -> None:
        wait = self._settings.interval
        while True:
            with trio.move_on_after(wait):
                await self._prompted.wait()
                # What belongs together is raised together: it goes into one document.
                await trio.sleep(self._settings.promptness)
            self._prompted = trio.Event()
            await self._look(ctx)
            self._tried.clear()
            arrived = self._settings.signing is None or await self._publish(ctx)
            wait = self._settings.interval if arrived else min(self._settings.retry, self._settings.interval)

    async def _look(self, ctx: Context[TelemetryMessage]) -> None:
        found = await self._refs.look(connected=self._settings.connected, patience=self._settings.patience)
        self._table = self._table.look({**found.judgements, **self._tried}, now=ctx.now())
        self._counters = found.counters
        if found.events is not None:
            self._events = found.events

    def _try(self, ctx: Context[TelemetryMessage], message: SetComponent) -> None:
        components = self._refs.components
        if message.name not in components:
            text = f"there is no component {message.name[:100]!r}; known are {', '.join(sorted(components))}"
            ctx.defer_reply().fail(UnknownComponentError(text))
            return
        self._tried[message.name] = Judgement(message.state, "debug status update")
        self._table = self._table.look({message.name: self._tried[message.name]}, now=ctx.now())
        self._prompted.set()
        published = "it is published" if self._settings.signing is not None else "nothing is published here"
        ctx.reply(f"{message.name} is said to be {message.state.name.lower()} until it is looked at again; {published}")

    async def _answer(self, ctx: Context[TelemetryMessage], reply: Reply) -> None:
        await self._look(ctx)
        reply.send(self._document(ctx, events=self._events))

    def _document(self, ctx: Context[TelemetryMessage], *, events: tuple[ExceptionalEvent, ...]) -> FunctionStatus:
        return self._table.document(
            function=self._refs.function,
            id_=self._id or self._refs.function,
            version=self._settings.version,
            now=ctx.now(),
            counters=self._counters,
            events=events,
        )

    async def _publish(self, ctx: Context[TelemetryMessage]) -> bool:
        """Publish if there is something to say; False when that has not arrived."""
        signing, gist = self._settings.signing, self._table.gist
        late = trio.current_time() - self._told_at >= self._settings.heartbeat
        if signing is None or (gist == self._told and not late and not self._outbox.pending(self._events)):
            return True
        known, letter = self._events, self._outbox.letter(self._events)
        try:
            sealed = await ctx.run_blocking(seal_status, signing, self._document(ctx, events=letter))
            self._topic, self._id = sealed.topic, sealed.edge_id
            if self._refs.mqtt is None or not self._settings.connected:
                raise TapirError("there is no MQTT connection")
            await self._refs.mqtt.ask(
                PublishMessage(topic=sealed.topic, payload=sealed.payload, qos=1), timeout=_PUBLISH_PATIENCE
            )
        except (TapirError, AskError) as exc:
            self._note_trouble(ctx, str(exc.__cause__ or exc))
            return False
        if self._trouble:
            ctx.log.info("the status is published again")
            self._trouble = ""
        self._told, self._told_at = gist, trio.current_time()
        self._outbox = self._outbox.acknowledge(letter, known=known)
        self._published += 1
        self._published_at = ctx.now()
        return not self._outbox.pending(self._events)

    def _note_trouble(self, ctx: Context[TelemetryMessage], text: str) -> None:
        if not self._trouble:
            ctx.log.warning("the status cannot be published now: %s; it is kept and tried again", text)
        self._trouble = text

    def _status(self) -> TelemetryStatus:
        signing = self._settings.signing
        return TelemetryStatus(
            topic="" if signing is None else self._topic or signing.topic,
            published=self._published,
            published_at=self._published_at,
            pending_events=0 if signing is None else len(self._outbox.pending(self._events)),
            trouble=self._trouble,
        )
