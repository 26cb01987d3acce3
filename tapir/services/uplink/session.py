"""The one MQTT connection of the process: hands what comes to its consumers, and publishes for others.

Nothing here waits for the broker but tasks of its own, and nothing waits for a consumer: blocks are told without
waiting, and whoever does not take one now is tried again. A message is acknowledged when all of its consumers have
settled it, so a crash of any part, this one included, brings it once more and never loses it.
"""

import itertools
from collections.abc import Callable, Iterable, Sequence
from typing import Any, Final

import trio

from actors import Actor, ActorRef, Context, Delivery, Reply, StopReason
from tapir.model.errors import TapirError
from tapir.model.messages.mqtt import (
    ConsumeAgain,
    GetMqtt,
    MqttHolding,
    MqttSettled,
    PublishMessage,
    SetMqttActive,
)
from tapir.services.uplink.session_desk import Desk, DeskLimits
from tapir.services.uplink.session_life import Dialler, Life
from tapir.services.uplink.session_messages import ConfigureSession, ConsumerEnded, Tick
from tapir.services.uplink.session_routes import Routes
from tapir.services.uplink.session_settings import MqttSettings
from tapir.services.uplink.session_status import describe_session
from tapir.transport.mqtt.client import MqttClient
from tapir.transport.mqtt.inbound import Delivery as Message
from tapir.transport.mqtt.states import ClientStopped, PublishLost, PublishRefused

_MOST_PUBLISHING: Final = 256
"""messages of ours whose askers wait"""


class NotConnected(TapirError):
    """Nothing is published now; the text says why."""


