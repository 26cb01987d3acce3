"""What stands between hypercorn and an ASGI application: limits of a request, and the end of every exception.

A request has a body of bounded size that comes in bounded time, an answer makes progress or the connection ends, and
no more than so many requests are in hand at once. What an application raises is its bug: the client gets a 500, the
log the traceback once per place.
"""

import logging
from collections.abc import Awaitable, Callable, MutableMapping
from typing import Any, Final

import attrs
import trio

from tapir.transport.http.guard import GuardedStream

log = logging.getLogger("tapir.http")

Message = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]
Application = Callable[[MutableMapping[str, Any], Receive, Send], Awaitable[None]]

_MOST_DISCARDED: Final = 1024 * 1024
"""octets of a body that nobody wants and that is read all the same, so that the client reads the answer"""
_FAREWELL: Final = 1.0


class ClientGone(Exception):
    """The client left or was cut off; whoever works for it may stop."""


class BodyRefused(Exception):
    """The body is too large or comes too slowly; `status` says which."""

    def __init__(self, status: int) -> None:
        super().__init__(status)
        self.status = status


@attrs.frozen(kw_only=True)
class RequestLimits:
    """Octets of a body, requests in hand at once, and seconds for a body to come and for an answer to make progress."""

    body: int = 64 * 1024
    requests: int = 32
    patience: float = 10.0


class Fence:
    """The application `app`, fenced in; an ASGI application itself."""

    def __init__(self, app: Application, limits: RequestLimits) -> None:
        self._app = app
        self._limits = limits
        self._in_hand = 0
        self._told: set[str] = set()
        self.requests = 0
        self.refused: dict[str, int] = {}
        """requests that got no answer of the application, by reason"""

    async def __call__(self, scope: MutableMapping[str, Any], receive: Receive, send: Send) -> None:
        """Serve one request."""
        if scope["type"] != "http":
            # A WebSocket: nothing here speaks it, and hypercorn turns this into a 403.
            await send({"type": "websocket.close", "code": 1000})
            return
        guard: GuardedStream = scope["state"]["guard"]
        guard.begin()
        try:
            await self._serve(scope, _Exchange(guard, receive, send, self._limits))
        finally:
            guard.end()

    async def _serve(self, scope: MutableMapping[str, Any], exchange: "_Exchange") -> None:
        self.requests += 1
        if self._in_hand >= self._limits.requests:
            self._count("busy")
            await exchange.answer(503, "too many requests at once", retry=1)
            return
        if _is_ambiguous(scope):
            self._count("ambiguous")
            await exchange.answer(400, "Content-Length and Transfer-Encoding contradict each other", last=True)
            return
        self._in_hand += 1
        try:
            await self._app(scope, exchange.receive, exchange.send)
        except Exception as exc:  # noqa: BLE001  # a bug of one answer is not the end of all others
            await self._explain(_alone(exc), exchange)
        finally:
            self._in_hand -= 1

    async def _explain(self, exc: Exception, exchange: "_Exchange") -> None:
        match exc:
            case BodyRefused():
                self._count("body")
                await exchange.answer(exc.status, "the request is too large" if exc.status == 413 else "too slow")
            case ClientGone():
                self._count("gone")
            case _:
                self._count("failed")
                self._tell(exc)
                await exchange.answer(500, "internal error")

    def _count(self, reason: str) -> None:
        self.refused[reason] = self.refused.get(reason, 0) + 1

    def _tell(self, exc: Exception) -> None:
        frame = exc.__traceback__
        while frame is not None and frame.tb_next is not None:
            frame = frame.tb_next
        place = f"{type(exc).__name__} at {frame.tb_lineno if frame else 0}"
        if place not in self._told and len(self._told) < 100:
            self._told.add(place)
            log.error("an HTTP request failed, which is a bug; the others are served", exc_info=exc)


def _is_ambiguous(scope: MutableMapping[str, Any]) -> bool:
    """Whether somebody in between may have seen another end of this request than we do (RFC 9112 §6.3)."""
    return {b"content-length", b"transfer-encoding"} <= {name for name, _ in scope["headers"]}


def _alone(exc: Exception) -> Exception:
    """What is in a group of one, which task groups make of an exception that passes through them."""
    while isinstance(exc, ExceptionGroup) and len(exc.exceptions) == 1:
        exc = exc.exceptions[0]
    return exc


class _Exchange:
    """One request and its answer."""

    def __init__(self, guard: GuardedStream, receive: Receive, send: Send, limits: RequestLimits) -> None:
        self._guard = guard
        self._receive = receive
        self._send = send
        self._limits = limits
        self._deadline = trio.current_time() + limits.patience
        self._octets = 0
        self._complete = False
        self._lingers = False
        self._started = False

    async def receive(self) -> Message:
        """A piece of the body. Raises BodyRefused and ClientGone."""
        if self._complete:
            return await self._receive()  # a disconnect, for whoever waits for that
        message = await self._piece()
        if self._octets > self._limits.body:
            raise BodyRefused(413)
        return message

    async def send(self, message: Message) -> None:
        """A piece of the answer. Raises ClientGone when the client takes none of it in time."""
        if self._guard.broken:
            raise ClientGone
        if message["type"] == "http.response.start":
            self._started = True
            await self._discard()
            if self._lingers:
                message = {**message, "headers": [*message.get("headers", ()), (b"connection", b"close")]}
        with trio.move_on_after(_FAREWELL if self._lingers else self._limits.patience) as scope:
            await self._send(message)
        if scope.cancelled_caught:
            self._guard.abort()
            raise ClientGone

    async def answer(self, status: int, text: str, *, retry: int | None = None, last: bool = False) -> None:
        """The fence's own answer, or the end of the connection where one has begun; `last` of this connection."""
        if self._started:
            self._guard.abort()
            return
        headers = [(b"content-type", b"text/plain; charset=utf-8")]
        if last:
            headers.append((b"connection", b"close"))
        if retry is not None:
            headers.append((b"retry-after", str(retry).encode()))
        body = f"{text}\n".encode()
        headers.append((b"content-length", str(len(body)).encode()))
        try:
            await self.send({"type": "http.response.start", "status": status, "headers": headers})
            await self.send({"type": "http.response.body", "body": body})
        except ClientGone:
            return

    async def _piece(self) -> Message:
        with trio.move_on_at(self._deadline):
            message = await self._receive()
            if message["type"] != "http.request":
                raise ClientGone
            self._octets += len(message.get("body", b""))
            self._complete = not message.get("more_body", False)
            return message
        raise BodyRefused(408)

    async def _discard(self) -> None:
        """Read what is left of the body: hypercorn waits for somebody to take it, and the client to be heard out."""
        while not self._complete and not self._lingers:
            try:
                await self._piece()
            except BodyRefused:
                self._lingers = True
            self._lingers = self._lingers or self._octets > _MOST_DISCARDED
