"""The notifier: tells each configured downstream of new versions, and knows what is known of the secondaries.

Every downstream has a task of its own, so that a dead one delays nobody; all of them tell of the latest version only.
"""

from typing import TYPE_CHECKING, Any, Final

import attrs
import trio

from actors import Actor, ActorRef, Context, MailboxSpec, Overflow
from tapir.codec.tsig import TsigKey
from tapir.model.messages.zone import GetSecondaries
from tapir.services.authority.delivery import Delivery, DeliverySchedule, NotifyTransport
from tapir.services.authority.messages import GetView, Publish, SecondarySeen
from tapir.services.authority.secondaries import NotifyStatus, Secondaries
from tapir.transport.dns import UdpExchange
from tapir.transport.streams import Address, format_address
from tapir.zone.serial import next_serial

if TYPE_CHECKING:
    from tapir.zone.view import ZoneView

_MAILBOX: Final = 256


def _key(message: object) -> object:
    """What a message is the latest word on: a secondary's kind of query, or its own class."""
    if isinstance(message, SecondarySeen):
        return message.address, message.query
    return type(message)


MAILBOX: Final = MailboxSpec(capacity=_MAILBOX, overflow=Overflow.COALESCE, key=_key)


@attrs.frozen(kw_only=True)
class NotifierSettings:
    """Whom to tell; `retries` are the pauses between tries, in seconds, some five minutes in all."""

    downstreams: tuple[Address, ...]
    keys: tuple[tuple[Address, TsigKey], ...] = ()
    """what is said to these is signed, and so must be what they answer"""
    timeout: float = 3.0
    retries: tuple[float, ...] = (1, 2, 4, 8, 16, 32, 60, 60, 60)


@attrs.frozen(kw_only=True)
class ConfigureNotifier:
    """These `settings` hold from now on."""

    settings: NotifierSettings


NotifierMessage = Publish | SecondarySeen | ConfigureNotifier | GetSecondaries


class Notifier(Actor[NotifierMessage]):
    """Sends NOTIFY, again until it is acknowledged, and keeps the standing of each secondary."""

    def __init__(
        self, settings: NotifierSettings, *, keeper: ActorRef[Any], transport: NotifyTransport | None = None
    ) -> None:
        self._settings = settings
        self._keeper = keeper
        self._transport = transport if transport is not None else UdpExchange()
        self._view: ZoneView | None = None
        self._secondaries = Secondaries()
        self._deliveries: dict[Address, tuple[Delivery, trio.CancelScope]] = {}
        self._notified: dict[Address, NotifyStatus] = {}
        self._silent: set[Address] = set()
        """downstreams that did not acknowledge the last NOTIFY, and of which that was logged"""

    async def started(self, ctx: Context[NotifierMessage]) -> None:
        """Tell the downstreams of what is published: while we were away, they may have missed it."""
        self._log = ctx.log
        self._view = await self._keeper.ask(GetView())
        self._deliver_to(ctx, self._settings)

    async def receive(self, ctx: Context[NotifierMessage], message: NotifierMessage) -> None:
        """Tell of a new version; note what a secondary asked; answer who asks."""
        match message:
            case Publish():
                self._view = message.view
                self._secondaries.published(message.view.serial)
                for delivery, _ in self._deliveries.values():
                    delivery.announce(message.view.version)
            case SecondarySeen():
                ahead = self._secondaries.note(message, current=self._serial())
                self._report_ahead(message.address, ahead)
            case ConfigureNotifier():
                self._configure(ctx, message.settings)
            case GetSecondaries():
                ctx.reply(self._secondaries.statuses(self._settings.downstreams, self._notified))

    def _configure(self, ctx: Context[NotifierMessage], settings: NotifierSettings) -> None:
        before, self._settings = self._settings, settings
        same_schedule = (settings.timeout, settings.retries) == (before.timeout, before.retries)
        keys, keys_before = dict(settings.keys), dict(before.keys)
        for address in list(self._deliveries):
            same = same_schedule and keys.get(address) == keys_before.get(address)
            if address not in settings.downstreams or not same:
                _, scope = self._deliveries.pop(address)
                scope.cancel()
            if address not in settings.downstreams:
                self._notified.pop(address, None)
                self._silent.discard(address)
                self._secondaries.forget(address)
        self._deliver_to(ctx, settings)

    def _deliver_to(self, ctx: Context[NotifierMessage], settings: NotifierSettings) -> None:
        """Begin to tell those downstreams that are not told already."""
        schedule = DeliverySchedule(timeout=settings.timeout, retries=settings.retries)
        keys = dict(settings.keys)
        for address in settings.downstreams:
            if address in self._deliveries:
                continue
            delivery = Delivery(
                address,
                schedule,
                self._transport,
                now=ctx.now,
                note=self._note_notified,
                found=self._note_found,
                key=keys.get(address),
            )
            scope = trio.CancelScope()
            self._deliveries[address] = delivery, scope
            if self._view is not None:
                delivery.announce(self._view.version)
            ctx.start_soon(_run_within, scope, delivery, name=f"{ctx.path} {format_address(address)}")

    def _note_notified(self, address: Address, status: NotifyStatus) -> None:
        self._notified[address] = status
        if status.state == "acknowledged":
            if address in self._silent:
                self._silent.discard(address)
                self._log.info("%s acknowledges NOTIFY again, of serial %d", format_address(address), status.serial)
        elif status.state != "waiting" and address not in self._silent:
            # Said once: a zone that changes all the time would else say it all the time.
            self._silent.add(address)
            self._log.warning("NOTIFY of serial %d to %s: %s", status.serial, format_address(address), status.state)

    def _note_found(self, address: Address, serial: int) -> None:
        ahead = self._secondaries.note_found(address, serial, current=self._serial())
        self._report_ahead(format_address(address), ahead)

    def _serial(self) -> int | None:
        return self._view.serial if self._view is not None else None

    def _report_ahead(self, secondary: str, serial: int | None) -> None:
        if serial is None:
            return
        self._log.warning(
            "the secondary %s has serial %s, which is ahead of ours, %s: it takes nothing from us until ours is "
            "later; `tapir zone set-serial %d` mends that",
            secondary,
            serial,
            self._serial(),
            next_serial(serial),
        )


async def _run_within(scope: trio.CancelScope, delivery: Delivery) -> None:
    with scope:
        await delivery.run()
