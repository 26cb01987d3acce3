"""The POP's part of the tree: what it is made of, and how a new configuration reaches it.

    authority (rest for one)    keeper ─▶ notifier ─▶ server
    evaluator (rest for one)    lists ─▶ policy
    uplink (one for one)        mqtt, global, telemetry
    sources (one for one)       tapir:local, and an actor for each source, by its origin

Its management API is among the actors of `control`, which is there for all components.
"""

from typing import Any, Final

import trio

from actors import (
    ActorRef,
    ActorSpec,
    ActorSystem,
    Intensity,
    MailboxSpec,
    Overflow,
    Strategy,
    SupervisorSpec,
)
from tapir.app.config import Config, tls_after_reload
from tapir.app.mapping import evaluator_settings, notifier_settings, running_sources, server_settings, source_settings
from tapir.app.mapping_api import api_settings
from tapir.app.origins import SOURCE_INTENSITY, OriginRefs, origin_actor, origin_settings
from tapir.app.uplink import Uplink
from tapir.app.watchers import Watchers
from tapir.model.messages.feeds import actor_of
from tapir.model.messages.local import ACTOR as LOCAL
from tapir.model.messages.local import LISTS
from tapir.model.names import Name, format_name
from tapir.services.authority.keeper import MAILBOX as KEEPER_MAILBOX
from tapir.services.authority.keeper import KeeperSettings, ZoneKeeper
from tapir.services.authority.notifier import MAILBOX as NOTIFIER_MAILBOX
from tapir.services.authority.notifier import ConfigureNotifier, Notifier, NotifierSettings
from tapir.services.authority.server import MAILBOX as SERVER_MAILBOX
from tapir.services.authority.server import ConfigureServer, ServerSettings, ZoneServer
from tapir.services.control.api import MAILBOX as API_MAILBOX
from tapir.services.control.api import ApiSettings, ConfigureApi, ManagementApi
from tapir.services.control.status import ControlRefs, ProcessFacts
from tapir.services.evaluator.lists import ConfigureLists, ListKeeper, ListKeeperSettings, stream_of
from tapir.services.evaluator.policy import ConfigurePolicy, PolicyEvaluator
from tapir.services.sources.local import ConfigureLocal, LocalSettings, LocalSource
from tapir.services.uplink.telemetry_pop import TelemetryRefs
from tapir.store.state import StateDirectory

_BULK: Final = MailboxSpec(capacity=16, overflow=Overflow.WAIT)
"""For those whom content flows to: who brings more than is taken waits, down to the file that is read."""

_QUESTIONS: Final = MailboxSpec(capacity=32, overflow=Overflow.REJECT)
"""For actors that are only asked: who asks too much is told so, and nobody waits."""

_PATIENCE: Final = 60.0
"""seconds for an actor to take new settings: a policy change over a million names is work"""

_EXPIRING: Final = frozenset({"mqtt", "xfr"})
"""The origins of sources that lose what is too old."""

_SOURCES_INTENSITY: Final = Intensity(restarts=1000, period=60)


