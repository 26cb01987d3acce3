"""Observation sources and who asks them: what a list holds, for another POP to begin with."""

import attrs

from actors import Request
from tapir.model.actions import ListKind
from tapir.model.blocks import ObservationBlock


@attrs.frozen(kw_only=True, eq=False)
class ObservationsExport:
    """What an observation source holds at `at`: each name once, with its tags, when it was observed and when it ends.

    `topics` are those that feed it. Nothing of it is secret: no key, no server to bootstrap from, no user.
    """

    name: str
    kind: ListKind
    topics: tuple[str, ...]
    observations: ObservationBlock
    at: int


@attrs.frozen(kw_only=True)
class GetObservationsExport(Request[ObservationsExport]):
    """All that you hold, with its times."""
