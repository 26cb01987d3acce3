"""What a brake holds back, as exceptional events; from how the zone and the sources say that they stand. Pure."""

import attrs

from tapir.model.messages.events import ClearEvent, EventKind, RaiseEvent
from tapir.model.messages.lists import SourcesStatus
from tapir.model.messages.zone import ZoneStatus

Key = tuple[EventKind, str]
_FREE = ""


@attrs.frozen
class HeldBack:
    """What was said of each source and of the zone, empty for nothing; what is not here was not looked at yet."""

    told: dict[Key, str] = attrs.field(factory=dict)

    def look(
        self, zone: ZoneStatus | None, sources: SourcesStatus | None
    ) -> "tuple[HeldBack, tuple[RaiseEvent | ClearEvent, ...]]":
        """What is new since the last look, and is to be said; None is one that did not answer, and changes nothing.

        What is said at the first look clears also what an earlier process raised. How much is held back may change with
        every message of a source: that is in the status, and is no news.
        """
        found: dict[Key, str] = {}
        if zone is not None:
            found[EventKind.ZONE_HELD, zone.zone] = _zone(zone)
        if sources is not None:
            for source in sources.sources:
                held = source.state == "held"
                text = (
                    f"the brake holds it back: it {source.error or 'changes too much'}; what it said before is used; "
                )
                found[EventKind.SOURCE_HELD, source.id] = f"{text}tapir accept {source.id}" if held else _FREE
            gone = {key for key in self.told if key[0] is EventKind.SOURCE_HELD and key not in found}
            found |= dict.fromkeys(gone, _FREE)
        news = tuple(
            _say(*key, text)
            for key, text in found.items()
            if key not in self.told or bool(self.told[key]) != bool(text)
        )
        return HeldBack({**self.told, **found}), news


def _zone(zone: ZoneStatus) -> str:
    if zone.state != "braked" or zone.held_change is None:
        return _FREE
    removed, added = zone.held_change
    return (
        f"a change of -{removed} +{added} records is held back by the brake; the zone stays as it is; tapir accept zone"
    )


def _say(kind: EventKind, subject: str, text: str) -> RaiseEvent | ClearEvent:
    if text:
        return RaiseEvent(kind=kind, subject=subject, text=text)
    return ClearEvent(kind=kind, subject=subject)
