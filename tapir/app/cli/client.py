"""A client of the console: one request, or one stream, over the Unix socket in the state directory."""

import itertools
import json
import socket
from collections.abc import AsyncGenerator, AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any, Final

import trio
from trio_websocket import ConnectionClosed, HandshakeError, WebSocketConnection, wrap_client_stream

from tapir.model.errors import TapirError
from tapir.services.control.protocol import PATH

_SOCKET: Final = "console.sock"
_CONNECT_TIMEOUT: Final = 5.0
_ANSWER_TIMEOUT: Final = 35.0
_MAX_MESSAGE: Final = 64 * 1024 * 1024


class ConsoleUnreachableError(TapirError):
    """There is no process to ask, or it does not let us."""


class ConsoleForbiddenError(ConsoleUnreachableError):
    """There may be a process, and it is not ours to ask."""


class ConsoleRefusedError(TapirError):
    """The process answered that it will not, and why."""


class ConsoleClient:
    """An open connection to the console."""

    def __init__(self, connection: WebSocketConnection) -> None:
        self._connection = connection
        self._ids = itertools.count(1)

    async def request(self, op: str, **arguments: object) -> Any:
        """The result of `op`. Raises ConsoleRefusedError, ConsoleUnreachableError."""
        request_id = await self._send(op, arguments)
        with trio.move_on_after(_ANSWER_TIMEOUT):
            while True:
                answer = await self._receive()
                if answer.get("id") == request_id:
                    return _result_of(answer)
        raise ConsoleUnreachableError(f"no answer within {_ANSWER_TIMEOUT:.0f} s")

    async def stream(self, op: str, **arguments: object) -> AsyncGenerator[Any, None]:
        """The items that `op` subscribes to, as `{"data": …, "lost": …}`, until the process goes away."""
        request_id = await self._send(op, arguments)
        while True:
            answer = await self._receive()
            if answer.get("id") == request_id:
                _result_of(answer)
            elif answer.get("stream") == request_id:
                yield answer

    async def _send(self, op: str, arguments: dict[str, object]) -> int:
        request_id = next(self._ids)
        try:
            await self._connection.send_message(json.dumps({"id": request_id, "op": op, **arguments}))
        except ConnectionClosed as exc:
            raise ConsoleUnreachableError("the process closed the connection") from exc
        return request_id

    async def _receive(self) -> dict[str, Any]:
        try:
            document = json.loads(await self._connection.get_message())
        except ConnectionClosed as exc:
            raise ConsoleUnreachableError("the process closed the connection") from exc
        if not isinstance(document, dict):
            raise ConsoleUnreachableError("the console said something that is not of its protocol")
        return document


def _result_of(answer: dict[str, Any]) -> Any:
    error = answer.get("error")
    if error is not None:
        raise ConsoleRefusedError(str(error.get("text", "refused")))
    return answer.get("result")


def answers(state_dir: Path) -> bool:
    """Whether a process listens there, or may: one that is not ours to ask is one."""
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as probe:
        probe.settimeout(1)
        try:
            probe.connect(str(state_dir / _SOCKET))
        except PermissionError:
            return True
        except OSError:
            return False
    return True


@asynccontextmanager
async def open_console(state_dir: Path) -> AsyncIterator[ConsoleClient]:
    """A connection to the process whose state is in `state_dir`. Raises ConsoleUnreachableError."""
    path = state_dir / _SOCKET
    try:
        stream = await trio.open_unix_socket(path)
    except FileNotFoundError:
        raise ConsoleUnreachableError(
            f"no tapir runs on {state_dir} (there is no {path}); start it, or name its --state-dir"
        ) from None
    except ConnectionRefusedError:
        raise ConsoleUnreachableError(
            f"no tapir runs on {state_dir} ({path} was left behind by one that was killed); start it"
        ) from None
    except PermissionError:
        raise ConsoleForbiddenError(
            f"{path} is not open to you: be the user that runs tapir, or in its group"
        ) from None
    except OSError as exc:
        raise ConsoleUnreachableError(f"no tapir answers at {path}: {exc.strerror}") from None
    try:
        async with stream, trio.open_nursery() as nursery:
            connection = None
            with trio.move_on_after(_CONNECT_TIMEOUT):
                connection = await wrap_client_stream(nursery, stream, "localhost", PATH, max_message_size=_MAX_MESSAGE)
            if connection is None:
                raise ConsoleUnreachableError(f"{path} accepts and does not answer: the process is stuck")
            yield ConsoleClient(connection)
            with trio.move_on_after(1):
                await connection.aclose()
            nursery.cancel_scope.cancel()
    except BaseExceptionGroup as group:
        # What ended the block, not the nursery around it: callers catch Ctrl-C and a closed pipe by their names.
        # Not `except*`: before Python 3.11.4 (gh-103590) what is raised there is wrapped in a group again.
        error = _only(group)
        if isinstance(error, HandshakeError):
            raise ConsoleUnreachableError(f"{path} does not speak the console's protocol") from group
        if isinstance(error, TapirError | OSError | KeyboardInterrupt):
            raise error from None
        raise


def _only(group: BaseExceptionGroup[Any]) -> BaseException:
    exception: BaseException = group
    while isinstance(exception, BaseExceptionGroup):
        exception = exception.exceptions[0]
    return exception
