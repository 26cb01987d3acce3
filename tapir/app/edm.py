"""EDM's part of the tree: what it is made of, and how a new configuration reaches it.

    edm-uplink (one for one)    mqtt, newnames, aggregates, telemetry
    edm (one for one)           novelty, minimiser, input, metrics

The first two of the uplink are there unless `disable-mqtt` is set. What the actors share is made once in a process, so
that it outlives each of them: the account, the names that came lately, the place of the store, and the secret by which
names are hashed in all of them.

Each actor is restarted by itself, and as often as it takes: while the minimiser is down its mailbox fills, the input
stops to read, and what comes stays with the senders; nothing else in the process is concerned, and nothing is given up.
"""

import logging
import os
from typing import Any, Final

import trio

from actors import (
    ActorError,
    ActorRef,
    ActorSpec,
    ActorSystem,
    Backoff,
    Intensity,
    MailboxSpec,
    Overflow,
    Request,
    Strategy,
    SupervisorSpec,
)
from tapir.app.config import EdmConfig
from tapir.app.descriptors import allow_descriptors, connections_within
from tapir.app.mapping_edm import (
    aggregate_settings,
    broker_settings,
    data_dir,
    input_settings,
    metrics_settings,
    minimiser_settings,
    newname_settings,
    novelty_settings,
    refresh_names,
    remembered_names,
)
from tapir.app.watchers import Watchers, telemetry_settings
from tapir.minimiser.account import Fate, Ledger
from tapir.minimiser.novelty import RecentNames
from tapir.services.control.edm import EdmRefs
from tapir.services.control.status import ProcessFacts
from tapir.services.ingest.input import MAILBOX as INPUT_MAILBOX
from tapir.services.ingest.input import DnstapInput
from tapir.services.ingest.metrics import MAILBOX as METRICS_MAILBOX
from tapir.services.ingest.metrics import EdmMetrics, MetricsRefs
from tapir.services.ingest.minimiser import MAILBOX as MINIMISER_MAILBOX
from tapir.services.ingest.minimiser import ConfigureMinimiser, Minimiser
from tapir.services.ingest.novelty import MAILBOX as NOVELTY_MAILBOX
from tapir.services.ingest.novelty import ConfigureNovelty, NoveltyKeeper
from tapir.services.ingest.seenholder import SeenHolder
from tapir.services.uplink.aggregates import AggregateSender, ConfigureAggregates
from tapir.services.uplink.newnames import ConfigureNewNames, NewNames
from tapir.services.uplink.session import MqttSession
from tapir.services.uplink.session_messages import ConfigureSession
from tapir.services.uplink.session_settings import MqttSettings
from tapir.services.uplink.telemetry import ConfigureTelemetry, Telemetry, TelemetrySettings
from tapir.services.uplink.telemetry_edm import EdmTelemetryRefs
from tapir.store.hold import FolderHold
from tapir.store.state import StateDirectory

_SESSION_MAILBOX: Final = MailboxSpec(capacity=256, overflow=Overflow.WAIT)
"""Who publishes waits for the session, and the session waits for nobody."""
_TOLD: Final = MailboxSpec(capacity=64, overflow=Overflow.REJECT)
"""For who is told that there is something to do, and looks by himself, too."""

_HEARS: Final = MailboxSpec(capacity=256, overflow=Overflow.REJECT)
"""For who is told by everybody, and must not make anybody wait."""

_PATIENCE: Final = 60.0
"""seconds for an actor to take new settings: a list is read, a key derived, an interval written"""
_DRAIN: Final = 5.0
"""seconds for the minimiser to work off what is in its mailbox"""
_STOP: Final = 10.0
"""seconds to write the last interval, and the last batch of names"""
_SECRET: Final = 16
_KINDS: Final = tuple(dict.fromkeys(fate.kind for fate in Fate))

# Never reached: an actor that crashes for ever is tried every half a minute, and does not bring down what works.
_INTENSITY: Final = Intensity(restarts=1000, period=60)
_BACKOFF: Final = Backoff(first=0.1, maximum=30.0)

_log = logging.getLogger("tapir.edm")


