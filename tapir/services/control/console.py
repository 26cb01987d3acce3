"""The introspection console: an actor that answers JSON over WebSocket on a Unix socket.

Each connection is a task of the actor's own nursery and asks the other actors by itself, so a slow client or
a stuck actor delays nobody else. The tree, the events and the traces come from the runtime's own state: they
answer while any actor, this one included, is stuck.
"""

import os
import stat
from collections.abc import Awaitable, Callable
from functools import partial
from pathlib import Path
from typing import Any, Final

import attrs
import trio
from trio_websocket import ConnectionClosed, HandshakeError, WebSocketConnection, wrap_server_stream

from actors import (
    Actor,
    ActorRef,
    ActorSystem,
    AskError,
    AskFailed,
    Context,
    Request,
    StopReason,
    Subscription,
    TraceEntry,
    UnknownActor,
)
from tapir.model.actions import ListKind
from tapir.model.errors import TapirError
from tapir.model.messages.lists import AcceptSource
from tapir.model.messages.local import MAX_SECONDS, GetOverrides, RemoveOverride, SetOverride
from tapir.model.messages.zone import AcceptZone
from tapir.services.control.broker import describe_broker
from tapir.services.control.edm import EdmRefs, look_at_edm
from tapir.services.control.explaining import explain_name
from tapir.services.control.orders import ORDERS, accept_clock, check_component, edm_of
from tapir.services.control.overriding import override
from tapir.services.control.peer import peer_uid, user_name
from tapir.services.control.protocol import (
    MAX_REQUEST,
    PATH,
    PROTOCOL,
    ConsoleRequest,
    ProtocolError,
    parse_request,
    render_error,
    render_result,
    render_stream,
)
from tapir.services.control.status import ControlRefs, ProcessFacts, gather_status
from tapir.services.control.zone import ZONE_OPS, ZonePart

MAX_CLIENTS: Final = 32
MAX_STREAMS: Final = 8
STREAM_CAPACITY: Final = 1000


@attrs.frozen(kw_only=True)
class ConsoleSettings:
    """Where the console listens, and how long (s) it waits for an actor's answer and for a slow client."""

    socket: Path
    patience: float = 1.0
    write_timeout: float = 10.0


class ConsoleError(TapirError):
    """The console cannot listen; the rest of the process is not concerned."""


class Console(Actor[Any]):
    """Serves clients of the protocol in `protocol.py` on a Unix socket of mode 0660."""

    def __init__(
        self,
        *,
        settings: ConsoleSettings,
        system: ActorSystem,
        refs: ControlRefs,
        facts: ProcessFacts,
        configuration: Callable[[], object] = lambda: None,
    ) -> None:
        self._settings = settings
        self._system = system
        self._refs = refs
        self._facts = facts
        self._configuration = configuration
        self._clients = 0

    async def started(self, ctx: Context[Any]) -> None:
        """Listen; a socket file that a killed process left behind is replaced (the state lock makes that safe)."""
        path = self._settings.socket
        try:
            if path.exists() and stat.S_ISSOCK(path.stat().st_mode):
                path.unlink()
            sock = trio.socket.socket(trio.socket.AF_UNIX, trio.socket.SOCK_STREAM)
            # The mode is given before anybody can connect: no moment in which the socket is open to others.
            umask = os.umask(0o117)
            try:
                await sock.bind(str(path))
            finally:
                os.umask(umask)
            sock.listen(16)
        except OSError as exc:
            raise ConsoleError(f"the console cannot listen on {path}: {exc.strerror}") from exc
        listener = trio.SocketListener(sock)
        ctx.start_soon(partial(trio.serve_listeners, partial(self._serve, ctx), [listener]), name="listener")

    async def receive(self, ctx: Context[Any], message: Any) -> None:
        """The console is spoken to by its clients alone."""
        ctx.log.warning("the console got a %s, which it does not know", type(message).__name__)

    async def stopping(self, ctx: Context[Any], reason: StopReason) -> None:
        """Take the socket file away; a client that still asks is told by the file's absence."""
        self._settings.socket.unlink(missing_ok=True)

    async def _serve(self, ctx: Context[Any], stream: trio.SocketStream) -> None:
        if self._clients >= MAX_CLIENTS:
            await trio.aclose_forcefully(stream)
            return
        self._clients += 1
        try:
            async with trio.open_nursery() as nursery:
                connection = await self._handshake(nursery, stream)
                if connection is not None:
                    client = _Client(
                        connection=connection,
                        uid=peer_uid(stream.socket),
                        settings=self._settings,
                        system=self._system,
                        refs=self._refs,
                        configuration=self._configuration,
                    )
                    await client.run(self._facts, ctx)
                nursery.cancel_scope.cancel()
        except* (ConnectionClosed, trio.BrokenResourceError, trio.ClosedResourceError):
            pass  # The client left; that is its right at any moment.
        finally:
            self._clients -= 1

    async def _handshake(self, nursery: trio.Nursery, stream: trio.SocketStream) -> WebSocketConnection | None:
        with trio.move_on_after(self._settings.write_timeout):
            try:
                request = await wrap_server_stream(nursery, stream, max_message_size=MAX_REQUEST)
                if request.path != PATH:
                    await request.reject(404, body=b"the console's protocol is at " + PATH.encode())
                    return None
                return await request.accept()
            except HandshakeError:
                return None
        return None


