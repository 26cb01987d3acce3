"""`filterlists` and `gen-output` of version 1: all names of all lists, written while they are sent."""

from collections.abc import Awaitable, Callable, Iterable, Mapping, Sequence
from typing import Any, Final

from starlette.responses import Response

from actors import Request
from tapir.codec.popapi import (
    DebugPost,
    DebugResponse,
    encode_debug_around,
    encode_debug_response,
    encode_denied_names,
    encode_list_around,
    encode_names,
    encode_observed_names,
    encode_output,
    encode_text,
)
from tapir.model.actions import ListKind
from tapir.model.blocks import ListBlock, RecordBlock
from tapir.model.messages.feeds import FeedStatus, GetFeed
from tapir.model.messages.lists import GetListNames, GetSources, ListNamesPage, SourcesStatus, SourceStatus
from tapir.model.messages.observations import GetObservationsExport, ObservationsExport
from tapir.model.messages.policy import GetRecords
from tapir.model.messages.zone import GetZone
from tapir.services.control.api_desk import BusyError, Desk
from tapir.services.control.documents import list_heads, merge_pages, well_or_not
from tapir.services.control.listing import takes_part
from tapir.services.control.protocol import ProtocolError
from tapir.services.control.routes_v1 import json_response
from tapir.transport.http.fence import ClientGone

PAGE: Final = 5000
"""names that a worker writes at a time: some tens of milliseconds, of which the loop has as many as it wants"""


def debug_response(answer: DebugResponse) -> Response:
    """The answer to `/debug`."""
    return json_response(encode_debug_response(answer))


async def well(desk: Desk) -> str:
    """How the service does, in a sentence."""
    return well_or_not(await desk.health(), await desk.look(desk.refs.keeper, GetZone()))


async def filterlists(desk: Desk, post: DebugPost) -> Response:
    """Every list with its names; those of observations with when they were observed, and for how long."""
    answer = DebugResponse(msg=await well(desk))
    sources: SourcesStatus = await desk.ask(desk.refs.lists, GetSources())
    feeds = {feed.source: feed for feed in await feeds_of(desk, sources.sources)}
    start, end = encode_debug_around(answer, "Lists")

    async def make(write: Write) -> None:
        await write(start + b"{")
        for number, kind in enumerate(ListKind):
            await write((b"," if number else b"") + f'"{kind.value}":{{'.encode())
            await _write_lists(desk, write, [each for each in sources.sources if each.kind is kind], feeds)
            await write(b"}")
        await write(b"}" + end)

    return LongAnswer(desk, make)


async def feeds_of(desk: Desk, sources: Iterable[SourceStatus]) -> list[FeedStatus]:
    """How the feeds among `sources` stand; one that does not answer is left out."""
    found = [await _detail(desk, each, "xfr", GetFeed()) for each in sources]
    return [each for each in found if isinstance(each, FeedStatus)]


async def _detail(desk: Desk, source: SourceStatus, origin: str, question: Request[Any]) -> Any:
    """What the actor of `source` answers, if it is of that `origin`, is run, and answers soon; else None."""
    if desk.refs.source is None or source.origin.split(" ")[0] != origin or not takes_part(source):
        return None
    return await desk.look(desk.refs.source(source.id), question)


async def _write_lists(
    desk: Desk, write: "Write", sources: Iterable[SourceStatus], feeds: Mapping[str, FeedStatus]
) -> None:
    for number, (head, key, source) in enumerate(list_heads(sources, feeds)):
        before, after = encode_list_around(head)
        await write((b"," if number else b"") + encode_text(key) + b":" + before + b"{")
        # What the brake holds back is not on the list: then its source knows of other names than the list has.
        export = None if source.state == "held" else await _detail(desk, source, "mqtt", GetObservationsExport())
        await _write_names(desk, write, source.id, export)
        await write(b"}" + after)


