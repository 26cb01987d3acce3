"""The composition root: from a configuration to the supervision tree, read top to bottom.

    tapir (one for one)
    ├── authority (rest for one)    keeper ─▶ notifier ─▶ server                                  POP
    ├── control (one for one)       events, clock, certificates, health, console, api             api: POP
    ├── evaluator (rest for one)    lists ─▶ policy                                               POP
    ├── uplink (one for one)        mqtt, global, telemetry                                       POP
    ├── sources (one for one)       tapir:local, and an actor for each source, by its origin      POP
    ├── edm-uplink (one for one)    mqtt, newnames, aggregates, telemetry                         EDM
    └── edm (one for one)           novelty, minimiser, input, metrics                            EDM

They start in this order and stop in the reverse one: nothing flows into what has stopped. Refs are made first and the
factories close over them, so nobody looks anybody up. A component that is not run has no part in it.
"""

from collections.abc import Awaitable, Callable
from functools import partial
from typing import TYPE_CHECKING, Any, Final

import attrs
import trio

from actors import (
    ActorError,
    ActorRef,
    ActorSpec,
    ActorSystem,
    Intensity,
    MailboxSpec,
    Overflow,
    Strategy,
    SupervisorSpec,
    SupervisorStopped,
    UnknownActor,
)
from tapir.app.config import Config, Setup
from tapir.app.config.inforce import pack_in_force
from tapir.app.pop import PopTree
from tapir.app.watchers import Watchers
from tapir.model.messages.control import HealthStatus
from tapir.services.control.console import Console, ConsoleSettings
from tapir.services.control.health import Health, HealthSettings
from tapir.services.control.status import ControlRefs, ProcessFacts
from tapir.store.state import StateDirectory

if TYPE_CHECKING:
    from tapir.app.edm import EdmTree

_QUESTIONS: Final = MailboxSpec(capacity=32, overflow=Overflow.REJECT)
"""For actors that are only asked: who asks too much is told so, and nobody waits."""

# With its back-off the API alone, crashing for ever, stays below this: DNS goes on without it.
_CONTROL_INTENSITY: Final = Intensity(restarts=30, period=60)

_EDM_GRACE: Final = 10.0
"""seconds that EDM has to begin before it is said that it did not"""


