"""What every route of the management API works with: whom it asks, who may ask it, and how much at once."""

import hmac
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Any, Final, Protocol, TypeVar

import attrs
import trio
from starlette.requests import Request as HttpRequest

from actors import ActorRef, ActorSystem, AskError, AskFailed, Request
from tapir.model.errors import TapirError
from tapir.model.messages.control import GetHealth, HealthStatus
from tapir.services.control.protocol import ProtocolError
from tapir.services.control.status import ControlRefs, ProcessFacts

T = TypeVar("T")

_PATIENCE: Final = 30.0
"""seconds for an order: changing the zone or an override waits for the disk"""


@attrs.frozen(repr=False)
class ApiKey:
    """The secret that a client shows; it is never shown by us."""

    _text: str

    def admits(self, shown: str | None) -> bool:
        """Whether `shown` is it, in the same time for all of a length; an empty key is any, as long as one is shown.

        What is shown stands for octets, as HTTP's headers do: one character each.
        """
        if shown is None:
            return False
        return not self._text or hmac.compare_digest(shown.encode("latin-1", "replace"), self._text.encode())

    def __repr__(self) -> str:
        return "<ApiKey>"


class Blocking(Protocol):
    """Runs a function in a worker, as `Context.run_blocking` does."""

    async def __call__(self, fn: Callable[..., T], /, *args: object) -> T:
        """What `fn` returns."""
        ...


class BusyError(TapirError):
    """As many expensive requests as are allowed are in hand."""


class Desk:
    """What handlers are given. `patience` is how long (s) an actor has to say how it stands."""

    def __init__(
        self,
        *,
        system: ActorSystem,
        refs: ControlRefs,
        facts: ProcessFacts,
        key: Callable[[], ApiKey],
        run_blocking: Blocking,
        now: Callable[[], int],
        stop: Callable[[], None],
        patience: float = 1.0,
    ) -> None:
        self.system = system
        self.refs = refs
        self.facts = facts
        self.run_blocking = run_blocking
        self.now = now
        self.stop = stop
        self.patience = patience
        self.pongs = 0
        self._key = key
        self._expensive = trio.Semaphore(2, max_value=2)

    def admits(self, shown: str | None) -> bool:
        """Whether a client that shows this key may ask."""
        return self._key().admits(shown)

    async def ask(self, ref: ActorRef[Any], question: Request[Any]) -> Any:
        """The answer. Raises ProtocolError: `refused` with the reason, or `unanswered`."""
        try:
            return await ref.ask(question, timeout=_PATIENCE)
        except AskFailed as exc:
            text = str(exc.__cause__) if isinstance(exc.__cause__, TapirError) else str(exc)
            raise ProtocolError(code="refused", text=text) from exc
        except AskError as exc:
            raise ProtocolError(code="unanswered", text=str(exc)) from exc

    async def look(self, ref: ActorRef[Any] | None, question: Request[Any]) -> Any:
        """The answer of an actor that is there and answers soon, else None."""
        return await self._look(ref, question, self.patience)

    async def health(self) -> HealthStatus | None:
        """How the service does. Who knows it asks two others first, either of which may take all its time."""
        status: HealthStatus | None = await self._look(self.refs.health, GetHealth(), 3 * self.patience)
        return status

    async def _look(self, ref: ActorRef[Any] | None, question: Request[Any], patience: float) -> Any:
        if ref is None:
            return None
        try:
            return await ref.ask(question, timeout=patience)
        except AskError:
            return None

    def running(self, ref: ActorRef[Any] | None) -> ActorRef[Any] | None:
        """`ref`, if that part is run; None where nothing configures it."""
        return ref if ref is not None and self.refs.present(ref) else None

    @asynccontextmanager
    async def expensive(self) -> AsyncIterator[None]:
        """For what works through all names: two at once, and nobody waits for a turn. Raises BusyError."""
        try:
            self._expensive.acquire_nowait()
        except trio.WouldBlock:
            raise BusyError("two long answers are being written already: ask again in a while") from None
        try:
            yield
        finally:
            self._expensive.release()


def user_of(request: HttpRequest) -> str:
    """Who gives an order over HTTP, as it is logged and shown: never an address."""
    certificate: str = request.scope["state"]["peer"].certificate
    return f"the API ({certificate})" if certificate else "the API"


def key_shown(request: HttpRequest) -> str | None:
    """The key that a client shows: `X-API-Key`, or `Authorization: Bearer`."""
    shown = request.headers.get("X-API-Key")
    if shown is not None:
        return shown
    scheme, _, token = request.headers.get("Authorization", "").partition(" ")
    return token.strip() if scheme.lower() == "bearer" else None