class PopTree:
    """The supervisors of a POP, made and changed."""

    def __init__(self, *, system: ActorSystem, state: StateDirectory, facts: ProcessFacts, watchers: Watchers) -> None:
        self._system = system
        self._state = state
        self._facts = facts
        self._watchers = watchers
        self._keeper = system.ref("authority/keeper")
        self._notifier = system.ref("authority/notifier")
        self._server = system.ref("authority/server")
        self._health = system.ref("control/health")
        self._api = system.ref("control/api")
        self._lists = system.ref("evaluator/lists")
        self._policy = system.ref("evaluator/policy")
        self._link = Uplink(system=system, state=state, apply=self._learn)
        self._mqtt = self._link.mqtt
        self._overrides = system.ref(f"sources/{LOCAL}")
        self._origins = OriginRefs(
            lists=self._lists,
            events=self._watchers.events,
            session=self._mqtt,
            clock=self._watchers.clock,
            policy=self._policy,
        )
        # What this process began with: some of it no reload changes, however many follow each other.
        self._beginning: Config | None = None
        # What the files said last, and what holds: that, under the global configuration.
        self._configured: Config | None = None
        self._in_force: Config | None = None
        self._changing = trio.Lock()
        # What the next incarnations of zone server and notifier start with: a crash must not undo a reload.
        self._serving: ServerSettings | None = None
        self._notifying: NotifierSettings | None = None
        self._local: LocalSettings | None = None
        self._management: ApiSettings | None = None

    def specify(self, config: Config) -> tuple[SupervisorSpec, ...]:
        """Authority, evaluator, uplink and sources for `config`, in their order.

        Raises StoreError when the zone's folder cannot be made.
        """
        self._link.remember()
        self._configured = config
        config = self._beginning = self._in_force = self._link.overlay(config)
        return self._authority(config), self._evaluator(config), self._uplink(config), self._sources(config)

    @property
    def in_force(self) -> Config | None:
        """What holds now: the files, under the global configuration."""
        return self._in_force

    def refs(self) -> ControlRefs:
        """Whom the console and the API ask."""
        serves = self._beginning is not None and self._beginning.server.active
        return ControlRefs(
            keeper=self._keeper,
            server=self._server if serves else None,
            notifier=self._notifier if serves else None,
            lists=self._lists,
            policy=self._policy,
            health=self._health,
            overrides=self._overrides,
            events=self._watchers.events,
            clock=self._watchers.clock,
            telemetry=self._watchers.telemetry,
            mqtt=self._mqtt,
            api=self._api,
            source=self._source_ref,
        )

    def management_api(self, config: Config, refs: ControlRefs) -> ActorSpec[Any]:
        """The actor that serves the management API, which may have nothing to listen on."""
        management = api_settings(config)
        return ActorSpec(
            name="api",
            factory=lambda: ManagementApi(
                self._management or management, system=self._system, refs=refs, facts=self._facts
            ),
            mailbox=API_MAILBOX,
        )

    def expiring_sources(self) -> tuple[ActorRef[Any], ...]:
        """The actors of the sources whose names expire."""
        config = self._in_force
        sources = running_sources(config) if config is not None else ()
        return tuple(self._source_ref(source.id) for source in sources if source.origin in _EXPIRING)

    async def reconfigure(self, old: Config, new: Config) -> None:
        """Hand over what can change while the tree runs. Raises ActorError when some of it cannot be handed over.

        The list keeper hears of sources before the new ones speak and after the gone ones fell silent, so no list
        is ever taken for another.
        """
        async with self._changing:
            self._configured = new
            await self._go_by(self._in_force or old, self._link.overlay(new))

    async def _learn(self) -> None:
        """Go by another global configuration. Raises ActorError when some part does not yet."""
        async with self._changing:
            if (configured := self._configured) is None or (old := self._in_force) is None:
                return
            new = self._link.overlay(configured)
            zone = (self._beginning or old).zone.name
            await self._stop_sources(old, new, zone)
            self._in_force = new
            await self._link.reconfigure(old, new)
            await self._start_sources(new, zone)

    async def _go_by(self, old: Config, new: Config) -> None:
        beginning = self._beginning or old
        zone = beginning.zone.name  # a new zone name takes a restart: until then every part goes on with the old one
        if beginning.server.active:
            addresses = beginning.server.addresses
            tls = tls_after_reload(beginning, new)
            serving = self._serving = server_settings(new, zone=beginning.zone, addresses=addresses, tls=tls)
            notifying = self._notifying = notifier_settings(new)
            await self._server.tell(ConfigureServer(settings=serving))
            await self._notifier.tell(ConfigureNotifier(settings=notifying))
        management = self._management = api_settings(new)
        await self._api.tell(ConfigureApi(settings=management))
        await self._stop_sources(old, new, zone)
        # Asked, not told: a crash at this moment must not lose what the operator reloaded.
        await self._lists.ask(ConfigureLists(settings=self._list_settings(new)), timeout=_PATIENCE)
        evaluating = evaluator_settings(new, zone=zone, redirect=beginning.zone.redirect)
        await self._policy.ask(ConfigurePolicy(settings=evaluating), timeout=_PATIENCE)
        self._in_force = new
        await self._watchers.reconfigure_telemetry(new)
        self._local = self._local_settings(new, zone=zone)
        await self._overrides.ask(ConfigureLocal(settings=self._local), timeout=_PATIENCE)
        await self._link.reconfigure(old, new)
        await self._start_sources(new, zone)

    async def _stop_sources(self, old: Config, new: Config, zone: Name) -> None:
        """Stop those that are gone, or go by other settings now."""
        before = origin_settings(old, zone=zone, state=self._state)
        after = origin_settings(new, zone=zone, state=self._state)
        sources = self._system.supervisor("sources")
        staying = {key for key, value in after.items() if before.get(key) == value}
        for source_id in set(sources.children()) - staying - {LOCAL}:
            await sources.stop_child(source_id)

    async def _start_sources(self, new: Config, zone: Name) -> None:
        """Start those that should run and do not."""
        sources = self._system.supervisor("sources")
        running = set(sources.children())
        for source_id, settings in origin_settings(new, zone=zone, state=self._state).items():
            if source_id not in running:
                await sources.start_child(origin_actor(settings, self._origins))

    def _authority(self, config: Config) -> SupervisorSpec:
        serves = config.server.active
        settings = KeeperSettings(
            zone=config.zone,
            store_path=self._state.zone(format_name(config.zone.name)),
            serial_cache=config.serial_cache,
            brake_change=config.zone_brake.change,
            brake_minimum=config.zone_brake.minimum,
        )
        keeper: ActorSpec[Any] = ActorSpec(
            name="keeper",
            factory=lambda: ZoneKeeper(
                settings,
                policy=self._policy,
                server=self._server if serves else None,
                notifier=self._notifier if serves else None,
                health=self._health,
            ),
            mailbox=KEEPER_MAILBOX,
        )
        if not serves:
            return SupervisorSpec(name="authority", strategy=Strategy.REST_FOR_ONE, children=(keeper,))
        serving = server_settings(config, zone=config.zone, addresses=config.server.addresses, tls=config.server.tls)
        notifying = notifier_settings(config)
        return SupervisorSpec(
            name="authority",
            strategy=Strategy.REST_FOR_ONE,
            children=(
                keeper,
                ActorSpec(
                    name="notifier",
                    factory=lambda: Notifier(self._notifying or notifying, keeper=self._keeper),
                    mailbox=NOTIFIER_MAILBOX,
                ),
                ActorSpec(
                    name="server",
                    factory=lambda: ZoneServer(
                        self._serving or serving,
                        keeper=self._keeper,
                        notifier=self._notifier,
                        source=self._source_ref,
                    ),
                    mailbox=SERVER_MAILBOX,
                ),
            ),
        )

    def _uplink(self, config: Config) -> SupervisorSpec:
        serves = config.server.active
        refs = TelemetryRefs(
            health=self._health,
            lists=self._lists,
            keeper=self._keeper,
            events=self._watchers.events,
            server=self._server if serves else None,
            notifier=self._notifier if serves else None,
            mqtt=self._mqtt,
            source=self._source_ref,
        )
        return self._link.specify(config, self._watchers.telemetry_sender(config, refs))

    def _evaluator(self, config: Config) -> SupervisorSpec:
        lists = self._list_settings(config)
        evaluating = evaluator_settings(config, zone=config.zone.name, redirect=config.zone.redirect)
        return SupervisorSpec(
            name="evaluator",
            strategy=Strategy.REST_FOR_ONE,
            children=(
                ActorSpec(
                    name="lists",
                    factory=ListKeeper.factory(lists, policy=self._policy, source_ref=self._source_ref),
                    mailbox=_BULK,
                    stream=stream_of,
                ),
                ActorSpec(
                    name="policy",
                    factory=PolicyEvaluator.factory(
                        evaluating, lists=self._lists, keeper=self._keeper, source_ref=self._source_ref
                    ),
                    mailbox=_BULK,
                ),
            ),
        )

    def _sources(self, config: Config) -> SupervisorSpec:
        configured = origin_settings(config, zone=config.zone.name, state=self._state)
        return SupervisorSpec(
            name="sources",
            strategy=Strategy.ONE_FOR_ONE,
            intensity=_SOURCES_INTENSITY,
            children=(
                self._local_source(config),
                *(origin_actor(settings, self._origins) for settings in configured.values()),
            ),
        )

    def _local_source(self, config: Config) -> ActorSpec[Any]:
        settings = self._local_settings(config, zone=config.zone.name)
        return ActorSpec(
            name=LOCAL,
            factory=lambda: LocalSource(self._local or settings, lists=self._lists, policy=self._policy),
            mailbox=_QUESTIONS,
            intensity=SOURCE_INTENSITY,
        )

    def _local_settings(self, config: Config, *, zone: Name) -> LocalSettings:
        return LocalSettings(store_path=self._state.overrides, zone=zone, canary=config.canary)

    def _source_ref(self, source_id: str) -> ActorRef[Any]:
        return self._overrides if source_id in LISTS else self._system.ref(f"sources/{actor_of(source_id)}")

    def _list_settings(self, config: Config) -> ListKeeperSettings:
        return ListKeeperSettings(
            store_path=self._state.lists,
            start_deadline=config.start_deadline,
            sources=source_settings(config),
        )