Handler = Callable[["_Client", ConsoleRequest], Awaitable[object]]


class _Client:
    """One connection: its requests are answered in turn, its streams run beside them."""

    def __init__(
        self,
        *,
        connection: WebSocketConnection,
        uid: int,
        settings: ConsoleSettings,
        system: ActorSystem,
        refs: ControlRefs,
        configuration: Callable[[], object],
    ) -> None:
        self._configuration = configuration
        self._connection = connection
        self._uid = uid
        self._name = ""
        self._zone = ZonePart(refs.keeper, self.user)
        self._settings = settings
        self._system = system
        self._refs = refs
        self._streams: dict[int | str, trio.CancelScope] = {}
        self._facts: ProcessFacts | None = None

    async def run(self, facts: ProcessFacts, ctx: Context[Any]) -> None:
        """Answer requests until the client leaves."""
        self._facts = facts
        self._ctx = ctx
        async with trio.open_nursery() as streams:
            self._serving = streams.cancel_scope
            while True:
                try:
                    message = await self._connection.get_message()
                except ConnectionClosed:
                    break
                await self._send(await self._answer(message, streams))
            streams.cancel_scope.cancel()

    async def _send(self, text: str) -> None:
        # A client that stops reading is cut off: it must not keep a task and its buffers for ever. It gets no farewell,
        # which would wait for the same reader.
        with trio.move_on_after(self._settings.write_timeout) as scope:
            await self._connection.send_message(text)
        if scope.cancelled_caught:
            self._serving.cancel()

    async def _answer(self, message: str | bytes, streams: trio.Nursery) -> str:
        try:
            request = parse_request(message)
            if request.op in _STREAMS:
                self._subscribe(request, streams)
                return render_result(request.id, "subscribed")
            handler = _HANDLERS.get(request.op)
            if handler is None:
                known = ", ".join(sorted([*_HANDLERS, *_STREAMS]))
                raise ProtocolError(code="op", text=f"{request.op} is not one of: {known}", request_id=request.id)
            check_component(request, self._refs)
            return render_result(request.id, await handler(self, request))
        except ProtocolError as exc:
            return render_error(exc)

    async def _ask(self, request: ConsoleRequest, ref: ActorRef[Any], question: Request[Any]) -> object:
        try:
            # Changing the zone waits for the disk, so it gets more patience than a question.
            return await ref.ask(question, timeout=max(30.0, self._settings.patience))
        except AskFailed as exc:
            text = str(exc.__cause__) if isinstance(exc.__cause__, TapirError) else str(exc)
            raise ProtocolError(code="refused", text=text, request_id=request.id) from exc
        except AskError as exc:
            raise ProtocolError(code="unanswered", text=str(exc), request_id=request.id) from exc

    async def user(self) -> str:
        """The name of the user at the other end, as the kernel knows it; who gave an order is logged and shown."""
        # Looked up when it is wanted: where names come from a directory server, `status` must not wait for it.
        if not self._name:
            self._name = await self._ctx.run_blocking(user_name, self._uid)
        return self._name

    async def hello(self, request: ConsoleRequest) -> object:
        """Who answers here: the process and the protocol's version."""
        return {"protocol": PROTOCOL, "process": self._facts}

    async def status(self, request: ConsoleRequest) -> object:
        """Everything at one look."""
        parts = await gather_status(self._refs, patience=self._settings.patience)
        return {"process": self._facts, **parts, "runtime": self._system.statistics()}

    async def tree(self, request: ConsoleRequest) -> object:
        """The actors, from the runtime's own state."""
        return self._system.statistics()

    async def dead_letters(self, request: ConsoleRequest) -> object:
        """The last messages that nobody took; what they said is not kept."""
        return self._system.dead_letters()

    async def config(self, request: ConsoleRequest) -> object:
        """What the process goes by, for `tapir plan`: nothing secret is in it, and only plan knows its form."""
        return self._configuration()

    async def explain(self, request: ConsoleRequest) -> object:
        """Why a name is answered as it is, since when, and until when."""
        ask = partial(self._ask, request)
        return await explain_name(self._refs, ask, request.text("name"), patience=self._settings.patience)

    async def override_set(self, request: ConsoleRequest) -> object:
        """Allow, deny or doubt a name by hand."""
        seconds = request.integer("seconds", lowest=0, highest=MAX_SECONDS, default=0)
        order = SetOverride(
            entry=request.text("name"),
            kind=_kind_of(request),
            seconds=seconds or None,
            reason=request.text("reason") if request.arguments.get("reason") else "",
            user=await self.user(),
        )
        return await override(self._refs, partial(self._ask, request), order, patience=self._settings.patience)

    async def override_remove(self, request: ConsoleRequest) -> object:
        """Take that back."""
        order = RemoveOverride(entry=request.text("name"), kind=_kind_of(request), user=await self.user())
        return await override(self._refs, partial(self._ask, request), order, patience=self._settings.patience)

    async def overrides(self, request: ConsoleRequest) -> object:
        """What is allowed, denied and doubted by hand."""
        return await self._ask(request, self._refs.overrides, GetOverrides())

    async def mqtt(self, request: ConsoleRequest) -> object:
        """The connection with the broker, and the global configuration."""
        return await describe_broker(self._system, partial(self._ask, request))

    async def accept(self, request: ConsoleRequest) -> object:
        """The operator accepts what a brake holds, `zone` or the id of a source, or that the `clock` is right."""
        what = request.text("what")
        if what == "zone":
            return await self._ask(request, self._refs.keeper, AcceptZone(user=await self.user()))
        if what == "clock":
            return await accept_clock(request, partial(self._ask, request), self._refs, user=await self.user())
        return await self._ask(request, self._refs.lists, AcceptSource(source=what))

    async def order(self, request: ConsoleRequest) -> object:
        """See `orders`."""
        return await ORDERS[request.op](request, partial(self._ask, request), self._refs)

    async def zone(self, request: ConsoleRequest) -> object:
        """The zone's past, and orders for it."""
        return await self._zone.answer(request, partial(self._ask, request))

    async def unsubscribe(self, request: ConsoleRequest) -> object:
        """End one stream of this connection."""
        scope = self._streams.pop(request.arguments.get("stream", ""), None)
        if scope is None:
            raise ProtocolError(code="stream", text="there is no such stream", request_id=request.id)
        scope.cancel()
        return "unsubscribed"

    def _subscribe(self, request: ConsoleRequest, streams: trio.Nursery) -> None:
        if len(self._streams) >= MAX_STREAMS or request.id in self._streams:
            text = f"a connection has at most {MAX_STREAMS} streams, each under an id of its own"
            raise ProtocolError(code="stream", text=text, request_id=request.id)
        stream: Callable[[], Awaitable[None]]
        if request.op == "watch":
            seconds = request.integer("interval", lowest=1, highest=3600, default=1)
            stream = partial(self._watch, request.id, seconds)
        elif request.op == "edm-watch":
            seconds = request.integer("interval", lowest=1, highest=3600, default=1)
            stream = partial(self._watch_edm, request.id, edm_of(request, self._refs), seconds)
        elif request.op == "events":
            stream = partial(self._events, request.id)
        else:
            try:
                trace = self._system.trace(request.text("actor"), STREAM_CAPACITY)
            except UnknownActor as exc:
                raise ProtocolError(code="actor", text=str(exc), request_id=request.id) from exc
            stream = partial(self._trace, request.id, trace)
        scope = self._streams[request.id] = trio.CancelScope()
        streams.start_soon(self._run_stream, request.id, scope, stream)

    async def _run_stream(
        self, request_id: int | str, scope: trio.CancelScope, stream: Callable[[], Awaitable[None]]
    ) -> None:
        with scope:
            await stream()
        self._streams.pop(request_id, None)

    async def _watch(self, request_id: int | str, seconds: int) -> None:
        while True:
            parts = await gather_status(self._refs, patience=self._settings.patience)
            status = {"process": self._facts, **parts, "runtime": self._system.statistics()}
            await self._send(render_stream(request_id, status))
            await trio.sleep(seconds)

    async def _watch_edm(self, request_id: int | str, refs: EdmRefs, seconds: int) -> None:
        while True:
            parts = await look_at_edm(refs, patience=self._settings.patience)
            lag = self._system.statistics().lag
            document = {"at": self._ctx.now(), "process": self._facts, "edm": parts, "lag": lag}
            await self._send(render_stream(request_id, document))
            await trio.sleep(seconds)

    async def _events(self, request_id: int | str) -> None:
        async with self._system.subscribe(STREAM_CAPACITY) as subscription:
            async for event in subscription:
                item = {"event": type(event).__name__, **attrs.asdict(event, recurse=False)}
                await self._send(render_stream(request_id, item, lost=subscription.lost))

    async def _trace(self, request_id: int | str, trace: Subscription[TraceEntry]) -> None:
        async with trace as subscription:
            async for entry in subscription:
                await self._send(render_stream(request_id, entry, lost=subscription.lost))


def _kind_of(request: ConsoleRequest) -> ListKind:
    kinds = {kind.value: kind for kind in ListKind}
    if (kind := kinds.get(request.text("list"))) is None:
        text = f"{request.op} needs list: one of {', '.join(kinds)}"
        raise ProtocolError(code="arguments", text=text, request_id=request.id)
    return kind


_HANDLERS: Final[dict[str, Handler]] = {
    "hello": _Client.hello,
    "status": _Client.status,
    "tree": _Client.tree,
    "dead-letters": _Client.dead_letters,
    "config": _Client.config,
    "explain": _Client.explain,
    "override-set": _Client.override_set,
    "override-remove": _Client.override_remove,
    "overrides": _Client.overrides,
    "mqtt": _Client.mqtt,
    "accept": _Client.accept,
    **dict.fromkeys(ORDERS, _Client.order),
    **dict.fromkeys(ZONE_OPS, _Client.zone),
    "unsubscribe": _Client.unsubscribe,
}
_STREAMS: Final = frozenset({"watch", "edm-watch", "events", "trace"})
