"""The console's operations on sources, events and the clock; each answers with what JSON can say."""

from collections.abc import Awaitable, Callable
from typing import Any, Final

from actors import Delivery
from tapir.model.messages.edm import RotateNow
from tapir.model.messages.events import AcceptClock, GetClock, GetEvents
from tapir.model.messages.feeds import TransferWhole
from tapir.model.messages.lists import GetSources, RefreshSource, SourcesStatus, SourceStatus
from tapir.model.messages.observations import BootstrapAgain
from tapir.services.control.edm import EdmRefs, gather_edm
from tapir.services.control.explaining import Asker
from tapir.services.control.listing import list_names, list_sources, takes_part
from tapir.services.control.protocol import ConsoleRequest, ProtocolError
from tapir.services.control.status import ControlRefs
from tapir.services.control.zone import ZONE_OPS

_PATIENCE: Final = 1.0
_OF_A_POP: Final = frozenset(
    {"config", "explain", "names", "override-remove", "override-set", "overrides", "refresh", "sources", *ZONE_OPS}
)

Order = Callable[[ConsoleRequest, Asker, ControlRefs], Awaitable[object]]


async def _events(request: ConsoleRequest, ask: Asker, refs: ControlRefs) -> object:
    """The last exceptional events, the newest first, and all that last."""
    return await ask(present(request, refs.events), GetEvents())


async def _clock(request: ConsoleRequest, ask: Asker, refs: ControlRefs) -> object:
    """How the wall clock stands, and whether expiry is held."""
    return await ask(present(request, refs.clock), GetClock())


async def _sources(request: ConsoleRequest, ask: Asker, refs: ControlRefs) -> object:
    """Every source, with what it knows of itself."""
    return await list_sources(refs, ask, patience=_PATIENCE)


async def _refresh(request: ConsoleRequest, ask: Asker, refs: ControlRefs) -> object:
    """Have a source look now; with `whole`, transfer all of a feed's zone, or bootstrap observations again."""
    whole = request.arguments.get("whole", False) is True
    id_ = request.text("source")
    status: SourcesStatus = await ask(refs.lists, GetSources())
    source = next((each for each in status.sources if each.id == id_), None)
    if source is None:
        known = ", ".join(sorted(each.id for each in status.sources if not each.internal)) or "there are none"
        raise _refused(request, f"there is no source {id_!r}; known are: {known}")
    if not takes_part(source) or refs.source is None:
        raise _refused(request, f"there is nothing to look at for source {id_}: it is {_standing(source)}")
    if whole:
        match source.origin.split(" ")[0]:
            case "xfr":
                return await ask(refs.source(id_), TransferWhole())
            case "mqtt":
                return await ask(refs.source(id_), BootstrapAgain())
            case _:
                text = f"source {id_} is no feed, and nobody else holds it: there is nothing to fetch whole"
                raise _refused(request, text)
    delivery = refs.source(id_).tell_nowait(RefreshSource())
    if delivery not in (Delivery.DELIVERED, Delivery.COALESCED):
        raise _refused(request, f"source {id_} cannot be told now ({delivery.value}): try again in a moment")
    return f"source {id_} looks now; `tapir sources` shows what it finds"


def _standing(source: SourceStatus) -> str:
    return "always there" if source.internal else source.state


async def _edm(request: ConsoleRequest, ask: Asker, refs: ControlRefs) -> object:
    """What the parts of EDM say of themselves."""
    return await gather_edm(edm_of(request, refs), patience=_PATIENCE)


async def _edm_rotate(request: ConsoleRequest, ask: Asker, refs: ControlRefs) -> object:
    """EDM ends its interval now, and says what files it became."""
    return await ask(present(request, edm_of(request, refs).minimiser), RotateNow())


async def accept_clock(request: ConsoleRequest, ask: Asker, refs: ControlRefs, *, user: str) -> object:
    """The operator says that the clock is right."""
    return await ask(present(request, refs.clock), AcceptClock(user=user))


def check_component(request: ConsoleRequest, refs: ControlRefs) -> None:
    """Raise ProtocolError where `request` is for a POP, and this process runs none."""
    of_a_zone = request.op == "accept" and request.arguments.get("what") != "clock"
    if not refs.pop and (of_a_zone or request.op in _OF_A_POP):
        text = "this process runs EDM alone, and that is for a POP, which has lists and a zone; name its --state-dir"
        raise _refused(request, text)


def present(request: ConsoleRequest, ref: Any) -> Any:
    """`ref`. Raises ProtocolError where that part is not run."""
    if ref is None:
        raise _refused(request, "that part is not run here")
    return ref


def edm_of(request: ConsoleRequest, refs: ControlRefs) -> EdmRefs:
    """EDM's actors. Raises ProtocolError where there are none."""
    if refs.edm is None:
        raise _refused(request, "this process runs no EDM: name the --state-dir of the one that does")
    return refs.edm


def _refused(request: ConsoleRequest, text: str) -> ProtocolError:
    return ProtocolError(code="refused", text=text, request_id=request.id)


ORDERS: Final[dict[str, Order]] = {
    "exceptional-events": _events,
    "clock": _clock,
    "names": list_names,
    "sources": _sources,
    "refresh": _refresh,
    "edm": _edm,
    "edm-rotate": _edm_rotate,
}
