"""The console's orders for the zone, and its past: page by page, so that a long difference keeps nobody waiting."""

from collections.abc import Awaitable, Callable
from typing import Any, Final

from actors import ActorRef, Request
from tapir.model.actions import Action
from tapir.model.messages.zone import (
    MAX_PAUSE,
    GetZoneDifference,
    GetZoneHistory,
    HoldZone,
    PauseZone,
    ResumeZone,
    RollBackZone,
    SetSerial,
    ZoneDifference,
)
from tapir.model.names import Name, format_name
from tapir.services.control.protocol import ConsoleRequest

MAX_PAGE: Final = 500
"""names of a difference that one answer has: a few milliseconds of work"""
MAX_HISTORY: Final = 1000
_MAX_SERIAL: Final = 2**32 - 1

Asker = Callable[[ActorRef[Any], Request[Any]], Awaitable[Any]]


class ZonePart:
    """What one client asks of the zone keeper; `user` says who the client is."""

    def __init__(self, keeper: ActorRef[Any], user: Callable[[], Awaitable[str]]) -> None:
        self._keeper = keeper
        self._user = user
        self._difference: ZoneDifference | None = None
        """the one that this client is reading; it is what it was, whatever is published meanwhile"""

    async def answer(self, request: ConsoleRequest, ask: Asker) -> object:
        """The answer to one of `ZONE_OPS`. Raises ProtocolError, and what `ask` raises."""
        match request.op:
            case "zone-history":
                count = request.integer("count", lowest=1, highest=MAX_HISTORY, default=20)
                return await ask(self._keeper, GetZoneHistory(count=count))
            case "zone-diff":
                return await self._page(request, ask)
            case "zone-hold":
                return await ask(self._keeper, HoldZone(user=await self._user()))
            case "zone-resume":
                return await ask(self._keeper, ResumeZone(user=await self._user()))
            case "zone-pause":
                seconds = request.integer("seconds", lowest=1, highest=MAX_PAUSE)
                return await ask(self._keeper, PauseZone(seconds=seconds, user=await self._user()))
            case "zone-rollback":
                serial = request.integer("serial", lowest=0, highest=_MAX_SERIAL)
                return await ask(self._keeper, RollBackZone(serial=serial, user=await self._user()))
            case _:
                serial = request.integer("serial", lowest=0, highest=_MAX_SERIAL)
                return await ask(self._keeper, SetSerial(serial=serial, user=await self._user()))

    async def _page(self, request: ConsoleRequest, ask: Asker) -> object:
        older, newer = (request.integer(key, lowest=0, highest=_MAX_SERIAL) for key in ("from", "to"))
        offset = request.integer("offset", lowest=0, highest=_MAX_SERIAL, default=0)
        count = request.integer("count", lowest=1, highest=MAX_PAGE, default=MAX_PAGE)
        difference = self._difference
        if not offset or difference is None or (difference.from_serial, difference.to_serial) != (older, newer):
            difference = await ask(self._keeper, GetZoneDifference(from_serial=older, to_serial=newer))
        end = min(len(difference.before), offset + count)
        more = end < len(difference.before)
        self._difference = difference if more else None
        offsets = memoryview(difference.names.offsets).cast("I")
        return {
            "from": older,
            "to": newer,
            "removed": difference.removed,
            "added": difference.added,
            "names": len(difference.before),
            "passed": {"removed": len(difference.passed.removed), "added": len(difference.passed.added)},
            "changes": [
                {
                    "name": format_name(Name(difference.names.data[offsets[row] : offsets[row + 1]])),
                    "before": Action(difference.before[row]).label,
                    "after": Action(difference.after[row]).label,
                }
                for row in range(offset, end)
            ],
            "next": end if more else None,
        }


ZONE_OPS: Final = (
    "zone-history",
    "zone-diff",
    "zone-hold",
    "zone-resume",
    "zone-pause",
    "zone-rollback",
    "zone-set-serial",
)
