"""Version 2, for programs: plain JSON, problem documents (RFC 9457), and a description of itself.

The documents are those of the console. A wrong key is a 401; what an actor refuses is a 409, what none answers a 503.
"""

import json
from collections.abc import Mapping
from http import HTTPStatus
from typing import Any, Final

from starlette.requests import Request
from starlette.responses import Response

from tapir.codec.strictjson import JsonError, load_object
from tapir.services.control.api_desk import BusyError, Desk, key_shown
from tapir.services.control.documents_openapi import Operation, describe, match
from tapir.services.control.protocol import ConsoleRequest, ProtocolError, to_plain
from tapir.services.control.routes_operations import OPERATIONS

_STATUS: Final = {
    "arguments": HTTPStatus.BAD_REQUEST,
    "refused": HTTPStatus.CONFLICT,
    "unanswered": HTTPStatus.SERVICE_UNAVAILABLE,
    "missing": HTTPStatus.NOT_FOUND,
}
_HEADERS: Final = {"Cache-Control": "no-store"}


class VersionTwo:
    """Everything below `/api/v2`; an ASGI application."""

    PREFIX: Final = "/api/v2"

    def __init__(self, desk: Desk) -> None:
        self._desk = desk
        self._description = json.dumps(describe(OPERATIONS, prefix=self.PREFIX, version=desk.facts.version)).encode()

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        """Serve one request."""
        response = await self._answer(Request(scope, receive))
        await response(scope, receive, send)

    async def _answer(self, request: Request) -> Response:
        if not self._desk.admits(key_shown(request)):
            return problem(
                HTTPStatus.UNAUTHORIZED,
                "show the key of `apiserver.key` as X-API-Key or Authorization: Bearer",
                {"WWW-Authenticate": "Bearer"},
            )
        path = request.scope["path"].removeprefix(self.PREFIX)
        if path == "/openapi.json":
            return Response(self._description, media_type="application/json")
        found = match(OPERATIONS, path)
        if not found:
            return problem(
                HTTPStatus.NOT_FOUND, "there is nothing at this path; /api/v2/openapi.json says what there is"
            )
        operation, parts = found.get(request.method, (None, {}))
        if operation is None:
            allowed = ", ".join(sorted(found))
            return problem(HTTPStatus.METHOD_NOT_ALLOWED, f"this path takes {allowed}", {"Allow": allowed})
        try:
            return await self._carry_out(request, operation, parts)
        except ProtocolError as exc:
            return problem(_STATUS.get(exc.code, HTTPStatus.BAD_REQUEST), str(exc))
        except BusyError as exc:
            return problem(HTTPStatus.SERVICE_UNAVAILABLE, str(exc), {"Retry-After": "5"})

    async def _carry_out(self, request: Request, operation: Operation, parts: Mapping[str, str]) -> Response:
        arguments: dict[str, Any] = dict(parts)
        for parameter in operation.query:
            if (text := request.query_params.get(parameter.name)) is not None:
                arguments[parameter.name] = parameter.read(text)
        if operation.body:
            arguments |= await _body(request, operation)
        order = ConsoleRequest(id=0, op=operation.name, arguments=arguments)
        result = await operation.handler(self._desk, order, request)
        body = await self._desk.run_blocking(_encode, to_plain(result))
        return Response(body, media_type="application/json", headers=_HEADERS)


async def _body(request: Request, operation: Operation) -> dict[str, Any]:
    """The members that the operation knows. Raises ProtocolError."""
    try:
        document = load_object(await request.body() or b"{}")
    except JsonError as exc:
        raise ProtocolError(code="arguments", text=f"the body is no JSON object: {exc}") from None
    known = {parameter.name for parameter in operation.body}
    unknown = sorted(set(document) - known)
    if unknown:
        text = f"the body has {unknown[0][:100]!r}; known are {', '.join(sorted(known))}"
        raise ProtocolError(code="arguments", text=text)
    return document


def _encode(document: Any) -> bytes:
    return json.dumps(document).encode() + b"\n"


def problem(status: HTTPStatus, detail: str, headers: Mapping[str, str] | None = None) -> Response:
    """What went wrong, as a problem document."""
    document = {"type": "about:blank", "title": status.phrase, "status": int(status), "detail": detail}
    return Response(
        _encode(document),
        status_code=status,
        media_type="application/problem+json",
        headers={**_HEADERS, **(headers or {})},
    )
