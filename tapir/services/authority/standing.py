"""How a zone stands, as those outside of this group see it; pure."""

from tapir.model.messages.zone import ZoneStatus
from tapir.model.names import format_name
from tapir.services.authority.draft import ChangeSize
from tapir.zone.settings import ZoneSettings
from tapir.zone.view import ZoneView


def zone_status(
    settings: ZoneSettings,
    view: ZoneView | None,
    *,
    published_at: int | None,
    held_change: ChangeSize | None,
    state: str,
    store_error: str,
) -> ZoneStatus:
    """The zone of `settings`, of which `view` is published (None: nothing yet), and what is held back from it."""
    return ZoneStatus(
        zone=format_name(settings.apex),
        serial=view.serial if view is not None else None,
        records=len(view.version) if view is not None else 0,
        published_at=published_at,
        journal_from=view.journal.from_serial if view is not None else None,
        journal_deltas=len(view.journal) if view is not None else 0,
        journal_octets=view.journal.octets if view is not None else 0,
        state=state,
        held_change=(held_change.removed, held_change.added) if held_change is not None else None,
        store_error=store_error,
    )
