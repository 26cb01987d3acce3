"""What an observation source is told: its settings, and the messages that are its own affair."""

from collections.abc import Callable
from pathlib import Path

import attrs

from tapir.model.actions import ListKind
from tapir.model.messages.events import HoldExpiry
from tapir.model.messages.lists import GetEntry, RefreshSource
from tapir.model.messages.mqtt import MqttBlock
from tapir.model.messages.observations import BootstrapAgain, GetObservations, GetObservationsExport
from tapir.model.names import Name
from tapir.services.sources.bootstrap import BootstrapFailed, Bootstrapper, BootstrapResult, BootstrapSettings
from tapir.services.sources.bootstrap_client import HttpBootstrapper
from tapir.services.sources.observations_reading import ReadingSettings


@attrs.frozen(kw_only=True)
class ObservationSettings:
    """Which list, where its messages come from, who may sign them, and where it is kept; intervals in seconds."""

    id: str
    name: str
    kind: ListKind
    zone: Name
    topics: tuple[str, ...]
    store_path: Path
    keystore: Path
    signers: tuple[str, ...] | None = None
    """`kid`s; None for every key of the keystore"""
    broad: bool = False
    neighbours: frozenset[tuple[str, ListKind]] = frozenset()
    """lists of other sources that hear the same topics"""
    reaper_interval: int = 60
    bootstrap: BootstrapSettings | None = None
    report_interval: float = 10.0

    @property
    def reading(self) -> ReadingSettings:
        """What decides whether a message is for this list."""
        return ReadingSettings(
            name=self.name,
            kind=self.kind,
            zone=self.zone,
            signers=self.signers,
            broad=self.broad,
            neighbours=self.neighbours,
        )


@attrs.frozen(kw_only=True)
class Work:
    """Time to take what waits, as far as that is possible."""


@attrs.frozen(kw_only=True)
class Retry:
    """Time to try again what failed."""


@attrs.frozen(kw_only=True)
class SomethingEnds:
    """Time to look which names are over."""


@attrs.frozen(kw_only=True)
class Tick:
    """Time to tell the list keeper how the list stands."""


@attrs.frozen(kw_only=True, eq=False)
class Bootstrapped:
    """What came of asking other POPs."""

    result: BootstrapResult | BootstrapFailed


ObservationMessage = (
    MqttBlock
    | HoldExpiry
    | RefreshSource
    | GetEntry
    | GetObservations
    | GetObservationsExport
    | BootstrapAgain
    | Work
    | Retry
    | SomethingEnds
    | Tick
    | Bootstrapped
)
MakeBootstrapper = Callable[[ObservationSettings, Callable[[], int]], Bootstrapper]


def http_bootstrapper(settings: ObservationSettings, now: Callable[[], int]) -> Bootstrapper:
    """What fetches the list of `settings`, which has somewhere to bootstrap from."""
    if settings.bootstrap is None:
        raise ValueError(f"the source {settings.id} has nowhere to bootstrap from")
    return HttpBootstrapper(settings.bootstrap, list_name=settings.name, kind=settings.kind, now=now)