class MqttSession(Actor[Any]):
    """Owns the client of one broker; see the messages of `tapir.model.messages.mqtt` for how it is spoken to."""

    @classmethod
    def factory(
        cls,
        settings: Callable[[], MqttSettings],
        *,
        consumer: Callable[[str], ActorRef[Any]],
        dial: Dialler | None = None,
    ) -> Callable[[], "MqttSession"]:
        """Makes the incarnations of one session: a consumer never sees the number of a block twice."""
        ids = itertools.count(1)
        return lambda: cls(settings(), consumer=consumer, dial=dial, ids=ids)

    def __init__(
        self,
        settings: MqttSettings,
        *,
        consumer: Callable[[str], ActorRef[Any]],
        dial: Dialler | None = None,
        ids: "itertools.count[int] | None" = None,
    ) -> None:
        """`consumer` finds an actor by the name that a subscription has for it."""
        self._settings = settings
        self._consumer = consumer
        self._routes = Routes(settings.subscriptions)
        self._desk = Desk(
            ids=ids if ids is not None else itertools.count(1),
            limits=DeskLimits(held_messages=settings.broker.receive_maximum),
        )
        self._life = Life(settings, dial=dial, pull=self._pull)
        self._away: set[str] = set()
        self._room = trio.Event()
        self._publishing = 0

    async def started(self, ctx: Context[Any]) -> None:
        """Begin to connect; ready without waiting for the broker."""
        self._meet(ctx, self._routes.consumers)
        self._life.begin(ctx, self._routes.wanted)
        ctx.send_every(self._settings.tick, Tick())

    async def receive(self, ctx: Context[Any], message: Any) -> None:
        """Whatever is asked, the broker is not waited for."""
        match message:
            case MqttSettled():
                self._finish(self._desk.settle(message.consumer, message.blocks))
                self._feed(message.consumer)
            case ConsumeAgain():
                self._away.discard(message.consumer)
                self._desk.again(message.consumer)
                self._feed(message.consumer)
            case MqttHolding():
                self._desk.holding(message.consumer, now=trio.current_time())
            case ConsumerEnded():
                self._part(ctx, message)
            case Tick():
                self._tick(ctx)
            case PublishMessage():
                self._begin_publish(ctx, message)
            case GetMqtt():
                ctx.reply(describe_session(self._settings, self._routes, self._desk, self._life))
            case SetMqttActive():
                ctx.reply(self._life.set_active(message.active, restart=message.restart))
            case ConfigureSession():
                self._configure(ctx, message.settings)
                ctx.reply(None)
            case _:
                ctx.log.warning("the MQTT session got a %s, which it does not know", type(message).__name__)

    async def stopping(self, ctx: Context[Any], reason: StopReason) -> None:
        """Say goodbye to the broker, which keeps what was not acknowledged; bounded, whatever the broker does."""
        await self._life.end()

    # -- in

    async def _pull(self, ctx: Context[Any], client: MqttClient) -> None:
        """Take what comes and hand it out, as long as there is room for it."""
        while True:
            while self._desk.full:
                self._room = trio.Event()
                await self._room.wait()
            try:
                batch = await client.receive_batch(256)
            except ClientStopped:
                return
            at = ctx.now()
            find = self._routes.find
            arrivals = [(each, find(each.topic, len(each.payload), at=at)) for each in batch]
            self._finish(self._desk.take(arrivals, now=trio.current_time()))
            for consumer in {consumer for _, consumers in arrivals for consumer in consumers}:
                self._feed(consumer)
            # A batch is some hundred microseconds of work; between two of them everybody else has a turn.
            await trio.lowlevel.checkpoint()

    def _feed(self, consumer: str) -> None:
        if consumer in self._away:
            return
        block = self._desk.next_block(consumer)
        if block is not None and self._consumer(consumer).tell_nowait(block) is Delivery.DELIVERED:
            self._desk.sent(consumer)

    def _finish(self, messages: Sequence[Message]) -> None:
        client = self._life.client
        if messages and client is not None:
            client.acknowledge(messages)
        if not self._desk.full:
            self._room.set()

    def _meet(self, ctx: Context[Any], consumers: Iterable[str]) -> None:
        for consumer in consumers:
            ctx.watch(
                self._consumer(consumer),
                lambda down, consumer=consumer: ConsumerEnded(consumer=consumer, down=down),  # type: ignore[misc]
            )
        self._finish(self._desk.keep(consumers))

    def _part(self, ctx: Context[Any], message: ConsumerEnded) -> None:
        # What it was sent lies in its mailbox, or is gone; it says `ConsumeAgain` when it is there again.
        self._away.add(message.consumer)
        if message.down.reason is not StopReason.CRASHED:
            return
        before = self._desk.counters["poison"]
        self._finish(self._desk.crashed(message.consumer))
        if self._desk.counters["poison"] > before:
            ctx.log.error(
                "a message crashed %s twice and is dropped; it is counted as poison, the rest goes on", message.consumer
            )

    def _tick(self, ctx: Context[Any]) -> None:
        self._life.tick()
        before = self._desk.counters["abandoned"]
        client = self._life.client
        blocked = client is not None and client.statistics().unacknowledged >= self._settings.broker.receive_maximum
        self._finish(self._desk.overdue(now=trio.current_time(), hold=self._settings.hold, blocked=blocked))
        if self._desk.counters["abandoned"] > before and not before:
            ctx.log.error(
                "messages that their consumer did not settle for %g s are given up, since they held back those of "
                "others; `tapir mqtt` counts them as abandoned",
                self._settings.hold,
            )
        for consumer in self._routes.consumers:
            self._feed(consumer)

    # -- out

    def _begin_publish(self, ctx: Context[Any], message: PublishMessage) -> None:
        reply = ctx.defer_reply()
        client = self._life.client
        if client is None:
            reply.fail(NotConnected(f"MQTT is {self._life.state}: {self._life.trouble or 'there is no client now'}"))
        elif self._publishing >= _MOST_PUBLISHING:
            reply.fail(NotConnected(f"{self._publishing} messages wait for the broker already"))
        else:
            self._publishing += 1
            ctx.start_soon(self._publish, client, message, reply, name="publish")

    async def _publish(self, client: MqttClient, message: PublishMessage, reply: Reply) -> None:
        try:
            await client.publish(message.topic, message.payload, qos=message.qos, retain=message.retain)
        except (PublishRefused, PublishLost, ClientStopped) as exc:
            reply.fail(exc)
        else:
            reply.send(None)
        finally:
            self._publishing -= 1

    # -- settings

    def _configure(self, ctx: Context[Any], settings: MqttSettings) -> None:
        old, self._settings = self._settings, settings
        self._desk.limit(DeskLimits(held_messages=settings.broker.receive_maximum))
        if settings.subscriptions != old.subscriptions:
            self._routes = self._routes.changed(settings.subscriptions)
            self._meet(ctx, self._routes.consumers)
        self._life.configure(settings, self._routes.wanted)