async def _write_names(desk: Desk, write: "Write", source: str, export: ObservationsExport | None) -> None:
    """The names of a list: as its source knows them, or as the list keeper does."""
    if export is not None:
        observed = export.observations
        for at in range(0, len(observed), PAGE):
            await write((b"," if at else b"") + await desk.run_blocking(encode_observed_names, observed, at, at + PAGE))
        return
    pages, comma = _Pages(desk, source), b""
    while (entries := await pages.next()) is not None:
        await write(comma + await desk.run_blocking(encode_names, entries))
        comma = b","


class _Pages:
    """What the list keeper holds of one source, in order of the names."""

    def __init__(self, desk: Desk, source: str) -> None:
        self._desk = desk
        self._source = source
        self._cursor: str | None = ""

    async def next(self) -> ListBlock | None:
        """Some more names, or None at the end. Raises ProtocolError."""
        while self._cursor is not None:
            question = GetListNames(source=self._source, limit=PAGE, cursor=self._cursor)
            page: ListNamesPage = await self._desk.ask(self._desk.refs.lists, question)
            self._cursor = page.next or None
            for part in page.parts:
                if len(part.entries):
                    return part.entries
        return None


async def gen_output(desk: Desk, post: DebugPost) -> Response:
    """The names that are denied and doubted, each once and with the tags of all its lists, and what is decided."""
    sources: SourcesStatus = await desk.ask(desk.refs.lists, GetSources())
    records: RecordBlock = await desk.ask(desk.refs.policy, GetRecords())
    answer = DebugResponse(msg=f"{len(records)} records are decided; {await well(desk)}")
    start, denied, doubted, end = encode_debug_around(answer, "DenylistedNames", "DoubtlistedNames", "RpzOutput")

    def of(kind: ListKind) -> list[str]:
        return [source.id for _, _, source in list_heads(each for each in sources.sources if each.kind is kind)]

    async def make(write: Write) -> None:
        await write(start + b"{")
        await _write_merged(desk, write, of(ListKind.DENY), encode_denied_names)
        await write(b"}" + denied + b"{")
        await _write_merged(desk, write, of(ListKind.DOUBT), encode_names)
        await write(b"}" + doubted + b"[")
        for at in range(0, len(records), PAGE):
            await write((b"," if at else b"") + await desk.run_blocking(encode_output, records, at, at + PAGE))
        await write(b"]" + end)

    return LongAnswer(desk, make)


async def _write_merged(
    desk: Desk, write: "Write", sources: Sequence[str], encode: Callable[[ListBlock], bytes]
) -> None:
    """The names of these sources, each once, in order; of every source a page is in memory."""
    streams = [_Pages(desk, source) for source in sources]
    held = [(stream, page) for stream in streams if (page := await stream.next()) is not None]
    comma = b""
    while held:
        merged, rests = await desk.run_blocking(merge_pages, [page for _, page in held])
        await write(comma + await desk.run_blocking(encode, merged))
        comma = b","
        going = []
        for (stream, _), rest in zip(held, rests, strict=True):
            page = rest if len(rest) else await stream.next()
            if page is not None:
                going.append((stream, page))
        held = going


Write = Callable[[bytes], Awaitable[None]]


class LongAnswer(Response):
    """A JSON document of any length that is made as it is sent; one that cannot be finished breaks the connection."""

    def __init__(self, desk: Desk, make: Callable[[Write], Awaitable[None]]) -> None:
        super().__init__(media_type="application/json")
        self._desk = desk
        self._make = make

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        """Send it. Raises ClientGone when an actor does not answer in the middle."""

        async def write(piece: bytes) -> None:
            await send({"type": "http.response.body", "body": piece, "more_body": True})

        try:
            async with self._desk.expensive():
                headers = [(b"content-type", b"application/json")]
                await send({"type": "http.response.start", "status": 200, "headers": headers})
                await self._make(write)
                await send({"type": "http.response.body", "body": b"", "more_body": False})
        except BusyError as exc:
            answer = debug_response(DebugResponse(error=True, error_msg=str(exc)))
            await answer(scope, receive, send)
        except ProtocolError as exc:
            scope["state"]["guard"].abort()
            raise ClientGone from exc
