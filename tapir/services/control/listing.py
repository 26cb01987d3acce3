"""The console's operations that list: names of lists, page by page, and every source with what it knows of itself."""

from collections.abc import Iterator
from itertools import islice, pairwise
from typing import Any, Final

import trio

from actors import ActorRef, AskError, Request
from tapir.model.actions import ListKind
from tapir.model.messages.feeds import GetFeed
from tapir.model.messages.lists import GetListNames, GetSources, ListNamesPage, SourcesStatus, SourceStatus
from tapir.model.messages.observations import GetObservations
from tapir.model.names import format_name
from tapir.services.control.explaining import Asker
from tapir.services.control.protocol import ConsoleRequest, to_plain
from tapir.services.control.status import ControlRefs

MOST_ROWS: Final = 1000
"""names of a page: made into text, more of them would hold the loop for too long"""
_AT_ONCE: Final = 100
FILTERS: Final = {ListKind.ALLOW: "allow", ListKind.DENY: "deny", ListKind.DOUBT: "doubt"}


async def list_names(request: ConsoleRequest, ask: Asker, refs: ControlRefs) -> object:
    """A page of the names that sources hold, each with its list, its format and its flags."""
    texts = {key: str(request.arguments.get(key) or "") for key in ("source", "suffix", "containing", "cursor")}
    limit = request.integer("limit", lowest=1, highest=MOST_ROWS, default=MOST_ROWS)
    following: dict[str, str] = {}
    if texts["source"]:
        ids = await _ids_of(texts["source"], ask, refs)
        # The cursor begins with the source that it is in.
        at = texts["cursor"].rpartition("/")[0]
        texts["source"] = at if at in ids else ids[0]
        following = dict(pairwise(ids))
    page: ListNamesPage = await ask(refs.lists, GetListNames(limit=limit, **texts))
    rows: list[dict[str, Any]] = []
    found = _rows_of(page)
    while some := list(islice(found, _AT_ONCE)):
        rows += some
        await trio.lowlevel.checkpoint()
    after = following.get(texts["source"])
    cursor = page.next or (f"{after}/" if after is not None else "")
    return {"rows": rows, "next": cursor, "unlisted": list(page.unlisted)}


async def _ids_of(source: str, ask: Asker, refs: ControlRefs) -> list[str]:
    """The source that goes by that id, or else those that feed the list of that name; there is at least one."""
    status: SourcesStatus = await ask(refs.lists, GetSources())
    if any(each.id == source for each in status.sources):
        return [source]
    return [each.id for each in status.sources if each.name == source] or [source]


def _rows_of(page: ListNamesPage) -> Iterator[dict[str, Any]]:
    sources = {status.id: status for status in page.sources}
    for part in page.parts:
        status = sources[part.source]
        for name, tags in part.entries:
            yield {
                "name": format_name(name),
                "source": status.id,
                "list": status.name,
                "format": format_of(status),
                "filter": FILTERS[status.kind],
                "tags": tags,
            }


def format_of(status: SourceStatus) -> str:
    """In which format the source comes, or a dash."""
    return status.format or "-"


async def list_sources(refs: ControlRefs, ask: Asker, *, patience: float) -> dict[str, Any]:
    """Every source, and what feeds and observed lists say of themselves, by their ids."""
    status: SourcesStatus = await ask(refs.lists, GetSources())
    details: dict[str, Any] = {}

    async def fetch(source: str, ref: ActorRef[Any], question: Request[Any]) -> None:
        try:
            details[source] = to_plain(await ref.ask(question, timeout=patience))
        except AskError as exc:
            details[source] = {"error": str(exc)}

    async with trio.open_nursery() as nursery:
        for each in status.sources:
            question = _QUESTIONS.get(each.origin.split(" ")[0])
            if question is not None and refs.source is not None and takes_part(each):
                nursery.start_soon(fetch, each.id, refs.source(each.id), question)
    return {**to_plain(status), "details": details}


_QUESTIONS: Final[dict[str, Request[Any]]] = {"xfr": GetFeed(), "mqtt": GetObservations()}


def takes_part(source: SourceStatus) -> bool:
    """Whether the source has an actor that can be asked."""
    return source.active and not source.internal and source.state != "unsupported"
