"""`/bootstrap`: another POP begins with what our observation sources hold.

    doubtlist-status               JSON: the topics that feed the list, and what came
    export-doubtlist, gob          the list as upstream's own server sends it: gob, and JSON behind it
    export-doubtlist, jsonl        the plain export between POPs of ours (docs/list-export.md); also for other kinds

What goes wrong is JSON with `Error`, status 200, as upstream has it. An export has names, tags and times; the servers
that we bootstrap from, and their key, are not in it. It is made piece by piece in a worker: of a plain export some
pieces exist at a time, of gob, which begins with its length, all. Two are made at once, and each has `LONGEST` seconds.
"""

import re
from collections.abc import Iterator
from http import HTTPStatus
from itertools import islice
from typing import Any, Final

import attrs
import trio
from starlette.requests import Request
from starlette.responses import Response

from actors import ActorRef
from tapir.codec.bootstrap import (
    EXPORT_TYPE,
    EXPORTS,
    GOB,
    JSON_LINES,
    STATUS,
    BodyError,
    BootstrapPost,
    BootstrapResponse,
    TopicData,
    encode_response,
    parse_post,
)
from tapir.codec.gob import encode_in_pieces, encode_start
from tapir.codec.listexport import encode_export
from tapir.codec.rfc3339 import YEAR_ONE
from tapir.model.actions import ListKind
from tapir.model.errors import TapirError
from tapir.model.messages.lists import GetSources, SourcesStatus
from tapir.model.messages.mqtt import GetMqtt, MqttStatus
from tapir.model.messages.observations import GetObservationsExport, ObservationsExport
from tapir.services.control.api_desk import BusyError, Desk
from tapir.services.control.protocol import ProtocolError
from tapir.transport.http.fence import ClientGone

LONGEST: Final = 600.0

_PIECES: Final = 16
"""How many pieces of some 64 KiB are made at a time: a megabyte is some 50 ms of a worker."""
_OBSERVED: Final = "mqtt"
_ODD: Final = re.compile(r"[^A-Za-z0-9._-]")


class NotExported(TapirError):
    """There is no such list to be had here; the text is for `ErrorMsg`."""


@attrs.frozen(kw_only=True)
class _Found:
    """A list that may be exported, and who knows it."""

    name: str
    kind: ListKind
    id: str
    source: ActorRef[Any]


async def bootstrap(desk: Desk, request: Request) -> Response:
    """Answer one request of `/bootstrap`; an export is made while it is sent."""
    try:
        post = parse_post(await request.body())
        return await _answer(desk, post)
    except BodyError as exc:
        return _json(BootstrapResponse(time=desk.now(), error=True, error_msg=f"the request cannot be read: {exc}"))
    except NotExported as exc:
        return _json(BootstrapResponse(time=desk.now(), error=True, error_msg=str(exc)))


async def _answer(desk: Desk, post: BootstrapPost) -> Response:
    """Raises NotExported."""
    if post.command == STATUS:
        return await _status(desk, await _find(desk, post.list_name, ListKind.DOUBT))
    kind = EXPORTS.get(post.command)
    if kind is None:
        raise NotExported(f"unknown command; known are {STATUS}, {', '.join(EXPORTS)}")
    if post.encoding not in (GOB, JSON_LINES):
        raise NotExported(f"unknown encoding; known are {GOB}, {JSON_LINES}")
    return _Export(desk, await _find(desk, post.list_name, kind), gob=post.encoding == GOB)


async def _find(desk: Desk, name: str, kind: ListKind) -> _Found:
    """The list `name` of `kind`, if it is one that observations feed. Raises NotExported."""
    sources: SourcesStatus | None = await desk.look(desk.refs.lists, GetSources())
    if sources is None:
        raise NotExported("the lists cannot be asked at the moment; try again")
    source_of = desk.refs.source
    for source in sources.sources:
        named = source.active and (source.name, source.kind, source.origin) == (name, kind, _OBSERVED)
        if named and source_of is not None:
            return _Found(name=name, kind=kind, id=source.id, source=source_of(source.id))
    raise NotExported(f"there is no {kind.value} of this name that is fed by observations")


async def _status(desk: Desk, found: _Found) -> Response:
    mqtt: MqttStatus | None = await desk.look(desk.refs.mqtt, GetMqtt())
    topics = tuple(
        TopicData(
            topic=topic.filter,
            messages=topic.messages,
            latest=YEAR_ONE if topic.latest_at is None else topic.latest_at,
        )
        for topic in (mqtt.topics if mqtt is not None else ())
        if topic.consumer == found.id
    )
    return _json(BootstrapResponse(time=desk.now(), status="ok", msg=f"{found.kind.value} {found.name}", topics=topics))


class _Export(Response):
    """The list, or why there is none after all."""

    def __init__(self, desk: Desk, found: _Found, *, gob: bool) -> None:
        super().__init__()
        self._desk = desk
        self._found = found
        self._gob = gob

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        """Ask for it, make it and send it. Raises ClientGone when that took too long."""
        desk = self._desk
        with trio.move_on_after(LONGEST):
            try:
                async with desk.expensive():
                    export: ObservationsExport = await desk.ask(self._found.source, GetObservationsExport())
                    await (self._send_gob if self._gob else self._send_plain)(export, send)
                return
            except (BusyError, ProtocolError) as exc:
                answer = _json(BootstrapResponse(time=desk.now(), error=True, error_msg=str(exc)))
                await answer(scope, receive, send)
                return
        # In HTTP/2 an answer without an end is one that the client goes on waiting for.
        scope["state"]["guard"].abort()
        raise ClientGone

    async def _send_plain(self, export: ObservationsExport, send: Any) -> None:
        pieces = encode_export(export.observations, source=self._found.name, kind=self._found.kind, timestamp=export.at)
        await self._begin(send, EXPORT_TYPE, "jsonl")
        while some := await self._desk.run_blocking(_take, pieces):
            for piece in some:
                await send({"type": "http.response.body", "body": piece, "more_body": True})
        await send({"type": "http.response.body", "body": b"", "more_body": False})

    async def _send_gob(self, export: ObservationsExport, send: Any) -> None:
        making = encode_in_pieces(
            export.observations, source=self._found.name, kind=self._found.kind, topics=export.topics
        )
        pieces: list[bytes] = []
        while some := await self._desk.run_blocking(_take, making):
            pieces += some
        await self._begin(send, "application/octet-stream", "gob")
        pieces.insert(0, encode_start(sum(map(len, pieces))))
        pieces.append(encode_response(BootstrapResponse(time=self._desk.now(), status="ok", msg="the list is sent")))
        pieces.reverse()
        while pieces:
            await send({"type": "http.response.body", "body": pieces.pop(), "more_body": bool(pieces)})

    async def _begin(self, send: Any, kind: str, suffix: str) -> None:
        name = _ODD.sub("_", self._found.name)
        file = f"attachment; filename={self._found.kind.value}-{name}.{suffix}"
        headers = ((b"content-type", kind.encode()), (b"content-disposition", file.encode()))
        await send({"type": "http.response.start", "status": HTTPStatus.OK, "headers": list(headers)})


def _take(pieces: Iterator[bytes]) -> list[bytes]:
    return list(islice(pieces, _PIECES))


def _json(response: BootstrapResponse) -> Response:
    return Response(encode_response(response), media_type="application/json")
