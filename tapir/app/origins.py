"""A source's actor, by its origin: a new origin adds a case to each of the two functions here.

Settings are values: a reload stops and starts the sources whose settings differ, and leaves the others alone.
"""

from collections.abc import Callable
from typing import Any, Final

import attrs

from actors import Actor, ActorRef, ActorSpec, Intensity, MailboxSpec, Overflow
from tapir.app.config import Config, SourceConfig
from tapir.app.mapping import feed_settings, file_settings, running_sources
from tapir.app.observing import observation_settings
from tapir.model.names import Name
from tapir.services.sources.file import FileSource, FileSourceSettings
from tapir.services.sources.observations import ObservationSource
from tapir.services.sources.observations_settings import ObservationSettings
from tapir.services.sources.transfer import TransferSource
from tapir.services.sources.transfersettings import TransferSettings
from tapir.store.state import StateDirectory

OriginSettings = FileSourceSettings | TransferSettings | ObservationSettings
"""What the actor of a configured source is told; each has an `id`."""

ActorFactory = Callable[[], Actor[Any]]

# One broken list, crashing its source again and again, must not use up the others' restarts.
SOURCE_INTENSITY: Final = Intensity(restarts=10, period=600)
_QUESTIONS: Final = MailboxSpec(capacity=32, overflow=Overflow.REJECT)
_MESSAGES: Final = MailboxSpec(capacity=32, overflow=Overflow.WAIT)
"""For sources that messages flow to: the session waits, and with it the broker."""


@attrs.frozen(kw_only=True)
class OriginRefs:
    """Whom the actors of sources speak to."""

    lists: ActorRef[Any]
    events: ActorRef[Any] | None = None
    session: ActorRef[Any] | None = None
    clock: ActorRef[Any] | None = None
    policy: ActorRef[Any] | None = None


def origin_settings(config: Config, *, zone: Name, state: StateDirectory) -> dict[str, OriginSettings]:
    """The settings of every source that gets an actor, by its id, for lists of `zone`."""
    return {source.id: _settings_of(source, config, zone, state) for source in running_sources(config)}


def _settings_of(source: SourceConfig, config: Config, zone: Name, state: StateDirectory) -> OriginSettings:
    match source.origin:
        case "file":
            return file_settings(source, zone=zone, staging=state.staging)
        case "xfr":
            return feed_settings(source, zone=zone, keys=config.keys, store_path=state.feed(source.id))
        case "mqtt":
            return observation_settings(source, config, zone=zone, store_path=state.observations(source.id))
        case _:
            raise AssertionError(f"the supported source {source.id} has no actor")  # the configuration sees to that


def origin_actor(settings: OriginSettings, refs: OriginRefs) -> ActorSpec[Any]:
    """The actor of the source with these settings."""
    match settings:
        case FileSourceSettings():
            return _actor(settings.id, FileSource.factory(settings, lists=refs.lists), _QUESTIONS)
        case TransferSettings():
            # It never blocks, so a storm of NOTIFYs is drained as fast as it comes, and what is too much is lost.
            factory = TransferSource.factory(settings, lists=refs.lists, events=refs.events, policy=refs.policy)
            return _actor(settings.id, factory, _QUESTIONS)
        case ObservationSettings():
            return _actor(settings.id, _observing(settings, refs), _MESSAGES)


def _observing(settings: ObservationSettings, refs: OriginRefs) -> ActorFactory:
    session = refs.session
    if session is None:
        raise AssertionError(f"the source {settings.id} has no session to hear from")  # the tree sees to that
    return lambda: ObservationSource(settings, lists=refs.lists, session=session, clock=refs.clock)


def _actor(name: str, factory: ActorFactory, mailbox: MailboxSpec) -> ActorSpec[Any]:
    return ActorSpec(name=name, factory=factory, mailbox=mailbox, intensity=SOURCE_INTENSITY)
