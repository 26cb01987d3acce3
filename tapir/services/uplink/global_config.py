"""The consumer of the global configuration: verifies, remembers, has it applied, and refuses what is old."""

from collections import Counter
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import attrs

from actors import Actor, ActorError, ActorRef, Context
from tapir.codec.globalconfig import GlobalConfiguration
from tapir.codec.jose import KeyDocumentError, Keystore
from tapir.model.messages.mqtt import (
    ConsumeAgain,
    GetGlobalConfig,
    GlobalConfigStatus,
    MqttBlock,
    MqttHolding,
    MqttSettled,
)
from tapir.services.uplink.global_reading import Accepted, ConfigurationRefused, judge
from tapir.store.errors import StoreError
from tapir.store.keystore import KeystoreFile
from tapir.store.learned import Learned, write_learned


@attrs.frozen(kw_only=True)
class GlobalSettings:
    """Where it comes from, who may sign it, and where it is remembered; `retry` in seconds."""

    consumer: str
    """how the session calls this actor"""
    topic: str
    keystore: Path
    store_path: Path
    retry: float = 30.0


@attrs.frozen(kw_only=True)
class TryAgain:
    """Time to look at the block that could not be dealt with."""


class GlobalConfigKeeper(Actor[Any]):
    """Takes messages of the global configuration, one at a time, and settles each once it is remembered or refused.

    `apply` has the parts of the process go by it; what cannot be applied now holds with the next restart at the latest.
    While there is no keystore at all, messages wait.
    """

    def __init__(
        self,
        settings: GlobalSettings,
        *,
        session: ActorRef[Any],
        learned: Callable[[], Learned | None],
        apply: Callable[[Learned], Awaitable[None]],
    ) -> None:
        """`learned` is what holds as this incarnation starts."""
        self._settings = settings
        self._session = session
        self._keystore = KeystoreFile(settings.keystore)
        self._apply = apply
        self._held = learned()
        self._block: MqttBlock | None = None
        self._refused: Counter[str] = Counter()
        self._said: set[str] = set()
        self._checked_at: int | None = None
        self._error = ""

    async def started(self, ctx: Context[Any]) -> None:
        """Ask for what was not settled."""
        await self._session.tell(ConsumeAgain(consumer=self._settings.consumer))

    async def receive(self, ctx: Context[Any], message: Any) -> None:
        """A block is settled, or kept until there are keys to look at it with."""
        match message:
            case MqttBlock():
                self._block = message
                await self._deal(ctx)
            case TryAgain():
                await self._deal(ctx)
            case GetGlobalConfig():
                ctx.reply(self._status())
            case _:
                ctx.log.warning("the global configuration got a %s, which it does not know", type(message).__name__)

    async def _deal(self, ctx: Context[Any]) -> None:
        block = self._block
        if block is None:
            return
        keystore = await self._keys(ctx)
        if keystore is None:
            await self._wait(ctx)
            return
        accepted: Accepted | None = None
        for payload in block.payloads:
            # Of several that wait, the last that is good is all that need be applied.
            accepted = await self._judge(ctx, payload, keystore, accepted) or accepted
        if accepted is not None and not await self._take(ctx, accepted):
            await self._wait(ctx)
            return
        self._block = None
        await self._session.tell(MqttSettled(consumer=self._settings.consumer, blocks=(block.id,)))

    async def _wait(self, ctx: Context[Any]) -> None:
        await self._session.tell(MqttHolding(consumer=self._settings.consumer))
        ctx.send_after(self._settings.retry, TryAgain())

    async def _keys(self, ctx: Context[Any]) -> Keystore | None:
        try:
            keystore = await ctx.run_blocking(self._keystore.current)
        except (StoreError, KeyDocumentError) as exc:
            latest = self._keystore.latest
            held = "messages wait until it can" if latest is None else "its last good content is used"
            self._say_once(ctx, "keystore", f"{exc}; {held}")
            return latest
        self._said.discard("keystore")
        return keystore

    async def _judge(
        self, ctx: Context[Any], payload: bytes, keystore: Keystore, accepted: Accepted | None
    ) -> Accepted | None:
        self._checked_at = ctx.now()
        held = accepted.configuration if accepted is not None else self._held.configuration if self._held else None
        try:
            found = await ctx.run_blocking(_judge, payload, keystore, held)
        except ConfigurationRefused as exc:
            self._refused[exc.reason] += 1
            if exc.reason != "repeated":
                self._error = str(exc)
                self._say_once(ctx, exc.reason, f"a global configuration is refused, what holds stays: {exc}")
            return None
        self._error = ""
        self._said.clear()
        return found

    async def _take(self, ctx: Context[Any], accepted: Accepted) -> bool:
        """Remember it, then have it applied: after a crash between the two the next start applies it."""
        learned = Learned(configuration=accepted.configuration, payload=accepted.payload, received_at=ctx.now())
        try:
            await ctx.run_blocking(write_learned, self._settings.store_path, learned)
        except StoreError as exc:
            self._say_once(ctx, "store", f"a global configuration cannot be remembered, so it waits: {exc}")
            return False
        self._held = learned
        ctx.log.info(
            "global configuration %s, signed by %s, holds from now on",
            accepted.configuration.version,
            ", ".join(accepted.signers),
        )
        try:
            await self._apply(learned)
        except ActorError as exc:
            self._error = f"not every part goes by version {accepted.configuration.version} yet: {exc}"
            ctx.log.error("%s; a reload or a restart has them do so", self._error)
        return True

    def _say_once(self, ctx: Context[Any], kind: str, text: str) -> None:
        self._error = text
        if kind not in self._said:
            self._said.add(kind)
            ctx.log.warning("%s", text)

    def _status(self) -> GlobalConfigStatus:
        held = self._held
        found = held.configuration if held is not None else GlobalConfiguration(version="")
        return GlobalConfigStatus(
            topic=self._settings.topic,
            version=found.version,
            received_at=held.received_at if held is not None else None,
            checked_at=self._checked_at,
            observation_topic=found.observation_topics[0].topic if found.observation_topics else "",
            bootstrap_servers=found.bootstrap.servers if found.bootstrap is not None else (),
            bootstrap_url=found.bootstrap.base_url if found.bootstrap is not None else "",
            refused=tuple(sorted(self._refused.items())),
            error=self._error,
        )


def _judge(payload: bytes, keystore: Keystore, held: GlobalConfiguration | None) -> Accepted:
    return judge(payload, keystore, held=held)
