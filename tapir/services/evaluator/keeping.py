"""What the list keeper goes by, and what it is told."""

from collections.abc import Hashable
from pathlib import Path

import attrs

from actors import Request
from tapir.model.errors import TapirError
from tapir.model.messages.lists import (
    AcceptSource,
    GetListNames,
    GetLists,
    GetSources,
    SourceChanged,
    SourceFailed,
    SourceLoaded,
    SourceUnchanged,
)
from tapir.services.evaluator.brake import BrakeSettings
from tapir.services.evaluator.roster import SourceSettings
from tapir.services.evaluator.saving import RetrySave


class AcceptError(TapirError):
    """The brake holds nothing back for that source, or there is no such source; nothing was changed."""


@attrs.frozen(kw_only=True)
class ListKeeperSettings:
    """Where list state is stored, which sources there are, and when to go on without some; times in seconds."""

    store_path: Path
    sources: tuple[SourceSettings, ...]
    start_deadline: float = 60.0
    brake: BrakeSettings = BrakeSettings()


@attrs.frozen(kw_only=True)
class ConfigureLists(Request[None]):
    """New settings are in force when this is answered, also after a crash; another `store_path` is not looked at.

    Stop the actors of sources that are gone or changed before, and start the new ones after.
    """

    settings: ListKeeperSettings


@attrs.frozen(kw_only=True)
class DeadlinePassed:
    """The sources had time enough to deliver."""


ListKeeperMessage = (
    SourceLoaded
    | SourceChanged
    | SourceUnchanged
    | SourceFailed
    | AcceptSource
    | GetSources
    | GetLists
    | GetListNames
    | ConfigureLists
    | DeadlinePassed
    | RetrySave
)


def stream_of(message: object) -> Hashable | None:
    """The source whose content a message brings, for `ActorSpec.stream`: one bad list must not stop the others."""
    return message.source if isinstance(message, SourceLoaded | SourceChanged) else None