class EdmTree:
    """The supervisors of EDM, made and changed."""

    def __init__(self, *, system: ActorSystem, state: StateDirectory, facts: ProcessFacts, watchers: Watchers) -> None:
        self._system = system
        self._state = state
        self._facts = facts
        self._events = watchers.events
        self._ledger = Ledger()
        self._holder = SeenHolder()
        self._secret = os.urandom(_SECRET)
        self._recent: RecentNames | None = None
        self._connections = 0
        self._held: FolderHold | None = None
        self._waits = False
        """another process is in `data-dir`, so nothing has begun"""
        self._input = system.ref("edm/input")
        self._minimiser = system.ref("edm/minimiser")
        self._novelty = system.ref("edm/novelty")
        self._metrics = system.ref("edm/metrics")
        self._mqtt = system.ref("edm-uplink/mqtt")
        self._newnames = system.ref("edm-uplink/newnames")
        self._aggregates = system.ref("edm-uplink/aggregates")
        self._telemetry = system.ref("edm-uplink/telemetry")
        watchers.listen(self._telemetry)
        # What the next incarnations start with: a crash must not undo a reload.
        self._config: EdmConfig | None = None

    def specify(self, config: EdmConfig) -> tuple[SupervisorSpec, ...]:
        """The uplink and the way of the frames for `config`, in their order."""
        self._config = config
        names = remembered_names(config)
        if names < config.qname_seen_entries:
            _log.warning("qname-seen-entries is %d; %d names are remembered", config.qname_seen_entries, names)
        self._recent = RecentNames(names, refresh=refresh_names(config))
        descriptors = allow_descriptors()
        self._connections = connections_within(config.input_connections, descriptors)
        if self._connections < config.input_connections:
            _log.warning(
                "input-connections is %d; %d senders may be connected, as there may be %d descriptors (ulimit -n)",
                config.input_connections,
                self._connections,
                descriptors,
            )
        return self._uplink(config), self._ingest(config, self._recent)

    def hold(self, config: EdmConfig) -> None:
        """Keep others out of `data-dir`, before anything of EDM starts; again is fine. Blocks. Raises FolderInUse."""
        if self._held is None:
            self._waits = True
            self._held = FolderHold.take(data_dir(config))
            self._waits = False

    def refs(self, config: EdmConfig) -> EdmRefs:
        """Whom the console asks."""
        connected = config.broker is not None
        return EdmRefs(
            input=self._input,
            minimiser=self._minimiser,
            novelty=self._novelty,
            aggregates=self._aggregates,
            newnames=self._newnames if connected else None,
            mqtt=self._mqtt if connected else None,
            metrics=self._metrics,
            telemetry=self._telemetry,
        )

    async def reconfigure(self, config: EdmConfig) -> None:
        """Hand over what can change while it runs. Raises ActorError when some of it cannot be handed over.

        Asked, not told: a crash at this moment must not lose what the operator reloaded. All at once: one that hangs
        keeps no other from what is new, nor the next reload waiting for longer than itself. Each is asked even if it
        is nothing new for it: lists and certificates may have changed behind their paths.
        """
        self._config = config
        if self._waits:
            return  # it begins with this
        orders: list[tuple[ActorRef[Any], Request[None]]] = []
        if (session := broker_settings(config, self._state)) is not None:
            orders.append((self._mqtt, ConfigureSession(settings=session)))
            orders.append((self._newnames, ConfigureNewNames(settings=newname_settings(config))))
        sending = aggregate_settings(config, self._facts.version)
        orders.append((self._aggregates, ConfigureAggregates(settings=sending)))
        orders.append((self._telemetry, ConfigureTelemetry(settings=self._telemetry_settings(config))))
        orders.append((self._novelty, ConfigureNovelty(settings=novelty_settings(config))))
        orders.append((self._minimiser, ConfigureMinimiser(settings=minimiser_settings(config))))
        failures: dict[str, ActorError] = {}

        async def ask(ref: ActorRef[Any], order: Request[None]) -> None:
            try:
                await ref.ask(order, timeout=_PATIENCE)
            except ActorError as exc:
                failures[ref.path] = exc

        async with trio.open_nursery() as nursery:
            for ref, order in orders:
                nursery.start_soon(ask, ref, order)
        for ref, _ in orders:
            if ref.path in failures:
                raise failures[ref.path]

    def close(self) -> None:
        """Give back what the actors shared, when all of them have ended, and close the account. Blocks."""
        self._holder.close()
        if self._held is not None:
            self._held.close()
        # A stop whose deadline passed leaves blocks in a mailbox, and nobody looks at those any more.
        if left := self._ledger.account().in_flight:
            self._ledger.settle({Fate.STOPPED: left})
        account = self._ledger.account()
        if account.received:
            sums = " + ".join(f"{account.total(kind)} {kind}" for kind in _KINDS)
            _log.info("frames: %d received = %s", account.received, sums)

    def _ingest(self, beginning: EdmConfig, recent: RecentNames) -> SupervisorSpec:
        connected = beginning.broker is not None
        metrics = metrics_settings(
            beginning, version=self._facts.version, commit=self._facts.commit, started_at=self._facts.started_at
        )
        refs = MetricsRefs(
            ledger=self._ledger,
            statistics=self._system.statistics,
            input=self._input,
            minimiser=self._minimiser,
            novelty=self._novelty,
            newnames=self._newnames if connected else None,
            aggregates=self._aggregates,
            mqtt=self._mqtt if connected else None,
            events=self._events,
        )
        return SupervisorSpec(
            name="edm",
            strategy=Strategy.ONE_FOR_ONE,
            intensity=_INTENSITY,
            children=(
                ActorSpec(
                    name="novelty",
                    factory=lambda: NoveltyKeeper(
                        lambda: novelty_settings(self._config or beginning),
                        holder=self._holder,
                        recent=recent,
                        newnames=self._newnames if connected else None,
                        events=self._events,
                    ),
                    mailbox=NOVELTY_MAILBOX,
                    backoff=_BACKOFF,
                    stop_timeout=_STOP,
                ),
                ActorSpec(
                    name="minimiser",
                    factory=lambda: Minimiser(
                        lambda: minimiser_settings(self._config or beginning),
                        ledger=self._ledger,
                        recent=recent,
                        secret=self._secret,
                        novelty=self._novelty,
                        aggregates=self._aggregates,
                        events=self._events,
                    ),
                    mailbox=MINIMISER_MAILBOX,
                    backoff=_BACKOFF,
                    drain_timeout=_DRAIN,
                    stop_timeout=_STOP,
                ),
                ActorSpec(
                    name="input",
                    factory=lambda: DnstapInput(
                        input_settings(beginning, connections=self._connections),
                        minimiser=self._minimiser,
                        ledger=self._ledger,
                    ),
                    mailbox=INPUT_MAILBOX,
                    backoff=_BACKOFF,
                ),
                ActorSpec(
                    name="metrics",
                    factory=lambda: EdmMetrics(metrics, refs=refs),
                    mailbox=METRICS_MAILBOX,
                    backoff=_BACKOFF,
                ),
            ),
        )

    def _uplink(self, beginning: EdmConfig) -> SupervisorSpec:
        aggregates: ActorSpec[Any] = ActorSpec(
            name="aggregates",
            factory=lambda: AggregateSender(
                lambda: aggregate_settings(self._config or beginning, self._facts.version), events=self._events
            ),
            mailbox=_TOLD,
            backoff=_BACKOFF,
        )
        session = broker_settings(beginning, self._state)
        events = self._events_sender(beginning, session) if session is not None else ()
        return SupervisorSpec(
            name="edm-uplink",
            strategy=Strategy.ONE_FOR_ONE,
            intensity=_INTENSITY,
            children=(*events, aggregates, self._telemetry_sender(beginning)),
        )

    def _telemetry_sender(self, beginning: EdmConfig) -> ActorSpec[Any]:
        connected = beginning.broker is not None
        refs = EdmTelemetryRefs(
            ledger=self._ledger,
            events=self._events,
            input=self._input,
            minimiser=self._minimiser,
            novelty=self._novelty,
            aggregates=self._aggregates,
            newnames=self._newnames if connected else None,
            mqtt=self._mqtt if connected else None,
        )
        return ActorSpec(
            name="telemetry",
            factory=lambda: Telemetry(self._telemetry_settings(self._config or beginning), refs=refs),
            mailbox=_HEARS,
            backoff=_BACKOFF,
        )

    def _telemetry_settings(self, config: EdmConfig) -> TelemetrySettings:
        return telemetry_settings(config.telemetry, connected=config.broker is not None, version=self._facts.version)

    def _events_sender(self, beginning: EdmConfig, session: MqttSettings) -> tuple[ActorSpec[Any], ...]:
        return (
            ActorSpec(
                name="mqtt",
                factory=MqttSession.factory(
                    lambda: broker_settings(self._config or beginning, self._state) or session,
                    consumer=self._system.ref,
                ),
                mailbox=_SESSION_MAILBOX,
                backoff=_BACKOFF,
            ),
            ActorSpec(
                name="newnames",
                factory=lambda: NewNames(
                    newname_settings(self._config or beginning), store=lambda: self._holder.store, mqtt=self._mqtt
                ),
                mailbox=_TOLD,
                backoff=_BACKOFF,
            ),
        )