class Tree:
    """The tree of one process: the parts of its components, and what is there for all of them."""

    def __init__(
        self,
        *,
        system: ActorSystem,
        state: StateDirectory,
        facts: ProcessFacts,
        report: Callable[[HealthStatus], Awaitable[None]],
    ) -> None:
        self._system = system
        self._state = state
        self._facts = facts
        self._report = report
        self._watchers = Watchers(system=system, state=state, version=facts.version)
        self._pop = PopTree(system=system, state=state, facts=facts, watchers=self._watchers)
        self._edm: EdmTree | None = None
        self._later: tuple[SupervisorSpec, ...] = ()
        """what `begin` starts"""
        self._hold: Callable[[], None] | None = None
        """what comes before it"""

    def specify(self, setup: Setup) -> SupervisorSpec:
        """The whole tree for `setup`. Raises StoreError when the zone's folder cannot be made.

        Blocks. Raises FolderInUse where EDM is run alone and another process is in its `data-dir`, and ImportError
        where EDM is to be run and its libraries are not installed.
        """
        pop = self._pop.specify(setup.pop) if setup.pop is not None else ()
        edm: tuple[SupervisorSpec, ...] = ()
        if setup.edm is not None:
            # Here, since a POP alone does without EDM's libraries and their memory.
            from tapir.app.edm import EdmTree

            self._edm = EdmTree(system=self._system, state=self._state, facts=self._facts, watchers=self._watchers)
            edm = self._edm.specify(setup.edm)
            if setup.pop is not None:
                # What keeps EDM from its start must not keep the POP from serving.
                self._later = edm
                edm = tuple(attrs.evolve(each, children=()) for each in edm)
                self._hold = partial(self._edm.hold, setup.edm)
            else:
                self._edm.hold(setup.edm)
        return SupervisorSpec(
            name="tapir",
            strategy=Strategy.ONE_FOR_ONE,
            children=(*pop[:1], self._control(setup), *pop[1:], *edm),
        )

    async def begin(self) -> None:
        """Start what is not started with the tree, as far as it does not run: EDM, where it stands beside a POP.

        Raises ActorError with what does not start, and FolderInUse while another process is in its `data-dir`; what
        started before it runs, and to try again is fine.
        """
        if self._hold is not None:
            # A disk can hang; a stop does not wait for it.
            await trio.to_thread.run_sync(self._hold, abandon_on_cancel=True)
        failures: list[ActorError] = []
        for group in self._later:
            supervisor = self._system.supervisor(group.name)
            running = set(supervisor.children())
            try:
                for child in group.children:
                    if child.name not in running:
                        await supervisor.start_child(child)
            except SupervisorStopped:
                raise
            except ActorError as exc:
                failures.append(exc)  # frames are minimised without Core, and what waits for Core is sent without them
        if failures:
            raise failures[0]

    async def reconfigure(self, old: Setup, new: Setup) -> None:
        """Hand over what can change while the tree runs. Raises ActorError when some of it cannot be handed over."""
        parts: list[Callable[[], Awaitable[None]]] = [partial(self._watchers.reconfigure, new.certificates)]
        if old.pop is not None and new.pop is not None:
            parts.append(partial(self._pop.reconfigure, old.pop, new.pop))
        if self._edm is not None and new.edm is not None:
            parts.append(partial(self._edm.reconfigure, new.edm))
        failures: list[ActorError] = []
        for part in parts:
            try:
                await part()
            except ActorError as exc:
                failures.append(exc)  # a component that is in trouble keeps no other from what is new
        if failures:
            raise failures[0]

    def close(self) -> None:
        """Give back what the actors shared, when all of them have ended. Blocks."""
        if self._edm is not None:
            self._edm.close()

    def _control(self, setup: Setup) -> SupervisorSpec:
        refs = self._refs(setup)
        config = setup.pop
        console = ConsoleSettings(socket=self._state.console)
        # A little later, so that what the deadline lets through has been published.
        grace = config.start_deadline + 1.0 if config is not None else _EDM_GRACE
        health: ActorSpec[Any] = ActorSpec(
            name="health",
            factory=lambda: Health(
                settings=HealthSettings(grace=grace),
                keeper=refs.keeper,
                server=refs.server,
                lists=refs.lists,
                report=self._report,
                events=refs.events,
                pop=refs.pop,
                edm=refs.edm,
            ),
            mailbox=_QUESTIONS,
        )
        return SupervisorSpec(
            name="control",
            strategy=Strategy.ONE_FOR_ONE,
            children=(
                self._watchers.event_keeper(),
                self._watchers.clock_keeper(self._pop.expiring_sources),
                self._watchers.certificate_keeper(setup.certificates),
                health,
                ActorSpec(
                    name="console",
                    factory=lambda: Console(
                        settings=console,
                        system=self._system,
                        refs=refs,
                        facts=self._facts,
                        configuration=self._configuration,
                    ),
                    mailbox=_QUESTIONS,
                ),
                *((self._pop.management_api(config, refs),) if config is not None else ()),
            ),
            intensity=_CONTROL_INTENSITY,
        )

    def _refs(self, setup: Setup) -> ControlRefs:
        edm = self._edm.refs(setup.edm) if self._edm is not None and setup.edm is not None else None
        return attrs.evolve(self._pop.refs(), pop=setup.pop is not None, edm=edm, present=self._is_run)

    def _configuration(self) -> object:
        """What the process goes by, for `tapir plan`, which is about the zone."""
        config: Config | None = self._pop.in_force
        return pack_in_force(config) if config is not None else None

    def _is_run(self, ref: ActorRef[Any]) -> bool:
        try:
            self._system.find(ref.path)
        except UnknownActor:
            return False
        return True
