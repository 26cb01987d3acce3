"""The part of the tree that speaks with Core: the MQTT session, and what comes and goes by it.

    uplink (one for one)    mqtt, global, telemetry

The first two are there only where the configuration needs them; a reload starts and stops them. What was learned from
the global configuration lies over what the files say of mqtt sources.
"""

import logging
from collections.abc import Awaitable, Callable
from typing import Any, Final

import attrs

from actors import ActorRef, ActorSpec, ActorSystem, MailboxSpec, Overflow, Strategy, SupervisorSpec
from tapir.app.config import Config, SourceConfig
from tapir.app.mapping import running_sources
from tapir.codec.globalconfig import BootstrapSettings, GlobalConfiguration
from tapir.services.uplink.global_config import GlobalConfigKeeper, GlobalSettings
from tapir.services.uplink.session import MqttSession
from tapir.services.uplink.session_messages import ConfigureSession
from tapir.services.uplink.session_settings import BrokerSettings, MqttSettings, MqttSubscription
from tapir.store.errors import StoreError
from tapir.store.learned import Learned, read_learned
from tapir.store.state import StateDirectory

SESSION: Final = "uplink/mqtt"
GLOBAL: Final = "uplink/global"

_MAILBOX: Final = MailboxSpec(capacity=64, overflow=Overflow.WAIT)
"""Who settles waits for the session, and the session waits for nobody."""
_OURS: Final = frozenset({"mqtt", "global"})
_PATIENCE: Final = 60.0

_log = logging.getLogger("tapir.uplink")


def overlay(config: Config, learned: GlobalConfiguration | None) -> Config:
    """`config` as it is under the global configuration, where that is taken at all."""
    if learned is None or config.global_config is None:
        return attrs.evolve(config, learned=None)
    topics = learned.observation_topics
    sources = config.sources
    if topics:
        sources = tuple(_retopic(source, topics[0].topic) for source in sources)
    return attrs.evolve(config, sources=sources, learned=learned)


def learned_bootstrap(source: SourceConfig, config: Config) -> BootstrapSettings | None:
    """Where the global configuration has this mqtt source bootstrap from; None: as the files have it."""
    mutable = source.observations is not None and not source.observations.immutable
    return config.learned.bootstrap if mutable and config.learned is not None else None


def _retopic(source: SourceConfig, topic: str) -> SourceConfig:
    found = source.observations
    if found is None or found.immutable:
        return source
    return attrs.evolve(source, observations=attrs.evolve(found, topic=topic))


def session_settings(config: Config, state: StateDirectory) -> MqttSettings | None:
    """The settings of the session, or None where there is none."""
    mqtt = config.mqtt
    if mqtt is None:
        return None
    wanted = [
        (source.observations.topic, source.id) for source in running_sources(config) if source.observations is not None
    ]
    if config.global_config is not None:
        wanted.append((config.global_config.topic, GLOBAL))
    return MqttSettings(
        broker=BrokerSettings(
            host=mqtt.broker.host,
            port=mqtt.broker.port,
            tls=mqtt.broker.tls,
            ca=mqtt.ca,
            certificate=mqtt.certificate,
            key=mqtt.key,
            keepalive=mqtt.keepalive,
            session_expiry=mqtt.session_expiry,
            receive_maximum=mqtt.receive_maximum,
            max_message=mqtt.max_message,
        ),
        subscriptions=tuple(
            MqttSubscription(filter=topic, consumer=consumer, qos=mqtt.qos) for topic, consumer in wanted
        ),
        state_path=state.mqtt,
    )


def global_settings(config: Config, state: StateDirectory) -> GlobalSettings | None:
    """The settings of who takes the global configuration, or None where nobody does."""
    if config.global_config is None or config.keystore is None:
        return None
    return GlobalSettings(
        consumer=GLOBAL, topic=config.global_config.topic, keystore=config.keystore, store_path=state.learned
    )


class Uplink:
    """The supervisor `uplink`, made and changed; `learned` is what holds of the global configuration."""

    def __init__(self, *, system: ActorSystem, state: StateDirectory, apply: Callable[[], Awaitable[None]]) -> None:
        """`apply` has the whole tree go by what is `learned`."""
        self._system = system
        self._state = state
        self._apply = apply
        self._session: MqttSettings | None = None
        self.learned: Learned | None = None
        self.mqtt: ActorRef[Any] = system.ref(SESSION)
        self.keeper: ActorRef[Any] = system.ref(GLOBAL)

    def remember(self) -> None:
        """Read what was learned before a restart. Blocks."""
        try:
            self.learned = read_learned(self._state.learned)
        except StoreError as exc:
            _log.warning("%s; the configuration files hold alone until the next global configuration", exc)

    def overlay(self, config: Config) -> Config:
        """`config` with what was learned."""
        return overlay(config, self.learned.configuration if self.learned is not None else None)

    def specify(self, config: Config, *others: ActorSpec[Any]) -> SupervisorSpec:
        """The supervisor for `config`, which has been overlaid; `others` come behind ours."""
        return SupervisorSpec(
            name="uplink", strategy=Strategy.ONE_FOR_ONE, children=(*self._children(config).values(), *others)
        )

    async def reconfigure(self, old: Config, new: Config) -> None:
        """Go by `new`; both have been overlaid. Raises ActorError when something cannot be handed over."""
        uplink = self._system.supervisor("uplink")
        children = self._children(new)
        changed = global_settings(old, self._state) != global_settings(new, self._state)
        for name in sorted(_OURS & set(uplink.children())):
            if name not in children or (name == "global" and changed):
                await uplink.stop_child(name)
        running = set(uplink.children())
        if "mqtt" in running and self._session is not None:
            # Asked, not told: a crash at this moment must not lose what was configured.
            await self.mqtt.ask(ConfigureSession(settings=self._session), timeout=_PATIENCE)
        for name, child in children.items():
            if name not in running:
                await uplink.start_child(child)

    def _children(self, config: Config) -> dict[str, ActorSpec[Any]]:
        session = session_settings(config, self._state)
        found: dict[str, ActorSpec[Any]] = {}
        self._session = session
        if session is not None:
            found["mqtt"] = ActorSpec(
                name="mqtt",
                # What the next incarnation starts with: a crash must not undo a reload.
                factory=MqttSession.factory(lambda: self._session or session, consumer=self._consumer),
                mailbox=_MAILBOX,
            )
        keeper = global_settings(config, self._state)
        if keeper is not None:
            found["global"] = ActorSpec(
                name="global",
                factory=lambda: GlobalConfigKeeper(
                    keeper, session=self.mqtt, learned=lambda: self.learned, apply=self._learn
                ),
                mailbox=_MAILBOX,
            )
        return found

    def _consumer(self, name: str) -> ActorRef[Any]:
        # Sources go by their id, which has no slash.
        return self.keeper if name == GLOBAL else self._system.ref(f"sources/{name}")

    async def _learn(self, learned: Learned) -> None:
        self.learned = learned
        await self._apply()
